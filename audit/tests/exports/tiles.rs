//! The log as C2SP tlog-tiles in a directory: what the program writes, and what it does not touch.

use crate::{file::export_rows, rows::story_rows};
use passerelle_audit::{
    checkpoint::Checkpoint,
    merkle::{Tree, leaf_hash},
    note::Note,
    tiles::{TileKind, TilePath, decode_bundle, new_tiles, tile_content},
};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
};

fn tiles(export: &Path, out: &Path, more: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_passerelle-audit");
    let mut command = Command::new(program);
    command.arg("tiles").arg(export).arg("--out").arg(out);
    command.args(more).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What a reader finds, by nothing but the files.
fn read(dir: &Path) -> (Checkpoint, Tree) {
    let note: Note = fs::read_to_string(dir.join("checkpoint"))
        .unwrap()
        .parse()
        .unwrap();
    let checkpoint = Checkpoint::parse(note.text()).unwrap();
    let mut tree = Tree::new();
    for path in new_tiles(0, checkpoint.size()) {
        let content = fs::read(dir.join(path.to_string())).unwrap();
        match path.kind() {
            TileKind::Entries => {
                for entry in decode_bundle(&content, path.width()).unwrap() {
                    tree.push(leaf_hash(entry));
                }
            }
            TileKind::Hashes(_) => assert_eq!(content, tile_content(&tree, &path).unwrap()),
        }
    }
    (checkpoint, tree)
}

#[test]
fn the_files_lead_to_the_checkpoint_and_are_brought_up_to_date() {
    let dir = tempfile::tempdir().unwrap();
    let (export, out) = (dir.path().join("export"), dir.path().join("a/log"));
    fs::write(&export, export_rows(&story_rows())).unwrap();
    let ran = tiles(&export, &out, &[]);
    assert_eq!(ran.status.code(), Some(0), "{}", text(&ran.stderr));
    let (checkpoint, tree) = read(&out);
    assert!(checkpoint.size() > 8);
    assert_eq!(
        (tree.size(), tree.root()),
        (checkpoint.size(), checkpoint.root())
    );
    let mode = fs::metadata(out.join("tile/entries"))
        .unwrap()
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o700);
    let again = tiles(&export, &out, &[]);
    assert!(text(&again.stdout).ends_with(": 0 files written\n"));
    // A tile that is damaged is mended.
    let tile = TilePath::new(TileKind::Hashes(0), 0, tree.size() as u16).unwrap();
    fs::write(out.join(tile.to_string()), b"rot").unwrap();
    let mended = tiles(&export, &out, &[]);
    assert!(text(&mended.stdout).ends_with(": 1 files written\n"));
    read(&out);
}

#[test]
fn nothing_is_written_over_a_longer_log_or_another_nor_of_a_faulty_export() {
    let dir = tempfile::tempdir().unwrap();
    let (export, out) = (dir.path().join("export"), dir.path().join("log"));
    let whole = story_rows();
    fs::write(&export, export_rows(&whole)).unwrap();
    let mut cut = export_rows(&whole);
    cut.pop();
    let faulty = dir.path().join("faulty");
    fs::write(&faulty, cut).unwrap();
    let ran = tiles(&faulty, &out, &[]);
    assert_eq!((ran.status.code(), out.exists()), (Some(1), false));
    // A log that is longer, by its checkpoint.
    tiles(&export, &out, &[]);
    let note = fs::read_to_string(out.join("checkpoint")).unwrap();
    let size = read(&out).0.size();
    for (from, to) in [
        (format!("\n{size}\n"), format!("\n{}\n", size + 1)),
        (note.lines().next().unwrap().to_owned(), "other".to_owned()),
    ] {
        let other = note.replacen(&from, &to, 1);
        fs::write(out.join("checkpoint"), &other).unwrap();
        let ran = tiles(&export, &out, &[]);
        assert_eq!(ran.status.code(), Some(1), "{}", text(&ran.stderr));
        assert_eq!(fs::read_to_string(out.join("checkpoint")).unwrap(), other);
    }
}

#[test]
fn without_entries_nothing_of_an_entry_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let (export, out) = (dir.path().join("export"), dir.path().join("log"));
    fs::write(&export, export_rows(&story_rows())).unwrap();
    let ran = tiles(&export, &out, &["--without-entries"]);
    assert_eq!(ran.status.code(), Some(0), "{}", text(&ran.stderr));
    assert!(out.join("checkpoint").exists() && out.join("tile/0").exists());
    assert!(!out.join("tile/entries").exists());
}
