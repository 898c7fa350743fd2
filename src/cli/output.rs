//! Standard output: JSON for programs, aligned text for people.

use super::{Global, failure::Failure};
use serde::Serialize;
use std::io::Write as _;

/// Prints `value` as JSON, or as the text that `human` makes of it.
pub(crate) fn print<T: Serialize>(
    global: Global,
    value: &T,
    human: impl FnOnce(&T) -> String,
) -> Result<(), Failure> {
    let text = if global.json {
        serde_json::to_string_pretty(value)?
    } else {
        human(value)
    };
    line(text.trim_end())
}

/// Prints one text and a line break. A reader that has gone away (`| head`) is no failure.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(Failure::from),
    }
}

/// Aligned columns under headers; `empty` if there are no rows.
pub(crate) fn table<const N: usize>(
    headers: [&str; N],
    rows: &[[String; N]],
    empty: &str,
) -> String {
    if rows.is_empty() {
        return empty.to_owned();
    }
    let mut all: Vec<[String; N]> = vec![headers.map(str::to_uppercase)];
    all.extend_from_slice(rows);
    let mut widths = [0_usize; N];
    for row in &all {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    for row in &all {
        let mut text = String::new();
        for (width, cell) in widths.iter().zip(row) {
            let pad = width.saturating_sub(cell.chars().count());
            text.push_str(cell);
            text.push_str(&" ".repeat(pad + 2));
        }
        out.push_str(text.trim_end());
        out.push('\n');
    }
    out
}

/// `name: value` lines, values aligned; pairs with an empty value are left out.
pub(crate) fn fields(pairs: &[(&str, String)]) -> String {
    let width = pairs
        .iter()
        .map(|(name, _)| name.chars().count())
        .max()
        .unwrap_or(0);
    let mut out = String::new();
    for (name, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
        let pad = width.saturating_sub(name.chars().count());
        out.push_str(name);
        out.push(':');
        out.push_str(&" ".repeat(pad + 1));
        out.push_str(value);
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_on_characters_not_bytes() {
        let rows = [
            ["santé".to_owned(), "1".to_owned()],
            ["police".to_owned(), "2".to_owned()],
        ];
        let text = table(["who", "n"], &rows, "none");
        assert_eq!(text, "WHO     N\nsanté   1\npolice  2\n");
        assert_eq!(table(["who"], &[], "none"), "none");
    }

    #[test]
    fn empty_fields_are_left_out() {
        let text = fields(&[
            ("a", "1".to_owned()),
            ("long", String::new()),
            ("b", "2".to_owned()),
        ]);
        assert_eq!(text, "a:    1\nb:    2\n");
    }
}
