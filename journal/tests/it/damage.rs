//! Files changed behind the journal's back: torn ends are cut, damage is refused and named.

use std::path::Path;

use passerelle_journal::{
    FRAME_HEADER_BYTES, Journal, JournalError, JournalRecord, Options, SEGMENT_HEADER_BYTES,
    SegmentJournal,
};
use proptest::prelude::*;

use crate::{contents, frame_bytes, open, record, remove_mark, scratch, segments};

fn refused(dir: &Path) -> (String, u64, String) {
    let before: Vec<_> = segments(dir)
        .into_iter()
        .map(|path| (std::fs::read(&path).unwrap(), path))
        .collect();
    match SegmentJournal::open(dir, Options::default()) {
        Err(JournalError::Corrupt {
            place,
            position,
            reason,
        }) => {
            for (bytes, path) in before {
                assert_eq!(
                    std::fs::read(path).unwrap(),
                    bytes,
                    "a refused open changes nothing"
                );
            }
            (place, position, reason)
        }
        Err(error) => panic!("refused for another reason: {error}"),
        Ok(journal) => panic!("opened with {} records", journal.len()),
    }
}

/// The offsets at which the records of one segment start.
fn offsets(records: &[JournalRecord]) -> Vec<u64> {
    let starts = records.iter().scan(SEGMENT_HEADER_BYTES, |next, record| {
        let start = *next;
        *next += frame_bytes(record);
        Some(start)
    });
    starts.collect()
}

/// A journal of one segment, each inner list appended as one batch.
fn build(dir: &Path, batches: &[Vec<JournalRecord>]) {
    let mut journal = open(dir, 1 << 23);
    for batch in batches {
        journal.append(batch).unwrap();
    }
}

fn only_segment(dir: &Path) -> std::path::PathBuf {
    let [path] = segments(dir).try_into().unwrap();
    path
}

#[test]
fn torn_tail_is_cut_at_every_byte_of_the_last_batch() {
    let dir = scratch();
    let first = vec![record(0, 5), record(1, 0)];
    let last = vec![record(2, 3), record(3, 17)];
    build(dir.path(), &[first.clone(), last.clone()]);
    let mark = dir.path().join("acknowledged.mark");
    let path = only_segment(dir.path());
    let bytes = std::fs::read(&path).unwrap();
    let starts = offsets(&[first.clone(), last.clone()].concat());
    // The mark as it was before the last batch, as after a power cut.
    let older = scratch();
    build(older.path(), std::slice::from_ref(&first));
    for cut in starts[2]..=bytes.len() as u64 {
        std::fs::write(&path, &bytes[..cut as usize]).unwrap();
        let _ = std::fs::remove_file(&mark);
        let mut journal = open(dir.path(), 1 << 20);
        let kept = match cut {
            cut if cut < starts[3] => 2,
            cut if cut < bytes.len() as u64 => 3,
            _ => 4,
        };
        let expected = [first.clone(), last.clone()].concat()[..kept].to_vec();
        assert_eq!(contents(&journal), expected, "cut at {cut}");
        assert_eq!(journal.append(&[record(9, 9)]).unwrap(), kept as u64);
        drop(journal);
        let again = open(dir.path(), 1 << 20);
        assert_eq!(contents(&again), [expected, vec![record(9, 9)]].concat());
    }
}

#[test]
fn an_acknowledged_tail_that_vanished_is_refused_at_every_byte() {
    let dir = scratch();
    build(dir.path(), &[vec![record(0, 5)], vec![record(1, 3)]]);
    let path = only_segment(dir.path());
    let bytes = std::fs::read(&path).unwrap();
    for cut in 0..bytes.len() {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        let (place, _, _) = refused(dir.path());
        assert_eq!(place, path.display().to_string());
    }
    std::fs::remove_file(&path).unwrap();
    assert!(refused(dir.path()).2.contains("acknowledged"));
}

