//! The broker of the small world: production `decide` and `apply`, run once for each different
//! log and command, and remembered.
//!
//! **What a log is here.** The sequence of its entries after the consent, each as an [`Event`]: its
//! kind, which permit it is about, and for decisions and permits the step of the clock. Two logs
//! with the same events are one node of the graph. Left out are entries that only record a refusal
//! (they change no row that a decision reads), indices, nonces, and the instants of other events
//! (no decision reads them). `tests/exchange.rs` checks that nothing that matters was left out.
//!
//! **What a crash is here.** The entries of one command reach the disk one by one; a crash keeps
//! any number of the first, and the projection is what `apply` makes of what was kept.

use crate::{
    beginning::{ConsentOnly, first_log},
    said::{Stmt, Who, instant, request_id, statement},
};
use passerelle_model::{
    apply::apply,
    bytes::Digest,
    decide::{Command, Inputs, Reply, decide},
    entry::{Entry, EntryBody, Record, Sidecar, StopCause},
    error::ErrorCode,
    pdp::Effect,
    request::Status,
    state,
    statement::{Body, ReceiptKind, VERSION},
    store::{Memory, Overlay},
    time::Timestamp,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

/// A broker that is wrong on purpose, to show that the properties can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Flaw {
    /// None: production code as it is.
    #[default]
    None,
    /// It sequences an answer whose permit was good once, without ruling again.
    NoSecondRuling,
    /// It sequences an answer under an expired permit.
    NoExpiry,
    /// It forgets, after a crash, withdrawals that were not carried out.
    ForgetsSweeps,
    /// It never offers again what was not offered at once.
    OffersOnce,
}

/// What the broker is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cmd {
    /// A statement arrives.
    Say(Stmt),
    /// The holder can be reached.
    Offer,
    /// The timer.
    Tick,
}

/// One entry of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Event {
    /// A statement was sequenced.
    Said(Stmt),
    /// Decided at this step of the clock, allowed or not.
    Decided(u8, bool),
    /// A permit was issued at this step of the clock.
    Offered(u8),
    /// Stopped, by another ruling or by the withdrawal.
    Stopped(bool),
    /// The recipient is told.
    Recalled,
    /// The withdrawal is carried out.
    CarriedOut,
    /// Out of time.
    Expired,
}

/// A log, by number.
pub type LogId = u32;

/// A permit in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permit {
    /// Its place in [`Log::events`].
    pub place: u8,
    /// The step of the clock from which it is worth nothing.
    pub dead_from: u8,
    digest: Digest,
}

/// A log and what follows from it.
#[derive(Debug)]
pub struct Log {
    /// Its events.
    pub events: Vec<Event>,
    /// The permits, in order.
    pub permits: Vec<Permit>,
    /// Places in `events` that are in the mailbox of the asker and of the holder.
    pub mail: [Vec<u8>; 2],
    /// Where the request stands, if there is one.
    pub status: Option<Status>,
    /// Every rule that the log itself breaks.
    pub faults: Vec<&'static str>,
    pub(crate) records: Vec<Record>,
    pub(crate) store: Memory,
    pub(crate) base: u64,
}

/// What a command led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Why it was refused, if it was. A replay counts as accepted.
    pub refused: Option<ErrorCode>,
    /// The logs that a crash may leave: with none of the new entries, with one, and so on; the
    /// last is the log without a crash.
    pub logs: Vec<LogId>,
}

#[derive(Default)]
struct Known {
    logs: Vec<Arc<Log>>,
    by_events: HashMap<(Vec<Event>, Vec<&'static str>), LogId>,
    outcomes: HashMap<(LogId, Cmd, u8), Arc<Outcome>>,
}

/// Every log that was met so far.
pub struct Broker {
    flaw: Flaw,
    deadline: u8,
    known: Mutex<Known>,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").field("flaw", &self.flaw).finish()
    }
}

/// The log in which both are members and the consent is recorded, and nothing else.
pub const FIRST: LogId = 0;

impl Broker {
    /// A broker, flawed or not, and the step at which the request runs out of time.
    pub fn new(flaw: Flaw, deadline: u8) -> Self {
        let broker = Self {
            flaw,
            deadline,
            known: Mutex::default(),
        };
        let first = first_log();
        let mut known = broker.known.lock().unwrap();
        known.by_events.insert(Default::default(), FIRST);
        known.logs.push(Arc::new(first));
        drop(known);
        broker
    }

    /// A log that was met.
    pub fn log(&self, id: LogId) -> Arc<Log> {
        Arc::clone(&self.known.lock().unwrap().logs[id as usize])
    }

    /// How many different logs were met.
    pub fn len(&self) -> usize {
        self.known.lock().unwrap().logs.len()
    }

