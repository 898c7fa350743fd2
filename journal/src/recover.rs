//! Opening a directory of segments: verify it, cut a torn tail, refuse damage.
//!
//! In scope: telling a write that a crash tore from damage to what was acknowledged; making
//! durable what is kept. Out of scope: appending; a bit that rotted inside a segment that is full,
//! which is found when the record is read.
//!
//! The rule. Check the header, length and neighbours of each full segment against its offsets (see
//! [`crate::offsets`]); walk all frames of the last one, and of any whose offsets are not there. A bad frame that should be record `i` is a torn tail, and is cut
//! with what follows it, only if all of these hold:
//! 1. it is in the last segment (a segment is synced before the next one is created);
//! 2. `i` is not below the mark (see [`crate::mark`]): below it, it was acknowledged;
//! 3. no later valid frame header belongs to a batch that starts after `i`: such a batch was only
//!    written after the one with `i` had been synced. Later frames of the same batch prove
//!    nothing: one batch is one write, and a power cut may keep its pages in any order.
//!
//! Otherwise it is damage: nothing is changed, and the error names file and offset.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::JournalError;
use crate::files::{Disk, WriteFile};
use crate::frame::{
    FRAME_HEADER_BYTES, FRAME_MAGIC, FrameHeader, Frames, JournalId, SEGMENT_HEADER_BYTES,
    SegmentHeader, Step, read_whole,
};
use crate::mark::Mark;
use crate::offsets;
use crate::reader::{Map, SegmentMap, corrupt, segment_path};

const CHUNK_BYTES: usize = 1024 * 1024;

/// A journal after it has been verified.
pub(crate) struct Recovered {
    pub(crate) journal: JournalId,
    pub(crate) map: Map,
    /// The last segment, open for writing.
    pub(crate) tail: Box<dyn WriteFile>,
}

/// Verifies the segments in `dir`, cuts a torn tail and makes durable what is kept.
pub(crate) fn recover(dir: &Path, disk: &dyn Disk) -> Result<Recovered, JournalError> {
    let mark = Mark::read(dir)?;
    let firsts = segment_firsts(dir)?;
    let mut walk = Walk {
        dir,
        mark,
        journal: None,
        map: Map {
            segments: vec![],
            len: 0,
        },
        walked: vec![],
    };
    let mut fresh = firsts.is_empty().then_some(0);
    for (position, first) in firsts.iter().enumerate() {
        walk.expect_segment(*first)?;
        let next = firsts.get(position + 1).copied();
        if walk.segment(*first, next)? == Found::NeverUsed {
            fresh = Some(*first);
        }
    }
    walk.expect_acknowledged()?;
    let journal = match walk.journal {
        Some(journal) => journal,
        None => new_journal_id()?,
    };
    walk.write_offsets(disk, journal);
    if let Some(first) = fresh {
        let tail = create_segment(dir, disk, SegmentHeader { journal, first })?;
        walk.map.segments.push(SegmentMap::new(first));
        return Ok(Recovered {
            journal,
            map: walk.map,
            tail,
        });
    }
    let tail = settle(dir, disk, &walk)?;
    Ok(Recovered {
        journal,
        map: walk.map,
        tail,
    })
}

/// Creates a segment, or creates it again where a crash left a part of its header.
pub(crate) fn create_segment(
    dir: &Path,
    disk: &dyn Disk,
    header: SegmentHeader,
) -> Result<Box<dyn WriteFile>, JournalError> {
    let path = segment_path(dir, header.first);
    let fail = |action| {
        let path = path.clone();
        move |error: io::Error| JournalError::storage(action, path.display(), error)
    };
    // A crash from here to the directory's sync leaves no file, an empty one, or a part of the
    // header. None holds a record, so the next open starts the segment again.
    let mut file = disk.open(&path).map_err(fail("create"))?;
    file.truncate(0).map_err(fail("create"))?;
    file.write_at(0, &header.encode()).map_err(fail("write"))?;
    file.sync_all().map_err(fail("sync"))?;
    // Before this sync a power cut may take the name away, and with it every record that a batch
    // sync would have made durable: so it comes before the segment's first batch.
    disk.sync_dir(dir)
        .map_err(|error| JournalError::storage("sync", dir.display(), error))?;
    Ok(file)
}

fn new_journal_id() -> Result<JournalId, JournalError> {
    let mut id = [0; 16];
    getrandom::fill(&mut id)
        .map_err(|error| JournalError::storage("draw", "a journal id", error.to_string()))?;
    Ok(JournalId(id))
}

