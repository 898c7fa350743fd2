//! The test cases of the holder's own policy as data, and their runner.
//!
//! In scope: the format (`library/local/tests/*.toml`), running the shipped cases against the
//! shipped policy. Out of scope: an agency's own file, which only that agency can have
//! expectations about.
//!
//! A case says only what it is about: by default police ask whether a person is in service, to
//! plan, and there is an ordinary record.

use crate::{
    cases::{agency, agency_id},
    cedar::Problem,
    local::{LocalMatter, LocalPdp, LocalRuling, RecordFacts, Verdict},
};
use passerelle_model::vocabulary::{Category, Level, Purpose, Sector};
use serde::Deserialize;
use std::collections::BTreeSet;

macro_rules! embedded {
    ($($name:literal),* $(,)?) => {
        &[$((
            concat!("local/tests/", $name),
            include_str!(concat!("../library/local/tests/", $name)),
        )),*]
    };
}

/// The shipped files of cases, by path.
const FILES: &[(&str, &str)] = embedded![
    "general.toml",
    "protected.toml",
    "restricted.toml",
    "rights.toml"
];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    case: Vec<TestCase>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TestCase {
    /// A sentence.
    name: String,
    #[serde(default)]
    input: Input,
    expect: Expect,
}

/// What must come out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    verdict: Verdict,
    /// All determining rules, in any order.
    rules: Vec<String>,
}

/// The matter, as far as it differs from the default.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Input {
    requester: Sector,
    requester_active: bool,
    purpose: Purpose,
    emergency: bool,
    on_consent: bool,
    review_approved: bool,
    category: Category,
    level: Level,
    record: RecordFacts,
    /// There is no record; `record` counts for nothing.
    no_record: bool,
}

impl Default for Input {
    fn default() -> Self {
        Self {
            requester: Sector::LawEnforcement,
            requester_active: true,
            purpose: Purpose::Plan,
            emergency: false,
            on_consent: false,
            review_approved: false,
            category: Category::InService,
            level: Level::Known,
            record: RecordFacts::default(),
            no_record: false,
        }
    }
}

/// How one case of the holder's own policy came out.
#[derive(Clone, Debug)]
pub struct LocalCaseResult {
    /// Path of its file in the library.
    pub file: String,
    /// Its sentence.
    pub name: String,
    /// What the holder does.
    pub ruling: LocalRuling,
    /// How that differs from what is expected; empty if it does not.
    pub failures: Vec<String>,
}

impl LocalCaseResult {
    /// Whether all came out as expected.
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }
}

/// Runs the shipped cases against the shipped policy.
///
/// # Errors
/// The policy is refused, or a file of cases can't be read.
pub fn run_local_cases() -> Result<Vec<LocalCaseResult>, Vec<Problem>> {
    let pdp = LocalPdp::load_default().map_err(|e| e.problems)?;
    let (mut results, mut problems) = (Vec::new(), Vec::new());
    for (path, text) in FILES {
        match run_file(&pdp, path, text) {
            Ok(of_file) => results.extend(of_file),
            Err(reason) => problems.push(Problem::new(path, reason)),
        }
    }
    if problems.is_empty() {
        Ok(results)
    } else {
        Err(problems)
    }
}

fn run_file(pdp: &LocalPdp, path: &str, text: &str) -> Result<Vec<LocalCaseResult>, String> {
    let file: CaseFile = toml::from_str(text).map_err(|e| e.to_string())?;
    file.case.iter().map(|c| run_one(pdp, path, c)).collect()
}

fn run_one(pdp: &LocalPdp, path: &str, case: &TestCase) -> Result<LocalCaseResult, String> {
    let input = &case.input;
    let name = agency_id("requester")?;
    let requester = agency(name, input.requester, input.requester_active);
    let ruling = pdp.rule(&LocalMatter {
        requester: &requester,
        purpose: input.purpose,
        emergency: input.emergency,
        on_consent: input.on_consent,
        review_approved: input.review_approved,
        category: input.category,
        level: input.level,
        record: (!input.no_record).then_some(input.record),
    });
    Ok(LocalCaseResult {
        file: path.to_owned(),
        name: case.name.clone(),
        failures: compare(&case.expect, &ruling),
        ruling,
    })
}

fn compare(expect: &Expect, ruling: &LocalRuling) -> Vec<String> {
    let mut failures = Vec::new();
    if expect.verdict != ruling.verdict {
        failures.push(format!(
            "expected {:?}, came out as {:?}",
            expect.verdict, ruling.verdict
        ));
    }
    let expected: BTreeSet<_> = expect.rules.iter().collect();
    let rules: BTreeSet<_> = ruling.rules.iter().collect();
    if expected != rules {
        failures.push(format!(
            "expected rules {expected:?}, came out as {rules:?}"
        ));
    }
    failures
}

#[cfg(test)]
#[path = "local_cases_tests.rs"]
mod tests;
