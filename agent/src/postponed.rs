//! Permits that could not be used for a passing reason: a clock that was off, a member or
//! witnesses not heard of yet.
//!
//! In scope: which requests wait for another permit, asking the broker for one. Out of scope: when
//! ([`crate::session`]); why ([`crate::holder`], `apply`).

use crate::{
    context::Context,
    event::Event,
    holder::storage,
    state::{self, HoldRow, key},
    verify::CLOCK_SKEW_S,
};
use passerelle_model::{
    bytes::Digest,
    error::ErrorCode,
    ids::RequestId,
    statement::{Body, Renewal},
    store::{Overlay, Read, StoreError},
    time::Timestamp,
};

/// Requests to us whose permit is to be asked for again.
const POSTPONED: &str = "postponed/";

/// Most that are asked for at once.
const AT_ONCE: usize = 256;

/// Notes whether the permit of `row` is to be asked for again.
pub(crate) fn note(view: &mut Overlay<'_>, row: &HoldRow) {
    let id = row.request.as_str().as_bytes();
    let waits = row.postponed.map(|_| Vec::new());
    view.write(key::of(POSTPONED, id), waits);
}

/// The requests that wait for another permit, with the one that could not be used, at most
/// `limit`.
///
/// # Errors
/// The store.
pub fn waiting(view: &dyn Read, limit: usize) -> Result<Vec<(RequestId, Digest)>, StoreError> {
    those(view, limit, |_| true)
}

/// Those of the requests that wait which are `wanted`, at most `limit`.
fn those(
    view: &dyn Read,
    limit: usize,
    wanted: impl Fn(&HoldRow) -> bool,
) -> Result<Vec<(RequestId, Digest)>, StoreError> {
    let mut found = Vec::new();
    let mut after = None;
    while found.len() < limit {
        let page = view.scan(POSTPONED.as_bytes(), after.as_deref(), AT_ONCE)?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        for (key, _) in page {
            let id = key.get(POSTPONED.len()..).unwrap_or_default();
            let row: Option<HoldRow> = state::load(view, &key::of(key::HOLD, id))?;
            let row = row.filter(&wanted);
            found.extend(row.and_then(|row| Some((row.request, row.postponed?))));
        }
    }
    found.truncate(limit);
    Ok(found)
}

/// Asks for another permit wherever one is missing and was not asked for. Nothing while the clock
/// here is still behind the log: the next permit could not be used either.
///
/// # Errors
/// The store, or no randomness.
pub fn ask_again(
    context: &Context,
    view: &dyn Read,
    now: Timestamp,
) -> Result<Vec<Event>, ErrorCode> {
    let heard_at = state::meta(view).map_err(storage)?.heard_at;
    if heard_at.is_some_and(|at| at > now.plus_s(CLOCK_SKEW_S)) {
        tracing::warn!("the clock here is behind the log: permits can't be used");
        return Ok(Vec::new());
    }
    let mut events = Vec::new();
    let unasked = |row: &HoldRow| row.renewing != row.postponed;
    for (request, permit) in those(view, AT_ONCE, unasked).map_err(storage)? {
        tracing::info!(%request, "another permit is asked for");
        let body = Body::Renewal(Renewal { request, permit });
        events.push(Event::Stated(Box::new(context.say(now, body)?.done())));
    }
    Ok(events)
}
