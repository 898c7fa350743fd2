//! Promises about what leaves a machine and what an agent journals: 1 (no entry, no release),
//! 4 (two keys), and the parts of 3, 7, 8, 9 and 10 that show there.

use super::{
    Broken, Promise, ensure, erasure_is_real, history::history_is_not_rewritten,
    the_broker_is_blind,
};
use crate::{
    ghost::{Ghost, Planted},
    world::World,
};
use passerelle_agent::{
    event::{Event, Verdict},
    requester, state,
};
use passerelle_model::{
    bytes::Digest,
    entry::{Entry, EntryBody},
    ids::RequestId,
    statement::{Answer, Body, Envelope, Item, PAYLOAD_ANSWER, WithdrawalScope},
    time::Timestamp,
    vocabulary::{Category, CategoryKind, LegalBasis, Level, Outcome, Sector},
};
use passerelle_proto::v1::{self, agent_frame, broker_frame};
use prost::Message as _;

/// Everything about a frame that leaves an agent.
///
/// # Errors
/// The broken promise.
pub fn of_what_an_agent_says(
    world: &mut World,
    ix: usize,
    frame: &agent_frame::Frame,
) -> Result<(), Broken> {
    let bytes = v1::AgentFrame {
        frame: Some(frame.clone()),
    }
    .encode_to_vec();
    the_broker_is_blind(&world.ghost, "a frame to the broker", &bytes)?;
    match frame {
        agent_frame::Frame::Submit(submit) => {
            let envelope = submit.envelope.clone().expect("an envelope");
            let envelope = Envelope::try_from(envelope).expect("an own envelope");
            let statement = envelope.unverified_statement().expect("an own statement");
            if let Body::Answer(answer) = statement.body {
                no_entry_no_release(world, ix, &answer)?;
                nothing_leaves_after_a_withdrawal_here(world, ix, &answer)?;
                size_follows_from_the_permit(world, ix, &answer, submit)?;
            }
            Ok(())
        }
        agent_frame::Frame::Cosigned(cosigned) => {
            let agency = world.agencies[ix].id.clone();
            let active = world
                .ghost
                .reading
                .members
                .iter()
                .filter(|(_, (_, active))| *active);
            let members = active.map(|(id, _)| id.clone()).collect();
            let needed = quorum(&world.ghost);
            let ghost = &mut world.ghost;
            history_is_not_rewritten(ghost, (ix, &agency), cosigned.size, &members, needed)
        }
        _ => Ok(()),
    }
}

/// More than two thirds of the members; AUDIT has the formula.
fn quorum(ghost: &Ghost) -> usize {
    let members = ghost.reading.members.values().filter(|(_, active)| *active);
    1 + 2 * members.count() / 3
}

/// Everything about a frame that leaves the broker.
///
/// # Errors
/// The broken promise.
pub fn of_what_the_broker_says(world: &World, frame: &broker_frame::Frame) -> Result<(), Broken> {
    let bytes = v1::BrokerFrame {
        frame: Some(frame.clone()),
    }
    .encode_to_vec();
    the_broker_is_blind(&world.ghost, "a frame of the broker", &bytes)
}

/// 1. A sealed answer leaves only by a permit that is in the log and was proven to this agency.
fn no_entry_no_release(world: &World, ix: usize, answer: &Answer) -> Result<(), Broken> {
    let agency = &world.agencies[ix].id;
    let proven = world.ghost.proven.contains_key(&(ix, answer.permit));
    ensure(proven, Promise::NoEntryNoRelease, || {
        format!("{agency} answers by a permit whose entry was never proven to it")
    })
}

