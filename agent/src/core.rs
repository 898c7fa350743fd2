//! The single writer: one thread owns the journal and the projection.
//!
//! In scope: group commit (drain the queue, run each job against the state that the jobs before
//! it leave, one append, one commit, then the replies), and stopping for good at the first failure
//! of the journal or the vault.
//! Out of scope: what a job decides; how it is stored ([`crate::store`]).
//!
//! A reply is sent only after the append: what was acknowledged is durable.

use crate::{
    event::{Event, Transaction},
    interest::{Interest, Interests},
    store::Store,
    vault::Vault,
};
use futures_util::future::BoxFuture;
use passerelle_journal::{
    JournalError, Projection,
    files::{Disk, OsDisk},
};
use passerelle_model::{
    error::ErrorCode,
    ids::AgencyId,
    store::{Read, StoreError},
    time::Timestamp,
};
use std::{path::Path, sync::Arc, thread::JoinHandle};
use tokio::sync::{mpsc, oneshot, watch};

/// Jobs that may wait; more wait at the door.
const QUEUE: usize = 256;
/// Most jobs in one batch.
const MAX_BATCH: usize = 256;

/// Why the core can't start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum CoreError {
    /// The journal, or the file of keys.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The projection, also after a rebuild.
    #[error(transparent)]
    Projection(#[from] StoreError),
    /// The journal has a record that this version can't read.
    #[error("the record at index `{0}` of the journal is not in the form of this version")]
    Record(u64),
    /// It failed before.
    #[error("the journal failed before; nothing more is written")]
    Stopped,
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
    interests: Interests,
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
    pub fn start(dir: &Path, me: AgencyId, vault: Vault) -> Result<(Self, Writer), CoreError> {
        Self::start_on(dir, me, vault, Arc::new(OsDisk))
    }

    /// As [`Core::start`], with the journal written through `disk`.
    ///
    /// # Errors
    /// As there.
    pub fn start_on(
        dir: &Path,
        me: AgencyId,
        vault: Vault,
        disk: Arc<dyn Disk>,
    ) -> Result<(Self, Writer), CoreError> {
        let store = Store::open_on(dir, me, vault, disk)?;
        let projection = store.projection();
        let (jobs, queue) = mpsc::channel(QUEUE);
        let (version_tx, version) = watch::channel(0);
        let (failed_tx, failed) = watch::channel(false);
        let interests = Interests::default();
        let owner = Owner {
            store,
            interests: interests.clone(),
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
            interests,
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
        self.begin(at, work).await?.await
    }

    /// As [`Core::write`], but returns once `work` has its place in the order: what is returned
    /// resolves when its events are durable. Whoever begins several has them made durable in one
    /// write.
    ///
    /// # Errors
    /// [`ErrorCode::Storage`] if the journal failed before.
    pub async fn begin<T: Send + 'static>(
        &self,
        at: Timestamp,
        work: impl FnOnce(&dyn Read) -> Outcome<T> + Send + 'static,
    ) -> Result<BoxFuture<'static, Result<T, ErrorCode>>, ErrorCode> {
        let (reply, result) = oneshot::channel();
        let job = Work {
            at,
            work: Some(work),
            result: Err(ErrorCode::Internal),
            reply,
        };
        let sent = self.jobs.send(Box::new(job)).await;
        sent.map_err(|_| ErrorCode::Storage)?;
        Ok(Box::pin(async {
            result.await.map_err(|_| ErrorCode::Storage)?
        }))
    }

    /// Tells when one of these rows was written.
    pub fn interest(&self, rows: impl IntoIterator<Item = Vec<u8>>) -> Interest {
        self.interests.add(rows)
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
    store: Store,
    interests: Interests,
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

    fn carry_out(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<(), CoreError> {
        let mut batch = self.store.batch();
        for job in jobs {
            if let Some(transaction) = job.run(batch.state()) {
                batch.add(&transaction)?;
            }
        }
        let finished = batch.finish();
        let rows: Vec<_> = finished.rows().map(<[u8]>::to_vec).collect();
        self.store.commit(finished)?;
        // Asked after the commit: who looked while it went on saw the rows as they were before.
        for interested in self.interests.in_any_of(&rows) {
            interested.notify_one();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        home::Home,
        state::{self, key},
        testing::{FileOp, HookedDisk, agency},
    };
    use passerelle_model::bytes::{Digest, Handle};
    use std::{
        sync::{Condvar, Mutex},
        time::Duration,
    };

    #[derive(Default)]
    struct Gate {
        /// Whether it is closed, and how many wait before it.
        state: Mutex<(bool, usize)>,
        changed: Condvar,
    }

    impl Gate {
        fn set(&self, closed: bool) {
            self.state.lock().unwrap().0 = closed;
            self.changed.notify_all();
        }

        fn pass(&self) {
            let mut state = self.state.lock().unwrap();
            state.1 += 1;
            self.changed.notify_all();
            while state.0 {
                state = self.changed.wait(state).unwrap();
            }
            state.1 -= 1;
        }

        fn until_somebody_waits(&self) {
            let mut state = self.state.lock().unwrap();
            while state.1 == 0 {
                state = self.changed.wait(state).unwrap();
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_looks_while_a_batch_is_made_durable_is_told_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::open_on(&Home::new(dir.path()), &OsDisk).unwrap();
        let gate = Arc::new(Gate::default());
        let passed = gate.clone();
        let disk = Arc::new(HookedDisk::new(move |_, op| {
            if op == FileOp::Sync {
                passed.pass();
            }
            Ok(())
        }));
        let (core, writer) = Core::start_on(dir.path(), agency("police"), vault, disk).unwrap();
        gate.set(true);
        let (digest, handle) = (Digest::of(b"someone"), Handle([7; 32]));
        let found = vec![Event::HandlesFound(vec![(digest, handle)])];
        let written = core.begin(Timestamp(1), |_| Ok((found, ()))).await.unwrap();
        gate.until_somebody_waits();
        let row = core.interest([key::of(key::TOKEN, &digest.0)]);
        assert_eq!(state::handle_of(core.view(), &digest).unwrap(), None);
        gate.set(false);
        let told = tokio::time::timeout(Duration::from_secs(10), row.changed()).await;
        told.expect("it was written after it was looked at");
        assert_eq!(
            state::handle_of(core.view(), &digest).unwrap(),
            Some(handle)
        );
        written.await.unwrap();
        drop((core, row));
        writer.join();
    }
}
