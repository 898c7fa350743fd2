//! The file of keys: what a crash, a full disk, a failed sync and rot leave of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use passerelle_journal::JournalError;
use passerelle_journal::files::OsDisk;
use passerelle_journal::key_file::{CHUNK_SLOTS, KeyFile, SLOT_BYTES, Tag};
use proptest::prelude::*;

use crate::disk::{After, Fault, FaultDisk};
use crate::scratch;

fn tag(number: u64) -> Tag {
    let mut tag = [0x11; 16];
    tag[..8].copy_from_slice(&number.to_be_bytes());
    tag
}

fn key(number: u64) -> [u8; 32] {
    let mut key = [0xee; 32];
    key[..8].copy_from_slice(&number.to_le_bytes());
    key
}

fn path(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join("vault.keys")
}

fn open(path: &Path) -> KeyFile {
    KeyFile::open_on(&OsDisk, path).unwrap()
}

fn got(keys: &KeyFile, number: u64) -> Option<[u8; 32]> {
    keys.get(&tag(number)).unwrap().map(|key| *key)
}

fn stands_in(path: &Path, number: u64) -> bool {
    let bytes = std::fs::read(path).unwrap();
    bytes.windows(32).any(|window| window == key(number))
}

/// Where the slot of a tag begins.
fn place(path: &Path, number: u64) -> usize {
    let bytes = std::fs::read(path).unwrap();
    let slots = bytes.chunks(SLOT_BYTES);
    let place = slots
        .enumerate()
        .find(|(_, slot)| slot.starts_with(&tag(number)));
    place.unwrap().0 * SLOT_BYTES
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 4;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_key_is_found_after_a_start_and_not_after_it_was_destroyed() {
    let dir = scratch();
    let keys = open(&path(&dir));
    for number in 0..3 {
        keys.put(&tag(number), &key(number)).unwrap();
        assert_eq!(got(&keys, number), Some(key(number)));
    }
    keys.sync().unwrap();
    drop(keys);
    let keys = open(&path(&dir));
    assert_eq!(keys.tags(), [tag(0), tag(1), tag(2)]);
    assert_eq!(got(&keys, 1), Some(key(1)));
    keys.destroy(&[tag(1)]).unwrap();
    assert_eq!(got(&keys, 1), None);
    assert!(!stands_in(&path(&dir), 1), "overwritten, not forgotten");
    keys.destroy(&[tag(1)]).unwrap();
    drop(keys);
    let keys = open(&path(&dir));
    assert_eq!((got(&keys, 0), got(&keys, 1)), (Some(key(0)), None));
    assert_eq!(keys.nameless(), 0);
}

#[test]
fn only_the_owner_reads_the_file_and_only_one_process_has_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = scratch();
    let keys = open(&path(&dir));
    let mode = std::fs::metadata(path(&dir)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = KeyFile::open_on(&OsDisk, &path(&dir)).err().unwrap();
    assert!(matches!(again, JournalError::InUse { .. }), "{again}");
    drop(keys);
    open(&path(&dir));
}

#[test]
fn a_key_that_is_there_is_never_overwritten_by_another() {
    let dir = scratch();
    let keys = open(&path(&dir));
    keys.put(&tag(1), &key(1)).unwrap();
    assert!(keys.put(&tag(1), &key(2)).is_err());
    assert_eq!(got(&keys, 1), Some(key(1)));
    assert!(!keys.has_failed());
}

#[test]
fn slots_are_used_again_and_the_file_grows_by_chunks() {
    let dir = scratch();
    let keys = open(&path(&dir));
    let chunk = u64::from(CHUNK_SLOTS) * SLOT_BYTES as u64;
    let len = || std::fs::metadata(path(&dir)).unwrap().len();
    for number in 0..u64::from(CHUNK_SLOTS) - 1 {
        keys.put(&tag(number), &key(number)).unwrap();
    }
    assert_eq!(len(), chunk);
    for number in 10_000..10_100 {
        keys.destroy(&[tag(number - 10_000)]).unwrap();
        keys.put(&tag(number), &key(number)).unwrap();
    }
    assert_eq!(len(), chunk, "each took the slot of one that is gone");
    keys.put(&tag(20_000), &key(1)).unwrap();
    assert_eq!(len(), 2 * chunk);
}

#[test]
fn keys_put_by_several_threads_share_a_sync_and_are_all_there() {
    let dir = scratch();
    let disk = FaultDisk::default();
    let keys = KeyFile::open_on(&disk, &path(&dir)).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let keys = &keys;
            scope.spawn(move || {
                for number in thread * 100..thread * 100 + 50 {
                    keys.put(&tag(number), &key(number)).unwrap();
                }
            });
        }
    });
    let before = disk.operations();
    keys.sync().unwrap();
    keys.sync().unwrap();
    assert_eq!(
        disk.operations(),
        before + 1,
        "nothing to do the second time"
    );
    drop(keys);
    disk.restart(After::Lose);
    let keys = KeyFile::open_on(&disk, &path(&dir)).unwrap();
    assert_eq!(keys.tags().len(), 200);
    assert_eq!(got(&keys, 349), Some(key(349)));
}

