//! The records of a CSV file with their lines, and its header.
//!
//! In scope: RFC 4180 framing, strictly. Out of scope: what cells mean ([`super::csv_import`]).

use super::{
    csv_import::{ImportError, MAX_COLUMNS},
    mapping::Mapping,
};
use csv::ByteRecord;
use std::collections::HashMap;

/// One record with its place.
pub(super) struct Row {
    pub(super) line: u64,
    pub(super) last_line: u64,
    pub(super) well_quoted: bool,
    pub(super) cells: ByteRecord,
}

/// The records of a file. Lines are counted here: the library counts a blank line, and the second
/// half of CRLF, to the record that follows.
pub(super) struct Rows<'a> {
    bytes: &'a [u8],
    reader: csv::Reader<&'a [u8]>,
    delimiter: u8,
    line: u64,
    counted_to: usize,
    pub(super) count: usize,
}

impl<'a> Rows<'a> {
    pub(super) fn open(bytes: &'a [u8], delimiter: u8) -> Result<Self, ImportError> {
        if bytes.starts_with(&[0xff, 0xfe])
            || bytes.starts_with(&[0xfe, 0xff])
            || bytes.starts_with(&[0, 0, 0xfe, 0xff])
        {
            return Err(ImportError::Encoding);
        }
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let reader = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .has_headers(false)
            .flexible(true)
            .from_reader(bytes);
        Ok(Self {
            bytes,
            reader,
            delimiter,
            line: 1,
            counted_to: 0,
            count: 0,
        })
    }

    fn line_at(&mut self, offset: usize) -> u64 {
        let passed = self.bytes.get(self.counted_to..offset).unwrap_or_default();
        let lines = passed.iter().filter(|b| **b == b'\n').count();
        self.line = self
            .line
            .saturating_add(u64::try_from(lines).unwrap_or(u64::MAX));
        self.counted_to = self.counted_to.max(offset);
        self.line
    }

    pub(super) fn next_row(&mut self) -> Option<Row> {
        let mut cells = ByteRecord::new();
        // A slice can't fail to be read, and records of any length are accepted: no error is left.
        if !self.reader.read_byte_record(&mut cells).unwrap_or(false) {
            return None;
        }
        let position = |p: u64| usize::try_from(p).unwrap_or(usize::MAX);
        let from = cells.position().map_or(0, |p| position(p.byte()));
        let to = position(self.reader.position().byte());
        let raw = self.bytes.get(from..to).unwrap_or_default();
        let blank = raw
            .iter()
            .take_while(|b| matches!(b, b'\n' | b'\r'))
            .count();
        let raw = raw.get(blank..).unwrap_or_default();
        let line = self.line_at(from.saturating_add(blank));
        let content = raw.strip_suffix(b"\n").unwrap_or(raw);
        let content = content.strip_suffix(b"\r").unwrap_or(content);
        let last_line = self.line_at(from.saturating_add(blank + content.len()));
        self.count += 1;
        Some(Row {
            line,
            last_line,
            well_quoted: is_well_quoted(content, self.delimiter),
            cells,
        })
    }
}

/// Whether the quotes of a record are as RFC 4180 (section 2, rules 5 to 7) has them. The library
/// is lenient: a quote that is never closed swallows all rows up to the next one.
fn is_well_quoted(record: &[u8], delimiter: u8) -> bool {
    enum At {
        CellStart,
        Plain,
        Quoted,
        QuoteInQuoted,
    }
    let mut at = At::CellStart;
    for byte in record {
        let is_delimiter = *byte == delimiter;
        at = match (at, byte) {
            (At::CellStart, b'"') | (At::QuoteInQuoted, b'"') => At::Quoted,
            (At::CellStart | At::Plain | At::QuoteInQuoted, _) if is_delimiter => At::CellStart,
            (At::Plain, b'"') | (At::QuoteInQuoted, _) => return false,
            (At::CellStart | At::Plain, _) => At::Plain,
            (At::Quoted, b'"') => At::QuoteInQuoted,
            (At::Quoted, _) => At::Quoted,
        };
    }
    !matches!(at, At::Quoted)
}

/// The header.
pub(super) struct Header {
    pub(super) width: usize,
    pub(super) columns: HashMap<String, usize>,
}

impl Header {
    pub(super) fn read(rows: &mut Rows<'_>, mapping: &Mapping) -> Result<Self, ImportError> {
        let row = rows.next_row().ok_or(ImportError::Header { line: 1 })?;
        rows.count = 0;
        let broken = || ImportError::Header { line: row.line };
        if !row.well_quoted || row.cells.len() > MAX_COLUMNS {
            return Err(broken());
        }
        let names = row
            .cells
            .iter()
            .map(|c| std::str::from_utf8(c).map(str::trim))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| broken())?;
        for column in mapping.columns() {
            let times = names.iter().filter(|n| **n == column).count();
            if times != 1 {
                return Err(ImportError::Column {
                    column: column.to_owned(),
                    times,
                });
            }
        }
        Ok(Self {
            width: names.len(),
            columns: names.into_iter().map(str::to_owned).zip(0..).collect(),
        })
    }
}
