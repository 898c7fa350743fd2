//! What a verified log entry does to the agent's projection.
//!
//! Whether it may have an effect was decided before it was journaled ([`crate::verify`]); here it
//! is carried out.

use crate::{
    agreements,
    apply::{edit_ask, edit_hold, edit_meta, note_withdrawal},
    deletions,
    event::Noticed,
    late::heard,
    origin, rules, seals, settlement, standing,
    state::{self, AnswerRow, HoldRow, MemberRow, Step, key},
};
use passerelle_model::{
    bytes::{Commitment, Digest, Handle},
    commitment::{self, Field},
    entry::{Entry, EntryBody, StopCause},
    ids::{AgencyId, FederationId, RequestId},
    pdp::Effect,
    permit::Permit,
    records::{Case, Consent, Decision, Withdrawn},
    request::Status,
    statement::{
        Answer, Body, CaseAdvance, CaseOpening, ConsentTerms, PAYLOAD_ANSWER, ReceiptKind,
        Withdrawal,
    },
    store::{Overlay, StoreError},
    time::Timestamp,
    vocabulary::CaseRole,
};

pub(crate) fn noticed(
    view: &mut Overlay<'_>,
    me: &AgencyId,
    notice: &Noticed,
) -> Result<(), StoreError> {
    let next = notice.index.saturating_add(1);
    let entry = Entry::from_bytes(&notice.entry.0);
    let heard_at = entry.as_ref().ok().map(|entry| entry.at);
    heard(view, notice.membership, notice.index)?;
    edit_meta(view, |meta| {
        meta.heard_at = meta.heard_at.max(heard_at);
        let cursor = if notice.membership {
            &mut meta.next_member
        } else {
            &mut meta.next_notice
        };
        // One that was heard before is not journaled again.
        if notice.index < *cursor {
            meta.late = meta.late.saturating_add(1);
        }
        *cursor = next.max(*cursor);
    })?;
    if notice.problem.is_some() {
        return Ok(());
    }
    let entry = entry.map_err(|_| StoreError("a journaled entry does not parse".to_owned()))?;
    let step = |what: &str| Step {
        index: notice.index,
        what: what.to_owned(),
        at: entry.at,
    };
    match &entry.body {
        EntryBody::Enrolled {
            agency,
            keys,
            certificate,
            ..
        } => enrolled(view, notice.index, agency, keys, certificate),
        EntryBody::Revoked { agency } => revoked(view, notice.index, agency),
        EntryBody::Said { agency, envelope } => {
            let statement = envelope
                .unverified_statement()
                .map_err(|_| StoreError("a journaled statement does not parse".to_owned()))?;
            let source = Source {
                notice,
                statement: envelope.digest(),
                federation: statement.federation,
                at: entry.at,
            };
            said(view, me, agency, statement.body, &source)
        }
        EntryBody::Decided {
            request,
            items,
            bundle,
        } => {
            let decision = Decision {
                index: notice.index,
                at: entry.at,
                items: items.clone(),
                bundle: *bundle,
            };
            decided(view, request, decision, step("decided"))
        }
        EntryBody::Offered { permit } => offered(view, me, permit, notice, &step("offered")),
        EntryBody::Stopped { request, cause } => {
            let step = step("stopped");
            ended(view, request, Status::Stopped, cause_code(cause), &step)
        }
        EntryBody::Expired { request } => {
            ended(view, request, Status::Expired, "expired", &step("expired"))
        }
        EntryBody::Recalled { request, .. } => {
            edit_ask(view, request, |row| {
                row.recalled = row.recalled.or(Some(entry.at));
                row.trail.push(step("recalled"));
            })?;
            edit_hold(view, request, |row| row.trail.push(step("recalled")))
        }
        EntryBody::Sealed {
            from,
            until,
            counts,
        } => seals::note(view, me, notice, (*from, *until), counts.get(me), entry.at),
        EntryBody::Founded { bundle, .. } => rules::founded(view, bundle),
        EntryBody::BundleProposed { terms } => rules::proposed(view, terms, entry.at, notice.index),
        EntryBody::BundleActivated { bundle } => {
            rules::activated(view, bundle, entry.at, notice.index)
        }
        EntryBody::Invited { .. }
        | EntryBody::Refused { .. }
        | EntryBody::Supersedes(_)
        | EntryBody::WithdrawalCarriedOut { .. }
        | EntryBody::HandlesEvaluated { .. } => Ok(()),
    }
}

