//! The projection: state derived from the journal, kept in sled so that a start is quick.
//!
//! In scope: reads for `decide` and `apply`, atomic commits with a watermark, and on any doubt an
//! empty store, which the caller fills from the journal. Out of scope: durability. sled's flush
//! loses data at a power cut, and opening it afterwards may panic, fail, or give an old or empty
//! store. Nothing here is the only copy of anything.
//!
//! One tree holds rows under the prefix 1, and under the prefix 0 one summary: versions, watermark,
//! number and sum of the rows. Rows and summary change in one batch. An open reads all rows and
//! compares: a withdrawal that got lost in here would release what it should stop.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use passerelle_model::store::{Read, Row, StoreError, Write};

use crate::JournalError;
use crate::files::{DirectoryLock, lock_directory};
use crate::frame::{Fields, checked};

const CACHE_BYTES: u64 = 32 * 1024 * 1024;
const FLUSH_EVERY_MS: u64 = 500;

/// How often and at which interval an open looks whether an earlier value has closed (5 s in all).
const CLOSE_POLLS: u32 = 500;
const CLOSE_POLL: Duration = Duration::from_millis(10);

/// Changes with what this file writes; the caller's schema version with what callers write.
const FORMAT_VERSION: u32 = 1;
const SUMMARY_KEY: [u8; 1] = [0];
const ROW_PREFIX: u8 = 1;
const GENERATION_PREFIX: &str = "sled-";

/// A rebuildable key-value store. One value may be shared by all threads.
pub struct Projection {
    dir: PathBuf,
    schema_version: u32,
    state: RwLock<State>,
    _lock: DirectoryLock,
}

struct State {
    // `None` after a failed commit, until the store has been cleared: half of that commit may be
    // visible, and a decision must not rest on it.
    db: Option<sled::Db>,
    generation: u64,
    summary: Summary,
}

impl Projection {
    /// Opens the projection in `dir`. It starts empty, with watermark 0, if there is any doubt
    /// about what is there: an error or a panic while opening, rows that do not match their sum,
    /// another `schema_version`, or a watermark past `journal_len` (the journal's next index).
    ///
    /// # Errors
    /// Another process has it open, or even an empty store can't be created.
    pub fn open(dir: &Path, schema_version: u32, journal_len: u64) -> Result<Self, JournalError> {
        let lock = lock_directory(dir)?;
        let generations = generations(dir)
            .map_err(|error| JournalError::storage("list", dir.display(), error))?;
        let newest = generations.iter().max().copied();
        let found = match generations.as_slice() {
            [] => Err("there is none yet".to_owned()),
            [only] => open_existing(&generation_path(dir, *only), schema_version, journal_len),
            _ => Err("a crash interrupted its replacement".to_owned()),
        };
        let state = match found {
            Ok((db, summary)) => State {
                db: Some(db),
                generation: newest.unwrap_or(0),
                summary,
            },
            Err(reason) => {
                if newest.is_some() {
                    tracing::warn!(
                        dir = %dir.display(),
                        reason,
                        "the projection is dropped and will be rebuilt from the journal"
                    );
                }
                create(
                    dir,
                    newest.map_or(0, |newest| newest.wrapping_add(1)),
                    schema_version,
                )?
            }
        };
        Ok(Self {
            dir: dir.to_path_buf(),
            schema_version,
            state: RwLock::new(state),
            _lock: lock,
        })
    }

    /// The number of journal records applied: the index of the next one to apply.
    #[must_use]
    pub fn watermark(&self) -> u64 {
        self.state
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .summary
            .watermark
    }

    /// Carries out `writes` in order and sets the watermark, all or nothing also across a crash.
    /// Readers see all of it or none. A crash here leaves the state before or after, or an older
    /// one with its older watermark, or a doubt.
    ///
    /// # Errors
    /// The watermark would go back (nothing changes), or the store fails; then every later read
    /// and commit fails too until [`Projection::clear`].
    pub fn commit(&self, writes: Vec<Write>, watermark: u64) -> Result<(), StoreError> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let before = state.summary.watermark;
        if watermark < before {
            return Err(StoreError(format!(
                "watermark `{watermark}` is below `{before}`"
            )));
        }
        let Some(db) = state.db.take() else {
            return Err(unusable());
        };
        let summary = guarded(|| apply(&db, state.summary, writes, watermark));
        match summary {
            Ok(summary) => {
                state.summary = summary;
                state.db = Some(db);
                Ok(())
            }
            Err(error) => {
                leak(db);
                Err(error)
            }
        }
    }

    /// Empties the store and sets the watermark to 0.
    ///
    /// # Errors
    /// An empty store can't be created; every later read fails until a `clear` succeeds.
    pub fn clear(&self) -> Result<(), StoreError> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(db) = state.db.take() {
            close(db);
        }
        state.summary.watermark = 0;
        state.generation = state.generation.wrapping_add(1);
        *state = create(&self.dir, state.generation, self.schema_version)
            .map_err(|error| StoreError(error.to_string()))?;
        Ok(())
    }

    fn with_db<T>(
        &self,
        read: impl FnOnce(&sled::Db) -> Result<T, sled::Error>,
    ) -> Result<T, StoreError> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let db = state.db.as_ref().ok_or_else(unusable)?;
        guarded(|| read(db).map_err(|error| StoreError(error.to_string())))
    }
}

