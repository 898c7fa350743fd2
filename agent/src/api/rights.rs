//! What a person asks about herself: opened, shown and replied to at the door; answered, refused
//! and restricted at an owner.
//!
//! In scope: who may, the fan-out to all owners, what the person gets to read. Out of scope: what
//! is journaled ([`crate::rights::record`]); the exchange with each owner, which is any other's.

use super::{Reply, asking, document, done, input, refuse, refused};
use crate::{
    asked_by,
    config::Worker,
    entropy,
    event::{Event, Verdict},
    ground,
    holder::storage,
    node::{NOTICE_TIMEOUT, Node, Settled},
    requester::Question,
    review::Word,
    rights::{
        self, Kind, MAX_SAYS_BYTES, Refusal, Restriction,
        record::{self, GroupRow, Kept, MAX_ROUNDS, Opened, RightsEvent, Round},
    },
    state,
    suspicion::question::Passage,
};
use passerelle_model::{
    bytes::Digest,
    error::ErrorCode,
    ids::{AgencyId, RequestId, RightsId},
    request::Status as RequestStatus,
    time::Timestamp,
    vocabulary::{LegalBasis, Purpose, WorkerRole},
};
use passerelle_proto::{
    v1,
    views::{RightsTask, Told},
};
use std::sync::Arc;
use tonic::{Request, Status};

mod door;

/// The most days that owners have: what a request may last, less what clocks may differ.
const MAX_DAYS: u32 = 30;
const SLACK_S: u64 = 600;
const DAY_S: u64 = 86_400;
/// The longest restriction: two years.
const MAX_RESTRICTION_S: u64 = 2 * 366 * DAY_S;
/// Most owners of one request.
const MAX_OWNERS: usize = 64;

/// The service.
pub struct RightsService {
    node: Node,
}

impl RightsService {
    /// Of this agent.
    pub const fn new(node: Node) -> Self {
        Self { node }
    }
}

/// Whoever verifies identity and answers to people.
fn officer(node: &Node, id: &str) -> Result<Worker, Status> {
    let worker = input::worker(node, id)?;
    if worker.role != WorkerRole::PrivacyOfficer {
        return Err(refuse(
            ErrorCode::NotAParty,
            "only a privacy officer of this agency may do this; see `role` in agent.toml",
        ));
    }
    Ok(worker)
}

fn out_of_range(words: impl std::fmt::Display) -> Status {
    refuse(ErrorCode::OutOfRange, words)
}

fn failed(error: passerelle_model::store::StoreError) -> Status {
    refused(storage(error))
}

fn due(node: &Node, days: u32) -> Result<Timestamp, Status> {
    let days = match days {
        0 => u32::from(node.context.config.rights.days),
        days if days <= MAX_DAYS => days,
        _ => return Err(out_of_range(format!("owners have 1 to {MAX_DAYS} days"))),
    };
    let seconds = u64::from(days).saturating_mul(DAY_S);
    let longest = u64::from(MAX_DAYS) * DAY_S - SLACK_S;
    Ok(node.clock.now().plus_s(seconds.min(longest)))
}

/// Those who are named, or every other member that holds records.
fn owners(node: &Node, named: &[String]) -> Result<Vec<AgencyId>, Status> {
    let me = &node.context.identity.anchors.agency;
    let holds = |agency: &AgencyId| -> Result<bool, Status> {
        let trust = node.trust().map_err(refused)?;
        let sector = trust.active(agency).map(|member| member.keys.sector);
        Ok(sector.is_some_and(|sector| !rights::items(sector, Kind::Access).is_empty()))
    };
    let mut owners = Vec::new();
    if named.is_empty() {
        for (agency, row) in state::members(node.core.view()).map_err(failed)? {
            if row.active && agency != *me && holds(&agency)? {
                owners.push(agency);
            }
        }
    } else {
        for agency in input::members(node, "holder", named)? {
            if agency == *me || !holds(&agency)? || owners.contains(&agency) {
                return Err(out_of_range(
                    "`holder`: name other agencies that hold records, each once",
                ));
            }
            owners.push(agency);
        }
    }
    if owners.is_empty() || owners.len() > MAX_OWNERS {
        return Err(out_of_range(format!(
            "a person's request goes to 1 to {MAX_OWNERS} owners"
        )));
    }
    Ok(owners)
}

fn round(node: &Node, owners: Vec<AgencyId>, due: Timestamp) -> Result<Round, Status> {
    let asked = owners.into_iter().map(|owner| {
        let random = entropy::random().map_err(refused)?;
        Ok((owner, RequestId::from_random(random)))
    });
    Ok(Round {
        at: node.clock.now(),
        due,
        asked: asked.collect::<Result<_, Status>>()?,
    })
}