/// 5. Nothing is released on a consent that was withdrawn at this agency, before the broker knows.
fn nothing_leaves_after_a_withdrawal_here(
    world: &World,
    ix: usize,
    answer: &Answer,
) -> Result<(), Broken> {
    let (agency, asked) = (
        &world.agencies[ix],
        world.ghost.reading.requests.get(&answer.request),
    );
    let (Some(up), Some(asked)) = (&agency.up, asked) else {
        return Ok(());
    };
    let row = state::hold(up.store.view(), &answer.request).expect("the projection");
    if row.and_then(|r| r.given).map(|g| g.outcome) != Some(Outcome::Released) {
        return Ok(());
    }
    let waiting = state::outbox(up.store.view(), None, 10_000).expect("the projection");
    for (_, stated) in waiting {
        let statement = stated.envelope.unverified_statement();
        let Body::Withdrawal(withdrawal) = statement.expect("an own statement").body else {
            continue;
        };
        let covered = |category: &Category| match &withdrawal.scope {
            WithdrawalScope::All => true,
            WithdrawalScope::Recipient(recipient) => *recipient == asked.requester,
            WithdrawalScope::Category(one) => one == category,
        };
        let rests = asked.resting_on(&withdrawal.consent);
        ensure(!rests.iter().any(covered), Promise::WithdrawalWins, || {
            format!(
                "{} answers on a consent that was withdrawn there",
                agency.id
            )
        })?;
    }
    Ok(())
}

/// A notice that an agent heard, and what the log had at its place then. An old copy of the log may
/// be in place by the time it is judged.
pub struct Heard {
    notice: v1::Notice,
    is_logged: bool,
    size: Option<u64>,
    root: Option<Digest>,
}

impl Heard {
    /// As of now.
    pub fn new(ghost: &mut Ghost, notice: v1::Notice) -> Self {
        let index = usize::try_from(notice.index).expect("small");
        let logged = ghost.log.get(index);
        let is_logged = logged.is_some_and(|l| l.bytes == notice.entry);
        let size = checkpoint(&notice).get(1).and_then(|s| s.parse().ok());
        let root = size.and_then(|size| ghost.root(size));
        Self {
            is_logged,
            size,
            root,
            notice,
        }
    }
}

/// The lines of the checkpoint in the proof of a notice.
fn checkpoint(notice: &v1::Notice) -> Vec<&str> {
    let lines = notice.proof.lines();
    lines.skip_while(|l| *l != "passerelle/nord").collect()
}

/// 1. What an agent believes is in the log at its place, under cosignatures that a quorum made.
///
/// # Errors
/// The broken promise.
pub fn what_is_believed_is_in_the_log(
    world: &mut World,
    ix: usize,
    heard: &Heard,
) -> Result<(), Broken> {
    let agency = world.agencies[ix].id.clone();
    let notice = &heard.notice;
    let wrong = |how: &str| {
        let how = format!("{agency} believes entry {}: {how}", notice.index);
        Broken::new(Promise::NoEntryNoRelease, how)
    };
    if !heard.is_logged {
        return Err(wrong("the log has another one, or none"));
    }
    let size = heard.size.ok_or_else(|| wrong("no checkpoint"))?;
    let root = heard.root.ok_or_else(|| wrong("more than there is"))?;
    let cosigners = world.ghost.cosigned.get(&(size, root));
    let cosigners = cosigners.cloned().unwrap_or_default();
    let checkpoint = checkpoint(notice);
    let shown = |id: &&passerelle_model::ids::AgencyId| {
        let name = passerelle_model::ids::witness_name(&crate::broker::federation(), id);
        let line = format!("\u{2014} {name} ");
        checkpoint.iter().any(|l| l.starts_with(&line))
    };
    let shown = cosigners.iter().filter(shown).count();
    if !cosigners.contains(&agency) {
        return Err(wrong("its own witness has not cosigned it"));
    }
    let up = world.agencies[ix].up.as_ref();
    let up = up.ok_or_else(|| wrong("it does not run"))?;
    let trust = up.context.trust(up.store.view()).expect("the projection");
    let needed = if notice.membership { 1 } else { trust.quorum() };
    if shown < needed {
        return Err(wrong(&format!("{shown} witnesses of {needed}")));
    }
    let entry = Entry::from_bytes(&notice.entry).expect("an entry of the log");
    if let EntryBody::Offered { permit } = entry.body {
        let digest = permit.digest().expect("a permit");
        let ghost = &mut world.ghost;
        let items = permit.items.clone();
        ghost.permitted.insert(permit.request.clone(), items);
        ghost.proven.insert((ix, digest), *permit);
    }
    Ok(())
}

