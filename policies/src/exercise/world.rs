//! One federation of an exercise: the real state machine over a store in memory.
//!
//! In scope: what the broker does (`decide`, `apply`), delivery. Out of scope: what a holder does
//! with a permit (`holder`), the order of events (`play`), what anybody sees (`views`).
//!
//! Nobody signs here. Signatures, sealing and certificates protect statements on their way between
//! machines, and there is no way: the file says who speaks, and what is exercised is the decision.

use super::{
    events::CONTEXT,
    moment::Moment,
    script::{Exercise, Question, digest_of, opening_of},
};
use crate::{alike::Generalised, local::LocalPdp, pdp::CedarPdp};
use passerelle_model::{
    bytes::{Bytes, PublicKey, Signature},
    canonical::{self, CanonicalError},
    decide::{Command, Decided, Inputs, Reply, decide},
    entry::{BrokerKeys, EntryBody, Record},
    error::ErrorCode,
    ids::{AgencyId, FederationId, InvalidId, RequestId},
    panel::Panel,
    pdp::ItemRuling,
    permit::Permit,
    records::RequestRow,
    request::Status,
    state,
    statement::{
        AgencyKeys, Body, Envelope, Item, PAYLOAD_CONTEXT, Receipt, ReceiptKind, Statement, VERSION,
    },
    store::{Memory, Overlay, StoreError},
    vocabulary::{Category, Outcome},
};
use std::collections::{BTreeMap, BTreeSet};

/// The federation of every exercise: a name that no federation in service has.
const FEDERATION: &str = "exercise";

/// The state machine could not go on. A defect, not something that a file can say.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the exercise can't be played: {0}")]
pub struct PlayError(String);

macro_rules! defects {
    ($($error:ty),*) => {$(
        impl From<$error> for PlayError {
            fn from(error: $error) -> Self {
                Self(error.to_string())
            }
        }
    )*};
}
defects!(StoreError, CanonicalError, InvalidId);

/// How what was released is told less finely, if it is.
pub(super) type Told = BTreeMap<Category, Option<Generalised>>;

/// What is known of one question here.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// The entries of the log about it.
    pub(super) entries: Vec<u64>,
    /// Every decision on it, in order.
    pub(super) decisions: Vec<Vec<ItemRuling>>,
    /// The permit that the holder has.
    pub(super) permit: Option<Permit>,
    /// Whether a person at the holder has to look.
    pub(super) awaits_person: bool,
    /// Who has agreed.
    pub(super) approvals: BTreeSet<String>,
    /// What was answered, which the broker does not see.
    pub(super) outcome: Option<Outcome>,
    /// What was released.
    pub(super) released: Vec<Item>,
    /// How finely, where nobody is named.
    pub(super) told: Told,
    /// The holder's own rules that said so.
    pub(super) local_rules: BTreeSet<String>,
    /// Whether the recipient was told of a withdrawal.
    pub(super) recalled: bool,
}

/// One federation.
pub(super) struct World<'a> {
    pub(super) exercise: &'a Exercise,
    pub(super) pdp: &'a CedarPdp,
    pub(super) local: &'a LocalPdp,
    federation: FederationId,
    pub(super) store: Memory,
    pub(super) now: Moment,
    next_index: u64,
    commands: u64,
    pub(super) away: BTreeSet<AgencyId>,
    pub(super) held: Vec<Held>,
    /// What was entered since somebody last asked.
    fresh: Vec<Record>,
}

impl<'a> World<'a> {
    /// A federation of the exercise's agencies in which nothing has happened.
    pub(super) fn new(
        exercise: &'a Exercise,
        pdp: &'a CedarPdp,
        local: &'a LocalPdp,
    ) -> Result<Self, PlayError> {
        let mut world = Self {
            exercise,
            pdp,
            local,
            federation: FEDERATION.parse()?,
            store: Memory::default(),
            now: Moment::FIRST,
            next_index: 0,
            commands: 0,
            away: BTreeSet::new(),
            held: exercise.questions.iter().map(|_| Held::default()).collect(),
            fresh: Vec::new(),
        };
        let key = |name| PublicKey(digest_of("key", name).0);
        world.run(&Command::Found {
            federation: world.federation.clone(),
            keys: BrokerKeys {
                checkpoint: FEDERATION.to_owned(),
                permit: key("permit"),
                oprf: key("oprf"),
            },
            panel: Panel::default(),
        })?;
        for agency in &exercise.agencies {
            let token = digest_of("invitation", agency.id.as_str());
            world.run(&Command::Invite {
                agency: agency.id.clone(),
                sector: agency.sector,
                token,
                expires_at: world.now.timestamp().plus_s(60),
            })?;
            let key = key(agency.id.as_str());
            world.run(&Command::Enrol {
                agency: agency.id.clone(),
                token,
                keys: AgencyKeys {
                    sector: agency.sector,
                    signing: key,
                    sealing: key,
                    witness: key,
                },
                certificate: "00".to_owned(),
            })?;
        }
        world.fresh.clear();
        Ok(world)
    }

