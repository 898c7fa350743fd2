//! The exercises that come with the program, and files that are wrong.

use super::*;
use crate::{CedarPdp, LocalPdp, embedded_files};
use std::{collections::BTreeMap, path::PathBuf, sync::LazyLock};

static PDP: LazyLock<CedarPdp> = LazyLock::new(|| CedarPdp::load_embedded().unwrap());
static LOCAL: LazyLock<LocalPdp> = LazyLock::new(|| LocalPdp::load_default().unwrap());

/// The shipped exercises by file name.
fn shipped() -> BTreeMap<String, String> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/exercises");
    let files = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect()
}

fn one(name: &str) -> String {
    shipped().remove(name).unwrap()
}

fn embedded() -> Vec<Bundle<'static>> {
    vec![Bundle {
        label: "embedded".to_owned(),
        pdp: &PDP,
    }]
}

/// What did not come out as the file expects.
fn failures(text: &str) -> Vec<String> {
    let exercise = read(text).unwrap_or_else(|problems| panic!("{problems:?}"));
    let bundles = embedded();
    assert!(unknown_rules(&exercise, &bundles).is_empty());
    play(&exercise, &bundles, &LOCAL).unwrap().failures()
}

#[test]
fn every_shipped_exercise_comes_out_as_it_expects() {
    let shipped = shipped();
    assert!(shipped.len() >= 6);
    let failed: BTreeMap<_, _> = shipped
        .iter()
        .map(|(name, text)| (name, failures(text)))
        .filter(|(_, failures)| !failures.is_empty())
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

/// `text` with the `n`th `from` made `to`; `None` once there are no more.
fn changed(text: &str, from: &str, to: &str, n: usize) -> Option<String> {
    let (at, _) = text.match_indices(from).nth(n)?;
    Some([&text[..at], to, &text[at + from.len()..]].concat())
}

#[test]
fn every_expectation_of_a_decision_can_fail() {
    let mut tried = 0;
    for (name, text) in shipped() {
        for (from, to) in [
            ("decision: permit", "decision: deny"),
            ("decision: review", "decision: permit"),
            ("decision: deny", "decision: review"),
            (": facts", ": denied"),
            (": cannot_say,", ": facts,"),
            (": nothing", ": entry"),
            (": stopped", ": waits"),
            ("rules: [consent-covers]", "rules: [agreement-covers]"),
        ] {
            for mutated in (0..).map_while(|n| changed(&text, from, to, n)) {
                assert!(
                    !failures(&mutated).is_empty(),
                    "{name}: `{from}` made `{to}`"
                );
                tried += 1;
            }
        }
    }
    assert!(tried > 60, "{tried}");
}

#[test]
fn what_is_wrong_with_a_file_is_told_with_its_place() {
    let good = one("4-police-ask-for-a-diagnosis.yaml");
    for (from, to, reason) in [
        (
            "to: clinique-du-parc",
            "to: clinique-du-port",
            "unknown agency `clinique-du-port`",
        ),
        (
            "by: officer-roy",
            "by: officer-rex",
            "unknown worker `officer-rex`",
        ),
        (
            "about: sam",
            "about: pat",
            "unknown person `pat`; known are: robin, sam",
        ),
        (
            "purpose: plan",
            "purpose: curiosity",
            "unknown purpose code",
        ),
        (
            "category: diagnosis",
            "category: religion",
            "unknown category code",
        ),
        (
            "basis: GDPR-6",
            "basis: because",
            "unknown legal basis code",
        ),
        (
            "question: in-service",
            "question: in-servicee",
            "unknown question `in-servicee`",
        ),
        ("at: day 1 09:00", "at: day 0 09:00", "out of range"),
        (
            "at: day 1 09:10",
            "at: day 1 07:10",
            "before the event above it",
        ),
        ("sector: health", "sektor: health", "sektor"),
        ("verdict: approve", "verdict: maybe", "maybe"),
        ("by: nurse-omar", "by: officer-roy", "does not work at"),
        (
            "police-du-fleuve: denied,",
            "police: denied,",
            "unknown agency `police`",
        ),
        (
            "      id: in-service\n",
            "      id: diagnosis\n",
            "stands twice",
        ),
        (
            "retain_days:90,no_redisclosure",
            "retain_days:x",
            "whole number",
        ),
        (
            "police-du-fleuve: denied,",
            "police-du-fleuve: gone,",
            "gone",
        ),
    ] {
        let bad = changed(&good, from, to, 0).expect(from);
        let problems = read(&bad).expect_err(to);
        let told = problems.iter().find(|p| p.reason.contains(reason));
        let told = told.unwrap_or_else(|| panic!("`{to}`: {problems:?}"));
        assert!(told.line > 0 && told.column > 0, "`{to}`: {told}");
        let line = bad.lines().nth(told.line as usize - 1).unwrap();
        let near = bad
            .lines()
            .skip((told.line as usize).saturating_sub(3))
            .take(12);
        let last = to.trim().rsplit(' ').next().unwrap().trim_end_matches(',');
        assert!(
            near.into_iter().any(|l| l.contains(last)),
            "`{to}`: {told}: {line}"
        );
    }
}

#[test]
fn several_things_that_are_wrong_are_all_told_in_order() {
    let good = one("4-police-ask-for-a-diagnosis.yaml");
    let bad = good.replace("about: sam", "about: pat");
    let problems = read(&bad).unwrap_err();
    let unknown = problems
        .iter()
        .filter(|p| p.reason.contains("unknown person `pat`"));
    assert_eq!(unknown.count(), good.matches("about: sam").count());
    assert!(problems.is_sorted());
}

#[test]
fn a_file_that_is_no_exercise_is_refused() {
    for bad in [
        "",
        "x",
        "[]",
        "title: {en: A, fr: B}",
        "\u{0}",
        "a: *b",
        "title: {en: A}\nagencies: {}\n",
        &"[".repeat(5_000),
        &"x".repeat(MAX_FILE_BYTES + 1),
    ] {
        assert!(
            read(bad).is_err(),
            "{}",
            bad.chars().take(40).collect::<String>()
        );
    }
    let good = one("3-threat-tonight.yaml");
    for (from, to) in [
        ("  fr: Une menace ce soir\n", ""),
        ("  fr: Une menace ce soir\n", "  fr: \"\"\n"),
        ("events:", "events: []\nx:"),
        (
            "agencies:\n",
            "agencies:\n  person:\n    sector: health\n    name: {en: A, fr: B}\n",
        ),
    ] {
        let bad = changed(&good, from, to, 0).expect(from);
        assert!(read(&bad).is_err(), "{to}");
    }
}

#[test]
fn a_rule_that_no_bundle_has_is_told() {
    let good = one("4-police-ask-for-a-diagnosis.yaml");
    let bad = changed(
        &good,
        "rules: [health-to-police]",
        "rules: [health-to-polis]",
        0,
    )
    .unwrap();
    let exercise = read(&bad).unwrap();
    let problems = unknown_rules(&exercise, &embedded());
    assert!(problems.len() == 1 && problems[0].reason.contains("`health-to-polis`"));
    assert!(problems[0].line > 0);
}

/// The embedded library without one of its policies.
fn without(rule: &str) -> CedarPdp {
    let mut files = embedded_files();
    let mark = format!("@id(\"{rule}\")");
    for text in files.values_mut() {
        let Some(start) = text.find(&mark) else {
            continue;
        };
        let end = start + text[start..].find(";\n").unwrap() + 2;
        text.replace_range(start..end, "");
        return CedarPdp::load_dir(&files).unwrap();
    }
    panic!("no rule `{rule}`");
}

#[test]
fn two_bundles_are_shown_side_by_side_with_where_they_differ() {
    let exercise = read(&one("4-police-ask-for-a-diagnosis.yaml")).unwrap();
    let tighter = without("agreement-in-service-review");
    let bundles = [
        Bundle {
            label: "embedded".to_owned(),
            pdp: &PDP,
        },
        Bundle {
            label: "tighter".to_owned(),
            pdp: &tighter,
        },
    ];
    let played = play(&exercise, &bundles, &LOCAL).unwrap();
    assert_eq!(
        played.differing(),
        ["in-service", "programme-sam", "programme-robin"]
    );
    assert!(!played.as_expected());
    assert!(played.failures().iter().all(|f| f.starts_with("tighter: ")));
    let page = page(&played);
    assert!(page.contains("The bundles differ here.") && page.contains("divergent ici"));
    let text = text(&played, passerelle_model::vocabulary::Language::English);
    assert!(text.contains("The bundles differ on: in-service, programme-sam, programme-robin"));
}

#[test]
fn an_exercise_comes_out_the_same_each_time() {
    for text in shipped().values() {
        let exercise = read(text).unwrap();
        let bundles = embedded();
        let once = json(&play(&exercise, &bundles, &LOCAL).unwrap());
        let again = json(&play(&exercise, &bundles, &LOCAL).unwrap());
        assert_eq!(once, again);
    }
}

/// Every element is closed in order, and only what the page writes is markup.
fn check_markup(page: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = page.strip_prefix("<!DOCTYPE html>").expect("a doctype");
    while let Some(start) = rest.find('<') {
        let end = start + rest[start..].find('>').expect("a tag ends");
        let tag = &rest[start + 1..end];
        assert!(!tag.contains('<'), "{tag}");
        let name = tag.split(' ').next().unwrap();
        match name.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name)),
            None if name == "meta" => {}
            None => open.push(name),
        }
        rest = &rest[end + 1..];
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn the_page_stands_alone_in_both_languages_and_names_every_question() {
    for (name, text) in shipped() {
        let exercise = read(&text).unwrap();
        let bundles = embedded();
        let page = page(&play(&exercise, &bundles, &LOCAL).unwrap());
        check_markup(&page);
        for lang in ["en", "fr"] {
            assert!(
                page.contains(&format!("<div class=\"language\" id=\"{lang}\"")),
                "{name}"
            );
            for question in &exercise.questions {
                let heading = format!("<h3 id=\"{lang}-{}\">", question.id);
                assert_eq!(page.matches(&heading).count(), 1, "{name}: {heading}");
            }
        }
        for outside in [
            "<script",
            "<img",
            "<link",
            "http://",
            "https://",
            "javascript:",
        ] {
            assert!(!page.contains(outside), "{name}: {outside}");
        }
        assert_eq!(
            page.matches("<article class=\"card").count(),
            2 * exercise.questions.len()
        );
    }
}

