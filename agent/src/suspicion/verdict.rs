//! What a second person says of an audit case, and what follows: a held question leaves or never
//! does, a worker is suspended or may go on, a case is erased.
//!
//! In scope: who may say it, and what it does. Functions of the state, run by the single writer,
//! and the steps around them. Out of scope: raising cases ([`super::question`]).

use super::{
    Finding, apart,
    question::{audit, kept},
    record::{self, CaseEvent, CaseRow, Fate},
};
use crate::{
    config::Worker, context::Context, core::Outcome, entropy, event::Event, holder::storage,
    node::Node, requester, state,
};
use passerelle_model::{
    bytes::{Digest, Handle},
    commitment::{Field, Opening},
    error::ErrorCode,
    ids::{AuditCaseId, RequestId},
    statement::{Body, OverrideReview},
    store::Read,
    time::Timestamp,
    vocabulary::ReviewFinding,
};
use std::sync::Arc;

/// Longest note, in bytes.
pub const MAX_NOTE_BYTES: usize = 4_000;

/// A verdict.
#[derive(Clone)]
pub struct Verdict {
    /// On which case.
    pub case: AuditCaseId,
    /// What was found.
    pub finding: Finding,
    /// Who says it.
    pub by: Worker,
    /// Free text; empty: none.
    pub note: String,
    /// Whether the worker of the case is suspended, too.
    pub suspend: bool,
}

/// What of a verdict is on its way to the log, by the digests of the statements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// The question that it lets leave.
    pub released: Option<Digest>,
    /// What came of the review of an emergency.
    pub review: Option<Digest>,
}

/// Whether a worker looks at audit cases at all.
pub const fn may_review(worker: &Worker) -> bool {
    worker.role.is_reviewer()
}

/// Refuses whoever does not look at audit cases.
///
/// # Errors
/// [`ErrorCode::NotIndependent`].
pub const fn require_reviewer(worker: &Worker) -> Result<(), ErrorCode> {
    if may_review(worker) {
        Ok(())
    } else {
        Err(ErrorCode::NotIndependent)
    }
}

/// Refuses a verdict by somebody who has a part in the case: who asked, who the question is or may
/// be about, who let it leave; of an emergency also who approved it at the holder.
///
/// # Errors
/// [`ErrorCode::NotIndependent`]; the store.
pub fn require_independent(
    context: &Context,
    view: &dyn Read,
    row: &CaseRow,
    worker: &Worker,
) -> Result<(), ErrorCode> {
    require_reviewer(worker)?;
    if apart::parties(context, view, row)?.contains(&worker.id) {
        return Err(ErrorCode::NotIndependent);
    }
    Ok(())
}

/// Refuses to show a case to somebody who has a part in it. Of one that is erased nobody can know
/// any more whom it was about: only who gave its verdict, and had no part in it then, sees it.
///
/// # Errors
/// As [`require_independent`].
pub fn require_reader(
    context: &Context,
    view: &dyn Read,
    row: &CaseRow,
    worker: &Worker,
) -> Result<(), ErrorCode> {
    require_independent(context, view, row, worker)?;
    let decided_by = row.decided.as_ref().map(|decided| &decided.worker);
    if row.is_erased && decided_by != Some(&worker.id) {
        return Err(ErrorCode::NotIndependent);
    }
    Ok(())
}

