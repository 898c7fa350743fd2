//! Audit cases as they are journaled, and their rows in the projection.
//!
//! In scope: events, rows, `apply`, reads. Out of scope: what decides ([`super::question`],
//! [`super::verdict`]).

use super::{Action, Finding, Kind, detect::Pace};
use crate::{
    holder::storage,
    state::{MAX_ROWS, key, load, put},
    vault,
};
use passerelle_model::{
    bytes::{Bytes, Handle},
    error::ErrorCode,
    ids::{AuditCaseId, RequestId},
    store::{Overlay, Read, StoreError},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

const CASE: &str = "auditcase/";
/// Cases that wait for a verdict, by deadline.
const DUE: &[u8] = b"auditdue/";
const ASKED_BY: &str = "askedby/";
const PACE: &str = "pace/";
const SUSPENDED: &str = "suspended/";
/// Ids of what was made here about a person, by handle.
const LABEL_OF: &[u8] = b"labelof/";

/// What became of the question of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It left.
    Sent,
    /// It waits for a second person.
    Held,
    /// It was refused.
    Refused,
    /// A second person let it leave.
    Released,
    /// It was held and never left.
    Dropped,
}

impl Fate {
    /// Its code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Held => "held",
            Self::Refused => "refused",
            Self::Released => "released",
            Self::Dropped => "dropped",
        }
    }
}

/// A new audit case.
#[derive(Clone, Serialize, Deserialize)]
pub struct Raised {
    /// Its id.
    pub case: AuditCaseId,
    /// Why, and what was done about each.
    pub kinds: Vec<(Kind, Action)>,
    /// The worker, if it is one of this agency.
    pub worker: Option<String>,
    /// Under which id the question left, or would.
    pub request: RequestId,
    /// Until when a second person has to look; none for what is only noted.
    pub review_by: Option<Timestamp>,
    /// What became of the question.
    pub fate: Fate,
    /// The person and a held question, sealed under the key of the case.
    pub kept: Option<Bytes>,
}

/// What happens around audit cases.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaseEvent {
    /// A worker asks, or tries to.
    Asked {
        /// The question.
        request: RequestId,
        /// Who.
        worker: String,
    },
    /// Something has to be looked at.
    Raised(Box<Raised>),
    /// A second person has looked.
    Decided {
        /// At which case.
        case: AuditCaseId,
        /// What was found.
        finding: Finding,
        /// By whom.
        worker: String,
        /// Free text, sealed under a key of its own.
        note: Option<Bytes>,
        /// What became of a question that was held.
        fate: Fate,
    },
    /// A worker may not go on.
    Suspended {
        /// Who.
        worker: String,
        /// Who said so.
        by: String,
    },
    /// A worker may go on.
    Lifted {
        /// Who.
        worker: String,
        /// Who said so.
        by: String,
    },
    /// What a case says of a person is to be destroyed; the keys follow.
    Erased {
        /// Which.
        case: AuditCaseId,
    },
}

impl CaseEvent {
    /// The code of the kind.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Asked { .. } => "asked",
            Self::Raised(_) => "audit_case_raised",
            Self::Decided { .. } => "audit_case_decided",
            Self::Suspended { .. } => "worker_suspended",
            Self::Lifted { .. } => "suspension_lifted",
            Self::Erased { .. } => "audit_case_erased",
        }
    }
}

/// Who decided what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// What was found.
    pub finding: Finding,
    /// By whom.
    pub worker: String,
    /// When.
    pub at: Timestamp,
    /// Whether there is a note.
    pub has_note: bool,
}

/// An audit case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseRow {
    /// Its id.
    pub case: AuditCaseId,
    /// Why, and what was done about each.
    pub kinds: Vec<(Kind, Action)>,
    /// The worker, if it is one of this agency.
    pub worker: Option<String>,
    /// The question.
    pub request: RequestId,
    /// When it was raised.
    pub at: Timestamp,
    /// Until when a second person has to look.
    pub review_by: Option<Timestamp>,
    /// What became of the question.
    pub fate: Fate,
    /// The verdict.
    pub decided: Option<Decided>,
    /// Whether what it says of a person is destroyed.
    pub is_erased: bool,
}

