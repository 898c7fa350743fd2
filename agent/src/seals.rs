//! The broker's daily count of the entries that reached this agency, compared with what was heard.
//!
//! In scope: noting a seal, and those that do not fit. Out of scope: that the count is that of the
//! log, which only who reads all entries can tell (`passerelle-audit verify`).
//!
//! What does not fit is a row of its own, and is counted again whenever somebody looks: a notice
//! that was kept back and comes late fills its place.

use crate::{
    apply::edit_meta,
    event::Noticed,
    late,
    state::{self, MAX_ROWS},
};
use passerelle_model::{
    binary,
    bytes::Commitment,
    commitment::{self, Field},
    ids::AgencyId,
    seal::Counts,
    store::{Overlay, Read, StoreError},
    time::Timestamp,
};
use passerelle_proto::views::SealFault;
use serde::{Deserialize, Serialize};

/// Before the keys of seals that did not fit; where they end and stand follows.
const FAULTS: &[u8] = b"sealfault/";

/// A seal that did not fit when it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FaultRow {
    from: u64,
    until: u64,
    /// None: it told this agency nothing.
    sealed: Option<u64>,
}

/// Takes note of a seal for the entries from `range.0` on, before `range.1`.
///
/// # Errors
/// The store.
pub(crate) fn note(
    view: &mut Overlay<'_>,
    me: &AgencyId,
    notice: &Noticed,
    range: (u64, u64),
    own: Option<&Commitment>,
    at: Timestamp,
) -> Result<(), StoreError> {
    let (from, until) = range;
    // Another part of the same seal, for other agencies.
    let Some(own) = own else {
        return Ok(());
    };
    let opening = commitment::find(&notice.openings, Field::Counts, own);
    let counts = opening.and_then(|opening| Counts::from_bytes(&opening.data.0).ok());
    let sealed = counts.map(|counts| counts.entries);
    let newest = state::meta(view)?.sealed;
    let before = newest.map_or(from, |(until, _)| until);
    let heard = late::heard_between(view, from, until)?;
    // A seal that begins later than the last one ended leaves entries out, unless this agency was
    // no member when it ended.
    let since = state::member(view, me)?.map(|member| member.since);
    let follows = from <= before || since.is_some_and(|since| since >= before);
    // It ends before it stands, and after the last one ended: none is said twice.
    let in_order = until <= notice.index && (newest.is_none() || until > before);
    let follows = follows && in_order;
    let until = until.min(notice.index);
    edit_meta(view, |meta| meta.sealed = Some((until.max(before), at)))?;
    if follows && sealed == Some(heard) {
        return Ok(());
    }
    tracing::error!(
        agency = %me, from, until, ?sealed, heard,
        "a seal does not fit what was heard: the broker keeps something back"
    );
    let from = if follows { from } else { before };
    let row = FaultRow {
        from,
        until,
        sealed: sealed.filter(|_| follows),
    };
    let key = [FAULTS, &until.to_be_bytes(), &notice.index.to_be_bytes()].concat();
    state::put(view, key, &row)
}

/// Forgets the faults of seals that reach beyond `until`: the log lost what they counted.
///
/// # Errors
/// The store.
pub(crate) fn forget_from(view: &mut Overlay<'_>, until: u64) -> Result<(), StoreError> {
    let after = [FAULTS, &until.to_be_bytes(), &u64::MAX.to_be_bytes()].concat();
    for (row, _) in view.scan(FAULTS, Some(&after), usize::MAX)? {
        view.write(row, None);
    }
    Ok(())
}

/// The seals that still do not fit what was heard, from the oldest on.
///
/// # Errors
/// The store.
pub(crate) fn faults(view: &dyn Read) -> Result<Vec<SealFault>, StoreError> {
    let mut faults = Vec::new();
    for (_, value) in view.scan(FAULTS, None, MAX_ROWS)? {
        let row: FaultRow = binary::from_slice(&value)
            .map_err(|_| StoreError("a row is not in the form of this version".to_owned()))?;
        let heard = late::heard_between(view, row.from, row.until)?;
        if row.sealed != Some(heard) {
            faults.push(SealFault {
                from: row.from,
                until: row.until,
                sealed: row.sealed,
                heard,
            });
        }
    }
    Ok(faults)
}
