//! The requester's side of an exchange: asking, opening the answer, showing.
//!
//! In scope: building the signed request, checking an answer end to end, receipts. Functions of
//! the state, run by the single writer.
//! Out of scope: handles ([`crate::node`] gets them first), sending, erasing ([`crate::erasure`]).

use crate::{
    asked_by::{AskContext, CONTEXT_AAD, NearAsked},
    config::Worker,
    context::Context,
    entropy,
    event::{Event, Stated},
    holder::{SealedAnswer, storage},
    seal::{self, ReplyKey},
    state::{self, AskRow},
    trust::Trust,
    vault::{Secrets, VaultError},
};
use passerelle_model::{
    bytes::{Bytes, Digest, Handle},
    commitment::Field,
    error::ErrorCode,
    ids::{AgencyId, CaseId, RequestId},
    request::Status,
    statement::{
        Answer, Body, Item, PAYLOAD_ANSWER, PAYLOAD_CONTEXT, Receipt, ReceiptKind, Reliance,
        Request, Verified,
    },
    store::Read,
    time::Timestamp,
    vocabulary::{EmergencyKind, LegalBasis, Purpose},
};

/// Most bytes of a sealed context that the broker carries.
pub const MAX_CONTEXT_BYTES: usize = 16 * 1024;

/// What a worker wants to know.
#[derive(Clone)]
pub struct Question {
    /// About whom; absent at stage 2 of a table.
    pub subject: Option<Handle>,
    /// Who is asked.
    pub holder: AgencyId,
    /// What.
    pub items: Vec<Item>,
    /// What for.
    pub purpose: Purpose,
    /// On which basis.
    pub basis: LegalBasis,
    /// On which consent or agreement.
    pub reliance: Option<Reliance>,
    /// In which case.
    pub case: Option<CaseId>,
    /// The emergency that is claimed.
    pub emergency: Option<EmergencyKind>,
    /// The free text.
    pub justification: String,
    /// Who asks.
    pub worker: Worker,
    /// After this the request is void.
    pub not_after: Timestamp,
    /// If a person at the holder is to look for other spellings too.
    pub near: Option<NearAsked>,
}

/// Builds and signs the request, with its secrets sealed for the journal; their key is in the
/// vault, and durable before the journal is.
///
/// # Errors
/// [`ErrorCode::UnknownAgency`]; [`ErrorCode::BundleNotHeld`] or [`ErrorCode::BundleNotEndorsed`]
/// without lawful rules held here; [`ErrorCode::TooLarge`] for a justification that can't be sealed;
/// the store, or no randomness.
pub fn ask(
    context: &Context,
    trust: &Trust,
    question: Question,
    now: Timestamp,
) -> Result<(RequestId, Stated), ErrorCode> {
    let request = RequestId::from_random(entropy::random()?);
    let stated = ask_as(context, trust, &request, question, now)?;
    Ok((request, stated))
}

/// As [`ask`], under an id that the caller has drawn and that nobody has used.
///
/// # Errors
/// As there.
pub fn ask_as(
    context: &Context,
    trust: &Trust,
    request: &RequestId,
    question: Question,
    now: Timestamp,
) -> Result<Stated, ErrorCode> {
    let holder = trust
        .active(&question.holder)
        .ok_or(ErrorCode::UnknownAgency)?;
    // Who does not hold the rules, or has not agreed to those that are claimed, does not ask.
    context.bundles.usable(trust.rules(), now)?;
    let reply = ReplyKey::generate().map_err(|_| ErrorCode::Internal)?;
    let subject = match question.subject {
        Some(handle) => Some(entropy::opening(Field::Subject, &handle.0)?),
        None => None,
    };
    let worker = entropy::opening(Field::Worker, question.worker.id.as_bytes())?;
    let justification = entropy::opening(Field::Justification, question.justification.as_bytes())?;
    let inner = AskContext {
        justification: question.justification,
        worker: question.worker.id,
        openings: vec![worker.clone(), justification.clone()],
        near: question.near,
    };
    let inner = serde_json::to_vec(&inner).map_err(|_| ErrorCode::Internal)?;
    let sealed = seal::seal(
        &holder.keys.sealing,
        request.as_str().as_bytes(),
        CONTEXT_AAD,
        &zeroize::Zeroizing::new(inner),
        seal::CONTEXT,
    )
    .map_err(|error| match error {
        seal::SealError::TooLarge => ErrorCode::TooLarge,
        _ => ErrorCode::Internal,
    })?;
    if sealed.len() > MAX_CONTEXT_BYTES {
        return Err(ErrorCode::TooLarge);
    }
    let body = Body::Request(Box::new(Request {
        request: request.clone(),
        holder: question.holder,
        items: question.items,
        purpose: question.purpose,
        basis: question.basis,
        reliance: question.reliance,
        case: question.case,
        emergency: question.emergency,
        subject: subject.as_ref().map(|o| o.commitment()),
        worker: worker.commitment(),
        role: question.worker.role,
        trained: question.worker.trained,
        justification: justification.commitment(),
        context: Digest::of(&sealed),
        reply_key: reply.public(),
        not_after: question.not_after,
    }));
    let saying = context.say(now, body)?.payload(PAYLOAD_CONTEXT, sealed);
    let secrets = Secrets {
        reply_key: Bytes(reply.to_bytes().to_vec()),
        openings: subject.into_iter().chain([worker, justification]).collect(),
    };
    let kept = context.vault.keep(request, &secrets)?;
    Ok(saying.vault(request.clone(), kept).done())
}

