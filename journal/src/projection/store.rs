//! The file of a projection: rows with a checksum each, and one summary, in redb.
//!
//! In scope: opening with the doubts that are cheap to find, one durable transaction per flush,
//! the walk over all rows. Out of scope: rows that are not flushed yet, threads, what to do about
//! a doubt.
//!
//! Every transaction is durable and saves the store's own allocation ("quick repair"): an open
//! after kill -9 or a power cut finds the last transaction whole, without a walk over the file.
//! redb checks its pages only in such a walk, so each value starts with a checksum over key and
//! value, and the summary holds number and sum of the rows, which show a row that got lost.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use passerelle_model::store::{Row, StoreError};
use redb::{Database, ReadOnlyTable, ReadableDatabase, TableDefinition};

use crate::frame::{Fields, checked};

/// Bound of the store's own page cache, in bytes. The kernel's page cache is behind it.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

/// Changes with what this file writes; the caller's schema version with what callers write.
const FORMAT_VERSION: u32 = 2;
const ROWS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("rows");
const SUMMARY: TableDefinition<'static, (), &[u8]> = TableDefinition::new("summary");
const CHECKSUM_BYTES: usize = 4;
/// Rows between two looks at whether a walk should end.
const STOP_EVERY: u64 = 1_024;

/// Changes by key; `None` deletes.
pub(super) type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// A row that was read, or why it can't be.
pub(super) type Found = Result<Row, StoreError>;

/// A store with the state after its last transaction, open for reading.
#[derive(Clone)]
pub(super) struct Live {
    pub(super) db: Arc<Database>,
    pub(super) rows: Arc<Rows>,
    pub(super) summary: Summary,
}

/// The rows after one transaction; later ones do not show.
pub(super) struct Rows(ReadOnlyTable<&'static [u8], &'static [u8]>);

fn failed(error: impl Into<redb::Error>) -> StoreError {
    StoreError(error.into().to_string())
}

/// Turns a panic inside redb into an error. Its message may hold keys and values: it is dropped.
pub(super) fn guarded<T>(run: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    // What is behind the references may be half changed after a panic: the caller gives it up.
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|_| Err(StoreError("the store panicked".to_owned())))
}

/// Gives a store up without closing it: what is damaged may panic again while it is dropped.
pub(super) fn leak(live: Live) {
    std::mem::forget(live);
}

/// Closes a store, once nobody reads from it any more.
pub(super) fn close(live: Live) {
    if catch_unwind(AssertUnwindSafe(|| drop(live))).is_err() {
        tracing::warn!("the projection can't be closed in order");
    }
}

fn view(db: Arc<Database>, summary: Summary) -> Result<Live, StoreError> {
    let read = db.begin_read().map_err(failed)?;
    let rows = Arc::new(Rows(read.open_table(ROWS).map_err(failed)?));
    Ok(Live { db, rows, summary })
}

/// A new, empty store at `path`.
pub(super) fn create(path: &Path, schema_version: u32) -> Result<Live, StoreError> {
    guarded(|| {
        let mut builder = Database::builder();
        let db = builder.set_cache_size(CACHE_BYTES).create(path);
        let db = Arc::new(db.map_err(failed)?);
        let summary = Summary {
            schema_version,
            ..Summary::default()
        };
        // A crash before the end of this leaves a store without a summary: a doubt.
        write(&db, summary, &Changes::new(), 0)
    })
}

/// The store at `path` if nothing speaks against it. Up to `check_rows` rows are all read.
pub(super) fn open(
    path: &Path,
    schema_version: u32,
    journal_len: u64,
    check_rows: u64,
) -> Result<Live, StoreError> {
    let live = guarded(|| {
        let mut builder = Database::builder();
        let db = builder.set_cache_size(CACHE_BYTES).open(path);
        let db = Arc::new(db.map_err(failed)?);
        let read = db.begin_read().map_err(failed)?;
        let table = read.open_table(SUMMARY).map_err(failed)?;
        let summary = table.get(()).map_err(failed)?;
        let summary = summary.and_then(|bytes| Summary::decode(bytes.value()));
        let summary = summary.ok_or_else(|| StoreError("it has no valid summary".to_owned()))?;
        view(Arc::clone(&db), summary)
    })?;
    let doubt = live.doubt(schema_version, journal_len, check_rows);
    match doubt {
        None => Ok(live),
        Some(error) => {
            leak(live);
            Err(error)
        }
    }
}

