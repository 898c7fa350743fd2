//! The export of a log: one file of JSON lines that an auditor verifies alone, offline.
//!
//! Line 1 is the header: the format, the cosigned checkpoint, the log's key, the federation. Then
//! comes exactly one line for each index below the checkpoint's size, in order: the entry with the
//! openings that the reader is authorised to see, or, for an entry that the exporter may not
//! read, its leaf hash alone. Every line has one spelling and ends in a newline.
//!
//! In scope: the format, a writer and a reader that stream. Out of scope: what the entries say and
//! whether they belong to the checkpoint (see [`crate::verify`]), who may read what.

use crate::text;
use passerelle_model::{
    bytes::Digest,
    canonical::{self, CanonicalError},
    commitment::Opening,
    entry::MAX_ENTRY_BYTES,
    ids::FederationId,
};
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, Read as _, Write};

/// The value of `@format` in the header.
pub const FORMAT: &str = "passerelle-audit-export/1";

/// Longest header line in bytes, newline included: a note of the largest size, escaped.
pub const MAX_HEADER_BYTES: usize = 1024 * 1024;

/// Longest row in bytes, newline included: an entry of the largest size in base64 (87,380 bytes)
/// and [`MAX_OPENINGS`] openings.
pub const MAX_LINE_BYTES: usize = 256 * 1024;

/// Most openings of one row: a statement has at most three commitments.
pub const MAX_OPENINGS: usize = 1_024;

/// Why an export can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The file can't be read or written.
    #[error("the export can't be read or written: {0}")]
    Io(#[from] io::Error),
    /// A line is not in the format.
    #[error("line {line}: {reason}")]
    Line {
        /// Counted from 1; the row of index `n` is line `n + 2`.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// A row or header that the format has no room for.
    #[error("not exportable: {0}")]
    NotExportable(String),
}

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportHeader {
    /// Always [`FORMAT`].
    #[serde(rename = "@format")]
    pub format: String,
    /// The checkpoint note with its cosignatures.
    pub checkpoint: String,
    /// The log's verifier key in the note format. Nobody vouches for it here.
    pub checkpoint_key: String,
    /// The federation.
    pub federation: FederationId,
}

impl ExportHeader {
    /// A header of the present format.
    pub fn new(checkpoint: String, checkpoint_key: String, federation: FederationId) -> Self {
        Self {
            format: FORMAT.to_owned(),
            checkpoint,
            checkpoint_key,
            federation,
        }
    }
}

/// Any later line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExportRow {
    /// An entry that the exporter may read.
    Entry {
        /// Its index in the log, from zero.
        index: u64,
        /// Its bytes: the Merkle leaf. At most [`MAX_ENTRY_BYTES`].
        entry: Vec<u8>,
        /// What opens its commitments, as far as the reader may see.
        openings: Vec<Opening>,
    },
    /// An entry that the exporter may not read.
    Hidden {
        /// Its index in the log, from zero.
        index: u64,
        /// Its leaf hash, see [`crate::merkle::leaf_hash`].
        leaf_hash: Digest,
    },
}

impl ExportRow {
    /// The index in the log, from zero.
    pub fn index(&self) -> u64 {
        match self {
            Self::Entry { index, .. } | Self::Hidden { index, .. } => *index,
        }
    }

    /// Parses a line without its newline, and refuses every other spelling of it.
    pub(crate) fn parse(line: &[u8]) -> Result<Self, String> {
        Self::parse_plain(line).map_or_else(|| Self::parse_any(line), Ok)
    }

    /// The common case, a short cut: an entry without openings, in its one spelling.
    fn parse_plain(line: &[u8]) -> Option<Self> {
        let line = str::from_utf8(line).ok()?;
        let rest = line.strip_prefix("{\"entry\":\"")?.strip_suffix('}')?;
        let (entry, index) = rest.split_once("\",\"index\":")?;
        let fits = line.len() < MAX_LINE_BYTES;
        // Both the number and the base64 have one spelling each, and neither has an escape.
        let (entry, index) = (text::base64_decode(entry)?, text::decimal(index)?);
        (fits && entry.len() <= MAX_ENTRY_BYTES).then(|| Self::Entry {
            index,
            entry,
            openings: Vec::new(),
        })
    }

    fn parse_any(line: &[u8]) -> Result<Self, String> {
        let wire: Wire<'_> =
            serde_json::from_slice(line).map_err(|error| format!("not a row: {error}"))?;
        let row = match (wire.entry, wire.leaf_hash) {
            (Some(entry), None) => Self::Entry {
                index: wire.index,
                entry: text::base64_decode(entry).ok_or("the entry is not base64")?,
                openings: wire.openings,
            },
            (None, Some(leaf_hash)) if wire.openings.is_empty() => Self::Hidden {
                index: wire.index,
                leaf_hash,
            },
            _ => return Err("a row has either an entry or a leaf hash".to_owned()),
        };
        // One spelling: what would be written for this row is what was read.
        if row.to_line().map_err(|error| error.to_string())? == line {
            Ok(row)
        } else {
            Err("not in the one spelling of a row".to_owned())
        }
    }

