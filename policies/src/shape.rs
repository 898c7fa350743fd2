//! What policies can see of a matter.
//!
//! In scope: the facts that go into an evaluation, without what could tell one person, consent,
//! agreement or case from another; the times beside them.
//! Out of scope: their form in Cedar ([`crate::entities`], which has nothing but these to build
//! from), remembering what was ruled of them ([`crate::memory`]).
//!
//! Two matters of one shape, whose times are in one order, are one question to the policies.

use crate::entities::SliceError;
use passerelle_model::{
    ids::AgencyId,
    pdp::{CaseFacts, Matter},
    records::{Agency, Agreement, Consent},
    statement::{AgreementLine, Item},
    time::Timestamp,
    vocabulary::{
        AgreementState, Capacity, CaseRole, Category, ConsentGiver, ConsentMethod, EmergencyKind,
        LegalBasis, Level, Profile, Purpose, Sector, Stage, Threshold, WorkerRole,
    },
};

/// One of the two agencies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Party {
    pub(crate) agency: AgencyId,
    pub(crate) sector: Sector,
    pub(crate) active: bool,
}

impl Party {
    fn of(agency: &Agency) -> Self {
        Self {
            agency: agency.agency.clone(),
            sector: agency.sector(),
            active: agency.active,
        }
    }
}

/// The case, whichever it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CaseShape {
    pub(crate) profile: Profile,
    pub(crate) stage: Stage,
    pub(crate) threshold: Threshold,
    pub(crate) closed: bool,
    pub(crate) requester_role: CaseRole,
    pub(crate) holder_role: CaseRole,
    pub(crate) plan: Vec<Category>,
    pub(crate) same_subject: Option<bool>,
}

impl CaseShape {
    fn of(case: &CaseFacts) -> Self {
        Self {
            profile: case.profile,
            stage: case.stage,
            threshold: case.threshold,
            closed: case.closed,
            requester_role: case.requester_role,
            holder_role: case.holder_role,
            plan: case.plan.clone(),
            same_subject: case.same_subject,
        }
    }
}

/// All but the candidates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MatterShape {
    pub(crate) requester: Party,
    pub(crate) holder: Party,
    pub(crate) role: WorkerRole,
    pub(crate) trained: bool,
    pub(crate) item: Item,
    pub(crate) purpose: Purpose,
    pub(crate) basis: LegalBasis,
    pub(crate) identified: bool,
    pub(crate) emergency: Option<EmergencyKind>,
    pub(crate) case: Option<CaseShape>,
}

impl MatterShape {
    pub(crate) fn of(matter: &Matter) -> Self {
        Self {
            requester: Party::of(&matter.requester),
            holder: Party::of(&matter.holder),
            role: matter.role,
            trained: matter.trained,
            item: matter.item,
            purpose: matter.purpose,
            basis: matter.basis,
            identified: matter.identified,
            emergency: matter.emergency,
            case: matter.case.as_ref().map(CaseShape::of),
        }
    }
}

/// A candidate consent, without its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConsentShape {
    pub(crate) giver: ConsentGiver,
    pub(crate) capacity: Capacity,
    pub(crate) method: ConsentMethod,
    pub(crate) categories: Vec<Category>,
    pub(crate) purposes: Vec<Purpose>,
    pub(crate) recipients: Vec<AgencyId>,
    pub(crate) disclosers: Vec<AgencyId>,
    pub(crate) redisclosure: bool,
    pub(crate) recorded_by_holder: bool,
    /// For this recipient and category, by itself or by the conflict rule.
    pub(crate) withdrawn: bool,
}

impl ConsentShape {
    pub(crate) fn of(consent: &Consent, withdrawn: bool, matter: &Matter) -> Self {
        let terms = &consent.terms;
        Self {
            giver: terms.giver,
            capacity: terms.capacity,
            method: terms.method,
            categories: terms.categories.clone(),
            purposes: terms.purposes.clone(),
            recipients: terms.recipients.clone(),
            disclosers: terms.disclosers.clone(),
            redisclosure: terms.redisclosure,
            recorded_by_holder: consent.recorded_by == matter.holder.agency,
            withdrawn,
        }
    }
}

/// The line of an agreement from holder to requester.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LineShape {
    pub(crate) from: AgencyId,
    pub(crate) to: AgencyId,
    pub(crate) category: Category,
    pub(crate) level: Level,
}

/// A candidate agreement, without its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AgreementShape {
    pub(crate) parties: Vec<AgencyId>,
    pub(crate) signed_by_all: bool,
    pub(crate) state: AgreementState,
    pub(crate) purposes: Vec<Purpose>,
    /// Of the two parties concerned, not those of others.
    pub(crate) bases: Vec<LegalBasis>,
    pub(crate) line: Option<LineShape>,
}

impl AgreementShape {
    pub(crate) fn of(agreement: &Agreement, line: Option<&AgreementLine>, matter: &Matter) -> Self {
        let terms = &agreement.terms;
        let concerned = [&matter.requester.agency, &matter.holder.agency];
        let concerned = terms
            .parties
            .iter()
            .filter(|p| concerned.contains(&&p.agency));
        Self {
            parties: terms.parties.iter().map(|p| p.agency.clone()).collect(),
            signed_by_all: agreement.is_signed_by_all(),
            state: agreement.state(matter.at),
            purposes: terms.purposes.clone(),
            bases: concerned.map(|p| p.basis).collect(),
            line: line.map(|line| LineShape {
                from: line.from.clone(),
                to: line.to.clone(),
                category: line.category,
                level: line.level,
            }),
        }
    }
}

/// From when until when a candidate holds, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Period {
    pub(crate) from: i64,
    pub(crate) until: i64,
}

impl Period {
    pub(crate) fn of(from: Timestamp, until: Timestamp) -> Result<Self, SliceError> {
        Ok(Self {
            from: millis(from)?,
            until: millis(until)?,
        })
    }
}

/// A time as policies compare it.
pub(crate) fn millis(at: Timestamp) -> Result<i64, SliceError> {
    at.0.try_into().map_err(|_| SliceError::Time)
}

/// All times of an evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) at: i64,
    pub(crate) consent: Option<Period>,
    pub(crate) agreement: Option<Period>,
}

/// The places of the times when they are put in order; equal ones share a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Order([u8; 5]);

impl Times {
    /// Their order. Which of them are there is part of the shape.
    pub(crate) fn order(&self) -> Order {
        let absent = Period {
            from: self.at,
            until: self.at,
        };
        let consent = self.consent.unwrap_or(absent);
        let agreement = self.agreement.unwrap_or(absent);
        let times = [
            self.at,
            consent.from,
            consent.until,
            agreement.from,
            agreement.until,
        ];
        let mut ascending = times;
        ascending.sort_unstable();
        Order(times.map(|time| {
            let before = ascending.iter().filter(|other| **other < time).count();
            u8::try_from(before).unwrap_or(u8::MAX)
        }))
    }
}
