//! The local cases themselves, and that they notice.

use super::*;

#[test]
fn every_case_of_the_shipped_policy_comes_out_as_expected() {
    let results = run_local_cases().unwrap();
    let failures: Vec<_> = (results.iter().filter(|r| !r.passed()))
        .map(|r| format!("{}: {}: {:?}", r.file, r.name, r.failures))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(results.len() >= 30);
}

#[test]
fn every_file_of_local_cases_is_run() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/library/local/tests");
    let mut found: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| format!("local/tests/{}", e.unwrap().file_name().to_str().unwrap()))
        .collect();
    found.sort();
    let run: Vec<_> = FILES.iter().map(|(path, _)| (*path).to_owned()).collect();
    assert_eq!(found, run);
}

#[test]
fn a_wrong_expectation_and_a_misspelt_input_are_noticed() {
    let pdp = LocalPdp::load_default().unwrap();
    let (_, text) = FILES[0];
    let wrong = text.replacen("\"release\"", "\"decline\"", 1);
    let results = run_file(&pdp, "x", &wrong).unwrap();
    assert_eq!(results.iter().filter(|r| !r.passed()).count(), 1);
    let misspelt = text.replacen("sensitivity", "sensitivty", 1);
    assert!(run_file(&pdp, "x", &misspelt).is_err());
}

/// The seeded-bad policy: each guard, removed alone, is missed by a case.
#[test]
fn a_lost_local_guard_is_noticed() {
    let shipped = include_str!("../library/local/default.cedar");
    let mut tried = 0;
    for (start, _) in shipped.match_indices("@id(") {
        let end = start + shipped[start..].find(";\n").unwrap() + 2;
        let policy = &shipped[start..end];
        if !policy.contains("forbid (") {
            continue;
        }
        let without = format!("{}{}", &shipped[..start], &shipped[end..]);
        let pdp = LocalPdp::load_with(&without, None).unwrap();
        let noticed = FILES.iter().any(|(path, text)| {
            let results = run_file(&pdp, path, text).unwrap();
            results.iter().any(|r| !r.passed())
        });
        assert!(noticed, "nothing noticed the loss of\n{policy}");
        tried += 1;
    }
    assert_eq!(tried, 9);
}
