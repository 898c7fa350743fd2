//! A question before it leaves: it goes, waits for a second person, or is refused.
//!
//! In scope: what the detectors need, the audit case in the same transaction as the question, the
//! sealed form of a question that is held. Out of scope: the detectors ([`super::detect`]),
//! releasing ([`super::verdict`]).
//!
//! The volume is looked at by the single writer, so that questions that come at once all count.
//! A crash before the journal's write leaves neither question nor case, one after it both: a
//! question never leaves without its case.

use super::{
    Action, apart,
    detect::{self, Attempt, Findings},
    record::{self, CaseEvent, Fate, Raised},
};
use crate::{
    asked_by::NearAsked,
    context::Context,
    core::Outcome,
    entropy,
    event::{Event, Stated},
    holder::storage,
    person::Person,
    requester::Question,
    standing,
    state::{self, key},
    vault::VaultError,
};
use passerelle_model::{
    bytes::{Digest, Handle},
    error::ErrorCode,
    ids::{AgencyId, AuditCaseId, CaseId, RequestId},
    records::Consent,
    statement::{Item, Reliance, WithdrawalScope},
    store::Read,
    time::Timestamp,
    vocabulary::{CaseRole, EmergencyKind, LegalBasis, Purpose},
};
use serde::{Deserialize, Serialize};

/// What a case says of a person, and the question if it is held. Only ever sealed.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Kept {
    /// The name of the match token ([`crate::vault::Index`]).
    pub(super) token: Option<Digest>,
    /// The handle, if it is known.
    pub(super) handle: Option<Handle>,
    /// The worker of this agency who is the person.
    pub(super) about: Option<String>,
    /// The question.
    pub(super) question: Option<HeldQuestion>,
}

/// A question that waits.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct HeldQuestion {
    holder: AgencyId,
    items: Vec<Item>,
    purpose: Purpose,
    basis: LegalBasis,
    reliance: Option<Reliance>,
    case: Option<CaseId>,
    emergency: Option<EmergencyKind>,
    justification: String,
    not_after: Timestamp,
    #[serde(default)]
    near: Option<NearAsked>,
}

impl HeldQuestion {
    fn of(question: &Question) -> Self {
        Self {
            holder: question.holder.clone(),
            items: question.items.clone(),
            purpose: question.purpose,
            basis: question.basis,
            reliance: question.reliance.clone(),
            case: question.case.clone(),
            emergency: question.emergency,
            justification: question.justification.clone(),
            not_after: question.not_after,
            near: question.near.clone(),
        }
    }

    /// The question again, by the same worker in what is that worker's role now.
    pub(super) fn into_question(
        self,
        subject: Option<Handle>,
        worker: crate::config::Worker,
    ) -> Question {
        Question {
            subject,
            holder: self.holder,
            items: self.items,
            purpose: self.purpose,
            basis: self.basis,
            reliance: self.reliance,
            case: self.case,
            emergency: self.emergency,
            justification: self.justification,
            worker,
            not_after: self.not_after,
            near: self.near,
        }
    }

    /// After this it is void.
    pub(super) const fn not_after(&self) -> Timestamp {
        self.not_after
    }
}

/// A question that may leave.
pub struct Candidate {
    /// Its id, drawn before anybody knows whether it leaves.
    pub request: RequestId,
    /// The question; with its handle, unless it is sure to be refused.
    pub question: Question,
    /// The name of the person's match token ([`crate::vault::Index`]).
    pub token: Option<Digest>,
    /// What was found so far.
    pub found: Findings,
    /// The signed statement; none if what was found stops the question already.
    pub stated: Option<Stated>,
}

/// What becomes of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Passage {
    /// It leaves; a preview is shown.
    Sent,
    /// It waits for a second person.
    Held(AuditCaseId, Findings),
    /// It is refused.
    Refused(AuditCaseId, Findings),
}

