//! Comma-separated values (RFC 4180): one line per exchange or refused statement, with at least
//! what NIST SP 800-53 AU-3 asks of a record: what, when, where, source, outcome, identities.
//!
//! Every cell is quoted. A cell that a spreadsheet would take for a formula begins with an
//! apostrophe, and control characters are replaced, so that a record is always one line.

use super::{Asked, Disclosure, Log, Outcome, Step, effect_code};
use std::fmt::Write as _;

/// A column: its name and what stands in it.
type Column = (&'static str, fn(&Log, &Disclosure) -> String);

/// The columns, in order. Empty where the export does not say.
const COLUMNS: &[Column] = &[
    // What.
    ("event", |_, row| event(row).to_owned()),
    ("request", |_, row| text(row.request.as_ref())),
    ("items", |_, row| list(row.items.iter().map(item))),
    ("purpose", |_, row| text(row.purpose)),
    ("legal_basis", |_, row| text(row.basis)),
    ("consents", |_, row| list(row.consents.iter())),
    ("agreements", |_, row| list(row.agreements.iter())),
    ("case", |_, row| text(row.case.as_ref())),
    ("emergency", |_, row| text(row.emergency)),
    // When.
    ("time", |_, row| row.settled.at.to_rfc3339()),
    // Where.
    ("federation", |log, _| log.federation.to_string()),
    ("log", |log, _| log.origin.clone()),
    ("index", |_, row| row.settled.index.to_string()),
    ("leaf_hash", |_, row| row.settled.leaf_hash.to_hex()),
    // Source.
    ("recipient", |_, row| text(row.recipient.as_ref())),
    ("source", |_, row| text(row.source.as_ref())),
    // Outcome.
    ("outcome", |_, row| row.outcome.code().to_owned()),
    ("reason", |_, row| row.reason.unwrap_or_default().to_owned()),
    ("rules", |_, row| list(row.rules().into_iter())),
    // Identities.
    ("worker_role", |_, row| text(row.role)),
    ("worker_commitment", |_, row| text(row.worker_commitment)),
    ("worker", |_, row| text(row.worker.as_ref())),
    ("person", |_, row| {
        text(row.person.map(|person| person.handle))
    }),
    ("person_known_by", |_, row| known_by(row).to_owned()),
    // The other entries: index and time.
    ("requested", |_, row| step(row.steps.requested)),
    ("decided", |_, row| step(row.steps.decided)),
    ("offered", |_, row| step(row.steps.offered)),
    ("answered", |_, row| step(row.steps.answered)),
    ("delivered", |_, row| step(row.steps.delivered)),
    ("viewed", |_, row| step(row.steps.viewed)),
    ("erased", |_, row| step(row.steps.erased)),
    ("recalled", |_, row| step(row.steps.recalled)),
];

/// The header line.
pub(super) fn header() -> String {
    line(COLUMNS.iter().map(|(name, _)| (*name).to_owned()))
}

/// The line of one row.
pub(super) fn record(log: &Log, row: &Disclosure) -> String {
    line(COLUMNS.iter().map(|(_, value)| value(log, row)))
}

fn line(cells: impl Iterator<Item = String>) -> String {
    let mut line = String::new();
    for cell in cells {
        if !line.is_empty() {
            line.push(',');
        }
        line.push('"');
        line.push_str(&harmless(&cell).replace('"', "\"\""));
        line.push('"');
    }
    line.push_str("\r\n");
    line
}

/// No formula, no control character.
fn harmless(cell: &str) -> String {
    let control = |c: char| {
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
            '\u{fffd}'
        } else {
            c
        }
    };
    let first = cell.chars().find(|c| !c.is_whitespace() && !c.is_control());
    // The wide forms count in East Asian settings.
    let formula =
        first.is_some_and(|c| "=+-@|%＝＋－＠".contains(c)) || cell.starts_with(['\t', '\r', '\n']);
    let mut out = String::from(if formula { "'" } else { "" });
    out.extend(cell.chars().map(control));
    out
}

fn text(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

fn list(values: impl Iterator<Item = impl std::fmt::Display>) -> String {
    let mut out = String::new();
    for value in values {
        let gap = if out.is_empty() { "" } else { " " };
        // Writing to a string does not fail.
        let _ = write!(out, "{gap}{value}");
    }
    out
}

fn item(item: &Asked) -> String {
    let effect = item.effect.map_or("undecided", effect_code);
    format!("{}:{}:{effect}", item.category, item.level)
}

fn step(step: Option<Step>) -> String {
    step.map_or_else(String::new, |step| {
        format!("{} {}", step.index, step.at.to_rfc3339())
    })
}

const fn event(row: &Disclosure) -> &'static str {
    match row.outcome {
        Outcome::Refused => "statement",
        _ => "exchange",
    }
}

fn known_by(row: &Disclosure) -> &'static str {
    match row.person.map(|person| person.known_by) {
        Some(super::KnownBy::Request) => "request",
        Some(super::KnownBy::Consent) => "consent",
        None => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula_or_breaks_its_line() {
        for (cell, written) in [
            ("in_service", "in_service"),
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("  =1", "'  =1"),
            ("\t=1", "'\u{fffd}=1"),
            ("\u{7}=1", "'\u{fffd}=1"),
            ("＝1", "'＝1"),
            ("|cmd", "'|cmd"),
            ("a\r\nb", "a\u{fffd}\u{fffd}b"),
            ("", ""),
        ] {
            assert_eq!(harmless(cell), written);
        }
        let cells = ["a", "b,c", "say \"=x\"", "=\"x\""].map(str::to_owned);
        let expected = "\"a\",\"b,c\",\"say \"\"=x\"\"\",\"'=\"\"x\"\"\"\r\n";
        assert_eq!(line(cells.into_iter()), expected);
    }

    #[test]
    fn no_column_is_named_twice() {
        let mut names: Vec<_> = COLUMNS.iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), COLUMNS.len());
    }
}
