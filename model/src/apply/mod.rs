//! `apply`: what an event does to the projection. Total, deterministic, without policy: whether
//! an event may happen is decided in [`decide`](crate::decide), what it means is said here.

mod bundle;
mod exchange;
mod matters;

use crate::{
    bundle::BundleTerms,
    bytes::{Digest, Handle},
    commitment::{self, Field},
    entry::{BrokerKeys, EntryBody, Record, Sidecar, StopCause, Supersedes},
    ids::{AgencyId, ConsentId, FederationId, RequestId},
    panel::Panel,
    pdp::{Effect, ItemRuling},
    permit::Permit,
    records::{
        Agency, Agreement, Case, Consent, Decision, Invitation, PermitRef, RequestRow, ReviewRow,
        Withdrawn,
    },
    request::{Status, Step},
    state::{self, Federation, Sealed, key},
    statement::{
        AgencyKeys, AgreementChange, AgreementSignature, AgreementTerms, Answer, Body, CaseAdvance,
        CaseOpening, Change, ConsentTerms, Envelope, OverrideReview, Receipt, ReceiptKind, Request,
        Withdrawal, WithdrawalScope,
    },
    store::{Overlay, Read, StoreError},
    time::Timestamp,
    vocabulary::Sector,
};

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
            panel,
        } => {
            let nothing = Sealed { until: 0, at };
            state::put(view, key::sealed(), &nothing)?;
            for_all(view, index);
            founded(view, federation, keys, bundle, *panel)
        }
        EntryBody::BundleActivated { bundle } => bundle::activated(view, index, bundle),
        EntryBody::BundleProposed { terms } => bundle::proposed(view, index, at, terms),
        EntryBody::Invited {
            agency,
            sector,
            token,
            expires_at,
        } => invited(view, agency, *sector, token, *expires_at),
        EntryBody::Enrolled {
            agency,
            keys,
            token,
            certificate,
        } => enrolled(view, index, agency, keys, token, certificate),
        EntryBody::Revoked { agency } => revoked(view, index, agency),
        EntryBody::Supersedes(supersedes) => superseded(view, index, supersedes),
        EntryBody::Said { agency, envelope } => said(view, index, agency, envelope, record),
        EntryBody::Refused { agency, .. } | EntryBody::HandlesEvaluated { agency, .. } => {
            post(view, index, [agency]);
            Ok(())
        }
        EntryBody::Decided {
            request,
            items,
            bundle,
        } => exchange::decided(view, index, at, request, items, bundle),
        EntryBody::Offered { permit } => exchange::offered(view, index, permit),
        EntryBody::Stopped { request, cause } => exchange::stopped(view, index, request, cause),
        EntryBody::Recalled { request, consent } => {
            exchange::recalled(view, index, request, consent)
        }
        EntryBody::WithdrawalCarriedOut { consent } => matters::carried_out(view, index, consent),
        EntryBody::Expired { request } => exchange::end(view, index, request, Step::Expire),
        EntryBody::Sealed { until, counts, .. } => {
            post(view, index, counts.keys());
            sealed(view, index, *until, at)
        }
    }
}

fn sealed(view: &mut Overlay<'_>, index: u64, until: u64, at: Timestamp) -> Result<(), StoreError> {
    let mut row = state::sealed(view)?.ok_or_else(|| corrupt("not founded"))?;
    row.until = until;
    // Else it leaves some for the next one, or is another part of the same.
    if until == index {
        row.at = at;
    }
    state::put(view, key::sealed(), &row)
}

fn founded(
    view: &mut Overlay<'_>,
    federation: &FederationId,
    keys: &BrokerKeys,
    bundle: &Digest,
    panel: Panel,
) -> Result<(), StoreError> {
    let row = Federation {
        federation: federation.clone(),
        keys: keys.clone(),
        bundle: *bundle,
        terms: BundleTerms::founding(*bundle),
        panel,
    };
    state::put(view, key::federation(), &row)
}

/// Puts the entry before everybody.
fn for_all(view: &mut Overlay<'_>, index: u64) {
    view.write(key::membership(index), Some(Vec::new()));
}

fn invited(
    view: &mut Overlay<'_>,
    agency: &AgencyId,
    sector: Sector,
    token: &Digest,
    expires_at: Timestamp,
) -> Result<(), StoreError> {
    let row = Invitation {
        agency: agency.clone(),
        sector,
        expires_at,
    };
    state::put(view, key::invitation(token), &row)
}

