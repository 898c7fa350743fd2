//! Identity attributes of a person, and the exact match token made of them.
//!
//! In scope: checking, normalising, the token that goes into the oblivious function
//! ([`crate::handle`]), person files. Out of scope: near matches (several tokens a person), and
//! who may know whom.
//!
//! Nothing here prints a name: neither `Debug` nor an error message.

use crate::date::{Date, NotADate};
use serde::{Deserialize, Serialize};
use std::fmt;
use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

/// Version of the normalisation. Two agencies that normalise differently would never match, so a
/// change of any rule below is a new version.
pub const TOKEN_VERSION: &str = "passerelle-match-v1";

/// Longest name, in characters, before normalisation.
pub const MAX_NAME_CHARS: usize = 128;

/// Largest person file, in bytes.
pub const MAX_PERSON_FILE_BYTES: usize = 16 * 1024;

/// Why something is no person. Names the field, never its content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PersonError {
    /// A name without one letter or digit.
    #[error("`{0}` has no letter")]
    Empty(&'static str),
    /// A name longer than [`MAX_NAME_CHARS`].
    #[error("`{0}` is longer than {MAX_NAME_CHARS} characters")]
    TooLong(&'static str),
    /// Control characters.
    #[error("`{0}` has control characters")]
    Control(&'static str),
    /// A birth date that is none.
    #[error("`birth_date`: {0}")]
    BirthDate(#[from] NotADate),
    /// A sex that is not one of the words of [`Sex::parse`].
    #[error("`sex` is none of female, male, another, unknown")]
    Sex,
    /// The person file is neither TOML nor JSON with the fields of a person.
    #[error(
        "person file: line {line}, column {column}: expected text fields `family_name`, \
         `given_name`, `birth_date` (YYYY-MM-DD) and, if known, `sex`, and no others"
    )]
    File {
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
    },
    /// The person file is larger than [`MAX_PERSON_FILE_BYTES`].
    #[error("person file is larger than {MAX_PERSON_FILE_BYTES} bytes")]
    FileTooLarge,
}

/// Sex or gender as agencies record it. Not part of the token: it is too often missing or wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sex {
    /// Female.
    Female,
    /// Male.
    Male,
    /// Another.
    Another,
}

impl Sex {
    /// The code in answers.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Female => "female",
            Self::Male => "male",
            Self::Another => "another",
        }
    }

    /// Reads the usual English and French words and letters; nothing and `unknown` are `None`.
    pub fn parse(text: &str) -> Result<Option<Self>, PersonError> {
        Ok(match normalise_name(text).as_str() {
            "" | "u" | "unknown" | "inconnu" | "inconnue" => None,
            "f" | "female" | "woman" | "femme" | "feminin" => Some(Self::Female),
            "m" | "male" | "man" | "h" | "homme" | "masculin" => Some(Self::Male),
            "x" | "another" | "other" | "autre" | "nonbinary" | "nonbinaire" | "twospirit"
            | "bispirituel" | "bispirituelle" => Some(Self::Another),
            _ => return Err(PersonError::Sex),
        })
    }
}

/// A person as one agency writes her or him.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "PersonFields", into = "PersonFields")]
pub struct Person {
    family_name: String,
    given_name: String,
    birth_date: Date,
    sex: Option<Sex>,
}

/// The text form of [`Person`], unchecked.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PersonFields {
    family_name: String,
    given_name: String,
    birth_date: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sex: Option<String>,
}

impl TryFrom<PersonFields> for Person {
    type Error = PersonError;
    fn try_from(fields: PersonFields) -> Result<Self, PersonError> {
        let PersonFields {
            family_name,
            given_name,
            birth_date,
            sex,
        } = fields;
        let sex = sex.as_deref().map_or(Ok(None), Sex::parse)?;
        Self::new(&family_name, &given_name, birth_date.parse()?, sex)
    }
}

impl From<Person> for PersonFields {
    fn from(person: Person) -> Self {
        Self {
            family_name: person.family_name,
            given_name: person.given_name,
            birth_date: person.birth_date.to_string(),
            sex: person.sex.map(|s| s.code().to_owned()),
        }
    }
}

