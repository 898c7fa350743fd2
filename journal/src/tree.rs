//! The Merkle tree over a journal's entries, its hashes in files.
//!
//! In scope: growing with the journal, proofs that are verified before they are given away, and
//! making the files again from the journal. Out of scope: what a hash means (see
//! [`passerelle_audit::merkle`]), serving tiles.
//!
//! In memory are the frontier, from which the root over all entries follows, the newest hashes,
//! and the roots of the newest sizes. All hashes are in one file per level ([`files`]).
//!
//! The files are derived. An open believes them as far as their mark goes: a size and the root over
//! it, written after a sync, to which the hashes on the frontier must lead, and whose last leaf
//! must be the journal's entry there. What is after it is hashed from the journal, and on any doubt
//! all of it. A hash that rotted deeper inside makes a proof that does not lead to a trusted root:
//! such a proof is not given away, the files are made again, and it is read again.

mod files;
mod tile;

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use passerelle_audit::merkle::{
    Frontier, HashRead, MerkleError, leaf_hash, verify_consistency, verify_inclusion,
};
use passerelle_model::bytes::Digest;

use crate::files::Disk;
use crate::{JournalError, JournalReader};
use files::{HashFiles, Mark, Marking};

/// Leaves after which new hashes are written to the files.
const WRITE_EVERY: u64 = 1_024;

/// Newest hashes per level that stay in memory: proofs about recent entries need no file.
const KEPT: usize = 4_096;

/// Newest sizes whose roots stay in memory.
const KEPT_ROOTS: usize = 4_096;

/// Leaves after which the files are synced and marked: what an open after a crash hashes again.
const MARK_EVERY: u64 = 65_536;

/// A Merkle tree with its hashes in files. See the module.
pub struct StoredTree {
    journal: Arc<dyn JournalReader>,
    frontier: Frontier,
    /// By level.
    recent: Vec<Recent>,
    /// Leaves whose hashes have been handed to the files.
    written: u64,
    marked: u64,
    marking: Option<Marking>,
    /// By size; the ones after each append, and those that were proven since.
    roots: Mutex<BTreeMap<u64, Digest>>,
    files: HashFiles,
    // One repair at a time.
    repairing: Mutex<()>,
}

/// The newest hashes of one level.
#[derive(Default)]
struct Recent {
    /// Number of the first of `hashes` in its level; all before it are in the file.
    first: u64,
    hashes: VecDeque<Digest>,
    /// How many hashes of the level are in the file.
    written: u64,
}

impl StoredTree {
    /// Opens the tree of `journal` with its files in `dir`, and brings it up to the journal. The
    /// caller holds the journal's lock.
    ///
    /// # Errors
    /// The directory can't be made, or the journal can't be read. Files that can't be read are
    /// made again; files that can't be written are only logged.
    pub fn open(
        dir: &Path,
        journal: Arc<dyn JournalReader>,
        disk: Arc<dyn Disk>,
    ) -> Result<Self, JournalError> {
        let files = HashFiles::open(dir, disk)?;
        let found = resume(&files, journal.as_ref());
        let frontier = found.unwrap_or_default();
        let size = frontier.size();
        let count = |level: u32| Recent {
            first: size >> level,
            hashes: VecDeque::new(),
            written: size >> level,
        };
        let mut tree = Self {
            journal,
            recent: (0..u64::BITS - size.leading_zeros()).map(count).collect(),
            roots: Mutex::new(BTreeMap::from([(size, frontier.root())])),
            frontier,
            written: size,
            marked: size,
            marking: None,
            files,
            repairing: Mutex::new(()),
        };
        tree.files.prepare(tree.recent.len());
        tree.grow()?;
        Ok(tree)
    }

    /// Number of leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// The root over all leaves: made from the journal's entries and, up to the mark, checked
    /// hashes.
    #[must_use]
    pub fn root(&self) -> Digest {
        self.frontier.root()
    }

    /// Appends leaves by their hashes. They are written to the files now and then: failing that is
    /// logged and tried again, and a crash before it costs hashing them again.
    pub fn append(&mut self, leaves: impl IntoIterator<Item = Digest>) {
        for leaf in leaves {
            self.push(leaf);
        }
        let (size, root) = (self.size(), self.root());
        let mut roots = lock(&self.roots);
        roots.insert(size, root);
        while roots.len() > KEPT_ROOTS {
            roots.pop_first();
        }
        drop(roots);
        if size.saturating_sub(self.written) >= WRITE_EVERY {
            self.write_out();
        }
        let is_marking = self.marking.as_ref().is_some_and(|m| !m.is_done());
        let is_due = size.saturating_sub(self.marked) >= MARK_EVERY;
        // A mark covers what is in the files, no more.
        if is_due && self.written == size && !is_marking {
            // In a thread of its own: syncing some MiB takes longer than a batch may.
            self.marking = self.files.mark_later(self.mark());
            self.marked = self.written;
        }
    }

