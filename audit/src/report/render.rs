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
    /// Every line, the total last, as cells of text.
    fn lines(&self, text: impl Fn(Number) -> String) -> Vec<Vec<String>> {
        let mut head = vec![String::new()];
        head.extend(self.columns.iter().cloned());
        let mut lines = vec![head];
        for (name, numbers) in self.rows.iter().zip(&self.numbers) {
            let mut line = vec![name.clone()];
            line.extend(numbers.iter().map(|n| text(*n)));
            lines.push(line);
        }
        lines.push(vec!["all".to_owned(), text(self.total)]);
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
        let widths: Vec<_> = (0..=self.columns.len()).map(width).collect();
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
