//! C2SP signed-note v1.0.0: a text with signature lines, and the text form of verifier keys.
//!
//! In scope: strict parse and serialise, key names and ids, Ed25519 signatures (type 01).
//! Signatures by unknown keys, of any type and length, are kept and ignored.
//! Out of scope: what the text says (see [`crate::checkpoint`]), cosignatures of type 04 (see
//! [`crate::cosignature`]), which keys to trust. Type 06 (ML-DSA-44) is recognised and refused
//! as a verifier key until it is supported; its signatures fit the caps below.

use crate::keys::{SigningKey, is_usable, verify_raw};
use crate::text;
use passerelle_model::bytes::{PublicKey, Signature};
use sha2::{Digest as _, Sha256};
use std::{fmt, str::FromStr};

#[cfg(test)]
mod tests;

/// Most signature lines in a note. The specification asks for at least 16.
pub const MAX_SIGNATURES: usize = 64;
/// Largest note in bytes, signatures included: room for [`MAX_SIGNATURES`] of ML-DSA-44.
pub const MAX_NOTE_BYTES: usize = 256 * 1024;
/// Longest key name in bytes: what a type 06 cosignature can commit to.
pub const MAX_NAME_BYTES: usize = 255;

const SIGNATURE_MARK: &str = "— ";

/// The first four bytes of `SHA-256(name || 0x0A || type || public key)`. An identifier, not a
/// protection: anyone can find a colliding key.
pub type KeyId = [u8; 4];

/// Why a text is not a note or a key, or why a note does not verify.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not a verifier key in the form `name+id+key`.
    #[error("not a verifier key")]
    MalformedKey,
    /// A well-formed key of a type that is not supported.
    #[error("signature type `{0:02x}` is not supported")]
    UnsupportedType(u8),
    /// A key of another type than this use needs.
    #[error("the key `{0}` is of the wrong signature type for this")]
    WrongType(String),
    /// The name can't name a key.
    #[error("not a key name")]
    MalformedName,
    /// The text does not end in a newline or has control characters.
    #[error("the text of the note is malformed")]
    MalformedText,
    /// The part after the last empty line is not signature lines.
    #[error("signature line {0} is malformed")]
    MalformedSignature(usize),
    /// More than [`MAX_SIGNATURES`] or [`MAX_NOTE_BYTES`].
    #[error("the note has too many signatures or bytes")]
    TooLarge,
    /// No signature by this key.
    #[error("there is no signature by the key `{0}`")]
    Unsigned(String),
    /// A signature that names the key and does not verify.
    #[error("a signature by the key `{0}` does not verify")]
    BadSignature(String),
}

/// What a key signs with it: the type byte of signed-note, section "Signature types".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignatureType {
    /// Type 01: Ed25519 over the text of the note.
    Ed25519,
    /// Type 04: a timestamped Ed25519 cosignature of a checkpoint.
    CosignatureV1,
}

impl SignatureType {
    /// The byte in key ids and verifier keys.
    pub fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::CosignatureV1 => 0x04,
        }
    }

    fn from_byte(byte: u8) -> Result<Self, NoteError> {
        match byte {
            0x01 => Ok(Self::Ed25519),
            0x04 => Ok(Self::CosignatureV1),
            // 0x06, ML-DSA-44, has keys of 1,312 bytes and goes here.
            other => Err(NoteError::UnsupportedType(other)),
        }
    }
}

/// A public key with the name and the use for which it is trusted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VerifierKey {
    name: String,
    kind: SignatureType,
    public_key: PublicKey,
}

impl VerifierKey {
    /// Binds a key to a name and a use. Keys of small order are refused.
    pub fn new(name: &str, kind: SignatureType, public_key: PublicKey) -> Result<Self, NoteError> {
        if !text::is_name(name, MAX_NAME_BYTES) {
            return Err(NoteError::MalformedName);
        }
        if !is_usable(&public_key) {
            return Err(NoteError::MalformedKey);
        }
        Ok(Self {
            name: name.to_owned(),
            kind,
            public_key,
        })
    }

