//! Who asks and why: the context that a requester seals for the holder.

use crate::{context::Context, holder::storage, person::Person, state};
use passerelle_model::{
    bytes::{Bytes, Handle},
    commitment::{self, Field, Opening},
    error::ErrorCode,
    ids::RequestId,
    statement::{Body, PAYLOAD_CONTEXT, Request},
    store::Read,
    vocabulary::Purpose,
};
use serde::{Deserialize, Serialize};

/// Who asks and why: the requester's context, opened.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskContext {
    /// The free text.
    pub justification: String,
    /// The worker's id.
    pub worker: String,
    /// Open the two commitments of the request.
    pub openings: Vec<Opening>,
    /// If other spellings are asked for too: who is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub near: Option<NearAsked>,
}

/// Whom other spellings are asked for: what a person at the holder compares with the own records.
/// The handles alone would be anybody's.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NearAsked {
    /// The near handles.
    pub handles: Vec<Handle>,
    /// As the requester writes her or him.
    pub person: Person,
}

/// Data beside the sealed context, so that it never passes for an answer.
pub(crate) const CONTEXT_AAD: &[u8] = b"context";

/// Whether a request to us is about nobody in particular: about whom a table speaks of.
///
/// # Errors
/// [`ErrorCode::UnknownRequest`]; the store.
pub(crate) fn names_nobody(view: &dyn Read, request: &RequestId) -> Result<bool, ErrorCode> {
    let noticed = state::offer(view, request).map_err(storage)?;
    let related = noticed.and_then(|n| n.related);
    let related = related.ok_or(ErrorCode::UnknownRequest)?;
    match related.envelope.unverified_statement().map(|s| s.body) {
        Ok(Body::Request(asked)) => Ok(asked.subject.is_none()),
        _ => Err(ErrorCode::Malformed),
    }
}

/// Opens the context of a request to us.
///
/// # Errors
/// [`ErrorCode::OpeningMismatch`] if it does not fit what the requester signed;
/// [`ErrorCode::UnknownRequest`].
pub fn open_context(
    context: &Context,
    view: &dyn Read,
    request: &RequestId,
) -> Result<AskContext, ErrorCode> {
    let noticed = state::offer(view, request).map_err(storage)?;
    let related = noticed.and_then(|n| n.related);
    let related = related.ok_or(ErrorCode::UnknownRequest)?;
    let statement = related.envelope.unverified_statement();
    let Ok(Body::Request(asked)) = statement.map(|s| s.body) else {
        return Err(ErrorCode::Malformed);
    };
    let sealed: Option<&Bytes> = related.payloads.get(PAYLOAD_CONTEXT);
    unseal(context, &asked, sealed.ok_or(ErrorCode::PayloadMismatch)?)
}

/// The near handles in the context that came with a permit; none if other spellings are not asked
/// for, or it does not open.
pub(crate) fn near_of(context: &Context, asked: &Request, sealed: &Bytes) -> Vec<Handle> {
    if asked.purpose == Purpose::RightsRequest {
        // A restriction is found by the handle, and another spelling has another one.
        return Vec::new();
    }
    let opened = unseal(context, asked, sealed);
    let near = opened.ok().and_then(|inner| inner.near);
    near.map(|near| near.handles).unwrap_or_default()
}

fn unseal(context: &Context, asked: &Request, sealed: &Bytes) -> Result<AskContext, ErrorCode> {
    let request = &asked.request;
    let keys = &context.identity.keys;
    let opened = std::iter::once(&keys.sealing)
        .chain(&keys.former_sealing)
        .find_map(|key| {
            let info = request.as_str().as_bytes();
            key.open(info, CONTEXT_AAD, &sealed.0).ok()
        });
    let opened = opened.ok_or(ErrorCode::PayloadMismatch)?;
    let inner: AskContext =
        serde_json::from_slice(&opened).map_err(|_| ErrorCode::PayloadMismatch)?;
    for (field, commitment, value) in [
        (Field::Worker, &asked.worker, &inner.worker),
        (
            Field::Justification,
            &asked.justification,
            &inner.justification,
        ),
    ] {
        let opening = commitment::find(&inner.openings, field, commitment);
        if opening.is_none_or(|o| o.data.0 != value.as_bytes()) {
            return Err(ErrorCode::OpeningMismatch);
        }
    }
    Ok(inner)
}
