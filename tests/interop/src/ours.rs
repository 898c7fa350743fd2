//! Passerelle's verdict on a case: the product's own code, nothing else.

use crate::{
    case::{Case, Kind, Verdict},
    files,
};
use passerelle_audit::{
    checkpoint::{self, SignedCheckpoint},
    cosignature,
    merkle::{self, Tree},
    note::{SignatureType, VerifierKey},
    tiles::{self, TileKind, TilePath},
    tlog_proof::TlogProof,
    witness::{AddCheckpoint, WitnessState},
};
use passerelle_model::bytes::Digest;
use serde::{Deserialize, Serialize};

/// Judges a case.
pub(crate) fn judge(case: &Case) -> Verdict {
    meaning(case).into()
}

fn meaning(case: &Case) -> Result<String, String> {
    match case.kind {
        Kind::LogKey => key_meaning(case, SignatureType::Ed25519),
        Kind::WitnessKey => key_meaning(case, SignatureType::CosignatureV1),
        Kind::Checkpoint | Kind::Cosigned => Ok(open(case)?.1),
        Kind::Inclusion => inclusion(case),
        Kind::Consistency => consistency(case),
        Kind::Proof => proof(case),
        Kind::Tiles => Ok(read_tiles(case)?.1),
        Kind::TileProofs => tile_proofs(case),
        Kind::Request => request(case),
    }
}

fn say(error: impl ToString) -> String {
    error.to_string()
}

fn key_meaning(case: &Case, kind: SignatureType) -> Result<String, String> {
    let key: VerifierKey = case.text("key")?.parse().map_err(say)?;
    if key.kind() != kind {
        return Err("a key of another kind".to_owned());
    }
    // It must open what it is said to have signed.
    let log = match kind {
        SignatureType::Ed25519 => key.clone(),
        _ => log_key(case)?,
    };
    let signed = checkpoint::open(case.text("note")?, &log).map_err(say)?;
    if kind == SignatureType::CosignatureV1 {
        cosignature::verify(&signed, &key).map_err(say)?;
    }
    Ok(named(&key))
}

fn named(key: &VerifierKey) -> String {
    let id = u32::from_be_bytes(key.id());
    format!("{}|{id:08x}", key.name())
}

fn log_key(case: &Case) -> Result<VerifierKey, String> {
    case.text("log_key")?.parse().map_err(say)
}

/// The keys of witnesses, one a line.
fn witnesses(case: &Case) -> Result<Vec<VerifierKey>, String> {
    let lines = case.text("witness_keys")?.lines();
    lines.map(|key| key.parse().map_err(say)).collect()
}

fn open(case: &Case) -> Result<(SignedCheckpoint, String), String> {
    let signed = checkpoint::open(case.text("note")?, &log_key(case)?).map_err(say)?;
    let witnesses = witnesses(case)?;
    let cosigned = cosignature::cosigned_by(&signed, &witnesses).map_err(say)?;
    if cosigned.len() != witnesses.len() {
        return Err("not all have cosigned".to_owned());
    }
    let meaning = checkpoint_meaning(&signed, &cosigned);
    Ok((signed, meaning))
}

fn checkpoint_meaning(signed: &SignedCheckpoint, cosigned: &[cosignature::Cosigned]) -> String {
    let head = signed.checkpoint();
    let mut cosigned: Vec<_> = cosigned
        .iter()
        .map(|by| format!("{}@{}", by.witness().name(), by.time_s()))
        .collect();
    cosigned.sort();
    let (origin, size, root) = (head.origin(), head.size(), head.root());
    format!("{origin}|{size}|{root}|{}", cosigned.join(","))
}

fn digest(bytes: &[u8]) -> Result<Digest, String> {
    Digest::from_slice(bytes).ok_or_else(|| "not a hash".to_owned())
}

fn hashes(case: &Case) -> Result<Vec<Digest>, String> {
    case.part("hashes").chunks(32).map(digest).collect()
}

fn inclusion(case: &Case) -> Result<String, String> {
    let leaf = merkle::leaf_hash(case.part("entry"));
    let (index, size) = (case.number("index")?, case.number("size")?);
    let root = digest(case.part("root"))?;
    merkle::verify_inclusion(&leaf, index, size, &hashes(case)?, &root).map_err(say)?;
    Ok("included".to_owned())
}

