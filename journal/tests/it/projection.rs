//! The projection: equal to the model's store, and empty on any doubt.

use std::path::{Path, PathBuf};

use passerelle_journal::{JournalError, Projection};
use passerelle_model::store::{Memory, Read, Row, Write};
use proptest::prelude::*;
use redb::ReadableTable as _;

use crate::scratch;

const SCHEMA: u32 = 3;

fn open(dir: &Path) -> Projection {
    Projection::open(dir, SCHEMA, 1_000).unwrap()
}

fn row(number: u8) -> Row {
    (vec![b'k', number], vec![number; 40])
}

fn rows(projection: &Projection) -> Vec<Row> {
    projection.scan(b"", None, usize::MAX).unwrap()
}

/// Twenty rows, watermark 20, closed in order.
fn filled(dir: &Path) {
    let projection = open(dir);
    let writes = (0..20)
        .map(row)
        .map(|(key, value)| (key, Some(value)))
        .collect();
    projection.commit(writes, 20).unwrap();
}

/// It must have started empty, and work.
fn assert_rebuilt(projection: &Projection) {
    assert_eq!((projection.watermark(), rows(projection)), (0, vec![]));
    projection
        .commit(vec![(b"a".to_vec(), Some(b"b".to_vec()))], 1)
        .unwrap();
    assert_eq!(projection.get(b"a").unwrap(), Some(b"b".to_vec()));
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path))
        } else {
            found.push(path)
        }
    }
    found
}

fn store_files(dir: &Path) -> Vec<PathBuf> {
    files(dir)
        .into_iter()
        .filter(|path| !path.ends_with("LOCK"))
        .collect()
}

#[test]
fn rows_and_watermark_are_there_after_reopening() {
    let dir = scratch();
    filled(dir.path());
    let projection = open(dir.path());
    assert_eq!(projection.watermark(), 20);
    assert_eq!(rows(&projection), (0..20).map(row).collect::<Vec<_>>());
    projection
        .commit(vec![(row(3).0, None), (row(4).0, Some(vec![]))], 21)
        .unwrap();
    drop(projection);
    let projection = open(dir.path());
    assert_eq!((projection.watermark(), rows(&projection).len()), (21, 19));
    assert_eq!(projection.get(&row(3).0).unwrap(), None);
    assert_eq!(projection.get(&row(4).0).unwrap(), Some(vec![]));
}

#[test]
fn the_summary_is_out_of_reach() {
    let dir = scratch();
    let projection = open(dir.path());
    for key in [vec![], vec![0], vec![0, 0], vec![1]] {
        assert_eq!(projection.get(&key).unwrap(), None);
        assert_eq!(projection.scan(&key, None, 9).unwrap(), vec![]);
        projection
            .commit(vec![(key.clone(), Some(vec![7]))], 5)
            .unwrap();
        projection.commit(vec![(key, None)], 5).unwrap();
    }
    drop(projection);
    assert_eq!(open(dir.path()).watermark(), 5);
}

#[test]
fn a_watermark_going_back_is_refused_and_changes_nothing() {
    let dir = scratch();
    filled(dir.path());
    let projection = open(dir.path());
    projection.commit(vec![(row(0).0, None)], 19).unwrap_err();
    assert_eq!((projection.watermark(), rows(&projection).len()), (20, 20));
}

#[test]
fn another_schema_version_is_rebuilt() {
    let dir = scratch();
    filled(dir.path());
    assert_rebuilt(&Projection::open(dir.path(), SCHEMA + 1, 1_000).unwrap());
    assert_rebuilt(&Projection::open(dir.path(), SCHEMA, 1_000).unwrap());
}

#[test]
fn a_watermark_past_the_journal_is_rebuilt() {
    let dir = scratch();
    filled(dir.path());
    assert_eq!(
        Projection::open(dir.path(), SCHEMA, 20)
            .unwrap()
            .watermark(),
        20
    );
    assert_rebuilt(&Projection::open(dir.path(), SCHEMA, 19).unwrap());
}

#[test]
fn files_full_of_garbage_are_rebuilt() {
    let dir = scratch();
    for seed in 0..4_u8 {
        filled(dir.path());
        for path in store_files(dir.path()) {
            let len = std::fs::metadata(&path).unwrap().len() as usize;
            let garbage: Vec<u8> = (0..len)
                .map(|at| (at as u8).wrapping_mul(31) ^ seed)
                .collect();
            std::fs::write(path, garbage).unwrap();
        }
        assert_rebuilt(&open(dir.path()));
        open(dir.path()).clear().unwrap();
    }
}

#[test]
fn a_directory_of_something_else_is_rebuilt() {
    let dir = scratch();
    std::fs::write(dir.path().join("redb-7"), b"not a directory").unwrap();
    assert_rebuilt(&open(dir.path()));
    let dir = scratch();
    std::fs::create_dir_all(dir.path().join("redb-0/db")).unwrap();
    assert_rebuilt(&open(dir.path()));
    let dir = scratch();
    filled(dir.path());
    std::fs::create_dir(dir.path().join("redb-1")).unwrap();
    assert_rebuilt(&open(dir.path()));
}

/// Never a half state: all of the rows with their watermark, or nothing.
fn assert_whole_or_rebuilt(dir: &Path) {
    let projection = open(dir);
    if projection.watermark() == 20 {
        assert_eq!(rows(&projection), (0..20).map(row).collect::<Vec<_>>());
    } else {
        assert_rebuilt(&projection);
    }
}

