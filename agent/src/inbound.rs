//! What the broker sends: verified, journaled with what follows from it, all in one transaction.
//!
//! A crash before the journal means that it is sent again; after, that it is not needed.

use crate::{
    context::Context,
    event::{Event, Stated},
    holder::{self, Offer, storage},
    late,
    node::Node,
    origin, requester, review,
    settlement::is_mendable,
    state::{self, key},
    suspicion::override_review,
    trust::Trust,
    verify::{Checked, CheckedNotice, check_notice, check_said},
};
use futures_util::future::{BoxFuture, ready};
use passerelle_model::{
    bytes::Digest,
    entry::EntryBody,
    error::ErrorCode,
    statement::{Answer, Body},
    store::Read,
    time::Timestamp,
};
use passerelle_proto::v1;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// One that is to be durable.
pub type Pending = BoxFuture<'static, Result<(), ErrorCode>>;

/// Set once a notice of a stream was refused: those after it must not be taken in, or the cursor
/// would pass over it.
pub type Broken = Arc<AtomicBool>;

/// Takes in one notice, after those before it. One that was journaled before is ignored. What is
/// returned resolves when it is durable.
///
/// # Errors
/// The broker misbehaved, too few witnesses are up, or the store fails. Nothing is journaled: the
/// stream is given up, and the notice will be sent again.
pub async fn on_notice(
    node: &Node,
    wire: v1::Notice,
    broken: &Broken,
) -> Result<Pending, ErrorCode> {
    let context = Arc::clone(&node.context);
    let broken = Arc::clone(broken);
    let now = node.clock.now();
    let begun = node.core.begin(now, move |view| {
        if broken.load(Ordering::Relaxed) {
            return Err(ErrorCode::Unavailable);
        }
        let events = take_in(&context, view, wire, now);
        Ok((
            events.inspect_err(|_| broken.store(true, Ordering::Relaxed))?,
            (),
        ))
    });
    Ok(Box::pin(begun.await?))
}

