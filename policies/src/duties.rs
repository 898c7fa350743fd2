//! What a law demands of whoever discloses on it: a register, a notice, a record.
//!
//! In scope: duties as data, of the core (`[[duty]]` in `reference.toml`) and of packs
//! (`pack.toml`), and which of them bind a disclosure. Out of scope: whether anything may be
//! disclosed. A duty can only add to the obligations of what the policies allow; it opens nothing
//! and lifts nothing, so it needs no proof and no place in the schema.

use crate::{cedar::is_rule_id, problem::Problem, rule::parse_obligations};
use passerelle_model::{
    pdp::{Matter, Obligation},
    vocabulary::{Category, EmergencyKind, LegalBasis, Profile, Sector},
};
use serde::Deserialize;
use std::collections::BTreeSet;

/// A duty as its file has it. Of the lists, those that are empty ask for nothing.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawDuty {
    pub(crate) id: String,
    /// Source in law or practice.
    pub(crate) source: String,
    /// As in `@obligation`.
    pub(crate) obligations: String,
    pub(crate) when: When,
}

/// Which disclosures a duty binds: those that every list which is not empty speaks of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct When {
    pub(crate) bases: BTreeSet<LegalBasis>,
    pub(crate) profiles: BTreeSet<Profile>,
    categories: BTreeSet<Category>,
    emergencies: BTreeSet<EmergencyKind>,
    /// One of the two agencies is of such a sector.
    parties: BTreeSet<Sector>,
}

/// A duty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duty {
    /// Its id, unique among rules and duties.
    pub id: String,
    /// The file that it is in.
    pub file: String,
    /// The pack that it is of; `None` for the core.
    pub pack: Option<String>,
    /// Source in law or practice.
    pub source: String,
    /// What it obliges to.
    pub obligations: Vec<Obligation>,
    when: When,
}

impl RawDuty {
    /// The duty, of this pack, in this file.
    pub(crate) fn read(self, file: &str, pack: Option<&str>) -> Result<Duty, String> {
        if !is_rule_id(&self.id) {
            let id = &self.id;
            return Err(format!(
                "id of duty `{id}` is not lower-case words with hyphens"
            ));
        }
        if self.when == When::default() {
            return Err(format!("duty `{}` does not say what it binds", self.id));
        }
        let obligations = parse_obligations(&self.obligations)
            .map_err(|reason| format!("duty `{}`: {reason}", self.id))?;
        Ok(Duty {
            id: self.id,
            file: file.to_owned(),
            pack: pack.map(str::to_owned),
            source: self.source,
            obligations,
            when: self.when,
        })
    }

    /// The problem that it has, in its line.
    pub(crate) fn problem(&self, file: &str, text: &str, reason: &str) -> Problem {
        let line = crate::problem::line_of(text, &format!("\"{}\"", self.id));
        Problem::new(file, reason).in_line(line)
    }
}

impl Duty {
    /// Whether it binds what is disclosed of this matter.
    pub(crate) fn binds(&self, matter: &Matter) -> bool {
        let When {
            bases,
            profiles,
            categories,
            emergencies,
            parties,
        } = &self.when;
        let profile = matter.case.as_ref().map(|case| case.profile);
        let sectors = [matter.requester.sector(), matter.holder.sector()];
        (bases.is_empty() || bases.contains(&matter.basis))
            && (profiles.is_empty() || profile.is_some_and(|p| profiles.contains(&p)))
            && (categories.is_empty() || categories.contains(&matter.item.category))
            && (emergencies.is_empty()
                || matter.emergency.is_some_and(|e| emergencies.contains(&e)))
            && (parties.is_empty() || sectors.iter().any(|sector| parties.contains(sector)))
    }
}
