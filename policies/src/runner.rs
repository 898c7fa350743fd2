//! Runs the test cases of a bundle, for `policy test` and `policy check`.

use crate::{
    cases::{CaseFile, Expect, TestCase},
    cedar::Problem,
    library::parse_obligations,
    pdp::CedarPdp,
};
use passerelle_model::{
    bytes::Digest,
    pdp::{PolicyDecisionPoint, Ruling},
};
use std::collections::{BTreeMap, BTreeSet};

/// How one case came out.
#[derive(Clone, Debug)]
pub struct CaseResult {
    /// Path of its file in the bundle.
    pub file: String,
    /// Its sentence.
    pub name: String,
    /// What the decision point said.
    pub ruling: Ruling,
    /// How that differs from what is expected; empty if it does not.
    pub failures: Vec<String>,
}

impl CaseResult {
    /// Whether all came out as expected.
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }
}

/// What a bundle holds that passed every check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Its digest.
    pub digest: Digest,
    /// How many policies permit.
    pub permits: usize,
    /// How many policies forbid.
    pub forbids: usize,
    /// How many texts, each in both languages.
    pub texts: usize,
    /// How many cases, all passed.
    pub cases: usize,
}

/// Runs the cases of a bundle, given as its files by path.
///
/// # Errors
/// The bundle is refused, or a file of cases can't be read.
pub fn run_cases(files: &BTreeMap<String, String>) -> Result<Vec<CaseResult>, Vec<Problem>> {
    let pdp = CedarPdp::load_dir(files).map_err(|e| e.problems)?;
    run(&pdp, files)
}

/// Checks a bundle, given as its files by path: it loads, every case passes, and every rule stands
/// in the expectation of some case.
///
/// # Errors
/// Everything that is wrong with it.
pub fn check(files: &BTreeMap<String, String>) -> Result<Summary, Vec<Problem>> {
    let pdp = CedarPdp::load_dir(files).map_err(|e| e.problems)?;
    let results = run(&pdp, files)?;
    let mut problems: Vec<_> = results
        .iter()
        .flat_map(|r| {
            let problem = |f: &String| Problem::new(&r.file, format!("`{}`: {f}", r.name));
            r.failures.iter().map(problem)
        })
        .collect();
    // All passed, or it is reported: so the rules that came out are the rules that are expected.
    let tested: BTreeSet<_> = results
        .iter()
        .flat_map(|r| r.ruling.reasons.iter().map(|reason| reason.rule.as_str()))
        .collect();
    let rules = pdp.library().rules();
    for rule in rules.values().filter(|r| !tested.contains(r.id.as_str())) {
        let reason = format!("no test case expects rule `{}`", rule.id);
        problems.push(Problem::new(&rule.file, reason));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let permits = rules.values().filter(|r| r.permits).count();
    Ok(Summary {
        digest: pdp.bundle(),
        permits,
        forbids: rules.len() - permits,
        texts: pdp.library().texts().keys().count(),
        cases: results.len(),
    })
}

fn run(pdp: &CedarPdp, files: &BTreeMap<String, String>) -> Result<Vec<CaseResult>, Vec<Problem>> {
    let (mut results, mut problems) = (Vec::new(), Vec::new());
    for (path, text) in files.iter().filter(|(p, _)| p.starts_with("tests/")) {
        match toml::from_str::<CaseFile>(text) {
            Ok(file) => {
                for case in &file.case {
                    match run_one(pdp, path, case) {
                        Ok(result) => results.push(result),
                        Err(reason) => {
                            problems.push(Problem::new(path, format!("`{}`: {reason}", case.name)))
                        }
                    }
                }
            }
            Err(error) => problems.push(Problem::new(path, error)),
        }
    }
    if problems.is_empty() {
        Ok(results)
    } else {
        Err(problems)
    }
}

fn run_one(pdp: &CedarPdp, file: &str, case: &TestCase) -> Result<CaseResult, String> {
    let ruling = pdp.rule(&case.input.matter()?);
    Ok(CaseResult {
        file: file.to_owned(),
        name: case.name.clone(),
        failures: compare(&case.expect, &ruling)?,
        ruling,
    })
}

fn compare(expect: &Expect, ruling: &Ruling) -> Result<Vec<String>, String> {
    let mut failures = Vec::new();
    if expect.decision != ruling.effect {
        failures.push(format!(
            "expected {:?}, came out as {:?}",
            expect.decision, ruling.effect
        ));
    }
    let expected: BTreeSet<_> = expect.rules.iter().map(String::as_str).collect();
    let rules: BTreeSet<_> = ruling.reasons.iter().map(|r| r.rule.as_str()).collect();
    if expected != rules {
        failures.push(format!(
            "expected rules {expected:?}, came out as {rules:?}"
        ));
    }
    if let Some(list) = &expect.obligations {
        let expected: BTreeSet<_> = parse_obligations(list)?.into_iter().collect();
        let obligations: BTreeSet<_> = ruling.obligations.iter().cloned().collect();
        if expected != obligations {
            failures.push(format!(
                "expected obligations {expected:?}, came out as {obligations:?}"
            ));
        }
    }
    if let Some(expected) = &expect.rests_on {
        let consent = ruling.consent.iter().map(|_| "consent");
        let agreement = ruling.agreement.iter().map(|_| "agreement");
        let rests_on: BTreeSet<_> = consent.chain(agreement).collect();
        if expected.iter().map(String::as_str).collect::<BTreeSet<_>>() != rests_on {
            failures.push(format!(
                "expected to rest on {expected:?}, rests on {rests_on:?}"
            ));
        }
    }
    Ok(failures)
}