    /// The name that signature lines carry.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the key signs.
    pub fn kind(&self) -> SignatureType {
        self.kind
    }

    /// The key itself.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// The id that signature lines carry.
    pub fn id(&self) -> KeyId {
        let hash: [u8; 32] = Sha256::new()
            .chain_update(self.name.as_bytes())
            .chain_update([b'\n', self.kind.byte()])
            .chain_update(self.public_key.0)
            .finalize()
            .into();
        let [a, b, c, d, ..] = hash;
        [a, b, c, d]
    }

    /// Whether a signature line claims to be by this key.
    pub fn claims(&self, signature: &NoteSignature) -> bool {
        signature.key_id == self.id() && signature.name == self.name
    }

    pub(crate) fn require(&self, kind: SignatureType) -> Result<(), NoteError> {
        match self.kind == kind {
            true => Ok(()),
            false => Err(NoteError::WrongType(self.name.clone())),
        }
    }
}

/// The text form, `name+hex(id)+base64(type || key)`.
impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = text::base64_encode(&[&[self.kind.byte()][..], &self.public_key.0].concat());
        write!(f, "{}+{}+{key}", self.name, hex::encode(self.id()))
    }
}

impl FromStr for VerifierKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        // The name has no `+`, but base64 may have.
        let (name, rest) = text.split_once('+').ok_or(NoteError::MalformedKey)?;
        let (id, key) = rest.split_once('+').ok_or(NoteError::MalformedKey)?;
        let key = text::base64_decode(key).ok_or(NoteError::MalformedKey)?;
        let (kind, key) = key.split_first().ok_or(NoteError::MalformedKey)?;
        let kind = SignatureType::from_byte(*kind)?;
        let key = PublicKey::from_slice(key).ok_or(NoteError::MalformedKey)?;
        let key = Self::new(name, kind, key)?;
        // Compared as text, so that upper-case digits are refused.
        if hex::encode(key.id()) != id {
            return Err(NoteError::MalformedKey);
        }
        Ok(key)
    }
}

/// A private key for signatures of type 01 under a name. A log's name is its origin.
#[derive(Debug, Clone)]
pub struct Signer {
    key: SigningKey,
    verifier: VerifierKey,
}

impl Signer {
    /// Binds a private key to a name.
    pub fn new(name: &str, key: SigningKey) -> Result<Self, NoteError> {
        let verifier = VerifierKey::new(name, SignatureType::Ed25519, key.public_key())?;
        Ok(Self { key, verifier })
    }

    /// The public half, for those who verify.
    pub fn verifier_key(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Signs a text, which must end in a newline.
    pub fn sign(&self, text: &str) -> Result<Note, NoteError> {
        let signature = NoteSignature {
            name: self.verifier.name.clone(),
            key_id: self.verifier.id(),
            bytes: self.key.sign_raw(text.as_bytes()).0.to_vec(),
        };
        Note::new(text, vec![signature])
    }
}

/// One signature line. Until a key has verified it, it says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    pub(crate) name: String,
    pub(crate) key_id: KeyId,
    pub(crate) bytes: Vec<u8>,
}

impl NoteSignature {
    /// The name of the key that is said to have signed.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id of the key that is said to have signed.
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The signature without the key id; its form depends on the type.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn parse(line: &str) -> Option<Self> {
        let (name, encoded) = line.strip_prefix(SIGNATURE_MARK)?.split_once(' ')?;
        let bytes = text::base64_decode(encoded)?;
        let (key_id, bytes) = bytes.split_first_chunk::<4>()?;
        if !text::is_name(name, MAX_NAME_BYTES) || bytes.is_empty() {
            return None;
        }
        Some(Self {
            name: name.to_owned(),
            key_id: *key_id,
            bytes: bytes.to_vec(),
        })
    }
}

/// The signature line with its newline.
impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encoded = text::base64_encode(&[&self.key_id[..], &self.bytes].concat());
        writeln!(f, "{SIGNATURE_MARK}{} {encoded}", self.name)
    }
}

