//! A log made by the state machine under the shipped rules, exported with its openings.

use super::*;
use crate::cli::Cli;
use clap::Parser as _;
use passerelle_audit::{
    checkpoint::Checkpoint,
    cosignature::{self, Cosigner},
    dsse,
    export::{ExportHeader, ExportRow, write_header, write_row},
    keys::SigningKey,
    merkle::{Tree, leaf_hash},
    note::Signer,
    witness,
};
use passerelle_model::{
    bytes::{Bytes, Digest, Nonce, PublicKey},
    commitment::{Field, Opening},
    decide::{Command, Inputs, Reply, decide},
    entry::{BrokerKeys, EntryBody, Record},
    ids::{AgencyId, ConsentId, FederationId, RequestId, witness_name},
    panel::Panel,
    statement::{
        AgencyKeys, Body, ConsentTerms, Envelope, Item, PAYLOAD_CONTEXT, PAYLOAD_TYPE, Request,
        Statement, VERSION,
    },
    store::{Memory, Overlay},
    time::Timestamp,
    vocabulary::{
        Capacity, Category, ConsentGiver, ConsentMethod, Language, LegalBasis, Level, Purpose,
        Sector, WorkerRole,
    },
};
use passerelle_policies::embedded_files;
use std::{collections::BTreeMap, path::PathBuf};

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const MEMBERS: [(&str, Sector); 2] = [("maison", Sector::Community), ("clinique", Sector::Health)];

fn name(n: u8) -> AgencyId {
    MEMBERS[usize::from(n)].0.parse().unwrap()
}

fn federation() -> FederationId {
    "essai".parse().unwrap()
}

fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32])
}

fn log() -> Signer {
    Signer::new("essai.example/log", key(200)).unwrap()
}

fn cosigner(n: u8) -> Cosigner {
    Cosigner::new(&witness_name(&federation(), &name(n)), key(100 + n)).unwrap()
}

/// Opens a commitment of the one person, with a random of its own each time.
fn person(random: u8) -> Opening {
    Opening {
        field: Field::Subject,
        random: Nonce([random; 32]),
        data: Bytes(vec![7; 32]),
    }
}

struct World {
    pdp: CedarPdp,
    state: Memory,
    records: Vec<Record>,
}

impl World {
    fn run(&mut self, command: &Command) {
        let next_index = self.records.len() as u64;
        let inputs = Inputs {
            now: NOW,
            seed: Digest::of(&next_index.to_be_bytes()).0,
            next_index,
            pdp: &self.pdp,
        };
        let mut overlay = Overlay::new(&self.state);
        let decided = decide(&mut overlay, command, &inputs).unwrap();
        assert!(matches!(decided.reply, Reply::Done { .. }), "{decided:?}");
        let writes = overlay.into_writes();
        self.state.commit(writes);
        self.records.extend(decided.records);
    }

    fn say(&mut self, n: u8, body: Body, opening: Opening, payloads: BTreeMap<String, Bytes>) {
        let statement = Statement {
            version: VERSION,
            federation: federation(),
            agency: name(n),
            at: NOW,
            body,
        };
        let payload = passerelle_model::canonical::to_vec(&statement).unwrap();
        let envelope = Envelope {
            signature: dsse::sign(&key(n), PAYLOAD_TYPE, &payload),
            payload: Bytes(payload),
        };
        let verified = envelope
            .verify(
                &federation(),
                &name(n),
                |_, _| true,
                vec![opening],
                payloads,
            )
            .unwrap();
        self.run(&Command::Say(Box::new(verified)));
    }

    fn join(&mut self, n: u8) {
        let token = Digest([n; 32]);
        let keys = AgencyKeys {
            sector: MEMBERS[usize::from(n)].1,
            signing: key(n).public_key(),
            sealing: PublicKey([n; 32]),
            witness: key(100 + n).public_key(),
        };
        self.run(&Command::Invite {
            agency: name(n),
            sector: keys.sector,
            token,
            expires_at: NOW.plus_s(60),
        });
        self.run(&Command::Enrol {
            agency: name(n),
            token,
            keys,
            certificate: "01".to_owned(),
        });
    }

    fn ask(&mut self, n: u8, category: Category) {
        let subject = person(50 + n);
        let context = Bytes(vec![n]);
        let asked = Request {
            request: RequestId::from_random([n; 16]),
            holder: name(1),
            items: vec![Item {
                category,
                level: Level::Coded,
            }],
            purpose: Purpose::Deliver,
            basis: LegalBasis::Consent,
            reliance: None,
            case: None,
            emergency: None,
            subject: Some(subject.commitment()),
            worker: person(60).commitment(),
            role: WorkerRole::Coordinator,
            trained: true,
            justification: person(61).commitment(),
            context: Digest::of(&context.0),
            reply_key: PublicKey([n; 32]),
            not_after: NOW.plus_s(600),
        };
        let payloads = BTreeMap::from([(PAYLOAD_CONTEXT.to_owned(), context)]);
        self.say(0, Body::Request(Box::new(asked)), subject, payloads);
    }
}

