//! Requests: asked, listed, shown, decided on, erased.

use super::{Reply, document, done, input, refuse, refused};
use crate::{
    alike,
    asked_by::{self, NearAsked},
    config::Worker,
    entropy, erasure,
    event::{Event, Verdict},
    ground,
    holder::storage,
    near_index,
    node::{NOTICE_TIMEOUT, Node, Settled},
    person::Person,
    render,
    requester::{self, Question},
    review::{self, Word},
    rights::record,
    state::{self, AskRow},
    suspicion::{
        Action,
        question::{self as suspicion, Candidate, Passage},
        texts,
    },
};
use passerelle_model::{
    bytes::Digest,
    error::ErrorCode,
    ids::RequestId,
    request::Status as RequestStatus,
    statement::{Item, MAX_ITEMS, Reliance},
    vocabulary::{Purpose, WorkerRole},
};
use passerelle_proto::{v1, views::RequestView};
use std::{sync::Arc, time::Duration};
use tonic::Status;

/// How long a request stays open unless it says otherwise: three days.
const DEFAULT_VALID_S: u64 = 3 * 86_400;
/// The longest that it may: thirty days.
const MAX_VALID_S: u64 = 30 * 86_400;
/// Longest free text, in bytes: what the sealed context holds (see [`requester::ask`]).
const MAX_JUSTIFICATION_BYTES: usize = 3_000;

pub(super) async fn ask(node: &Node, request: v1::AskRequest) -> Reply {
    let question = question(node, &request)?;
    let person = request.person.as_ref().map(input::person).transpose()?;
    if request.near && person.is_none() {
        return Err(refuse(
            ErrorCode::OutOfRange,
            "other spellings are asked for with a person",
        ));
    }
    let (id, statement) = match asked(node, question, person.as_ref(), request.near).await? {
        (id, Passage::Sent, statement) => (id, statement),
        (id, Passage::Held(case, found), _) => {
            return Err(refuse(ErrorCode::Held, texts::held(&case, &id, &found)));
        }
        (_, Passage::Refused(case, found), _) => {
            return Err(refuse(
                ErrorCode::RefusedHere,
                texts::refused(&case, &found),
            ));
        }
    };
    let request = id;
    let statement = statement.ok_or_else(|| refused(ErrorCode::Internal))?;
    let settled = node.settled(&statement).await.map_err(refused)?;
    if matches!(settled, Settled::Logged(_)) {
        decided(node, &request, NOTICE_TIMEOUT).await?;
    }
    let row = load(node, &request)?;
    document(&render::ask_view(me(node), &row, None))
}

/// Waits a while for the decision: it follows within the same second, if the witnesses are there.
pub(super) async fn decided(
    node: &Node,
    request: &RequestId,
    patience: Duration,
) -> Result<(), Status> {
    let is_decided = |node: &Node| {
        let row = state::ask(node.core.view(), request).map_err(storage)?;
        let decided = row.is_some_and(|row| row.status != RequestStatus::Submitted);
        Ok(decided.then_some(()))
    };
    let row = state::key::of(state::key::ASK, request.as_str().as_bytes());
    let waited = node.wait_for(patience, row, is_decided).await;
    waited.map(drop).map_err(refused)
}

/// Journals a question with its audit case, if there is one; its id, what becomes of it, and the
/// digest of its statement.
async fn asked(
    node: &Node,
    question: Question,
    person: Option<&Person>,
    near: bool,
) -> Result<(RequestId, Passage, Option<Digest>), Status> {
    let request = RequestId::from_random(entropy::random().map_err(refused)?);
    let (passage, statement) = asked_as(node, request.clone(), question, (person, near)).await?;
    Ok((request, passage, statement))
}

