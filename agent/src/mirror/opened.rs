//! What opens whom the mirror's entries are about, sealed under one key of the mirror's own.
//!
//! In scope: the key, sealing, opening. Out of scope: whether an opening opens anything
//! ([`passerelle_audit::verify::opens_something`]), what an agency may read.
//!
//! The key is a file of its own, [`KEY`], so that a copy of the mirror without it says of nobody
//! which entries are about one person. Destroyed, all that was sealed stays closed, in every copy;
//! the entries and their proofs go on to verify, and what comes after is sealed under a new one.

use crate::entropy;
use chacha20poly1305::{
    ChaCha20Poly1305, KeyInit as _, Nonce,
    aead::{Aead as _, Payload},
};
use passerelle_journal::{JournalError, durable_file::write_new};
use passerelle_model::{binary, commitment::Opening, error::ErrorCode};
use std::{fs, io, path::Path};
use zeroize::Zeroizing;

/// The file, within the mirror's directory.
pub(super) const KEY: &str = "openings.key";
/// Bytes of the key, and of the nonce before what is sealed: random, for an index may be sealed
/// again after a crash.
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
/// Begins the associated data.
const LABEL: &[u8] = b"passerelle/mirror/openings/v1\0";

/// Seals and opens.
pub(super) struct Sealer(ChaCha20Poly1305);

impl Sealer {
    /// With the key in `dir`, or a new one if there is none.
    ///
    /// # Errors
    /// The file system; a file that is no key.
    pub(super) fn open(dir: &Path) -> Result<Self, JournalError> {
        let path = dir.join(KEY);
        let key = match fs::read(&path) {
            Ok(key) => Zeroizing::new(key),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = entropy::random::<KEY_BYTES>();
                let key = key.map_err(|_| super::storage("make a key in", &path)(no_random()))?;
                let key = Zeroizing::new(key.to_vec());
                write_new(&path, &key, 0o600).map_err(super::storage("write", &path))?;
                key
            }
            Err(error) => return Err(super::storage("read", &path)(error)),
        };
        let cipher = ChaCha20Poly1305::new_from_slice(&key).map_err(|_| JournalError::Corrupt {
            place: path.display().to_string(),
            position: 0,
            reason: format!("a key has {KEY_BYTES} bytes"),
        })?;
        Ok(Self(cipher))
    }

    /// Nothing, if there is nothing to seal.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`]: no randomness.
    pub(super) fn seal(&self, index: u64, openings: &[Opening]) -> Result<Vec<u8>, ErrorCode> {
        if openings.is_empty() {
            return Ok(Vec::new());
        }
        let plain = Zeroizing::new(binary::to_vec(&openings).map_err(|_| ErrorCode::Internal)?);
        let nonce = entropy::random::<NONCE_BYTES>()?;
        let payload = Payload {
            msg: &plain,
            aad: &associated(index),
        };
        let sealed = self.0.encrypt(&Nonce::from(nonce), payload);
        let sealed = sealed.map_err(|_| ErrorCode::Internal)?;
        Ok([&nonce[..], &sealed].concat())
    }

    /// Nothing, if nothing was sealed or another key sealed it.
    pub(super) fn unseal(&self, index: u64, sealed: &[u8]) -> Vec<Opening> {
        let Some((nonce, sealed)) = sealed.split_first_chunk::<NONCE_BYTES>() else {
            return Vec::new();
        };
        let payload = Payload {
            msg: sealed,
            aad: &associated(index),
        };
        let plain = self.0.decrypt(&Nonce::from(*nonce), payload);
        let plain = plain.ok().map(Zeroizing::new);
        plain
            .and_then(|plain| binary::from_slice(&plain).ok())
            .unwrap_or_default()
    }
}

fn no_random() -> io::Error {
    io::Error::other("the system gives no random bytes")
}

fn associated(index: u64) -> Vec<u8> {
    [LABEL, &index.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use passerelle_model::{
        bytes::{Bytes, Nonce as Random},
        commitment::Field,
    };

    fn openings() -> Vec<Opening> {
        vec![Opening {
            field: Field::Subject,
            random: Random([5; 32]),
            data: Bytes(vec![7; 32]),
        }]
    }

    #[test]
    fn what_is_sealed_opens_at_its_own_index_and_with_its_own_key_alone() {
        let dir = tempfile::tempdir().unwrap();
        let sealer = Sealer::open(dir.path()).unwrap();
        let sealed = sealer.seal(3, &openings()).unwrap();
        assert!(!sealed.windows(8).any(|window| window == [7; 8]));
        assert_ne!(sealed, sealer.seal(3, &openings()).unwrap());
        let again = Sealer::open(dir.path()).unwrap();
        assert_eq!(again.unseal(3, &sealed), openings());
        assert_eq!(again.unseal(4, &sealed), []);
        let mut spoilt = sealed.clone();
        spoilt[20] ^= 1;
        assert_eq!(again.unseal(3, &spoilt), []);
        assert_eq!(again.unseal(3, &sealed[..5]), []);
        assert!(again.seal(3, &[]).unwrap().is_empty());
        fs::remove_file(dir.path().join(KEY)).unwrap();
        let other = Sealer::open(dir.path()).unwrap();
        assert_eq!(other.unseal(3, &sealed), []);
    }

    #[test]
    fn a_key_that_is_cut_short_is_refused_and_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(KEY), [1; 31]).unwrap();
        assert!(Sealer::open(dir.path()).is_err());
        assert_eq!(fs::read(dir.path().join(KEY)).unwrap(), [1; 31]);
    }
}