    /// Never: there is always the first.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// What `command` leads to at step `step` of the clock.
    pub fn run(&self, id: LogId, command: Cmd, step: u8) -> Arc<Outcome> {
        let key = (id, command, step);
        let mut known = self.known.lock().unwrap();
        if let Some(outcome) = known.outcomes.get(&key) {
            return Arc::clone(outcome);
        }
        let log = Arc::clone(&known.logs[id as usize]);
        let (records, refused) = log.decide(self, command, step);
        let mut logs = vec![id];
        let mut longer = log;
        for record in records {
            let next = Arc::new(longer.with(record, step));
            let new = known.logs.len() as LogId;
            let found = *known
                .by_events
                .entry((next.events.clone(), next.faults.clone()))
                .or_insert(new);
            if found == new {
                known.logs.push(Arc::clone(&next));
            }
            logs.push(found);
            longer = next;
        }
        let outcome = Arc::new(Outcome { refused, logs });
        known.outcomes.insert(key, Arc::clone(&outcome));
        outcome
    }

    /// As [`Self::run`], but on a log of the caller's own that is not merged with others.
    pub fn run_alone(&self, log: &Log, command: Cmd, step: u8) -> (Vec<Log>, Option<ErrorCode>) {
        let (records, refused) = log.decide(self, command, step);
        let mut logs: Vec<Log> = Vec::new();
        for record in records {
            let next = logs.last().unwrap_or(log).with(record, step);
            logs.push(next);
        }
        (logs, refused)
    }
}

pub(crate) type Writes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

pub(crate) fn run(
    store: &Memory,
    command: &Command,
    now: Timestamp,
    next_index: u64,
) -> (Vec<Record>, Reply, Writes) {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&next_index.to_be_bytes());
    let inputs = Inputs {
        now,
        seed,
        next_index,
        pdp: &ConsentOnly,
    };
    let mut overlay = Overlay::new(store);
    let decided = decide(&mut overlay, command, &inputs).unwrap();
    (decided.records, decided.reply, overlay.into_writes())
}

impl Log {
    fn next_index(&self) -> u64 {
        self.base + self.records.len() as u64
    }

    /// The entries that the command adds, refusals left out, and why it was refused.
    fn decide(&self, broker: &Broker, command: Cmd, step: u8) -> (Vec<Record>, Option<ErrorCode>) {
        let command = match command {
            Cmd::Say(stmt) => {
                let permits: Vec<_> = self.permits.iter().map(|p| p.digest).collect();
                Command::Say(Box::new(statement(stmt, &permits, broker.deadline)))
            }
            Cmd::Offer => Command::Offer {
                request: request_id(),
            },
            Cmd::Tick => Command::Tick,
        };
        let (mut records, reply, _) = run(&self.store, &command, instant(step), self.next_index());
        records.retain(|r| !matches!(r.entry.body, EntryBody::Refused { .. }));
        let refused = match reply {
            Reply::Refused {
                code: ErrorCode::Replayed,
                ..
            } => None,
            Reply::Refused { code, .. } => Some(code),
            Reply::Done { .. } | Reply::Nothing => None,
        };
        self.spoil(broker.flaw, &command, step, records, refused)
    }

    /// What a flawed broker makes of it.
    fn spoil(
        &self,
        flaw: Flaw,
        command: &Command,
        step: u8,
        records: Vec<Record>,
        refused: Option<ErrorCode>,
    ) -> (Vec<Record>, Option<ErrorCode>) {
        let wrongly_taken = match flaw {
            // The permit was withdrawn, but no entry has stopped the request yet.
            Flaw::NoSecondRuling => {
                refused == Some(ErrorCode::PermitWithdrawn) && !records.is_empty()
            }
            Flaw::NoExpiry => {
                refused == Some(ErrorCode::PermitExpired) && self.status == Some(Status::Offered)
            }
            Flaw::None | Flaw::ForgetsSweeps | Flaw::OffersOnce => false,
        };
        match command {
            Command::Say(said) if wrongly_taken => {
                let body = EntryBody::Said {
                    agency: said.statement().agency.clone(),
                    envelope: said.envelope().clone(),
                };
                let entry = Entry {
                    kind: body.code().to_owned(),
                    version: VERSION,
                    at: instant(step),
                    body,
                    nonce: records
                        .first()
                        .map_or(passerelle_model::bytes::Nonce([0; 32]), |r| r.entry.nonce),
                };
                let sidecar = Sidecar::default();
                (vec![Record { entry, sidecar }], None)
            }
            Command::Tick if flaw == Flaw::ForgetsSweeps => {
                let mut records = records;
                records.retain(|r| matches!(r.entry.body, EntryBody::Expired { .. }));
                (records, refused)
            }
            Command::Offer { .. } if flaw == Flaw::OffersOnce && self.events.len() != 2 => {
                (Vec::new(), refused)
            }
            _ => (records, refused),
        }
    }