/// A consent recorded by the holder, a request that it covers and one that it does not.
fn world() -> World {
    world_under(CedarPdp::load_embedded().unwrap())
}

fn world_under(pdp: CedarPdp) -> World {
    let mut world = World {
        pdp,
        state: Memory::default(),
        records: Vec::new(),
    };
    world.run(&Command::Found {
        federation: federation(),
        keys: BrokerKeys {
            checkpoint: log().verifier_key().to_string(),
            permit: PublicKey([1; 32]),
            oprf: PublicKey([2; 32]),
        },
        panel: Panel::default(),
    });
    world.join(0);
    world.join(1);
    let terms = ConsentTerms {
        consent: ConsentId::from_random([1; 16]),
        subject: person(1).commitment(),
        giver: ConsentGiver::Subject,
        capacity: Capacity::Capable,
        categories: vec![Category::AppointmentStatus],
        purposes: vec![Purpose::Deliver],
        recipients: vec![name(0)],
        disclosers: vec![name(1)],
        method: ConsentMethod::Written,
        language: Language::French,
        interpreter: false,
        notice_version: 1,
        given_at: NOW.minus_s(60),
        expires_at: NOW.plus_s(86_400),
        redisclosure: false,
        evidence: None,
    };
    world.say(
        1,
        Body::Consent(Box::new(terms)),
        person(1),
        BTreeMap::new(),
    );
    world.ask(1, Category::AppointmentStatus);
    world.ask(2, Category::Diagnosis);
    world
}

/// Hashed, signed and cosigned, whatever the entries say.
fn export(records: &[Record], with_openings: bool) -> Vec<u8> {
    let entries: Vec<Vec<u8>> = records
        .iter()
        .map(|r| r.entry.to_bytes().unwrap())
        .collect();
    let tree: Tree = entries.iter().map(|entry| leaf_hash(entry)).collect();
    let key = log().verifier_key().clone();
    let checkpoint = Checkpoint::new(key.name(), tree.size(), tree.root()).unwrap();
    let mut signed = checkpoint.sign(&log()).unwrap();
    let note = signed.note().to_string();
    for n in [0, 1] {
        let state = witness::WitnessState::default();
        let accepted = witness::consider(&state, &key, 0, &[], &note).unwrap();
        let line = cosigner(n).cosign(&accepted, 1_800_000_000).unwrap();
        cosignature::add(&mut signed, cosigner(n).verifier_key(), line).unwrap();
    }
    let header = ExportHeader::new(signed.note().to_string(), key.to_string(), federation());
    let mut out = Vec::new();
    write_header(&mut out, &header).unwrap();
    for (index, (entry, record)) in (0..).zip(entries.into_iter().zip(records)) {
        let openings = match with_openings {
            true => record.sidecar.openings.clone(),
            false => Vec::new(),
        };
        let row = ExportRow::Entry {
            index,
            entry,
            openings,
        };
        write_row(&mut out, &row).unwrap();
    }
    out
}

fn written(dir: &Path, bytes: &[u8]) -> PathBuf {
    let path = dir.join("log.export");
    std::fs::write(&path, bytes).unwrap();
    path
}

fn embedded_points() -> CedarPdp {
    CedarPdp::load_embedded().unwrap()
}

fn again(path: &Path, rules: Rules<'_>) -> Outcomes {
    let size = verified_size(path).unwrap();
    decide_again(path, &(0..=size - 1), rules).unwrap()
}

/// The arguments as the command line takes them.
fn arguments(path: &Path, more: &[&str]) -> (Global, ReplayArgs) {
    #[derive(clap::Parser)]
    struct Alone {
        #[command(flatten)]
        global: Global,
        #[command(flatten)]
        replay: ReplayArgs,
    }
    let path = path.to_str().unwrap();
    let alone = Alone::parse_from([&["replay", path], more].concat());
    (alone.global, alone.replay)
}

fn exit(path: &Path, more: &[&str]) -> Result<Exit, Failure> {
    let (global, args) = arguments(path, more);
    run(global, &args)
}

/// The shipped rules, but no consent lets anything go, not even one that the holder recorded.
fn stricter(dir: &Path) -> PathBuf {
    let dir = dir.join("stricter");
    for (path, text) in embedded_files() {
        let lax = "context has consent && !context.consent.recorded_by_holder";
        let text = text.replace(lax, "context has consent");
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    dir
}

#[test]
fn decisions_under_the_shipped_rules_come_out_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = written(dir.path(), &export(&world().records, true));
    let pdp = embedded_points();
    let outcomes = again(&path, Rules::InForce(&[&pdp]));
    assert!(outcomes.all_same());
    assert_eq!(outcomes.same, 2);
    assert_eq!(
        text(&outcomes, false),
        "2 decisions: 2 the same, 0 different, 0 that can't be known\n"
    );
    assert_eq!(exit(&path, &[]).unwrap(), Exit::Done);
    assert_eq!(exit(&path, &["7", "--json"]).unwrap(), Exit::Done);
    assert_eq!(exit(&path, &["99"]).unwrap_err().exit, Exit::Usage);
}

