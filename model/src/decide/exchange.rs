//! One exchange: request, decision, permit, answer, receipt.

use super::{
    Draft, MAX_EXPIRED_PER_TICK, MAX_REQUEST_LIFE_S, MIN_RENEWAL_AGE_S, PERMIT_LIFE_S, Reply, Step,
    Stop, ensure,
};
use crate::{
    bytes::{Bytes, Commitment, Handle},
    commitment::Field,
    entry::{EntryBody, Sidecar, StopCause},
    error::ErrorCode,
    ids::RequestId,
    pdp::{Effect, ItemRuling, Matter, Obligation, Ruling},
    permit::Permit,
    pip::{self, Collected},
    records::{Decision, RequestRow},
    request::{Status, Step as Move},
    seeded::{Bug, seeded},
    state::{self, key},
    statement::{
        Answer, Item, MAX_ITEMS, OverrideReview, PAYLOAD_ANSWER, PAYLOAD_CONTEXT, Receipt,
        ReceiptKind, Renewal, Request, Verified,
    },
    time::Timestamp,
};
use std::collections::{BTreeMap, BTreeSet};

/// Most bytes of a sealed context.
pub(super) const MAX_CONTEXT_BYTES: usize = 16 * 1024;

/// Most bytes of a sealed answer.
pub(super) const MAX_ANSWER_BYTES: usize = 300 * 1024;

/// The sidecar of a statement about a person: the opening of its subject and nothing else, for
/// other openings are none of the broker's business, even if an agency should send them.
pub(super) fn subject_sidecar(said: &Verified, subject: Option<&Commitment>) -> Step<Sidecar> {
    let mut sidecar = Sidecar::default();
    if let Some(commitment) = subject {
        let opening = said.opening(Field::Subject, commitment)?;
        ensure(
            Handle::from_slice(&opening.data.0).is_some(),
            ErrorCode::OpeningMismatch,
        )?;
        sidecar.openings.push(opening.clone());
    }
    Ok(sidecar)
}

fn payload(said: &Verified, name: &str, digest: &crate::bytes::Digest, max: usize) -> Step<Bytes> {
    let bytes = said.payload(name, digest)?;
    ensure(bytes.0.len() <= max, ErrorCode::TooLarge)?;
    Ok(bytes.clone())
}

pub(super) fn request(draft: &mut Draft<'_, '_>, said: &Verified, asked: &Request) -> Step<u64> {
    let now = draft.inputs.now;
    // What is missing of the log may be a withdrawal.
    ensure(!state::is_recovering(draft.state)?, ErrorCode::Recovering)?;
    ensure(
        state::request(draft.state, &asked.request)?.is_none(),
        ErrorCode::Duplicate,
    )?;
    ensure(
        state::member(draft.state, &asked.holder)?.is_some(),
        ErrorCode::UnknownAgency,
    )?;
    ensure(
        asked.holder != said.statement().agency,
        ErrorCode::OutOfRange,
    )?;
    ensure(
        (1..=MAX_ITEMS).contains(&asked.items.len()),
        ErrorCode::OutOfRange,
    )?;
    let categories: BTreeSet<_> = asked.items.iter().map(|i| i.category).collect();
    ensure(categories.len() == asked.items.len(), ErrorCode::OutOfRange)?;
    ensure(
        now < asked.not_after && asked.not_after <= now.plus_s(MAX_REQUEST_LIFE_S),
        ErrorCode::OutOfRange,
    )?;
    if let Some(case) = &asked.case {
        ensure(
            state::case(draft.state, case)?.is_some(),
            ErrorCode::UnknownCase,
        )?;
    }
    // Without a case there is no way to know whom a request without a person is about.
    ensure(
        asked.subject.is_some() || asked.case.is_some(),
        ErrorCode::OutOfRange,
    )?;
    let mut sidecar = subject_sidecar(said, asked.subject.as_ref())?;
    let context = payload(said, PAYLOAD_CONTEXT, &asked.context, MAX_CONTEXT_BYTES)?;
    sidecar.payloads = BTreeMap::from([(PAYLOAD_CONTEXT.to_owned(), context)]);
    let index = draft.push_said(said, sidecar)?;
    let row = load(draft, &asked.request)?;
    let items = rule_all(draft, &row)?;
    push_decision(draft, &row, items)?;
    Ok(index)
}

