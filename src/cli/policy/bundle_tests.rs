//! Bundle files on the command line.

use super::*;
use crate::cli::Cli;
use clap::Parser as _;

fn run_line(line: &[&str]) -> Result<Exit, Failure> {
    let cli = Cli::try_parse_from([&["passerelle", "policy", "bundle"], line].concat()).unwrap();
    match cli.role {
        crate::cli::Role::Policy(args) => super::super::run(cli.global, args),
        _ => unreachable!("the line says `policy`"),
    }
}

#[test]
fn a_bundle_that_was_built_is_shown_and_passes_the_check() {
    let dir = tempfile::tempdir().unwrap();
    let first = dir.path().join("first.bundle");
    let first = first.to_str().unwrap();
    assert_eq!(run_line(&["build", "--out", first]).unwrap(), Exit::Done);
    let shipped = Bundle::shipped(None).unwrap();
    assert_eq!(opened(Path::new(first)).unwrap().unwrap(), shipped);
    let next = dir.path().join("next.bundle");
    let next = next.to_str().unwrap();
    let previous = shipped.digest().to_hex();
    let mut line = vec![
        "build",
        "--packs",
        "ca-qc",
        "--revision",
        "1",
        "--out",
        next,
    ];
    line.extend(["--previous", &previous, "--expires", "2099-01-01"]);
    assert_eq!(run_line(&line).unwrap(), Exit::Done);
    let built = opened(Path::new(next)).unwrap().unwrap();
    assert_eq!(built.terms().previous, Some(shipped.digest()));
    assert!(built.terms().expires_at.is_some());
    for line in [
        vec!["check", next],
        vec!["show", next, "--json"],
        vec!["show", next, "--against", first],
    ] {
        assert_eq!(run_line(&line).unwrap(), Exit::Done, "{line:?}");
    }
    let again = run_line(&["build", "--out", first]).unwrap_err();
    assert_eq!(again.code, "io", "an existing file is not replaced");
}

#[test]
fn a_changed_file_and_a_revision_of_nothing_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bad.bundle");
    let text = String::from_utf8(Bundle::shipped(None).unwrap().to_bytes().unwrap()).unwrap();
    std::fs::write(&path, text.replacen("forbid", "permit", 1)).unwrap();
    let path = path.to_str().unwrap();
    assert_eq!(run_line(&["check", path]).unwrap(), Exit::Refused);
    assert_eq!(run_line(&["show", path]).unwrap(), Exit::Refused);
    let out = dir.path().join("x.bundle");
    let out = out.to_str().unwrap();
    let failure = run_line(&["build", "--revision", "2", "--out", out]).unwrap_err();
    assert_eq!(failure.exit, Exit::Usage);
    let failure = run_line(&["build", "--expires", "soon", "--out", out]).unwrap_err();
    assert_eq!(failure.exit, Exit::Usage);
    assert!(!Path::new(out).exists());
}