impl CaseRow {
    /// Whether it waits for a verdict.
    pub const fn is_open(&self) -> bool {
        self.review_by.is_some() && self.decided.is_none()
    }

    /// Whether its deadline is over without a verdict.
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.is_open() && self.review_by.is_some_and(|by| by <= now)
    }
}

/// Under which name the vault has the key of a case's note.
pub(super) fn note_name(case: &AuditCaseId) -> String {
    format!("{case}/note")
}

/// Where a case's note stands, sealed.
fn note_key(case: &AuditCaseId) -> Vec<u8> {
    vault::kept_key(&note_name(case))
}

fn case_key(case: &AuditCaseId) -> Vec<u8> {
    key::of(CASE, case.as_str().as_bytes())
}

fn due_key(by: Timestamp, case: &AuditCaseId) -> Vec<u8> {
    [DUE, &by.0.to_be_bytes(), case.as_str().as_bytes()].concat()
}

/// Carries out an event.
pub(crate) fn apply(
    view: &mut Overlay<'_>,
    at: Timestamp,
    event: &CaseEvent,
) -> Result<(), StoreError> {
    match event {
        CaseEvent::Asked { request, worker } => {
            let mut pace = pace(view, worker)?;
            pace.count(at);
            put(view, key::of(PACE, worker.as_bytes()), &pace)?;
            put(view, key::of(ASKED_BY, request.as_str().as_bytes()), worker)
        }
        CaseEvent::Raised(raised) => raise(view, at, raised),
        CaseEvent::Decided {
            case,
            finding,
            worker,
            note,
            fate,
        } => {
            if let Some(note) = note {
                view.write(note_key(case), Some(note.0.clone()));
            }
            if *fate == Fate::Released {
                // The question has a key of its own now.
                view.write(vault::kept_key(case.as_str()), None);
            }
            let decided = Decided {
                finding: *finding,
                worker: worker.clone(),
                at,
                has_note: note.is_some(),
            };
            edit(view, case, |row| {
                row.decided = Some(decided);
                row.fate = *fate;
            })
        }
        CaseEvent::Suspended { worker, by } => put(view, key::of(SUSPENDED, worker.as_bytes()), by),
        CaseEvent::Lifted { worker, .. } => {
            view.write(key::of(SUSPENDED, worker.as_bytes()), None);
            Ok(())
        }
        CaseEvent::Erased { case } => {
            view.write(vault::kept_key(case.as_str()), None);
            view.write(note_key(case), None);
            edit(view, case, |row| row.is_erased = true)
        }
    }
}

fn raise(view: &mut Overlay<'_>, at: Timestamp, raised: &Raised) -> Result<(), StoreError> {
    let row = CaseRow {
        case: raised.case.clone(),
        kinds: raised.kinds.clone(),
        worker: raised.worker.clone(),
        request: raised.request.clone(),
        at,
        review_by: raised.review_by,
        fate: raised.fate,
        decided: None,
        is_erased: false,
    };
    if let Some(by) = row.review_by {
        view.write(due_key(by, &row.case), Some(Vec::new()));
    }
    if let Some(kept) = &raised.kept {
        view.write(vault::kept_key(row.case.as_str()), Some(kept.0.clone()));
    }
    let is_volume = row.kinds.iter().any(|(kind, _)| *kind == Kind::Volume);
    if let Some(worker) = row.worker.as_ref().filter(|_| is_volume) {
        let mut pace = pace(view, worker)?;
        pace.raised(at);
        put(view, key::of(PACE, worker.as_bytes()), &pace)?;
    }
    put(view, case_key(&row.case), &row)
}

fn edit(
    view: &mut Overlay<'_>,
    case: &AuditCaseId,
    edit: impl FnOnce(&mut CaseRow),
) -> Result<(), StoreError> {
    let Some(mut row) = load::<CaseRow>(view, &case_key(case))? else {
        return Ok(());
    };
    edit(&mut row);
    if let Some(by) = row.review_by.filter(|_| !row.is_open()) {
        view.write(due_key(by, case), None);
    }
    put(view, case_key(case), &row)
}

/// Notes that `id` was made here about a person.
pub(crate) fn labelled(view: &mut Overlay<'_>, handle: &Handle, id: &str) {
    view.write(
        [LABEL_OF, &handle.0, id.as_bytes()].concat(),
        Some(Vec::new()),
    );
}

