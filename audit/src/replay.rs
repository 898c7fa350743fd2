//! Decisions evaluated again, from an exported log alone.
//!
//! Whether to permit was decided on the state that the entries before had led to. That state is
//! built again out of the same entries, each decision is put to the rules as it was then, and the
//! outcome is held against what the log says.
//!
//! In scope: decisions in a range of a log, by the rules that made them or by others. Out of scope:
//! whether the export is the log (verify it first: signatures, root and witnesses are not looked at
//! here), where rules come from, and what agencies say being true.
//!
//! A decision can depend on whose consents these are, which only openings tell. What an export
//! leaves out, or what was erased since, is said to be missing and not guessed.

use crate::export::{ExportError, ExportReader, ExportRow};
use passerelle_model::{
    apply::apply,
    bytes::{Commitment, Digest},
    commitment::{self, Field, Opening},
    entry::{Entry, EntryBody, Record, Sidecar},
    ids::{AgencyId, RequestId},
    pdp::{ItemRuling, PolicyDecisionPoint, Ruling},
    pip::{self, Collected},
    records::RequestRow,
    state,
    statement::{Body, Item},
    store::{Memory, Overlay, StoreError},
    time::Timestamp,
};
use serde::Serialize;
use std::{collections::HashSet, fmt, io::BufRead, ops::RangeInclusive};

/// By what to decide again.
#[derive(Clone, Copy)]
pub enum Rules<'a> {
    /// By the rules that made the decision, which must be among these.
    InForce(&'a [&'a dyn PolicyDecisionPoint]),
    /// By these, whatever made the decision: what would they have decided?
    Other(&'a dyn PolicyDecisionPoint),
}

impl<'a> Rules<'a> {
    fn for_bundle(self, bundle: &Digest) -> Option<&'a dyn PolicyDecisionPoint> {
        match self {
            Self::InForce(all) => all.iter().copied().find(|pdp| pdp.bundle() == *bundle),
            Self::Other(pdp) => Some(pdp),
        }
    }
}

/// Why the replay can't go on.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The export can't be read.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The rows end before the range does, are out of order, or are no entries.
    #[error("entry {index}: {reason}")]
    Entry {
        /// Index of the entry.
        index: u64,
        /// What is wrong.
        reason: String,
    },
    /// Who exported the log may not read this entry: what it led to can't be known.
    #[error("entry {0} is not readable in this export; a replay needs every entry")]
    Hidden(u64),
}

/// Why a decision can't be confirmed or denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Obstacle {
    /// The rules that made it are not among those given.
    OtherRules,
    /// Who the request is about is not opened in this export.
    PersonNotOpened,
    /// It came out otherwise, and whom an earlier consent or case is about is not opened in this
    /// export, which may be why.
    EarlierNotOpened,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtherRules => "the rules that made it are not at hand",
            Self::PersonNotOpened => "whom the request is about is not opened in this export",
            Self::EarlierNotOpened => {
                "it comes out otherwise, and whom an earlier consent or case is about is not \
                 opened in this export"
            }
        })
    }
}

/// What came of deciding again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The same, to the letter.
    Same,
    /// This instead.
    Differs(Vec<ItemRuling>),
    /// It can't be known.
    NotPossible(Obstacle),
}

/// A decision, and what came of deciding again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Replayed {
    /// Index of the decision in the log.
    pub index: u64,
    /// When it was made, by the broker's clock.
    pub at: Timestamp,
    /// Which request.
    pub request: RequestId,
    /// Who asked.
    pub requester: AgencyId,
    /// Who was asked.
    pub holder: AgencyId,
    /// By which rules it was made.
    pub bundle: Digest,
    /// What the log says.
    pub logged: Vec<ItemRuling>,
    /// What deciding again says.
    pub outcome: Outcome,
}

/// Decides every decision with an index in `range` again, and gives each to `each`, in order.
/// Entries after the range are not read.
///
/// The export must have been verified (see [`crate::verify`]): only then do the entries before a
/// decision say what it was made of.
///
/// # Errors
/// [`ReplayError`], at the first entry that the state can't be built from.
pub fn replay(
    reader: impl BufRead,
    range: &RangeInclusive<u64>,
    rules: Rules<'_>,
    each: &mut dyn FnMut(Replayed),
) -> Result<(), ReplayError> {
    let mut reader = ExportReader::new(reader)?;
    let mut past = Past::default();
    for index in 0..=*range.end() {
        let fault = |reason: String| ReplayError::Entry { index, reason };
        let record = match reader.next_row()? {
            Some(row) if row.index() == index => record(row)?,
            Some(_) => return Err(fault("a row is missing or out of place".to_owned())),
            // The last entry may be named by a number that is too large.
            None if index > *range.start() => return Ok(()),
            None => return Err(fault("the log has no such entry".to_owned())),
        };
        if range.contains(&index) {
            let replayed = past.decide(index, &record, rules);
            if let Some(replayed) = replayed.map_err(|error| fault(error.to_string()))? {
                each(replayed);
            }
        }
        past.take(index, &record)
            .map_err(|error| fault(error.to_string()))?;
    }
    Ok(())
}

