//! The mapping file: which columns of an agency's CSV are which attributes and facts.
//!
//! In scope: reading and checking the TOML. Out of scope: reading the CSV ([`super::csv_import`]).
//! Unknown keys are refused, and each error names line and column: a misspelt
//! `specialy_protected` that was ignored would leave a protected fact open.
//!
//! ```toml
//! source_id = "file_no"
//! date_formats = ["YYYY-MM-DD", "DD/MM/YYYY"]    # default: YYYY-MM-DD
//! delimiter = ";"                                # default: ,
//!
//! [person]
//! family_name = "last"
//! given_name = "first"
//! birth_date = "born"
//! sex = "sex"                                    # optional
//!
//! [[fact]]
//! category = "appointment_status"
//! code = "appointment"                           # a column
//! codes = ["kept", "missed"]                     # optional: no others
//! contact = { constant = "Intake desk, 555-0100" }
//! specially_protected = { column = "protected", default = "no" }
//! sensitivity = { constant = 2 }
//! ```

use super::{
    csv_import::parse_flag,
    fact::{FactKind, MAX_CODE_BYTES, Sensitivity, is_code},
};
use crate::{date::DateFormat, person::place};
use passerelle_model::vocabulary::Category;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor, value::MapAccessDeserializer},
};
use std::fmt;
use toml::Spanned;

/// Largest mapping file, in bytes.
pub const MAX_MAPPING_BYTES: usize = 64 * 1024;
/// Most `[[fact]]` tables.
pub const MAX_FACTS: usize = 64;

/// What is wrong with a mapping file. It holds no personal data, so messages quote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("mapping file: line {line}, column {column}: {message}")]
pub struct MappingError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

/// A checked mapping.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// Between cells.
    pub delimiter: u8,
    /// Column with the source's own id of the person, one row each.
    pub source_id: String,
    /// How dates are written. A cell that two formats read differently is refused.
    pub date_formats: Vec<DateFormat>,
    /// The person's attributes.
    pub person: PersonColumns,
    /// The facts, in the order of the file.
    pub facts: Vec<FactMapping>,
}

/// The columns of a person's attributes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersonColumns {
    /// Family name.
    pub family_name: String,
    /// Given name.
    pub given_name: String,
    /// Birth date.
    pub birth_date: String,
    /// Sex or gender.
    pub sex: Option<String>,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The same for every row.
    Constant(String),
    /// A column; an empty cell has the default, if there is one.
    Column {
        /// Its name.
        column: String,
        /// For empty cells.
        default: Option<String>,
    },
}

/// One fact of each row. It exists in a row if `present` says so, or, without `present`, if one of
/// the columns of `code`, `text`, `since`, `contact` has a cell that is not empty, or if none of
/// the four is a column.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FactMapping {
    /// What it is about.
    pub category: Category,
    /// Whether the row has it: yes or no.
    pub present: Option<Source>,
    /// Whom to call.
    pub contact: Option<Source>,
    /// Since when; a day, or a month.
    pub since: Option<Source>,
    /// A code.
    pub code: Option<Source>,
    /// The codes that there are, if the list is closed.
    pub codes: Option<Vec<String>>,
    /// Text.
    pub text: Option<Source>,
    /// When it was recorded.
    pub date: Option<Source>,
    /// `fact` or `opinion`; `fact` if not given.
    pub kind: Option<Source>,
    /// 0 to 3; 3 if not given.
    pub sensitivity: Option<Source>,
    /// Yes or no; no if not given, except where the category itself is protected.
    pub specially_protected: Option<Source>,
    /// Yes or no.
    pub youth_record: Option<Source>,
    /// Yes or no.
    pub third_party_at_risk: Option<Source>,
    /// Yes or no.
    pub restricted: Option<Source>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MappingFile {
    delimiter: Option<Delimiter>,
    source_id: String,
    date_formats: Option<Spanned<Vec<DateFormat>>>,
    person: Spanned<PersonColumns>,
    #[serde(default)]
    fact: Vec<Spanned<FactMapping>>,
}

