//! The scenarios of the design, end to end: each shipped exercise (`docs/exercises`) on a
//! federation of real processes, by the commands that its people would type.
//!
//! In scope: that what an exercise says would be decided, and who would see what, is what broker
//! and agents do: decisions with their rules and obligations, answers, waiting, reviews,
//! withdrawals, agencies that are away, the clock at midnight. Out of scope: what is in the facts.
//!
//! One clock for all nodes is set to the moments of the exercise, so a test needs `faketime`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: what is wrong should end the test where it stands"
)]

mod play;
mod rights;
mod script;
mod seen;
mod town;

use anyhow::Result;
use play::play;

macro_rules! scenarios {
    ($($name:ident: $file:literal;)*) => {
        const TESTED: &[&str] = &[$($file),*];

        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() -> Result<()> {
                play(include_str!(concat!("../../docs/exercises/", $file, ".yaml"))).await
            }
        )*
    };
}

scenarios! {
    a_consent_is_withdrawn_while_requests_are_in_flight: "1-withdrawn-in-flight";
    a_school_worries_about_somebody_of_fifteen: "2-fifteen-at-school";
    a_threat_is_made_tonight: "3-threat-tonight";
    the_police_ask_for_a_diagnosis: "4-police-ask-for-a-diagnosis";
    somebody_moves_to_another_province: "5-moving-to-another-province";
    an_agreement_ends_at_midnight: "6-the-agreement-ends-at-midnight";
    a_name_is_spelled_in_two_ways: "8-two-spellings";
    a_mentor_comes_to_the_table: "9-a-mentor-at-the-table";
    a_clinic_is_offline_for_two_days: "10-a-clinic-offline-for-two-days";
    somebody_asks_at_one_door_what_five_owners_hold: "11-one-door-five-owners";
    one_case_is_in_a_small_town: "12-a-small-town";
}

/// What an exercise expects is really looked at: one that expects something else fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_expectation_is_found() -> Result<()> {
    let text = include_str!("../../docs/exercises/4-police-ask-for-a-diagnosis.yaml");
    for (right, wrong, told) in [
        (
            "[health-to-police]",
            "[no_rule_permits]",
            "health-to-police",
        ),
        (
            "clinique-du-parc: nothing",
            "clinique-du-parc: waits",
            "nothing",
        ),
    ] {
        let altered = text.replacen(right, wrong, 1);
        assert_ne!(altered, text);
        let error = format!("{:#}", play(&altered).await.expect_err(wrong));
        assert!(
            error.contains("diagnosis") && error.contains(told),
            "{error}"
        );
    }
    Ok(())
}

#[test]
fn every_shipped_exercise_is_played_here() -> Result<()> {
    let mut shipped: Vec<String> = std::fs::read_dir("../docs/exercises")
        .or_else(|_| std::fs::read_dir("docs/exercises"))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| Some(name.strip_suffix(".yaml")?.to_owned()))
        .collect();
    let number = |name: &String| name.split('-').next().and_then(|n| n.parse::<u8>().ok());
    shipped.sort_by_key(number);
    assert_eq!(shipped, TESTED);
    Ok(())
}
