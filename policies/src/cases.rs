//! The rules' test cases as data: what a matter is, what must come out, by which rules.
//!
//! In scope: the format (`tests/*.toml` of a bundle) and the matters it stands for. Running them is
//! in [`run_cases`] and [`check`]. Out of scope: properties over all matters, which are tests of
//! this crate.
//!
//! A case says only what it is about: by default police ask health, trained, about a person,
//! whether she is in service, to plan, on `GDPR-6`, outside a case, with neither consent nor
//! agreement. A consent or an agreement in a case covers the request unless the case says
//! otherwise, and the holder recorded it. Times are in seconds from now.

use passerelle_model::{
    bytes::{Commitment, Digest, Handle, PublicKey},
    ids::{AgencyId, AgreementId, CaseId, ConsentId},
    pdp::{CaseFacts, Effect, Matter},
    records::{self, Agency, Agreement, Consent, Course, Successor},
    statement::{
        AgencyKeys, AgreementLine, AgreementParty, AgreementTerms, ConsentTerms, Edition, Item,
        Reliance, WithdrawalScope,
    },
    time::Timestamp,
    vocabulary::{
        AgreementState, Capacity, CaseRole, Category, ConsentGiver, ConsentMethod, EmergencyKind,
        Language, LegalBasis, Level, Profile, Purpose, Sector, Stage, Threshold, WorkerRole,
    },
};
use serde::Deserialize;

pub use crate::{
    local_cases::{LocalCaseResult, run_local_cases},
    runner::{CaseResult, Summary, check, run_cases},
};

/// When the cases play: 2026-01-01T00:00:00Z. Any instant would do.
const NOW: Timestamp = Timestamp(1_767_225_600_000);

const DAY_S: i64 = 86_400;

/// A file of cases.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CaseFile {
    pub(crate) case: Vec<TestCase>,
}

/// One case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TestCase {
    /// A sentence. `rule 12: ...` says of which of the rules in docs/POLICY.md it is a case.
    pub(crate) name: String,
    /// The same, for a sentence that does not say it.
    #[serde(default)]
    pub(crate) rule: Option<u8>,
    /// On which side of that rule it is.
    #[serde(default)]
    pub(crate) side: Option<Side>,
    #[serde(default)]
    pub(crate) input: Input,
    pub(crate) expect: Expect,
}

impl TestCase {
    /// Of which of the rules in docs/POLICY.md it is a case.
    pub(crate) fn of_rule(&self) -> Option<u8> {
        let said = || {
            let (number, _) = self.name.strip_prefix("rule ")?.split_once(':')?;
            number.parse().ok()
        };
        self.rule.or_else(said)
    }
}

/// On which side of a rule a case is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The rule lets it pass, at once or with a review.
    Permit,
    /// The rule stops it.
    Deny,
    /// Just this side of where the rule begins or ends.
    Boundary,
}

/// What must come out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    pub(crate) decision: Effect,
    /// All reasons, in any order.
    pub(crate) rules: Vec<String>,
    /// All obligations, as in `@obligation`; not compared when absent.
    pub(crate) obligations: Option<String>,
    /// On what the ruling rests, among `consent` and `agreement`; not compared when absent.
    pub(crate) rests_on: Option<Vec<String>>,
}

/// The matter, as far as it differs from the default.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Input {
    requester: Sector,
    holder: Sector,
    requester_active: bool,
    holder_active: bool,
    /// The requester asks itself.
    same_agency: bool,
    role: WorkerRole,
    trained: bool,
    category: Category,
    level: Level,
    purpose: Purpose,
    basis: LegalBasis,
    emergency: Option<EmergencyKind>,
    identified: bool,
    case: Option<CaseInput>,
    relies_on: Option<ReliesOn>,
    consents: Vec<ConsentInput>,
    agreements: Vec<AgreementInput>,
}

impl Default for Input {
    fn default() -> Self {
        Self {
            requester: Sector::LawEnforcement,
            holder: Sector::Health,
            requester_active: true,
            holder_active: true,
            same_agency: false,
            role: WorkerRole::Officer,
            trained: true,
            category: Category::InService,
            level: Level::Known,
            purpose: Purpose::Plan,
            basis: LegalBasis::Gdpr6,
            emergency: None,
            identified: true,
            case: None,
            relies_on: None,
            consents: Vec::new(),
            agreements: Vec::new(),
        }
    }
}

/// What the request names, by its number among the consents or agreements of the case, from 1. A
/// number that none of them has stands for one that is not on record.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ReliesOn {
    Consent(u8),
    Agreement(u8),
}

