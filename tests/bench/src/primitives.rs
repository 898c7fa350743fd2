//! What the parts of an exchange cost alone, measured with the very functions that the product
//! calls, one after another on one thread, at the sizes that an exchange has.
//!
//! Costs are processor time, not time on the clock: a busy machine does not change them much.
//! What a durable write makes the disk do is not in them; its time on the clock is kept apart.

use crate::{proc, stats::spread};
use anyhow::{Context as _, Result};
use passerelle_agent::{
    home::Home,
    seal::{self, ReplyKey},
    vault::{Secrets, Vault},
};
use passerelle_audit::{
    checkpoint::{Checkpoint, SignedCheckpoint},
    cosignature::{self, Cosigner},
    dsse,
    keys::SigningKey,
    merkle::{Tree, leaf_hash, verify_inclusion},
    note::{Note, NoteSignature, Signer},
    tlog_proof::TlogProof,
    witness::{WitnessState, consider},
};
use passerelle_journal::{
    Journal as _, JournalRecord, Options, Projection, SegmentJournal, files::OsDisk,
};
use passerelle_model::{
    bytes::{Bytes, Digest, Nonce},
    commitment::{Field, Opening},
    entry::Entry,
    ids::RequestId,
    pdp::{Matter, PolicyDecisionPoint as _},
    state::SCHEMA_VERSION,
    store::Read as _,
};
use passerelle_policies::{CedarPdp, LocalMatter, LocalPdp, RecordFacts};
use serde::Serialize;
use std::{
    hint::black_box,
    path::Path,
    time::{Duration, Instant},
};

/// Bytes of a signed statement: those of a request.
const STATEMENT_BYTES: usize = 1_300;
/// Bytes of an agent's or the broker's record, beside what it seals.
const RECORD_BYTES: usize = 2_500;
/// Bytes of an answer before it is padded, and of what the vault seals.
const ANSWER_BYTES: usize = 600;
/// Records that share one durable write under load.
pub(crate) const GROUP: usize = 16;
/// Rows that one entry changes in the projection, about.
pub(crate) const ROWS: usize = 4;
/// Entries in the tree under the proofs.
const TREE: u64 = 10_000;

/// What one call costs.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Cost {
    /// Microseconds of processor.
    pub(crate) cpu_us: f64,
    /// Microseconds on the clock.
    pub(crate) clock_us: f64,
}

/// The costs of all primitives.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Primitives {
    /// Signing and sealing.
    pub(crate) crypto: Crypto,
    /// Deciding, and the canonical form.
    pub(crate) rules: Rules,
    /// The tree and its checkpoints.
    pub(crate) log: LogCosts,
    /// What is written and read back.
    pub(crate) disk: Disk,
}

/// Signing and sealing.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Crypto {
    /// Ed25519 signature of a statement.
    pub(crate) sign: Cost,
    /// Its verification.
    pub(crate) verify: Cost,
    /// A one-time reply key.
    pub(crate) reply_key: Cost,
    /// HPKE sealing of 8 KiB.
    pub(crate) seal: Cost,
    /// HPKE opening of 8 KiB.
    pub(crate) open: Cost,
}

/// Deciding, and the canonical form.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Rules {
    /// One decision of the federation's policy.
    pub(crate) decide: Cost,
    /// One decision of the holder's own policy.
    pub(crate) decide_local: Cost,
    /// Canonical encoding of an entry with a statement.
    pub(crate) encode: Cost,
    /// Decoding of the same.
    pub(crate) decode: Cost,
}

/// The tree and its checkpoints.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LogCosts {
    /// Leaf hash and a place in the tree.
    pub(crate) leaf: Cost,
    /// Making an inclusion proof.
    pub(crate) prove: Cost,
    /// Reading it and checking the path, without the signatures of its checkpoint.
    pub(crate) check_path: Cost,
    /// A root and a signed checkpoint.
    pub(crate) checkpoint: Cost,
    /// A witness's whole step: read, verify, check consistency, cosign.
    pub(crate) witness: Cost,
    /// The broker's check of one cosignature.
    pub(crate) cosignature: Cost,
}

/// What is written and read back.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Disk {
    /// One record's share of a durable write that it has to itself.
    pub(crate) append_alone: Cost,
    /// One record's share of a durable write of [`GROUP`].
    pub(crate) append_shared: Cost,
    /// The vault's work for one question: secrets sealed, their key written, and its share of a
    /// sync of [`GROUP`].
    pub(crate) key_shared: Cost,
    /// One entry's share of a commit of the projection for [`GROUP`].
    pub(crate) commit: Cost,
    /// One read of the projection.
    pub(crate) read: Cost,
}

/// How long one group of calls takes at least: long against the steps in which the kernel counts.
const GROUP_TIME: Duration = Duration::from_millis(20);

