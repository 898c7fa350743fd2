//! Early deletion reviews: what was received in a case that ended without a concern, or that this
//! agency has left (DATA, rule 27, and the third of the four filters).
//!
//! In scope: which answers, until when, keeping one with a reason, saying what is overdue. Out of
//! scope: erasing ([`crate::erasure`]); the retention that comes with a permit
//! ([`crate::retention`]), which goes on beside it.
//!
//! Nothing is erased here by itself: that there is no concern says nothing of the service that an
//! agency gives to the person. Somebody looks, and erases or says why not, in a code: words might
//! name the person, and stay in the journal.

use crate::{
    alerts::AlertCode,
    event::Event,
    holder::storage,
    node::Node,
    state::{self, AskRow, key},
};
use passerelle_model::{
    error::ErrorCode,
    ids::{AgencyId, CaseId, RequestId},
    records::Case,
    request::Status,
    statement::Request,
    store::{Overlay, Read, StoreError},
    time::Timestamp,
    vocabulary::{CaseOutcome, CaseRole, Outcome},
};
use passerelle_proto::views::{Copies, DeletionView};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, str::FromStr, time::Duration};

/// Cases that are over for this agency, by id.
const OVER: &str = "caseover/";
/// Requests of ours by case.
const OF_CASE: &str = "ofcase/";
/// Answers that are kept nevertheless, by request.
const KEPT: &str = "keptafter/";

/// How often to look for what is overdue.
const EVERY: Duration = Duration::from_secs(3_600);

/// Why an answer is kept that was received in a case without a concern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeepReason {
    /// A service that this agency gives to the person needs it.
    OwnService,
    /// A law obliges this agency to keep it.
    LegalDuty,
    /// A complaint, a review or a proceeding is open.
    Dispute,
    /// The person wants it kept.
    PersonWishes,
}

impl KeepReason {
    /// All.
    pub const ALL: [Self; 4] = [
        Self::OwnService,
        Self::LegalDuty,
        Self::Dispute,
        Self::PersonWishes,
    ];

    /// The code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::OwnService => "own_service",
            Self::LegalDuty => "legal_duty",
            Self::Dispute => "dispute",
            Self::PersonWishes => "person_wishes",
        }
    }
}

/// None of the codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown reason; known are: own_service, legal_duty, dispute, person_wishes")]
pub struct NotAReason;

impl FromStr for KeepReason {
    type Err = NotAReason;
    fn from_str(text: &str) -> Result<Self, NotAReason> {
        let found = Self::ALL.into_iter().find(|reason| reason.code() == text);
        found.ok_or(NotAReason)
    }
}

/// A case that is over for this agency.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct OverRow {
    at: Timestamp,
    has_left: bool,
}

/// An answer that somebody keeps.
#[derive(Clone, Serialize, Deserialize)]
struct KeptRow {
    reason: KeepReason,
    worker: String,
}

/// Whether a case that ended so has shown no concern for which agencies would go on acting together.
pub const fn is_without_concern(outcome: CaseOutcome) -> bool {
    match outcome {
        CaseOutcome::LoweredNoAction
        | CaseOutcome::RejectedAlreadyConnected
        | CaseOutcome::RejectedBelowThreshold
        | CaseOutcome::RejectedSingleAgency
        | CaseOutcome::RejectedNotExhausted => true,
        CaseOutcome::LoweredConnected
        | CaseOutcome::LoweredConnectedElsewhere
        | CaseOutcome::LoweredPersonalSupports
        | CaseOutcome::ElevatedInformed
        | CaseOutcome::ElevatedRefused
        | CaseOutcome::ElevatedSystemic
        | CaseOutcome::Deceased
        | CaseOutcome::Relocated
        | CaseOutcome::NotLocated
        | CaseOutcome::NewInformation => false,
    }
}

fn of_case(case: &CaseId, request: &str) -> Vec<u8> {
    [OF_CASE, case.as_str(), "/", request].concat().into_bytes()
}

/// Notes a request of ours in a case.
pub(crate) fn asked(view: &mut Overlay<'_>, request: &Request) {
    if let Some(case) = &request.case {
        view.write(of_case(case, request.request.as_str()), Some(Vec::new()));
    }
}

/// Notes where a case stands for the agency `me` since `at`.
pub(crate) fn advanced(
    view: &mut Overlay<'_>,
    me: &AgencyId,
    case: &Case,
    at: Timestamp,
) -> Result<(), StoreError> {
    let has_left = case.role(me) == CaseRole::Out;
    let is_over = has_left || case.outcome.is_some_and(is_without_concern);
    let key = key::of(OVER, case.case.as_str().as_bytes());
    // Said once: the deadline of one who has left does not move when the case closes.
    if !is_over || view.get(&key)?.is_some() {
        return Ok(());
    }
    state::put(view, key, &OverRow { at, has_left })
}

/// Carries out [`Event::KeptAfterCase`].
pub(crate) fn kept(
    view: &mut Overlay<'_>,
    request: &RequestId,
    reason: KeepReason,
    worker: &str,
) -> Result<(), StoreError> {
    let row = KeptRow {
        reason,
        worker: worker.to_owned(),
    };
    state::put(view, key::of(KEPT, request.as_str().as_bytes()), &row)
}

