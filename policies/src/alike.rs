//! Whether what a table is told of somebody at stage 2 says who it is, and what is told instead.
//!
//! In scope: the codes that are told (gender, age band, risk factors), how many people share them,
//! the steps by which they are told less finely. Pure: who is counted comes in from outside.
//! Out of scope: whether they may be told at all (the rules); reading records (crate `agent`).
//!
//! In a small town a band of age, a gender and two codes are a name (decision 0021). Two things are
//! known of how many people share them: how many of the agency's own people do, which is never more
//! than really do; and, if the agency states how many people live where it works, about how many of
//! these there must be. The larger of the two counts. Who states nothing is in a small town.

use passerelle_model::vocabulary::{Category, Language, labels};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Fewer people than this who share all that is told could be told apart. An agency may ask for
/// more, never for fewer: the number of a report's cells (DATA, rule 30), a choice of this design.
pub const LEAST_ALIKE: u64 = 10;
/// The most that an agency may ask for.
pub const MOST_ALIKE: u64 = 10_000;
/// The most people who live anywhere.
pub const MAX_POPULATION: u64 = 100_000_000;

/// Each risk factor leaves about one in so many of those who share the rest: a choice of this
/// design, on the safe side of what surveys say of common ones.
const FACTOR_LEAVES_ONE_IN: u64 = 10;
/// A group of factors leaves more.
const GROUP_LEAVES_ONE_IN: u64 = 3;

/// Bands of age: the wider band, and how many of a thousand people are at least in the band. Rounded
/// down from Canada's census of 2021; the wider band's is the sum.
const BANDS: [(&str, &str, u64); 7] = [
    ("0-11", "0-17", 120),
    ("12-14", "0-17", 32),
    ("15-17", "0-17", 32),
    ("18-24", "18-44", 80),
    ("25-44", "18-44", 250),
    ("45-64", "45+", 250),
    ("65+", "45+", 150),
];

/// Risk factors by group (DATA, the four filters).
const GROUPS: [(&str, &[&str]); 6] = [
    ("substances_or_gambling", &["alcohol", "drugs", "gambling"]),
    (
        "behaviour_or_crime",
        &[
            "antisocial_behaviour",
            "criminal_involvement",
            "gangs",
            "negative_peers",
            "threat_to_public_safety",
        ],
    ),
    (
        "health_or_self",
        &[
            "mental_health",
            "cognition",
            "self_harm",
            "suicide",
            "physical_health",
        ],
    ),
    (
        "violence_or_harm",
        &[
            "emotional_violence",
            "physical_violence",
            "sexual_violence",
            "elder_abuse",
            "victimisation",
        ],
    ),
    (
        "livelihood",
        &["basic_needs", "housing", "poverty", "unemployment"],
    ),
    (
        "family_or_surroundings",
        &[
            "parenting",
            "supervision",
            "missing",
            "missing_school",
            "social_environment",
        ],
    ),
];

/// The codes known of a person, by category; of other categories nothing is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details(BTreeSet<(Category, String)>);

impl Details {
    /// Adds a code, unless nobody is told such at stage 2.
    pub fn add(&mut self, category: Category, code: &str) {
        if is_counted(category) {
            self.0.insert((category, code.to_owned()));
        }
    }

    /// The categories in which something is known.
    pub fn categories(&self) -> BTreeSet<Category> {
        self.0.iter().map(|(category, _)| *category).collect()
    }

    /// How what is known in `category` is told less finely at `step`; none if it is not.
    pub fn generalised(&self, step: Step, category: Category) -> Option<Generalised> {
        let known = self.0.iter().filter(|(c, _)| *c == category);
        known
            .filter_map(|(_, code)| step.tell(category, code).1)
            .max()
    }

    fn told(&self, step: Step) -> BTreeSet<(Category, String)> {
        let told = |(category, code): &(Category, String)| {
            Some((*category, step.tell(*category, code).0?))
        };
        self.0.iter().filter_map(told).collect()
    }
}

/// Whether a category is told at stage 2.
pub const fn is_counted(category: Category) -> bool {
    matches!(
        category,
        Category::Gender | Category::AgeBand | Category::RiskFactors
    )
}

/// How a code was told less finely.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Generalised {
    /// A wider band of age.
    WiderBand,
    /// The group of a risk factor.
    Group,
    /// Not at all.
    Withheld,
}

impl Generalised {
    /// The code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::WiderBand => "wider_band",
            Self::Group => "group",
            Self::Withheld => "withheld",
        }
    }
}

/// What is told in place of what is known in each category, on one line.
pub fn told_instead(told: &BTreeMap<Category, Generalised>, language: Language) -> String {
    let one = |(category, how): (&Category, &Generalised)| {
        let what = labels::category(*category, language);
        match (how, language == Language::French) {
            (Generalised::WiderBand, false) => format!("{what}: a wider band"),
            (Generalised::WiderBand, true) => format!("{what} : plus large"),
            (Generalised::Group, false) => format!("{what}: their groups"),
            (Generalised::Group, true) => format!("{what} : leurs groupes"),
            (Generalised::Withheld, false) => format!("{what}: nothing"),
            (Generalised::Withheld, true) => format!("{what} : rien"),
        }
    };
    let all: Vec<_> = told.iter().map(one).collect();
    all.join("; ")
}

