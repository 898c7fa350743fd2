//! The journal from outside: order, faults of the disk, damage, and the projection.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside of test functions"
)]

mod basics;
mod damage;
mod disk;
mod faults;
mod key_file;
mod projection;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use passerelle_journal::{
    FRAME_HEADER_BYTES, Journal, JournalReader, JournalRecord, Options, SegmentJournal,
};

/// A directory in memory where there is one: these tests open thousands of journals, and need no
/// real disk, since they keep count themselves of what was synced.
pub(crate) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

pub(crate) fn record(number: u64, sidecar_bytes: usize) -> JournalRecord {
    JournalRecord {
        entry: format!("entry {number}").into_bytes(),
        sidecar: vec![b's'.wrapping_add(number as u8); sidecar_bytes],
    }
}

pub(crate) fn open(dir: &Path, segment_bytes: u64) -> SegmentJournal {
    SegmentJournal::open(dir, Options { segment_bytes }).unwrap()
}

pub(crate) fn frame_bytes(record: &JournalRecord) -> u64 {
    FRAME_HEADER_BYTES + (record.entry.len() + record.sidecar.len()) as u64
}

pub(crate) fn all(reader: &dyn JournalReader) -> Vec<JournalRecord> {
    let mut found = vec![];
    reader
        .scan(0, &mut |index, record| {
            assert_eq!(index, found.len() as u64);
            found.push(record);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(found.len() as u64, reader.len());
    found
}

pub(crate) fn contents(journal: &dyn Journal) -> Vec<JournalRecord> {
    all(journal.reader().as_ref())
}

pub(crate) fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "seg"))
        .collect();
    found.sort();
    found
}

pub(crate) fn remove_mark(dir: &Path) {
    std::fs::remove_file(dir.join("acknowledged.mark")).unwrap();
}
