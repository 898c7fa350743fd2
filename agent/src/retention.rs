//! How long an answer is kept: until its retention ends, or some time after it was recalled.
//!
//! In scope: which answers are due, and erasing them by the agency's own clock. Out of scope: what
//! an erasure is ([`crate::erasure`]); the retention itself, which comes with the permit.
//!
//! A clock that is put far ahead erases early. What is lost then is a copy: the holder still has
//! the facts, and may be asked again.

use crate::{erasure, forget, holder::storage, names, node::Node, state::AskRow};
use passerelle_model::{
    error::ErrorCode,
    ids::RequestId,
    pdp::Obligation,
    request::Status,
    store::{Overlay, Read},
    time::Timestamp,
};
use std::time::Duration;

/// Answers by the end of their retention.
const DUE: &[u8] = b"due/";
/// Answers by the time of their recall.
const RECALLED: &[u8] = b"recalledat/";

/// Most that are looked up at once.
const PAGE: usize = 256;

/// How often to look.
const EVERY: Duration = Duration::from_secs(60);

/// When the retention of an answer ends, if it has one: of several the shortest holds.
pub fn ends(obligations: &[Obligation], answered: Timestamp) -> Option<Timestamp> {
    let days = obligations.iter().filter_map(|o| match o {
        Obligation::RetainDays(days) => Some(u64::from(*days)),
        _ => None,
    });
    let days = days.min()?;
    Some(answered.plus_s(days.saturating_mul(86_400)))
}

fn place(table: &[u8], at: Timestamp, request: &RequestId) -> Vec<u8> {
    [table, &at.0.to_be_bytes(), request.as_str().as_bytes()].concat()
}

/// The rows under which a request of ours is found when it is due.
pub(crate) fn places(row: &AskRow) -> Vec<Vec<u8>> {
    let is_kept = matches!(row.status, Status::Delivered | Status::Viewed);
    let Some(answer) = row.answer.as_ref().filter(|_| is_kept) else {
        return Vec::new();
    };
    let request = &row.request.request;
    let ends = ends(&row.obligations, answer.at).map(|at| place(DUE, at, request));
    let recalled = row.recalled.map(|at| place(RECALLED, at, request));
    ends.into_iter().chain(recalled).collect()
}

/// Follows a change of a request of ours.
pub(crate) fn note(view: &mut Overlay<'_>, before: &[Vec<u8>], after: &AskRow) {
    let after = places(after);
    for gone in before.iter().filter(|place| !after.contains(place)) {
        view.write(gone.clone(), None);
    }
    for new in after.into_iter().filter(|place| !before.contains(place)) {
        view.write(new, Some(Vec::new()));
    }
}

/// Requests whose answer is to be erased at `now`, at most some hundreds: their retention is over,
/// or they were recalled `grace_h` hours ago.
///
/// # Errors
/// The store.
pub fn due(view: &dyn Read, now: Timestamp, grace_h: u64) -> Result<Vec<RequestId>, ErrorCode> {
    let grace_ms = grace_h.saturating_mul(3_600_000);
    let mut found = Vec::new();
    let recalled_until = now.0.checked_sub(grace_ms).map(Timestamp);
    for (table, until) in [(DUE, Some(now)), (RECALLED, recalled_until)] {
        let Some(until) = until else { continue };
        for (place, _) in view.scan(table, None, PAGE).map_err(storage)? {
            let rest = place.get(table.len()..).unwrap_or_default();
            let (at, id) = rest.split_first_chunk().ok_or(ErrorCode::Storage)?;
            if u64::from_be_bytes(*at) > until.0 {
                break;
            }
            let id = std::str::from_utf8(id).ok().and_then(|id| id.parse().ok());
            found.push(id.ok_or(ErrorCode::Storage)?);
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// How many looks there are from one look through all names to the next.
const NAMES_EVERY: u64 = 60;

/// Erases what is due, and destroys the keys of people that are, now and every minute, and forgets
/// names every hour, until the storage fails.
///
/// # Errors
/// The store.
pub(crate) async fn keep(node: &Node) -> Result<(), ErrorCode> {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut looks: u64 = 0;
    loop {
        ticks.tick().await;
        if looks.is_multiple_of(NAMES_EVERY) {
            names::look_through(node).await?;
        }
        looks = looks.wrapping_add(1);
        if let Err(code) = forget::finish(node).await {
            if node.core.has_failed() {
                return Err(code);
            }
            // What the disk refuses now stays due.
            tracing::error!(%code, "keys of people can't be destroyed; it is tried again");
        }
        let grace_h = node.context.config.erase_recalled_after_h;
        loop {
            let due = due(node.core.view(), node.clock.now(), grace_h)?;
            if due.is_empty() {
                break;
            }
            for request in due {
                tracing::info!(%request, "its retention is over, or it was recalled: erased");
                erasure::carry_out(node, &request).await?;
            }
        }
    }
}