#[test]
fn a_flipped_bit_anywhere_in_an_acknowledged_frame_is_refused_with_its_offset() {
    let dir = scratch();
    let records = vec![record(0, 4), record(1, 6), record(2, 2)];
    build(dir.path(), std::slice::from_ref(&records));
    let path = only_segment(dir.path());
    let bytes = std::fs::read(&path).unwrap();
    let starts = offsets(&records);
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        std::fs::write(&path, damaged).unwrap();
        let (place, position, _) = refused(dir.path());
        let expected = starts
            .iter()
            .rev()
            .find(|start| **start <= at as u64)
            .unwrap_or(&0);
        assert_eq!(
            (place, position),
            (path.display().to_string(), *expected),
            "byte {at}"
        );
    }
}

#[test]
fn damage_before_a_later_batch_is_refused_without_the_mark_too() {
    let dir = scratch();
    let batches: Vec<_> = (0..4).map(|number| vec![record(number, 4)]).collect();
    build(dir.path(), &batches);
    remove_mark(dir.path());
    let path = only_segment(dir.path());
    let bytes = std::fs::read(&path).unwrap();
    let starts = offsets(&batches.concat());
    for at in SEGMENT_HEADER_BYTES..starts[3] {
        let mut damaged = bytes.clone();
        damaged[at as usize] ^= 0x10;
        std::fs::write(&path, damaged).unwrap();
        let (_, position, reason) = refused(dir.path());
        let expected = starts.iter().rev().find(|start| **start <= at).unwrap();
        assert_eq!(position, *expected, "byte {at}");
        assert!(reason.contains("a later record is at offset"), "{reason}");
    }
}

#[test]
fn damage_before_a_later_record_is_found_over_more_than_one_chunk() {
    let dir = scratch();
    // Sizes that put the later header across the border of the search's chunks.
    for spare in 0..40 {
        let dir = dir.path().join(spare.to_string());
        let start = SEGMENT_HEADER_BYTES + 1 + (1 << 20);
        let first_sidecar = start - SEGMENT_HEADER_BYTES - FRAME_HEADER_BYTES - 7 - spare;
        build(
            &dir,
            &[vec![record(0, first_sidecar as usize)], vec![record(1, 4)]],
        );
        remove_mark(&dir);
        let path = only_segment(&dir);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[SEGMENT_HEADER_BYTES as usize] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(refused(&dir).1, SEGMENT_HEADER_BYTES);
    }
}

#[test]
fn pages_of_one_unacknowledged_batch_may_arrive_in_any_order() {
    let dir = scratch();
    build(dir.path(), &[vec![record(0, 4)]]);
    let mark = std::fs::read(dir.path().join("acknowledged.mark")).unwrap();
    let batch: Vec<_> = (1..5).map(|number| record(number, 30)).collect();
    let mut journal = open(dir.path(), 1 << 20);
    journal.append(&batch).unwrap();
    drop(journal);
    let path = only_segment(dir.path());
    let mut bytes = std::fs::read(&path).unwrap();
    let starts = offsets(&[vec![record(0, 4)], batch].concat());
    for byte in &mut bytes[starts[2] as usize..starts[3] as usize] {
        *byte = 0;
    }
    std::fs::write(&path, bytes).unwrap();
    std::fs::write(dir.path().join("acknowledged.mark"), mark).unwrap();
    assert_eq!(
        contents(&open(dir.path(), 1 << 20)),
        [record(0, 4), record(1, 30)]
    );
}

#[test]
fn a_frame_inside_a_torn_record_does_not_pass_for_a_later_one() {
    let foreign = scratch();
    let numbers: Vec<_> = (0..9).map(|number| vec![record(number, 4)]).collect();
    build(foreign.path(), &numbers);
    let planted = std::fs::read(only_segment(foreign.path())).unwrap();
    let dir = scratch();
    let carrier = JournalRecord {
        entry: vec![],
        sidecar: planted,
    };
    build(dir.path(), &[vec![carrier]]);
    remove_mark(dir.path());
    let path = only_segment(dir.path());
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    assert!(open(dir.path(), 1 << 20).is_empty());
}

/// Six segments of one record each.
fn six_segments(dir: &Path) {
    let mut journal = open(dir, 1);
    for number in 0..6 {
        journal.append(&[record(number, 20)]).unwrap();
    }
    drop(journal);
    assert_eq!(segments(dir).len(), 6);
}

