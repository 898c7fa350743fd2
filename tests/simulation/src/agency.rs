//! An agency's machine: the production store, exchange, holder, requester and witness, driven by
//! hand.

use crate::{
    broker::federation,
    disk::{SimDisk, Snapshot},
    doubt::{Again, InDoubt},
    net::{ConnectionId, Frame},
    ops::Machine,
    promises::{self, Heard},
    rng::Rng,
    world::{Happening, Step, World},
};
use passerelle_agent::{
    context::Context,
    core::Outcome,
    exchange::{self, Asked, Exchange, Moment},
    handle::Blinding,
    home::Home,
    inbound, state,
    store::Store,
    witness,
};
use passerelle_audit::keys::SigningKey;
use passerelle_journal::JournalReader;
use passerelle_model::{
    bytes::Digest,
    error::ErrorCode,
    ids::{AgencyId, RequestId, witness_name},
    statement::AgencyKeys,
    store::Read,
    vocabulary::Sector,
};
use passerelle_proto::v1::{self, agent_frame, broker_frame};
use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

/// Places on the stream that statements may take at once.
const ROOM: usize = 48;
const FIRST_BACKOFF_MS: u64 = 250;
const LONGEST_BACKOFF_MS: u64 = 30_000;

/// The machine.
pub struct Agency {
    /// Its number.
    pub ix: usize,
    /// Its name.
    pub id: AgencyId,
    /// Its sector.
    pub sector: Sector,
    /// Its directory.
    pub home: Home,
    /// The disk of its journal and its keys.
    pub disk: SimDisk,
    /// How far its clock is off.
    pub skew_ms: i64,
    /// The process, while it runs.
    pub up: Option<Running>,
    /// How often it started.
    pub starts: u64,
    /// When it looks again.
    pub wake_at: Option<u64>,
    /// Whether it is there from the beginning.
    pub joins_at_once: bool,
    /// The certificate of its newest enrolment, as it has it.
    pub certificate: String,
    /// Digests of the records that its journal acknowledged.
    pub acknowledged: Vec<Digest>,
    /// What was written when its storage failed.
    pub in_doubt: Option<InDoubt>,
    /// When it asks for permits again.
    pub again: Again,
    /// An old copy of its disk.
    pub copy: Option<Copy>,
    /// Whether it lost what came after an old copy.
    pub was_restored: bool,
    /// Whether it signs the next agreement that it is shown.
    pub signs_soon: bool,
    /// Where its keys come from.
    pub keys: Rng,
    /// The proof of the last notice that came.
    last_proof: String,
    backoff_ms: u64,
}

/// An old copy of a disk.
pub struct Copy {
    /// What was on it.
    pub disk: Snapshot,
    /// How many transactions were acknowledged then.
    pub acknowledged: usize,
    /// Requests that were erased then, with where.
    pub erased: Vec<(usize, RequestId)>,
}

/// The process.
pub struct Running {
    /// What decisions need.
    pub context: Arc<Context>,
    /// Journal and projection.
    pub store: Store,
    pub(crate) session: Option<Session>,
}

pub(crate) struct Session {
    id: ConnectionId,
    welcomed: bool,
    since: u64,
    exchange: Exchange,
    pub(crate) evaluating: BTreeMap<u64, (Blinding, Vec<Digest>)>,
    pub(crate) next_call: u64,
}

impl Agency {
    /// A machine on which nothing was installed.
    pub fn new(ix: usize, name: &str, sector: Sector, dir: &Path, disk: SimDisk) -> Self {
        Self {
            ix,
            id: name.parse().expect("a name"),
            sector,
            home: Home::new(dir),
            disk,
            skew_ms: 0,
            up: None,
            starts: 0,
            wake_at: None,
            joins_at_once: false,
            certificate: String::new(),
            acknowledged: Vec::new(),
            in_doubt: None,
            again: Again::default(),
            copy: None,
            was_restored: false,
            signs_soon: false,
            keys: Rng::new(0, name),
            last_proof: String::new(),
            backoff_ms: FIRST_BACKOFF_MS,
        }
    }

