//! An oversight body's own copy of the whole log, every entry of it verified before it is stored.
//!
//! In scope: the copy in the directory `mirror` (a journal of entries, the hashes of the tree over
//! them, the newest checkpoint that was verified), reading it, following the broker
//! ([`follow`]), showing it to others as files (`serve`), and alerts on whatever is not in order
//! (`watch`). Whom an entry is about stands beside it, sealed (`opened`, decision 0020): without it
//! no decision could be made again while the broker is gone.
//! Out of scope: who asked, why, and what was answered, which the broker gives to no reader.
//!
//! An entry is appended only after the root over it and all before it was that of a checkpoint
//! which the log signed, a quorum of the panel cosigned, and this agency's own witness cosigned.
//! The checkpoint is written after the entries: what a crash in between leaves beyond it was
//! verified too, is not shown, and is verified again with the next one.

pub mod follow;
mod incoming;
mod opened;
pub mod serve;
#[cfg(test)]
pub(crate) mod tests;
mod watch;

use incoming::Incoming;
use opened::Sealer;

use passerelle_audit::{
    checkpoint::{self, SignedCheckpoint},
    merkle::{Frontier, HashRead as _, leaf_hash},
    note::VerifierKey,
    verify::Running,
};
use passerelle_journal::{
    Journal as _, JournalError, JournalReader, JournalRecord, Options, SegmentJournal, StoredTree,
    durable_file::write_atomically,
    files::{Disk, OsDisk},
};
use passerelle_model::{bytes::Digest, commitment::Opening, error::ErrorCode, ids::FederationId};
use std::{
    fs, io,
    ops::ControlFlow,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard},
};

/// The directory, beside the journal.
pub const DIRECTORY: &str = "mirror";
/// The newest checkpoint that was verified, with its cosignatures.
pub(crate) const CHECKPOINT: &str = "checkpoint";

/// A checkpoint whose every entry is in the mirror.
#[derive(Debug)]
pub struct Verified(SignedCheckpoint);

impl Verified {
    /// The checkpoint.
    pub const fn signed(&self) -> &SignedCheckpoint {
        &self.0
    }

    /// How many entries it covers.
    pub fn size(&self) -> u64 {
        self.0.checkpoint().size()
    }
}

/// See the module.
pub struct Mirror {
    dir: PathBuf,
    reader: Arc<dyn JournalReader>,
    sealer: Sealer,
    /// Over all that is stored. Held for a moment only, so that readers wait for no disk.
    tree: RwLock<StoredTree>,
    writer: Mutex<Writer>,
    verified: RwLock<Option<Arc<Verified>>>,
    noted: Mutex<follow::Noted>,
    rules: Mutex<Running>,
}

struct Writer {
    journal: SegmentJournal,
    frontier: Frontier,
}

impl Mirror {
    /// Opens the mirror below the agent's directory `home`, or begins one.
    ///
    /// # Errors
    /// The storage fails; what was acknowledged is damaged; its checkpoint is not of the log with
    /// this key, or not over what is stored.
    pub fn open(
        home: &Path,
        federation: &FederationId,
        log: &VerifierKey,
    ) -> Result<Self, JournalError> {
        Self::open_on(Arc::new(OsDisk), home, federation, log)
    }

    /// As [`Mirror::open`], with the entries written through `disk`.
    ///
    /// # Errors
    /// As there.
    pub fn open_on(
        disk: Arc<dyn Disk>,
        home: &Path,
        federation: &FederationId,
        log: &VerifierKey,
    ) -> Result<Self, JournalError> {
        let dir = home.join(DIRECTORY);
        let entries = dir.join("entries");
        for dir in [&dir, &entries] {
            let mut builder = fs::DirBuilder::new();
            let made = builder.recursive(true).mode(0o700).create(dir);
            made.map_err(storage("make", dir))?;
        }
        let journal = SegmentJournal::open_on(Arc::clone(&disk), &entries, Options::default())?;
        let reader = journal.reader();
        let tree = StoredTree::open(&dir.join("tree"), Arc::clone(&reader), disk)?;
        let frontier = frontier(&tree, reader.as_ref())?;
        let verified = verified(&dir.join(CHECKPOINT), log, &tree)?;
        let sealer = Sealer::open(&dir)?;
        Ok(Self {
            dir,
            reader,
            sealer,
            tree: RwLock::new(tree),
            writer: Mutex::new(Writer { journal, frontier }),
            verified: RwLock::new(verified.map(Arc::new)),
            noted: Mutex::default(),
            rules: Mutex::new(Running::new(federation.clone(), log)),
        })
    }