impl Mapping {
    /// Reads and checks a mapping file.
    pub fn from_toml(text: &str) -> Result<Self, MappingError> {
        let fault = |offset: usize, message: String| {
            let (line, column) = place(text, offset);
            MappingError {
                line,
                column,
                message,
            }
        };
        if text.len() > MAX_MAPPING_BYTES {
            return Err(fault(0, format!("larger than {MAX_MAPPING_BYTES} bytes")));
        }
        let file: MappingFile = toml::from_str(text)
            .map_err(|e| fault(e.span().map_or(0, |s| s.start), e.message().to_owned()))?;
        if file.fact.is_empty() || file.fact.len() > MAX_FACTS {
            return Err(fault(
                0,
                format!("1 to {MAX_FACTS} `[[fact]]` tables are needed"),
            ));
        }
        let date_formats = match file.date_formats {
            None => vec![DateFormat::iso()],
            Some(formats) => {
                let start = formats.span().start;
                let formats = formats.into_inner();
                // Without a day no birth date can be read.
                if !formats.iter().any(DateFormat::has_day) {
                    return Err(fault(start, "no date format with a day".to_owned()));
                }
                formats
            }
        };
        let person_start = file.person.span().start;
        let person = file.person.into_inner();
        if person.family_name == person.given_name || file.source_id.is_empty() {
            let message = "`source_id` is empty, or both names are one column";
            return Err(fault(person_start, message.to_owned()));
        }
        let mut facts = Vec::with_capacity(file.fact.len());
        for fact in file.fact {
            let start = fact.span().start;
            let fact = fact.into_inner();
            fact.check(&date_formats)
                .map_err(|message| fault(start, message))?;
            facts.push(fact);
        }
        Ok(Self {
            delimiter: file.delimiter.map_or(b',', |d| d.0),
            source_id: file.source_id,
            date_formats,
            person,
            facts,
        })
    }

    /// Every column that the mapping names, in order, perhaps repeated.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        let PersonColumns {
            family_name,
            given_name,
            birth_date,
            sex,
        } = &self.person;
        [&self.source_id, family_name, given_name, birth_date]
            .into_iter()
            .chain(sex)
            .map(String::as_str)
            .chain(self.facts.iter().flat_map(FactMapping::columns))
    }
}

impl FactMapping {
    fn sources(&self) -> [(&'static str, &Option<Source>); 12] {
        [
            ("present", &self.present),
            ("contact", &self.contact),
            ("since", &self.since),
            ("code", &self.code),
            ("text", &self.text),
            ("date", &self.date),
            ("kind", &self.kind),
            ("sensitivity", &self.sensitivity),
            ("specially_protected", &self.specially_protected),
            ("youth_record", &self.youth_record),
            ("third_party_at_risk", &self.third_party_at_risk),
            ("restricted", &self.restricted),
        ]
    }

    fn columns(&self) -> impl Iterator<Item = &str> {
        self.sources()
            .into_iter()
            .filter_map(|(_, source)| match source {
                Some(Source::Column { column, .. }) => Some(column.as_str()),
                Some(Source::Constant(_)) | None => None,
            })
    }

    /// Constants and defaults are checked once here, so that a row is never blamed for them.
    fn check(&self, formats: &[DateFormat]) -> Result<(), String> {
        for (field, source) in self.sources() {
            let fixed = match source {
                None => continue,
                Some(Source::Constant(value)) => value,
                Some(Source::Column { default: None, .. }) => continue,
                Some(Source::Column {
                    default: Some(value),
                    ..
                }) => value,
            };
            let ok = match field {
                "contact" | "text" => !fixed.trim().is_empty(),
                "code" => self.is_known_code(fixed),
                "since" | "date" => formats.iter().any(|f| f.parse(fixed).is_some()),
                "kind" => parse_kind(fixed).is_some(),
                "sensitivity" => parse_sensitivity(fixed).is_some(),
                _ => parse_flag(fixed).is_some(),
            };
            if !ok {
                return Err(format!(
                    "`{field}`: `{fixed}` is not a value that it can have"
                ));
            }
        }
        match self.codes.iter().flatten().find(|c| !is_code(c)) {
            Some(code) => Err(format!(
                "`codes`: `{code}` is not a code: 1 to {MAX_CODE_BYTES} letters, digits, _ - ."
            )),
            None => Ok(()),
        }
    }

    /// Whether `code` has the shape of a code and is in the list, if there is one.
    pub fn is_known_code(&self, code: &str) -> bool {
        is_code(code)
            && self
                .codes
                .as_ref()
                .is_none_or(|list| list.iter().any(|c| c == code))
    }
}

/// `fact` or `opinion`, in English or French.
pub(super) fn parse_kind(text: &str) -> Option<FactKind> {
    match text.to_lowercase().as_str() {
        "fact" | "fait" => Some(FactKind::Fact),
        "opinion" | "avis" => Some(FactKind::Opinion),
        _ => None,
    }
}

/// `0` to `3`.
pub(super) fn parse_sensitivity(text: &str) -> Option<Sensitivity> {
    text.parse::<u8>().ok()?.try_into().ok()
}

struct Delimiter(u8);

impl<'de> Deserialize<'de> for Delimiter {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        match text.as_bytes() {
            [delimiter @ (b',' | b';' | b'\t' | b'|')] => Ok(Self(*delimiter)),
            _ => Err(D::Error::custom("a delimiter is one of , ; | and tab")),
        }
    }
}

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(SourceVisitor)
    }
}

struct SourceVisitor;

