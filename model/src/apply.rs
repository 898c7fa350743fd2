//! `apply`: what an event does to the projection. Total, deterministic, without policy: whether
//! an event may happen is decided in [`decide`](crate::decide), what it means is said here.

use crate::{
    bytes::{Digest, Handle},
    commitment::{self, Field},
    entry::{EntryBody, Record, Sidecar, StopCause},
    ids::{AgencyId, CaseId, ConsentId, RequestId},
    pdp::{Effect, ItemRuling},
    records::{
        Agency, Agreement, Case, Consent, Decision, Invitation, PermitRef, RequestRow, Withdrawn,
    },
    request::{Status, Step},
    state::{self, Federation, key},
    statement::{
        AgreementSignature, AgreementTerms, Answer, Body, CaseAdvance, CaseOpening, ConsentTerms,
        Envelope, Receipt, ReceiptKind, Request, Withdrawal,
    },
    store::{Overlay, Read, StoreError},
    time::Timestamp,
    vocabulary::{CaseRole, Stage, Threshold},
};
use std::collections::BTreeMap;

fn corrupt(what: &str) -> StoreError {
    StoreError(format!("event does not fit the state: {what}"))
}

/// Carries out the event at `index`.
///
/// An error means that journal and projection do not belong together: rebuild, or stop.
pub fn apply(view: &mut Overlay<'_>, index: u64, record: &Record) -> Result<(), StoreError> {
    let at = record.entry.at;
    match &record.entry.body {
        EntryBody::Founded {
            federation,
            keys,
            bundle,
        } => state::put(
            view,
            key::federation(),
            &Federation {
                federation: federation.clone(),
                keys: keys.clone(),
                bundle: *bundle,
            },
        ),
        EntryBody::BundleActivated { bundle } => {
            let mut row = state::federation(view)?.ok_or_else(|| corrupt("not founded"))?;
            row.bundle = *bundle;
            state::put(view, key::federation(), &row)
        }
        EntryBody::Invited {
            agency,
            sector,
            token,
            expires_at,
        } => {
            let row = Invitation {
                agency: agency.clone(),
                sector: *sector,
                expires_at: *expires_at,
            };
            state::put(view, key::invitation(token), &row)
        }
        EntryBody::Enrolled {
            agency,
            keys,
            token,
            certificate,
        } => {
            view.write(key::invitation(token), None);
            end_invitations(view, agency)?;
            view.write(key::membership(index), Some(Vec::new()));
            let row = Agency {
                agency: agency.clone(),
                keys: keys.clone(),
                certificate: certificate.clone(),
                active: true,
                joined: index,
            };
            state::put(view, key::agency(agency.as_str()), &row)
        }
        EntryBody::Revoked { agency } => {
            end_invitations(view, agency)?;
            view.write(key::membership(index), Some(Vec::new()));
            let mut row = state::agency(view, agency)?.ok_or_else(|| corrupt("unknown agency"))?;
            row.active = false;
            state::put(view, key::agency(agency.as_str()), &row)
        }
        EntryBody::Said { agency, envelope } => said(view, index, agency, envelope, record),
        EntryBody::Refused { agency, .. } | EntryBody::HandlesEvaluated { agency, .. } => {
            post(view, index, [agency]);
            Ok(())
        }
        EntryBody::Decided {
            request,
            items,
            bundle,
        } => decided(view, index, at, request, items, bundle),
        EntryBody::Offered { permit } => {
            let mut row = load(view, &permit.request)?;
            step(&mut row, Step::Offer)?;
            let digest = permit
                .digest()
                .map_err(|_| corrupt("permit does not encode"))?;
            row.permit = Some(PermitRef {
                index,
                digest,
                not_after: permit.not_after,
            });
            post(view, index, [&row.requester, &row.holder]);
            save(view, &row)
        }
        EntryBody::Stopped { request, cause } => {
            if let StopCause::Withdrawn(consent) = cause {
                view.write(key::by_consent(consent.as_str(), request.as_str()), None);
            }
            end(view, index, request, Step::Stop)
        }
        EntryBody::Expired { request } => end(view, index, request, Step::Expire),
        EntryBody::WithdrawalCarriedOut { consent } => {
            view.write(key::sweep(consent.as_str()), None);
            let row = state::consent(view, consent)?;
            post(view, index, row.iter().flat_map(named_in));
            Ok(())
        }
        EntryBody::Recalled { request, consent } => {
            view.write(key::by_consent(consent.as_str(), request.as_str()), None);
            let row = load(view, request)?;
            post(view, index, [&row.requester, &row.holder]);
            Ok(())
        }
    }
}

