//! The policy information point: collects the facts of the matter from the projection.

use crate::{
    bytes::Handle,
    ids::AgencyId,
    pdp::{CaseFacts, Matter},
    records::{Agreement, Case, Consent, RequestRow},
    seeded::{Bug, seeded},
    state,
    statement::{Item, Reliance},
    store::{Read, StoreError},
    time::Timestamp,
    vocabulary::CaseRole,
};

/// What could be collected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Collected {
    /// The facts.
    Matter(Box<Matter>),
    /// Not to be decided: the reason of the denial.
    Doubt(&'static str),
}

/// The matter of a request, about its first item; the other items differ in nothing else.
pub fn collect(
    view: &dyn Read,
    row: &RequestRow,
    item: Item,
    at: Timestamp,
) -> Result<Collected, StoreError> {
    let (Some(requester), Some(holder)) = (
        state::agency(view, &row.requester)?,
        state::agency(view, &row.holder)?,
    ) else {
        return Ok(Collected::Doubt("unknown_agency"));
    };
    let case = match &row.case {
        // A case that is not there is not the same as no case: the caller refuses it earlier.
        Some(id) => state::case(view, id)?
            .map(|case| case_facts(&case, &row.requester, &row.holder, row.subject)),
        None => None,
    };
    let lost = state::unheard(view)?;
    let origin = state::origin(view)?;
    let case = case.map(|mut case| {
        // That it was closed may be what was lost.
        case.closed |= is_from_before(view, row, origin)?;
        Ok::<_, StoreError>(case)
    });
    let case = case.transpose()?;
    // One too many and a withdrawal might be the one that is not seen: deny on doubt.
    let (Some(mut consents), Some(mut agreements)) = (consents(view, row)?, agreements(view, row)?)
    else {
        return Ok(Collected::Doubt("too_many_candidates"));
    };
    for (_, before) in &lost {
        // Whatever it withdrew defeats what others recorded before.
        consents.retain(|consent| consent.recorded > *before);
    }
    // That one was ended, suspended or followed by a narrower one may be what was lost.
    agreements.retain(|a| origin.is_none_or(|origin| a.proposed > origin));
    let at = if seeded(Bug::ExpiredStillCounts) {
        let began = consents.iter().map(|c| c.terms.given_at);
        let began = began.chain(agreements.iter().map(|a| a.terms.starts_at));
        began.max().unwrap_or(at)
    } else {
        at
    };
    Ok(Collected::Matter(Box::new(Matter {
        at,
        requester,
        holder,
        role: row.role,
        trained: row.trained,
        item,
        purpose: row.purpose,
        basis: row.basis,
        case,
        emergency: row.emergency,
        identified: row.subject.is_some(),
        reliance: row.reliance.clone(),
        consents,
        agreements,
    })))
}

/// Whether the case of the request was opened under a former origin of the log.
fn is_from_before(
    view: &dyn Read,
    row: &RequestRow,
    origin: Option<u64>,
) -> Result<bool, StoreError> {
    let (Some(id), Some(origin)) = (&row.case, origin) else {
        return Ok(false);
    };
    Ok(state::case(view, id)?.is_some_and(|case| case.opened <= origin))
}

/// What `case` is to the two agencies of a request, which is about `subject` if it names anybody.
pub fn case_facts(
    case: &Case,
    requester: &AgencyId,
    holder: &AgencyId,
    subject: Option<Handle>,
) -> CaseFacts {
    let requester_role = case.role(requester);
    // Who is out must not find out, by asking about one person after another, whom it is about.
    let of_case = case.subject.filter(|_| requester_role != CaseRole::Out);
    CaseFacts {
        case: case.case.clone(),
        profile: case.profile,
        stage: case.stage,
        threshold: case.threshold,
        closed: case.outcome.is_some(),
        requester_role,
        holder_role: case.role(holder),
        plan: case.plan.clone(),
        same_subject: of_case.map(|of_case| subject == Some(of_case)),
    }
}

/// All consents of this person; `None` if there are more than can be looked at.
fn consents(view: &dyn Read, row: &RequestRow) -> Result<Option<Vec<Consent>>, StoreError> {
    match row.subject {
        Some(subject) => state::consents_of(view, &subject),
        None => Ok(Some(Vec::new())),
    }
}

fn agreements(view: &dyn Read, row: &RequestRow) -> Result<Option<Vec<Agreement>>, StoreError> {
    match &row.reliance {
        Some(Reliance::Agreement(id)) => {
            let named = state::agreement(view, id)?;
            Ok(Some(named.into_iter().collect()))
        }
        Some(Reliance::Consent(_)) => Ok(Some(Vec::new())),
        None => state::agreements_between(view, &row.holder, &row.requester),
    }
}
