//! Consent: recorded, withdrawn. Withdrawal wins over everything sequenced later.

use super::{Draft, Step, ensure};
use crate::{
    entry::{EntryBody, Sidecar, StopCause},
    error::ErrorCode,
    records::{Consent, RequestRow},
    request::Status,
    state::{self, key},
    statement::{ConsentTerms, Verified, Withdrawal, WithdrawalScope},
};

/// Most entries of each list in a consent.
const MAX_LIST: usize = 64;

/// Longest life of a consent, in seconds: five years.
const MAX_LIFE_S: u64 = 5 * 366 * 86_400;

pub(super) fn record(
    draft: &mut Draft<'_, '_>,
    said: &Verified,
    terms: &ConsentTerms,
) -> Step<u64> {
    ensure(
        state::consent(draft.state, &terms.consent)?.is_none(),
        ErrorCode::Duplicate,
    )?;
    let lists = [
        terms.categories.len(),
        terms.purposes.len(),
        terms.recipients.len(),
        terms.disclosers.len(),
    ];
    // An empty list would read as "everything" to a careless reader: it is no consent at all.
    ensure(
        lists.iter().all(|n| (1..=MAX_LIST).contains(n)),
        ErrorCode::OutOfRange,
    )?;
    ensure(
        terms.given_at <= said.statement().at
            && terms.given_at < terms.expires_at
            && terms.expires_at <= terms.given_at.plus_s(MAX_LIFE_S),
        ErrorCode::OutOfRange,
    )?;
    ensure(
        !terms.purposes.iter().any(|p| p.is_prohibited()),
        ErrorCode::OutOfRange,
    )?;
    for agency in terms.recipients.iter().chain(&terms.disclosers) {
        ensure(
            state::member(draft.state, agency)?.is_some(),
            ErrorCode::UnknownAgency,
        )?;
    }
    let sidecar = super::exchange::subject_sidecar(said, Some(&terms.subject))?;
    draft.push_said(said, sidecar)
}

pub(super) fn withdraw(
    draft: &mut Draft<'_, '_>,
    said: &Verified,
    withdrawal: &Withdrawal,
) -> Step<u64> {
    let consent =
        state::consent(draft.state, &withdrawal.consent)?.ok_or(ErrorCode::UnknownConsent)?;
    // The person may withdraw at any agency that the consent names: one door.
    ensure(
        consent.names(&said.statement().agency),
        ErrorCode::NotAParty,
    )?;
    let index = draft.push_said(said, Sidecar::default())?;
    let prefix = key::by_consent(consent.terms.consent.as_str(), "");
    for id in state::suffixes(draft.state, &prefix, usize::MAX)? {
        let Some(row) = state::request_by_text(draft.state, &id)? else {
            continue;
        };
        if row.consents().contains(&consent.terms.consent) && affects(withdrawal, &consent, &row) {
            undo(draft, &row, &consent)?;
        }
    }
    Ok(index)
}

/// Whether what was withdrawn is what the request rests on.
fn affects(withdrawal: &Withdrawal, consent: &Consent, row: &RequestRow) -> bool {
    match &withdrawal.scope {
        WithdrawalScope::All => true,
        WithdrawalScope::Recipient(agency) => row.requester == *agency,
        WithdrawalScope::Category(category) => {
            row.decision.iter().flat_map(|d| d.allowed()).any(|item| {
                item.category == *category
                    && item.ruling.consent.as_ref() == Some(&consent.terms.consent)
            })
        }
    }
}

/// What has not left is stopped; who has received is told.
fn undo(draft: &mut Draft<'_, '_>, row: &RequestRow, consent: &Consent) -> Step {
    let (request, consent) = (row.request.clone(), consent.terms.consent.clone());
    if row.status.is_open() {
        let cause = StopCause::Withdrawn(consent);
        draft.push_public(EntryBody::Stopped { request, cause })?;
    } else if matches!(
        row.status,
        Status::Answered | Status::Delivered | Status::Viewed
    ) {
        draft.push_public(EntryBody::Recalled { request, consent })?;
    }
    Ok(())
}