    /// Whether it was ever enrolled.
    pub fn is_enrolled(&self) -> bool {
        self.home.is_enrolled()
    }

    /// Makes keys in `home`, and says the public halves.
    pub(crate) fn make_keys(&mut self, home: &Home) -> AgencyKeys {
        home.create().expect("a directory");
        for name in ["keys/signing.pem", "keys/witness.pem"] {
            let key = SigningKey::from_seed(&self.keys.bytes());
            let pem = key.to_pkcs8_pem().expect("a key");
            home.write(name, pem.as_bytes()).expect("a file");
        }
        let sealing: String = self
            .keys
            .bytes::<32>()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        home.write("keys/sealing.key", sealing.as_bytes())
            .expect("a file");
        for name in ["tls/request.pem", "tls/ca.pem", "tls/agent.pem"] {
            home.write(name, b"-").expect("a file");
        }
        let keys = home.make_keys().expect("keys");
        AgencyKeys {
            sector: self.sector,
            signing: keys.signing.public_key(),
            sealing: keys.sealing.public(),
            witness: keys.witness.public_key(),
        }
    }
}

impl World {
    /// Runs one transaction of an agent. `None` if its storage failed: the process ends.
    ///
    /// # Errors
    /// A broken promise.
    pub fn agent_runs<T>(
        &mut self,
        ix: usize,
        work: impl FnOnce(&Context, &dyn Read) -> Outcome<T>,
    ) -> Step<Option<Result<T, ErrorCode>>> {
        let now = self.clock(Machine::Agency(ix));
        let agency = &mut self.agencies[ix];
        let Some(up) = &mut agency.up else {
            return Ok(None);
        };
        let mut happened = Vec::new();
        let context = Arc::clone(&up.context);
        let result = up.store.run(now, |view| {
            let (events, value) = work(&context, view)?;
            happened.clone_from(&events);
            Ok((events, value))
        });
        if up.store.has_failed() {
            agency.in_doubt = Some(InDoubt {
                events: happened,
                heard: None,
            });
            let id = agency.id.clone();
            self.tell(format!("the storage of {id} fails: its agent ends"));
            self.stop_agent(ix, false);
            let after = self.rng.range(500, 5_000);
            self.arrange(after, Happening::Start(Machine::Agency(ix)));
            return Ok(None);
        }
        if result.is_ok() {
            let known = agency.acknowledged.len() as u64;
            let added = digests(up.store.reader().as_ref(), known);
            agency.acknowledged.extend(added);
            promises::of_what_an_agent_journals(self, ix, now, &happened)?;
            self.tell_events(ix, &happened);
        }
        Ok(Some(result))
    }

    /// The agent opens its stream.
    ///
    /// # Errors
    /// A broken promise.
    pub fn connect(&mut self, ix: usize) -> Step {
        let Some(up) = &self.agencies[ix].up else {
            return Ok(());
        };
        if up.session.is_some() {
            return Ok(());
        }
        let opened = match self.broker.up.is_some() {
            true => self.net.open(ix, self.now),
            false => None,
        };
        let Some(id) = opened else {
            self.connect_later(ix);
            return Ok(());
        };
        let now = self.now;
        let up = self.agencies[ix].up.as_mut().expect("it runs");
        let meta = state::meta(up.store.view()).expect("the projection");
        up.session = Some(Session {
            id,
            welcomed: false,
            since: now,
            exchange: Exchange::new(&meta),
            evaluating: BTreeMap::new(),
            next_call: 0,
        });
        self.agent_says(ix, exchange::hello(&meta, ""))
    }

    fn connect_later(&mut self, ix: usize) {
        let pause = self.agencies[ix].backoff_ms;
        self.agencies[ix].backoff_ms = (pause * 2).min(LONGEST_BACKOFF_MS);
        let start = self.agencies[ix].starts;
        let pause = pause / 2 + self.rng.below(pause / 2 + 1);
        self.arrange(pause, Happening::Connect(ix, start));
    }

