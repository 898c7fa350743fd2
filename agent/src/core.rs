//! The single writer: one thread owns the journal and the projection.
//!
//! In scope: group commit (drain the queue, run each job against the state that the jobs before
//! it leave, one append, one commit, then the replies), rebuild of the projection, and stopping
//! for good at the first failure of the journal.
//! Out of scope: what a job decides.
//!
//! A crash between append and commit leaves the projection behind; the next start applies the
//! rest. A reply is sent only after the append: what was acknowledged is durable.

use crate::{
    apply::apply,
    event::{Event, Transaction},
    state::SCHEMA_VERSION,
};
use passerelle_journal::{
    Journal, JournalError, JournalReader, JournalRecord, Options, Projection, SegmentJournal,
};
use passerelle_model::{
    error::ErrorCode,
    ids::AgencyId,
    store::{Overlay, Read, StoreError},
    time::Timestamp,
};
use std::{ops::ControlFlow, path::Path, sync::Arc, thread::JoinHandle};
use tokio::sync::{mpsc, oneshot, watch};

/// Jobs that may wait; more wait at the door.
const QUEUE: usize = 256;
/// Most jobs in one batch.
const MAX_BATCH: usize = 256;
/// Records applied in one commit at a rebuild.
const REBUILD_BATCH: usize = 64;

/// Why the core can't start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum CoreError {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The projection, also after a rebuild.
    #[error(transparent)]
    Projection(#[from] StoreError),
    /// The journal has a record that this version can't read.
    #[error("the record at index `{0}` of the journal is not in the form of this version")]
    Record(u64),
    /// The writer's thread can't be started.
    #[error("the writer can't be started: {0}")]
    Thread(std::io::Error),
}

/// What a job returns: events, and the reply to be sent once they are durable.
pub type Outcome<T> = Result<(Vec<Event>, T), ErrorCode>;

trait Job: Send {
    fn run(&mut self, state: &dyn Read) -> Option<Transaction>;
    fn finish(self: Box<Self>, durable: bool);
}

struct Work<T, F> {
    at: Timestamp,
    work: Option<F>,
    result: Result<T, ErrorCode>,
    reply: oneshot::Sender<Result<T, ErrorCode>>,
}

impl<T, F> Job for Work<T, F>
where
    T: Send,
    F: FnOnce(&dyn Read) -> Outcome<T> + Send,
{
    fn run(&mut self, state: &dyn Read) -> Option<Transaction> {
        match self.work.take()?(state) {
            Ok((events, value)) => {
                self.result = Ok(value);
                (!events.is_empty()).then_some(Transaction {
                    at: self.at,
                    events,
                })
            }
            Err(code) => {
                self.result = Err(code);
                None
            }
        }
    }

    fn finish(self: Box<Self>, durable: bool) {
        let result = if durable {
            self.result
        } else {
            Err(ErrorCode::Storage)
        };
        // Whoever asked may have gone; the events are durable all the same.
        let _ = self.reply.send(result);
    }
}

/// The handle that everybody shares.
#[derive(Clone)]
pub struct Core {
    jobs: mpsc::Sender<Box<dyn Job>>,
    projection: Arc<Projection>,
    version: watch::Receiver<u64>,
    failed: watch::Receiver<bool>,
}

/// The writer's thread, to be joined at the end.
pub struct Writer(JoinHandle<()>);

impl Writer {
    /// Waits until everything that was queued is durable. All [`Core`]s must be dropped first.
    pub fn join(self) {
        // A panic was already reported by the thread itself.
        let _ = self.0.join();
    }
}