#[test]
fn whatever_a_file_says_is_text_on_the_page() {
    let planted = "<script>alert('x')</script>\\\"&amp;<b onload=x>";
    let text = one("1-withdrawn-in-flight.yaml")
        .replace("Alex Tremblay-Exemple", &format!("\"Alex {planted}\""))
        .replace(
            "{en: Parc Clinic, fr: Clinique du Parc}",
            &format!("{{en: \"{planted}\", fr: \"{planted}\"}}"),
        )
        .replace(
            "en: Alex has second thoughts and tells the clinic.",
            &format!("en: \"{planted}\""),
        )
        .replace(
            "en: To see which mornings are hard.",
            &format!("en: \"{planted}\""),
        )
        .replace(
            "en: A consent is withdrawn while questions are under way",
            &format!("en: \"{planted}\""),
        );
    let exercise = read(&text).unwrap_or_else(|p| panic!("{p:?}"));
    let bundles = [Bundle {
        label: "<script>label".to_owned(),
        pdp: &PDP,
    }];
    let page = page(&play(&exercise, &bundles, &LOCAL).unwrap());
    check_markup(&page);
    for markup in ["<script", "<b ", "onload=x>"] {
        assert!(!page.contains(markup), "{markup}");
    }
    assert!(page.matches("&lt;script&gt;").count() > 10);
}
