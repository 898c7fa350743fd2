//! A table for people and for spreadsheets.

use super::{Number, Shown};

/// What stands for a withheld number.
const WITHHELD: &str = "<";

fn text(number: Number, k: usize) -> String {
    match number {
        Number::Shown(exchanges) => exchanges.to_string(),
        Number::Withheld(()) => format!("{WITHHELD}{k}*"),
    }
}

impl Shown {
    /// Every line with its totals, as cells of text.
    fn lines(&self, withheld: impl Fn(Number) -> String) -> Vec<Vec<String>> {
        let has_totals = self.total.is_some();
        let mut head = vec![String::new()];
        head.extend(self.columns.iter().cloned());
        head.extend(has_totals.then(|| "total".to_owned()));
        let mut lines = vec![head];
        for (place, (name, numbers)) in self.rows.iter().zip(&self.numbers).enumerate() {
            let mut line = vec![name.clone()];
            line.extend(numbers.iter().map(|n| withheld(*n)));
            line.extend(self.row_totals.get(place).map(|n| withheld(*n)));
            lines.push(line);
        }
        if !self.column_totals.is_empty() {
            let mut line = vec!["total".to_owned()];
            line.extend(self.column_totals.iter().map(|n| withheld(*n)));
            line.extend(self.total.map(&withheld));
            lines.push(line);
        }
        lines
    }

    /// Aligned columns, and below them what the mark means.
    pub fn text(&self) -> String {
        if self.rows.is_empty() {
            return "no exchanges\n".to_owned();
        }
        let lines = self.lines(|number| text(number, self.k));
        let width = |place: usize| {
            let cells = lines.iter().filter_map(|line| line.get(place));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..=self.columns.len() + 1).map(width).collect();
        let mut out = String::new();
        for line in &lines {
            for (place, (cell, width)) in line.iter().zip(&widths).enumerate() {
                match place {
                    0 => out.push_str(&format!("{cell:<width$}")),
                    _ => out.push_str(&format!("  {cell:>width$}")),
                }
            }
            out.truncate(out.trim_end().len());
            out.push('\n');
        }
        if self.withheld > 0 {
            out.push_str(&format!(
                "\n{WITHHELD}{k}*: withheld, because it is about fewer than {k} people or would \
                 reveal a number that is ({} in all)\n",
                self.withheld,
                k = self.k
            ));
        }
        out
    }

    /// Comma-separated values; a withheld number is empty. Names are codes and need no quotes.
    pub fn csv(&self) -> String {
        let lines = self.lines(|number| match number {
            Number::Shown(exchanges) => exchanges.to_string(),
            Number::Withheld(()) => String::new(),
        });
        lines
            .iter()
            .map(|line| format!("{}\r\n", line.join(",")))
            .collect()
    }
}
