//! What happened, one line each, in the words of the field. Two runs of one seed tell the same
//! story: identifiers that are random elsewhere have short names here.

use passerelle_model::bytes::Digest;
use std::collections::BTreeMap;

/// The lines so far.
#[derive(Clone, Debug, Default)]
pub struct Story {
    lines: Vec<String>,
    names: BTreeMap<String, String>,
    counts: BTreeMap<&'static str, u32>,
}

impl Story {
    /// Adds a line at `ms` of simulated time.
    pub fn tell(&mut self, ms: u64, line: impl AsRef<str>) {
        let (s, ms) = (ms / 1_000, ms % 1_000);
        let (h, m, s) = (s / 3_600, s / 60 % 60, s % 60);
        let line = format!("{h:02}:{m:02}:{s:02}.{ms:03}  {}", line.as_ref());
        self.lines.push(line);
    }

    /// Gives `id` the next short name of a kind.
    pub fn name(&mut self, kind: &'static str, id: &str) -> String {
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        let name = format!("{kind}{count}");
        self.names.insert(id.to_owned(), name.clone());
        name
    }

    /// The short name of `id`.
    pub fn of(&self, id: &str) -> String {
        self.names
            .get(id)
            .cloned()
            .unwrap_or_else(|| "?".to_owned())
    }

    /// The lines.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Digest over all lines.
    pub fn digest(&self) -> Digest {
        Digest::of(self.lines.join("\n").as_bytes())
    }
}