#[test]
fn what_was_not_synced_may_be_lost_and_costs_nothing_else() {
    let dir = scratch();
    let disk = FaultDisk::default();
    let keys = KeyFile::open_on(&disk, &path(&dir)).unwrap();
    keys.put(&tag(1), &key(1)).unwrap();
    keys.sync().unwrap();
    keys.put(&tag(2), &key(2)).unwrap();
    drop(keys);
    disk.restart(After::Lose);
    let keys = KeyFile::open_on(&disk, &path(&dir)).unwrap();
    assert_eq!((got(&keys, 1), got(&keys, 2)), (Some(key(1)), None));
}

#[test]
fn after_a_failed_sync_nothing_is_taken_or_given() {
    let dir = scratch();
    let disk = FaultDisk::default();
    let keys = KeyFile::open_on(&disk, &path(&dir)).unwrap();
    keys.put(&tag(1), &key(1)).unwrap();
    disk.arm(0, Fault::FailNotPersist);
    keys.sync().unwrap_err();
    assert!(keys.has_failed());
    for refused in [
        keys.sync().unwrap_err(),
        keys.put(&tag(2), &key(2)).unwrap_err(),
        keys.get(&tag(1)).map(drop).unwrap_err(),
        keys.destroy(&[tag(1)]).unwrap_err(),
    ] {
        assert!(matches!(refused, JournalError::GivenUp { .. }), "{refused}");
        assert!(refused.to_string().contains("injected fault"), "{refused}");
    }
}

#[test]
fn a_full_disk_refuses_one_key_and_the_next_has_a_place_once_there_is_space() {
    let dir = scratch();
    let disk = FaultDisk::default();
    let keys = KeyFile::open_on(&disk, &path(&dir)).unwrap();
    keys.put(&tag(1), &key(1)).unwrap();
    keys.sync().unwrap();
    for quarters in 0..4 {
        disk.arm(0, Fault::Full(quarters));
        assert!(keys.put(&tag(2), &key(2)).is_err());
        assert!(!keys.has_failed());
        assert_eq!((got(&keys, 1), got(&keys, 2)), (Some(key(1)), None));
        disk.restart(After::Kill);
    }
    keys.put(&tag(3), &key(3)).unwrap();
    keys.sync().unwrap();
    drop(keys);
    let keys = open(&path(&dir));
    assert_eq!((keys.tags(), keys.nameless()), (vec![tag(1), tag(3)], 0));
}

#[test]
fn a_key_that_a_full_disk_kept_from_being_destroyed_can_be_destroyed_later() {
    let dir = scratch();
    let disk = FaultDisk::default();
    let keys = KeyFile::open_on(&disk, &path(&dir)).unwrap();
    keys.put(&tag(1), &key(1)).unwrap();
    keys.sync().unwrap();
    disk.arm(0, Fault::Full(1));
    assert!(keys.destroy(&[tag(1)]).is_err());
    assert!(
        !matches!(keys.get(&tag(1)), Ok(None)),
        "not said to be gone"
    );
    disk.restart(After::Kill);
    keys.destroy(&[tag(1)]).unwrap();
    drop(keys);
    disk.restart(After::Lose);
    assert!(!stands_in(&path(&dir), 1));
}

