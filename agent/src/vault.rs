//! The vault: what must be destroyed when an answer is erased.
//!
//! The secrets of a request of ours (the one-time reply key, the openings of its statement) stand
//! in the journal with the statement, sealed under a key of their own. That key is in one file
//! beside the journal (`passerelle_journal::key_file`) and nowhere else. Overwriting it makes the
//! secrets, and with them the answer, unreadable in every copy of the journal; the log's proofs
//! go on to verify.
//!
//! Order: the key is written before its statement is queued, and made durable before the journal
//! is ([`crate::store`]), in one sync for a whole batch. A crash in between leaves a key without a
//! statement: swept at the next start. At an erasure the key is durably gone before the journal
//! says so; a crash in between is finished at the next start.

mod index;
pub use index::Index;

use crate::{
    entropy,
    holder::storage,
    home::{Home, HomeError},
    state::key,
};
use chacha20poly1305::{
    ChaCha20Poly1305, KeyInit as _, Nonce,
    aead::{Aead as _, Payload},
};
use passerelle_journal::{
    JournalError,
    files::Disk,
    key_file::{Key, KeyFile, Tag},
};
use passerelle_model::{
    bytes::{Bytes, Digest},
    commitment::Opening,
    error::ErrorCode,
    ids::RequestId,
    store::{Overlay, Read},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use zeroize::Zeroizing;

/// The file, within the agent's directory.
pub const FILE: &str = "vault.keys";
/// The directory that earlier versions had in its place.
const FORMER_DIRECTORY: &str = "vault";
/// Begins what a tag is the digest of.
const TAG_LABEL: &[u8] = b"passerelle/vault/tag/v1\0";
/// Begins the associated data of what is sealed here.
const SEAL_LABEL: &[u8] = b"passerelle/vault/seal/v1\0";
/// Rows that are looked at together.
const PAGE: usize = 1_000;

/// What is sealed.
#[derive(Clone, Serialize, Deserialize)]
pub struct Secrets {
    /// The private half of the reply key, 32 bytes.
    pub reply_key: Bytes,
    /// The openings of the statement: handle, worker, justification.
    pub openings: Vec<Opening>,
}

/// Why the secrets of a request can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// The storage refuses, maybe only now.
    #[error("the disk refused")]
    Disk,
    /// The key or what it opens is not as it was written: lost for good, this request alone.
    #[error("the key or what it opens is damaged")]
    Damaged,
}

impl From<VaultError> for ErrorCode {
    fn from(_: VaultError) -> Self {
        Self::Storage
    }
}

impl From<JournalError> for VaultError {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Corrupt { .. } => Self::Damaged,
            _ => Self::Disk,
        }
    }
}

/// What the key of a request is found by, and its row in the projection.
pub fn tag(request: &RequestId) -> Tag {
    tag_of(request.as_str())
}

/// The same for what has another name. No two kinds of names begin alike.
fn tag_of(name: &str) -> Tag {
    let digest = Digest::of(&[TAG_LABEL, name.as_bytes()].concat());
    let (tag, _) = digest.0.split_first_chunk().unwrap_or((&[0; 16], &[]));
    *tag
}

/// The sealed secrets of a request of ours that was not erased, by the tag of their key.
fn kept(view: &dyn Read, tag: &Tag) -> Result<Option<Bytes>, ErrorCode> {
    let row = view.get(&key::of(key::KEPT, tag)).map_err(storage)?;
    Ok(row.map(Bytes))
}

/// The row of what is sealed under `name`.
pub(crate) fn kept_key(name: &str) -> Vec<u8> {
    key::of(key::KEPT, &tag_of(name))
}

/// Writes or removes them.
pub(crate) fn put_kept(view: &mut Overlay<'_>, request: &RequestId, kept: Option<&Bytes>) {
    let key = key::of(key::KEPT, &tag(request));
    view.write(key, kept.map(|sealed| sealed.0.clone()));
}

/// At most [`PAGE`] tags of secrets that were not erased, after `after`, in order.
fn kept_tags(view: &dyn Read, after: Option<&Tag>) -> Result<Vec<Tag>, ErrorCode> {
    let after = after.map(|tag| key::of(key::KEPT, tag));
    let rows = view.scan(key::KEPT.as_bytes(), after.as_deref(), PAGE);
    let rows = rows.map_err(storage)?;
    rows.iter()
        .map(|(key, _)| key.get(key::KEPT.len()..).unwrap_or_default().try_into())
        .map(|tag| tag.map_err(|_| ErrorCode::Storage))
        .collect()
}

