//! Consent records in the formats of others, against the published model and vocabulary. The people
//! and agencies are synthetic.

use crate::published::{are_refused, are_valid, without};
use passerelle_model::{
    bytes::{Commitment, Handle},
    consent_formats::{ConsentFile, Identity, Party, Standing, Surroundings, to_fhir, to_iso27560},
    ids::{AgencyId, ConsentId},
    statement::WithdrawalScope,
    time::Timestamp,
    vocabulary::{Capacity, Category, ConsentGiver, ConsentMethod, Language, Purpose},
};
use serde_json::{Value, json};

fn file(number: u8) -> ConsentFile {
    let agency = |name: &str| -> AgencyId { name.parse().unwrap() };
    let n = usize::from(number);
    ConsentFile {
        federation: "estrie".parse().unwrap(),
        record: Identity::Own(ConsentId::from_random([number; 16])),
        subject: Identity::Own(Handle([number; 32])),
        recorded_by: agency("sante-centre"),
        giver: ConsentGiver::ALL[n % 3],
        capacity: Capacity::ALL[n % 3],
        categories: Category::ALL.to_vec(),
        purposes: Purpose::ALL
            .iter()
            .copied()
            .filter(|purpose| !purpose.is_prohibited())
            .collect(),
        recipients: vec![agency("maison-commune"), agency("ecole-du-lac")],
        disclosers: vec![agency("sante-centre")],
        method: ConsentMethod::ALL[n % 3],
        language: Language::ALL[n % 6],
        interpreter: n % 2 == 0,
        notice_version: u32::from(number),
        given_at: Timestamp(1_795_269_789_000 + u64::from(number)),
        expires_at: Timestamp(1_805_269_789_000),
        redisclosure: n % 2 == 1,
        evidence: (n % 2 == 0).then_some(Commitment([number; 32])),
    }
}

fn surroundings() -> Surroundings {
    let party = |name: &str| {
        let party = Party {
            name: format!("Centre « {name} »"),
            address: "1, rue de l’Exemple, Ville (Québec)".to_owned(),
            contact: format!("vie-privee@{name}.example"),
        };
        (name.parse().unwrap(), party)
    };
    Surroundings {
        jurisdictions: vec!["CA".to_owned(), "CA-QC".to_owned()],
        storage: vec!["CA-QC".to_owned()],
        party: ["sante-centre", "maison-commune", "ecole-du-lac"]
            .map(party)
            .into(),
    }
}

/// In force, withdrawn in every way, over.
fn standings() -> Vec<Standing> {
    let scopes = [
        vec![],
        vec![WithdrawalScope::All],
        vec![
            WithdrawalScope::Recipient("ecole-du-lac".parse().unwrap()),
            WithdrawalScope::Category(Category::Diagnosis),
        ],
    ];
    let both = scopes.iter().flat_map(|withdrawn| {
        [false, true].map(|is_expired| Standing {
            withdrawn: withdrawn.clone(),
            is_expired,
        })
    });
    both.collect()
}

fn records(write: impl Fn(&ConsentFile, &Standing) -> Value) -> String {
    let mut text = String::new();
    for (number, standing) in (0_u8..).zip(standings()) {
        text.push_str(&write(&file(number), &standing).to_string());
        text.push('\n');
    }
    text
}

fn iso(file: &ConsentFile, standing: &Standing) -> Value {
    to_iso27560(file, standing, &surroundings()).unwrap()
}

#[test]
fn consents_are_valid_fhir_r4() {
    are_valid("consent-fhir", &[records(to_fhir)]);
}

