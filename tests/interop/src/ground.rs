//! The logs that are judged: one that the product's code grows here, one of a real federation,
//! and one that Tessera grows, cosigned by witnesses of both sides.

use crate::{
    case::{Base, Case, Keys, Kind, Side},
    go::Go,
    ours::{ConsistencyProof, InclusionProof},
    witnesses::{Answered, Witnesses},
};
use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use passerelle_audit::{
    checkpoint::{Checkpoint, SignedCheckpoint},
    cosignature::{self, Cosigner},
    keys::SigningKey,
    merkle::{Tree, leaf_hash},
    note::{Signer, VerifierKey},
    tiles::{self, TileKind},
    tlog_proof::TlogProof,
    witness::{WitnessState, consider},
};
use passerelle_model::bytes::{Bytes, Digest};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Sizes around one, a full tile, and a full tile of the next level.
pub(crate) const SIZES: [u64; 10] = [1, 2, 3, 255, 256, 257, 300, 65_535, 65_536, 65_537];
/// Entries whose inclusion is proven at every size that has them.
const SAMPLES: [u64; 9] = [0, 1, 2, 254, 255, 256, 299, 65_535, 65_536];
/// When the witnesses here say they have cosigned.
const TIME_S: u64 = 1_900_000_000;

/// A log in files, at several sizes.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    /// Who made it.
    pub(crate) maker: Side,
    /// For people.
    pub(crate) name: String,
    /// Where the tiles are.
    pub(crate) dir: PathBuf,
    /// The log's key.
    pub(crate) key: VerifierKey,
    /// The witnesses' keys.
    pub(crate) witnesses: Vec<String>,
    /// The private keys.
    pub(crate) keys: Keys,
    /// The entries.
    pub(crate) entries: Vec<Vec<u8>>,
    /// The log at each size.
    pub(crate) heads: Vec<Head>,
}

/// A log at one size, with proofs by who made it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Head {
    /// Number of entries.
    pub(crate) size: u64,
    /// The cosigned checkpoint.
    pub(crate) checkpoint: Bytes,
    /// Offline proofs, one for each of the inclusion proofs.
    pub(crate) proofs: Vec<Bytes>,
    /// Inclusion proofs.
    pub(crate) inclusions: Vec<InclusionProof>,
    /// Consistency proofs with earlier sizes.
    #[serde(default)]
    pub(crate) consistencies: Option<Vec<ConsistencyProof>>,
}

/// The entry of this number: most are small, some as large and as small as the format allows.
fn entry(number: u64) -> Vec<u8> {
    match number {
        2 => format!("{{\"largest\":\"{}\"}}", "x".repeat(65_535 - 14)).into_bytes(),
        5 => Vec::new(),
        6 => vec![0, 255, 10, 13, 0],
        _ => format!("{{\"number\":{number}}}").into_bytes(),
    }
}

fn entries() -> Vec<Vec<u8>> {
    let most = SIZES.iter().copied().max().unwrap_or(0);
    (0..most).map(entry).collect()
}

fn seeds(tag: u8, count: u8) -> Vec<[u8; 32]> {
    (1..=count).map(|n| [tag ^ n.rotate_right(2); 32]).collect()
}

fn dalek(seed: &[u8; 32]) -> ed25519_dalek::SigningKey {
    ed25519_dalek::SigningKey::from_bytes(seed)
}