fn associated(name: &str) -> Vec<u8> {
    [SEAL_LABEL, name.as_bytes()].concat()
}

/// The keys of all requests that were not erased.
#[derive(Clone)]
pub struct Vault(Arc<KeyFile>);

impl Vault {
    /// That of `home`, written through `disk`; locked against other processes.
    ///
    /// # Errors
    /// [`HomeError::Running`], the file system, a file that is none of keys, or the keys of an
    /// earlier version beside it.
    pub fn open_on(home: &Home, disk: &dyn Disk) -> Result<Self, HomeError> {
        if home.path(FORMER_DIRECTORY).exists() {
            let message = "keys of an earlier version, which this one can't read; \
                           use that version, or a new directory";
            return Err(home.content(FORMER_DIRECTORY, message));
        }
        match KeyFile::open_on(disk, &home.path(FILE)) {
            Ok(keys) => Ok(Self(Arc::new(keys))),
            Err(JournalError::InUse { .. }) => Err(HomeError::Running(home.shown())),
            Err(error) => Err(home.content(FILE, error)),
        }
    }

    /// Puts a key for the secrets of a request, and returns them sealed: for the journal, once
    /// [`Vault::sync`] has made the key durable.
    ///
    /// # Errors
    /// [`ErrorCode::Storage`]; no randomness.
    pub fn keep(&self, request: &RequestId, secrets: &Secrets) -> Result<Bytes, ErrorCode> {
        let plain = serde_json::to_vec(secrets).map_err(|_| ErrorCode::Internal)?;
        self.keep_named(request.as_str(), &Zeroizing::new(plain))
    }

    /// The same for what has another name. A name is used once.
    ///
    /// # Errors
    /// As [`Vault::keep`].
    pub(crate) fn keep_named(&self, name: &str, plain: &[u8]) -> Result<Bytes, ErrorCode> {
        let key = Zeroizing::new(entropy::random::<32>()?);
        let payload = Payload {
            msg: plain,
            aad: &associated(name),
        };
        // A key seals once, so that its one nonce may be the same for all.
        let sealed = cipher(&key).encrypt(&Nonce::default(), payload);
        let sealed = sealed.map_err(|_| ErrorCode::Internal)?;
        self.0.put(&tag_of(name), &key).map_err(|error| {
            tracing::error!(%error, "a key can't be kept");
            ErrorCode::Storage
        })?;
        Ok(Bytes(sealed))
    }

    /// Makes every key that was put durable, in one sync.
    ///
    /// # Errors
    /// The storage failed, now or before: nothing more may be journaled.
    pub fn sync(&self) -> Result<(), JournalError> {
        self.0.sync()
    }

    /// Whether the storage has failed: nothing is kept or opened any more.
    pub fn has_failed(&self) -> bool {
        self.0.has_failed()
    }

    /// The secrets of a journaled request; `None` once erased.
    ///
    /// # Errors
    /// They can't be read, or are damaged.
    pub fn open(
        &self,
        view: &dyn Read,
        request: &RequestId,
    ) -> Result<Option<Secrets>, VaultError> {
        let sealed = kept(view, &tag(request)).map_err(|_| VaultError::Disk)?;
        match sealed {
            Some(sealed) => self.unseal(request, &sealed),
            None => Ok(None),
        }
    }

    /// The secrets in what [`Vault::keep`] returned; `None` once erased.
    ///
    /// # Errors
    /// As [`Vault::open`].
    pub fn unseal(
        &self,
        request: &RequestId,
        sealed: &Bytes,
    ) -> Result<Option<Secrets>, VaultError> {
        let Some(plain) = self.unseal_named(request.as_str(), sealed)? else {
            return Ok(None);
        };
        let secrets = serde_json::from_slice(&plain).map_err(|_| VaultError::Damaged)?;
        Ok(Some(secrets))
    }

