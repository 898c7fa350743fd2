//! Segment files of a journal, as a crash, a bad disk or a stranger leaves them.

use crate::Input;
use passerelle_journal::{Journal as _, JournalError, JournalRecord, Options, SegmentJournal};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use tempfile::TempDir;

const MARK: &str = "acknowledged.mark";
const HEADER_BYTES: usize = passerelle_journal::SEGMENT_HEADER_BYTES as usize;

/// A journal that was written and then edited, or segments made of good and bad frames.
pub fn journal(data: &[u8]) {
    let mut input = Input::new(data);
    // In memory where there is a file system for that: a sync costs nothing there.
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let dir = dir.unwrap();
    match input.byte() % 2 {
        0 => edited(&mut input, &dir),
        _ => composed(&mut input, &dir),
    }
}

fn open(dir: &Path, segment_bytes: u64) -> Option<SegmentJournal> {
    SegmentJournal::open(dir, Options { segment_bytes }).ok()
}

/// The records that can be read, from the first on, and whether that is all of them. A bit that
/// rotted inside a full segment is found only now, and then the record is refused.
fn records(journal: &SegmentJournal) -> (Vec<JournalRecord>, bool) {
    let mut all = Vec::new();
    let visited = journal.reader().scan(0, &mut |index, record| {
        assert_eq!(index, all.len() as u64);
        all.push(record);
        ControlFlow::Continue(())
    });
    let whole = match visited {
        Ok(()) => true,
        Err(JournalError::Corrupt { .. }) => false,
        Err(error) => panic!("{error}"),
    };
    assert_eq!(journal.len() == all.len() as u64, whole);
    (all, whole)
}

/// The segments, what is kept beside them, and the mark.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    names
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".seg") || name.ends_with(".idx") || name == MARK)
        .map(|name| (name.clone(), std::fs::read(dir.join(name)).unwrap()))
        .collect()
}

fn record(input: &mut Input<'_>) -> JournalRecord {
    let (entry, sidecar) = (usize::from(input.byte()), usize::from(input.byte()));
    JournalRecord {
        entry: input.take(entry).to_vec(),
        sidecar: input.take(sidecar).to_vec(),
    }
}

/// What was acknowledged is there, or the journal does not open; it never shows anything else.
fn edited(input: &mut Input<'_>, dir: &TempDir) {
    let dir = dir.path();
    let (flags, batches) = (input.byte(), input.byte() % 4 + 1);
    let (with_mark, small) = (flags & 1 == 0, flags & 2 == 0);
    let mut edits = Input::new(input.take(usize::from(flags >> 2 & 3) * 6 + 6));
    let segment_bytes = if small { 200 } else { 1 << 20 };
    let mut written = open(dir, segment_bytes).unwrap();
    for _ in 0..batches {
        let batch: Vec<_> = (0..=input.byte() % 3).map(|_| record(input)).collect();
        written.append(&batch).unwrap();
    }
    let (before, _) = records(&written);
    drop(written);
    if !with_mark {
        std::fs::remove_file(dir.join(MARK)).unwrap();
    }
    while !edits.is_empty() {
        edit(&mut edits, dir);
    }
    let damaged = files(dir);
    let Some(opened) = open(dir, segment_bytes) else {
        assert_eq!(files(dir), damaged, "refused, but changed");
        return;
    };
    let (after, whole) = records(&opened);
    assert!(before.starts_with(&after), "records that nobody wrote");
    assert!(
        !with_mark || opened.len() == before.len() as u64,
        "an acknowledged record is lost"
    );
    assert!(!whole || !with_mark || after == before);
    for (index, record) in before.iter().enumerate().take(opened.len() as usize) {
        match opened.read(index as u64) {
            Ok(read) => assert_eq!(read.as_ref(), Some(record), "another record is read"),
            Err(error) => assert!(!whole, "{error}"),
        }
    }
    goes_on(opened, after, dir, segment_bytes);
}

/// One change to one file: its bytes, or the whole file is gone.
fn edit(edits: &mut Input<'_>, dir: &Path) {
    let names: Vec<String> = files(dir).into_keys().filter(|n| n != MARK).collect();
    let chosen = edits.byte();
    let Some(name) = names.get(usize::from(chosen & 15) % names.len().max(1)) else {
        // Every segment is gone.
        return;
    };
    let path = dir.join(name);
    if chosen >= 0xf8 {
        std::fs::remove_file(path).unwrap();
    } else {
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(path, edits.change(&bytes)).unwrap();
    }
}