fn load(draft: &Draft<'_, '_>, request: &RequestId) -> Step<RequestRow> {
    state::request(draft.state, request)?.ok_or(Stop::Refused(ErrorCode::UnknownRequest))
}

/// Rules on every item as things stand now.
fn rule_all(draft: &Draft<'_, '_>, row: &RequestRow) -> Step<Vec<ItemRuling>> {
    let [first, ..] = row.items.as_slice() else {
        return Err(Stop::Refused(ErrorCode::OutOfRange));
    };
    let collected = pip::collect(draft.state, row, *first, draft.inputs.now)?;
    let [chance, ..] = draft.inputs.seed;
    let by_chance = seeded(Bug::DecisionByChance) && chance % 2 == 0;
    let rule = |item: &Item| match &collected {
        _ if by_chance => Ruling::deny("chance"),
        Collected::Matter(matter) => {
            let matter = Matter {
                item: *item,
                ..(**matter).clone()
            };
            draft.inputs.pdp.rule(&matter)
        }
        Collected::Doubt(reason) => Ruling::deny(reason),
    };
    Ok(row
        .items
        .iter()
        .map(|item| ItemRuling {
            category: item.category,
            level: item.level,
            ruling: rule(item),
        })
        .collect())
}

fn push_decision(draft: &mut Draft<'_, '_>, row: &RequestRow, items: Vec<ItemRuling>) -> Step<u64> {
    draft.push_public(EntryBody::Decided {
        request: row.request.clone(),
        items,
        bundle: draft.inputs.pdp.bundle(),
    })
}

/// Issues a permit, on grounds looked at again this instant (promise: on delivery it is decided
/// again, never replayed).
pub(super) fn offer(draft: &mut Draft<'_, '_>, request: &RequestId) -> Step<Reply> {
    let row = load(draft, request)?;
    let now = draft.inputs.now;
    let permit_is_live = row.permit.as_ref().is_some_and(|p| now < p.not_after);
    // A crash may have cut a batch between a request and its decision: it is decided now.
    let wants_permit = matches!(row.status, Status::Submitted | Status::Queued)
        || (row.status == Status::Offered && !permit_is_live);
    if !wants_permit || row.not_after <= now {
        return Ok(Reply::Nothing);
    }
    issue(draft, row)
}

fn issue(draft: &mut Draft<'_, '_>, mut row: RequestRow) -> Step<Reply> {
    // A crash may have cut the batch that began a new origin, and left requests of the former open.
    if state::is_recovering(draft.state)? {
        return Ok(Reply::Nothing);
    }
    let now = draft.inputs.now;
    let items = rule_all(draft, &row)?;
    let stands = row.decision.as_ref().is_some_and(|decision| {
        decision.items == items
            && decision.bundle == draft.inputs.pdp.bundle()
            && now == decision.at
    });
    if !stands {
        push_decision(draft, &row, items)?;
        row = load(draft, &row.request)?;
    }
    if !row.status.is_open() {
        return Ok(Reply::Nothing);
    }
    let permit = Box::new(permit(draft, &row)?);
    Ok(Reply::Done {
        index: draft.push_public(EntryBody::Offered { permit })?,
    })
}

/// Rules again on a request whose ground may be gone. One that was offered gets another permit if
/// it still stands: the holder knows of it, and would wait for nothing.
pub(super) fn decide_again(draft: &mut Draft<'_, '_>, row: &RequestRow) -> Step {
    if row.status == Status::Offered {
        issue(draft, row.clone())?;
    } else if row.status.is_open() {
        let items = rule_all(draft, row)?;
        push_decision(draft, row, items)?;
    }
    Ok(())
}

