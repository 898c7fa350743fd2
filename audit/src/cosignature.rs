//! C2SP tlog-cosignature v1.0.1, Ed25519 (type 04): "as of this time, this is the largest
//! consistent tree of this log that I have seen".
//!
//! In scope: the message, signing, verifying, counting distinct witnesses.
//! Out of scope: the rule when a witness may sign (see [`crate::witness`]; its verdict is what
//! [`Cosigner::cosign`] takes), the clock: times are whole seconds since 1970, given by the caller.

use crate::checkpoint::SignedCheckpoint;
use crate::keys::{SigningKey, verify_raw};
use crate::note::{NoteError, NoteSignature, SignatureType, VerifierKey};
use crate::witness::Accepted;
use passerelle_model::bytes::Signature;

/// Latest time that can be signed, in seconds: tlog-cosignature, section "Format".
pub const MAX_TIME_S: u64 = i64::MAX as u64;

/// Why there is no valid cosignature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CosignatureError {
    /// Zero stands for "no time", which a witness may not sign; the upper limit is
    /// [`MAX_TIME_S`].
    #[error("`{0}` can't be the time of a cosignature")]
    BadTime(u64),
    /// Two witnesses with one key: the message does not name the cosigner, so one signature
    /// would count as two.
    #[error("the witness `{0}` has the same key as another")]
    SharedKey(String),
    /// The wrong kind of key, no signature by it, or a wrong one.
    #[error(transparent)]
    Note(#[from] NoteError),
}

/// A cosignature that has been verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosigned {
    witness: VerifierKey,
    time_s: u64,
}

impl Cosigned {
    /// Who cosigned.
    pub fn witness(&self) -> &VerifierKey {
        &self.witness
    }

    /// When, by the witness's own clock, in seconds since 1970.
    pub fn time_s(&self) -> u64 {
        self.time_s
    }
}

/// The private key of a witness under its name.
#[derive(Debug, Clone)]
pub struct Cosigner {
    key: SigningKey,
    verifier: VerifierKey,
}

impl Cosigner {
    /// Binds a private key to a name. One key must not serve two witnesses.
    pub fn new(name: &str, key: SigningKey) -> Result<Self, NoteError> {
        let verifier = VerifierKey::new(name, SignatureType::CosignatureV1, key.public_key())?;
        Ok(Self { key, verifier })
    }

    /// The public half, for those who count witnesses.
    pub fn verifier_key(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Cosigns a checkpoint that the witness rule has accepted.
    ///
    /// The new state must be durable before this is called: after a crash between the two the
    /// witness must remember the larger tree, or it could sign a fork of it.
    pub fn cosign(
        &self,
        accepted: &Accepted,
        time_s: u64,
    ) -> Result<NoteSignature, CosignatureError> {
        if time_s == 0 || time_s > MAX_TIME_S {
            return Err(CosignatureError::BadTime(time_s));
        }
        let text = accepted.checkpoint().note().text();
        let signature = self.key.sign_raw(&message(time_s, text));
        Ok(NoteSignature {
            name: self.verifier.name().to_owned(),
            key_id: self.verifier.id(),
            bytes: [&time_s.to_be_bytes()[..], &signature.0].concat(),
        })
    }
}

/// The signed bytes: two header lines and the text of the checkpoint.
pub fn message(time_s: u64, text: &str) -> Vec<u8> {
    format!("cosignature/v1\ntime {time_s}\n{text}").into_bytes()
}

/// Checks that `witness` cosigned the checkpoint, and returns when, in seconds since 1970.
pub fn verify(signed: &SignedCheckpoint, witness: &VerifierKey) -> Result<u64, CosignatureError> {
    witness.require(SignatureType::CosignatureV1)?;
    let text = signed.note().text();
    Ok(signed
        .note()
        .check_claims(witness, |bytes| check(witness, text, bytes))?)
}

/// Adds what a witness answered, if it verifies.
pub fn add(
    signed: &mut SignedCheckpoint,
    witness: &VerifierKey,
    signature: NoteSignature,
) -> Result<(), CosignatureError> {
    witness.require(SignatureType::CosignatureV1)?;
    if !witness.claims(&signature) {
        return Err(NoteError::Unsigned(witness.name().to_owned()).into());
    }
    if check(witness, signed.note().text(), signature.bytes()).is_none() {
        return Err(NoteError::BadSignature(witness.name().to_owned()).into());
    }
    Ok(signed.note_mut().add(signature)?)
}

/// All of these witnesses that cosigned, in the order given, each once. A line that claims to be
/// by one of them and does not verify spoils the whole (signed-note, section "Signatures").
pub fn cosigned_by(
    signed: &SignedCheckpoint,
    witnesses: &[VerifierKey],
) -> Result<Vec<Cosigned>, CosignatureError> {
    let mut found: Vec<Cosigned> = Vec::new();
    for (position, witness) in witnesses.iter().enumerate() {
        let mut earlier = witnesses.iter().take(position);
        if earlier.any(|other| other.public_key() == witness.public_key()) {
            return Err(CosignatureError::SharedKey(witness.name().to_owned()));
        }
        match verify(signed, witness) {
            Ok(time_s) => found.push(Cosigned {
                witness: witness.clone(),
                time_s,
            }),
            Err(CosignatureError::Note(NoteError::Unsigned(_))) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// The time in a signature of type 04, if it verifies.
fn check(witness: &VerifierKey, text: &str, bytes: &[u8]) -> Option<u64> {
    let (time, signature) = bytes.split_first_chunk::<8>()?;
    let time_s = u64::from_be_bytes(*time);
    let signature = Signature::from_slice(signature)?;
    if time_s == 0 || time_s > MAX_TIME_S {
        return None;
    }
    verify_raw(witness.public_key(), &message(time_s, text), &signature).then_some(time_s)
}
