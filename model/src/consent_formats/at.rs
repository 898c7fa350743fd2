//! A place in a document, with its path for whoever must find it.

use super::{MAX_LIST, MAX_TEXT, Refusal, instant};
use crate::{time::Timestamp, vocabulary::UnknownCode};
use serde_json::Value;
use std::str::FromStr;

/// A value and its path.
#[derive(Clone)]
pub(super) struct At<'a> {
    pub(super) value: &'a Value,
    pub(super) path: String,
}

impl<'a> At<'a> {
    pub(super) fn root(value: &'a Value) -> Self {
        Self {
            value,
            path: "$".to_owned(),
        }
    }

    pub(super) fn refuse(&self, reason: impl Into<String>) -> Refusal {
        Refusal::new(&self.path, reason)
    }

    /// The field `name`, if it is there.
    pub(super) fn field(&self, name: &str) -> Option<Self> {
        self.value.get(name).map(|value| Self {
            value,
            path: below(&self.path, name),
        })
    }

    /// The field `name`, or this reason why it must be there.
    pub(super) fn need(&self, name: &str, reason: &str) -> Result<Self, Refusal> {
        self.field(name)
            .ok_or_else(|| Refusal::new(below(&self.path, name), reason))
    }

    /// The entries of a list that has some, or this reason why it must.
    pub(super) fn items(&self, reason: &str) -> Result<Vec<Self>, Refusal> {
        let list = self.value.as_array();
        let list = list.ok_or_else(|| self.refuse("expected a list"))?;
        if list.is_empty() {
            return Err(self.refuse(reason));
        }
        if list.len() > MAX_LIST {
            return Err(self.refuse(format!("more than {MAX_LIST} entries")));
        }
        let entry = |(n, value)| Self {
            value,
            path: format!("{}[{n}]", self.path),
        };
        Ok(list.iter().enumerate().map(entry).collect())
    }

    /// The only entry of a list.
    pub(super) fn only(&self, reason: &str) -> Result<Self, Refusal> {
        let mut items = self.items(reason)?;
        match (items.pop(), items.is_empty()) {
            (Some(only), true) => Ok(only),
            _ => Err(self.refuse(reason)),
        }
    }

    pub(super) fn text(&self) -> Result<&'a str, Refusal> {
        let text = self.value.as_str();
        let text = text.ok_or_else(|| self.refuse("expected a text"))?;
        let is_sound = !text.is_empty()
            && text.chars().count() <= MAX_TEXT
            && !text.chars().any(char::is_control)
            && text.trim() == text;
        if !is_sound {
            return Err(self.refuse(format!(
                "expected a text of 1 to {MAX_TEXT} characters without control characters or outer \
                 blanks"
            )));
        }
        Ok(text)
    }

    pub(super) fn boolean(&self) -> Result<bool, Refusal> {
        let value = self.value.as_bool();
        value.ok_or_else(|| self.refuse("expected true or false"))
    }

    /// This very text, or this reason.
    pub(super) fn is(&self, expected: &str, reason: &str) -> Result<(), Refusal> {
        if self.value.as_str() == Some(expected) {
            return Ok(());
        }
        Err(self.refuse(reason))
    }

    /// A code of one of our vocabularies.
    pub(super) fn code<T: FromStr<Err = UnknownCode>>(&self) -> Result<T, Refusal> {
        let parsed = self.text()?.parse();
        parsed.map_err(|error: UnknownCode| self.refuse(error.to_string()))
    }

    /// Anything else that is parsed from a text.
    pub(super) fn parsed<T: FromStr>(&self) -> Result<T, Refusal>
    where
        T::Err: std::fmt::Display,
    {
        let parsed = self.text()?.parse();
        parsed.map_err(|error: T::Err| self.refuse(error.to_string()))
    }

    /// A moment.
    pub(super) fn moment(&self) -> Result<Timestamp, Refusal> {
        instant::parse(self.text()?).ok_or_else(|| {
            self.refuse(
                "expected date, time and zone, such as `2026-11-21T14:03:09Z`: a day alone does \
                 not say when it begins",
            )
        })
    }
}

/// The path of a field. A name that is no plain word is not repeated.
pub(super) fn below(path: &str, name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '@' | '-');
    if name.len() <= 64 && name.chars().all(plain) && !name.is_empty() {
        format!("{path}.{name}")
    } else {
        format!("{path}[?]")
    }
}

/// Each entry once.
pub(super) fn distinct<T: PartialEq>(list: &[(At<'_>, T)]) -> Result<(), Refusal> {
    for (n, (at, value)) in list.iter().enumerate() {
        if list.iter().take(n).any(|(_, before)| before == value) {
            return Err(at.refuse("is there twice"));
        }
    }
    Ok(())
}
