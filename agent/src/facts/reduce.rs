//! Reduction of facts to the level that was permitted (ARCHITECTURE: answer levels).
//!
//! In scope: what each level may carry, and the facts that follow from a person's own attributes.
//! Out of scope: who is permitted which level.

use super::fact::{Fact, FactKind, Sensitivity};
use crate::{
    date::Date,
    person::{Person, normalise_name},
    state::Weight,
};
use passerelle_model::vocabulary::{Category, Level};
use passerelle_policies::alike::Generalised;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A contact is withheld if it contains a longer code or text of the same fact. Shorter ones occur
/// in any sentence by chance.
const LEAST_LEAK_CHARS: usize = 3;

/// What crosses: never more than its level.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReducedFact {
    /// What it is about. That it is there says "known" (level 0).
    pub category: Category,
    /// The level to which it was reduced.
    pub level: Level,
    /// Level 1 up: whom to call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    /// Level 2 up: the quarter since which the person is involved, such as `2025-Q3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Level 3 up: a value from a code list, a band.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Level 3 up: fact or opinion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<FactKind>,
    /// Level 4: the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Level 4: when it was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<Date>,
    /// Told less finely than the level allows: too few people share what is on record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generalised: Option<Generalised>,
}

impl fmt::Debug for ReducedFact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReducedFact({}, {}, ..)", self.category, self.level)
    }
}

/// `fact` at `level`. Restricted content goes no further than the contact, whatever the level
/// (DATA, rule 22).
pub fn reduce(fact: &Fact, level: Level) -> ReducedFact {
    let level = if fact.restricted {
        level.min(Level::Contact)
    } else {
        level
    };
    let at = |least: Level| level >= least;
    ReducedFact {
        category: fact.category,
        level,
        contact: fact
            .contact
            .clone()
            .filter(|contact| at(Level::Contact) && !tells_more(contact, fact, level)),
        since: fact.since.filter(|_| at(Level::Involvement)).map(quarter),
        code: fact.code.clone().filter(|_| at(Level::Coded)),
        kind: Some(fact.kind).filter(|_| at(Level::Coded)),
        text: fact.text.clone().filter(|_| at(Level::Detail)),
        date: fact.date.filter(|_| at(Level::Detail)),
        generalised: None,
    }
}

/// All facts of `category` at `level`, sorted, equal ones once: below the level at which they
/// differ, not even their number is told.
pub fn reduce_all<'a>(
    facts: impl IntoIterator<Item = &'a Fact>,
    category: Category,
    level: Level,
) -> Vec<ReducedFact> {
    let mut reduced: Vec<_> = facts
        .into_iter()
        .filter(|f| f.category == category)
        .map(|f| reduce(f, level))
        .collect();
    reduced.sort();
    reduced.dedup();
    reduced
}

/// Whether `contact` repeats what only a higher level may tell, for instance a clinic's name that
/// spells out the diagnosis.
fn tells_more(contact: &str, fact: &Fact, level: Level) -> bool {
    let contact = normalise_name(contact);
    let higher = [(Level::Coded, &fact.code), (Level::Detail, &fact.text)];
    higher
        .into_iter()
        .filter(|(least, _)| level < *least)
        .filter_map(|(_, value)| value.as_deref().map(normalise_name))
        .any(|value| value.chars().count() >= LEAST_LEAK_CHARS && contact.contains(&value))
}

fn quarter(since: Date) -> String {
    format!("{}-Q{}", since.year(), since.quarter())
}

/// The age band on the day `at`, one of `0-11`, `12-14`, `15-17`, `18-24`, `25-44`, `45-64`,
/// `65+`; `None` if born later than that.
pub fn age_band(birth_date: Date, at: Date) -> Option<&'static str> {
    Some(match birth_date.years_until(at)? {
        0..=11 => "0-11",
        12..=14 => "12-14",
        15..=17 => "15-17",
        18..=24 => "18-24",
        25..=44 => "25-44",
        45..=64 => "45-64",
        _ => "65+",
    })
}