/// The same, under an id that nobody has used. Beside the person: whether other spellings are asked
/// for.
pub(super) async fn asked_as(
    node: &Node,
    request: RequestId,
    mut question: Question,
    (person, near): (Option<&Person>, bool),
) -> Result<(Passage, Option<Digest>), Status> {
    let now = node.clock.now();
    let context = Arc::clone(&node.context);
    let found = suspicion::look(&context, node.core.view(), &question, person, now);
    let found = found.map_err(refused)?;
    let action = found.action();
    let mut away = None;
    // Who is refused has nothing asked of the broker either.
    if let Some(person) = person.filter(|_| action != Some(Action::Block)) {
        match node.handle(person).await {
            Ok(handle) => question.subject = Some(handle),
            Err(code) if action.is_some_and(Action::stops) => away = Some(code),
            Err(code) => return Err(refused(code)),
        }
    }
    if let Some(person) = person.filter(|_| near && away.is_none())
        && action != Some(Action::Block)
    {
        match node.near_handles(person).await {
            Ok(handles) => {
                let person = person.clone();
                question.near = Some(NearAsked { handles, person });
            }
            Err(code) if action.is_some_and(Action::stops) => away = Some(code),
            Err(code) => return Err(refused(code)),
        }
    }
    let mut stated = None;
    if !action.is_some_and(Action::stops) {
        let (context, trust) = (Arc::clone(&context), node.trust().map_err(refused)?);
        let (id, question) = (request.clone(), question.clone());
        // May wait for the disk: not on a thread that serves others.
        let made = tokio::task::spawn_blocking(move || {
            requester::ask_as(&context, &trust, &id, question, now)
        });
        let made = made.await.map_err(|_| refused(ErrorCode::Internal))?;
        stated = Some(made.map_err(refused)?);
    }
    let statement = stated.as_ref().map(|stated| stated.envelope.digest());
    let index = node.context.vault.index().map_err(refused)?;
    let token = person.map(|person| index.token(person));
    let candidate = Candidate {
        request: request.clone(),
        question,
        token,
        found,
        stated,
    };
    let passed = node.core.write(now, move |view| {
        suspicion::pass(&context, view, candidate, now)
    });
    let passage = passed.await.map_err(refused)?;
    match away {
        // Recorded; the question itself could not be kept.
        Some(code) => Err(refused(code)),
        None => Ok((passage, statement)),
    }
}

fn me(node: &Node) -> &passerelle_model::ids::AgencyId {
    &node.context.identity.anchors.agency
}

fn load(node: &Node, request: &RequestId) -> Result<AskRow, Status> {
    let row = state::ask(node.core.view(), request).map_err(|e| refused(storage(e)))?;
    row.ok_or_else(|| refused(ErrorCode::UnknownRequest))
}

/// What is asked.
pub(super) fn items(items: &[v1::AskItem]) -> Result<Vec<Item>, Status> {
    let item = |item: &v1::AskItem| {
        Ok(Item {
            category: input::code("category", &item.category)?,
            level: input::code("level", &item.level)?,
        })
    };
    items.iter().map(item).collect()
}

/// On which consent or agreement.
pub(super) fn reliance(consent: &str, agreement: &str) -> Result<Option<Reliance>, Status> {
    Ok(match (consent, agreement) {
        ("", "") => None,
        (consent, "") => Some(Reliance::Consent(input::id("consent", consent)?)),
        ("", agreement) => Some(Reliance::Agreement(input::id("agreement", agreement)?)),
        _ => {
            return Err(refuse(
                ErrorCode::OutOfRange,
                "rely on a consent or on an agreement, not on both",
            ));
        }
    })
}

fn question(node: &Node, request: &v1::AskRequest) -> Result<Question, Status> {
    let items = items(&request.items)?;
    if items.is_empty() || items.len() > MAX_ITEMS {
        return Err(refuse(
            ErrorCode::OutOfRange,
            format!("a request has 1 to {MAX_ITEMS} items"),
        ));
    }
    if request.justification.len() > MAX_JUSTIFICATION_BYTES {
        return Err(refuse(
            ErrorCode::TooLarge,
            format!("the justification is longer than {MAX_JUSTIFICATION_BYTES} bytes"),
        ));
    }
    let valid_s = match request.valid_s {
        0 => DEFAULT_VALID_S,
        seconds if seconds <= MAX_VALID_S => seconds,
        _ => {
            return Err(refuse(
                ErrorCode::OutOfRange,
                "a request lasts at most thirty days",
            ));
        }
    };
    let reliance = reliance(&request.consent, &request.agreement)?;
    Ok(Question {
        subject: None,
        holder: input::id("holder", &request.holder)?,
        items,
        purpose: input::code("purpose", &request.purpose)?,
        basis: input::code("basis", &request.basis)?,
        reliance,
        case: input::optional_id("case", &request.case)?,
        emergency: input::optional_code("emergency", &request.emergency)?,
        justification: request.justification.clone(),
        worker: input::worker(node, &request.worker)?,
        not_after: node.clock.now().plus_s(valid_s),
        near: None,
    })
}