    fn push(&mut self, leaf: Digest) {
        let recent = &mut self.recent;
        self.frontier.push_with(leaf, &mut |level, hash| {
            let level = usize::try_from(level).unwrap_or(usize::MAX);
            if recent.len() == level {
                recent.push(Recent::default());
            }
            if let Some(row) = recent.get_mut(level) {
                row.hashes.push_back(hash);
            }
        });
    }

    /// Hashes the entries that the journal has more than the tree.
    fn grow(&mut self) -> Result<(), JournalError> {
        let from = self.size();
        let journal = Arc::clone(&self.journal);
        journal.scan(from, &mut |_, raw| {
            self.push(leaf_hash(&raw.entry));
            if self.size().saturating_sub(self.written) >= WRITE_EVERY {
                self.write_out();
            }
            ControlFlow::Continue(())
        })?;
        self.append([]);
        Ok(())
    }

    fn mark(&self) -> Mark {
        Mark {
            size: self.size(),
            root: self.root(),
        }
    }

    /// Writes new hashes to the files, and forgets the oldest that are there.
    fn write_out(&mut self) {
        for (level, row) in self.recent.iter_mut().enumerate() {
            let skip = usize::try_from(row.written.saturating_sub(row.first)).unwrap_or(0);
            let new: Vec<u8> = row.hashes.iter().skip(skip).flat_map(|h| h.0).collect();
            if new.is_empty() {
                continue;
            }
            // A crash here leaves some levels written: all are past the mark.
            if !self.files.write(level, row.written, &new) {
                return;
            }
            row.written = row.first.saturating_add(row.hashes.len() as u64);
            let forget = row.hashes.len().saturating_sub(KEPT);
            row.hashes.drain(..forget);
            row.first = row.first.saturating_add(forget as u64);
        }
        self.written = self.size();
    }

    /// As [`HashRead::inclusion_proof`], verified against a root that does not come from the same
    /// files.
    ///
    /// # Errors
    /// The index or size is beyond the tree; or a hash that is needed can't be had, not even from
    /// the journal.
    pub fn inclusion_proof(&self, index: u64, size: u64) -> Result<Vec<Digest>, MerkleError> {
        self.or_repaired(|| {
            let proof = HashRead::inclusion_proof(self, index, size)?;
            let leaf = self.complete(0, index).ok_or(MerkleError::Missing)?;
            verify_inclusion(&leaf, index, size, &proof, &self.root_at(size)?)?;
            Ok(proof)
        })
    }

    /// As [`HashRead::consistency_proof`], verified as [`StoredTree::inclusion_proof`] is.
    ///
    /// # Errors
    /// As there.
    pub fn consistency_proof(&self, old: u64, new: u64) -> Result<Vec<Digest>, MerkleError> {
        self.or_repaired(|| {
            let proof = HashRead::consistency_proof(self, old, new)?;
            let old_root = HashRead::root_at(self, old)?;
            verify_consistency(old, &old_root, new, &self.trusted_root(new)?, &proof)?;
            Ok(proof)
        })
    }

    /// As [`HashRead::root_at`], verified as [`StoredTree::inclusion_proof`] is.
    ///
    /// # Errors
    /// As there.
    pub fn root_at(&self, size: u64) -> Result<Digest, MerkleError> {
        self.or_repaired(|| self.trusted_root(size))
    }

    /// The root over the first `size` leaves, known or proven to be one that the root over all
    /// leaves extends.
    fn trusted_root(&self, size: u64) -> Result<Digest, MerkleError> {
        if let Some(root) = lock(&self.roots).get(&size) {
            return Ok(*root);
        }
        let root = HashRead::root_at(self, size)?;
        let all = self.size();
        let proof = HashRead::consistency_proof(self, size, all)?;
        verify_consistency(size, &root, all, &self.root(), &proof)?;
        let mut roots = lock(&self.roots);
        // Never in place of a newer one.
        if roots.len() < KEPT_ROOTS {
            roots.insert(size, root);
        }
        Ok(root)
    }

