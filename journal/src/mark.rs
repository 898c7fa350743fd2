//! The mark: how far the journal is known to have been acknowledged.
//!
//! In scope: one small file beside the segments, rewritten in place after each acknowledged batch
//! and synced only when the journal is opened and closed.
//!
//! Why: the end of the last segment alone can't tell a batch that a crash tore (it may be cut)
//! from an acknowledged record that rotted or vanished (it must not be cut silently). The mark is
//! a lower bound, never ahead of what was synced: below it damage is refused, above it cut. It
//! survives kill -9; after a power cut it may be some seconds old, and is then merely less exact.
//! A missing or damaged mark counts as zero. It is not a commit record: an append is durable
//! without it, so failing to write it fails nothing.

use std::io;
use std::path::{Path, PathBuf};

use crate::JournalError;
use crate::files::{Disk, WriteFile};
use crate::frame::{Fields, JournalId, checked};

const MARK_FILE: &str = "acknowledged.mark";
const MARK_MAGIC: [u8; 8] = *b"PSRLMRK1";

/// Acknowledged records end before index `len`, at byte `offset` of the segment from `segment`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) journal: JournalId,
    pub(crate) len: u64,
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

impl Mark {
    fn encode(&self) -> Vec<u8> {
        let mut out = MARK_MAGIC.to_vec();
        out.extend_from_slice(&self.journal.0);
        out.extend_from_slice(&self.len.to_le_bytes());
        out.extend_from_slice(&self.segment.to_le_bytes());
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(checked(0, bytes)?);
        if fields.take()? != MARK_MAGIC {
            return None;
        }
        Some(Self {
            journal: JournalId(fields.take()?),
            len: fields.u64()?,
            segment: fields.u64()?,
            offset: fields.u64()?,
        })
    }

    /// The mark in `dir`; `None` if there is none or a crash tore it.
    pub(crate) fn read(dir: &Path) -> Result<Option<Self>, JournalError> {
        let path = dir.join(MARK_FILE);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Self::decode(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(JournalError::storage("read", path.display(), error)),
        }
    }
}

/// Writes the mark.
pub(crate) struct MarkFile {
    path: PathBuf,
    file: Box<dyn WriteFile>,
    // Set at the first failure: the log gets one line, not one for each batch.
    failed: bool,
}

impl MarkFile {
    pub(crate) fn open(dir: &Path, disk: &dyn Disk) -> Result<Self, JournalError> {
        let path = dir.join(MARK_FILE);
        let file = disk
            .open(&path)
            .map_err(|error| JournalError::storage("open", path.display(), error))?;
        Ok(Self {
            path,
            file,
            failed: false,
        })
    }

    /// Call only once everything that `mark` covers has been synced.
    pub(crate) fn write(&mut self, mark: &Mark) {
        // A crash here leaves the old mark, the new one, or a torn one that counts as none: all
        // are lower bounds.
        let written = self.file.write_at(0, &mark.encode());
        self.note(written);
    }

    pub(crate) fn sync(&mut self) {
        let synced = self.file.sync_data();
        self.note(synced);
    }

    fn note(&mut self, result: io::Result<()>) {
        if let Err(error) = result
            && !std::mem::replace(&mut self.failed, true)
        {
            tracing::warn!(
                file = %self.path.display(),
                %error,
                "the mark of the journal can't be written: \
                 damage at the end is harder to tell from a torn write"
            );
        }
    }
}
