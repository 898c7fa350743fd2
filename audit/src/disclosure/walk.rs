//! One walk over the entries of an export, which gives a row when an exchange is over.
//!
//! In memory are the exchanges that are not over, and the handle of each opened consent: never the
//! entries.

use super::{Asked, Disclosure, DisclosureError, KnownBy, Log, Outcome, Person, Step, Steps};
use crate::{
    export::{ExportHeader, ExportReader, ExportRow},
    merkle::{Frontier, leaf_hash},
};
use passerelle_model::{
    bytes::{Commitment, Digest, Handle},
    commitment::{self, Field, Opening},
    entry::{Entry, EntryBody, StopCause},
    ids::{AgencyId, ConsentId, RequestId},
    pdp::{Effect, ItemRuling},
    permit::Permit,
    statement::{Answer, Body, ConsentTerms, Receipt, ReceiptKind, Request, Statement},
    time::Timestamp,
    vocabulary,
};
use std::{collections::HashMap, io::BufRead};

/// What was walked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walked {
    /// Which log.
    pub log: Log,
    /// How many rows of the export were read.
    pub size: u64,
    /// The Merkle root over them.
    pub root: Digest,
    /// The latest time of a readable entry.
    pub last_at: Option<Timestamp>,
    /// How many rows were given.
    pub rows: u64,
    /// How many openings tell whom something is about.
    pub persons_opened: u64,
}

/// Who takes the rows.
type Each<'a> = &'a mut dyn FnMut(&Log, Disclosure) -> Result<(), DisclosureError>;

/// Walks an export and gives each exchange, once, to `each`. The export must have been verified.
///
/// # Errors
/// [`DisclosureError`], also that of `each`.
pub fn walk(reader: impl BufRead, each: Each<'_>) -> Result<Walked, DisclosureError> {
    let mut reader = ExportReader::new(reader)?;
    let log = log(reader.header());
    let (mut walker, mut frontier) = (Walker::default(), Frontier::new());
    let mut rows = 0;
    let mut give = |row: Disclosure| {
        rows += 1;
        each(&log, row)
    };
    while let Some(row) = reader.next_row()? {
        let index = frontier.size();
        let fault = |reason: String| DisclosureError::Entry { index, reason };
        if row.index() != index {
            return Err(fault("a row is missing or out of place".to_owned()));
        }
        match row {
            ExportRow::Hidden { leaf_hash, .. } => frontier.push(leaf_hash),
            ExportRow::Entry {
                entry, openings, ..
            } => {
                let leaf_hash = leaf_hash(&entry);
                frontier.push(leaf_hash);
                let entry = Entry::from_bytes(&entry).map_err(|e| fault(e.to_string()))?;
                let at = entry.at;
                walker.now = Step {
                    index,
                    leaf_hash,
                    at,
                };
                walker.last_at = walker.last_at.max(Some(at));
                if let Some(row) = walker.take(entry, &openings).map_err(fault)? {
                    give(row)?;
                }
            }
        }
    }
    let mut rest: Vec<_> = std::mem::take(&mut walker.exchanges)
        .into_values()
        .collect();
    rest.sort_unstable_by_key(|row| row.settled.index);
    for row in rest {
        give(*row)?;
    }
    Ok(Walked {
        log,
        size: frontier.size(),
        root: frontier.root(),
        last_at: walker.last_at,
        rows,
        persons_opened: walker.persons_opened,
    })
}

/// A checkpoint begins with the log's name. Whether it is one is for the verification to say.
fn log(header: &ExportHeader) -> Log {
    Log {
        federation: header.federation.clone(),
        origin: header
            .checkpoint
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned(),
    }
}

struct Walker {
    now: Step,
    last_at: Option<Timestamp>,
    exchanges: HashMap<RequestId, Box<Disclosure>>,
    consents: HashMap<ConsentId, Handle>,
    persons_opened: u64,
}

impl Default for Walker {
    fn default() -> Self {
        Self {
            now: Step {
                index: 0,
                leaf_hash: Digest([0; 32]),
                at: Timestamp::default(),
            },
            last_at: None,
            exchanges: HashMap::new(),
            consents: HashMap::new(),
            persons_opened: 0,
        }
    }
}

