//! The one configuration file, `agent.toml`. Unknown fields are refused: a misspelt setting must
//! not be a silent default.

use crate::compare::http::authority;
use crate::suspicion::settings::{Settings, WorkerName};
use passerelle_model::vocabulary::WorkerRole;
use passerelle_policies::alike::{LEAST_ALIKE, MAX_POPULATION, MOST_ALIKE, Town};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf};

/// Most peers whose checkpoints are compared.
pub const MAX_PEERS: usize = 16;

/// The settings of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The broker, `HOST:PORT`.
    pub broker: String,
    /// How long every automatic answer waits, in milliseconds, so that the time does not tell
    /// what was found. At least the time that the slowest answer takes.
    #[serde(default = "default_answer_delay_ms")]
    pub answer_delay_ms: u64,
    /// Within how many hours a person here should decide.
    #[serde(default = "default_review_deadline_h")]
    pub review_deadline_h: u64,
    /// What was received in a case that ended without a concern is looked at within so many days.
    #[serde(default = "default_deletion_review_days")]
    pub deletion_review_days: u64,
    /// An answer that was recalled, since the consent that it rested on was withdrawn, is erased so
    /// many hours later; 0: at once.
    #[serde(default = "default_erase_recalled_after_h")]
    pub erase_recalled_after_h: u64,
    /// The name that was typed with a consent or a case is forgotten so many days after that is
    /// over, 0 to 3,650.
    #[serde(default = "default_forget_names_after_days")]
    pub forget_names_after_days: u64,
    /// With fewer active members that witness no permit is used; 0: off. The quorum of a small
    /// federation is few keys to steal.
    #[serde(default)]
    pub min_witnesses: u64,
    /// Whether a second worker has to endorse rules too before this agency's endorsement leaves.
    #[serde(default)]
    pub endorse_two_people: bool,
    /// How many people live where this agency works. Without: a small town, so that at stage 2 of a
    /// table only what enough of the agency's own people share is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub population: Option<u64>,
    /// At stage 2 of a table nothing is told that fewer people than this share.
    #[serde(default = "default_least_alike")]
    pub least_alike: u64,
    /// The agency's own policy, a file beside this one or an absolute path. Without: the shipped
    /// one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_policy: Option<PathBuf>,
    /// What is done about questions that look like curiosity.
    #[serde(default, skip_serializing_if = "is_default")]
    pub suspicion: Settings,
    /// What people ask about themselves.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub rights: Rights,
    /// Where the newest checkpoint that this agency vouches for is shown to anybody, `HOST:PORT`,
    /// over plain HTTP. Without: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint_listen: Option<String>,
    /// Other members, `http://HOST:PORT` each, whose checkpoint is compared each minute.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compare: Vec<String>,
    /// Who works here.
    #[serde(default)]
    pub workers: Vec<Worker>,
}

const fn default_answer_delay_ms() -> u64 {
    200
}

const fn default_erase_recalled_after_h() -> u64 {
    24
}

const fn default_forget_names_after_days() -> u64 {
    90
}

const fn default_deletion_review_days() -> u64 {
    14
}

const fn default_least_alike() -> u64 {
    LEAST_ALIKE
}

const fn default_review_deadline_h() -> u64 {
    48
}

/// What people ask about themselves (rule 24).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rights {
    /// Within how many days an owner answers: as a door what it gives others, as an owner what this
    /// agency gives itself. 1 to 30; counsel says how many.
    pub days: u16,
    /// At a door: after how many days all owners are asked once more by itself, for a year, so that
    /// what was kept back and is owed comes without anybody having to hint at it. 0: never. The
    /// same for everybody.
    pub again_days: u16,
    /// At a door: whom to contact at each agency, for the reply. It must not depend on an answer,
    /// so it is written down here.
    pub contacts: BTreeMap<String, String>,
}

impl Default for Rights {
    fn default() -> Self {
        Self {
            days: 30,
            again_days: 0,
            contacts: BTreeMap::new(),
        }
    }
}

fn is_usual(rights: &Rights) -> bool {
    *rights == Rights::default()
}

/// Somebody who may ask, look and decide. The agency answers for it that the list is right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Worker {
    /// Id within the agency. Other agencies see it only as a commitment; a holder that is asked
    /// can open it.
    pub id: String,
    /// What he or she does.
    pub role: WorkerRole,
    /// Whether the training is current.
    #[serde(default)]
    pub trained: bool,
    /// The worker's own name, so that questions about the worker, a relative or a colleague are
    /// recognised. Stays in this file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<WorkerName>,
}

fn is_default(settings: &Settings) -> bool {
    *settings == Settings::default()
}

impl Config {
    /// Settings for this broker, all else by default.
    pub fn new(broker: &str) -> Self {
        Self {
            broker: broker.to_owned(),
            answer_delay_ms: default_answer_delay_ms(),
            review_deadline_h: default_review_deadline_h(),
            deletion_review_days: default_deletion_review_days(),
            erase_recalled_after_h: default_erase_recalled_after_h(),
            forget_names_after_days: default_forget_names_after_days(),
            min_witnesses: 0,
            endorse_two_people: false,
            population: None,
            least_alike: LEAST_ALIKE,
            local_policy: None,
            suspicion: Settings::default(),
            rights: Rights::default(),
            checkpoint_listen: None,
            compare: Vec::new(),
            workers: Vec::new(),
        }
    }

