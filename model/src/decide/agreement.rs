//! Information sharing agreements: proposed by one party, in force once all have signed; followed
//! by a next version; suspended and ended by any party.

use super::{Draft, Step, ensure, exchange};
use crate::{
    entry::{EntryBody, Sidecar, StopCause},
    error::ErrorCode,
    ids::{AgencyId, AgreementId},
    records::Agreement,
    state::{self, key},
    statement::{AgreementChange, AgreementSignature, AgreementTerms, Verified},
};
use std::collections::BTreeSet;

/// Most parties.
const MAX_PARTIES: usize = 50;

/// Most lines: what fits an entry.
const MAX_LINES: usize = 250;

/// Most requests that one step decides again after an agreement was suspended or ended. Each may
/// bring a decision on sixteen items and a permit.
const MAX_DECIDED_AGAIN: usize = 64;

pub(super) fn propose(
    draft: &mut Draft<'_, '_>,
    said: &Verified,
    terms: &AgreementTerms,
) -> Step<u64> {
    ensure(
        state::agreement(draft.state, &terms.agreement)?.is_none(),
        ErrorCode::Duplicate,
    )?;
    let parties: BTreeSet<_> = terms.parties.iter().map(|p| &p.agency).collect();
    ensure(
        parties.len() == terms.parties.len()
            && (2..=MAX_PARTIES).contains(&parties.len())
            && (1..=MAX_LINES).contains(&terms.lines.len())
            && !terms.purposes.is_empty()
            && terms.starts_at < terms.review_at
            && terms.review_at <= terms.ends_at
            && !terms.purposes.iter().any(|p| p.is_prohibited())
            && terms.has_sound_signatories()
            // An agreement is not the consent or the request of anybody.
            && !terms.parties.iter().any(|p| p.basis.is_the_persons_own()),
        ErrorCode::OutOfRange,
    )?;
    ensure(
        parties.contains(&said.statement().agency),
        ErrorCode::NotAParty,
    )?;
    draft.require_members(parties.iter().copied(), &said.statement().agency)?;
    let lines_are_between_parties = terms
        .lines
        .iter()
        .all(|l| l.from != l.to && parties.contains(&l.from) && parties.contains(&l.to));
    ensure(lines_are_between_parties, ErrorCode::NotAParty)?;
    follows(draft, &said.statement().agency, terms)?;
    draft.push_said(said, Sidecar::default())
}

pub(super) fn sign(
    draft: &mut Draft<'_, '_>,
    said: &Verified,
    signature: &AgreementSignature,
) -> Step<u64> {
    let agency = &said.statement().agency;
    let agreement =
        state::agreement(draft.state, &signature.agreement)?.ok_or(ErrorCode::UnknownAgreement)?;
    ensure(agreement.has_party(agency), ErrorCode::NotAParty)?;
    ensure(!agreement.signed.contains(agency), ErrorCode::Duplicate)?;
    ensure(agreement.course.terminated.is_none(), ErrorCode::WrongState)?;
    // Of two proposals for a next version the one that is signed first follows, and no other.
    let earlier = match &agreement.terms.edition.supersedes {
        Some(earlier) => {
            let earlier = state::agreement(draft.state, earlier)?;
            Some(earlier.ok_or(ErrorCode::UnknownAgreement)?)
        }
        None => None,
    };
    let follows = earlier.as_ref().is_none_or(Agreement::may_be_followed);
    ensure(follows, ErrorCode::WrongState)?;
    let federation = &said.statement().federation;
    agreement.check_signature(federation, agency, signature, earlier.as_ref())?;
    draft.push_said(said, Sidecar::default())
}

/// Whether the terms take their place after the version that they name.
fn follows(draft: &Draft<'_, '_>, agency: &AgencyId, terms: &AgreementTerms) -> Step {
    let edition = &terms.edition;
    let Some(earlier) = &edition.supersedes else {
        return ensure(edition.version == 1, ErrorCode::OutOfRange);
    };
    let earlier = state::agreement(draft.state, earlier)?.ok_or(ErrorCode::UnknownAgreement)?;
    ensure(earlier.has_party(agency), ErrorCode::NotAParty)?;
    ensure(earlier.may_be_followed(), ErrorCode::WrongState)?;
    ensure(
        earlier.terms.edition.version.checked_add(1) == Some(edition.version)
            // Or it and the one before that would both be in force until the one between begins.
            && earlier.terms.starts_at <= terms.starts_at
            && terms.keeps_signatories_of(&earlier.terms),
        ErrorCode::OutOfRange,
    )?;
    // Others can't put an end to what a party relies on without its signature. One that wants to
    // leave terminates.
    for party in &earlier.terms.parties {
        let signs = terms.parties.iter().any(|p| p.agency == party.agency);
        let is_gone = state::member(draft.state, &party.agency)?.is_none();
        ensure(signs || is_gone, ErrorCode::NotAParty)?;
    }
    Ok(())
}

pub(super) fn change(
    draft: &mut Draft<'_, '_>,
    said: &Verified,
    change: &AgreementChange,
) -> Step<u64> {
    let id = &change.agreement;
    let agreement = state::agreement(draft.state, id)?.ok_or(ErrorCode::UnknownAgreement)?;
    agreement.check(&said.statement().agency, change.change)?;
    let index = draft.push_said(said, Sidecar::default())?;
    if state::halted(draft.state, id)? {
        sweep(draft, id)?;
    }
    Ok(index)
}

/// Rules again on open requests that rest on an agreement which was suspended or ended, some at a
/// time: the timer goes on where this ends, also after a crash. Until then they are worth nothing,
/// since every step rules on them again.
pub(super) fn sweep(draft: &mut Draft<'_, '_>, id: &AgreementId) -> Step {
    let prefix = key::by_agreement(id.as_str(), "");
    for request in state::suffixes(draft.state, &prefix, MAX_DECIDED_AGAIN)? {
        let Some(row) = state::request_by_text(draft.state, &request)? else {
            continue;
        };
        exchange::decide_again(draft, &row)?;
        let row = state::request_by_text(draft.state, &request)?;
        // Whatever the rules say of it.
        if row.is_some_and(|row| row.status.is_open() && row.agreements().contains(id)) {
            let cause = StopCause::DecidedAgain;
            let request = request.parse().map_err(|_| ErrorCode::Internal)?;
            draft.push_public(EntryBody::Stopped { request, cause })?;
        }
    }
    Ok(())
}
