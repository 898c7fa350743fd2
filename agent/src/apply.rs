//! `apply`: what an event of the agent does to its projection. Total, deterministic, no checks
//! that could differ at a replay.

use crate::{
    agreements, apply_notice, deletions, erasure,
    event::{Event, Stated, Transaction, Verdict},
    forget,
    imported::{self, Staged},
    names, near_index, origin, postponed, retention, rights, rules, service_consents, settlement,
    standing,
    state::{self, AskRow, GivenRow, LabelRow, Meta, VerdictRow, key},
    suspicion::record,
    vault,
};
use passerelle_model::{
    bytes::{Digest, Handle},
    ids::{AgencyId, RequestId},
    request::Status,
    statement::{Body, Request},
    store::{Overlay, StoreError},
    time::Timestamp,
    vocabulary::Outcome,
};

/// Carries out a transaction of the agency `me`.
///
/// # Errors
/// The store fails, or journal and projection do not belong together: rebuild, or stop.
pub fn apply(
    view: &mut Overlay<'_>,
    me: &AgencyId,
    transaction: &Transaction,
) -> Result<(), StoreError> {
    for event in &transaction.events {
        apply_event(view, me, transaction.at, event)?;
    }
    Ok(())
}

fn apply_event(
    view: &mut Overlay<'_>,
    me: &AgencyId,
    at: Timestamp,
    event: &Event,
) -> Result<(), StoreError> {
    match event {
        Event::Stated(stated) => state_one(view, at, stated),
        Event::Settled { seq, code, index } => settlement::settle(view, *seq, *code, *index),
        Event::HeldBack { seq } => settlement::held_back(view, *seq),
        Event::Witnessed(witness) => edit_meta(view, |meta| meta.witness = *witness),
        Event::Noticed(notice) => apply_notice::noticed(view, me, notice),
        Event::PermitRefused { .. }
        | Event::ReviewAsked { .. }
        | Event::Reviewed { .. }
        | Event::Answered { .. } => apply_to_hold(view, event),
        Event::AnswerOpened { .. }
        | Event::AnswerRefused { .. }
        | Event::Viewed { .. }
        | Event::ErasureBegun { .. }
        | Event::Erased { .. } => apply_to_ask(view, event),
        Event::HandlesFound(found) => found
            .iter()
            .try_for_each(|(token, handle)| imported::handle_found(view, token, handle)),
        Event::NearFound(found) => found.iter().try_for_each(|f| near_index::found(view, f)),
        Event::Labelled { id, handle, label } => labelled(view, id, handle, label),
        Event::NameKept {
            id,
            handle,
            drawn,
            sealed,
        } => names::note_kept(view, (id, handle), drawn, sealed),
        Event::NamesOver { ids } => names::note_over(view, at, ids),
        Event::NamesNotOver { ids } => {
            names::note_not_over(view, ids);
            Ok(())
        }
        Event::NamesForgotten { ids } => names::note_forgotten(view, ids),
        Event::ImportChunk {
            import,
            part,
            people,
        } => {
            let staged = Staged::Plain(people.clone());
            state::put(view, key::staged(import, *part), &staged)
        }
        Event::ImportSealed {
            import,
            part,
            sealed,
        } => {
            let staged = Staged::Sealed(sealed.clone());
            state::put(view, key::staged(import, *part), &staged)
        }
        Event::ImportCommitted { import, parts } => {
            imported::import_committed(view, import, *parts)
        }
        Event::AuditCase(event) => record::apply(view, at, event),
        Event::OriginAccepted(accepted) => origin::accepted(view, accepted),
        Event::KeptAfterCase {
            request,
            reason,
            worker,
        } => deletions::kept(view, request, *reason, worker),
        Event::Rights(event) => rights::record::apply(view, at, event),
        Event::ServiceConsent(event) => service_consents::apply(view, at, event),
        Event::EvidenceKept { consent, opening } => {
            let key = key::of(key::EVIDENCE, consent.as_str().as_bytes());
            state::put(view, key, opening)
        }
        Event::AgreementKept {
            agreement,
            document,
        } => {
            agreements::kept(view, agreement, document);
            Ok(())
        }
        Event::EndorsementAsked { proposal, worker } => {
            rules::endorsement_asked(view, proposal, worker)
        }
        Event::PersonForgotten { source, mark } => imported::forgotten(view, source, mark.as_ref()),
        Event::KeysDestroyed { names } => {
            forget::note_destroyed(view, names);
            Ok(())
        }
    }
}

