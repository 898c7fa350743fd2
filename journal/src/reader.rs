//! Reading what is durable, beside the writer.
//!
//! In scope: the sparse index of offsets, `len`, `read`, `scan`. Out of scope: bytes past the last
//! acknowledged batch, which no reader ever looks at.

use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use crate::frame::{Frames, SEGMENT_HEADER_BYTES, Step};
use crate::{JournalError, JournalReader, JournalRecord, Visit};

/// Every so many records the index notes an offset: 8 bytes of memory for 64 records, at most 63
/// frame headers to pass over for one read.
pub(crate) const INDEX_EVERY: u64 = 64;

/// The name of the segment that starts with record `first`.
pub(crate) fn segment_path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}.seg"))
}

/// Where the records of one segment are.
#[derive(Debug, Clone)]
pub(crate) struct SegmentMap {
    pub(crate) first: u64,
    /// The byte after the last durable frame.
    pub(crate) end: u64,
    /// Offsets of the records `first`, `first + INDEX_EVERY`, ...
    pub(crate) offsets: Vec<u64>,
}

impl SegmentMap {
    pub(crate) fn new(first: u64) -> Self {
        Self {
            first,
            end: SEGMENT_HEADER_BYTES,
            offsets: Vec::new(),
        }
    }

    /// Notes that record `index` starts at `offset`; to be called for each record, in order.
    pub(crate) fn note(&mut self, index: u64, offset: u64) {
        if index.saturating_sub(self.first).is_multiple_of(INDEX_EVERY) {
            self.offsets.push(offset);
        }
    }

    /// The nearest noted record at or before `index`: its index and offset.
    fn nearest(&self, index: u64) -> Option<(u64, u64)> {
        let slot = index.checked_sub(self.first)? / INDEX_EVERY;
        let offset = *self.offsets.get(usize::try_from(slot).ok()?)?;
        Some((self.first + slot * INDEX_EVERY, offset))
    }
}

/// The whole journal. Invariant: everything in here has been synced.
#[derive(Debug)]
pub(crate) struct Map {
    pub(crate) segments: Vec<SegmentMap>,
    pub(crate) len: u64,
}

/// Shared by the writer and its readers.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) dir: PathBuf,
    pub(crate) seed: u32,
    pub(crate) map: RwLock<Map>,
}

/// Where to start reading for one record.
struct Start {
    path: PathBuf,
    index: u64,
    offset: u64,
    end: u64,
    segment_end_index: u64,
}

impl Shared {
    fn start(&self, index: u64) -> Option<Start> {
        // A panic elsewhere can't leave the map half changed in a way that matters: `len` is set
        // last.
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        if index >= map.len {
            return None;
        }
        let after = map
            .segments
            .partition_point(|segment| segment.first <= index);
        let segment = map.segments.get(after.checked_sub(1)?)?;
        let (nearest, offset) = segment.nearest(index)?;
        Some(Start {
            path: segment_path(&self.dir, segment.first),
            index: nearest,
            offset,
            end: segment.end,
            segment_end_index: map.segments.get(after).map_or(map.len, |next| next.first),
        })
    }

    /// The frames from record `index` on, and the index after its segment.
    fn frames(&self, index: u64) -> Result<Option<(PathBuf, Frames, u64)>, JournalError> {
        let Some(start) = self.start(index) else {
            return Ok(None);
        };
        let fail = |error| JournalError::storage("read", start.path.display(), error);
        let file = File::open(&start.path).map_err(fail)?;
        let mut frames = Frames::new(file, self.seed, start.offset, start.end).map_err(fail)?;
        for _ in start.index..index {
            if !frames.skip().map_err(fail)? {
                let reason = "the frame header does not match its checksum";
                return Err(corrupt(&start.path, frames.offset(), reason));
            }
        }
        Ok(Some((start.path, frames, start.segment_end_index)))
    }
}

/// The next record, which must be number `index`.
fn expect(path: &Path, frames: &mut Frames, index: u64) -> Result<JournalRecord, JournalError> {
    let offset = frames.offset();
    let step = frames
        .step()
        .map_err(|error| JournalError::storage("read", path.display(), error))?;
    match step {
        Step::Record(header, record) if header.index == index => Ok(record),
        Step::Record(..) => Err(corrupt(path, offset, "another record is in this place")),
        Step::End => Err(corrupt(path, offset, "the record is missing")),
        Step::Bad(reason) => Err(corrupt(path, offset, reason)),
    }
}

pub(crate) fn corrupt(path: &Path, offset: u64, reason: impl Into<String>) -> JournalError {
    JournalError::Corrupt {
        place: path.display().to_string(),
        position: offset,
        reason: reason.into(),
    }
}

impl JournalReader for Shared {
    fn len(&self) -> u64 {
        self.map.read().unwrap_or_else(PoisonError::into_inner).len
    }

    fn read(&self, index: u64) -> Result<Option<JournalRecord>, JournalError> {
        let Some((path, mut frames, _)) = self.frames(index)? else {
            return Ok(None);
        };
        expect(&path, &mut frames, index).map(Some)
    }

    fn scan(&self, from: u64, visit: &mut Visit<'_>) -> Result<(), JournalError> {
        let len = self.len();
        let mut index = from;
        while index < len {
            let Some((path, mut frames, segment_end)) = self.frames(index)? else {
                break;
            };
            // The segment may have grown since `len` was taken.
            for index in index..segment_end.min(len) {
                let record = expect(&path, &mut frames, index)?;
                if visit(index, record) == ControlFlow::Break(()) {
                    return Ok(());
                }
            }
            index = segment_end;
        }
        Ok(())
    }
}
