//! The rows of the broker's projection.

mod agreement;

pub use agreement::{Agreement, Course, Successor};

use crate::{
    bytes::{Digest, Handle, PublicKey},
    ids::{AgencyId, AgreementId, CaseId, ConsentId, RequestId},
    pdp::{Effect, ItemRuling},
    request::Status,
    statement::{
        AgencyKeys, CaseAdvance, CaseOpening, ConsentTerms, Item, Reliance, WithdrawalScope,
    },
    time::Timestamp,
    vocabulary::{
        CaseOutcome, CaseRole, Category, EmergencyKind, LegalBasis, Profile, Purpose, Sector,
        Stage, Threshold, WorkerRole,
    },
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agency {
    /// Its name.
    pub agency: AgencyId,
    /// Its keys and sector.
    pub keys: AgencyKeys,
    /// Serial number of its certificate, hexadecimal.
    pub certificate: String,
    /// Whether it is a member now.
    pub active: bool,
    /// Index of the entry by which it joined, or renewed its keys last.
    pub joined: u64,
    /// Index of the entry since which it has been a member without a break.
    pub since: u64,
}

impl Agency {
    /// Its sector.
    pub const fn sector(&self) -> Sector {
        self.keys.sector
    }
}

/// An open invitation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// Who.
    pub agency: AgencyId,
    /// As what.
    pub sector: Sector,
    /// Until when.
    pub expires_at: Timestamp,
}

/// What was withdrawn of a consent, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdrawn {
    /// How much.
    pub scope: WithdrawalScope,
    /// Index of the withdrawal.
    pub index: u64,
}

/// A consent with its withdrawals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    /// The terms.
    pub terms: ConsentTerms,
    /// Who recorded it.
    pub recorded_by: AgencyId,
    /// The person; gone once erased.
    pub subject: Handle,
    /// What was withdrawn.
    pub withdrawn: Vec<Withdrawn>,
    /// Index of the record.
    pub recorded: u64,
}

impl Consent {
    /// Whether a withdrawal covers this recipient and category.
    pub fn is_withdrawn_for(&self, recipient: &AgencyId, category: Category) -> bool {
        self.withdrawn_since(recipient, category).is_some()
    }

    /// The index of the latest withdrawal that covers this recipient and category.
    pub fn withdrawn_since(&self, recipient: &AgencyId, category: Category) -> Option<u64> {
        let covers = |withdrawn: &&Withdrawn| match &withdrawn.scope {
            WithdrawalScope::All => true,
            WithdrawalScope::Recipient(agency) => agency == recipient,
            WithdrawalScope::Category(withdrawn) => *withdrawn == category,
        };
        self.withdrawn.iter().filter(covers).map(|w| w.index).max()
    }

    /// Whether it speaks of this recipient, discloser and category.
    pub fn is_between(
        &self,
        recipient: &AgencyId,
        discloser: &AgencyId,
        category: Category,
    ) -> bool {
        self.terms.recipients.contains(recipient)
            && self.terms.disclosers.contains(discloser)
            && self.terms.categories.contains(&category)
    }

    /// Whether it is in force at `at`, withdrawals aside.
    pub fn is_in_time(&self, at: Timestamp) -> bool {
        self.terms.given_at <= at && at < self.terms.expires_at
    }

    /// Whether who gave it could: who can decide decides alone, and somebody else speaks only for
    /// a person who can't.
    pub fn has_standing(&self) -> bool {
        self.terms.has_standing()
    }

    /// Whether `agency` is named in it: recorded it, may receive or may disclose.
    pub fn names(&self, agency: &AgencyId) -> bool {
        self.recorded_by == *agency
            || self.terms.recipients.contains(agency)
            || self.terms.disclosers.contains(agency)
    }
}

/// A case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// Its id.
    pub case: CaseId,
    /// Who opened it, and leads.
    pub lead: AgencyId,
    /// By which mechanism.
    pub profile: Profile,
    /// Where it stands.
    pub stage: Stage,
    /// Whether the threshold is met.
    pub threshold: Threshold,
    /// What each agency is to it.
    pub agencies: BTreeMap<AgencyId, CaseRole>,
    /// The categories that the plan needs.
    pub plan: Vec<Category>,
    /// The person, from stage 3 on.
    pub subject: Option<Handle>,
    /// How it closed, if it did.
    pub outcome: Option<CaseOutcome>,
    /// Index of the opening.
    pub opened: u64,
}

impl Case {
    /// A case as `lead` puts it on the table at `index`.
    pub fn opened(lead: &AgencyId, opening: CaseOpening, index: u64) -> Self {
        let seated = opening.agencies.iter().chain([lead]);
        Self {
            lead: lead.clone(),
            profile: opening.profile,
            stage: Stage::HomeAgency,
            threshold: Threshold::Pending,
            agencies: seated.map(|a| (a.clone(), CaseRole::Table)).collect(),
            plan: Vec::new(),
            subject: None,
            outcome: None,
            opened: index,
            case: opening.case,
        }
    }

