//! Libraries in directories, and the list of packs.

use super::*;
use crate::cli::Cli;
use clap::Parser as _;

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/policies/library");

/// The shipped library in a directory, the packs below the core.
fn written(dir: &Path) {
    for (path, text) in embedded_files() {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

fn run_line(line: &[&str]) -> Result<Exit, Failure> {
    let cli = Cli::try_parse_from([&["passerelle", "policy"], line].concat()).unwrap();
    match cli.role {
        crate::cli::Role::Policy(args) => run(cli.global, args),
        _ => unreachable!("the line says `policy`"),
    }
}

#[test]
fn a_library_is_read_as_the_sources_have_it_and_with_its_packs_below_it() {
    assert_eq!(
        files_of(Some(Path::new(SOURCES))).unwrap(),
        embedded_files()
    );
    let dir = tempfile::tempdir().unwrap();
    written(dir.path());
    assert_eq!(files_of(Some(dir.path())).unwrap(), embedded_files());
}

#[test]
fn a_bad_pack_is_refused_with_file_line_and_reason() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path());
    let path = dir.path().join("packs/ca-qc/policies/emergency.cedar");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(
        &path,
        text.replace("Sector::\"community\"", "Sector::\"comunity\""),
    )
    .unwrap();
    let failure = load(Some(dir.path())).err().unwrap();
    let expected = "`packs/ca-qc/policies/emergency.cedar` line ";
    assert!(failure.message.contains(expected), "{}", failure.message);
    assert!(failure.message.contains("comunity"), "{}", failure.message);
    let library = dir.path().to_str().unwrap();
    let exit = run_line(&["check", "--library", library]).unwrap();
    assert_eq!(exit, Exit::Refused);
}

#[test]
fn packs_are_listed_and_an_unknown_one_is_refused_with_those_that_are_known() {
    assert_eq!(run_line(&["packs", "--json"]).unwrap(), Exit::Done);
    assert_eq!(
        run_line(&["packs", "ca-qc", "--lang", "fr"]).unwrap(),
        Exit::Done
    );
    let failure = run_line(&["packs", "ca-qb"]).err().unwrap();
    assert_eq!(failure.exit, Exit::Usage);
    assert!(
        failure.message.contains("known are: be, ca-bc"),
        "{}",
        failure.message
    );
    assert!(run_line(&["check", "--packs", "ca-qb"]).unwrap() == Exit::Refused);
    assert_eq!(
        run_line(&["check", "--packs", "ca-qc,us"]).unwrap(),
        Exit::Done
    );
}
