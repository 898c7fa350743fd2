//! Roots and proofs out of stored hashes, wherever they are kept.

use super::{Frontier, MerkleError, empty_root, node_hash};
use passerelle_model::bytes::Digest;

/// The hashes of all complete subtrees of an append-only tree.
///
/// What is read is not verified here: a store on disk checks a proof against a root that it trusts
/// before it gives it away.
pub trait HashRead {
    /// Number of leaves.
    fn size(&self) -> u64;

    /// The root of the complete subtree of leaves `index * 2^level .. (index + 1) * 2^level`;
    /// `None` beyond the tree, or if it can't be read.
    fn complete(&self, level: u32, index: u64) -> Option<Digest>;

    /// The roots of `count` neighbouring subtrees, the first of them number `start`.
    fn run(&self, level: u32, start: u64, count: u16) -> Option<Vec<Digest>> {
        (0..u64::from(count))
            .map(|position| self.complete(level, start.checked_add(position)?))
            .collect()
    }

    /// The root over the first `size` leaves.
    ///
    /// # Errors
    /// [`MerkleError::OutOfRange`] beyond the tree, [`MerkleError::Missing`] within it.
    fn root_at(&self, size: u64) -> Result<Digest, MerkleError> {
        within(self, size)?;
        if size == 0 {
            return Ok(empty_root());
        }
        range(self, 0, size).ok_or(MerkleError::Missing)
    }

    /// The state from which the root over the first `size` leaves can be extended.
    ///
    /// # Errors
    /// As [`HashRead::root_at`].
    fn frontier_at(&self, size: u64) -> Result<Frontier, MerkleError> {
        within(self, size)?;
        let mut peaks = Vec::new();
        let mut start = 0;
        for level in (0..u64::BITS).rev().filter(|level| size >> level & 1 == 1) {
            let peak = self.complete(level, start >> level);
            peaks.push(peak.ok_or(MerkleError::Missing)?);
            start += 1 << level;
        }
        Ok(Frontier { size, peaks })
    }

    /// Proof that leaf `index` is in the tree of the first `size` leaves, leaf side first
    /// (RFC 6962, section 2.1.1).
    ///
    /// # Errors
    /// As [`HashRead::root_at`].
    fn inclusion_proof(&self, index: u64, size: u64) -> Result<Vec<Digest>, MerkleError> {
        within(self, size)?;
        if index >= size {
            return Err(MerkleError::OutOfRange { size: self.size() });
        }
        let mut proof = Vec::new();
        let (mut start, mut end) = (0, size);
        while end - start > 1 {
            let middle = start + split(end - start);
            let sibling = if index < middle {
                let right = range(self, middle, end);
                end = middle;
                right
            } else {
                let left = range(self, start, middle);
                start = middle;
                left
            };
            proof.push(sibling.ok_or(MerkleError::Missing)?);
        }
        proof.reverse();
        Ok(proof)
    }

    /// Proof that the first `old` leaves are a prefix of the first `new` leaves (RFC 6962,
    /// section 2.1.2). Empty when `old` is zero or equals `new`.
    ///
    /// # Errors
    /// As [`HashRead::root_at`].
    fn consistency_proof(&self, old: u64, new: u64) -> Result<Vec<Digest>, MerkleError> {
        within(self, new)?;
        if old > new {
            return Err(MerkleError::OutOfRange { size: self.size() });
        }
        let mut proof = Vec::new();
        if old == 0 {
            return Ok(proof);
        }
        let (mut start, mut end) = (0, new);
        // Whether `start..end` still begins at the root: then the verifier knows the old hash.
        let mut whole = true;
        while old != end {
            let middle = start + split(end - start);
            let sibling = if old <= middle {
                let right = range(self, middle, end);
                end = middle;
                right
            } else {
                let left = range(self, start, middle);
                (start, whole) = (middle, false);
                left
            };
            proof.push(sibling.ok_or(MerkleError::Missing)?);
        }
        if !whole {
            proof.push(range(self, start, end).ok_or(MerkleError::Missing)?);
        }
        proof.reverse();
        Ok(proof)
    }
}

fn within(tree: &(impl HashRead + ?Sized), size: u64) -> Result<(), MerkleError> {
    if size > tree.size() {
        return Err(MerkleError::OutOfRange { size: tree.size() });
    }
    Ok(())
}

/// The root of leaves `start..end`, a range that the recursion of RFC 6962 visits: `start` is a
/// multiple of the largest power of two that is not above its length.
fn range(tree: &(impl HashRead + ?Sized), start: u64, end: u64) -> Option<Digest> {
    let length = end.checked_sub(start).filter(|length| *length > 0)?;
    if length.is_power_of_two() {
        let level = length.trailing_zeros();
        return tree.complete(level, start >> level);
    }
    let middle = start + split(length);
    // Each step at least halves the length: at most 64 deep.
    Some(node_hash(
        &range(tree, start, middle)?,
        &range(tree, middle, end)?,
    ))
}

/// The largest power of two below `length`, which is at least two.
fn split(length: u64) -> u64 {
    let below = length.saturating_sub(1);
    if below == 0 { 0 } else { 1 << below.ilog2() }
}
