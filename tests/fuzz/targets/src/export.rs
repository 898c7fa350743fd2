//! Exports of the log, as `passerelle-audit` reads them.

use crate::{Input, decide::Log, world};
use passerelle_audit::{
    export::{ExportHeader, ExportReader, ExportRow, write_header, write_row},
    merkle::{Tree, leaf_hash},
    verify::{Options, verify},
};
use passerelle_model::bytes::Digest;
use std::sync::LazyLock;

/// The bytes of an export.
pub fn export(data: &[u8]) {
    let mut input = Input::new(data);
    match input.byte() % 2 {
        0 => read(input.rest()),
        _ => change(input),
    }
}

/// A good export of a small log, and its root.
static GOOD: LazyLock<(Vec<u8>, Digest)> = LazyLock::new(good);

/// A log with its members, exported whole.
pub fn good() -> (Vec<u8>, Digest) {
    let mut tree = Tree::new();
    let mut rows = Vec::new();
    for (index, record) in Log::new().records.into_iter().enumerate() {
        let entry = record.entry.to_bytes().unwrap();
        tree.push(leaf_hash(&entry));
        rows.push(ExportRow::Entry {
            index: index as u64,
            entry,
            openings: Vec::new(),
        });
    }
    let header = ExportHeader::new(
        world::head(&tree, 0b111).note().to_string(),
        world::signer().verifier_key().to_string(),
        world::federation(),
    );
    let mut out = Vec::new();
    write_header(&mut out, &header).unwrap();
    for row in &rows {
        write_row(&mut out, row).unwrap();
    }
    (out, tree.root())
}

fn read(bytes: &[u8]) {
    if let Some(rows) = rows(bytes) {
        // All lines were accepted, so they are as they would be written.
        let mut reader = ExportReader::new(bytes).unwrap();
        let mut written = Vec::new();
        write_header(&mut written, reader.header()).unwrap();
        for row in rows {
            assert_eq!(reader.next_row().unwrap().as_ref(), Some(&row));
            write_row(&mut written, &row).unwrap();
        }
        assert_eq!(written, bytes, "an export has one spelling");
    }
    // Whoever has no key of the log can't make an export that a reader with the key accepts,
    // unless it repeats one that the log made: here the only one.
    let options = Options {
        log_key: Some(world::signer().verifier_key().clone()),
        witnesses: world::witnesses(),
        threads: 1,
        chunk_rows: 0,
        policy: None,
    };
    if let Ok(report) = verify(bytes, &options) {
        assert_eq!(report.root, GOOD.1, "another log is accepted");
    }
    // Without a key the verdict is worth less, but it comes to an end.
    let _ = verify(bytes, &Options::default());
}

fn rows(bytes: &[u8]) -> Option<Vec<ExportRow>> {
    let mut reader = ExportReader::new(bytes).ok()?;
    let mut rows = Vec::new();
    while let Some(row) = reader.next_row().ok()? {
        rows.push(row);
    }
    Some(rows)
}

/// The good export with one to four changes.
fn change(mut input: Input<'_>) {
    let (good, root) = &*GOOD;
    let mut bytes = good.clone();
    for _ in 0..=input.byte() % 4 {
        // More places than two bytes can name: skip some first.
        let skip = usize::from(input.byte()) * bytes.len() / 256;
        let (head, tail) = bytes.split_at(skip);
        bytes = [head, &input.change(tail)].concat();
    }
    let options = Options {
        log_key: Some(world::signer().verifier_key().clone()),
        witnesses: world::witnesses(),
        threads: 2,
        chunk_rows: 3,
        policy: None,
    };
    if let Ok(report) = verify(bytes.as_slice(), &options) {
        assert_eq!(report.root, *root);
        assert_eq!(report.size, Log::new().records.len() as u64);
        // Only a line that is there twice in the note may differ.
        assert_eq!(rows(&bytes), rows(good), "changed rows are accepted");
    }
}
