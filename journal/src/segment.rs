//! The journal on segment files.
//!
//! In scope: appending with one write and one sync per batch, starting a new segment at a size.
//! Out of scope: what an open does ([`crate::recover`]), reading ([`crate::reader`]).
//!
//! A directory holds `<20-digit first index>.seg` files, the offsets of all but the last in `.idx`
//! files, a mark and a lock. To copy a journal while
//! it is in use, copy the mark first (or not at all), then the segments in order of their names:
//! the copy then opens with its torn end cut.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use passerelle_model::seeded::{Bug, seeded};

use crate::files::{DirectoryLock, Disk, OsDisk, WriteFile, lock_directory};
use crate::frame::{FRAME_HEADER_BYTES, JournalId, SEGMENT_HEADER_BYTES, SegmentHeader, encode};
use crate::mark::{Mark, MarkFile};
use crate::offsets;
use crate::reader::{SegmentMap, Shared, segment_path};
use crate::recover::{create_segment, recover};
use crate::{
    Journal, JournalError, JournalReader, JournalRecord, MAX_BATCH_BYTES, MAX_BATCH_RECORDS,
    MAX_ENTRY_BYTES, MAX_SIDECAR_BYTES,
};

/// Size at which a new segment is started, in bytes (64 MiB).
pub const DEFAULT_SEGMENT_BYTES: u64 = 64 * 1024 * 1024;

/// Settings of a [`SegmentJournal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// A batch that would take a segment over this many bytes starts a new one. A segment holds
    /// at least one batch, so it may be larger than this.
    pub segment_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: DEFAULT_SEGMENT_BYTES,
        }
    }
}

/// A [`Journal`] on segment files in one directory.
pub struct SegmentJournal {
    disk: Arc<dyn Disk>,
    options: Options,
    journal: JournalId,
    shared: Arc<Shared>,
    tail: Box<dyn WriteFile>,
    tail_first: u64,
    tail_end: u64,
    len: u64,
    mark: MarkFile,
    poisoned: Option<String>,
    _lock: DirectoryLock,
}

impl SegmentJournal {
    /// Opens the journal in `dir`, creating it if there is none.
    ///
    /// # Errors
    /// Another process has it open, the storage fails, or what was acknowledged is damaged.
    pub fn open(dir: &Path, options: Options) -> Result<Self, JournalError> {
        Self::open_on(Arc::new(OsDisk), dir, options)
    }

