//! Reads an exercise: the form first, then whether every name in it stands for something.
//!
//! In scope: all that can be wrong with a file, each with line and column. Out of scope: whether
//! its expectations are met, which only playing it shows.

use super::{
    events::events,
    file::{File, Name},
    moment::Moment,
    script::{Agency, Exercise, Fact, OVERSIGHT, PERSON, Person, Question, Worker},
};
use passerelle_model::{
    ids::{AgencyId, AgreementId, CaseId, ConsentId},
    statement::AgreementTerms,
};
use serde_saphyr::{Location, Spanned};
use std::collections::BTreeMap;

/// Largest file, in bytes.
pub const MAX_FILE_BYTES: usize = 256 * 1024;

/// Most agencies, people, workers and facts, each.
const MAX_CAST: usize = 64;

/// Most events.
const MAX_EVENTS: usize = 300;

/// Something wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Problem {
    /// Line, from 1; 0 when it concerns no place in particular.
    pub line: u64,
    /// Column, from 1; 0 when it concerns no place in particular.
    pub column: u64,
    /// What is wrong.
    pub reason: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.reason)
    }
}

/// Reads an exercise from the text of its file.
///
/// # Errors
/// Everything that is wrong with it, in the order of the file.
pub fn read(text: &str) -> Result<Exercise, Vec<Problem>> {
    if text.len() > MAX_FILE_BYTES {
        let reason = format!("larger than {MAX_FILE_BYTES} bytes");
        return Err(vec![Problem {
            line: 0,
            column: 0,
            reason,
        }]);
    }
    let file: File = serde_saphyr::from_str(text).map_err(|error| {
        let place = error.location();
        vec![Problem {
            line: place.map_or(0, |l| l.line()),
            column: place.map_or(0, |l| l.column()),
            reason: plain(&error),
        }]
    })?;
    let mut checker = Checker::default();
    let exercise = checker.file(file);
    if checker.problems.is_empty() {
        Ok(exercise)
    } else {
        checker.problems.sort();
        checker.problems.dedup();
        Err(checker.problems)
    }
}

