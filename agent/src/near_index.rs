//! Who of this agency's own people is near whom: the index by near handles, and the candidates for
//! a question.
//!
//! In scope: rows, what an import and the handles found after it do to them, candidates. Out of
//! scope: the tokens ([`crate::near`]); getting their handles ([`crate::node`]).
//!
//! Rows hold handles and the digest of the exact match token, as the index of exact matches does
//! (see [`crate::facts::sealed`]). What is near whom is not kept.

use crate::{
    facts::{
        csv_import::SourceId,
        sealed::{self, PersonRow},
    },
    holder::storage,
    near::{Likeness, NEAR_TOKENS, near_tokens},
    person::Person,
    state::{self, key},
    vault::Vault,
};
use passerelle_model::{
    bytes::{Digest, Handle},
    error::ErrorCode,
    store::{Overlay, Read, StoreError},
};
use passerelle_proto::views::NearRecord;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// By digest of the exact match token: the near handles of whoever has it.
const NEAR: &str = "near/";
/// By digest of the exact match token: whose near handles are not known.
const NO_NEAR: &str = "nonear/";
/// By near handle, then digest of the exact match token.
const BY_NEAR: &str = "bynear/";

/// Most records that one question may be near to; of more none is shown.
const MAX_CANDIDATES: usize = 20;

/// The near handles of one person.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NearHandles {
    /// Digest of the exact match token.
    pub token: Digest,
    /// The handles, at most [`NEAR_TOKENS`].
    pub handles: Vec<(Likeness, Handle)>,
}

fn by_near(handle: &Handle, token: &[u8]) -> Vec<u8> {
    [BY_NEAR.as_bytes(), &handle.0, token].concat()
}

/// Carries out the event that near handles were found.
pub(crate) fn found(view: &mut Overlay<'_>, found: &NearHandles) -> Result<(), StoreError> {
    let NearHandles { token, handles } = found;
    view.write(key::of(NO_NEAR, &token.0), None);
    if !is_here(view, token)? {
        return Ok(());
    }
    if handles.is_empty() {
        // It could not be read. Once it is imported again it is looked at again.
        return Ok(());
    }
    for (likeness, handle) in handles {
        state::put(view, by_near(handle, &token.0), likeness)?;
    }
    state::put(view, key::of(NEAR, &token.0), handles)
}

/// Notes that somebody with this token is here.
pub(crate) fn came(view: &mut Overlay<'_>, token: &Digest) -> Result<(), StoreError> {
    if view.get(&key::of(NEAR, &token.0))?.is_none() {
        view.write(key::of(NO_NEAR, &token.0), Some(Vec::new()));
    }
    Ok(())
}

/// Forgets the near handles of a token that nobody here has any more.
pub(crate) fn went(view: &mut Overlay<'_>, token: &Digest) -> Result<(), StoreError> {
    if is_here(view, token)? {
        return Ok(());
    }
    let handles: Option<Vec<(Likeness, Handle)>> = state::load(view, &key::of(NEAR, &token.0))?;
    for (_, handle) in handles.unwrap_or_default() {
        view.write(by_near(&handle, &token.0), None);
    }
    view.write(key::of(NEAR, &token.0), None);
    view.write(key::of(NO_NEAR, &token.0), None);
    Ok(())
}

fn is_here(view: &dyn Read, token: &Digest) -> Result<bool, StoreError> {
    Ok(!view.scan(&key::by_token(token, ""), None, 1)?.is_empty())
}

/// The records of whoever has this token.
fn people_by_token(view: &dyn Read, token: &Digest) -> Result<Vec<PersonRow>, StoreError> {
    let prefix = key::by_token(token, "");
    let mut people = Vec::new();
    for (key, _) in view.scan(&prefix, None, MAX_CANDIDATES)? {
        let source = key.get(prefix.len()..).unwrap_or_default();
        people.extend(state::load(view, &key::of(key::PERSON, source))?);
    }
    Ok(people)
}

/// One record each of at most `limit` people whose near handles are not known, by token; none for
/// whoever is not here any more.
///
/// # Errors
/// The store.
pub(crate) fn without(
    view: &dyn Read,
    limit: usize,
) -> Result<Vec<(Digest, Option<PersonRow>)>, StoreError> {
    let mut people = Vec::new();
    for (key, _) in view.scan(NO_NEAR.as_bytes(), None, limit)? {
        let token = key.get(NO_NEAR.len()..).and_then(|t| t.try_into().ok());
        let token = token
            .map(Digest)
            .ok_or_else(|| StoreError("a row is not in the form of this version".to_owned()))?;
        let person = people_by_token(view, &token)?.into_iter().next();
        people.push((token, person));
    }
    Ok(people)
}