    /// Carries out one command, and notes what it led to.
    pub(super) fn run(&mut self, command: &Command) -> Result<Reply, PlayError> {
        self.commands = self.commands.saturating_add(1);
        let seed = digest_of("entropy", &self.commands.to_string()).0;
        let inputs = Inputs {
            now: self.now.timestamp(),
            seed,
            next_index: self.next_index,
            pdp: self.pdp,
        };
        let mut overlay = Overlay::new(&self.store);
        let Decided { records, reply } = decide(&mut overlay, command, &inputs)?;
        let writes = overlay.into_writes();
        self.store.commit(writes);
        for record in &records {
            self.note(record);
            self.next_index = self.next_index.saturating_add(1);
        }
        self.fresh.extend(records);
        Ok(reply)
    }

    /// What was entered since this was last called.
    pub(super) fn take_fresh(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.fresh)
    }

    fn note(&mut self, record: &Record) {
        let Some(number) = self.question_of(record) else {
            return;
        };
        let index = self.next_index;
        let Some(held) = self.held.get_mut(number) else {
            return;
        };
        held.entries.push(index);
        match &record.entry.body {
            EntryBody::Decided { items, .. } => held.decisions.push(items.clone()),
            EntryBody::Offered { permit } => held.permit = Some(permit.as_ref().clone()),
            EntryBody::Recalled { .. } => held.recalled = true,
            _ => {}
        }
    }

    /// The number of the question that an entry is about.
    pub(super) fn question_of(&self, record: &Record) -> Option<usize> {
        let of = |id: &RequestId| {
            let mut questions = self.exercise.questions.iter();
            questions.position(|q| q.request.request == *id)
        };
        match &record.entry.body {
            EntryBody::Decided { request, .. }
            | EntryBody::Stopped { request, .. }
            | EntryBody::Recalled { request, .. }
            | EntryBody::Expired { request } => of(request),
            EntryBody::Offered { permit } => of(&permit.request),
            EntryBody::Said { envelope, .. } => match envelope.unverified_statement().ok()?.body {
                Body::Request(request) => of(&request.request),
                Body::Answer(answer) => of(&answer.request),
                Body::Receipt(receipt) => of(&receipt.request),
                Body::Renewal(renewal) => of(&renewal.request),
                _ => None,
            },
            _ => None,
        }
    }

    /// An agency says something, about `person` perhaps.
    pub(super) fn say(
        &mut self,
        by: &AgencyId,
        body: Body,
        person: Option<&str>,
        payloads: BTreeMap<String, Bytes>,
    ) -> Result<Reply, PlayError> {
        let statement = Statement {
            version: VERSION,
            federation: self.federation.clone(),
            agency: by.clone(),
            at: self.now.timestamp(),
            body,
        };
        let envelope = Envelope {
            payload: Bytes(canonical::to_vec(&statement)?),
            signature: Signature([0; 64]),
        };
        let openings = person.map(opening_of).into_iter().collect();
        let said = envelope.verify(&self.federation, by, |_, _| true, openings, payloads);
        match said {
            Ok(said) => self.run(&Command::Say(Box::new(said))),
            Err(code) => Ok(Reply::Refused { code, index: None }),
        }
    }

    /// A question is asked, and offered to its holder if that can be reached.
    pub(super) fn ask(&mut self, number: usize, question: &Question) -> Result<Reply, PlayError> {
        let payloads = BTreeMap::from([(PAYLOAD_CONTEXT.to_owned(), Bytes(CONTEXT.to_vec()))]);
        let body = Body::Request(Box::new(question.request.clone()));
        let person = question.person.as_deref();
        let reply = self.say(&question.requester, body, person, payloads)?;
        if matches!(reply, Reply::Done { .. }) {
            self.deliver(number, question)?;
        }
        Ok(reply)
    }

    /// Where the broker has a question.
    pub(super) fn row(&self, question: &Question) -> Result<Option<RequestRow>, PlayError> {
        Ok(state::request(&self.store, &question.request.request)?)
    }

    pub(super) fn status(&self, question: &Question) -> Result<Option<Status>, PlayError> {
        Ok(self.row(question)?.map(|row| row.status))
    }

    /// Offers a question to its holder, who does what a node does with it; hands an answer to its
    /// requester.
    pub(super) fn deliver(&mut self, number: usize, question: &Question) -> Result<(), PlayError> {
        if !self.away.contains(question.holder()) {
            let request = question.request.request.clone();
            let before = self.status(question)?;
            self.run(&Command::Offer { request })?;
            let offered = self.status(question)? == Some(Status::Offered);
            if offered && before != Some(Status::Offered) {
                self.consider(number, question, None)?;
            }
        }
        self.receive(question)
    }

    pub(super) fn receive(&mut self, question: &Question) -> Result<(), PlayError> {
        let here = !self.away.contains(&question.requester);
        if here && self.status(question)? == Some(Status::Answered) {
            self.receipt(question, ReceiptKind::Delivered)?;
        }
        Ok(())
    }

    /// The requester says what it did with the answer.
    pub(super) fn receipt(
        &mut self,
        question: &Question,
        kind: ReceiptKind,
    ) -> Result<Reply, PlayError> {
        let sealed = self.row(question)?.and_then(|row| row.answer);
        let Some((_, sealed)) = sealed else {
            return Ok(refused(ErrorCode::WrongState));
        };
        let request = question.request.request.clone();
        let body = Body::Receipt(Receipt {
            request,
            kind,
            sealed,
        });
        self.say(&question.requester, body, None, BTreeMap::new())
    }
}

pub(super) const fn refused(code: ErrorCode) -> Reply {
    Reply::Refused { code, index: None }
}
