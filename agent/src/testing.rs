//! A federation in memory for the unit tests: a log, its witnesses, three agencies.

use crate::{
    config::{Config, Worker},
    context::Context,
    event::Event,
    home::{Home, Identity, Keys, Membership},
    requester::Question,
    rules::Rules,
    seal::SealingKeys,
    trust::{Anchors, Member, Trust, witness_key},
    vault::{self, Vault},
};
use passerelle_audit::{
    checkpoint::Checkpoint,
    cosignature::{self, Cosigner},
    dsse::{self, SigningKey},
    merkle::{Tree, leaf_hash},
    note::Signer,
    tlog_proof::TlogProof,
    witness::{WitnessState, consider},
};
use passerelle_journal::files::{Disk, OsDisk, WriteFile};
use passerelle_model::{
    bytes::{Digest, Nonce, PublicKey, Signature},
    canonical,
    commitment::Opening,
    entry::{BrokerKeys, Entry, EntryBody},
    ids::{AgencyId, RequestId, witness_name},
    panel::Panel,
    permit::{PAYLOAD_TYPE, Permit},
    statement::{AgencyKeys, Body, Envelope},
    time::Timestamp,
    vocabulary::{LegalBasis, Purpose, Sector, WorkerRole},
};
use passerelle_policies::LocalPdp;
use passerelle_proto::{convert, v1};
use std::{collections::BTreeMap, io, path::Path, sync::Arc};

pub(crate) const NOW: Timestamp = Timestamp(1_795_269_789_000);
/// The digest of the rules that the federation begins with, which every agency holds.
pub(crate) const RULES: Digest = Digest([0; 32]);
pub(crate) const NAMES: [&str; 3] = ["police", "clinic", "mentors"];

pub(crate) fn agency(name: &str) -> AgencyId {
    name.parse().unwrap()
}

pub(crate) struct Federation {
    tree: Tree,
    signer: Signer,
    permit: SigningKey,
    agencies: BTreeMap<AgencyId, (u8, Sector)>,
}

fn seed(of: u8, what: u8) -> SigningKey {
    SigningKey::from_seed(&[of ^ what; 32])
}

fn keys_of(number: u8) -> Keys {
    Keys {
        signing: seed(number, 0x40),
        sealing: SealingKeys::from_bytes(&[number; 32]).unwrap(),
        former_sealing: Vec::new(),
        witness: seed(number, 0x80),
    }
}

impl Federation {
    pub(crate) fn new() -> Self {
        let sectors = [Sector::LawEnforcement, Sector::Health, Sector::Community];
        let agencies = NAMES.iter().zip(sectors).zip(1..);
        Self {
            tree: Tree::new(),
            signer: Signer::new("log.test", seed(100, 0)).unwrap(),
            permit: seed(101, 0),
            agencies: agencies
                .map(|((name, sector), number)| (agency(name), (number, sector)))
                .collect(),
        }
    }

    pub(crate) fn keys(&self, name: &str) -> Keys {
        keys_of(self.agencies[&agency(name)].0)
    }

    pub(crate) fn public_keys(&self, name: &str) -> AgencyKeys {
        let keys = self.keys(name);
        AgencyKeys {
            sector: self.agencies[&agency(name)].1,
            signing: keys.signing.public_key(),
            sealing: keys.sealing.public(),
            witness: keys.witness.public_key(),
        }
    }

    pub(crate) fn anchors(&self, name: &str) -> Anchors {
        let federation = "nord".parse().unwrap();
        let key = self.public_keys(name).witness;
        Anchors {
            own_witness: witness_key(&federation, &agency(name), key).unwrap(),
            federation,
            agency: agency(name),
            log: self.signer.verifier_key().clone(),
            panel: Panel::default(),
            permit: self.permit.public_key(),
        }
    }

    pub(crate) fn trust(&self, name: &str) -> Trust {
        let members = NAMES.iter().map(|name| {
            let member = Member {
                keys: self.public_keys(name),
                former: Vec::new(),
                active: true,
                certificate: String::new(),
                since: 0,
            };
            (agency(name), member)
        });
        Trust::new(self.anchors(name), members.collect()).with_rules(Rules::founding(RULES))
    }

