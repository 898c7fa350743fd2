//! C2SP tlog-checkpoint v1.0.0: the signed head of a log's tree.
//!
//! In scope: strict parse and serialise of the text, signing and opening with the log's key.
//! Extension lines are refused: no monitor can audit them.
//! Out of scope: cosignatures (see [`crate::cosignature`]), consistency (see [`crate::witness`]).

use crate::merkle::MAX_TREE_SIZE;
use crate::note::{MAX_NAME_BYTES, Note, NoteError, Signer, VerifierKey};
use crate::text;
use passerelle_model::bytes::Digest;
use std::{fmt, str::FromStr};

/// Why a text is not a checkpoint of this log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Not exactly origin, size and root, each in its one spelling.
    #[error("not a checkpoint of three lines: origin, size, root")]
    Malformed,
    /// The origin is not the name of the log's key.
    #[error("the checkpoint is of the log `{0}`, which is not the expected one")]
    OtherOrigin(String),
    /// The note around it does not parse or verify.
    #[error(transparent)]
    Note(#[from] NoteError),
}

/// What a log says of itself: name, number of entries, root. Unverified unless it comes out of a
/// [`SignedCheckpoint`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: Digest,
}

impl Checkpoint {
    /// `origin` must be a key name, since the log signs under it; `size` counts leaves and is at
    /// most [`MAX_TREE_SIZE`].
    pub fn new(origin: &str, size: u64, root: Digest) -> Result<Self, CheckpointError> {
        if !text::is_name(origin, MAX_NAME_BYTES) || size > MAX_TREE_SIZE {
            return Err(CheckpointError::Malformed);
        }
        Ok(Self {
            origin: origin.to_owned(),
            size,
            root,
        })
    }

    /// Parses the text of a checkpoint note (three lines, no more).
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let malformed = || CheckpointError::Malformed;
        let lines = text.strip_suffix('\n').ok_or_else(malformed)?;
        let [origin, size, root] = lines
            .split('\n')
            .collect::<Vec<_>>()
            .try_into()
            .map_err(|_| malformed())?;
        let size = text::decimal(size).ok_or_else(malformed)?;
        Self::new(origin, size, text::hash(root).ok_or_else(malformed)?)
    }

    /// The name of the log.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root over these leaves.
    pub fn root(&self) -> Digest {
        self.root
    }

    /// Signs as the log. The name of the signer must be the origin.
    pub fn sign(self, signer: &Signer) -> Result<SignedCheckpoint, CheckpointError> {
        if signer.verifier_key().name() != self.origin {
            return Err(CheckpointError::OtherOrigin(self.origin));
        }
        let note = signer.sign(&self.to_string())?;
        Ok(SignedCheckpoint {
            checkpoint: self,
            note,
        })
    }
}

/// The text of the note, with the final newline.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}\n{}\n{}",
            self.origin,
            self.size,
            text::base64_encode(&self.root.0)
        )
    }
}

impl FromStr for Checkpoint {
    type Err = CheckpointError;

    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        Self::parse(text)
    }
}

/// Proof that the log signed this checkpoint: only [`Checkpoint::sign`] and [`open`] make it.
/// Cosignatures may be among the signatures of its note; they are not verified by this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    note: Note,
}

impl SignedCheckpoint {
    /// What the log signed.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The note with all signature lines; its `to_string` is what to store and to send.
    pub fn note(&self) -> &Note {
        &self.note
    }

    pub(crate) fn note_mut(&mut self) -> &mut Note {
        &mut self.note
    }
}

/// Parses a checkpoint note and checks that the log with this key signed it.
pub fn open(note: &str, log: &VerifierKey) -> Result<SignedCheckpoint, CheckpointError> {
    open_note(Note::parse(note)?, log)
}

