//! The agency's own policy on what a permit allows: the second key.
//!
//! In scope: the facts that would answer, the policy on each, their reduction, and whether a
//! person looks first whoever it is about (promise 9).
//! Out of scope: the permit ([`crate::verify`]), the answer ([`crate::holder`]).

use crate::{
    alike,
    context::Context,
    facts::{
        csv_import::ImportedPerson,
        fact::Fact,
        reduce::{ReducedFact, derived_facts, derived_weight, reduce_all},
    },
    holder::storage,
    rights::Refusal,
    state::{self, Weight, key},
    verify::CheckedPermit,
};
use passerelle_model::{
    error::ErrorCode,
    records::Agency,
    seeded::{Bug, seeded},
    statement::Item,
    store::Read,
    time::Timestamp,
    vocabulary::{LegalBasis, Level, Outcome, Purpose},
};
use passerelle_policies::{LocalMatter, RecordFacts, local};
use passerelle_proto::views::AnswerItem;

/// The facts of these records that the permit is about, and no others.
fn read_facts(checked: &CheckedPermit, records: &[ImportedPerson], now: Timestamp) -> Vec<Fact> {
    let today = crate::date::Date::of(now);
    let is_permitted = |fact: &Fact| {
        let mut items = checked.permit().items.iter();
        items.any(|item| item.category == fact.category)
    };
    records
        .iter()
        .flat_map(|row| {
            let derived = today.map(|at| derived_facts(&row.person, at));
            let own = row.facts.iter().cloned();
            own.chain(derived.into_iter().flatten())
        })
        .filter(is_permitted)
        .collect()
}

