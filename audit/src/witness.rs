//! C2SP tlog-witness v1.0.0, `add-checkpoint`: when a witness may cosign.
//!
//! In scope: the pure rule, the request body, the quorum.
//! Out of scope: transport, the clock, storage. **The caller must make check and persist one
//! step**: load the state, call [`consider`], store [`Accepted::state`] durably, only then cosign
//! and reply, with no other request for this log in between. Otherwise two requests can cross and
//! the witness rolls back, or signs a fork.
//!
//! A witness keeps one [`WitnessState`] per log and sees checkpoints and proofs, never entries.

use crate::checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint, open_note};
use crate::merkle::{MAX_PROOF_HASHES, empty_root, verify_consistency};
use crate::note::{MAX_NOTE_BYTES, Note, VerifierKey};
use crate::text;
use passerelle_model::bytes::Digest;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

#[cfg(test)]
mod tests;

/// Largest request body in bytes: the old size, all proof lines and the largest note.
pub const MAX_REQUEST_BYTES: usize = 32 + MAX_PROOF_HASHES * 45 + MAX_NOTE_BYTES;

/// The latest checkpoint of one log that the witness accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessState {
    /// Number of leaves.
    pub size: u64,
    /// The root over them.
    pub root: Digest,
}

/// The state before the first checkpoint: the empty tree.
impl Default for WitnessState {
    fn default() -> Self {
        Self {
            size: 0,
            root: empty_root(),
        }
    }
}

/// Why a witness refuses. Nothing is signed and the state stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WitnessError {
    /// The request or the checkpoint in it does not parse.
    #[error("the request is malformed")]
    Malformed,
    /// The witness does not follow this log.
    #[error("the witness does not follow the log `{0}`")]
    UnknownOrigin(String),
    /// The log has not signed this, or a signature in its name is wrong.
    #[error("the log's signature is missing or does not verify")]
    BadSignature,
    /// The request is about a tree that shrank.
    #[error("the old size is above the size of the checkpoint")]
    OldTooLarge,
    /// The sender does not know what the witness accepted last. That is not an attack: it asks
    /// again from this size.
    #[error("the witness is at size {size}")]
    Conflict {
        /// The size that the witness accepted last, in leaves.
        size: u64,
    },
    /// The new tree does not extend the old one: a fork, or a wrong proof.
    #[error("the consistency proof does not verify")]
    BadProof,
    /// Two roots for one size: a fork, provable by the two signed checkpoints.
    #[error("the log signed two roots for one size")]
    SameSizeDifferentRoot,
}

impl WitnessError {
    /// The HTTP status that tlog-witness gives to this refusal.
    pub fn http_status(&self) -> u16 {
        match self {
            Self::Malformed | Self::OldTooLarge => 400,
            Self::BadSignature => 403,
            Self::UnknownOrigin(_) => 404,
            Self::Conflict { .. } => 409,
            Self::BadProof | Self::SameSizeDifferentRoot => 422,
        }
    }
}

/// Proof that the rule allows to cosign: only [`consider`] makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    state: WitnessState,
    checkpoint: SignedCheckpoint,
}

impl Accepted {
    /// What to store durably before the cosignature leaves.
    pub fn state(&self) -> WitnessState {
        self.state
    }

    /// The checkpoint to cosign.
    pub fn checkpoint(&self) -> &SignedCheckpoint {
        &self.checkpoint
    }
}

