//! Proof that a log signed two checkpoints which no honest log can both sign: one text file that
//! convinces whoever knows the log's key.
//!
//! In scope: the format, the check, and making a proof out of two checkpoints and the hashes of
//! the larger tree. Out of scope: which key is the log's (the caller knows it, never the file),
//! who was shown which checkpoint, and what to do about it.
//!
//! # What convinces
//! A consistency proof that fails convinces nobody: anyone can write down wrong hashes. This proof
//! shows two roots instead. Its hashes lead to the *larger* checkpoint's root, exactly, and they
//! lead to a root for the smaller size that is *not* the smaller checkpoint's. Whoever knew entries
//! under both checkpoints, the smaller's a prefix of the larger's, would with these hashes have a
//! collision of SHA-256. For equal sizes, two roots are enough.
//!
//! # Format
//! In the manner of C2SP tlog-proof, every line ended by a newline, in one spelling:
//!
//! ```text
//! passerelle/fork-proof@v1
//! <hash in base64, none or more>
//!
//! <checkpoint note of the smaller size>
//!
//! <checkpoint note of the larger size>
//! ```
//!
//! Each note is a C2SP tlog-checkpoint with exactly one signature line, the log's. Of equal sizes
//! the smaller root comes first. The hashes are those of the consistency proof of RFC 6962,
//! section 2.1.2, but the first is always there: RFC 6962 leaves it out where the smaller size is a
//! power of two, because it is then the smaller root, and that root is what is in doubt here. For
//! equal sizes, and from size zero, whose one root is known, there are no hashes.

use crate::checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint, open_note};
use crate::merkle::{HashRead, MAX_PROOF_HASHES, MerkleError, empty_root, roots_from};
use crate::note::{MAX_NOTE_BYTES, Note, NoteError, VerifierKey};
use crate::text;
use passerelle_model::bytes::Digest;
use std::{fmt, str::FromStr};

#[cfg(test)]
mod tests;

/// The first line, with its newline.
const HEADER: &str = "passerelle/fork-proof@v1\n";

/// Most hashes: those of a consistency proof, and the one that such a proof may leave out.
const MAX_HASHES: usize = MAX_PROOF_HASHES + 1;

/// Largest proof in bytes.
pub const MAX_FORK_PROOF_BYTES: usize = 64 + MAX_HASHES * 45 + 2 * (MAX_NOTE_BYTES + 1);

/// Why something is no proof of a fork.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForkError {
    /// Not in the format, or not in its one spelling.
    #[error("not a proof of a fork")]
    Malformed,
    /// A checkpoint is not by the log with this key.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A note can't be put together.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The hashes do not fit the two sizes, or can't be read.
    #[error(transparent)]
    Merkle(#[from] MerkleError),
    /// The hashes do not lead to the root of the larger checkpoint, so they say nothing about it.
    #[error("the hashes do not lead to the root of the larger checkpoint")]
    OtherTree,
    /// The two checkpoints are of one log that only grew.
    #[error("the two checkpoints agree with each other")]
    Consistent,
}

/// A proof as it travels: nothing in it is verified before [`ForkProof::check`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForkProof {
    hashes: Vec<Digest>,
    smaller: Note,
    larger: Note,
}

/// Two checkpoints that contradict each other, both signed by the log: only [`ForkProof::check`]
/// makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fork {
    smaller: Checkpoint,
    larger: Checkpoint,
    implied_root: Digest,
}

impl Fork {
    /// The one of the smaller size or, of equal sizes, of the smaller root.
    pub fn smaller(&self) -> &Checkpoint {
        &self.smaller
    }

    /// The other.
    pub fn larger(&self) -> &Checkpoint {
        &self.larger
    }

    /// The root that the larger tree has at the smaller size, and the smaller checkpoint has not.
    pub fn implied_root(&self) -> Digest {
        self.implied_root
    }
}

impl ForkProof {
    /// Makes a proof out of two checkpoints of one log, in either order. `tree` holds the hashes of
    /// the larger one; for equal sizes it is not asked.
    ///
    /// # Errors
    /// [`ForkError::Consistent`] if they agree, [`ForkError::OtherTree`] if `tree` is not the
    /// larger's, [`ForkError::Checkpoint`] for checkpoints of two logs, [`ForkError::Merkle`] if
    /// hashes can't be read.
    pub fn of(
        one: &SignedCheckpoint,
        other: &SignedCheckpoint,
        log: &VerifierKey,
        tree: &impl HashRead,
    ) -> Result<Self, ForkError> {
        let (smaller, larger) = in_order(one, other);
        let (old, new) = (smaller.checkpoint().size(), larger.checkpoint().size());
        let mut hashes = Vec::new();
        if 0 < old && old < new {
            if tree.root_at(new)? != larger.checkpoint().root() {
                return Err(ForkError::OtherTree);
            }
            if old.is_power_of_two() {
                let first = tree.complete(old.trailing_zeros(), 0);
                hashes.push(first.ok_or(MerkleError::Missing)?);
            }
            hashes.extend(tree.consistency_proof(old, new)?);
        }
        Self::with_hashes(one, other, log, hashes)
    }

