//! The page of the thirty rules says what is true of the library.

use crate::{
    CedarPdp, Library,
    cases::{CaseResult, Side, run_cases},
    embedded_files,
    library::BUILT_IN,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

const PAGE: &str = include_str!("../../docs/POLICY.md");

/// Rules of the policy layer, which have a case on each side.
const OF_POLICY: [u8; 24] = [
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 22, 24, 25, 29,
];

struct Row {
    number: u8,
    whereabouts: String,
    tests: String,
    cases: String,
}

/// The rows of the table.
fn rows() -> Vec<Row> {
    let row = |line: &str| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let number = cells.get(1)?.parse().ok()?;
        assert_eq!(cells.len(), 7, "{line}");
        Some(Row {
            number,
            whereabouts: cells[3].to_owned(),
            tests: cells[4].to_owned(),
            cases: cells[5].to_owned(),
        })
    };
    PAGE.lines().filter_map(row).collect()
}

/// What stands between backticks.
fn quoted(text: &str) -> BTreeSet<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Rules, duties and built-in denials.
fn ids(library: &Library) -> BTreeSet<&str> {
    let rules = library.rules().keys().map(String::as_str);
    let duties = library.duties().iter().map(|duty| duty.id.as_str());
    let built_in = BUILT_IN.iter().map(|(id, _)| *id);
    rules.chain(duties).chain(built_in).collect()
}

fn cases_of(results: &[CaseResult], number: u8) -> BTreeMap<&str, BTreeSet<Side>> {
    let mut files: BTreeMap<&str, BTreeSet<Side>> = BTreeMap::new();
    for result in results.iter().filter(|r| r.rule == Some(number)) {
        files.entry(&result.file).or_default().extend(result.side);
    }
    files
}

#[test]
fn the_table_has_each_of_the_thirty_rules_once() {
    let numbers: Vec<_> = rows().iter().map(|row| row.number).collect();
    assert_eq!(numbers, (1..=30).collect::<Vec<_>>());
}

#[test]
fn what_the_table_names_exists() {
    let pdp = CedarPdp::load_embedded().unwrap();
    let (library, files) = (pdp.library(), embedded_files());
    let known = ids(library);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for row in rows() {
        for name in quoted(&row.whereabouts) {
            let found = known.contains(name)
                || library.packs().contains_key(name)
                || files.contains_key(name)
                || name.contains('/') && root.join(name).exists();
            assert!(found, "rule {}: `{name}` is nowhere", row.number);
        }
        for name in quoted(&row.tests) {
            let found = files.contains_key(name) || root.join(name).exists();
            assert!(found, "rule {}: `{name}` is nowhere", row.number);
        }
    }
}

#[test]
fn the_table_names_the_cases_that_are_there() {
    let results = run_cases(&embedded_files()).unwrap();
    for row in rows() {
        let cases = cases_of(&results, row.number);
        let sides: BTreeSet<_> = cases.values().flatten().copied().collect();
        let words: Vec<_> = sides
            .iter()
            .map(|side| match side {
                Side::Permit => "permit",
                Side::Deny => "deny",
                Side::Boundary => "boundary",
            })
            .collect();
        let words = match words.is_empty() {
            true => "none".to_owned(),
            false => words.join(", "),
        };
        assert_eq!(row.cases, words, "rule {}", row.number);
        if !sides.is_empty() {
            let files: BTreeSet<_> = cases.keys().copied().collect();
            assert_eq!(quoted(&row.tests), files, "rule {}", row.number);
        }
        let whole = sides.len() == 3;
        assert_eq!(
            whole,
            OF_POLICY.contains(&row.number),
            "rule {}",
            row.number
        );
    }
}

#[test]
fn every_rule_and_duty_of_the_library_is_on_the_page() {
    let pdp = CedarPdp::load_embedded().unwrap();
    let page = quoted(PAGE);
    let missing: Vec<_> = ids(pdp.library())
        .into_iter()
        .filter(|id| !page.contains(id))
        .collect();
    assert_eq!(missing, Vec::<&str>::new());
}

/// The packs that the page speaks of are marked as such, and a rule that it gives to one is in it.
#[test]
fn every_rule_of_a_pack_that_the_table_names_stands_with_its_pack() {
    let pdp = CedarPdp::load_embedded().unwrap();
    let library = pdp.library();
    for row in rows() {
        let names = quoted(&row.whereabouts);
        for name in &names {
            let rule = library.rules().get(*name).and_then(|r| r.pack.as_deref());
            let duty = library.duties().iter().find(|d| d.id == *name);
            let pack = rule.or_else(|| duty.and_then(|d| d.pack.as_deref()));
            if let Some(pack) = pack {
                assert!(names.contains(pack), "rule {}: `{name}`", row.number);
            }
        }
    }
}