/// A log by the product's own tree, tiles, notes, witness rule and proofs.
pub(crate) fn grow_ours(dir: &Path) -> Result<Log> {
    let (log_seed, seeds) = ([0x11; 32], seeds(0x20, 3));
    let signer = Signer::new("passerelle/essai", SigningKey::from_seed(&log_seed))?;
    let cosigners: Vec<_> = (0..)
        .zip(&seeds)
        .map(|(n, seed)| Cosigner::new(&format!("agency-{n}.essai"), SigningKey::from_seed(seed)))
        .collect::<Result<_, _>>()?;
    let mut log = Log {
        maker: Side::Ours,
        name: "Passerelle's tree".to_owned(),
        dir: dir.to_owned(),
        key: signer.verifier_key().clone(),
        witnesses: cosigners
            .iter()
            .map(|c| c.verifier_key().to_string())
            .collect(),
        keys: Keys {
            log: dalek(&log_seed),
            witnesses: seeds.iter().map(dalek).collect(),
        },
        entries: entries(),
        heads: Vec::new(),
    };
    let mut tree = Tree::new();
    let mut state = WitnessState::default();
    for size in SIZES {
        let old = tree.size();
        for entry in log.entries.iter().take(size as usize).skip(old as usize) {
            tree.push(leaf_hash(entry));
        }
        write_tiles(dir, &tree, &log.entries, old)?;
        let head = Checkpoint::new(log.key.name(), size, tree.root())?.sign(&signer)?;
        let head = cosign(head, &mut state, &tree, &log.key, &cosigners)?;
        let head = head_of(&tree, &head, &SAMPLES, &log.heads)?;
        log.heads.push(head);
    }
    Ok(log)
}

/// Writes what a log must write when it has grown from `old` entries.
pub(crate) fn write_tiles(dir: &Path, tree: &Tree, entries: &[Vec<u8>], old: u64) -> Result<()> {
    for path in tiles::new_tiles(old, tree.size()) {
        let content = match path.kind() {
            TileKind::Hashes(_) => tiles::tile_content(tree, &path)?,
            TileKind::Entries => {
                let start = path.start().context("beyond every log")? as usize;
                let entries = entries.iter().skip(start).take(path.width().into());
                tiles::encode_bundle(entries.map(Vec::as_slice))?
            }
        };
        let file = dir.join(path.to_string());
        std::fs::create_dir_all(file.parent().context("a file is in a directory")?)?;
        std::fs::write(file, content)?;
    }
    Ok(())
}

/// Has the witnesses apply their rule to a grown log.
fn cosign(
    mut head: SignedCheckpoint,
    state: &mut WitnessState,
    tree: &Tree,
    log: &VerifierKey,
    cosigners: &[Cosigner],
) -> Result<SignedCheckpoint> {
    let proof = tree.consistency_proof(state.size, tree.size())?;
    let note = head.note().to_string();
    let accepted = consider(state, log, state.size, &proof, &note)?;
    for (cosigner, later) in cosigners.iter().zip(0..) {
        let line = cosigner.cosign(&accepted, TIME_S + later)?;
        cosignature::add(&mut head, cosigner.verifier_key(), line)?;
    }
    *state = accepted.state();
    Ok(head)
}

fn plain(hashes: &[Digest]) -> Vec<Bytes> {
    hashes.iter().map(|hash| Bytes(hash.0.to_vec())).collect()
}

/// What a log of this tree shows of itself: proofs of these indices, and with these earlier sizes.
pub(crate) fn head_of(
    tree: &Tree,
    head: &SignedCheckpoint,
    samples: &[u64],
    earlier: &[Head],
) -> Result<Head> {
    let size = tree.size();
    let (mut proofs, mut inclusions) = (Vec::new(), Vec::new());
    for index in samples.iter().copied().filter(|index| *index < size) {
        let hashes = tree.inclusion_proof(index, size)?;
        inclusions.push(InclusionProof {
            index,
            hashes: plain(&hashes),
        });
        let proof = TlogProof::new(index, hashes, head.note().clone())?;
        proofs.push(Bytes(proof.to_string().into_bytes()));
    }
    let consistencies = earlier.iter().map(|earlier| {
        let old = earlier.size;
        let hashes = plain(&tree.consistency_proof(old, size)?);
        Ok(ConsistencyProof { old, hashes })
    });
    Ok(Head {
        size,
        checkpoint: Bytes(head.note().to_string().into_bytes()),
        proofs,
        inclusions,
        consistencies: Some(consistencies.collect::<Result<_>>()?),
    })
}

#[derive(Serialize)]
struct Settings<'a> {
    dir: &'a Path,
    log_key: String,
    log_private_key: String,
    policy: String,
    policy_keys: Vec<String>,
    witnesses: Vec<String>,
    entries: Vec<Bytes>,
    sizes: &'a [u64],
    samples: &'a [u64],
}

