//! The broker's machine: the production order, seats, rounds and notices, driven by hand.

use crate::{
    disk::{SimDisk, Snapshot},
    net::{ConnectionId, Frame},
    ops::Machine,
    promises::{self, Broken, Promise},
    rng::Rng,
    world::{Happening, Step, TICK_MS, World, pdp},
};
use passerelle_audit::{keys::SigningKey, note::Signer};
use passerelle_broker::{
    BrokerError,
    home::RateLimits,
    ledger::Ledger,
    notices::Notices,
    oprf::OprfServer,
    order::{Order, Reachable, Surroundings},
    rate::Allowances,
    seat::{self, Desk, Seat},
    sequencer,
    witnesses::Witnesses,
};
use passerelle_model::{
    bytes::{Digest, PublicKey},
    decide::{Command, Reply},
    entry::{BrokerKeys, Entry, Record, Sidecar},
    ids::FederationId,
    panel::Panel,
    time::Timestamp,
};
use passerelle_proto::v1::{self, broker_frame};
use std::{collections::BTreeMap, path::PathBuf};

/// The federation.
pub fn federation() -> FederationId {
    "nord".parse().expect("a name")
}

/// The machine.
pub struct BrokerNode {
    /// Its directory.
    pub dir: PathBuf,
    /// Its disk.
    pub disk: SimDisk,
    /// How far its clock is off.
    pub skew_ms: i64,
    /// The process, while it runs.
    pub up: Option<Serving>,
    /// How often it started.
    pub starts: u64,
    /// An old copy of the disk.
    pub copy: Option<Snapshot>,
    /// What was there before the old copy was put in place, and how long the copy was.
    pub newest: Option<(Snapshot, crate::ghost::Ghost, u64)>,
    log_key: Signer,
    permit_key: SigningKey,
    oprf_key: [u8; 32],
    chance: Rng,
}

/// The process.
pub struct Serving {
    pub(crate) order: Order,
    pub(crate) witnesses: Witnesses,
    pub(crate) notices: Notices,
    pub(crate) allowances: Allowances,
    pub(crate) oprf: OprfServer,
    pub(crate) reachable: Reachable,
    pub(crate) seats: BTreeMap<usize, (ConnectionId, Seat)>,
    queue: Vec<Job>,
    commit_is_due: bool,
}

struct Job {
    command: Command,
    from: From,
}

pub(crate) enum From {
    /// A statement: the connection and the agent's number.
    Call(ConnectionId, u64),
    /// An agency attached: what waited for it is offered next.
    Attached(usize),
    /// An evaluation that is counted before it is sent.
    Evaluated(ConnectionId, Box<v1::Evaluated>),
    /// Nobody waits.
    Nobody,
}

struct Around<'a>(Timestamp, &'a mut Rng);

impl Surroundings for Around<'_> {
    fn now(&self) -> Timestamp {
        self.0
    }

    fn seed(&mut self) -> Result<[u8; 32], BrokerError> {
        Ok(self.1.bytes())
    }
}

impl BrokerNode {
    /// A machine on which nothing was installed.
    pub fn new(dir: PathBuf, disk: SimDisk, mut keys: Rng) -> Self {
        let log_key = SigningKey::from_seed(&keys.bytes());
        let mut oprf_key = keys.bytes::<32>();
        // Below the order of the group: a canonical scalar.
        oprf_key[31] &= 0x0f;
        Self {
            dir,
            disk,
            skew_ms: 0,
            up: None,
            starts: 0,
            copy: None,
            newest: None,
            log_key: Signer::new("passerelle/nord", log_key).expect("a name"),
            permit_key: SigningKey::from_seed(&keys.bytes()),
            oprf_key,
            chance: keys,
        }
    }

    fn oprf(&self) -> OprfServer {
        OprfServer::from_bytes(&self.oprf_key).expect("a key")
    }

    /// How many entries are on its disk, while no process runs.
    pub fn entries_on_disk(&self) -> u64 {
        let disk = std::sync::Arc::new(self.disk.clone());
        Ledger::open_on(&self.dir, disk).map_or(0, |ledger| ledger.next_index())
    }

    /// The public halves of its keys.
    pub fn keys(&self) -> BrokerKeys {
        BrokerKeys {
            checkpoint: self.log_key.verifier_key().to_string(),
            permit: self.permit_key.public_key(),
            oprf: PublicKey::from_slice(&self.oprf().public_key()).expect("a key"),
        }
    }
}

impl Serving {
    pub(crate) fn desk<'a>(&'a self, federation: &'a FederationId) -> Desk<'a> {
        Desk {
            federation,
            view: self.order.view(),
            witnesses: &self.witnesses,
            notices: &self.notices,
            allowances: &self.allowances,
        }
    }

    /// What may be read.
    pub fn view(&self) -> &passerelle_broker::ledger::View {
        self.order.view()
    }
}

