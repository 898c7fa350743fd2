//! Reviews of emergency overrides: a permit that wants a review gets an audit case here, at the
//! agency that asks and at the one that holds (DATA, rule 25).
//!
//! In scope: raising it, once a request. Out of scope: the verdict ([`super::verdict`]): never by
//! who asked, nor at the holder by who approved.

use super::{
    Action, Kind,
    question::audit,
    record::{self, CaseEvent, Fate, Raised},
};
use crate::{event::Event, holder::storage};
use passerelle_model::{
    bytes::Digest,
    entry::EntryBody,
    error::ErrorCode,
    ids::{AgencyId, AuditCaseId, RequestId},
    store::Read,
};

/// Begins what the id of a review is made of.
const LABEL: &[u8] = b"passerelle/override-review/v1\0";

/// The audit case of a request whose permit wants a review: the same at each of its permits.
pub fn case_of(request: &RequestId) -> AuditCaseId {
    let digest = Digest::of(&[LABEL, request.as_str().as_bytes()].concat());
    let random = digest.0.first_chunk().copied().unwrap_or_default();
    AuditCaseId::from_random(random)
}

/// The review that a verified entry asks this agency for, unless there is one.
///
/// # Errors
/// The store.
pub fn wanted(
    view: &dyn Read,
    me: &AgencyId,
    entry: &EntryBody,
) -> Result<Option<Event>, ErrorCode> {
    let EntryBody::Offered { permit } = entry else {
        return Ok(None);
    };
    let Some(review_by) = permit.review_due() else {
        return Ok(None);
    };
    let case = case_of(&permit.request);
    let is_party = permit.requester == *me || permit.holder == *me;
    if !is_party || record::is_known(view, &case).map_err(storage)? {
        return Ok(None);
    }
    let worker = match permit.requester == *me {
        true => record::asked_by(view, &permit.request).map_err(storage)?,
        false => None,
    };
    tracing::warn!(audit_case = %case, request = %permit.request,
        "an emergency override has to be reviewed");
    let raised = Raised {
        case,
        kinds: vec![(Kind::EmergencyOverride, Action::Alert)],
        worker,
        request: permit.request.clone(),
        review_by: Some(review_by),
        fate: Fate::Sent,
        kept: None,
    };
    Ok(Some(audit(CaseEvent::Raised(Box::new(raised)))))
}
