//! The stand-alone program: what it writes, what it refuses, how it ends.

use crate::{
    file::export_rows,
    rows::{as_exported, story_rows},
    world::{consent_id, request_id},
};
use passerelle_model::bytes::Handle;
use std::{
    path::Path,
    process::{Command, Output},
};

fn run(arguments: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_passerelle-audit");
    Command::new(program).args(arguments).output().unwrap()
}

fn written(dir: &Path, bytes: &[u8]) -> String {
    let path = dir.join("export.jsonl");
    std::fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

fn out(output: &Output) -> &str {
    str::from_utf8(&output.stdout).unwrap()
}

fn errors(output: &Output) -> &str {
    str::from_utf8(&output.stderr).unwrap()
}

#[test]
fn convert_writes_to_the_standard_output_or_to_a_file_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = written(dir.path(), &export_rows(&story_rows()));
    for (format, lines) in [("fhir", 10), ("ocsf", 8), ("csv", 9)] {
        let output = run(&["convert", &path, "--to", format]);
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        assert_eq!(out(&output).lines().count(), lines, "{format}");
        assert!(output.stderr.is_empty());
        let to = dir.path().join(format);
        let to = to.to_str().unwrap();
        let silent = run(&["convert", &path, "--to", format, "--out", to]);
        assert_eq!(silent.status.code(), Some(0));
        assert!(silent.stdout.is_empty());
        assert_eq!(std::fs::read(to).unwrap(), output.stdout);
    }
}

#[test]
fn an_export_with_a_fault_is_neither_converted_nor_accounted_for() {
    let dir = tempfile::tempdir().unwrap();
    let good = export_rows(&story_rows());
    let mut lines: Vec<&[u8]> = good.split_inclusive(|byte| *byte == b'\n').collect();
    lines.remove(12);
    let path = written(dir.path(), &lines.concat());
    let to = dir.path().join("out");
    let to = to.to_str().unwrap();
    let request = request_id(1).to_string();
    for arguments in [
        &["convert", &path, "--to", "csv", "--out", to][..],
        &["convert", &path, "--to", "fhir"],
        &["disclosures", &path, "--request", &request],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(output.stdout.is_empty());
        assert!(
            errors(&output).starts_with("first fault at index 11"),
            "{}",
            errors(&output)
        );
    }
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "nothing half made stays: {left:?}");
}

#[test]
fn disclosures_finds_the_person_by_handle_by_consent_and_by_request() {
    let dir = tempfile::tempdir().unwrap();
    let mut rows = story_rows();
    as_exported(&mut rows);
    let path = written(dir.path(), &export_rows(&rows));
    let handle = Handle([1; 32]).to_hex();
    let (consent, request) = (consent_id(1).to_string(), request_id(2).to_string());
    for (arguments, entries) in [
        (&["--handle", &handle][..], 1),
        (&["--consent", &consent], 1),
        (&["--consent", &consent, "--request", &request], 2),
        (&["--request", &request], 1),
    ] {
        let output = run(&[&["disclosures", &path], arguments].concat());
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        let value: serde_json::Value = serde_json::from_str(out(&output)).unwrap();
        assert_eq!(value["@format"], "passerelle-disclosures/1");
        assert_eq!(
            value["entries"].as_array().unwrap().len(),
            entries,
            "{arguments:?}"
        );
    }
    let page = ["--format", "html", "--lang", "fr"];
    let output = run(&[&["disclosures", &path, "--handle", &handle][..], &page].concat());
    assert!(out(&output).starts_with("<!DOCTYPE html>\n<html lang=\"fr\">"));
}

#[test]
fn an_export_that_does_not_reveal_the_person_exits_with_4_and_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let mut rows = story_rows();
    for row in &mut rows {
        row.openings.clear();
    }
    let path = written(dir.path(), &export_rows(&rows));
    let (handle, consent) = (Handle([1; 32]).to_hex(), consent_id(1).to_string());
    for (arguments, said) in [
        (["--handle", &handle], "name the requests"),
        (["--consent", &consent], "does not reveal whom"),
    ] {
        let output = run(&[&["disclosures", &path][..], &arguments].concat());
        assert_eq!(output.status.code(), Some(4));
        assert!(output.stdout.is_empty());
        assert!(errors(&output).contains(said), "{}", errors(&output));
    }
}

#[test]
fn what_is_left_out_is_told_to_the_officer_and_not_in_the_account() {
    let dir = tempfile::tempdir().unwrap();
    let path = written(dir.path(), &export_rows(&story_rows()));
    let handle = Handle([1; 32]).to_hex();
    let person = ["disclosures", &path, "--handle", &handle];
    let suspended = ["--suspend-until", "2027-06-30", "--for", "police-nord"];
    let output = run(&[&person[..], &suspended].concat());
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert_eq!(errors(&output), "left out by suspension: 2\n");
    assert!(!out(&output).contains("police-nord"));
    assert!(!out(&output).contains("left_out"));
    let later = ["--today", "2027-06-30"];
    let output = run(&[&person[..], &suspended, &later].concat());
    assert!(out(&output).contains("police-nord"));
    let output = run(&[&person[..], &["--request", &request_id(200).to_string()]].concat());
    assert!(errors(&output).starts_with("not readable in this export: `req-"));
}

#[test]
fn holes_are_told_and_wrong_usage_exits_with_2() {
    let dir = tempfile::tempdir().unwrap();
    let mut rows = story_rows();
    let last = rows.len() - 1;
    rows[last].hidden = true;
    let path = written(dir.path(), &export_rows(&rows));
    let output = run(&["convert", &path, "--to", "csv"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(
        errors(&output).contains("1 entries are not readable"),
        "{}",
        errors(&output)
    );

    let handle = Handle([1; 32]).to_hex();
    for arguments in [
        &["convert", &path][..],
        &["convert", &path, "--to", "xml"],
        &["disclosures", &path],
        &["disclosures", &path, "--handle", "12"],
        &[
            "disclosures",
            &path,
            "--handle",
            &handle,
            "--suspend-until",
            "2027-06-30",
        ],
        &[
            "disclosures",
            &path,
            "--handle",
            &handle,
            "--for",
            "police-nord",
        ],
        &[
            "disclosures",
            &path,
            "--handle",
            &handle,
            "--suspend-until",
            "soon",
            "--for",
            "ab",
        ],
        &["disclosures", &path, "--handle", &handle, "--lang", "iu"],
    ] {
        assert_eq!(run(arguments).status.code(), Some(2), "{arguments:?}");
    }
    let missing = dir.path().join("missing");
    let output = run(&["convert", missing.to_str().unwrap(), "--to", "csv"]);
    assert_eq!(output.status.code(), Some(3));
    let nowhere = missing.join("out");
    let output = run(&[
        "convert",
        &path,
        "--to",
        "csv",
        "--out",
        nowhere.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(3));
}