fn labelled(
    view: &mut Overlay<'_>,
    id: &str,
    handle: &Handle,
    label: &str,
) -> Result<(), StoreError> {
    record::labelled(view, handle, id);
    let row = LabelRow {
        handle: *handle,
        label: label.to_owned(),
        drawn: None,
    };
    state::put(view, key::of(key::LABEL, id.as_bytes()), &row)
}

/// Events about a request to us.
fn apply_to_hold(view: &mut Overlay<'_>, event: &Event) -> Result<(), StoreError> {
    match event {
        Event::PermitRefused { request, code } => edit_hold(view, request, |row| {
            if row.status.is_open() {
                row.status = Status::Stopped;
                row.stopped = Some(code.code().to_owned());
            }
        }),
        Event::ReviewAsked {
            request,
            review_by,
            record_found,
            again,
        } => edit_hold(view, request, |row| {
            row.status = Status::HolderReview;
            row.review_by = Some(*review_by);
            row.record_found = Some(*record_found);
            if !again {
                row.verdict = None;
            }
        }),
        Event::Reviewed {
            request,
            verdict,
            worker,
            items,
            awaits_second,
            record,
            refusal,
        } => edit_hold(view, request, |row| {
            let earlier = row.verdict.take().map(|v| v.workers);
            row.verdict = Some(VerdictRow {
                verdict: *verdict,
                items: items.clone(),
                workers: earlier
                    .into_iter()
                    .flatten()
                    .chain([worker.clone()])
                    .collect(),
                awaits_second: *awaits_second,
                record: record.clone(),
                refusal: *refusal,
            });
            if !awaits_second {
                // Decided here: what is open now is the answer, or a renewal of the permit.
                row.status = Status::Offered;
            }
        }),
        Event::Answered {
            request,
            permit,
            outcome,
            statement,
            ..
        } => edit_hold(view, request, |row| {
            row.status = status_of(*outcome);
            row.given = Some(GivenRow {
                permit: *permit,
                outcome: *outcome,
                statement: *statement,
                accepted: false,
            });
        }),
        _ => Ok(()),
    }
}

/// Events about a request of ours.
fn apply_to_ask(view: &mut Overlay<'_>, event: &Event) -> Result<(), StoreError> {
    match event {
        Event::AnswerOpened { request, .. } => edit_ask(view, request, |row| {
            row.status = Status::Delivered;
            if let Some(answer) = &mut row.answer {
                answer.in_order = true;
            }
        }),
        Event::AnswerRefused { request, code } => edit_ask(view, request, |row| {
            // There is one answer to a request: nothing more will come.
            row.status = Status::Stopped;
            row.stopped = Some(code.code().to_owned());
        }),
        Event::Viewed { request, .. } => edit_ask(view, request, |row| {
            if row.status == Status::Delivered {
                row.status = Status::Viewed;
            }
        }),
        Event::ErasureBegun { request } => {
            erasure::note_begun(view, request);
            Ok(())
        }
        Event::Erased { request } => {
            erasure::note_finished(view, request)?;
            edit_ask(view, request, |row| row.status = Status::Erased)
        }
        _ => Ok(()),
    }
}

/// The status at the holder that an outcome stands for.
pub const fn status_of(outcome: Outcome) -> Status {
    match outcome {
        Outcome::Released => Status::Released,
        Outcome::Declined => Status::Declined,
        Outcome::CannotSay => Status::CannotSay,
    }
}

/// What a reviewer's word means without a look at the record.
pub const fn outcome_of(verdict: Verdict) -> Option<Outcome> {
    match verdict {
        Verdict::Approve => None,
        Verdict::Decline => Some(Outcome::Declined),
        Verdict::CannotSay => Some(Outcome::CannotSay),
    }
}

pub(crate) fn edit_meta(
    view: &mut Overlay<'_>,
    edit: impl FnOnce(&mut Meta),
) -> Result<(), StoreError> {
    let mut meta = state::meta(view)?;
    edit(&mut meta);
    state::put(view, key::META.to_vec(), &meta)
}

