//! The reference data that policies test: highest levels (rule 4) and what a basis in law is good
//! for in an emergency (rule 25).
//!
//! In scope: parsing `reference.toml`, completeness, what packs add of bases. Out of scope: the
//! tests themselves, which are policies.

use crate::{duties::RawDuty, problem::Problem};
use passerelle_model::vocabulary::{
    Category, CategoryKind, EmergencyKind, LegalBasis, Level, Purpose, Sector,
};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawReference {
    levels: BTreeMap<Purpose, RawLevels>,
    #[serde(default)]
    duty: Vec<RawDuty>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLevels {
    default: Level,
    #[serde(default)]
    kinds: BTreeMap<String, Level>,
    #[serde(default)]
    categories: BTreeMap<Category, Level>,
}

/// What a basis is good for in an emergency.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmergencyUse {
    pub(crate) kinds: BTreeSet<EmergencyKind>,
    #[serde(default = "every_sector")]
    pub(crate) holders: BTreeSet<Sector>,
    #[serde(default = "every_sector")]
    pub(crate) recipients: BTreeSet<Sector>,
}

fn every_sector() -> BTreeSet<Sector> {
    Sector::ALL.iter().copied().collect()
}

/// The reference data, complete.
#[derive(Clone, Debug)]
pub(crate) struct Reference {
    levels: BTreeMap<(Purpose, Category), Level>,
    emergency: BTreeMap<LegalBasis, EmergencyUse>,
}

impl Reference {
    /// Parses and completes it: every purpose has a highest level of every category. With it, the
    /// duties that it lists.
    pub(crate) fn parse(file: &str, text: &str) -> Result<(Self, Vec<RawDuty>), Problem> {
        let raw: RawReference = toml::from_str(text).map_err(|e| Problem::toml(file, text, &e))?;
        let mut levels = BTreeMap::new();
        for purpose in Purpose::ALL {
            let table = raw
                .levels
                .get(purpose)
                .ok_or_else(|| Problem::new(file, format!("no levels for purpose `{purpose}`")))?;
            check_kinds(table).map_err(|reason| Problem::new(file, reason))?;
            for category in Category::ALL {
                levels.insert((*purpose, *category), table.level(*category));
            }
        }
        let emergency = BTreeMap::new();
        Ok((Self { levels, emergency }, raw.duty))
    }

    /// Adds what a basis of a pack is good for in an emergency.
    pub(crate) fn add_emergency(&mut self, basis: LegalBasis, good_for: EmergencyUse) {
        self.emergency.insert(basis, good_for);
    }

    /// The most that `purpose` needs of `category`; `None` is an error of the bundle.
    pub(crate) fn max_level(&self, purpose: Purpose, category: Category) -> Option<Level> {
        self.levels.get(&(purpose, category)).copied()
    }

    /// What `basis` is good for in an emergency, if anything.
    pub(crate) fn emergency(&self, basis: LegalBasis) -> Option<&EmergencyUse> {
        self.emergency.get(&basis)
    }
}

impl RawLevels {
    /// The most specific provision wins.
    fn level(&self, category: Category) -> Level {
        self.categories
            .get(&category)
            .or_else(|| self.kinds.get(category.kind().code()))
            .copied()
            .unwrap_or(self.default)
    }
}

/// A misspelt kind would leave the default in force, which may be wider.
fn check_kinds(table: &RawLevels) -> Result<(), String> {
    let known: BTreeSet<_> = Category::ALL
        .iter()
        .map(|c| CategoryKind::code(c.kind()))
        .collect();
    match table.kinds.keys().find(|k| !known.contains(k.as_str())) {
        Some(unknown) => Err(format!("unknown kind of category `{unknown}`")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = include_str!("../library/core/reference.toml");

    fn parse(text: &str) -> Result<Reference, Problem> {
        Reference::parse("reference.toml", text).map(|(reference, _)| reference)
    }

    #[test]
    fn the_least_that_serves_is_the_most_that_is_allowed() {
        let reference = parse(TEXT).unwrap();
        for (purpose, category, level) in [
            (Purpose::Screen, Category::RiskFactors, Level::Coded),
            (Purpose::Screen, Category::Diagnosis, Level::Known),
            (Purpose::IdentifyInvolved, Category::Name, Level::Contact),
            (Purpose::Plan, Category::Diagnosis, Level::Coded),
            (Purpose::Plan, Category::Charges, Level::Coded),
            (Purpose::Deliver, Category::Attendance, Level::Detail),
            (Purpose::Emergency, Category::Location, Level::Detail),
            (Purpose::Emergency, Category::CrisisRisk, Level::Coded),
            (Purpose::Media, Category::RiskFactors, Level::Known),
        ] {
            assert_eq!(reference.max_level(purpose, category), Some(level));
        }
    }

    #[test]
    fn a_missing_purpose_and_a_misspelt_kind_are_refused() {
        let without_media = TEXT.replace("[levels.media]\ndefault = \"known\"\n", "");
        assert_ne!(without_media, TEXT);
        let misspelt = TEXT.replacen("kinds.de_identified", "kinds.deidentified", 1);
        for bad in [without_media, misspelt] {
            assert!(parse(&bad).is_err());
        }
    }
}
