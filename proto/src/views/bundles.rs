//! Which rules are in force, and which are proposed.

use passerelle_model::{bundle::BundleTerms, bytes::Digest, time::Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A bundle that is proposed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleProposal {
    /// What is proposed.
    pub terms: BundleTerms,
    /// Digest of the terms: what is endorsed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposal: Option<Digest>,
    /// When its entry was sequenced.
    pub proposed_at: Timestamp,
    /// How many of the present members have endorsed it.
    pub endorsed: u64,
    /// How many must.
    pub needed: u64,
    /// Who has.
    pub endorsed_by: Vec<String>,
    /// Whether this agent holds the file; absent from the broker's status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<bool>,
}

/// The rules, as an agent knows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulesStatus {
    /// The rules in force, by this agent's own count; none before the log's beginning was heard.
    pub in_force: Option<BundleTerms>,
    /// Whether they are held here.
    pub held: bool,
    /// What the broker says is in force, where this agent's count says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_endorsed: Option<Digest>,
    /// Why this agent neither asks nor answers; none while it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// What is proposed.
    pub proposals: Vec<BundleProposal>,
}

/// What one bundle changes against the one in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleView {
    /// The rules, and the place that they take.
    pub terms: BundleTerms,
    /// Digest of the terms: what is endorsed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposal: Option<Digest>,
    /// Whether they are in force.
    pub in_force: bool,
    /// The version of the Cedar language.
    pub cedar_language: String,
    /// How many rules.
    pub rules: u64,
    /// The legal packs in use.
    pub packs: Vec<String>,
    /// Rules that come in: id, and `permit` or `forbid`.
    pub added: BTreeMap<String, String>,
    /// Rules that go.
    pub removed: BTreeMap<String, String>,
    /// Rules that say something else.
    pub changed: BTreeMap<String, String>,
    /// Files that differ.
    pub files: BTreeSet<String>,
}
