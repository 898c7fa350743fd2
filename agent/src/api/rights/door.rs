//! What the door sees while answers come in, and the one reply for the person.
//!
//! In scope: views. Out of scope: asking. How far an owner is never depends on what it holds; what
//! it said is opened for the reply alone, and attested as viewed.

use super::{failed, kept, load, officer, told};
use crate::{
    api::{Reply, document, input, refused},
    event::Event,
    node::Node,
    requester, retention,
    rights::record::{self, GroupRow},
    state::{self, AskRow},
    trust::Trust,
};
use passerelle_model::{
    ids::{AgencyId, RequestId, RightsId},
    pdp::Effect,
    request::Status as RequestStatus,
    time::Timestamp,
    vocabulary::Outcome,
};
use passerelle_proto::{
    v1,
    views::{DirectItem, OwnerAnswer, OwnerProgress, RightsReply, RightsView},
};
use std::sync::Arc;
use tonic::Status;

/// How far an owner is, from outside. Waiting for a line, for a person or for a clock is one thing.
const fn progress(status: RequestStatus) -> &'static str {
    match status {
        RequestStatus::Submitted
        | RequestStatus::Decided
        | RequestStatus::Queued
        | RequestStatus::Offered
        | RequestStatus::HolderReview
        | RequestStatus::Answered => "waiting",
        RequestStatus::Released
        | RequestStatus::Declined
        | RequestStatus::CannotSay
        | RequestStatus::Delivered
        | RequestStatus::Viewed
        | RequestStatus::Erased => "answered",
        RequestStatus::Expired => "overdue",
        RequestStatus::Denied => "denied",
        RequestStatus::Stopped => "stopped",
    }
}

/// What a person asked, as far as it is.
pub(super) fn view(node: &Node, row: GroupRow) -> Result<RightsView, Status> {
    let view = node.core.view();
    let kept = kept(node, &row.group)?;
    let newest = row.rounds.last();
    let mut owners = Vec::new();
    for (agency, request) in newest.iter().flat_map(|round| &round.asked) {
        let asked = state::ask(view, request).map_err(failed)?;
        let status = asked.map_or("not_asked", |asked| progress(asked.status));
        owners.push(OwnerProgress {
            agency: agency.to_string(),
            request: request.to_string(),
            status: status.to_owned(),
        });
    }
    let answered = owners.iter().filter(|o| o.status == "answered").count();
    let due = newest.map(|round| round.due).unwrap_or_default();
    Ok(RightsView {
        rights: row.group.to_string(),
        kind: row.kind.code().to_owned(),
        person: kept.as_ref().map(|kept| kept.label.clone()),
        handle: kept.map(|kept| kept.handle.to_hex()),
        at: row.rounds.first().map(|round| round.at).unwrap_or_default(),
        due,
        worker: row.worker,
        evidence: row.evidence.to_hex(),
        rounds: row.rounds.len() as u64,
        overdue: due <= node.clock.now() && answered < owners.len(),
        answered: answered as u64,
        owners,
    })
}

pub(super) fn show(node: &Node, request: &v1::ShowRightsRequest) -> Reply {
    officer(node, &request.worker)?;
    let rows = match input::optional_id::<RightsId>("rights", &request.rights)? {
        Some(id) => vec![load(node, &id)?],
        None => record::groups(node.core.view()).map_err(failed)?,
    };
    let views = rows.into_iter().map(|row| view(node, row));
    let mut views = views.collect::<Result<Vec<_>, _>>()?;
    views.sort_by_key(|view| std::cmp::Reverse(view.at));
    document(&views)
}

/// What one owner said in one round.
struct Said {
    at: Option<Timestamp>,
    outcome: Option<Outcome>,
    items: Vec<passerelle_proto::views::AnswerItem>,
    refusal: Option<crate::rights::Refusal>,
    ask_the_owner: Vec<DirectItem>,
}

/// Denied by the rules, for everybody alike.
fn ask_the_owner(row: &AskRow) -> Vec<DirectItem> {
    let decided = row.decision.iter().flat_map(|decision| &decision.items);
    let denied = decided.filter(|item| item.ruling.effect == Effect::Deny);
    let direct = denied.map(|item| DirectItem {
        category: item.category.code().to_owned(),
        rules: item.ruling.reasons.iter().map(|r| r.rule.clone()).collect(),
    });
    direct.collect()
}

