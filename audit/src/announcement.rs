//! The announcement of a new origin: a file that the broker's operator hands to every agency, each
//! of which accepts it, or does not, by an act of its own (decision 0019).
//!
//! In scope: the format, and what can be checked with nothing but the file: that the key of the
//! former log has signed a log which holds the entry, in its place, and that the entry's form is
//! right. Out of scope: whether it covers what an agency has seen, which only the agency knows.

use crate::{
    checkpoint::{self, CheckpointError},
    merkle::{MerkleError, leaf_hash, verify_inclusion},
    note::VerifierKey,
    verify::wrong_with,
};
use passerelle_model::{
    bytes::{Bytes, Digest},
    canonical,
    entry::{Entry, EntryBody, Supersedes},
};
use serde::{Deserialize, Serialize};

/// The value of `@format`.
pub const FORMAT: &str = "passerelle-new-origin/1";

/// Largest file, in bytes: an entry in base64, a note, a proof.
pub const MAX_ANNOUNCEMENT_BYTES: usize = 1 << 20;

/// Why a file announces nothing.
#[derive(Debug, thiserror::Error)]
pub enum AnnouncementError {
    /// Not in the format.
    #[error("it is not the announcement of a new origin")]
    Malformed,
    /// The entry may not stand in a log.
    #[error("its entry is wrong: {0}")]
    Entry(&'static str),
    /// The log has not signed it.
    #[error("the log has not signed it: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The entry is not in the log.
    #[error("the entry is not in the log that was signed: {0}")]
    Inclusion(#[from] MerkleError),
}

/// The file, unverified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Announcement {
    /// Always [`FORMAT`].
    #[serde(rename = "@format")]
    pub format: String,
    /// A checkpoint that covers the entry, signed under the new origin. Nobody need have cosigned.
    pub checkpoint: String,
    /// The entry `supersedes`, its canonical bytes.
    pub entry: Bytes,
    /// Its proof of inclusion.
    pub proof: Vec<Digest>,
}

/// An announcement that the key of the former log vouches for.
#[derive(Clone, Debug)]
pub struct Announced {
    /// What the entry says.
    pub supersedes: Supersedes,
    /// Digest of the entry: the log must show this one and no other.
    pub entry: Digest,
    /// The key of the former origin.
    pub former: VerifierKey,
    /// The key from here on.
    pub key: VerifierKey,
}

impl Announcement {
    /// Reads a file's text.
    ///
    /// # Errors
    /// [`AnnouncementError::Malformed`].
    pub fn parse(text: &str) -> Result<Self, AnnouncementError> {
        if text.len() > MAX_ANNOUNCEMENT_BYTES {
            return Err(AnnouncementError::Malformed);
        }
        let read = canonical::from_slice::<Self>(text.trim_end().as_bytes());
        let read = read.map_err(|_| AnnouncementError::Malformed)?;
        match read.format == FORMAT {
            true => Ok(read),
            false => Err(AnnouncementError::Malformed),
        }
    }

    /// The file's text.
    ///
    /// # Errors
    /// [`AnnouncementError::Malformed`]: it can't be encoded.
    pub fn to_text(&self) -> Result<String, AnnouncementError> {
        let bytes = canonical::to_vec(self).map_err(|_| AnnouncementError::Malformed)?;
        let text = String::from_utf8(bytes).map_err(|_| AnnouncementError::Malformed)?;
        Ok(text + "\n")
    }

