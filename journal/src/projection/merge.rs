//! Reading the file and the newer changes in memory as one.
//!
//! In scope: the merge in key order. Out of scope: where the changes come from.

use std::iter::Peekable;
use std::ops::Bound;

use passerelle_model::store::{Row, StoreError};

use super::store::{Changes, Rows};

/// At most `limit` rows whose key starts with `prefix` and is greater than `after`, in order.
/// Earlier ones of `changes` are newer than later ones, and all are newer than `rows`.
pub(super) fn merged(
    changes: [&Changes; 2],
    rows: &Rows,
    prefix: &[u8],
    after: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<Row>, StoreError> {
    let start = match after {
        Some(after) if after >= prefix => Bound::Excluded(after),
        Some(_) | None => Bound::Included(prefix),
    };
    let mut newer = changes.map(|changes| {
        let from_here = changes.range::<[u8], _>((start, Bound::Unbounded));
        from_here
            .take_while(move |(key, _)| key.starts_with(prefix))
            .peekable()
    });
    let mut stored = rows.range(start)?.peekable();
    let mut found = Vec::new();
    while found.len() < limit {
        // A peek, then a take: the error has to be moved out.
        if let Some(Err(_)) = stored.peek()
            && let Some(Err(error)) = stored.next()
        {
            return Err(error);
        }
        let stored_key = stored
            .peek()
            .and_then(|row| row.as_ref().ok())
            .map(|r| &r.0);
        let stored_key = stored_key.filter(|key| key.starts_with(prefix));
        let newest = newer
            .iter_mut()
            .filter_map(|n| n.peek().map(|(key, _)| *key));
        let Some(key) = newest.chain(stored_key).min().cloned() else {
            break;
        };
        let of_file = stored.next_if(|row| matches!(row, Ok((found, _)) if *found == key));
        let [first, second] = newer.each_mut().map(|changes| take(changes, &key));
        let value = match first.or(second) {
            Some(change) => change,
            None => of_file.and_then(Result::ok).map(|(_, value)| value),
        };
        found.extend(value.map(|value| (key, value)));
    }
    Ok(found)
}

/// The change to `key`, if it is the next one.
fn take<'a>(
    changes: &mut Peekable<impl Iterator<Item = (&'a Vec<u8>, &'a Option<Vec<u8>>)>>,
    key: &[u8],
) -> Option<Option<Vec<u8>>> {
    changes
        .next_if(|(found, _)| *found == key)
        .map(|(_, change)| change.clone())
}