    fn unseal_named(
        &self,
        name: &str,
        sealed: &Bytes,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
        let Some(key) = self.0.get(&tag_of(name))? else {
            return Ok(None);
        };
        let payload = Payload {
            msg: &sealed.0,
            aad: &associated(name),
        };
        let plain = cipher(&key).decrypt(&Nonce::default(), payload);
        Ok(Some(Zeroizing::new(
            plain.map_err(|_| VaultError::Damaged)?,
        )))
    }

    /// What is journaled under `name`; `None` once erased.
    ///
    /// # Errors
    /// As [`Vault::open`].
    pub(crate) fn open_named(
        &self,
        view: &dyn Read,
        name: &str,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
        let sealed = kept(view, &tag_of(name)).map_err(|_| VaultError::Disk)?;
        match sealed {
            Some(sealed) => self.unseal_named(name, &sealed),
            None => Ok(None),
        }
    }

    /// Whether something is journaled under `name` that was not erased.
    ///
    /// # Errors
    /// [`ErrorCode::Storage`].
    pub(crate) fn is_kept(&self, view: &dyn Read, name: &str) -> Result<bool, ErrorCode> {
        Ok(kept(view, &tag_of(name))?.is_some())
    }

    /// The key of a request; `None` once erased.
    ///
    /// # Errors
    /// It can't be read, or is damaged.
    pub fn key(&self, request: &RequestId) -> Result<Option<Key>, VaultError> {
        Ok(self.0.get(&tag(request))?)
    }

    /// Destroys the key of a request, durably. Doing it again does nothing.
    ///
    /// # Errors
    /// [`ErrorCode::Storage`].
    pub fn destroy(&self, request: &RequestId) -> Result<(), ErrorCode> {
        self.destroy_named(request.as_str())
    }

    /// The same for what has another name.
    ///
    /// # Errors
    /// [`ErrorCode::Storage`].
    pub(crate) fn destroy_named(&self, name: &str) -> Result<(), ErrorCode> {
        let destroyed = self.0.destroy(&[tag_of(name)]);
        destroyed.map_err(|error| {
            tracing::error!(%error, "a key can't be destroyed");
            ErrorCode::Storage
        })
    }

    /// The same for several, in one step.
    ///
    /// # Errors
    /// [`ErrorCode::Storage`].
    pub(crate) fn destroy_all(&self, names: &[String]) -> Result<(), ErrorCode> {
        if names.is_empty() {
            return Ok(());
        }
        let tags: Vec<_> = names.iter().map(|name| tag_of(name)).collect();
        self.0.destroy(&tags).map_err(|error| {
            tracing::error!(%error, "keys can't be destroyed");
            ErrorCode::Storage
        })
    }

    /// Destroys the keys without a journaled request, and those of erased ones. To be called
    /// before anything is kept.
    ///
    /// # Errors
    /// [`ErrorCode::Storage`].
    pub fn sweep(&self, view: &dyn Read) -> Result<(), ErrorCode> {
        let mut unwanted = Vec::new();
        for tag in self.0.tags() {
            if tag != index::tag() && kept(view, &tag)?.is_none() {
                unwanted.push(tag);
            }
        }
        if !unwanted.is_empty() {
            self.0.destroy(&unwanted).map_err(|_| ErrorCode::Storage)?;
        }
        if self.0.nameless() > 0 {
            if self.misses_any(view)? {
                // One of them may hold what is missing: for an operator, and for an erasure.
                tracing::warn!("the file of keys is damaged; an answer may no longer open");
            } else {
                self.0.scrub().map_err(|_| ErrorCode::Storage)?;
            }
        }
        Ok(())
    }

    /// Whether a request that was not erased has no key.
    fn misses_any(&self, view: &dyn Read) -> Result<bool, ErrorCode> {
        let tags = self.0.tags();
        let mut after = None;
        loop {
            let page = kept_tags(view, after.as_ref())?;
            if page.iter().any(|tag| tags.binary_search(tag).is_err()) {
                return Ok(true);
            }
            if page.len() < PAGE {
                return Ok(false);
            }
            after = page.last().copied();
        }
    }
}