fn permit(draft: &Draft<'_, '_>, row: &RequestRow) -> Step<Permit> {
    let decision = row.decision.as_ref().ok_or(ErrorCode::WrongState)?;
    let now = draft.inputs.now;
    Ok(Permit {
        request: row.request.clone(),
        statement: row.statement,
        requester: row.requester.clone(),
        holder: row.holder.clone(),
        items: decision
            .allowed()
            .map(|i| Item {
                category: i.category,
                level: i.level,
            })
            .collect(),
        purpose: row.purpose,
        basis: row.basis,
        case: row.case.clone(),
        reply_key: row.reply_key,
        review: decision.effect() == Effect::Review,
        obligations: obligations(decision),
        decision: decision.index,
        bundle: decision.bundle,
        issued_at: now,
        not_after: now.plus_s(PERMIT_LIFE_S).min(row.not_after),
    })
}

/// The obligations of all allowed items together; of several retention periods the shortest.
fn obligations(decision: &Decision) -> Vec<Obligation> {
    let all: BTreeSet<_> = decision
        .allowed()
        .flat_map(|i| i.ruling.obligations.iter().cloned())
        .collect();
    let shortest = all
        .iter()
        .filter_map(|o| {
            if let Obligation::RetainDays(days) = o {
                Some(*days)
            } else {
                None
            }
        })
        .min();
    all.into_iter()
        .filter(|o| !matches!(o, Obligation::RetainDays(_)))
        .chain(shortest.map(Obligation::RetainDays))
        .collect()
}

/// Sequences an answer, if the permit still stands at this instant.
pub(super) fn answer(draft: &mut Draft<'_, '_>, said: &Verified, answer: &Answer) -> Step<u64> {
    let row = load(draft, &answer.request)?;
    ensure(row.holder == said.statement().agency, ErrorCode::NotAParty)?;
    ensure(row.status != Status::Stopped, ErrorCode::PermitWithdrawn)?;
    // A crash cut a batch between a new decision and its permit: the one that was is over, and
    // another will be offered. Any other code would make the holder give the request up.
    let awaits_another = row.status == Status::Queued && row.permit.is_some();
    ensure(!awaits_another, ErrorCode::PermitExpired)?;
    ensure(row.status == Status::Offered, ErrorCode::WrongState)?;
    ensure(!state::is_recovering(draft.state)?, ErrorCode::Recovering)?;
    let permit = row.permit.as_ref().ok_or(ErrorCode::WrongState)?;
    ensure(permit.digest == answer.permit, ErrorCode::PermitMismatch)?;
    ensure(
        draft.inputs.now < permit.not_after,
        ErrorCode::PermitExpired,
    )?;
    let sealed = payload(said, PAYLOAD_ANSWER, &answer.sealed, MAX_ANSWER_BYTES)?;
    check_ground(draft, &row)?;
    let payloads = BTreeMap::from([(PAYLOAD_ANSWER.to_owned(), sealed)]);
    draft.push_said(
        said,
        Sidecar {
            openings: Vec::new(),
            payloads,
        },
    )
}

/// Every item that the permit allows must still be allowed, on terms no stricter.
fn check_ground(draft: &mut Draft<'_, '_>, row: &RequestRow) -> Step {
    if seeded(Bug::WithdrawalStopsNothing) {
        return Ok(());
    }
    let items = rule_all(draft, row)?;
    let decision = row.decision.as_ref().ok_or(ErrorCode::WrongState)?;
    let gone =
        decision.items.iter().zip(&items).any(|(then, now)| {
            then.ruling.effect != Effect::Deny && now.ruling.effect == Effect::Deny
        });
    if gone {
        let cause = StopCause::DecidedAgain;
        draft.push_public(EntryBody::Stopped {
            request: row.request.clone(),
            cause,
        })?;
        return Err(Stop::Refused(ErrorCode::PermitWithdrawn));
    }
    ensure(!has_other_terms(decision, &items), ErrorCode::PermitExpired)
}

/// Whether a permit issued now would differ: review is needed where it was not, or the ground or
/// the duties are others.
fn has_other_terms(decision: &Decision, now: &[ItemRuling]) -> bool {
    decision.items.iter().zip(now).any(|(then, now)| {
        then.ruling.effect != Effect::Deny
            && (then.ruling.effect != now.ruling.effect
                || then.ruling.consent != now.ruling.consent
                || then.ruling.agreement != now.ruling.agreement
                || then.ruling.obligations != now.ruling.obligations)
    })
}

