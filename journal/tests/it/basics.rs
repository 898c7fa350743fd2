//! What holds when nothing goes wrong.

use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::thread;

use passerelle_journal::{
    Journal, JournalError, JournalRecord, MAX_BATCH_RECORDS, MAX_ENTRY_BYTES, MAX_SIDECAR_BYTES,
    Options, SegmentJournal,
};
use proptest::prelude::*;

use crate::{contents, open, record, segments};

#[test]
fn indices_start_at_zero_and_go_on_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path(), 1 << 20);
    assert!(journal.is_empty());
    assert_eq!(journal.append(&[record(0, 3), record(1, 0)]).unwrap(), 0);
    assert_eq!(journal.append(&[]).unwrap(), 2);
    assert_eq!(journal.append(&[record(2, 9)]).unwrap(), 2);
    drop(journal);
    let mut journal = open(dir.path(), 1 << 20);
    assert_eq!(journal.append(&[record(3, 1)]).unwrap(), 3);
    assert_eq!(
        contents(&journal),
        [record(0, 3), record(1, 0), record(2, 9), record(3, 1)]
    );
    assert_eq!(journal.read(2).unwrap(), Some(record(2, 9)));
    assert_eq!(journal.read(4).unwrap(), None);
}

#[test]
fn a_second_opening_is_refused_until_the_first_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path(), 1 << 20);
    let Err(error) = SegmentJournal::open(dir.path(), Options::default()) else {
        panic!("two writers")
    };
    assert!(matches!(error, JournalError::InUse { .. }), "{error}");
    assert!(
        error.to_string().contains("in use by another process"),
        "{error}"
    );
    drop(first);
    open(dir.path(), 1 << 20);
}

#[test]
fn batches_over_a_limit_are_refused_and_poison_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path(), 1 << 20);
    let entry = |bytes| JournalRecord {
        entry: vec![1; bytes],
        sidecar: vec![],
    };
    let sidecar = |bytes| JournalRecord {
        entry: vec![],
        sidecar: vec![2; bytes],
    };
    for batch in [
        vec![entry(5), entry(MAX_ENTRY_BYTES + 1)],
        vec![sidecar(MAX_SIDECAR_BYTES + 1)],
        vec![sidecar(MAX_SIDECAR_BYTES); 17],
        vec![entry(0); MAX_BATCH_RECORDS + 1],
    ] {
        let error = journal.append(&batch).unwrap_err();
        assert!(matches!(error, JournalError::TooLarge { .. }), "{error}");
    }
    assert!(journal.is_empty());
    let largest = [entry(MAX_ENTRY_BYTES), sidecar(MAX_SIDECAR_BYTES)];
    journal.append(&largest).unwrap();
    drop(journal);
    assert_eq!(contents(&open(dir.path(), 1 << 20)), largest);
}

#[test]
fn a_reader_beside_the_writer_sees_whole_batches_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path(), 4_000);
    let reader = journal.reader();
    let reading = thread::spawn(move || {
        let mut seen = 0;
        while seen < 300 {
            let len = reader.len();
            assert!(
                len >= seen && len.is_multiple_of(3),
                "half a batch at {len}"
            );
            reader
                .scan(seen, &mut |index, found| {
                    assert_eq!(found, record(index, 40));
                    assert_eq!(reader.read(index / 2).unwrap(), Some(record(index / 2, 40)));
                    seen = index + 1;
                    ControlFlow::Continue(())
                })
                .unwrap();
        }
    });
    for batch in 0..100 {
        let first = batch * 3;
        journal
            .append(&[
                record(first, 40),
                record(first + 1, 40),
                record(first + 2, 40),
            ])
            .unwrap();
    }
    reading.join().unwrap();
    assert!(segments(dir.path()).len() > 5);
}

#[test]
fn a_scan_stops_where_its_visitor_says() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path(), 100);
    for number in 0..10 {
        journal.append(&[record(number, 10)]).unwrap();
    }
    let mut seen = vec![];
    journal
        .scan(3, &mut |index, _| {
            seen.push(index);
            if index == 6 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .unwrap();
    assert_eq!(seen, [3, 4, 5, 6]);
    journal
        .scan(10, &mut |_, _| panic!("nothing is there"))
        .unwrap();
}

#[test]
fn files_are_for_their_owner_only() {
    let outer = tempfile::tempdir().unwrap();
    let dir = outer.path().join("a/journal");
    let mut journal = open(&dir, 1 << 20);
    journal.append(&[record(0, 1)]).unwrap();
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(dir.clone()), 0o700);
    for entry in std::fs::read_dir(&dir).unwrap() {
        assert_eq!(mode(entry.unwrap().path()), 0o600);
    }
}

#[test]
fn debug_output_holds_no_content() {
    let shown = format!(
        "{:?}",
        JournalRecord {
            entry: vec![77; 2],
            sidecar: vec![88; 3]
        }
    );
    assert_eq!(shown, "JournalRecord { entry_bytes: 2, sidecar_bytes: 3 }");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn what_was_appended_is_read_back_by_scan_and_by_index(
        batches in proptest::collection::vec(proptest::collection::vec(0usize..200, 0..90), 1..8),
        segment_bytes in 50u64..20_000,
        from in 0u64..300,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut expected = vec![];
        for sizes in &batches {
            let mut journal = open(dir.path(), segment_bytes);
            let first = expected.len() as u64;
            let batch: Vec<_> =
                sizes.iter().zip(first..).map(|(size, number)| record(number, *size)).collect();
            prop_assert_eq!(journal.append(&batch).unwrap(), first);
            expected.extend(batch);
        }
        let journal = open(dir.path(), segment_bytes);
        prop_assert_eq!(contents(&journal), expected.clone());
        for (index, record) in expected.iter().enumerate() {
            let found = journal.read(index as u64).unwrap();
            prop_assert_eq!(found.as_ref(), Some(record));
        }
        let mut rest = vec![];
        journal
            .scan(from, &mut |_, record| {
                rest.push(record);
                ControlFlow::Continue(())
            })
            .unwrap();
        prop_assert_eq!(rest, expected.into_iter().skip(from as usize).collect::<Vec<_>>());
    }
}