async fn open(node: &Node, request: v1::OpenRightsRequest) -> Reply {
    let worker = officer(node, &request.worker)?;
    let person = request.person.as_ref();
    let person = person.ok_or_else(|| refuse(ErrorCode::Malformed, "`person` is missing"))?;
    let person = input::person(person)?;
    let kind = Kind::parse(&request.kind).ok_or_else(|| {
        let known: Vec<_> = Kind::ALL.iter().map(|kind| kind.code()).collect();
        let known = known.join(", ");
        refuse(
            ErrorCode::UnknownCode,
            format!("`kind`: known are: {known}"),
        )
    })?;
    let evidence = Digest::from_hex(&request.evidence).map_err(|_| {
        refuse(
            ErrorCode::Malformed,
            "`evidence`: expected the SHA-256 of what identity was verified on, 64 hexadecimal \
             digits",
        )
    })?;
    if request.says.len() > MAX_SAYS_BYTES {
        let reason = format!("what the person says is longer than {MAX_SAYS_BYTES} bytes");
        return Err(refuse(ErrorCode::TooLarge, reason));
    }
    let due = due(node, request.days)?;
    let owners = owners(node, &request.holders)?;
    let handle = node.handle(&person).await.map_err(refused)?;
    let group = RightsId::from_random(entropy::random().map_err(refused)?);
    let kept = Kept {
        label: crate::render::full_name(&person),
        handle,
        says: request.says,
    };
    let round = round(node, owners, due)?;
    let opened = Opened {
        kept: seal(node, &group, &kept).await?,
        group: group.clone(),
        kind,
        worker: worker.id.clone(),
        evidence,
        round,
    };
    // Who is asked under which id stands before anything is asked: a crash in between leaves
    // questions that were not put, and the next round puts them.
    write(node, RightsEvent::Opened(Box::new(opened))).await?;
    let row = load(node, &group)?;
    put_questions(node, &row, &kept, &worker, Some(&person)).await?;
    document(&door::view(node, row)?)
}

async fn seal(
    node: &Node,
    group: &RightsId,
    kept: &Kept,
) -> Result<passerelle_model::bytes::Bytes, Status> {
    let plain = serde_json::to_vec(kept).map_err(|_| refused(ErrorCode::Internal))?;
    let plain = zeroize::Zeroizing::new(plain);
    let (context, name) = (Arc::clone(&node.context), group.clone());
    // May wait for the disk: not on a thread that serves others.
    let sealed =
        tokio::task::spawn_blocking(move || context.vault.keep_named(name.as_str(), &plain)).await;
    sealed
        .map_err(|_| refused(ErrorCode::Internal))?
        .map_err(refused)
}

async fn write(node: &Node, event: RightsEvent) -> Result<(), Status> {
    let event = Event::Rights(Box::new(event));
    let now = node.clock.now();
    let written = node.core.write(now, move |_| Ok((vec![event], ())));
    written.await.map_err(refused)
}

fn load(node: &Node, group: &RightsId) -> Result<GroupRow, Status> {
    let row = record::group(node.core.view(), group).map_err(failed)?;
    row.ok_or_else(|| {
        refuse(
            ErrorCode::UnknownRequest,
            "no such request of a person here",
        )
    })
}

/// What says whom it is about.
fn kept(node: &Node, group: &RightsId) -> Result<Option<Kept>, Status> {
    let plain = node
        .context
        .vault
        .open_named(node.core.view(), group.as_str());
    let plain = plain.map_err(|error| refused(error.into()))?;
    let Some(plain) = plain else { return Ok(None) };
    let kept = serde_json::from_slice(&plain).map_err(|_| refused(ErrorCode::Storage))?;
    Ok(Some(kept))
}

/// Puts the questions of the newest round that were not put. One that does not leave (an audit case
/// holds it, a member has left) is shown as not asked, and the others are.
async fn put_questions(
    node: &Node,
    row: &GroupRow,
    kept: &Kept,
    worker: &Worker,
    person: Option<&crate::person::Person>,
) -> Result<(), Status> {
    let Some(round) = row.rounds.last() else {
        return Ok(());
    };
    let mut statements = Vec::new();
    for (owner, request) in &round.asked {
        let is_put = state::ask(node.core.view(), request).map_err(failed)?;
        let trust = node.trust().map_err(refused)?;
        let Some(member) = trust.active(owner).filter(|_| is_put.is_none()) else {
            continue;
        };
        let question = Question {
            subject: Some(kept.handle),
            holder: owner.clone(),
            items: rights::items(member.keys.sector, row.kind),
            purpose: Purpose::RightsRequest,
            basis: LegalBasis::OwnRequest,
            reliance: None,
            case: None,
            emergency: None,
            justification: rights::words(
                &row.group,
                row.kind,
                &row.evidence,
                round.due,
                &kept.says,
            ),
            worker: worker.clone(),
            not_after: round.due,
            near: Vec::new(),
        };
        match asking::asked_as(node, request.clone(), question, (person, false)).await {
            Ok((Passage::Sent, Some(statement))) => statements.push((request, statement)),
            Ok((Passage::Held(case, _) | Passage::Refused(case, _), _)) => {
                tracing::warn!(%request, audit_case = %case, "a person's request was not put");
            }
            Ok((Passage::Sent, None)) => return Err(refused(ErrorCode::Internal)),
            Err(error) => tracing::warn!(%request, %error, "a person's request was not put"),
        }
    }
    for (request, statement) in statements {
        let settled = node.settled(&statement).await;
        if matches!(settled, Ok(Settled::Logged(_))) {
            asking::decided(node, request, NOTICE_TIMEOUT).await?;
        }
    }
    Ok(())
}