    fn or_repaired<T>(&self, read: impl Fn() -> Result<T, MerkleError>) -> Result<T, MerkleError> {
        match read() {
            Err(
                error @ (MerkleError::Missing | MerkleError::WrongRoot | MerkleError::WrongLength),
            ) => {
                tracing::error!(
                    %error,
                    "the files of the tree are damaged: they are made again from the journal"
                );
                self.repair()?;
                read()
            }
            other => other,
        }
    }

    /// Writes every hash in the files again, from the journal.
    fn repair(&self) -> Result<(), MerkleError> {
        let _one = lock(&self.repairing);
        let size = self.size();
        let mut frontier = Frontier::new();
        let mut rows: Vec<(u64, Vec<u8>)> = Vec::new();
        let scanned = self.journal.scan(0, &mut |index, raw| {
            if index >= size {
                return ControlFlow::Break(());
            }
            frontier.push_with(leaf_hash(&raw.entry), &mut |level, hash| {
                let level = usize::try_from(level).unwrap_or(usize::MAX);
                if rows.len() == level {
                    rows.push((0, Vec::new()));
                }
                if let Some((_, bytes)) = rows.get_mut(level) {
                    bytes.extend_from_slice(&hash.0);
                }
            });
            if frontier.size().is_multiple_of(WRITE_EVERY) {
                self.files.write_rows(&mut rows);
            }
            ControlFlow::Continue(())
        });
        self.files.write_rows(&mut rows);
        let is_same = scanned.is_ok() && frontier == self.frontier;
        if !is_same {
            let error = scanned.err().map(|error| error.to_string());
            tracing::error!(
                error,
                "the tree can't be made again: the journal is damaged too"
            );
            return Err(MerkleError::Missing);
        }
        Ok(())
    }
}

impl HashRead for StoredTree {
    fn size(&self) -> u64 {
        StoredTree::size(self)
    }

    fn complete(&self, level: u32, index: u64) -> Option<Digest> {
        self.run(level, index, 1)?.pop()
    }

    // Not verified: whoever reads tiles verifies them.
    fn run(&self, level: u32, start: u64, count: u16) -> Option<Vec<Digest>> {
        let level = usize::try_from(level).ok()?;
        let row = self.recent.get(level)?;
        let end = start.checked_add(u64::from(count))?;
        if end > row.first.saturating_add(row.hashes.len() as u64) {
            return None;
        }
        let mut hashes = Vec::with_capacity(usize::from(count));
        if start < row.first {
            let stored = row.first.min(end).saturating_sub(start);
            hashes = self
                .files
                .read(level, start, usize::try_from(stored).ok()?)?;
        }
        let first = usize::try_from(start.saturating_sub(row.first)).ok()?;
        let rest = usize::from(count).saturating_sub(hashes.len());
        hashes.extend(row.hashes.iter().skip(first).take(rest));
        Some(hashes)
    }
}

impl Drop for StoredTree {
    fn drop(&mut self) {
        // Waits for a mark that is being made.
        drop(self.marking.take());
        if self.size() > self.marked || self.written < self.size() {
            self.write_out();
            if self.written == self.size() {
                self.files.mark_now(&self.mark());
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The frontier at the mark, if the files and the journal agree with it.
fn resume(files: &HashFiles, journal: &dyn JournalReader) -> Option<Frontier> {
    let mark = files.read_mark()?;
    let last = mark.size.checked_sub(1)?;
    let mut peaks = Vec::new();
    let mut start = 0_u64;
    for level in (0..u64::BITS)
        .rev()
        .filter(|level| mark.size >> level & 1 == 1)
    {
        let peak = files.read(usize::try_from(level).ok()?, start >> level, 1);
        peaks.extend(peak.unwrap_or_default());
        start |= 1 << level;
    }
    let frontier = Frontier::from_parts(mark.size, peaks);
    let frontier = frontier.filter(|frontier| frontier.root() == mark.root);
    // Another journal, or an older copy of this one, has another entry there or none.
    let leaf = files.read(0, last, 1).and_then(|mut leaf| leaf.pop());
    let entry = journal.read(last).ok().flatten();
    let is_same = entry.map(|raw| leaf_hash(&raw.entry)) == leaf;
    if frontier.is_none() || !is_same {
        tracing::warn!("the files of the tree are in doubt: they are made again from the journal");
        return None;
    }
    frontier
}

#[cfg(test)]
mod tests;