impl Live {
    fn doubt(&self, schema_version: u32, journal_len: u64, check_rows: u64) -> Option<StoreError> {
        let summary = self.summary;
        if summary.schema_version != schema_version {
            return Some(StoreError(format!(
                "its schema version is `{}`, not `{schema_version}`",
                summary.schema_version
            )));
        }
        if summary.watermark > journal_len {
            return Some(StoreError(format!(
                "its watermark `{}` is past the journal's `{journal_len}`",
                summary.watermark
            )));
        }
        if summary.rows > check_rows {
            return None;
        }
        self.rows.check(&summary, &AtomicBool::new(false)).err()
    }

    /// Carries out `changes` in one durable transaction, and gives the state after it.
    pub(super) fn flush(&self, changes: &Changes, watermark: u64) -> Result<Self, StoreError> {
        guarded(|| write(&self.db, self.summary, changes, watermark))
    }
}

fn write(
    db: &Arc<Database>,
    mut summary: Summary,
    changes: &Changes,
    watermark: u64,
) -> Result<Live, StoreError> {
    let mut transaction = db.begin_write().map_err(failed)?;
    transaction.set_quick_repair(true);
    {
        let mut rows = transaction.open_table(ROWS).map_err(failed)?;
        for (key, value) in changes {
            let old = match value {
                Some(value) => {
                    summary.add(key, value);
                    let sealed = seal(key, value);
                    rows.insert(key.as_slice(), sealed.as_slice())
                }
                None => rows.remove(key.as_slice()),
            };
            if let Some(old) = old.map_err(failed)? {
                summary.subtract(key, open_value(key, old.value())?);
            }
        }
        summary.watermark = watermark;
        let mut table = transaction.open_table(SUMMARY).map_err(failed)?;
        let encoded = summary.encode();
        table.insert((), encoded.as_slice()).map_err(failed)?;
    }
    // A crash in here leaves the state before or after.
    transaction.commit().map_err(failed)?;
    view(Arc::clone(db), summary)
}

impl Rows {
    /// The value at `key`.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        guarded(|| {
            let found = self.0.get(key).map_err(failed)?;
            let value = found.map(|found| open_value(key, found.value()).map(<[u8]>::to_vec));
            value.transpose()
        })
    }

    /// The rows from `start` on, in order, for as long as the caller asks.
    pub(super) fn range(
        &self,
        start: std::ops::Bound<&[u8]>,
    ) -> Result<impl Iterator<Item = Found> + use<'_>, StoreError> {
        let bounds = (start, std::ops::Bound::Unbounded);
        let mut range = guarded(|| self.0.range::<&[u8]>(bounds).map_err(failed))?;
        Ok(std::iter::from_fn(move || {
            let row = guarded(|| {
                let Some(row) = range.next() else {
                    return Ok(None);
                };
                let (key, value) = row.map_err(failed)?;
                let value = open_value(key.value(), value.value())?.to_vec();
                Ok(Some((key.value().to_vec(), value)))
            });
            row.transpose()
        }))
    }

    /// Reads all rows and compares them with `summary`. Ends early, with success, once `stop` is
    /// set.
    pub(super) fn check(&self, summary: &Summary, stop: &AtomicBool) -> Result<(), StoreError> {
        let mut counted = Summary {
            rows: 0,
            sum: 0,
            ..*summary
        };
        guarded(|| {
            for row in self.0.range::<&[u8]>(..).map_err(failed)? {
                let (key, value) = row.map_err(failed)?;
                counted.add(key.value(), open_value(key.value(), value.value())?);
                if counted.rows.is_multiple_of(STOP_EVERY) && stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
            }
            if counted == *summary {
                Ok(())
            } else {
                Err(StoreError("its rows do not match its summary".to_owned()))
            }
        })
    }
}

fn seal(key: &[u8], value: &[u8]) -> Vec<u8> {
    [&row_checksum(key, value).to_le_bytes(), value].concat()
}

/// The value in `sealed`, its checksum verified.
fn open_value<'a>(key: &[u8], sealed: &'a [u8]) -> Result<&'a [u8], StoreError> {
    let opened = sealed.split_first_chunk::<CHECKSUM_BYTES>();
    opened
        .filter(|(sum, value)| u32::from_le_bytes(**sum) == row_checksum(key, value))
        .map(|(_, value)| value)
        .ok_or_else(|| StoreError("a row does not match its checksum".to_owned()))
}

/// The key's length goes first, so that bytes can't move between key and value unseen.
fn row_checksum(key: &[u8], value: &[u8]) -> u32 {
    let sum = crc32c::crc32c(&(key.len() as u64).to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(sum, key), value)
}

/// What the rows must agree with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Summary {
    schema_version: u32,
    pub(super) watermark: u64,
    pub(super) rows: u64,
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
        self.sum = self.sum.wrapping_add(row_checksum(key, value).into());
    }

    fn subtract(&mut self, key: &[u8], value: &[u8]) {
        self.rows = self.rows.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(row_checksum(key, value).into());
    }
}
