use super::*;
use crate::files::OsDisk;
use crate::{Journal, JournalRecord, Options, SegmentJournal};
use passerelle_audit::merkle::Tree;
use passerelle_audit::tiles::{TileKind, TilePath, new_tiles, tile_content};

fn entry(n: u64) -> Vec<u8> {
    format!("entry {n}").into_bytes()
}

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

/// A journal of `size` entries, with a tree in memory beside it.
fn journal(dir: &Path, size: u64) -> (SegmentJournal, Tree) {
    let mut journal = SegmentJournal::open(&dir.join("journal"), Options::default()).unwrap();
    let records: Vec<_> = (journal.len()..size)
        .map(|n| JournalRecord {
            entry: entry(n),
            sidecar: vec![],
        })
        .collect();
    for batch in records.chunks(5_000) {
        journal.append(batch).unwrap();
    }
    (journal, (0..size).map(|n| leaf_hash(&entry(n))).collect())
}

fn open(dir: &Path, journal: &SegmentJournal) -> StoredTree {
    StoredTree::open(&dir.join("tree"), journal.reader(), Arc::new(OsDisk)).unwrap()
}

fn assert_same(stored: &StoredTree, tree: &Tree, indices: impl Iterator<Item = u64>) {
    let size = tree.size();
    assert_eq!((stored.size(), stored.root()), (size, tree.root()));
    for index in indices {
        let of = index + (size - index) / 3 + 1;
        let of = of.min(size);
        assert_eq!(
            stored.inclusion_proof(index, size),
            tree.inclusion_proof(index, size)
        );
        assert_eq!(
            stored.inclusion_proof(index, of),
            tree.inclusion_proof(index, of)
        );
        assert_eq!(
            stored.consistency_proof(index, of),
            tree.consistency_proof(index, of)
        );
        assert_eq!(stored.root_at(index), tree.root_at(index));
    }
    assert_eq!(
        stored.inclusion_proof(size, size),
        tree.inclusion_proof(size, size)
    );
    assert_eq!(
        stored.consistency_proof(0, size + 1),
        tree.consistency_proof(0, size + 1)
    );
}

/// Ends as kill -9 does: nothing is written or marked.
fn kill(mut tree: StoredTree) {
    (tree.written, tree.marked) = (tree.size(), tree.size());
}

#[test]
fn all_sizes_to_1000_give_the_roots_and_proofs_of_the_tree_in_memory() {
    let dir = scratch();
    let (journal, all) = journal(dir.path(), 1_000);
    let mut tree = Tree::new();
    let empty = SegmentJournal::open(&dir.path().join("empty"), Options::default()).unwrap();
    let mut stored = open(dir.path(), &empty);
    stored.journal = journal.reader();
    for n in 0..1_000 {
        tree.push(all.leaf(n).unwrap());
        stored.append(all.leaf(n));
        if n % 7 == 0 {
            stored.write_out();
            // As if it were long ago: what is read comes from the files.
            for row in &mut stored.recent {
                row.first += row.hashes.len() as u64;
                row.hashes.clear();
            }
        }
        lock(&stored.roots).clear();
        assert_same(
            &stored,
            &tree,
            (0..=n).filter(|i| n < 40 || (n + i) % 61 == 0),
        );
    }
}

#[test]
fn sizes_around_powers_of_256_survive_an_orderly_end_and_a_kill() {
    let dir = scratch();
    for size in [255, 256, 257, 65_535, 65_536, 65_537] {
        let (journal, tree) = journal(dir.path(), size);
        let indices = || {
            (0..size)
                .step_by(usize::try_from(size / 50).unwrap())
                .chain([size - 1])
        };
        let stored = open(dir.path(), &journal);
        assert_same(&stored, &tree, indices());
        kill(stored);
        let stored = open(dir.path(), &journal);
        assert_same(&stored, &tree, indices());
        drop(stored);
        let stored = open(dir.path(), &journal);
        assert!(
            stored.recent.iter().all(|row| row.hashes.is_empty()),
            "nothing is hashed again"
        );
        assert_same(&stored, &tree, indices());
        for path in new_tiles(0, size) {
            if path.kind() != TileKind::Entries {
                let content = stored.tile(&path).unwrap();
                assert_eq!(content, tile_content(&tree, &path).unwrap());
            }
        }
        let beyond = TilePath::new(TileKind::Hashes(0), size / 256, (size % 256) as u16 + 1);
        assert!(stored.tile(&beyond.unwrap()).is_err());
        let entries = TilePath::new(TileKind::Entries, 0, 1).unwrap();
        assert!(stored.tile(&entries).is_err());
    }
}

/// Every byte of every file changed, and every file cut at every byte.
fn damages(dir: &Path) -> Vec<(std::path::PathBuf, Vec<u8>, Vec<u8>)> {
    let mut found = vec![];
    for file in std::fs::read_dir(dir.join("tree")).unwrap() {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            found.push((path.clone(), bytes.clone(), flipped));
            found.push((path.clone(), bytes.clone(), bytes[..at].to_vec()));
        }
    }
    found
}