/// The first indices of the segments in `dir`, in order.
fn segment_firsts(dir: &Path) -> Result<Vec<u64>, JournalError> {
    let fail = |error| JournalError::storage("list", dir.display(), error);
    let mut firsts = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(fail)? {
        let name = entry.map_err(fail)?.file_name();
        let Some(name) = name.to_str() else { continue };
        let Some(stem) = name.strip_suffix(".seg") else {
            continue;
        };
        let number = (stem.len() == 20 && stem.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| stem.parse().ok())
            .flatten();
        let reason = "the name is not that of a segment: 20 digits are expected";
        firsts.push(number.ok_or_else(|| corrupt(&dir.join(name), 0, reason))?);
    }
    firsts.sort_unstable();
    Ok(firsts)
}

#[derive(PartialEq, Eq)]
enum Found {
    /// The segment holds the records now in the map.
    Records,
    /// A crash came between its creation and its first use.
    NeverUsed,
}

struct Walk<'a> {
    dir: &'a Path,
    mark: Option<Mark>,
    journal: Option<JournalId>,
    map: Map,
    /// Full segments whose offsets were not there, with the start of the next one.
    walked: Vec<(SegmentMap, u64)>,
}

impl Walk<'_> {
    fn acknowledged(&self) -> u64 {
        self.mark.map_or(0, |mark| mark.len)
    }

    fn expect_segment(&self, first: u64) -> Result<(), JournalError> {
        let expected = self.map.len;
        if first == expected {
            return Ok(());
        }
        let reason = if first > expected {
            format!("the segment is missing: the next one starts with record `{first}`")
        } else {
            format!("the records from `{first}` on are in two segments")
        };
        Err(corrupt(&segment_path(self.dir, expected), 0, reason))
    }

    fn expect_acknowledged(&self) -> Result<(), JournalError> {
        let Some(mark) = self.mark else { return Ok(()) };
        let place = segment_path(self.dir, mark.segment);
        if self.map.len < mark.len {
            let reason = format!(
                "records were acknowledged up to `{}`, but the journal ends before record `{}`",
                mark.len.saturating_sub(1),
                self.map.len
            );
            return Err(corrupt(&place, 0, reason));
        }
        if mark.len > 0 && self.journal != Some(mark.journal) {
            return Err(corrupt(
                &place,
                0,
                "the mark beside it belongs to another journal",
            ));
        }
        Ok(())
    }

    fn write_offsets(&self, disk: &dyn Disk, journal: JournalId) {
        for (segment, next) in &self.walked {
            offsets::write(disk, self.dir, journal, segment, *next);
        }
    }

    /// Checks one segment, which `next` follows, and adds it to the map.
    fn segment(&mut self, first: u64, next: Option<u64>) -> Result<Found, JournalError> {
        let is_last = next.is_none();
        let path = segment_path(self.dir, first);
        let fail = |error| JournalError::storage("read", path.display(), error);
        let mut file = File::open(&path).map_err(fail)?;
        let file_bytes = file.metadata().map_err(fail)?.len();
        let mut header = Vec::new();
        file.by_ref()
            .take(SEGMENT_HEADER_BYTES)
            .read_to_end(&mut header)
            .map_err(fail)?;
        let header = match SegmentHeader::decode(&header) {
            Ok(header) => header,
            // No frame is written before the header is durable: a file without a frame and with a
            // bad header was never used.
            Err(_) if is_last && file_bytes <= SEGMENT_HEADER_BYTES => return Ok(Found::NeverUsed),
            Err(reason) => return Err(corrupt(&path, 0, reason)),
        };
        let journal = *self.journal.get_or_insert(header.journal);
        if header.journal != journal {
            return Err(corrupt(&path, 0, "the segment belongs to another journal"));
        }
        if header.first != first {
            let reason = format!(
                "its name does not match its first record `{}`",
                header.first
            );
            return Err(corrupt(&path, 0, reason));
        }
        let known = next.and_then(|next| {
            let segment = offsets::read(self.dir, journal, first, next, file_bytes)?;
            Some((segment, next))
        });
        if let Some((segment, next)) = known {
            self.map.segments.push(segment);
            self.map.len = next;
            return Ok(Found::Records);
        }
        self.frames(&path, file, first, file_bytes, is_last)?;
        if !is_last {
            let segment = self.map.segments.last().cloned();
            self.walked
                .extend(segment.map(|segment| (segment, self.map.len)));
        }
        Ok(Found::Records)
    }

    fn frames(
        &mut self,
        path: &Path,
        file: File,
        first: u64,
        file_bytes: u64,
        is_last: bool,
    ) -> Result<(), JournalError> {
        let fail = |error| JournalError::storage("read", path.display(), error);
        let seed = self.journal.map_or(0, JournalId::seed);
        let mut segment = SegmentMap::new(first);
        let mut frames = Frames::new(file, seed, segment.end, file_bytes).map_err(fail)?;
        let mut index = first;
        loop {
            let offset = frames.offset();
            match frames.step().map_err(fail)? {
                Step::End => break,
                Step::Record(header, _) if header.index == index => {
                    segment.note(index, offset);
                    segment.end = frames.offset();
                    index += 1;
                }
                Step::Record(header, _) => {
                    let found = header.index;
                    let reason = format!("record `{index}` is due here, found `{found}`");
                    return Err(corrupt(path, offset, reason));
                }
                Step::Bad(reason) if !is_last => return Err(corrupt(path, offset, reason)),
                Step::Bad(reason) if index < self.acknowledged() => {
                    let reason = format!("{reason}; record `{index}` had been acknowledged");
                    return Err(corrupt(path, offset, reason));
                }
                Step::Bad(reason) => {
                    if let Some(later) = later_batch(path, seed, offset, index).map_err(fail)? {
                        let reason = format!("{reason}; a later record is at offset `{later}`");
                        return Err(corrupt(path, offset, reason));
                    }
                    break;
                }
            }
        }
        self.map.segments.push(segment);
        self.map.len = index;
        Ok(())
    }
}

