//! What one could get, before anything is asked.

use super::ItemView;
use passerelle_model::{bytes::Digest, pdp::Effect, time::Timestamp};
use serde::{Deserialize, Serialize};

/// What a worker could get about a person, by what the agency itself knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviewView {
    /// When, by the agent's clock.
    pub at: Timestamp,
    /// Who looked.
    pub worker: String,
    /// What for.
    pub purpose: String,
    /// On which basis in law.
    pub basis: String,
    /// In which case.
    pub case: Option<String>,
    /// The emergency that would be claimed.
    pub emergency: Option<String>,
    /// Digest of the rules in force.
    pub bundle: Digest,
    /// Each agency that could be asked.
    pub holders: Vec<HolderPreview>,
    /// What can't be known here, or was supposed.
    pub limits: Vec<PreviewLimit>,
}

/// What one could get from one holder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderPreview {
    /// Who would be asked.
    pub holder: String,
    /// Its sector.
    pub sector: String,
    /// What would be decided, by category and level.
    pub items: Vec<PreviewItem>,
}

/// What would be decided about one item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviewItem {
    /// The ruling, in words too.
    #[serde(flatten)]
    pub item: ItemView,
    /// What would turn a denial, each by itself.
    pub missing: Vec<MissingView>,
}

/// One way in which a denial would turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingView {
    /// What would be decided then.
    pub effect: Effect,
    /// In words.
    pub en: String,
    /// In words.
    pub fr: String,
}

/// What a reader of a preview has to know of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviewLimit {
    /// nobody_asked, handle_unknown, consents_elsewhere, holder_decides_too, record_unknown,
    /// as_of_now, holders_left_out, purpose_supposed, basis_supposed.
    pub code: String,
    /// In words.
    pub en: String,
    /// In words.
    pub fr: String,
}
