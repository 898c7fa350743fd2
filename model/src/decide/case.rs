//! Cases: opened by a lead agency, moved through the four filters one stage at a time.

use super::{Draft, Step, ensure, exchange::subject_sidecar};
use crate::{
    entry::Sidecar,
    error::ErrorCode,
    ids::AgencyId,
    records::Case,
    state,
    statement::{CaseAdvance, CaseOpening, Verified},
    vocabulary::{CaseRole, Stage, Threshold},
};

/// Most agencies at a table.
const MAX_AGENCIES: usize = 64;

pub(super) fn open(draft: &mut Draft<'_, '_>, said: &Verified, opening: &CaseOpening) -> Step<u64> {
    ensure(
        state::case(draft.state, &opening.case)?.is_none(),
        ErrorCode::Duplicate,
    )?;
    ensure(
        (1..=MAX_AGENCIES).contains(&opening.agencies.len()),
        ErrorCode::OutOfRange,
    )?;
    draft.require_members(&opening.agencies, &said.statement().agency)?;
    draft.push_said(said, Sidecar::default())
}

pub(super) fn advance(
    draft: &mut Draft<'_, '_>,
    said: &Verified,
    advance: &CaseAdvance,
) -> Step<u64> {
    let case = state::case(draft.state, &advance.case)?.ok_or(ErrorCode::UnknownCase)?;
    ensure(case.lead == said.statement().agency, ErrorCode::NotAParty)?;
    ensure(case.outcome.is_none(), ErrorCode::WrongState)?;
    check_stage(&case, advance)?;
    let at_table = |agency| case.role(agency) != CaseRole::Out;
    ensure(advance.agencies.iter().all(at_table), ErrorCode::NotAParty)?;
    // De-identified stages carry no person, not even by commitment.
    ensure(
        advance.subject.is_none() || advance.stage >= Stage::LimitedIdentifiers,
        ErrorCode::WrongState,
    )?;
    // The person of a case does not change on the way.
    ensure(
        advance.subject.is_none() || case.subject.is_none(),
        ErrorCode::WrongState,
    )?;
    // Said again it would only fill the others' mailboxes.
    ensure(changes(&case, advance), ErrorCode::WrongState)?;
    let sidecar = subject_sidecar(said, advance.subject.as_ref())?;
    draft.push_said(said, sidecar)
}

/// Whether the case stands otherwise after this.
fn changes(case: &Case, advance: &CaseAdvance) -> bool {
    let leaves = |(agency, role): (&AgencyId, &CaseRole)| {
        *role != CaseRole::Out && *agency != case.lead && !advance.agencies.contains(agency)
    };
    advance.stage != case.stage
        || advance.threshold != case.threshold
        || advance.plan != case.plan
        || advance.outcome.is_some()
        || advance.subject.is_some()
        || (case.stage >= Stage::LimitedIdentifiers && case.agencies.iter().any(leaves))
}

fn check_stage(case: &Case, advance: &CaseAdvance) -> Step {
    let closes = advance.outcome.is_some();
    let (from, to) = (case.stage.number(), advance.stage.number());
    // Each filter once, in order; closing happens where the case stands.
    ensure(
        to == from || (to == from + 1 && !closes),
        ErrorCode::WrongState,
    )?;
    ensure(
        advance.stage < Stage::LimitedIdentifiers || advance.threshold == Threshold::Agreed,
        ErrorCode::WrongState,
    )?;
    // Below threshold means stop (rule 5): it can't be recorded without closing.
    ensure(
        advance.threshold != Threshold::Rejected || closes,
        ErrorCode::WrongState,
    )?;
    // What was agreed is not taken back silently.
    ensure(
        case.threshold != Threshold::Agreed || advance.threshold == Threshold::Agreed || closes,
        ErrorCode::WrongState,
    )
}
