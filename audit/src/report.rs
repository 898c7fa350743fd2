//! How often agencies asked each other, counted so that nobody can be found in the numbers.
//!
//! In scope: a table of exchanges by one or two of their properties ([`count`]), with small cells
//! and what would reveal them withheld ([`Table::shown`]), as text, CSV and JSON.
//! Out of scope: whether the export is the log (verify it first), files.
//!
//! # What is withheld
//! A number is withheld if it is about fewer than `k` people ([`LEAST`] at least), and further
//! numbers, the smallest first, until those withheld are two at least and about `k` people together:
//! their sum follows from the total. Rows and columns have no totals of their own. With such totals
//! it is not enough to look at each line: sums over several of them can reveal single people
//! (Gusfield, "A graph theoretic approach to statistical data security", 1988).
//!
//! Zeros are shown: that nobody asked says nothing of anyone who was asked about. People are counted
//! where an opening in the export says whom an exchange is about; an exchange of which it says
//! nothing counts nobody, so it is withheld. Each table is judged alone: two tables of the same
//! exchanges can say together what neither says. Publish one.

mod render;
mod suppress;
#[cfg(test)]
mod tests;

use crate::disclosure::{Disclosure, DisclosureError, Walked, walk};
use passerelle_model::{bytes::Handle, time::Timestamp};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::BufRead,
};

/// The fewest people whom a number may be about. A table may ask for more, never for fewer.
pub const LEAST: usize = 10;
/// Most rows, and most columns.
pub const MOST_LINES: usize = 200;

/// What a line of a table stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Property {
    /// Who asked.
    Requester,
    /// Who was asked.
    Holder,
    /// What for.
    Purpose,
    /// On which basis in law.
    Basis,
    /// What came of it.
    Outcome,
    /// The month in which it was settled, `2026-11` (UTC).
    Month,
}

impl Property {
    /// Every one, with its code.
    pub const ALL: [(&'static str, Self); 6] = [
        ("requester", Self::Requester),
        ("holder", Self::Holder),
        ("purpose", Self::Purpose),
        ("basis", Self::Basis),
        ("outcome", Self::Outcome),
        ("month", Self::Month),
    ];

    fn of(self, row: &Disclosure) -> String {
        let known = match self {
            Self::Requester => row.recipient.as_ref().map(ToString::to_string),
            Self::Holder => row.source.as_ref().map(ToString::to_string),
            Self::Purpose => row.purpose.map(|p| p.code().to_owned()),
            Self::Basis => row.basis.map(|b| b.code().to_owned()),
            Self::Outcome => Some(row.outcome.code().to_owned()),
            Self::Month => Some(month(row.settled.at)),
        };
        known.unwrap_or_else(|| "unknown".to_owned())
    }
}

fn month(at: Timestamp) -> String {
    at.to_rfc3339().chars().take(7).collect()
}

/// Exchanges, and whom they are about.
#[derive(Clone, Debug, Default)]
struct Cell {
    exchanges: u64,
    people: BTreeSet<Handle>,
}

impl Cell {
    fn add(&mut self, other: &Self) {
        self.exchanges = self.exchanges.saturating_add(other.exchanges);
        self.people.extend(&other.people);
    }
}

/// Exchanges by one or two properties, as counted. What of it may be shown is in [`Table::shown`].
#[derive(Debug)]
pub struct Table {
    rows: Vec<String>,
    columns: Vec<String>,
    /// By row, then column.
    cells: Vec<Vec<Cell>>,
}

/// A number of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Number {
    /// So many exchanges.
    Shown(u64),
    /// Withheld: JSON `null`.
    Withheld(()),
}

/// What may be shown of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// The fewest people whom a shown number is about.
    pub k: usize,
    /// The rows.
    pub rows: Vec<String>,
    /// The columns; one, `exchanges`, if there is one property.
    pub columns: Vec<String>,
    /// The numbers by row, then column.
    pub numbers: Vec<Vec<Number>>,
    /// Over all.
    pub total: Number,
    /// How many numbers are withheld, the total included.
    pub withheld: usize,
}

/// Why there is no table.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The export can't be walked.
    #[error(transparent)]
    Walk(#[from] DisclosureError),
    /// It would be too large to be read, or to be judged.
    #[error("the table would have more than {MOST_LINES} rows or columns; choose other properties")]
    TooLarge,
}

/// Counts the exchanges of an export by `rows` and, if given, `columns`: those settled at `from`
/// or later and before `until`. Refused statements are none.
///
/// # Errors
/// [`ReportError`].
pub fn count(
    reader: impl BufRead,
    rows: Property,
    columns: Option<Property>,
    (from, until): (Option<Timestamp>, Option<Timestamp>),
) -> Result<(Table, Walked), ReportError> {
    let mut counted: BTreeMap<(String, String), Cell> = BTreeMap::new();
    let walked = walk(reader, &mut |_, row| {
        let at = row.settled.at;
        let is_meant = from.is_none_or(|from| from <= at) && until.is_none_or(|until| at < until);
        if row.request.is_some() && is_meant {
            let column = columns.map_or_else(|| "exchanges".to_owned(), |c| c.of(&row));
            let cell = counted.entry((rows.of(&row), column)).or_default();
            cell.exchanges += 1;
            cell.people.extend(row.person.map(|person| person.handle));
        }
        Ok(())
    })?;
    Ok((Table::of(counted)?, walked))
}

impl Table {
    fn of(mut counted: BTreeMap<(String, String), Cell>) -> Result<Self, ReportError> {
        let rows: BTreeSet<_> = counted.keys().map(|(row, _)| row.clone()).collect();
        let columns: BTreeSet<_> = counted.keys().map(|(_, column)| column.clone()).collect();
        if rows.len().max(columns.len()) > MOST_LINES {
            return Err(ReportError::TooLarge);
        }
        let mut cell = |row: &String, column: &String| {
            counted
                .remove(&(row.clone(), column.clone()))
                .unwrap_or_default()
        };
        let cells = rows
            .iter()
            .map(|row| columns.iter().map(|column| cell(row, column)).collect())
            .collect();
        Ok(Self {
            rows: rows.into_iter().collect(),
            columns: columns.into_iter().collect(),
            cells,
        })
    }
}