/// Decides on a checkpoint note of the log with the key `log`, given what was accepted last.
///
/// The order of the checks is that of tlog-witness, so the HTTP status is the specified one.
pub fn consider(
    state: &WitnessState,
    log: &VerifierKey,
    old_size: u64,
    proof: &[Digest],
    checkpoint_note: &str,
) -> Result<Accepted, WitnessError> {
    let note = Note::parse(checkpoint_note).map_err(|_| WitnessError::Malformed)?;
    let signed = open_note(note, log).map_err(|error| match error {
        CheckpointError::Malformed => WitnessError::Malformed,
        CheckpointError::OtherOrigin(origin) => WitnessError::UnknownOrigin(origin),
        CheckpointError::Note(_) => WitnessError::BadSignature,
    })?;
    let (new_size, new_root) = (signed.checkpoint().size(), signed.checkpoint().root());
    if old_size > new_size {
        return Err(WitnessError::OldTooLarge);
    }
    if old_size != state.size {
        return Err(WitnessError::Conflict { size: state.size });
    }
    if old_size == new_size && old_size > 0 && state.root != new_root {
        return Err(WitnessError::SameSizeDifferentRoot);
    }
    // Covers the rest: a proof that must be empty, and the root of the empty tree.
    verify_consistency(state.size, &state.root, new_size, &new_root, proof)
        .map_err(|_| WitnessError::BadProof)?;
    let state = WitnessState {
        size: new_size,
        root: new_root,
    };
    Ok(Accepted {
        state,
        checkpoint: signed,
    })
}

/// How many of `witnesses` witnesses must have cosigned before a checkpoint is trusted:
/// `1 + floor(2n/3)`. Any two such sets then share a witness even if up to a third lie.
///
/// Without witnesses this is one, which none can reach: nothing is trusted.
pub fn quorum(witnesses: usize) -> usize {
    // Two thirds of n without the product, which could overflow.
    1 + witnesses - witnesses.div_ceil(3)
}

/// The number of distinct witnesses among these whose cosignature on the checkpoint verifies.
/// See [`crate::cosignature::cosigned_by`] for the errors, and for who they are.
pub fn count_cosignatures(
    signed: &SignedCheckpoint,
    witnesses: &[VerifierKey],
) -> Result<usize, crate::cosignature::CosignatureError> {
    crate::cosignature::cosigned_by(signed, witnesses).map(|found| found.len())
}

/// The body of an `add-checkpoint` request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size from which the proof starts, in leaves.
    pub old_size: u64,
    /// The consistency proof, at most [`MAX_PROOF_HASHES`].
    pub proof: Vec<Digest>,
    /// The signed checkpoint.
    pub checkpoint: Note,
}

impl AddCheckpoint {
    /// Parses a request body.
    pub fn parse(body: &str) -> Result<Self, WitnessError> {
        Self::parse_strict(body).ok_or(WitnessError::Malformed)
    }

    /// Applies the rule to this request, see [`consider`].
    pub fn consider(
        &self,
        state: &WitnessState,
        log: &VerifierKey,
    ) -> Result<Accepted, WitnessError> {
        consider(
            state,
            log,
            self.old_size,
            &self.proof,
            &self.checkpoint.to_string(),
        )
    }

    fn parse_strict(body: &str) -> Option<Self> {
        if body.len() > MAX_REQUEST_BYTES {
            return None;
        }
        let (old, rest) = body.split_once('\n')?;
        let old_size = text::decimal(old.strip_prefix("old ")?)?;
        let (proof, checkpoint) = match rest.strip_prefix('\n') {
            Some(checkpoint) => (Vec::new(), checkpoint),
            None => {
                let end = rest.find("\n\n")? + 1;
                let (lines, after) = rest.split_at_checked(end)?;
                (
                    text::hash_lines(lines, MAX_PROOF_HASHES)?,
                    after.strip_prefix('\n')?,
                )
            }
        };
        let checkpoint = Note::parse(checkpoint).ok()?;
        Checkpoint::parse(checkpoint.text()).ok()?;
        Some(Self {
            old_size,
            proof,
            checkpoint,
        })
    }
}

/// The request body, as [`AddCheckpoint::parse`] reads it.
impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old_size)?;
        for hash in &self.proof {
            writeln!(f, "{}", text::base64_encode(&hash.0))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for AddCheckpoint {
    type Err = WitnessError;

    fn from_str(body: &str) -> Result<Self, WitnessError> {
        Self::parse(body)
    }
}
