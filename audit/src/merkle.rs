//! The Merkle tree of RFC 6962, section 2.1: hashes, roots, proofs and their verification.
//!
//! In scope: an append-only tree in memory, a streaming frontier, inclusion and consistency
//! proofs out of any store of hashes ([`HashRead`]), as RFC 6962 sections 2.1.1 and 2.1.2 define
//! them, verification by the iterative algorithms of RFC 9162 sections 2.1.3.2 and 2.1.4.2 (same
//! trees, same proofs).
//! Out of scope: storage, tiles (see [`crate::tiles`]), signatures. No proof format of our own.

use passerelle_model::bytes::Digest;
use sha2::{Digest as _, Sha256};

mod hash_read;
#[cfg(test)]
mod tests;

pub use hash_read::HashRead;

/// Most hashes in a proof: tlog-witness, section "add-checkpoint"; enough for 2^63 - 1 leaves.
pub const MAX_PROOF_HASHES: usize = 63;

/// Largest tree size that is accepted anywhere, so that every proof fits [`MAX_PROOF_HASHES`].
pub const MAX_TREE_SIZE: u64 = i64::MAX as u64;

/// Why a hash or a proof can't be computed, or does not verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MerkleError {
    /// The caller asked for a leaf or a size beyond the tree.
    #[error("no such index or size in a tree of {size} leaves")]
    OutOfRange {
        /// The size of the tree, in leaves.
        size: u64,
    },
    /// The store of the tree's hashes does not give one that it should have.
    #[error("a hash of the tree can't be read")]
    Missing,
    /// A proof that no tree of these sizes can have.
    #[error("the proof has the wrong number of hashes")]
    WrongLength,
    /// The proof leads to another root.
    #[error("the proof does not lead to the root hash")]
    WrongRoot,
}

/// The root of the tree without leaves: SHA-256 of nothing.
pub fn empty_root() -> Digest {
    Digest::of(b"")
}

/// `SHA-256(0x00 || entry)`. The prefix keeps leaves and nodes apart, so that a node can't be
/// passed off as an entry.
pub fn leaf_hash(entry: &[u8]) -> Digest {
    Digest(
        Sha256::new()
            .chain_update([0])
            .chain_update(entry)
            .finalize()
            .into(),
    )
}

/// `SHA-256(0x01 || left || right)`.
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    let hasher = Sha256::new()
        .chain_update([1])
        .chain_update(left.0)
        .chain_update(right.0);
    Digest(hasher.finalize().into())
}

/// An append-only tree: the hashes of all complete subtrees, 64 bytes per leaf.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    /// `levels[l][i]` is the root of leaves `i * 2^l .. (i + 1) * 2^l`.
    levels: Vec<Vec<Digest>>,
}

impl Tree {
    /// The tree without leaves.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.levels.first().map_or(0, |leaves| leaves.len() as u64)
    }

    /// Appends a leaf by its hash (see [`leaf_hash`]) and returns its index.
    pub fn push(&mut self, leaf: Digest) -> u64 {
        let index = self.size();
        let mut hash = leaf;
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            let Some(row) = self.levels.get_mut(level) else {
                break;
            };
            // An even number of hashes here means that `hash` starts a new pair.
            let left = if row.len() % 2 == 1 {
                row.last().copied()
            } else {
                None
            };
            row.push(hash);
            let Some(left) = left else { break };
            hash = node_hash(&left, &hash);
        }
        index
    }

    /// The hash of the leaf at `index`.
    pub fn leaf(&self, index: u64) -> Option<Digest> {
        self.complete(0, index)
    }

    /// The root of the complete subtree of leaves `index * 2^level .. (index + 1) * 2^level`.
    pub fn complete(&self, level: u32, index: u64) -> Option<Digest> {
        let row = self.levels.get(usize::try_from(level).ok()?)?;
        row.get(usize::try_from(index).ok()?).copied()
    }

    /// The root over all leaves.
    pub fn root(&self) -> Digest {
        // Its own size is within any tree.
        self.root_at(self.size()).unwrap_or_else(|_| empty_root())
    }

    /// See [`HashRead::root_at`].
    pub fn root_at(&self, size: u64) -> Result<Digest, MerkleError> {
        HashRead::root_at(self, size)
    }

    /// See [`HashRead::frontier_at`].
    pub fn frontier_at(&self, size: u64) -> Result<Frontier, MerkleError> {
        HashRead::frontier_at(self, size)
    }

    /// See [`HashRead::inclusion_proof`].
    pub fn inclusion_proof(&self, index: u64, size: u64) -> Result<Vec<Digest>, MerkleError> {
        HashRead::inclusion_proof(self, index, size)
    }

    /// See [`HashRead::consistency_proof`].
    pub fn consistency_proof(&self, old: u64, new: u64) -> Result<Vec<Digest>, MerkleError> {
        HashRead::consistency_proof(self, old, new)
    }
}

