//! The offsets of a full segment, in a small file beside it.
//!
//! In scope: `<20-digit first index>.idx`, written when the next segment is started, so that an
//! open need not walk the frames of a segment that no longer changes.
//!
//! It is derived: never synced, and believed only if its checksum, the journal's id, the length of
//! the segment and the start of the next one all fit. Else the segment is walked, as the last one
//! always is, and the file written again. What an open that believes it does not find is a bit
//! that rotted inside an old segment: the record's checksum finds that when it is read.
//!
//! ```text
//! magic 8 | journal id 16 | first index 8 | records 8 | segment bytes 8 | offsets 8 each
//! | checksum 4
//! ```

use std::io;
use std::path::{Path, PathBuf};

use crate::files::Disk;
use crate::frame::{Fields, JournalId, SEGMENT_HEADER_BYTES, checked};
use crate::reader::{INDEX_EVERY, SegmentMap};

const MAGIC: [u8; 8] = *b"PSRLIDX1";

fn index_path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}.idx"))
}

/// Writes the offsets of `segment`, which ends before record `next`. Failing that fails nothing.
pub(crate) fn write(
    disk: &dyn Disk,
    dir: &Path,
    journal: JournalId,
    segment: &SegmentMap,
    next: u64,
) {
    let path = index_path(dir, segment.first);
    // A crash inside leaves the old file, none, or one that does not match its checksum.
    let written = disk.open(&path).and_then(|mut file| {
        file.truncate(0)?;
        file.write_at(0, &encode(journal, segment, next))
    });
    if let Err(error) = written {
        tracing::warn!(
            file = %path.display(), %error,
            "the offsets of a segment can't be written: the next start reads all of it"
        );
    }
}

/// The offsets of the segment from `first` to the one from `next`, of `file_bytes` bytes.
pub(crate) fn read(
    dir: &Path,
    journal: JournalId,
    first: u64,
    next: u64,
    file_bytes: u64,
) -> Option<SegmentMap> {
    let path = index_path(dir, first);
    let found = match std::fs::read(&path) {
        Ok(bytes) => decode(&bytes, journal),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            tracing::warn!(file = %path.display(), %error, "the offsets can't be read");
            None
        }
    };
    let (segment, records) = found?;
    let fits = segment.first == first
        && first.checked_add(records) == Some(next)
        && segment.end == file_bytes
        && segment.offsets.len() as u64 == records.div_ceil(INDEX_EVERY)
        && segment.offsets.first() == Some(&SEGMENT_HEADER_BYTES)
        && segment.offsets.is_sorted_by(|a, b| a < b)
        && segment.offsets.last() < Some(&segment.end);
    fits.then_some(segment)
}

fn encode(journal: JournalId, segment: &SegmentMap, next: u64) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&journal.0);
    out.extend_from_slice(&segment.first.to_le_bytes());
    out.extend_from_slice(&next.saturating_sub(segment.first).to_le_bytes());
    out.extend_from_slice(&segment.end.to_le_bytes());
    for offset in &segment.offsets {
        out.extend_from_slice(&offset.to_le_bytes());
    }
    out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
    out
}

/// The segment's map and the number of its records.
fn decode(bytes: &[u8], journal: JournalId) -> Option<(SegmentMap, u64)> {
    let mut fields = Fields(checked(0, bytes)?);
    if fields.take()? != MAGIC || JournalId(fields.take()?) != journal {
        return None;
    }
    let first = fields.u64()?;
    let records = fields.u64()?;
    let end = fields.u64()?;
    let mut offsets = Vec::with_capacity(fields.0.len() / 8);
    while !fields.0.is_empty() {
        offsets.push(fields.u64()?);
    }
    let segment = SegmentMap {
        first,
        end,
        offsets,
    };
    Some((segment, records))
}