    /// The line without its newline.
    fn to_line(&self) -> Result<Vec<u8>, ExportError> {
        let line = match self {
            Self::Hidden { index, leaf_hash } => {
                format!("{{\"index\":{index},\"leaf_hash\":\"{leaf_hash}\"}}")
            }
            Self::Entry {
                index,
                entry,
                openings,
            } => {
                if entry.len() > MAX_ENTRY_BYTES || openings.len() > MAX_OPENINGS {
                    let reason = format!("entry {index} or its openings are too large");
                    return Err(ExportError::NotExportable(reason));
                }
                let entry = text::base64_encode(entry);
                if openings.is_empty() {
                    format!("{{\"entry\":\"{entry}\",\"index\":{index}}}")
                } else {
                    let openings = canonical::to_vec(openings)?;
                    let openings = String::from_utf8_lossy(&openings);
                    format!("{{\"entry\":\"{entry}\",\"index\":{index},\"openings\":{openings}}}")
                }
            }
        };
        if line.len() >= MAX_LINE_BYTES {
            let reason = format!("row {} is too long", self.index());
            return Err(ExportError::NotExportable(reason));
        }
        Ok(line.into_bytes())
    }
}

impl From<CanonicalError> for ExportError {
    fn from(error: CanonicalError) -> Self {
        Self::NotExportable(error.to_string())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire<'a> {
    #[serde(borrow, default)]
    entry: Option<&'a str>,
    index: u64,
    #[serde(default)]
    leaf_hash: Option<Digest>,
    #[serde(default)]
    openings: Vec<Opening>,
}

/// Writes the first line.
pub fn write_header(out: &mut impl Write, header: &ExportHeader) -> Result<(), ExportError> {
    let mut line = canonical::to_vec(header)?;
    line.push(b'\n');
    if header.format != FORMAT || line.len() > MAX_HEADER_BYTES {
        let reason = "the header is of another format or too long";
        return Err(ExportError::NotExportable(reason.to_owned()));
    }
    Ok(out.write_all(&line)?)
}

/// Writes the next row. The caller keeps the order: index 0 first, none left out.
pub fn write_row(out: &mut impl Write, row: &ExportRow) -> Result<(), ExportError> {
    let mut line = row.to_line()?;
    line.push(b'\n');
    Ok(out.write_all(&line)?)
}

/// Reads an export line by line, at most one line in memory.
#[derive(Debug)]
pub struct ExportReader<R> {
    inner: R,
    header: ExportHeader,
    /// Lines read so far.
    lines: u64,
    buffer: Vec<u8>,
}

impl<R: BufRead> ExportReader<R> {
    /// Reads the header.
    pub fn new(mut inner: R) -> Result<Self, ExportError> {
        let malformed = |reason: String| ExportError::Line { line: 1, reason };
        let mut buffer = Vec::new();
        if !read_line(&mut inner, &mut buffer, MAX_HEADER_BYTES, 1)? {
            return Err(malformed("the file is empty".to_owned()));
        }
        let header: ExportHeader = canonical::from_slice(&buffer)
            .map_err(|error| malformed(format!("not the header of an export: {error}")))?;
        if header.format != FORMAT {
            return Err(malformed(format!("the format is not `{FORMAT}`")));
        }
        Ok(Self {
            inner,
            header,
            lines: 1,
            buffer,
        })
    }

    /// The header.
    pub fn header(&self) -> &ExportHeader {
        &self.header
    }

    /// The next row, or `None` at the end of the file.
    pub fn next_row(&mut self) -> Result<Option<ExportRow>, ExportError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let row = if self.next_line(&mut buffer)? {
            let line = self.lines;
            let row = ExportRow::parse(&buffer);
            Some(row.map_err(|reason| ExportError::Line { line, reason })?)
        } else {
            None
        };
        self.buffer = buffer;
        Ok(row)
    }

    /// The next line as it stands, without its newline; `false` at the end of the file.
    pub(crate) fn next_line(&mut self, buffer: &mut Vec<u8>) -> Result<bool, ExportError> {
        self.lines += 1;
        read_line(&mut self.inner, buffer, MAX_LINE_BYTES, self.lines)
    }
}

/// Reads one line of at most `most` bytes, and cuts its newline.
fn read_line(
    inner: &mut impl BufRead,
    buffer: &mut Vec<u8>,
    most: usize,
    line: u64,
) -> Result<bool, ExportError> {
    buffer.clear();
    inner.take(most as u64).read_until(b'\n', buffer)?;
    if buffer.is_empty() {
        return Ok(false);
    }
    if buffer.pop() == Some(b'\n') {
        return Ok(true);
    }
    let reason = if buffer.len() + 1 == most {
        format!("longer than {most} bytes")
    } else {
        "cut off: the line does not end in a newline".to_owned()
    };
    Err(ExportError::Line { line, reason })
}