impl Read for Projection {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.with_db(|db| Ok(db.get(row_key(key))?.map(|value| value.to_vec())))
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(row_key(after)),
            Some(_) | None => Bound::Included(row_key(prefix)),
        };
        let prefix = row_key(prefix);
        self.with_db(|db| {
            let mut rows = Vec::new();
            for row in db.range((start, Bound::Unbounded)).take(limit) {
                let (key, value) = row?;
                match key.strip_prefix([ROW_PREFIX].as_slice()) {
                    Some(short) if key.starts_with(&prefix) => {
                        rows.push((short.to_vec(), value.to_vec()));
                    }
                    _ => break,
                }
            }
            Ok(rows)
        })
    }
}

impl Drop for Projection {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(db) = state.db.take() {
            close(db);
        }
    }
}

fn unusable() -> StoreError {
    StoreError("a commit failed: clear the projection and rebuild it".to_owned())
}

/// Turns a panic inside sled into an error. Its message may hold keys and values: it is dropped.
fn guarded<T>(run: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    // What is behind the references may be half changed after a panic: the caller gives it up.
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|_| Err(StoreError("the store panicked".to_owned())))
}

/// Writes out and closes. A store that can't be written out is left open until the process ends:
/// sled waits for its background thread when it is dropped, and that thread may have died.
fn close(db: sled::Db) {
    let flushed = guarded(|| db.flush().map_err(|error| StoreError(error.to_string())));
    if flushed.is_ok() && catch_unwind(AssertUnwindSafe(|| drop(db))).is_ok() {
        return;
    }
    tracing::warn!("the projection can't be closed in order: the next start may rebuild it");
}

/// Gives a store up without closing it: dropping a damaged one may hang, see [`close`].
fn leak(db: sled::Db) {
    std::mem::forget(db);
}

