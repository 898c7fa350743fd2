//! CSV import: bytes and a mapping in, people with facts and a list of problems out.
//!
//! In scope: reading, checking, reporting by line and column. Pure: nothing is stored here, so
//! nothing is half-imported; the caller journals the result or does not.
//! Out of scope: handles, merging, skipping rows that did not change (compare
//! [`ImportedPerson::digest`]).
//!
//! A row with any fault is not imported at all, and no message repeats what a cell holds. Where a
//! file leaves doubt about where a row ends (broken quotes) or which row is right (an id twice),
//! all rows concerned are refused: a wrongly joined row would give one person's facts to another.

use super::{
    csv_rows::{Header, Row, Rows},
    fact::{Fact, MAX_CONTACT_BYTES, MAX_TEXT_BYTES, is_always_specially_protected},
    mapping::{FactMapping, Mapping, Source, parse_kind, parse_sensitivity},
};
use crate::{
    date::{Date, DateFormat},
    person::{Person, PersonError, Sex},
};
use passerelle_model::{bytes::Digest, canonical, vocabulary::Category};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    io::Read,
};

/// Largest file, in bytes.
pub const MAX_FILE_BYTES: usize = 256 << 20;
/// Most rows.
pub const MAX_ROWS: usize = 1_000_000;
/// Most columns.
pub const MAX_COLUMNS: usize = 512;
/// Largest cell, in bytes.
pub const MAX_CELL_BYTES: usize = MAX_TEXT_BYTES;
/// Most problems that are listed; further ones are counted.
pub const MAX_PROBLEMS: usize = 1_000;
/// Longest source id, in bytes.
pub const MAX_SOURCE_ID_BYTES: usize = 128;

/// Why a whole file is refused.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It could not be read to its end.
    #[error("the file could not be read: {0}")]
    Read(#[from] std::io::Error),
    /// It is larger than [`MAX_FILE_BYTES`].
    #[error("the file is larger than {MAX_FILE_BYTES} bytes")]
    TooLarge,
    /// It has more rows than [`MAX_ROWS`].
    #[error("the file has more than {MAX_ROWS} rows")]
    TooManyRows,
    /// It is in UTF-16 or UTF-32.
    #[error("the file is UTF-16 or UTF-32; save it as UTF-8")]
    Encoding,
    /// The header is missing, broken or too wide.
    #[error("line {line}: the header is missing, is not UTF-8, or has over {MAX_COLUMNS} columns")]
    Header {
        /// Line, from 1.
        line: u64,
    },
    /// The mapping names a column that the header lacks, or has twice.
    #[error("column `{column}` of the mapping is in the header {times} times, not once")]
    Column {
        /// Its name, from the mapping.
        column: String,
        /// How often it is there.
        times: usize,
    },
    /// A row could not be encoded for its digest.
    #[error("internal: {0}")]
    Digest(#[from] canonical::CanonicalError),
}

/// What is wrong with one row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RowProblem {
    /// Line on which the row begins, from 1; the header is usually line 1.
    pub line: u64,
    /// The column by the name in the header, if the problem is in one cell.
    pub column: Option<String>,
    /// What is wrong, never quoting the cell.
    pub message: String,
}

impl fmt::Display for RowProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.column {
            Some(column) => write!(f, "line {}, column `{column}`: {}", self.line, self.message),
            None => write!(f, "line {}: {}", self.line, self.message),
        }
    }
}

/// A good row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedPerson {
    /// The source's own id.
    pub source_id: SourceId,
    /// The person.
    pub person: Person,
    /// The facts, in the order of the mapping.
    pub facts: Vec<Fact>,
    /// Of id, person and facts in canonical JSON: equal if and only if nothing changed, whatever
    /// the order of columns or the quoting. Not for others to see: it can be guessed.
    pub digest: Digest,
}

/// The source's own id of a person: often a file or health-card number, so not for logs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SourceId(pub String);

impl fmt::Debug for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SourceId(..)")
    }
}

