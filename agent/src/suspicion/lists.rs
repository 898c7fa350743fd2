//! Lists of audit cases, by time and by deadline, and of who is suspended.
//!
//! In scope: reads. Out of scope: what writes the places ([`super::record`]).

use super::record::{AT, CASE, CaseRow, DUE, SUSPENDED, at_key};
use crate::state::{MAX_ROWS, key, load};
use passerelle_model::{
    store::{Read, StoreError},
    time::Timestamp,
};

/// All cases, the newest first, at most [`MAX_ROWS`].
///
/// # Errors
/// The store.
pub fn all(view: &dyn Read) -> Result<Vec<CaseRow>, StoreError> {
    page(view, None, MAX_ROWS)
}

/// At most `limit` cases, the newest first, those after `after` in that order.
///
/// # Errors
/// The store.
pub fn page(
    view: &dyn Read,
    after: Option<&CaseRow>,
    limit: usize,
) -> Result<Vec<CaseRow>, StoreError> {
    let after = after.map(at_key);
    let rows = view.scan(AT, after.as_deref(), limit.min(MAX_ROWS))?;
    let mut cases = Vec::with_capacity(rows.len());
    for (place, _) in rows {
        let id = place.get(AT.len().saturating_add(8)..).unwrap_or_default();
        cases.extend(load::<CaseRow>(view, &key::of(CASE, id))?);
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

/// Everybody who is suspended.
///
/// # Errors
/// The store.
pub fn suspended(view: &dyn Read) -> Result<Vec<String>, StoreError> {
    let rows = view.scan(SUSPENDED.as_bytes(), None, MAX_ROWS)?;
    let names = rows.iter().map(|(place, _)| {
        let name = place.get(SUSPENDED.len()..).unwrap_or_default();
        String::from_utf8_lossy(name).into_owned()
    });
    Ok(names.collect())
}
