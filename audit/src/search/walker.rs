//! What is known of each entry, from itself and from those before it that it refers to.
//!
//! In memory are requests, consents, agreements and cases in a few words each: never the entries.

use super::{Found, FoundItem, Kind};
use crate::disclosure::handle;
use passerelle_model::{
    bytes::{Commitment, Digest},
    commitment::{self, Field, Opening},
    entry::{Entry, EntryBody, StopCause},
    ids::{AgencyId, AgreementId, CaseId, ConsentId, RequestId},
    pdp::ItemRuling,
    permit::Permit,
    statement::{
        AgreementTerms, Body, CaseAdvance, ConsentTerms, Item, Request, Statement, WithdrawalScope,
    },
    vocabulary::{Category, Level},
};
use std::collections::{BTreeSet, HashMap};

/// Walks over the entries of a log, in order.
#[derive(Debug, Default)]
pub struct Walker {
    requests: HashMap<RequestId, Found>,
    consents: HashMap<ConsentId, Found>,
    agreements: HashMap<AgreementId, Found>,
    cases: HashMap<CaseId, Found>,
    agencies: BTreeSet<AgencyId>,
    rules: BTreeSet<String>,
}

impl Walker {
    /// Every agency that was named so far.
    pub fn agencies(&self) -> &BTreeSet<AgencyId> {
        &self.agencies
    }

    /// Every rule that decided so far.
    pub fn rules(&self) -> &BTreeSet<String> {
        &self.rules
    }

    /// Takes the next entry that can be read, and says what is known of it.
    ///
    /// # Errors
    /// A statement in it can't be read.
    pub fn take(
        &mut self,
        index: u64,
        leaf_hash: Digest,
        entry: Entry,
        openings: &[Opening],
    ) -> Result<Found, String> {
        let mut found = Found {
            index,
            at: entry.at,
            kind: Kind::of(&entry.body),
            by: None,
            agencies: BTreeSet::new(),
            requester: None,
            holder: None,
            purposes: BTreeSet::new(),
            bases: BTreeSet::new(),
            items: Vec::new(),
            case: None,
            request: None,
            consents: BTreeSet::new(),
            agreements: BTreeSet::new(),
            worker: None,
            code: None,
            leaf_hash,
            person: None,
        };
        self.body(&mut found, entry.body, openings)?;
        found.agencies.extend(found.by.clone());
        found.agencies.extend(found.requester.clone());
        found.agencies.extend(found.holder.clone());
        self.agencies.extend(found.agencies.iter().cloned());
        Ok(found)
    }

    fn body(
        &mut self,
        found: &mut Found,
        body: EntryBody,
        openings: &[Opening],
    ) -> Result<(), String> {
        match body {
            EntryBody::Founded { .. }
            | EntryBody::BundleActivated { .. }
            | EntryBody::BundleProposed { .. }
            | EntryBody::Supersedes(_)
            | EntryBody::Sealed { .. } => {}
            EntryBody::Invited { agency, .. }
            | EntryBody::Enrolled { agency, .. }
            | EntryBody::Revoked { agency }
            | EntryBody::HandlesEvaluated { agency, .. } => found.by = Some(agency),
            EntryBody::Refused { agency, code, .. } => {
                found.by = Some(agency);
                found.code = Some(code.code().to_owned());
            }
            EntryBody::Said { envelope, .. } => {
                let statement = envelope.unverified_statement();
                let statement = statement.map_err(|error| error.to_string())?;
                self.said(found, statement, openings);
            }
            EntryBody::Decided { request, items, .. } => self.decided(found, &request, items),
            EntryBody::Offered { permit } => self.offered(found, *permit),
            EntryBody::Stopped { request, cause } => {
                self.of_request(found, &request);
                let code = match cause {
                    StopCause::Withdrawn(consent) => {
                        found.consents.insert(consent);
                        "withdrawn"
                    }
                    StopCause::DecidedAgain => "decided_again",
                    StopCause::Revoked(_) => "revoked",
                    StopCause::Superseded => "superseded",
                };
                found.code = Some(code.to_owned());
            }
            EntryBody::Recalled { request, consent } => {
                self.of_request(found, &request);
                found.consents.insert(consent);
            }
            EntryBody::WithdrawalCarriedOut { consent } => self.of_consent(found, &consent),
            EntryBody::Expired { request } => self.of_request(found, &request),
        }
        Ok(())
    }

