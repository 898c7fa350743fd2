//! What is looked for.

use super::{Found, FoundItem, Kind};
use passerelle_model::{
    bytes::Handle,
    ids::{AgencyId, AgreementId, CaseId, ConsentId, RequestId},
    pdp::Effect,
    time::Timestamp,
    vocabulary::{Category, LegalBasis, Purpose, UnknownCode},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What is looked for. Of each set an entry must have one, of an empty set none; all must hold.
/// Category, decision and rule must hold of one and the same item.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Query {
    /// Sequenced then or later.
    pub from: Option<Timestamp>,
    /// Sequenced before then.
    pub until: Option<Timestamp>,
    /// With a part of one of these agencies.
    pub agencies: BTreeSet<AgencyId>,
    /// Of an exchange that one of these began.
    pub requesters: BTreeSet<AgencyId>,
    /// Of an exchange in which one of these was asked.
    pub holders: BTreeSet<AgencyId>,
    /// For one of these purposes.
    pub purposes: BTreeSet<Purpose>,
    /// On one of these bases.
    pub bases: BTreeSet<LegalBasis>,
    /// About one of these categories.
    pub categories: BTreeSet<Category>,
    /// Decided so.
    pub decisions: BTreeSet<Effect>,
    /// Decided by one of these rules.
    pub rules: BTreeSet<String>,
    /// Asked for by one of these workers, where that is opened.
    pub workers: BTreeSet<String>,
    /// In one of these cases.
    pub cases: BTreeSet<CaseId>,
    /// About one of these requests.
    pub requests: BTreeSet<RequestId>,
    /// About one of these consents, or resting on it.
    pub consents: BTreeSet<ConsentId>,
    /// About one of these agreements, or resting on it.
    pub agreements: BTreeSet<AgreementId>,
    /// Of one of these types.
    pub kinds: BTreeSet<Kind>,
    /// About one of these persons, where that is opened. It never leaves the process.
    #[serde(skip)]
    pub persons: BTreeSet<Handle>,
}

impl Query {
    /// Whether this entry is looked for.
    pub fn matches(&self, found: &Found) -> bool {
        self.from.is_none_or(|from| found.at >= from)
            && self.until.is_none_or(|until| found.at < until)
            && any(&self.kinds, [&found.kind])
            && any(&self.agencies, &found.agencies)
            && any(&self.requesters, &found.requester)
            && any(&self.holders, &found.holder)
            && any(&self.purposes, &found.purposes)
            && any(&self.bases, &found.bases)
            && any(&self.workers, &found.worker)
            && any(&self.cases, &found.case)
            && any(&self.requests, &found.request)
            && any(&self.consents, &found.consents)
            && any(&self.agreements, &found.agreements)
            && any(&self.persons, &found.person)
            && self.matches_items(&found.items)
    }

    fn matches_items(&self, items: &[FoundItem]) -> bool {
        let asks_nothing =
            self.categories.is_empty() && self.decisions.is_empty() && self.rules.is_empty();
        let fits = |item: &FoundItem| {
            any(&self.categories, [&item.category])
                && any(&self.decisions, &item.effect)
                && any(&self.rules, &item.rules)
        };
        asks_nothing || items.iter().any(fits)
    }

    /// Whether an opening is needed for an answer.
    pub fn needs_openings(&self) -> bool {
        !self.persons.is_empty() || !self.workers.is_empty()
    }
}

fn any<'a, T: Ord + 'a>(wanted: &BTreeSet<T>, has: impl IntoIterator<Item = &'a T>) -> bool {
    wanted.is_empty() || has.into_iter().any(|value| wanted.contains(value))
}

/// A decision by its code.
///
/// # Errors
/// It is none.
pub fn effect(code: &str) -> Result<Effect, UnknownCode> {
    match code {
        "permit" => Ok(Effect::Permit),
        "review" => Ok(Effect::Review),
        "deny" => Ok(Effect::Deny),
        _ => Err(UnknownCode {
            vocabulary: "decision",
            known: "permit, review, deny".to_owned(),
        }),
    }
}