/// Rot of any byte of a slot costs that key and no other, and it is never taken for destroyed.
#[test]
fn rot_costs_its_own_key_and_no_other() {
    let dir = scratch();
    let path = path(&dir);
    let keys = open(&path);
    for number in 0..3 {
        keys.put(&tag(number), &key(number)).unwrap();
    }
    keys.sync().unwrap();
    let at = place(&path, 1);
    for byte in 0..SLOT_BYTES {
        flip(&path, at + byte);
        let refused = keys.get(&tag(1)).map(drop).unwrap_err();
        assert!(matches!(refused, JournalError::Corrupt { .. }), "{refused}");
        flip(&path, at + byte);
    }
    drop(keys);
    for byte in 0..SLOT_BYTES {
        flip(&path, at + byte);
        let keys = open(&path);
        assert_eq!((got(&keys, 0), got(&keys, 2)), (Some(key(0)), Some(key(2))));
        let refused = keys.get(&tag(1)).map(drop).unwrap_err();
        assert!(
            matches!(refused, JournalError::Corrupt { .. }),
            "{byte}: {refused}"
        );
        drop(keys);
        flip(&path, at + byte);
    }
    // Whatever rotted: destroyed it is gone.
    for byte in [3, 20, 50, 61] {
        let whole = std::fs::read(&path).unwrap();
        flip(&path, at + byte);
        let keys = open(&path);
        keys.destroy(&[tag(1)]).unwrap();
        assert_eq!(got(&keys, 1), None, "{byte}");
        let bytes = std::fs::read(&path).unwrap();
        assert!(bytes[at..at + SLOT_BYTES].iter().all(|b| *b == 0), "{byte}");
        assert_eq!((got(&keys, 0), got(&keys, 2)), (Some(key(0)), Some(key(2))));
        drop(keys);
        std::fs::write(&path, whole).unwrap();
    }
}

#[test]
fn a_header_is_written_again_if_keys_vouch_for_it_and_other_files_are_refused() {
    let dir = scratch();
    let path = path(&dir);
    let keys = open(&path);
    keys.put(&tag(1), &key(1)).unwrap();
    drop(keys);
    let whole = std::fs::read(&path).unwrap();
    flip(&path, 3);
    let keys = open(&path);
    assert_eq!(got(&keys, 1), Some(key(1)));
    drop(keys);
    assert_eq!(std::fs::read(&path).unwrap(), whole);
    let mut later = whole[..SLOT_BYTES].to_vec();
    later[8] = 2;
    let crc = crc32c(&later[..60]);
    later[60..].copy_from_slice(&crc.to_le_bytes());
    for other in [&b"a letter to a friend, and no key"[..], &[7; 200], &later] {
        std::fs::write(&path, other).unwrap();
        let refused = KeyFile::open_on(&OsDisk, &path).err().unwrap();
        assert!(matches!(refused, JournalError::Corrupt { .. }), "{refused}");
        assert_eq!(std::fs::read(&path).unwrap(), other, "left as it was");
    }
}

/// Bit by bit (Castagnoli, reflected): the test's own.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg())
        })
    })
}

/// The kernel has zeros in its cache and counts them as clean; the disk has the key.
#[test]
fn a_destruction_whose_sync_failed_is_carried_out_by_the_next_start() {
    let dir = scratch();
    let disk = FaultDisk::default();
    let keys = KeyFile::open_on(&disk, &path(&dir)).unwrap();
    keys.put(&tag(1), &key(1)).unwrap();
    keys.put(&tag(2), &key(2)).unwrap();
    keys.sync().unwrap();
    disk.arm(1, Fault::FailNotPersist);
    assert!(keys.destroy(&[tag(1)]).is_err());
    drop(keys);
    disk.restart(After::Kill);
    let keys = KeyFile::open_on(&disk, &path(&dir)).unwrap();
    assert_eq!(got(&keys, 1), None, "as the cache has it");
    keys.destroy(&[tag(1)]).unwrap();
    let before = disk.operations();
    keys.destroy(&[tag(1)]).unwrap();
    assert_eq!(disk.operations(), before, "once is enough");
    drop(keys);
    disk.restart(After::Lose);
    assert!(!stands_in(&path(&dir), 1), "the disk has it no more");
    let keys = KeyFile::open_on(&disk, &path(&dir)).unwrap();
    assert_eq!((got(&keys, 1), got(&keys, 2)), (None, Some(key(2))));
}

