//! What a person asked about herself through one door, and what each owner said.

use super::AnswerItem;
use passerelle_model::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What a person asked, as the door sees it while answers come in. What an owner said is not in
/// it: that is opened with [`RightsReply`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RightsView {
    /// Its id.
    pub rights: String,
    /// access, correction, objection, withdrawal.
    pub kind: String,
    /// The person's name, until it is erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
    /// The person's handle, hexadecimal, until it is erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handle: Option<String>,
    /// When it was opened.
    pub at: Timestamp,
    /// Until when the owners answer, of the newest round.
    pub due: Timestamp,
    /// Who verified identity.
    pub worker: String,
    /// SHA-256 of what identity was verified on, hexadecimal.
    pub evidence: String,
    /// How often the owners were asked.
    pub rounds: u64,
    /// The owners, in the newest round.
    pub owners: Vec<OwnerProgress>,
    /// How many of them have answered.
    pub answered: u64,
    /// Whether it is past `due` and not all have.
    pub overdue: bool,
}

/// How far an owner is. Nothing here depends on what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerProgress {
    /// Which agency.
    pub agency: String,
    /// The request to it.
    pub request: String,
    /// not_asked, waiting, answered, overdue, denied, stopped.
    pub status: String,
}

/// The one reply for the person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RightsReply {
    /// What was asked, and how far it is.
    pub asked: RightsView,
    /// When this reply was made.
    pub made_at: Timestamp,
    /// Each owner's answer.
    pub answers: Vec<OwnerAnswer>,
}

/// What an owner said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerAnswer {
    /// Which agency.
    pub agency: String,
    /// Its sector.
    pub sector: String,
    /// Whom to contact there, by the door's own list: it never depends on the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    /// told, nothing_to_report, refused, not_yet. The second is said by who holds nothing and by
    /// who restricts; nobody can tell them apart.
    pub said: String,
    /// When the answer came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// Set if an earlier reply had less.
    #[serde(default)]
    pub supplement: bool,
    /// What it told.
    pub items: Vec<AnswerItem>,
    /// Why it refused, in words of both languages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Told>,
    /// What is told by the owner alone, whoever asks and whatever it holds.
    pub ask_the_owner: Vec<DirectItem>,
}

/// A code in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The code.
    pub code: String,
    /// In English.
    pub en: String,
    /// In French.
    pub fr: String,
}

/// What no door but the owner's tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectItem {
    /// The category.
    pub category: String,
    /// The rules that say so.
    pub rules: Vec<String>,
}

/// A request of a person to this agency, which somebody here answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RightsTask {
    /// The request.
    pub request: String,
    /// The door.
    pub requester: String,
    /// When it came.
    pub at: Timestamp,
    /// Until when it is to be answered.
    pub due: Option<Timestamp>,
    /// open, overdue, missed, answered, restricted, restriction_over, ended.
    pub status: String,
    /// Until when the answer is restricted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restricted_until: Option<Timestamp>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restricted_for: Option<Told>,
    /// What the door wrote, with the person's words and the evidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub says: Option<String>,
}