    /// Reads the file's text. The message says line and column.
    ///
    /// # Errors
    /// What is wrong, for a person.
    pub fn from_toml(text: &str) -> Result<Self, String> {
        let config: Self = toml::from_str(text).map_err(|e| e.to_string())?;
        if config.answer_delay_ms > 60_000 {
            return Err("`answer_delay_ms` is over a minute".to_owned());
        }
        if !(1..=24 * 90).contains(&config.review_deadline_h) {
            return Err("`review_deadline_h` is not from 1 to 2160".to_owned());
        }
        if !(1..=90).contains(&config.deletion_review_days) {
            return Err("`deletion_review_days` is not from 1 to 90".to_owned());
        }
        if !(1..=30).contains(&config.rights.days) {
            return Err("`days` of `[rights]` is not from 1 to 30".to_owned());
        }
        let again_days = config.rights.again_days;
        if again_days != 0 && !(config.rights.days..=366).contains(&again_days) {
            return Err(
                "`again_days` of `[rights]` is neither 0 nor from `days` to 366".to_owned(),
            );
        }
        if config.erase_recalled_after_h > 24 * 90 {
            return Err("`erase_recalled_after_h` is over 2160".to_owned());
        }
        if config.forget_names_after_days > 3_650 {
            return Err("`forget_names_after_days` is over 3650".to_owned());
        }
        if !(LEAST_ALIKE..=MOST_ALIKE).contains(&config.least_alike) {
            return Err(format!(
                "`least_alike` is not from {LEAST_ALIKE} to {MOST_ALIKE}"
            ));
        }
        if config.population.is_some_and(|n| n > MAX_POPULATION) {
            return Err(format!("`population` is over {MAX_POPULATION}"));
        }
        if config.compare.len() > MAX_PEERS {
            return Err(format!("`compare` names more than {MAX_PEERS} peers"));
        }
        if config.compare.iter().any(|peer| authority(peer).is_none()) {
            return Err("`compare` is a list of `http://HOST:PORT`".to_owned());
        }
        let mut ids: Vec<_> = config.workers.iter().map(|w| w.id.as_str()).collect();
        ids.sort_unstable();
        if ids.iter().any(|id| id.is_empty() || id.len() > 64) {
            return Err("a worker's `id` has 1 to 64 bytes".to_owned());
        }
        if ids.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err("two workers have the same `id`".to_owned());
        }
        config.suspicion.check()?;
        Ok(config)
    }

    /// The file's text.
    pub fn to_toml(&self) -> String {
        let body = toml::to_string(self).unwrap_or_default();
        format!(
            "# Settings of this agency's agent. Workers: one [[workers]] block each, with `id`,\n\
             # `role` (nurse, officer, social_worker, mentor, supervisor, ...), `trained`, and \
             `name`, as in\n\
             # name = {{ family = \"Tremblay\", given = \"Anne\", born = \"1990-01-31\" }}\n\
             {body}"
        )
    }

    /// Where this agency works.
    pub const fn town(&self) -> Town {
        Town {
            population: self.population,
            least: self.least_alike,
        }
    }

    /// The worker with this id.
    pub fn worker(&self, id: &str) -> Option<&Worker> {
        self.workers.iter().find(|w| w.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let mut config = Config::new("localhost:7100");
        config.workers.push(Worker {
            id: "n-17".into(),
            role: WorkerRole::Nurse,
            trained: true,
            name: Some(WorkerName {
                family: "Tremblay".into(),
                given: "Zoé".into(),
                born: None,
                other_family: vec!["Gagnon".into()],
            }),
        });
        config.suspicion.questions_per_hour = 7;
        config.min_witnesses = 3;
        config.endorse_two_people = true;
        config.population = Some(900);
        config.least_alike = 12;
        config.rights.days = 20;
        let contacts = &mut config.rights.contacts;
        contacts.insert("police-nord".into(), "Accès, 555-0100".into());
        config.checkpoint_listen = Some("127.0.0.1:7080".into());
        config.compare.push("http://10.0.0.6:7080".into());
        assert_eq!(Config::from_toml(&config.to_toml()).unwrap(), config);
    }

    #[test]
    fn no_number_of_witnesses_is_asked_for_unless_it_is_set() {
        let config = Config::from_toml("broker = 'x'").unwrap();
        assert_eq!(config.min_witnesses, 0);
        assert!(!config.endorse_two_people);
    }

    #[test]
    fn misspelt_and_senseless_settings_are_refused() {
        for bad in [
            "",
            "broker = 'x'\nanswer_delay = 5",
            "broker = 'x'\nanswer_delay_ms = 100000",
            "broker = 'x'\nreview_deadline_h = 0",
            "broker = 'x'\nforget_names_after_days = 3651",
            "broker = 'x'\nleast_alike = 9",
            "broker = 'x'\ndeletion_review_days = 0",
            "broker = 'x'\ndeletion_review_days = 91",
            "broker = 'x'\nleast_alike = 10001",
            "broker = 'x'\npopulation = 100000001",
            "broker = 'x'\n[rights]\ndays = 31",
            "broker = 'x'\n[rights]\nagain_days = 29",
            "broker = 'x'\n[rights]\nagain_days = 367",
            "broker = 'x'\n[rights]\ncontact = {}",
            "broker = 'x'\ncompare = ['10.0.0.6:7080']",
            "broker = 'x'\ncompare = ['https://10.0.0.6:7080']",
            "broker = 'x'\n[[workers]]\nid = 'a'\nrole = 'king'",
            "broker = 'x'\n[[workers]]\nid = ''\nrole = 'nurse'",
            "broker = 'x'\n[[workers]]\nid='a'\nrole='nurse'\n[[workers]]\nid='a'\nrole='nurse'",
        ] {
            assert!(Config::from_toml(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_example_in_the_documents_is_read() {
        let config = Config::from_toml(include_str!("../../docs/examples/agent.toml")).unwrap();
        assert_eq!((config.workers.len(), config.min_witnesses), (2, 3));
    }
}
