//! What is told is true, and is needed.

use super::*;
use crate::{CedarPdp, cases::Input, property_tests};
use passerelle_model::{
    pdp::CaseFacts,
    records::Withdrawn,
    statement::{Item, WithdrawalScope},
    vocabulary::{Category, Language, LegalBasis, Level, Stage},
};
use proptest::prelude::*;
use std::{collections::BTreeSet, sync::LazyLock};

static PDP: LazyLock<CedarPdp> = LazyLock::new(|| CedarPdp::load_embedded().unwrap());

/// Police ask health whether somebody is in service, to plan, on `GDPR-6`.
fn matter() -> Matter {
    Input::default().matter().unwrap()
}

fn about(category: Category, level: Level) -> Matter {
    let item = Item { category, level };
    Matter { item, ..matter() }
}

fn told(matter: &Matter) -> Vec<Vec<Change>> {
    what_is_missing(&*PDP, matter)
        .into_iter()
        .map(|r| r.changes)
        .collect()
}

#[test]
fn a_diagnosis_opens_to_police_on_the_persons_consent_and_on_nothing_else() {
    let told = told(&about(Category::Diagnosis, Level::Coded));
    assert!(
        told.contains(&vec![Change::BasisConsent, Change::Consent]),
        "{told:?}"
    );
    for changes in &told {
        assert!(changes.contains(&Change::Consent), "{changes:?}");
    }
}

#[test]
fn an_agreement_opens_whether_somebody_is_in_service_to_a_person_who_looks() {
    let remedies = what_is_missing(&*PDP, &matter());
    let on_agreement = remedies.iter().find(|r| r.changes == [Change::Agreement]);
    assert_eq!(
        on_agreement.map(|r| r.effect),
        Some(Effect::Review),
        "{remedies:?}"
    );
}

#[test]
fn too_high_a_level_is_told_with_the_highest_that_would_do() {
    let mut asked = about(Category::Attendance, Level::Detail);
    asked.holder.keys.sector = passerelle_model::vocabulary::Sector::Education;
    asked.purpose = passerelle_model::vocabulary::Purpose::IdentifyInvolved;
    let told = told(&asked);
    assert!(!told.is_empty());
    let levels: BTreeSet<_> = told
        .iter()
        .flatten()
        .filter_map(|c| match c {
            Change::Level(level) => Some(*level),
            _ => None,
        })
        .collect();
    assert_eq!(levels, BTreeSet::from([Level::Contact]), "{told:?}");
}

#[test]
fn whoever_has_withdrawn_is_not_to_be_asked_again() {
    let mut asked = about(Category::Diagnosis, Level::Coded);
    asked.basis = LegalBasis::Consent;
    assert_eq!(told(&asked), [[Change::Consent]]);
    Change::Consent.apply(&mut asked);
    assert!(told(&asked).is_empty(), "not denied");
    asked.consents[0].withdrawn.push(Withdrawn {
        scope: WithdrawalScope::All,
        index: 1_000,
    });
    assert!(told(&asked).is_empty(), "the withdrawal wins");
}

#[test]
fn training_is_told_beside_what_else_is_missing() {
    let mut asked = matter();
    asked.trained = false;
    let told = told(&asked);
    assert!(
        told.contains(&vec![Change::Training, Change::Agreement]),
        "{told:?}"
    );
    assert!(
        told.iter()
            .all(|changes| changes.contains(&Change::Training))
    );
}

#[test]
fn no_remedy_goes_round_a_stage() {
    let mut asked = matter();
    Change::Case(Stage::DeIdentified).apply(&mut asked);
    if let Some(case) = &mut asked.case {
        case.stage = Stage::HomeAgency;
    }
    let told = told(&asked);
    assert!(!told.is_empty());
    for changes in &told {
        let advances = changes.iter().any(|c| matches!(c, Change::Stage(_)));
        let overrides = changes.iter().any(|c| matches!(c, Change::Emergency(_)));
        assert!(advances || overrides, "{changes:?}");
    }
}

#[test]
fn nothing_opens_what_is_prohibited() {
    let mut asked = matter();
    asked.purpose = passerelle_model::vocabulary::Purpose::Media;
    assert!(told(&asked).is_empty());
}

#[test]
fn every_change_is_told_in_both_languages() {
    let mut asked = matter();
    asked.trained = false;
    asked.item.level = Level::Detail;
    let case = CaseFacts {
        same_subject: Some(false),
        plan: Vec::new(),
        ..{
            let mut with = asked.clone();
            Change::Case(Stage::DeIdentified).apply(&mut with);
            with.case.unwrap()
        }
    };
    let with_case = Matter {
        case: Some(case),
        identified: false,
        ..asked.clone()
    };
    let urgent = Matter {
        emergency: Some(passerelle_model::vocabulary::EmergencyKind::Medical),
        ..asked.clone()
    };
    let all: BTreeSet<_> = [&asked, &with_case, &urgent]
        .into_iter()
        .flat_map(Change::possible)
        .collect();
    for change in &all {
        let say = |language| change.words(Category::Attendance, language);
        let (english, french) = (say(Language::English), say(Language::French));
        assert!(
            !english.is_empty() && !french.is_empty() && english != french,
            "{change:?}"
        );
        assert!(!french.contains(" ;") && !french.contains("'"), "{french}");
    }
    assert!(all.contains(&Change::LeaveCase) && all.contains(&Change::NoEmergency));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn a_remedy_is_true_when_applied_and_needs_all_of_its_changes(
        matter in property_tests::matter()
    ) {
        let denied = PDP.rule(&matter).effect == Effect::Deny;
        let remedies = what_is_missing(&*PDP, &matter);
        prop_assert!(denied || remedies.is_empty());
        prop_assert!(remedies.len() <= MAX_REMEDIES);
        for remedy in &remedies {
            let ruling = PDP.rule(&remedy.apply(&matter));
            prop_assert_eq!(&ruling, &remedy.ruling, "{:?}", remedy.changes);
            prop_assert!(remedy.effect == ruling.effect && ruling.effect != Effect::Deny);
            // Without any one, two or more of its changes it is denied.
            let changes = &remedy.changes;
            for kept in 0..(1_u32 << changes.len()) - 1 {
                let part: Vec<_> = changes
                    .iter()
                    .enumerate()
                    .filter(|(n, _)| kept & (1 << n) != 0)
                    .map(|(_, change)| change.clone())
                    .collect();
                let effect = PDP.rule(&applied(&part, &matter)).effect;
                prop_assert_eq!(effect, Effect::Deny, "{:?} of {:?}", part, changes);
            }
        }
    }
}