async fn ask_again(node: &Node, request: v1::AskAgainRequest) -> Reply {
    let worker = officer(node, &request.worker)?;
    let group: RightsId = input::id("rights", &request.rights)?;
    let row = load(node, &group)?;
    let kept = kept(node, &group)?
        .ok_or_else(|| refuse(ErrorCode::WrongState, "whom this was about is erased"))?;
    if row.rounds.len() >= MAX_ROUNDS {
        return Err(out_of_range(format!(
            "the owners were asked {MAX_ROUNDS} times; open a new request with the person present"
        )));
    }
    let due = due(node, request.days)?;
    // All of them, whatever they said: whom one asks again would tell the broker what came.
    let first = row.rounds.first().map(|round| &round.asked);
    let owners = first.into_iter().flatten().map(|(owner, _)| owner.clone());
    let round = round(node, owners.collect(), due)?;
    write(node, RightsEvent::AskedAgain { group, round }).await?;
    let row = load(node, &row.group)?;
    put_questions(node, &row, &kept, &worker, None).await?;
    document(&door::view(node, row)?)
}

async fn erase(node: &Node, request: v1::EraseRightsRequest) -> Reply {
    officer(node, &request.worker)?;
    let group: RightsId = input::id("rights", &request.rights)?;
    load(node, &group)?;
    let event = RightsEvent::Erased {
        group: group.clone(),
    };
    write(node, event).await?;
    let (context, name) = (Arc::clone(&node.context), group.clone());
    let gone =
        tokio::task::spawn_blocking(move || context.vault.destroy_named(name.as_str())).await;
    gone.map_err(|_| refused(ErrorCode::Internal))?
        .map_err(refused)?;
    document(&done(group.to_string(), &Settled::Logged(None)))
}

/// One that waits for a person here, of a person who asks about herself.
fn task(node: &Node, text: &str) -> Result<RequestId, Status> {
    let request: RequestId = input::id("request", text)?;
    let row = state::hold(node.core.view(), &request).map_err(failed)?;
    match row {
        Some(row) if row.purpose == Purpose::RightsRequest => Ok(request),
        _ => Err(refuse(
            ErrorCode::UnknownRequest,
            "no person's own request to this agency has this id",
        )),
    }
}

async fn refuse_access(node: &Node, request: v1::RefuseAccessRequest) -> Reply {
    let worker = officer(node, &request.worker)?;
    let id = task(node, &request.request)?;
    let Some(reason) = Refusal::parse(&request.reason) else {
        let known: Vec<_> = Refusal::ALL.iter().map(|reason| reason.code()).collect();
        let known = known.join(", ");
        let mut words = format!("`reason`: the person is told one of: {known}");
        if Restriction::parse(&request.reason).is_some() {
            words.push_str("; that one would tell that there is something: restrict it instead");
        }
        return Err(refuse(ErrorCode::UnknownCode, words));
    };
    let word = Word {
        refusal: Some(reason),
        ..Word::new(Verdict::Decline, &worker.id)
    };
    asking::judge(node, id, word, Vec::new()).await
}