    /// The context of an agency whose files are in `dir`.
    pub(crate) fn context(&self, name: &str, dir: &Path) -> Context {
        let home = Home::new(dir);
        home.create().unwrap();
        let anchors = self.anchors(name);
        let membership = Membership {
            federation: anchors.federation.clone(),
            agency: anchors.agency.clone(),
            sector: self.agencies[&agency(name)].1,
            checkpoint_key: anchors.log.to_string(),
            permit_key: anchors.permit,
            oprf_key: PublicKey([0; 32]),
            panel: Panel::default(),
            bundle: None,
            joined: 0,
        };
        let keys = self.keys(name);
        let witness = witness_name(&anchors.federation, &anchors.agency);
        let mut config = Config::new("localhost:1");
        config.workers.push(Worker {
            id: "w-1".into(),
            role: WorkerRole::Officer,
            trained: true,
            name: None,
        });
        Context {
            identity: Identity {
                membership,
                cosigner: Cosigner::new(&witness, keys.witness.clone()).unwrap(),
                keys,
                anchors,
            },
            config,
            policy: LocalPdp::load(None).unwrap(),
            vault: Vault::open_on(&home, &OsDisk).unwrap(),
            certificate_ends: None,
            bundles: crate::bundles::Bundles::with_shipped(dir, RULES),
            trust: crate::trust::Kept::default(),
            forks: crate::forks::Forks::new(dir),
            alerts: crate::alerts::Alerts::new(dir),
        }
    }

    /// Appends an entry and returns its notice, cosigned by `cosigners`.
    pub(crate) fn notice(
        &mut self,
        at: Timestamp,
        body: EntryBody,
        cosigners: &[&str],
    ) -> v1::Notice {
        let entry = Entry {
            kind: body.code().to_owned(),
            version: 1,
            at,
            body,
            nonce: Nonce([7; 32]),
        };
        let membership = entry.body.is_for_all();
        let bytes = entry.to_bytes().unwrap();
        self.notice_of(bytes, membership, cosigners)
    }

    pub(crate) fn notice_of(
        &mut self,
        entry: Vec<u8>,
        membership: bool,
        cosigners: &[&str],
    ) -> v1::Notice {
        let index = self.tree.push(leaf_hash(&entry));
        let note = self.checkpoint(cosigners);
        let size = self.tree.size();
        let hashes = self.tree.inclusion_proof(index, size).unwrap();
        let note = passerelle_audit::note::Note::parse(&note).unwrap();
        v1::Notice {
            index,
            entry,
            proof: TlogProof::new(index, hashes, note).unwrap().to_string(),
            membership,
            ..v1::Notice::default()
        }
    }

    /// How many entries there are.
    pub(crate) fn size(&self) -> u64 {
        self.tree.size()
    }

    /// From the first so many entries to all.
    pub(crate) fn consistency_proof(&self, from: u64) -> Vec<Vec<u8>> {
        if from == 0 || from == self.tree.size() {
            return Vec::new();
        }
        let proof = self.tree.consistency_proof(from, self.tree.size());
        proof.unwrap().iter().map(|hash| hash.0.to_vec()).collect()
    }

    /// The newest checkpoint, cosigned.
    pub(crate) fn checkpoint(&self, cosigners: &[&str]) -> String {
        let log = self.signer.verifier_key();
        let checkpoint = Checkpoint::new("log.test", self.tree.size(), self.tree.root());
        let mut signed = checkpoint.unwrap().sign(&self.signer).unwrap();
        let bare = signed.note().to_string();
        for name in cosigners {
            let anchors = self.anchors(name);
            let witness = witness_name(&anchors.federation, &anchors.agency);
            let cosigner = Cosigner::new(&witness, self.keys(name).witness).unwrap();
            let accepted = consider(&WitnessState::default(), log, 0, &[], &bare).unwrap();
            let line = cosigner.cosign(&accepted, NOW.seconds()).unwrap();
            cosignature::add(&mut signed, cosigner.verifier_key(), line).unwrap();
        }
        signed.note().to_string()
    }

    /// The beginning of the log, as the broker sends it to a new member.
    pub(crate) fn founding(&mut self) -> v1::Notice {
        let body = EntryBody::Founded {
            federation: "nord".parse().unwrap(),
            keys: BrokerKeys {
                checkpoint: self.signer.verifier_key().to_string(),
                permit: self.permit.public_key(),
                oprf: PublicKey([0; 32]),
            },
            bundle: RULES,
            panel: Panel::default(),
        };
        self.notice(NOW, body, &NAMES)
    }

