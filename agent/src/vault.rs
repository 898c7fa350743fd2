//! The vault: what must be destroyed when an answer is erased.
//!
//! One file a request of ours, outside the journal, with the one-time reply key and the openings
//! of the statement. The journal has the sealed answer only. Deleting the file makes the answer
//! and the openings unreadable in every copy of the journal; the log's proofs go on to verify.
//!
//! A crash after the file and before the journal leaves a file without a request: swept at start.

use crate::{home::Home, state};
use passerelle_journal::durable_file::write_atomically;
use passerelle_model::{
    bytes::Bytes, commitment::Opening, error::ErrorCode, ids::RequestId, store::Read,
};
use serde::{Deserialize, Serialize};
use std::{fs, io, path::PathBuf};

/// What one file holds.
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
    /// The file system refuses, maybe only now.
    #[error("the disk refused")]
    Disk,
    /// The file is not in the form that was written: lost for good, this request alone.
    #[error("the file is damaged")]
    Damaged,
}

impl From<VaultError> for ErrorCode {
    fn from(_: VaultError) -> Self {
        Self::Storage
    }
}

/// The directory of these files.
#[derive(Clone, Debug)]
pub struct Vault(PathBuf);

impl Vault {
    /// That of `home`.
    pub fn new(home: &Home) -> Self {
        Self(home.path("vault"))
    }

    fn path(&self, request: &RequestId) -> PathBuf {
        self.0.join(request.as_str())
    }

    /// Keeps the secrets of a request, durably.
    ///
    /// # Errors
    /// [`ErrorCode::Storage`].
    pub fn keep(&self, request: &RequestId, secrets: &Secrets) -> Result<(), ErrorCode> {
        let bytes = serde_json::to_vec(secrets).map_err(|_| ErrorCode::Internal)?;
        let bytes = zeroize::Zeroizing::new(bytes);
        write_atomically(&self.path(request), &bytes, 0o600).map_err(|_| ErrorCode::Storage)
    }

    /// The secrets of a request; `None` once erased.
    ///
    /// # Errors
    /// The file can't be read, or is damaged.
    pub fn open(&self, request: &RequestId) -> Result<Option<Secrets>, VaultError> {
        match fs::read(self.path(request)) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|_| VaultError::Damaged),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(_) => Err(VaultError::Disk),
        }
    }

    /// Destroys the secrets of a request, durably. Doing it again does nothing.
    ///
    /// # Errors
    /// [`ErrorCode::Storage`].
    pub fn destroy(&self, request: &RequestId) -> Result<(), ErrorCode> {
        match fs::remove_file(self.path(request)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(_) => return Err(ErrorCode::Storage),
        }
        let sync = fs::File::open(&self.0).and_then(|dir| dir.sync_all());
        sync.map_err(|_| ErrorCode::Storage)
    }

    /// Deletes the files without a request, and those of erased ones.
    ///
    /// # Errors
    /// [`ErrorCode::Storage`].
    pub fn sweep(&self, view: &dyn Read) -> Result<(), ErrorCode> {
        let files = fs::read_dir(&self.0).map_err(|_| ErrorCode::Storage)?;
        for file in files {
            let file = file.map_err(|_| ErrorCode::Storage)?;
            let name = file.file_name();
            let request = name.to_str().and_then(|n| n.parse::<RequestId>().ok());
            let keep = match request {
                Some(request) => state::ask(view, &request)
                    .map_err(|_| ErrorCode::Storage)?
                    .is_some_and(|row| row.status != passerelle_model::request::Status::Erased),
                None => false,
            };
            if !keep {
                fs::remove_file(file.path()).map_err(|_| ErrorCode::Storage)?;
            }
        }
        Ok(())
    }
}