impl HashRead for Tree {
    fn size(&self) -> u64 {
        Tree::size(self)
    }

    fn complete(&self, level: u32, index: u64) -> Option<Digest> {
        Tree::complete(self, level, index)
    }
}

/// The tree of these leaf hashes, in order.
impl FromIterator<Digest> for Tree {
    fn from_iter<I: IntoIterator<Item = Digest>>(leaves: I) -> Self {
        let mut tree = Self::new();
        for leaf in leaves {
            tree.push(leaf);
        }
        tree
    }
}

/// What is needed to go on hashing a tree: its size and the roots of its complete subtrees, at
/// most 64, largest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Digest>,
}

impl Frontier {
    /// The tree without leaves.
    pub fn new() -> Self {
        Self::default()
    }

    /// Rebuilds a stored frontier; `None` unless there is one hash for each one bit of `size`.
    pub fn from_parts(size: u64, peaks: Vec<Digest>) -> Option<Self> {
        (size.count_ones() as usize == peaks.len()).then_some(Self { size, peaks })
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the complete subtrees, largest first.
    pub fn peaks(&self) -> &[Digest] {
        &self.peaks
    }

    /// Appends a leaf by its hash.
    pub fn push(&mut self, leaf: Digest) {
        self.push_with(leaf, &mut |_, _| {});
    }

    /// Appends a leaf by its hash, and gives the roots of all complete subtrees that end with it,
    /// each with its level; the leaf itself first, at level 0.
    pub fn push_with(&mut self, leaf: Digest, completed: &mut impl FnMut(u32, Digest)) {
        let mut hash = leaf;
        completed(0, hash);
        // Each trailing one bit of the size is a complete subtree that this leaf completes
        // into one of twice its size.
        for level in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                hash = node_hash(&left, &hash);
                completed(level + 1, hash);
            }
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// The root over all leaves so far.
    pub fn root(&self) -> Digest {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else {
            return empty_root();
        };
        peaks.fold(*last, |right, left| node_hash(left, &right))
    }
}

/// Checks that `leaf` is at `index` in the tree of `size` leaves with this `root`
/// (RFC 9162, section 2.1.3.2).
///
/// Size and root must come together from a signed checkpoint: a proof can fit neighbouring sizes
/// in which the path from this leaf looks the same. The same holds for [`verify_consistency`].
pub fn verify_inclusion(
    leaf: &Digest,
    index: u64,
    size: u64,
    proof: &[Digest],
    root: &Digest,
) -> Result<(), MerkleError> {
    if index >= size || size > MAX_TREE_SIZE {
        return Err(MerkleError::OutOfRange { size });
    }
    if proof.len() > MAX_PROOF_HASHES {
        return Err(MerkleError::WrongLength);
    }
    let mut path = Path {
        node: index,
        last: size - 1,
    };
    let mut hash = *leaf;
    for sibling in proof {
        hash = match path.climb()? {
            Side::Left => node_hash(sibling, &hash),
            Side::Right => node_hash(&hash, sibling),
        };
    }
    path.finish(hash == *root)
}

/// Checks that the tree of `new_size` leaves extends the tree of `old_size` leaves
/// (RFC 9162, section 2.1.4.2).
///
/// Where the RFC leaves a case open, the rule is that of tlog-witness: the empty tree is a
/// prefix of every tree, and equal sizes need equal roots; both take an empty proof.
pub fn verify_consistency(
    old_size: u64,
    old_root: &Digest,
    new_size: u64,
    new_root: &Digest,
    proof: &[Digest],
) -> Result<(), MerkleError> {
    if old_size > new_size || new_size > MAX_TREE_SIZE {
        return Err(MerkleError::OutOfRange { size: new_size });
    }
    let empty = empty_root();
    if (old_size == 0 && *old_root != empty) || (new_size == 0 && *new_root != empty) {
        return Err(MerkleError::WrongRoot);
    }
    if old_size == 0 || old_size == new_size {
        return match (proof, old_size == 0 || old_root == new_root) {
            ([], true) => Ok(()),
            ([], false) => Err(MerkleError::WrongRoot),
            _ => Err(MerkleError::WrongLength),
        };
    }
    if proof.len() > MAX_PROOF_HASHES {
        return Err(MerkleError::WrongLength);
    }
    // A power of two is a complete subtree whose hash the verifier already has.
    let (first, rest) = if old_size.is_power_of_two() {
        (old_root, proof)
    } else {
        proof.split_first().ok_or(MerkleError::WrongLength)?
    };
    let (old, new) = roots_from(old_size, new_size, first, rest)?;
    if old == *old_root && new == *new_root {
        Ok(())
    } else {
        Err(MerkleError::WrongRoot)
    }
}

/// The roots of both sizes that the hashes of a consistency proof lead to.
///
/// `first` is the root of the last complete subtree of the smaller tree, `rest` goes up from there.
/// A proof as RFC 6962 has it leaves `first` out where the smaller size is a power of two, since it
/// is then the smaller root itself. Sizes must be `0 < old_size < new_size`, at most
/// [`MAX_TREE_SIZE`].
pub(crate) fn roots_from(
    old_size: u64,
    new_size: u64,
    first: &Digest,
    rest: &[Digest],
) -> Result<(Digest, Digest), MerkleError> {
    let out_of_range = MerkleError::OutOfRange { size: new_size };
    let node = old_size.checked_sub(1).ok_or(out_of_range)?;
    if old_size >= new_size || new_size > MAX_TREE_SIZE {
        return Err(out_of_range);
    }
    let last = new_size - 1;
    let mut path = Path { node, last };
    path.rise(node.trailing_ones());
    let (mut old, mut new) = (*first, *first);
    for sibling in rest {
        match path.climb()? {
            Side::Left => {
                old = node_hash(sibling, &old);
                new = node_hash(sibling, &new);
            }
            Side::Right => new = node_hash(&new, sibling),
        }
    }
    path.finish(true)?;
    Ok((old, new))
}

/// Where the next hash of a proof stands.
enum Side {
    Left,
    Right,
}

/// The way from a node up to the root: `fn` and `sn` of RFC 9162.
struct Path {
    node: u64,
    last: u64,
}

impl Path {
    /// Uses one hash of the proof; an error if the root was reached before.
    fn climb(&mut self) -> Result<Side, MerkleError> {
        if self.last == 0 {
            return Err(MerkleError::WrongLength);
        }
        let side = if self.node % 2 == 1 || self.node == self.last {
            // At the right edge, levels where this node has no sibling are skipped. With
            // `node` at zero there is no one bit to stop at, and none is needed: `last` is
            // zero too, since a left node is here only if it is the last one.
            self.rise(self.node.trailing_zeros());
            Side::Left
        } else {
            Side::Right
        };
        self.rise(1);
        Ok(side)
    }

    fn rise(&mut self, levels: u32) {
        self.node = self.node.checked_shr(levels).unwrap_or(0);
        self.last = self.last.checked_shr(levels).unwrap_or(0);
    }

    /// The proof verifies only if it ends exactly at the root, with the right hashes.
    fn finish(self, hashes_match: bool) -> Result<(), MerkleError> {
        match (self.last, hashes_match) {
            (0, true) => Ok(()),
            (0, false) => Err(MerkleError::WrongRoot),
            _ => Err(MerkleError::WrongLength),
        }
    }
}
