//! Information sharing agreements: proposed by one party, in force once all have signed.

use super::{Draft, Step, ensure};
use crate::{
    canonical,
    entry::Sidecar,
    error::ErrorCode,
    state,
    statement::{AgreementSignature, AgreementTerms, Verified},
    vocabulary::LegalBasis,
};
use std::collections::BTreeSet;

/// Most parties.
const MAX_PARTIES: usize = 50;

/// Most lines: what fits an entry.
const MAX_LINES: usize = 250;

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
            // An agreement is not the consent of anybody.
            && !terms.parties.iter().any(|p| p.basis == LegalBasis::Consent),
        ErrorCode::OutOfRange,
    )?;
    ensure(
        parties.contains(&said.statement().agency),
        ErrorCode::NotAParty,
    )?;
    for party in &parties {
        ensure(
            state::member(draft.state, party)?.is_some(),
            ErrorCode::UnknownAgency,
        )?;
    }
    let lines_are_between_parties = terms
        .lines
        .iter()
        .all(|l| l.from != l.to && parties.contains(&l.from) && parties.contains(&l.to));
    ensure(lines_are_between_parties, ErrorCode::NotAParty)?;
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
    // Signed is what was seen: the digest of the whole terms, not only their name.
    ensure(
        canonical::digest(&agreement.terms)? == signature.terms,
        ErrorCode::PayloadMismatch,
    )?;
    draft.push_said(said, Sidecar::default())
}