#[test]
fn truncated_and_missing_files_give_all_or_nothing() {
    let pristine = scratch();
    filled(pristine.path());
    for path in store_files(pristine.path()) {
        let bytes = std::fs::read(&path).unwrap();
        let cuts = [0, 1, 2, 5, 10, 100].map(|part| bytes.len().checked_div(part));
        for cut in cuts {
            let dir = scratch();
            for from in store_files(pristine.path()) {
                let to = dir.path().join(from.strip_prefix(pristine.path()).unwrap());
                std::fs::create_dir_all(to.parent().unwrap()).unwrap();
                if from != path {
                    std::fs::copy(&from, &to).unwrap();
                } else if let Some(cut) = cut {
                    std::fs::write(&to, &bytes[..bytes.len() - cut]).unwrap();
                }
            }
            assert_whole_or_rebuilt(dir.path());
        }
    }
}

#[test]
fn flipped_bytes_give_all_or_nothing() {
    let pristine = scratch();
    filled(pristine.path());
    let bytes = std::fs::read(pristine.path().join("redb-0")).unwrap();
    let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    let mut kept = 0;
    for part in 0..150 {
        let dir = scratch();
        let mut damaged = bytes.clone();
        damaged[used[used.len() * part / 150]] ^= 0x55;
        std::fs::write(dir.path().join("redb-0"), damaged).unwrap();
        assert_whole_or_rebuilt(dir.path());
        kept += usize::from(open(dir.path()).watermark() == 20);
    }
    // Most bytes of so small a file belong to states before the last one.
    assert!(kept < 150, "{kept} flips went unnoticed");
}

#[test]
fn a_row_lost_changed_or_added_behind_its_back_is_rebuilt() {
    const ROWS: redb::TableDefinition<'_, &[u8], &[u8]> = redb::TableDefinition::new("rows");
    type Change = fn(&mut redb::Table<'_, &'static [u8], &'static [u8]>);
    let changes: [Change; 4] = [
        |rows| assert!(rows.remove(row(3).0.as_slice()).unwrap().is_some()),
        |rows| {
            let old = rows.insert(row(3).0.as_slice(), [9; 44].as_slice());
            assert!(old.unwrap().is_some());
        },
        |rows| {
            // Another row's value with its checksum.
            let other = rows
                .get(row(4).0.as_slice())
                .unwrap()
                .unwrap()
                .value()
                .to_vec();
            rows.insert(row(3).0.as_slice(), other.as_slice()).unwrap();
        },
        |rows| rows.retain(|_, _| false).unwrap(),
    ];
    for change in changes {
        let dir = scratch();
        filled(dir.path());
        {
            let db = redb::Database::open(dir.path().join("redb-0")).unwrap();
            let write = db.begin_write().unwrap();
            change(&mut write.open_table(ROWS).unwrap());
            write.commit().unwrap();
        }
        assert_rebuilt(&open(dir.path()));
    }
}

#[test]
fn a_copy_taken_while_in_use_has_rows_and_watermark_of_one_moment() {
    let dir = scratch();
    filled(dir.path());
    let projection = open(dir.path());
    projection
        .commit(vec![(row(3).0, None), (row(30).0, Some(vec![3]))], 21)
        .unwrap();
    let copied = |from: &Path| {
        let to = scratch();
        std::fs::copy(from.join("redb-0"), to.path().join("redb-0")).unwrap();
        let copy = open(to.path());
        (
            copy.watermark(),
            rows(&copy).len(),
            copy.get(&row(3).0).unwrap().is_some(),
        )
    };
    assert_eq!(
        copied(dir.path()),
        (20, 20, true),
        "not moved to the file yet"
    );
    projection.flush().unwrap();
    projection.commit(vec![(row(5).0, None)], 22).unwrap();
    assert_eq!(copied(dir.path()), (21, 20, false));
    assert_eq!((projection.watermark(), rows(&projection).len()), (22, 19));
}

#[test]
fn clear_empties_and_the_store_goes_on() {
    let dir = scratch();
    filled(dir.path());
    let projection = open(dir.path());
    projection.clear().unwrap();
    assert_rebuilt(&projection);
    drop(projection);
    let projection = open(dir.path());
    assert_eq!((projection.watermark(), rows(&projection).len()), (1, 1));
}

#[test]
fn a_second_opening_is_refused_and_harms_nothing() {
    let dir = scratch();
    filled(dir.path());
    let first = open(dir.path());
    let Err(error) = Projection::open(dir.path(), SCHEMA + 1, 0) else {
        panic!("opened twice")
    };
    assert!(matches!(error, JournalError::InUse { .. }), "{error}");
    assert_eq!(rows(&first).len(), 20);
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop_oneof![0u8..3, Just(255)], 0..4)
}

fn writes() -> impl Strategy<Value = Vec<Write>> {
    let value = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..9));
    proptest::collection::vec((key(), value), 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn reads_agree_with_the_models_store(
        commits in proptest::collection::vec(writes(), 0..5),
        flushes: u8,
        scans in proptest::collection::vec((key(), proptest::option::of(key()), 0usize..8), 1..40),
    ) {
        let dir = scratch();
        let mut memory = Memory::default();
        let projection = open(dir.path());
        for (at, writes) in commits.iter().enumerate() {
            memory.commit(writes.clone());
            projection.commit(writes.clone(), at as u64).unwrap();
            if flushes >> at & 1 == 1 {
                projection.flush().unwrap();
            }
        }
        for (prefix, after, limit) in &scans {
            prop_assert_eq!(
                projection.scan(prefix, after.as_deref(), *limit).unwrap(),
                memory.scan(prefix, after.as_deref(), *limit).unwrap()
            );
            prop_assert_eq!(projection.get(prefix).unwrap(), memory.get(prefix).unwrap());
        }
        drop(projection);
        let expected: Vec<Row> =
            memory.rows().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
        prop_assert_eq!(rows(&open(dir.path())), expected);
    }
}
