//! What a question asks for, rests on and is expected to come to, and whose records answer it.
//!
//! In scope: the parts of a question's event. Out of scope: the question as a statement (`events`).

use super::{
    check::Checker,
    file::{AskEvent, ExpectEntry, ItemEntry},
    script::Expected,
};
use crate::rule::parse_obligations;
use passerelle_model::{
    ids::AgencyId,
    statement::{Item, MAX_ITEMS, Reliance},
};
use serde_saphyr::Spanned;
use std::collections::BTreeSet;

/// Whose records the holder finds, by the spelling of whoever asks, and by another one.
pub(super) fn found(
    checker: &Checker,
    person: Option<&str>,
    asks: &AgencyId,
    holder: &AgencyId,
) -> (Option<String>, Option<String>) {
    let Some(name) = person else {
        return (None, None);
    };
    let entry = checker.people.get(name);
    let spelled = |agency| entry.map(|p| p.spelled.get(agency).unwrap_or(&p.name));
    match spelled(asks) == spelled(holder) {
        true => (Some(name.to_owned()), None),
        false => (None, Some(name.to_owned())),
    }
}

pub(super) fn reliance(checker: &mut Checker, event: &AskEvent) -> Option<Option<Reliance>> {
    Some(match (&event.consent, &event.agreement) {
        (None, None) => None,
        (Some(consent), None) => Some(Reliance::Consent(checker.consent(consent)?)),
        (None, Some(named)) => Some(Reliance::Agreement(checker.agreement(named)?.0)),
        (Some(consent), Some(_)) => {
            let reason = "a question relies on a consent or on an agreement, not on both";
            checker.wrong(consent.referenced, reason);
            return None;
        }
    })
}

pub(super) fn items(checker: &mut Checker, event: &AskEvent) -> Vec<Item> {
    let items: Vec<_> = event
        .items
        .iter()
        .map(|i| Item {
            category: i.category,
            level: i.level,
        })
        .collect();
    let categories: BTreeSet<_> = items.iter().map(|i| i.category).collect();
    if categories.len() != items.len() || !(1..=MAX_ITEMS).contains(&items.len()) {
        let reason = format!("a question asks for 1 to {MAX_ITEMS} items, each category once");
        checker.wrong(event.id.referenced, reason);
    }
    items
}

/// The expectations beside the items.
pub(super) fn expect(checker: &mut Checker, event: &AskEvent) -> Vec<Option<Expected>> {
    for (category, entry) in &event.expect {
        if !event.items.iter().any(|i| i.category == *category) {
            let reason = format!("`{category}` is expected but not asked for");
            checker.wrong(entry.referenced, reason);
        }
    }
    let of = |item: &ItemEntry| event.expect.get(&item.category);
    let entries: Vec<_> = event.items.iter().map(of).collect();
    entries
        .into_iter()
        .map(|entry| entry.map(|entry| expected(checker, entry)))
        .collect()
}

fn expected(checker: &mut Checker, entry: &Spanned<ExpectEntry>) -> Expected {
    let place = entry.referenced;
    for rule in entry.value.rules.iter().flatten() {
        let named = (rule.clone(), place.line(), place.column());
        checker.rules_named.push(named);
    }
    let obligations = entry.value.obligations.as_deref().map(|list| {
        if list.is_empty() {
            return BTreeSet::new();
        }
        match parse_obligations(list) {
            Ok(obligations) => obligations.into_iter().collect(),
            Err(reason) => {
                checker.wrong(place, reason);
                BTreeSet::new()
            }
        }
    });
    Expected {
        decision: entry.value.decision,
        rules: entry
            .value
            .rules
            .as_ref()
            .map(|r| r.iter().cloned().collect()),
        said: entry.value.said,
        obligations,
    }
}