/// Opened again it is the same, and it takes more.
fn goes_on(opened: SegmentJournal, readable: Vec<JournalRecord>, dir: &Path, bytes: u64) {
    let len = opened.len();
    drop(opened);
    let mut again = open(dir, bytes).expect("opened once, refused the second time");
    assert_eq!(again.len(), len, "another journal on the second open");
    assert_eq!(
        records(&again).0,
        readable,
        "other records on the second open"
    );
    let next = JournalRecord {
        entry: b"next".to_vec(),
        sidecar: Vec::new(),
    };
    assert_eq!(again.append(std::slice::from_ref(&next)).unwrap(), len);
    drop(again);
    let last = open(dir, bytes).unwrap();
    assert_eq!(last.len(), len + 1);
    assert_eq!(last.read(len).unwrap(), Some(next));
    assert_eq!(last.read(len + 1).unwrap(), None);
}

/// A segment made by hand, with checksums that fit: what an open makes of it is known beforehand.
fn composed(input: &mut Input<'_>, dir: &TempDir) {
    let id = [3; 16];
    let mut segment = header(id);
    let mut due = Vec::new();
    let mut torn = false;
    for _ in 0..12 {
        if input.is_empty() {
            break;
        }
        let kind = input.byte();
        let index = due.len() as u64;
        match kind % 8 {
            0..=4 => {
                let record = record(input);
                segment.extend(frame(id, index, 0, &record, None));
                if !torn {
                    due.push(record);
                }
            }
            5 => {
                // Lengths at and over the limits, with a checksum that fits and no such body.
                let lengths = (
                    u32::from(input.short()) << 8,
                    u32::from(input.short()) << 16,
                );
                let record = JournalRecord::default();
                let position = u32::from(input.byte() % 3);
                let bytes = frame(id, index, position, &record, Some(lengths));
                torn |= lengths != (0, 0) || u64::from(position) > index;
                if !torn {
                    due.push(record);
                }
                segment.extend(bytes);
            }
            6 => {
                let bytes = input.take(usize::from(kind >> 3) + 1);
                torn |= !bytes.is_empty();
                segment.extend(bytes);
            }
            _ => {
                let at =
                    HEADER_BYTES.max(segment.len() - usize::from(kind >> 3).min(segment.len()));
                torn |= at < segment.len();
                if torn {
                    segment.truncate(at);
                    break;
                }
            }
        }
    }
    std::fs::write(dir.path().join("00000000000000000000.seg"), &segment).unwrap();
    let before = files(dir.path());
    match open(dir.path(), 1 << 20) {
        Some(opened) => {
            let (found, whole) = records(&opened);
            assert!(whole, "the last segment is read as a whole");
            assert!(due.starts_with(&found), "records that are not there");
            assert!(torn || found == due, "a good record is cut");
            goes_on(opened, found, dir.path(), 1 << 20);
        }
        None => {
            assert!(torn, "a good journal is refused");
            assert_eq!(files(dir.path()), before, "refused, but changed");
        }
    }
}

fn header(id: [u8; 16]) -> Vec<u8> {
    let mut out = b"PSRLSEG\0".to_vec();
    out.extend(1_u32.to_le_bytes());
    out.extend(id);
    out.extend(0_u64.to_le_bytes());
    let sum = crc32c::crc32c(&out);
    out.extend(sum.to_le_bytes());
    out
}

/// A frame as the module documentation of `journal/src/frame.rs` has it.
fn frame(
    id: [u8; 16],
    index: u64,
    position: u32,
    record: &JournalRecord,
    claimed: Option<(u32, u32)>,
) -> Vec<u8> {
    let seed = crc32c::crc32c(&id);
    let body = [record.entry.as_slice(), &record.sidecar].concat();
    let lengths = (record.entry.len() as u32, record.sidecar.len() as u32);
    let (entry, sidecar) = claimed.unwrap_or(lengths);
    let mut out = vec![0xf5, b'P', b'J', 0xfa];
    out.extend(index.to_le_bytes());
    for number in [position, entry, sidecar, crc32c::crc32c_append(seed, &body)] {
        out.extend(number.to_le_bytes());
    }
    let sum = crc32c::crc32c_append(seed, &out);
    out.extend(sum.to_le_bytes());
    out.extend(body);
    out
}