impl World {
    /// The broker is installed, and the first agencies join.
    ///
    /// # Errors
    /// A broken promise.
    pub fn found(&mut self) -> Step {
        self.start_broker()?;
        let keys = self.broker.keys();
        let command = Command::Found {
            federation: federation(),
            keys,
            panel: Panel::default(),
        };
        self.operator_runs(command)?;
        for ix in 0..self.agencies.len() {
            if self.agencies[ix].joins_at_once {
                self.enrol(ix)?;
            }
        }
        Ok(())
    }

    /// Starts the broker's process. One that does not start is tried again.
    ///
    /// # Errors
    /// A broken promise: it does not start although nothing ails it, or something is missing.
    pub fn start_broker(&mut self) -> Step {
        self.broker.starts += 1;
        let start = self.broker.starts;
        let now = self.clock(Machine::Broker);
        let opened = Ledger::open_on(
            &self.broker.dir,
            std::sync::Arc::new(self.broker.disk.clone()),
        );
        let opened = opened.and_then(|ledger| ledger.check_clock(now).map(|()| ledger));
        let ledger = match opened {
            Ok(ledger) => ledger,
            Err(error) => {
                self.broker.disk.after_failure();
                let clock = matches!(error, BrokerError::ClockBehind { .. });
                if self.healed && !clock {
                    return Err(Broken::new(
                        Promise::NothingAcknowledgedIsLost,
                        format!("the broker does not start: {}", plain(&error)),
                    ));
                }
                self.tell("the broker does not start");
                self.arrange(15_000, Happening::Start(Machine::Broker));
                return Ok(());
            }
        };
        let view = ledger.view().clone();
        promises::nothing_acknowledged_is_lost_by_broker(&self.ghost, &view)?;
        let reachable = Reachable::default();
        let order = Order::new(ledger, pdp(), reachable.clone());
        let witnesses = Witnesses::new(federation(), self.broker.log_key.clone(), view.clone());
        self.broker.up = Some(Serving {
            order,
            witnesses: witnesses.expect("the members' keys were checked"),
            notices: Notices::new(view, self.broker.permit_key.clone()),
            allowances: Allowances::new(RateLimits::default()),
            oprf: self.broker.oprf(),
            reachable,
            seats: BTreeMap::new(),
            queue: Vec::new(),
            commit_is_due: false,
        });
        self.tell("the broker starts");
        self.read_log()?;
        promises::decisions_can_be_replayed_whole(self)?;
        let size = self.broker.up.as_ref().map_or(0, |up| up.order.size());
        if size > 0 {
            self.queue_command(Command::ActivateBundle, From::Nobody);
        }
        let after = self.rng.range(1_000, TICK_MS);
        self.arrange(after, Happening::Tick(start));
        Ok(())
    }

    /// The operator's command, decided at once. `None` if the broker is down or fails.
    ///
    /// # Errors
    /// A broken promise.
    pub fn operator_runs(&mut self, command: Command) -> Step<Option<Reply>> {
        if self.broker.up.is_none() {
            return Ok(None);
        }
        self.broker_commits()?;
        let now = self.clock(Machine::Broker);
        let BrokerNode { up, chance, .. } = &mut self.broker;
        let Some(up) = up else { return Ok(None) };
        let Ok(done) = up.order.batch([&command], &mut Around(now, chance)) else {
            self.broker_fails()?;
            return Ok(None);
        };
        let reply = done.replies.first().copied();
        self.after_batch(done.membership)?;
        Ok(reply)
    }

    pub(crate) fn queue_command(&mut self, command: Command, from: From) {
        let delay = self.rng.below(12);
        let start = self.broker.starts;
        let Some(up) = &mut self.broker.up else {
            return;
        };
        up.queue.push(Job { command, from });
        if !std::mem::replace(&mut up.commit_is_due, true) {
            self.arrange(delay, Happening::Commit(start));
        }
    }

    /// The broker's timer.
    ///
    /// # Errors
    /// A broken promise.
    pub fn broker_ticks(&mut self) -> Step {
        self.queue_command(Command::Tick, From::Nobody);
        let start = self.broker.starts;
        self.arrange(TICK_MS, Happening::Tick(start));
        Ok(())
    }

    /// The broker takes its queue: one durable write, then the replies.
    ///
    /// # Errors
    /// A broken promise.
    pub fn broker_commits(&mut self) -> Step {
        let now = self.clock(Machine::Broker);
        let BrokerNode { up, chance, .. } = &mut self.broker;
        let Some(up) = up else { return Ok(()) };
        up.commit_is_due = false;
        let mut jobs = std::mem::take(&mut up.queue);
        let mut membership = false;
        let mut done = Vec::new();
        while !jobs.is_empty() {
            let commands = jobs.iter().map(|job| &job.command);
            let Ok(batch) = up.order.batch(commands, &mut Around(now, chance)) else {
                return self.broker_fails();
            };
            membership |= batch.membership;
            let taken = jobs.drain(..batch.replies.len());
            done.extend(taken.zip(batch.replies));
        }
        for (job, reply) in done {
            self.answer(job, reply)?;
        }
        self.after_batch(membership)
    }

