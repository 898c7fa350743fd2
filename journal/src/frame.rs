//! The bytes of a segment: its header, and the frame around each record.
//!
//! In scope: encoding, decoding, checksums. Out of scope: files.
//!
//! All integers are little-endian. Checksums are CRC-32C.
//!
//! ```text
//! segment  magic 8 | version 4 | journal id 16 | first index 8 | checksum 4
//! frame    magic 4 | index 8 | position in batch 4 | entry bytes 4 | sidecar bytes 4
//!          | body checksum 4 | header checksum 4 | entry | sidecar
//! ```
//!
//! Every checksum of a frame starts from the journal's random id. So a frame copied from another
//! journal is not valid here, and bytes that a stranger sends inside an entry or a sidecar can't
//! pass for a frame when the end of a torn segment is searched.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use crate::{JournalRecord, MAX_ENTRY_BYTES, MAX_SIDECAR_BYTES};

/// Bytes before the first frame of a segment.
pub const SEGMENT_HEADER_BYTES: u64 = 40;

/// Bytes of a frame before its entry.
pub const FRAME_HEADER_BYTES: u64 = 32;

const SEGMENT_MAGIC: [u8; 8] = *b"PSRLSEG\0";
const SEGMENT_VERSION: u32 = 1;
pub(crate) const FRAME_MAGIC: [u8; 4] = [0xf5, b'P', b'J', 0xfa];

/// Random, the same in all segments of one journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JournalId(pub(crate) [u8; 16]);

impl JournalId {
    /// What the frame checksums of this journal start from.
    pub(crate) fn seed(self) -> u32 {
        crc32c::crc32c(&self.0)
    }
}

/// Takes fixed fields off the front of a slice.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl Fields<'_> {
    pub(crate) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}

/// Splits off the checksum at the end of `bytes`; `None` if it does not match.
pub(crate) fn checked(seed: u32, bytes: &[u8]) -> Option<&[u8]> {
    let (body, sum) = bytes.split_last_chunk::<4>()?;
    (crc32c::crc32c_append(seed, body) == u32::from_le_bytes(*sum)).then_some(body)
}

/// The start of a segment file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) journal: JournalId,
    pub(crate) first: u64,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&SEGMENT_MAGIC);
        out.extend_from_slice(&SEGMENT_VERSION.to_le_bytes());
        out.extend_from_slice(&self.journal.0);
        out.extend_from_slice(&self.first.to_le_bytes());
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        out
    }

    /// The header, or what is wrong with it.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        let body = checked(0, bytes);
        let mut fields = Fields(bytes);
        if fields.take() != Some(SEGMENT_MAGIC) {
            return Err("this is not a segment of a journal");
        }
        let version = fields.u32();
        let body = body.ok_or("the segment header does not match its checksum")?;
        if version != Some(SEGMENT_VERSION) {
            return Err("this program does not know the version of the segment");
        }
        let mut fields = Fields(body);
        (|| {
            fields.take::<8>()?;
            fields.u32()?;
            Some(Self {
                journal: JournalId(fields.take()?),
                first: fields.u64()?,
            })
        })()
        .ok_or("the segment header is too short")
    }
}

/// The start of a frame, its checksum and limits verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) index: u64,
    pub(crate) position_in_batch: u32,
    entry_bytes: u32,
    sidecar_bytes: u32,
    body_checksum: u32,
}

impl FrameHeader {
    pub(crate) fn decode(seed: u32, bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(checked(seed, bytes)?);
        if fields.take()? != FRAME_MAGIC {
            return None;
        }
        let header = Self {
            index: fields.u64()?,
            position_in_batch: fields.u32()?,
            entry_bytes: fields.u32()?,
            sidecar_bytes: fields.u32()?,
            body_checksum: fields.u32()?,
        };
        let in_limits = usize::try_from(header.entry_bytes).ok()? <= MAX_ENTRY_BYTES
            && usize::try_from(header.sidecar_bytes).ok()? <= MAX_SIDECAR_BYTES
            && u64::from(header.position_in_batch) <= header.index;
        in_limits.then_some(header)
    }

    /// The index of the first record of the batch that this one was written with.
    pub(crate) fn batch_first(&self) -> u64 {
        self.index.saturating_sub(u64::from(self.position_in_batch))
    }

    pub(crate) fn body_bytes(&self) -> u64 {
        u64::from(self.entry_bytes) + u64::from(self.sidecar_bytes)
    }

    fn record(&self, seed: u32, mut body: Vec<u8>) -> Option<JournalRecord> {
        if crc32c::crc32c_append(seed, &body) != self.body_checksum {
            return None;
        }
        let entry_bytes = usize::try_from(self.entry_bytes).ok()?;
        if entry_bytes > body.len() {
            return None;
        }
        let sidecar = body.split_off(entry_bytes);
        Some(JournalRecord {
            entry: body,
            sidecar,
        })
    }
}

