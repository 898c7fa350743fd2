//! Looking for entries of the log: by period, agency, purpose, basis, category, decision, rule,
//! worker, case, request, consent, type, and, for those who hold the openings, by person.
//!
//! In scope: what is known of one entry ([`Found`]), which comes from the entry and from those
//! before it that it refers to ([`Walker`]); the question ([`Query`]); a walk over entries, however
//! they are stored ([`Search`]), or over an export ([`in_export`]).
//! Out of scope: whether the entries are the log (verify them first), who may read which (a reader
//! brings the entries and openings that it has), files, clocks.
//!
//! Nothing is guessed: an entry that refers to one which the reader may not read is found only by
//! what it says itself. A person's handle is compared and never given back.

mod args;
mod kind;
mod period;
mod query;
mod table;
#[cfg(test)]
mod tests;
mod walker;

pub use args::SearchArgs;
pub use kind::Kind;
pub use period::{Bound, InvalidTime};
pub use query::{Query, effect};
pub use table::table;
pub use walker::Walker;

use crate::{
    export::{ExportError, ExportReader, ExportRow},
    merkle::{Frontier, leaf_hash},
};
use passerelle_model::{
    bytes::{Digest, Handle},
    commitment::Opening,
    entry::Entry,
    ids::{AgencyId, AgreementId, CaseId, ConsentId, RequestId},
    pdp::Effect,
    time::Timestamp,
    vocabulary::{Category, LegalBasis, Level, Purpose},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, io::BufRead};

/// Most entries that one search gives; all are counted.
pub const MAX_FOUND: usize = 1_000;

/// Why a search can't be answered.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The export can't be read.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// An entry is out of place or none: the log was not verified.
    #[error("entry {index}: {reason}")]
    Entry {
        /// Its index.
        index: u64,
        /// What is wrong.
        reason: String,
    },
    /// A name that stands in no entry that can be read: a typing error more likely than not, and an
    /// empty answer would look like an answer.
    #[error("no entry that can be read has the {what} `{name}`; known are: {known}")]
    Unknown {
        /// What it was to be.
        what: &'static str,
        /// As it was asked for.
        name: String,
        /// Those that there are.
        known: String,
    },
}

/// Something that was asked for, decided, agreed or consented to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundItem {
    /// What about.
    pub category: Category,
    /// How far at most; none where no level is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// What was decided, in the entry that decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
    /// The rules that determined it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
}

/// What is known of an entry. Absent is what neither it nor those before it say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Its index, from zero.
    pub index: u64,
    /// When it was sequenced, by the broker's clock.
    pub at: Timestamp,
    /// Its type, or that of the statement in it.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Who said it, or whom alone it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<AgencyId>,
    /// Everybody who has a part in it.
    pub agencies: BTreeSet<AgencyId>,
    /// Who asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester: Option<AgencyId>,
    /// Who was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<AgencyId>,
    /// What for.
    pub purposes: BTreeSet<Purpose>,
    /// The bases in law that were stated.
    pub bases: BTreeSet<LegalBasis>,
    /// What about.
    pub items: Vec<FoundItem>,
    /// In which case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<CaseId>,
    /// About which request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
    /// The consents that it records, withdraws or rests on.
    pub consents: BTreeSet<ConsentId>,
    /// The agreements that it proposes, signs or rests on.
    pub agreements: BTreeSet<AgreementId>,
    /// The worker who asked, where that is opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// The code of the refusal, or of why it was stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Its Merkle leaf hash.
    pub leaf_hash: Digest,
    /// Whom it is about, where that is opened. For comparing alone: it leaves with no answer.
    #[serde(skip)]
    pub person: Option<Handle>,
}

/// The answer to a search.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// How many entries the log has, under the checkpoint that was read.
    pub size: u64,
    /// How many of them can't be read here, and may be what is looked for.
    pub not_readable: u64,
    /// How many were found.
    pub matched: u64,
    /// The first of them after [`Limits::after`], at most [`Limits::most`].
    pub entries: Vec<Found>,
}

