//! What becomes of a statement of ours, as the projection has it.
//!
//! In scope: the broker's word on it, and answers that are not sent after all. Out of scope: what
//! to do next ([`crate::inbound`]).

use crate::{
    agreements,
    apply::{body_of, edit_ask, edit_hold, edit_meta, note_withdrawal, status_of},
    event::Stated,
    standing,
    state::{self, GivenRow, HoldRow, SentRow, key},
};
use passerelle_model::{
    bytes::Digest,
    error::ErrorCode,
    records::Withdrawn,
    request::Status,
    statement::Body,
    store::{Overlay, StoreError},
};

/// Whether another permit may still mend an answer that was refused with this code.
pub(crate) const fn is_mendable(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::PermitExpired | ErrorCode::PermitMismatch)
}

/// Takes a statement out of the outbox, and notes what became of it. `None` if it was settled
/// before: a resend after a crash is answered twice.
fn take_out(
    view: &mut Overlay<'_>,
    seq: u64,
    sent: SentRow,
) -> Result<Option<(Digest, Body)>, StoreError> {
    let Some(stated) = state::load::<Stated>(view, &key::out(seq))? else {
        return Ok(None);
    };
    view.write(key::out(seq), None);
    edit_meta(view, |meta| meta.outbox = meta.outbox.saturating_sub(1))?;
    let digest = stated.envelope.digest();
    state::put(view, key::of(key::SENT, &digest.0), &sent)?;
    Ok(Some((digest, body_of(&stated)?)))
}

/// Carries out [`Event::Settled`](crate::event::Event::Settled).
///
/// # Errors
/// As [`apply`](crate::apply::apply).
pub(crate) fn settle(
    view: &mut Overlay<'_>,
    seq: u64,
    code: Option<ErrorCode>,
    index: Option<u64>,
) -> Result<(), StoreError> {
    let Some((digest, body)) = take_out(view, seq, SentRow { code, index })? else {
        return Ok(());
    };
    match body {
        Body::Request(request) => edit_ask(view, &request.request, |row| {
            if let Some(code) = code.filter(|_| row.status.is_open()) {
                row.status = Status::Stopped;
                row.stopped = Some(code.code().to_owned());
            }
        }),
        Body::Answer(answer) => edit_hold(view, &answer.request, |row| {
            settle_answer(row, &digest, code);
        }),
        Body::Renewal(renewal) => edit_hold(view, &renewal.request, |row| {
            match code {
                Some(ErrorCode::PermitWithdrawn) if row.status.is_open() => {
                    row.status = Status::Stopped;
                    row.stopped = Some(ErrorCode::PermitWithdrawn.code().to_owned());
                }
                // A clock that is off, here or there: later it may be in order.
                Some(ErrorCode::Stale) if row.status.is_open() => {
                    row.postponed = row.renewing.take();
                }
                // There is nothing to ask for.
                Some(
                    ErrorCode::UnknownRequest | ErrorCode::NotAParty | ErrorCode::PermitMismatch,
                ) if row.postponed == row.renewing => (row.renewing, row.postponed) = (None, None),
                // Too early: the permit in question is to be asked about again.
                Some(_) if row.postponed == row.renewing => row.renewing = None,
                // Else another entry is on its way: a newer offer, or the end.
                _ => {}
            }
        }),
        // The person has withdrawn, whatever the log takes of it: it counts here against all that
        // was given until now.
        Body::Withdrawal(withdrawal) if code.is_some() => {
            note_withdrawal(view)?;
            let index = state::meta(view)?.next_notice;
            let withdrawn = Withdrawn {
                scope: withdrawal.scope,
                index,
            };
            standing::withdrawn(view, &withdrawal.consent, withdrawn, &digest)
        }
        Body::AgreementChange(change) if code.is_some() => {
            agreements::arrived(view, &change.agreement, &digest)
        }
        Body::Consent(terms) if code.is_some() => standing::unsaid(view, &terms.consent),
        Body::Receipt(_)
        | Body::Consent(_)
        | Body::Withdrawal(_)
        | Body::Agreement(_)
        | Body::AgreementSignature(_)
        | Body::AgreementChange(_)
        | Body::CaseOpening(_)
        | Body::CaseAdvance(_)
        | Body::BundleEndorsement(_)
        | Body::OverrideReview(_)
        | Body::Resumption(_) => Ok(()),
    }
}

fn settle_answer(row: &mut HoldRow, statement: &Digest, code: Option<ErrorCode>) {
    let Some(given) = row.given.as_mut().filter(|g| g.statement == *statement) else {
        return;
    };
    match code {
        None => given.accepted = true,
        Some(_) if row.stopped.is_some() => row.given = None,
        Some(code) if is_mendable(code) => {
            // Nothing has crossed: the broker forwards only what it sequenced.
            row.given = None;
            row.status = Status::Offered;
        }
        Some(ErrorCode::Stale) => {
            // It was said by a clock that was off. The permit may do once it is right.
            row.postponed = Some(given.permit);
            row.given = None;
            row.status = Status::Offered;
        }
        Some(code) => {
            row.given = None;
            row.status = Status::Stopped;
            row.stopped = Some(code.code().to_owned());
        }
    }
}

/// Carries out [`Event::HeldBack`](crate::event::Event::HeldBack).
///
/// # Errors
/// As [`apply`](crate::apply::apply).
pub(crate) fn held_back(view: &mut Overlay<'_>, seq: u64) -> Result<(), StoreError> {
    let sent = SentRow {
        code: Some(ErrorCode::PermitWithdrawn),
        index: None,
    };
    let Some((digest, Body::Answer(answer))) = take_out(view, seq, sent)? else {
        return Ok(());
    };
    // What was given is kept: it may have been taken on an earlier stream, whose end came before
    // the broker's word. Until something is said instead, the permit is one to ask about again.
    edit_hold(view, &answer.request, |row| {
        if row.given.as_ref().is_some_and(|g| g.statement == digest) {
            row.held_back = row.given.take();
            if row.stopped.is_none() {
                row.status = Status::Offered;
                row.postponed = Some(answer.permit);
            }
        }
    })
}

/// An answer of ours is in the log. If it was held back, it had left before.
pub(crate) fn came_back(row: &mut HoldRow, statement: &Digest) {
    let Some(held) = row.held_back.take_if(|held| held.statement == *statement) else {
        return;
    };
    row.status = status_of(held.outcome);
    row.stopped = None;
    row.given = Some(GivenRow {
        accepted: true,
        ..held
    });
}
