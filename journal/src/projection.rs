//! The projection: state derived from the journal, kept on disk so that a start is quick and
//! memory small.
//!
//! In scope: reads for `decide` and `apply`, atomic commits with a watermark, and on any doubt an
//! empty store, which the caller fills from the journal. Out of scope: durability of the newest
//! commits. Nothing here is the only copy of anything.
//!
//! Commits go to a table in memory. A thread moves them, some MiB at a time, into the file
//! ([`store`]), each time in one durable transaction with the watermark. So a commit costs the
//! same however much is stored, and a crash costs the newest commits, with their watermark: the
//! caller applies at most those [`MAX_FRESH_BYTES`] of rows again.
//!
//! Doubt. What is found at open: no file, or more than one; an error or a panic; another version;
//! a watermark past the journal; the note of an earlier doubt. Every row has a checksum that is
//! verified when it is read. A row that got lost shows in the number and sum of all rows: small
//! stores are read whole at open, larger ones by a thread after it. A doubt that is found while
//! running is noted in a file and ends all reads and commits: a withdrawal that got lost in here
//! would release what it should stop.

mod merge;
mod store;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::JoinHandle;

use passerelle_model::store::{Read, Row, StoreError, Write};

use crate::JournalError;
use crate::files::{DirectoryLock, lock_directory};
use merge::merged;
use store::{Changes, Live, close, leak};

/// Rows in memory beyond this size, in bytes, are moved to the file. Large enough that a row which
/// lives for a second, as a statement on its way does, is gone before anything is written of it.
const FLUSH_BYTES: usize = 8 * 1024 * 1024;

/// Most bytes of rows in memory that are not yet on their way to the file; as many again may be on
/// their way. A commit over it waits.
const MAX_FRESH_BYTES: usize = 2 * FLUSH_BYTES;

/// What a row in memory takes beside its bytes, about.
const ROW_OVERHEAD_BYTES: usize = 96;

/// A store of at most this many rows is read whole at open (some 50 ms).
const CHECK_AT_OPEN_ROWS: u64 = 65_536;

const GENERATION_PREFIX: &str = "redb-";
const DOUBT_FILE: &str = "doubt";

/// A rebuildable key-value store. One value may be shared by all threads.
pub struct Projection {
    inner: Arc<Inner>,
    flusher: Option<(SyncSender<()>, JoinHandle<()>)>,
    checker: Option<JoinHandle<()>>,
    _lock: DirectoryLock,
}

struct Inner {
    dir: PathBuf,
    schema_version: u32,
    state: RwLock<State>,
    // Held while rows move to the file, so that they do so in order.
    moving: Mutex<()>,
    stop: AtomicBool,
}

struct State {
    // `None` after a failure, until the store has been cleared: a decision must not rest on it.
    live: Option<Live>,
    generation: u64,
    /// Newest commits, not yet on their way to the file.
    fresh: Changes,
    fresh_bytes: usize,
    /// On their way; older than `fresh`, newer than the file.
    leaving: Arc<Changes>,
    watermark: u64,
}

impl State {
    fn new(live: Live, generation: u64) -> Self {
        Self {
            watermark: live.summary.watermark,
            live: Some(live),
            generation,
            fresh: Changes::new(),
            fresh_bytes: 0,
            leaving: Arc::default(),
        }
    }
}

impl Projection {
    /// Opens the projection in `dir`. It starts empty, with watermark 0, if there is any doubt
    /// about what is there, such as another `schema_version`, or a watermark past `journal_len`
    /// (the journal's next index).
    ///
    /// # Errors
    /// Another process has it open, or even an empty store can't be created.
    pub fn open(dir: &Path, schema_version: u32, journal_len: u64) -> Result<Self, JournalError> {
        Self::open_checking(dir, schema_version, journal_len, CHECK_AT_OPEN_ROWS)
    }

    fn open_checking(
        dir: &Path,
        schema_version: u32,
        journal_len: u64,
        check_rows: u64,
    ) -> Result<Self, JournalError> {
        let lock = lock_directory(dir)?;
        let generations = generations(dir)
            .map_err(|error| JournalError::storage("list", dir.display(), error))?;
        let newest = generations.iter().max().copied();
        let found = match generations.as_slice() {
            [] => Err(StoreError("there is none yet".to_owned())),
            _ if dir.join(DOUBT_FILE).exists() => Err(StoreError(
                "damage was found while it was in use".to_owned(),
            )),
            [only] => {
                let path = generation_path(dir, *only);
                store::open(&path, schema_version, journal_len, check_rows)
            }
            _ => Err(StoreError("a crash interrupted its replacement".to_owned())),
        };
        let (state, is_checked) = match found {
            Ok(live) => {
                let is_checked = live.summary.rows <= check_rows;
                (State::new(live, newest.unwrap_or(0)), is_checked)
            }
            Err(reason) => {
                if newest.is_some() {
                    tracing::warn!(
                        dir = %dir.display(),
                        %reason,
                        "the projection is dropped and will be rebuilt from the journal"
                    );
                }
                let next = newest.map_or(0, |newest| newest.wrapping_add(1));
                (create(dir, next, schema_version)?, true)
            }
        };
        let inner = Arc::new(Inner {
            dir: dir.to_path_buf(),
            schema_version,
            state: RwLock::new(state),
            moving: Mutex::new(()),
            stop: AtomicBool::new(false),
        });
        Self::start(inner, is_checked, lock)
    }

