//! An oversight body's own copy of the whole log, every entry of it verified before it is stored.
//!
//! In scope: the copy in the directory `mirror` (a journal of entries, the hashes of the tree over
//! them, the newest checkpoint that was verified), reading it, following the broker
//! ([`follow`]), and alerts on whatever is not in order (`watch`).
//! Out of scope: openings. The copy holds what is in the Merkle leaves and nothing else, so that
//! there is nothing to erase in it: whom an entry is about is read from the broker, each time, as
//! long as the broker still has it (decision 0015).
//!
//! An entry is appended only after the root over it and all before it was that of a checkpoint
//! which the log signed, a quorum of the panel cosigned, and this agency's own witness cosigned.
//! The checkpoint is written after the entries: what a crash in between leaves beyond it was
//! verified too, is not shown, and is verified again with the next one.

pub mod follow;
#[cfg(test)]
pub(crate) mod tests;
mod watch;

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
use passerelle_model::{error::ErrorCode, ids::FederationId};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, BufWriter, Read as _, Seek as _, Write as _},
    ops::ControlFlow,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

/// The directory, beside the journal.
pub const DIRECTORY: &str = "mirror";
/// The newest checkpoint that was verified, with its cosignatures.
pub(crate) const CHECKPOINT: &str = "checkpoint";
/// Entries of which the root is not known yet.
const INCOMING: &str = "incoming";
/// Entries, and bytes of entries, that are made durable together.
const BATCH_ENTRIES: usize = 4_096;
const BATCH_BYTES: usize = 8 * 1024 * 1024;

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
    writer: Mutex<Writer>,
    verified: RwLock<Option<Arc<Verified>>>,
    noted: Mutex<follow::Noted>,
    rules: Mutex<Running>,
}

struct Writer {
    journal: SegmentJournal,
    tree: StoredTree,
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
        Ok(Self {
            dir,
            reader,
            writer: Mutex::new(Writer {
                journal,
                tree,
                frontier,
            }),
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
        let mut failed = None;
        let scanned = self.reader.scan(from, &mut |index, record| {
            if index >= until {
                return ControlFlow::Break(());
            }
            match visit(record.entry) {
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

    /// A place for entries of which the root is not known yet. A crash leaves nothing of it.
    fn incoming(&self) -> io::Result<Incoming> {
        let path = self.dir.join(INCOMING);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        let file = options.mode(0o600).open(&path)?;
        fs::remove_file(&path)?;
        Ok(Incoming(BufWriter::new(file)))
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
            writer.append(&batch)?;
        }
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

    fn writer(&self) -> MutexGuard<'_, Writer> {
        // The journal refuses after a failure by itself; the frontier follows it.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    fn append(&mut self, batch: &[JournalRecord]) -> Result<(), JournalError> {
        self.journal.append(batch)?;
        let leaves: Vec<_> = batch
            .iter()
            .map(|record| leaf_hash(&record.entry))
            .collect();
        for leaf in &leaves {
            self.frontier.push(*leaf);
        }
        self.tree.append(leaves);
        Ok(())
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

/// Entries on their way, each after its length in 16 bits, in a file without a name.
struct Incoming(BufWriter<File>);

impl Incoming {
    fn push(&mut self, entry: &[u8]) -> io::Result<()> {
        let length = u16::try_from(entry.len()).map_err(io::Error::other)?;
        self.0.write_all(&length.to_be_bytes())?;
        self.0.write_all(entry)
    }

    fn rewind(self) -> io::Result<Arrived> {
        let mut file = self
            .0
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        Ok(Arrived(BufReader::new(file)))
    }
}

struct Arrived(BufReader<File>);

impl Arrived {
    /// The next entries; none at the end.
    fn batch(&mut self) -> io::Result<Vec<JournalRecord>> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < BATCH_ENTRIES && bytes < BATCH_BYTES {
            let mut length = [0; 2];
            match self.0.read_exact(&mut length) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error),
            }
            let mut entry = vec![0; usize::from(u16::from_be_bytes(length))];
            self.0.read_exact(&mut entry)?;
            bytes += entry.len();
            batch.push(JournalRecord {
                entry,
                sidecar: Vec::new(),
            });
        }
        Ok(batch)
    }
}