#[derive(Deserialize)]
struct Grown {
    witnesses: Vec<GoKey>,
    heads: Vec<Head>,
}

#[derive(Deserialize)]
struct GoKey {
    key: String,
    seed: Bytes,
}

/// A log by Tessera's POSIX driver, whose checkpoints witnesses of Passerelle cosign over HTTP,
/// and then witnesses by Go's libraries. Also: what the first witness of Passerelle was asked.
pub(crate) fn grow_theirs(go: &Go, dir: &Path) -> Result<(Log, Vec<Answered>)> {
    let (log_seed, seeds) = ([0x31; 32], seeds(0x40, 3));
    let key = Signer::new("tessera.example/essai", SigningKey::from_seed(&log_seed))?;
    let key = key.verifier_key().clone();
    let names = (0..)
        .zip(&seeds)
        .map(|(n, seed)| (format!("asked-{n}.essai"), *seed));
    let asked = Witnesses::serve(&key, &names.collect::<Vec<_>>())?;
    let entries = entries();
    let private = STANDARD.encode([&[1][..], &log_seed].concat());
    let id = u32::from_be_bytes(key.id());
    let settings = Settings {
        dir,
        log_key: key.to_string(),
        log_private_key: format!("PRIVATE+KEY+{}+{id:08x}+{private}", key.name()),
        policy: policy(&key, &asked),
        policy_keys: asked.keys.iter().map(VerifierKey::to_string).collect(),
        witnesses: (0..2).map(|n| format!("go-{n}.example")).collect(),
        entries: entries.iter().cloned().map(Bytes).collect(),
        sizes: &SIZES,
        samples: &SAMPLES,
    };
    let grown: Grown = serde_json::from_slice(&go.run("grow", &serde_json::to_vec(&settings)?)?)?;
    ensure!(grown.heads.len() == SIZES.len(), "not all sizes were made");
    let (answered, conflicts) = asked.answered()?;
    ensure!(conflicts == 0, "{conflicts} conflicts without a cause");
    let mut signers: Vec<_> = seeds.iter().map(dalek).collect();
    for key in &grown.witnesses {
        let seed = key
            .seed
            .0
            .as_slice()
            .try_into()
            .context("a seed of 32 bytes")?;
        signers.push(dalek(&seed));
    }
    let theirs = grown.witnesses.into_iter().map(|key| key.key);
    let log = Log {
        maker: Side::Theirs,
        name: "Tessera's POSIX log".to_owned(),
        dir: dir.to_owned(),
        key,
        witnesses: settings.policy_keys.into_iter().chain(theirs).collect(),
        keys: Keys {
            log: dalek(&log_seed),
            witnesses: signers,
        },
        entries,
        heads: grown.heads,
    };
    Ok((log, answered))
}

/// The policy in the form of tlog-policy: all of them must cosign.
fn policy(log: &VerifierKey, asked: &Witnesses) -> String {
    let mut text = format!("log {log}\n");
    let mut names = Vec::new();
    for ((key, url), n) in asked.keys.iter().zip(&asked.urls).zip(0..) {
        let name = format!("w{n}");
        text.push_str(&format!("witness {name} {key} {url}\n"));
        names.push(name);
    }
    let names = names.join(" ");
    text + &format!("group all-of-them all {names}\nquorum all-of-them\n")
}

impl Log {
    fn base(&self, name: String, case: Case) -> Base {
        Base {
            maker: self.maker,
            name: format!("{}: {name}", self.name),
            case,
            keys: self.keys.clone(),
        }
    }

    fn keyed(&self, kind: Kind) -> Case {
        Case::new(kind)
            .with("log_key", self.key.to_string())
            .with("witness_keys", self.witnesses.join("\n"))
    }