/// Looks at a question before anything is asked of the broker.
///
/// # Errors
/// [`ErrorCode::Suspended`]; the store.
pub fn look(
    context: &Context,
    view: &dyn Read,
    question: &Question,
    person: Option<&Person>,
    now: Timestamp,
) -> Result<Findings, ErrorCode> {
    require_active(view, &question.worker.id)?;
    let config = &context.config;
    let attempt = Attempt {
        worker: &question.worker,
        person,
        is_emergency: question.emergency.is_some(),
        has_service: has_service(context, view, question, person, now)?,
        at: now,
    };
    Ok(detect::look(&config.suspicion, &config.workers, &attempt))
}

/// Refuses whoever is suspended.
///
/// # Errors
/// [`ErrorCode::Suspended`]; the store.
pub fn require_active(view: &dyn Read, worker: &str) -> Result<(), ErrorCode> {
    match record::suspended_by(view, worker).map_err(storage)? {
        Some(_) => Err(ErrorCode::Suspended),
        None => Ok(()),
    }
}

/// Whether the agency has to do with the person: a case that it is in, a record, a consent that
/// names it and stands, something made here about the person.
fn has_service(
    context: &Context,
    view: &dyn Read,
    question: &Question,
    person: Option<&Person>,
    now: Timestamp,
) -> Result<bool, ErrorCode> {
    if let Some(case) = &question.case {
        let me = &context.identity.anchors.agency;
        let row = state::case(view, case).map_err(storage)?;
        if row.is_some_and(|row| row.outcome.is_none() && row.role(me) != CaseRole::Out) {
            return Ok(true);
        }
    }
    let Some(person) = person else {
        return Ok(false);
    };
    let index = context.vault.index()?;
    for token in index.tokens(person) {
        let records = view.scan(&key::by_token(&token, ""), None, 1);
        if !records.map_err(storage)?.is_empty() {
            return Ok(true);
        }
    }
    let Some(handle) = index.handle_of(view, person)? else {
        return Ok(false);
    };
    if record::is_labelled(view, &handle).map_err(storage)? {
        return Ok(true);
    }
    let stands = |consent: &Consent| {
        let all_of_it = |w: &passerelle_model::records::Withdrawn| w.scope == WithdrawalScope::All;
        consent.terms.expires_at > now && !consent.withdrawn.iter().any(all_of_it)
    };
    let consents = standing::consents_of(view, &handle).map_err(storage)?;
    // More than can be looked at is a lot to do with somebody.
    Ok(consents.is_none_or(|all| all.iter().any(|one| stands(&one.consent))))
}

/// What becomes of a question: journaled in one transaction with its audit case, if there is one.
///
/// # Errors
/// [`ErrorCode::Suspended`]; the store.
pub fn pass(
    context: &Context,
    view: &dyn Read,
    candidate: Candidate,
    now: Timestamp,
) -> Outcome<Passage> {
    let settings = &context.config.suspicion;
    let worker = &candidate.question.worker.id;
    let active = require_active(view, worker);
    if active.is_err() && candidate.stated.is_some() {
        context.vault.destroy(&candidate.request)?;
    }
    active?;
    let mut found = candidate.found.clone();
    let pace = record::pace(view, worker).map_err(storage)?;
    detect::unusual(settings, &pace, now, &mut found);
    let asked = audit(CaseEvent::Asked {
        request: candidate.request.clone(),
        worker: worker.clone(),
        apart: apart::keep(context, &candidate.request, &found.apart)?,
    });
    let Some(action) = found.action() else {
        let stated = candidate.stated.ok_or(ErrorCode::Internal)?;
        return Ok((vec![asked, Event::Stated(Box::new(stated))], Passage::Sent));
    };
    if action.stops() && candidate.stated.is_some() {
        // Its secrets are of no use to anybody now.
        context.vault.destroy(&candidate.request)?;
    }
    let case = AuditCaseId::from_random(entropy::random()?);
    let fate = fate(action, &candidate);
    let raised = raise(context, &case, &candidate, &found, fate, now)?;
    tracing::warn!(audit_case = %case, action = action.code(), fate = fate.code(),
        "a question has to be looked at by a second person");
    let raised = audit(CaseEvent::Raised(Box::new(raised)));
    match (fate, candidate.stated) {
        (Fate::Sent, Some(stated)) => {
            let events = vec![asked, raised, Event::Stated(Box::new(stated))];
            Ok((events, Passage::Sent))
        }
        (Fate::Sent, None) => Err(ErrorCode::Internal),
        (Fate::Held, _) => Ok((vec![asked, raised], Passage::Held(case, found))),
        (_, _) => Ok((vec![asked, raised], Passage::Refused(case, found))),
    }
}