/// What a notice comes to: the events of one transaction, none if it was journaled before. One that
/// comes after later ones, and was not journaled, is proof that the broker kept it back.
///
/// # Errors
/// As [`on_notice`].
pub fn take_in(
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
    let index = wire.index;
    let is_late = index < cursor;
    if is_late && late::was_heard(view, wire.membership, index).map_err(storage)? {
        return Ok(Vec::new());
    }
    let trust = context.trust(view).map_err(storage)?;
    let checked = check_notice(wire, &trust).inspect_err(|code| {
        tracing::warn!(index, %code, "notice refused");
    })?;
    let checked = match checked {
        Checked::Entry(checked) => {
            is_accepted_origin(view, &checked)?;
            checked
        }
        Checked::Later(noticed) => {
            tracing::warn!(index, "an entry of a later version is passed over");
            return Ok(vec![Event::Noticed(noticed)]);
        }
    };
    // However late: a broker that keeps an override back must not spare it the review.
    let wanted = override_review::wanted(view, &trust.anchors.agency, &checked.entry().body)?;
    if is_late {
        let noticed = Event::Noticed(Box::new(late::take_in(&checked, &trust)));
        return Ok(std::iter::once(noticed).chain(wanted).collect());
    }
    match follow(context, view, &trust, &checked, now) {
        Ok(Offer { unusable, events }) => {
            let noticed = Event::Noticed(Box::new(checked.with_permit(unusable)));
            let events = events.into_iter().chain(wanted);
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

/// The log goes on as this agency has accepted that it does, and not otherwise.
fn is_accepted_origin(view: &dyn Read, notice: &CheckedNotice) -> Result<(), ErrorCode> {
    let EntryBody::Supersedes(_) = notice.entry().body else {
        return Ok(());
    };
    let accepted = origin::expected(view, notice.index()).map_err(storage)?;
    // Who joined later has accepted the log as it was then.
    let shown = Digest::of(&notice.noticed().entry.0);
    if accepted.is_none_or(|accepted| accepted == shown) {
        return Ok(());
    }
    tracing::error!("the log shows another new origin than the one that was accepted here");
    Err(ErrorCode::OriginNotAccepted)
}

fn follow(
    context: &Context,
    view: &dyn Read,
    trust: &Trust,
    notice: &CheckedNotice,
    now: Timestamp,
) -> Result<Offer, ErrorCode> {
    // There is such a row for what this agency has signed, and for nothing else.
    let is_ours = |statement: &_| {
        let sent = state::sent(view, statement).map_err(storage)?;
        Ok(sent.is_some())
    };
    if let Some(said) = check_said(notice, trust, is_ours)? {
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
            | Body::AgreementChange(_)
            | Body::CaseOpening(_)
            | Body::CaseAdvance(_)
            | Body::BundleEndorsement(_)
            | Body::OverrideReview(_)
            | Body::Resumption(_) => Ok(Offer::default()),
        };
    }
    if let EntryBody::Offered { permit } = &notice.entry().body {
        // Of the former origin, however valid: it may rest on what was withdrawn in what was lost.
        let since = state::meta(view).map_err(storage)?.origin_since;
        if notice.index() < since {
            return Err(ErrorCode::PermitWithdrawn);
        }
        let me = &trust.anchors.agency;
        if permit.holder != *me && permit.requester != *me {
            return Err(ErrorCode::PermitMismatch);
        }
        return holder::on_offer(context, view, notice, trust, now);
    }
    Ok(Offer::default())
}

/// What the broker said of a statement of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// It has to be sent again later.
    Later,
    /// It is in the log, or refused for good.
    Settled {
        /// Place in the outbox.
        seq: u64,
        /// Why it was refused, if it was.
        code: Option<ErrorCode>,
        /// Index of its entry.
        index: Option<u64>,
    },
}

/// Reads what the broker said of the statement at place `call` of the outbox.
pub fn settlement(reply: &v1::Reply) -> Settlement {
    let seq = reply.call;
    let code = match reply.code.as_str() {
        "" => None,
        // A code of a later version: refused all the same.
        code => Some(code.parse().unwrap_or(ErrorCode::Malformed)),
    };
    let code = match code {
        // Sent again after a crash or a cut: it was accepted the first time.
        Some(ErrorCode::Replayed) if reply.logged => None,
        Some(code) if is_passing(code) => return Settlement::Later,
        code => code,
    };
    Settlement::Settled {
        seq,
        code,
        index: reply.logged.then_some(reply.index),
    }
}

/// Journals what became of a statement. What is returned resolves when it is durable.
///
/// # Errors
/// The store.
pub async fn on_settlement(node: &Node, settlement: Settlement) -> Result<Pending, ErrorCode> {
    if settlement == Settlement::Later {
        return Ok(Box::pin(ready(Ok(()))));
    }
    let context = Arc::clone(&node.context);
    let now = node.clock.now();
    let begun = node.core.begin(now, move |view| {
        Ok((settle(&context, view, settlement, now)?, ()))
    });
    Ok(Box::pin(begun.await?))
}

/// What a settlement leads to.
///
/// # Errors
/// The store.
pub fn settle(
    context: &Context,
    view: &dyn Read,
    settlement: Settlement,
    now: Timestamp,
) -> Result<Vec<Event>, ErrorCode> {
    let Settlement::Settled { seq, code, index } = settlement else {
        return Ok(Vec::new());
    };
    if let Some(code) = code {
        tracing::warn!(seq, %code, "the broker refused a statement");
    }
    let mut events = vec![Event::Settled { seq, code, index }];
    events.extend(after_reply(context, view, seq, code, now)?);
    Ok(events)
}

/// Whether the same statement may be accepted later.
const fn is_passing(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::RateLimited
            | ErrorCode::Unavailable
            | ErrorCode::NoQuorum
            | ErrorCode::Recovering
            | ErrorCode::OriginNotAccepted
            | ErrorCode::BundleNotHeld
            | ErrorCode::Storage
            | ErrorCode::Internal
    )
}

/// Holds back the answer at place `seq` of the outbox: what it rested on was withdrawn since it was
/// made. What leaves instead is what would be answered now.
///
/// # Errors
/// The store, or no randomness.
pub fn hold_back(
    context: &Context,
    view: &dyn Read,
    seq: u64,
    now: Timestamp,
) -> Result<Vec<Event>, ErrorCode> {
    let Some(answer) = answer_at(view, seq)? else {
        return Ok(Vec::new());
    };
    tracing::warn!(request = %answer.request, "withdrawn since it was made: an answer is held back");
    let trust = context.trust(view).map_err(storage)?;
    let mut events = vec![Event::HeldBack { seq }];
    events.extend(review::after_withdrawal(
        context, view, &trust, &answer, now,
    )?);
    Ok(events)
}

/// The answer that a statement of this agency is, if it is one.
pub(crate) fn answer_in(stated: &Stated) -> Option<Answer> {
    match stated.envelope.unverified_statement().ok()?.body {
        Body::Answer(answer) => Some(answer),
        _ => None,
    }
}

/// The answer at place `seq` of the outbox, if there is one.
fn answer_at(view: &dyn Read, seq: u64) -> Result<Option<Answer>, ErrorCode> {
    let stated: Option<Stated> = state::load(view, &key::out(seq)).map_err(storage)?;
    Ok(stated.and_then(|stated| answer_in(&stated)))
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
    let Some(answer) = answer_at(view, seq)? else {
        return Ok(Vec::new());
    };
    let trust = context.trust(view).map_err(storage)?;
    review::after_refusal(context, view, &trust, &answer, code, now)
}