/// What a file came to.
#[derive(Clone, Debug)]
pub struct Import {
    /// The good rows, in the order of the file. Their ids are distinct.
    pub rows: Vec<ImportedPerson>,
    /// The problems by line, at most [`MAX_PROBLEMS`].
    pub problems: Vec<RowProblem>,
    /// How many further problems are not listed.
    pub problems_left_off: usize,
    /// SHA-256 of the file as it was read.
    pub digest: Digest,
}

/// Reads a whole CSV file (RFC 4180; UTF-8 with or without a byte-order mark; LF or CRLF).
pub fn parse<R: Read>(mapping: &Mapping, reader: R) -> Result<Import, ImportError> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_FILE_BYTES).map_or(u64::MAX, |n| n.saturating_add(1));
    reader.take(limit).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_FILE_BYTES {
        return Err(ImportError::TooLarge);
    }
    let digest = Digest::of(&bytes);
    let mut rows = Rows::open(&bytes, mapping.delimiter)?;
    let header = Header::read(&mut rows, mapping)?;
    let mut good: Vec<(u64, ImportedPerson)> = Vec::new();
    let mut problems = Vec::new();
    let mut ids = Ids::default();
    while let Some(row) = rows.next_row() {
        if rows.count > MAX_ROWS {
            return Err(ImportError::TooManyRows);
        }
        let mut reader = RowReader {
            mapping,
            header: &header,
            row: &row,
            problems: Vec::new(),
        };
        let person = reader.read(&mut ids)?;
        if reader.problems.is_empty() {
            good.extend(person.map(|p| (row.line, p)));
        } else {
            problems.append(&mut reader.problems);
        }
    }
    let repeated = ids.repeated();
    good.retain(|(_, p)| !repeated.contains_key(&p.source_id.0));
    for line in repeated.into_values().flatten() {
        problems.push(RowProblem {
            line,
            column: Some(mapping.source_id.clone()),
            message: "the id is on several rows; none of them is imported".to_owned(),
        });
    }
    problems.sort();
    let problems_left_off = problems.len().saturating_sub(MAX_PROBLEMS);
    problems.truncate(MAX_PROBLEMS);
    Ok(Import {
        rows: good.into_iter().map(|(_, p)| p).collect(),
        problems,
        problems_left_off,
        digest,
    })
}

/// On which lines each id was seen, whether or not the row was good.
#[derive(Default)]
struct Ids(HashMap<String, Vec<u64>>);

impl Ids {
    fn repeated(self) -> BTreeMap<String, Vec<u64>> {
        let several = self.0.into_iter().filter(|(_, lines)| lines.len() > 1);
        several.collect()
    }
}

/// Reads one row, and collects everything that is wrong with it.
struct RowReader<'a> {
    mapping: &'a Mapping,
    header: &'a Header,
    row: &'a Row,
    problems: Vec<RowProblem>,
}

impl<'a> RowReader<'a> {
    /// The person, unless there are problems.
    fn read(&mut self, ids: &mut Ids) -> Result<Option<ImportedPerson>, ImportError> {
        if !self.row.well_quoted {
            let message = if self.row.last_line == self.row.line {
                "the quotes do not match".to_owned()
            } else {
                let last = self.row.last_line;
                format!("the quotes do not match; nothing up to line {last} is imported")
            };
            self.problem(None, message);
            return Ok(None);
        }
        if self.row.cells.len() != self.header.width {
            let (found, width) = (self.row.cells.len(), self.header.width);
            self.problem(None, format!("{found} cells, but the header has {width}"));
            return Ok(None);
        }
        let source_id = self.source_id(ids);
        let person = self.person();
        let mapping = self.mapping;
        let mut facts = Vec::new();
        for fact in &mapping.facts {
            facts.extend(self.fact(fact));
        }
        let (Some(source_id), Some(person), true) = (source_id, person, self.problems.is_empty())
        else {
            return Ok(None);
        };
        let digest = canonical::digest(&(&source_id, &person, &facts))?;
        Ok(Some(ImportedPerson {
            source_id,
            person,
            facts,
            digest,
        }))
    }

