//! Proofs of the shipped library, and of libraries that are wrong on purpose: each wrong one must
//! be refuted by the invariant that names what is wrong, with a request that Cedar really allows.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: what is wrong should end the test where it stands"
)]

use passerelle_model::vocabulary::Language;
use passerelle_policies::{Library, embedded_files};
use passerelle_prove::{Invariants, Report, STRUCTURAL, Solver, SolverError, Story, prove};
use std::{
    collections::BTreeMap,
    os::unix::fs::PermissionsExt as _,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

type Files = BTreeMap<String, String>;

/// One test at a time asks the solver, so that there are never more than two processes of it.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn solver() -> Solver {
    Solver::find(Duration::from_secs(20)).expect("install cvc5: without it nothing is proved")
}

fn run(files: &Files, only: &[&str]) -> Report {
    let library = Library::load(files).unwrap();
    let invariants = Invariants::of_bundle(&library, files).unwrap();
    let only: Vec<_> = only.iter().map(ToString::to_string).collect();
    prove(&library, &invariants, &solver(), &only).unwrap()
}

/// The shipped files with one passage of one of them replaced.
fn spoilt(changes: &[(&str, &str, &str)]) -> Files {
    let mut files = embedded_files();
    for (path, from, to) in changes {
        let text = files.get_mut(*path).unwrap();
        assert!(text.contains(from), "`{path}` has no `{from}`");
        *text = text.replacen(from, to, 1);
    }
    files
}

/// A rule added to the shipped ones, with whatever texts there are.
fn with_rule(effect: &str, id: &str, body: &str) -> Files {
    let mut files = embedded_files();
    let annotations = match effect {
        "permit" => "@rests_on(\"none\")",
        _ => "@remedy(\"remedy-none\")",
    };
    let rule = format!(
        "\n@id(\"{id}\") @why(\"training-not-current\") {annotations} @source(\"\")\n\
         {effect} {body}\n"
    );
    files
        .get_mut("policies/guards.cedar")
        .unwrap()
        .push_str(&rule);
    files
}

fn kinds(report: &Report) -> Vec<&'static str> {
    let failing = report.checks.iter().flat_map(|check| &check.failing);
    failing.map(|failing| failing.says.kind).collect()
}

#[test]
fn the_shipped_library_holds_every_invariant_within_two_minutes() {
    let _alone = alone();
    let report = run(&embedded_files(), &[]);
    for check in report.checks.iter().filter(|check| !check.holds()) {
        println!("{check:#?}");
    }
    println!("{} questions in {} ms", report.questions, report.took_ms);
    assert!(report.holds());
    assert!(report.checks.len() >= 20 + STRUCTURAL.len());
}

/// File, text, and what stands in its place.
type Changes = &'static [(&'static str, &'static str, &'static str)];

