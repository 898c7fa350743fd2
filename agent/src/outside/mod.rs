//! An outside witness: it holds no facts, is no member, and cosigns the checkpoints of the logs
//! that it follows over HTTP (C2SP tlog-witness v1.0.0).
//!
//! In scope: its directory ([`home`]), what it remembers of each log ([`page`]), the service
//! ([`http`]). Out of scope: the rule itself ([`passerelle_audit::witness`]); the witness of an
//! agency, whose state is in the agency's journal ([`crate::witness`]).
//!
//! It lives in this crate because it shares the rule's other half with the agency's witness: the
//! clock, the proofs of forks, files that are wholly old or wholly new.

pub mod home;
pub mod http;
pub mod page;

#[cfg(test)]
mod tests;

use std::{io, path::PathBuf};

/// What stops an outside witness, for the person who runs it.
#[derive(Debug, thiserror::Error)]
pub enum OutsideError {
    /// No `witness.toml`.
    #[error(
        "`{0}` holds no witness; make one with `passerelle witness init --dir {0} --name NAME \
         --log KEY`"
    )]
    NotInitialised(PathBuf),
    /// There is something in it already.
    #[error("`{0}` holds a witness already, or a part of one; choose another directory")]
    AlreadyInitialised(PathBuf),
    /// Another process has the directory.
    #[error("a witness is running in `{0}`; stop it first")]
    Running(PathBuf),
    /// A name that can't name a key, or keys that can't be used together.
    #[error("{0}")]
    Unusable(String),
    /// The file system.
    #[error("cannot {action} `{path}`: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file with wrong content.
    #[error("`{path}`: {message}")]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong, without quoting secrets.
        message: String,
    },
    /// What was cosigned last is not known for certain.
    #[error(
        "`{path}` {reason}: a witness that forgot what it cosigned could sign a fork of it. Put \
         the newest copy of this file back, or retire this witness and make another with a new \
         key. A log that was never followed is added by `passerelle witness follow`"
    )]
    Doubt {
        /// The state of one log.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A new state could not be made durable; nothing was cosigned.
    #[error("what was accepted can't be stored; see the log above")]
    Stopped,
}

impl OutsideError {
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}