/// How finely is told: each step keeps what the ones before it took away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// As it is on record.
    AsRecorded,
    /// A wider band of age.
    WiderAge,
    /// Also the groups of the risk factors, in place of the factors.
    FactorGroups,
    /// Also no gender.
    NoGender,
    /// Also no age.
    NoAge,
    /// Nothing: it can't be said without saying who it is.
    Nothing,
}

impl Step {
    /// All, the finest first.
    pub const ALL: [Self; 6] = [
        Self::AsRecorded,
        Self::WiderAge,
        Self::FactorGroups,
        Self::NoGender,
        Self::NoAge,
        Self::Nothing,
    ];

    /// What is told for `code`, and how that is less fine.
    pub fn tell(self, category: Category, code: &str) -> (Option<String>, Option<Generalised>) {
        let instead = |told: Option<&str>, how| match told {
            Some(told) => (Some(told.to_owned()), Some(how)),
            // What is in no list may be anything, a village among them.
            None => (None, Some(Generalised::Withheld)),
        };
        let withheld = (None, Some(Generalised::Withheld));
        match category {
            Category::AgeBand if self >= Self::NoAge => withheld,
            Category::AgeBand if self >= Self::WiderAge => {
                instead(wider_band(code), Generalised::WiderBand)
            }
            Category::Gender if self >= Self::NoGender => withheld,
            Category::RiskFactors if self >= Self::Nothing => withheld,
            Category::RiskFactors if self >= Self::FactorGroups => {
                instead(group(code), Generalised::Group)
            }
            _ => (Some(code.to_owned()), None),
        }
    }
}

fn wider_band(code: &str) -> Option<&'static str> {
    let mut bands = BANDS.iter();
    bands
        .find(|(band, ..)| *band == code)
        .map(|(_, wider, _)| *wider)
}

fn group(code: &str) -> Option<&'static str> {
    let mut groups = GROUPS.iter();
    let found = groups.find(|(_, factors)| factors.contains(&code));
    found.map(|(group, _)| *group)
}

/// Where an agency works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Town {
    /// How many people live there, if the agency says so.
    pub population: Option<u64>,
    /// Fewer than this who share what is told are too few.
    pub least: u64,
}

impl Town {
    /// About how many people there share all that is told; 0 if that can't be known.
    fn share(&self, told: &BTreeSet<(Category, String)>) -> u64 {
        let Some(mut people) = self.population else {
            return 0;
        };
        let of = |category| told.iter().filter(move |(c, _)| *c == category);
        if of(Category::AgeBand).count() > 1 || of(Category::Gender).count() > 1 {
            return 0;
        }
        for (category, code) in told {
            people = match category {
                Category::AgeBand => people.saturating_mul(per_thousand(code)) / 1_000,
                Category::Gender if matches!(code.as_str(), "female" | "male") => people / 2,
                Category::RiskFactors if is_group(code) => people / GROUP_LEAVES_ONE_IN,
                Category::RiskFactors => people / FACTOR_LEAVES_ONE_IN,
                _ => 0,
            };
        }
        people
    }
}

fn per_thousand(band: &str) -> u64 {
    let fits = |(narrow, wide, _): &&(&str, &str, u64)| *narrow == band || *wide == band;
    BANDS.iter().filter(fits).map(|(.., share)| share).sum()
}

fn is_group(code: &str) -> bool {
    GROUPS.iter().any(|(group, _)| *group == code)
}

/// The people who share what would be told of one, at each step.
#[derive(Clone, Debug)]
pub struct Crowd {
    told: BTreeMap<Step, (BTreeSet<(Category, String)>, u64)>,
}

impl Crowd {
    /// Around the person with these details: all that is known of her or him, whatever is asked.
    /// Who asks for one detail after the other learns no more than who asks for all at once.
    pub fn around(details: &Details) -> Self {
        let told = Step::ALL.map(|step| (step, (details.told(step), 0)));
        Self {
            told: told.into_iter().collect(),
        }
    }

    /// Counts one more person, the one in the middle among them.
    pub fn meet(&mut self, other: &Details) {
        for (step, (told, alike)) in &mut self.told {
            if told.is_subset(&other.told(*step)) {
                *alike = alike.saturating_add(1);
            }
        }
    }

    /// Whether counting more people changes nothing.
    pub fn is_settled(&self, town: &Town) -> bool {
        self.step(town) == Step::AsRecorded
    }