/// Whether a consent or a case was made here about a person.
pub(super) fn is_labelled(view: &dyn Read, handle: &Handle) -> Result<bool, StoreError> {
    let rows = view.scan(&[LABEL_OF, &handle.0].concat(), None, 1)?;
    Ok(!rows.is_empty())
}

/// How often a worker asks.
pub(super) fn pace(view: &dyn Read, worker: &str) -> Result<Pace, StoreError> {
    Ok(load(view, &key::of(PACE, worker.as_bytes()))?.unwrap_or_default())
}

/// Who asked a question of ours.
pub fn asked_by(view: &dyn Read, request: &RequestId) -> Result<Option<String>, StoreError> {
    load(view, &key::of(ASKED_BY, request.as_str().as_bytes()))
}

/// Who suspended a worker, if one did.
pub fn suspended_by(view: &dyn Read, worker: &str) -> Result<Option<String>, StoreError> {
    load(view, &key::of(SUSPENDED, worker.as_bytes()))
}

/// Everybody who is suspended.
pub fn suspended(view: &dyn Read) -> Result<Vec<String>, StoreError> {
    let rows = view.scan(SUSPENDED.as_bytes(), None, MAX_ROWS)?;
    let names = rows.iter().map(|(place, _)| {
        let name = place.get(SUSPENDED.len()..).unwrap_or_default();
        String::from_utf8_lossy(name).into_owned()
    });
    Ok(names.collect())
}

/// An audit case.
///
/// # Errors
/// [`ErrorCode::UnknownAuditCase`]; the store.
pub fn case(view: &dyn Read, case: &AuditCaseId) -> Result<CaseRow, ErrorCode> {
    let row = load(view, &case_key(case)).map_err(storage)?;
    row.ok_or(ErrorCode::UnknownAuditCase)
}

/// Whether there is such a case.
pub(super) fn is_known(view: &dyn Read, case: &AuditCaseId) -> Result<bool, StoreError> {
    Ok(view.get(&case_key(case))?.is_some())
}

/// The sealed note of a case.
pub(super) fn note(view: &dyn Read, case: &AuditCaseId) -> Result<Option<Bytes>, StoreError> {
    Ok(view.get(&note_key(case))?.map(Bytes))
}

/// All cases, at most [`MAX_ROWS`].
///
/// # Errors
/// The store.
pub fn all(view: &dyn Read) -> Result<Vec<CaseRow>, StoreError> {
    let rows = view.scan(CASE.as_bytes(), None, MAX_ROWS)?;
    let mut cases = Vec::with_capacity(rows.len());
    for (place, _) in rows {
        cases.extend(load::<CaseRow>(view, &place)?);
    }
    Ok(cases)
}

/// Those that wait for a verdict, the most urgent first, with a deadline of at most `until`; at
/// most [`MAX_ROWS`].
///
/// # Errors
/// The store.
pub fn open_until(view: &dyn Read, until: Timestamp) -> Result<Vec<CaseRow>, StoreError> {
    let mut found = Vec::new();
    for (place, _) in view.scan(DUE, None, MAX_ROWS)? {
        let rest = place.get(DUE.len()..).unwrap_or_default();
        let Some((by, id)) = rest.split_first_chunk() else {
            continue;
        };
        if u64::from_be_bytes(*by) > until.0 {
            break;
        }
        found.extend(load::<CaseRow>(view, &key::of(CASE, id))?);
    }
    Ok(found)
}

/// How many wait for a verdict, and how many of them too long; each at most [`MAX_ROWS`].
///
/// # Errors
/// The store.
pub fn waiting(view: &dyn Read, now: Timestamp) -> Result<(u64, u64), StoreError> {
    let places = view.scan(DUE, None, MAX_ROWS)?;
    let is_over = |place: &[u8]| {
        let by = place.get(DUE.len()..).and_then(<[u8]>::first_chunk);
        by.is_some_and(|by| u64::from_be_bytes(*by) <= now.0)
    };
    let overdue = places.iter().filter(|(place, _)| is_over(place)).count();
    Ok((places.len() as u64, overdue as u64))
}