/// How many people's near handles are not known; at most [`state::MAX_ROWS`] are counted.
///
/// # Errors
/// The store.
pub(crate) fn count_without(view: &dyn Read) -> Result<u64, StoreError> {
    let rows = view.scan(NO_NEAR.as_bytes(), None, state::MAX_ROWS)?;
    Ok(rows.len() as u64)
}

/// The records that are near what a question asked for, and how they are alike. More than
/// [`MAX_CANDIDATES`] are none: what is near to so many is about nobody.
///
/// # Errors
/// The store.
pub(crate) fn candidates(
    view: &dyn Read,
    asked: &[Handle],
) -> Result<Vec<(PersonRow, BTreeSet<Likeness>)>, StoreError> {
    let mut alike: BTreeMap<Digest, BTreeSet<Likeness>> = BTreeMap::new();
    for handle in asked.iter().take(NEAR_TOKENS) {
        let prefix = by_near(handle, &[]);
        for (key, _) in view.scan(&prefix, None, MAX_CANDIDATES)? {
            let token = key.get(prefix.len()..).and_then(|t| t.try_into().ok());
            if let (Some(token), Some(how)) = (token, state::load(view, &key)?) {
                alike.entry(Digest(token)).or_default().insert(how);
            }
        }
    }
    let mut candidates = Vec::new();
    for (token, how) in alike {
        let people = people_by_token(view, &token)?;
        candidates.extend(people.into_iter().map(|row| (row, how.clone())));
    }
    if candidates.len() > MAX_CANDIDATES {
        candidates.clear();
    }
    Ok(candidates)
}

/// The records of the person whom somebody here has found to be the one that was asked for, by what
/// one of them is found by. None, unless it is near what was asked for.
///
/// # Errors
/// The store.
pub(crate) fn confirmed(
    view: &dyn Read,
    asked: &[Handle],
    record: &str,
) -> Result<Vec<PersonRow>, StoreError> {
    let candidates = candidates(view, asked)?;
    let chosen = candidates
        .iter()
        .find(|(row, _)| row.source_id.0 == record)
        .map(|(row, _)| row.token);
    let of_chosen = candidates.into_iter().map(|(row, _)| row);
    Ok(of_chosen.filter(|row| Some(row.token) == chosen).collect())
}

/// A person for whoever compares: the name and the birth date.
pub(crate) fn named(person: &Person) -> String {
    let name = crate::render::full_name(person);
    format!("{name}, {}", person.birth_date())
}

/// Whether the own record with this id of the source's is near `person`, by the names themselves.
///
/// # Errors
/// [`ErrorCode::Storage`].
pub(crate) fn is_near(
    vault: &Vault,
    view: &dyn Read,
    person: &Person,
    record: &str,
) -> Result<bool, ErrorCode> {
    let asked: BTreeSet<_> = near_tokens(person).into_iter().collect();
    for id in vault.index()?.sources(&SourceId(record.to_owned())) {
        let Some(row) = state::person(view, &id.0).map_err(storage)? else {
            continue;
        };
        let opened = sealed::open(vault, view, &row)?;
        return Ok(opened.is_some_and(|kept| {
            let own = near_tokens(&kept.person);
            own.iter().any(|token| asked.contains(token))
        }));
    }
    Ok(false)
}

/// The candidates for whoever compares them.
///
/// # Errors
/// [`ErrorCode::Storage`].
pub(crate) fn shown(
    vault: &Vault,
    view: &dyn Read,
    asked: &[Handle],
) -> Result<Vec<NearRecord>, ErrorCode> {
    let mut records = Vec::new();
    for (row, how) in candidates(view, asked).map_err(storage)? {
        let people = sealed::open_all(vault, view, std::slice::from_ref(&row))?;
        records.extend(people.into_iter().map(|kept| NearRecord {
            record: kept.source_id.0.clone(),
            name: crate::render::full_name(&kept.person),
            born: kept.person.birth_date().to_string(),
            alike: how.iter().map(|how| how.code().to_owned()).collect(),
            explained_en: how.iter().map(|how| how.words().0.to_owned()).collect(),
            explained_fr: how.iter().map(|how| how.words().1.to_owned()).collect(),
        }));
    }
    records.sort_by(|a, b| a.record.cmp(&b.record));
    Ok(records)
}