#[test]
fn a_torn_end_of_a_segment_that_is_not_the_last_is_refused() {
    let dir = scratch();
    six_segments(dir.path());
    remove_mark(dir.path());
    let path = &segments(dir.path())[3];
    let bytes = std::fs::read(path).unwrap();
    for cut in 0..bytes.len() {
        std::fs::write(path, &bytes[..cut]).unwrap();
        let (place, position, _) = refused(dir.path());
        let header_is_whole = cut as u64 >= SEGMENT_HEADER_BYTES;
        if cut as u64 == SEGMENT_HEADER_BYTES {
            // Without any record the segment is whole, but the next one does not follow it.
            assert_eq!(place, path.display().to_string());
            continue;
        }
        let expected = if header_is_whole {
            SEGMENT_HEADER_BYTES
        } else {
            0
        };
        assert_eq!(
            (place, position),
            (path.display().to_string(), expected),
            "cut at {cut}"
        );
    }
}

#[test]
fn rot_in_a_full_segment_is_found_when_it_is_read() {
    let dir = scratch();
    six_segments(dir.path());
    let path = segments(dir.path())[3].clone();
    let bytes = std::fs::read(&path).unwrap();
    for at in SEGMENT_HEADER_BYTES as usize..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        std::fs::write(&path, damaged).unwrap();
        let journal = open(dir.path(), 1);
        assert_eq!(journal.len(), 6);
        assert_eq!(journal.read(4).unwrap(), Some(record(4, 20)));
        let mut seen = 0;
        let scanned = journal.scan(0, &mut |_, _| {
            seen += 1;
            std::ops::ControlFlow::Continue(())
        });
        assert_eq!(seen, 3);
        for error in [journal.read(3).unwrap_err(), scanned.unwrap_err()] {
            let JournalError::Corrupt {
                place, position, ..
            } = error
            else {
                panic!("byte {at}: {error}")
            };
            assert_eq!(place, path.display().to_string());
            assert_eq!(position, SEGMENT_HEADER_BYTES);
        }
    }
    // Without its offsets the segment is walked at open.
    std::fs::remove_file(path.with_extension("idx")).unwrap();
    assert_eq!(refused(dir.path()).1, SEGMENT_HEADER_BYTES);
}

#[test]
fn offsets_torn_garbled_missing_or_of_another_journal_are_made_again() {
    let other = scratch();
    six_segments(other.path());
    let dir = scratch();
    let mut journal = open(dir.path(), 7_000);
    let records: Vec<_> = (0..400).map(|number| record(number, 20)).collect();
    for batch in records.chunks(10) {
        journal.append(batch).unwrap();
    }
    drop(journal);
    let paths = segments(dir.path());
    assert!(paths.len() > 2);
    let offsets = paths[1].with_extension("idx");
    let bytes = std::fs::read(&offsets).unwrap();
    assert!(!paths[paths.len() - 1].with_extension("idx").exists());
    let flips = (0..bytes.len()).map(|at| {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        damaged
    });
    let cuts = (0..bytes.len()).map(|cut| bytes[..cut].to_vec());
    let foreign = std::fs::read(segments(other.path())[1].with_extension("idx")).unwrap();
    let neighbour = std::fs::read(paths[0].with_extension("idx")).unwrap();
    let longer = [bytes.as_slice(), &[0]].concat();
    for damaged in flips.chain(cuts).chain([foreign, neighbour, longer]) {
        std::fs::write(&offsets, damaged).unwrap();
        let journal = open(dir.path(), 7_000);
        assert_eq!(journal.len(), 400);
        assert_eq!(journal.read(150).unwrap(), Some(record(150, 20)));
        assert_eq!(std::fs::read(&offsets).unwrap(), bytes, "written again");
    }
    std::fs::remove_file(&offsets).unwrap();
    assert_eq!(contents(&open(dir.path(), 7_000)), records);
    assert_eq!(std::fs::read(&offsets).unwrap(), bytes);
}