pub(super) fn list(node: &Node) -> Reply {
    let rows = state::asks(node.core.view()).map_err(|e| refused(storage(e)))?;
    let mut lines: Vec<_> = rows
        .iter()
        .map(|row| render::ask_line(me(node), row))
        .collect();
    lines.sort_by_key(|line| std::cmp::Reverse(line.at));
    document(&lines)
}

pub(super) fn inbox(node: &Node) -> Reply {
    let rows = state::holds(node.core.view()).map_err(|e| refused(storage(e)))?;
    let mut lines: Vec<_> = rows
        .iter()
        .map(|row| render::hold_line(me(node), row))
        .collect();
    // What waits for a person first, the most urgent on top; then the newest.
    lines.sort_by_key(|line| {
        let waits = line.status == RequestStatus::HolderReview;
        (
            !waits,
            line.review_by.filter(|_| waits),
            std::cmp::Reverse(line.at),
        )
    });
    document(&lines)
}

pub(super) async fn show(node: &Node, request: v1::ShowRequest) -> Reply {
    let id: RequestId = input::id("request", &request.request)?;
    let worker = input::worker(node, &request.worker)?;
    document(&view(node, id, worker).await?)
}

async fn view(node: &Node, id: RequestId, worker: Worker) -> Result<RequestView, Status> {
    let failed = |e| refused(storage(e));
    let view = node.core.view();
    if let Some(row) = state::ask(view, &id).map_err(failed)? {
        let of_a_person = row.request.purpose == Purpose::RightsRequest;
        // That it was denied says nothing of the person.
        if of_a_person && row.answer.is_some() && worker.role != WorkerRole::PrivacyOfficer {
            return Err(refuse(
                ErrorCode::NotAParty,
                "what a person asks about herself only a privacy officer opens: `agent rights reply`",
            ));
        }
        // Attested before anything is shown.
        let context = Arc::clone(&node.context);
        let now = node.clock.now();
        let request = id.clone();
        let looked = node.core.write(now, move |view| {
            let events = requester::viewed(&context, view, &request, &worker.id, now)?;
            let any = !events.is_empty();
            Ok((events, any))
        });
        let has_answer = looked.await.map_err(refused)?;
        let row = load(node, &id)?;
        let answer = match has_answer {
            true => {
                let opened = requester::opened_answer(&node.context, view, &row);
                Some(render::answer_view(&row, opened.map_err(refused)?))
            }
            false => None,
        };
        return Ok(render::ask_view(me(node), &row, answer));
    }
    let row = state::hold(view, &id).map_err(failed)?;
    let row = row.ok_or_else(|| refused(ErrorCode::UnknownRequest))?;
    // A context that does not open is shown as missing: the requester sees to it.
    let asked = asked_by::open_context(&node.context, view, &id).ok();
    let near = asked.as_ref().and_then(|asked| asked.near.clone());
    let near = near.filter(|_| row.purpose != Purpose::RightsRequest);
    let mut shown = render::hold_view(me(node), &row, asked);
    if let Some(near) = near {
        let records = near_index::shown(&node.context.vault, view, &near.handles);
        let records = records.map_err(refused)?;
        // Whoever has nobody to compare with learns no name.
        let is_compared = !records.is_empty();
        shown.near_asked = is_compared.then(|| near_index::named(&near.person));
        shown.near = Some(records);
    }
    if let Some(case) = &row.case
        && asked_by::names_nobody(view, &id).map_err(refused)?
    {
        let now = node.clock.now();
        // May look at thousands of people: not on a thread that serves others.
        let warned = tokio::task::block_in_place(|| alike::warning(&node.context, view, case, now));
        shown.few_alike = warned.map_err(refused)?;
    }
    Ok(shown)
}

