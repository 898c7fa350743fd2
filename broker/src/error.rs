//! What stops a broker, for the person who runs it.

use crate::{ca::CaError, oprf::OprfError, tls::ConfigError};
use passerelle_audit::{checkpoint::CheckpointError, keys::KeyError, note::NoteError};
use passerelle_journal::JournalError;
use passerelle_model::{
    binary::BinaryError, canonical::CanonicalError, error::ErrorCode, store::StoreError,
};
use std::{io, path::PathBuf};

/// Why a broker can't be set up, started, or go on.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The directory holds no broker.
    #[error(
        "`{0}` holds no broker; make one with `passerelle broker init --dir {0} --federation NAME`"
    )]
    NotInitialised(PathBuf),
    /// The directory holds one already.
    #[error("`{0}` holds a broker already; choose another directory")]
    AlreadyInitialised(PathBuf),
    /// A file can't be read or written.
    #[error("cannot {action} `{path}`: {source}")]
    File {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The configuration is not usable.
    #[error("`{path}`: {message}")]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line.
        message: String,
    },
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The projection failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An entry of the journal is not what was written.
    #[error("entry `{index}` of the journal does not parse: {source}")]
    Entry {
        /// Which.
        index: u64,
        /// Why.
        source: CanonicalError,
    },
    /// The private half of an entry is not what was written.
    #[error("what stands beside entry `{index}` of the journal does not parse: {source}")]
    Sidecar {
        /// Which.
        index: u64,
        /// Why.
        source: BinaryError,
    },
    /// A key file is not usable.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The name does not fit a note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// A checkpoint can't be signed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The certificate authority failed.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// The oblivious function's key is not usable.
    #[error(transparent)]
    Oprf(#[from] OprfError),
    /// The TLS configuration is not usable.
    #[error(transparent)]
    Tls(#[from] ConfigError),
    /// The policy bundle does not load.
    #[error("the policy bundle does not load: {0}")]
    Bundle(String),
    /// What was proposed is not a sound bundle.
    #[error("the bundle is refused: {0}")]
    BadBundle(String),
    /// The rules in force are not in the directory.
    #[error(
        "the rules in force, `{bundle}`, are not here, and only the agencies can put others in \
         force: put their bundle file at `{path}` (any agency holds a copy in its directory \
         `bundles`), or start the program that the federation began with"
    )]
    BundleNotHeld {
        /// Their digest.
        bundle: String,
        /// Where the file belongs.
        path: PathBuf,
    },
    /// The log's key is not here.
    #[error("the key in `keys/checkpoint.pem` is not that of the log, `{0}`")]
    OtherKey(String),
    /// It runs.
    #[error("the broker runs; stop it first")]
    Runs,
    /// A new origin that no agency could accept.
    #[error("the log can't go on so: {0}")]
    NotSuperseded(String),
    /// The listener failed.
    #[error("cannot listen on `{address}`: {source}")]
    Listen {
        /// Where.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The gRPC server failed.
    #[error("the server failed: {0}")]
    Server(#[from] tonic::transport::Error),
    /// A command was refused.
    #[error("refused ({0}): {text}", text = .0.explanation())]
    Refused(ErrorCode),
    /// The operating system gives no randomness.
    #[error("the system gives no randomness")]
    Random,
    /// The machine's clock is behind the log.
    #[error(
        "the clock says {now}, the newest entry is of {last}: set the clock right, or what has \
         expired would count again"
    )]
    ClockBehind {
        /// What the machine says.
        now: String,
        /// What the log says.
        last: String,
    },
    /// A part of the broker ended that should run for ever.
    #[error("{0} ended without being asked to; see the log above")]
    Ended(&'static str),
    /// A witness has seen a longer log than this directory holds.
    #[error(
        "`{agency}` has cosigned a log of {seen} entries, this directory holds {held}: it is an \
         old copy; nothing is signed"
    )]
    RolledBack {
        /// Who saw more.
        agency: String,
        /// How much it saw.
        seen: u64,
        /// How much is here.
        held: u64,
    },
}

impl BrokerError {
    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            action,
            path,
            source,
        }
    }
}
