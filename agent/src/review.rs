//! Human review at the holder, and what follows when an answer is refused or held back.
//!
//! In scope: a reviewer's word, a second approver, permits that ran out meanwhile. Functions of
//! the state, run by the single writer. Out of scope: who may review (the agency's settings).

use crate::{
    asked_by,
    context::Context,
    event::{Event, Verdict},
    facts::csv_import::SourceId,
    holder::{renew, storage, use_permit},
    near_index,
    rights::{
        Refusal,
        record::{RightsEvent, restriction_at},
    },
    state::{self, HoldRow},
    trust::Trust,
    verify::CheckedNotice,
};
use passerelle_model::{
    entry::EntryBody, error::ErrorCode, ids::RequestId, pdp::Obligation, request::Status,
    statement::Answer, store::Read, time::Timestamp, vocabulary::Purpose,
};

/// What a person here says of a request.
#[derive(Clone, Debug)]
pub struct Word {
    /// What.
    pub verdict: Verdict,
    /// Who.
    pub worker: String,
    /// The source's id of the own record that was asked for under another spelling.
    pub record: Option<String>,
    /// Of a person's own request that is declined: why, as the person is told.
    pub refusal: Option<Refusal>,
}

impl Word {
    /// A verdict, and no more.
    pub fn new(verdict: Verdict, worker: &str) -> Self {
        Self {
            verdict,
            worker: worker.to_owned(),
            record: None,
            refusal: None,
        }
    }
}

/// What a person here decided on a request that waits for one.
///
/// # Errors
/// [`ErrorCode::UnknownRequest`], [`ErrorCode::WrongState`], [`ErrorCode::Duplicate`] if a second
/// person has to agree and this is the first one again; [`ErrorCode::NotAParty`] to release what a
/// restriction keeps back; the store.
pub fn review(
    context: &Context,
    view: &dyn Read,
    trust: &Trust,
    request: &RequestId,
    word: Word,
    now: Timestamp,
) -> Result<Vec<Event>, ErrorCode> {
    let Word {
        verdict,
        worker,
        record,
        refusal,
    } = word;
    let row = state::hold(view, request).map_err(storage)?;
    let mut row = row.ok_or(ErrorCode::UnknownRequest)?;
    if row.status != Status::HolderReview {
        return Err(ErrorCode::WrongState);
    }
    let notice = latest_offer(view, request)?.ok_or(ErrorCode::WrongState)?;
    let EntryBody::Offered { permit } = &notice.entry().body else {
        return Err(ErrorCode::Internal);
    };
    let restriction = restriction_at(view, request)?.filter(|_| verdict == Verdict::Approve);
    if restriction.as_ref().is_some_and(|kept| kept.stands(now)) {
        return Err(ErrorCode::NotAParty);
    }
    let first = row.verdict.as_ref().map(|v| v.workers.clone());
    if first.as_ref().is_some_and(|w| w.contains(&worker)) && verdict == Verdict::Approve {
        return Err(ErrorCode::Duplicate);
    }
    let record = match verdict {
        Verdict::Approve => approved_record(context, view, &row, record)?,
        Verdict::Decline | Verdict::CannotSay => None,
    };
    let awaits_second = verdict == Verdict::Approve
        && permit.obligations.contains(&Obligation::SecondApprover)
        && first.is_none();
    let reviewed = Event::Reviewed {
        request: request.clone(),
        verdict,
        worker: worker.clone(),
        items: permit.items.clone(),
        awaits_second,
        record: record.clone(),
        refusal,
    };
    if awaits_second {
        return Ok(vec![reviewed]);
    }
    row.verdict = Some(state::VerdictRow {
        verdict,
        items: permit.items.clone(),
        workers: first
            .into_iter()
            .flatten()
            .chain([worker.clone()])
            .collect(),
        awaits_second: false,
        record,
        refusal,
    });
    // What was kept back until now is given with this.
    let lifted = restriction.map(|kept| {
        Event::Rights(Box::new(RightsEvent::Lifted {
            handle: kept.handle,
            worker: worker.clone(),
        }))
    });
    let follow = use_permit(context, view, &notice, permit, Some(&row), trust, now)?;
    let first = std::iter::once(reviewed).chain(lifted);
    Ok(first.chain(follow).collect())
}