impl Core {
    /// Opens journal and projection below `dir`, brings the projection up to the journal, and
    /// starts the writer.
    ///
    /// # Errors
    /// The storage; another process that has it open.
    pub fn start(dir: &Path, me: AgencyId) -> Result<(Self, Writer), CoreError> {
        let journal = SegmentJournal::open(&dir.join("journal"), Options::default())?;
        let reader = journal.reader();
        let projection = Projection::open(&dir.join("projection"), SCHEMA_VERSION, reader.len())?;
        if catch_up(&projection, reader.as_ref(), &me).is_err() {
            // Any doubt: from nothing. A failure then is final.
            tracing::warn!("the projection is rebuilt from the journal");
            projection.clear()?;
            catch_up(&projection, reader.as_ref(), &me)?;
        }
        let projection = Arc::new(projection);
        let (jobs, queue) = mpsc::channel(QUEUE);
        let (version_tx, version) = watch::channel(0);
        let (failed_tx, failed) = watch::channel(false);
        let owner = Owner {
            journal,
            projection: Arc::clone(&projection),
            me,
            version: version_tx,
            failed: failed_tx,
        };
        let thread = std::thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || owner.run(queue))
            .map_err(CoreError::Thread)?;
        let core = Self {
            jobs,
            projection,
            version,
            failed,
        };
        Ok((core, Writer(thread)))
    }

    /// Runs `work` on the state as it is when its turn comes, and returns its value once its
    /// events are durable. `work` must neither block for long nor panic.
    ///
    /// # Errors
    /// That of `work`; [`ErrorCode::Storage`] if the journal failed, now or before.
    pub async fn write<T: Send + 'static>(
        &self,
        at: Timestamp,
        work: impl FnOnce(&dyn Read) -> Outcome<T> + Send + 'static,
    ) -> Result<T, ErrorCode> {
        let (reply, result) = oneshot::channel();
        let job = Work {
            at,
            work: Some(work),
            result: Err(ErrorCode::Internal),
            reply,
        };
        let sent = self.jobs.send(Box::new(job)).await;
        sent.map_err(|_| ErrorCode::Storage)?;
        result.await.map_err(|_| ErrorCode::Storage)?
    }

    /// The projection, for reading.
    pub fn view(&self) -> &Projection {
        self.projection.as_ref()
    }

    /// Changes after each batch.
    pub fn version(&self) -> watch::Receiver<u64> {
        self.version.clone()
    }

    /// Whether the writer has stopped for good.
    pub fn has_failed(&self) -> bool {
        *self.failed.borrow() || self.failed.has_changed().is_err()
    }

    /// Becomes true when the writer has stopped for good.
    pub fn failed(&self) -> watch::Receiver<bool> {
        self.failed.clone()
    }
}

struct Owner {
    journal: SegmentJournal,
    projection: Arc<Projection>,
    me: AgencyId,
    version: watch::Sender<u64>,
    failed: watch::Sender<bool>,
}

impl Owner {
    fn run(mut self, mut queue: mpsc::Receiver<Box<dyn Job>>) {
        while let Some(first) = queue.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < MAX_BATCH {
                match queue.try_recv() {
                    Ok(job) => batch.push(job),
                    Err(_) => break,
                }
            }
            let done = self.carry_out(&mut batch);
            if let Err(error) = &done {
                // Storage errors name files and offsets, never content.
                tracing::error!(%error, "the writer stops: nothing more is accepted or released");
                self.failed.send_replace(true);
            }
            for job in batch {
                job.finish(done.is_ok());
            }
            if done.is_err() {
                return;
            }
            self.version.send_modify(|v| *v = v.wrapping_add(1));
        }
    }

    fn carry_out(&mut self, batch: &mut [Box<dyn Job>]) -> Result<(), CoreError> {
        let mut overlay = Overlay::new(self.projection.as_ref());
        let mut records: Vec<JournalRecord> = Vec::new();
        for job in batch {
            let Some(transaction) = job.run(&overlay) else {
                continue;
            };
            apply(&mut overlay, &self.me, &transaction)?;
            let record = transaction.to_record();
            records.push(record.map_err(|_| CoreError::Record(self.journal.len()))?);
        }
        if records.is_empty() {
            return Ok(());
        }
        let writes = overlay.into_writes();
        self.journal.append(&records)?;
        let len = self.journal.len();
        if let Err(error) = self.projection.commit(writes, len) {
            tracing::warn!(%error, "the projection is rebuilt from the journal");
            self.projection.clear()?;
            catch_up(&self.projection, self.journal.reader().as_ref(), &self.me)?;
        }
        Ok(())
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
