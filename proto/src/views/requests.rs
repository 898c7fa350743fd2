//! Requests: in a list, whole, and what came of them.

use super::{FewAlike, NearRecord};
use passerelle_model::{
    pdp::{ItemRuling, Obligation},
    request::Status,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

/// One line of a request list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestLine {
    /// Its id.
    pub request: String,
    /// Requester.
    pub requester: String,
    /// Holder.
    pub holder: String,
    /// Items as category:level.
    pub items: Vec<String>,
    /// Purpose code.
    pub purpose: String,
    /// Where it stands, as this agency knows it.
    pub status: Status,
    /// When it was made.
    pub at: Timestamp,
    /// Until when a reviewer should answer, at the holder.
    pub review_by: Option<Timestamp>,
}

/// A decided item, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemView {
    /// The ruling, as it stands in the log.
    #[serde(flatten)]
    pub item: ItemRuling,
    /// English sentences: rule, source, plain words.
    pub explained_en: Vec<String>,
    /// The same in French.
    pub explained_fr: Vec<String>,
}

/// One fact of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerItem {
    /// Category code.
    pub category: String,
    /// Level that was given.
    pub level: String,
    /// Values, reduced to the level.
    pub values: Vec<serde_json::Value>,
}

/// An opened answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerView {
    /// released, declined, cannot_say.
    pub outcome: String,
    /// What was released.
    pub items: Vec<AnswerItem>,
    /// What the recipient must do.
    pub obligations: Vec<Obligation>,
    /// When it must be gone, if a retention applies.
    pub erase_by: Option<Timestamp>,
    /// Whether the consent it rested on has been withdrawn since.
    pub recalled: bool,
}

/// Everything this agency knows of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestView {
    /// The line of the list.
    #[serde(flatten)]
    pub line: RequestLine,
    /// Legal basis code.
    pub basis: String,
    /// Case, if any.
    pub case: Option<String>,
    /// Emergency code, if any.
    pub emergency: Option<String>,
    /// The latest decision, once known here.
    pub decision: Vec<ItemView>,
    /// Index of the decision's entry.
    pub decision_index: Option<u64>,
    /// The answer, at the requester once delivered.
    pub answer: Option<AnswerView>,
    /// Who asks and why, at the holder.
    pub asked_by: Option<AskedBy>,
    /// Why nothing more will come, as a code (withdrawn, decided_again, revoked, an error code).
    pub stopped: Option<String>,
    /// Whether the holder's record was found, at the holder under review.
    pub record_found: Option<bool>,
    /// At the holder, of a request that also asks for other spellings: the own records that are
    /// near, for a person to compare.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub near: Option<Vec<NearRecord>>,
    /// Beside them, if there are any: the name that is asked for, and the birth date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub near_asked: Option<String>,
    /// At the holder, of a request that names nobody: that too few people share what is on record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub few_alike: Option<FewAlike>,
    /// Index of the log entry at which each step happened.
    pub trail: Vec<TrailStep>,
}

/// Who asks, opened by the holder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedBy {
    /// Worker id at the requester.
    pub worker: String,
    /// Role code.
    pub role: String,
    /// The free text.
    pub justification: String,
}

/// One step of a request with its entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrailStep {
    /// Index of the entry.
    pub index: u64,
    /// Type of the entry or statement.
    pub what: String,
    /// When.
    pub at: Timestamp,
}
