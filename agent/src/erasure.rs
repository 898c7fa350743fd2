//! Erasing an answer: what could open it is destroyed, and that is attested.
//!
//! In scope: the two steps, and finishing them after a crash. Out of scope: when to erase; the file
//! of keys ([`crate::vault`]).
//!
//! The intent is journaled before the key is destroyed, so a start after a crash finishes what
//! somebody set out to erase, and nothing else: a file of keys that was lost is not an erasure, and
//! is never attested as one.

use crate::{
    context::Context,
    event::Event,
    holder::storage,
    node::Node,
    requester::receipt,
    state::{self, AskRow, key},
    suspicion::record,
    vault,
};
use passerelle_model::{
    bytes::Digest,
    error::ErrorCode,
    ids::RequestId,
    request::Status,
    seeded::{Bug, seeded},
    statement::ReceiptKind,
    store::{Overlay, Read, StoreError},
    time::Timestamp,
};
use std::sync::Arc;

/// Requests of ours that somebody set out to erase.
const BEGUN: &str = "erasing/";

/// Most erasures that are looked up at once.
const PAGE: usize = 256;

fn begun(request: &RequestId) -> Vec<u8> {
    key::of(BEGUN, request.as_str().as_bytes())
}

/// The request, unless it is erased already.
fn erasable(view: &dyn Read, request: &RequestId) -> Result<Option<AskRow>, ErrorCode> {
    let row = state::ask(view, request).map_err(storage)?;
    let row = row.ok_or(ErrorCode::UnknownRequest)?;
    if row.status == Status::Erased {
        return Ok(None);
    }
    if row.status.is_open() && row.stopped.is_none() {
        return Err(ErrorCode::WrongState);
    }
    Ok(Some(row))
}

/// The first step: says that a request is to be erased. Nothing, if that was said before.
///
/// # Errors
/// [`ErrorCode::UnknownRequest`]; [`ErrorCode::WrongState`] while it is open; the store.
pub fn begin(view: &dyn Read, request: &RequestId) -> Result<Vec<Event>, ErrorCode> {
    if erasable(view, request)?.is_none() {
        return Ok(Vec::new());
    }
    let was_begun = view.get(&begun(request)).map_err(storage)?.is_some();
    let event = (!was_begun).then(|| Event::ErasureBegun {
        request: request.clone(),
    });
    Ok(event.into_iter().collect())
}

/// The second step, once the first is durable: destroys what there is of a request, its key first,
/// then the sealed answer, and attests it. Nothing, if it is erased.
///
/// # Errors
/// As [`begin`]; [`ErrorCode::WrongState`] also if it was not begun.
pub fn finish(
    context: &Context,
    view: &dyn Read,
    request: &RequestId,
    now: Timestamp,
) -> Result<Vec<Event>, ErrorCode> {
    let Some(row) = erasable(view, request)? else {
        return Ok(Vec::new());
    };
    if view.get(&begun(request)).map_err(storage)?.is_none() {
        return Err(ErrorCode::WrongState);
    }
    if !seeded(Bug::EraseKeepsKey) {
        context.vault.destroy(request)?;
        if let Some(name) = record::goes_with(view, request).map_err(storage)? {
            context.vault.destroy_named(&name)?;
        }
    }
    let mut events = vec![Event::Erased {
        request: request.clone(),
    }];
    if let Some(answer) = &row.answer {
        let kind = ReceiptKind::Erased;
        events.push(receipt(context, request, kind, answer.sealed, now)?);
    }
    Ok(events)
}

/// Requests whose erasure was begun and not finished, at most some hundreds: to be asked for again
/// until there are none.
///
/// # Errors
/// The store.
pub fn unfinished(view: &dyn Read) -> Result<Vec<RequestId>, ErrorCode> {
    let rows = view.scan(BEGUN.as_bytes(), None, PAGE).map_err(storage)?;
    let id = |key: &[u8]| {
        let id = std::str::from_utf8(key.get(BEGUN.len()..)?).ok()?;
        id.parse().ok()
    };
    let ids = rows.iter().map(|(key, _)| id(key));
    ids.collect::<Option<_>>().ok_or(ErrorCode::Storage)
}

/// Both steps, each durable before the next. The digest of what attests it, if there was an answer.
///
/// # Errors
/// As [`begin`] and [`finish`].
pub async fn carry_out(node: &Node, request: &RequestId) -> Result<Option<Digest>, ErrorCode> {
    let (begun, now) = (request.clone(), node.clock.now());
    let write = node
        .core
        .write(now, move |view| Ok((begin(view, &begun)?, ())));
    write.await?;
    let (context, request) = (Arc::clone(&node.context), request.clone());
    let write = node.core.write(now, move |view| {
        let events = finish(&context, view, &request, now)?;
        let statement = events.iter().find_map(|event| match event {
            Event::Stated(stated) => Some(stated.envelope.digest()),
            _ => None,
        });
        Ok((events, statement))
    });
    write.await
}

/// Carries out [`Event::ErasureBegun`].
pub(crate) fn note_begun(view: &mut Overlay<'_>, request: &RequestId) {
    view.write(begun(request), Some(Vec::new()));
}

/// Carries out [`Event::Erased`], but for the row of the request.
///
/// # Errors
/// The store.
pub(crate) fn note_finished(view: &mut Overlay<'_>, request: &RequestId) -> Result<(), StoreError> {
    view.write(begun(request), None);
    view.write(key::of(key::SEALED, request.as_str().as_bytes()), None);
    vault::put_kept(view, request, None);
    view.write(record::named_apart_key(request), None);
    if let Some(name) = record::goes_with(view, request)? {
        view.write(vault::kept_key(&name), None);
    }
    Ok(())
}