fn cipher(key: &[u8; 32]) -> ChaCha20Poly1305 {
    ChaCha20Poly1305::new(key.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use passerelle_journal::files::OsDisk;
    use passerelle_model::store::Memory;

    fn secrets() -> Secrets {
        Secrets {
            reply_key: Bytes(vec![7; 32]),
            openings: vec![
                entropy::opening(passerelle_model::commitment::Field::Worker, b"w-1").unwrap(),
            ],
        }
    }

    fn request(number: u8) -> RequestId {
        RequestId::from_random([number; 16])
    }

    fn vault(home: &Home) -> Vault {
        Vault::open_on(home, &OsDisk).unwrap()
    }

    fn home() -> (tempfile::TempDir, Home) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path());
        (dir, home)
    }

    #[test]
    fn what_is_kept_opens_with_its_key_for_its_request_alone() {
        let (_dir, home) = home();
        let vault = vault(&home);
        let sealed = vault.keep(&request(1), &secrets()).unwrap();
        let other = vault.keep(&request(2), &secrets()).unwrap();
        assert_ne!(sealed.0, other.0, "each has a key of its own");
        assert!(!sealed.0.windows(8).any(|window| window == [7; 8]));
        let opened = vault.unseal(&request(1), &sealed).unwrap().unwrap();
        assert_eq!(opened.reply_key, secrets().reply_key);
        assert_eq!(
            vault.unseal(&request(1), &other).err(),
            Some(VaultError::Damaged)
        );
        for at in [0, sealed.0.len() - 1] {
            let mut spoilt = sealed.clone();
            spoilt.0[at] ^= 1;
            let refused = vault.unseal(&request(1), &spoilt).err();
            assert_eq!(refused, Some(VaultError::Damaged));
        }
        vault.destroy(&request(1)).unwrap();
        vault.destroy(&request(1)).unwrap();
        assert!(vault.unseal(&request(1), &sealed).unwrap().is_none());
        assert!(vault.unseal(&request(2), &other).unwrap().is_some());
    }

    #[test]
    fn a_sealed_secret_does_not_open_under_the_id_of_another_request() {
        let (_dir, home) = home();
        let vault = vault(&home);
        let sealed = vault.keep(&request(1), &secrets()).unwrap();
        let key = vault.key(&request(1)).unwrap().unwrap();
        vault.0.put(&tag(&request(2)), &key).unwrap();
        let refused = vault.unseal(&request(2), &sealed).err();
        assert_eq!(refused, Some(VaultError::Damaged));
    }

    #[test]
    fn a_key_without_a_journaled_request_is_swept_and_no_other() {
        let (_dir, home) = home();
        let vault = vault(&home);
        let mut view = Memory::default();
        for number in 1..=3 {
            let sealed = vault.keep(&request(number), &secrets()).unwrap();
            if number != 2 {
                let key = key::of(key::KEPT, &tag(&request(number)));
                view.commit([(key, Some(sealed.0))]);
            }
        }
        vault.sweep(&view).unwrap();
        for number in 1..=3 {
            let is_kept = vault.key(&request(number)).unwrap().is_some();
            assert_eq!(is_kept, number != 2, "{number}");
            assert_eq!(
                vault.open(&view, &request(number)).unwrap().is_some(),
                is_kept
            );
        }
    }

    #[test]
    fn slots_that_nobody_can_name_are_swept_unless_a_key_is_missing() {
        let (_dir, home) = home();
        let mut view = Memory::default();
        let sealed = vault(&home).keep(&request(1), &secrets()).unwrap();
        let key = key::of(key::KEPT, &tag(&request(1)));
        view.commit([(key.clone(), Some(sealed.0))]);
        let path = home.path(FILE);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[64] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let reopened = vault(&home);
        reopened.sweep(&view).unwrap();
        let refused = reopened.open(&view, &request(1)).err();
        assert_eq!(refused, Some(VaultError::Damaged), "not taken for erased");
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        view.commit([(key, None)]);
        reopened.sweep(&view).unwrap();
        let swept = std::fs::read(&path).unwrap();
        assert!(swept[64..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn keys_of_an_earlier_version_are_refused() {
        let (dir, home) = home();
        std::fs::create_dir(dir.path().join("vault")).unwrap();
        let refused = Vault::open_on(&home, &OsDisk).err().unwrap().to_string();
        assert!(refused.contains("earlier version"), "{refused}");
    }

    #[test]
    fn a_vault_has_one_process() {
        let (_dir, home) = home();
        let first = vault(&home);
        let refused = Vault::open_on(&home, &OsDisk).err();
        assert!(matches!(refused, Some(HomeError::Running(_))));
        drop(first);
        vault(&home);
    }
}