/// A case at a table: by default at stage 4 with both agencies as interveners, the threshold
/// agreed, and the category in the plan.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct CaseInput {
    profile: Profile,
    stage: Stage,
    threshold: Threshold,
    closed: bool,
    requester_role: CaseRole,
    holder_role: CaseRole,
    plan: Option<Vec<Category>>,
    /// `same`, `other` or `nobody`.
    person: Person,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Person {
    Same,
    Other,
    Nobody,
}

impl Default for CaseInput {
    fn default() -> Self {
        Self {
            profile: Profile::SituationTable,
            stage: Stage::Interveners,
            threshold: Threshold::Agreed,
            closed: false,
            requester_role: CaseRole::Intervener,
            holder_role: CaseRole::Intervener,
            plan: None,
            person: Person::Same,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ConsentInput {
    categories: Option<Vec<Category>>,
    purposes: Option<Vec<Purpose>>,
    recipients: Option<Vec<AgencyId>>,
    disclosers: Option<Vec<AgencyId>>,
    given_in_s: i64,
    expires_in_s: i64,
    /// Among `all`, `requester`, `category`, `another`.
    withdrawn: Vec<Withdrawn>,
    /// Index of the withdrawals; that after the record when absent.
    withdrawn_at: Option<u64>,
    /// Who recorded it; the holder when absent.
    recorded_by: Option<AgencyId>,
    redisclosure: bool,
    giver: ConsentGiver,
    capacity: Capacity,
    method: ConsentMethod,
    recorded: u64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Withdrawn {
    All,
    Requester,
    Category,
    /// For a recipient that is not the requester.
    Another,
}

impl Default for ConsentInput {
    fn default() -> Self {
        Self {
            categories: None,
            purposes: None,
            recipients: None,
            disclosers: None,
            given_in_s: -DAY_S,
            expires_in_s: 30 * DAY_S,
            withdrawn: Vec::new(),
            withdrawn_at: None,
            recorded_by: None,
            redisclosure: false,
            giver: ConsentGiver::Subject,
            capacity: Capacity::Capable,
            method: ConsentMethod::Written,
            recorded: 10,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct AgreementInput {
    category: Option<Category>,
    level: Option<Level>,
    retention_days: u16,
    purposes: Option<Vec<Purpose>>,
    basis: Option<LegalBasis>,
    /// The line goes from the requester to the holder.
    reversed: bool,
    /// Who has signed; both when absent.
    signed: Option<Vec<AgencyId>>,
    starts_in_s: i64,
    ends_in_s: i64,
    /// What became of it.
    state: AgreementState,
}

impl Default for AgreementInput {
    fn default() -> Self {
        Self {
            category: None,
            level: None,
            retention_days: 60,
            purposes: None,
            basis: None,
            reversed: false,
            signed: None,
            starts_in_s: -30 * DAY_S,
            ends_in_s: 30 * DAY_S,
            state: AgreementState::Active,
        }
    }
}

impl Input {
    /// The matter. The agencies are called `requester` and `holder`, a third one `bystander`.
    pub(crate) fn matter(&self) -> Result<Matter, String> {
        let requester = agency_id("requester")?;
        let holder = if self.same_agency {
            requester.clone()
        } else {
            agency_id("holder")?
        };
        let mut matter = Matter {
            at: NOW,
            requester: agency(requester, self.requester, self.requester_active),
            holder: agency(holder, self.holder, self.holder_active),
            role: self.role,
            trained: self.trained,
            item: Item {
                category: self.category,
                level: self.level,
            },
            purpose: self.purpose,
            basis: self.basis,
            case: self.case.as_ref().map(|c| c.facts(self.category)),
            emergency: self.emergency,
            identified: self.identified,
            reliance: self.relies_on.map(|named| match named {
                ReliesOn::Consent(number) => Reliance::Consent(consent_id(number)),
                ReliesOn::Agreement(number) => Reliance::Agreement(agreement_id(number)),
            }),
            consents: Vec::new(),
            agreements: Vec::new(),
        };
        for (input, number) in self.consents.iter().zip(1..) {
            matter.consents.push(input.consent(number, &matter)?);
        }
        for (input, number) in self.agreements.iter().zip(1..) {
            matter.agreements.push(input.agreement(number, &matter));
        }
        Ok(matter)
    }
}

impl CaseInput {
    fn facts(&self, category: Category) -> CaseFacts {
        CaseFacts {
            case: CaseId::from_random([1; 16]),
            profile: self.profile,
            stage: self.stage,
            threshold: self.threshold,
            closed: self.closed,
            requester_role: self.requester_role,
            holder_role: self.holder_role,
            plan: self.plan.clone().unwrap_or_else(|| vec![category]),
            same_subject: match self.person {
                Person::Same => Some(true),
                Person::Other => Some(false),
                Person::Nobody => None,
            },
        }
    }
}

impl ConsentInput {
    fn consent(&self, number: u8, matter: &Matter) -> Result<Consent, String> {
        let (requester, holder) = (&matter.requester.agency, &matter.holder.agency);
        let bystander = agency_id("bystander")?;
        let or = |list: &Option<Vec<AgencyId>>, default: &AgencyId| {
            list.clone().unwrap_or_else(|| vec![default.clone()])
        };
        let withdrawn = self.withdrawn.iter().map(|scope| match scope {
            Withdrawn::All => WithdrawalScope::All,
            Withdrawn::Requester => WithdrawalScope::Recipient(requester.clone()),
            Withdrawn::Category => WithdrawalScope::Category(matter.item.category),
            Withdrawn::Another => WithdrawalScope::Recipient(bystander.clone()),
        });
        let index = self
            .withdrawn_at
            .unwrap_or_else(|| self.recorded.saturating_add(1));
        let withdrawn = withdrawn.map(|scope| records::Withdrawn { scope, index });
        Ok(Consent {
            terms: ConsentTerms {
                consent: consent_id(number),
                subject: Commitment([0; 32]),
                giver: self.giver,
                capacity: self.capacity,
                categories: (self.categories.clone()).unwrap_or_else(|| vec![matter.item.category]),
                purposes: (self.purposes.clone()).unwrap_or_else(|| vec![matter.purpose]),
                recipients: or(&self.recipients, requester),
                disclosers: or(&self.disclosers, holder),
                method: self.method,
                language: Language::French,
                interpreter: false,
                notice_version: 1,
                given_at: from_now(self.given_in_s),
                expires_at: from_now(self.expires_in_s),
                redisclosure: self.redisclosure,
                evidence: None,
            },
            recorded_by: self.recorded_by.clone().unwrap_or_else(|| holder.clone()),
            subject: Handle([0; 32]),
            withdrawn: withdrawn.collect(),
            recorded: self.recorded,
        })
    }
}

impl AgreementInput {
    fn agreement(&self, number: u8, matter: &Matter) -> Agreement {
        let (requester, holder) = (&matter.requester.agency, &matter.holder.agency);
        let (from, to) = if self.reversed {
            (requester, holder)
        } else {
            (holder, requester)
        };
        let basis = self.basis.unwrap_or(matter.basis);
        let party = |agency: &AgencyId| AgreementParty {
            agency: agency.clone(),
            basis,
        };
        Agreement {
            terms: AgreementTerms {
                signatories: Vec::new(),
                agreement: agreement_id(number),
                edition: Edition::default(),
                parties: vec![party(requester), party(holder)],
                purposes: (self.purposes.clone()).unwrap_or_else(|| vec![matter.purpose]),
                lines: vec![AgreementLine {
                    from: from.clone(),
                    to: to.clone(),
                    category: self.category.unwrap_or(matter.item.category),
                    level: self.level.unwrap_or(matter.item.level),
                    retention_days: self.retention_days,
                }],
                starts_at: from_now(self.starts_in_s),
                review_at: from_now(self.ends_in_s),
                ends_at: from_now(self.ends_in_s),
            },
            digest: Digest([0; 32]),
            signed: (self.signed.clone())
                .unwrap_or_else(|| vec![requester.clone(), holder.clone()]),
            proposed: u64::from(number),
            course: self.course(holder),
        }
    }

    fn course(&self, holder: &AgencyId) -> Course {
        let mut course = Course::default();
        match self.state {
            AgreementState::Active => {}
            AgreementState::Suspended => course.suspended.push(holder.clone()),
            AgreementState::Terminated => course.terminated = Some(holder.clone()),
            AgreementState::Superseded => {
                course.successor = Some(Successor {
                    agreement: agreement_id(0),
                    starts_at: NOW,
                });
            }
        }
        course
    }
}

fn consent_id(number: u8) -> ConsentId {
    ConsentId::from_random([number; 16])
}

fn agreement_id(number: u8) -> AgreementId {
    AgreementId::from_random([number; 16])
}

pub(crate) fn agency_id(name: &str) -> Result<AgencyId, String> {
    name.parse()
        .map_err(|e: passerelle_model::ids::InvalidId| e.to_string())
}

pub(crate) fn agency(agency: AgencyId, sector: Sector, active: bool) -> Agency {
    let key = PublicKey([0; 32]);
    Agency {
        agency,
        keys: AgencyKeys {
            sector,
            signing: key,
            sealing: key,
            witness: key,
        },
        certificate: "00".to_owned(),
        active,
        joined: 0,
        since: 0,
    }
}

fn from_now(seconds: i64) -> Timestamp {
    if seconds < 0 {
        NOW.minus_s(seconds.unsigned_abs())
    } else {
        NOW.plus_s(seconds.unsigned_abs())
    }
}