impl Walker {
    /// Takes in an entry; gives the exchange that is over with it.
    fn take(&mut self, entry: Entry, openings: &[Opening]) -> Result<Option<Disclosure>, String> {
        let over = match entry.body {
            EntryBody::Said { envelope, .. } => {
                let statement = envelope.unverified_statement();
                let statement = statement.map_err(|error| error.to_string())?;
                return Ok(self.said(statement, openings));
            }
            EntryBody::Refused { agency, code, .. } => {
                let mut row = blank(self.now, None);
                row.recipient = Some(agency);
                (row.outcome, row.reason) = (Outcome::Refused, Some(code.code()));
                Some(row)
            }
            EntryBody::Decided { request, items, .. } => self.decided(&request, &items),
            EntryBody::Offered { permit } => {
                self.offered(*permit);
                None
            }
            EntryBody::Stopped { request, cause } => {
                let reason = match cause {
                    StopCause::Withdrawn(_) => "withdrawn",
                    StopCause::DecidedAgain => "decided_again",
                    StopCause::Revoked(_) => "revoked",
                    StopCause::Superseded => "superseded",
                };
                self.end(&request, Outcome::Stopped, Some(reason))
            }
            EntryBody::Expired { request } => self.end(&request, Outcome::Expired, None),
            EntryBody::Recalled { request, .. } => {
                let now = self.now;
                self.exchange(&request).steps.recalled = Some(now);
                None
            }
            EntryBody::Founded { .. }
            | EntryBody::BundleActivated { .. }
            | EntryBody::BundleProposed { .. }
            | EntryBody::Invited { .. }
            | EntryBody::Enrolled { .. }
            | EntryBody::Revoked { .. }
            | EntryBody::WithdrawalCarriedOut { .. }
            | EntryBody::HandlesEvaluated { .. }
            | EntryBody::Supersedes(_)
            | EntryBody::Sealed { .. } => None,
        };
        Ok(over)
    }

    fn said(&mut self, statement: Statement, openings: &[Opening]) -> Option<Disclosure> {
        let agency = statement.agency;
        match statement.body {
            Body::Request(asked) => {
                self.requested(agency, *asked, openings);
                None
            }
            Body::Answer(answer) => {
                self.answered(agency, &answer, openings);
                None
            }
            Body::Receipt(receipt) => self.received(agency, &receipt),
            Body::Consent(terms) => {
                self.consented(*terms, openings);
                None
            }
            Body::Renewal(_)
            | Body::Withdrawal(_)
            | Body::Agreement(_)
            | Body::AgreementSignature(_)
            | Body::AgreementChange(_)
            | Body::CaseOpening(_)
            | Body::CaseAdvance(_)
            | Body::BundleEndorsement(_)
            | Body::OverrideReview(_)
            | Body::Resumption(_) => None,
        }
    }

    /// The exchange; a partial one if the entries that made it are not readable.
    fn exchange(&mut self, request: &RequestId) -> &mut Disclosure {
        let now = self.now;
        self.exchanges
            .entry(request.clone())
            .or_insert_with(|| Box::new(blank(now, Some(request.clone()))))
    }

    /// Takes the exchange out: it is over.
    fn end(
        &mut self,
        request: &RequestId,
        outcome: Outcome,
        reason: Option<&'static str>,
    ) -> Option<Disclosure> {
        let now = self.now;
        let row = self.exchange(request);
        (row.outcome, row.reason, row.settled) = (outcome, reason, now);
        self.exchanges.remove(request).map(|row| *row)
    }

    fn requested(&mut self, agency: AgencyId, asked: Request, openings: &[Opening]) {
        let now = self.now;
        let handle = asked.subject.and_then(|subject| handle(openings, &subject));
        self.persons_opened += u64::from(handle.is_some());
        let row = self.exchange(&asked.request);
        row.steps.requested = Some(now);
        (row.recipient, row.source) = (Some(agency), Some(asked.holder));
        (row.purpose, row.basis) = (Some(asked.purpose), Some(asked.basis));
        (row.case, row.emergency) = (asked.case, asked.emergency);
        (row.role, row.worker_commitment) = (Some(asked.role), Some(asked.worker));
        let worker = commitment::find(openings, Field::Worker, &asked.worker);
        row.worker = worker.map(|opening| String::from_utf8_lossy(&opening.data.0).into_owned());
        let known_by = KnownBy::Request;
        row.person = handle.map(|handle| Person { handle, known_by });
        let item = |item: passerelle_model::statement::Item| Asked {
            category: item.category,
            level: item.level,
            effect: None,
            rules: Vec::new(),
        };
        row.items = asked.items.into_iter().map(item).collect();
    }

