use super::*;
use passerelle_model::store::Memory;

const ROWS: u32 = 600;

fn row(number: u32) -> Write {
    let value = format!("value of row {number}").repeat(4).into_bytes();
    (number.to_be_bytes().to_vec(), Some(value))
}

/// Closed in order, with more rows than one page holds.
fn filled(dir: &Path) {
    let projection = Projection::open(dir, 1, 9).unwrap();
    projection.commit((0..ROWS).map(row).collect(), 9).unwrap();
}

/// As a large store is opened: unread.
fn open_unread(dir: &Path) -> Projection {
    let mut projection = Projection::open_checking(dir, 1, 9, 0).unwrap();
    // Its check must not come before what the test does.
    projection.checker.take().unwrap().join().unwrap();
    projection
}

fn damage_a_value(dir: &Path) {
    let path = generation_path(dir, 0);
    let mut bytes = std::fs::read(&path).unwrap();
    let wanted = b"value of row 77value";
    let at = bytes
        .windows(wanted.len())
        .position(|found| found == wanted);
    bytes[at.unwrap() + 3] ^= 1;
    std::fs::write(&path, bytes).unwrap();
}

fn assert_given_up(dir: &Path, projection: Projection) {
    assert!(
        projection.get(&row(1).0).is_err(),
        "no answer after a doubt"
    );
    assert!(projection.scan(b"", None, 1).is_err());
    assert!(projection.commit(vec![row(1)], 9).is_err());
    drop(projection);
    let again = Projection::open(dir, 1, 9).unwrap();
    assert_eq!(again.watermark(), 0);
    again.commit(vec![row(1)], 9).unwrap();
    drop(again);
    assert_eq!(Projection::open(dir, 1, 9).unwrap().watermark(), 9);
}

#[test]
fn damage_in_a_large_store_is_found_when_the_row_is_read() {
    for by_scan in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path());
        let projection = open_unread(dir.path());
        assert_eq!(projection.watermark(), 9);
        damage_a_value(dir.path());
        let read = || match by_scan {
            true => projection.scan(&[], None, 100).map(drop),
            false => projection.get(&77_u32.to_be_bytes()).map(drop),
        };
        // The page may still be in the store's cache, from the check.
        if read().is_ok() {
            drop(projection);
            let projection = Projection::open_checking(dir.path(), 1, 9, 0).unwrap();
            assert!(projection.scan(&[], None, 100).is_err());
            assert_given_up(dir.path(), projection);
        } else {
            assert_given_up(dir.path(), projection);
        }
    }
}

#[test]
fn damage_in_a_large_store_is_found_by_the_thread_that_reads_it_all() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    damage_a_value(dir.path());
    assert_given_up(dir.path(), open_unread(dir.path()));
}

#[test]
fn a_row_lost_from_a_large_store_is_found_by_the_thread_that_reads_it_all() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    {
        let db = redb::Database::open(generation_path(dir.path(), 0)).unwrap();
        let write = db.begin_write().unwrap();
        let rows = redb::TableDefinition::<&[u8], &[u8]>::new("rows");
        let key = 77_u32.to_be_bytes();
        let lost = write
            .open_table(rows)
            .unwrap()
            .remove(key.as_slice())
            .unwrap()
            .is_some();
        assert!(lost);
        write.commit().unwrap();
    }
    assert_given_up(dir.path(), open_unread(dir.path()));
}

#[test]
fn commits_larger_than_memory_may_hold_are_read_back_while_they_move() {
    let dir = tempfile::tempdir().unwrap();
    let projection = Projection::open(dir.path(), 1, 100).unwrap();
    let mut memory = Memory::default();
    for round in 0..60_u32 {
        let writes: Vec<Write> = (0..150_u32)
            .map(|n| {
                let key = ((round * 7919 + n * 104_729) % 2_000)
                    .to_be_bytes()
                    .to_vec();
                (key, (n % 5 > 0).then(|| vec![round as u8; 4_000]))
            })
            .collect();
        memory.commit(writes.clone());
        projection.commit(writes, u64::from(round)).unwrap();
        let key = (round * 31 % 2_000).to_be_bytes();
        assert_eq!(projection.get(&key).unwrap(), memory.get(&key).unwrap());
        let scanned = projection.scan(&[], Some(&key), 50).unwrap();
        assert_eq!(scanned, memory.scan(&[], Some(&key), 50).unwrap());
        assert!(projection.inner.read().fresh_bytes <= MAX_FRESH_BYTES);
    }
    drop(projection);
    let projection = Projection::open(dir.path(), 1, 100).unwrap();
    assert_eq!(projection.watermark(), 59);
    let all = projection.scan(&[], None, usize::MAX).unwrap();
    assert_eq!(all, memory.scan(&[], None, usize::MAX).unwrap());
}
