//! Near matches: the ways in which two agencies write one person.
//!
//! In scope: the near tokens of a person, and how alike two people are who share one. Out of scope:
//! the exact token ([`crate::person`]), handles ([`crate::handle`]), the index
//! ([`crate::near_index`]), what a holder does with a near match ([`crate::holder`]).
//!
//! Names are compared by nobody who may not know them. Each agency turns the same few tokens of a
//! person into handles by the oblivious function; two people are near if a handle is the same. So
//! a near match is no distance between spellings but one of a few errors that people make: by ear,
//! names in each other's field, day and month, half of a compound name.

use crate::person::{Person, normalise_name};
use serde::{Deserialize, Serialize};

/// Version of the tokens. Two agencies that make them differently would never match, so a change of
/// any rule below is a new version.
pub const NEAR_VERSION: &str = "passerelle-near-v1";

/// Most near tokens of one person: what a question carries, always, so that their number tells
/// nothing of the name.
pub const NEAR_TOKENS: usize = 6;

/// Most parts of a family name that are looked at.
const MAX_PARTS: usize = 3;
/// Shorter parts are particles: `de`, `la`, `Mc`.
const LEAST_PART_CHARS: usize = 3;

/// How two people are alike who are not written the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Likeness {
    /// Both names sound alike, and the birth date is the same.
    SoundsAlike,
    /// Given and family name stand in each other's place, and the birth date is the same.
    NamesSwapped,
    /// The names are the same, the year too; day and month stand in each other's place.
    DayAndMonth,
    /// A part of the family name and the first given name are the same, and the birth date.
    PartOfName,
}

impl Likeness {
    /// The code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::SoundsAlike => "sounds_alike",
            Self::NamesSwapped => "names_swapped",
            Self::DayAndMonth => "day_and_month",
            Self::PartOfName => "part_of_name",
        }
    }

    /// For the person who compares.
    pub const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::SoundsAlike => (
                "both names sound alike, same birth date",
                "les deux noms se ressemblent à l’oreille, même date de naissance",
            ),
            Self::NamesSwapped => (
                "the names are swapped, same birth date",
                "les noms sont inversés, même date de naissance",
            ),
            Self::DayAndMonth => (
                "same names and birth year, day and month are swapped",
                "mêmes noms et même année de naissance, jour et mois inversés",
            ),
            Self::PartOfName => (
                "a part of the family name and the first given name are the same, same birth date",
                "une partie du nom de famille et le premier prénom sont les mêmes, même date de \
                 naissance",
            ),
        }
    }
}

/// The near tokens of a person, one to [`NEAR_TOKENS`], each once. No name can be an exact token of
/// anybody: the versions differ.
pub fn near_tokens(person: &Person) -> Vec<(Likeness, Vec<u8>)> {
    let (family, given) = (person.family_name(), person.given_name());
    let born = person.birth_date();
    let token = |likeness: Likeness, a: &str, b: &str, date: &str| {
        let text = format!("{NEAR_VERSION}|{}|{a}|{b}|{date}", likeness.code());
        (likeness, text.into_bytes())
    };
    let day = born.to_string();
    let mut tokens = vec![token(
        Likeness::SoundsAlike,
        &sound(family),
        &sound(given),
        &day,
    )];
    let (family_whole, given_whole) = (normalise_name(family), normalise_name(given));
    let (first, second) = match family_whole <= given_whole {
        true => (&family_whole, &given_whole),
        false => (&given_whole, &family_whole),
    };
    tokens.push(token(Likeness::NamesSwapped, first, second, &day));
    let (low, high) = match born.month() <= born.day() {
        true => (born.month(), born.day()),
        false => (born.day(), born.month()),
    };
    let either = format!("{:04}-{low:02}-{high:02}", born.year());
    tokens.push(token(
        Likeness::DayAndMonth,
        &family_whole,
        &given_whole,
        &either,
    ));
    let first_given = parts(given).into_iter().next().unwrap_or(given_whole);
    for part in parts(family).into_iter().take(MAX_PARTS) {
        tokens.push(token(Likeness::PartOfName, &part, &first_given, &day));
    }
    tokens.sort();
    tokens.dedup();
    tokens
}

/// The parts of a compound name, normalised, without particles.
fn parts(name: &str) -> Vec<String> {
    let is_seam = |c: char| c.is_whitespace() || matches!(c, '-' | '\u{2010}'..='\u{2015}');
    let parts = name.split(is_seam).map(normalise_name);
    let mut parts: Vec<_> = parts
        .filter(|part| part.chars().count() >= LEAST_PART_CHARS)
        .collect();
    if parts.is_empty() {
        parts.push(normalise_name(name));
    }
    parts
}

/// What is left of a name by ear, part by part.
fn sound(name: &str) -> String {
    parts(name).iter().map(|part| sound_of_part(part)).collect()
}

