//! Journal and projection of one agent, with their one writer.
//!
//! In scope: transactions on the state that those before them leave, one append for many, one
//! commit, the rebuild of the projection, and taking nothing more after a failure of the journal.
//! Synchronous, without a clock: [`crate::core`] drives it from a thread, the simulation by hand.
//! Out of scope: what a transaction decides, who waits for it.
//!
//! A crash between append and commit leaves the projection behind; the next start applies the
//! rest.

use crate::{
    apply::apply,
    core::{CoreError, Outcome},
    event::Transaction,
    state::SCHEMA_VERSION,
};
use passerelle_journal::{
    Journal, JournalReader, JournalRecord, Options, Projection, SegmentJournal, files::Disk,
};
use passerelle_model::{
    error::ErrorCode,
    ids::AgencyId,
    store::{Overlay, Read, Write},
    time::Timestamp,
};
use std::{ops::ControlFlow, path::Path, sync::Arc};

/// Records applied in one commit at a rebuild.
const REBUILD_BATCH: usize = 64;

/// See the module.
pub struct Store {
    journal: SegmentJournal,
    projection: Arc<Projection>,
    me: AgencyId,
    failed: bool,
}

/// Transactions on top of each other, not yet true.
pub struct Batch<'a> {
    overlay: Overlay<'a>,
    records: Vec<JournalRecord>,
    me: &'a AgencyId,
    next: u64,
}

/// A batch that borrows the store no more.
pub struct Finished {
    records: Vec<JournalRecord>,
    writes: Vec<Write>,
}

impl Finished {
    /// The keys of the rows that it writes.
    pub fn rows(&self) -> impl Iterator<Item = &[u8]> {
        self.writes.iter().map(|(key, _)| key.as_slice())
    }
}

impl Store {
    /// Opens journal and projection below `dir`, and brings the projection up to the journal,
    /// which is written through `disk`.
    ///
    /// # Errors
    /// The storage; another process that has it open.
    pub fn open_on(dir: &Path, me: AgencyId, disk: Arc<dyn Disk>) -> Result<Self, CoreError> {
        let journal = SegmentJournal::open_on(disk, &dir.join("journal"), Options::default())?;
        let reader = journal.reader();
        let projection = Projection::open(&dir.join("projection"), SCHEMA_VERSION, reader.len())?;
        if catch_up(&projection, reader.as_ref(), &me).is_err() {
            // Any doubt: from nothing. A failure then is final.
            tracing::warn!("the projection is rebuilt from the journal");
            projection.clear()?;
            catch_up(&projection, reader.as_ref(), &me)?;
        }
        Ok(Self {
            journal,
            projection: Arc::new(projection),
            me,
            failed: false,
        })
    }

    /// The projection, for reading.
    pub fn view(&self) -> &Projection {
        self.projection.as_ref()
    }

    /// The projection, to be shared.
    pub fn projection(&self) -> Arc<Projection> {
        Arc::clone(&self.projection)
    }

    /// The durable records.
    pub fn reader(&self) -> Arc<dyn JournalReader> {
        self.journal.reader()
    }

    /// Begins a batch.
    pub fn batch(&self) -> Batch<'_> {
        Batch {
            overlay: Overlay::new(self.projection.as_ref()),
            records: Vec::new(),
            me: &self.me,
            next: self.journal.len(),
        }
    }

    /// Makes a batch true: journal first, in one durable write, then the projection.
    ///
    /// # Errors
    /// The storage. Nothing more is taken then: the next start sees what is on disk.
    pub fn commit(&mut self, batch: Finished) -> Result<(), CoreError> {
        if batch.records.is_empty() {
            return Ok(());
        }
        let failed = std::mem::replace(&mut self.failed, true);
        if failed {
            return Err(CoreError::Stopped);
        }
        self.journal.append(&batch.records)?;
        let len = self.journal.len();
        if let Err(error) = self.projection.commit(batch.writes, len) {
            tracing::warn!(%error, "the projection is rebuilt from the journal");
            self.projection.clear()?;
            catch_up(&self.projection, self.journal.reader().as_ref(), &self.me)?;
        }
        self.failed = false;
        Ok(())
    }

    /// Runs one transaction alone: the value of `work`, once its events are durable.
    ///
    /// # Errors
    /// That of `work`; [`ErrorCode::Storage`] if the storage failed, now or before.
    pub fn run<T>(
        &mut self,
        at: Timestamp,
        work: impl FnOnce(&dyn Read) -> Outcome<T>,
    ) -> Result<T, ErrorCode> {
        if self.failed {
            return Err(ErrorCode::Storage);
        }
        let mut batch = self.batch();
        let (events, value) = work(batch.state())?;
        if !events.is_empty() {
            let added = batch.add(&Transaction { at, events });
            added.map_err(|_| ErrorCode::Storage)?;
        }
        let finished = batch.finish();
        self.commit(finished).map_err(|_| ErrorCode::Storage)?;
        Ok(value)
    }

    /// Whether nothing more is taken.
    pub fn has_failed(&self) -> bool {
        self.failed
    }
}

impl<'a> Batch<'a> {
    /// The state that the transactions so far leave.
    pub fn state(&self) -> &Overlay<'a> {
        &self.overlay
    }

    /// Adds a transaction.
    ///
    /// # Errors
    /// It can't be applied or encoded; the batch must be dropped.
    pub fn add(&mut self, transaction: &Transaction) -> Result<(), CoreError> {
        apply(&mut self.overlay, self.me, transaction)?;
        let record = transaction.to_record();
        self.records
            .push(record.map_err(|_| CoreError::Record(self.next))?);
        Ok(())
    }

    /// Ends the borrow of the store.
    pub fn finish(self) -> Finished {
        Finished {
            records: self.records,
            writes: self.overlay.into_writes(),
        }
    }
}

/// Applies the records that the projection does not have yet.
fn catch_up(
    projection: &Projection,
    journal: &dyn JournalReader,
    me: &AgencyId,
) -> Result<(), CoreError> {
    while projection.watermark() < journal.len() {
        let from = projection.watermark();
        let mut transactions = Vec::new();
        let mut unreadable = None;
        journal.scan(from, &mut |index, record| {
            match Transaction::from_record(&record) {
                Ok(transaction) => transactions.push(transaction),
                Err(_) => unreadable = Some(index),
            }
            if unreadable.is_some() || transactions.len() >= REBUILD_BATCH {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        if let Some(index) = unreadable {
            return Err(CoreError::Record(index));
        }
        let mut overlay = Overlay::new(projection);
        for transaction in &transactions {
            apply(&mut overlay, me, transaction)?;
        }
        let applied = transactions.len() as u64;
        projection.commit(overlay.into_writes(), from.saturating_add(applied))?;
    }
    Ok(())
}
