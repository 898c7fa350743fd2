//! The export of a real federation, corrupted: its checkpoint and key byte by byte, its rows.

use crate::texts;
use anyhow::{Context as _, Result, ensure};
use passerelle_audit::{
    export::{ExportHeader, ExportReader, write_header},
    verify::{self, Options},
};
use std::path::Path;

/// How many corruptions the verifier was given, all of which it refused.
pub(crate) fn judge(path: &Path) -> Result<usize> {
    let file = std::fs::read(path)?;
    let header = ExportReader::new(&file[..])?.header().clone();
    let end = file
        .iter()
        .position(|byte| *byte == b'\n')
        .context("no header")?;
    let rows = file.get(end + 1..).unwrap_or_default();
    let header = at_quorum(header, rows)?;
    let whole = with(&header, rows)?;
    verify(&whole).map_err(|fault| anyhow::anyhow!("the export itself: {fault}"))?;
    let mut count = 0;
    let mut refuse = |change: &str, changed: &[u8]| -> Result<()> {
        count += 1;
        ensure!(
            verify(changed).is_err(),
            "the verifier accepts an export with: {change}"
        );
        Ok(())
    };
    for (change, text) in texts::changes(header.checkpoint.as_bytes()) {
        let Ok(checkpoint) = String::from_utf8(text) else {
            continue;
        };
        if is_reordered(&header.checkpoint, &checkpoint) {
            continue;
        }
        let header = ExportHeader {
            checkpoint,
            ..header.clone()
        };
        refuse(&change, &with(&header, rows)?)?;
    }
    for (change, text) in texts::changes(header.checkpoint_key.as_bytes()) {
        let Ok(checkpoint_key) = String::from_utf8(text) else {
            continue;
        };
        let header = ExportHeader {
            checkpoint_key,
            ..header.clone()
        };
        refuse(&change, &with(&header, rows)?)?;
    }
    let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    for at in 0..lines.len() {
        for (change, changed) in of_line(&lines, at) {
            refuse(&format!("{change}: line {}", at + 1), &changed)?;
        }
    }
    Ok(count)
}

fn verify(file: &[u8]) -> Result<(), String> {
    let options = Options {
        threads: 2,
        ..Options::default()
    };
    let outcome = verify::verify(file, &options);
    outcome.map(drop).map_err(|fault| fault.message)
}

fn with(header: &ExportHeader, rows: &[u8]) -> Result<Vec<u8>> {
    let mut file = Vec::new();
    write_header(&mut file, header)?;
    file.extend_from_slice(rows);
    Ok(file)
}

/// The header with as many cosignatures as there must be: each of them counts then.
fn at_quorum(header: ExportHeader, rows: &[u8]) -> Result<ExportHeader> {
    let (text, lines) = header
        .checkpoint
        .rsplit_once("\n\n")
        .context("not a note")?;
    let mut lines: Vec<String> = lines.lines().map(|line| format!("{line}\n")).collect();
    let note = |lines: &[String]| ExportHeader {
        checkpoint: format!("{text}\n\n{}", lines.concat()),
        ..header.clone()
    };
    while let Some((_, fewer)) = lines.split_last() {
        if verify(&with(&note(fewer), rows).unwrap_or_default()).is_err() {
            break;
        }
        lines.pop();
    }
    Ok(note(&lines))
}

/// Whether the same signatures stand in another order or twice, which says the same.
fn is_reordered(before: &str, after: &str) -> bool {
    let parts = |note: &str| {
        let (text, lines) = note.rsplit_once("\n\n")?;
        let lines: std::collections::BTreeSet<_> = lines.lines().map(str::to_owned).collect();
        note.ends_with('\n').then(|| (text.to_owned(), lines))
    };
    parts(before) == parts(after)
}

fn of_line(lines: &[&[u8]], at: usize) -> Vec<(&'static str, Vec<u8>)> {
    let line = lines.get(at).copied().unwrap_or_default();
    let with = |other: &[&[u8]]| {
        let before = lines.get(..at).unwrap_or_default().concat();
        let after = lines.get(at + 1..).unwrap_or_default().concat();
        [before, other.concat(), after].concat()
    };
    let body = line.strip_suffix(b"\n").unwrap_or(line);
    let mut flipped = line.to_vec();
    if let Some(byte) = flipped.get_mut(line.len() / 2) {
        *byte ^= 1;
    }
    let mut all = vec![
        ("left out", with(&[])),
        ("twice", with(&[line, line])),
        ("CRLF", with(&[body, b"\r\n"])),
        ("an empty line after", with(&[line, b"\n"])),
        ("a space after", with(&[body, b" \n"])),
        ("bit flipped", with(&[&flipped])),
    ];
    if at + 1 < lines.len() {
        let mut swapped = lines.to_vec();
        swapped.swap(at, at + 1);
        all.push(("swapped with the next", swapped.concat()));
        all.push(("joined with the next", with(&[body])));
    }
    all
}
