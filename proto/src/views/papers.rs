//! The papers that sharing rests on: agreements and consents.

use passerelle_model::time::Timestamp;
use serde::{Deserialize, Serialize};

/// An agreement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgreementView {
    /// Its terms.
    pub terms: passerelle_model::statement::AgreementTerms,
    /// Who has signed.
    pub signed: Vec<String>,
    /// proposed, in_force, not_begun, ended, suspended, superseded, terminated.
    pub status: String,
    /// Whole days until it ends, if in force.
    pub days_left: Option<u64>,
    /// Whose suspension stands.
    #[serde(default)]
    pub suspended_by: Vec<String>,
    /// The next version, once all have signed that.
    #[serde(default)]
    pub successor: Option<String>,
    /// What is soon to be done about it.
    #[serde(default)]
    pub warnings: Vec<AgreementWarning>,
    /// What the parties said of it, in the order of the log.
    #[serde(default)]
    pub history: Vec<AgreementStep>,
    /// The document that the terms name, canonical JSON, if it is kept here and one agreement was
    /// asked for.
    #[serde(default)]
    pub document: Option<String>,
}

/// What is soon to be done about an agreement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgreementWarning {
    /// The agreement.
    pub agreement: String,
    /// ends_in_60, ends_in_30, ends_in_7, review_due.
    pub code: String,
    /// Whole days until it ends.
    pub days_left: u64,
    /// In words.
    pub en: String,
    /// In words.
    pub fr: String,
}

/// What a party said of an agreement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgreementStep {
    /// Index of the entry.
    pub index: u64,
    /// When it was sequenced.
    pub at: Timestamp,
    /// Who.
    pub agency: String,
    /// proposed, signed, suspended, lifted, terminated.
    pub what: String,
    /// Code of the reason that was given.
    pub reason: Option<String>,
}

/// A consent, as an agency named in it sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsentView {
    /// Its terms.
    pub terms: passerelle_model::statement::ConsentTerms,
    /// Who recorded it.
    pub recorded_by: String,
    /// What was withdrawn.
    pub withdrawn: Vec<passerelle_model::statement::WithdrawalScope>,
    /// active, expired, withdrawn, partly_withdrawn.
    pub status: String,
    /// The person, if known here.
    pub person: Option<String>,
    /// Whole days until it ends, while something can rest on it.
    #[serde(default)]
    pub days_left: Option<u64>,
}

/// How many consents end soon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsentsEnding {
    /// Within 7 days.
    pub within_7: u64,
    /// Within 30 days, those within 7 included.
    pub within_30: u64,
    /// Within 60 days, those within 30 included.
    pub within_60: u64,
}

/// What came of a consent in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsentImport {
    /// What it is recorded as, or would be.
    pub terms: passerelle_model::statement::ConsentTerms,
    /// Index of its entry, if it is in the log already.
    pub index: Option<u64>,
    /// done, queued, or checked if nothing was to be recorded.
    pub status: String,
    /// Paths in the file of what says nothing of the consent and is not kept.
    pub not_kept: Vec<String>,
}
