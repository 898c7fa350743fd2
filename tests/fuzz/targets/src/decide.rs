//! What members say, taken to the sequencer's decision: nothing that parses may bring it down.

use crate::{Input, world};
use passerelle_model::{
    bytes::{Bytes, Digest, Nonce, PublicKey, Signature},
    canonical,
    commitment::{Field, Opening},
    decide::{Command, Inputs, Reply, decide as step},
    entry::{BrokerKeys, Entry, MAX_ENTRY_BYTES, Record},
    panel::Panel,
    state,
    statement::{Body, Envelope, PAYLOAD_ANSWER, PAYLOAD_CONTEXT, Statement},
    store::{Memory, Overlay},
    time::Timestamp,
};
use passerelle_policies::CedarPdp;
use std::collections::BTreeMap;
use std::sync::LazyLock;

static POLICY: LazyLock<CedarPdp> = LazyLock::new(|| CedarPdp::load_embedded().unwrap());

/// The log after founding and enrolment, where every input begins.
static BEGINNING: LazyLock<Log> = LazyLock::new(Log::new);

/// The payload that the fixed requests and answers carry.
pub const PAYLOAD: &[u8] = b"sealed";

/// Bodies of statements in JSON, each after a byte that says who speaks, separated by zero bytes.
/// At most eight, then time passes.
pub fn decide(data: &[u8]) {
    let mut log = BEGINNING.clone();
    for part in data.split(|byte| *byte == 0).take(8) {
        let mut input = Input::new(part);
        let from = usize::from(input.byte());
        let Ok(body) = serde_json::from_slice::<Body>(input.rest()) else {
            continue;
        };
        log.now = log.now.plus_s(1);
        let request = match &body {
            Body::Request(request) => Some(request.request.clone()),
            Body::Renewal(renewal) => Some(renewal.request.clone()),
            _ => None,
        };
        let Some(command) = said(from, log.now, body) else {
            continue;
        };
        log.run(&command);
        // The same once more changes nothing.
        let before = log.records.len();
        assert!(matches!(log.run(&command), Reply::Refused { .. }));
        assert!(log.records.len() <= before + 1);
        if let Some(request) = request {
            log.run(&Command::Offer { request });
        }
    }
    log.now = log.now.plus_s(40 * 86_400);
    while log.run(&Command::Tick) != Reply::Nothing {
        assert!(log.records.len() < 10_000, "no end of things that are due");
    }
    log.check();
}

/// The opening of the one handle in the seeds.
pub fn opening() -> Opening {
    Opening {
        field: Field::Subject,
        random: Nonce([1; 32]),
        data: Bytes(vec![2; 32]),
    }
}

/// A statement of a member, as a session hands it to the sequencer.
pub fn said(from: usize, at: Timestamp, body: Body) -> Option<Command> {
    let agency = world::member(from);
    let statement = Statement {
        version: 1,
        federation: world::federation(),
        agency: agency.clone(),
        at,
        body,
    };
    // An integer over 2^53 has no canonical form; the agency could not have signed this.
    let payload = Bytes(canonical::to_vec(&statement).ok()?);
    let envelope = Envelope {
        payload,
        signature: Signature([0; 64]),
    };
    let payloads = [PAYLOAD_CONTEXT, PAYLOAD_ANSWER].map(|n| (n.to_owned(), Bytes(PAYLOAD.into())));
    // Signatures are the business of the target `statement`.
    let openings = vec![opening()];
    let payloads = BTreeMap::from(payloads);
    let federation = world::federation();
    let verified = envelope.verify(&federation, &agency, |_, _| true, openings, payloads);
    Some(Command::Say(Box::new(verified.ok()?)))
}

/// A log in memory.
#[derive(Clone)]
pub struct Log {
    /// Its state.
    pub store: Memory,
    /// What was logged.
    pub records: Vec<Record>,
    /// The clock.
    pub now: Timestamp,
}

impl Log {
    /// Founded, with three members.
    pub fn new() -> Self {
        let mut log = Self {
            store: Memory::default(),
            records: Vec::new(),
            now: world::NOW,
        };
        log.run(&Command::Found {
            federation: world::federation(),
            keys: BrokerKeys {
                checkpoint: world::signer().verifier_key().to_string(),
                permit: world::permit_key().public_key(),
                oprf: PublicKey([2; 32]),
            },
            panel: Panel::default(),
        });
        for number in 0..world::MEMBERS.len() {
            let token = Digest([number as u8 + 100; 32]);
            let keys = world::agency_keys(number);
            let (agency, expires_at) = (world::member(number), log.now.plus_s(60));
            log.run(&Command::Invite {
                agency: agency.clone(),
                sector: keys.sector,
                token,
                expires_at,
            });
            let certificate = format!("{number:032x}");
            let reply = log.run(&Command::Enrol {
                agency,
                token,
                keys,
                certificate,
            });
            assert!(matches!(reply, Reply::Done { .. }));
        }
        log
    }

    /// Decides, twice: the outcome depends on nothing else.
    pub fn run(&mut self, command: &Command) -> Reply {
        let next_index = self.records.len() as u64;
        let inputs = Inputs {
            now: self.now,
            seed: Digest::of(&next_index.to_be_bytes()).0,
            next_index,
            pdp: &*POLICY,
        };
        let mut overlay = Overlay::new(&self.store);
        let decided = step(&mut overlay, command, &inputs).unwrap();
        let mut again = Overlay::new(&self.store);
        let twice = step(&mut again, command, &inputs).unwrap();
        assert_eq!(
            (&decided.records, decided.reply),
            (&twice.records, twice.reply)
        );
        let writes = overlay.into_writes();
        self.store.commit(writes);
        self.records.extend(decided.records);
        decided.reply
    }

    /// Every entry is one that a reader accepts, and the entries alone lead to the same state.
    fn check(&self) {
        let mut replayed = Memory::default();
        for (index, record) in self.records.iter().enumerate() {
            let bytes = record.entry.to_bytes().unwrap();
            assert!(bytes.len() <= MAX_ENTRY_BYTES);
            assert_eq!(Entry::from_bytes(&bytes).unwrap(), record.entry);
            let mut overlay = Overlay::new(&replayed);
            passerelle_model::apply::apply(&mut overlay, index as u64, record).unwrap();
            let writes = overlay.into_writes();
            replayed.commit(writes);
        }
        assert!(replayed.rows().eq(self.store.rows()), "replay differs");
        assert!(state::federation(&replayed).unwrap().is_some());
    }
}

impl Default for Log {
    fn default() -> Self {
        Self::new()
    }
}
