//! Deadlines of people's own requests: an alert for what is not answered in time, and for what is
//! owed since a restriction has ended; rounds that are due by themselves. At the start and every
//! hour.

use super::record;
use crate::{alerts::AlertCode, api::rights, holder::storage, node::Node, state};
use passerelle_model::{
    error::ErrorCode, request::Status, store::Read, time::Timestamp, vocabulary::Purpose,
};
use std::time::Duration;

/// How often to look.
const EVERY: Duration = Duration::from_secs(3_600);

/// Looks until the storage fails.
///
/// # Errors
/// The store.
pub(crate) async fn keep(node: &Node) -> Result<(), ErrorCode> {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = node.clock.now();
        for (code, what) in due(node.core.view(), now)? {
            node.context.alerts.raise_once(now, code, &what);
        }
        rights::rounds_due(node).await?;
    }
}

/// What somebody has to look at. No name and no handle is in it.
pub(crate) fn due(view: &dyn Read, now: Timestamp) -> Result<Vec<(AlertCode, String)>, ErrorCode> {
    let mut found = Vec::new();
    let is_own = |row: &state::HoldRow| row.purpose == Purpose::RightsRequest;
    for row in state::holds_where(view, is_own).map_err(storage)? {
        // Also what the broker has ended since: it is as little answered as before.
        let waits =
            row.given.is_none() && matches!(row.status, Status::HolderReview | Status::Expired);
        if let Some(by) = row.review_by.filter(|by| waits && *by <= now) {
            let (request, door, by) = (row.request, row.requester, by.to_rfc3339());
            let what = format!("`{request}` of `{door}` was to be answered by {by}");
            found.push((AlertCode::RightsOverdue, what));
        }
    }
    for row in record::restrictions(view).map_err(storage)? {
        if !row.stands(now) {
            let (request, until) = (row.request, row.until.to_rfc3339());
            let what = format!("what was kept back at `{request}` is owed since {until}");
            found.push((AlertCode::RestrictionOver, what));
        }
    }
    for row in record::groups(view).map_err(storage)? {
        let Some(round) = row.rounds.last().filter(|round| round.due <= now) else {
            continue;
        };
        let mut missing = 0_usize;
        for (_, request) in &round.asked {
            let asked = state::ask(view, request).map_err(storage)?;
            missing += usize::from(asked.is_none_or(|asked| asked.answer.is_none()));
        }
        if missing > 0 && !row.is_erased {
            let (group, of, due) = (row.group, round.asked.len(), round.due.to_rfc3339());
            let what = format!("`{group}`: {missing} of {of} owners have not answered by {due}");
            found.push((AlertCode::RightsOverdue, what));
        }
    }
    Ok(found)
}
