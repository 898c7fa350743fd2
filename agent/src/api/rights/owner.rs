//! What an owner does about a person's own request: the list, a refusal with a reason, a restriction
//! in time and its end.
//!
//! In scope: who may, which reasons, how long. Out of scope: approving, and saying that nothing is
//! held, which is as with any request (module `asking`).

use super::{DAY_S, failed, officer, out_of_range, told, write};
use crate::{
    api::{Reply, asking, document, done, input, refuse, refused},
    asked_by,
    event::{Event, Verdict},
    ground,
    node::{Node, Settled},
    review::Word,
    rights::{
        Refusal, Restriction,
        record::{self, RightsEvent},
    },
    state,
};
use passerelle_model::{
    error::ErrorCode, ids::RequestId, request::Status as RequestStatus, time::Timestamp,
    vocabulary::Purpose,
};
use passerelle_proto::{v1, views::RightsTask};
use tonic::Status;

/// The longest restriction: two years.
const MAX_RESTRICTION_S: u64 = 2 * 366 * DAY_S;

/// One that waits for a person here, of a person who asks about herself.
fn task(node: &Node, text: &str) -> Result<RequestId, Status> {
    let request: RequestId = input::id("request", text)?;
    let row = state::hold(node.core.view(), &request).map_err(failed)?;
    match row {
        Some(row) if row.purpose == Purpose::RightsRequest => Ok(request),
        _ => Err(refuse(
            ErrorCode::UnknownRequest,
            "no person's own request to this agency has this id",
        )),
    }
}

pub(super) async fn refuse_access(node: &Node, request: v1::RefuseAccessRequest) -> Reply {
    let worker = officer(node, &request.worker)?;
    let id = task(node, &request.request)?;
    let Some(reason) = Refusal::parse(&request.reason) else {
        let known: Vec<_> = Refusal::ALL.iter().map(|reason| reason.code()).collect();
        let known = known.join(", ");
        let mut words = format!("`reason`: the person is told one of: {known}");
        if Restriction::parse(&request.reason).is_some() {
            words.push_str("; that one would tell that there is something: restrict it instead");
        }
        return Err(refuse(ErrorCode::UnknownCode, words));
    };
    let word = Word {
        refusal: Some(reason),
        ..Word::new(Verdict::Decline, &worker.id)
    };
    asking::judge(node, id, word, Vec::new()).await
}

pub(super) async fn restrict(node: &Node, request: v1::RestrictAccessRequest) -> Reply {
    let worker = officer(node, &request.worker)?;
    let id = task(node, &request.request)?;
    let reason = Restriction::parse(&request.reason).ok_or_else(|| {
        let known: Vec<_> = Restriction::ALL
            .iter()
            .map(|reason| reason.code())
            .collect();
        let known = known.join(", ");
        refuse(
            ErrorCode::UnknownCode,
            format!("`reason`: known are: {known}"),
        )
    })?;
    let (now, until) = (node.clock.now(), Timestamp(request.until_ms));
    if until <= now || until > now.plus_s(MAX_RESTRICTION_S) {
        return Err(out_of_range(
            "a restriction ends within two years, and not in the past",
        ));
    }
    let handle = ground::subject_of(node.core.view(), &id).map_err(refused)?;
    let handle = handle.ok_or_else(|| refused(ErrorCode::WrongState))?;
    let standing = record::restriction(node.core.view(), &handle).map_err(failed)?;
    if standing.is_some_and(|kept| kept.stands(now) && kept.until > until) {
        return Err(refuse(
            ErrorCode::WrongState,
            "a longer restriction of this person stands: answer with `cannot-say`, or lift that first",
        ));
    }
    let event = Event::Rights(Box::new(RightsEvent::Restricted {
        request: id.clone(),
        handle,
        until,
        reason,
        worker: worker.id.clone(),
    }));
    let waits = state::hold(node.core.view(), &id).map_err(failed)?;
    if waits.is_none_or(|row| row.status != RequestStatus::HolderReview) {
        // Answered before: what counts is what is said from now on.
        let now = node.clock.now();
        let written = node.core.write(now, move |_| Ok((vec![event], ())));
        written.await.map_err(refused)?;
        return document(&done(id.to_string(), &Settled::Logged(None)));
    }
    let word = Word::new(Verdict::CannotSay, &worker.id);
    asking::judge(node, id, word, vec![event]).await
}

pub(super) async fn lift(node: &Node, request: v1::LiftRestrictionRequest) -> Reply {
    let worker = officer(node, &request.worker)?;
    let id = task(node, &request.request)?;
    let row = record::restriction_at(node.core.view(), &id).map_err(refused)?;
    let row = row.ok_or_else(|| refuse(ErrorCode::WrongState, "no restriction stands"))?;
    let event = RightsEvent::Lifted {
        handle: row.handle,
        worker: worker.id,
    };
    write(node, event).await?;
    document(&done(id.to_string(), &Settled::Logged(None)))
}

pub(super) fn tasks(node: &Node, request: &v1::ListTasksRequest) -> Reply {
    officer(node, &request.worker)?;
    let (view, now) = (node.core.view(), node.clock.now());
    let mut tasks = Vec::new();
    let is_own = |row: &state::HoldRow| row.purpose == Purpose::RightsRequest;
    for row in state::holds_where(view, is_own).map_err(failed)? {
        if row.purpose != Purpose::RightsRequest {
            continue;
        }
        let restricted = record::restriction_at(view, &row.request).map_err(refused)?;
        let waits = row.status == RequestStatus::HolderReview;
        let status = match (&restricted, waits) {
            (_, true) if row.review_by.is_some_and(|by| by <= now) => "overdue",
            (_, true) => "open",
            (Some(kept_back), false) if kept_back.stands(now) => "restricted",
            (Some(_), false) => "restriction_over",
            (None, false) if row.given.is_some() => "answered",
            (None, false) if row.status == RequestStatus::Expired => "missed",
            (None, false) => "ended",
        };
        let says = asked_by::open_context(&node.context, view, &row.request).ok();
        tasks.push(RightsTask {
            request: row.request.to_string(),
            requester: row.requester.to_string(),
            at: row.at,
            due: row.review_by,
            status: status.to_owned(),
            restricted_until: restricted.as_ref().map(|r| r.until),
            restricted_for: restricted.map(|r| told(r.reason.code(), r.reason.en(), r.reason.fr())),
            says: says.map(|asked| asked.justification),
        });
    }
    let is_open = |task: &RightsTask| matches!(task.status.as_str(), "overdue" | "open");
    tasks.sort_by_key(|task| (!is_open(task), task.due, std::cmp::Reverse(task.at)));
    document(&tasks)
}