async fn restrict(node: &Node, request: v1::RestrictAccessRequest) -> Reply {
    let worker = officer(node, &request.worker)?;
    let id = task(node, &request.request)?;
    let reason = Restriction::parse(&request.reason).ok_or_else(|| {
        let known: Vec<_> = Restriction::ALL
            .iter()
            .map(|reason| reason.code())
            .collect();
        let known = known.join(", ");
        refuse(
            ErrorCode::UnknownCode,
            format!("`reason`: known are: {known}"),
        )
    })?;
    let (now, until) = (node.clock.now(), Timestamp(request.until_ms));
    if until <= now || until > now.plus_s(MAX_RESTRICTION_S) {
        return Err(out_of_range(
            "a restriction ends within two years, and not in the past",
        ));
    }
    let handle = ground::subject_of(node.core.view(), &id).map_err(refused)?;
    let handle = handle.ok_or_else(|| refused(ErrorCode::WrongState))?;
    let event = Event::Rights(Box::new(RightsEvent::Restricted {
        request: id.clone(),
        handle,
        until,
        reason,
        worker: worker.id.clone(),
    }));
    let waits = state::hold(node.core.view(), &id).map_err(failed)?;
    if waits.is_none_or(|row| row.status != RequestStatus::HolderReview) {
        // Answered before: what counts is what is said from now on.
        let now = node.clock.now();
        let written = node.core.write(now, move |_| Ok((vec![event], ())));
        written.await.map_err(refused)?;
        return document(&done(id.to_string(), &Settled::Logged(None)));
    }
    let word = Word::new(Verdict::CannotSay, &worker.id);
    asking::judge(node, id, word, vec![event]).await
}

async fn lift(node: &Node, request: v1::LiftRestrictionRequest) -> Reply {
    let worker = officer(node, &request.worker)?;
    let id = task(node, &request.request)?;
    let row = record::restriction_at(node.core.view(), &id).map_err(refused)?;
    let row = row.ok_or_else(|| refuse(ErrorCode::WrongState, "no restriction stands"))?;
    let event = RightsEvent::Lifted {
        handle: row.handle,
        worker: worker.id,
    };
    write(node, event).await?;
    document(&done(id.to_string(), &Settled::Logged(None)))
}

fn tasks(node: &Node, request: &v1::ListTasksRequest) -> Reply {
    officer(node, &request.worker)?;
    let (view, now) = (node.core.view(), node.clock.now());
    let mut tasks = Vec::new();
    for row in state::holds(view).map_err(failed)? {
        if row.purpose != Purpose::RightsRequest {
            continue;
        }
        let restricted = record::restriction_at(view, &row.request).map_err(refused)?;
        let waits = row.status == RequestStatus::HolderReview;
        let status = match (&restricted, waits) {
            (_, true) if row.review_by.is_some_and(|by| by <= now) => "overdue",
            (_, true) => "open",
            (Some(kept_back), false) if kept_back.stands(now) => "restricted",
            (Some(_), false) => "restriction_over",
            (None, false) if row.given.is_some() => "answered",
            (None, false) if row.status == RequestStatus::Expired => "missed",
            (None, false) => "ended",
        };
        let says = asked_by::open_context(&node.context, view, &row.request).ok();
        tasks.push(RightsTask {
            request: row.request.to_string(),
            requester: row.requester.to_string(),
            at: row.at,
            due: row.review_by,
            status: status.to_owned(),
            restricted_until: restricted.as_ref().map(|r| r.until),
            restricted_for: restricted.map(|r| told(r.reason.code(), r.reason.en(), r.reason.fr())),
            says: says.map(|asked| asked.justification),
        });
    }
    let is_open = |task: &RightsTask| matches!(task.status.as_str(), "overdue" | "open");
    tasks.sort_by_key(|task| (!is_open(task), task.due, std::cmp::Reverse(task.at)));
    document(&tasks)
}

fn told(code: &str, en: &str, fr: &str) -> Told {
    Told {
        code: code.to_owned(),
        en: en.to_owned(),
        fr: fr.to_owned(),
    }
}

#[tonic::async_trait]
impl v1::rights_server::Rights for RightsService {
    async fn open_rights(&self, request: Request<v1::OpenRightsRequest>) -> Reply {
        open(&self.node, request.into_inner()).await
    }

    async fn show_rights(&self, request: Request<v1::ShowRightsRequest>) -> Reply {
        door::show(&self.node, &request.into_inner())
    }

    async fn ask_again(&self, request: Request<v1::AskAgainRequest>) -> Reply {
        ask_again(&self.node, request.into_inner()).await
    }

    async fn reply_to_person(&self, request: Request<v1::ReplyToPersonRequest>) -> Reply {
        door::reply(&self.node, request.into_inner()).await
    }

    async fn erase_rights(&self, request: Request<v1::EraseRightsRequest>) -> Reply {
        erase(&self.node, request.into_inner()).await
    }

    async fn list_tasks(&self, request: Request<v1::ListTasksRequest>) -> Reply {
        tasks(&self.node, &request.into_inner())
    }

    async fn refuse_access(&self, request: Request<v1::RefuseAccessRequest>) -> Reply {
        refuse_access(&self.node, request.into_inner()).await
    }

    async fn restrict_access(&self, request: Request<v1::RestrictAccessRequest>) -> Reply {
        restrict(&self.node, request.into_inner()).await
    }

    async fn lift_restriction(&self, request: Request<v1::LiftRestrictionRequest>) -> Reply {
        lift(&self.node, request.into_inner()).await
    }
}