/// The review of an answer, if there is one.
fn review_of(
    view: &dyn Read,
    row: &AskRow,
    days: u64,
    now: Timestamp,
) -> Result<Option<DeletionView>, StoreError> {
    let is_here = matches!(row.status, Status::Delivered | Status::Viewed);
    let Some(case) = row.request.case.as_ref().filter(|_| is_here) else {
        return Ok(None);
    };
    let over: Option<OverRow> = state::load(view, &key::of(OVER, case.as_str().as_bytes()))?;
    let Some(over) = over else {
        return Ok(None);
    };
    let request = &row.request.request;
    let kept: Option<KeptRow> = state::load(view, &key::of(KEPT, request.as_str().as_bytes()))?;
    let review_by = over.at.plus_s(days.saturating_mul(86_400));
    let outcome = state::case(view, case)?.and_then(|case| case.outcome);
    Ok(Some(DeletionView {
        request: request.to_string(),
        holder: row.request.holder.to_string(),
        case: case.to_string(),
        cause: match over.has_left {
            true => "left".to_owned(),
            false => outcome.map_or_else(String::new, |o| o.code().to_owned()),
        },
        since: over.at,
        review_by,
        overdue: kept.is_none() && review_by <= now,
        kept: kept.as_ref().map(|kept| kept.reason.code().to_owned()),
        kept_by: kept.map(|kept| kept.worker),
    }))
}

/// All reviews: those that wait first, the oldest on top.
///
/// # Errors
/// The store.
pub(crate) fn reviews(
    view: &dyn Read,
    days: u64,
    now: Timestamp,
) -> Result<Vec<DeletionView>, StoreError> {
    let mut reviews = Vec::new();
    for (over, _) in view.scan(OVER.as_bytes(), None, state::MAX_ROWS)? {
        let case = over.get(OVER.len()..).unwrap_or_default();
        let prefix = [OF_CASE.as_bytes(), case, b"/"].concat();
        for (key, _) in view.scan(&prefix, None, state::MAX_ROWS)? {
            let request = key.get(prefix.len()..).unwrap_or_default();
            let row: Option<AskRow> = state::load(view, &key::of(key::ASK, request))?;
            if let Some(row) = row {
                reviews.extend(review_of(view, &row, days, now)?);
            }
        }
    }
    reviews.sort_by_key(|r| (r.kept.is_some(), r.review_by, r.request.clone()));
    Ok(reviews)
}

/// How many wait, and how many of them are overdue.
///
/// # Errors
/// The store.
pub(crate) fn waiting(
    view: &dyn Read,
    days: u64,
    now: Timestamp,
) -> Result<(u64, u64), StoreError> {
    let reviews = reviews(view, days, now)?;
    let wait = reviews
        .iter()
        .filter(|review| review.kept.is_none())
        .count();
    let overdue = reviews.iter().filter(|review| review.overdue).count();
    Ok((wait as u64, overdue as u64))
}

/// What follows from a worker's word that an answer is kept.
///
/// # Errors
/// [`ErrorCode::UnknownRequest`]; [`ErrorCode::WrongState`] if there is nothing to review, or it is
/// kept already; the store.
pub(crate) fn keep(
    view: &dyn Read,
    request: &RequestId,
    reason: KeepReason,
    worker: &str,
    now: Timestamp,
) -> Result<Vec<Event>, ErrorCode> {
    let row = state::ask(view, request).map_err(storage)?;
    let row = row.ok_or(ErrorCode::UnknownRequest)?;
    let review = review_of(view, &row, 0, now).map_err(storage)?;
    match review {
        Some(review) if review.kept.is_none() => Ok(vec![Event::KeptAfterCase {
            request: request.clone(),
            reason,
            worker: worker.to_owned(),
        }]),
        _ => Err(ErrorCode::WrongState),
    }
}

/// What became of the facts that this agency gave in a case: its recipients attest what they erase.
///
/// # Errors
/// The store.
pub(crate) fn copies(view: &dyn Read, case: &CaseId) -> Result<Option<Copies>, StoreError> {
    let rows = state::holds_where(view, |row| row.case.as_ref() == Some(case))?;
    let mut copies = Copies::default();
    let mut left = BTreeSet::new();
    for row in &rows {
        let released = row.given.as_ref().filter(|g| g.accepted);
        if released.is_none_or(|given| given.outcome != Outcome::Released) {
            continue;
        }
        copies.given = copies.given.saturating_add(1);
        if row.trail.iter().any(|step| step.what == "erased") {
            copies.erased = copies.erased.saturating_add(1);
        } else {
            left.insert(row.requester.to_string());
        }
    }
    copies.kept_by = left.into_iter().collect();
    Ok((copies.given > 0).then_some(copies))
}

/// Says what is overdue, now and every hour, until the storage fails.
///
/// # Errors
/// The store.
pub(crate) async fn watch(node: &Node) -> Result<(), ErrorCode> {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (now, days) = (node.clock.now(), node.context.config.deletion_review_days);
        let reviews = reviews(node.core.view(), days, now).map_err(storage)?;
        for review in reviews.iter().filter(|review| review.overdue) {
            let what = format!("{} of {}", review.request, review.case);
            let alerts = &node.context.alerts;
            alerts.raise_once(now, AlertCode::DeletionOverdue, &what);
        }
    }
}