/// What a verdict leads to; the digest of the question's statement, if it leaves now.
///
/// # Errors
/// [`ErrorCode::UnknownAuditCase`], [`ErrorCode::NotIndependent`]; [`ErrorCode::WrongState`] if it
/// has a verdict or needs none; [`ErrorCode::Stale`] to release a question that is over;
/// [`ErrorCode::TooLarge`] for the note; the store.
pub fn decide(
    context: &Context,
    view: &dyn Read,
    verdict: &Verdict,
    now: Timestamp,
) -> Outcome<Option<Digest>> {
    let row = record::case(view, &verdict.case)?;
    require_reviewer(&verdict.by)?;
    if !row.is_open() {
        return Err(ErrorCode::WrongState);
    }
    require_independent(context, view, &row, &verdict.by)?;
    if verdict.note.len() > MAX_NOTE_BYTES {
        return Err(ErrorCode::TooLarge);
    }
    let mut events = Vec::new();
    if verdict.suspend {
        let worker = row.worker.as_ref().ok_or(ErrorCode::WrongState)?;
        events.extend(suspend(context, view, worker, &verdict.by, false)?.0);
    }
    let release = row.fate == Fate::Held && verdict.finding == Finding::Justified;
    // Before the note: what is refused must leave no key behind.
    let stated = match release {
        true => Some(released(context, view, &row, now)?),
        false => None,
    };
    let note = match verdict.note.as_str() {
        "" => None,
        note => {
            let name = record::note_name(&row.case);
            Some(context.vault.keep_named(&name, note.as_bytes())?)
        }
    };
    let (reviewer, told) = match apart::is_override(&row) {
        true => tell(context, &row.request, verdict, now)?,
        false => (None, None),
    };
    events.push(audit(CaseEvent::Decided {
        case: row.case.clone(),
        finding: verdict.finding,
        worker: verdict.by.id.clone(),
        note,
        fate: match row.fate {
            Fate::Held if release => Fate::Released,
            Fate::Held => Fate::Dropped,
            other => other,
        },
        reviewer,
    }));
    events.extend(told);
    let digest = stated.as_ref().map(|stated| stated.envelope.digest());
    events.extend(stated.map(|stated| Event::Stated(Box::new(stated))));
    Ok((events, digest))
}

/// What the log is told of the review of an emergency, and what opens who it was in that; the
/// opening stays here.
fn tell(
    context: &Context,
    request: &RequestId,
    verdict: &Verdict,
    now: Timestamp,
) -> Result<(Option<Opening>, Option<Event>), ErrorCode> {
    let reviewer = entropy::opening(Field::Worker, verdict.by.id.as_bytes())?;
    let body = Body::OverrideReview(OverrideReview {
        request: request.clone(),
        finding: match verdict.finding {
            Finding::Justified => ReviewFinding::Justified,
            Finding::NotJustified => ReviewFinding::NotJustified,
            Finding::NoAccessNeeded => ReviewFinding::NoAccessNeeded,
        },
        reviewer: reviewer.commitment(),
        role: verdict.by.role,
    });
    let stated = context.say(now, body)?.done();
    Ok((Some(reviewer), Some(Event::Stated(Box::new(stated)))))
}

/// The statement of a question that was held.
fn released(
    context: &Context,
    view: &dyn Read,
    row: &CaseRow,
    now: Timestamp,
) -> Result<crate::event::Stated, ErrorCode> {
    let asker = row.worker.as_deref().ok_or(ErrorCode::Internal)?;
    super::question::require_active(view, asker)?;
    let worker = context.config.worker(asker).ok_or(ErrorCode::WrongState)?;
    let kept = kept(context, view, &row.case)?.ok_or(ErrorCode::WrongState)?;
    let question = kept.question.ok_or(ErrorCode::WrongState)?;
    if question.not_after() <= now {
        return Err(ErrorCode::Stale);
    }
    let question = question.into_question(kept.handle, worker.clone());
    let trust = context.trust(view).map_err(storage)?;
    requester::ask_as(context, &trust, &row.request, question, now)
}

/// Stops a worker, or lets one go on. Nothing, if it is so already.
///
/// # Errors
/// [`ErrorCode::NotIndependent`] for somebody's own suspension, and for whoever may not say it;
/// [`ErrorCode::OutOfRange`] for a worker whom the settings don't have; the store.
pub fn suspend(
    context: &Context,
    view: &dyn Read,
    worker: &str,
    by: &Worker,
    lift: bool,
) -> Outcome<()> {
    require_reviewer(by)?;
    if by.id == worker {
        return Err(ErrorCode::NotIndependent);
    }
    let is_suspended = record::suspended_by(view, worker)
        .map_err(storage)?
        .is_some();
    if !is_suspended && context.config.worker(worker).is_none() {
        return Err(ErrorCode::OutOfRange);
    }
    if is_suspended != lift {
        return Ok((Vec::new(), ()));
    }
    let (worker, by) = (worker.to_owned(), by.id.clone());
    let event = match lift {
        true => CaseEvent::Lifted { worker, by },
        false => CaseEvent::Suspended { worker, by },
    };
    Ok((vec![audit(event)], ()))
}