pub(super) async fn review(node: &Node, request: v1::ReviewRequest) -> Reply {
    let id: RequestId = input::id("request", &request.request)?;
    let worker = input::worker(node, &request.worker)?;
    let verdict = match request.verdict.as_str() {
        "approve" => Verdict::Approve,
        "decline" => Verdict::Decline,
        "cannot_say" => Verdict::CannotSay,
        _ => {
            return Err(refuse(
                ErrorCode::UnknownCode,
                "unknown verdict; known are: approve, decline, cannot_say",
            ));
        }
    };
    let kept_back = record::restriction_at(node.core.view(), &id).map_err(refused)?;
    let stands = kept_back.filter(|kept| kept.stands(node.clock.now()));
    if let Some(kept) = stands.filter(|_| verdict == Verdict::Approve) {
        let until = kept.until.to_rfc3339();
        return Err(refuse(
            ErrorCode::NotAParty,
            format!(
                "a restriction stands until {until}: answer with `cannot-say`, or have a privacy \
                 officer lift it first"
            ),
        ));
    }
    if verdict == Verdict::Approve && !request.record.is_empty() {
        is_compared(node, &id, &request.record).await?;
    }
    let word = Word {
        record: (!request.record.is_empty()).then(|| request.record.clone()),
        ..Word::new(verdict, &worker.id)
    };
    judge(node, id, word, Vec::new()).await
}

/// Refuses unless the request is about whom it names, and the record is near that person: the rules
/// have decided on the handle, and the near handles beside it might be those of anybody else.
async fn is_compared(node: &Node, id: &RequestId, record: &str) -> Result<(), Status> {
    let view = node.core.view();
    let asked = asked_by::open_context(&node.context, view, id).map_err(refused)?;
    let not_asked = || refuse(ErrorCode::OutOfRange, "no other spelling is asked for");
    let person = asked.near.ok_or_else(not_asked)?.person;
    let handle = node.handle(&person).await.map_err(refused)?;
    let subject = ground::subject_of(view, id).map_err(refused)?;
    let is_near = near_index::is_near(&node.context.vault, view, &person, record);
    if subject != Some(handle) || !is_near.map_err(refused)? {
        return Err(refuse(
            ErrorCode::OutOfRange,
            "the question is not about whom it names, or nobody near has this record: answer with \
             `cannot-say`, and ask the agency",
        ));
    }
    Ok(())
}

/// What a person here decided, with `more` in the same step.
pub(super) async fn judge(node: &Node, id: RequestId, word: Word, more: Vec<Event>) -> Reply {
    let context = Arc::clone(&node.context);
    let now = node.clock.now();
    let reviewed = id.clone();
    let statement = node
        .core
        .write(now, move |view| {
            let trust = context.trust(view).map_err(storage)?;
            let follow = review::review(&context, view, &trust, &reviewed, word, now)?;
            let events: Vec<_> = more.into_iter().chain(follow).collect();
            let statement = events.iter().find_map(|event| match event {
                Event::Stated(stated) => Some(stated.envelope.digest()),
                _ => None,
            });
            let refused = events.iter().find_map(|event| match event {
                Event::PermitRefused { code, .. } => Some(*code),
                _ => None,
            });
            Ok((events, refused.map_or(Ok(statement), Err)))
        })
        .await
        .map_err(|code| match code {
            ErrorCode::OutOfRange => refuse(
                code,
                "say with `--record` which of the records near it is the person, as `agent show` \
                 lists them, the same that a first person chose; or `agent cannot-say`",
            ),
            code => refused(code),
        })?
        .map_err(refused)?;
    let settled = match statement {
        Some(statement) => node.settled(&statement).await.map_err(refused)?,
        // A second person has to agree first.
        None => Settled::Logged(None),
    };
    document(&done(id.to_string(), &settled))
}

pub(super) async fn erase(node: &Node, request: v1::EraseRequest) -> Reply {
    let id: RequestId = input::id("request", &request.request)?;
    let statement = erasure::carry_out(node, &id).await.map_err(refused)?;
    let settled = match statement {
        Some(statement) => node.settled(&statement).await.map_err(refused)?,
        None => Settled::Logged(None),
    };
    document(&done(id.to_string(), &settled))
}