/// The median of seven groups of at least `calls` calls, each a call's mean.
fn cost(calls: usize, mut work: impl FnMut() -> Result<()>) -> Result<Cost> {
    work()?;
    let (mut cpu, mut clock) = (Vec::new(), Vec::new());
    for _ in 0..7 {
        let (began, before) = (Instant::now(), proc::thread_cpu_ns()?);
        let mut done = 0;
        while done < calls || began.elapsed() < GROUP_TIME {
            work()?;
            done += 1;
        }
        let n = done as f64 * 1e3;
        clock.push(began.elapsed().as_nanos() as f64 / n);
        cpu.push((proc::thread_cpu_ns()? - before) as f64 / n);
    }
    Ok(Cost {
        cpu_us: spread(cpu.into_iter()).p50,
        clock_us: spread(clock.into_iter()).p50,
    })
}

/// Keeps the compiler from leaving a call out whose value nobody uses.
fn keep<T>(value: T) -> Result<()> {
    black_box(value);
    Ok(())
}

impl Cost {
    fn shared_by(self, many: usize) -> Self {
        Self {
            cpu_us: self.cpu_us / many as f64,
            clock_us: self.clock_us / many as f64,
        }
    }
}

/// Measures all of them; files go below `dir`. `entry` is one of the product's own log, with a
/// request in it, and `matter` what the product decides on.
pub(crate) fn measure(dir: &Path, entry: &[u8], matter: &Matter) -> Result<Primitives> {
    Ok(Primitives {
        crypto: crypto()?,
        rules: rules(entry, matter)?,
        log: log_costs(entry)?,
        disk: disk(dir)?,
    })
}

fn crypto() -> Result<Crypto> {
    let key = SigningKey::from_seed(&[7; 32]);
    let statement = vec![b'x'; STATEMENT_BYTES];
    let kind = passerelle_model::statement::PAYLOAD_TYPE;
    let signature = dsse::sign(&key, kind, &statement);
    let public = key.public_key();
    let reply = ReplyKey::generate()?;
    let (to, secret) = (reply.public(), reply.to_bytes());
    let content = vec![b'x'; ANSWER_BYTES];
    let seal = || seal::seal(&to, &[1; 32], b"id", &content, seal::SHORT_ANSWER);
    let sealed = seal()?;
    Ok(Crypto {
        sign: cost(20, || keep(dsse::sign(&key, kind, &statement)))?,
        verify: cost(20, || {
            anyhow::ensure!(dsse::verify(&public, kind, &statement, &signature));
            Ok(())
        })?,
        reply_key: cost(20, || keep(ReplyKey::generate()?))?,
        seal: cost(20, || keep(seal()?))?,
        open: cost(20, || {
            // From its bytes, as it is kept.
            let reply = ReplyKey::from_bytes(&secret)?;
            keep(reply.open(&[1; 32], b"id", &sealed)?)
        })?,
    })
}

fn rules(entry: &[u8], matter: &Matter) -> Result<Rules> {
    let (pdp, local) = (CedarPdp::load_embedded()?, LocalPdp::load_default()?);
    let local_matter = local_matter(matter);
    let decoded = Entry::from_bytes(entry)?;
    Ok(Rules {
        decide: cost(20, || keep(pdp.rule(matter)))?,
        decide_local: cost(20, || keep(local.rule(&local_matter)))?,
        encode: cost(20, || keep(decoded.to_bytes()?))?,
        decode: cost(20, || keep(Entry::from_bytes(entry)?))?,
    })
}

fn log_costs(entry: &[u8]) -> Result<LogCosts> {
    let log = log(entry)?;
    let (mut tree, mut index) = (Tree::new(), 0);
    let key = log.signer.verifier_key();
    Ok(LogCosts {
        leaf: cost(20, || keep(tree.push(leaf_hash(entry))))?,
        prove: cost(20, || {
            index = (index + 97) % TREE;
            let hashes = log.tree.inclusion_proof(index, TREE)?;
            let proof = TlogProof::new(index, hashes, log.cosigned.clone())?;
            keep(proof.to_string())
        })?,
        check_path: cost(20, || {
            let proof = TlogProof::parse(&log.proof)?;
            let (leaf, at) = (leaf_hash(entry), proof.claimed_index());
            keep(verify_inclusion(&leaf, at, TREE, &log.hashes, &log.root)?)
        })?,
        checkpoint: cost(20, || {
            let made = Checkpoint::new(key.name(), TREE, log.tree.root())?;
            keep(made.sign(&log.signer)?)
        })?,
        witness: cost(20, || {
            let took = consider(&WitnessState::default(), key, 0, &[], &log.note)?;
            keep(log.cosigner.cosign(&took, 1)?)
        })?,
        cosignature: cost(20, || {
            // As the broker does it: the checkpoint is its own.
            let mut signed = log.signed.clone();
            keep(cosignature::add(
                &mut signed,
                log.cosigner.verifier_key(),
                log.line.clone(),
            )?)
        })?,
    })
}

