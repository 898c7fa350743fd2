//! Going on under a new origin of the log, from an older copy of it (decision 0019).
//!
//! What the copy lacks, its agencies know: each says again what it had said. Until all of them
//! have, nobody asks, since what is still missing may be a withdrawal.

use super::{Draft, Reply, Step, ensure, membership};
use crate::{
    entry::{EntryBody, Sidecar, StopCause, Supersedes},
    error::ErrorCode,
    ids::AgencyId,
    state::{self, key},
    statement::{MAX_RESUMED, Resumption, Verified},
    store::Read as _,
};

/// Ends the former origin: every open request is stopped, for no permit of it counts any more, and
/// whoever is not named as a member is shut out.
///
/// That the keys and roots are those of the log is for the caller to see to, who has them.
pub(super) fn supersede(draft: &mut Draft<'_, '_>, supersedes: &Supersedes) -> Step<Reply> {
    let federation = state::federation(draft.state)?.ok_or(ErrorCode::WrongState)?;
    ensure(
        federation.keys.checkpoint == supersedes.former
            && supersedes.key != supersedes.former
            && supersedes.carried.size == draft.next_index()
            && supersedes.newest.size >= supersedes.carried.size
            && (supersedes.newest.size > supersedes.carried.size
                || supersedes.newest.root == supersedes.carried.root),
        ErrorCode::WrongState,
    )?;
    let members = &supersedes.members;
    let in_order = members.windows(2).all(|pair| pair.first() < pair.last());
    ensure(in_order && !members.is_empty(), ErrorCode::OutOfRange)?;
    for agency in members {
        let member = state::member(draft.state, agency)?;
        ensure(member.is_some(), ErrorCode::UnknownAgency)?;
    }
    let index = draft.push_public(EntryBody::Supersedes(Box::new(supersedes.clone())))?;
    stop_all(draft)?;
    let leaving = state::agencies(draft.state)?.into_iter();
    let leaving = leaving.filter(|a| a.active && !members.contains(&a.agency));
    for agency in leaving.collect::<Vec<_>>() {
        membership::revoke(draft, &agency.agency)?;
    }
    Ok(Reply::Done { index })
}

fn stop_all(draft: &mut Draft<'_, '_>) -> Step {
    // After the time, which every open request has a row for.
    const ID: usize = 9;
    for (key, _) in draft.state.scan(&key::due_table(), None, usize::MAX)? {
        let id = String::from_utf8_lossy(key.get(ID..).unwrap_or_default());
        let Some(row) = state::request_by_text(draft.state, &id)? else {
            continue;
        };
        if row.status.is_open() {
            let (request, cause) = (row.request, StopCause::Superseded);
            draft.push_public(EntryBody::Stopped { request, cause })?;
        }
    }
    Ok(())
}

/// An agency has said again whatever of its own was lost.
pub(super) fn resume(
    draft: &mut Draft<'_, '_>,
    said: &Verified,
    resumption: &Resumption,
) -> Step<u64> {
    let agency = &said.statement().agency;
    ensure(
        resumption.withdrawals.len() <= MAX_RESUMED,
        ErrorCode::OutOfRange,
    )?;
    let since = state::awaited(draft.state, agency)?;
    ensure(since == Some(resumption.supersedes), ErrorCode::WrongState)?;
    ensure(is_whole(draft, agency, resumption)?, ErrorCode::Recovering)?;
    draft.push_said(said, Sidecar::default())
}

fn is_whole(draft: &Draft<'_, '_>, agency: &AgencyId, resumption: &Resumption) -> Step<bool> {
    Ok(lacks_nothing(draft.state, agency, resumption)?)
}

/// Whether the log has every withdrawal that a resumption names. One that is not there, since the
/// consent itself was lost with an agency that left for good, withdraws nothing: no consent from
/// before counts then.
///
/// # Errors
/// The store.
pub fn lacks_nothing(
    state: &dyn crate::store::Read,
    agency: &AgencyId,
    resumption: &Resumption,
) -> Result<bool, crate::store::StoreError> {
    let unheard = state::unheard(state)?;
    if unheard.iter().any(|(other, _)| other != agency) {
        return Ok(true);
    }
    for digest in &resumption.withdrawals {
        if state::seen(state, digest)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}