fn decided(
    view: &mut Overlay<'_>,
    request: &RequestId,
    decision: Decision,
    step: Step,
) -> Result<(), StoreError> {
    let denied = decision.effect() == Effect::Deny;
    edit_hold(view, request, |row| {
        if denied {
            // The broker tells a holder only of the end of a permit that it had.
            end_hold(row, Status::Stopped, cause_code(&StopCause::DecidedAgain));
        }
        row.trail.push(step.clone());
    })?;
    edit_ask(view, request, |row| {
        if row.status.is_open() {
            row.status = match decision.effect() {
                Effect::Deny => Status::Denied,
                Effect::Permit | Effect::Review => Status::Decided,
            };
        }
        row.decision = Some(decision);
        row.trail.push(step);
    })
}

const fn cause_code(cause: &StopCause) -> &'static str {
    match cause {
        StopCause::Withdrawn(_) => "withdrawn",
        StopCause::DecidedAgain => "decided_again",
        StopCause::Revoked(_) => "revoked",
        StopCause::Superseded => "superseded",
    }
}

fn enrolled(
    view: &mut Overlay<'_>,
    index: u64,
    agency: &AgencyId,
    keys: &passerelle_model::statement::AgencyKeys,
    certificate: &str,
) -> Result<(), StoreError> {
    let mut former = Vec::new();
    let mut since = index;
    if let Some(old) = state::member(view, agency)? {
        // What the former keys have endorsed the present ones have not.
        rules::forgotten(view, agency)?;
        former = old.former;
        if old.active {
            since = old.since;
        }
        if old.keys.signing != keys.signing {
            former.push(old.keys.signing);
        }
    }
    let row = MemberRow {
        keys: keys.clone(),
        former,
        certificate: certificate.to_owned(),
        active: true,
        since,
    };
    state::put(view, key::of(key::MEMBER, agency.as_str().as_bytes()), &row)
}

fn revoked(view: &mut Overlay<'_>, index: u64, agency: &AgencyId) -> Result<(), StoreError> {
    let Some(mut row) = state::member(view, agency)? else {
        return Ok(());
    };
    // A notice that comes late is about a membership that has ended: it joined again since.
    if row.since > index {
        return Ok(());
    }
    row.active = false;
    rules::forgotten(view, agency)?;
    state::put(view, key::of(key::MEMBER, agency.as_str().as_bytes()), &row)
}

/// Where a statement comes from.
struct Source<'a> {
    notice: &'a Noticed,
    /// Its digest.
    statement: Digest,
    federation: FederationId,
    at: Timestamp,
}

