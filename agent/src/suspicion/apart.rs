//! Who has a part in a case, and so is no second person for it.
//!
//! In scope: who asked, who approved or released, and every worker who by name may be the person or
//! a relative, also after a question has left or a case was erased. Out of scope: what a second
//! person may say ([`super::verdict`]).

use super::{
    Kind,
    names::{Alike, alike},
    question::kept,
    record::{self, CaseRow, Fate},
};
use crate::{
    config::Worker,
    context::Context,
    facts::{csv_import::ImportedPerson, sealed},
    holder::storage,
    state::{self, PersonRow},
    vault::VaultError,
};
use passerelle_model::{
    bytes::{Bytes, Digest, Handle},
    commitment::Field,
    error::ErrorCode,
    ids::RequestId,
    store::Read,
};
use std::collections::BTreeSet;

/// Seals the workers who may not look at a question, beside the question itself: a case's own key
/// is gone once its question has left. None, if there are none.
pub(super) fn keep(
    context: &Context,
    request: &RequestId,
    apart: &[String],
) -> Result<Option<Bytes>, ErrorCode> {
    if apart.is_empty() {
        return Ok(None);
    }
    let plain = serde_json::to_vec(apart).map_err(|_| ErrorCode::Internal)?;
    let plain = zeroize::Zeroizing::new(plain);
    let name = record::apart_name(request);
    context.vault.keep_named(&name, &plain).map(Some)
}

/// Who may be the person of a question of ours, or a relative.
fn kept_apart(
    context: &Context,
    view: &dyn Read,
    request: &RequestId,
) -> Result<Vec<String>, ErrorCode> {
    let name = record::apart_name(request);
    let Some(plain) = context.vault.open_named(view, &name)? else {
        return Ok(Vec::new());
    };
    Ok(serde_json::from_slice(&plain).map_err(|_| VaultError::Damaged)?)
}

/// Their names, for when what says so is destroyed.
///
/// # Errors
/// The store, or what is sealed is damaged.
pub(super) fn names(
    context: &Context,
    view: &dyn Read,
    request: &RequestId,
) -> Result<Vec<Digest>, ErrorCode> {
    let index = context.vault.index()?;
    let apart = kept_apart(context, view, request)?;
    Ok(apart.iter().map(|id| index.apart(request, id)).collect())
}

/// The workers whose names were kept.
fn named_apart(
    context: &Context,
    view: &dyn Read,
    request: &RequestId,
) -> Result<Vec<String>, ErrorCode> {
    let names = record::named_apart(view, request).map_err(storage)?;
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let index = context.vault.index()?;
    let workers = context.config.workers.iter();
    let is_named = |worker: &&Worker| names.contains(&index.apart(request, &worker.id));
    Ok(workers.filter(is_named).map(|w| w.id.clone()).collect())
}

/// Everybody who is no second person for a case, by worker's id.
///
/// # Errors
/// The store, or what is sealed is damaged.
pub(super) fn parties(
    context: &Context,
    view: &dyn Read,
    row: &CaseRow,
) -> Result<BTreeSet<String>, ErrorCode> {
    let about = kept(context, view, &row.case)?.and_then(|kept| kept.about);
    let asked_by = record::asked_by(view, &row.request).map_err(storage)?;
    let mut parties: BTreeSet<_> = [row.worker.clone(), about, asked_by]
        .into_iter()
        .flatten()
        .collect();
    parties.extend(kept_apart(context, view, &row.request)?);
    parties.extend(named_apart(context, view, &row.request)?);
    if is_override(row) {
        let hold = state::hold(view, &row.request).map_err(storage)?;
        let approved = hold.and_then(|hold| hold.verdict);
        parties.extend(approved.into_iter().flat_map(|verdict| verdict.workers));
        parties.extend(released_by(view, &row.request)?);
        parties.extend(like_the_person(context, view, &row.request)?);
    }
    Ok(parties)
}

/// Whether the case is the review of an emergency.
pub(super) fn is_override(row: &CaseRow) -> bool {
    row.kinds.iter().any(|(k, _)| *k == Kind::EmergencyOverride)
}

/// Who let a question leave that was held: of the emergency in it he or she has decided already.
fn released_by(view: &dyn Read, request: &RequestId) -> Result<Vec<String>, ErrorCode> {
    let cases = record::cases_of(view, request).map_err(storage)?;
    let released = cases.into_iter().filter(|case| case.fate == Fate::Released);
    Ok(released
        .filter_map(|case| case.decided)
        .map(|decided| decided.worker)
        .collect())
}

/// At the holder: the workers who by name may be the person of its record, or a relative.
///
/// # Errors
/// The store, or a record does not open.
fn like_the_person(
    context: &Context,
    view: &dyn Read,
    request: &RequestId,
) -> Result<Vec<String>, ErrorCode> {
    // Of a record that does not open nobody can tell whose relative its person is.
    let open = |row: &PersonRow| {
        let person = sealed::open(&context.vault, view, row)?;
        person.ok_or(ErrorCode::Storage)
    };
    let people = people(view, request)?;
    let people = people.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let is_like = |worker: &&Worker| {
        let name = worker.name.as_ref();
        let is = |p: &ImportedPerson| name.is_some_and(|n| alike(n, &p.person) != Alike::No);
        people.iter().any(is)
    };
    let workers = context.config.workers.iter().filter(is_like);
    Ok(workers.map(|worker| worker.id.clone()).collect())
}

/// The records of the person whom a request to us is about.
fn people(view: &dyn Read, request: &RequestId) -> Result<Vec<PersonRow>, ErrorCode> {
    let noticed = state::offer(view, request).map_err(storage)?;
    let openings = noticed.and_then(|noticed| noticed.related);
    let openings = openings.map_or_else(Vec::new, |related| related.openings);
    let subject = openings.iter().find(|o| o.field == Field::Subject);
    match subject.and_then(|opening| Handle::from_slice(&opening.data.0)) {
        Some(handle) => state::people_by_handle(view, &handle).map_err(storage),
        None => Ok(Vec::new()),
    }
}
