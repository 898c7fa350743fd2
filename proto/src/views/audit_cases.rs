//! What an agency's privacy officers and supervisors see of its audit cases.

use passerelle_model::time::Timestamp;
use serde::{Deserialize, Serialize};

/// An audit case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditCaseView {
    /// Its id.
    pub audit_case: String,
    /// Why it was raised, strictest action first.
    pub reasons: Vec<AuditReason>,
    /// The worker, if it is one of this agency.
    pub worker: Option<String>,
    /// The question.
    pub request: String,
    /// When it was raised.
    pub at: Timestamp,
    /// noted, open, overdue, decided.
    pub status: String,
    /// What became of the question: sent, held, refused, released, dropped.
    pub question: String,
    /// Until when a second person has to look.
    pub review_by: Option<Timestamp>,
    /// justified, not_justified, no_access_needed.
    pub verdict: Option<String>,
    /// Who decided.
    pub reviewer: Option<String>,
    /// When.
    pub decided_at: Option<Timestamp>,
    /// Whether the worker is suspended now.
    pub suspended: bool,
    /// Whether what the case says of a person is destroyed.
    pub erased: bool,
    /// The person's handle, hexadecimal, if one case is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
    /// The worker of this agency who is the person, if one case is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// What the reviewer wrote, if one case is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// One reason of an audit case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditReason {
    /// own_record, same_surname, co_worker, off_hours, no_service, volume, emergency_override.
    pub kind: String,
    /// note, alert, hold, block.
    pub action: String,
    /// In English.
    pub en: String,
    /// In French.
    pub fr: String,
}