/// Whoever is in, or shut out, has no other invitation left to come back by.
fn end_invitations(view: &mut Overlay<'_>, agency: &AgencyId) -> Result<(), StoreError> {
    for (key, value) in view.scan(&key::invitation_table(), None, usize::MAX)? {
        let invitation: Invitation = state::decode(&value)?;
        if invitation.agency == *agency {
            view.write(key, None);
        }
    }
    Ok(())
}

fn said(
    view: &mut Overlay<'_>,
    index: u64,
    agency: &AgencyId,
    envelope: &Envelope,
    record: &Record,
) -> Result<(), StoreError> {
    let statement = envelope
        .unverified_statement()
        .map_err(|_| corrupt("statement does not parse"))?;
    let digest = envelope.digest();
    state::put(view, key::seen(&digest), &index)?;
    let sidecar = &record.sidecar;
    match statement.body {
        Body::Request(request) => submitted(view, index, agency, digest, &request, sidecar),
        Body::Answer(answer) => answered(view, index, &answer),
        Body::Receipt(receipt) => received(view, index, &receipt),
        Body::Renewal(renewal) => {
            let row = load(view, &renewal.request)?;
            post(view, index, [&row.holder]);
            Ok(())
        }
        Body::Consent(terms) => consented(view, index, agency, *terms, sidecar),
        Body::Withdrawal(withdrawal) => withdrawn(view, index, &withdrawal),
        Body::Agreement(terms) => proposed(view, index, agency, *terms),
        Body::AgreementSignature(signature) => signed(view, index, agency, &signature),
        Body::CaseOpening(opening) => opened(view, index, agency, opening),
        Body::CaseAdvance(advance) => advanced(view, index, advance, sidecar),
    }
}

/// Puts the entry into the mailboxes of those whom it concerns.
fn post<'a>(view: &mut Overlay<'_>, index: u64, agencies: impl IntoIterator<Item = &'a AgencyId>) {
    for agency in agencies {
        view.write(key::mailbox(agency, index), Some(Vec::new()));
    }
}

fn load(view: &dyn Read, request: &RequestId) -> Result<RequestRow, StoreError> {
    state::request(view, request)?.ok_or_else(|| corrupt("unknown request"))
}

fn step(row: &mut RequestRow, step: Step) -> Result<(), StoreError> {
    row.status = row
        .status
        .after(step)
        .map_err(|_| corrupt("step out of order"))?;
    Ok(())
}

/// Writes the row and keeps the indices of open requests in step with its status.
fn save(view: &mut Overlay<'_>, row: &RequestRow) -> Result<(), StoreError> {
    let id = row.request.as_str();
    let mark = row.status.is_open().then(Vec::new);
    view.write(key::open_by_holder(&row.holder, id), mark.clone());
    view.write(key::open_by_requester(&row.requester, id), mark.clone());
    view.write(key::due(row.not_after, id), mark);
    state::put(view, key::request(id), row)
}

fn end(
    view: &mut Overlay<'_>,
    index: u64,
    request: &RequestId,
    how: Step,
) -> Result<(), StoreError> {
    let mut row = load(view, request)?;
    step(&mut row, how)?;
    post(view, index, [&row.requester]);
    // A holder that never had a permit never hears of the request.
    if row.permit.is_some() {
        post(view, index, [&row.holder]);
    }
    save(view, &row)
}

fn subject(sidecar: &Sidecar, commitment: &crate::bytes::Commitment) -> Option<Handle> {
    let opening = commitment::find(&sidecar.openings, Field::Subject, commitment)?;
    Handle::from_slice(&opening.data.0)
}