#[test]
fn a_federation_that_uses_some_packs_is_replayed_by_the_same() {
    let used: std::collections::BTreeSet<String> = ["ca-qc".to_owned()].into();
    let log = world_under(CedarPdp::load_with_packs(&used).unwrap());
    let dir = tempfile::tempdir().unwrap();
    let path = written(dir.path(), &export(&log.records, true));
    assert_eq!(exit(&path, &["--packs", "ca-qc"]).unwrap(), Exit::Done);
    assert_eq!(exit(&path, &[]).unwrap(), Exit::Refused);
    assert_eq!(
        exit(&path, &["--packs", "ca-qc,us"]).unwrap(),
        Exit::Refused
    );
    assert!(exit(&path, &["--packs", "ca-qb"]).is_err());
}

#[test]
fn a_decision_that_was_changed_in_the_log_is_reported() {
    let mut records = world().records;
    let denied = records.len() - 1;
    if let EntryBody::Decided { items, .. } = &mut records[denied].entry.body {
        assert_eq!(items[0].ruling.effect, Effect::Deny);
        items[0].ruling = Ruling::deny("because");
    }
    let dir = tempfile::tempdir().unwrap();
    let path = written(dir.path(), &export(&records, true));
    let pdp = embedded_points();
    let outcomes = again(&path, Rules::InForce(&[&pdp]));
    assert_eq!((outcomes.same, outcomes.differs), (1, 1));
    let text = text(&outcomes, false);
    assert!(text.contains("diagnosis:coded"), "{text}");
    assert!(text.contains("deny (because)  deny ("), "{text}");
    assert_eq!(exit(&path, &[]).unwrap(), Exit::Refused);
    // Where the range leaves it out, nothing is said of it.
    let before = format!("0..{}", denied - 1);
    assert_eq!(exit(&path, &[&before]).unwrap(), Exit::Done);
}

#[test]
fn stricter_rules_show_what_they_would_have_decided() {
    let dir = tempfile::tempdir().unwrap();
    let path = written(dir.path(), &export(&world().records, true));
    let other = stricter(dir.path());
    let pdp = policy::load(Some(&other)).unwrap();
    let outcomes = again(&path, Rules::Other(&pdp));
    assert_eq!((outcomes.differs, outcomes.not_possible), (1, 0));
    let text = text(&outcomes, true);
    let row = text.lines().nth(1).unwrap();
    assert!(row.contains("appointment_status:coded  permit ("), "{text}");
    assert!(row.ends_with("deny (consent-needed)"), "{text}");
    let json = serde_json::to_value(&outcomes).unwrap();
    assert_eq!(
        json["decisions"][0]["logged"][0]["ruling"]["effect"],
        "permit"
    );
    let again = &json["decisions"][0]["outcome"]["differs"][0];
    assert_eq!(again["ruling"]["effect"], "deny");
    let other = other.to_str().unwrap();
    assert_eq!(exit(&path, &["--policy", other]).unwrap(), Exit::Done);
    // They did not make these decisions.
    assert_eq!(exit(&path, &["--library", other]).unwrap(), Exit::Refused);
}

#[test]
fn what_cannot_be_known_is_no_success() {
    let dir = tempfile::tempdir().unwrap();
    let path = written(dir.path(), &export(&world().records, false));
    for more in [
        &[][..],
        &["--policy", stricter(dir.path()).to_str().unwrap()],
    ] {
        assert_eq!(exit(&path, more).unwrap(), Exit::Refused);
    }
    let pdp = embedded_points();
    let text = text(&again(&path, Rules::InForce(&[&pdp])), false);
    assert!(text.contains("not opened in this export"), "{text}");
}

#[test]
fn an_export_with_a_fault_is_not_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = export(&world().records, true);
    bytes.truncate(bytes.len() - 2);
    let path = written(dir.path(), &bytes);
    let failure = exit(&path, &[]).unwrap_err();
    assert_eq!(failure.exit, Exit::Refused);
    assert!(
        failure.message.contains("does not verify"),
        "{}",
        failure.message
    );
    let missing = dir.path().join("missing");
    assert_eq!(exit(&missing, &[]).unwrap_err().exit, Exit::Failed);
}

#[test]
fn ranges_are_an_index_or_two() {
    assert_eq!(range("7"), Ok(7..=7));
    assert_eq!(range("7..9"), Ok(7..=9));
    assert_eq!(range("7..7"), Ok(7..=7));
    for wrong in ["", "x", "9..7", "7..", "..7", "7...9", "-1", "7..=9"] {
        assert!(range(wrong).is_err(), "{wrong}");
    }
    let line = [
        "passerelle",
        "audit",
        "replay",
        "log.export",
        "1..2",
        "--policy",
        "dir",
    ];
    assert!(Cli::try_parse_from(line).is_ok());
    let line = [&line[..], &["--library", "dir"]].concat();
    assert!(Cli::try_parse_from(line).is_err());
}