/// What was done to the rules, and which invariant must say so.
const SEEDED: &[(Changes, &str)] = &[
    // A guard that is not there.
    (
        &[(
            "policies/guards.cedar",
            "unless { principal.trained }",
            "unless { principal.trained || principal.agency.active }",
        )],
        "untrained-never",
    ),
    // `or` for `and`.
    (
        &[(
            "policies/guards.cedar",
            "principal.agency.active && resource.holder.active",
            "principal.agency.active || resource.holder.active",
        )],
        "inactive-agency-never",
    ),
    // A code left out of a list.
    (
        &[(
            "policies/guards.cedar",
            "Purpose::\"immigration_enforcement\", Purpose::\"media\"]",
            "Purpose::\"immigration_enforcement\"]",
        )],
        "prohibited-purposes-never",
    ),
    // The comparison the other way round.
    (
        &[(
            "policies/guards.cedar",
            "resource.level > resource.max_level",
            "resource.level < resource.max_level",
        )],
        "diagnosis-within-purpose",
    ),
    // Misspelt, but a code that exists.
    (
        &[(
            "policies/stages.cedar",
            "Stage::\"stage_1\"",
            "Stage::\"stage_2\"",
        )],
        "stage-1-nothing-leaves",
    ),
    (
        &[(
            "packs/ca-bc/policies/shift.cedar",
            "Profile::\"shift_bc\"",
            "Profile::\"channel_panel\"",
        )],
        "shift-consent-first",
    ),
    // Another attribute that exists.
    (
        &[(
            "policies/stages.cedar",
            "context.case.plan.contains(resource.category.code)",
            "context.case.plan.contains(CategoryCode::\"name\")",
        )],
        "stage-4-plan-only",
    ),
    // A permit on the action of another.
    (
        &[(
            "policies/emergency.cedar",
            "permit (principal, action == Action::\"override_with_review\", resource)",
            "permit (principal, action == Action::\"release\", resource)",
        )],
        "never-on-nothing",
    ),
    // The guard and the permit that says it again, both gone.
    (
        &[
            (
                "policies/consents.cedar",
                "context has consent && context.consent.withdrawn",
                "context has consent && context.consent.withdrawn && context.consent.redisclosure",
            ),
            (
                "policies/consents.cedar",
                "  !context.consent.withdrawn &&\n",
                "",
            ),
        ],
        "withdrawn-consent-never",
    ),
    // An obligation that nobody would miss in a decision.
    (
        &[(
            "policies/emergency.cedar",
            "alert,review_within_hours:48,",
            "alert,",
        )],
        "override-never-without-review",
    ),
    (
        &[(
            "policies/consents.cedar",
            "no_redisclosure,notice:notice-42cfr2-32",
            "no_redisclosure",
        )],
        "substance-use-with-notice",
    ),
    // The reference data, which is no policy.
    (
        &[(
            "reference.toml",
            "[levels.plan]\ndefault = \"coded\"",
            "[levels.plan]\ndefault = \"detail\"",
        )],
        "diagnosis-within-purpose",
    ),
];

#[test]
fn each_seeded_bug_is_refuted_by_its_invariant_with_a_request_that_cedar_allows() {
    let _alone = alone();
    let shipped = Library::load(&embedded_files()).unwrap();
    for (changes, invariant) in SEEDED {
        let files = spoilt(changes);
        let library = Library::load(&files).unwrap_or_else(|e| panic!("{invariant}: {e}"));
        let report = run(&files, &[invariant]);
        assert_eq!(report.checks.len(), 1);
        let check = &report.checks[0];
        assert_eq!(check.id, *invariant);
        let failing = check.failing.iter().find(|f| f.says.kind == "refuted");
        let failing = failing.unwrap_or_else(|| panic!("{invariant} holds of {changes:?}"));
        let story = failing.story.as_ref();
        let story = story.unwrap_or_else(|| panic!("{invariant}: no story"));
        println!(
            "{invariant}\n  {}\n  {}\n",
            story.en.join("\n  "),
            story.fr.join("\n  ")
        );
        replay(story, &library, &shipped, changes);
    }
}

/// The evaluator allows it by the wrong rules and by those that it is said to; by the shipped ones
/// it denies it, unless only obligations or reference data were wrong.
fn replay(story: &Story, library: &Library, shipped: &Library, changes: &[(&str, &str, &str)]) {
    let allowed = story.request.ask(library.schema(), library.policies());
    assert_eq!(allowed.unwrap(), Some(story.rules.clone()));
    let rules_differ = !changes.iter().any(|(path, from, _)| {
        *path == "reference.toml" || from.contains("review_within") || from.contains("notice")
    });
    if rules_differ {
        let denied = story.request.ask(shipped.schema(), shipped.policies());
        assert_eq!(denied.unwrap(), None);
    }
    assert_eq!(story.lines(Language::French), story.fr);
    assert_eq!(story.en.len(), story.fr.len());
    let unknown = |line: &String| line.contains("``");
    assert!(!story.en.iter().chain(&story.fr).any(unknown), "{story:#?}");
}

#[test]
fn a_story_keeps_only_what_matters() {
    let _alone = alone();
    let report = run(&spoilt(SEEDED[0].0), &["untrained-never"]);
    let stories: Vec<_> = report.checks[0]
        .failing
        .iter()
        .flat_map(|f| &f.story)
        .collect();
    assert!(stories.len() >= 2, "{stories:#?}");
    for story in stories {
        let emergency = story.action.starts_with("override");
        assert!(story.en[0].contains("training not current"), "{story:#?}");
        assert!(story.fr[0].contains("formation non à jour"), "{story:#?}");
        assert_eq!(story.en[4], "Case: none", "{story:#?}");
        assert_eq!(
            story.en[7] == "Emergency: none claimed",
            !emergency,
            "{story:#?}"
        );
    }
}

