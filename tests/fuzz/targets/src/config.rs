//! Configuration and person files, as people write them.

use crate::Input;
use passerelle_agent::{
    config::Config,
    person::{MAX_NAME_CHARS, MAX_PERSON_FILE_BYTES, Person},
};
use passerelle_broker::home;

/// `agent.toml`, `broker.toml`, or a person file.
pub fn config(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.byte();
    let Some(text) = input.text() else { return };
    match kind % 3 {
        0 => agent(text),
        1 => broker(text),
        _ => person(text),
    }
}

fn agent(text: &str) {
    let Ok(config) = Config::from_toml(text) else {
        return;
    };
    let again = Config::from_toml(&config.to_toml());
    assert_eq!(again.as_ref(), Ok(&config));
    for worker in &config.workers {
        assert_eq!(config.worker(&worker.id), Some(worker));
    }
}

fn broker(text: &str) {
    let Ok(config) = toml::from_str::<home::Config>(text) else {
        return;
    };
    let written = toml::to_string(&config).unwrap();
    assert_eq!(toml::from_str::<home::Config>(&written).unwrap(), config);
}

fn person(text: &str) {
    let Ok(person) = Person::from_file_text(text) else {
        return;
    };
    assert!(text.len() <= MAX_PERSON_FILE_BYTES);
    for name in [person.family_name(), person.given_name()] {
        assert!(name.chars().count() <= MAX_NAME_CHARS && name.trim() == name);
    }
    let json = serde_json::to_string(&person).unwrap();
    assert!(Person::from_file_text(&json).unwrap() == person);
    let written = toml::to_string(&person).unwrap();
    assert!(Person::from_file_text(&written).unwrap() == person);
}
