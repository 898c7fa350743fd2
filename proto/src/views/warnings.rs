//! What whoever works at the holder has to look at before something is released.

use passerelle_model::time::Timestamp;
use serde::{Deserialize, Serialize};

/// That what may be told at stage 2 would say who it is, and what is told instead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FewAlike {
    /// How many people would have to share it.
    pub least: u64,
    /// How many people live where the agency works, if it says so.
    pub population: Option<u64>,
    /// What is told less finely, by category: wider_band, group, withheld.
    pub told: std::collections::BTreeMap<String, String>,
    /// Whether anything is left to be told.
    pub anything: bool,
    /// The same in English.
    pub explained_en: String,
    /// And in French.
    pub explained_fr: String,
}

/// A record of the holder's own that may be the person who is asked for, under another spelling.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NearRecord {
    /// The source's own id.
    pub record: String,
    /// As this agency writes the name.
    pub name: String,
    /// The birth date as this agency has it.
    pub born: String,
    /// How they are alike: sounds_alike, names_swapped, day_and_month, part_of_name.
    pub alike: Vec<String>,
    /// The same in English.
    pub explained_en: Vec<String>,
    /// And in French.
    pub explained_fr: Vec<String>,
}

/// An answer that somebody has to look at early, since its case ended without a concern or this
/// agency has left it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletionView {
    /// The request whose answer it is.
    pub request: String,
    /// Who gave it.
    pub holder: String,
    /// In which case.
    pub case: String,
    /// How the case ended, as a code; `left`: this agency is out of it.
    pub cause: String,
    /// Since when.
    pub since: Timestamp,
    /// Until when somebody has to look.
    pub review_by: Timestamp,
    /// Whether that is over.
    pub overdue: bool,
    /// Why it is kept, if somebody has said so.
    pub kept: Option<String>,
    /// Who has.
    pub kept_by: Option<String>,
}

/// What became of the facts that this agency gave in a case.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copies {
    /// Answers with facts that it gave.
    pub given: u64,
    /// Of how many the recipient has attested the erasure.
    pub erased: u64,
    /// Who has others.
    pub kept_by: Vec<String>,
}