fn enrolled(
    view: &mut Overlay<'_>,
    index: u64,
    agency: &AgencyId,
    keys: &AgencyKeys,
    token: &Digest,
    certificate: &str,
) -> Result<(), StoreError> {
    view.write(key::invitation(token), None);
    end_invitations(view, agency)?;
    for_all(view, index);
    // What the former keys have endorsed the present ones have not: who invites a member anew, and
    // takes its place, must not find its endorsements there.
    bundle::forgotten(view, agency)?;
    // Who renews its keys has been here all along.
    let member = state::member(view, agency)?;
    let row = Agency {
        agency: agency.clone(),
        keys: keys.clone(),
        certificate: certificate.to_owned(),
        active: true,
        joined: index,
        since: member.map_or(index, |member| member.since),
    };
    state::put(view, key::agency(agency.as_str()), &row)
}

fn revoked(view: &mut Overlay<'_>, index: u64, agency: &AgencyId) -> Result<(), StoreError> {
    end_invitations(view, agency)?;
    for_all(view, index);
    bundle::forgotten(view, agency)?;
    let mut row = state::agency(view, agency)?.ok_or_else(|| corrupt("unknown agency"))?;
    row.active = false;
    state::put(view, key::agency(agency.as_str()), &row)
}

/// The log goes on under another key's name. Everybody who is a member has yet to say that nothing
/// of its own is missing.
fn superseded(
    view: &mut Overlay<'_>,
    index: u64,
    supersedes: &Supersedes,
) -> Result<(), StoreError> {
    for_all(view, index);
    let mut row = state::federation(view)?.ok_or_else(|| corrupt("not founded"))?;
    row.keys.checkpoint.clone_from(&supersedes.key);
    state::put(view, key::federation(), &row)?;
    state::put(view, key::origin(), &index)?;
    // One that was used, or ended, in what was lost would let somebody in once more.
    for (invitation, _) in view.scan(&key::invitation_table(), None, usize::MAX)? {
        view.write(invitation, None);
    }
    for agency in state::agencies(view)? {
        if agency.active {
            state::put(view, key::awaited(agency.agency.as_str()), &index)?;
        }
    }
    Ok(())
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
        Body::Request(request) => {
            exchange::submitted(view, index, agency, digest, &request, sidecar)
        }
        Body::Answer(answer) => exchange::answered(view, index, &answer),
        Body::Receipt(receipt) => exchange::received(view, index, &receipt),
        Body::Renewal(renewal) => {
            let row = exchange::load(view, &renewal.request)?;
            post(view, index, [&row.holder]);
            Ok(())
        }
        Body::Consent(terms) => matters::consented(view, index, agency, *terms, sidecar),
        Body::Withdrawal(withdrawal) => matters::withdrawn(view, index, &withdrawal),
        Body::Agreement(terms) => matters::proposed(view, index, agency, *terms),
        Body::AgreementSignature(signature) => matters::signed(view, index, agency, &signature),
        Body::AgreementChange(change) => {
            matters::changed(view, index, record.entry.at, agency, &change)
        }
        Body::CaseOpening(opening) => matters::opened(view, index, agency, opening),
        Body::CaseAdvance(advance) => matters::advanced(view, index, advance, sidecar),
        Body::BundleEndorsement(endorsement) => bundle::endorsed(view, index, agency, &endorsement),
        Body::OverrideReview(review) => exchange::reviewed(view, index, agency, &review),
        Body::Resumption(resumption) => {
            if resumption.complete {
                view.write(key::awaited(agency.as_str()), None);
            }
            post(view, index, [agency]);
            Ok(())
        }
    }
}

/// Puts the entry into the mailboxes of those whom it concerns.
fn post<'a>(view: &mut Overlay<'_>, index: u64, agencies: impl IntoIterator<Item = &'a AgencyId>) {
    for agency in agencies {
        view.write(key::mailbox(agency, index), Some(Vec::new()));
    }
}

fn subject(sidecar: &Sidecar, commitment: &crate::bytes::Commitment) -> Option<Handle> {
    let opening = commitment::find(&sidecar.openings, Field::Subject, commitment)?;
    Handle::from_slice(&opening.data.0)
}