/// What becomes of a look at what the rules would say, which is a look-up like any other:
/// journaled, with its audit case if there is one. There is nothing to hold, so what would be held
/// is refused.
///
/// # Errors
/// [`ErrorCode::Suspended`]; the store.
pub fn pass_preview(
    context: &Context,
    view: &dyn Read,
    candidate: Candidate,
    now: Timestamp,
) -> Outcome<Passage> {
    let worker = &candidate.question.worker.id;
    require_active(view, worker)?;
    let mut found = candidate.found.clone();
    let pace = record::pace(view, worker).map_err(storage)?;
    detect::unusual(&context.config.suspicion, &pace, now, &mut found);
    let mut events = vec![audit(CaseEvent::Previewed {
        request: candidate.request.clone(),
        worker: worker.clone(),
        apart: apart::keep(context, &candidate.request, &found.apart)?,
    })];
    let Some(action) = found.action() else {
        return Ok((events, Passage::Sent));
    };
    let fate = match action.stops() {
        true => Fate::Refused,
        false => Fate::Previewed,
    };
    let case = AuditCaseId::from_random(entropy::random()?);
    let raised = raise(context, &case, &candidate, &found, fate, now)?;
    tracing::warn!(audit_case = %case, action = action.code(), fate = fate.code(),
        "a preview has to be looked at by a second person");
    events.push(audit(CaseEvent::Raised(Box::new(raised))));
    let passage = match fate {
        Fate::Refused => Passage::Refused(case, found),
        _ => Passage::Sent,
    };
    Ok((events, passage))
}

pub(crate) fn audit(event: CaseEvent) -> Event {
    Event::AuditCase(Box::new(event))
}

fn fate(action: Action, candidate: &Candidate) -> Fate {
    // Without the person's handle nobody could send it later.
    let can_wait = candidate.token.is_none() || candidate.question.subject.is_some();
    match action {
        Action::Note | Action::Alert => Fate::Sent,
        Action::Hold if can_wait => Fate::Held,
        Action::Hold | Action::Block => Fate::Refused,
    }
}

fn raise(
    context: &Context,
    case: &AuditCaseId,
    candidate: &Candidate,
    found: &Findings,
    fate: Fate,
    now: Timestamp,
) -> Result<Raised, ErrorCode> {
    // A question that left has its person in its own secrets.
    let says = fate != Fate::Sent || found.about.is_some();
    let kept = says.then(|| {
        let kept = Kept {
            token: candidate.token,
            handle: candidate.question.subject,
            about: found.about.clone(),
            question: (fate == Fate::Held).then(|| HeldQuestion::of(&candidate.question)),
        };
        let plain = serde_json::to_vec(&kept).map_err(|_| ErrorCode::Internal)?;
        let plain = zeroize::Zeroizing::new(plain);
        context.vault.keep_named(case.as_str(), &plain)
    });
    let only_noted = found.action() == Some(Action::Note);
    let hours = context.config.suspicion.review_h;
    Ok(Raised {
        case: case.clone(),
        kinds: found.kinds.clone(),
        worker: Some(candidate.question.worker.id.clone()),
        request: candidate.request.clone(),
        review_by: (!only_noted).then(|| now.plus_s(hours.saturating_mul(3_600))),
        fate,
        kept: kept.transpose()?,
    })
}

/// What a case says of a person; none if there is nothing, or it is erased.
///
/// # Errors
/// It can't be read, or is damaged.
pub(super) fn kept(
    context: &Context,
    view: &dyn Read,
    case: &AuditCaseId,
) -> Result<Option<Kept>, ErrorCode> {
    let plain = context.vault.open_named(view, case.as_str())?;
    let Some(plain) = plain else { return Ok(None) };
    let kept = serde_json::from_slice(&plain).map_err(|_| VaultError::Damaged)?;
    Ok(Some(kept))
}