#[test]
fn missing_renamed_swapped_and_foreign_segments_are_refused() {
    let rename = |from: &Path, to: &Path| std::fs::rename(from, to).unwrap();
    let copy = |from: &Path, to: &Path| assert!(std::fs::copy(from, to).unwrap() > 0);
    type Damage<'a> = (&'a dyn Fn(&[std::path::PathBuf]), &'a str);
    let other = scratch();
    six_segments(other.path());
    let foreign = segments(other.path())[2].clone();
    let cases: [Damage<'_>; 6] = [
        (
            &|paths| std::fs::remove_file(&paths[0]).unwrap(),
            "is missing",
        ),
        (
            &|paths| std::fs::remove_file(&paths[2]).unwrap(),
            "is missing",
        ),
        (
            &|paths| rename(&paths[5], &paths[5].with_file_name("5.seg")),
            "20 digits",
        ),
        (&|paths| copy(&paths[1], &paths[2]), "does not match"),
        (&|paths| copy(&foreign, &paths[2]), "another journal"),
        (
            &|paths| std::fs::remove_file(&paths[5]).unwrap(),
            "were acknowledged up to `5`",
        ),
    ];
    for (damage, expected) in cases {
        let dir = scratch();
        six_segments(dir.path());
        damage(&segments(dir.path()));
        let (_, _, reason) = refused(dir.path());
        assert!(reason.contains(expected), "{reason}");
    }
}

#[test]
fn a_segment_whose_creation_a_crash_tore_is_started_again() {
    for cut in 0..=SEGMENT_HEADER_BYTES {
        let dir = scratch();
        six_segments(dir.path());
        let last = segments(dir.path())[5].clone();
        let header = std::fs::read(&last).unwrap()[..cut as usize].to_vec();
        std::fs::remove_file(&last).unwrap();
        remove_mark(dir.path());
        drop(open(dir.path(), 1));
        std::fs::write(&last, header).unwrap();
        let mut journal = open(dir.path(), 1);
        assert_eq!(
            journal.append(&[record(7, 1)]).unwrap(),
            5,
            "header of {cut} bytes"
        );
        drop(journal);
        assert_eq!(contents(&open(dir.path(), 1)).last(), Some(&record(7, 1)));
    }
}

#[test]
fn rot_under_a_running_journal_is_an_error_and_not_an_answer() {
    let dir = scratch();
    let mut journal = open(dir.path(), 1 << 20);
    journal.append(&[record(0, 4), record(1, 4)]).unwrap();
    let path = only_segment(dir.path());
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(journal.read(0).unwrap(), Some(record(0, 4)));
    let error = journal.read(1).unwrap_err();
    let offset = SEGMENT_HEADER_BYTES + frame_bytes(&record(0, 4));
    assert!(
        error.to_string().contains(&format!("at {offset}")),
        "{error}"
    );
    assert!(
        journal
            .scan(0, &mut |_, _| std::ops::ControlFlow::Continue(()))
            .is_err()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn a_tail_cut_anywhere_leaves_a_prefix_of_the_last_batch(
        batches in proptest::collection::vec(proptest::collection::vec(0usize..90, 1..9), 1..6),
        segment_bytes in 60u64..2_000,
        cut in any::<prop::sample::Index>(),
        garbage in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let dir = scratch();
        let mut journal = open(dir.path(), segment_bytes);
        let mut expected = vec![];
        let mut acknowledged = 0;
        for sizes in &batches {
            acknowledged = expected.len();
            let batch: Vec<_> = sizes.iter().enumerate()
                .map(|(at, size)| record((acknowledged + at) as u64, *size)).collect();
            journal.append(&batch).unwrap();
            expected.extend(batch);
        }
        drop(journal);
        remove_mark(dir.path());
        let path = segments(dir.path()).pop().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let last: u64 = expected[acknowledged..].iter().map(frame_bytes).sum();
        let mut torn = bytes[..bytes.len() - cut.index(last as usize + 1)].to_vec();
        torn.extend(garbage);
        std::fs::write(&path, torn).unwrap();
        let mut journal = open(dir.path(), segment_bytes);
        let kept = journal.len() as usize;
        prop_assert!((acknowledged..=expected.len()).contains(&kept));
        prop_assert_eq!(contents(&journal), expected[..kept].to_vec());
        prop_assert_eq!(journal.append(&[record(0, 1)]).unwrap(), kept as u64);
    }
}