/// The reader's own words on one line, without the place, which is told apart.
fn plain(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let cut = line.rfind(" at line ").or_else(|| line.rfind(" (line "));
    let line = cut.and_then(|end| line.get(..end)).unwrap_or(&line);
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// A case, who leads it, and whom the lead knows it to be about.
#[derive(Clone)]
pub(super) struct Opened {
    pub(super) case: CaseId,
    pub(super) lead: AgencyId,
    pub(super) person: Option<String>,
}

/// What is known so far, and what is wrong.
#[derive(Default)]
pub(super) struct Checker {
    pub(super) problems: Vec<Problem>,
    pub(super) agencies: BTreeMap<String, AgencyId>,
    pub(super) workers: BTreeMap<String, Worker>,
    pub(super) people: BTreeMap<String, Person>,
    pub(super) consents: BTreeMap<String, ConsentId>,
    pub(super) agreements: BTreeMap<String, (AgreementId, AgreementTerms)>,
    pub(super) cases: BTreeMap<String, Opened>,
    pub(super) questions: Vec<Question>,
    pub(super) rules_named: Vec<(String, u64, u64)>,
    pub(super) now: Option<Moment>,
}

impl Checker {
    pub(super) fn wrong(&mut self, at: Location, reason: impl Into<String>) {
        self.problems.push(Problem {
            line: at.line(),
            column: at.column(),
            reason: reason.into(),
        });
    }

    /// The thing that `name` stands for, or a problem that lists what there is.
    fn find<T: Clone>(
        problems: &mut Vec<Problem>,
        kind: &str,
        known: &BTreeMap<String, T>,
        name: &Name,
    ) -> Option<T> {
        let found = known.get(&name.value).cloned();
        if found.is_none() {
            let list = known.keys().map(String::as_str).collect::<Vec<_>>();
            let list = if list.is_empty() {
                "none so far".to_owned()
            } else {
                list.join(", ")
            };
            problems.push(Problem {
                line: name.referenced.line(),
                column: name.referenced.column(),
                reason: format!("unknown {kind} `{}`; known are: {list}", name.value),
            });
        }
        found
    }

    pub(super) fn agency(&mut self, name: &Name) -> Option<AgencyId> {
        Self::find(&mut self.problems, "agency", &self.agencies, name)
    }

    pub(super) fn agencies(&mut self, names: &[Name]) -> Vec<AgencyId> {
        names.iter().filter_map(|name| self.agency(name)).collect()
    }

    pub(super) fn worker(&mut self, name: &Name) -> Option<Worker> {
        Self::find(&mut self.problems, "worker", &self.workers, name)
    }

    pub(super) fn person(&mut self, name: &Name) -> Option<String> {
        Self::find(&mut self.problems, "person", &self.people, name).map(|_| name.value.clone())
    }

    pub(super) fn consent(&mut self, name: &Name) -> Option<ConsentId> {
        Self::find(&mut self.problems, "consent", &self.consents, name)
    }

    pub(super) fn agreement(&mut self, name: &Name) -> Option<(AgreementId, AgreementTerms)> {
        Self::find(&mut self.problems, "agreement", &self.agreements, name)
    }

    pub(super) fn case(&mut self, name: &Name) -> Option<Opened> {
        Self::find(&mut self.problems, "case", &self.cases, name)
    }

    pub(super) fn question(&mut self, name: &Name) -> Option<usize> {
        let numbers = self.questions.iter().enumerate();
        let known = numbers.map(|(n, q)| (q.id.clone(), n)).collect();
        Self::find(&mut self.problems, "question", &known, name)
    }

    /// A new name: of a fit form, and not taken.
    pub(super) fn fresh(&mut self, name: &Name, taken: bool) -> bool {
        let fits = is_name(&name.value);
        if !fits {
            let form = "1 to 40 lower-case letters, digits and inner hyphens";
            self.wrong(name.referenced, format!("not a fit name: expected {form}"));
        }
        if taken {
            self.wrong(name.referenced, format!("`{}` stands twice", name.value));
        }
        fits && !taken
    }

    fn file(&mut self, file: File) -> Exercise {
        let cast = [
            file.agencies.len(),
            file.workers.len(),
            file.people.len(),
            file.facts.len(),
        ];
        if cast.iter().any(|n| *n > MAX_CAST) {
            self.wrong(
                Location::UNKNOWN,
                format!("more than {MAX_CAST} agencies, workers, people or facts"),
            );
        }
        if file.events.is_empty() || file.events.len() > MAX_EVENTS {
            self.wrong(
                Location::UNKNOWN,
                format!("an exercise has 1 to {MAX_EVENTS} events"),
            );
        }
        let agencies = self.cast(&file);
        let facts = file
            .facts
            .iter()
            .filter_map(|fact| {
                let (holder, person) = (self.agency(&fact.holder), self.person(&fact.person));
                let code = fact.code.as_ref();
                if let Some(code) = code.filter(|code| !is_code(&code.value)) {
                    let form = "1 to 64 letters, digits, hyphens, dots, underscores or plus signs";
                    self.wrong(code.referenced, format!("not a code: expected {form}"));
                }
                Some(Fact {
                    holder: holder?,
                    person: person?,
                    category: fact.category,
                    code: code.map(|code| code.value.clone()),
                    record: fact.record,
                })
            })
            .collect();
        let events = events(self, file.events);
        Exercise {
            title: file.title,
            about: file.about,
            agencies,
            people: self.people.clone(),
            facts,
            events,
            questions: std::mem::take(&mut self.questions),
            discuss: file.discuss,
            rules_named: std::mem::take(&mut self.rules_named),
        }
    }

    fn cast(&mut self, file: &File) -> Vec<Agency> {
        let mut agencies = Vec::new();
        for (key, entry) in &file.agencies {
            let id = key.parse::<AgencyId>();
            if [PERSON, OVERSIGHT].contains(&key.as_str()) {
                self.wrong(
                    entry.referenced,
                    format!("an agency can't be called `{key}`"),
                );
            }
            match id {
                Ok(id) => {
                    self.agencies.insert(key.clone(), id.clone());
                    agencies.push(Agency {
                        id,
                        sector: entry.value.sector,
                        name: entry.value.name.clone(),
                        population: entry.value.population,
                    });
                }
                Err(error) => self.wrong(entry.referenced, format!("`{key}`: {error}")),
            }
        }
        for (key, entry) in &file.workers {
            self.named(key, entry);
            if let Some(agency) = self.agency(&entry.value.agency) {
                let worker = Worker {
                    agency,
                    role: entry.value.role,
                    trained: entry.value.trained,
                };
                self.workers.insert(key.clone(), worker);
            }
        }
        for (key, entry) in &file.people {
            self.named(key, entry);
            let name = entry.value.name.clone();
            if name.trim().is_empty() || name.chars().count() > 100 {
                self.wrong(entry.referenced, "a name has 1 to 100 characters");
            }
            let mut spelled = BTreeMap::new();
            for (agency, other) in &entry.value.spelled {
                let at = Spanned::new(agency.clone(), other.referenced, other.defined);
                if let Some(agency) = self.agency(&at) {
                    spelled.insert(agency, other.value.clone());
                }
            }
            let person = Person {
                name,
                spelled,
                about: entry.value.about.clone(),
            };
            self.people.insert(key.clone(), person);
        }
        agencies
    }

    fn named<T>(&mut self, key: &str, entry: &Spanned<T>) {
        if !is_name(key) {
            let form = "1 to 40 lower-case letters, digits and inner hyphens";
            self.wrong(
                entry.referenced,
                format!("`{key}` is not a fit name: expected {form}"),
            );
        }
    }
}

fn is_code(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._+".contains(&b);
    (1..=64).contains(&text.len()) && text.bytes().all(fits)
}

fn is_name(text: &str) -> bool {
    (1..=40).contains(&text.len())
        && text
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && !text.starts_with('-')
        && !text.ends_with('-')
}
