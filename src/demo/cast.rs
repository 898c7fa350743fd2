//! Who plays: agencies with their workers and files, and the synthetic people of the story.

/// An agency of the demonstration.
pub(super) struct Agency {
    /// Public name, also the name of its directory.
    pub(super) name: &'static str,
    /// Sector code.
    pub(super) sector: &'static str,
    /// What it is, for the reader.
    pub(super) label: &'static str,
    /// Ids and role codes of its workers; the first one asks and looks.
    pub(super) workers: &'static [(&'static str, &'static str)],
    /// Name of its files: CSV and mapping.
    pub(super) files: Option<Files>,
}

/// An agency's files.
pub(super) struct Files {
    /// Name without extension.
    pub(super) name: &'static str,
    /// Its people and facts.
    pub(super) csv: &'static str,
    /// Which column is what.
    pub(super) mapping: &'static str,
}

/// The name of the police service.
pub(super) const POLICE: &str = "police-nord";
/// The name of the health centre.
pub(super) const HEALTH: &str = "sante-centre";
/// The name of the community house.
pub(super) const COMMUNITY: &str = "maison-commune";
/// The name of the oversight body.
pub(super) const OVERSIGHT: &str = "oversight";

macro_rules! files {
    ($name:literal) => {
        Some(Files {
            name: $name,
            csv: include_str!(concat!("data/", $name, ".csv")),
            mapping: include_str!(concat!("data/", $name, ".toml")),
        })
    };
}

/// All of them. Four witnesses: three of them must cosign, so one may be away.
pub(super) const AGENCIES: &[Agency] = &[
    Agency {
        name: POLICE,
        sector: "law_enforcement",
        label: "the police service",
        workers: &[("officer-12", "officer"), ("sergeant-3", "supervisor")],
        files: files!("police"),
    },
    Agency {
        name: HEALTH,
        sector: "health",
        label: "the health centre",
        workers: &[("nurse-7", "nurse"), ("head-nurse-1", "supervisor")],
        files: files!("health"),
    },
    Agency {
        name: COMMUNITY,
        sector: "community",
        label: "the community house",
        workers: &[("mentor-5", "mentor"), ("coordinator-1", "coordinator")],
        files: files!("community"),
    },
    Agency {
        name: OVERSIGHT,
        sector: "oversight",
        label: "the oversight body",
        workers: &[("auditor-1", "privacy_officer")],
        files: None,
    },
];

/// The agency of this name.
pub(super) fn agency(name: &str) -> Option<&'static Agency> {
    AGENCIES.iter().find(|agency| agency.name == name)
}

macro_rules! people {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("data/people/", $name, ".toml")))),*]
    };
}

/// Person files by name. What is special about each stands in `data/README.md`.
pub(super) const PEOPLE: &[(&str, &str)] = people![
    "community-and-health",
    "diagnosis",
    "emergency",
    "offline",
    "ordinary",
    "protected-programme",
    "restricted",
    "third-party",
    "unknown-to-all",
    "unknown-to-health",
    "youth",
];

#[cfg(test)]
mod tests {
    use super::*;
    use passerelle_model::{
        ids::AgencyId,
        vocabulary::{Sector, WorkerRole},
    };

    #[test]
    fn the_cast_has_valid_names_sectors_and_roles() {
        for agency in AGENCIES {
            assert!(agency.name.parse::<AgencyId>().is_ok());
            assert!(agency.sector.parse::<Sector>().is_ok());
            for (_, role) in agency.workers {
                assert!(role.parse::<WorkerRole>().is_ok());
            }
        }
    }

    #[test]
    fn at_least_two_hundred_people_ship_with_it() {
        let rows: usize = AGENCIES
            .iter()
            .filter_map(|a| a.files.as_ref())
            .map(|files| files.csv.lines().count() - 1)
            .sum();
        assert!(rows >= 200, "{rows}");
    }
}