impl Page {
    /// Whether more were found than are here.
    pub fn is_cut(&self, limits: Limits) -> bool {
        self.entries.len() >= limits.most && self.matched > self.entries.len() as u64
    }
}

/// How much of what is found is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Only what comes after this index; it counts all the same.
    pub after: Option<u64>,
    /// At most so many, up to [`MAX_FOUND`].
    pub most: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            after: None,
            most: MAX_FOUND,
        }
    }
}

/// A search under way: it is shown every entry, in order.
#[derive(Debug)]
pub struct Search {
    query: Query,
    limits: Limits,
    walker: Walker,
    page: Page,
}

impl Search {
    /// Begins.
    pub fn new(query: Query, limits: Limits) -> Self {
        Self {
            query,
            limits: Limits {
                most: limits.most.min(MAX_FOUND),
                ..limits
            },
            walker: Walker::default(),
            page: Page {
                size: 0,
                not_readable: 0,
                matched: 0,
                entries: Vec::new(),
            },
        }
    }

    /// Takes the next entry, with what opens it, as far as the reader has that.
    ///
    /// # Errors
    /// [`SearchError::Entry`].
    pub fn entry(&mut self, entry: &[u8], openings: &[Opening]) -> Result<(), SearchError> {
        let index = self.page.size;
        let fault = |reason: String| SearchError::Entry { index, reason };
        let parsed = Entry::from_bytes(entry).map_err(|error| fault(error.to_string()))?;
        let found = self.walker.take(index, leaf_hash(entry), parsed, openings);
        let found = found.map_err(fault)?;
        self.page.size += 1;
        if !self.query.matches(&found) {
            return Ok(());
        }
        self.page.matched += 1;
        let is_wanted = self.limits.after.is_none_or(|after| index > after);
        if is_wanted && self.page.entries.len() < self.limits.most {
            self.page.entries.push(found);
        }
        Ok(())
    }

    /// Takes an entry that can't be read.
    pub fn hidden(&mut self) {
        self.page.size += 1;
        self.page.not_readable += 1;
    }

    /// Ends.
    ///
    /// # Errors
    /// [`SearchError::Unknown`].
    pub fn finish(self) -> Result<Page, SearchError> {
        let Query {
            agencies,
            requesters,
            holders,
            rules,
            ..
        } = &self.query;
        for asked in [agencies, requesters, holders] {
            known("agency", asked, self.walker.agencies())?;
        }
        known("rule", rules, self.walker.rules())?;
        Ok(self.page)
    }
}

fn known<T: Ord + ToString>(
    what: &'static str,
    asked: &BTreeSet<T>,
    known: &BTreeSet<T>,
) -> Result<(), SearchError> {
    let Some(unknown) = asked.difference(known).next() else {
        return Ok(());
    };
    let known: Vec<_> = known.iter().map(T::to_string).collect();
    Err(SearchError::Unknown {
        what,
        name: unknown.to_string(),
        known: known.join(", "),
    })
}

/// Searches an export, which must have been verified, and gives the root over what was read: the
/// caller compares it with that of the verification, so that a file which changed in between is
/// noticed.
///
/// # Errors
/// [`SearchError`].
pub fn in_export(
    reader: impl BufRead,
    query: Query,
    limits: Limits,
) -> Result<(Page, Digest), SearchError> {
    let mut reader = ExportReader::new(reader)?;
    let mut search = Search::new(query, limits);
    let mut tree = Frontier::new();
    while let Some(row) = reader.next_row()? {
        let index = tree.size();
        if row.index() != index {
            let reason = "a row is missing or out of place".to_owned();
            return Err(SearchError::Entry { index, reason });
        }
        match row {
            ExportRow::Hidden { leaf_hash, .. } => {
                tree.push(leaf_hash);
                search.hidden();
            }
            ExportRow::Entry {
                entry, openings, ..
            } => {
                tree.push(leaf_hash(&entry));
                search.entry(&entry, &openings)?;
            }
        }
    }
    Ok((search.finish()?, tree.root()))
}
