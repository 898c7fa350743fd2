//! Proofs over a library at the command line: what ends with which exit code, and says what.

use crate::offices::EXE;
use anyhow::{Context as _, Result};
use passerelle_policies::embedded_files;
use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn policy(args: &[&str], change: impl FnOnce(&mut Command)) -> Result<(i32, String, String)> {
    let mut command = Command::new(EXE);
    command
        .arg("policy")
        .args(args)
        .env_remove("PASSERELLE_LOG");
    change(&mut command);
    let Output {
        status,
        stdout,
        stderr,
    } = command.output()?;
    let code = status.code().context("ended by a signal")?;
    Ok((code, String::from_utf8(stdout)?, String::from_utf8(stderr)?))
}

/// The shipped library in a directory, with one passage replaced.
fn library(at: &Path, file: &str, from: &str, to: &str) -> Result<PathBuf> {
    for (path, text) in embedded_files() {
        let text = if path == file {
            assert!(text.contains(from), "`{file}` has no `{from}`");
            text.replacen(from, to, 1)
        } else {
            text
        };
        let path = at.join(path);
        std::fs::create_dir_all(path.parent().context("no directory")?)?;
        std::fs::write(path, text)?;
    }
    Ok(at.to_owned())
}

#[test]
fn without_a_solver_a_proof_fails_and_says_what_to_install() -> Result<()> {
    let (code, stdout, stderr) = policy(&["prove", "--json"], |command| {
        command.env_remove("CVC5").env("PATH", "/nonexistent");
    })?;
    assert_eq!((code, stdout.as_str()), (3, ""), "{stderr}");
    assert!(stderr.contains("apt-get install cvc5"), "{stderr}");
    // What is there but no solver is none either.
    let (code, stdout, stderr) = policy(&["prove"], |command| {
        command.env("CVC5", "/bin/true");
    })?;
    assert_eq!((code, stdout.as_str()), (3, ""), "{stderr}");
    Ok(())
}

#[test]
fn an_invariant_that_does_not_hold_ends_with_1_and_a_story() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let bad = library(
        dir.path(),
        "policies/guards.cedar",
        "unless { principal.trained }",
        "unless { principal.agency.active }",
    )?;
    let bad = bad.to_str().context("no text")?;
    let args = ["prove", "--library", bad, "--only", "untrained-never"];
    let (code, told, stderr) = policy(&[&args[..], &["--lang", "fr"]].concat(), |_| {})?;
    assert_eq!(code, 1, "{stderr}");
    for words in [
        "ÉCHEC",
        "formation non à jour",
        "autorisé par `",
        "1 vérification, 1 en échec",
    ] {
        assert!(told.contains(words), "{told}");
    }
    let (code, told, _) = policy(&[&args[..], &["--json"]].concat(), |_| {})?;
    assert_eq!(code, 1);
    let report: serde_json::Value = serde_json::from_str(&told)?;
    let failing = &report["checks"][0]["failing"][0];
    assert_eq!(failing["says"]["kind"], "refuted");
    assert!(
        failing["story"]["request"]["principal"].is_string(),
        "{failing}"
    );
    let (code, told, stderr) = policy(&["prove", "--only", "untrained-never"], |_| {})?;
    assert_eq!(code, 0, "{told}{stderr}");
    let (code, _, stderr) = policy(&["prove", "--only", "no-such"], |_| {})?;
    assert_eq!(code, 2, "{stderr}");
    Ok(())
}

#[test]
fn a_difference_ends_with_0_if_the_newer_library_permits_no_more() -> Result<()> {
    let (one, other) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let (from, to) = (
        "unless { principal.trained }",
        "unless { principal.agency.active }",
    );
    let file = "policies/guards.cedar";
    let tight = library(one.path(), file, from, from)?;
    let loose = library(other.path(), file, from, to)?;
    let tight = tight.to_str().context("no text")?;
    let loose = loose.to_str().context("no text")?;
    let (code, told, stderr) = policy(&["diff", loose, tight, "--lang", "en"], |_| {})?;
    assert_eq!(code, 0, "{told}{stderr}");
    assert!(told.contains("tighter by:"), "{told}");
    let (code, told, stderr) = policy(&["diff", tight, loose, "--lang", "en"], |_| {})?;
    assert_eq!(code, 1, "{told}{stderr}");
    assert!(told.contains("PERMITS MORE"), "{told}");
    assert!(told.contains("training not current"), "{told}");
    let (code, _, stderr) = policy(&["diff", tight, "/nonexistent"], |_| {})?;
    assert_eq!(code, 3, "{stderr}");
    Ok(())
}