/// Appends the frame of `record` to `out`. The caller has checked the limits.
pub(crate) fn encode(
    seed: u32,
    index: u64,
    position_in_batch: u32,
    record: &JournalRecord,
    out: &mut Vec<u8>,
) {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
    let body = crc32c::crc32c_append(seed, &record.entry);
    let body = crc32c::crc32c_append(body, &record.sidecar);
    let mut header = Vec::with_capacity(64);
    header.extend_from_slice(&FRAME_MAGIC);
    header.extend_from_slice(&index.to_le_bytes());
    header.extend_from_slice(&position_in_batch.to_le_bytes());
    header.extend_from_slice(&length(&record.entry));
    header.extend_from_slice(&length(&record.sidecar));
    header.extend_from_slice(&body.to_le_bytes());
    let checksum = crc32c::crc32c_append(seed, &header);
    out.extend_from_slice(&header);
    out.extend_from_slice(&checksum.to_le_bytes());
    out.extend_from_slice(&record.entry);
    out.extend_from_slice(&record.sidecar);
}

/// One step through a segment.
pub(crate) enum Step {
    /// A whole, valid frame.
    Record(FrameHeader, JournalRecord),
    /// Exactly at the end.
    End,
    /// Not a frame, for this reason. The walk can't go on.
    Bad(&'static str),
}

/// Walks the frames of a segment. Opening and later reading use this same walk.
pub(crate) struct Frames {
    file: BufReader<File>,
    seed: u32,
    offset: u64,
    end: u64,
}

impl Frames {
    /// Walks the bytes from `offset`, where a frame starts, to `end`.
    pub(crate) fn new(file: File, seed: u32, offset: u64, end: u64) -> io::Result<Self> {
        let mut file = BufReader::with_capacity(64 * 1024, file);
        file.seek(SeekFrom::Start(offset))?;
        Ok(Self {
            file,
            seed,
            offset,
            end,
        })
    }

    /// Where the next frame starts, in bytes.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    fn remaining(&self) -> u64 {
        self.end.saturating_sub(self.offset)
    }

    fn header(&mut self) -> io::Result<Result<FrameHeader, &'static str>> {
        if self.remaining() < FRAME_HEADER_BYTES {
            return Ok(Err("the frame header is incomplete"));
        }
        let mut bytes = [0; FRAME_HEADER_BYTES as usize];
        if !read_whole(&mut self.file, &mut bytes)? {
            return Ok(Err("the frame header is incomplete"));
        }
        let header = FrameHeader::decode(self.seed, &bytes);
        Ok(header.ok_or("the frame header does not match its checksum"))
    }

    /// The next record with its frame header.
    pub(crate) fn step(&mut self) -> io::Result<Step> {
        if self.remaining() == 0 {
            return Ok(Step::End);
        }
        let header = match self.header()? {
            Ok(header) => header,
            Err(reason) => return Ok(Step::Bad(reason)),
        };
        let frame_bytes = FRAME_HEADER_BYTES + header.body_bytes();
        if self.remaining() < frame_bytes {
            return Ok(Step::Bad("the record is incomplete"));
        }
        // At most the two limits together: the header has been checked against them.
        let mut body = vec![0; usize::try_from(header.body_bytes()).unwrap_or(0)];
        if !read_whole(&mut self.file, &mut body)? {
            return Ok(Step::Bad("the record is incomplete"));
        }
        let Some(record) = header.record(self.seed, body) else {
            return Ok(Step::Bad("the record does not match its checksum"));
        };
        self.offset += frame_bytes;
        Ok(Step::Record(header, record))
    }

    /// Passes over the next record without reading its body; false if there is no valid header.
    pub(crate) fn skip(&mut self) -> io::Result<bool> {
        let Ok(header) = self.header()? else {
            return Ok(false);
        };
        self.file
            .seek_relative(i64::try_from(header.body_bytes()).unwrap_or(0))?;
        self.offset += FRAME_HEADER_BYTES + header.body_bytes();
        Ok(true)
    }
}

/// Fills `bytes`; false if the file ends before.
pub(crate) fn read_whole(file: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_frame_of_another_journal_is_not_valid() {
        let record = JournalRecord {
            entry: b"entry".to_vec(),
            sidecar: vec![],
        };
        let mut out = vec![];
        encode(JournalId([1; 16]).seed(), 7, 0, &record, &mut out);
        let header = &out[..FRAME_HEADER_BYTES as usize];
        assert!(FrameHeader::decode(JournalId([1; 16]).seed(), header).is_some());
        assert!(FrameHeader::decode(JournalId([2; 16]).seed(), header).is_none());
    }

    #[test]
    fn a_length_over_the_limit_is_refused_even_with_a_right_checksum() {
        let record = JournalRecord {
            entry: vec![0; MAX_ENTRY_BYTES + 1],
            sidecar: vec![],
        };
        let mut out = vec![];
        encode(9, 0, 0, &record, &mut out);
        assert!(FrameHeader::decode(9, &out[..FRAME_HEADER_BYTES as usize]).is_none());
    }

    #[test]
    fn a_newer_segment_version_is_named_as_such() {
        let mut bytes = SegmentHeader {
            journal: JournalId([3; 16]),
            first: 5,
        }
        .encode();
        assert_eq!(bytes.len() as u64, SEGMENT_HEADER_BYTES);
        bytes[8] = 2;
        bytes.truncate(36);
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        assert!(
            SegmentHeader::decode(&bytes)
                .unwrap_err()
                .contains("version")
        );
    }

    proptest! {
        #[test]
        fn any_flipped_bit_of_a_segment_header_is_found(first: u64, bit in 0usize..320) {
            let header = SegmentHeader { journal: JournalId([7; 16]), first };
            let mut bytes = header.encode();
            prop_assert_eq!(SegmentHeader::decode(&bytes), Ok(header));
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(SegmentHeader::decode(&bytes).is_err());
        }
    }
}
