//! The federation and its members.

use super::{Draft, MAX_SWEPT, Reply, Step, ensure};
use crate::{
    bytes::Digest,
    entry::{BrokerKeys, EntryBody, StopCause},
    error::ErrorCode,
    ids::{AgencyId, FederationId},
    panel::Panel,
    state::{self, key},
    statement::AgencyKeys,
    time::Timestamp,
    vocabulary::Sector,
};

pub(super) fn found(
    draft: &mut Draft<'_, '_>,
    federation: &FederationId,
    keys: &BrokerKeys,
    panel: Panel,
) -> Step<Reply> {
    ensure(
        state::federation(draft.state)?.is_none(),
        ErrorCode::Duplicate,
    )?;
    let index = draft.push_public(EntryBody::Founded {
        federation: federation.clone(),
        keys: keys.clone(),
        bundle: draft.inputs.pdp.bundle(),
        panel,
    })?;
    Ok(Reply::Done { index })
}

pub(super) fn invite(
    draft: &mut Draft<'_, '_>,
    agency: &AgencyId,
    sector: Sector,
    token: &Digest,
    expires_at: Timestamp,
) -> Step<Reply> {
    ensure(expires_at > draft.inputs.now, ErrorCode::OutOfRange)?;
    ensure(
        state::invitation(draft.state, token)?.is_none(),
        ErrorCode::Duplicate,
    )?;
    ensure_same_sector(draft, agency, sector)?;
    let index = draft.push_public(EntryBody::Invited {
        agency: agency.clone(),
        sector,
        token: *token,
        expires_at,
    })?;
    Ok(Reply::Done { index })
}

pub(super) fn enrol(
    draft: &mut Draft<'_, '_>,
    agency: &AgencyId,
    token: &Digest,
    keys: &AgencyKeys,
    certificate: &str,
) -> Step<Reply> {
    let invitation = state::invitation(draft.state, token)?.ok_or(ErrorCode::InviteInvalid)?;
    ensure(
        invitation.agency == *agency
            && invitation.sector == keys.sector
            && draft.inputs.now < invitation.expires_at,
        ErrorCode::InviteInvalid,
    )?;
    // A cosignature does not name its key's owner: one key for two members would count twice, so
    // whoever verifies refuses every checkpoint while two members share one.
    let shared = state::agencies(draft.state)?
        .iter()
        .any(|a| a.active && a.agency != *agency && a.keys.witness == keys.witness);
    ensure(!shared, ErrorCode::Duplicate)?;
    let index = draft.push_public(EntryBody::Enrolled {
        agency: agency.clone(),
        keys: keys.clone(),
        token: *token,
        certificate: certificate.to_owned(),
    })?;
    Ok(Reply::Done { index })
}

/// Shuts an agency out, and stops open requests from it and to it.
pub(super) fn revoke(draft: &mut Draft<'_, '_>, agency: &AgencyId) -> Step<Reply> {
    ensure(
        state::member(draft.state, agency)?.is_some(),
        ErrorCode::UnknownAgency,
    )?;
    let index = draft.push_public(EntryBody::Revoked {
        agency: agency.clone(),
    })?;
    stop_requests_of(draft, agency)?;
    Ok(Reply::Done { index })
}

/// Stops open requests from and to an agency that is shut out, some at a time: the timer goes on
/// where this ends. Until then they are worth nothing, since every step rules on them again.
pub(super) fn stop_requests_of(draft: &mut Draft<'_, '_>, agency: &AgencyId) -> Step {
    for prefix in [
        key::open_by_holder(agency, ""),
        key::open_by_requester(agency, ""),
    ] {
        for id in state::suffixes(draft.state, &prefix, MAX_SWEPT)? {
            let Some(row) = state::request_by_text(draft.state, &id)? else {
                continue;
            };
            if row.status.is_open() {
                draft.push_public(EntryBody::Stopped {
                    request: row.request,
                    cause: StopCause::Revoked(agency.clone()),
                })?;
            }
        }
    }
    Ok(())
}

/// An agency that comes back comes back as what it was: agreements and consents name it.
fn ensure_same_sector(draft: &Draft<'_, '_>, agency: &AgencyId, sector: Sector) -> Step {
    let known = state::agency(draft.state, agency)?;
    ensure(
        known.is_none_or(|a| a.sector() == sector),
        ErrorCode::WrongState,
    )
}