fn disk(dir: &Path) -> Result<Disk> {
    Ok(Disk {
        append_alone: append(dir, 1)?,
        append_shared: append(dir, GROUP)?.shared_by(GROUP),
        key_shared: keys(dir)?.shared_by(GROUP),
        commit: commit(dir)?.shared_by(GROUP),
        read: read(dir)?,
    })
}

fn local_matter(matter: &Matter) -> LocalMatter<'_> {
    LocalMatter {
        requester: &matter.requester,
        purpose: matter.purpose,
        emergency: false,
        on_consent: true,
        review_approved: false,
        category: matter.item.category,
        level: matter.item.level,
        record: Some(RecordFacts {
            sensitivity: 1,
            ..RecordFacts::default()
        }),
    }
}

struct Log {
    tree: Tree,
    signer: Signer,
    cosigner: Cosigner,
    signed: SignedCheckpoint,
    line: NoteSignature,
    note: String,
    cosigned: Note,
    hashes: Vec<Digest>,
    root: Digest,
    proof: String,
}

fn log(entry: &[u8]) -> Result<Log> {
    let mut tree: Tree = (0..TREE - 1)
        .map(|i| Digest::of(&i.to_be_bytes()))
        .collect();
    tree.push(leaf_hash(entry));
    let signer = Signer::new("passerelle/essai", SigningKey::from_seed(&[8; 32]))?;
    let cosigner = Cosigner::new(
        "passerelle/essai/witness/house",
        SigningKey::from_seed(&[9; 32]),
    )?;
    let origin = signer.verifier_key().name().to_owned();
    let mut signed = Checkpoint::new(&origin, TREE, tree.root())?.sign(&signer)?;
    let note = signed.note().to_string();
    let accepted = consider(
        &WitnessState::default(),
        signer.verifier_key(),
        0,
        &[],
        &note,
    )?;
    let line = cosigner.cosign(&accepted, 1)?;
    let bare = signed.clone();
    cosignature::add(&mut signed, cosigner.verifier_key(), line.clone())?;
    let cosigned = signed.note().clone();
    let hashes = tree.inclusion_proof(TREE - 1, TREE)?;
    let proof = TlogProof::new(TREE - 1, hashes.clone(), cosigned.clone())?.to_string();
    Ok(Log {
        signed: bare,
        line,
        hashes,
        root: tree.root(),
        tree,
        signer,
        cosigner,
        note,
        cosigned,
        proof,
    })
}

fn append(dir: &Path, group: usize) -> Result<Cost> {
    let dir = dir.join(format!("journal-{group}"));
    std::fs::create_dir(&dir)?;
    let mut journal = SegmentJournal::open(&dir, Options::default())?;
    let record = JournalRecord {
        entry: vec![b'x'; RECORD_BYTES / 2],
        sidecar: vec![b'x'; RECORD_BYTES / 2],
    };
    let records = vec![record; group];
    cost(16, || journal.append(&records).map(drop).context("append"))
}

fn keys(dir: &Path) -> Result<Cost> {
    let dir = dir.join("vault");
    std::fs::create_dir(&dir)?;
    let vault = Vault::open_on(&Home::new(&dir), &OsDisk)?;
    let secrets = Secrets {
        reply_key: Bytes(vec![b'x'; 32]),
        openings: vec![Opening {
            field: Field::Justification,
            random: Nonce([b'x'; 32]),
            data: Bytes(vec![b'x'; ANSWER_BYTES / 2]),
        }],
    };
    let mut next = 0_u128;
    cost(8, || {
        for _ in 0..GROUP {
            next += 1;
            let request = RequestId::from_random(next.to_be_bytes());
            let sealed = vault.keep(&request, &secrets);
            keep(sealed.map_err(|code| anyhow::anyhow!(code))?)?;
        }
        Ok(vault.sync()?)
    })
}

fn key(number: u64) -> Vec<u8> {
    // Spread as identifiers are, which are random.
    Digest::of(&number.to_be_bytes()).0.to_vec()
}

fn commit(dir: &Path) -> Result<Cost> {
    let projection = Projection::open(&dir.join("projection"), SCHEMA_VERSION, 0)?;
    let (mut next, mut watermark) = (0, 0);
    cost(16, || {
        let rows = (0..GROUP * ROWS).map(|_| {
            next += 1;
            (key(next), Some(vec![b'x'; 400]))
        });
        watermark += GROUP as u64;
        projection
            .commit(rows.collect(), watermark)
            .map_err(anyhow::Error::from)
    })
}

fn read(dir: &Path) -> Result<Cost> {
    let projection = Projection::open(&dir.join("projection"), SCHEMA_VERSION, u64::MAX)?;
    let mut next = 0;
    cost(20, || {
        next += 1;
        keep(projection.get(&key(next))?)
    })
}
