//! Whom a consent or a case is about, by the name that was typed here: sealed, and forgotten some
//! time after what it belonged to is over.
//!
//! In scope: sealing a name under a key of its own, reading it, finding those that are due, and
//! taking them away. Out of scope: destroying the keys ([`crate::forget`]); the handle, which stands
//! beside as it does everywhere (`docs/THREATS.md`).
//!
//! The time runs from when this agency first saw that the consent had ended or was withdrawn as a
//! whole, or that the case was closed. That is journaled: neither says of itself when it was.

use crate::{
    entropy,
    event::Event,
    forget,
    holder::storage,
    node::Node,
    state::{self, LabelRow, key},
    suspicion::record,
    vault::{self, Vault},
};
use passerelle_model::{
    bytes::{Bytes, Handle},
    error::ErrorCode,
    ids::{CaseId, ConsentId},
    statement::WithdrawalScope,
    store::{Overlay, Read, StoreError},
    time::Timestamp,
};

/// Since when what a name belonged to is known to be over.
const OVER: &str = "nameover/";
/// Most names that are looked at in one step.
const PAGE: usize = 256;
const DAY_S: u64 = 86_400;

fn over(id: &str) -> Vec<u8> {
    key::of(OVER, id.as_bytes())
}

/// What the key of a name is found by: no other kind of names begins so. A part is drawn, since a
/// name in the vault is used once, and an id may be said again.
fn named(id: &str, drawn: &Bytes) -> String {
    let drawn: String = drawn.0.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("label/{id}/{drawn}")
}

/// The event that keeps the name of the person whom the consent or case `id` is about.
///
/// # Errors
/// [`ErrorCode::Storage`]; no randomness.
pub(crate) fn keep(
    vault: &Vault,
    id: String,
    handle: Handle,
    label: &str,
) -> Result<Event, ErrorCode> {
    let drawn = Bytes(entropy::random::<16>()?.to_vec());
    let sealed = vault.keep_named(&named(&id, &drawn), label.as_bytes())?;
    Ok(Event::NameKept {
        id,
        handle,
        drawn,
        sealed,
    })
}

/// The name in `row`, of the consent or case `id`; `None` if nothing opens it any more: one that
/// can't be read is not shown.
pub(crate) fn open(vault: &Vault, view: &dyn Read, id: &str, row: &LabelRow) -> Option<String> {
    let Some(drawn) = &row.drawn else {
        return Some(row.label.clone());
    };
    let plain = vault.open_named(view, &named(id, drawn)).ok().flatten()?;
    String::from_utf8(plain.to_vec()).ok()
}

/// Carries out [`Event::NameKept`].
pub(crate) fn note_kept(
    view: &mut Overlay<'_>,
    (id, handle): (&str, &Handle),
    drawn: &Bytes,
    sealed: &Bytes,
) -> Result<(), StoreError> {
    record::labelled(view, handle, id);
    let name = named(id, drawn);
    view.write(vault::kept_key(&name), Some(sealed.0.clone()));
    let row = LabelRow {
        handle: *handle,
        label: String::new(),
        drawn: Some(drawn.clone()),
    };
    state::put(view, key::of(key::LABEL, id.as_bytes()), &row)
}

/// Carries out [`Event::NamesOver`].
pub(crate) fn note_over(
    view: &mut Overlay<'_>,
    at: Timestamp,
    ids: &[String],
) -> Result<(), StoreError> {
    ids.iter()
        .try_for_each(|id| state::put(view, over(id), &at))
}

/// Carries out [`Event::NamesNotOver`].
pub(crate) fn note_not_over(view: &mut Overlay<'_>, ids: &[String]) {
    for id in ids {
        view.write(over(id), None);
    }
}

/// Carries out [`Event::NamesForgotten`]: the rows go, the keys are due.
pub(crate) fn note_forgotten(view: &mut Overlay<'_>, ids: &[String]) -> Result<(), StoreError> {
    for id in ids {
        view.write(over(id), None);
        let Some(row) = state::label(view, id)? else {
            continue;
        };
        record::not_labelled(view, &row.handle, id);
        view.write(key::of(key::LABEL, id.as_bytes()), None);
        if let Some(drawn) = &row.drawn {
            let name = named(id, drawn);
            view.write(vault::kept_key(&name), None);
            view.write(forget::doomed(&name), Some(Vec::new()));
        }
    }
    Ok(())
}

/// Whether what the name belonged to is over. What the log does not have was refused, or is on its
/// way for longer than a statement may be.
fn is_over(view: &dyn Read, id: &str, now: Timestamp) -> Result<bool, ErrorCode> {
    if let Ok(id) = id.parse::<ConsentId>()
        && let Some(consent) = state::consent(view, &id).map_err(storage)?
    {
        let mut withdrawn = consent.withdrawn.iter();
        return Ok(
            consent.terms.expires_at <= now || withdrawn.any(|w| w.scope == WithdrawalScope::All)
        );
    }
    if let Ok(id) = id.parse::<CaseId>()
        && let Some(case) = state::case(view, &id).map_err(storage)?
    {
        return Ok(case.outcome.is_some());
    }
    Ok(true)
}

/// One step through the names, from after `after`: which are over since now, which have been for
/// `days`, and where to go on.
///
/// # Errors
/// The store.
pub(crate) fn due(
    view: &dyn Read,
    after: Option<&[u8]>,
    now: Timestamp,
    days: u64,
) -> Result<(Vec<Event>, Option<Vec<u8>>), ErrorCode> {
    let rows = view.scan(key::LABEL.as_bytes(), after, PAGE);
    let rows = rows.map_err(storage)?;
    let (mut newly, mut forgotten, mut again) = (Vec::new(), Vec::new(), Vec::new());
    for (key, _) in &rows {
        let id = key.get(key::LABEL.len()..).unwrap_or_default();
        let id = str::from_utf8(id).map_err(|_| ErrorCode::Storage)?;
        let since: Option<Timestamp> = state::load(view, &over(id)).map_err(storage)?;
        if !is_over(view, id, now)? {
            // It was not there yet: the days do not run from then.
            again.extend(since.map(|_| id.to_owned()));
            continue;
        }
        match since {
            Some(since) if since.plus_s(days.saturating_mul(DAY_S)) <= now => {
                forgotten.push(id.to_owned());
            }
            Some(_) => {}
            None => newly.push(id.to_owned()),
        }
    }
    let mut events = Vec::new();
    if !again.is_empty() {
        events.push(Event::NamesNotOver { ids: again });
    }
    if !newly.is_empty() {
        events.push(Event::NamesOver { ids: newly });
    }
    if !forgotten.is_empty() {
        events.push(Event::NamesForgotten { ids: forgotten });
    }
    let next = rows.last().filter(|_| rows.len() == PAGE);
    Ok((events, next.map(|(key, _)| key.clone())))
}

/// Looks through all names once, and takes those away that are due: their keys are, from then on.
///
/// # Errors
/// The store.
pub(crate) async fn look_through(node: &Node) -> Result<(), ErrorCode> {
    let (now, days) = (
        node.clock.now(),
        node.context.config.forget_names_after_days,
    );
    let mut after: Option<Vec<u8>> = None;
    loop {
        let from = after.take();
        let write = node
            .core
            .write(now, move |view| due(view, from.as_deref(), now, days));
        after = write.await?;
        if after.is_none() {
            return Ok(());
        }
    }
}