pub(crate) fn edit_ask(
    view: &mut Overlay<'_>,
    request: &RequestId,
    edit: impl FnOnce(&mut AskRow),
) -> Result<(), StoreError> {
    let Some(mut row) = state::ask(view, request)? else {
        return Ok(());
    };
    let before = retention::places(&row);
    edit(&mut row);
    retention::note(view, &before, &row);
    state::put(view, key::of(key::ASK, request.as_str().as_bytes()), &row)
}

/// Changes the row of a request to us, and the number of those that wait for a person.
pub(crate) fn edit_hold(
    view: &mut Overlay<'_>,
    request: &RequestId,
    edit: impl FnOnce(&mut state::HoldRow),
) -> Result<(), StoreError> {
    let Some(mut row) = state::hold(view, request)? else {
        return Ok(());
    };
    let before = row.status == Status::HolderReview;
    let was_postponed = row.postponed.is_some();
    edit(&mut row);
    if !row.status.is_open() || row.given.is_some() {
        row.postponed = None;
    }
    if was_postponed != row.postponed.is_some() {
        postponed::note(view, &row);
    }
    let after = row.status == Status::HolderReview;
    state::put(view, key::of(key::HOLD, request.as_str().as_bytes()), &row)?;
    if before == after {
        return Ok(());
    }
    edit_meta(view, |meta| {
        meta.reviews = if after {
            meta.reviews.saturating_add(1)
        } else {
            meta.reviews.saturating_sub(1)
        };
    })
}

fn state_one(view: &mut Overlay<'_>, at: Timestamp, stated: &Stated) -> Result<(), StoreError> {
    let seq = state::meta(view)?.next_out;
    edit_meta(view, |meta| {
        meta.next_out = meta.next_out.saturating_add(1);
        meta.outbox = meta.outbox.saturating_add(1);
    })?;
    match (&stated.vault, &stated.kept) {
        (Some(request), Some(kept)) => {
            // In a row of its own: the outbox forgets it with the statement.
            vault::put_kept(view, request, Some(kept));
            let kept = None;
            let row = Stated {
                kept,
                ..stated.clone()
            };
            state::put(view, key::out(seq), &row)?;
        }
        _ => state::put(view, key::out(seq), stated)?,
    }
    let statement = stated.envelope.digest();
    match body_of(stated)? {
        Body::Request(request) => asked(view, at, *request, statement),
        Body::Consent(terms) => standing::said(view, &terms.consent, &statement),
        Body::Withdrawal(withdrawal) => {
            note_withdrawal(view)?;
            standing::withdrawing(view, &withdrawal.consent, withdrawal.scope, statement)
        }
        Body::AgreementChange(change) => {
            note_withdrawal(view)?;
            agreements::changing(view, &change, statement)
        }
        Body::Renewal(renewal) => edit_hold(view, &renewal.request, |row| {
            row.renewing = Some(renewal.permit);
        }),
        Body::Answer(_)
        | Body::Receipt(_)
        | Body::Agreement(_)
        | Body::AgreementSignature(_)
        | Body::CaseOpening(_)
        | Body::CaseAdvance(_)
        | Body::BundleEndorsement(_)
        | Body::OverrideReview(_)
        | Body::Resumption(_) => Ok(()),
    }
}

/// What was made until now may rest on what is withdrawn.
pub(crate) fn note_withdrawal(view: &mut Overlay<'_>) -> Result<(), StoreError> {
    edit_meta(view, |meta| meta.withdrawn_before = meta.next_out)
}

pub(crate) fn body_of(stated: &Stated) -> Result<Body, StoreError> {
    let statement = stated.envelope.unverified_statement();
    statement
        .map(|s| s.body)
        .map_err(|_| StoreError("an own statement does not parse".to_owned()))
}

fn asked(
    view: &mut Overlay<'_>,
    at: Timestamp,
    request: Request,
    statement: Digest,
) -> Result<(), StoreError> {
    deletions::asked(view, &request);
    let key = key::of(key::ASK, request.request.as_str().as_bytes());
    let row = AskRow {
        request,
        statement,
        at,
        status: Status::Submitted,
        decision: None,
        permits: Vec::new(),
        obligations: Vec::new(),
        answer: None,
        stopped: None,
        recalled: None,
        trail: Vec::new(),
    };
    state::put(view, key, &row)
}