    fn problem(&mut self, column: Option<&str>, message: impl Into<String>) {
        // A cell may serve several facts; it is reported once.
        let problem = RowProblem {
            line: self.row.line,
            column: column.map(str::to_owned),
            message: message.into(),
        };
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// The trimmed text of a cell; `None` with a problem if it is no acceptable text.
    fn cell(&mut self, column: &str) -> Option<&'a str> {
        let index = self.header.columns.get(column)?;
        let bytes = self.row.cells.get(*index)?;
        if bytes.len() > MAX_CELL_BYTES {
            let message = format!("longer than {MAX_CELL_BYTES} bytes");
            self.problem(Some(column), message);
            return None;
        }
        let Ok(text) = std::str::from_utf8(bytes) else {
            self.problem(Some(column), "not UTF-8 text");
            return None;
        };
        let text = text.trim();
        let is_odd = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
        if text.contains(is_odd) {
            self.problem(Some(column), "control characters");
            return None;
        }
        Some(text)
    }

    fn source_id(&mut self, ids: &mut Ids) -> Option<SourceId> {
        let column = &self.mapping.source_id;
        let id = self.cell(column)?;
        if id.is_empty() || id.len() > MAX_SOURCE_ID_BYTES || id.contains(char::is_control) {
            let message = format!("an id is needed, of at most {MAX_SOURCE_ID_BYTES} bytes");
            self.problem(Some(column), message);
            return None;
        }
        ids.0.entry(id.to_owned()).or_default().push(self.row.line);
        Some(SourceId(id.to_owned()))
    }

    fn person(&mut self) -> Option<Person> {
        let columns = &self.mapping.person;
        let family_name = self.cell(&columns.family_name);
        let given_name = self.cell(&columns.given_name);
        let birth_date = self.cell(&columns.birth_date);
        let birth_date = birth_date.and_then(|t| self.date(&columns.birth_date, t, true));
        let sex = match &columns.sex {
            None => None,
            Some(column) => {
                let parsed = self.cell(column).map(Sex::parse);
                if let Some(Err(error)) = &parsed {
                    self.problem(Some(column), error.to_string());
                }
                parsed.and_then(Result::ok).flatten()
            }
        };
        let (family_name, given_name) = (family_name?, given_name?);
        // Without a date, any will do: the names are still to be checked.
        let checked_with = birth_date.or(Date::new(2000, 1, 1).ok())?;
        match Person::new(family_name, given_name, checked_with, sex) {
            Ok(person) => birth_date.map(|_| person),
            Err(error) => {
                let column = match error {
                    PersonError::Empty("given_name")
                    | PersonError::TooLong("given_name")
                    | PersonError::Control("given_name") => &columns.given_name,
                    _ => &columns.family_name,
                };
                self.problem(Some(column), error.to_string());
                None
            }
        }
    }

    fn date(&mut self, column: &str, text: &str, needs_day: bool) -> Option<Date> {
        let formats = self.mapping.date_formats.iter();
        let usable = formats.filter(|f| f.has_day() || !needs_day);
        let read: BTreeSet<Date> = usable.filter_map(|f: &DateFormat| f.parse(text)).collect();
        match (read.first(), read.len()) {
            (Some(date), 1) => Some(*date),
            (None, _) => {
                self.problem(Some(column), "not a date in a format of the mapping");
                None
            }
            _ => {
                let message = "two formats of the mapping read it as different dates";
                self.problem(Some(column), message);
                None
            }
        }
    }

    /// The text of a source in this row with the column to blame; `None` if it is empty.
    fn value(&mut self, source: Option<&'a Source>) -> Option<(&'a str, &'a str)> {
        match source? {
            Source::Constant(value) => Some(("", value)),
            Source::Column { column, default } => {
                let text = self.cell(column)?;
                let text = if text.is_empty() {
                    default.as_deref()?
                } else {
                    text
                };
                Some((column, text))
            }
        }
    }