    /// The agent gives its stream up.
    fn hang_up(&mut self, ix: usize) {
        let now = self.now;
        let Some(up) = &mut self.agencies[ix].up else {
            return;
        };
        let Some(session) = up.session.take() else {
            return;
        };
        if session.welcomed && now - session.since >= 60_000 {
            self.agencies[ix].backoff_ms = FIRST_BACKOFF_MS;
        }
        self.cut(session.id);
        self.connect_later(ix);
    }

    /// The agent notices that a connection is gone.
    ///
    /// # Errors
    /// A broken promise.
    pub fn agent_loses(&mut self, id: ConnectionId) -> Step {
        let Some(ix) = self.net.connection(id).map(|c| c.agency) else {
            return Ok(());
        };
        let up = self.agencies[ix].up.as_ref();
        if up
            .and_then(|u| u.session.as_ref())
            .is_some_and(|s| s.id == id)
        {
            self.hang_up(ix);
        }
        Ok(())
    }

    pub(crate) fn agent_says(&mut self, ix: usize, frame: agent_frame::Frame) -> Step {
        promises::of_what_an_agent_says(self, ix, &frame)?;
        let up = self.agencies[ix].up.as_ref();
        let Some(id) = up.and_then(|u| u.session.as_ref()).map(|s| s.id) else {
            return Ok(());
        };
        let frame = v1::AgentFrame { frame: Some(frame) };
        if let Some(at) = self.net.send(id, true, self.now) {
            self.arrange_at(at, Happening::Arrives(id, Frame::Up(Box::new(frame))));
        }
        Ok(())
    }

    /// A frame arrives at an agent.
    ///
    /// # Errors
    /// A broken promise.
    pub fn agent_hears(&mut self, id: ConnectionId, frame: v1::BrokerFrame) -> Step {
        let Some(ix) = self.net.connection(id).map(|c| c.agency) else {
            return Ok(());
        };
        let up = self.agencies[ix].up.as_mut();
        let Some(session) = up.and_then(|u| u.session.as_mut()).filter(|s| s.id == id) else {
            return Ok(());
        };
        if !session.welcomed {
            session.welcomed = exchange::welcome(frame.frame.as_ref()).is_ok();
            if !session.welcomed {
                self.hang_up(ix);
            }
            return self.pump_agent(ix);
        }
        let frame = frame.frame.expect("the broker sends whole frames");
        let call = match &frame {
            broker_frame::Frame::Reply(reply) => reply.call,
            _ => 0,
        };
        let done = match session.exchange.on_frame(frame) {
            Ok(asked) => self.agent_does(ix, call, asked)?,
            Err(_) => false,
        };
        if !done {
            self.hang_up(ix);
        }
        self.pump_agent(ix)
    }

    /// Whether the stream goes on.
    fn agent_does(&mut self, ix: usize, call: u64, asked: Asked) -> Step<bool> {
        let now = self.clock(Machine::Agency(ix));
        match asked {
            Asked::Settle(settlement) => {
                let done = self.agent_runs(ix, |context, view| {
                    Ok((inbound::settle(context, view, settlement, now)?, ()))
                })?;
                let moment = self.moment(ix);
                if let Some(session) = self.session(ix) {
                    session.exchange.settled(call, settlement, moment);
                }
                Ok(matches!(done, Some(Ok(()))))
            }
            Asked::TakeIn(notice) => self.take_in(ix, notice),
            Asked::Weigh(round) => {
                let weighed = self.agent_runs(ix, |context, view| {
                    witness::weigh(&context.identity.anchors.log, view, round)
                })?;
                let Some(Ok(considered)) = weighed else {
                    return Ok(false);
                };
                let up = self.agencies[ix].up.as_ref().expect("it runs");
                let frame = witness::answer(&up.context, considered, now);
                let frame = frame.expect("a cosignature");
                self.agent_says(ix, frame)?;
                Ok(true)
            }
            Asked::Evaluated(evaluated) => {
                self.take_handles(ix, &evaluated)?;
                Ok(true)
            }
        }
    }