    /// The newest checkpoint that was verified.
    pub fn verified(&self) -> Option<Arc<Verified>> {
        let verified = self.verified.read();
        verified.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Shows the entries from `from` to `until` to `visit`, in order.
    ///
    /// # Errors
    /// [`ErrorCode::Storage`]; those of `visit`.
    pub fn read(
        &self,
        from: u64,
        until: u64,
        visit: &mut dyn FnMut(Vec<u8>) -> Result<(), ErrorCode>,
    ) -> Result<(), ErrorCode> {
        self.scan(from, until, &mut |_, record| visit(record.entry))
    }

    /// The same, with what opens whom each is about: nothing, where the broker gave nothing or the
    /// key is destroyed.
    ///
    /// # Errors
    /// As there.
    pub fn read_opened(
        &self,
        from: u64,
        until: u64,
        visit: &mut dyn FnMut(Vec<u8>, Vec<Opening>) -> Result<(), ErrorCode>,
    ) -> Result<(), ErrorCode> {
        self.scan(from, until, &mut |index, record| {
            let openings = self.sealer.unseal(index, &record.sidecar);
            visit(record.entry, openings)
        })
    }

    fn scan(
        &self,
        from: u64,
        until: u64,
        visit: &mut dyn FnMut(u64, JournalRecord) -> Result<(), ErrorCode>,
    ) -> Result<(), ErrorCode> {
        let mut failed = None;
        let scanned = self.reader.scan(from, &mut |index, record| {
            if index >= until {
                return ControlFlow::Break(());
            }
            match visit(index, record) {
                Ok(()) => ControlFlow::Continue(()),
                Err(code) => {
                    failed = Some(code);
                    ControlFlow::Break(())
                }
            }
        });
        scanned.map_err(|error| {
            tracing::error!(%error, "the mirror can't be read");
            ErrorCode::Storage
        })?;
        failed.map_or(Ok(()), Err)
    }

    /// The state from which the tree over all that is stored can be extended.
    fn frontier(&self) -> Frontier {
        self.writer().frontier.clone()
    }

    /// Appends what came in: the root over all that is stored and these is that of `signed`.
    fn accept(&self, signed: SignedCheckpoint, incoming: Incoming) -> Result<(), JournalError> {
        let mut writer = self.writer();
        let mut incoming = incoming.rewind().map_err(storage("read", &self.dir))?;
        loop {
            let batch = incoming.batch().map_err(storage("read", &self.dir))?;
            if batch.is_empty() {
                break;
            }
            let leaves = writer.append(&batch)?;
            let mut tree = self.tree.write().unwrap_or_else(PoisonError::into_inner);
            tree.append(leaves);
        }
        drop(writer);
        self.settle(signed)
    }

    /// Notes a checkpoint whose every entry is stored.
    fn settle(&self, signed: SignedCheckpoint) -> Result<(), JournalError> {
        let path = self.dir.join(CHECKPOINT);
        let note = signed.note().to_string();
        // A crash before this leaves the older one, which still holds.
        write_atomically(&path, note.as_bytes(), 0o600).map_err(storage("write", &path))?;
        let mut verified = self
            .verified
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *verified = Some(Arc::new(Verified(signed)));
        Ok(())
    }

    /// The tree over all that is stored, which may be more than what is shown.
    fn tree(&self) -> RwLockReadGuard<'_, StoredTree> {
        // Nothing panics while it holds the lock for writing; were it so, the tree is still the
        // tree of a prefix of the journal.
        self.tree.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        // The journal refuses after a failure by itself; the frontier follows it.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    /// Makes a batch durable; the hashes of its leaves.
    fn append(&mut self, batch: &[JournalRecord]) -> Result<Vec<Digest>, JournalError> {
        self.journal.append(batch)?;
        let leaves: Vec<_> = batch
            .iter()
            .map(|record| leaf_hash(&record.entry))
            .collect();
        for leaf in &leaves {
            self.frontier.push(*leaf);
        }
        Ok(leaves)
    }
}

fn storage(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError + use<> {
    let place = path.display().to_string();
    move |source| JournalError::Storage {
        action,
        place,
        source: source.into(),
    }
}

/// From the files of the tree or, if they do not lead to its root, from the entries.
fn frontier(tree: &StoredTree, reader: &dyn JournalReader) -> Result<Frontier, JournalError> {
    if let Ok(frontier) = tree.frontier_at(tree.size())
        && frontier.root() == tree.root()
    {
        return Ok(frontier);
    }
    let mut frontier = Frontier::new();
    reader.scan(0, &mut |_, record| {
        frontier.push(leaf_hash(&record.entry));
        ControlFlow::Continue(())
    })?;
    Ok(frontier)
}

fn verified(
    path: &Path,
    log: &VerifierKey,
    tree: &StoredTree,
) -> Result<Option<Verified>, JournalError> {
    let note = match fs::read_to_string(path) {
        Ok(note) => note,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(storage("read", path)(error)),
    };
    let corrupt = |reason: String| JournalError::Corrupt {
        place: path.display().to_string(),
        position: 0,
        reason,
    };
    let signed = checkpoint::open(&note, log).map_err(|error| corrupt(error.to_string()))?;
    let root = tree.root_at(signed.checkpoint().size());
    let root = root.map_err(|error| corrupt(error.to_string()))?;
    if root != signed.checkpoint().root() {
        return Err(corrupt("the entries have another root".to_owned()));
    }
    Ok(Some(Verified(signed)))
}