    /// This log and one entry more, the projection rebuilt by `apply`.
    fn with(&self, record: Record, step: u8) -> Self {
        let index = self.next_index();
        let mut store = self.store.clone();
        let mut overlay = Overlay::new(&self.store);
        apply(&mut overlay, index, &record).unwrap();
        let writes = overlay.into_writes();
        store.commit(writes);
        let mut permits = self.permits.clone();
        if let EntryBody::Offered { permit } = &record.entry.body {
            permits.push(Permit {
                place: self.events.len() as u8,
                dead_from: (0..=u8::MAX)
                    .find(|step| permit.not_after <= instant(*step))
                    .unwrap(),
                digest: permit.digest().unwrap(),
            });
        }
        let event = self.event(&record.entry.body, step);
        let events: Vec<_> = self.events.iter().copied().chain([event]).collect();
        let faults = self.faults.iter().copied().chain(fault(self, event, step));
        let mail = Who::ALL.map(|who| {
            let mail = state::mailbox(&store, &who.agency(), self.base, usize::MAX).unwrap();
            mail.iter().map(|i| (i - self.base) as u8).collect()
        });
        let row = state::request(&store, &request_id()).unwrap();
        Self {
            faults: faults.collect(),
            events,
            permits,
            mail,
            status: row.map(|r| r.status),
            records: self.records.iter().cloned().chain([record]).collect(),
            store,
            base: self.base,
        }
    }

    fn event(&self, body: &EntryBody, step: u8) -> Event {
        match body {
            EntryBody::Said { envelope, .. } => {
                Event::Said(self.stmt(envelope.unverified_statement().unwrap().body))
            }
            EntryBody::Decided { items, .. } => {
                let allowed = items.iter().any(|i| i.ruling.effect != Effect::Deny);
                Event::Decided(step, allowed)
            }
            EntryBody::Offered { .. } => Event::Offered(step),
            EntryBody::Stopped { cause, .. } => Event::Stopped(*cause == StopCause::DecidedAgain),
            EntryBody::Recalled { .. } => Event::Recalled,
            EntryBody::WithdrawalCarriedOut { .. } => Event::CarriedOut,
            EntryBody::Expired { .. } => Event::Expired,
            other => panic!("not in this world: {}", other.code()),
        }
    }

    fn stmt(&self, body: Body) -> Stmt {
        let number = |digest: Digest| {
            let found = self.permits.iter().position(|p| p.digest == digest);
            found.unwrap() as u8
        };
        match body {
            Body::Request(_) => Stmt::Request,
            Body::Withdrawal(_) => Stmt::Withdrawal,
            Body::Answer(answer) => Stmt::Answer {
                permit: number(answer.permit),
            },
            Body::Renewal(renewal) => Stmt::Renewal {
                permit: number(renewal.permit),
            },
            Body::Receipt(receipt) => match receipt.kind {
                ReceiptKind::Delivered => Stmt::Delivered,
                ReceiptKind::Viewed => panic!("not in this world"),
                ReceiptKind::Erased => Stmt::Erased,
            },
            _ => panic!("not in this world"),
        }
    }

    /// Where an event is, if it is.
    pub fn place(&self, event: impl Fn(&Event) -> bool) -> Option<usize> {
        self.events.iter().position(event)
    }

    /// Where the answer is.
    pub fn answered(&self) -> Option<usize> {
        self.place(|e| matches!(e, Event::Said(Stmt::Answer { .. })))
    }

    /// Where the withdrawal is.
    pub fn withdrawn(&self) -> Option<usize> {
        self.place(|e| *e == Event::Said(Stmt::Withdrawal))
    }

    /// Whether the two differ in anything that a later decision reads: all tables but the
    /// mailboxes and the digests of statements, with indices and permits by rank.
    pub fn is_same_ground(&self, other: &Self) -> bool {
        let status = |log: &Self| state::request(&log.store, &request_id()).unwrap();
        let shape = |log: &Self| {
            let keys = log.store.rows().map(|(key, _)| key);
            let keys = keys.filter(|key| !matches!(key.first(), Some(b'o' | b'n')));
            keys.map(<[u8]>::to_vec).collect::<Vec<_>>()
        };
        let permit = |log: &Self| {
            let row = status(log)?.permit?;
            log.permits.iter().position(|p| p.digest == row.digest)
        };
        let decision = |log: &Self| {
            let decision = status(log)?.decision?;
            Some((decision.at, decision.items))
        };
        shape(self) == shape(other)
            && permit(self) == permit(other)
            && decision(self) == decision(other)
            && self.status == other.status
            && self.mail == other.mail
    }
}

/// The rule that `event` breaks, coming after `log`.
fn fault(log: &Log, event: Event, step: u8) -> Vec<&'static str> {
    let mut faults = Vec::new();
    match event {
        Event::Said(Stmt::Answer { permit }) => {
            if log.withdrawn().is_some() {
                faults.push("released after the withdrawal");
            }
            if log.answered().is_some() {
                faults.push("released twice");
            }
            if usize::from(permit) + 1 != log.permits.len()
                || log.permits[usize::from(permit)].dead_from <= step
            {
                faults.push("released under a permit that is not the live one");
            }
        }
        Event::CarriedOut => {
            if log.status.is_some_and(Status::is_open) && !log.permits.is_empty() {
                faults.push("the withdrawal is carried out and the request is open");
            }
            if log.answered().is_some()
                && log.status != Some(Status::Erased)
                && !log.events.contains(&Event::Recalled)
            {
                faults.push("the withdrawal is carried out and the recipient was not told");
            }
        }
        _ => {}
    }
    faults
}
