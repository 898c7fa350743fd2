//! Whether two people may be one, or of one family, by their names. Errs on the side of yes.
//!
//! In scope: compound surnames, particles, accents, hyphens, apostrophes, former names. Out of
//! scope: typing errors; handles.

use crate::person::{Person, normalise_name};
use crate::suspicion::settings::WorkerName;
use std::collections::BTreeSet;

/// Parts of surnames that many families share: alone they say nothing.
const PARTICLES: &[&str] = &[
    "al", "ap", "as", "ben", "bin", "bint", "d", "da", "das", "de", "del", "della", "den", "der",
    "des", "di", "do", "dos", "du", "e", "el", "et", "ibn", "l", "la", "las", "le", "les", "los",
    "mac", "mc", "o", "of", "saint", "sainte", "san", "santa", "st", "ste", "ten", "ter", "the",
    "van", "vander", "von", "y", "zu",
];

/// How a worker and a person are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Alike {
    /// Not by name.
    No,
    /// A surname in common.
    Surname,
    /// The same person, as far as is known.
    Person,
}

/// Compares. Without a birth date of the worker the names alone decide.
pub(super) fn alike(worker: &WorkerName, person: &Person) -> Alike {
    let surnames = worker.surnames().any(|s| meet(s, person.family_name()));
    let given = meet(&worker.given, person.given_name());
    // The fields are easily swapped, on purpose too.
    let swapped = worker.surnames().any(|s| meet(s, person.given_name()))
        && meet(&worker.given, person.family_name());
    let same_day = worker.born.is_none_or(|born| born == person.birth_date());
    match (same_day, surnames) {
        (true, true) if given => Alike::Person,
        (true, _) if swapped => Alike::Person,
        (_, true) => Alike::Surname,
        (false, false) if swapped => Alike::Surname,
        _ => Alike::No,
    }
}

/// Whether two names have a telling part in common.
fn meet(one: &str, other: &str) -> bool {
    !parts(one).is_disjoint(&parts(other)) || holds(one, other) || holds(other, one)
}

/// Shortest part that is looked for at an end of a longer name.
const TELLING_LETTERS: usize = 4;

/// Whether the whole of a name begins or ends with a part of the other: two surnames in one word have
/// the same match token as with a hyphen between, so leaving it out must not hide them. Some who are
/// no relatives are held for that.
fn holds(whole: &str, other: &str) -> bool {
    let whole = normalise_name(whole);
    let mut parts = parts(other).into_iter();
    parts.any(|part| {
        part.chars().count() >= TELLING_LETTERS
            && (whole.starts_with(&part) || whole.ends_with(&part))
    })
}

/// The name whole, its hyphenated halves, its words: normalised, without bare particles.
fn parts(name: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::from([normalise_name(name)]);
    for separates in [is_hyphen, is_gap, is_gap_or_apostrophe] {
        let name: String = name.chars().filter(|c| !is_invisible(*c)).collect();
        let split = name.split(separates).map(normalise_name);
        found.extend(
            split.filter(|part| part.chars().count() > 1 && !PARTICLES.contains(&part.as_str())),
        );
    }
    found.remove("");
    found
}

/// Characters that are not seen and part nothing.
const fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}'
    )
}

const fn is_apostrophe(c: char) -> bool {
    matches!(
        c,
        '\'' | '’' | '‘' | '`' | '´' | 'ʼ' | 'ʻ' | 'ʾ' | 'ʿ' | '′' | '\u{ff07}' | 'ꞌ'
    )
}

/// Hyphens and what stands for them between two surnames.
fn is_hyphen(c: char) -> bool {
    !c.is_whitespace() && is_gap(c) && c != '.'
}

/// Anything that parts words.
fn is_gap(c: char) -> bool {
    let is_mark = unicode_normalization::char::is_combining_mark(c);
    !c.is_alphanumeric() && !is_mark && !is_apostrophe(c) && !is_invisible(c)
}

