//! The stand-alone program as an auditor runs it.

use crate::{
    story::file,
    world::{cosigner, log_signer},
};
use passerelle_audit::{checkpoint::Checkpoint, fork::ForkProof, merkle::Tree};
use std::{
    path::Path,
    process::{Command, Output},
};

pub(crate) fn run(arguments: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_passerelle-audit");
    Command::new(program).args(arguments).output().unwrap()
}

pub(crate) fn written(dir: &Path, bytes: &[u8]) -> String {
    let path = dir.join("export.jsonl");
    std::fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

pub(crate) fn text(output: &Output) -> String {
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
fn a_fork_is_proven_to_whoever_has_the_logs_key() {
    let log = log_signer();
    let sign = |n: u8| {
        let root = passerelle_model::bytes::Digest([n; 32]);
        let checkpoint = Checkpoint::new(log.verifier_key().name(), 7, root).unwrap();
        checkpoint.sign(&log).unwrap()
    };
    let key = log.verifier_key();
    let proof = ForkProof::of(&sign(2), &sign(1), key, &Tree::new()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = written(dir.path(), proof.to_string().as_bytes());
    let key = key.to_string();

    let output = run(&["fork", &path, "--log-key", &key]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).contains("7 entries, root 0101"));
    assert!(text(&output).contains("proven: the log forked"));
    let output = run(&["fork", &path, "--key", &key, "--json"]);
    assert_eq!(output.status.code(), Some(0));
    let value: serde_json::Value = serde_json::from_str(&text(&output)).unwrap();
    assert_eq!(value["forked"], true);
    assert_eq!(value["larger"]["root"], "02".repeat(32));

    let stranger = passerelle_audit::keys::SigningKey::from_seed(&[9; 32]);
    let stranger = passerelle_audit::note::Signer::new(log.verifier_key().name(), stranger);
    let stranger = stranger.unwrap().verifier_key().to_string();
    let as_text = ["fork", &path, "--log-key", &stranger];
    let as_json = ["fork", &path, "--log-key", &stranger, "--json"];
    for arguments in [&as_text[..], &as_json] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(1));
        assert!(!text(&output).contains("proven: the log forked"));
    }
    let export = written(dir.path(), file());
    let output = run(&["fork", &export, "--log-key", &key]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output), "not proven: not a proof of a fork\n");
    assert_eq!(run(&["fork", &path]).status.code(), Some(2));
    let missing = dir.path().join("missing");
    let missing = missing.to_str().unwrap();
    let output = run(&["fork", missing, "--log-key", &key]);
    assert_eq!(output.status.code(), Some(3));
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
