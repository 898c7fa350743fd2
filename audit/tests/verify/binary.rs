//! The stand-alone program as an auditor runs it.

use crate::{
    story::file,
    world::{cosigner, log_signer},
};
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

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_good_log_exits_with_0_and_says_what_was_checked() {
    let dir = tempfile::tempdir().unwrap();
    let path = written(dir.path(), file());
    let output = run(&["verify", &path]);
    assert_eq!(output.status.code(), Some(0));
    assert!(
        text(&output).contains("statement signatures"),
        "{}",
        text(&output)
    );
    assert!(text(&output).ends_with("verified: no fault\n"));
    assert!(
        output.stderr.is_empty(),
        "no progress unless it is a terminal"
    );

    let output = run(&["verify", "--json", &path]);
    let value: serde_json::Value = serde_json::from_str(&text(&output)).unwrap();
    assert_eq!(value["verified"], true);
    assert_eq!(value["complete"], true);
    assert_eq!(value["report"]["not_readable"], 0);
}

#[test]
fn keys_prints_what_verify_takes() {
    let dir = tempfile::tempdir().unwrap();
    let path = written(dir.path(), file());
    let output = run(&["keys", &path]);
    assert_eq!(output.status.code(), Some(0));
    let keys: Vec<String> = text(&output)
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1).map(str::to_owned))
        .collect();
    assert_eq!(keys[0], log_signer().verifier_key().to_string());
    assert!(keys.contains(&cosigner(3).verifier_key().to_string()));
    let arguments = [
        "verify",
        &path,
        "--log-key",
        &keys[0],
        "--witness",
        &keys[1],
        "--witness",
    ];
    let output = run(&[&arguments[..], &[&keys[2]]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).contains("the key that you gave"));
}

#[test]
fn a_fault_exits_with_1_and_names_the_index() {
    let dir = tempfile::tempdir().unwrap();
    let mut lines: Vec<&[u8]> = file().split_inclusive(|byte| *byte == b'\n').collect();
    lines.remove(12);
    let path = written(dir.path(), &lines.concat());
    for command in ["verify", "keys"] {
        let output = run(&[command, &path]);
        assert_eq!(output.status.code(), Some(1));
        assert!(
            text(&output).starts_with("first fault at index 11 (order)"),
            "{}",
            text(&output)
        );
        assert!(text(&output).contains("what it means: "));
    }
    let output = run(&["verify", &path, "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let value: serde_json::Value = serde_json::from_str(&text(&output)).unwrap();
    assert_eq!(value["verified"], false);
    assert_eq!(value["fault"]["index"], 11);
    assert_eq!(value["fault"]["code"], "order");

    let stranger = passerelle_audit::keys::SigningKey::from_seed(&[9; 32]);
    let stranger = passerelle_audit::note::Signer::new("other.example/log", stranger).unwrap();
    let path = written(dir.path(), file());
    let output = run(&[
        "verify",
        &path,
        "--log-key",
        &stranger.verifier_key().to_string(),
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("(other_log_key)"));
}

#[test]
fn wrong_usage_exits_with_2_and_an_unreadable_file_with_3() {
    let witness = cosigner(0).verifier_key().to_string();
    for arguments in [
        &[][..],
        &["verify"],
        &["prove", "x"],
        &["verify", "x", "--log-key", "nonsense"],
        &["verify", "x", "--log-key", &witness],
        &["verify", "x", "--unknown"],
    ] {
        assert_eq!(run(arguments).status.code(), Some(2), "{arguments:?}");
    }
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    for path in [missing.to_str().unwrap(), dir.path().to_str().unwrap()] {
        let output = run(&["verify", path]);
        assert_eq!(output.status.code(), Some(3));
        let output = run(&["verify", path, "--json"]);
        assert_eq!(output.status.code(), Some(3));
        assert!(text(&output).contains("\"verified\":false"));
    }
    let output = run(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output).contains("Examples:"));
}