impl Person {
    /// Checks and trims. A person with one name only has it in both fields: an empty field would
    /// match everyone else whose field is missing.
    pub fn new(
        family_name: &str,
        given_name: &str,
        birth_date: Date,
        sex: Option<Sex>,
    ) -> Result<Self, PersonError> {
        Ok(Self {
            family_name: checked_name("family_name", family_name)?,
            given_name: checked_name("given_name", given_name)?,
            birth_date,
            sex,
        })
    }

    /// Reads a person file: JSON if it begins with `{`, else TOML.
    pub fn from_file_text(text: &str) -> Result<Self, PersonError> {
        if text.len() > MAX_PERSON_FILE_BYTES {
            return Err(PersonError::FileTooLarge);
        }
        // Parsers quote the line they fail at, and that line holds a name: only the place is kept.
        let fields: PersonFields = if text.trim_start().starts_with('{') {
            serde_json::from_str(text).map_err(|e| PersonError::File {
                line: e.line(),
                column: e.column(),
            })?
        } else {
            toml::from_str(text).map_err(|e| {
                let (line, column) = place(text, e.span().map_or(0, |s| s.start));
                PersonError::File { line, column }
            })?
        };
        fields.try_into()
    }

    /// Family name as written.
    pub fn family_name(&self) -> &str {
        &self.family_name
    }

    /// Given name as written.
    pub fn given_name(&self) -> &str {
        &self.given_name
    }

    /// Birth date.
    pub const fn birth_date(&self) -> Date {
        self.birth_date
    }

    /// Sex or gender, if recorded.
    pub const fn sex(&self) -> Option<Sex> {
        self.sex
    }

    /// The exact match token, `version|family|given|YYYY-MM-DD`, names normalised. The separator
    /// cannot occur in a normalised name, so distinct people never share a token by chance of
    /// where one field ends.
    pub fn match_token(&self) -> Vec<u8> {
        format!(
            "{TOKEN_VERSION}|{}|{}|{}",
            normalise_name(&self.family_name),
            normalise_name(&self.given_name),
            self.birth_date
        )
        .into_bytes()
    }
}

impl fmt::Debug for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Person(..)")
    }
}

fn checked_name(field: &'static str, name: &str) -> Result<String, PersonError> {
    let name = name.trim();
    if name.chars().count() > MAX_NAME_CHARS {
        return Err(PersonError::TooLong(field));
    }
    if name.chars().any(char::is_control) {
        return Err(PersonError::Control(field));
    }
    if normalise_name(name).is_empty() {
        return Err(PersonError::Empty(field));
    }
    Ok(name.to_owned())
}

/// Line and column, both from 1, of byte `offset` in `text`.
pub(crate) fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |l| l.chars().count()) + 1;
    (line, column)
}

/// The one spelling of a name under which all its usual spellings meet: compatibility
/// decomposition, no accents, lower case, ligatures and barred letters as the letters that a
/// keyboard without them gives, and no spaces, hyphens, apostrophes, glottal stops or other
/// punctuation (`O'Brien` is also found as `OBrien` and `O Brien`). Syllabics are kept as written.
/// Idempotent.
pub fn normalise_name(name: &str) -> String {
    let lower: String = name.nfkd().flat_map(char::to_lowercase).collect();
    let mut out = String::with_capacity(lower.len());
    // Again, since the lower case of some letters is composed.
    for c in lower.nfkd() {
        match c {
            'œ' => out.push_str("oe"),
            'æ' => out.push_str("ae"),
            'ß' => out.push_str("ss"),
            'þ' => out.push_str("th"),
            'ŋ' => out.push_str("ng"),
            'ø' => out.push('o'),
            'ł' => out.push('l'),
            'đ' | 'ð' => out.push('d'),
            'ħ' => out.push('h'),
            'ŧ' => out.push('t'),
            'ı' => out.push('i'),
            'ς' => out.push('σ'),
            c if is_dropped(c) => {}
            c => out.push(c),
        }
    }
    // And again, since marks that a dropped character kept apart now have an order of their own.
    out.nfkd().collect()
}