fn record(row: ExportRow) -> Result<Record, ReplayError> {
    match row {
        ExportRow::Hidden { index, .. } => Err(ReplayError::Hidden(index)),
        ExportRow::Entry {
            index,
            entry,
            openings,
        } => {
            let entry = Entry::from_bytes(&entry).map_err(|error| ReplayError::Entry {
                index,
                reason: error.to_string(),
            })?;
            let sidecar = Sidecar {
                openings,
                ..Sidecar::default()
            };
            Ok(Record { entry, sidecar })
        }
    }
}

/// What the entries so far have led to.
#[derive(Default)]
struct Past {
    state: Memory,
    /// Requests about a person who is not opened.
    not_opened: HashSet<RequestId>,
    /// Whether there is a consent or a case about a person who is not opened.
    others_not_opened: bool,
}

impl Past {
    fn take(&mut self, index: u64, record: &Record) -> Result<(), StoreError> {
        self.note_what_is_not_opened(record);
        let mut overlay = Overlay::new(&self.state);
        apply(&mut overlay, index, record)?;
        let writes = overlay.into_writes();
        self.state.commit(writes);
        Ok(())
    }

    fn note_what_is_not_opened(&mut self, record: &Record) {
        let EntryBody::Said { envelope, .. } = &record.entry.body else {
            return;
        };
        // What does not parse is refused when it is applied.
        let Ok(statement) = envelope.unverified_statement() else {
            return;
        };
        let openings = &record.sidecar.openings;
        match &statement.body {
            Body::Request(asked) if !is_opened(openings, asked.subject) => {
                self.not_opened.insert(asked.request.clone());
            }
            Body::Consent(terms) if !is_opened(openings, Some(terms.subject)) => {
                self.others_not_opened = true;
            }
            Body::CaseAdvance(advance) if !is_opened(openings, advance.subject) => {
                self.others_not_opened = true;
            }
            _ => {}
        }
    }

    /// The decision again, if this entry is one.
    fn decide(
        &self,
        index: u64,
        record: &Record,
        rules: Rules<'_>,
    ) -> Result<Option<Replayed>, StoreError> {
        let EntryBody::Decided {
            request,
            items,
            bundle,
        } = &record.entry.body
        else {
            return Ok(None);
        };
        let at = record.entry.at;
        let row = state::request(&self.state, request)?
            .ok_or_else(|| StoreError(format!("`{request}` was never asked")))?;
        let outcome = match rules.for_bundle(bundle) {
            None => Outcome::NotPossible(Obstacle::OtherRules),
            Some(_) if self.not_opened.contains(request) => {
                Outcome::NotPossible(Obstacle::PersonNotOpened)
            }
            Some(pdp) => match self.rule_all(&row, at, pdp)? {
                again if again == *items => Outcome::Same,
                _ if self.others_not_opened => Outcome::NotPossible(Obstacle::EarlierNotOpened),
                again => Outcome::Differs(again),
            },
        };
        Ok(Some(Replayed {
            index,
            at,
            request: row.request,
            requester: row.requester,
            holder: row.holder,
            bundle: *bundle,
            logged: items.clone(),
            outcome,
        }))
    }

    /// The ruling on each item as things stood then.
    fn rule_all(
        &self,
        row: &RequestRow,
        at: Timestamp,
        pdp: &dyn PolicyDecisionPoint,
    ) -> Result<Vec<ItemRuling>, StoreError> {
        let rule = |item: &Item| {
            let ruling = match pip::collect(&self.state, row, *item, at)? {
                Collected::Matter(matter) => pdp.rule(&matter),
                Collected::Doubt(reason) => Ruling::deny(reason),
            };
            let (category, level) = (item.category, item.level);
            Ok(ItemRuling {
                category,
                level,
                ruling,
            })
        };
        row.items.iter().map(rule).collect()
    }
}

/// Whether it is known who this is about; nobody is known.
fn is_opened(openings: &[Opening], subject: Option<Commitment>) -> bool {
    subject.is_none_or(|subject| commitment::find(openings, Field::Subject, &subject).is_some())
}