impl<'de> Visitor<'de> for SourceVisitor {
    type Value = Source;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a column, `{ column = .., default = .. }` or `{ constant = .. }`")
    }

    fn visit_str<E: serde::de::Error>(self, column: &str) -> Result<Source, E> {
        Ok(Source::Column {
            column: column.to_owned(),
            default: None,
        })
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Source, M::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields {
            column: Option<String>,
            default: Option<Scalar>,
            constant: Option<Scalar>,
        }
        match Fields::deserialize(MapAccessDeserializer::new(map))? {
            Fields {
                column: Some(column),
                default,
                constant: None,
            } => Ok(Source::Column {
                column,
                default: default.map(|d| d.0),
            }),
            Fields {
                column: None,
                default: None,
                constant: Some(constant),
            } => Ok(Source::Constant(constant.0)),
            _ => Err(M::Error::custom(
                "either `column` (and perhaps `default`) or `constant`",
            )),
        }
    }
}

/// Text, a whole number or a truth value, as the text that a cell would have.
struct Scalar(String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct ScalarVisitor;
        impl Visitor<'_> for ScalarVisitor {
            type Value = Scalar;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text, a whole number, true or false")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar(text.to_owned()))
            }
            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Scalar, E> {
                Ok(Scalar(number.to_string()))
            }
            fn visit_bool<E: serde::de::Error>(self, truth: bool) -> Result<Scalar, E> {
                Ok(Scalar(truth.to_string()))
            }
        }
        d.deserialize_any(ScalarVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "source_id = \"id\"\n\n[person]\nfamily_name = \"last\"\n\
                        given_name = \"first\"\nbirth_date = \"born\"\n\n";

    fn fact(lines: &str) -> Result<Mapping, MappingError> {
        Mapping::from_toml(&format!("{HEAD}[[fact]]\n{lines}"))
    }

    #[test]
    fn a_full_mapping_is_read() {
        let mapping = fact(
            "category = \"diagnosis\"\ncode = \"dx\"\ncodes = [\"F32.1\"]\n\
             text = { column = \"note\", default = \"none\" }\nrestricted = { constant = true }\n\
             sensitivity = { constant = 2 }\nkind = { constant = \"avis\" }\n",
        )
        .unwrap();
        assert_eq!(mapping.delimiter, b',');
        let columns: Vec<_> = mapping.columns().collect();
        assert_eq!(columns, ["id", "last", "first", "born", "dx", "note"]);
        assert_eq!(
            mapping.facts[0].restricted,
            Some(Source::Constant("true".into()))
        );
    }

    #[test]
    fn errors_name_line_and_column() {
        for (lines, line, column, says) in [
            (
                "category = \"diagnosis\"\nspecialy_protected = \"p\"\n",
                10,
                1,
                "specialy_protected",
            ),
            ("category = \"diagnoses\"\n", 9, 12, "unknown category code"),
            (
                "category = \"diagnosis\"\ncode = { colum = \"dx\" }\n",
                10,
                10,
                "colum",
            ),
            ("category = \"diagnosis\"\ncode = 3\n", 10, 8, "a column"),
            (
                "category = \"diagnosis\"\ncode = { default = \"x\" }\n",
                10,
                8,
                "either",
            ),
            (
                "category = \"diagnosis\"\nsensitivity = { constant = 4 }\n",
                8,
                1,
                "`4`",
            ),
            (
                "category = \"diagnosis\"\nkind = { constant = \"x\" }\n",
                8,
                1,
                "`kind`",
            ),
            (
                "category = \"diagnosis\"\ncodes = [\"two words\"]\n",
                8,
                1,
                "two words",
            ),
            (
                "category = \"diagnosis\"\ncode = \"a\"\ncode = \"b\"\n",
                11,
                1,
                "duplicate",
            ),
        ] {
            let error = fact(lines).unwrap_err();
            let place = (error.line, error.column);
            assert_eq!(place, (line, column), "{lines}{error}");
            assert!(error.message.contains(says), "{error}");
        }
    }

    #[test]
    fn files_without_facts_or_with_odd_options_are_refused() {
        assert!(Mapping::from_toml(HEAD).is_err());
        assert!(Mapping::from_toml("").is_err());
        assert!(Mapping::from_toml(&"#".repeat(MAX_MAPPING_BYTES + 1)).is_err());
        for option in [
            "delimiter = \"ab\"\n",
            "delimiter = \"a\"\n",
            "date_formats = [\"YYYY-MM\"]\n",
            "date_formats = [\"yyyy\"]\n",
            "encoding = \"latin1\"\n",
        ] {
            let text = format!("{option}{HEAD}[[fact]]\ncategory = \"enrolled\"\n");
            assert!(Mapping::from_toml(&text).is_err(), "{option}");
        }
    }
}
