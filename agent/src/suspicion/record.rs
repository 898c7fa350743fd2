//! Audit cases as they are journaled, and their rows in the projection.
//!
//! In scope: events, rows, `apply`, reads of one. Out of scope: lists (`lists`), what
//! decides ([`super::question`], [`super::verdict`]).

pub use super::lists::{all, open_until, page, suspended, waiting};

use super::{Action, Finding, Kind, detect::Pace};
use crate::{
    holder::storage,
    state::{key, load, put},
    vault,
};
use passerelle_model::{
    bytes::{Bytes, Digest, Handle},
    commitment::Opening,
    error::ErrorCode,
    ids::{AuditCaseId, RequestId},
    store::{Overlay, Read, StoreError},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

pub(super) const CASE: &str = "auditcase/";
/// Cases that wait for a verdict, by deadline.
pub(super) const DUE: &[u8] = b"auditdue/";
/// Cases by time, the newest first.
pub(super) const AT: &[u8] = b"auditat/";
/// Cases by request.
const CASES_OF: &str = "auditof/";
/// Most cases of one request: the question's own, and the review of the emergency.
const MAX_CASES_OF: usize = 8;
const ASKED_BY: &str = "askedby/";
const PACE: &str = "pace/";
pub(super) const SUSPENDED: &str = "suspended/";
/// Names of who may not look at a question, by request.
const NAMED_APART: &str = "namedapart/";
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
    /// There was none: a worker looked at what the rules would say.
    Previewed,
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
            Self::Previewed => "previewed",
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
        /// Who may not look at it as a second person, sealed: it says who the person may be.
        #[serde(default)]
        apart: Option<Bytes>,
    },
    /// A worker looks, or tries to look, at what the rules would say of a person.
    Previewed {
        /// An id that no request has.
        request: RequestId,
        /// Who.
        worker: String,
        /// As of a question that is asked.
        #[serde(default)]
        apart: Option<Bytes>,
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
        /// Opens who it was in what the log was told of it.
        #[serde(default)]
        reviewer: Option<Opening>,
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
        /// The names ([`vault::Index`]) of who may not look at its question, if what says so goes
        /// with it: an emergency in it may still get its permit, and with that a review.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        apart: Vec<Digest>,
    },
}