/// Says that what a case says of a person is to be destroyed. The value: names of the keys that go
/// once that is durable.
///
/// # Errors
/// [`ErrorCode::NotIndependent`]; [`ErrorCode::WrongState`] while it waits for a verdict; the
/// store.
pub fn erase(
    context: &Context,
    view: &dyn Read,
    case: &AuditCaseId,
    by: &Worker,
) -> Outcome<Vec<String>> {
    let row = record::case(view, case)?;
    require_independent(context, view, &row, by)?;
    if row.is_open() {
        return Err(ErrorCode::WrongState);
    }
    // What was erased before has no row here any more, which says nothing of its key: the disk may
    // have refused, or a crash have come. It is destroyed again.
    let mut names = Vec::new();
    for name in [case.to_string(), record::note_name(case)] {
        if row.is_erased || context.vault.is_kept(view, &name)? {
            names.push(name);
        }
    }
    let sealed = record::goes_with_case(view, &row).map_err(storage)?;
    let apart = match sealed.is_some() && !row.is_erased {
        true => apart::names(context, view, &row.request)?,
        false => Vec::new(),
    };
    names.extend(sealed);
    let case = case.clone();
    let event = (!row.is_erased).then(|| audit(CaseEvent::Erased { case, apart }));
    Ok((event.into_iter().collect(), names))
}

/// What a reviewer reads of a case beyond its row.
pub struct Opened {
    /// The person's handle.
    pub person: Option<Handle>,
    /// The worker of this agency who is the person.
    pub about: Option<String>,
    /// What the reviewer wrote.
    pub note: Option<String>,
}

/// Opens what a case says of a person.
///
/// # Errors
/// It can't be read.
pub fn open(context: &Context, view: &dyn Read, row: &CaseRow) -> Result<Opened, ErrorCode> {
    let kept = kept(context, view, &row.case)?;
    let sealed = record::note(view, &row.case).map_err(storage)?;
    let note = match sealed {
        Some(_) => context
            .vault
            .open_named(view, &record::note_name(&row.case))?,
        None => None,
    };
    let handle = match &kept {
        Some(kept) => match (kept.handle, kept.token) {
            (None, Some(token)) => state::handle_of(view, &token).map_err(storage)?,
            (handle, _) => handle,
        },
        None => subject(context, view, row)?,
    };
    Ok(Opened {
        person: handle,
        about: kept.and_then(|kept| kept.about),
        note: note.map(|note| String::from_utf8_lossy(&note).into_owned()),
    })
}

/// The person of a question that left, from the question's own secrets.
fn subject(context: &Context, view: &dyn Read, row: &CaseRow) -> Result<Option<Handle>, ErrorCode> {
    let secrets = context.vault.open(view, &row.request)?;
    let openings = secrets.map(|secrets| secrets.openings).unwrap_or_default();
    let subject = openings.iter().find(|o| o.field == Field::Subject);
    Ok(subject
        .and_then(|o| o.data.0.as_slice().try_into().ok())
        .map(Handle))
}

/// Journals a verdict; keys that are not needed any more are destroyed after it.
///
/// # Errors
/// Those of [`decide`].
pub async fn carry_out(node: &Node, verdict: Verdict) -> Result<Said, ErrorCode> {
    let (context, now) = (Arc::clone(&node.context), node.clock.now());
    let case = verdict.case.clone();
    let decided = node.core.write(now, move |view| {
        let (events, released) = decide(&context, view, &verdict, now)?;
        let mut said = events.iter().filter_map(|event| match event {
            Event::Stated(stated) => Some(stated.envelope.digest()),
            _ => None,
        });
        let review = said.find(|digest| Some(*digest) != released);
        Ok((events, Said { released, review }))
    });
    let said = decided.await?;
    if said.released.is_some() {
        destroy(node, vec![case.to_string()]).await?;
    }
    Ok(said)
}

/// Erases a case: journaled first, so that a start after a crash finishes it.
///
/// # Errors
/// Those of [`erase`].
pub async fn erase_for_good(node: &Node, case: AuditCaseId, by: Worker) -> Result<(), ErrorCode> {
    let (context, now) = (Arc::clone(&node.context), node.clock.now());
    let erased = node
        .core
        .write(now, move |view| erase(&context, view, &case, &by));
    let names = erased.await?;
    destroy(node, names).await
}

async fn destroy(node: &Node, names: Vec<String>) -> Result<(), ErrorCode> {
    let (context, now) = (Arc::clone(&node.context), node.clock.now());
    let destroyed = node.core.write(now, move |_| {
        for name in &names {
            context.vault.destroy_named(name)?;
        }
        Ok((Vec::new(), ()))
    });
    destroyed.await
}