    fn take_in(&mut self, ix: usize, mut notice: v1::Notice) -> Step<bool> {
        let now = self.clock(Machine::Agency(ix));
        let honest = notice.clone();
        let lie = self.lies.remove(&ix);
        if let Some(lie) = lie {
            let own = witness_name(&federation(), &self.agencies[ix].id);
            lie.tell(&mut notice, &own, &self.agencies[ix].last_proof);
        }
        self.agencies[ix].last_proof.clone_from(&honest.proof);
        promises::no_record_looks_the_same(self, ix, &notice, now)?;
        let heard = Heard::new(&mut self.ghost, notice.clone());
        let mut fresh = false;
        let done = self.agent_runs(ix, |context, view| {
            let events = inbound::take_in(context, view, notice, now)?;
            fresh = !events.is_empty();
            Ok((events, ()))
        })?;
        if fresh && matches!(done, Some(Ok(()))) {
            promises::what_is_believed_is_in_the_log(self, ix, &heard)?;
            if self.agencies[ix].signs_soon {
                self.sign_what_waits(ix)?;
            }
        }
        match done {
            Some(Ok(())) => Ok(true),
            Some(Err(code)) => {
                let lied = lie.map_or("", |_| " (it was a lie)");
                let id = self.agencies[ix].id.clone();
                self.tell(format!("{id} refuses a notice: {code}{lied}"));
                Ok(false)
            }
            None => {
                if let Some(doubt) = &mut self.agencies[ix].in_doubt {
                    doubt.heard = fresh.then_some(heard);
                }
                Ok(false)
            }
        }
    }

    pub(crate) fn session(&mut self, ix: usize) -> Option<&mut Session> {
        let up = self.agencies[ix].up.as_mut()?;
        up.session.as_mut().filter(|s| s.welcomed)
    }

    fn moment(&self, ix: usize) -> Moment {
        Moment {
            wall: self.clock(Machine::Agency(ix)),
            steady: Duration::from_millis(self.now),
        }
    }

    /// Sends what is due, and arranges the next look.
    ///
    /// # Errors
    /// A broken promise.
    pub fn pump_agent(&mut self, ix: usize) -> Step {
        let moment = self.moment(ix);
        let Some(up) = self.agencies[ix].up.as_mut() else {
            return Ok(());
        };
        let Running {
            context,
            store,
            session,
        } = up;
        let Some(session) = session.as_mut().filter(|s| s.welcomed) else {
            return Ok(());
        };
        if session
            .exchange
            .reply_due()
            .is_some_and(|due| due <= moment.steady)
        {
            self.hang_up(ix);
            return Ok(());
        }
        let out = session
            .exchange
            .outgoing(store.view(), context, moment, ROOM);
        let out = out.expect("projection and vault");
        let due = session.exchange.reply_due();
        for frame in out.frames {
            self.agent_says(ix, frame)?;
        }
        for seq in out.fallen {
            self.agent_runs(ix, |context, view| {
                let events = inbound::hold_back(context, view, seq, moment.wall)?;
                Ok((events, ()))
            })?;
        }
        for event in out.lost {
            self.agent_runs(ix, |_, _| Ok((vec![event], ())))?;
        }
        self.ask_for_handles(ix)?;
        self.arrange_again(ix);
        let next = out.wake.into_iter().chain(due).min();
        let Some(next) = next.map(|at| u64::try_from(at.as_millis()).expect("soon")) else {
            return Ok(());
        };
        let next = next.max(self.now + 1);
        if self.agencies[ix]
            .wake_at
            .is_none_or(|at| at > next || at <= self.now)
        {
            self.agencies[ix].wake_at = Some(next);
            let start = self.agencies[ix].starts;
            self.arrange_at(next, Happening::Wake(ix, start));
        }
        Ok(())
    }
}

/// Digests of the records from `from` on.
pub(crate) fn digests(journal: &dyn JournalReader, from: u64) -> Vec<Digest> {
    let mut all = Vec::new();
    let scanned = journal.scan(from, &mut |_, record| {
        all.push(Digest::of(&[record.entry, record.sidecar].concat()));
        std::ops::ControlFlow::Continue(())
    });
    scanned.expect("the journal");
    all
}