/// Accents, and everything that is no letter, digit or mark of a script.
fn is_dropped(c: char) -> bool {
    match c {
        // Accents of the Latin, Greek and Cyrillic scripts.
        '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' => true,
        '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}' => true,
        // Vowel points of Hebrew and Arabic, seldom written. The vowel signs of other scripts
        // are letters to their readers, and stay.
        '\u{591}'..='\u{5c7}' | '\u{64b}'..='\u{65f}' | '\u{670}' => true,
        // Letters that stand for a glottal stop, and modifier letters used as apostrophes:
        // where a keyboard lacks them an apostrophe or nothing is typed.
        'ʔ' | 'ɂ' | 'ꞌ' | '\u{2b0}'..='\u{2ff}' | '\u{a788}' => true,
        c => !c.is_alphanumeric() && !is_combining_mark(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn person(family: &str, given: &str) -> Person {
        Person::new(family, given, "1988-03-09".parse().unwrap(), None).unwrap()
    }

    #[test]
    fn spellings_of_one_name_give_one_token() {
        for group in [
            &[
                "L'Heureux",
                "L’Heureux",
                "LʼHEUREUX",
                "l`heureux",
                "L Heureux",
                "LHeureux",
            ][..],
            &[
                "Gagné-Côté",
                "GAGNE COTE",
                "Gagne\u{301}\u{2011}Co\u{302}te\u{301}",
                "gagné–côté",
            ],
            &["Lecœur", "LECOEUR", "lecoeur"],
            &["Łukasz", "LUKASZ", "łukasz"],
            &["Sahaiʔa", "Sahai'a", "SAHAIA"],
            &["Sḵwálwen", "Skwalwen", "SK\u{331}WÁLWEN"],
            &["Müßig", "MÜẞIG", "mussig", "MUSSIG"],
            &["  Marie-Ève ", "Marie Eve", "MARIE—ÈVE", "Marie\u{a0}Ève"],
        ] {
            let token = person(group[0], "Ida").match_token();
            for name in group {
                assert_eq!(person(name, "Ida").match_token(), token, "{name}");
            }
        }
    }

    #[test]
    fn different_people_have_different_tokens() {
        let tokens = [
            person("Roy", "Léa"),
            person("Léa", "Roy"),
            person("Roi", "Léa"),
            person("Royl", "éa"),
            person("ᐃᓄᒃ", "Léa"),
            person("ᐃᓄᐃᑦ", "Léa"),
            Person::new("Roy", "Léa", "1988-09-03".parse().unwrap(), None).unwrap(),
        ]
        .map(|p| p.match_token());
        for (i, a) in tokens.iter().enumerate() {
            for b in tokens.iter().skip(i + 1) {
                assert_ne!(a, b);
            }
        }
    }

    #[test]
    fn the_token_has_a_version_and_three_fields() {
        let token = person("St-Onge", "Zoé").match_token();
        assert_eq!(token, b"passerelle-match-v1|stonge|zoe|1988-03-09");
        let separators = person("a|b", "c|d").match_token();
        assert_eq!(separators, b"passerelle-match-v1|ab|cd|1988-03-09");
    }

    #[test]
    fn syllabics_are_kept_as_written() {
        assert_eq!(normalise_name("ᐊᓪᓚᑲᓪᓚᒃ"), "ᐊᓪᓚᑲᓪᓚᒃ");
        assert_eq!(normalise_name("ᒪᓯᐌᑯᐱᓐ ᓀᐦᐃᔭᐤ"), "ᒪᓯᐌᑯᐱᓐᓀᐦᐃᔭᐤ");
    }

    #[test]
    fn names_without_letters_are_refused() {
        let born = "1988-03-09".parse().unwrap();
        for name in ["", "  ", "-", "'", "\u{301}", "…"] {
            let error = Person::new(name, "Ida", born, None).unwrap_err();
            assert_eq!(error, PersonError::Empty("family_name"));
        }
        assert!(Person::new("Roy", "a\u{7}b", born, None).is_err());
        assert!(Person::new("Roy", &"x".repeat(129), born, None).is_err());
    }

    #[test]
    fn person_files_are_read_as_toml_and_as_json() {
        let toml = "family_name = \"Roy\"\ngiven_name = \"Léa\"\nbirth_date = \"1988-03-09\"\n\
                    sex = \"F\"\n";
        let json = r#" {"family_name":"Roy","given_name":"Léa","birth_date":"1988-03-09",
                       "sex":"femme"}"#;
        let a = Person::from_file_text(toml).unwrap();
        assert_eq!(a, Person::from_file_text(json).unwrap());
        assert_eq!(a.sex(), Some(Sex::Female));
    }

    #[test]
    fn a_wrong_person_file_is_refused_without_repeating_it() {
        let marker = "Zzyzxmarker";
        for text in [
            format!("family_name = \"{marker}\"\n"),
            format!("family_name = \"{marker}\nbirth_date"),
            format!("family_name = [\"{marker}\"]\ngiven_name = \"a\"\nbirth_date = \"x\"\n"),
            format!("{marker} = \"{marker}\"\n"),
            format!("{{\"family_name\": {{\"{marker}\": 1}}}}"),
            format!("{{\"family_name\": \"{marker}\", \"{marker}\": 1}}"),
            format!(
                "family_name = \"a\"\ngiven_name = \"b\"\nbirth_date = \"1990-01-01\"\n\
                 sex = \"{marker}\"\n"
            ),
            format!("family_name = \"a\"\ngiven_name = \"b\"\nbirth_date = \"{marker}\"\n"),
            "x".repeat(MAX_PERSON_FILE_BYTES + 1),
        ] {
            let error = Person::from_file_text(&text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains(marker), "{error}");
        }
        let error = Person::from_file_text("family_name = \"a\"\nage = 3\n").unwrap_err();
        assert_eq!(error, PersonError::File { line: 2, column: 1 });
    }

    #[test]
    fn debug_output_hides_the_person() {
        assert_eq!(format!("{:?}", person("Roy", "Léa")), "Person(..)");
    }

    #[test]
    fn json_of_a_person_reads_back() {
        let a = Person::new(
            "Roy",
            "Léa",
            "1988-03-09".parse().unwrap(),
            Some(Sex::Another),
        );
        let a = a.unwrap();
        let text = serde_json::to_string(&a).unwrap();
        assert_eq!(serde_json::from_str::<Person>(&text).unwrap(), a);
    }

    proptest! {
        #[test]
        fn normalising_is_idempotent(name in any::<String>()) {
            let once = normalise_name(&name);
            prop_assert_eq!(normalise_name(&once), once.clone());
            prop_assert!(!once.contains('|'));
        }

        #[test]
        fn case_accents_and_separators_do_not_matter(
            letters in proptest::collection::vec((
                prop::sample::select("abcdefghijklmnopqrstuvwxyz".chars().collect::<Vec<_>>()),
                any::<bool>(),
                prop::sample::select(vec![
                    "", "\u{301}", "\u{300}", "\u{302}", "\u{308}", "\u{327}", "\u{331}",
                    "-", "'", "’", "ʼ", " ", "\u{2010}", "\u{a0}", ".",
                ]),
            ), 1..20)
        ) {
            let plain: String = letters.iter().map(|(c, ..)| *c).collect();
            let spelled: String = letters
                .iter()
                .flat_map(|(c, upper, mark)| {
                    let c = if *upper { c.to_ascii_uppercase() } else { *c };
                    std::iter::once(c).chain(mark.chars())
                })
                .collect();
            let composed: String = spelled.nfc().collect();
            prop_assert_eq!(normalise_name(&spelled), plain.clone());
            prop_assert_eq!(normalise_name(&composed), plain);
        }
    }
}
