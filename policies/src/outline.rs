//! What tells one question to the policies from another.
//!
//! In scope: a question without a name and without a clock: codes, who stands in which list, the
//! order of the times. Out of scope: whether a bundle's policies look at nothing else
//! ([`crate::memory`]); the question itself ([`crate::shape`]).
//!
//! # Agencies
//! Policies that name no agency see of one only its sector, whether it is active, and in which of
//! the three lists it stands: recipients and disclosers of the consent, parties of the agreement.
//! So agencies may change names. Of those that neither ask nor are asked nothing can be looked into:
//! two that stand in the same lists are as one to each operation on sets that there is
//! (`contains`, `containsAll`, `containsAny`, `isEmpty`, `==`, `in`); sets can't be counted.

use crate::{
    candidates::Candidates,
    shape::{AgreementShape, CaseShape, ConsentShape, MatterShape, Order, Times},
};
use passerelle_model::{
    ids::AgencyId,
    statement::Item,
    vocabulary::{
        AgreementState, Capacity, CaseRole, Category, ConsentGiver, ConsentMethod, EmergencyKind,
        LegalBasis, Level, Profile, Purpose, Sector, Stage, Threshold, WorkerRole,
    },
};

/// Most agencies in the lists of a question that is remembered: who is in which list is found by
/// comparing each with each.
const MAX_LISTED: usize = 32;

/// All that an answer follows from, of policies that may be remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Outline {
    action: &'static str,
    matter: MatterOutline,
    consent: Option<ConsentOutline>,
    agreement: Option<AgreementOutline>,
    places: Places,
    order: Order,
}

impl Outline {
    /// Of this question; `None` if it is not worth remembering, or not to be told in these terms.
    pub(crate) fn of(
        action: &'static str,
        matter: &MatterShape,
        outline: MatterOutline,
        set: Candidates<'_>,
        times: &Times,
    ) -> Option<Self> {
        let consent = set.consent.map(|c| &c.shape);
        let agreement = set.agreement.map(|a| &a.shape);
        Some(Self {
            action,
            matter: outline,
            consent: match consent {
                Some(consent) => Some(ConsentOutline::of(consent)?),
                None => None,
            },
            agreement: match agreement {
                Some(agreement) => Some(AgreementOutline::of(agreement, matter)?),
                None => None,
            },
            places: Places::of(matter, consent, agreement)?,
            order: times.order(),
        })
    }
}

/// The codes of a list, one bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Codes(u64);

impl Codes {
    /// `None` if a code has no bit.
    fn of(places: impl Iterator<Item = u32>) -> Option<Self> {
        let mut bits = 0_u64;
        for place in places {
            bits |= 1_u64.checked_shl(place)?;
        }
        Some(Self(bits))
    }
}

/// All but the candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MatterOutline {
    requester: (Sector, bool),
    holder: (Sector, bool),
    one_agency: bool,
    role: WorkerRole,
    trained: bool,
    item: Item,
    purpose: Purpose,
    basis: LegalBasis,
    identified: bool,
    emergency: Option<EmergencyKind>,
    case: Option<CaseOutline>,
}

impl MatterOutline {
    /// `None` if a code has no bit.
    pub(crate) fn of(matter: &MatterShape) -> Option<Self> {
        let (requester, holder) = (&matter.requester, &matter.holder);
        Some(Self {
            requester: (requester.sector, requester.active),
            holder: (holder.sector, holder.active),
            one_agency: requester.agency == holder.agency,
            role: matter.role,
            trained: matter.trained,
            item: matter.item,
            purpose: matter.purpose,
            basis: matter.basis,
            identified: matter.identified,
            emergency: matter.emergency,
            case: match &matter.case {
                Some(case) => Some(CaseOutline::of(case)?),
                None => None,
            },
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct CaseOutline {
    profile: Profile,
    stage: Stage,
    threshold: Threshold,
    closed: bool,
    requester_role: CaseRole,
    holder_role: CaseRole,
    plan: Codes,
    same_subject: Option<bool>,
}

impl CaseOutline {
    fn of(case: &CaseShape) -> Option<Self> {
        Some(Self {
            profile: case.profile,
            stage: case.stage,
            threshold: case.threshold,
            closed: case.closed,
            requester_role: case.requester_role,
            holder_role: case.holder_role,
            plan: Codes::of(case.plan.iter().map(|c| *c as u32))?,
            same_subject: case.same_subject,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct ConsentOutline {
    giver: ConsentGiver,
    capacity: Capacity,
    method: ConsentMethod,
    categories: Codes,
    purposes: Codes,
    redisclosure: bool,
    recorded_by_holder: bool,
    withdrawn: bool,
}

impl ConsentOutline {
    fn of(consent: &ConsentShape) -> Option<Self> {
        Some(Self {
            giver: consent.giver,
            capacity: consent.capacity,
            method: consent.method,
            categories: Codes::of(consent.categories.iter().map(|c| *c as u32))?,
            purposes: Codes::of(consent.purposes.iter().map(|p| *p as u32))?,
            redisclosure: consent.redisclosure,
            recorded_by_holder: consent.recorded_by_holder,
            withdrawn: consent.withdrawn,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct AgreementOutline {
    signed_by_all: bool,
    state: AgreementState,
    purposes: Codes,
    bases: Codes,
    /// From holder to requester.
    line: Option<(Category, Level)>,
}

impl AgreementOutline {
    fn of(agreement: &AgreementShape, matter: &MatterShape) -> Option<Self> {
        let line = match &agreement.line {
            Some(line) if line.from != matter.holder.agency => return None,
            Some(line) if line.to != matter.requester.agency => return None,
            Some(line) => Some((line.category, line.level)),
            None => None,
        };
        Some(Self {
            signed_by_all: agreement.signed_by_all,
            state: agreement.state,
            purposes: Codes::of(agreement.purposes.iter().map(|p| *p as u32))?,
            bases: Codes::of(agreement.bases.iter().map(|b| *b as u32))?,
            line,
        })
    }
}

/// Who stands in which of the three lists: a bit for each list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Places {
    requester: u8,
    holder: u8,
    /// Of the others: a bit for each combination of lists in which at least one of them stands.
    others: u8,
}

impl Places {
    /// `None` if the lists are long.
    fn of(
        matter: &MatterShape,
        consent: Option<&ConsentShape>,
        agreement: Option<&AgreementShape>,
    ) -> Option<Self> {
        let lists: [&[AgencyId]; 3] = [
            consent.map_or(&[], |c| c.recipients.as_slice()),
            consent.map_or(&[], |c| c.disclosers.as_slice()),
            agreement.map_or(&[], |a| a.parties.as_slice()),
        ];
        if lists.iter().map(|list| list.len()).sum::<usize>() > MAX_LISTED {
            return None;
        }
        let [recipients, disclosers, parties] = lists;
        let combination = |agency: &AgencyId| {
            let stands = |list: &[AgencyId], bit| if list.contains(agency) { bit } else { 0_u8 };
            stands(recipients, 1) | stands(disclosers, 2) | stands(parties, 4)
        };
        let (requester, holder) = (&matter.requester.agency, &matter.holder.agency);
        let all = lists.iter().flat_map(|list| list.iter());
        let others = all.filter(|agency| *agency != requester && *agency != holder);
        Some(Self {
            requester: combination(requester),
            holder: combination(holder),
            others: others.fold(0, |seen, other| seen | 1 << combination(other)),
        })
    }
}