/// The own record that an approval is about: nobody says yes to a near match without saying to
/// which. What a first person chose the second one may not change.
fn approved_record(
    context: &Context,
    view: &dyn Read,
    row: &HoldRow,
    chosen: Option<String>,
) -> Result<Option<String>, ErrorCode> {
    let asked = asked_by::open_context(context, view, &row.request);
    let near = asked.ok().and_then(|asked| asked.near);
    let near = near.filter(|_| row.purpose != Purpose::RightsRequest);
    let near = near.map(|near| near.handles).unwrap_or_default();
    let has_record = row.record_found == Some(true);
    let candidates = match has_record {
        true => Vec::new(),
        false => near_index::candidates(view, &near).map_err(storage)?,
    };
    let earlier = row.verdict.as_ref().and_then(|v| v.record.clone());
    let chosen = match chosen {
        // The journal has what a record is found by, never the source's id of somebody.
        Some(id) => Some(context.vault.index()?.sources(&SourceId(id)).map(|id| id.0)),
        None => earlier.clone().map(|found_by| [found_by.clone(), found_by]),
    };
    let Some(chosen) = chosen else {
        return match candidates.is_empty() {
            true => Ok(None),
            false => Err(ErrorCode::OutOfRange),
        };
    };
    let mut found_by = candidates.into_iter().map(|(row, _)| row.source_id.0);
    let one = found_by.find(|id| chosen.contains(id));
    let one = one.ok_or(ErrorCode::OutOfRange)?;
    if earlier.is_some_and(|earlier| earlier != one) {
        return Err(ErrorCode::OutOfRange);
    }
    Ok(Some(one))
}

fn latest_offer(view: &dyn Read, request: &RequestId) -> Result<Option<CheckedNotice>, ErrorCode> {
    let noticed = state::offer(view, request).map_err(storage)?;
    Ok(noticed.and_then(CheckedNotice::from_journal))
}

/// A request to us that is not over, as if nothing had been answered, with its newest offer.
fn unanswered(
    view: &dyn Read,
    request: &RequestId,
) -> Result<Option<(HoldRow, CheckedNotice)>, ErrorCode> {
    let row = state::hold(view, request).map_err(storage)?;
    let row = row.filter(|row| row.stopped.is_none());
    let row = row.map(|row| HoldRow { given: None, ..row });
    Ok(row.zip(latest_offer(view, request)?))
}

/// What follows when an answer is held back: the permit is used as if none had been made.
///
/// # Errors
/// The store, or no randomness.
pub fn after_withdrawal(
    context: &Context,
    view: &dyn Read,
    trust: &Trust,
    answer: &Answer,
    now: Timestamp,
) -> Result<Vec<Event>, ErrorCode> {
    let Some((row, notice)) = unanswered(view, &answer.request)? else {
        return Ok(Vec::new());
    };
    let EntryBody::Offered { permit } = &notice.entry().body else {
        return Ok(Vec::new());
    };
    use_permit(context, view, &notice, permit, Some(&row), trust, now)
}

/// What follows when the broker refused our answer because of its permit: another offer may have
/// come meanwhile, or has to be asked for. Nothing has crossed.
///
/// # Errors
/// The store, or no randomness.
pub fn after_refusal(
    context: &Context,
    view: &dyn Read,
    trust: &Trust,
    answer: &Answer,
    code: ErrorCode,
    now: Timestamp,
) -> Result<Vec<Event>, ErrorCode> {
    let Some((row, notice)) = unanswered(view, &answer.request)? else {
        return Ok(Vec::new());
    };
    let EntryBody::Offered { permit } = &notice.entry().body else {
        return Ok(Vec::new());
    };
    if row.permit != answer.permit {
        return use_permit(context, view, &notice, permit, Some(&row), trust, now);
    }
    match code {
        ErrorCode::PermitExpired => renew(context, permit, Some(&row), now),
        // A newer offer is on its way.
        _ => Ok(Vec::new()),
    }
}