    /// All members' enrolments, as the broker sends them to a new member.
    pub(crate) fn enrolments(&mut self, cosigners: &[&str]) -> Vec<v1::Notice> {
        let all = NAMES.map(|name| EntryBody::Enrolled {
            agency: agency(name),
            keys: self.public_keys(name),
            token: Digest([0; 32]),
            certificate: "01".into(),
        });
        all.into_iter()
            .map(|body| self.notice(NOW, body, cosigners))
            .collect()
    }

    pub(crate) fn sign_permit(&self, permit: &Permit) -> Signature {
        dsse::sign(
            &self.permit,
            PAYLOAD_TYPE,
            &canonical::to_vec(permit).unwrap(),
        )
    }

    /// The offer of a permit, with what the requester said.
    pub(crate) fn offer(
        &mut self,
        permit: &Permit,
        envelope: &Envelope,
        openings: &[Opening],
        context: &[u8],
    ) -> v1::Notice {
        let body = EntryBody::Offered {
            permit: Box::new(permit.clone()),
        };
        let mut notice = self.notice(permit.issued_at, body, &NAMES);
        notice.permit_signature = self.sign_permit(permit).0.to_vec();
        notice.related = Some(v1::Related {
            envelope: Some(envelope.clone().into()),
            openings: convert::openings_to_wire(openings.to_vec()),
            payloads: [("context".to_owned(), context.to_vec())].into(),
        });
        notice
    }

    /// What `name` says, as a notice.
    pub(crate) fn said(&mut self, at: Timestamp, name: &str, envelope: Envelope) -> v1::Notice {
        let body = EntryBody::Said {
            agency: agency(name),
            envelope,
        };
        self.notice(at, body, &NAMES)
    }
}

/// The permit that a broker would issue for a request without narrowing it.
pub(crate) fn permit_for(requester: &str, envelope: &Envelope, at: Timestamp) -> Permit {
    let Body::Request(request) = envelope.unverified_statement().unwrap().body else {
        panic!("not a request");
    };
    Permit {
        request: request.request,
        statement: envelope.digest(),
        requester: agency(requester),
        holder: request.holder,
        items: request.items,
        purpose: request.purpose,
        basis: request.basis,
        case: request.case,
        reply_key: request.reply_key,
        review: false,
        obligations: Vec::new(),
        decision: 0,
        bundle: RULES,
        issued_at: at,
        not_after: at.plus_s(600),
    }
}

/// Flips a bit of the key of a request in the vault of `dir`.
pub(crate) fn damage_key(context: &Context, dir: &Path, request: &RequestId) {
    let path = dir.join(vault::FILE);
    let key = context.vault.key(request).unwrap().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(32).position(|window| window == *key);
    bytes[at.unwrap()] ^= 1;
    std::fs::write(&path, bytes).unwrap();
}

/// A question of the police to the clinic about nobody.
pub(crate) fn question(worker: &Worker) -> Question {
    Question {
        subject: None,
        holder: agency("clinic"),
        items: Vec::new(),
        purpose: Purpose::Screen,
        basis: LegalBasis::Consent,
        reliance: None,
        case: None,
        emergency: None,
        justification: "because".into(),
        worker: worker.clone(),
        not_after: NOW.plus_s(86_400),
        near: None,
    }
}

/// What a file of a [`HookedDisk`] is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileOp {
    Write,
    Sync,
}

type Hook = dyn Fn(&str, FileOp) -> io::Result<()> + Send + Sync;

/// The real disk; before each operation a hook is called with the extension of the file.
#[derive(Clone)]
pub(crate) struct HookedDisk(Arc<Hook>);

impl HookedDisk {
    pub(crate) fn new(
        hook: impl Fn(&str, FileOp) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(hook))
    }
}

impl Disk for HookedDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        let kind = path.extension().unwrap().to_string_lossy().into_owned();
        let file = OsDisk.open(path)?;
        let hook = Arc::clone(&self.0);
        Ok(Box::new(HookedFile { hook, kind, file }))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        OsDisk.sync_dir(dir)
    }
}

struct HookedFile {
    hook: Arc<Hook>,
    kind: String,
    file: Box<dyn WriteFile>,
}

impl WriteFile for HookedFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        (self.hook)(&self.kind, FileOp::Write)?;
        self.file.write_at(offset, bytes)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        (self.hook)(&self.kind, FileOp::Sync)?;
        self.file.sync_data()
    }

    fn sync_all(&mut self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.file.truncate(len)
    }
}

/// The kinds of events, in order.
pub(crate) fn kinds(events: &[Event]) -> Vec<&'static str> {
    events.iter().map(Event::kind).collect()
}
