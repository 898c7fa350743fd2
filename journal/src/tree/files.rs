//! The files of a tree: one per level, and a mark.
//!
//! In scope: reading and writing runs of hashes, syncing, the mark. Out of scope: what to believe.
//!
//! File `level-NN` holds the hash with number `n` of level `NN` at byte `32 * n`: the root of
//! leaves `n * 2^NN .. (n + 1) * 2^NN`. So one read of 8 KiB from level 0, 8, 16 ... is one full
//! tile of C2SP tlog-tiles.
//!
//! ```text
//! mark  magic 8 | size 8 | root 32 | checksum 4
//! ```

use std::fs::{DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use passerelle_model::bytes::Digest;

use super::lock;
use crate::JournalError;
use crate::files::{Disk, WriteFile};
use crate::frame::{Fields, checked};

const MARK_FILE: &str = "mark";
const MAGIC: [u8; 8] = *b"PSRLTRE1";
const HASH_BYTES: usize = 32;

/// Up to here the files are whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) size: u64,
    pub(super) root: Digest,
}

impl Mark {
    fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&self.size.to_le_bytes());
        out.extend_from_slice(&self.root.0);
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(checked(0, bytes)?);
        if fields.take()? != MAGIC {
            return None;
        }
        Some(Self {
            size: fields.u64()?,
            root: Digest(fields.take()?),
        })
    }
}

struct Level {
    writing: Box<dyn WriteFile>,
    reading: Arc<File>,
}

/// The files in one directory.
pub(super) struct HashFiles {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    levels: Mutex<Vec<Level>>,
    // Set at the first failure: the log gets one line, not one for each batch.
    failed: AtomicBool,
}

/// A mark that is being made; dropping it waits for it.
pub(super) struct Marking(Option<JoinHandle<()>>);

impl Marking {
    pub(super) fn is_done(&self) -> bool {
        self.0.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Marking {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            let _ = thread.join();
        }
    }
}

fn level_path(dir: &Path, level: usize) -> PathBuf {
    dir.join(format!("level-{level:02}"))
}

fn offset(number: u64) -> Option<u64> {
    number.checked_mul(HASH_BYTES as u64)
}

impl HashFiles {
    pub(super) fn open(dir: &Path, disk: Arc<dyn Disk>) -> Result<Self, JournalError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|error| JournalError::storage("create", dir.display(), error))?;
        Ok(Self {
            dir: dir.to_path_buf(),
            disk,
            levels: Mutex::new(Vec::new()),
            failed: AtomicBool::new(false),
        })
    }

    fn note(&self, path: &Path, error: &std::io::Error) {
        if !self.failed.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                file = %path.display(), %error,
                "the files of the tree can't be written: the next start hashes more of the journal"
            );
        }
    }

    /// Opens the files of all levels up to `level`.
    fn reach(&self, levels: &mut Vec<Level>, level: usize) -> std::io::Result<()> {
        while levels.len() <= level {
            let path = level_path(&self.dir, levels.len());
            levels.push(Level {
                writing: self.disk.open(&path)?,
                reading: Arc::new(File::open(&path)?),
            });
        }
        Ok(())
    }

    /// Opens the files of the first `count` levels, so that each read need not.
    pub(super) fn prepare(&self, count: usize) {
        if let Some(highest) = count.checked_sub(1)
            && let Err(error) = self.reach(&mut lock(&self.levels), highest)
        {
            self.note(&level_path(&self.dir, highest), &error);
        }
    }

    /// Writes `hashes` from number `start` of `level` on; false, and a line in the log, if it can't.
    pub(super) fn write(&self, level: usize, start: u64, hashes: &[u8]) -> bool {
        let mut levels = lock(&self.levels);
        let written = self.reach(&mut levels, level).and_then(|()| {
            let file = levels.get_mut(level).ok_or(std::io::ErrorKind::NotFound)?;
            let at = offset(start).ok_or(std::io::ErrorKind::FileTooLarge)?;
            file.writing.write_at(at, hashes)
        });
        if let Err(error) = &written {
            self.note(&level_path(&self.dir, level), error);
        }
        written.is_ok()
    }

    /// Writes each row at its place, and leaves it empty at the place after that.
    pub(super) fn write_rows(&self, rows: &mut [(u64, Vec<u8>)]) {
        for (level, (start, bytes)) in rows.iter_mut().enumerate() {
            if !bytes.is_empty() {
                self.write(level, *start, bytes);
                *start = start.saturating_add((bytes.len() / HASH_BYTES) as u64);
                bytes.clear();
            }
        }
    }

    /// `count` hashes from number `start` of `level` on.
    pub(super) fn read(&self, level: usize, start: u64, count: usize) -> Option<Vec<Digest>> {
        let file = {
            let levels = lock(&self.levels);
            levels.get(level).map(|level| Arc::clone(&level.reading))
        };
        let file = match file {
            Some(file) => file,
            // An open, which reads no more than its frontier.
            None => Arc::new(File::open(level_path(&self.dir, level)).ok()?),
        };
        let mut bytes = vec![0; count.checked_mul(HASH_BYTES)?];
        file.read_exact_at(&mut bytes, offset(start)?).ok()?;
        let (hashes, _) = bytes.as_chunks::<HASH_BYTES>();
        Some(hashes.iter().copied().map(Digest).collect())
    }

    /// The mark, unless there is none or it is damaged.
    pub(super) fn read_mark(&self) -> Option<Mark> {
        Mark::decode(&std::fs::read(self.dir.join(MARK_FILE)).ok()?)
    }

    /// Syncs the files, then writes the mark.
    pub(super) fn mark_now(&self, mark: &Mark) {
        let levels = lock(&self.levels).len();
        if let Err(error) = sync_and_mark(&self.dir, self.disk.as_ref(), levels, mark) {
            self.note(&self.dir.join(MARK_FILE), &error);
        }
    }

    /// As [`HashFiles::mark_now`], in a thread.
    pub(super) fn mark_later(&self, mark: Mark) -> Option<Marking> {
        let (dir, disk) = (self.dir.clone(), Arc::clone(&self.disk));
        let levels = lock(&self.levels).len();
        let thread = std::thread::Builder::new()
            .name("tree".to_owned())
            .spawn(move || {
                if let Err(error) = sync_and_mark(&dir, disk.as_ref(), levels, &mark) {
                    tracing::warn!(dir = %dir.display(), %error, "the tree can't be marked");
                }
            });
        thread.ok().map(|thread| Marking(Some(thread)))
    }
}

fn sync_and_mark(dir: &Path, disk: &dyn Disk, levels: usize, mark: &Mark) -> std::io::Result<()> {
    for level in 0..levels {
        disk.open(&level_path(dir, level))?.sync_data()?;
    }
    disk.sync_dir(dir)?;
    // A crash from here on leaves the old mark, the new one, or a torn one that counts as none.
    let mut file = disk.open(&dir.join(MARK_FILE))?;
    file.truncate(0)?;
    file.write_at(0, &mark.encode())
}
