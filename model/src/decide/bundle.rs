//! Policy bundles: proposed by the operator, endorsed by the agencies, put in force by their count.

use super::{Draft, Reply, Step, ensure};
use crate::{
    bundle::{BundleTerms, MAX_PROPOSALS},
    entry::{EntryBody, Sidecar},
    error::ErrorCode,
    state,
    statement::{BundleEndorsement, Verified},
};

pub(super) fn propose(draft: &mut Draft<'_, '_>, terms: &BundleTerms) -> Step<Reply> {
    let now = draft.inputs.now;
    let federation = state::federation(draft.state)?.ok_or(ErrorCode::WrongState)?;
    terms.may_follow(&federation.terms, now)?;
    let waiting = state::proposals(draft.state)?;
    let mut waiting = waiting.iter().filter(|p| !p.is_stale(now));
    ensure(
        waiting.clone().count() < MAX_PROPOSALS,
        ErrorCode::WrongState,
    )?;
    // Other terms for the same rules would take the endorsements along, or lose them.
    let known = waiting.any(|p| p.terms.bundle == terms.bundle);
    ensure(!known, ErrorCode::Duplicate)?;
    let terms = terms.clone();
    let index = draft.push_public(EntryBody::BundleProposed { terms })?;
    Ok(Reply::Done { index })
}

pub(super) fn endorse(
    draft: &mut Draft<'_, '_>,
    said: &Verified,
    endorsement: &BundleEndorsement,
) -> Step<u64> {
    let proposal = state::proposal(draft.state, &endorsement.bundle)?;
    let proposal = proposal.ok_or(ErrorCode::UnknownBundle)?;
    ensure(
        !proposal.is_stale(draft.inputs.now),
        ErrorCode::UnknownBundle,
    )?;
    ensure(
        proposal.digest == endorsement.terms,
        ErrorCode::PayloadMismatch,
    )?;
    let agency = &said.statement().agency;
    ensure(!proposal.endorsed.contains(agency), ErrorCode::Duplicate)?;
    draft.push_said(said, Sidecar::default())
}

/// Puts the decision point's bundle in force. Who has no member yet is free to choose; from the
/// first member on the members' count is the only way.
pub(super) fn activate(draft: &mut Draft<'_, '_>) -> Step<Reply> {
    let bundle = draft.inputs.pdp.bundle();
    let federation = state::federation(draft.state)?.ok_or(ErrorCode::WrongState)?;
    if federation.bundle == bundle {
        return Ok(Reply::Nothing);
    }
    if !state::agencies(draft.state)?.is_empty() {
        let proposal = state::proposal(draft.state, &bundle)?;
        let proposal = proposal.ok_or(ErrorCode::BundleNotEndorsed)?;
        let members = state::endorsers(draft.state)?;
        proposal.check(&federation.terms, &members, draft.inputs.now)?;
    }
    Ok(Reply::Done {
        index: draft.push_public(EntryBody::BundleActivated { bundle })?,
    })
}
