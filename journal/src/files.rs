//! The file operations that the journal writes with.
//!
//! In scope: one small trait, so that tests can fail, tear or lose each single operation; its real
//! implementation; the lock on a directory. Out of scope: reading, which goes to the files
//! directly, and what is written.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

use crate::JournalError;

/// A file open for writing. Dropping it does not sync.
pub trait WriteFile: Send {
    /// Writes all of `bytes` at `offset`. Until a sync, a power cut may keep any part of it.
    ///
    /// # Errors
    /// Any part of `bytes` may have been written.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes the content and the length durable.
    ///
    /// # Errors
    /// What was not durable before may be lost for good, even if a later sync succeeds.
    fn sync_data(&mut self) -> io::Result<()>;

    /// As [`WriteFile::sync_data`], and the rest of the file's metadata.
    ///
    /// # Errors
    /// As there.
    fn sync_all(&mut self) -> io::Result<()>;

    /// Cuts the file to `len` bytes.
    ///
    /// # Errors
    /// The file has its old or its new length.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
}

/// Where the journal writes.
pub trait Disk: Send + Sync {
    /// Opens the file at `path` for writing, creating it empty if it is missing. A created file
    /// may vanish at a power cut until its directory is synced.
    ///
    /// # Errors
    /// The file can't be opened; it may have been created.
    fn open(&self, path: &Path) -> io::Result<Box<dyn WriteFile>>;

    /// Makes the names in `dir` durable.
    ///
    /// # Errors
    /// Files created since the last sync may vanish.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// The real disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsDisk;

impl Disk for OsDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        // 0600: sidecars hold openings, which only this service may read.
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        Ok(Box::new(OsFile(file)))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
}

struct OsFile(File);

impl WriteFile for OsFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync_all(&mut self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
}

/// Held while a directory is in use; released when dropped, and by the kernel when a process dies.
#[derive(Debug)]
pub(crate) struct DirectoryLock(#[expect(dead_code, reason = "held for its lock")] File);

const LOCK_FILE: &str = "LOCK";

/// Creates `dir` if it is missing, readable by its owner only, and locks it against other
/// processes.
pub(crate) fn lock_directory(dir: &Path) -> Result<DirectoryLock, JournalError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|error| JournalError::storage("create", dir.display(), error))?;
    let path = dir.join(LOCK_FILE);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|error| JournalError::storage("open", path.display(), error))?;
    match file.try_lock() {
        Ok(()) => Ok(DirectoryLock(file)),
        Err(TryLockError::WouldBlock) => Err(JournalError::InUse {
            place: dir.display().to_string(),
        }),
        Err(TryLockError::Error(error)) => {
            Err(JournalError::storage("lock", path.display(), error))
        }
    }
}