pub(super) fn receipt(draft: &mut Draft<'_, '_>, said: &Verified, receipt: &Receipt) -> Step<u64> {
    let row = load(draft, &receipt.request)?;
    ensure(
        row.requester == said.statement().agency,
        ErrorCode::NotAParty,
    )?;
    let (_, sealed) = row.answer.ok_or(ErrorCode::WrongState)?;
    ensure(sealed == receipt.sealed, ErrorCode::PayloadMismatch)?;
    row.status.after(match receipt.kind {
        ReceiptKind::Delivered => Move::Deliver,
        ReceiptKind::Viewed => Move::View,
        ReceiptKind::Erased => Move::Erase,
    })?;
    draft.push_said(said, Sidecar::default())
}

/// A second person of one of the two agencies has looked at an emergency that was claimed.
pub(super) fn review(
    draft: &mut Draft<'_, '_>,
    said: &Verified,
    review: &OverrideReview,
) -> Step<u64> {
    let row = load(draft, &review.request)?;
    let agency = &said.statement().agency;
    let is_party = row.requester == *agency || row.holder == *agency;
    ensure(is_party, ErrorCode::NotAParty)?;
    let wanted = row.review.ok_or(ErrorCode::WrongState)?;
    ensure(!wanted.by.contains(agency), ErrorCode::Duplicate)?;
    ensure(review.role.is_reviewer(), ErrorCode::NotIndependent)?;
    // Who it was is the agency's own: no opening stays here.
    draft.push_said(said, Sidecar::default())
}

/// The holder has an expired permit, and asks for another.
pub(super) fn renewal(draft: &mut Draft<'_, '_>, said: &Verified, renewal: &Renewal) -> Step<u64> {
    let row = load(draft, &renewal.request)?;
    ensure(row.holder == said.statement().agency, ErrorCode::NotAParty)?;
    ensure(row.status != Status::Stopped, ErrorCode::PermitWithdrawn)?;
    ensure(row.status == Status::Offered, ErrorCode::WrongState)?;
    let named = row
        .permit
        .as_ref()
        .is_some_and(|p| p.digest == renewal.permit);
    ensure(named, ErrorCode::PermitMismatch)?;
    let now = draft.inputs.now;
    ensure(now < row.not_after, ErrorCode::WrongState)?;
    // What counts is what another permit would gain: near the end of the request it would end with
    // this one, whatever its age, and a holder whose clock is fast would ask for ever.
    let until = match seeded(Bug::RenewalForNothing) {
        true => now.plus_s(PERMIT_LIFE_S),
        false => now.plus_s(PERMIT_LIFE_S).min(row.not_after),
    };
    let gains_little =
        |not_after: Timestamp| now < not_after && until < not_after.plus_s(MIN_RENEWAL_AGE_S);
    if row
        .permit
        .as_ref()
        .is_some_and(|p| gains_little(p.not_after))
    {
        let items = rule_all(draft, &row)?;
        let decision = row.decision.as_ref().ok_or(ErrorCode::WrongState)?;
        ensure(has_other_terms(decision, &items), ErrorCode::WrongState)?;
    }
    let index = draft.push_said(said, Sidecar::default())?;
    issue(draft, row)?;
    Ok(index)
}

/// Ends requests whose time is up.
pub(super) fn end_due(draft: &mut Draft<'_, '_>) -> Step {
    for id in draft.state_scan_due()? {
        let Some(row) = state::request_by_text(draft.state, &id)? else {
            continue;
        };
        if row.status.is_open() {
            draft.push_public(EntryBody::Expired {
                request: row.request,
            })?;
        }
    }
    Ok(())
}

impl Draft<'_, '_> {
    fn state_scan_due(&self) -> Step<Vec<String>> {
        use crate::store::{Read as _, StoreError};
        let table = key::due_table();
        let rows = self.state.scan(&table, None, MAX_EXPIRED_PER_TICK)?;
        let now = self.inputs.now.0.to_be_bytes();
        rows.into_iter()
            .filter_map(|(key, _)| {
                let (at, id) = key.get(1..)?.split_at_checked(8)?;
                (at <= now.as_slice()).then(|| id.to_vec())
            })
            .map(|id| {
                String::from_utf8(id).map_err(|_| Stop::Store(StoreError("key is not text".into())))
            })
            .collect()
    }
}