fn consistency(case: &Case) -> Result<String, String> {
    let (old, new) = (case.number("old_size")?, case.number("new_size")?);
    let (old_root, new_root) = (
        digest(case.part("old_root"))?,
        digest(case.part("new_root"))?,
    );
    merkle::verify_consistency(old, &old_root, new, &new_root, &hashes(case)?).map_err(say)?;
    Ok("consistent".to_owned())
}

fn proof(case: &Case) -> Result<String, String> {
    let proof: TlogProof = case.text("proof")?.parse().map_err(say)?;
    let (log, witnesses) = (log_key(case)?, witnesses(case)?);
    let verified = proof
        .verify(case.part("entry"), &log, &witnesses, witnesses.len())
        .map_err(say)?;
    let signed = checkpoint::open_note(proof.checkpoint_note().clone(), &log).map_err(say)?;
    let head = checkpoint_meaning(&signed, verified.cosigned_by());
    let extra = proof.unauthenticated_extra().unwrap_or_default();
    let extra: String = extra.iter().map(|byte| format!("{byte:02x}")).collect();
    let (index, leaf) = (verified.index(), verified.leaf());
    Ok(format!("{index}|{leaf}|{extra}|{head}"))
}

/// Reads a log out of its files and compares each of them with the tree over the entries.
fn read_tiles(case: &Case) -> Result<(Tree, String), String> {
    let overlay = files::overlay(case)?;
    let (signed, meaning) = open(case)?;
    let head = signed.checkpoint();
    let read = |path: &TilePath| files::read(case, &overlay, &path.to_string());
    let mut tree = Tree::new();
    // Bundles come first, so that the tree is there when tiles are compared with it.
    for path in tiles::new_tiles(0, head.size()) {
        let content = read(&path)?;
        if path.kind() == TileKind::Entries {
            let entries = tiles::decode_bundle(&content, path.width());
            for entry in entries.map_err(|error| format!("`{path}`: {error}"))? {
                tree.push(merkle::leaf_hash(entry));
            }
        } else {
            tiles::decode_tile(&content, path.width()).map_err(say)?;
            if tiles::tile_content(&tree, &path).map_err(say)? != content {
                return Err(format!("`{path}` is not that of the entries"));
            }
        }
    }
    if tree.size() != head.size() || tree.root() != head.root() {
        return Err("the root over the entries is not the checkpoint's".to_owned());
    }
    Ok((tree, meaning))
}

/// An inclusion proof as it was made from a log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct InclusionProof {
    /// Of this entry.
    pub(crate) index: u64,
    /// Leaf side first.
    pub(crate) hashes: Vec<passerelle_model::bytes::Bytes>,
}

/// A consistency proof as it was made from a log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ConsistencyProof {
    /// With the tree of this size.
    pub(crate) old: u64,
    /// In the order of RFC 6962.
    pub(crate) hashes: Vec<passerelle_model::bytes::Bytes>,
}

fn tile_proofs(case: &Case) -> Result<String, String> {
    let (tree, meaning) = read_tiles(case)?;
    let inclusions: Vec<InclusionProof> =
        serde_json::from_slice(case.part("inclusions")).map_err(say)?;
    let consistencies: Vec<ConsistencyProof> =
        serde_json::from_slice(case.part("consistencies")).map_err(say)?;
    let same = |made: Vec<Digest>, given: &[passerelle_model::bytes::Bytes]| {
        made.iter()
            .map(|hash| &hash.0[..])
            .eq(given.iter().map(|hash| &hash.0[..]))
    };
    for given in inclusions {
        let made = tree.inclusion_proof(given.index, tree.size());
        if !same(made.map_err(say)?, &given.hashes) {
            return Err(format!("another proof of inclusion of {}", given.index));
        }
    }
    for given in consistencies {
        let made = tree.consistency_proof(given.old, tree.size());
        if !same(made.map_err(say)?, &given.hashes) {
            return Err(format!("another proof of consistency with {}", given.old));
        }
    }
    Ok(meaning)
}

/// What a witness that has seen `state_size` and `state_root` says of a request.
fn request(case: &Case) -> Result<String, String> {
    let request: AddCheckpoint = case.text("request")?.parse().map_err(say)?;
    let state = WitnessState {
        size: case.number("state_size")?,
        root: digest(case.part("state_root"))?,
    };
    let accepted = request.consider(&state, &log_key(case)?).map_err(say)?;
    Ok(format!(
        "{}|{}",
        accepted.state().size,
        accepted.state().root
    ))
}
