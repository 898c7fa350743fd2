//! Consent records in the formats of others, from whoever made the file.

use crate::{Input, world};
use passerelle_model::{
    bytes::{Commitment, Handle},
    consent_formats::{
        ConsentFile, Format, Identity, Party, Read, Standing, Surroundings, read, to_fhir,
        to_iso27560,
    },
    ids::ConsentId,
    vocabulary::{Capacity, Category, ConsentGiver, ConsentMethod, Language, Purpose},
};

/// What is accepted names everybody and ends, and it is written and reads back as the same.
pub fn consent(data: &[u8]) {
    let mut input = Input::new(data);
    let format = match input.byte() % 3 {
        0 => None,
        1 => Some(Format::Fhir),
        _ => Some(Format::Iso27560),
    };
    let Some(text) = input.text() else { return };
    let Ok(Read {
        file, surroundings, ..
    }) = read(text.as_bytes(), format, &world::federation())
    else {
        return;
    };
    assert!(!file.recipients.is_empty() && !file.disclosers.is_empty());
    assert!(!file.categories.is_empty() && !file.purposes.is_empty());
    assert!(!file.purposes.iter().any(|purpose| purpose.is_prohibited()));
    assert!(file.given_at < file.expires_at);
    let standing = Standing::default();
    let written = match &surroundings {
        None => to_fhir(&file, &standing),
        Some(around) => to_iso27560(&file, &standing, around).unwrap(),
    };
    let again = read(written.to_string().as_bytes(), format, &world::federation()).unwrap();
    assert_eq!(again.file, file);
    assert_eq!(again.surroundings, surroundings);
}

/// A record in both formats, and one with identifiers of somebody else.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut file = ConsentFile {
        federation: world::federation(),
        record: Identity::Own(ConsentId::from_random([1; 16])),
        subject: Identity::Own(Handle([2; 32])),
        recorded_by: world::member(0),
        giver: ConsentGiver::Parent,
        capacity: Capacity::Substituted,
        categories: vec![Category::InService, Category::Attendance],
        purposes: vec![Purpose::Plan, Purpose::Audit],
        recipients: vec![world::member(0)],
        disclosers: vec![world::member(1)],
        method: ConsentMethod::Written,
        language: Language::French,
        interpreter: true,
        notice_version: 2,
        given_at: world::NOW,
        expires_at: world::NOW.plus_s(86_400),
        redisclosure: false,
        evidence: Some(Commitment([3; 32])),
    };
    let party = |n| {
        let party = Party {
            name: "Centre".to_owned(),
            address: "1, rue de l’Exemple".to_owned(),
            contact: "x@centre.example".to_owned(),
        };
        (world::member(n), party)
    };
    let surroundings = Surroundings {
        jurisdictions: vec!["CA-QC".to_owned()],
        storage: vec!["EU".to_owned()],
        party: [0, 1].map(party).into(),
    };
    let standing = Standing::default();
    let mut seeds = Vec::new();
    let mut add = |file: &ConsentFile| {
        let iso = to_iso27560(file, &standing, &surroundings).unwrap();
        for text in [to_fhir(file, &standing).to_string(), iso.to_string()] {
            seeds.push([&[0], text.as_bytes()].concat());
        }
    };
    add(&file);
    let other = |value: &str| ("https://chart.example".to_owned(), value.to_owned());
    let (system, value) = other("4711");
    file.record = Identity::Other { system, value };
    let (system, value) = other("0815");
    file.subject = Identity::Other { system, value };
    (file.giver, file.capacity) = (ConsentGiver::Subject, Capacity::Capable);
    file.evidence = None;
    add(&file);
    seeds
}