    fn said(&mut self, found: &mut Found, statement: Statement, openings: &[Opening]) {
        let Statement { agency, body, .. } = statement;
        found.kind = Kind::said(&body);
        found.by = Some(agency);
        match body {
            Body::Request(asked) => self.requested(found, *asked, openings),
            Body::Answer(answer) => self.of_request(found, &answer.request),
            Body::Receipt(receipt) => self.of_request(found, &receipt.request),
            Body::Renewal(renewal) => self.of_request(found, &renewal.request),
            Body::Consent(terms) => self.consented(found, *terms, openings),
            Body::Withdrawal(withdrawal) => {
                self.of_consent(found, &withdrawal.consent);
                match withdrawal.scope {
                    WithdrawalScope::All => {}
                    WithdrawalScope::Recipient(agency) => {
                        found.agencies.insert(agency);
                    }
                    WithdrawalScope::Category(category) => found.items = vec![item(category, None)],
                }
            }
            Body::Agreement(terms) => self.agreed(found, *terms),
            Body::AgreementSignature(signature) => {
                inherit(found, self.agreements.get(&signature.agreement));
                found.agreements.insert(signature.agreement);
            }
            Body::AgreementChange(change) => {
                inherit(found, self.agreements.get(&change.agreement));
                found.agreements.insert(change.agreement);
            }
            Body::CaseOpening(opening) => {
                found.agencies.extend(opening.agencies);
                found.case = Some(opening.case.clone());
                self.cases.insert(opening.case, found.clone());
            }
            Body::CaseAdvance(advance) => self.advanced(found, advance, openings),
            Body::BundleEndorsement(_) | Body::Resumption(_) => {}
            Body::OverrideReview(review) => {
                self.of_request(found, &review.request);
                found.code = Some(review.finding.code().to_owned());
                // Who looked, where that may be known.
                let reviewer = worker(openings, &review.reviewer);
                found.worker = reviewer.or_else(|| found.worker.take());
            }
        }
    }

    fn requested(&mut self, found: &mut Found, asked: Request, openings: &[Opening]) {
        found.requester.clone_from(&found.by);
        found.holder = Some(asked.holder);
        found.items = items(asked.items);
        found.purposes.insert(asked.purpose);
        found.bases.insert(asked.basis);
        found.case = asked.case;
        found.worker = worker(openings, &asked.worker);
        found.person = asked.subject.and_then(|subject| handle(openings, &subject));
        found.request = Some(asked.request.clone());
        self.requests.insert(asked.request, found.clone());
    }

    fn of_request(&self, found: &mut Found, request: &RequestId) {
        inherit(found, self.requests.get(request));
        found.request = Some(request.clone());
    }

    fn decided(&mut self, found: &mut Found, request: &RequestId, rulings: Vec<ItemRuling>) {
        self.of_request(found, request);
        found.items.clear();
        for ItemRuling {
            category,
            level,
            ruling,
        } in rulings
        {
            let rules: Vec<_> = ruling.reasons.into_iter().map(|r| r.rule).collect();
            self.rules.extend(rules.iter().cloned());
            found.items.push(FoundItem {
                category,
                level: Some(level),
                effect: Some(ruling.effect),
                rules,
            });
            found.consents.extend(ruling.consent);
            found.agreements.extend(ruling.agreement);
        }
        // The broker compares the request's person with the consent's before it decides so.
        let relied = |id: &ConsentId| self.consents.get(id).and_then(|c| c.person);
        let person = found
            .person
            .or_else(|| found.consents.iter().find_map(relied));
        found.person = person;
        if let Some(known) = self.requests.get_mut(request) {
            known.person = person;
        }
    }