fn said(
    view: &mut Overlay<'_>,
    me: &AgencyId,
    agency: &AgencyId,
    body: Body,
    source: &Source<'_>,
) -> Result<(), StoreError> {
    let notice = source.notice;
    let step = |what: &str| Step {
        index: notice.index,
        what: what.to_owned(),
        at: source.at,
    };
    let both = |view: &mut Overlay<'_>, request: &RequestId, what: &str| {
        edit_ask(view, request, |row| row.trail.push(step(what)))?;
        edit_hold(view, request, |row| row.trail.push(step(what)))
    };
    match body {
        Body::Request(request) => both(view, &request.request, "request"),
        Body::Answer(answer) => {
            edit_hold(view, &answer.request, |row| {
                row.trail.push(step("answer"));
                if agency == me {
                    settlement::came_back(row, &source.statement);
                }
            })?;
            answered(view, &answer, notice, step("answer"))
        }
        Body::Receipt(receipt) => {
            let what = match receipt.kind {
                ReceiptKind::Delivered => "delivered",
                ReceiptKind::Viewed => "viewed",
                ReceiptKind::Erased => "erased",
            };
            both(view, &receipt.request, what)
        }
        Body::Renewal(renewal) => both(view, &renewal.request, "renewal"),
        Body::OverrideReview(review) => both(view, &review.request, "override_review"),
        Body::Consent(terms) => consented(view, me, agency, *terms, source),
        Body::Withdrawal(withdrawal) => {
            let Withdrawal { consent, scope } = withdrawal;
            let index = notice.index;
            let withdrawn = Withdrawn { scope, index };
            note_withdrawal(view)?;
            standing::withdrawn(view, &consent, withdrawn, &source.statement)
        }
        Body::Agreement(terms) => {
            agreements::proposed(view, agency, *terms, (notice.index, source.at))
        }
        Body::AgreementSignature(signature) => {
            let place = (notice.index, source.at);
            match agreements::signed(view, &source.federation, agency, &signature, place)? {
                true => note_withdrawal(view),
                false => Ok(()),
            }
        }
        Body::AgreementChange(change) => {
            note_withdrawal(view)?;
            let place = (notice.index, source.at);
            agreements::changed(view, agency, &change, place, &source.statement)
        }
        Body::CaseOpening(opening) => case_opened(view, agency, opening, notice.index),
        Body::CaseAdvance(advance) => case_advanced(view, me, advance, (notice, source.at)),
        Body::BundleEndorsement(endorsement) => rules::endorsed(view, agency, &endorsement),
        Body::Resumption(_) => origin::resumed(view, me, agency),
    }
}

/// The answer as it arrived. Whether it is in order is said by the event that follows.
fn answered(
    view: &mut Overlay<'_>,
    answer: &Answer,
    notice: &Noticed,
    step: Step,
) -> Result<(), StoreError> {
    let Some(sealed) = notice.payloads.get(PAYLOAD_ANSWER) else {
        return Ok(());
    };
    let Some(row) = state::ask(view, &answer.request)? else {
        return Ok(());
    };
    if row.answer.is_some() || !row.status.is_open() {
        // One answer a request: another, or one that comes after the end, changes nothing.
        return edit_ask(view, &answer.request, |row| row.trail.push(step));
    }
    let id = answer.request.as_str().as_bytes();
    view.write(key::of(key::SEALED, id), Some(sealed.0.clone()));
    edit_ask(view, &answer.request, |row| {
        row.status = Status::Answered;
        row.answer = Some(AnswerRow {
            index: notice.index,
            at: step.at,
            permit: answer.permit,
            sealed: answer.sealed,
            outcome: answer.outcome,
            in_order: false,
        });
        row.trail.push(step);
    })
}

fn offered(
    view: &mut Overlay<'_>,
    me: &AgencyId,
    permit: &Permit,
    notice: &Noticed,
    step: &Step,
) -> Result<(), StoreError> {
    let digest = digest_of(permit)?;
    let usable = !notice.permit_unusable;
    edit_ask(view, &permit.request, |row| {
        if row.status.is_open() {
            row.status = Status::Offered;
            // What holds for an answer that is here is not for a later permit to change.
            row.obligations.clone_from(&permit.obligations);
        }
        row.permits.push((notice.index, digest));
        row.trail.push(step.clone());
    })?;
    if permit.holder != *me {
        return Ok(());
    }
    let id = permit.request.as_str().as_bytes();
    if usable {
        state::put(view, key::of(key::OFFER, id), notice)?;
    }
    // What an envelope says that was not verified is not shown.
    let related = notice.related.as_ref().filter(|_| usable);
    let asked = related
        .and_then(|r| r.envelope.unverified_statement().ok())
        .and_then(|s| match s.body {
            Body::Request(request) => Some(request),
            _ => None,
        });
    if state::hold(view, &permit.request)?.is_none() {
        let row = HoldRow {
            request: permit.request.clone(),
            requester: permit.requester.clone(),
            items: Vec::new(),
            purpose: permit.purpose,
            basis: permit.basis,
            case: permit.case.clone(),
            emergency: asked.as_ref().and_then(|r| r.emergency),
            role: asked.as_ref().map(|r| r.role),
            at: step.at,
            status: Status::Offered,
            permit: digest,
            review_by: None,
            record_found: None,
            verdict: None,
            given: None,
            held_back: None,
            renewing: None,
            postponed: None,
            stopped: None,
            trail: Vec::new(),
        };
        state::put(view, key::of(key::HOLD, id), &row)?;
    }
    edit_hold(view, &permit.request, |row| {
        if usable {
            row.items.clone_from(&permit.items);
            row.permit = digest;
            row.renewing = None;
            row.postponed = None;
            if row.role.is_none() {
                row.role = asked.as_ref().map(|r| r.role);
                row.emergency = asked.as_ref().and_then(|r| r.emergency);
            }
        } else if row.status.is_open() && row.given.is_none() {
            // Another is to be asked for, unless what follows says that there is no use.
            row.postponed = Some(digest);
        }
        row.trail.push(step.clone());
    })
}