    /// How finely may be told.
    pub fn step(&self, town: &Town) -> Step {
        let enough = |(_, (told, alike)): &(&Step, &(BTreeSet<_>, u64))| {
            (*alike).max(town.share(told)) >= town.least
        };
        let step = self.told.iter().find(enough).map(|(step, _)| *step);
        step.unwrap_or(Step::Nothing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn details(codes: &[&str]) -> Details {
        let mut details = Details::default();
        for code in codes {
            let category = match *code {
                "female" | "male" | "another" => Category::Gender,
                band if band.contains('-') || band.ends_with('+') => Category::AgeBand,
                _ => Category::RiskFactors,
            };
            details.add(category, code);
        }
        details
    }

    const fn town(population: Option<u64>) -> Town {
        Town {
            population,
            least: LEAST_ALIKE,
        }
    }

    fn step(codes: &[&str], others: &[(&[&str], usize)], population: Option<u64>) -> Step {
        let mut crowd = Crowd::around(&details(codes));
        for (codes, times) in others {
            (0..*times).for_each(|_| crowd.meet(&details(codes)));
        }
        crowd.step(&town(population))
    }

    const GIRL: &[&str] = &["female", "15-17", "suicide"];

    #[test]
    fn who_states_nothing_is_in_a_small_town() {
        assert_eq!(step(GIRL, &[], None), Step::Nothing);
        assert_eq!(step(GIRL, &[(GIRL, 9)], None), Step::Nothing);
        assert_eq!(step(GIRL, &[(GIRL, 10)], None), Step::AsRecorded);
    }

    #[test]
    fn the_smaller_the_town_the_less_is_told() {
        for (population, expected) in [
            (100_000, Step::AsRecorded),
            (7_000, Step::AsRecorded),
            (6_000, Step::WiderAge),
            (900, Step::FactorGroups),
            (300, Step::NoGender),
            (100, Step::NoAge),
            (29, Step::Nothing),
            (0, Step::Nothing),
        ] {
            assert_eq!(step(GIRL, &[], Some(population)), expected, "{population}");
        }
    }

    #[test]
    fn own_people_who_share_the_coarser_details_count_for_these_alone() {
        let alike: &[&str] = &["female", "12-14", "suicide"];
        assert_eq!(step(GIRL, &[(alike, 10)], None), Step::WiderAge);
        let alike: &[&str] = &["female", "12-14", "self_harm", "housing"];
        assert_eq!(step(GIRL, &[(alike, 10)], None), Step::FactorGroups);
        let boys: &[&str] = &["male", "12-14", "self_harm"];
        assert_eq!(step(GIRL, &[(boys, 10)], None), Step::NoGender);
        let adults: &[&str] = &["male", "45-64", "self_harm"];
        assert_eq!(step(GIRL, &[(adults, 10)], None), Step::NoAge);
        let others: &[&str] = &["female", "15-17", "housing"];
        assert_eq!(step(GIRL, &[(others, 100)], None), Step::Nothing);
    }

    #[test]
    fn what_is_in_no_list_is_withheld_before_it_is_guessed() {
        let (told, how) = Step::WiderAge.tell(Category::AgeBand, "sixteen");
        assert_eq!((told, how), (None, Some(Generalised::Withheld)));
        let (told, how) = Step::FactorGroups.tell(Category::RiskFactors, "mill-closure");
        assert_eq!((told, how), (None, Some(Generalised::Withheld)));
        // A gender that few have is never estimated.
        let codes: &[&str] = &["another", "25-44"];
        assert_eq!(step(codes, &[], Some(100_000)), Step::NoGender);
    }

    #[test]
    fn each_factor_is_in_one_group_and_no_group_is_a_factor() {
        let factors: Vec<_> = GROUPS.iter().flat_map(|(_, factors)| *factors).collect();
        let distinct: BTreeSet<_> = factors.iter().collect();
        assert_eq!((factors.len(), distinct.len()), (27, 27));
        assert!(GROUPS.iter().all(|(name, _)| group(name).is_none()));
        assert!(BANDS.iter().all(|(_, wide, _)| wider_band(wide).is_none()));
    }

    fn anybody() -> impl Strategy<Value = Details> {
        let gender = prop::sample::select(vec!["female", "male", "another"]);
        let band = prop::sample::select(BANDS.map(|(band, ..)| band).to_vec());
        let factor = prop::sample::select(vec!["suicide", "self_harm", "housing", "made-up"]);
        let factors = prop::collection::vec(factor, 0..3);
        (gender, band, factors).prop_map(|(gender, band, factors)| {
            let mut found = details(&[gender, band]);
            for factor in factors {
                found.add(Category::RiskFactors, factor);
            }
            found
        })
    }

    proptest! {
        /// What is told, by whatever step is chosen, fits enough people, or nobody is told.
        #[test]
        fn what_is_told_fits_enough_people(
            people in prop::collection::vec(anybody(), 1..60),
            least in 10_u64..20,
        ) {
            let (first, town) = (&people[0], Town { population: None, least });
            let mut crowd = Crowd::around(first);
            people.iter().for_each(|other| crowd.meet(other));
            let step = crowd.step(&town);
            let told = first.told(step);
            let fits = |p: &&Details| told.is_subset(&p.told(step));
            let alike = people.iter().filter(fits).count() as u64;
            prop_assert!(alike >= least || step == Step::Nothing);
        }

        /// A coarser step never tells what a finer one keeps back.
        #[test]
        fn steps_only_take_away(person in anybody()) {
            for pair in Step::ALL.windows(2) {
                let (fine, coarse) = (person.told(pair[0]), person.told(pair[1]));
                prop_assert!(coarse.len() <= fine.len());
            }
        }
    }
}