    fn offered(&mut self, found: &mut Found, permit: Permit) {
        self.of_request(found, &permit.request);
        found.requester = Some(permit.requester);
        found.holder = Some(permit.holder);
        found.items = items(permit.items);
        found.purposes.insert(permit.purpose);
        found.bases.insert(permit.basis);
        found.case = permit.case;
    }

    fn consented(&mut self, found: &mut Found, terms: ConsentTerms, openings: &[Opening]) {
        found.agencies.extend(terms.recipients);
        found.agencies.extend(terms.disclosers);
        found.purposes.extend(terms.purposes);
        found.items = terms
            .categories
            .into_iter()
            .map(|c| item(c, None))
            .collect();
        found.person = handle(openings, &terms.subject);
        found.consents.insert(terms.consent.clone());
        self.consents.insert(terms.consent, found.clone());
    }

    fn of_consent(&self, found: &mut Found, consent: &ConsentId) {
        inherit(found, self.consents.get(consent));
        found.consents.insert(consent.clone());
    }

    fn agreed(&mut self, found: &mut Found, terms: AgreementTerms) {
        found.purposes.extend(terms.purposes);
        for party in terms.parties {
            found.agencies.insert(party.agency);
            found.bases.insert(party.basis);
        }
        for line in terms.lines {
            found.agencies.extend([line.from, line.to]);
            found.items.push(item(line.category, Some(line.level)));
        }
        found.agreements.insert(terms.agreement.clone());
        self.agreements.insert(terms.agreement, found.clone());
    }

    fn advanced(&mut self, found: &mut Found, advance: CaseAdvance, openings: &[Opening]) {
        // Those whom this step sends away have a part in it too.
        let before = self.cases.get(&advance.case);
        found
            .agencies
            .extend(before.iter().flat_map(|b| b.agencies.iter().cloned()));
        found.agencies.extend(before.and_then(|b| b.by.clone()));
        let person = before.and_then(|b| b.person);
        let opened = advance
            .subject
            .and_then(|subject| handle(openings, &subject));
        found.person = opened.or(person);
        found.items = advance.plan.into_iter().map(|c| item(c, None)).collect();
        found.case = Some(advance.case.clone());
        let mut after = found.clone();
        after.agencies = advance.agencies.iter().chain(&found.by).cloned().collect();
        found.agencies.extend(advance.agencies);
        self.cases.insert(advance.case, after);
    }
}

/// What an entry has of the one that it refers to: all but what it is itself.
fn inherit(found: &mut Found, from: Option<&Found>) {
    let Some(from) = from else { return };
    found.agencies.extend(from.agencies.iter().cloned());
    // Not who asked of a consent, but that of the request itself.
    found.agencies.extend(from.by.clone());
    found.requester.clone_from(&from.requester);
    found.holder.clone_from(&from.holder);
    found.purposes.clone_from(&from.purposes);
    found.bases.clone_from(&from.bases);
    found.items.clone_from(&from.items);
    found.case.clone_from(&from.case);
    found.worker.clone_from(&from.worker);
    found.person = from.person;
}

/// The worker, where the reader may know.
fn worker(openings: &[Opening], commitment: &Commitment) -> Option<String> {
    let opening = commitment::find(openings, Field::Worker, commitment)?;
    Some(String::from_utf8_lossy(&opening.data.0).into_owned())
}

fn item(category: Category, level: Option<Level>) -> FoundItem {
    FoundItem {
        category,
        level,
        effect: None,
        rules: Vec::new(),
    }
}

fn items(items: Vec<Item>) -> Vec<FoundItem> {
    let item = |i: Item| item(i.category, Some(i.level));
    items.into_iter().map(item).collect()
}
