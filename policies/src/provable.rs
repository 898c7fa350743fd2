//! What a proof over a library needs of it: its schema, its policies, and what its reference data
//! says.
//!
//! In scope: read-only views. Out of scope: proofs, which need a solver, a runtime and a clock, and
//! live in a crate of their own.

use crate::library::{Library, SCHEMA};
use cedar_policy::{PolicySet, Schema};
use passerelle_model::vocabulary::{Category, EmergencyKind, LegalBasis, Level, Purpose, Sector};
use std::collections::BTreeSet;

/// The path of the schema's text in a bundle.
pub const SCHEMA_FILE: &str = SCHEMA;

/// Where a bundle keeps its invariants and the ledger of what is known of its rules.
pub const INVARIANTS_DIR: &str = "invariants/";

/// What a basis in law is good for in an emergency; three empty sets if for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EmergencyReach {
    /// The kinds of emergency for which it lifts confidentiality.
    pub kinds: BTreeSet<EmergencyKind>,
    /// The sectors that may then disclose.
    pub holders: BTreeSet<Sector>,
    /// The sectors to which may then be disclosed.
    pub recipients: BTreeSet<Sector>,
}

impl Library {
    /// The schema that the policies passed.
    pub const fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The policies, named by their `@id`.
    pub const fn policies(&self) -> &PolicySet {
        &self.policies
    }

    /// The most that `purpose` needs of `category`; 0 (`known`) where the bundle says nothing,
    /// which no loaded bundle does.
    pub fn highest_level(&self, purpose: Purpose, category: Category) -> Level {
        let level = self.reference.max_level(purpose, category);
        level.unwrap_or(Level::Known)
    }

    /// What `basis` is good for in an emergency.
    pub fn emergency_reach(&self, basis: LegalBasis) -> EmergencyReach {
        let reach = self.reference.emergency(basis).map(|e| EmergencyReach {
            kinds: e.kinds.clone(),
            holders: e.holders.clone(),
            recipients: e.recipients.clone(),
        });
        reach.unwrap_or_default()
    }
}
