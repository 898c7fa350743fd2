//! Whether one library permits more than another, and the request that shows it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: what is wrong should end the test where it stands"
)]

use passerelle_policies::{Library, SCHEMA_FILE, embedded_files};
use passerelle_prove::{Difference, ProveError, Side, Solver, Story, diff};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

type Files = BTreeMap<String, String>;

/// One test at a time asks the solver, so that there are never more than two processes of it.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn changed(path: &str, from: &str, to: &str) -> Files {
    let mut files = embedded_files();
    let text = files.get_mut(path).unwrap();
    assert!(text.contains(from), "`{path}` has no `{from}`");
    *text = text.replacen(from, to, 1);
    files
}

fn try_compare(old: &Files, new: &Files) -> Result<Vec<Difference>, ProveError> {
    let solver = Solver::find(Duration::from_secs(20)).expect("install cvc5");
    let load = |files: &Files| Library::load(files).unwrap();
    let (old_library, new_library) = (load(old), load(new));
    diff(
        (&old_library, &old[SCHEMA_FILE]),
        (&new_library, &new[SCHEMA_FILE]),
        &solver,
    )
}

fn compare(old: &Files, new: &Files) -> Vec<Difference> {
    try_compare(old, new).unwrap()
}

/// The stories of one direction. Each is allowed by the first library and denied by the second, as
/// Cedar itself says.
fn stories(sides: impl Iterator<Item = Side>, allows: &Files, denies: &Files) -> Vec<Story> {
    let allows = Library::load(allows).unwrap();
    let denies = Library::load(denies).unwrap();
    sides
        .filter_map(|side| match side {
            Side::Proved => None,
            Side::More { story } => Some(*story.expect("the request could be shown")),
            Side::Undecided { reason } => panic!("{reason}"),
        })
        .inspect(|story| {
            println!("{}", story.en.join("\n"));
            let allowed = story.request.ask(allows.schema(), allows.policies());
            assert_eq!(allowed.unwrap(), Some(story.rules.clone()));
            // What follows from reference data is in the request as the first library has it.
            if allows.policies() != denies.policies() {
                let denied = story.request.ask(denies.schema(), denies.policies());
                assert_eq!(denied.unwrap(), None);
            }
        })
        .collect()
}

#[test]
fn a_library_is_neither_looser_nor_tighter_than_itself() {
    let _alone = alone();
    let same = compare(&embedded_files(), &embedded_files());
    assert_eq!(same.len(), 4);
    for difference in same {
        assert!(difference.is_no_looser());
        assert!(matches!(difference.tighter, Side::Proved), "{difference:?}");
    }
}

#[test]
fn a_looser_rule_is_shown_by_the_plainest_request() {
    let _alone = alone();
    let old = embedded_files();
    let new = changed(
        "policies/stages.cedar",
        "Stage::\"stage_1\" };",
        "Stage::\"stage_1\" && context.case.closed };",
    );
    let all = compare(&old, &new);
    let looser = stories(all.iter().map(|d| d.looser.clone()), &new, &old);
    let actions: Vec<_> = looser.iter().map(|s| s.action.as_str()).collect();
    assert_eq!(actions, ["release", "release_with_review"]);
    for story in &looser {
        assert!(story.en[4].contains("stage 1"), "{story:#?}");
        assert!(story.fr[4].contains("étape 1"), "{story:#?}");
        assert!(story.en[2].contains("level 0"), "{story:#?}");
        assert_eq!(story.en[7], "Emergency: none claimed");
        // Something must carry it: one paper, or with a look a consent beside the agreement.
        let papers = [&story.en[5], &story.en[6]];
        let none = papers
            .iter()
            .filter(|line| line.ends_with(": none"))
            .count();
        assert!(story.action != "release" || none == 1, "{story:#?}");
    }
    assert!(all.iter().all(|d| matches!(d.tighter, Side::Proved)));
    // The other way round it is the tighter one.
    let back = compare(&new, &old);
    assert!(back.iter().all(Difference::is_no_looser));
    assert_eq!(
        stories(back.iter().map(|d| d.tighter.clone()), &new, &old).len(),
        2
    );
}

#[test]
fn looser_reference_data_is_looser_though_no_rule_changed() {
    let _alone = alone();
    let old = embedded_files();
    let new = changed(
        "reference.toml",
        "[levels.audit]\ndefault = \"known\"",
        "[levels.audit]\ndefault = \"contact\"",
    );
    let all = compare(&old, &new);
    let looser = stories(all.iter().map(|d| d.looser.clone()), &new, &old);
    assert!(!looser.is_empty());
    for story in looser {
        assert!(story.en[3].contains("audit"), "{story:#?}");
        assert!(story.en[2].contains("level 1"), "{story:#?}");
    }
    let back = compare(&new, &old);
    assert!(back.iter().all(Difference::is_no_looser));

    let wider = changed(
        "packs/us/pack.toml",
        "code = \"42CFR2.51\"\nemergency = { kinds = [\"medical\"]",
        "code = \"42CFR2.51\"\nemergency = { kinds = [\"medical\", \"threat_to_others\"]",
    );
    let all = compare(&old, &wider);
    let looser = stories(all.iter().map(|d| d.looser.clone()), &wider, &old);
    assert!(looser.iter().all(|s| s.action.starts_with("override")));
    assert!(
        looser.iter().any(|s| s.en[3].contains("42CFR2.51")),
        "{looser:#?}"
    );
}

#[test]
fn a_newer_schema_may_know_more_but_not_less() {
    let _alone = alone();
    let old = embedded_files();
    let more = changed(
        SCHEMA_FILE,
        "entity ConsentGiver enum [\"self\"",
        "entity ConsentGiver enum [\"court\", \"self\"",
    );
    assert!(compare(&old, &more).iter().all(Difference::is_no_looser));
    let ruled = {
        let mut files = more.clone();
        let text = files.get_mut("policies/consents.cedar").unwrap();
        text.push_str(
            "@id(\"court\") @why(\"consent-needed\") @remedy(\"remedy-consent\") @source(\"\")\n\
             forbid (principal, action, resource)\n\
             when { context has consent && context.consent.giver == ConsentGiver::\"court\" };\n",
        );
        files
    };
    assert!(compare(&old, &ruled).iter().all(Difference::is_no_looser));
    let refused = try_compare(&ruled, &old);
    assert!(
        matches!(refused, Err(ProveError::Incomparable(_))),
        "{refused:?}"
    );
}
