//! The synthetic data that ships with the demonstration: it parses, and is what its README says.

use super::{
    csv_import::{ImportedPerson, parse},
    fact::Fact,
    mapping::Mapping,
};
use crate::person::Person;
use passerelle_model::vocabulary::Category;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

const AGENCIES: [&str; 3] = ["police", "health", "community"];

fn data(name: &str) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../src/demo/data");
    fs::read_to_string(root.join(name)).unwrap()
}

fn people(agency: &str) -> Vec<ImportedPerson> {
    let mapping = Mapping::from_toml(&data(&format!("{agency}.toml"))).unwrap();
    let file = data(&format!("{agency}.csv"));
    let import = parse(&mapping, file.as_bytes()).unwrap();
    assert_eq!(import.problems, [], "{agency}");
    assert_eq!(import.rows.len(), file.lines().count() - 1, "{agency}");
    import.rows
}

/// Which agencies know each token.
fn known_to() -> BTreeMap<Vec<u8>, BTreeSet<&'static str>> {
    let mut known: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for agency in AGENCIES {
        for row in people(agency) {
            let is_new = known
                .entry(row.person.match_token())
                .or_default()
                .insert(agency);
            assert!(is_new, "one person twice at {agency}: {}", row.source_id.0);
        }
    }
    known
}

fn story(name: &str) -> Person {
    Person::from_file_text(&data(&format!("people/{name}.toml"))).unwrap()
}

fn facts(agency: &str, name: &str) -> Option<Vec<Fact>> {
    let token = story(name).match_token();
    let mut rows = people(agency).into_iter();
    rows.find(|r| r.person.match_token() == token)
        .map(|r| r.facts)
}

fn find(facts: &[Fact], category: Category) -> Option<&Fact> {
    facts.iter().find(|f| f.category == category)
}

#[test]
fn the_people_and_overlaps_are_as_the_readme_says() {
    let known = known_to();
    let in_at_least = |n| known.values().filter(|a| a.len() >= n).count();
    assert_eq!(
        (in_at_least(1), in_at_least(2), in_at_least(3)),
        (270, 63, 17)
    );
    assert_eq!(AGENCIES.map(|a| people(a).len()), [127, 122, 101]);
    let readme = data("README.md");
    for number in [270, 63, 17, 127, 122, 101] {
        assert!(readme.contains(&number.to_string()), "{number}");
    }
}

#[test]
fn the_people_of_the_story_are_known_to_whom_the_readme_says() {
    let known = known_to();
    let readme = data("README.md");
    let mut count = 0;
    for line in readme
        .lines()
        .filter(|l| l.starts_with("| `") && l.contains(".toml` | "))
    {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let Some(name) = cells[1].trim_matches('`').strip_suffix(".toml") else {
            continue;
        };
        let token = story(name).match_token();
        let actual = known.get(&token).cloned().unwrap_or_default();
        for (agency, cell) in AGENCIES.iter().zip(&cells[2..5]) {
            assert_eq!(
                actual.contains(agency),
                *cell == "yes",
                "{name} at {agency}"
            );
        }
        count += 1;
    }
    assert_eq!(count, 11);
}

#[test]
fn the_people_of_the_story_have_the_facts_of_the_story() {
    let health = |name: &str| facts("health", name).unwrap();
    let police = |name: &str| facts("police", name).unwrap();

    let diagnosis = health("diagnosis");
    let fact = find(&diagnosis, Category::Diagnosis).unwrap();
    assert_eq!(fact.code.as_deref(), Some("F32.1"));
    assert!(!fact.specially_protected && !fact.restricted);

    let protected = health("protected-programme");
    assert!(protected.iter().all(|f| f.specially_protected));
    assert!(find(&protected, Category::InService).is_some());
    assert!(find(&protected, Category::SudTreatment).is_some());

    let youth = police("youth");
    assert!(find(&youth, Category::Charges).unwrap().youth_record);
    assert!(find(&youth, Category::YouthRecord).unwrap().youth_record);

    let third_party = police("third-party");
    assert!(
        find(&third_party, Category::SafetyFlag)
            .unwrap()
            .third_party_at_risk
    );
    assert!(
        find(&third_party, Category::Location)
            .unwrap()
            .third_party_at_risk
    );

    assert!(
        find(&health("restricted"), Category::CrisisRisk)
            .unwrap()
            .restricted
    );

    let emergency = health("emergency");
    let risk = find(&emergency, Category::CrisisRisk).unwrap();
    assert_eq!(risk.code.as_deref(), Some("imminent"));
    assert!(find(&emergency, Category::Location).unwrap().text.is_some());
    assert!(find(&emergency, Category::Diagnosis).is_some());

    let ordinary = health("ordinary");
    let service = find(&ordinary, Category::InService).unwrap();
    assert_eq!(service.since.unwrap().to_string(), "2025-08-14");
    assert!(service.contact.is_some());
    assert!(!service.specially_protected && !service.third_party_at_risk);
}

#[test]
fn every_category_of_the_demonstration_occurs() {
    for (agency, categories) in [
        (
            "police",
            "contact_dates safety_flag call_type charges youth_record location risk_factors",
        ),
        (
            "health",
            "in_service appointment_status clinician_contact crisis_risk diagnosis medication \
             sud_treatment location risk_factors",
        ),
        (
            "community",
            "engagement mentor concern family_contact risk_factors",
        ),
    ] {
        let rows = people(agency);
        for category in categories.split_whitespace() {
            let category: Category = category.parse().unwrap();
            let mut all = rows.iter().flat_map(|r| &r.facts);
            assert!(
                all.any(|f| f.category == category),
                "{category} at {agency}"
            );
        }
        let protected = rows
            .iter()
            .flat_map(|r| &r.facts)
            .filter(|f| f.specially_protected);
        assert_eq!(protected.count() > 0, agency == "health");
    }
}