#[derive(Debug, Clone)]
enum Op {
    Put(u64),
    Sync,
    Destroy(u64),
    Restart(u64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => (0..20_u64).prop_map(Op::Put),
        2 => Just(Op::Sync),
        2 => (0..20_u64).prop_map(Op::Destroy),
        1 => any::<u64>().prop_map(Op::Restart),
    ];
    proptest::collection::vec(op, 1..40)
}

/// What a caller may rely on. Its keys are never used twice, as those of the product are not.
#[derive(Default)]
struct Known {
    durable: BTreeMap<Tag, u64>,
    put: BTreeMap<Tag, u64>,
    destroyed: BTreeSet<u64>,
    /// Destroyed, but nobody was told that it is done.
    in_doubt: BTreeMap<Tag, u64>,
}

fn carry_out(
    keys: &KeyFile,
    op: &Op,
    next: &mut u64,
    known: &mut Known,
) -> Result<(), JournalError> {
    match op {
        Op::Put(number) => {
            let tag = tag(*number);
            if !known.durable.contains_key(&tag) && !known.put.contains_key(&tag) {
                *next += 1;
                keys.put(&tag, &key(*next))?;
                known.put.insert(tag, *next);
            }
        }
        Op::Sync => {
            keys.sync()?;
            known.durable.append(&mut known.put);
        }
        Op::Destroy(number) => {
            let tag = tag(*number);
            let old = known.durable.remove(&tag).or(known.put.remove(&tag));
            known.in_doubt.extend(old.map(|old| (tag, old)));
            keys.destroy(&[tag])?;
            known.destroyed.extend(known.in_doubt.remove(&tag));
        }
        Op::Restart(_) => {}
    }
    Ok(())
}

/// After a start: what was synced is there, what was destroyed is nowhere, and a sweep leaves
/// nothing but what was synced.
fn check(path: &Path, keys: &KeyFile, known: &mut Known) {
    for (tag, number) in &known.durable {
        assert_eq!(keys.get(tag).unwrap().map(|k| *k), Some(key(*number)));
    }
    for number in &known.destroyed {
        assert!(!stands_in(path, *number), "{number} is there again");
    }
    let unwanted: Vec<_> = keys.tags();
    let unwanted: Vec<_> = unwanted
        .into_iter()
        .filter(|tag| !known.durable.contains_key(tag))
        .collect();
    keys.destroy(&unwanted).unwrap();
    keys.scrub().unwrap();
    assert_eq!(keys.nameless(), 0);
    known.put.clear();
    let doubtful = std::mem::take(&mut known.in_doubt);
    known.destroyed.extend(doubtful.into_values());
    assert!(keys.tags().iter().eq(known.durable.keys()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Any operation goes wrong in any way, then the power goes or the process ends.
    #[test]
    fn synced_keys_survive_anything_and_destroyed_ones_nothing(
        ops in ops(),
        at in 0..60_usize,
        quarters in 0..5_u64,
        kind in 0..4_u8,
        seed in any::<u64>(),
    ) {
        let dir = scratch();
        let path = path(&dir);
        let disk = FaultDisk::default();
        let fault = match kind {
            0 => Fault::FailNotPersist,
            1 => Fault::FailButPersist,
            2 => Fault::Crash(quarters),
            _ => Fault::Full(quarters),
        };
        disk.arm(at, fault);
        let (mut known, mut next) = (Known::default(), 0);
        let mut keys = KeyFile::open_on(&disk, &path).ok();
        for op in ops {
            let done = keys.as_ref().map(|keys| carry_out(keys, &op, &mut next, &mut known));
            let restart = match (&op, done) {
                (Op::Restart(seed), _) => Some(*seed),
                (_, Some(Ok(()))) => None,
                _ => Some(seed),
            };
            if let Some(seed) = restart {
                drop(keys.take());
                let after = [After::Kill, After::Lose, After::Random(seed)];
                disk.restart(after[(seed % 3) as usize]);
                let opened = KeyFile::open_on(&disk, &path).unwrap();
                check(&path, &opened, &mut known);
                keys = Some(opened);
            }
        }
        drop(keys);
        disk.restart(After::Lose);
        let opened = KeyFile::open_on(&disk, &path).unwrap();
        check(&path, &opened, &mut known);
    }
}
