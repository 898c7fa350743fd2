//! Consent: recorded, withdrawn. Withdrawal wins over everything sequenced later.

use super::{Draft, MAX_SWEPT, Step, ensure};
use crate::{
    entry::{EntryBody, Sidecar, StopCause},
    error::ErrorCode,
    ids::ConsentId,
    pdp::ItemRuling,
    records::{Consent, RequestRow},
    request::Status,
    seeded::{Bug, seeded},
    state::{self, key},
    statement::{ConsentTerms, Verified, Withdrawal, WithdrawalScope},
    store::Read as _,
};

/// Most entries of each list in a consent.
const MAX_LIST: usize = 64;

/// Longest life of a consent, in seconds: five years.
pub const MAX_CONSENT_LIFE_S: u64 = 5 * 366 * 86_400;

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
            && terms.expires_at <= terms.given_at.plus_s(MAX_CONSENT_LIFE_S),
        ErrorCode::OutOfRange,
    )?;
    ensure(
        !terms.purposes.iter().any(|p| p.is_prohibited()),
        ErrorCode::OutOfRange,
    )?;
    let named = terms.recipients.iter().chain(&terms.disclosers);
    draft.require_members(named, &said.statement().agency)?;
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
    // Said once is enough: again it would tell every recipient again.
    let said_already = consent
        .withdrawn
        .iter()
        .any(|w| w.scope == withdrawal.scope || w.scope == WithdrawalScope::All);
    // Two agencies may have withdrawn it in what was lost; each has to find its own in the log.
    let again = draft.resumes(&said.statement().agency)?;
    ensure(again || !said_already, ErrorCode::WrongState)?;
    let index = draft.push_said(said, Sidecar::default())?;
    sweep(draft, &consent.terms.consent)?;
    Ok(index)
}

/// Carries a withdrawal out on the requests that rest on the consent, some at a time: the timer
/// goes on where this ends, also after a crash. Until then they are worth nothing, since every
/// step rules on them again.
pub(super) fn sweep(draft: &mut Draft<'_, '_>, id: &ConsentId) -> Step {
    let prefix = key::by_consent(id.as_str(), "");
    let mut after: Option<Vec<u8>> = None;
    let mut swept = 0_usize;
    if let Some(consent) = state::consent(draft.state, id)? {
        loop {
            let page = draft.state.scan(&prefix, after.as_deref(), MAX_SWEPT)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (key, _) in &page {
                let request = key.get(prefix.len()..).unwrap_or_default();
                let request = String::from_utf8_lossy(request);
                let Some(row) = state::request_by_text(draft.state, &request)? else {
                    continue;
                };
                if affects(&consent, &row) {
                    swept = swept.saturating_add(usize::from(undo(draft, &row, &consent)?));
                }
            }
            if swept >= MAX_SWEPT {
                return Ok(());
            }
        }
    }
    draft.push_public(EntryBody::WithdrawalCarriedOut {
        consent: id.clone(),
    })?;
    Ok(())
}

/// Whether something was withdrawn on which the request rests.
fn affects(consent: &Consent, row: &RequestRow) -> bool {
    let rests_on_it = |item: &&ItemRuling| {
        item.ruling.consent.as_ref() == Some(&consent.terms.consent)
            && consent.is_withdrawn_for(&row.requester, item.category)
    };
    let decision = row.decision.iter();
    decision
        .flat_map(|d| d.allowed())
        .any(|item| rests_on_it(&item))
}

/// What has not left is stopped; who has received is told. Says whether there was something to do.
fn undo(draft: &mut Draft<'_, '_>, row: &RequestRow, consent: &Consent) -> Step<bool> {
    let (request, consent) = (row.request.clone(), consent.terms.consent.clone());
    if row.status.is_open() && seeded(Bug::WithdrawalStopsNothing) {
        return Ok(false);
    }
    if row.status.is_open() {
        let cause = StopCause::Withdrawn(consent);
        draft.push_public(EntryBody::Stopped { request, cause })?;
    } else if matches!(
        row.status,
        Status::Answered | Status::Delivered | Status::Viewed
    ) && !seeded(Bug::WithdrawalToldToNobody)
    {
        draft.push_public(EntryBody::Recalled { request, consent })?;
    } else {
        return Ok(false);
    }
    Ok(true)
}
