//! What an outside witness remembers of one log: the checkpoint that it cosigned last.
//!
//! In scope: the file, and check and persist as one step. Out of scope: HTTP.
//!
//! ```text
//! passerelle/witness-state@v1
//! <verifier key of the log>
//! <SHA-256 of what is below the empty line, hexadecimal>
//!
//! <the checkpoint note with the log's signature alone; nothing if none was cosigned yet>
//! ```
//!
//! The whole note is kept, not size and root alone: with it a fork can be proven to others, also
//! after a restart.
//!
//! What a crash means: the file is wholly old or wholly new, and a cosignature leaves only after
//! the new one is durable. A file that is missing or damaged is never taken for "nothing was
//! cosigned": that is a state of its own, written when the log was first followed.

use super::OutsideError;
use crate::forks::Forks;
use passerelle_audit::{
    checkpoint::{SignedCheckpoint, open},
    cosignature::Cosigner,
    note::{Note, VerifierKey},
    witness::{AddCheckpoint, WitnessError, WitnessState},
};
use passerelle_journal::durable_file::{write_atomically, write_new};
use passerelle_model::bytes::Digest;
use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The first line.
const HEADER: &str = "passerelle/witness-state@v1";

/// Largest file: four lines and the largest note.
const MAX_FILE_BYTES: u64 = 2048 + passerelle_audit::note::MAX_NOTE_BYTES as u64;

/// Why there is no cosignature.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The rule forbids it.
    #[error("{error}")]
    Rule {
        /// Which part of it.
        error: WitnessError,
        /// The size that was cosigned last, in leaves.
        known_size: u64,
    },
    /// The new state could not be made durable. Nobody knows which one is on the disk: nothing is
    /// cosigned for this log any more until the next start.
    #[error("the witness can't store what it accepted")]
    Storage,
    /// The clock stands before 1970.
    #[error("the witness's clock is wrong")]
    Clock,
}

/// One log.
pub struct Page {
    path: PathBuf,
    log: VerifierKey,
    forks: Forks,
    known: Mutex<Known>,
}

struct Known {
    last: Option<SignedCheckpoint>,
    has_failed: bool,
}

impl Known {
    fn state(&self) -> WitnessState {
        let last = self.last.as_ref().map(SignedCheckpoint::checkpoint);
        last.map_or_else(WitnessState::default, |checkpoint| WitnessState {
            size: checkpoint.size(),
            root: checkpoint.root(),
        })
    }
}

/// Where the state of the log with this origin is.
pub(crate) fn path_of(states: &Path, origin: &str) -> PathBuf {
    let name = Digest::of(origin.as_bytes()).to_hex();
    states.join(format!("{}.state", name.get(..32).unwrap_or(&name)))
}

/// Notes that nothing of this log was cosigned yet.
///
/// # Errors
/// [`OutsideError::Io`], also if there is a state already: it is never overwritten.
pub(crate) fn begin(states: &Path, log: &VerifierKey) -> Result<(), OutsideError> {
    let path = path_of(states, log.name());
    let file = encode(log, None);
    write_new(&path, file.as_bytes(), 0o600).map_err(OutsideError::io("make", &path))
}

/// What was cosigned last.
///
/// # Errors
/// [`OutsideError::Doubt`] unless it is certain.
pub(crate) fn read(
    states: &Path,
    log: &VerifierKey,
) -> Result<Option<SignedCheckpoint>, OutsideError> {
    let path = path_of(states, log.name());
    let doubt = |reason| OutsideError::Doubt {
        path: path.clone(),
        reason,
    };
    let mut text = String::new();
    let read = File::open(&path).and_then(|f| f.take(MAX_FILE_BYTES).read_to_string(&mut text));
    match read {
        Ok(_) => decode(&text, log).map_err(doubt),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(doubt("is missing")),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(doubt("is damaged")),
        Err(error) => Err(OutsideError::io("read", &path)(error)),
    }
}

fn encode(log: &VerifierKey, last: Option<&Note>) -> String {
    let note = last.map_or_else(String::new, Note::to_string);
    let digest = Digest::of(note.as_bytes()).to_hex();
    format!("{HEADER}\n{log}\n{digest}\n\n{note}")
}