/// Parses one or more signature lines, as a witness answers them (tlog-witness,
/// section "add-checkpoint").
pub fn parse_signature_lines(lines: &str) -> Result<Vec<NoteSignature>, NoteError> {
    if lines.len() > MAX_NOTE_BYTES {
        return Err(NoteError::TooLarge);
    }
    let mut signatures = Vec::new();
    let mut rest = lines;
    while signatures.is_empty() || !rest.is_empty() {
        if signatures.len() == MAX_SIGNATURES {
            return Err(NoteError::TooLarge);
        }
        let malformed = || NoteError::MalformedSignature(signatures.len() + 1);
        let (line, after) = rest.split_once('\n').ok_or_else(malformed)?;
        let signature = NoteSignature::parse(line).ok_or_else(malformed)?;
        signatures.push(signature);
        rest = after;
    }
    Ok(signatures)
}

/// A text with at least one signature line, none of them verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl Note {
    /// Puts a note together within the limits of the format.
    pub fn new(text: &str, signatures: Vec<NoteSignature>) -> Result<Self, NoteError> {
        let control = |c: char| c.is_control() && c != '\n';
        if !text.ends_with('\n') || text.contains(control) {
            return Err(NoteError::MalformedText);
        }
        if signatures.is_empty() {
            return Err(NoteError::MalformedSignature(1));
        }
        let note = Self {
            text: text.to_owned(),
            signatures,
        };
        note.within_caps()
            .then_some(note)
            .ok_or(NoteError::TooLarge)
    }

    /// Parses a note. The signatures begin after the last empty line.
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        if note.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLarge);
        }
        let empty_line = note.rfind("\n\n").ok_or(NoteError::MalformedText)?;
        let (text, rest) = note
            .split_at_checked(empty_line + 1)
            .ok_or(NoteError::MalformedText)?;
        let lines = rest.strip_prefix('\n').ok_or(NoteError::MalformedText)?;
        Self::new(text, parse_signature_lines(lines)?)
    }

    /// The signed text, with its final newline.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// All signature lines, in order.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Adds a signature line, unless it is there already. Nothing is verified: a note is what it
    /// says until somebody checks it.
    ///
    /// # Errors
    /// [`NoteError::TooLarge`].
    pub fn add(&mut self, signature: NoteSignature) -> Result<(), NoteError> {
        if self.signatures.contains(&signature) {
            return Ok(());
        }
        self.signatures.push(signature);
        if !self.within_caps() {
            self.signatures.pop();
            return Err(NoteError::TooLarge);
        }
        Ok(())
    }

    /// Checks the signature by a key of type 01. Lines that claim to be by this key must all
    /// verify, and there must be one; other lines are ignored.
    pub fn verify(&self, key: &VerifierKey) -> Result<(), NoteError> {
        key.require(SignatureType::Ed25519)?;
        self.check_claims(key, |bytes| {
            let signature = Signature::from_slice(bytes)?;
            verify_raw(&key.public_key, self.text.as_bytes(), &signature).then_some(())
        })
    }

    /// The outcome of `check` for the last line that claims to be by `key`, if all pass.
    pub(crate) fn check_claims<T>(
        &self,
        key: &VerifierKey,
        check: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<T, NoteError> {
        let mut outcome = None;
        for signature in self.signatures.iter().filter(|line| key.claims(line)) {
            let passed = check(&signature.bytes);
            outcome = Some(passed.ok_or_else(|| NoteError::BadSignature(key.name.clone()))?);
        }
        outcome.ok_or_else(|| NoteError::Unsigned(key.name.clone()))
    }

    fn within_caps(&self) -> bool {
        self.signatures.len() <= MAX_SIGNATURES && self.to_string().len() <= MAX_NOTE_BYTES
    }
}

/// The note in full, as [`Note::parse`] reads it.
impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|line| line.fmt(f))
    }
}

impl FromStr for Note {
    type Err = NoteError;

    fn from_str(note: &str) -> Result<Self, NoteError> {
        Self::parse(note)
    }
}