/// As [`open`], for a note that is parsed already.
pub fn open_note(note: Note, log: &VerifierKey) -> Result<SignedCheckpoint, CheckpointError> {
    let checkpoint = Checkpoint::parse(note.text())?;
    if checkpoint.origin != log.name() {
        return Err(CheckpointError::OtherOrigin(checkpoint.origin));
    }
    note.verify(log)?;
    Ok(SignedCheckpoint { checkpoint, note })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::SigningKey;
    use crate::note::SignatureType;
    use proptest::prelude::*;

    /// The example of tlog-checkpoint.
    const PUBLISHED: &str = "example.com/behind-the-sofa\n20852163\n\
        CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    fn signer() -> Signer {
        Signer::new("log.example", SigningKey::from_seed(&[1; 32])).unwrap()
    }

    #[test]
    fn published_checkpoint_round_trips() {
        let checkpoint = Checkpoint::parse(PUBLISHED).unwrap();
        assert_eq!(checkpoint.origin(), "example.com/behind-the-sofa");
        assert_eq!(checkpoint.size(), 20_852_163);
        assert_eq!(checkpoint.to_string(), PUBLISHED);
    }

    #[test]
    fn other_spellings_are_refused() {
        for (from, to) in [
            ("20852163", "020852163"),
            ("20852163", "+20852163"),
            ("20852163", ""),
            ("20852163", "9223372036854775808"),
            ("\n", "\r\n"),
            ("2I=", "2J="),
            ("2I=", "2I"),
            ("CsUY", "CsU"),
            ("2I=\n", "2I=\nextension\n"),
            ("2I=\n", "2I=\n\n"),
            ("2I=\n", "2I="),
            ("example.com/behind-the-sofa", ""),
            ("example.com/", "example.com "),
        ] {
            let text = PUBLISHED.replace(from, to);
            assert_eq!(
                Checkpoint::parse(&text),
                Err(CheckpointError::Malformed),
                "{text:?}"
            );
        }
    }

    #[test]
    fn only_the_log_itself_opens_its_checkpoint() {
        let signed = Checkpoint::new("log.example", 0, crate::merkle::empty_root()).unwrap();
        let signed = signed.sign(&signer()).unwrap();
        let note = signed.note().to_string();
        let key = signer().verifier_key().clone();
        assert_eq!(open(&note, &key).unwrap(), signed);

        let other = Signer::new("log.example", SigningKey::from_seed(&[2; 32])).unwrap();
        assert!(matches!(
            open(&note, other.verifier_key()),
            Err(CheckpointError::Note(NoteError::Unsigned(_)))
        ));
        let renamed =
            VerifierKey::new("log2.example", SignatureType::Ed25519, *key.public_key()).unwrap();
        assert!(matches!(
            open(&note, &renamed),
            Err(CheckpointError::OtherOrigin(_))
        ));
        assert!(signed.checkpoint().clone().sign(&other).is_ok());
        let renamed = Signer::new("log2.example", SigningKey::from_seed(&[1; 32])).unwrap();
        assert!(signed.checkpoint().clone().sign(&renamed).is_err());
    }

    proptest! {
        #[test]
        fn parse_after_serialise_is_identity(
            origin in "[a-zé./0-9-]{1,40}",
            size in 0..=MAX_TREE_SIZE,
            root in any::<[u8; 32]>(),
        ) {
            let checkpoint = Checkpoint::new(&origin, size, Digest(root)).unwrap();
            prop_assert_eq!(Checkpoint::parse(&checkpoint.to_string()).unwrap(), checkpoint);
        }

        #[test]
        fn serialise_after_parse_is_identity(
            at in 0..PUBLISHED.len(),
            by in any::<char>(),
        ) {
            let mut text: Vec<char> = PUBLISHED.chars().collect();
            text[at] = by;
            let text: String = text.into_iter().collect();
            if let Ok(checkpoint) = Checkpoint::parse(&text) {
                prop_assert_eq!(checkpoint.to_string(), text);
            }
        }

        #[test]
        fn no_changed_byte_opens(at in 0_usize..200, by in 1_u8..=255) {
            let signed = Checkpoint::new("log.example", 7, Digest([9; 32])).unwrap();
            let signed = signed.sign(&signer()).unwrap();
            let mut note = signed.note().to_string().into_bytes();
            let at = at % note.len();
            note[at] ^= by;
            if let Ok(note) = String::from_utf8(note) {
                prop_assert!(open(&note, signer().verifier_key()).is_err());
            }
        }
    }
}