impl CaseEvent {
    /// The code of the kind.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Asked { .. } => "asked",
            Self::Previewed { .. } => "previewed",
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
    /// Opens who it was in what the log was told of it, if it was.
    #[serde(default)]
    pub reviewer: Option<Opening>,
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

/// Under which name the vault has the key of who may not look at a question as a second person.
pub(super) fn apart_name(request: &RequestId) -> String {
    format!("{request}/apart")
}

/// Where that stands, sealed.
fn apart_key(request: &RequestId) -> Vec<u8> {
    vault::kept_key(&apart_name(request))
}

/// Where their names stand, once what is sealed is gone.
pub(crate) fn named_apart_key(request: &RequestId) -> Vec<u8> {
    key::of(NAMED_APART, request.as_str().as_bytes())
}

/// The names of who may not look at a question of which nothing more is kept.
pub(super) fn named_apart(view: &dyn Read, request: &RequestId) -> Result<Vec<Digest>, StoreError> {
    Ok(load(view, &named_apart_key(request))?.unwrap_or_default())
}

/// The place of a case among those of its request; without a case the prefix.
fn of_request(request: &RequestId, case: Option<&AuditCaseId>) -> Vec<u8> {
    let case = case.map_or("", |case| case.as_str());
    [CASES_OF, request.as_str(), "/", case]
        .concat()
        .into_bytes()
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

/// The place of a case among all, by time.
pub(super) fn at_key(row: &CaseRow) -> Vec<u8> {
    let later_first = u64::MAX.saturating_sub(row.at.0).to_be_bytes();
    [AT, &later_first, row.case.as_str().as_bytes()].concat()
}

/// Carries out an event.
pub(crate) fn apply(
    view: &mut Overlay<'_>,
    at: Timestamp,
    event: &CaseEvent,
) -> Result<(), StoreError> {
    match event {
        // A look is a look, whether something is asked then or not.
        CaseEvent::Asked {
            request,
            worker,
            apart,
        }
        | CaseEvent::Previewed {
            request,
            worker,
            apart,
        } => {
            if let Some(apart) = apart {
                view.write(apart_key(request), Some(apart.0.clone()));
            }
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
            reviewer,
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
                reviewer: reviewer.clone(),
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
        CaseEvent::Erased { case, apart } => {
            view.write(vault::kept_key(case.as_str()), None);
            view.write(note_key(case), None);
            edit(view, case, |row| row.is_erased = true)?;
            if let Some(row) = load::<CaseRow>(view, &case_key(case))?
                && is_done_with(view, &row.request)?
            {
                view.write(apart_key(&row.request), None);
                if !apart.is_empty() {
                    put(view, named_apart_key(&row.request), apart)?;
                }
            }
            Ok(())
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
    view.write(at_key(&row), Some(Vec::new()));
    view.write(of_request(&row.request, Some(&row.case)), Some(Vec::new()));
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

/// Notes that nobody here knows any more whom `id` is about.
pub(crate) fn not_labelled(view: &mut Overlay<'_>, handle: &Handle, id: &str) {
    view.write([LABEL_OF, &handle.0, id.as_bytes()].concat(), None);
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

/// An audit case.
///
/// # Errors
/// [`ErrorCode::UnknownAuditCase`]; the store.
pub fn case(view: &dyn Read, case: &AuditCaseId) -> Result<CaseRow, ErrorCode> {
    let row = load(view, &case_key(case)).map_err(storage)?;
    row.ok_or(ErrorCode::UnknownAuditCase)
}

/// The cases of a request.
///
/// # Errors
/// The store.
pub(super) fn cases_of(view: &dyn Read, request: &RequestId) -> Result<Vec<CaseRow>, StoreError> {
    let prefix = of_request(request, None);
    let mut cases = Vec::new();
    for (place, _) in view.scan(&prefix, None, MAX_CASES_OF)? {
        let id = place.get(prefix.len()..).unwrap_or_default();
        cases.extend(load::<CaseRow>(view, &key::of(CASE, id))?);
    }
    Ok(cases)
}

/// Whether no case of a request says anything of a person any more.
fn is_done_with(view: &dyn Read, request: &RequestId) -> Result<bool, StoreError> {
    let cases = cases_of(view, request)?;
    Ok(cases.iter().all(|case| case.is_erased))
}

/// The name of what says who had no part in a question, which goes with its last case.
///
/// # Errors
/// The store.
pub(super) fn goes_with_case(view: &dyn Read, row: &CaseRow) -> Result<Option<String>, StoreError> {
    let cases = cases_of(view, &row.request)?;
    let mut others = cases.iter().filter(|case| case.case != row.case);
    let is_kept = row.is_erased || view.get(&apart_key(&row.request))?.is_some();
    let goes = is_kept && others.all(|case| case.is_erased);
    Ok(goes.then(|| apart_name(&row.request)))
}

/// The name of what is kept of a request beside its secrets and goes with them, if it is there and
/// no audit case needs it.
///
/// # Errors
/// The store.
pub(crate) fn goes_with(
    view: &dyn Read,
    request: &RequestId,
) -> Result<Option<String>, StoreError> {
    let is_kept = view.get(&apart_key(request))?.is_some();
    let goes = is_kept && is_done_with(view, request)?;
    Ok(goes.then(|| apart_name(request)))
}

/// Whether there is such a case.
pub(super) fn is_known(view: &dyn Read, case: &AuditCaseId) -> Result<bool, StoreError> {
    Ok(view.get(&case_key(case))?.is_some())
}

/// The sealed note of a case.
pub(super) fn note(view: &dyn Read, case: &AuditCaseId) -> Result<Option<Bytes>, StoreError> {
    Ok(view.get(&note_key(case))?.map(Bytes))
}