/// Opens an answer for the reply; that it was opened is attested first.
async fn said(node: &Node, request: &RequestId, worker: &str) -> Result<Option<Said>, Status> {
    let Some(row) = state::ask(node.core.view(), request).map_err(failed)? else {
        return Ok(None);
    };
    let ask_the_owner = ask_the_owner(&row);
    let at = row.answer.as_ref().map(|answer| answer.at);
    if !matches!(row.status, RequestStatus::Delivered | RequestStatus::Viewed) {
        return Ok(Some(Said {
            at: None,
            outcome: None,
            items: Vec::new(),
            refusal: None,
            ask_the_owner,
        }));
    }
    let (context, now) = (Arc::clone(&node.context), node.clock.now());
    let (id, worker) = (request.clone(), worker.to_owned());
    let looked = node.core.write(now, move |view| {
        let events: Vec<Event> = requester::viewed(&context, view, &id, &worker, now)?;
        Ok((events, ()))
    });
    looked.await.map_err(refused)?;
    let opened = requester::opened_answer(&node.context, node.core.view(), &row);
    let opened = opened.map_err(refused)?;
    // What is to be erased is not handed out any more.
    let ends = at.and_then(|at| retention::ends(&opened.obligations, at));
    let kept = ends.is_none_or(|ends| now < ends);
    Ok(Some(Said {
        at,
        outcome: Some(opened.outcome),
        items: if kept { opened.items } else { Vec::new() },
        refusal: opened.refusal,
        ask_the_owner,
    }))
}

/// Of all rounds, what an owner said: what it told, else what it said last.
fn answer(node: &Node, trust: &Trust, agency: &AgencyId, rounds: Vec<Said>) -> OwnerAnswer {
    let is_told = |said: &Said| said.outcome == Some(Outcome::Released);
    let told_in = rounds.iter().rposition(is_told);
    let earlier = rounds.iter().take(told_in.unwrap_or_default());
    let supplement = told_in.is_some() && earlier.clone().any(|said| said.outcome.is_some());
    let ask_the_owner = rounds.last().map(|said| said.ask_the_owner.clone());
    let last = rounds.iter().rposition(|said| said.outcome.is_some());
    let said = told_in.or(last).and_then(|n| rounds.into_iter().nth(n));
    let (code, at, items, refusal) = match said {
        None => ("not_yet", None, Vec::new(), None),
        Some(said) => match said.outcome {
            // Told once, and not kept here any more: nothing is to be read as if it were all.
            Some(Outcome::Released) if said.items.is_empty() => {
                ("told_before", said.at, Vec::new(), None)
            }
            Some(Outcome::Released) => ("told", said.at, said.items, None),
            Some(Outcome::Declined) => ("refused", said.at, Vec::new(), said.refusal),
            // Whether it holds nothing or keeps something back.
            Some(Outcome::CannotSay) => ("nothing_to_report", said.at, Vec::new(), None),
            None => ("not_yet", None, Vec::new(), None),
        },
    };
    let contacts = &node.context.config.rights.contacts;
    let sector = trust.member(agency).map(|member| member.keys.sector);
    OwnerAnswer {
        agency: agency.to_string(),
        sector: sector.map_or_else(String::new, |sector| sector.code().to_owned()),
        contact: contacts.get(agency.as_str()).cloned(),
        said: code.to_owned(),
        at,
        supplement,
        items,
        refusal: refusal.map(|reason| told(reason.code(), reason.en(), reason.fr())),
        ask_the_owner: ask_the_owner.unwrap_or_default(),
    }
}

pub(super) async fn reply(node: &Node, request: v1::ReplyToPersonRequest) -> Reply {
    let worker = officer(node, &request.worker)?;
    let group: RightsId = input::id("rights", &request.rights)?;
    let row = load(node, &group)?;
    let trust = node.trust().map_err(refused)?;
    let owners = row.rounds.first().map(|round| round.asked.clone());
    let mut answers = Vec::new();
    for (agency, _) in owners.into_iter().flatten() {
        let mut rounds = Vec::new();
        for round in &row.rounds {
            let asked = round.asked.iter().find(|(owner, _)| *owner == agency);
            if let Some((_, request)) = asked {
                rounds.extend(said(node, request, &worker.id).await?);
            }
        }
        answers.push(answer(node, &trust, &agency, rounds));
    }
    document(&RightsReply {
        asked: view(node, row)?,
        made_at: node.clock.now(),
        answers,
    })
}
