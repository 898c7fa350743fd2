//! C2SP tlog-proof v1: an offline proof that an entry is in a witnessed log.
//!
//! In scope: strict parse and serialise, verification up to a [`VerifiedInclusion`].
//! Out of scope: which log and witnesses to trust, how fresh the checkpoint must be, what the
//! entry says. The extra data is not authenticated and is never used here.

use crate::checkpoint::{Checkpoint, CheckpointError, open_note};
use crate::cosignature::{CosignatureError, Cosigned, cosigned_by};
use crate::merkle::{MAX_PROOF_HASHES, MerkleError, leaf_hash, verify_inclusion};
use crate::note::{MAX_NOTE_BYTES, Note, VerifierKey};
use crate::text;
use passerelle_model::bytes::Digest;
use std::{fmt, str::FromStr};

#[cfg(test)]
mod tests;

/// Most bytes of extra data, before base64.
pub const MAX_EXTRA_BYTES: usize = 16 * 1024;
/// Largest proof in bytes.
pub const MAX_TLOG_PROOF_BYTES: usize =
    128 + MAX_EXTRA_BYTES / 3 * 4 + MAX_PROOF_HASHES * 45 + MAX_NOTE_BYTES;

const HEADER: &str = "c2sp.org/tlog-proof@v1\n";

/// Why a proof does not parse or does not convince.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlogProofError {
    /// Not in the format, or not in its one spelling.
    #[error("not a log proof")]
    Malformed,
    /// The checkpoint is not by the expected log.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A known witness's cosignature does not verify.
    #[error(transparent)]
    Cosignature(#[from] CosignatureError),
    /// Too few known witnesses have cosigned, or the caller asked for none.
    #[error("{found} witnesses have cosigned, {needed} are needed")]
    NoQuorum {
        /// Distinct known witnesses with a valid cosignature.
        found: usize,
        /// How many there must be; zero is never satisfied.
        needed: usize,
    },
    /// The proof is about another checkpoint than the one that it is held against.
    #[error("the proof is about another checkpoint")]
    OtherCheckpoint,
    /// The entry is not at this index of the checkpoint's tree.
    #[error(transparent)]
    Inclusion(#[from] MerkleError),
}

/// A checkpoint that the log signed and enough witnesses cosigned: only [`Witnessed::verify`]
/// makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witnessed {
    note: Note,
    checkpoint: Checkpoint,
    cosigned_by: Vec<Cosigned>,
}

impl Witnessed {
    /// Checks that the log with the key `log` signed the checkpoint in `note`, and that at least
    /// `quorum` distinct ones of `witnesses` have cosigned it. A quorum of zero is never met.
    pub fn verify(
        note: Note,
        log: &VerifierKey,
        witnesses: &[VerifierKey],
        quorum: usize,
    ) -> Result<Self, TlogProofError> {
        let signed = open_note(note, log)?;
        let cosigned_by = cosigned_by(&signed, witnesses)?;
        if quorum == 0 || cosigned_by.len() < quorum {
            return Err(TlogProofError::NoQuorum {
                found: cosigned_by.len(),
                needed: quorum,
            });
        }
        Ok(Self {
            note: signed.note().clone(),
            checkpoint: signed.checkpoint().clone(),
            cosigned_by,
        })
    }

    /// The note, with all its signatures.
    pub fn note(&self) -> &Note {
        &self.note
    }

    /// Whether this witness, by its key, is among those who were found.
    pub fn is_cosigned_by(&self, witness: &VerifierKey) -> bool {
        self.cosigned_by.iter().any(|c| c.witness() == witness)
    }
}

/// A proof as it travels: nothing in it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    extra: Option<Vec<u8>>,
    index: u64,
    hashes: Vec<Digest>,
    checkpoint: Note,
}

impl TlogProof {
    /// Puts a proof together: the entry's index, its inclusion proof (see
    /// [`crate::merkle::Tree::inclusion_proof`]) and the cosigned checkpoint note.
    pub fn new(index: u64, hashes: Vec<Digest>, checkpoint: Note) -> Result<Self, TlogProofError> {
        if hashes.len() > MAX_PROOF_HASHES || Checkpoint::parse(checkpoint.text()).is_err() {
            return Err(TlogProofError::Malformed);
        }
        Ok(Self {
            extra: None,
            index,
            hashes,
            checkpoint,
        })
    }

    /// The same proof with unauthenticated extra data: 1 to [`MAX_EXTRA_BYTES`] bytes.
    pub fn with_extra(self, extra: Vec<u8>) -> Result<Self, TlogProofError> {
        if extra.is_empty() || extra.len() > MAX_EXTRA_BYTES {
            return Err(TlogProofError::Malformed);
        }
        Ok(Self {
            extra: Some(extra),
            ..self
        })
    }