/// The offset of the first frame header after `offset` that proves that record `index`, which
/// should be at `offset`, had been synced.
fn later_batch(path: &Path, seed: u32, offset: u64, index: u64) -> io::Result<Option<u64>> {
    let mut file = File::open(path)?;
    let mut window: Vec<u8> = Vec::new();
    // The offset in the file of the first byte of `window`. The bad frame's own first byte is
    // left out: its header may be valid while its body is not.
    let mut at = offset + 1;
    file.seek(SeekFrom::Start(at))?;
    loop {
        let read = file
            .by_ref()
            .take(CHUNK_BYTES as u64)
            .read_to_end(&mut window)?;
        for (position, bytes) in window.windows(FRAME_HEADER_BYTES as usize).enumerate() {
            if bytes.starts_with(&FRAME_MAGIC)
                && let Some(header) = FrameHeader::decode(seed, bytes)
                && (header.batch_first() > index || header.index <= index)
            {
                return Ok(Some(at + position as u64));
            }
        }
        if read == 0 {
            return Ok(None);
        }
        // Keep what could be the start of a header that goes on in the next chunk.
        let done = window.len().saturating_sub(FRAME_HEADER_BYTES as usize - 1);
        window.drain(..done);
        at += done as u64;
    }
}

/// Cuts what is past the last valid frame and makes the rest durable.
fn settle(
    dir: &Path,
    disk: &dyn Disk,
    walk: &Walk<'_>,
) -> Result<Box<dyn WriteFile>, JournalError> {
    let (first, end) = walk
        .map
        .segments
        .last()
        .map_or((0, 0), |last| (last.first, last.end));
    let path: PathBuf = segment_path(dir, first);
    let fail = |action| {
        let path = path.clone();
        move |error: io::Error| JournalError::storage(action, path.display(), error)
    };
    let mut reading = File::open(&path).map_err(fail("read"))?;
    let file_bytes = reading.metadata().map_err(fail("read"))?.len();
    let mut tail = disk.open(&path).map_err(fail("open"))?;
    if file_bytes > end {
        tracing::warn!(
            file = %path.display(),
            offset = end,
            bytes = file_bytes - end,
            record = walk.map.len,
            "the end of the journal was torn by a crash and is cut: it was never acknowledged"
        );
        // A crash here leaves the torn tail or the cut one: the next open does the same again.
        tail.truncate(end).map_err(fail("cut"))?;
    }
    let acknowledged = walk
        .mark
        .filter(|mark| mark.segment == first)
        .map_or(0, |mark| mark.offset);
    rewrite(&mut reading, tail.as_mut(), acknowledged, end).map_err(fail("rewrite"))?;
    tail.sync_all().map_err(fail("sync"))?;
    // The caller syncs the directory: the name of the segment may not be durable either.
    Ok(tail)
}

/// Writes the bytes between `from` and `to` over themselves. They may be in the page cache only:
/// never synced before a kill -9, or dropped by a sync that failed, after which the kernel counts
/// the pages as clean and a mere sync of them says yes without writing. A crash here leaves the
/// same bytes, whichever of them reached the disk.
fn rewrite(reading: &mut File, tail: &mut dyn WriteFile, from: u64, to: u64) -> io::Result<()> {
    let mut at = from;
    reading.seek(SeekFrom::Start(at))?;
    while at < to {
        let bytes = usize::try_from(to - at)
            .unwrap_or(CHUNK_BYTES)
            .min(CHUNK_BYTES);
        let mut chunk = vec![0; bytes];
        if !read_whole(reading, &mut chunk)? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        tail.write_at(at, &chunk)?;
        at += bytes as u64;
    }
    Ok(())
}