    fn start(
        inner: Arc<Inner>,
        is_checked: bool,
        lock: DirectoryLock,
    ) -> Result<Self, JournalError> {
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let failed = |error| JournalError::storage("start", "a thread", error);
        let (wake, woken) = mpsc::sync_channel::<()>(1);
        let flushing = Arc::clone(&inner);
        let flusher = thread("projection")
            .spawn(move || {
                while woken.recv().is_ok() {
                    // The failure is kept in the state: the next commit or read reports it.
                    let _ = flushing.flush();
                }
            })
            .map_err(failed)?;
        let mut projection = Self {
            inner,
            flusher: Some((wake, flusher)),
            checker: None,
            _lock: lock,
        };
        if !is_checked {
            let inner = Arc::clone(&projection.inner);
            let checker = thread("projection-check")
                .spawn(move || {
                    let _ = inner.check();
                })
                .map_err(failed)?;
            projection.checker = Some(checker);
        }
        Ok(projection)
    }

    /// The number of journal records applied: the index of the next one to apply.
    #[must_use]
    pub fn watermark(&self) -> u64 {
        self.inner.read().watermark
    }

    /// Carries out `writes` in order and sets the watermark, all or nothing also across a crash.
    /// Readers see all of it or none. A crash leaves this state, an older one with its older
    /// watermark, or a doubt.
    ///
    /// # Errors
    /// The watermark would go back (nothing changes), or the store failed, now or before; then
    /// every later read and commit fails too until [`Projection::clear`].
    pub fn commit(&self, writes: Vec<Write>, watermark: u64) -> Result<(), StoreError> {
        let fresh_bytes = {
            let mut state = self.inner.write();
            let before = state.watermark;
            if watermark < before {
                return Err(StoreError(format!(
                    "watermark `{watermark}` is below `{before}`"
                )));
            }
            if state.live.is_none() {
                return Err(unusable());
            }
            for (key, value) in writes {
                let value_bytes = value.as_ref().map_or(0, Vec::len);
                let bytes = key.len() + value_bytes + ROW_OVERHEAD_BYTES;
                state.fresh_bytes = state.fresh_bytes.saturating_add(bytes);
                state.fresh.insert(key, value);
            }
            state.watermark = watermark;
            state.fresh_bytes
        };
        if fresh_bytes > MAX_FRESH_BYTES {
            // The thread can't keep up: wait for it, then help.
            self.inner.flush()?;
        } else if fresh_bytes > FLUSH_BYTES
            && let Some((wake, _)) = &self.flusher
        {
            // Full: the thread has been told and has not come to it yet.
            let _ = wake.try_send(());
        }
        Ok(())
    }

    /// Moves every commit to the file, durably.
    ///
    /// # Errors
    /// The store failed, as in [`Projection::commit`].
    pub fn flush(&self) -> Result<(), StoreError> {
        self.inner.flush()
    }

    /// Empties the store and sets the watermark to 0.
    ///
    /// # Errors
    /// An empty store can't be created; every later read fails until a `clear` succeeds.
    pub fn clear(&self) -> Result<(), StoreError> {
        let _in_order = self.inner.in_order();
        let mut state = self.inner.write();
        if let Some(live) = state.live.take() {
            // It ends when the last reader is done with it.
            close(live);
        }
        (state.watermark, state.fresh_bytes) = (0, 0);
        state.fresh = Changes::new();
        state.leaving = Arc::default();
        state.generation = state.generation.wrapping_add(1);
        *state = create(&self.inner.dir, state.generation, self.inner.schema_version)
            .map_err(|error| StoreError(error.to_string()))?;
        Ok(())
    }

    /// Reads all rows in the file and compares them with what they should be.
    ///
    /// # Errors
    /// They differ. That is noted: every later read and commit fails, and the next open rebuilds.
    pub fn check(&self) -> Result<(), StoreError> {
        self.inner.check()
    }
}

