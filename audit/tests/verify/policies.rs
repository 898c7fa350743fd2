//! An export, a checkpoint and a fork held to a policy file, as an auditor runs it.

use crate::{
    binary::{run, text, written},
    file::{checkpoint, rows},
    story::{file, story},
    world::{cosigner, log_signer},
};
use passerelle_audit::{
    checkpoint::Checkpoint, cosignature::Cosigner, fork::ForkProof, keys::SigningKey, merkle::Tree,
    note::Signer,
};
use std::path::Path;

fn stranger() -> Cosigner {
    Cosigner::new(
        "witness.example/stranger",
        SigningKey::from_seed(&[251; 32]),
    )
    .unwrap()
}

/// A policy of the story's log, with its first witnesses, and somebody who has cosigned nothing.
fn policy(dir: &Path, rest: &str) -> String {
    let witness = |n: u8| cosigner(n).verifier_key().to_string();
    let text = format!(
        "log {}\nwitness a {}\nwitness b {}\nwitness stranger {}\n{rest}",
        log_signer().verifier_key(),
        witness(0),
        witness(1),
        stranger().verifier_key()
    );
    let path = dir.join("policy.txt");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn an_export_is_held_to_a_policy_beside_all_else() {
    let dir = tempfile::tempdir().unwrap();
    let export = written(dir.path(), file());
    let met = policy(dir.path(), "group g 2 a b stranger\nquorum g\n");
    let output = run(&["verify", &export, "--policy", &met]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).contains("meets the policy that you gave: yes (quorum `g`; 2 of its 3"));
    assert!(text(&output).contains("against the key that you gave"));
    let output = run(&["verify", &export, "--policy", &met, "--json"]);
    let value: serde_json::Value = serde_json::from_str(&text(&output)).unwrap();
    assert_eq!(value["report"]["policy"]["quorum"], "g");
    assert_eq!(value["report"]["log_key_trust"], "given");

    let not_met = policy(dir.path(), "group g all a b stranger\nquorum g\n");
    let output = run(&["verify", &export, "--policy", &not_met]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output);
    assert!(
        said.contains("(policy)") && said.contains("not `stranger`"),
        "{said}"
    );
    let csv = ["convert", &export, "--to", "csv", "--policy", &not_met];
    assert_eq!(run(&csv).status.code(), Some(1));

    // Another log than the one that the policy names, under the same name.
    let other = SigningKey::from_seed(&[77; 32]);
    let name = log_signer().verifier_key().name().to_owned();
    let other = Signer::new(&name, other).unwrap();
    let path = dir.path().join("other.txt");
    std::fs::write(
        &path,
        format!("log {}\nquorum none\n", other.verifier_key()),
    )
    .unwrap();
    let output = run(&["verify", &export, "--policy", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("(other_log_key)"));
}

#[test]
fn a_policy_that_is_none_is_wrong_usage_and_names_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let export = written(dir.path(), file());
    let wrong = policy(dir.path(), "group g 4 a b stranger\nquorum g\n");
    let output = run(&["verify", &export, "--policy", &wrong]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("line 5: `4` is neither"), "{said}");
    let missing = dir.path().join("missing");
    let output = run(&["verify", &export, "--policy", missing.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn a_checkpoint_alone_is_held_to_a_policy() {
    let dir = tempfile::tempdir().unwrap();
    let note = checkpoint(&rows(&story().records), &log_signer(), &[0, 1]);
    let path = dir.path().join("checkpoint.txt");
    std::fs::write(&path, &note).unwrap();
    let path = path.to_str().unwrap();
    let met = policy(dir.path(), "group g all a b\nquorum g\n");
    let output = run(&["checkpoint", path, "--policy", &met]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).ends_with("accepted: the quorum `g` of the policy\n"));
    assert!(text(&output).contains("`stranger` has not cosigned"));
    let not_met = policy(dir.path(), "quorum stranger\n");
    let output = run(&["checkpoint", path, "--policy", &not_met, "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let value: serde_json::Value = serde_json::from_str(&text(&output)).unwrap();
    assert_eq!(value["accepted"], false);
    std::fs::write(path, note.replacen("\n— ", "\n— x", 1)).unwrap();
    let output = run(&["checkpoint", path, "--policy", &met]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
}

#[test]
fn a_fork_is_confirmed_with_the_log_of_a_policy() {
    let dir = tempfile::tempdir().unwrap();
    let log = log_signer();
    let signed = |root: u8| {
        let root = passerelle_model::bytes::Digest([root; 32]);
        let checkpoint = Checkpoint::new(log.verifier_key().name(), 7, root).unwrap();
        checkpoint.sign(&log).unwrap()
    };
    let proof = ForkProof::of(&signed(1), &signed(2), log.verifier_key(), &Tree::new()).unwrap();
    let path = dir.path().join("fork.txt");
    std::fs::write(&path, proof.to_string()).unwrap();
    let path = path.to_str().unwrap();
    let named = policy(dir.path(), "quorum none\n");
    let output = run(&["fork", path, "--policy", &named]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let key = log.verifier_key().to_string();
    let both = run(&["fork", path, "--policy", &named, "--log-key", &key]);
    assert_eq!(both.status.code(), Some(2));
    std::fs::write(&named, "quorum none\n").unwrap();
    assert_eq!(
        run(&["fork", path, "--policy", &named]).status.code(),
        Some(2)
    );
}