    /// The keys, as both sides must read them, with what they have signed.
    pub(crate) fn key_bases(&self) -> Result<Vec<Base>> {
        let head = self.heads.last().context("no head")?;
        let log = Case::new(Kind::LogKey)
            .with("key", self.key.to_string())
            .with("note", self.signed_alone(&head.checkpoint.0)?);
        let log = self.base(Kind::LogKey.name().to_owned(), log);
        let witnesses = self.witnesses.iter().map(|key| {
            let case = Case::new(Kind::WitnessKey)
                .with("key", key)
                .with("log_key", self.key.to_string())
                .with("note", &head.checkpoint.0);
            self.base(format!("{} {key}", Kind::WitnessKey.name()), case)
        });
        Ok(std::iter::once(log).chain(witnesses).collect())
    }

    /// Everything that both sides must accept of this log at one size.
    pub(crate) fn bases(&self, head: &Head) -> Result<Vec<Base>> {
        let at = |kind: Kind| format!("{} at {}", kind.name(), head.size);
        let note = &head.checkpoint.0;
        let signed = self.signed_alone(note)?;
        let cosigned = self.keyed(Kind::Cosigned).with("note", note);
        let mut tiles = self.keyed(Kind::Tiles).with("note", &signed);
        tiles.parts.remove("witness_keys");
        let tiles = tiles.with("dir", self.dir.to_str().context("a path that is not text")?);
        let consistencies: Vec<_> = head.consistencies.iter().flatten().collect();
        let out = tiles
            .of(Kind::TileProofs)
            .with("inclusions", serde_json::to_vec(&head.inclusions)?)
            .with("consistencies", serde_json::to_vec(&consistencies)?);
        let checkpoint = Case::new(Kind::Checkpoint)
            .with("log_key", self.key.to_string())
            .with("note", &signed);
        let mut bases: Vec<_> = [checkpoint, cosigned, tiles, out]
            .into_iter()
            .map(|case| self.base(at(case.kind), case))
            .collect();
        let root = self.root(head)?;
        for (inclusion, proof) in head.inclusions.iter().zip(&head.proofs) {
            let index = inclusion.index;
            let entry = self.entries.get(index as usize).context("no such entry")?;
            let case = Case::new(Kind::Inclusion)
                .with("entry", entry)
                .with("index", index.to_string())
                .with("size", head.size.to_string())
                .with("root", root.0)
                .with("hashes", concat(&inclusion.hashes));
            bases.push(self.base(format!("{} of {index}", at(case.kind)), case));
            let case = self
                .keyed(Kind::Proof)
                .with("entry", entry)
                .with("proof", &proof.0);
            bases.push(self.base(format!("{} of {index}", at(case.kind)), case));
        }
        for consistency in head.consistencies.iter().flatten() {
            let old = consistency.old;
            let earlier = self.heads.iter().find(|head| head.size == old);
            let case = Case::new(Kind::Consistency)
                .with("old_size", old.to_string())
                .with("old_root", self.root(earlier.context("no such head")?)?.0)
                .with("new_size", head.size.to_string())
                .with("new_root", root.0)
                .with("hashes", concat(&consistency.hashes));
            bases.push(self.base(format!("{} from {old}", at(case.kind)), case));
        }
        Ok(bases)
    }

    /// The checkpoint with the log's own signature only.
    fn signed_alone(&self, note: &[u8]) -> Result<String> {
        let note = std::str::from_utf8(note)?;
        let (text, lines) = note.rsplit_once("\n\n").context("not a note")?;
        let own = format!("— {} ", self.key.name());
        let mut lines = lines.lines().filter(|line| line.starts_with(&own));
        let line = lines.next().context("the log has not signed")?;
        Ok(format!("{text}\n\n{line}\n"))
    }

    fn root(&self, head: &Head) -> Result<Digest> {
        let note = std::str::from_utf8(&head.checkpoint.0)?;
        let signed = passerelle_audit::checkpoint::open(note, &self.key)?;
        Ok(signed.checkpoint().root())
    }
}

fn concat(hashes: &[Bytes]) -> Vec<u8> {
    hashes
        .iter()
        .flat_map(|hash| hash.0.iter().copied())
        .collect()
}
