//! The holder's side of an exchange: what happens with a permit.
//!
//! In scope: finding the records, human review, sealing, one answer a request. Everything is a
//! function of the state, run by the single writer, so two of them never cross.
//! Out of scope: whether the permit is genuine ([`crate::verify`]); whether a consent stands behind
//! it (module `ground`); what the agency's own policy says (module `ruling`); sending.
//!
//! From outside all outcomes look the same: one statement type, the outcome a commitment, the
//! sealed answer padded, sent at a time that does not depend on what was found (promise 9).

use crate::{
    apply::outcome_of,
    asked_by,
    context::Context,
    entropy,
    event::{Event, Verdict},
    facts::sealed,
    ground::{self, Ground},
    near_index,
    rights::{Refusal, record::restriction_at},
    ruling::{Ruling, a_person_looks_first, rule},
    seal,
    state::{self, HoldRow, PersonRow, VerdictRow},
    trust::Trust,
    verify::{CheckedNotice, CheckedPermit, check_permit},
};
use passerelle_model::{
    bytes::{Digest, Handle},
    commitment::{Field, Opening},
    entry::EntryBody,
    error::ErrorCode,
    pdp::Obligation,
    permit::Permit,
    request::Status,
    seeded::{Bug, seeded},
    statement::{Answer, Body, PAYLOAD_ANSWER, Renewal},
    store::{Read, StoreError},
    time::Timestamp,
    vocabulary::{Level, Outcome, Purpose},
};
use passerelle_proto::views::AnswerItem;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What is sealed for the requester.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedAnswer {
    /// What came of it.
    pub outcome: Outcome,
    /// Opens the commitment in the statement.
    pub opening: Opening,
    /// The facts, reduced.
    pub items: Vec<AnswerItem>,
    /// What the recipient must do.
    pub obligations: Vec<Obligation>,
    /// Of a person's own request that is declined: why, as the person is told. Left out otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
}

/// Storage trouble inside a decision stops it: nothing is released on half a view.
pub(crate) fn storage(_: StoreError) -> ErrorCode {
    ErrorCode::Storage
}

/// What follows from a verified offer. The notice itself is journaled in the same transaction,
/// before these.
///
/// # Errors
/// The store, or no randomness. Nothing is journaled then, and the notice comes again.
pub fn on_offer(
    context: &Context,
    view: &dyn Read,
    notice: &CheckedNotice,
    trust: &Trust,
    now: Timestamp,
) -> Result<Offer, ErrorCode> {
    let EntryBody::Offered { permit } = &notice.entry().body else {
        return Ok(Offer::default());
    };
    if permit.holder != trust.anchors.agency {
        return Ok(Offer::default());
    }
    let row = state::hold(view, &permit.request).map_err(storage)?;
    let answers = |row: &HoldRow| row.given.as_ref().is_some_and(|g| !g.accepted);
    if let Some(row) = &row
        && !row.status.is_open()
        && (!answers(row) || row.stopped.is_some())
    {
        // One answer a request: an offer that comes again changes nothing.
        tracing::info!(request = %permit.request, "offer for a request that is answered or over");
        return Ok(Offer {
            unusable: true,
            events: Vec::new(),
        });
    }
    let checked = permitted(context, notice, trust, now);
    let unusable = !matches!(&checked, Ok(_) | Err(ErrorCode::PermitExpired));
    let events = if row.as_ref().is_some_and(answers) {
        // Kept in case the broker refuses the answer that is under way.
        Vec::new()
    } else {
        use_checked(context, view, checked, notice, permit, row.as_ref(), now)?
    };
    Ok(Offer { unusable, events })
}

/// What an offer comes to.
#[derive(Default)]
pub struct Offer {
    /// Whether its permit must not be kept for later use.
    pub unusable: bool,
    /// What follows from it.
    pub events: Vec<Event>,
}