fn digest_of(permit: &Permit) -> Result<Digest, StoreError> {
    permit
        .digest()
        .map_err(|_| StoreError("a journaled permit does not encode".to_owned()))
}

fn ended(
    view: &mut Overlay<'_>,
    request: &RequestId,
    status: Status,
    why: &str,
    step: &Step,
) -> Result<(), StoreError> {
    edit_ask(view, request, |row| {
        // What was answered, denied or erased before stays what it is.
        if row.status.is_open() && row.answer.is_none() {
            row.status = status;
            row.stopped = Some(why.to_owned());
        }
        row.trail.push(step.clone());
    })?;
    edit_hold(view, request, |row| {
        end_hold(row, status, why);
        row.trail.push(step.clone());
    })
}

/// An answer that was sequenced before stays what it is, and what is over stays over.
fn end_hold(row: &mut HoldRow, status: Status, why: &str) {
    let under_way = row.given.as_ref().is_some_and(|g| !g.accepted);
    let waits = row.given.is_none() && row.status.is_open();
    if waits || (under_way && row.stopped.is_none()) {
        row.status = status;
        row.stopped = Some(why.to_owned());
    }
}

fn subject(notice: &Noticed, commitment: &Commitment) -> Option<Handle> {
    let opening = commitment::find(&notice.openings, Field::Subject, commitment)?;
    Handle::from_slice(&opening.data.0)
}

fn consented(
    view: &mut Overlay<'_>,
    me: &AgencyId,
    agency: &AgencyId,
    terms: ConsentTerms,
    source: &Source<'_>,
) -> Result<(), StoreError> {
    // Without its opening (erased) it can't be connected with anybody.
    let Some(subject) = subject(source.notice, &terms.subject) else {
        return Ok(());
    };
    let row = Consent {
        recorded_by: agency.clone(),
        subject,
        withdrawn: Vec::new(),
        recorded: source.notice.index,
        terms,
    };
    standing::consented(view, row, agency == me, &source.statement)
}

fn case_opened(
    view: &mut Overlay<'_>,
    agency: &AgencyId,
    opening: CaseOpening,
    index: u64,
) -> Result<(), StoreError> {
    let row = Case::opened(agency, opening, index);
    state::put(view, key::of(key::CASE, row.case.as_str().as_bytes()), &row)
}

fn case_advanced(
    view: &mut Overlay<'_>,
    me: &AgencyId,
    advance: CaseAdvance,
    (notice, at): (&Noticed, Timestamp),
) -> Result<(), StoreError> {
    let Some(mut row) = state::case(view, &advance.case)? else {
        return Ok(());
    };
    let id = advance.case.clone();
    let person = advance.subject.and_then(|c| subject(notice, &c));
    row.advance(advance, person);
    if row.role(me) == CaseRole::Out {
        // Who leaves forgets who it was about.
        row.subject = None;
    }
    deletions::advanced(view, me, &row, at)?;
    state::put(view, key::of(key::CASE, id.as_str().as_bytes()), &row)
}
