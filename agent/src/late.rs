//! Notices that come after later ones.
//!
//! In scope: which notices were heard, what one that comes late may still do. Out of scope: checks
//! ([`crate::verify`]).
//!
//! An honest broker sends each kind in the order of the log, from where the agent says that it
//! stands. What comes again was sent twice and is passed over. What comes late and was never heard
//! was kept back: it is proven by the log like any other, it is journaled, counted and shown. Of
//! what it says only that which takes away has an effect: a withdrawal, the suspension or end of an agreement, the end of a
//! request or of a membership. A permit or an answer that comes after its time has none, for what it should have come before has
//! been decided without it.

use crate::{
    event::Noticed,
    state::put,
    trust::Trust,
    verify::{CheckedNotice, check_said},
};
use passerelle_model::{
    entry::EntryBody,
    error::ErrorCode,
    seal::MAX_SEALED,
    statement::{Body, Change},
    store::{Overlay, Read, StoreError},
};

fn key(membership: bool, index: u64) -> Vec<u8> {
    let kind = if membership { b'm' } else { b'n' };
    [&b"heard/"[..], &[kind], &index.to_be_bytes()].concat()
}

/// Notes that the notice of this kind at `index` is journaled.
pub(crate) fn heard(
    view: &mut Overlay<'_>,
    membership: bool,
    index: u64,
) -> Result<(), StoreError> {
    put(view, key(membership, index), &())
}

/// Whether it is.
pub(crate) fn was_heard(view: &dyn Read, membership: bool, index: u64) -> Result<bool, StoreError> {
    Ok(view.get(&key(membership, index))?.is_some())
}

/// How many notices of entries from `from` on, before `until`, were heard, those of membership
/// aside. Looks at no more than one seal may cover.
pub(crate) fn heard_between(view: &dyn Read, from: u64, until: u64) -> Result<u64, StoreError> {
    let Some(last) = until.checked_sub(1) else {
        return Ok(0);
    };
    let prefix: Vec<u8> = b"heard/n".to_vec();
    let after = from.checked_sub(1).map(|index| key(false, index));
    let limit = usize::try_from(MAX_SEALED).unwrap_or(usize::MAX);
    let rows = view.scan(&prefix, after.as_deref(), limit)?;
    let end = key(false, last);
    Ok(rows.iter().take_while(|(key, _)| *key <= end).count() as u64)
}

/// Forgets what was heard of the entries from `from` on, which the log lost, and of membership,
/// which is heard anew.
pub(crate) fn forget_from(view: &mut Overlay<'_>, from: u64) -> Result<(), StoreError> {
    let after = from.checked_sub(1).map(|index| key(false, index));
    let lost = view.scan(b"heard/n", after.as_deref(), usize::MAX)?;
    let membership = view.scan(b"heard/m", None, usize::MAX)?;
    for (row, _) in lost.into_iter().chain(membership) {
        view.write(row, None);
    }
    Ok(())
}

fn takes_away(body: &Body) -> bool {
    match body {
        Body::Withdrawal(_) => true,
        Body::AgreementChange(said) => !matches!(said.change, Change::Lift),
        _ => false,
    }
}

/// What is journaled of a verified notice that came late.
pub(crate) fn take_in(notice: &CheckedNotice, trust: &Trust) -> Noticed {
    let index = notice.index();
    tracing::warn!(
        index,
        what = notice.entry().body.code(),
        "the broker kept a notice back and sent it after later ones"
    );
    let takes_away = match check_said(notice, trust, |_| Ok(false)) {
        Ok(Some(said)) => takes_away(&said.statement().body),
        Ok(None) => matches!(
            notice.entry().body,
            EntryBody::Stopped { .. }
                | EntryBody::Expired { .. }
                | EntryBody::Recalled { .. }
                | EntryBody::Revoked { .. }
        ),
        Err(_) => false,
    };
    match takes_away {
        true => notice.noticed().clone(),
        false => notice.with_problem(ErrorCode::WrongState),
    }
}