pub(crate) fn use_permit(
    context: &Context,
    view: &dyn Read,
    notice: &CheckedNotice,
    permit: &Permit,
    row: Option<&HoldRow>,
    trust: &Trust,
    now: Timestamp,
) -> Result<Vec<Event>, ErrorCode> {
    let checked = match permitted(context, notice, trust, now) {
        // It was in order when it came. The rules have changed since: as with one that is over,
        // another is asked for.
        Err(ErrorCode::BundleNotHeld | ErrorCode::BundleNotEndorsed) => {
            Err(ErrorCode::PermitExpired)
        }
        checked => checked,
    };
    use_checked(context, view, checked, notice, permit, row, now)
}

/// The permit, if it holds, by the rules in force, and if enough members witness for this agency
/// to use any.
fn permitted(
    context: &Context,
    notice: &CheckedNotice,
    trust: &Trust,
    now: Timestamp,
) -> Result<CheckedPermit, ErrorCode> {
    if (trust.witnesses().len() as u64) < context.config.min_witnesses {
        return Err(ErrorCode::NoQuorum);
    }
    let in_force = context.bundles.usable(trust.rules(), now)?;
    let checked = check_permit(notice, trust, now)?;
    if checked.permit().bundle != in_force {
        // Decided by rules of before, or by rules that are not known here yet.
        return Err(ErrorCode::BundleNotHeld);
    }
    Ok(checked)
}

fn use_checked(
    context: &Context,
    view: &dyn Read,
    checked: Result<CheckedPermit, ErrorCode>,
    notice: &CheckedNotice,
    permit: &Permit,
    row: Option<&HoldRow>,
    now: Timestamp,
) -> Result<Vec<Event>, ErrorCode> {
    match checked {
        Ok(checked) => proceed(context, view, &checked, row, now),
        Err(ErrorCode::PermitExpired) => renew(context, permit, row, now),
        Err(
            code @ (ErrorCode::Stale
            | ErrorCode::UnknownAgency
            | ErrorCode::NoQuorum
            | ErrorCode::BundleNotHeld
            | ErrorCode::BundleNotEndorsed),
        ) => {
            // A clock that is off; a member, witnesses or rules not heard of yet: another offer may
            // be in order.
            tracing::warn!(request = %permit.request, index = notice.index(), %code,
                "permit not used for now");
            Ok(Vec::new())
        }
        Err(code) => {
            tracing::warn!(request = %permit.request, index = notice.index(), %code,
                "permit refused: nothing is answered");
            Ok(vec![Event::PermitRefused {
                request: permit.request.clone(),
                code,
            }])
        }
    }
}

/// Asks for an expired permit to be decided again, once.
pub(crate) fn renew(
    context: &Context,
    permit: &Permit,
    row: Option<&HoldRow>,
    now: Timestamp,
) -> Result<Vec<Event>, ErrorCode> {
    let digest = permit.digest().map_err(|_| ErrorCode::Internal)?;
    if row.is_some_and(|r| r.renewing == Some(digest)) {
        return Ok(Vec::new());
    }
    let body = Body::Renewal(Renewal {
        request: permit.request.clone(),
        permit: digest,
    });
    Ok(vec![Event::Stated(Box::new(
        context.say(now, body)?.done(),
    ))])
}