#[cfg(test)]
mod tests {
    use super::*;
    use passerelle_model::{
        bytes::{Bytes, Nonce},
        commitment::Field,
    };

    fn opening() -> Opening {
        Opening {
            field: Field::Subject,
            random: Nonce([1; 32]),
            data: Bytes(vec![2; 32]),
        }
    }

    fn rows() -> Vec<ExportRow> {
        vec![
            ExportRow::Entry {
                index: 0,
                entry: b"{}".to_vec(),
                openings: Vec::new(),
            },
            ExportRow::Hidden {
                index: 1,
                leaf_hash: Digest([3; 32]),
            },
            ExportRow::Entry {
                index: 2,
                entry: b"{\"a\":1}".to_vec(),
                openings: vec![opening()],
            },
        ]
    }

    fn file() -> Vec<u8> {
        let federation = "essai".parse().unwrap();
        let header = ExportHeader::new("note\n".to_owned(), "key".to_owned(), federation);
        let mut out = Vec::new();
        write_header(&mut out, &header).unwrap();
        for row in rows() {
            write_row(&mut out, &row).unwrap();
        }
        out
    }

    #[test]
    fn what_is_written_is_read() {
        let file = file();
        let mut reader = ExportReader::new(&file[..]).unwrap();
        assert_eq!(reader.header().federation.as_str(), "essai");
        let mut read = Vec::new();
        while let Some(row) = reader.next_row().unwrap() {
            read.push(row);
        }
        assert_eq!(read, rows());
    }

    #[test]
    fn a_row_has_one_spelling() {
        let good = "{\"entry\":\"e30=\",\"index\":7}";
        assert!(ExportRow::parse(good.as_bytes()).is_ok());
        for (from, to) in [
            ("{\"", "{ \""),
            ("e30=", "e30"),
            ("e30=", "e31="),
            ("e30=", "\\u006530="),
            (":7", ":07"),
            (":7", ":7.0"),
            (":7", ":7,\"openings\":[]"),
            (":7", ":7,\"leaf_hash\":null"),
            (":7", ":7,\"other\":1"),
            ("\"index\":7", "\"index\":7,\"index\":7"),
            ("\"entry\":\"e30=\",", ""),
            ("}", "}\r"),
            ("}", "} "),
        ] {
            let line = good.replace(from, to);
            assert!(ExportRow::parse(line.as_bytes()).is_err(), "{line}");
        }
    }

    #[test]
    fn the_short_cut_takes_nothing_that_the_long_way_refuses() {
        let mut lines: Vec<Vec<u8>> = rows().iter().map(|row| row.to_line().unwrap()).collect();
        for index in [1, 10, u64::MAX] {
            let entry = (0..=255).collect();
            let openings = Vec::new();
            let row = ExportRow::Entry {
                index,
                entry,
                openings,
            };
            lines.push(row.to_line().unwrap());
        }
        let taken = |line: &[u8]| ExportRow::parse_plain(line).is_some();
        assert_eq!(lines.iter().filter(|line| taken(line)).count(), 4);
        for line in lines {
            for at in 0..line.len() {
                for byte in b" \"\\,:{}[]+-/0=Aaz9.\0\n\xc3" {
                    let mut changed = line.clone();
                    changed[at] = *byte;
                    let mut longer = line.clone();
                    longer.insert(at, *byte);
                    for line in [changed, longer] {
                        if let Some(row) = ExportRow::parse_plain(&line) {
                            assert_eq!(ExportRow::parse_any(&line), Ok(row));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn errors_name_the_line_and_lines_are_capped() {
        let mut cut = file();
        cut.pop();
        let mut reader = ExportReader::new(&cut[..]).unwrap();
        assert!(reader.next_row().unwrap().is_some());
        assert!(reader.next_row().unwrap().is_some());
        let error = reader.next_row().unwrap_err();
        assert!(error.to_string().starts_with("line 4: cut off"), "{error}");

        let mut long = file();
        long.extend(std::iter::repeat_n(b'x', MAX_LINE_BYTES * 2));
        let mut reader = ExportReader::new(&long[..]).unwrap();
        for _ in rows() {
            reader.next_row().unwrap();
        }
        let error = reader.next_row().unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("line 5: longer than {MAX_LINE_BYTES} bytes")
        );
    }

    #[test]
    fn another_format_is_refused() {
        for text in ["", "\n", "{}\n", "x"] {
            assert!(ExportReader::new(text.as_bytes()).is_err(), "{text:?}");
        }
        let other = String::from_utf8(file()).unwrap();
        let other = other.replace("export/1", "export/2");
        assert!(ExportReader::new(other.as_bytes()).is_err());
    }
}