impl Inner {
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn in_order(&self) -> std::sync::MutexGuard<'_, ()> {
        self.moving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flush(&self) -> Result<(), StoreError> {
        let _in_order = self.in_order();
        let (live, leaving, watermark) = {
            let mut state = self.write();
            let live = state.live.clone().ok_or_else(unusable)?;
            if state.fresh.is_empty() && state.watermark == live.summary.watermark {
                return Ok(());
            }
            state.leaving = Arc::new(std::mem::take(&mut state.fresh));
            state.fresh_bytes = 0;
            (live, Arc::clone(&state.leaving), state.watermark)
        };
        // A crash here leaves the file with its older watermark.
        let flushed = live.flush(&leaving, watermark);
        let mut state = self.write();
        match flushed {
            // Unless a reader found damage meanwhile: then it stays given up.
            Ok(after) if state.live.is_some() => {
                state.live = Some(after);
                state.leaving = Arc::default();
                Ok(())
            }
            Ok(after) => {
                leak(after);
                Err(unusable())
            }
            Err(error) => {
                // What the state holds is of the same store.
                state.live.take().into_iter().for_each(leak);
                leak(live);
                Err(error)
            }
        }
    }

    fn check(&self) -> Result<(), StoreError> {
        let live = self.read().live.clone().ok_or_else(unusable)?;
        let checked = live.rows.check(&live.summary, &self.stop);
        checked.map_err(|error| self.doubt(&live, error))
    }

    /// Notes that the file behind `read` can't be trusted.
    fn doubt(&self, read: &Live, error: StoreError) -> StoreError {
        let mut state = self.write();
        let is_current = |live: &mut Live| Arc::ptr_eq(&live.db, &read.db);
        // It may have been cleared meanwhile, or given up by another reader.
        let Some(live) = state.live.take_if(is_current) else {
            return error;
        };
        leak(live);
        let path = self.dir.join(DOUBT_FILE);
        tracing::error!(
            dir = %self.dir.display(), %error,
            "the projection is damaged: it is given up, and the next start rebuilds it"
        );
        if let Err(error) = std::fs::write(&path, b"") {
            tracing::error!(file = %path.display(), %error, "the damage can't be noted");
        }
        error
    }
}

impl Read for Projection {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let live = {
            let state = self.inner.read();
            let live = state.live.as_ref().ok_or_else(unusable)?;
            let change = state.fresh.get(key).or_else(|| state.leaving.get(key));
            if let Some(change) = change {
                return Ok(change.clone());
            }
            live.clone()
        };
        let found = live.rows.get(key);
        found.map_err(|error| self.inner.doubt(&live, error))
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let (live, scanned) = {
            let state = self.inner.read();
            let live = state.live.clone().ok_or_else(unusable)?;
            let newer = [&state.fresh, &*state.leaving];
            let scanned = merged(newer, &live.rows, prefix, after, limit);
            (live, scanned)
        };
        scanned.map_err(|error| self.inner.doubt(&live, error))
    }
}

impl Drop for Projection {
    fn drop(&mut self) {
        self.inner.stop.store(true, Ordering::Relaxed);
        if let Some((wake, flusher)) = self.flusher.take() {
            drop(wake);
            // A panic in it is impossible but for one in redb, which is caught.
            let _ = flusher.join();
        }
        if let Some(checker) = self.checker.take() {
            let _ = checker.join();
        }
        // After a failure there is nothing to keep; the next open starts from what the file has.
        let _ = self.inner.flush();
        if let Some(live) = self.inner.write().live.take() {
            close(live);
        }
    }
}

fn unusable() -> StoreError {
    StoreError("the store failed: clear the projection and rebuild it".to_owned())
}

fn generation_path(dir: &Path, generation: u64) -> PathBuf {
    dir.join(format!("{GENERATION_PREFIX}{generation}"))
}

fn generations(dir: &Path) -> std::io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_prefix(GENERATION_PREFIX));
        found.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    Ok(found)
}

/// An empty store as generation `generation`, after removing every other. A name of its own,
/// because a store given up may still be open and write to its old one.
fn create(dir: &Path, generation: u64, schema_version: u32) -> Result<State, JournalError> {
    let list =
        generations(dir).map_err(|error| JournalError::storage("list", dir.display(), error))?;
    for old in list {
        // A crash here leaves less; the note of a doubt, if there is one, still stands.
        let path = generation_path(dir, old);
        remove(&path).map_err(|error| JournalError::storage("remove", path.display(), error))?;
    }
    let note = dir.join(DOUBT_FILE);
    if note.exists() {
        remove(&note).map_err(|error| JournalError::storage("remove", note.display(), error))?;
    }
    let path = generation_path(dir, generation);
    let live = store::create(&path, schema_version)
        .map_err(|error| JournalError::storage("create", path.display(), error))?;
    Ok(State::new(live, generation))
}

fn remove(path: &Path) -> std::io::Result<()> {
    if path.is_dir() {
        std::fs::remove_dir_all(path)
    } else {
        std::fs::remove_file(path)
    }
}

#[cfg(test)]
mod tests;
