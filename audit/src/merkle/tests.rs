//! Published vectors, two independent implementations as oracles, and mutations.

use super::*;
use crate::tiles::{TileKind, TilePath, new_tiles, tile_content};
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use proptest::prelude::*;
use sha2::Sha256;
use tlog_tiles::{Hash, HashReader, tlog};

/// Leaves, complete subtrees and roots of the 8-leaf tree that the reference implementation of
/// Certificate Transparency publishes.
const LEAVES: [&str; 8] = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
];
const ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];
/// Index, size, inclusion proof.
const INCLUSION: [(u64, u64, &[&str]); 4] = [
    (
        0,
        8,
        &[
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        5,
        8,
        &[
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (
        2,
        3,
        &["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    ),
    (
        1,
        5,
        &[
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
];
/// Old size, new size, consistency proof.
const CONSISTENCY: [(u64, u64, &[&str]); 3] = [
    (
        1,
        8,
        &[
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        6,
        8,
        &[
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (
        2,
        5,
        &[
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
];

fn digests(hex: &[&str]) -> Vec<Digest> {
    hex.iter()
        .map(|text| Digest::from_hex(text).unwrap())
        .collect()
}

fn entry(n: u64) -> Vec<u8> {
    format!("entry {n}").into_bytes()
}

fn tree(size: u64) -> Tree {
    let mut tree = Tree::new();
    (0..size).for_each(|n| assert_eq!(tree.push(leaf_hash(&entry(n))), n));
    tree
}

/// The tree of the crate `tlog_tiles`: a list of stored hashes.
struct Stored(Vec<Hash>);

impl HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, tlog::Error> {
        Ok(indexes
            .iter()
            .map(|index| self.0[*index as usize])
            .collect())
    }
}

impl Stored {
    fn new(size: u64) -> Self {
        let mut stored = Self(Vec::new());
        for n in 0..size {
            let more = tlog::stored_hashes(n, &entry(n), &stored).unwrap();
            stored.0.extend(more);
        }
        stored
    }
}

fn ours(hashes: Vec<Hash>) -> Vec<Digest> {
    hashes.into_iter().map(|hash| Digest(hash.0)).collect()
}

fn bytes(hashes: &[Digest]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

#[test]
fn roots_and_proofs_are_those_of_the_reference_tree() {
    let mut tree = Tree::new();
    let mut frontier = Frontier::new();
    assert_eq!(tree.root().to_hex(), ROOTS[0]);
    for (n, leaf) in LEAVES.iter().enumerate() {
        let leaf = leaf_hash(&hex::decode(leaf).unwrap());
        tree.push(leaf);
        frontier.push(leaf);
        assert_eq!(tree.root().to_hex(), ROOTS[n + 1]);
        assert_eq!(frontier.root(), tree.root());
    }
    for (index, size, proof) in INCLUSION {
        assert_eq!(tree.inclusion_proof(index, size).unwrap(), digests(proof));
        let leaf = tree.leaf(index).unwrap();
        let root = Digest::from_hex(ROOTS[size as usize]).unwrap();
        assert_eq!(
            verify_inclusion(&leaf, index, size, &digests(proof), &root),
            Ok(())
        );
    }
    for (old, new, proof) in CONSISTENCY {
        assert_eq!(tree.consistency_proof(old, new).unwrap(), digests(proof));
        let root = |size: u64| Digest::from_hex(ROOTS[size as usize]).unwrap();
        let verdict = verify_consistency(old, &root(old), new, &root(new), &digests(proof));
        assert_eq!(verdict, Ok(()));
    }
}

#[test]
fn roots_inclusion_and_consistency_equal_ct_merkle_for_all_sizes_to_1000() {
    let tree = tree(1000);
    let mut oracle = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    let mut frontier = Frontier::new();
    for size in 1..=1000 {
        oracle.push(entry(size - 1));
        frontier.push(leaf_hash(&entry(size - 1)));
        let root = tree.root_at(size).unwrap();
        assert_eq!(oracle.root().as_bytes()[..], root.0);
        assert_eq!(frontier.root(), root);
        assert_eq!(tree.frontier_at(size).unwrap(), frontier);
        for other in interesting(size) {
            let proof = tree.inclusion_proof(other, size).unwrap();
            let expected = oracle.prove_inclusion(other as usize);
            assert_eq!(
                bytes(&proof),
                expected.as_bytes(),
                "index {other} of {size}"
            );
            let leaf = tree.leaf(other).unwrap();
            assert_eq!(verify_inclusion(&leaf, other, size, &proof, &root), Ok(()));
            let (old, old_root) = (other + 1, tree.root_at(other + 1).unwrap());
            let proof = tree.consistency_proof(old, size).unwrap();
            let expected = oracle.prove_consistency((size - old) as usize);
            assert_eq!(bytes(&proof), expected.as_bytes(), "{old} to {size}");
            assert_eq!(
                verify_consistency(old, &old_root, size, &root, &proof),
                Ok(())
            );
        }
    }
}

/// All indices of small trees; of larger ones the edges and what is near a power of two.
fn interesting(size: u64) -> Vec<u64> {
    let near_power = |n: &u64| (n.saturating_sub(1)..=n + 1).any(u64::is_power_of_two);
    let keep = |n: &u64| size <= 256 || near_power(n) || n + 3 > size || n % 97 == size % 97;
    (0..size).filter(keep).collect()
}

#[test]
fn proofs_and_tiles_equal_tlog_tiles_around_powers_of_256() {
    let sizes = [
        1, 2, 3, 7, 255, 256, 257, 511, 512, 513, 1000, 65_535, 65_536, 65_537,
    ];
    let (tree, stored) = (tree(65_537), Stored::new(65_537));
    for size in sizes {
        let root = tree.root_at(size).unwrap();
        assert_eq!(root.0, tlog::tree_hash(size, &stored).unwrap().0);
        for index in interesting(size)
            .into_iter()
            .filter(|n| n % 41 == 0 || n + 3 > size)
        {
            let proof = tree.inclusion_proof(index, size).unwrap();
            let expected = tlog::prove_record(size, index, &stored).unwrap();
            assert_eq!(proof, ours(expected), "index {index} of {size}");
            let leaf = tree.leaf(index).unwrap();
            assert_eq!(verify_inclusion(&leaf, index, size, &proof, &root), Ok(()));
        }
        for old in sizes.into_iter().filter(|old| *old <= size) {
            let proof = tree.consistency_proof(old, size).unwrap();
            let expected = tlog::prove_tree(size, old, &stored).unwrap();
            assert_eq!(proof, ours(expected), "{old} to {size}");
            let old_root = tree.root_at(old).unwrap();
            assert_eq!(
                verify_consistency(old, &old_root, size, &root, &proof),
                Ok(())
            );
        }
        compare_tiles(size, &tree, &stored);
    }
}

/// The right edge of the tiles at this size: paths and content.
fn compare_tiles(size: u64, tree: &Tree, stored: &Stored) {
    let last = new_tiles(size - 1, size);
    for path in last.iter().filter(|path| path.kind() != TileKind::Entries) {
        let TileKind::Hashes(level) = path.kind() else {
            continue;
        };
        let oracle = tlog_tiles::Tile::new(8, level, path.index(), u32::from(path.width()), false);
        assert_eq!(
            path.to_string(),
            oracle.path().replacen("tile/8/", "tile/", 1)
        );
        let content = tile_content(tree, path).unwrap();
        assert_eq!(content, oracle.read_data(stored).unwrap());
    }
    let from_oracle: Vec<String> = tlog_tiles::Tile::new_tiles(8, size - 1, size)
        .iter()
        .map(|tile| tile.path().replacen("tile/8/", "tile/", 1))
        .collect();
    let hashes = last.iter().filter(|path| path.kind() != TileKind::Entries);
    assert_eq!(
        hashes.map(TilePath::to_string).collect::<Vec<_>>(),
        from_oracle
    );
}

#[test]
fn what_is_beyond_the_tree_is_an_error() {
    let tree = tree(5);
    let beyond = MerkleError::OutOfRange { size: 5 };
    assert_eq!(tree.root_at(6), Err(beyond));
    assert_eq!(tree.frontier_at(6), Err(beyond));
    assert_eq!(tree.leaf(5), None);
    for (index, size) in [(5, 5), (0, 0), (0, 6), (u64::MAX, u64::MAX)] {
        assert_eq!(
            tree.inclusion_proof(index, size),
            Err(beyond),
            "{index} of {size}"
        );
    }
    for (old, new) in [(3, 2), (3, 6), (6, 6), (u64::MAX, u64::MAX)] {
        assert_eq!(
            tree.consistency_proof(old, new),
            Err(beyond),
            "{old} to {new}"
        );
    }
}

#[test]
fn frontier_resumes_and_refuses_parts_that_do_not_fit() {
    let tree = tree(13);
    let at_eleven = tree.frontier_at(11).unwrap();
    let mut frontier = Frontier::from_parts(11, at_eleven.peaks().to_vec()).unwrap();
    frontier.push(leaf_hash(&entry(11)));
    frontier.push(leaf_hash(&entry(12)));
    assert_eq!((frontier.size(), frontier.root()), (13, tree.root()));
    assert_eq!(Frontier::from_parts(12, at_eleven.peaks().to_vec()), None);
}

#[test]
fn empty_and_equal_trees_take_empty_proofs_only() {
    let (empty, root, other) = (empty_root(), Digest([1; 32]), Digest([2; 32]));
    assert_eq!(verify_consistency(0, &empty, 0, &empty, &[]), Ok(()));
    assert_eq!(verify_consistency(0, &empty, 5, &root, &[]), Ok(()));
    assert_eq!(verify_consistency(5, &root, 5, &root, &[]), Ok(()));
    for (old, old_root, new, new_root, proof) in [
        (0, &empty, 5, &root, &[other][..]),
        (5, &root, 5, &root, &[other]),
        (0, &other, 5, &root, &[]),
        (0, &empty, 0, &root, &[]),
        (5, &root, 5, &other, &[]),
        (5, &root, 4, &other, &[]),
        (4, &root, 5, &other, &[]),
        (3, &root, 5, &root, &[]),
        (1, &root, MAX_TREE_SIZE + 1, &root, &[]),
    ] {
        assert!(verify_consistency(old, old_root, new, new_root, proof).is_err());
    }
}

#[test]
fn a_node_does_not_pass_for_an_entry() {
    let tree = tree(2);
    let (left, right) = (tree.leaf(0).unwrap(), tree.leaf(1).unwrap());
    let forged = leaf_hash(&bytes(&[left, right]));
    assert!(verify_inclusion(&forged, 0, 1, &[], &tree.root()).is_err());
}

#[test]
fn proofs_over_the_cap_are_refused() {
    let long = vec![Digest([0; 32]); MAX_PROOF_HASHES + 1];
    let root = Digest([0; 32]);
    let too_long = Err(MerkleError::WrongLength);
    assert_eq!(
        verify_inclusion(&root, 0, MAX_TREE_SIZE, &long, &root),
        too_long
    );
    assert_eq!(
        verify_consistency(1, &root, MAX_TREE_SIZE, &root, &long),
        too_long
    );
}

proptest! {
    #[test]
    fn any_change_to_an_inclusion_proof_is_refused(
        size in 1_u64..300, index: u64, other: u64, bit in 0_usize..256, hash: usize,
    ) {
        let tree = tree(size);
        let (index, root) = (index % size, tree.root());
        let leaf = tree.leaf(index).unwrap();
        let proof = tree.inclusion_proof(index, size).unwrap();
        let flip = |digest: &Digest| {
            let mut digest = *digest;
            digest.0[bit / 8] ^= 1 << (bit % 8);
            digest
        };
        prop_assert!(verify_inclusion(&leaf, index, size, &proof, &root).is_ok());
        prop_assert!(verify_inclusion(&flip(&leaf), index, size, &proof, &root).is_err());
        prop_assert!(verify_inclusion(&leaf, index, size, &proof, &flip(&root)).is_err());
        let other = other % (2 * size);
        if other != index {
            prop_assert!(verify_inclusion(&leaf, other, size, &proof, &root).is_err());
        }
        prop_assert!(verify_inclusion(&leaf, index, index, &proof, &root).is_err());
        let longer = [&proof[..], &[root]].concat();
        prop_assert!(verify_inclusion(&leaf, index, size, &longer, &root).is_err());
        if let Some((_, shorter)) = proof.split_last() {
            prop_assert!(verify_inclusion(&leaf, index, size, shorter, &root).is_err());
            let mut changed = proof.clone();
            let at = hash % proof.len();
            changed[at] = flip(&proof[at]);
            prop_assert!(verify_inclusion(&leaf, index, size, &changed, &root).is_err());
        }
    }

    #[test]
    fn any_change_to_a_consistency_proof_is_refused(
        new in 2_u64..300, old: u64, bit in 0_usize..256, hash: usize,
    ) {
        let tree = tree(new);
        let old = 1 + old % (new - 1);
        let (old_root, root) = (tree.root_at(old).unwrap(), tree.root());
        let proof = tree.consistency_proof(old, new).unwrap();
        let flip = |digest: &Digest| {
            let mut digest = *digest;
            digest.0[bit / 8] ^= 1 << (bit % 8);
            digest
        };
        prop_assert!(verify_consistency(old, &old_root, new, &root, &proof).is_ok());
        prop_assert!(verify_consistency(old, &flip(&old_root), new, &root, &proof).is_err());
        prop_assert!(verify_consistency(old, &old_root, new, &flip(&root), &proof).is_err());
        prop_assert!(verify_consistency(new, &root, old, &old_root, &proof).is_err());
        let mut changed = proof.clone();
        let at = hash % proof.len();
        changed[at] = flip(&proof[at]);
        prop_assert!(verify_consistency(old, &old_root, new, &root, &changed).is_err());
        let longer = [&proof[..], &[root]].concat();
        prop_assert!(verify_consistency(old, &old_root, new, &root, &longer).is_err());
        let shorter = &proof[..proof.len() - 1];
        prop_assert!(verify_consistency(old, &old_root, new, &root, shorter).is_err());
    }

    #[test]
    fn hostile_input_of_any_size_does_not_panic(
        index: u64, size: u64, old: u64, hashes in prop::collection::vec(any::<[u8; 32]>(), 0..70),
    ) {
        let proof: Vec<Digest> = hashes.into_iter().map(Digest).collect();
        let root = Digest([3; 32]);
        prop_assert!(verify_inclusion(&root, index, size, &proof, &root).is_err() || size == 1);
        prop_assert!(
            verify_consistency(old, &root, size, &root, &proof).is_err() || old == size
        );
    }
}
