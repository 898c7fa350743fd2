//! The policy information point: collects the facts of the matter from the projection.

use crate::{
    pdp::{CaseFacts, Matter},
    records::{Case, RequestRow},
    state,
    statement::{Item, Reliance},
    store::{Read, StoreError},
    time::Timestamp,
};

/// The matter of one item, or `None` if one of the agencies is unknown.
pub fn collect(
    view: &dyn Read,
    row: &RequestRow,
    item: Item,
    at: Timestamp,
) -> Result<Option<Matter>, StoreError> {
    let (Some(requester), Some(holder)) = (
        state::agency(view, &row.requester)?,
        state::agency(view, &row.holder)?,
    ) else {
        return Ok(None);
    };
    let case = match &row.case {
        // A case that is not there is not the same as no case: the caller refuses it earlier.
        Some(id) => state::case(view, id)?.map(|case| case_facts(&case, row)),
        None => None,
    };
    Ok(Some(Matter {
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
        consents: candidate_consents(view, row)?,
        agreements: candidate_agreements(view, row)?,
    }))
}

fn case_facts(case: &Case, row: &RequestRow) -> CaseFacts {
    CaseFacts {
        case: case.case.clone(),
        profile: case.profile,
        stage: case.stage,
        threshold: case.threshold,
        closed: case.outcome.is_some(),
        requester_role: case.role(&row.requester),
        holder_role: case.role(&row.holder),
        plan: case.plan.clone(),
        same_subject: case.subject.map(|subject| row.subject == Some(subject)),
    }
}

/// Consents of this person only: one that is named but is of somebody else is no candidate.
fn candidate_consents(
    view: &dyn Read,
    row: &RequestRow,
) -> Result<Vec<crate::records::Consent>, StoreError> {
    let Some(subject) = row.subject else {
        return Ok(Vec::new());
    };
    match &row.reliance {
        Some(Reliance::Consent(id)) => {
            let named = state::consent(view, id)?;
            Ok(named.into_iter().filter(|c| c.subject == subject).collect())
        }
        Some(Reliance::Agreement(_)) => Ok(Vec::new()),
        None => state::consents_of(view, &subject),
    }
}

fn candidate_agreements(
    view: &dyn Read,
    row: &RequestRow,
) -> Result<Vec<crate::records::Agreement>, StoreError> {
    match &row.reliance {
        Some(Reliance::Agreement(id)) => Ok(state::agreement(view, id)?.into_iter().collect()),
        Some(Reliance::Consent(_)) => Ok(Vec::new()),
        None => state::agreements_between(view, &row.holder, &row.requester),
    }
}