    fn answer(&mut self, job: Job, reply: Reply) -> Step {
        match job.from {
            From::Call(id, call) => {
                if let (Command::Say(said), Reply::Done { index }) = (&job.command, reply) {
                    self.ghost.acknowledged.insert(said.digest(), index);
                }
                let frame = broker_frame::Frame::Reply(seat::reply(call, Ok(reply)));
                self.broker_says(id, frame)?;
            }
            From::Evaluated(id, frame) => {
                self.broker_says(id, broker_frame::Frame::Evaluated(*frame))?;
            }
            From::Attached(ix) => {
                let Some(up) = &self.broker.up else {
                    return Ok(());
                };
                let waiting = sequencer::waiting_for(up.view(), &self.agencies[ix].id);
                for request in waiting.expect("the projection") {
                    self.queue_command(Command::Offer { request }, From::Nobody);
                }
            }
            From::Nobody => {}
        }
        Ok(())
    }

    /// The observer reads on, the rounds go on, what is due leaves.
    fn after_batch(&mut self, membership: bool) -> Step {
        self.read_log()?;
        if let Some(up) = &self.broker.up
            && membership
        {
            up.witnesses.reload_members().expect("the members");
        }
        self.pump_broker()
    }

    /// The observer reads what was added to the log, and checks each entry.
    fn read_log(&mut self) -> Step {
        let Some(up) = &self.broker.up else {
            return Ok(());
        };
        let journal = up.view().journal.clone();
        while (self.ghost.log.len() as u64) < journal.len() {
            let index = self.ghost.log.len() as u64;
            let raw = journal.read(index).expect("the journal").expect("an entry");
            let whole = Digest::of(&[raw.entry.as_slice(), &raw.sidecar].concat());
            let record = Record {
                entry: Entry::from_bytes(&raw.entry).expect("an entry"),
                sidecar: Sidecar::from_bytes(&raw.sidecar).expect("a sidecar"),
            };
            self.tell_entry(index, &record);
            promises::of_an_entry(&mut self.ghost, index, &record)?;
            self.ghost.add(raw.entry, whole, record);
        }
        Ok(())
    }

    /// Rounds and notices that are due leave.
    ///
    /// # Errors
    /// A broken promise.
    pub fn pump_broker(&mut self) -> Step {
        let name = federation();
        let mut frames = Vec::new();
        let Some(up) = &mut self.broker.up else {
            return Ok(());
        };
        up.witnesses.start_round().expect("a round");
        let mut seats = std::mem::take(&mut up.seats);
        let desk = up.desk(&name);
        for (id, seat) in seats.values_mut() {
            if let Some(round) = seat.round(desk).expect("the projection") {
                frames.push((*id, broker_frame::Frame::WitnessRound(round)));
            }
            while let Some(notice) = seat.notice(desk).expect("a notice") {
                frames.push((*id, broker_frame::Frame::Notice(notice)));
            }
        }
        up.seats = seats;
        for (id, frame) in frames {
            self.broker_says(id, frame)?;
        }
        Ok(())
    }

    pub(crate) fn broker_says(&mut self, id: ConnectionId, frame: broker_frame::Frame) -> Step {
        promises::of_what_the_broker_says(self, &frame)?;
        let frame = v1::BrokerFrame { frame: Some(frame) };
        if let Some(at) = self.net.send(id, false, self.now) {
            self.arrange_at(at, Happening::Arrives(id, Frame::Down(Box::new(frame))));
        }
        Ok(())
    }

    /// The process ends because its storage failed.
    fn broker_fails(&mut self) -> Step {
        self.tell("the broker's storage fails: it ends");
        self.stop_broker(false);
        let after = self.rng.range(500, 5_000);
        self.arrange(after, Happening::Start(Machine::Broker));
        Ok(())
    }

    /// The process ends without a word; with `power` what was not synced may be lost.
    pub fn stop_broker(&mut self, power: bool) {
        self.broker.starts += 1;
        let gone = self.broker.disk.freeze();
        self.broker.up = None;
        if power || gone {
            self.broker.disk.power_cut();
            if self.rng.percent(30) {
                let _ = std::fs::remove_dir_all(self.broker.dir.join("projection"));
            }
        } else {
            self.broker.disk.thaw();
        }
        for id in self.net.all() {
            self.cut(id);
        }
    }
}

/// An error without the directory, which is another one each time.
pub fn plain(error: &dyn std::error::Error) -> String {
    let text = error.to_string();
    let parts: Vec<_> = text.split('`').enumerate().collect();
    let keep = |(ix, part): (usize, &str)| {
        if ix % 2 == 1 && part.starts_with('/') {
            part.rsplit('/').next().unwrap_or_default().to_owned()
        } else {
            part.to_owned()
        }
    };
    parts.into_iter().map(keep).collect::<Vec<_>>().join("`")
}
