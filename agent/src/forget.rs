//! Forgetting imported people: the keys of those who were replaced, or whom somebody wants forgotten,
//! are destroyed, however often a crash or a disk comes in between.
//!
//! In scope: forgetting one person by the source's own id, destroying what is due. Out of scope: the
//! rows (module `imported`); answers and questions ([`crate::erasure`]); consents, which are the
//! federation's.
//!
//! The event that takes a person's rows away names the key that is to be destroyed in the same step
//! (`doomed/`): from then on nothing here opens the person. The key goes next, and an event says so.
//! Whatever is left of that is done by the next import, within a minute, or at the next start.

use crate::{
    event::Event,
    facts::{csv_import::SourceId, sealed::PersonRecord},
    holder::storage,
    node::Node,
    state::{self, key},
    vault::Vault,
};
use passerelle_model::{
    error::ErrorCode,
    store::{Overlay, Read},
};
use std::sync::Arc;

/// Names of keys to be destroyed.
const DOOMED: &str = "doomed/";
/// Ids of people who were forgotten.
const FORGOTTEN: &str = "forgotten/";

/// Most keys that are destroyed in one step.
const PAGE: usize = 1_000;

pub(crate) fn doomed(name: &str) -> Vec<u8> {
    key::of(DOOMED, name.as_bytes())
}

pub(crate) fn mark(source: &str) -> Vec<u8> {
    key::of(FORGOTTEN, source.as_bytes())
}

/// Whether somebody had the person forgotten whose source's id has the name `source`, and nobody has brought
/// her or him back since.
///
/// # Errors
/// [`ErrorCode::Storage`].
pub fn was_forgotten(view: &dyn Read, source: &str) -> Result<bool, ErrorCode> {
    Ok(view.get(&mark(source)).map_err(storage)?.is_some())
}

/// What is left of a person who was forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Nothing that opens: in no copy of the journal, however old.
    Nothing,
    /// An earlier version had written the person in the clear: segments of the journal from then,
    /// and copies of them, say it still.
    InTheClear,
}

/// The first step: from here on nobody here knows the person.
///
/// # Errors
/// [`ErrorCode::OutOfRange`]: there is nobody with this id; the store.
pub fn begin(
    vault: &Vault,
    view: &dyn Read,
    source: &SourceId,
) -> Result<(Vec<Event>, Left), ErrorCode> {
    let [name, id] = vault.index()?.sources(source);
    for source in [name.clone(), id] {
        let Some(row) = state::person(view, &source.0).map_err(storage)? else {
            continue;
        };
        let left = match row.record {
            PersonRecord::Plain(_) => Left::InTheClear,
            PersonRecord::Sealed(_) => Left::Nothing,
        };
        let mark = Some(name);
        return Ok((vec![Event::PersonForgotten { source, mark }], left));
    }
    Err(ErrorCode::OutOfRange)
}

/// The second step, for all that are due: destroys keys, durably, and says so. Whether there may be
/// more.
///
/// # Errors
/// [`ErrorCode::Storage`]: they stay due.
pub fn destroy_due(vault: &Vault, view: &dyn Read) -> Result<(Vec<Event>, bool), ErrorCode> {
    let rows = view.scan(DOOMED.as_bytes(), None, PAGE).map_err(storage)?;
    let name = |key: &[u8]| {
        let name = str::from_utf8(key.get(DOOMED.len()..)?).ok()?;
        Some(name.to_owned())
    };
    let names: Option<Vec<_>> = rows.iter().map(|(key, _)| name(key)).collect();
    let names = names.ok_or(ErrorCode::Storage)?;
    if names.is_empty() {
        return Ok((Vec::new(), false));
    }
    vault.destroy_all(&names)?;
    let more = names.len() == PAGE;
    Ok((vec![Event::KeysDestroyed { names }], more))
}

/// Carries out [`Event::KeysDestroyed`].
pub(crate) fn note_destroyed(view: &mut Overlay<'_>, names: &[String]) {
    for name in names {
        view.write(doomed(name), None);
    }
}

/// Destroys all keys that are due.
///
/// # Errors
/// [`ErrorCode::Storage`]: what is left stays due.
pub async fn finish(node: &Node) -> Result<(), ErrorCode> {
    let mut more = true;
    while more {
        let context = Arc::clone(&node.context);
        let write = node.core.write(node.clock.now(), move |view| {
            destroy_due(&context.vault, view)
        });
        more = write.await?;
    }
    Ok(())
}

/// Forgets one person for good.
///
/// # Errors
/// Those of [`begin`] and [`finish`].
pub async fn forget(node: &Node, source: SourceId) -> Result<Left, ErrorCode> {
    let context = Arc::clone(&node.context);
    let write = node.core.write(node.clock.now(), move |view| {
        begin(&context.vault, view, &source)
    });
    let left = write.await?;
    finish(node).await?;
    Ok(left)
}