/// Whether the agency's own policy wants a person to look before such a request is answered, for
/// any flags that a record in the category ever had here, whoever it is about.
///
/// If it were for the record that was found, an answer that takes hours would say that there is
/// one, and one that comes at once that there is none (promise 9).
pub(crate) fn a_person_looks_first(
    context: &Context,
    view: &dyn Read,
    checked: &CheckedPermit,
    requester: &Agency,
) -> Result<bool, ErrorCode> {
    let index = context.vault.index()?;
    for item in &checked.permit().items {
        let mut seen = state::wary(view, item.category).map_err(storage)?;
        for weight in all_weights() {
            let mark = key::of(key::MARK, &index.weight(item.category, weight).0);
            if view.get(&mark).map_err(storage)?.is_some() {
                seen.insert(weight);
            }
        }
        for weight in seen.into_iter().chain(derived_weight(item.category)) {
            let ruling = rule_weight(context, checked, item, weight, requester, false);
            if ruling.verdict == local::Verdict::Review {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// All flags that a fact can have.
fn all_weights() -> impl Iterator<Item = Weight> {
    (0..64_u8).map(|n| Weight {
        specially_protected: n & 1 != 0,
        youth_record: n & 2 != 0,
        third_party_at_risk: n & 4 != 0,
        restricted: n & 8 != 0,
        sensitivity: n >> 4,
    })
}

/// What this agency does, with the ids of the local rules that say so.
pub(crate) struct Ruling {
    pub(crate) outcome: Outcome,
    pub(crate) items: Vec<AnswerItem>,
    pub(crate) rules: Vec<String>,
    /// Of a person's own request that is declined: why, as the person is told.
    pub(crate) refusal: Option<Refusal>,
}

impl Ruling {
    /// Without facts, by `rule`.
    pub(crate) fn silent(outcome: Outcome, rule: &str) -> Self {
        Self {
            outcome,
            items: Vec::new(),
            rules: vec![rule.to_owned()],
            refusal: None,
        }
    }
}

/// The agency's own policy on every fact that would answer; `None` if a person has to look first.
pub(crate) fn rule(
    context: &Context,
    view: &dyn Read,
    checked: &CheckedPermit,
    records: &[ImportedPerson],
    requester: &Agency,
    approved: bool,
    now: Timestamp,
) -> Result<Option<Ruling>, ErrorCode> {
    let facts = read_facts(checked, records, now);
    // Nobody is named: what is told must not name anybody either.
    let step = match checked.subject() {
        None => Some(alike::step(context, view, records, now)?),
        Some(_) => None,
    };
    let mut rules = Vec::new();
    let mut verdicts = Vec::new();
    let mut items = Vec::new();
    for item in &checked.permit().items {
        let mut released = Vec::new();
        for fact in facts.iter().filter(|f| f.category == item.category) {
            let weight = Weight::of(fact);
            let ruling = rule_weight(context, checked, item, weight, requester, approved);
            if ruling.verdict == local::Verdict::Release {
                released.push(fact);
            }
            rules.extend(ruling.rules);
            verdicts.push(ruling.verdict);
        }
        let mut reduced = reduce_all(released, item.category, item.level);
        if let Some(step) = step {
            let (told, is_changed) = alike::tell(reduced, step);
            reduced = told;
            rules.extend(is_changed.then(|| alike::RULE.to_owned()));
        }
        if checked.permit().purpose == Purpose::RightsRequest {
            reduced = without_people(reduced, item.level);
        }
        if !reduced.is_empty() {
            items.push(answer_item(item, &reduced)?);
        }
    }
    rules.sort();
    rules.dedup();
    let has = |verdict| verdicts.contains(&verdict);
    if has(local::Verdict::Review) && !approved {
        return Ok(None);
    }
    let outcome = if !items.is_empty() {
        Outcome::Released
    } else if has(local::Verdict::Decline) && !has(local::Verdict::CannotSay) {
        Outcome::Declined
    } else {
        Outcome::CannotSay
    };
    Ok(Some(Ruling {
        outcome,
        items,
        rules,
        refusal: None,
    }))
}

/// What a person learns of herself through another agency's door names nobody who works on it: whom
/// to contact is in the door's own list (rule 13). Below the code, whom to contact is the answer.
fn without_people(reduced: Vec<ReducedFact>, level: Level) -> Vec<ReducedFact> {
    let masked = reduced.into_iter().map(|fact| ReducedFact {
        contact: fact.contact.filter(|_| level <= Level::Contact),
        ..fact
    });
    let mut masked: Vec<_> = masked.collect();
    // What differed in the contact alone is one thing now.
    masked.dedup();
    masked
}

fn rule_weight(
    context: &Context,
    checked: &CheckedPermit,
    item: &Item,
    weight: Weight,
    requester: &Agency,
    approved: bool,
) -> local::LocalRuling {
    // Restricted content is never reduced to more than the contact: the rule is asked about what
    // would leave, so that the contact of the owner may (DATA, rule 22).
    let level = if weight.restricted {
        item.level.min(Level::Contact)
    } else {
        item.level
    };
    let record = RecordFacts {
        specially_protected: weight.specially_protected,
        youth_record: weight.youth_record,
        third_party_at_risk: weight.third_party_at_risk,
        restricted: weight.restricted,
        sensitivity: weight.sensitivity,
    };
    let permit = checked.permit();
    if seeded(Bug::LocalPolicyIgnored) {
        return local::LocalRuling {
            verdict: local::Verdict::Release,
            rules: Vec::new(),
        };
    }
    context.policy.rule(&LocalMatter {
        requester,
        purpose: permit.purpose,
        emergency: checked.request().emergency.is_some(),
        on_consent: permit.basis == LegalBasis::Consent,
        review_approved: approved,
        category: item.category,
        level,
        record: Some(record),
    })
}

fn answer_item(item: &Item, reduced: &[ReducedFact]) -> Result<AnswerItem, ErrorCode> {
    let values = reduced.iter().map(serde_json::to_value);
    Ok(AnswerItem {
        category: item.category.code().to_owned(),
        level: item.level.code().to_owned(),
        values: values
            .collect::<Result<_, _>>()
            .map_err(|_| ErrorCode::Internal)?,
    })
}