#[test]
fn doctored_consents_are_no_fhir_r4() {
    are_refused(
        "consent-fhir",
        &to_fhir(&file(4), &Standing::default()).to_string(),
        &[
            ("another resource", |v| v["resourceType"] = json!("Patient")),
            ("an unknown field", |v| v["surname"] = json!("x")),
            ("an unknown field below", |v| {
                v["provision"]["surname"] = json!("x")
            }),
            ("no status", |v| without(v, "status")),
            ("another status", |v| v["status"] = json!("withdrawn")),
            ("no scope", |v| without(v, "scope")),
            ("another scope", |v| {
                v["scope"]["coding"][0]["code"] = json!("everything")
            }),
            ("no category", |v| without(v, "category")),
            ("another category", |v| {
                v["category"][0]["coding"][0]["code"] = json!("X")
            }),
            ("no policy", |v| without(v, "policy")),
            ("no patient", |v| without(v, "patient")),
            ("an actor without a role", |v| {
                without(&mut v["provision"]["actor"][0], "role")
            }),
            ("an actor without a reference", |v| {
                without(&mut v["provision"]["actor"][0], "reference")
            }),
            ("another type", |v| v["provision"]["type"] = json!("allow")),
            ("another action", |v| {
                v["provision"]["action"][0]["coding"][0]["code"] = json!("sell")
            }),
            ("a period that ends first", |v| {
                v["provision"]["period"]["end"] = json!("2001-01-01T00:00:00Z")
            }),
            ("an extension without an address", |v| {
                without(&mut v["extension"][0], "url")
            }),
            ("no time", |v| v["dateTime"] = json!("yesterday")),
        ],
    );
}

#[test]
fn consents_are_records_of_iso_27560_in_terms_of_dpv() {
    are_valid("consent-27560", &[records(iso)]);
}

#[test]
fn doctored_consents_are_no_records_of_iso_27560() {
    are_refused(
        "consent-27560",
        &iso(&file(4), &Standing::default()).to_string(),
        &[
            ("a word that DPV lacks", |v| {
                v["@type"] = json!(["dpv:ConsentRecord", "dpv:ConsentPaper"])
            }),
            ("a property that DPV lacks", |v| {
                v["dpv:hasMood"] = json!("x")
            }),
            ("a class as a property", |v| v["dpv:Purpose"] = json!("x")),
            ("a property of nobody", |v| {
                v["https://example.org/mood"] = json!("x")
            }),
            ("no schema version", |v| without(v, "dct:conformsTo")),
            ("another schema version", |v| {
                v["dct:conformsTo"] = json!("https://w3id.org/dpv/schema/dpv-27560#receipt")
            }),
            ("no identifier", |v| without(v, "dct:identifier")),
            ("no person", |v| without(v, "dpv:hasDataSubject")),
            ("no notice", |v| without(v, "dpv:hasNotice")),
            ("no language", |v| {
                without(&mut v["dpv:hasNotice"], "dct:language")
            }),
            ("no jurisdiction", |v| without(v, "dpv:hasJurisdiction")),
            ("a place that is none", |v| {
                v["dpv:hasJurisdiction"] = json!("loc:Erewhon")
            }),
            ("no purpose", |v| {
                without(&mut v["dpv:hasProcess"], "dpv:hasPurpose")
            }),
            ("no kind of data", |v| {
                without(&mut v["dpv:hasProcess"], "dpv:hasPersonalData")
            }),
            ("no controller", |v| {
                without(&mut v["dpv:hasProcess"], "dpv:hasDataController")
            }),
            ("no recipient", |v| {
                without(&mut v["dpv:hasProcess"], "dpv:hasRecipient")
            }),
            ("no retention", |v| {
                let conditions = &mut v["dpv:hasProcess"]["dpv:hasStorageCondition"];
                conditions.as_array_mut().unwrap().pop();
            }),
            ("no way to withdraw", |v| {
                without(&mut v["dpv:hasProcess"], "dpv:hasConsentControl")
            }),
            ("no party", |v| without(v, "dpv:hasEntity")),
            ("a party that is not described", |v| {
                v["dpv:hasEntity"].as_array_mut().unwrap().pop();
            }),
            ("no address", |v| {
                without(&mut v["dpv:hasEntity"][0], "schema:address")
            }),
            ("no state", |v| without(v, "dpv:hasConsentStatus")),
            ("no time", |v| {
                without(&mut v["dpv:hasConsentStatus"][0], "dpv:isIndicatedAtTime")
            }),
            ("no end", |v| {
                without(&mut v["dpv:hasConsentStatus"][0], "dpv:hasDuration")
            }),
        ],
    );
}