/// What is left of a normalised name by ear, in French or English: its consonants by sound, and that
/// it begins with a vowel. Names that are not in Latin letters stay as they are.
fn sound_of_part(name: &str) -> String {
    /// Letters that are one sound together; the longer ones first.
    const TOGETHER: [(&str, &str); 12] = [
        ("sch", "x"),
        ("tch", "x"),
        ("ault", "o"),
        ("auld", "o"),
        ("ck", "k"),
        ("qu", "k"),
        ("ph", "f"),
        ("gh", "g"),
        ("gn", "n"),
        ("ch", "x"),
        ("sh", "x"),
        ("th", "t"),
    ];
    let mut text = name.to_owned();
    if !text.bytes().all(|b| b.is_ascii_lowercase()) {
        return text;
    }
    for (letters, sound) in TOGETHER {
        text = text.replace(letters, sound);
    }
    let letters: Vec<char> = text.chars().collect();
    let mut sounds = String::new();
    for (place, letter) in letters.iter().enumerate() {
        let is_doubled = place > 0 && letters.get(place - 1) == Some(letter);
        let is_soft = matches!(letters.get(place + 1), Some('e' | 'i' | 'y'));
        let heard = match letter {
            _ if is_doubled => continue,
            'a' | 'e' | 'i' | 'o' | 'u' | 'y' if sounds.is_empty() => 'a',
            'a' | 'e' | 'i' | 'o' | 'u' | 'y' | 'h' => continue,
            'c' if is_soft => 's',
            'c' | 'q' => 'k',
            'g' if is_soft => 'j',
            'z' => 's',
            'w' => 'v',
            other => *other,
        };
        sounds.push(heard);
    }
    let spoken = sounds.trim_end_matches(['s', 't', 'd', 'x', 'p']);
    match spoken.chars().count() {
        // `Sy`, `Dot`: what is silent elsewhere is all that there is.
        0 | 1 => sounds,
        _ => spoken.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn person(family: &str, given: &str, born: &str) -> Person {
        Person::new(family, given, born.parse().unwrap(), None).unwrap()
    }

    fn alike(one: &Person, other: &Person) -> BTreeSet<Likeness> {
        let tokens = |p: &Person| near_tokens(p).into_iter().collect::<BTreeSet<_>>();
        let (one, other) = (tokens(one), tokens(other));
        one.intersection(&other).map(|(how, _)| *how).collect()
    }

    fn by_name(one: (&str, &str), other: (&str, &str)) -> BTreeSet<Likeness> {
        let born = "1988-03-19";
        alike(&person(one.0, one.1, born), &person(other.0, other.1, born))
    }

    #[test]
    fn names_that_sound_alike_are_near() {
        for (one, other) in [
            (("Tremblay", "Zoé"), ("Tremblé", "Soé")),
            (("Gagnon", "Stéphane"), ("Gagnon", "Stephan")),
            (("Gauthier", "Philippe"), ("Gautier", "Filipe")),
            (("Renaud", "Jérôme"), ("Renault", "Gérôme")),
            (("Benoit", "Catherine"), ("Benois", "Katrine")),
            (("Nguyen", "Hélène"), ("N'Guyen", "Élène")),
            (("Smith", "Geoffrey"), ("Smyth", "Jeffrey")),
            (("Chartrand", "Thomas"), ("Shartran", "Tomas")),
        ] {
            let how = by_name(one, other);
            assert!(how.contains(&Likeness::SoundsAlike), "{one:?} {other:?}");
        }
    }

    #[test]
    fn the_usual_slips_are_near() {
        let swapped = by_name(("Martin", "Laurent"), ("Laurent", "Martin"));
        assert!(swapped.contains(&Likeness::NamesSwapped));
        for (whole, half) in [
            ("Gagné-Côté", "Gagne"),
            ("Gagné-Côté", "COTE"),
            ("Gagné Côté", "Côté-Roy"),
            ("de la Cruz", "Cruz"),
        ] {
            let how = by_name((whole, "Marie-Ève"), (half, "Marie"));
            assert!(how.contains(&Likeness::PartOfName), "{whole} {half}");
        }
        let born = |born| person("Roy", "Léa", born);
        let how = alike(&born("1988-03-09"), &born("1988-09-03"));
        assert_eq!(how, [Likeness::DayAndMonth].into());
    }

    #[test]
    fn others_are_not_near() {
        for (one, other) in [
            (("Tremblay", "Zoé"), ("Trudel", "Zoé")),
            (("Tremblay", "Zoé"), ("Tremblay", "Léa")),
            (("Roy", "Jean"), ("Roy", "Luc")),
            (("ᐊᓪᓚᒃ", "Ida"), ("ᒪᓯᐌ", "Ida")),
        ] {
            assert_eq!(by_name(one, other), BTreeSet::new(), "{one:?} {other:?}");
        }
        let born = |born| person("Roy", "Léa", born);
        for other in ["1988-03-10", "1989-03-09", "1988-04-09"] {
            let how = alike(&born("1988-03-09"), &born(other));
            assert_eq!(how, BTreeSet::new(), "{other}");
        }
    }

    fn anybody() -> impl Strategy<Value = Person> {
        let name = "[a-zA-ZéèçôœÉ]{1,9}([ '-][a-zéè]{1,8}){0,4}";
        (name, name, 1930_u16..2020, 1_u8..=12, 1_u8..=28).prop_map(|(family, given, y, m, d)| {
            person(&family, &given, &format!("{y}-{m:02}-{d:02}"))
        })
    }

    proptest! {
        #[test]
        fn everybody_has_a_few_near_tokens_and_none_is_an_exact_one(
            one in anybody(),
            other in anybody(),
        ) {
            let near = near_tokens(&one);
            prop_assert!((3..=NEAR_TOKENS).contains(&near.len()), "{}", near.len());
            prop_assert!(near.iter().all(|(_, token)| *token != other.match_token()));
            prop_assert_eq!(alike(&one, &other), alike(&other, &one));
        }

        #[test]
        fn accents_and_case_make_no_difference(one in anybody()) {
            let upper = person(
                &one.family_name().to_uppercase(),
                &one.given_name().to_uppercase(),
                &one.birth_date().to_string(),
            );
            prop_assert_eq!(near_tokens(&one), near_tokens(&upper));
        }

        #[test]
        fn who_is_written_the_other_way_round_is_near(one in anybody()) {
            let turned = person(
                one.given_name(),
                one.family_name(),
                &one.birth_date().to_string(),
            );
            prop_assert!(alike(&one, &turned).contains(&Likeness::NamesSwapped));
        }
    }
}