fn empty_coded(category: Category) -> Fact {
    let mut fact = Fact::empty(category);
    fact.sensitivity = Sensitivity::try_from(0).unwrap_or(Sensitivity::UNKNOWN);
    fact
}

fn empty_name() -> Fact {
    Fact::empty(Category::Name)
}

/// The flags of the facts that [`derived_facts`] makes in this category, if it makes any: known
/// without knowing the person.
pub fn derived_weight(category: Category) -> Option<Weight> {
    match category {
        Category::Name => Some(Weight::of(&empty_name())),
        Category::Gender | Category::AgeBand => Some(Weight::of(&empty_coded(category))),
        _ => None,
    }
}

/// The facts that follow from the person's attributes on the day `at`: gender and age band as
/// codes, the name as text. Risk factors come from the source as facts of their own.
pub fn derived_facts(person: &Person, at: Date) -> Vec<Fact> {
    let coded = |category, code: &str| {
        let mut fact = empty_coded(category);
        fact.code = Some(code.to_owned());
        fact
    };
    let mut name = empty_name();
    name.text = Some(format!("{} {}", person.given_name(), person.family_name()));
    let gender = person.sex().map(|s| coded(Category::Gender, s.code()));
    let band = age_band(person.birth_date(), at).map(|b| coded(Category::AgeBand, b));
    gender.into_iter().chain(band).chain([name]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::person::Sex;
    use proptest::prelude::*;

    fn date(text: &str) -> Date {
        text.parse().unwrap()
    }

    fn full() -> Fact {
        Fact {
            contact: Some("Nurse Amarok, 555-0142".into()),
            since: Some(date("2025-08-14")),
            code: Some("F32.1".into()),
            text: Some("moderate episode".into()),
            date: Some(date("2025-09-01")),
            ..Fact::empty(Category::Diagnosis)
        }
    }

    fn json(level: Level) -> serde_json::Value {
        serde_json::to_value(reduce(&full(), level)).unwrap()
    }

    #[test]
    fn each_level_adds_what_it_may_and_nothing_else() {
        use serde_json::json as j;
        let mut expected = j!({"category": "diagnosis", "level": "known"});
        assert_eq!(json(Level::Known), expected);
        expected["level"] = j!("contact");
        expected["contact"] = j!("Nurse Amarok, 555-0142");
        assert_eq!(json(Level::Contact), expected);
        expected["level"] = j!("involvement");
        expected["since"] = j!("2025-Q3");
        assert_eq!(json(Level::Involvement), expected);
        expected["level"] = j!("coded");
        expected["code"] = j!("F32.1");
        expected["kind"] = j!("fact");
        assert_eq!(json(Level::Coded), expected);
        expected["level"] = j!("detail");
        expected["text"] = j!("moderate episode");
        expected["date"] = j!("2025-09-01");
        assert_eq!(json(Level::Detail), expected);
    }

    #[test]
    fn restricted_content_goes_no_further_than_the_contact() {
        let fact = Fact {
            restricted: true,
            ..full()
        };
        assert_eq!(
            reduce(&fact, Level::Detail),
            reduce(&full(), Level::Contact)
        );
        assert_eq!(reduce(&fact, Level::Known), reduce(&full(), Level::Known));
    }

    #[test]
    fn a_contact_that_spells_out_the_diagnosis_is_withheld_below_its_level() {
        let fact = Fact {
            contact: Some("Clinique Dépression majeure".into()),
            code: Some("depression".into()),
            ..full()
        };
        assert_eq!(reduce(&fact, Level::Contact).contact, None);
        assert_eq!(reduce(&fact, Level::Involvement).contact, None);
        assert!(reduce(&fact, Level::Coded).contact.is_some());
    }

    #[test]
    fn the_number_of_records_is_not_told_below_the_level_at_which_they_differ() {
        let other = Fact {
            code: Some("F41.0".into()),
            text: None,
            ..full()
        };
        let unrelated = Fact::empty(Category::Medication);
        let facts = [full(), other, unrelated];
        let count = |level| reduce_all(&facts, Category::Diagnosis, level).len();
        assert_eq!(
            Level::ALL.iter().map(|l| count(*l)).collect::<Vec<_>>(),
            [1, 1, 1, 2, 2]
        );
    }

    #[test]
    fn age_bands_change_on_birthdays() {
        let at = date("2026-11-21");
        for (born, band) in [
            ("2026-11-21", Some("0-11")),
            ("2014-11-22", Some("0-11")),
            ("2014-11-21", Some("12-14")),
            ("2011-11-21", Some("15-17")),
            ("2008-11-22", Some("15-17")),
            ("2008-11-21", Some("18-24")),
            ("2001-11-21", Some("25-44")),
            ("1981-11-21", Some("45-64")),
            ("1961-11-21", Some("65+")),
            ("2026-11-22", None),
        ] {
            assert_eq!(age_band(date(born), at), band, "{born}");
        }
    }

    #[test]
    fn gender_and_age_band_follow_from_the_person() {
        let person = Person::new("Roy", "Léa", date("2009-05-02"), Some(Sex::Female)).unwrap();
        let facts = derived_facts(&person, date("2026-11-21"));
        let code = |category| {
            let found = facts.iter().find(|f| f.category == category);
            found.and_then(|f| f.code.as_deref())
        };
        assert_eq!(code(Category::Gender), Some("female"));
        assert_eq!(code(Category::AgeBand), Some("15-17"));
        let coded = reduce_all(&facts, Category::Name, Level::Coded);
        assert!(!serde_json::to_string(&coded).unwrap().contains("Roy"));
    }

    fn arbitrary_fact() -> impl Strategy<Value = Fact> {
        let word = "[a-z]{3,8}";
        let days = (2000_u16..2030, 1_u8..=12, 1_u8..=28);
        let day = days.prop_map(|(y, m, d)| Date::new(y, m, d).unwrap());
        (word, day.clone(), word, word, word, day, any::<[bool; 4]>()).prop_map(
            |(who, since, code, text, more, date, [leak_code, leak_text, restricted, opinion])| {
                // A contact that may quote the higher levels, in another spelling.
                let mut contact = format!("call {who}");
                if leak_code {
                    contact = format!("{contact} about {}", code.to_uppercase());
                }
                if leak_text {
                    contact = format!("{contact} re: {text} {more}");
                }
                Fact {
                    contact: Some(contact),
                    since: Some(since),
                    code: Some(code),
                    text: Some(format!("{text} {more}")),
                    date: Some(date),
                    kind: if opinion {
                        FactKind::Opinion
                    } else {
                        FactKind::Fact
                    },
                    restricted,
                    ..Fact::empty(Category::Diagnosis)
                }
            },
        )
    }

    proptest! {
        #[test]
        fn nothing_of_a_higher_level_crosses(fact in arbitrary_fact()) {
            for level in Level::ALL {
                let reduced = reduce(&fact, *level);
                prop_assert!(reduced.level <= *level);
                // Field names and level codes are not content.
                let content = [&reduced.contact, &reduced.since, &reduced.code, &reduced.text]
                    .into_iter()
                    .flatten()
                    .chain(&reduced.date.map(|d| d.to_string()))
                    .map(|s| s.to_lowercase())
                    .collect::<Vec<_>>()
                    .join("\n");
                let higher = [
                    (Level::Contact, fact.contact.clone()),
                    (Level::Detail, fact.since.map(|d| d.to_string())),
                    (Level::Coded, fact.code.clone()),
                    (Level::Detail, fact.text.clone()),
                    (Level::Detail, fact.date.map(|d| d.to_string())),
                ];
                for (least, value) in higher {
                    if reduced.level < least {
                        prop_assert!(!content.contains(&value.unwrap().to_lowercase()));
                    }
                }
                prop_assert_eq!(reduced.kind.is_some(), reduced.level >= Level::Coded);
            }
        }

        #[test]
        fn the_day_of_since_never_crosses(fact in arbitrary_fact()) {
            for level in Level::ALL {
                let since = reduce(&fact, *level).since;
                prop_assert!(since.is_none_or(|s| s.len() == 7));
            }
        }
    }
}
