//! The filter that looks at the whole log for each entry, and keeps no state.

use super::log::Row;
use crate::search::Query;
use passerelle_model::{
    bytes::Handle,
    commitment::Field,
    entry::EntryBody,
    ids::{AgencyId, ConsentId, RequestId},
    statement::{Body, ConsentTerms, Request, Statement},
    vocabulary::{Category, Purpose},
};
use std::collections::BTreeSet;

fn statement(row: &Row) -> Option<Statement> {
    match &row.entry.body {
        EntryBody::Said { envelope, .. } => envelope.unverified_statement().ok(),
        _ => None,
    }
}

/// The naive filter: what the readable entries up to `end` say of the last one.
pub(super) struct Naive<'a>(pub(super) &'a [Row]);

impl Naive<'_> {
    fn last(&self) -> &Row {
        self.0.last().unwrap()
    }

    fn readable(&self) -> impl DoubleEndedIterator<Item = (usize, &Row)> {
        self.0.iter().enumerate().filter(|(_, row)| !row.hidden)
    }

    fn request(&self) -> Option<RequestId> {
        match (
            &self.last().entry.body,
            statement(self.last()).map(|s| s.body),
        ) {
            (_, Some(Body::Request(asked))) => Some(asked.request),
            (_, Some(Body::Answer(answer))) => Some(answer.request),
            (EntryBody::Decided { request, .. } | EntryBody::Stopped { request, .. }, _) => {
                Some(request.clone())
            }
            _ => None,
        }
    }

    /// The request's own statement: its place, author and content.
    fn asked(&self) -> Option<(usize, AgencyId, Request)> {
        let wanted = self.request()?;
        self.readable().rev().find_map(|(at, row)| {
            let statement = statement(row)?;
            match statement.body {
                Body::Request(r) if r.request == wanted => Some((at, statement.agency, *r)),
                _ => None,
            }
        })
    }

    fn consent_at(&self, id: &ConsentId) -> Option<(usize, AgencyId, ConsentTerms)> {
        self.readable().rev().find_map(|(at, row)| {
            let statement = statement(row)?;
            match statement.body {
                Body::Consent(c) if c.consent == *id => Some((at, statement.agency, *c)),
                _ => None,
            }
        })
    }

    fn consents(&self) -> Vec<ConsentId> {
        match (
            &self.last().entry.body,
            statement(self.last()).map(|s| s.body),
        ) {
            (_, Some(Body::Consent(terms))) => vec![terms.consent],
            (_, Some(Body::Withdrawal(withdrawal))) => vec![withdrawal.consent],
            (EntryBody::Decided { items, .. }, _) => {
                let consents = items.iter().filter_map(|i| i.ruling.consent.clone());
                consents.collect()
            }
            _ => Vec::new(),
        }
    }

    /// The consent that the entry itself is about.
    fn terms(&self) -> Option<(usize, AgencyId, ConsentTerms)> {
        match statement(self.last())?.body {
            Body::Consent(c) => self.consent_at(&c.consent),
            Body::Withdrawal(w) => self.consent_at(&w.consent),
            _ => None,
        }
    }

    fn agencies(&self) -> Vec<AgencyId> {
        let mut all = Vec::new();
        if let EntryBody::Said { agency, .. } | EntryBody::Refused { agency, .. } =
            &self.last().entry.body
        {
            all.push(agency.clone());
        }
        if let Some((_, by, asked)) = self.asked() {
            all.extend([by, asked.holder]);
        }
        if let Some((_, by, terms)) = self.terms() {
            all.push(by);
            all.extend(terms.recipients.into_iter().chain(terms.disclosers));
        }
        if let Some(Body::CaseOpening(opening)) = statement(self.last()).map(|s| s.body) {
            all.extend(opening.agencies);
        }
        all
    }

    fn categories(&self) -> Vec<Category> {
        if let EntryBody::Decided { items, .. } = &self.last().entry.body {
            return items.iter().map(|i| i.category).collect();
        }
        let asked = self.asked().into_iter().flat_map(|(_, _, r)| r.items);
        let of_terms = self.terms().into_iter().flat_map(|(_, _, t)| t.categories);
        asked.map(|i| i.category).chain(of_terms).collect()
    }

    fn purposes(&self) -> Vec<Purpose> {
        let of_terms = self.terms().into_iter().flat_map(|(_, _, t)| t.purposes);
        let asked = self.asked().map(|(_, _, r)| r.purpose);
        asked.into_iter().chain(of_terms).collect()
    }

    fn opened(&self, at: usize, field: Field) -> Option<Vec<u8>> {
        let openings = &self.0[at].openings;
        openings
            .iter()
            .find(|o| o.field == field)
            .map(|o| o.data.0.clone())
    }

    /// The handle of the request, or of the first opened consent on which a decision about it that
    /// came since rests.
    fn person(&self) -> Option<Handle> {
        let subject = |at: usize, naive: &Naive<'_>| {
            let opened = naive.opened(at, Field::Subject)?;
            Handle::from_slice(&opened)
        };
        if let Some((at, _, _)) = self.terms() {
            return subject(at, self);
        }
        let wanted = self.request()?;
        let asked = self.asked().map(|(at, _, _)| at);
        if let Some(handle) = asked.and_then(|at| subject(at, self)) {
            return Some(handle);
        }
        let last = self.0.len() - 1;
        for (at, row) in self.readable() {
            let EntryBody::Decided { request, items, .. } = &row.entry.body else {
                continue;
            };
            // What was decided is remembered with the request, if that can be read.
            let counts = at == last || asked.is_some_and(|asked| at > asked);
            if *request != wanted || !counts {
                continue;
            }
            let then = Naive(&self.0[..=at]);
            let mut relied: Vec<_> = items
                .iter()
                .filter_map(|i| i.ruling.consent.clone())
                .collect();
            relied.sort();
            let found = relied.iter().find_map(|id| {
                let (at, _, _) = then.consent_at(id)?;
                subject(at, &then)
            });
            if found.is_some() {
                return found;
            }
        }
        None
    }

    fn item_fits(&self, query: &Query) -> bool {
        let EntryBody::Decided { items, .. } = &self.last().entry.body else {
            let of_decisions = query.decisions.is_empty() && query.rules.is_empty();
            return of_decisions && has(&query.categories, &self.categories());
        };
        items.iter().any(|i| {
            let rules: Vec<_> = i.ruling.reasons.iter().map(|r| r.rule.clone()).collect();
            has(&query.categories, &[i.category])
                && has(&query.decisions, &[i.ruling.effect])
                && has(&query.rules, &rules)
        })
    }

    pub(super) fn matches(&self, query: &Query) -> bool {
        let row = self.last();
        if row.hidden {
            return false;
        }
        let asked = self.asked();
        let case = match statement(row).map(|s| s.body) {
            Some(Body::CaseOpening(opening)) => Some(opening.case),
            _ => asked.as_ref().and_then(|(_, _, r)| r.case.clone()),
        };
        let worker = asked
            .as_ref()
            .and_then(|(at, _, _)| self.opened(*at, Field::Worker));
        let worker = worker.map(|bytes| String::from_utf8(bytes).unwrap());
        let items_asked = [
            query.categories.is_empty(),
            query.decisions.is_empty(),
            query.rules.is_empty(),
        ];
        query.from.is_none_or(|from| row.entry.at >= from)
            && query.until.is_none_or(|until| row.entry.at < until)
            && has(&query.agencies, &self.agencies())
            && has(
                &query.requesters,
                &list(asked.as_ref().map(|a| a.1.clone())),
            )
            && has(
                &query.holders,
                &list(asked.as_ref().map(|a| a.2.holder.clone())),
            )
            && has(&query.purposes, &self.purposes())
            && has(&query.bases, &list(asked.as_ref().map(|a| a.2.basis)))
            && has(&query.workers, &list(worker))
            && has(&query.cases, &list(case))
            && has(&query.requests, &list(self.request()))
            && has(&query.consents, &self.consents())
            && has(&query.persons, &list(self.person()))
            && (items_asked == [true; 3] || self.item_fits(query))
    }
}

fn list<T>(value: Option<T>) -> Vec<T> {
    value.into_iter().collect()
}

fn has<T: Ord>(wanted: &BTreeSet<T>, values: &[T]) -> bool {
    wanted.is_empty() || values.iter().any(|value| wanted.contains(value))
}