/// What follows from a verified answer to a request of ours. The notice is journaled before
/// these, in the same transaction.
///
/// # Errors
/// The store. An answer that is not in order is no error but an event.
pub fn on_answer(
    context: &Context,
    view: &dyn Read,
    said: &Verified,
    answer: &Answer,
    now: Timestamp,
) -> Result<Vec<Event>, ErrorCode> {
    let request = &answer.request;
    let Some(row) = state::ask(view, request).map_err(storage)? else {
        return Ok(Vec::new());
    };
    if row.answer.is_some() || !row.status.is_open() {
        return Ok(Vec::new());
    }
    match check_answer(context, view, &row, said, answer) {
        Ok(opened) => {
            let receipt = receipt(context, request, ReceiptKind::Delivered, answer.sealed, now)?;
            Ok(vec![
                Event::AnswerOpened {
                    request: request.clone(),
                    outcome: opened.outcome,
                },
                receipt,
            ])
        }
        Err(Unopened::Try) => Err(ErrorCode::Storage),
        Err(Unopened::Refused(code)) => {
            tracing::warn!(%request, %code, "answer refused: it is not what was promised");
            Ok(vec![Event::AnswerRefused {
                request: request.clone(),
                code,
            }])
        }
    }
}

fn check_answer(
    context: &Context,
    view: &dyn Read,
    row: &AskRow,
    said: &Verified,
    answer: &Answer,
) -> Result<SealedAnswer, Unopened> {
    if said.statement().agency != row.request.holder {
        return Err(ErrorCode::WrongAgency.into());
    }
    if !row
        .permits
        .iter()
        .any(|(_, digest)| *digest == answer.permit)
    {
        return Err(ErrorCode::PermitMismatch.into());
    }
    let sealed = said.payload(PAYLOAD_ANSWER, &answer.sealed)?;
    let opened = open(context, view, &answer.request, &answer.permit, sealed)?;
    let opening = &opened.opening;
    let fits = opening.field == Field::Outcome
        && opening.opens(&answer.outcome)
        && opening.data.0 == opened.outcome.code().as_bytes();
    if fits {
        Ok(opened)
    } else {
        Err(ErrorCode::OpeningMismatch.into())
    }
}

/// Why an answer was not opened.
enum Unopened {
    /// The disk refused just now.
    Try,
    /// It can't be, for good.
    Refused(ErrorCode),
}

impl From<ErrorCode> for Unopened {
    fn from(code: ErrorCode) -> Self {
        Self::Refused(code)
    }
}

impl From<VaultError> for Unopened {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Disk => Self::Try,
            VaultError::Damaged => Self::Refused(ErrorCode::Storage),
        }
    }
}

impl From<Unopened> for ErrorCode {
    fn from(unopened: Unopened) -> Self {
        match unopened {
            Unopened::Try => Self::Storage,
            Unopened::Refused(code) => code,
        }
    }
}

fn open(
    context: &Context,
    view: &dyn Read,
    request: &RequestId,
    permit: &Digest,
    sealed: &Bytes,
) -> Result<SealedAnswer, Unopened> {
    let secrets = context.vault.open(view, request)?;
    let secrets = secrets.ok_or(ErrorCode::WrongState)?;
    let key = ReplyKey::from_bytes(&secrets.reply_key.0).map_err(|_| VaultError::Damaged)?;
    let content = key.open(&permit.0, request.as_str().as_bytes(), &sealed.0);
    let content = content.map_err(|_| ErrorCode::PayloadMismatch)?;
    serde_json::from_slice(&content).map_err(|_| ErrorCode::Malformed.into())
}

/// Opens the answer to show it. Nothing opened is kept.
///
/// # Errors
/// [`ErrorCode::WrongState`] if there is none in order, or it is erased.
pub fn opened_answer(
    context: &Context,
    view: &dyn Read,
    row: &AskRow,
) -> Result<SealedAnswer, ErrorCode> {
    let answer = row.answer.as_ref().filter(|a| a.in_order);
    let answer = answer.ok_or(ErrorCode::WrongState)?;
    let sealed = state::sealed(view, &row.request.request).map_err(storage)?;
    let sealed = sealed.ok_or(ErrorCode::WrongState)?;
    Ok(open(
        context,
        view,
        &row.request.request,
        &answer.permit,
        &sealed,
    )?)
}

pub(crate) fn receipt(
    context: &Context,
    request: &RequestId,
    kind: ReceiptKind,
    sealed: Digest,
    now: Timestamp,
) -> Result<Event, ErrorCode> {
    let body = Body::Receipt(Receipt {
        request: request.clone(),
        kind,
        sealed,
    });
    Ok(Event::Stated(Box::new(context.say(now, body)?.done())))
}

/// A worker looks at an answer: the first time is attested.
///
/// # Errors
/// The store.
pub fn viewed(
    context: &Context,
    view: &dyn Read,
    request: &RequestId,
    worker: &str,
    now: Timestamp,
) -> Result<Vec<Event>, ErrorCode> {
    let row = state::ask(view, request).map_err(storage)?;
    let Some(answer) = row
        .as_ref()
        .filter(|r| matches!(r.status, Status::Delivered | Status::Viewed))
        .and_then(|r| r.answer.as_ref())
    else {
        return Ok(Vec::new());
    };
    let mut events = vec![Event::Viewed {
        request: request.clone(),
        worker: worker.to_owned(),
    }];
    if row.as_ref().is_some_and(|r| r.status == Status::Delivered) {
        events.push(receipt(
            context,
            request,
            ReceiptKind::Viewed,
            answer.sealed,
            now,
        )?);
    }
    Ok(events)
}