    /// Checks all that needs nothing but the file.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn check(&self) -> Result<Announced, AnnouncementError> {
        let entry = Entry::from_bytes(&self.entry.0).map_err(|_| AnnouncementError::Malformed)?;
        let EntryBody::Supersedes(supersedes) = entry.body else {
            return Err(AnnouncementError::Entry("it is another kind of entry"));
        };
        if let Some(wrong) = wrong_with(&supersedes) {
            return Err(AnnouncementError::Entry(wrong));
        }
        let key = |text: &str| {
            text.parse::<VerifierKey>()
                .map_err(|_| AnnouncementError::Malformed)
        };
        let (former, key) = (key(&supersedes.former)?, key(&supersedes.key)?);
        let signed = checkpoint::open(&self.checkpoint, &key)?;
        let signed = signed.checkpoint();
        let leaf = leaf_hash(&self.entry.0);
        let index = supersedes.carried.size;
        verify_inclusion(&leaf, index, signed.size(), &self.proof, &signed.root())?;
        Ok(Announced {
            entry: Digest::of(&self.entry.0),
            supersedes: *supersedes,
            former,
            key,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{checkpoint::Checkpoint, keys::SigningKey, merkle::Tree, note::Signer};
    use passerelle_model::{
        bytes::Nonce,
        entry::{TreeHead, next_origin},
        statement::VERSION,
        time::Timestamp,
    };

    fn signer(origin: &str, seed: u8) -> Signer {
        Signer::new(origin, SigningKey::from_seed(&[seed; 32])).unwrap()
    }

    fn supersedes() -> Supersedes {
        let former = signer("passerelle/essai", 1);
        let head = |size| TreeHead {
            size,
            root: Digest([7; 32]),
        };
        Supersedes {
            former: former.verifier_key().to_string(),
            key: signer("passerelle/essai/2", 1).verifier_key().to_string(),
            carried: head(1),
            newest: head(3),
            note: None,
            members: vec!["clinic".parse().unwrap(), "police".parse().unwrap()],
        }
    }

    fn announced(supersedes: Supersedes, by: &Signer) -> Announcement {
        let body = EntryBody::Supersedes(Box::new(supersedes));
        let entry = Entry {
            kind: body.code().to_owned(),
            version: VERSION,
            at: Timestamp(5),
            body,
            nonce: Nonce([1; 32]),
        };
        let entry = entry.to_bytes().unwrap();
        let mut tree = Tree::new();
        tree.push(leaf_hash(b"carried"));
        tree.push(leaf_hash(&entry));
        let origin = by.verifier_key().name().to_owned();
        let checkpoint = Checkpoint::new(&origin, 2, tree.root()).unwrap();
        Announcement {
            format: FORMAT.to_owned(),
            checkpoint: checkpoint.sign(by).unwrap().note().to_string(),
            entry: Bytes(entry),
            proof: tree.inclusion_proof(1, 2).unwrap(),
        }
    }

    #[test]
    fn what_is_announced_reads_back_and_checks() {
        let by = signer("passerelle/essai/2", 1);
        let announcement = announced(supersedes(), &by);
        let read = Announcement::parse(&announcement.to_text().unwrap()).unwrap();
        assert_eq!(read, announcement);
        let checked = read.check().unwrap();
        assert_eq!(checked.supersedes, supersedes());
        assert_eq!(checked.key.name(), next_origin(checked.former.name()));
    }

    #[test]
    fn another_key_another_name_and_another_place_are_refused() {
        let by = signer("passerelle/essai/2", 1);
        let other = signer("passerelle/essai/2", 2);
        assert!(announced(supersedes(), &other).check().is_err());
        let heir = Supersedes {
            key: other.verifier_key().to_string(),
            ..supersedes()
        };
        assert!(announced(heir, &other).check().is_err());
        let far = signer("passerelle/essai/3", 1);
        let skips = Supersedes {
            key: far.verifier_key().to_string(),
            ..supersedes()
        };
        assert!(announced(skips, &far).check().is_err());
        let mut moved = supersedes();
        moved.carried.size = 0;
        assert!(announced(moved, &by).check().is_err());
        let mut shorter = supersedes();
        shorter.newest.size = 0;
        assert!(announced(shorter, &by).check().is_err());
        let mut doubled = supersedes();
        doubled.members.reverse();
        assert!(announced(doubled, &by).check().is_err());
        let mut noted = supersedes();
        noted.note = Some("no note".to_owned());
        assert!(announced(noted, &by).check().is_err());
    }
}
