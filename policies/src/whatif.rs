//! "What could I get, and what is missing?": what would have to be otherwise for a denied item to
//! be permitted, or put before a person.
//!
//! In scope: concrete evaluations. The decision point is asked again with one fact changed, then
//! two, then three, and the smallest sets that turn the denial are told. So nothing is told that
//! would not hold, and nothing that is not needed. Out of scope: whether a change is wise, or
//! whether the person would agree.
//!
//! # What is never proposed
//! - To ask somebody again who has withdrawn: a withdrawal wins, and no page is to say that asking
//!   again gets round it.
//! - Another basis in law than the one stated, except the person's consent: which law applies is
//!   for people to say, and trying one after the other is not how it is found.
//! - An agency that is out of a case back into it: a return is a new case.

mod change;
mod overview;
mod words;

pub use change::Change;
pub use overview::{Outlook, is_held, outlook, survey};

use passerelle_model::pdp::{Effect, Matter, PolicyDecisionPoint, Ruling};

/// Most changes in one remedy: what needs more is another situation.
pub const MAX_CHANGES: usize = 3;

/// Most remedies that are told.
pub const MAX_REMEDIES: usize = 8;

/// A smallest set of changes that turns a denial.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Remedy {
    /// What would have to be otherwise, all of it.
    pub changes: Vec<Change>,
    /// What would be decided then: permit or review, never deny.
    pub effect: Effect,
    /// By which ruling.
    pub ruling: Ruling,
}

impl Remedy {
    /// The matter with every change made.
    pub fn apply(&self, matter: &Matter) -> Matter {
        applied(&self.changes, matter)
    }
}

fn applied(changes: &[Change], matter: &Matter) -> Matter {
    let mut matter = matter.clone();
    for change in changes {
        change.apply(&mut matter);
    }
    matter
}

/// What would turn the denial of `matter`: the smallest sets, fewest changes first. Empty if it is
/// not denied, or if nothing that can be proposed turns it.
pub fn what_is_missing(pdp: &dyn PolicyDecisionPoint, matter: &Matter) -> Vec<Remedy> {
    if pdp.rule(matter).effect != Effect::Deny || matter.purpose.is_prohibited() {
        return Vec::new();
    }
    let possible = Change::possible(matter);
    let mut found: Vec<Remedy> = Vec::new();
    // Every set that opens, told or not: no larger one is needed.
    let mut open: Vec<Vec<Change>> = Vec::new();
    let mut sets: Vec<Vec<usize>> = vec![Vec::new()];
    for size in 1..=MAX_CHANGES {
        // Three changes are told of only where fewer do not help.
        if size == MAX_CHANGES && !found.is_empty() {
            break;
        }
        let mut longer = Vec::new();
        for set in sets.iter().flat_map(|set| one_longer(set, possible.len())) {
            let changes = set.iter().filter_map(|n| possible.get(*n)).cloned();
            let changes: Vec<_> = changes.collect();
            // Two answers to one question, or more than is needed.
            if exclude_each_other(&changes) || open.iter().any(|part| is_part(part, &changes)) {
                continue;
            }
            let ruling = pdp.rule(&applied(&changes, matter));
            if ruling.effect == Effect::Deny {
                longer.push(set);
                continue;
            }
            open.push(changes.clone());
            if !found.iter().any(|f| is_less(&f.changes, &changes)) {
                let effect = ruling.effect;
                found.push(Remedy {
                    changes,
                    effect,
                    ruling,
                });
            }
        }
        sets = longer;
    }
    found.truncate(MAX_REMEDIES);
    found
}

/// The sets of one more, each once.
fn one_longer(set: &[usize], of: usize) -> impl Iterator<Item = Vec<usize>> + use<> {
    let set = set.to_vec();
    let from = set.last().map_or(0, |last| last + 1);
    (from..of).map(move |next| [set.as_slice(), &[next]].concat())
}

fn exclude_each_other(changes: &[Change]) -> bool {
    changes.iter().enumerate().any(|(n, one)| {
        let mut rest = changes.iter().skip(n + 1);
        rest.any(|other| one.excludes(other))
    })
}

fn is_part(part: &[Change], whole: &[Change]) -> bool {
    part.iter().all(|change| whole.contains(change))
}

/// Whether `found` asks for no more than `changes` does, where both change the same things: the
/// higher level, the earlier stage.
fn is_less(found: &[Change], changes: &[Change]) -> bool {
    found.len() == changes.len()
        && found
            .iter()
            .all(|one| changes.iter().any(|other| one.asks_no_more_than(other)))
}

#[cfg(test)]
mod tests;
