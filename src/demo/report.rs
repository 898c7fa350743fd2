//! What the demonstration prints, and the outcomes that it remembers.

use crate::cli::{Lang, output, render_item};
use passerelle_proto::views::ItemView;
use serde::Serialize;
use std::{
    io::{IsTerminal as _, Write as _},
    time::Instant,
};

/// One thing that the story tells, and whether it came out so.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Check {
    told: String,
    came_out: bool,
}

/// One step of the story.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outcome {
    step: &'static str,
    title: String,
    ok: bool,
    checks: Vec<Check>,
    decisions: Vec<ItemView>,
    error: Option<String>,
    /// Milliseconds since the demonstration began.
    at_ms: u64,
}

/// Prints as it goes: to standard output, or to standard error when that is for JSON.
pub(crate) struct Report {
    json: bool,
    colour: bool,
    lang: Lang,
    started: Instant,
    outcomes: Vec<Outcome>,
}

impl Report {
    /// Nothing told yet.
    pub(crate) fn new(json: bool, lang: Lang) -> Self {
        let colour = !json
            && std::io::stdout().is_terminal()
            && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            json,
            colour,
            lang,
            started: Instant::now(),
            outcomes: Vec::new(),
        }
    }

    /// Prints a line.
    pub(crate) fn line(&self, text: &str) {
        // A reader that is gone does not stop the story: its outcome is in the exit code.
        let _gone = if self.json {
            writeln!(std::io::stderr().lock(), "{text}").map_err(Into::into)
        } else {
            output::line(text)
        };
    }

    /// Prints progress with the time since the start.
    pub(crate) fn progress(&self, text: &str) {
        let seconds = self.started.elapsed().as_secs_f32();
        self.line(&format!("  [{seconds:5.1} s] {text}"));
    }

    /// Begins a step.
    pub(crate) fn begin(&mut self, step: &'static str, title: &str) {
        self.line("");
        self.line(&self.paint("1", title));
        let at_ms = self.started.elapsed().as_millis();
        self.outcomes.push(Outcome {
            step,
            title: title.to_owned(),
            ok: true,
            checks: Vec::new(),
            decisions: Vec::new(),
            error: None,
            at_ms: u64::try_from(at_ms).unwrap_or(u64::MAX),
        });
    }

    /// Tells what happens, in plain words.
    pub(crate) fn say(&self, text: &str) {
        self.line(&format!("  {text}"));
    }

    /// Prints a decision and keeps it.
    pub(crate) fn decision(&mut self, items: &[ItemView]) {
        for item in items {
            for line in render_item(item, self.lang).lines() {
                self.line(&format!("  {line}"));
            }
        }
        if let Some(outcome) = self.outcomes.last_mut() {
            outcome.decisions.extend_from_slice(items);
        }
    }

    /// Notes whether something came out as told.
    pub(crate) fn check(&mut self, told: &str, came_out: bool) {
        let mark = if came_out {
            self.paint("32", "✓")
        } else {
            self.paint("31", "✗")
        };
        self.line(&format!("  {mark} {told}"));
        if let Some(outcome) = self.outcomes.last_mut() {
            outcome.ok &= came_out;
            outcome.checks.push(Check {
                told: told.to_owned(),
                came_out,
            });
        }
    }

    /// Notes that the step could not be told to its end.
    pub(crate) fn broke(&mut self, error: &anyhow::Error) {
        let text = format!("{error:#}");
        self.line(&format!("  {} {text}", self.paint("31", "✗")));
        if let Some(outcome) = self.outcomes.last_mut() {
            outcome.ok = false;
            outcome.error = Some(text);
        }
    }

    /// The steps so far.
    pub(crate) fn outcomes(&self) -> &[Outcome] {
        &self.outcomes
    }

    /// Whether every step came out as told, and there was one.
    pub(crate) fn is_ok(&self) -> bool {
        !self.outcomes.is_empty() && self.outcomes.iter().all(|outcome| outcome.ok)
    }

    /// How many steps did not.
    pub(crate) fn failed(&self) -> usize {
        self.outcomes.iter().filter(|outcome| !outcome.ok).count()
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_check_that_fails_spoils_the_step_and_the_story() {
        let mut report = Report::new(true, Lang::En);
        assert!(!report.is_ok(), "an empty story proves nothing");
        report.begin("a", "A");
        report.check("so", true);
        assert!(report.is_ok());
        report.begin("b", "B");
        report.check("so", false);
        report.check("so", true);
        assert!(!report.is_ok());
        assert_eq!(report.failed(), 1);
    }

    #[test]
    fn a_step_that_breaks_off_is_not_ok() {
        let mut report = Report::new(true, Lang::En);
        report.begin("a", "A");
        report.broke(&anyhow::anyhow!("gone"));
        assert!(!report.is_ok());
    }
}