fn submitted(
    view: &mut Overlay<'_>,
    index: u64,
    agency: &AgencyId,
    digest: Digest,
    request: &Request,
    sidecar: &Sidecar,
) -> Result<(), StoreError> {
    let row = RequestRow {
        request: request.request.clone(),
        requester: agency.clone(),
        holder: request.holder.clone(),
        items: request.items.clone(),
        purpose: request.purpose,
        basis: request.basis,
        reliance: request.reliance.clone(),
        case: request.case.clone(),
        emergency: request.emergency,
        role: request.role,
        trained: request.trained,
        subject: request.subject.and_then(|c| subject(sidecar, &c)),
        reply_key: request.reply_key,
        not_after: request.not_after,
        statement: digest,
        submitted: index,
        status: Status::Submitted,
        decision: None,
        permit: None,
        answer: None,
    };
    post(view, index, [agency]);
    save(view, &row)
}

fn decided(
    view: &mut Overlay<'_>,
    index: u64,
    at: Timestamp,
    request: &RequestId,
    items: &[ItemRuling],
    bundle: &Digest,
) -> Result<(), StoreError> {
    let mut row = load(view, request)?;
    let decision = Decision {
        index,
        at,
        items: items.to_vec(),
        bundle: *bundle,
    };
    if decision.effect() == Effect::Deny {
        step(&mut row, Step::Deny)?;
    } else {
        step(&mut row, Step::Permit)?;
        step(&mut row, Step::Queue)?;
    }
    row.decision = Some(decision);
    for consent in row.consents() {
        view.write(
            key::by_consent(consent.as_str(), request.as_str()),
            Some(Vec::new()),
        );
    }
    post(view, index, [&row.requester]);
    // A holder that has a permit must hear that it is worth nothing any more.
    if row.permit.is_some() && row.status == Status::Denied {
        post(view, index, [&row.holder]);
    }
    save(view, &row)
}

fn answered(view: &mut Overlay<'_>, index: u64, answer: &Answer) -> Result<(), StoreError> {
    let mut row = load(view, &answer.request)?;
    step(&mut row, Step::Answer)?;
    row.answer = Some((index, answer.sealed));
    post(view, index, [&row.requester, &row.holder]);
    save(view, &row)
}

fn received(view: &mut Overlay<'_>, index: u64, receipt: &Receipt) -> Result<(), StoreError> {
    let mut row = load(view, &receipt.request)?;
    let how = match receipt.kind {
        ReceiptKind::Delivered => Step::Deliver,
        ReceiptKind::Viewed => Step::View,
        ReceiptKind::Erased => Step::Erase,
    };
    step(&mut row, how)?;
    post(view, index, [&row.requester, &row.holder]);
    save(view, &row)
}

fn consented(
    view: &mut Overlay<'_>,
    index: u64,
    agency: &AgencyId,
    terms: ConsentTerms,
    sidecar: &Sidecar,
) -> Result<(), StoreError> {
    // With the opening erased, the record can't be found by person any more: nothing rests on it.
    let Some(subject) = subject(sidecar, &terms.subject) else {
        return Ok(());
    };
    let row = Consent {
        recorded_by: agency.clone(),
        subject,
        withdrawn: Vec::new(),
        recorded: index,
        terms,
    };
    post(view, index, named_in(&row));
    let id = row.terms.consent.as_str();
    view.write(key::consent_by_subject(&subject, id), Some(Vec::new()));
    state::put(view, key::consent(id), &row)
}

fn named_in(row: &Consent) -> impl Iterator<Item = &AgencyId> {
    let terms = &row.terms;
    terms
        .recipients
        .iter()
        .chain(&terms.disclosers)
        .chain([&row.recorded_by])
}

