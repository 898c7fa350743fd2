//! Runs the test cases of a bundle, for `policy test` and `policy check`.

use crate::{
    cases::{CaseFile, Expect, Side, TestCase},
    packs::{SELECTION, is_test},
    pdp::CedarPdp,
    problem::{Problem, line_of},
    rule::parse_obligations,
};
use passerelle_model::{
    bytes::Digest,
    pdp::{Effect, PolicyDecisionPoint, Ruling},
};
use std::collections::{BTreeMap, BTreeSet};

/// How one case came out.
#[derive(Clone, Debug)]
pub struct CaseResult {
    /// Path of its file in the bundle.
    pub file: String,
    /// The line of its name, from 1.
    pub line: Option<usize>,
    /// Its sentence.
    pub name: String,
    /// Of which of the rules in docs/POLICY.md it is a case, if of one.
    pub rule: Option<u8>,
    /// On which side of that rule it is, if it says so.
    pub side: Option<Side>,
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
    /// How many duties.
    pub duties: usize,
    /// How many legal packs.
    pub packs: usize,
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
    run(&whole(files)?, files)
}

/// The decision point that cases speak of: all packs, whichever the federation uses.
fn whole(files: &BTreeMap<String, String>) -> Result<CedarPdp, Vec<Problem>> {
    let mut files = files.clone();
    files.remove(SELECTION);
    CedarPdp::load_dir(&files).map_err(|e| e.problems)
}

/// Checks a bundle, given as its files by path: it loads, every case passes, and every rule stands
/// in the expectation of some case.
///
/// # Errors
/// Everything that is wrong with it.
pub fn check(files: &BTreeMap<String, String>) -> Result<Summary, Vec<Problem>> {
    let pdp = CedarPdp::load_dir(files).map_err(|e| e.problems)?;
    let results = run(&whole(files)?, files)?;
    let mut problems: Vec<_> = results.iter().flat_map(problems_of).collect();
    // All passed, or it is reported: so the rules that came out are the rules that are expected.
    let tested: BTreeSet<_> = results
        .iter()
        .flat_map(|r| r.ruling.reasons.iter().map(|reason| reason.rule.as_str()))
        .collect();
    let rules = pdp.library().rules();
    for rule in rules.values().filter(|r| !tested.contains(r.id.as_str())) {
        let reason = format!("no test case expects rule `{}`", rule.id);
        problems.push(Problem::new(&rule.file, reason).in_line(rule.line));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let permits = rules.values().filter(|r| r.permits).count();
    Ok(Summary {
        digest: pdp.bundle(),
        permits,
        forbids: rules.len() - permits,
        duties: pdp.library().duties().len(),
        packs: pdp.library().packs().len(),
        texts: pdp.library().texts().keys().count(),
        cases: results.len(),
    })
}

fn problems_of(result: &CaseResult) -> Vec<Problem> {
    let problem = |failure: &String| {
        let reason = format!("`{}`: {failure}", result.name);
        Problem::new(&result.file, reason).in_line(result.line)
    };
    result.failures.iter().map(problem).collect()
}

fn run(pdp: &CedarPdp, files: &BTreeMap<String, String>) -> Result<Vec<CaseResult>, Vec<Problem>> {
    let (mut results, mut problems) = (Vec::new(), Vec::new());
    for (path, text) in files.iter().filter(|(path, _)| is_test(path)) {
        match toml::from_str::<CaseFile>(text) {
            Ok(file) => {
                for case in &file.case {
                    let line = line_of(text, &format!("name = \"{}\"", case.name));
                    match run_one(pdp, path, line, case) {
                        Ok(result) => results.push(result),
                        Err(reason) => {
                            let reason = format!("`{}`: {reason}", case.name);
                            problems.push(Problem::new(path, reason).in_line(line));
                        }
                    }
                }
            }
            Err(error) => problems.push(Problem::toml(path, text, &error)),
        }
    }
    if problems.is_empty() {
        Ok(results)
    } else {
        Err(problems)
    }
}

fn run_one(
    pdp: &CedarPdp,
    file: &str,
    line: Option<usize>,
    case: &TestCase,
) -> Result<CaseResult, String> {
    let ruling = pdp.rule(&case.input.matter()?);
    let mut failures = compare(&case.expect, &ruling)?;
    let denied = case.expect.decision == Effect::Deny;
    match case.side {
        Some(Side::Permit) if denied => failures.push("a permit case that is denied".to_owned()),
        Some(Side::Deny) if !denied => failures.push("a deny case that is allowed".to_owned()),
        Some(_) | None => {}
    }
    Ok(CaseResult {
        file: file.to_owned(),
        line,
        name: case.name.clone(),
        rule: case.of_rule(),
        side: case.side,
        failures,
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