#[test]
fn damage_at_any_byte_before_an_open_is_mended_and_no_wrong_proof_is_given() {
    let dir = scratch();
    let (journal, tree) = journal(dir.path(), 23);
    drop(open(dir.path(), &journal));
    for (path, bytes, damaged) in damages(dir.path()) {
        std::fs::write(&path, damaged).unwrap();
        let stored = open(dir.path(), &journal);
        assert_same(&stored, &tree, 0..23);
        drop(stored);
        if !path.ends_with("mark") {
            assert_eq!(
                std::fs::read(&path).unwrap(),
                bytes,
                "{} is mended",
                path.display()
            );
        }
        drop(open(dir.path(), &journal));
        std::fs::write(&path, bytes).unwrap();
    }
}

#[test]
fn damage_under_a_running_tree_is_mended_and_no_wrong_proof_is_given() {
    let dir = scratch();
    let (journal, tree) = journal(dir.path(), 11);
    drop(open(dir.path(), &journal));
    let stored = open(dir.path(), &journal);
    for (path, bytes, damaged) in damages(dir.path()) {
        std::fs::write(&path, damaged).unwrap();
        lock(&stored.roots).clear();
        assert_same(&stored, &tree, 0..11);
        std::fs::write(&path, bytes).unwrap();
    }
}

#[test]
fn damage_under_a_running_tree_is_mended_before_a_tile_is_given() {
    let dir = scratch();
    let (journal, tree) = journal(dir.path(), 771);
    drop(open(dir.path(), &journal));
    let stored = open(dir.path(), &journal);
    let of = |level, index, width| TilePath::new(TileKind::Hashes(level), index, width).unwrap();
    let tiles = [
        of(0, 0, 256),
        of(0, 1, 1),
        of(0, 3, 2),
        of(0, 3, 3),
        of(1, 0, 1),
        of(1, 0, 2),
        of(1, 0, 3),
    ];
    let all: Vec<_> = damages(dir.path());
    let hashes = |path: &Path| path.ends_with("level-00") || path.ends_with("level-08");
    for (path, bytes, damaged) in all.iter().filter(|d| hashes(&d.0)).step_by(37) {
        std::fs::write(path, damaged).unwrap();
        for tile in &tiles {
            assert_eq!(
                stored.tile(tile).unwrap(),
                tile_content(&tree, tile).unwrap()
            );
        }
        std::fs::write(path, bytes).unwrap();
    }
}

#[test]
fn files_of_another_or_a_longer_journal_are_made_again() {
    let (dir, other) = (scratch(), scratch());
    let (longer, _) = journal(dir.path(), 40);
    drop(open(dir.path(), &longer));
    let (shorter, tree) = journal(other.path(), 30);
    let stored = open(dir.path(), &shorter);
    assert_same(&stored, &tree, 0..30);
    drop((stored, longer));
    let mut different = SegmentJournal::open(&dir.path().join("d"), Options::default()).unwrap();
    let records: Vec<_> = (0..30)
        .map(|n| JournalRecord {
            entry: entry(n + 500),
            sidecar: vec![],
        })
        .collect();
    different.append(&records).unwrap();
    let tree = records
        .iter()
        .map(|record| leaf_hash(&record.entry))
        .collect();
    assert_same(&open(dir.path(), &different), &tree, 0..30);
}

#[test]
fn a_journal_that_is_ahead_after_a_kill_is_hashed_from_where_the_files_end() {
    let dir = scratch();
    let (first, _) = journal(dir.path(), 3_000);
    let mut stored = open(dir.path(), &first);
    drop(first);
    // The files get more than the mark says, then some levels less than others.
    stored.append((3_000..3_010).map(|n| leaf_hash(&entry(n))));
    stored.write_out();
    kill(stored);
    std::fs::write(dir.path().join("tree/level-03"), b"torn").unwrap();
    let (journal, tree) = journal(dir.path(), 3_020);
    assert_same(&open(dir.path(), &journal), &tree, (0..3_020).step_by(97));
}

#[test]
fn a_damaged_journal_gives_no_proof_and_no_panic() {
    let dir = scratch();
    let (journal, _) = journal(dir.path(), 9);
    drop(open(dir.path(), &journal));
    let stored = open(dir.path(), &journal);
    let segment = dir.path().join("journal").join(format!("{:020}.seg", 0));
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[80] ^= 1;
    std::fs::write(segment, bytes).unwrap();
    std::fs::write(dir.path().join("tree/level-00"), [0; 32 * 9]).unwrap();
    assert_eq!(stored.inclusion_proof(3, 9), Err(MerkleError::Missing));
    assert_eq!(stored.root().0.len(), 32);
}
