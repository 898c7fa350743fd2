//! What a person asks about herself: opened, shown and replied to at the door; answered, refused
//! and restricted at an owner.
//!
//! In scope: who may, the fan-out to all owners, what the person gets to read. Out of scope: what
//! is journaled ([`crate::rights::record`]); the exchange with each owner, which is any other's.

use super::{Reply, asking, document, done, input, refuse, refused};
use crate::{
    config::Worker,
    entropy,
    event::Event,
    holder::storage,
    node::{NOTICE_TIMEOUT, Node, Settled},
    requester::Question,
    rights::{
        self, Kind, MAX_SAYS_BYTES,
        record::{self, GroupRow, Kept, MAX_ROUNDS, Opened, RightsEvent, Round},
    },
    state,
    suspicion::question::Passage,
};
use passerelle_model::{
    bytes::Digest,
    error::ErrorCode,
    ids::{AgencyId, RequestId, RightsId},
    time::Timestamp,
    vocabulary::{LegalBasis, Purpose, WorkerRole},
};
use passerelle_proto::{v1, views::Told};
use std::sync::Arc;
use tonic::{Request, Status};

mod door;
mod owner;

/// The most days that owners have: what a request may last, less what clocks may differ.
const MAX_DAYS: u32 = 30;
const SLACK_S: u64 = 600;
const DAY_S: u64 = 86_400;
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
            near: None,
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
    next_round(node, &group, &worker, request.days).await?;
    document(&door::view(node, load(node, &group)?)?)
}

/// Asks all owners once more.
async fn next_round(
    node: &Node,
    group: &RightsId,
    worker: &Worker,
    days: u32,
) -> Result<(), Status> {
    let row = load(node, group)?;
    let kept = kept(node, group)?
        .ok_or_else(|| refuse(ErrorCode::WrongState, "whom this was about is erased"))?;
    if row.rounds.len() >= MAX_ROUNDS {
        return Err(out_of_range(format!(
            "the owners were asked {MAX_ROUNDS} times; open a new request with the person present"
        )));
    }
    let due = due(node, days)?;
    // All of them, whatever they said: whom one asks again would tell the broker what came.
    let first = row.rounds.first().map(|round| &round.asked);
    let owners = first.into_iter().flatten().map(|(owner, _)| owner.clone());
    let round = round(node, owners.collect(), due)?;
    let event = RightsEvent::AskedAgain {
        group: group.clone(),
        round,
    };
    write(node, event).await?;
    put_questions(node, &load(node, group)?, &kept, worker, None).await
}

/// The rounds that are due by themselves. One that can't be put is said in the agent's log, and
/// tried again at the next look.
///
/// # Errors
/// The store.
pub(crate) async fn rounds_due(node: &Node) -> Result<(), ErrorCode> {
    let now = node.clock.now();
    let every_s = u64::from(node.context.config.rights.again_days).saturating_mul(DAY_S);
    for row in record::groups(node.core.view()).map_err(storage)? {
        if !row.is_round_due(now, every_s) {
            continue;
        }
        let asked = match officer(node, &row.worker) {
            Ok(worker) => next_round(node, &row.group, &worker, 0).await,
            Err(status) => Err(status),
        };
        if let Err(error) = asked {
            tracing::warn!(group = %row.group, %error, "the owners could not be asked once more");
        }
    }
    Ok(())
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
        owner::tasks(&self.node, &request.into_inner())
    }

    async fn refuse_access(&self, request: Request<v1::RefuseAccessRequest>) -> Reply {
        owner::refuse_access(&self.node, request.into_inner()).await
    }

    async fn restrict_access(&self, request: Request<v1::RestrictAccessRequest>) -> Reply {
        owner::restrict(&self.node, request.into_inner()).await
    }

    async fn lift_restriction(&self, request: Request<v1::LiftRestrictionRequest>) -> Reply {
        owner::lift(&self.node, request.into_inner()).await
    }
}