    /// As [`ForkProof::of`], for who has not the tree but these hashes, in the order of the format.
    /// A witness has them if the log itself sent a proof that leads to the larger root; where the
    /// smaller size is a power of two, such a proof lacks the first.
    ///
    /// # Errors
    /// As [`ForkProof::check`].
    pub fn with_hashes(
        one: &SignedCheckpoint,
        other: &SignedCheckpoint,
        log: &VerifierKey,
        hashes: Vec<Digest>,
    ) -> Result<Self, ForkError> {
        let (smaller, larger) = in_order(one, other);
        let proof = Self {
            hashes,
            smaller: signed_by_log_alone(smaller.note(), log)?,
            larger: signed_by_log_alone(larger.note(), log)?,
        };
        proof.check(log).map(|_| proof)
    }

    /// Parses the format, and refuses every other spelling. Nothing is verified.
    ///
    /// # Errors
    /// [`ForkError::Malformed`].
    pub fn parse(proof: &str) -> Result<Self, ForkError> {
        let malformed = || ForkError::Malformed;
        if proof.len() > MAX_FORK_PROOF_BYTES {
            return Err(malformed());
        }
        let rest = proof.strip_prefix(HEADER).ok_or_else(malformed)?;
        // The text of a checkpoint has no empty line, and neither have signature lines.
        let (hashes, notes) = match rest.strip_prefix('\n') {
            Some(notes) => ("", notes),
            None => {
                let end = rest.find("\n\n").ok_or_else(malformed)?;
                let (hashes, notes) = rest.split_at_checked(end + 1).ok_or_else(malformed)?;
                (hashes, notes.strip_prefix('\n').ok_or_else(malformed)?)
            }
        };
        let parts: Vec<&str> = notes.split("\n\n").collect();
        let [text, signature, larger_text, larger_signature] = parts.as_slice() else {
            return Err(malformed());
        };
        let parsed = Self {
            hashes: text::hash_lines(hashes, MAX_HASHES).ok_or_else(malformed)?,
            smaller: note(&format!("{text}\n\n{signature}\n"))?,
            larger: note(&format!("{larger_text}\n\n{larger_signature}"))?,
        };
        // Whatever the steps above let through: what would be written is what was read.
        (parsed.to_string() == proof)
            .then_some(parsed)
            .ok_or_else(malformed)
    }

    /// Whether the log with this key signed two checkpoints that contradict each other. The key
    /// must come from elsewhere than the proof.
    ///
    /// # Errors
    /// [`ForkError`]: what is missing to a proof.
    pub fn check(&self, log: &VerifierKey) -> Result<Fork, ForkError> {
        let open = |note: &Note| match note.signatures() {
            [_] => Ok(open_note(note.clone(), log)?.checkpoint().clone()),
            _ => Err(ForkError::Malformed),
        };
        let (smaller, larger) = (open(&self.smaller)?, open(&self.larger)?);
        if order(&smaller) > order(&larger) {
            return Err(ForkError::Malformed);
        }
        let implied_root = self.implied_root(&smaller, &larger)?;
        if implied_root == smaller.root() {
            return Err(ForkError::Consistent);
        }
        Ok(Fork {
            smaller,
            larger,
            implied_root,
        })
    }

    /// The root at the smaller size in the tree under the larger checkpoint.
    fn implied_root(&self, smaller: &Checkpoint, larger: &Checkpoint) -> Result<Digest, ForkError> {
        let known = match smaller.size() {
            size if size == larger.size() => Some(larger.root()),
            0 => Some(empty_root()),
            _ => None,
        };
        match (known, self.hashes.split_first()) {
            (Some(root), None) => Ok(root),
            (None, Some((first, rest))) => {
                let (old, new) = roots_from(smaller.size(), larger.size(), first, rest)?;
                if new == larger.root() {
                    Ok(old)
                } else {
                    Err(ForkError::OtherTree)
                }
            }
            _ => Err(MerkleError::WrongLength.into()),
        }
    }
}

/// The file.
impl fmt::Display for ForkProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEADER)?;
        for hash in &self.hashes {
            writeln!(f, "{}", text::base64_encode(&hash.0))?;
        }
        write!(f, "\n{}\n{}", self.smaller, self.larger)
    }
}

impl FromStr for ForkProof {
    type Err = ForkError;

    fn from_str(proof: &str) -> Result<Self, ForkError> {
        Self::parse(proof)
    }
}

/// The smaller first.
fn in_order<'a>(
    one: &'a SignedCheckpoint,
    other: &'a SignedCheckpoint,
) -> (&'a SignedCheckpoint, &'a SignedCheckpoint) {
    if order(one.checkpoint()) <= order(other.checkpoint()) {
        (one, other)
    } else {
        (other, one)
    }
}

/// By size, then by root.
fn order(checkpoint: &Checkpoint) -> (u64, Digest) {
    (checkpoint.size(), checkpoint.root())
}

fn note(text: &str) -> Result<Note, ForkError> {
    let note = Note::parse(text).map_err(|_| ForkError::Malformed)?;
    match (note.signatures(), Checkpoint::parse(note.text())) {
        ([_], Ok(_)) => Ok(note),
        _ => Err(ForkError::Malformed),
    }
}

/// The note with the log's signature and no other: what others signed can't be checked with the
/// log's key, so it must not be in the proof.
fn signed_by_log_alone(note: &Note, log: &VerifierKey) -> Result<Note, ForkError> {
    let mut signatures = note.signatures().iter();
    let own = signatures.find(|signature| log.claims(signature)).cloned();
    Ok(Note::new(note.text(), own.into_iter().collect())?)
}
