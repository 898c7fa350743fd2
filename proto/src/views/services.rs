//! Consents to a service: what an agency may do for a person, not what it may say of her.

use passerelle_model::{
    time::Timestamp,
    vocabulary::{Capacity, ConsentGiver, ConsentMethod, Language},
};
use serde::{Deserialize, Serialize};

/// A consent to a service, as the agency that offers it keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceConsentView {
    /// Its id.
    pub consent: String,
    /// What it is, for whoever reads a file of it: never a consent to share.
    pub kind: String,
    /// active, expired, withdrawn, erased.
    pub status: String,
    /// The service, until it is erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The person's name, until it is erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
    /// Who gave it.
    pub giver: ConsentGiver,
    /// The giver's capacity.
    pub capacity: Capacity,
    /// How.
    pub method: ConsentMethod,
    /// In which language it was explained.
    pub language: Language,
    /// Whether an interpreter helped.
    pub interpreter: bool,
    /// When it was given.
    pub given_at: Timestamp,
    /// At this instant it is over.
    pub expires_at: Timestamp,
    /// When it was withdrawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn_at: Option<Timestamp>,
    /// The worker who recorded it.
    pub recorded_by: String,
    /// Whether there is evidence on paper, to be compared with `check-evidence`.
    pub has_evidence: bool,
}

/// Whether a file is the evidence that was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceCheck {
    /// The consent.
    pub consent: String,
    /// Whether it is.
    pub is_same: bool,
    /// What stands in the log for it, hexadecimal; none for a consent to a service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commitment: Option<String>,
}