/// A permit that may be used now: to a person, or to an answer.
fn proceed(
    context: &Context,
    view: &dyn Read,
    checked: &CheckedPermit,
    row: Option<&HoldRow>,
    now: Timestamp,
) -> Result<Vec<Event>, ErrorCode> {
    let permit = checked.permit();
    let verdict = row
        .and_then(|r| r.verdict.as_ref())
        .filter(|v| covers(v, permit));
    if let Some(outcome) = verdict.and_then(|v| outcome_of(v.verdict)) {
        let refusal = verdict.and_then(|v| v.refusal);
        let ruling = Ruling {
            refusal: refusal.filter(|_| outcome == Outcome::Declined),
            ..Ruling::silent(outcome, "reviewer")
        };
        return answer(context, checked, ruling, now, now);
    }
    let ground = ground::behind(view, checked, now)?;
    if let Ground::Missing(code) = ground {
        tracing::warn!(request = %permit.request, %code,
            "no standing consent is known here: declined");
        // Said, not passed over in silence: the asker is told, and an honest broker, which would
        // not take a release either, ends the request.
        let ruling = Ruling::silent(Outcome::Declined, code.code());
        let send_at = Timestamp(now.0.saturating_add(context.config.answer_delay_ms));
        return answer(context, checked, ruling, now, send_at);
    }
    let approved = verdict.is_some();
    let kept_back = restriction_at(view, &permit.request)?.filter(|kept| kept.stands(now));
    if approved && kept_back.is_some() {
        // Since it was approved somebody here keeps it back: it looks like nothing held.
        let ruling = Ruling::silent(Outcome::CannotSay, "rights_restricted");
        return answer(context, checked, ruling, now, now);
    }
    let near = asked_by::near_of(context, checked.request(), checked.context());
    let mut records = find_records(view, checked)?;
    if records.is_empty()
        && let Some(record) = verdict.and_then(|v| v.record.as_deref())
    {
        records = confirmed(view, checked, &near, record)?;
    }
    let records = sealed::open_all(&context.vault, view, &records)?;
    let requester = checked.requester();
    let ruling = rule(context, view, checked, &records, requester, approved, now)?;
    // Whatever was found, or an answer that takes its time would say that somebody is near.
    let looks_first = permit.review
        || !near.is_empty()
        || ground == Ground::StandsElsewhere
        || a_person_looks_first(context, view, checked, requester)?;
    let Some(ruling) = ruling.filter(|_| approved || !looks_first) else {
        let waits = row.filter(|r| r.status == Status::HolderReview && r.items == permit.items);
        return Ok(vec![Event::ReviewAsked {
            request: permit.request.clone(),
            review_by: waits
                .and_then(|r| r.review_by)
                .unwrap_or_else(|| review_by(context, checked, now)),
            record_found: !records.is_empty(),
            again: waits.is_some(),
        }]);
    };
    let at_once = seeded(Bug::AnswerAtOnceWithoutRecord) && records.is_empty();
    let delay = if approved || at_once {
        0
    } else {
        context.config.answer_delay_ms
    };
    answer(
        context,
        checked,
        ruling,
        now,
        Timestamp(now.0.saturating_add(delay)),
    )
}

/// Until when a person here should decide.
fn review_by(context: &Context, checked: &CheckedPermit, now: Timestamp) -> Timestamp {
    match checked.permit().purpose {
        // As long as the law gives, and no longer than the request lasts.
        Purpose::RightsRequest => {
            let days = u64::from(context.config.rights.days);
            let by = now.plus_s(days.saturating_mul(86_400));
            by.min(checked.request().not_after)
        }
        _ => now.plus_s(context.config.review_deadline_h.saturating_mul(3_600)),
    }
}

/// What was decided under an earlier permit holds for no more than it covered, and by no fewer
/// people than this one asks for.
fn covers(verdict: &VerdictRow, permit: &Permit) -> bool {
    let workers: BTreeSet<_> = verdict.workers.iter().collect();
    let needs_two = verdict.verdict == Verdict::Approve
        && permit.obligations.contains(&Obligation::SecondApprover);
    !verdict.awaits_second
        && permit.items.iter().all(|i| verdict.items.contains(i))
        && (!needs_two || workers.len() >= 2)
}

/// The records of the one whom a person here has compared with what was asked for, and of no other;
/// none if she or he has withdrawn under the own spelling.
fn confirmed(
    view: &dyn Read,
    checked: &CheckedPermit,
    near: &[Handle],
    record: &str,
) -> Result<Vec<PersonRow>, ErrorCode> {
    let records = near_index::confirmed(view, near, record).map_err(storage)?;
    if ground::has_withdrawn(view, checked.permit(), &records)? {
        tracing::warn!(request = %checked.permit().request,
            "withdrawn under another spelling: nothing is said");
        return Ok(Vec::new());
    }
    Ok(records)
}

