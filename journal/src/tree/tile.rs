//! Tiles of the tree, looked through before they are given away.
//!
//! In scope: the bytes of a hash tile of C2SP tlog-tiles. Out of scope: entry bundles, paths,
//! serving.

use passerelle_audit::merkle::{HashRead, MerkleError, node_hash, verify_inclusion};
use passerelle_audit::tiles::{TileKind, TilePath};
use passerelle_model::bytes::Digest;

use super::StoredTree;

/// Tree levels per tile level: a tile spans a subtree of 2^8 leaves.
const TILE_HEIGHT: u32 = 8;

impl StoredTree {
    /// The bytes of a hash tile: its hashes, one after another. Each complete subtree over them
    /// has the hash that is stored for it, so that a hash that rotted is found, and mended from the
    /// journal, before anybody gets it.
    ///
    /// # Errors
    /// [`MerkleError::OutOfRange`] if the tree has no such tile, or it is one of entries; else as
    /// [`StoredTree::inclusion_proof`].
    pub fn tile(&self, path: &TilePath) -> Result<Vec<u8>, MerkleError> {
        let beyond = MerkleError::OutOfRange { size: self.size() };
        let (TileKind::Hashes(level), Some(start)) = (path.kind(), path.start()) else {
            return Err(beyond);
        };
        let base = u32::from(level) * TILE_HEIGHT;
        let last = start.saturating_add(u64::from(path.width()) - 1);
        if last >= self.size().checked_shr(base).unwrap_or(0) {
            return Err(beyond);
        }
        self.or_repaired(|| {
            let hashes = self.run(base, start, path.width());
            let hashes = hashes.ok_or(MerkleError::Missing)?;
            self.check_above(base, start, hashes.clone())?;
            let newest = hashes.last().ok_or(MerkleError::Missing)?;
            self.check_last(base, last, newest)?;
            Ok(hashes.iter().flat_map(|hash| hash.0).collect())
        })
    }

    /// Checks the last hash of a tile: with an odd number there is nothing above it yet.
    fn check_last(&self, base: u32, last: u64, hash: &Digest) -> Result<(), MerkleError> {
        let Some(below) = base.checked_sub(1) else {
            let proof = HashRead::inclusion_proof(self, last, self.size())?;
            return verify_inclusion(hash, last, self.size(), &proof, &self.root());
        };
        let parts = self.run(below, last << 1, 2).ok_or(MerkleError::Missing)?;
        match parts.as_slice() {
            [left, right] if node_hash(left, right) == *hash => Ok(()),
            _ => Err(MerkleError::WrongRoot),
        }
    }

    /// Checks that the hashes from `start` at a level lead to those stored above them.
    fn check_above(
        &self,
        base: u32,
        start: u64,
        mut hashes: Vec<Digest>,
    ) -> Result<(), MerkleError> {
        for height in 1..=TILE_HEIGHT {
            let (pairs, _) = hashes.as_chunks::<2>();
            let above: Vec<_> = pairs.iter().map(|[l, r]| node_hash(l, r)).collect();
            let Ok(count @ 1..) = u16::try_from(above.len()) else {
                break;
            };
            let stored = self.run(base + height, start >> height, count);
            if stored.ok_or(MerkleError::Missing)? != above {
                return Err(MerkleError::WrongRoot);
            }
            hashes = above;
        }
        Ok(())
    }
}
