//! What is wrong with a bundle: file, line, reason.
//!
//! In scope: the problem as it is shown, finding the line. Out of scope: finding the problem.

use std::fmt;

/// What is wrong with one file of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file's path in the bundle.
    pub file: String,
    /// The line, from 1, if the problem is in one.
    pub line: Option<usize>,
    /// What is wrong with it.
    pub reason: String,
}

impl Problem {
    pub(crate) fn new(file: &str, reason: impl fmt::Display) -> Self {
        Self {
            file: file.to_owned(),
            line: None,
            reason: reason.to_string(),
        }
    }

    /// The problem, in this line.
    pub(crate) fn in_line(self, line: Option<usize>) -> Self {
        Self { line, ..self }
    }

    /// What the parser of TOML says of `text`, in one line.
    pub(crate) fn toml(file: &str, text: &str, error: &toml::de::Error) -> Self {
        let line = error.span().map(|span| line_at(text, span.start));
        let reason = error.message().lines().collect::<Vec<_>>().join(", ");
        Self::new(file, reason).in_line(line)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "`{}` line {line}: {}", self.file, self.reason),
            None => write!(f, "`{}`: {}", self.file, self.reason),
        }
    }
}

/// A bundle that is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("policies refused: {}", join(.problems))]
pub struct LoadError {
    /// All that is wrong with it. Never empty.
    pub problems: Vec<Problem>,
}

impl LoadError {
    pub(crate) fn one(file: &str, reason: impl fmt::Display) -> Self {
        Problem::new(file, reason).into()
    }
}

impl From<Problem> for LoadError {
    fn from(problem: Problem) -> Self {
        Self {
            problems: vec![problem],
        }
    }
}

fn join(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

/// The line, from 1, of the byte at `offset`.
pub(crate) fn line_at(text: &str, offset: usize) -> usize {
    let before = text.bytes().take(offset);
    before.filter(|byte| *byte == b'\n').count() + 1
}

/// The line, from 1, in which `words` first stand.
pub(crate) fn line_of(text: &str, words: &str) -> Option<usize> {
    text.find(words).map(|offset| line_at(text, offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_from_one() {
        let text = "a\nb\n\nc";
        assert_eq!(
            [0, 2, 4, 5, 99].map(|offset| line_at(text, offset)),
            [1, 2, 3, 4, 4]
        );
        assert_eq!(line_of(text, "c"), Some(4));
        assert_eq!(line_of(text, "d"), None);
        let shown = Problem::new("x.toml", "bad").in_line(Some(3)).to_string();
        assert_eq!(shown, "`x.toml` line 3: bad");
    }

    #[test]
    fn a_toml_error_is_one_line_with_its_place() {
        let text = "a = 1\nb = [\n";
        let error = toml::from_str::<toml::Table>(text).unwrap_err();
        let problem = Problem::toml("x.toml", text, &error);
        assert!(problem.line >= Some(2), "{problem}");
        assert!(!problem.to_string().contains('\n'), "{problem}");
    }
}