#[test]
fn a_rule_that_can_fail_is_found() {
    let _alone = alone();
    let body = "(principal, action, resource)\nwhen { context.at + 1 > 9223372036854775806 };";
    let report = run(&with_rule("forbid", "overflows", body), &["no-rule-fails"]);
    assert!(kinds(&report).contains(&"refuted"), "{report:#?}");
    assert!(
        report.checks[0].failing[0]
            .says
            .words
            .en
            .contains("`overflows`")
    );
}

#[test]
fn a_rule_that_cannot_fire_is_found_and_an_excuse_must_stay_true() {
    let _alone = alone();
    let never = "(principal, action == Action::\"release\", resource)\nwhen {\n\
                 context has case && context.case.stage == Stage::\"stage_1\" &&\n\
                 context.case.stage == Stage::\"stage_2\" };";
    let mut files = with_rule("forbid", "two-stages", never);
    let report = run(&files, &["no-dead-rule"]);
    assert_eq!(kinds(&report), ["dead"], "{report:#?}");
    // A permit that something always forbids is dead too.
    let shadowed = "(principal, action == Action::\"release\", resource)\n\
                    when { !principal.trained };";
    let report = run(
        &with_rule("permit", "shadowed", shadowed),
        &["no-dead-rule"],
    );
    assert_eq!(kinds(&report), ["dead"], "{report:#?}");

    let ledger = "invariants/ledger.toml";
    let excuse = |rule: &str| format!("[dead]\n{rule} = \"kept for a reason\"\n");
    let text = files[ledger].replacen("[dead]\n", &excuse("two-stages"), 1);
    files.insert(ledger.to_owned(), text);
    assert!(run(&files, &["no-dead-rule"]).holds());
    for not_so in ["agency-inactive", "no-such-rule"] {
        let mut files = embedded_files();
        let text = files[ledger].replacen("[dead]\n", &excuse(not_so), 1);
        files.insert(ledger.to_owned(), text);
        let report = run(&files, &["no-dead-rule"]);
        assert_eq!(kinds(&report), ["no_longer"], "{report:#?}");
    }
}

#[test]
fn a_conflict_that_is_not_listed_and_one_that_is_no_more_are_found() {
    let _alone = alone();
    let forbid = "(principal, action == Action::\"override\", resource)\n\
                  when { resource.category.code == CategoryCode::\"safety_flag\" };";
    let files = with_rule("forbid", "no-safety-flag", forbid);
    let report = run(&files, &["conflicts-as-listed"]);
    assert_eq!(kinds(&report), ["not_listed"], "{report:#?}");
    let said = &report.checks[0].failing[0].says.words.en;
    assert!(
        said.contains("`no-safety-flag` may overrule `emergency-override`"),
        "{said}"
    );
    // The ledger that is printed is the one that holds.
    let mut amended = files;
    amended.insert(
        "invariants/ledger.toml".to_owned(),
        report.ledger.to_string(),
    );
    assert!(run(&amended, &["conflicts-as-listed"]).holds());
    // Without the new rule that ledger says too much.
    let ledger = amended["invariants/ledger.toml"].clone();
    let mut files = embedded_files();
    files.insert("invariants/ledger.toml".to_owned(), ledger);
    assert_eq!(kinds(&run(&files, &["conflicts-as-listed"])), ["no_longer"]);
}

fn with_ceiling(ceiling: &str) -> Files {
    let mut files = embedded_files();
    let text = format!(
        "[[invariant]]\nid = \"mine\"\nactions = [\"release\"]\nceiling = '''{ceiling}'''\n\
         title = {{ en = \"mine\", fr = \"le mien\" }}\n"
    );
    files.insert("invariants/mine.toml".to_owned(), text);
    files
}

