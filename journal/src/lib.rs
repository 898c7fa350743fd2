//! Durable append-only storage of entries and sidecars, and the projection beside it.
//!
//! Purpose: the commit point of a node. What [`Journal::append`] acknowledged is there after
//! kill -9, a power cut, a full disk or a torn write; everything else is derived from it.
//!
//! In scope: the [`Journal`] trait; [`SegmentJournal`], its implementation on segment files;
//! [`Projection`], a key-value store that is rebuilt from the journal on any doubt;
//! [`StoredTree`], the Merkle tree over the entries, its hashes in files that are rebuilt likewise;
//! [`durable_file`], small files replaced as a whole; [`key_file`], keys that can be destroyed.
//!
//! Out of scope: what an entry means, protection against an operator
//! who edits files on purpose (checksums find accidents; the witnessed log finds intent).

pub mod durable_file;
pub mod files;
mod frame;
pub mod key_file;
mod key_slot;
mod mark;
mod offsets;
mod projection;
mod reader;
mod recover;
mod segment;
mod tree;

use std::ops::ControlFlow;
use std::sync::Arc;

pub use frame::{FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES};
pub use projection::Projection;
pub use segment::{DEFAULT_SEGMENT_BYTES, Options, SegmentJournal};
pub use tree::StoredTree;

/// Largest entry, in bytes: what the length field of an entry bundle holds (C2SP tlog-tiles).
pub const MAX_ENTRY_BYTES: usize = 65_535;

/// Largest sidecar, in bytes (4 MiB).
pub const MAX_SIDECAR_BYTES: usize = 4 * 1024 * 1024;

/// Most records in one batch.
pub const MAX_BATCH_RECORDS: usize = 16_384;

/// Most bytes in one batch, entries and sidecars together (64 MiB): a batch is held in memory once
/// more while it is written.
pub const MAX_BATCH_BYTES: usize = 64 * 1024 * 1024;

/// What is written together under one index.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct JournalRecord {
    /// The public entry, the Merkle leaf: at most [`MAX_ENTRY_BYTES`].
    pub entry: Vec<u8>,
    /// The private sidecar (openings, sealed bytes): at most [`MAX_SIDECAR_BYTES`].
    pub sidecar: Vec<u8>,
}

// Lengths only: a sidecar holds openings, which must never reach a log line.
impl std::fmt::Debug for JournalRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JournalRecord")
            .field("entry_bytes", &self.entry.len())
            .field("sidecar_bytes", &self.sidecar.len())
            .finish()
    }
}

/// Why a journal or a projection can't be opened, written or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The storage failed: disk, file system, database. For an operator.
    #[error("cannot {action} `{place}`: {source}")]
    Storage {
        /// What was attempted.
        action: &'static str,
        /// Where: a file, a table.
        place: String,
        /// The storage's own error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What was acknowledged is damaged or missing. Nothing was changed: restore from a copy.
    #[error("`{place}` is damaged at {position}: {reason}")]
    Corrupt {
        /// Where: a file, a table.
        place: String,
        /// The byte offset or row inside `place`.
        position: u64,
        /// What is wrong there.
        reason: String,
    },
    /// Another process has it open.
    #[error("`{place}` is in use by another process")]
    InUse {
        /// What is in use.
        place: String,
    },
    /// An earlier append failed. Nobody knows what reached the disk, so nothing more is written
    /// until the journal has been opened, and thereby checked, again.
    #[error("the journal takes no more records after a failed append: {cause}")]
    Poisoned {
        /// The first failure.
        cause: String,
    },
    /// An earlier write failed. Nobody knows what reached the disk, so nothing more is written or
    /// read until it has been opened again.
    #[error("`{place}` is no longer used after a failure: {cause}")]
    GivenUp {
        /// What is no longer used.
        place: String,
        /// The first failure.
        cause: String,
    },
    /// The caller's batch is over a limit. Nothing was written.
    #[error("{what} of `{size}` is over the limit of `{limit}`")]
    TooLarge {
        /// What is too large, with its unit.
        what: &'static str,
        /// Its size.
        size: usize,
        /// The largest allowed.
        limit: usize,
    },
}

impl JournalError {
    fn storage(
        action: &'static str,
        place: impl std::fmt::Display,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Storage {
            action,
            place: place.to_string(),
            source: source.into(),
        }
    }
}

/// What a scan calls for each record, in order; [`ControlFlow::Break`] ends the scan.
pub type Visit<'a> = dyn FnMut(u64, JournalRecord) -> ControlFlow<()> + 'a;

/// Reads of what is durable, from any thread, also while the one writer appends.
pub trait JournalReader: Send + Sync {
    /// The index after the last durable record. Indices start at 0 and have no gaps.
    fn len(&self) -> u64;

    /// True if no record is durable yet.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The record at `index`, or `None` from [`JournalReader::len`] on.
    ///
    /// # Errors
    /// The storage fails, or the record no longer matches its checksum.
    fn read(&self, index: u64) -> Result<Option<JournalRecord>, JournalError>;

    /// Visits the records from index `from` to the last that was durable when the scan began.
    ///
    /// # Errors
    /// As [`JournalReader::read`]; records before the fault have been visited.
    fn scan(&self, from: u64, visit: &mut Visit<'_>) -> Result<(), JournalError>;
}

/// A durable, append-only, gapless sequence of records with one writer.
pub trait Journal: Send {
    /// Appends `batch` in order and returns the index of its first record. On return the whole
    /// batch is durable. An empty batch does nothing.
    ///
    /// # Errors
    /// [`JournalError::TooLarge`]: nothing was written, and the journal goes on. Any other: none,
    /// some leading part or all of the batch may be there after the next open, and every later
    /// append on this value is refused with [`JournalError::Poisoned`]. Reads go on to work, up to
    /// the last acknowledged record.
    fn append(&mut self, batch: &[JournalRecord]) -> Result<u64, JournalError>;

    /// A handle for reading from other threads.
    fn reader(&self) -> Arc<dyn JournalReader>;

    /// See [`JournalReader::len`]: the index that the next record gets.
    fn len(&self) -> u64 {
        self.reader().len()
    }

    /// See [`JournalReader::is_empty`].
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// See [`JournalReader::read`].
    ///
    /// # Errors
    /// As there.
    fn read(&self, index: u64) -> Result<Option<JournalRecord>, JournalError> {
        self.reader().read(index)
    }

    /// See [`JournalReader::scan`].
    ///
    /// # Errors
    /// As there.
    fn scan(&self, from: u64, visit: &mut Visit<'_>) -> Result<(), JournalError> {
        self.reader().scan(from, visit)
    }
}