    /// Whether the row has this fact; `None` with a problem if that is in doubt.
    fn has_fact(&mut self, fact: &'a FactMapping) -> Option<bool> {
        if fact.present.is_some() {
            return self.flag(fact.present.as_ref());
        }
        let sources = [&fact.contact, &fact.since, &fact.code, &fact.text];
        let mut columns = sources.into_iter().flatten().filter_map(|s| match s {
            Source::Column { column, .. } => Some(column),
            Source::Constant(_) => None,
        });
        let mut any_column = false;
        let filled = columns.any(|column| {
            any_column = true;
            // A cell that is not acceptable is not empty either; it is reported when it is read.
            self.header
                .columns
                .get(column)
                .and_then(|i| self.row.cells.get(*i))
                .is_some_and(|bytes| !bytes.trim_ascii().is_empty())
        });
        Some(filled || !any_column)
    }

    fn fact(&mut self, mapping: &'a FactMapping) -> Option<Fact> {
        if !self.has_fact(mapping)? {
            return None;
        }
        let mut fact = Fact::empty(mapping.category);
        fact.contact = self.text(mapping.contact.as_ref(), MAX_CONTACT_BYTES);
        fact.text = self.text(mapping.text.as_ref(), MAX_TEXT_BYTES);
        fact.code = self.code(mapping);
        if let Some((column, text)) = self.value(mapping.since.as_ref()) {
            fact.since = self.date(column, text, false);
        }
        if let Some((column, text)) = self.value(mapping.date.as_ref()) {
            fact.date = self.date(column, text, false);
        }
        if let Some((column, text)) = self.value(mapping.kind.as_ref()) {
            match parse_kind(text) {
                Some(kind) => fact.kind = kind,
                None => self.problem(Some(column), "neither `fact` nor `opinion`"),
            }
        }
        if let Some((column, text)) = self.value(mapping.sensitivity.as_ref()) {
            match parse_sensitivity(text) {
                Some(sensitivity) => fact.sensitivity = sensitivity,
                None => self.problem(Some(column), "not 0, 1, 2 or 3"),
            }
        }
        let always = is_always_specially_protected(mapping.category);
        let youth = mapping.category == Category::YouthRecord;
        fact.specially_protected = self.flag(mapping.specially_protected.as_ref())? || always;
        fact.youth_record = self.flag(mapping.youth_record.as_ref())? || youth;
        fact.third_party_at_risk = self.flag(mapping.third_party_at_risk.as_ref())?;
        fact.restricted = self.flag(mapping.restricted.as_ref())?;
        Some(fact)
    }

    fn text(&mut self, source: Option<&'a Source>, limit: usize) -> Option<String> {
        let (column, text) = self.value(source)?;
        if text.len() > limit {
            self.problem(Some(column), format!("longer than {limit} bytes"));
            return None;
        }
        Some(text.to_owned())
    }

    fn code(&mut self, mapping: &'a FactMapping) -> Option<String> {
        let (column, code) = self.value(mapping.code.as_ref())?;
        if !mapping.is_known_code(code) {
            let message = if mapping.codes.is_some() {
                "not a code of the mapping's list"
            } else {
                "not a code: ASCII letters, digits, _ - . and no spaces"
            };
            self.problem(Some(column), message);
            return None;
        }
        Some(code.to_owned())
    }

    /// A flag that is not mapped is no. One that is mapped but empty, without a default, is in
    /// doubt: a protection may have been forgotten.
    fn flag(&mut self, source: Option<&'a Source>) -> Option<bool> {
        let Some(source) = source else {
            return Some(false);
        };
        let flag = self.value(Some(source)).and_then(|(_, t)| parse_flag(t));
        if let (None, Source::Column { column, .. }) = (flag, source) {
            self.problem(Some(column), "neither yes nor no");
        }
        flag
    }
}

/// Yes or no, in English or French, as words, letters or digits.
pub(super) fn parse_flag(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "yes" | "y" | "true" | "1" | "oui" | "o" | "vrai" => Some(true),
        "no" | "n" | "false" | "0" | "non" | "faux" => Some(false),
        _ => None,
    }
}
