//! What the answers to the questions say of each check.
//!
//! In scope: judging, in words. Out of scope: the questions.

use crate::{
    check::{About, CONFLICTS, Check, Failing, Found, Job, NO_DEAD, NO_ERROR, Told},
    invariants::{Invariant, Ledger, Words, action_of},
};
use passerelle_policies::Library;
use std::collections::{BTreeMap, BTreeSet};

pub(crate) type Answers<'a> = [(&'a Job, Found)];

fn undecided(action: &str, reason: &str) -> Failing {
    failing(
        "undecided",
        format!("`{action}`: not decided ({reason}), so not proved"),
        format!("`{action}`\u{a0}: non tranché ({reason}), donc non prouvé"),
    )
}

fn failing(kind: &'static str, en: String, fr: String) -> Failing {
    Failing {
        says: Told {
            kind,
            words: Words::new(en, fr),
        },
        story: None,
    }
}

pub(crate) fn invariant(invariant: &Invariant, answers: &Answers<'_>) -> Check {
    let mut against = Vec::new();
    for (job, found) in answers {
        let action = action_of(&job.env);
        match (&job.about, found) {
            (About::Held(id), Found::Refuted(story)) if *id == invariant.id => {
                let mut failing = failing(
                    "refuted",
                    format!("the rules allow what must never be (`{action}`)"),
                    format!("les règles permettent ce qui ne doit jamais être (`{action}`)"),
                );
                failing.story = story.as_deref().cloned();
                against.push(failing);
            }
            // The solver finds no request that could break it: a slip in the invariant, or a
            // solver that agrees with everything.
            (About::Breakable(id), Found::Holds) if *id == invariant.id => against.push(failing(
                "says_nothing",
                format!("`{action}`: no request could break this invariant, so it says nothing"),
                format!(
                    "`{action}`\u{a0}: aucune demande ne pourrait enfreindre cet invariant; il ne \
                     dit donc rien"
                ),
            )),
            (About::Held(id) | About::Breakable(id), Found::Undecided(reason))
                if *id == invariant.id =>
            {
                against.push(undecided(action, reason));
            }
            _ => {}
        }
    }
    Check {
        id: invariant.id.clone(),
        title: invariant.title.clone(),
        failing: against,
    }
}

pub(crate) fn errors(answers: &Answers<'_>) -> Check {
    let mut against = Vec::new();
    for (job, found) in answers {
        let About::Fails(rule) = &job.about else {
            continue;
        };
        match found {
            Found::Holds => {}
            Found::Refuted(_) => against.push(failing(
                "refuted",
                format!("rule `{rule}` can fail, and a rule that fails is silent"),
                format!("la règle `{rule}` peut échouer, et une règle qui échoue se tait"),
            )),
            Found::Undecided(reason) => against.push(undecided(rule, reason)),
        }
    }
    Check {
        id: NO_ERROR.to_owned(),
        title: Words::new(
            "no rule can fail on any request",
            "aucune règle ne peut échouer, quelle que soit la demande",
        ),
        failing: against,
    }
}

pub(crate) fn dead(library: &Library, ledger: &mut Ledger, answers: &Answers<'_>) -> Check {
    let mut fires: BTreeMap<&str, (bool, Option<&str>)> = BTreeMap::new();
    for (job, found) in answers {
        if let About::Fires(rule) = &job.about {
            let entry = fires.entry(rule).or_default();
            match found {
                Found::Refuted(_) => entry.0 = true,
                Found::Undecided(reason) => entry.1 = Some(reason),
                Found::Holds => {}
            }
        }
    }
    let mut against = Vec::new();
    for (rule, (alive, reason)) in &fires {
        let excused = ledger.dead.contains_key(*rule);
        match (alive, reason, excused) {
            (true, _, true) => against.push(failing(
                "no_longer",
                format!("rule `{rule}` can fire; the ledger says that it can't"),
                format!("la règle `{rule}` peut jouer; le registre dit que non"),
            )),
            (true, _, false) | (false, None, true) => {}
            (false, Some(reason), _) => against.push(undecided(rule, reason)),
            (false, None, false) => against.push(failing(
                "dead",
                format!("rule `{rule}` can never fire"),
                format!("la règle `{rule}` ne peut jamais jouer"),
            )),
        }
    }
    for rule in ledger
        .dead
        .keys()
        .filter(|r| !library.rules().contains_key(*r))
    {
        against.push(failing(
            "no_longer",
            format!("the ledger names rule `{rule}`, which is not there"),
            format!("le registre nomme la règle `{rule}`, qui n'existe pas"),
        ));
    }
    ledger
        .dead
        .retain(|rule, _| matches!(fires.get(rule.as_str()), Some((false, _))));
    Check {
        id: NO_DEAD.to_owned(),
        title: Words::new(
            "every rule can fire, but for the exceptions in the ledger",
            "toute règle peut jouer, sauf les exceptions du registre",
        ),
        failing: against,
    }
}

pub(crate) fn conflicts(ledger: &mut Ledger, answers: &Answers<'_>) -> Check {
    let mut found_now: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut against = Vec::new();
    for (job, found) in answers {
        let About::Overrules(permit, forbid) = &job.about else {
            continue;
        };
        let known = found_now.entry(permit.clone()).or_default();
        match found {
            Found::Holds => {}
            Found::Refuted(_) => {
                known.insert(forbid.clone());
            }
            Found::Undecided(reason) => {
                against.push(undecided(&format!("{permit} / {forbid}"), reason));
            }
        }
    }
    let none = BTreeSet::new();
    for (permit, forbids) in &found_now {
        let listed = ledger.conflicts.get(permit).unwrap_or(&none);
        against.extend(forbids.difference(listed).map(|forbid| {
            failing(
                "not_listed",
                format!("`{forbid}` may overrule `{permit}`, which the ledger does not list"),
                format!("`{forbid}` peut l'emporter sur `{permit}`, ce que le registre ne dit pas"),
            )
        }));
    }
    for (permit, forbids) in &ledger.conflicts {
        let now = found_now.get(permit).unwrap_or(&none);
        against.extend(forbids.difference(now).map(|forbid| {
            failing(
                "no_longer",
                format!("the ledger lists `{forbid}` over `{permit}`, which is not so any more"),
                format!("le registre place `{forbid}` au-dessus de `{permit}`, ce qui n'est plus"),
            )
        }));
    }
    ledger.conflicts = found_now;
    Check {
        id: CONFLICTS.to_owned(),
        title: Words::new(
            "forbids overrule permits exactly where the ledger says so",
            "les interdictions l'emportent sur les autorisations là où le registre le dit, et là \
             seulement",
        ),
        failing: against,
    }
}