#[test]
fn an_invariant_that_nothing_could_break_says_nothing() {
    let _alone = alone();
    // A diagnosis is never of the kind `police`: a slip that a validator can't see.
    let slip = "permit (principal, action, resource) unless {\n\
                resource.category.code == CategoryCode::\"diagnosis\" &&\n\
                resource.category.kind == CategoryKind::\"police\" };";
    let report = run(&with_ceiling(slip), &["mine"]);
    assert_eq!(kinds(&report), ["says_nothing"], "{report:#?}");
}

#[test]
fn invariants_that_do_not_fit_are_refused_with_their_file() {
    let good = "permit (principal, action, resource) unless { !principal.trained };";
    let load = |files: &Files| {
        let library = Library::load(files).unwrap();
        Invariants::of_bundle(&library, files).map_err(|e| e.to_string())
    };
    assert!(load(&with_ceiling(good)).is_ok());
    let path = "invariants/mine.toml";
    for (from, to, complaint) in [
        ("!principal.trained", "!principal.untrained", "untrained"),
        ("[\"release\"]", "[\"relase\"]", "unknown action `relase`"),
        ("[\"release\"]", "[]", "no action"),
        ("fr = \"le mien\"", "fr = \" \"", "both languages"),
        ("id = \"mine\"", "id = \"untrained-never\"", "stands twice"),
        (
            "actions =",
            "only_with = [\"alerts\"]\nactions =",
            "unknown obligation `alerts`",
        ),
        ("ceiling =", "celing =", "celing"),
        (good, "", "one policy or more"),
    ] {
        let mut files = with_ceiling(good);
        let text = files[path].replacen(from, to, 1);
        files.insert(path.to_owned(), text);
        let refused = load(&files).unwrap_err();
        assert!(refused.contains(complaint), "{refused}");
        assert!(refused.contains("invariants/"), "{refused}");
    }
    // Nothing to prove is no proof.
    let none: Files = embedded_files()
        .into_iter()
        .filter(|(path, _)| !path.starts_with("invariants/"))
        .collect();
    assert!(load(&none).unwrap_err().contains("no invariant to prove"));
}

#[test]
fn without_a_solver_nothing_is_proved() {
    let missing = Solver::at("/nonexistent/cvc5", Duration::from_secs(1));
    assert!(matches!(missing, Err(SolverError::Missing(_))));
    let foreign = Solver::at("true", Duration::from_secs(1));
    assert!(matches!(foreign, Err(SolverError::Foreign(_))));
}

/// A program that says that it is cvc5 and then does this for each question.
fn pretender(answer: &str) -> (tempfile::TempDir, Solver) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cvc5");
    let script = format!(
        "#!/bin/sh\nif [ \"$1\" = --version ]; then echo 'This is cvc5 version 9'; exit; fi\n\
         while read line; do case \"$line\" in *check-sat*) {answer};; esac; done\n"
    );
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    let solver = Solver::at(&path, Duration::from_millis(200)).unwrap();
    (dir, solver)
}

fn run_with(solver: &Solver, only: &[&str]) -> Report {
    let files = embedded_files();
    let library = Library::load(&files).unwrap();
    let invariants = Invariants::of_bundle(&library, &files).unwrap();
    let only: Vec<_> = only.iter().map(ToString::to_string).collect();
    prove(&library, &invariants, solver, &only).unwrap()
}

#[test]
fn a_solver_that_agrees_with_everything_proves_nothing() {
    let _alone = alone();
    let (_dir, solver) = pretender("echo unsat");
    let report = run_with(&solver, &[]);
    let held: Vec<_> = report
        .checks
        .iter()
        .filter(|c| c.holds())
        .map(|c| &c.id)
        .collect();
    // That rules never fail is seen without a solver.
    assert_eq!(held, ["no-rule-fails"]);
}

#[test]
fn a_solver_that_does_not_know_does_not_answer_or_dies_proves_nothing() {
    let _alone = alone();
    for answer in ["echo unknown", "sleep 4", "exit 1", "echo what"] {
        let (_dir, solver) = pretender(answer);
        let report = run_with(&solver, &["shift-consent-first"]);
        assert!(!report.holds(), "{answer}");
        assert!(
            kinds(&report).iter().all(|kind| *kind == "undecided"),
            "{report:#?}"
        );
    }
}