/// 9. The size of a sealed answer follows from its permit.
fn size_follows_from_the_permit(
    world: &World,
    ix: usize,
    answer: &Answer,
    submit: &v1::Submit,
) -> Result<(), Broken> {
    let payload = submit.payloads.get(PAYLOAD_ANSWER).map_or(0, Vec::len);
    let permit = world.ghost.proven.get(&(ix, answer.permit));
    let items = permit.map(|p| p.items.as_slice()).unwrap_or_default();
    let long = items.len() > 3 || items.iter().any(|i| i.level == Level::Detail);
    let expected = if long { 65_536 } else { 8_192 };
    // Encapsulated key, tag, and the padding's own length field.
    let right = (expected..expected + 64).contains(&payload);
    ensure(right, Promise::SilenceLooksTheSame, || {
        format!("a sealed answer has {payload} bytes, and its permit says {expected}")
    })
}

/// Everything about a transaction of an agent.
///
/// # Errors
/// The broken promise.
pub fn of_what_an_agent_journals(
    world: &mut World,
    ix: usize,
    _now: Timestamp,
    events: &[Event],
) -> Result<(), Broken> {
    for event in events {
        match event {
            Event::Reviewed {
                request,
                verdict: Verdict::Approve,
                awaits_second: false,
                ..
            } => {
                world.ghost.approved.insert(request.clone());
            }
            Event::AnswerOpened {
                request,
                outcome: Outcome::Released,
            } => {
                two_keys(world, ix, request)?;
            }
            Event::Erased { request } => {
                world.ghost.erased.push((ix, request.clone()));
                erasure_is_real(world, ix, request)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// 4. Nothing left against the holder's own policy, nor more than the permit allows.
fn two_keys(world: &World, ix: usize, request: &RequestId) -> Result<(), Broken> {
    let Some(up) = &world.agencies[ix].up else {
        return Ok(());
    };
    let view = up.store.view();
    let row = state::ask(view, request)
        .expect("the projection")
        .expect("a request");
    let Ok(opened) = requester::opened_answer(&up.context, view, &row) else {
        return Ok(());
    };
    let holder = world
        .agencies
        .iter()
        .position(|a| a.id == row.request.holder);
    let holder = holder.expect("a holder");
    let permitted = world
        .ghost
        .permitted
        .get(request)
        .cloned()
        .unwrap_or_default();
    for item in &opened.items {
        let within = |p: &Item| p.category.code() == item.category && level(&item.level) <= p.level;
        ensure(permitted.iter().any(within), Promise::TwoKeys, || {
            format!(
                "{} up to {} left beyond the permit",
                item.category, item.level
            )
        })?;
        let text = serde_json::to_string(&item.values).expect("values");
        let facts = world.ghost.facts.iter();
        let facts = facts.filter(|f| f.agency == holder && f.category.code() == item.category);
        let mut may_any = false;
        for fact in facts {
            let may = may_leave(world, fact, &row, ix, level(&item.level), &text);
            may_any |= may;
            let shows = fact.words.iter().any(|word| text.contains(word));
            ensure(may || !shows, Promise::TwoKeys, || {
                format!(
                    "a fact on {} left against the holder's own policy",
                    item.category
                )
            })?;
        }
        ensure(may_any, Promise::TwoKeys, || {
            format!("something on {} left, and nothing may", item.category)
        })?;
    }
    Ok(())
}

fn level(code: &str) -> Level {
    code.parse().expect("a level")
}

/// The shipped local policy, read by hand: `policies/library/local/default.cedar`.
fn may_leave(
    world: &World,
    fact: &Planted,
    row: &state::AskRow,
    ix: usize,
    asked: Level,
    text: &str,
) -> bool {
    let sector = world.agencies[ix].sector;
    let emergency = row.request.emergency.is_some();
    let approved = world.ghost.approved.contains(&row.request.request);
    let protected =
        fact.specially_protected || fact.category.kind() == CategoryKind::SpeciallyProtectedHealth;
    let on_consent = row.request.basis == LegalBasis::Consent;
    let cares = matches!(
        sector,
        Sector::Health | Sector::SocialServices | Sector::Education
    );
    let content = fact.words.iter().skip(1).any(|word| text.contains(word));
    let protected_may = !protected || on_consent || (emergency && sector == Sector::Health);
    let youth_may = !fact.youth_record || cares;
    let restricted_may = !(fact.restricted && asked > Level::Contact && content);
    let needs_look = fact.third_party_at_risk
        || (fact.sensitivity >= 3 && !emergency)
        || (protected && !on_consent);
    protected_may && youth_may && restricted_may && (approved || !needs_look)
}