    fn decided(&mut self, request: &RequestId, items: &[ItemRuling]) -> Option<Disclosure> {
        let now = self.now;
        let relied = |item: &ItemRuling| item.ruling.consent.clone();
        let consents = distinct(items.iter().filter_map(relied));
        let of_consent = consents
            .iter()
            .find_map(|id| self.consents.get(id).copied());
        let row = self.exchange(request);
        row.steps.decided = Some(now);
        row.settled = now;
        row.consents = consents;
        let relied = |item: &ItemRuling| item.ruling.agreement.clone();
        row.agreements = distinct(items.iter().filter_map(relied));
        let known_by = KnownBy::Consent;
        row.person = row
            .person
            .or(of_consent.map(|handle| Person { handle, known_by }));
        let item = |item: &ItemRuling| Asked {
            category: item.category,
            level: item.level,
            effect: Some(item.ruling.effect),
            rules: item.ruling.reasons.iter().map(|r| r.rule.clone()).collect(),
        };
        row.items = items.iter().map(item).collect();
        let denied = items.iter().all(|item| item.ruling.effect == Effect::Deny);
        denied
            .then(|| self.end(request, Outcome::Denied, None))
            .flatten()
    }

    fn offered(&mut self, permit: Permit) {
        let now = self.now;
        let row = self.exchange(&permit.request);
        row.steps.offered = Some(now);
        row.settled = now;
        row.recipient = Some(permit.requester);
        row.source = Some(permit.holder);
        (row.purpose, row.basis) = (Some(permit.purpose), Some(permit.basis));
        row.case = permit.case;
    }

    fn answered(&mut self, agency: AgencyId, answer: &Answer, openings: &[Opening]) {
        let now = self.now;
        let opened = commitment::find(openings, Field::Outcome, &answer.outcome);
        let code = opened.and_then(|opening| str::from_utf8(&opening.data.0).ok());
        let row = self.exchange(&answer.request);
        row.outcome = match code.and_then(|code| code.parse().ok()) {
            Some(vocabulary::Outcome::Released) => Outcome::Released,
            Some(vocabulary::Outcome::Declined) => Outcome::Declined,
            Some(vocabulary::Outcome::CannotSay) => Outcome::CannotSay,
            None => Outcome::Answered,
        };
        row.steps.answered = Some(now);
        (row.settled, row.source) = (now, Some(agency));
    }

    fn received(&mut self, agency: AgencyId, receipt: &Receipt) -> Option<Disclosure> {
        let now = self.now;
        let row = self.exchange(&receipt.request);
        row.recipient = Some(agency);
        match receipt.kind {
            ReceiptKind::Delivered => row.steps.delivered = Some(now),
            ReceiptKind::Viewed => row.steps.viewed = Some(now),
            ReceiptKind::Erased => row.steps.erased = Some(now),
        }
        if row.outcome == Outcome::Open {
            // A receipt is for an answer, also where the answer's entry is not readable.
            (row.outcome, row.settled) = (Outcome::Answered, now);
        }
        let is_over = receipt.kind == ReceiptKind::Erased;
        is_over.then(|| self.exchanges.remove(&receipt.request).map(|row| *row))?
    }

    fn consented(&mut self, terms: ConsentTerms, openings: &[Opening]) {
        if let Some(handle) = handle(openings, &terms.subject) {
            self.persons_opened += 1;
            self.consents.insert(terms.consent, handle);
        }
    }
}

fn blank(now: Step, request: Option<RequestId>) -> Disclosure {
    Disclosure {
        outcome: Outcome::Open,
        settled: now,
        reason: None,
        request,
        recipient: None,
        source: None,
        items: Vec::new(),
        purpose: None,
        basis: None,
        consents: Vec::new(),
        agreements: Vec::new(),
        case: None,
        emergency: None,
        role: None,
        worker_commitment: None,
        worker: None,
        person: None,
        steps: Steps::default(),
    }
}

/// The handle that opens this commitment, if it is opened.
pub(crate) fn handle(openings: &[Opening], subject: &Commitment) -> Option<Handle> {
    let opening = commitment::find(openings, Field::Subject, subject)?;
    Handle::from_slice(&opening.data.0)
}

fn distinct<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut out = Vec::new();
    for value in values {
        if !out.contains(&value) {
            out.push(value);
        }
    }
    out
}