fn row_key(key: &[u8]) -> Vec<u8> {
    [&[ROW_PREFIX], key].concat()
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
/// because a store given up may still be open and write files under its old one.
fn create(dir: &Path, generation: u64, schema_version: u32) -> Result<State, JournalError> {
    let list =
        generations(dir).map_err(|error| JournalError::storage("list", dir.display(), error))?;
    for old in list {
        // A crash here leaves a part of an old store, which the next open finds in doubt.
        let path = generation_path(dir, old);
        remove(&path).map_err(|error| JournalError::storage("remove", path.display(), error))?;
    }
    let path = generation_path(dir, generation);
    let summary = Summary {
        schema_version,
        ..Summary::default()
    };
    let db = guarded(|| {
        let db = open_sled(&path)?;
        // A crash before this leaves a store without a summary: a doubt.
        db.insert(SUMMARY_KEY, summary.encode())
            .map_err(|error| StoreError(error.to_string()))?;
        Ok(db)
    })
    .map_err(|error| JournalError::storage("create", path.display(), error))?;
    Ok(State {
        db: Some(db),
        generation,
        summary,
    })
}

fn remove(path: &Path) -> std::io::Result<()> {
    if path.is_dir() {
        std::fs::remove_dir_all(path)
    } else {
        std::fs::remove_file(path)
    }
}

fn open_sled(path: &Path) -> Result<sled::Db, StoreError> {
    sled::Config::new()
        .path(path)
        .cache_capacity(CACHE_BYTES)
        .flush_every_ms(Some(FLUSH_EVERY_MS))
        .open()
        .map_err(|error| StoreError(error.to_string()))
}

/// Waits for sled's background threads of an earlier value in this process: they outlive the drop
/// of the store by moments, and hold its file lock, without which an open fails. Other processes
/// are kept out by the directory's own lock.
fn wait_until_closed(path: &Path) {
    for _ in 0..CLOSE_POLLS {
        let free = std::fs::File::open(path.join("db")).map(|file| file.try_lock().is_ok());
        if free.unwrap_or(true) {
            return;
        }
        std::thread::sleep(CLOSE_POLL);
    }
}

/// The store at `path` if there is no doubt about it, else the doubt.
fn open_existing(
    path: &Path,
    schema_version: u32,
    journal_len: u64,
) -> Result<(sled::Db, Summary), String> {
    wait_until_closed(path);
    let db = guarded(|| open_sled(path)).map_err(|error| error.to_string())?;
    let summary = match guarded(|| verify(&db)) {
        Ok(summary) => summary,
        Err(error) => {
            leak(db);
            return Err(error.to_string());
        }
    };
    let doubt = if summary.schema_version != schema_version {
        format!(
            "its schema version is `{}`, not `{schema_version}`",
            summary.schema_version
        )
    } else if summary.watermark > journal_len {
        format!(
            "its watermark `{}` is past the journal's `{journal_len}`",
            summary.watermark
        )
    } else {
        return Ok((db, summary));
    };
    close(db);
    Err(doubt)
}

fn verify(db: &sled::Db) -> Result<Summary, StoreError> {
    let fail = |error: sled::Error| StoreError(error.to_string());
    let summary = db.get(SUMMARY_KEY).map_err(fail)?;
    let summary = summary.and_then(|bytes| Summary::decode(&bytes));
    let summary = summary.ok_or_else(|| StoreError("it has no valid summary".to_owned()))?;
    let mut counted = Summary {
        rows: 0,
        sum: 0,
        ..summary
    };
    for row in db.range([ROW_PREFIX]..) {
        let (key, value) = row.map_err(fail)?;
        counted.add(&key, &value);
    }
    if counted != summary {
        return Err(StoreError("its rows do not match its summary".to_owned()));
    }
    Ok(summary)
}

fn apply(
    db: &sled::Db,
    mut summary: Summary,
    writes: Vec<Write>,
    watermark: u64,
) -> Result<Summary, StoreError> {
    let fail = |error: sled::Error| StoreError(error.to_string());
    let mut batch = sled::Batch::default();
    // Of several writes to one key the last holds.
    let writes: BTreeMap<Vec<u8>, Option<Vec<u8>>> = writes.into_iter().collect();
    for (key, value) in writes {
        let key = row_key(&key);
        if let Some(old) = db.get(&key).map_err(fail)? {
            summary.subtract(&key, &old);
        }
        match value {
            Some(value) => {
                summary.add(&key, &value);
                batch.insert(key, value);
            }
            None => batch.remove(key),
        }
    }
    summary.watermark = watermark;
    batch.insert(SUMMARY_KEY.as_slice(), summary.encode());
    db.apply_batch(batch).map_err(fail)?;
    Ok(summary)
}

/// What the rows must agree with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Summary {
    schema_version: u32,
    watermark: u64,
    rows: u64,
    /// Sum of the rows' checksums: independent of order, so that one changed row changes it by a
    /// difference.
    sum: u64,
}

impl Summary {
    fn encode(&self) -> Vec<u8> {
        let mut out = FORMAT_VERSION.to_le_bytes().to_vec();
        out.extend_from_slice(&self.schema_version.to_le_bytes());
        out.extend_from_slice(&self.watermark.to_le_bytes());
        out.extend_from_slice(&self.rows.to_le_bytes());
        out.extend_from_slice(&self.sum.to_le_bytes());
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(checked(0, bytes)?);
        if fields.u32()? != FORMAT_VERSION {
            return None;
        }
        Some(Self {
            schema_version: fields.u32()?,
            watermark: fields.u64()?,
            rows: fields.u64()?,
            sum: fields.u64()?,
        })
    }

    fn add(&mut self, key: &[u8], value: &[u8]) {
        self.rows = self.rows.wrapping_add(1);
        self.sum = self.sum.wrapping_add(row_checksum(key, value));
    }

    fn subtract(&mut self, key: &[u8], value: &[u8]) {
        self.rows = self.rows.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(row_checksum(key, value));
    }
}

/// The key's length goes first, so that bytes can't move between key and value unseen.
fn row_checksum(key: &[u8], value: &[u8]) -> u64 {
    let sum = crc32c::crc32c(&(key.len() as u64).to_le_bytes());
    u64::from(crc32c::crc32c_append(
        crc32c::crc32c_append(sum, key),
        value,
    ))
}
