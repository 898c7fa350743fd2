//! The policy decision point as the state machine sees it: facts of the matter in, ruling out.
//!
//! The implementation (Cedar) is in the crate `policies`. It must be a pure function of the
//! matter, or decisions could not be replayed.

use crate::{
    bytes::Digest,
    ids::{AgreementId, CaseId, ConsentId},
    records::{Agency, Agreement, Consent},
    statement::{Item, Reliance},
    time::Timestamp,
    vocabulary::{
        CaseRole, Category, EmergencyKind, LegalBasis, Level, Profile, Purpose, Stage, Threshold,
        WorkerRole,
    },
};
use serde::{Deserialize, Serialize};

/// What a ruling says of one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// May be answered.
    Permit,
    /// May be answered once a person at the holder has agreed.
    Review,
    /// May not.
    Deny,
}

/// One reason of a ruling.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reason {
    /// The id of the rule in the library, such as `consent-covers`, or of a built-in denial.
    pub rule: String,
    /// The source in law or practice, such as `GDPR-9`; empty if it is a design choice.
    pub source: String,
    /// Key of the text in English and French.
    pub text: String,
}

/// What a recipient must do with what it gets, and the holder before it answers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Obligation {
    /// Keep no longer than so many days.
    RetainDays(u16),
    /// Do not pass on.
    NoRedisclosure,
    /// Attach the notice with this key.
    Notice(String),
    /// An independent review within so many hours of the decision.
    ReviewWithinHours(u16),
    /// A second person at the holder must agree.
    SecondApprover,
    /// Tell the subject.
    NotifySubject,
    /// Alert the privacy officers of both agencies.
    Alert,
    /// A task of the holder that the text with this key tells: a register, a notice in writing.
    Task(String),
    /// Before a notice or an access reply goes out, remove from it what would tell somebody who may
    /// be a danger who asked, who told, or where somebody is.
    Mask,
}

/// The decision about one item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ruling {
    /// Permit, review or deny.
    pub effect: Effect,
    /// Why: the determining rules. Never empty.
    pub reasons: Vec<Reason>,
    /// What must be done. Empty for a denial.
    pub obligations: Vec<Obligation>,
    /// The consent on which it rests, if it rests on one.
    pub consent: Option<ConsentId>,
    /// The agreement on which it rests, if it rests on one.
    pub agreement: Option<AgreementId>,
}

impl Ruling {
    /// A denial for one reason that is not in the library.
    pub fn deny(rule: &str) -> Self {
        Self {
            effect: Effect::Deny,
            reasons: vec![Reason {
                rule: rule.to_owned(),
                source: String::new(),
                text: rule.to_owned(),
            }],
            obligations: Vec::new(),
            consent: None,
            agreement: None,
        }
    }
}

/// What a request's case is to the parties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseFacts {
    /// Which case.
    pub case: CaseId,
    /// By which mechanism.
    pub profile: Profile,
    /// At which stage.
    pub stage: Stage,
    /// Whether the threshold is agreed.
    pub threshold: Threshold,
    /// Whether it is closed.
    pub closed: bool,
    /// What the requester is to it; `Out` if it never was in.
    pub requester_role: CaseRole,
    /// What the holder is to it.
    pub holder_role: CaseRole,
    /// The categories that the plan needs.
    pub plan: Vec<Category>,
    /// Whether the request is about the person of the case: `None` while the case names nobody.
    pub same_subject: Option<bool>,
}

/// The facts of the matter, collected by the policy information point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matter {
    /// Now.
    pub at: Timestamp,
    /// Who asks.
    pub requester: Agency,
    /// Who is asked.
    pub holder: Agency,
    /// The worker's role.
    pub role: WorkerRole,
    /// Whether the worker's training is current.
    pub trained: bool,
    /// What is asked.
    pub item: Item,
    /// What for.
    pub purpose: Purpose,
    /// On which basis.
    pub basis: LegalBasis,
    /// In which case.
    pub case: Option<CaseFacts>,
    /// The emergency that is claimed.
    pub emergency: Option<EmergencyKind>,
    /// Whether the request names a person.
    pub identified: bool,
    /// What the requester relies on: only this may carry a permit, if it is named.
    pub reliance: Option<Reliance>,
    /// Every consent of this person, also those that are not relied on: a later withdrawal of one
    /// defeats an earlier grant by another.
    pub consents: Vec<Consent>,
    /// Agreements that may apply, to be tried in turn.
    pub agreements: Vec<Agreement>,
}

/// Decides, purely.
pub trait PolicyDecisionPoint: Send + Sync {
    /// The ruling on one item. Any doubt is a denial with a reason.
    fn rule(&self, matter: &Matter) -> Ruling;

    /// Digest of the bundle of policies, schema and texts; stands in every decision.
    fn bundle(&self) -> Digest;
}

/// A ruling with its item, as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemRuling {
    /// What about.
    pub category: Category,
    /// Up to which level.
    pub level: Level,
    /// The ruling.
    pub ruling: Ruling,
}