fn is_gap_or_apostrophe(c: char) -> bool {
    is_gap(c) || is_apostrophe(c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn worker(family: &str, given: &str, born: Option<&str>) -> WorkerName {
        WorkerName {
            family: family.to_owned(),
            given: given.to_owned(),
            born: born.map(|day| day.parse().unwrap()),
            other_family: Vec::new(),
        }
    }

    fn person(family: &str, given: &str) -> Person {
        Person::new(family, given, "1988-03-09".parse().unwrap(), None).unwrap()
    }

    #[test]
    fn spellings_of_one_surname_meet() {
        for (one, other) in [
            ("Tremblay", "TREMBLAY"),
            ("Bélanger", "Be\u{301}langer"),
            ("Bélanger", "belanger"),
            ("Tremblay-Gagnon", "Gagnon"),
            ("Tremblay-Gagnon", "gagnon tremblay"),
            ("Tremblay\u{2011}Gagnon", "Tremblay"),
            ("Trem\u{ad}blay-Gagnon", "Tremblay"),
            ("Tremblay–Le Blanc", "LeBlanc"),
            ("Le Blanc", "Leblanc"),
            ("L'Heureux", "Lheureux"),
            ("L’Heureux", "Heureux"),
            ("O'Brien", "OBrien"),
            ("St-Pierre", "Saint-Pierre"),
            ("St. Pierre", "St-Pierre"),
            ("De La Cruz", "Delacruz"),
            ("Van", "VAN"),
            ("Ŧremblay", "tremblay"),
        ] {
            assert!(meet(one, other), "{one} {other}");
            assert!(meet(other, one), "{other} {one}");
        }
    }

    #[test]
    fn a_particle_alone_is_no_family() {
        for (one, other) in [
            ("De La Cruz", "De La Torre"),
            ("St-Pierre", "St-Jean"),
            ("Van Dyke", "Van"),
            ("L'Heureux", "L'Écuyer"),
            ("Tremblay", "Gagnon"),
        ] {
            assert!(!meet(one, other), "{one} {other}");
        }
    }

    #[test]
    fn a_worker_is_recognised_as_the_person() {
        let asked = person("Tremblay-Côté", "Zoé");
        for (family, given, born, expected) in [
            ("Tremblay", "Zoe", Some("1988-03-09"), Alike::Person),
            ("Cote", "ZOÉ", None, Alike::Person),
            ("Zoé", "Tremblay", Some("1988-03-09"), Alike::Person),
            ("Tremblay", "Zoé", Some("1990-01-01"), Alike::Surname),
            ("Tremblay", "Maude", None, Alike::Surname),
            ("Gagnon", "Zoé", Some("1988-03-09"), Alike::No),
            ("Zoé", "Tremblay", Some("1990-01-01"), Alike::Surname),
        ] {
            let found = alike(&worker(family, given, born), &asked);
            assert_eq!(found, expected, "{family} {given} {born:?}");
        }
        let mut former = worker("Gagnon", "Zoé", None);
        former.other_family.push("tremblay".to_owned());
        assert_eq!(alike(&former, &asked), Alike::Person);
    }

    /// A name of one or two families as people spell it: case, accents, what stands between.
    fn spelled(letters: &str, upper: bool, mark: &str) -> String {
        let marked = letters.chars().flat_map(|c| {
            let c = if upper { c.to_ascii_uppercase() } else { c };
            std::iter::once(c).chain(mark.chars())
        });
        marked.collect()
    }

    proptest! {
        #[test]
        fn no_spelling_of_a_compound_surname_is_missed(
            one in "[b-kp-t][a-z]{4,12}",
            two in "[b-kp-t][a-z]{4,12}",
            upper in any::<bool>(),
            mark in prop::sample::select(vec!["", "\u{301}", "\u{300}", "\u{308}", "\u{ad}"]),
            between in prop::sample::select(vec![
                "-", " ", "\u{2010}", "\u{2011}", "–", "\u{a0}", " - ", "/", "", "\u{2066}",
            ]),
            alone in any::<bool>(),
            turned in any::<bool>(),
        ) {
            let own = format!("{one}-{two}");
            let (first, last) = if turned { (&two, &one) } else { (&one, &two) };
            let mut typed = spelled(first, upper, mark);
            if !alone {
                typed = format!("{typed}{between}{}", spelled(last, !upper, mark));
            }
            let asked = person(&typed, "Maude");
            prop_assert_ne!(alike(&worker(&own, "Anne", None), &asked), Alike::No);
            let asked = person(&typed, &spelled("anne", upper, mark));
            let born = Some("1988-03-09");
            prop_assert_eq!(alike(&worker(&own, "Anne", born), &asked), Alike::Person);
        }
    }
}
