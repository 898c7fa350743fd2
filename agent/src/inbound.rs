//! What the broker sends: verified, journaled with what follows from it, all in one transaction.
//!
//! A crash before the journal means that it is sent again; after, that it is not needed.

use crate::{
    apply::is_mendable,
    context::Context,
    event::{Event, Stated},
    holder::{self, Offer, storage},
    node::Node,
    requester, review,
    state::{self, key},
    trust::Trust,
    verify::{Checked, CheckedNotice, check_notice, check_said},
};
use passerelle_model::{
    entry::EntryBody, error::ErrorCode, statement::Body, store::Read, time::Timestamp,
};
use passerelle_proto::v1;
use std::sync::Arc;

/// Takes in one notice. One that was journaled before is ignored.
///
/// # Errors
/// The broker misbehaved, too few witnesses are up, or the store fails. Nothing is journaled: the
/// stream is given up, and the notice will be sent again.
pub async fn on_notice(node: &Node, wire: v1::Notice) -> Result<(), ErrorCode> {
    let context = Arc::clone(&node.context);
    let now = node.clock.now();
    node.core
        .write(now, move |view| {
            Ok((take_in(&context, view, wire, now)?, ()))
        })
        .await
}

/// What a notice comes to: the events of one transaction, none if it was journaled before.
///
/// # Errors
/// As [`on_notice`].
pub(crate) fn take_in(
    context: &Context,
    view: &dyn Read,
    wire: v1::Notice,
    now: Timestamp,
) -> Result<Vec<Event>, ErrorCode> {
    let meta = state::meta(view).map_err(storage)?;
    let cursor = if wire.membership {
        meta.next_member
    } else {
        meta.next_notice
    };
    if wire.index < cursor {
        return Ok(Vec::new());
    }
    let trust = Trust::load(&context.identity.anchors, view).map_err(storage)?;
    let index = wire.index;
    let checked = check_notice(wire, &trust).inspect_err(|code| {
        tracing::warn!(index, %code, "notice refused");
    })?;
    let checked = match checked {
        Checked::Entry(checked) => checked,
        Checked::Later(noticed) => {
            tracing::warn!(index, "an entry of a later version is passed over");
            return Ok(vec![Event::Noticed(noticed)]);
        }
    };
    match follow(context, view, &trust, &checked, now) {
        Ok(Offer { unusable, events }) => {
            let noticed = Event::Noticed(Box::new(checked.with_permit(unusable)));
            Ok(std::iter::once(noticed).chain(events).collect())
        }
        // These two are ours, not the entry's: try again later.
        Err(code @ (ErrorCode::Storage | ErrorCode::Internal)) => Err(code),
        Err(code) => {
            tracing::warn!(index, %code, "an entry is in the log but has no effect here");
            Ok(vec![Event::Noticed(Box::new(checked.with_problem(code)))])
        }
    }
}

fn follow(
    context: &Context,
    view: &dyn Read,
    trust: &Trust,
    notice: &CheckedNotice,
    now: Timestamp,
) -> Result<Offer, ErrorCode> {
    if let Some(said) = check_said(notice, trust)? {
        return match &said.statement().body {
            Body::Answer(answer) => Ok(Offer {
                unusable: false,
                events: requester::on_answer(context, view, &said, answer, now)?,
            }),
            Body::Request(_)
            | Body::Receipt(_)
            | Body::Renewal(_)
            | Body::Consent(_)
            | Body::Withdrawal(_)
            | Body::Agreement(_)
            | Body::AgreementSignature(_)
            | Body::CaseOpening(_)
            | Body::CaseAdvance(_) => Ok(Offer::default()),
        };
    }
    if let EntryBody::Offered { permit } = &notice.entry().body {
        let me = &trust.anchors.agency;
        if permit.holder != *me && permit.requester != *me {
            return Err(ErrorCode::PermitMismatch);
        }
        return holder::on_offer(context, view, notice, trust, now);
    }
    Ok(Offer::default())
}

/// Takes in what the broker said of the statement at place `seq` of the outbox. Returns whether
/// it is settled; if not, it has to be sent again later.
///
/// # Errors
/// The store.
pub async fn on_reply(node: &Node, reply: v1::Reply) -> Result<bool, ErrorCode> {
    let v1::Reply {
        call: seq,
        code,
        index,
        logged,
    } = reply;
    let index = logged.then_some(index);
    let code = match code.as_str() {
        "" => None,
        // A code of a later version: refused all the same.
        code => Some(code.parse().unwrap_or(ErrorCode::Malformed)),
    };
    let code = match code {
        // Sent again after a crash or a cut: it was accepted the first time.
        Some(ErrorCode::Replayed) if logged => None,
        Some(code) if is_passing(code) => return Ok(false),
        code => code,
    };
    if let Some(code) = code {
        tracing::warn!(seq, %code, "the broker refused a statement");
    }
    let context = Arc::clone(&node.context);
    let now = node.clock.now();
    node.core
        .write(now, move |view| {
            let mut events = vec![Event::Settled { seq, code, index }];
            events.extend(after_reply(&context, view, seq, code, now)?);
            Ok((events, true))
        })
        .await
}

/// Whether the same statement may be accepted later.
const fn is_passing(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::RateLimited
            | ErrorCode::Unavailable
            | ErrorCode::NoQuorum
            | ErrorCode::Storage
            | ErrorCode::Internal
    )
}

pub(crate) fn after_reply(
    context: &Context,
    view: &dyn Read,
    seq: u64,
    code: Option<ErrorCode>,
    now: Timestamp,
) -> Result<Vec<Event>, ErrorCode> {
    let Some(code) = code.filter(|code| is_mendable(*code)) else {
        return Ok(Vec::new());
    };
    let stated: Option<Stated> = state::load(view, &key::out(seq)).map_err(storage)?;
    let statement = stated.and_then(|s| s.envelope.unverified_statement().ok());
    let Some(Body::Answer(answer)) = statement.map(|s| s.body) else {
        return Ok(Vec::new());
    };
    let trust = Trust::load(&context.identity.anchors, view).map_err(storage)?;
    review::after_refusal(context, view, &trust, &answer, code, now)
}