/// The records of the person whom the permit is about. Without a person (stage 2 of a table) only
/// the agency that put the case there knows who it is.
fn find_records(view: &dyn Read, checked: &CheckedPermit) -> Result<Vec<PersonRow>, ErrorCode> {
    let handle = match (checked.subject(), &checked.permit().case) {
        (Some(handle), _) => Some(handle),
        (None, Some(case)) => state::label(view, case.as_str())
            .map_err(storage)?
            .map(|label| label.handle),
        (None, None) => None,
    };
    match handle {
        Some(handle) => state::people_by_handle(view, &handle).map_err(storage),
        None => Ok(Vec::new()),
    }
}

/// Seals and signs the answer. `send_at` is when it may leave.
fn answer(
    context: &Context,
    checked: &CheckedPermit,
    ruling: Ruling,
    now: Timestamp,
    send_at: Timestamp,
) -> Result<Vec<Event>, ErrorCode> {
    let (ruling, opening, sealed) = match seal_answer(checked, &ruling) {
        Ok((opening, sealed)) => (ruling, opening, sealed),
        Err(ErrorCode::TooLarge) => {
            // More than the largest answer holds: said to nobody, for its size would tell.
            let ruling = Ruling::silent(Outcome::CannotSay, "answer_too_large");
            let (opening, sealed) = seal_answer(checked, &ruling)?;
            (ruling, opening, sealed)
        }
        Err(code) => return Err(code),
    };
    let request = checked.permit().request.clone();
    let body = Body::Answer(Answer {
        request: request.clone(),
        permit: checked.digest(),
        outcome: opening.commitment(),
        sealed: Digest::of(&sealed),
    });
    let stated = context
        .say(now, body)?
        .payload(PAYLOAD_ANSWER, sealed)
        .not_before(send_at)
        .done();
    Ok(vec![
        Event::Answered {
            request,
            permit: checked.digest(),
            outcome: ruling.outcome,
            rules: ruling.rules,
            statement: stated.envelope.digest(),
        },
        Event::Stated(Box::new(stated)),
    ])
}

/// The padded size of the answer, from the permit alone: what was found must not show in it.
fn answer_size(permit: &Permit, content: usize) -> usize {
    if seeded(Bug::SizeByContent) {
        return if content > 450 {
            seal::LONG_ANSWER
        } else {
            seal::SHORT_ANSWER
        };
    }
    let is_long = permit.items.iter().any(|i| i.level == Level::Detail) || permit.items.len() > 3;
    if is_long {
        seal::LONG_ANSWER
    } else {
        seal::SHORT_ANSWER
    }
}

fn seal_answer(checked: &CheckedPermit, ruling: &Ruling) -> Result<(Opening, Vec<u8>), ErrorCode> {
    let opening = entropy::opening(Field::Outcome, ruling.outcome.code().as_bytes())?;
    let content = serde_json::to_vec(&SealedAnswer {
        outcome: ruling.outcome,
        opening: opening.clone(),
        items: ruling.items.clone(),
        obligations: match ruling.outcome {
            Outcome::Released => checked.permit().obligations.clone(),
            Outcome::Declined | Outcome::CannotSay => Vec::new(),
        },
        refusal: ruling.refusal,
    });
    let content = zeroize::Zeroizing::new(content.map_err(|_| ErrorCode::Internal)?);
    let permit = checked.permit();
    let sealed = seal::seal(
        &permit.reply_key,
        &checked.digest().0,
        permit.request.as_str().as_bytes(),
        &content,
        answer_size(permit, content.len()),
    )
    .map_err(|error| match error {
        seal::SealError::TooLarge => ErrorCode::TooLarge,
        _ => ErrorCode::Internal,
    })?;
    Ok((opening, sealed))
}