    /// The agencies that are in.
    pub fn present(&self) -> impl Iterator<Item = &AgencyId> {
        let roles = self.agencies.iter();
        roles
            .filter(|(_, role)| **role != CaseRole::Out)
            .map(|(agency, _)| agency)
    }

    /// Moves the case on. `subject` is the person, as far as the reader may know.
    pub fn advance(&mut self, advance: CaseAdvance, subject: Option<Handle>) {
        let stays = match advance.stage {
            Stage::HomeAgency | Stage::DeIdentified => None,
            Stage::LimitedIdentifiers => Some(CaseRole::Needed),
            Stage::Interveners => Some(CaseRole::Intervener),
        };
        if let Some(role) = stays {
            for (agency, present) in &mut self.agencies {
                let kept = *agency == self.lead || advance.agencies.contains(agency);
                // Who is out stays out: a return is a new case.
                if *present != CaseRole::Out {
                    *present = if kept { role } else { CaseRole::Out };
                }
            }
        }
        if advance.subject.is_some() {
            self.subject = subject;
        }
        self.stage = advance.stage;
        self.threshold = advance.threshold;
        self.plan = advance.plan;
        self.outcome = advance.outcome;
    }

    /// What `agency` is to it; `Out` if it never was in.
    pub fn role(&self, agency: &AgencyId) -> CaseRole {
        self.agencies.get(agency).copied().unwrap_or(CaseRole::Out)
    }
}

/// The latest decision on a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Index of the entry.
    pub index: u64,
    /// When.
    pub at: Timestamp,
    /// The rulings.
    pub items: Vec<ItemRuling>,
    /// By which bundle.
    pub bundle: Digest,
}

impl Decision {
    /// The items that may be answered.
    pub fn allowed(&self) -> impl Iterator<Item = &ItemRuling> {
        self.items
            .iter()
            .filter(|i| i.ruling.effect != Effect::Deny)
    }

    /// The effect over all: review if any allowed item needs it, deny if none is allowed.
    pub fn effect(&self) -> Effect {
        let effects = || self.allowed().map(|i| i.ruling.effect);
        if effects().next().is_none() {
            Effect::Deny
        } else if effects().any(|e| e == Effect::Review) {
            Effect::Review
        } else {
            Effect::Permit
        }
    }
}

/// The permit in force for a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PermitRef {
    /// Index of the `offered` entry.
    pub index: u64,
    /// Digest of the permit.
    pub digest: Digest,
    /// Until when it may be used.
    pub not_after: Timestamp,
}

/// The review that the permit for an emergency wants (DATA, rule 25).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReviewRow {
    /// Until when each of the two agencies has to have looked.
    pub due: Timestamp,
    /// Which of them have.
    pub by: Vec<AgencyId>,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRow {
    /// Its id.
    pub request: RequestId,
    /// Who asked.
    pub requester: AgencyId,
    /// Who is asked.
    pub holder: AgencyId,
    /// What.
    pub items: Vec<Item>,
    /// What for.
    pub purpose: Purpose,
    /// On which basis.
    pub basis: LegalBasis,
    /// On which consent or agreement.
    pub reliance: Option<Reliance>,
    /// In which case.
    pub case: Option<CaseId>,
    /// The emergency that is claimed.
    pub emergency: Option<EmergencyKind>,
    /// The worker's role.
    pub role: WorkerRole,
    /// Whether the worker's training is current.
    pub trained: bool,
    /// The person.
    pub subject: Option<Handle>,
    /// Where to seal the answer.
    pub reply_key: PublicKey,
    /// After this it is void.
    pub not_after: Timestamp,
    /// Digest of the signed statement.
    pub statement: Digest,
    /// Index of the statement's entry.
    pub submitted: u64,
    /// Where it stands.
    pub status: Status,
    /// The latest decision.
    pub decision: Option<Decision>,
    /// The permit in force.
    pub permit: Option<PermitRef>,
    /// Index of the answer's entry, and the digest of the sealed answer.
    pub answer: Option<(u64, Digest)>,
    /// The review that its first permit with that duty wants.
    pub review: Option<ReviewRow>,
}

impl RequestRow {
    /// The consents on which the latest decision rests.
    pub fn consents(&self) -> Vec<ConsentId> {
        let mut ids: Vec<_> = self
            .decision
            .iter()
            .flat_map(Decision::allowed)
            .filter_map(|i| i.ruling.consent.clone())
            .collect();
        ids.sort();
        ids.dedup();
        ids
    }

    /// The agreements on which the latest decision rests.
    pub fn agreements(&self) -> Vec<AgreementId> {
        let mut ids: Vec<_> = self
            .decision
            .iter()
            .flat_map(Decision::allowed)
            .filter_map(|i| i.ruling.agreement.clone())
            .collect();
        ids.sort();
        ids.dedup();
        ids
    }
}
