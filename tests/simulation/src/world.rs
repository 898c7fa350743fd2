//! The world: one clock, one queue of what happens next, everything that there is.
//!
//! One thread. Whatever happens at the same time happens in the order in which it was arranged.

use crate::{
    agency::Agency,
    broker::BrokerNode,
    disk::SimDisk,
    ghost::Ghost,
    net::{ConnectionId, Frame, Net},
    ops::{Lie, Machine, PEOPLE, Timed},
    promises::Broken,
    rng::Rng,
    story::Story,
};
use passerelle_agent::person::Person;
use passerelle_model::{
    bytes::Digest,
    ids::{CaseId, ConsentId},
    pdp::PolicyDecisionPoint,
    time::Timestamp,
    vocabulary::{Category, Sector},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

/// When stories begin, in milliseconds since 1970.
pub const EPOCH_MS: u64 = 1_795_269_789_000;
/// How long the world runs on after everything was healed.
pub const AFTERMATH_MS: u64 = 16 * 60_000;
/// How often the broker's timer ticks here; every second would only take longer.
pub const TICK_MS: u64 = 10_000;

/// What comes of a step: on, or a broken promise.
pub type Step<T = ()> = Result<T, Broken>;

/// What happens.
#[derive(Clone, Debug)]
pub enum Happening {
    /// An operation, by number.
    Op(usize),
    /// A frame arrives.
    Arrives(ConnectionId, Frame),
    /// The agent notices that its connection is gone.
    AgentLoses(ConnectionId),
    /// The broker notices it.
    BrokerLoses(ConnectionId),
    /// An agent tries to connect; of that start of it.
    Connect(usize, u64),
    /// An agent looks again.
    Wake(usize, u64),
    /// An agent asks for permits again.
    AskAgain(usize, u64),
    /// The broker takes its queue.
    Commit(u64),
    /// The broker's timer.
    Tick(u64),
    /// A machine starts.
    Start(Machine),
    /// A machine that was to fail within an operation goes down if it did not.
    DownAnyway(Machine),
    /// The disk of a machine has space again.
    DiskHeals(Machine),
    /// The operator notices that an old copy runs, and puts the newest back.
    PutBack(Machine),
}

/// Everything.
pub struct World {
    /// Milliseconds since the story began.
    pub now: u64,
    /// Chance of what is arranged here.
    pub rng: Rng,
    /// The network.
    pub net: Net,
    /// The broker's machine.
    pub broker: BrokerNode,
    /// The agencies' machines.
    pub agencies: Vec<Agency>,
    /// What the observer knows.
    pub ghost: Ghost,
    /// What happened.
    pub story: Story,
    /// The operations.
    pub ops: Vec<Timed>,
    /// The people.
    pub people: Vec<Person>,
    /// Notices that arrive changed.
    pub lies: BTreeMap<usize, Lie>,
    /// Consents, with whom, to, from, what.
    pub consents: Vec<(ConsentId, usize, usize, usize, Vec<Category>)>,
    /// Cases.
    pub cases: Vec<CaseId>,
    /// An old copy of the broker ran, and statements were lost with it.
    pub was_restored: bool,
    /// Whether everything was healed: nothing may fail any more.
    pub healed: bool,
    queue: BTreeMap<(u64, u64), Happening>,
    arranged: u64,
    _dir: tempfile::TempDir,
}

/// The decision point, loaded once: it is pure.
pub fn pdp() -> Arc<dyn PolicyDecisionPoint> {
    static PDP: OnceLock<Arc<dyn PolicyDecisionPoint>> = OnceLock::new();
    let load = || passerelle_broker::serve::embedded_pdp().expect("the shipped bundle");
    PDP.get_or_init(load).clone()
}

const NAMES: [(&str, Sector); 5] = [
    ("clinic", Sector::Health),
    ("police", Sector::LawEnforcement),
    ("watch", Sector::Oversight),
    ("social", Sector::SocialServices),
    ("school", Sector::Education),
];

impl World {
    /// A world in which the operations have been arranged and nothing has happened.
    pub fn new(seed: u64, ops: Vec<Timed>) -> Self {
        let dir = tempfile::Builder::new();
        let dir = {
            let fast = std::path::Path::new("/dev/shm");
            let mut dir = dir;
            dir.prefix("simulated-");
            if fast.is_dir() {
                dir.tempdir_in(fast)
            } else {
                dir.tempdir()
            }
        };
        let dir = dir.expect("a directory");
        let mut rng = Rng::new(seed, "world");
        let mut ghost = Ghost::default();
        let mut words = Rng::new(seed, "words");
        let people = (0..PEOPLE)
            .map(|_| person(&mut words, &mut ghost))
            .collect();
        let count = *rng.pick(&[3, 4, 4, 5, 5]);
        let agencies = NAMES[..count.max(4)]
            .iter()
            .enumerate()
            .map(|(ix, (name, sector))| {
                let disk = SimDisk::new(Rng::new(seed, &format!("disk of {name}")));
                let mut agency = Agency::new(ix, name, *sector, &dir.path().join(name), disk);
                agency.keys = Rng::new(seed, &format!("keys of {name}"));
                agency.joins_at_once = ix < count;
                agency
            });
        let agencies = agencies.collect();
        let broker = BrokerNode::new(
            dir.path().join("broker"),
            SimDisk::new(Rng::new(seed, "disk of the broker")),
            Rng::new(seed, "keys of the broker"),
        );
        let mut world = Self {
            now: 0,
            net: Net::new(Rng::new(seed, "network")),
            rng,
            broker,
            agencies,
            ghost,
            story: Story::default(),
            people,
            lies: BTreeMap::new(),
            consents: Vec::new(),
            cases: Vec::new(),
            was_restored: false,
            healed: false,
            queue: BTreeMap::new(),
            arranged: 0,
            ops,
            _dir: dir,
        };
        let mut at = 3_000;
        for ix in 0..world.ops.len() {
            at += world.ops[ix].after_ms;
            world.arrange_at(at, Happening::Op(ix));
        }
        world
    }

    /// Arranges something for `after_ms` from now.
    pub fn arrange(&mut self, after_ms: u64, what: Happening) {
        self.arrange_at(self.now + after_ms, what);
    }

    /// Arranges something.
    pub fn arrange_at(&mut self, at: u64, what: Happening) {
        self.arranged += 1;
        self.queue.insert((at.max(self.now), self.arranged), what);
    }

    /// Tells a line of the story.
    pub fn tell(&mut self, line: impl AsRef<str>) {
        self.story.tell(self.now, line);
    }

    /// What a machine's clock says.
    pub fn clock(&self, machine: Machine) -> Timestamp {
        let skew = match machine {
            Machine::Broker => self.broker.skew_ms,
            Machine::Agency(ix) => self.agencies[ix].skew_ms,
        };
        Timestamp((EPOCH_MS + self.now).saturating_add_signed(skew))
    }

    /// The name of a machine.
    pub fn name(&self, machine: Machine) -> String {
        match machine {
            Machine::Broker => "the broker".to_owned(),
            Machine::Agency(ix) => self.agencies[ix].id.to_string(),
        }
    }

    /// Runs everything from the founding to the aftermath. Returns the digest of the story.
    ///
    /// # Errors
    /// The first broken promise.
    pub fn run(&mut self) -> Step<Digest> {
        self.found()?;
        let end = self.queue.keys().map(|(at, _)| *at).max().unwrap_or(0) + 1_000;
        self.run_until(end)?;
        self.heal()?;
        let end = self.now + AFTERMATH_MS;
        self.run_until(end)?;
        self.check_end()?;
        Ok(self.story.digest())
    }

    /// Lets happen what is due until then.
    ///
    /// # Errors
    /// A broken promise.
    pub fn run_until(&mut self, end: u64) -> Step {
        while let Some(entry) = self.queue.first_entry() {
            let (at, _) = *entry.key();
            if at > end {
                break;
            }
            let what = entry.remove();
            self.now = at;
            self.happen(what)?;
        }
        self.now = end;
        Ok(())
    }

    fn happen(&mut self, what: Happening) -> Step {
        match what {
            Happening::Op(ix) => {
                let op = self.ops[ix].op.clone();
                self.carry_out(&op)
            }
            Happening::Arrives(id, frame) => {
                if !self.net.arrives(id, self.now) {
                    return Ok(());
                }
                match frame {
                    Frame::Up(frame) => self.broker_hears(id, *frame),
                    Frame::Down(frame) => self.agent_hears(id, *frame),
                }
            }
            Happening::AgentLoses(id) => self.agent_loses(id),
            Happening::BrokerLoses(id) => {
                self.broker_loses(id);
                Ok(())
            }
            Happening::Connect(ix, start) if self.agencies[ix].starts == start => self.connect(ix),
            Happening::Wake(ix, start) if self.agencies[ix].starts == start => {
                self.agencies[ix].wake_at = None;
                self.pump_agent(ix)
            }
            Happening::AskAgain(ix, start) if self.agencies[ix].starts == start => {
                self.ask_again(ix)
            }
            Happening::Commit(start) if self.broker.starts == start => self.broker_commits(),
            Happening::Tick(start) if self.broker.starts == start => self.broker_ticks(),
            Happening::Connect(..)
            | Happening::Wake(..)
            | Happening::AskAgain(..)
            | Happening::Commit(_)
            | Happening::Tick(_) => Ok(()),
            Happening::Start(machine) => self.start(machine),
            Happening::DownAnyway(machine) => self.down_anyway(machine),
            Happening::DiskHeals(machine) => {
                self.disk(machine).heal();
                Ok(())
            }
            Happening::PutBack(machine) => self.put_back(machine),
        }
    }

    /// The disk of a machine.
    pub fn disk(&self, machine: Machine) -> SimDisk {
        match machine {
            Machine::Broker => self.broker.disk.clone(),
            Machine::Agency(ix) => self.agencies[ix].disk.clone(),
        }
    }

    /// Starts a machine that is down.
    ///
    /// # Errors
    /// A broken promise.
    pub fn start(&mut self, machine: Machine) -> Step {
        match machine {
            Machine::Broker if self.broker.up.is_none() => self.start_broker(),
            Machine::Agency(ix) if self.agencies[ix].up.is_none() => self.start_agent(ix),
            _ => Ok(()),
        }
    }

    /// Cuts a connection, at both ends in time.
    pub fn cut(&mut self, id: ConnectionId) {
        if let Some((agent, broker)) = self.net.cut(id, self.now) {
            self.arrange_at(agent, Happening::AgentLoses(id));
            self.arrange_at(broker, Happening::BrokerLoses(id));
        }
    }

    /// Everything is mended: disks, network, clocks. All machines start.
    fn heal(&mut self) -> Step {
        self.tell("-- everything is mended --");
        self.lies.clear();
        self.broker.skew_ms = 0;
        for ix in 0..self.agencies.len() {
            self.agencies[ix].skew_ms = 0;
            *self.net.way(ix) = crate::net::Way::default();
        }
        for machine in self.machines() {
            self.disk(machine).heal();
            self.put_back(machine)?;
        }
        self.healed = true;
        for machine in self.machines() {
            self.start(machine)?;
        }
        for ix in 0..self.agencies.len() {
            self.renew_if_shut_out(ix)?;
        }
        Ok(())
    }

    /// All machines, the broker's first.
    pub fn machines(&self) -> Vec<Machine> {
        let agencies = (0..self.agencies.len()).map(Machine::Agency);
        std::iter::once(Machine::Broker).chain(agencies).collect()
    }
}

/// A word that nobody else in the world uses.
pub fn word(rng: &mut Rng, ghost: &mut Ghost) -> String {
    let letter = |rng: &mut Rng| char::from(b'a' + u8::try_from(rng.below(26)).expect("small"));
    let word: String = (0..20).map(|_| letter(rng)).collect();
    ghost.plant([word.clone()]);
    word
}

fn person(rng: &mut Rng, ghost: &mut Ghost) -> Person {
    let (family, given) = (word(rng, ghost), word(rng, ghost));
    let year = rng.range(1960, 2012);
    let born = format!("{year}-06-15").parse().expect("a date");
    Person::new(&family, &given, born, None).expect("a person")
}