    /// Parses a proof.
    pub fn parse(proof: &str) -> Result<Self, TlogProofError> {
        Self::parse_strict(proof).ok_or(TlogProofError::Malformed)
    }

    /// The extra data, which nobody vouches for.
    pub fn unauthenticated_extra(&self) -> Option<&[u8]> {
        self.extra.as_deref()
    }

    /// The index that the entry is claimed to have, from zero.
    pub fn claimed_index(&self) -> u64 {
        self.index
    }

    /// The checkpoint note, unverified.
    pub fn checkpoint_note(&self) -> &Note {
        &self.checkpoint
    }

    /// Checks that the log with the key `log` has the bytes of `entry` at the index, in a tree
    /// that at least `quorum` distinct ones of `witnesses` have cosigned.
    ///
    /// `quorum` is usually [`crate::witness::quorum`] of the number of witnesses.
    pub fn verify(
        &self,
        entry: &[u8],
        log: &VerifierKey,
        witnesses: &[VerifierKey],
        quorum: usize,
    ) -> Result<VerifiedInclusion, TlogProofError> {
        let witnessed = Witnessed::verify(self.checkpoint.clone(), log, witnesses, quorum)?;
        self.verify_in(&witnessed, entry)
    }

    /// As [`TlogProof::verify`], in a checkpoint that was verified before: many proofs come with
    /// one checkpoint, whose signatures are by far the dearest part.
    pub fn verify_in(
        &self,
        witnessed: &Witnessed,
        entry: &[u8],
    ) -> Result<VerifiedInclusion, TlogProofError> {
        if self.checkpoint.text() != witnessed.note.text() {
            return Err(TlogProofError::OtherCheckpoint);
        }
        let checkpoint = witnessed.checkpoint.clone();
        let leaf = leaf_hash(entry);
        let root = checkpoint.root();
        verify_inclusion(&leaf, self.index, checkpoint.size(), &self.hashes, &root)?;
        Ok(VerifiedInclusion {
            index: self.index,
            leaf,
            checkpoint,
            cosigned_by: witnessed.cosigned_by.clone(),
        })
    }

    fn parse_strict(proof: &str) -> Option<Self> {
        if proof.len() > MAX_TLOG_PROOF_BYTES {
            return None;
        }
        let rest = proof.strip_prefix(HEADER)?;
        let (extra, rest) = match rest.strip_prefix("extra ") {
            Some(rest) => {
                let (extra, rest) = rest.split_once('\n')?;
                (Some(text::base64_decode(extra)?), rest)
            }
            None => (None, rest),
        };
        let (index, rest) = rest.strip_prefix("index ")?.split_once('\n')?;
        let index = text::decimal(index)?;
        let (hashes, checkpoint) = match rest.strip_prefix('\n') {
            Some(checkpoint) => (Vec::new(), checkpoint),
            None => {
                let (lines, after) = rest.split_at_checked(rest.find("\n\n")? + 1)?;
                (
                    text::hash_lines(lines, MAX_PROOF_HASHES)?,
                    after.strip_prefix('\n')?,
                )
            }
        };
        let proof = Self::new(index, hashes, Note::parse(checkpoint).ok()?).ok()?;
        match extra {
            Some(extra) => proof.with_extra(extra).ok(),
            None => Some(proof),
        }
    }
}

/// The text form, as [`TlogProof::parse`] reads it.
impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEADER)?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", text::base64_encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        for hash in &self.hashes {
            writeln!(f, "{}", text::base64_encode(&hash.0))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for TlogProof {
    type Err = TlogProofError;

    fn from_str(proof: &str) -> Result<Self, TlogProofError> {
        Self::parse(proof)
    }
}

/// Proof that an entry is in a witnessed log: only [`TlogProof::verify`] makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedInclusion {
    index: u64,
    leaf: Digest,
    checkpoint: Checkpoint,
    cosigned_by: Vec<Cosigned>,
}

impl VerifiedInclusion {
    /// The entry's place in the log, from zero.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The leaf hash of the entry that was verified.
    pub fn leaf(&self) -> Digest {
        self.leaf
    }

    /// The checkpoint whose tree has the entry.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The known witnesses that cosigned the checkpoint, and when.
    pub fn cosigned_by(&self) -> &[Cosigned] {
        &self.cosigned_by
    }

    /// Whether this witness, by its key, is among them. A receiver asks for its own.
    pub fn is_cosigned_by(&self, witness: &VerifierKey) -> bool {
        self.cosigned_by
            .iter()
            .any(|cosigned| cosigned.witness() == witness)
    }
}