fn decode(text: &str, log: &VerifierKey) -> Result<Option<SignedCheckpoint>, &'static str> {
    const DAMAGED: &str = "is damaged";
    let (head, note) = text.split_once("\n\n").ok_or(DAMAGED)?;
    let [header, key, digest] = head
        .split('\n')
        .collect::<Vec<_>>()
        .try_into()
        .map_err(|_| DAMAGED)?;
    if header != HEADER {
        return Err(DAMAGED);
    }
    if key != log.to_string() {
        return Err("is of another key of this log");
    }
    if Digest::of(note.as_bytes()).to_hex() != digest {
        return Err(DAMAGED);
    }
    if note.is_empty() {
        return Ok(None);
    }
    open(note, log).map(Some).map_err(|_| DAMAGED)
}

impl Page {
    /// Reads the state of a log, and writes it again: what an earlier process could not make
    /// durable may be in the page cache alone.
    ///
    /// # Errors
    /// [`OutsideError::Doubt`] unless it is certain what was cosigned last.
    pub(crate) fn open(
        states: &Path,
        log: VerifierKey,
        forks: Forks,
    ) -> Result<Self, OutsideError> {
        let last = read(states, &log)?;
        if let Some(checkpoint) = &last {
            forks.accepted(checkpoint);
        }
        let page = Self {
            path: path_of(states, log.name()),
            log,
            forks,
            known: Mutex::new(Known {
                last,
                has_failed: false,
            }),
        };
        let note = page.known().last.as_ref().map(|s| s.note().clone());
        let file = encode(&page.log, note.as_ref());
        write_atomically(&page.path, file.as_bytes(), 0o600)
            .map_err(OutsideError::io("write", &page.path))?;
        Ok(page)
    }

    /// The log's key.
    pub fn log(&self) -> &VerifierKey {
        &self.log
    }

    /// The size that was cosigned last, in leaves.
    pub fn size(&self) -> u64 {
        self.known().state().size
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Every change below is complete before anything that could panic.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Considers a checkpoint, and returns the cosignature line once the new state is durable. One
    /// request at a time: check and persist are one step. Blocks.
    ///
    /// # Errors
    /// [`Refused`]: nothing is signed.
    pub fn add(
        &self,
        request: &AddCheckpoint,
        cosigner: &Cosigner,
        time_s: u64,
    ) -> Result<String, Refused> {
        let mut known = self.known();
        if known.has_failed {
            return Err(Refused::Storage);
        }
        let state = known.state();
        let accepted = match request.consider(&state, &self.log) {
            Ok(accepted) => accepted,
            Err(error) => return Err(self.refuse(request, error, state.size)),
        };
        if accepted.state() != state {
            let kept = self.signed_by_log_alone(accepted.checkpoint());
            let Some(signed) = kept else {
                return Err(Refused::Storage);
            };
            let file = encode(&self.log, Some(signed.note()));
            if let Err(error) = write_atomically(&self.path, file.as_bytes(), 0o600) {
                known.has_failed = true;
                let path = self.path.display();
                tracing::error!(%path, %error, "a new state can't be stored: nothing is signed");
                return Err(Refused::Storage);
            }
            self.forks.accepted(&signed);
            known.last = Some(signed);
        }
        let line = cosigner.cosign(&accepted, time_s);
        drop(known);
        line.map(|line| line.to_string())
            .map_err(|_| Refused::Clock)
    }

    /// Without what others signed: it is not this witness's to keep.
    fn signed_by_log_alone(&self, checkpoint: &SignedCheckpoint) -> Option<SignedCheckpoint> {
        let mut lines = checkpoint.note().signatures().iter();
        let own = lines.find(|line| self.log.claims(line))?.clone();
        let note = Note::new(checkpoint.note().text(), vec![own]).ok()?;
        open(&note.to_string(), &self.log).ok()
    }

    fn refuse(&self, request: &AddCheckpoint, error: WitnessError, known_size: u64) -> Refused {
        let origin = self.log.name();
        if matches!(
            error,
            WitnessError::BadProof | WitnessError::SameSizeDifferentRoot
        ) {
            let note = request.checkpoint.to_string();
            let proof = self.forks.refused(&self.log, &note, &request.proof);
            let proof = proof.map(|path| path.display().to_string());
            // A proof that leads nowhere is anybody's to send; two signed roots are not.
            if proof.is_some() || error == WitnessError::SameSizeDifferentRoot {
                tracing::error!(
                    origin,
                    known_size,
                    proof,
                    "a log that was rewritten was shown"
                );
            } else {
                tracing::debug!(origin, known_size, "a consistency proof leads nowhere");
            }
        } else {
            // Strangers can bring this about: not for the usual log.
            tracing::debug!(origin, known_size, %error, "cosignature refused");
        }
        Refused::Rule { error, known_size }
    }
}
