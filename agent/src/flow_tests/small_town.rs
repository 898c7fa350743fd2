//! Stage 2 of a table, where few people share what is on record.

use super::*;
use crate::{alike, person::Sex};
use passerelle_model::ids::CaseId;
use serde_json::json;

const CASE: &str = "case-00112233445566778899aabbccddeeff";

/// A clinic in a place of so many people, which brought to a table somebody who harms herself.
fn village(population: Option<u64>) -> World {
    let world = world_of(
        factor("self_harm"),
        |context| context.config.population = population,
        false,
    );
    let girl = imported("c-1", girl("Zoé"), factor("self_harm"));
    world.clinic.imports("k", vec![girl]);
    world.clinic.happens(vec![Event::Labelled {
        id: CASE.to_owned(),
        handle: KNOWN,
        label: "Zoé Tremblay".to_owned(),
    }]);
    world
}

fn girl(given: &str) -> Person {
    let born = "2009-05-02".parse().unwrap();
    Person::new("Tremblay", given, born, Some(Sex::Female)).unwrap()
}

fn factor(code: &str) -> Fact {
    Fact {
        category: Category::RiskFactors,
        code: Some(code.to_owned()),
        ..fact()
    }
}

impl World {
    /// What the police are told of the person at the table, by category.
    fn is_told(&mut self, categories: &[Category]) -> serde_json::Value {
        let items: Vec<_> = categories
            .iter()
            .map(|category| Item {
                category: *category,
                level: Level::Coded,
            })
            .collect();
        let (stated, permit) = self.ask_with(UNKNOWN, |question| {
            question.subject = None;
            question.case = Some(CASE.parse().unwrap());
            question.items = items;
            question.basis = LegalBasis::Gdpr6;
            question.purpose = Purpose::Screen;
        });
        assert_eq!(
            self.offered(&stated, &permit),
            ["noticed", "answered", "stated"]
        );
        self.deliver(|_| ());
        let opened = self.opened(&permit.request).unwrap();
        let mut told = serde_json::Map::new();
        told.insert("outcome".into(), json!(opened.outcome.code()));
        for item in opened.items {
            let [value] = item.values.as_slice() else {
                panic!("{:?}", item.values);
            };
            assert_eq!(value.get("since"), None, "{value}");
            let said = json!([value.get("code"), value.get("generalised")]);
            told.insert(item.category, said);
        }
        told.into()
    }

    fn is_warned(&self) -> Option<passerelle_proto::views::FewAlike> {
        let case: CaseId = CASE.parse().unwrap();
        alike::warning(&self.clinic.context, self.clinic.core.view(), &case, NOW).unwrap()
    }
}

const ALL: [Category; 3] = [Category::Gender, Category::AgeBand, Category::RiskFactors];

#[test]
fn in_a_city_codes_are_told_as_they_are() {
    let mut world = village(Some(250_000));
    assert_eq!(
        world.is_told(&ALL),
        json!({
            "outcome": "released", "gender": ["female", null], "age_band": ["15-17", null],
            "risk_factors": ["self_harm", null],
        })
    );
    assert_eq!(world.is_warned(), None);
}

#[test]
fn in_a_village_they_are_told_less_finely_and_the_worker_is_warned() {
    let mut world = village(Some(300));
    assert_eq!(
        world.is_told(&ALL),
        json!({
            "outcome": "released", "gender": [null, "withheld"],
            "age_band": ["0-17", "wider_band"], "risk_factors": ["health_or_self", "group"],
        })
    );
    let warned = world.is_warned().unwrap();
    assert_eq!((warned.least, warned.population), (10, Some(300)));
    assert_eq!(warned.told["gender"], "withheld");
    assert!(
        warned.explained_en.contains("Fewer than 10 people"),
        "{warned:?}"
    );
    assert!(
        warned.explained_fr.contains("Moins de 10 personnes"),
        "{warned:?}"
    );
}

#[test]
fn one_detail_after_the_other_tells_no_more_than_all_at_once() {
    let mut world = village(Some(300));
    let at_once = world.is_told(&ALL);
    for category in ALL {
        let alone = world.is_told(&[category]);
        assert_eq!(alone[category.code()], at_once[category.code()]);
    }
}

#[test]
fn where_nobody_has_said_how_many_live_it_can_not_be_said() {
    let mut world = village(None);
    assert_eq!(world.is_told(&ALL), json!({"outcome": "cannot_say"}));
    assert!(!world.is_warned().unwrap().anything);
    // Nine more make ten, and the same person twice makes no eleventh.
    let more = |n: usize| {
        let given = format!("Zoé{}", "a".repeat(n));
        imported(&format!("m-{n}"), girl(&given), factor("self_harm"))
    };
    world.clinic.imports("l", (1..9).map(more).collect());
    let twice = imported("again", girl("Zoé"), factor("self_harm"));
    world.clinic.imports("m", vec![twice]);
    assert_eq!(world.is_told(&ALL), json!({"outcome": "cannot_say"}));
    world.clinic.imports("n", vec![more(9)]);
    assert_eq!(world.is_told(&ALL)["gender"], json!(["female", null]));
    assert_eq!(world.is_warned(), None);
}

#[test]
fn a_person_who_approves_does_not_lift_it() {
    let mut world = village(Some(300));
    let (stated, mut permit) = world.ask_with(UNKNOWN, |question| {
        question.subject = None;
        question.case = Some(CASE.parse().unwrap());
        question.items = vec![Item {
            category: Category::Gender,
            level: Level::Coded,
        }];
        question.basis = LegalBasis::Gdpr6;
    });
    permit.review = true;
    assert_eq!(world.offered(&stated, &permit), ["noticed", "review_asked"]);
    let approved = world
        .clinic
        .reviews(&permit.request, Verdict::Approve, "n-1", NOW);
    approved.unwrap();
    world.deliver(|_| ());
    let opened = world.opened(&permit.request).unwrap();
    assert_eq!(opened.items[0].values[0]["generalised"], "withheld");
}