fn withdrawn(
    view: &mut Overlay<'_>,
    index: u64,
    withdrawal: &Withdrawal,
) -> Result<(), StoreError> {
    let id: &ConsentId = &withdrawal.consent;
    // The consent's opening may have been erased, and with it the row: then nothing rests on it.
    let Some(mut row) = state::consent(view, id)? else {
        return Ok(());
    };
    row.withdrawn.push(Withdrawn {
        scope: withdrawal.scope.clone(),
        index,
    });
    view.write(key::sweep(id.as_str()), Some(Vec::new()));
    post(view, index, named_in(&row));
    state::put(view, key::consent(id.as_str()), &row)
}

fn proposed(
    view: &mut Overlay<'_>,
    index: u64,
    agency: &AgencyId,
    terms: AgreementTerms,
) -> Result<(), StoreError> {
    let digest = crate::canonical::digest(&terms).map_err(|_| corrupt("terms do not encode"))?;
    let id = terms.agreement.as_str().to_owned();
    post(view, index, terms.parties.iter().map(|p| &p.agency));
    // The proposal is the proposer's own signature.
    let row = Agreement {
        terms,
        digest,
        signed: vec![agency.clone()],
        proposed: index,
    };
    state::put(view, key::agreement(&id), &row)
}

fn signed(
    view: &mut Overlay<'_>,
    index: u64,
    agency: &AgencyId,
    signature: &AgreementSignature,
) -> Result<(), StoreError> {
    let mut row = state::agreement(view, &signature.agreement)?
        .ok_or_else(|| corrupt("unknown agreement"))?;
    row.signed.push(agency.clone());
    // Found by pair only once all have signed: a proposal is no candidate, however many there are.
    if row.is_signed_by_all() {
        for line in &row.terms.lines {
            let pair = key::agreement_by_pair(&line.from, &line.to, signature.agreement.as_str());
            view.write(pair, Some(Vec::new()));
        }
    }
    post(view, index, row.terms.parties.iter().map(|p| &p.agency));
    state::put(view, key::agreement(signature.agreement.as_str()), &row)
}

fn opened(
    view: &mut Overlay<'_>,
    index: u64,
    agency: &AgencyId,
    opening: CaseOpening,
) -> Result<(), StoreError> {
    let agencies: BTreeMap<_, _> = opening
        .agencies
        .iter()
        .chain([agency])
        .map(|a| (a.clone(), CaseRole::Table))
        .collect();
    post(view, index, agencies.keys());
    let row = Case {
        lead: agency.clone(),
        profile: opening.profile,
        stage: Stage::HomeAgency,
        threshold: Threshold::Pending,
        agencies,
        plan: Vec::new(),
        subject: None,
        outcome: None,
        opened: index,
        case: opening.case,
    };
    state::put(view, key::case(row.case.as_str()), &row)
}

fn advanced(
    view: &mut Overlay<'_>,
    index: u64,
    advance: CaseAdvance,
    sidecar: &Sidecar,
) -> Result<(), StoreError> {
    let id: CaseId = advance.case;
    let mut row = state::case(view, &id)?.ok_or_else(|| corrupt("unknown case"))?;
    // Those who leave now are told; those who left before hear no more of it.
    let present = row.agencies.iter();
    let present: Vec<_> = present
        .filter(|(_, role)| **role != CaseRole::Out)
        .map(|(agency, _)| agency.clone())
        .collect();
    post(view, index, &present);
    let stays = match advance.stage {
        Stage::HomeAgency | Stage::DeIdentified => None,
        Stage::LimitedIdentifiers => Some(CaseRole::Needed),
        Stage::Interveners => Some(CaseRole::Intervener),
    };
    if let Some(role) = stays {
        for (agency, present) in &mut row.agencies {
            let kept = *agency == row.lead || advance.agencies.contains(agency);
            // Who is out stays out: a return is a new case.
            if *present != CaseRole::Out {
                *present = if kept { role } else { CaseRole::Out };
            }
        }
    }
    if let Some(commitment) = &advance.subject {
        row.subject = subject(sidecar, commitment);
    }
    row.stage = advance.stage;
    row.threshold = advance.threshold;
    row.plan = advance.plan;
    row.outcome = advance.outcome;
    state::put(view, key::case(id.as_str()), &row)
}
