//! The accounting of disclosures about one person: date, recipient, what, purpose and basis, as
//! 45 CFR 164.528(b) wants them, refusals included.
//!
//! Timed suspension (45 CFR 164.528(a)(2)): an agency may, lawfully, have the disclosures to it
//! left out until a date. What it asked for in vain is left out too: it would tell as much. What
//! is counted is counted after that, so that no number betrays what is missing.

use super::{
    Date, Disclosure, DisclosureError, Log, Outcome, Walked,
    walk::{handle, walk},
};
use crate::export::{ExportReader, ExportRow};
use passerelle_model::{
    bytes::Handle,
    entry::{Entry, EntryBody},
    ids::{AgencyId, ConsentId, RequestId},
    statement::Body,
    time::Timestamp,
};
use serde::Serialize;
use std::{collections::BTreeSet, io::BufRead};

/// What an agency has suspended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspension {
    /// Which agency: what it received, or asked for, is left out.
    pub agency: AgencyId,
    /// On this day it is shown again.
    pub until: Date,
}

/// Whom the account is about, and what is left out.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// The person's handle. A person has another in each epoch of the federation's key.
    pub persons: BTreeSet<Handle>,
    /// Exchanges that are known to be about the person from elsewhere.
    pub requests: BTreeSet<RequestId>,
    /// What is suspended.
    pub suspensions: Vec<Suspension>,
    /// The present day; without, that of the last entry of the export, which can only leave out
    /// more.
    pub today: Option<Date>,
    /// Whether the account says that something may have been left out by law. It says so whether
    /// or not something was.
    pub say_left_out: bool,
}

/// The account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Account {
    /// The form of this document.
    #[serde(rename = "@format")]
    pub format: &'static str,
    /// Which log.
    pub log: Log,
    /// How many entries the export covers.
    pub size: u64,
    /// The Merkle root over them: which state of the log this is.
    pub root: String,
    /// The time of its latest entry: the account is complete up to here at most.
    pub as_of: Option<Timestamp>,
    /// The handles that were looked for.
    pub persons: BTreeSet<Handle>,
    /// The requests that were looked for.
    pub requests: BTreeSet<RequestId>,
    /// In the order in which they were settled.
    pub entries: Vec<Disclosure>,
    /// Exchanges of the export that may be about anybody: no opening says about whom.
    pub not_attributable: u64,
    /// Set if the law lets it be said that something may have been left out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub may_be_left_out_by_law: bool,
}

/// For the officer who makes the account, not for the person who gets it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aside {
    /// How many entries were left out because of a suspension.
    pub left_out: u64,
    /// Requests that are not in the export, or not readable.
    pub not_found: BTreeSet<RequestId>,
}

/// The value of `@format`.
const FORMAT: &str = "passerelle-disclosures/1";

/// Makes the account out of a verified export.
///
/// # Errors
/// [`DisclosureError`]; [`DisclosureError::NoPersons`] if a person is asked for and the export
/// reveals of nothing whom it is about.
pub fn account(
    reader: impl BufRead,
    query: &Query,
) -> Result<(Account, Aside, Walked), DisclosureError> {
    let (mut entries, mut aside) = (Vec::new(), Aside::default());
    aside.not_found.clone_from(&query.requests);
    let mut not_attributable = 0;
    let walked = walk(reader, &mut |_, row| {
        let of_person = row
            .person
            .is_some_and(|person| query.persons.contains(&person.handle));
        let named = row.request.as_ref().is_some_and(|request| {
            aside.not_found.remove(request);
            query.requests.contains(request)
        });
        if of_person || named {
            entries.push(row);
        } else if row.person.is_none() && row.outcome != Outcome::Refused {
            not_attributable += 1;
        }
        Ok(())
    })?;
    if !query.persons.is_empty() && walked.persons_opened == 0 {
        return Err(DisclosureError::NoPersons);
    }
    let today = query
        .today
        .or_else(|| walked.last_at.and_then(|at| Date::of(at).ok()));
    let before = entries.len();
    entries.retain(|row| !is_suspended(row, &query.suspensions, today));
    aside.left_out = (before - entries.len()) as u64;
    entries.sort_by_key(|row| row.settled.index);
    let account = Account {
        format: FORMAT,
        log: walked.log.clone(),
        size: walked.size,
        root: walked.root.to_hex(),
        as_of: walked.last_at,
        persons: query.persons.clone(),
        requests: query.requests.clone(),
        entries,
        not_attributable,
        may_be_left_out_by_law: query.say_left_out,
    };
    Ok((account, aside, walked))
}

/// Without a known day every suspension is in force; without a known recipient the row may be
/// that of any agency.
fn is_suspended(row: &Disclosure, suspensions: &[Suspension], today: Option<Date>) -> bool {
    suspensions.iter().any(|suspension| {
        let is_over = today.is_some_and(|today| today >= suspension.until);
        let of_another = row
            .recipient
            .as_ref()
            .is_some_and(|recipient| *recipient != suspension.agency);
        !is_over && !of_another
    })
}

/// The handle of the person whom a consent is about, from a verified export.
///
/// # Errors
/// [`DisclosureError::NotOpened`] if the export does not say.
pub fn person_of(reader: impl BufRead, consent: &ConsentId) -> Result<Handle, DisclosureError> {
    let mut reader = ExportReader::new(reader)?;
    while let Some(row) = reader.next_row()? {
        let index = row.index();
        let ExportRow::Entry {
            entry, openings, ..
        } = row
        else {
            continue;
        };
        let fault = |reason: String| DisclosureError::Entry { index, reason };
        let entry = Entry::from_bytes(&entry).map_err(|e| fault(e.to_string()))?;
        let EntryBody::Said { envelope, .. } = &entry.body else {
            continue;
        };
        let statement = envelope.unverified_statement();
        let statement = statement.map_err(|e| fault(e.to_string()))?;
        match statement.body {
            Body::Consent(terms) if terms.consent == *consent => {
                return handle(&openings, &terms.subject)
                    .ok_or_else(|| DisclosureError::NotOpened(consent.clone()));
            }
            _ => {}
        }
    }
    Err(DisclosureError::NotOpened(consent.clone()))
}