    /// As [`SegmentJournal::open`], writing through `disk`.
    ///
    /// # Errors
    /// As there.
    pub fn open_on(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: Options,
    ) -> Result<Self, JournalError> {
        let lock = lock_directory(dir)?;
        if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            // Else a power cut could take a new directory away with all that is synced inside.
            disk.sync_dir(parent)
                .map_err(|error| JournalError::storage("sync", parent.display(), error))?;
        }
        let recovered = recover(dir, disk.as_ref())?;
        let mut mark = MarkFile::open(dir, disk.as_ref())?;
        let (tail_first, tail_end) = recovered
            .map
            .segments
            .last()
            .map_or((0, 0), |last| (last.first, last.end));
        let len = recovered.map.len;
        // All that `recover` kept has been synced. A crash before this leaves the older mark.
        mark.write(&Mark {
            journal: recovered.journal,
            len,
            segment: tail_first,
            offset: tail_end,
        });
        mark.sync();
        // For the names of the mark and of a segment that an earlier process could not sync.
        disk.sync_dir(dir)
            .map_err(|error| JournalError::storage("sync", dir.display(), error))?;
        let shared = Arc::new(Shared {
            dir: dir.to_path_buf(),
            seed: recovered.journal.seed(),
            map: RwLock::new(recovered.map),
        });
        Ok(Self {
            disk,
            options,
            journal: recovered.journal,
            shared,
            tail: recovered.tail,
            tail_first,
            tail_end,
            len,
            mark,
            poisoned: None,
            _lock: lock,
        })
    }

    fn path(&self) -> PathBuf {
        segment_path(&self.shared.dir, self.tail_first)
    }

    fn fail(&self, action: &'static str) -> impl FnOnce(std::io::Error) -> JournalError + use<> {
        let path = self.path();
        move |error| JournalError::storage(action, path.display(), error)
    }

    /// Starts the next segment.
    fn roll(&mut self) -> Result<(), JournalError> {
        // Every batch before has been synced, else the journal would be poisoned. An open relies
        // on it: a bad frame in a segment that is not the last is damage.
        let header = SegmentHeader {
            journal: self.journal,
            first: self.len,
        };
        // A crash inside leaves a last segment without records; see there.
        self.tail = create_segment(&self.shared.dir, self.disk.as_ref(), header)?;
        self.tail_first = self.len;
        self.tail_end = SEGMENT_HEADER_BYTES;
        let mut map = self
            .shared
            .map
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let full = map.segments.last().cloned();
        map.segments.push(SegmentMap::new(self.len));
        drop(map);
        if let Some(full) = full {
            let disk = self.disk.as_ref();
            offsets::write(disk, &self.shared.dir, self.journal, &full, self.len);
        }
        Ok(())
    }

    fn write(&mut self, batch: &[JournalRecord], batch_bytes: u64) -> Result<u64, JournalError> {
        let holds_records = self.tail_end > SEGMENT_HEADER_BYTES;
        if holds_records && self.tail_end.saturating_add(batch_bytes) > self.options.segment_bytes {
            self.roll()?;
        }
        let first = self.len;
        let mut bytes = Vec::with_capacity(usize::try_from(batch_bytes).unwrap_or(0));
        let mut placed = Vec::with_capacity(batch.len());
        for (index, (position, record)) in (first..).zip((0..).zip(batch)) {
            placed.push((index, self.tail_end + bytes.len() as u64));
            encode(self.shared.seed, index, position, record, &mut bytes);
        }
        // A crash here leaves any part of the batch: whole leading records are kept by the next
        // open (unacknowledged, but in order), the rest is cut.
        self.tail
            .write_at(self.tail_end, &bytes)
            .map_err(self.fail("write"))?;
        // A crash here is the same; kill -9 leaves the whole batch.
        if !seeded(Bug::AppendWithoutSync) {
            self.tail.sync_data().map_err(self.fail("sync"))?;
        }
        // From here on the batch is durable, whether or not the caller hears of it.
        self.tail_end += bytes.len() as u64;
        self.len += placed.len() as u64;
        self.mark.write(&self.acknowledged());
        self.publish(&placed);
        Ok(first)
    }

    fn acknowledged(&self) -> Mark {
        Mark {
            journal: self.journal,
            len: self.len,
            segment: self.tail_first,
            offset: self.tail_end,
        }
    }

    /// Lets readers see the synced records.
    fn publish(&self, placed: &[(u64, u64)]) {
        let mut map = self
            .shared
            .map
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(segment) = map.segments.last_mut() {
            for (index, offset) in placed {
                segment.note(*index, *offset);
            }
            segment.end = self.tail_end;
        }
        map.len = self.len;
    }
}

impl Journal for SegmentJournal {
    fn append(&mut self, batch: &[JournalRecord]) -> Result<u64, JournalError> {
        if let Some(cause) = &self.poisoned {
            return Err(JournalError::Poisoned {
                cause: cause.clone(),
            });
        }
        let batch_bytes = check_limits(batch)?;
        if batch.is_empty() {
            return Ok(self.len);
        }
        // Poisoned until proven written: a panic on the way must not leave a journal that would
        // write its next batch over or after bytes it knows nothing of.
        self.poisoned = Some("the append did not end".to_owned());
        let written = self.write(batch, batch_bytes);
        self.poisoned = written.as_ref().err().map(ToString::to_string);
        written
    }

    fn reader(&self) -> Arc<dyn JournalReader> {
        Arc::<Shared>::clone(&self.shared)
    }
}

impl Drop for SegmentJournal {
    fn drop(&mut self) {
        // The mark is exact after an orderly end, so that the next open refuses any damage.
        if self.poisoned.is_none() {
            self.mark.sync();
        }
    }
}

/// The bytes that `batch` takes in a segment.
fn check_limits(batch: &[JournalRecord]) -> Result<u64, JournalError> {
    let within = |what, size: usize, limit: usize| {
        if size > limit {
            Err(JournalError::TooLarge { what, size, limit })
        } else {
            Ok(())
        }
    };
    within(
        "a batch with a number of records",
        batch.len(),
        MAX_BATCH_RECORDS,
    )?;
    let mut body_bytes = 0_usize;
    for record in batch {
        within(
            "an entry with a size in bytes",
            record.entry.len(),
            MAX_ENTRY_BYTES,
        )?;
        within(
            "a sidecar with a size in bytes",
            record.sidecar.len(),
            MAX_SIDECAR_BYTES,
        )?;
        body_bytes = body_bytes.saturating_add(record.entry.len() + record.sidecar.len());
    }
    within("a batch with a size in bytes", body_bytes, MAX_BATCH_BYTES)?;
    Ok(body_bytes as u64 + batch.len() as u64 * FRAME_HEADER_BYTES)
}
