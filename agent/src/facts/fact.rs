//! One fact about one person, as the holder keeps it.

use crate::date::Date;
use passerelle_model::vocabulary::{Category, CategoryKind};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Longest code, in bytes.
pub const MAX_CODE_BYTES: usize = 64;
/// Longest contact, in bytes.
pub const MAX_CONTACT_BYTES: usize = 512;
/// Longest text, in bytes. Below the largest sealed size with room for the rest of an answer.
pub const MAX_TEXT_BYTES: usize = 16 * 1024;

/// Whether the holder knows it or thinks it. Recipients must see the difference.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum FactKind {
    /// Observed or recorded.
    #[default]
    Fact,
    /// A professional's opinion.
    Opinion,
}

/// How sensitive the holder finds it: 0 to 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Sensitivity(u8);

/// A sensitivity out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sensitivity is not 0, 1, 2 or 3")]
pub struct NotASensitivity;

impl Sensitivity {
    /// What is assumed of a fact that says nothing: the highest.
    pub const UNKNOWN: Self = Self(3);

    /// 0 to 3.
    pub const fn rank(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for Sensitivity {
    type Error = NotASensitivity;
    fn try_from(rank: u8) -> Result<Self, NotASensitivity> {
        if rank <= 3 {
            Ok(Self(rank))
        } else {
            Err(NotASensitivity)
        }
    }
}

impl From<Sensitivity> for u8 {
    fn from(sensitivity: Sensitivity) -> Self {
        sensitivity.0
    }
}

/// A fact. The content fields stand in the order of the answer levels: `contact` (1), `since` (2),
/// `code` (3), `text` (4).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fact {
    /// What it is about.
    pub category: Category,
    /// Whom to call.
    pub contact: Option<String>,
    /// Since when the person is involved.
    pub since: Option<Date>,
    /// A value from a code list (see [`is_code`]).
    pub code: Option<String>,
    /// Free text.
    pub text: Option<String>,
    /// When it was recorded.
    pub date: Option<Date>,
    /// Fact or opinion.
    pub kind: FactKind,
    /// How sensitive.
    pub sensitivity: Sensitivity,
    /// From a programme whose very existence in a person's life is protected.
    pub specially_protected: bool,
    /// Part of a youth record.
    pub youth_record: bool,
    /// Telling it could put someone else at risk.
    pub third_party_at_risk: bool,
    /// Content never leaves; the owner may be contacted (DATA, rule 22).
    pub restricted: bool,
}

impl Fact {
    /// A fact of `category` with nothing in it, of unknown sensitivity. Categories that are
    /// protected by their nature are flagged whatever the source says.
    pub fn empty(category: Category) -> Self {
        Self {
            category,
            contact: None,
            since: None,
            code: None,
            text: None,
            date: None,
            kind: FactKind::Fact,
            sensitivity: Sensitivity::UNKNOWN,
            specially_protected: is_always_specially_protected(category),
            youth_record: category == Category::YouthRecord,
            third_party_at_risk: false,
            restricted: false,
        }
    }
}

/// Whether the category itself is specially protected (substance use, psychotherapy notes).
pub fn is_always_specially_protected(category: Category) -> bool {
    category.kind() == CategoryKind::SpeciallyProtectedHealth
}

impl fmt::Debug for Fact {
    // Which fields are filled already tells something; the category is what the log has anyway.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fact({}, ..)", self.category)
    }
}

/// Whether `text` has the shape of a code: 1 to [`MAX_CODE_BYTES`] of ASCII letters, digits,
/// `_ - .`. A sentence in a code column would else cross at level 3.
pub fn is_code(text: &str) -> bool {
    (1..=MAX_CODE_BYTES).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_hides_the_content() {
        let mut fact = Fact::empty(Category::Diagnosis);
        fact.text = Some("marker".into());
        fact.code = Some("marker".into());
        assert_eq!(format!("{fact:?}"), "Fact(diagnosis, ..)");
    }

    #[test]
    fn json_of_a_fact_reads_back_and_unknown_fields_are_refused() {
        let fact = Fact::empty(Category::SudTreatment);
        assert!(fact.specially_protected);
        let mut json = serde_json::to_value(&fact).unwrap();
        assert_eq!(serde_json::from_value::<Fact>(json.clone()).unwrap(), fact);
        json["sensitivity"] = 4.into();
        assert!(serde_json::from_value::<Fact>(json.clone()).is_err());
        json["sensitivity"] = 3.into();
        json["note"] = "x".into();
        assert!(serde_json::from_value::<Fact>(json).is_err());
    }

    #[test]
    fn sentences_are_no_codes() {
        assert!(is_code("F32.1"));
        assert!(is_code("no_shows"));
        for text in ["", "two words", "é", "a,b", &"x".repeat(65)] {
            assert!(!is_code(text), "{text}");
        }
    }
}
