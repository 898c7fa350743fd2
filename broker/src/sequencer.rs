//! The sequencer: one thread owns the order. It drains its queue into a batch, makes the batch
//! durable in one write, and only then answers.

use crate::{
    bundles::BundleStore,
    clock,
    error::BrokerError,
    home,
    ledger::{Ledger, View},
    order::{Order, Surroundings},
};
use passerelle_model::{
    decide::{Command, Reply},
    error::ErrorCode,
    ids::{AgencyId, RequestId},
    pdp::PolicyDecisionPoint,
    state,
    store::StoreError,
    time::Timestamp,
};
use std::{sync::Arc, thread};
use tokio::sync::{mpsc, oneshot, watch};

pub use crate::order::Reachable;

/// Most commands in one batch: bounds the delay of the first by the work of the others.
const MAX_BATCH_COMMANDS: usize = 256;

/// Commands that may wait. Senders beyond wait with them: that is the back-pressure.
const QUEUE: usize = 1_024;

/// What the sequencer tells everybody after each batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Entries that are durable and applied.
    pub size: u64,
    /// Counts changes of membership, so that watchers reload it.
    pub membership: u64,
}

struct Job {
    command: Command,
    reply: oneshot::Sender<Reply>,
}

/// The sequencer as others see it.
#[derive(Clone)]
pub struct Sequencer {
    jobs: mpsc::Sender<Job>,
    progress: watch::Receiver<Progress>,
    reachable: Reachable,
    view: View,
}

/// The thread, to be joined at shutdown: it returns why it stopped.
pub type Running = thread::JoinHandle<Result<(), BrokerError>>;

/// Starts the sequencer on its ledger.
pub fn start(
    ledger: Ledger,
    pdp: Arc<dyn PolicyDecisionPoint>,
    bundles: Arc<BundleStore>,
) -> Result<(Sequencer, Running), BrokerError> {
    let (jobs, queue) = mpsc::channel(QUEUE);
    let first = Progress {
        size: ledger.next_index(),
        membership: 0,
    };
    let (tell, progress) = watch::channel(first);
    let reachable = Reachable::default();
    let view = ledger.view().clone();
    let worker = Worker {
        order: Order::new(ledger, pdp, reachable.clone()).with_bundles(bundles),
        tell,
    };
    let running = thread::Builder::new()
        .name("sequencer".into())
        .spawn(move || worker.run(queue))
        .map_err(BrokerError::file("start", "sequencer thread"))?;
    Ok((
        Sequencer {
            jobs,
            progress,
            reachable,
            view,
        },
        running,
    ))
}

impl Sequencer {
    /// Sequences `command`; returns once its events are durable.
    pub async fn run(&self, command: Command) -> Result<Reply, ErrorCode> {
        self.begin(command).await?.await
    }

    /// Puts `command` in its place in the order; what is returned resolves once it is durable.
    pub async fn begin(
        &self,
        command: Command,
    ) -> Result<impl Future<Output = Result<Reply, ErrorCode>> + Send + use<>, ErrorCode> {
        let (reply, answer) = oneshot::channel();
        self.jobs
            .send(Job { command, reply })
            .await
            .map_err(|_| ErrorCode::Storage)?;
        // The sender is dropped without an answer only when the batch failed: nothing is known.
        Ok(async { answer.await.map_err(|_| ErrorCode::Storage) })
    }

    /// What is durable; changes after each batch.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// Who can be reached.
    pub fn reachable(&self) -> &Reachable {
        &self.reachable
    }

    /// What may be read.
    pub fn view(&self) -> &View {
        &self.view
    }
}

struct Worker {
    order: Order,
    tell: watch::Sender<Progress>,
}

/// The machine's clock and randomness.
struct Machine;

impl Surroundings for Machine {
    fn now(&self) -> Timestamp {
        clock::now()
    }

    fn seed(&mut self) -> Result<[u8; 32], BrokerError> {
        home::random()
    }
}

impl Worker {
    fn run(mut self, mut queue: mpsc::Receiver<Job>) -> Result<(), BrokerError> {
        let mut jobs = Vec::new();
        while let Some(job) = queue.blocking_recv() {
            jobs.push(job);
            while jobs.len() < MAX_BATCH_COMMANDS {
                let Ok(job) = queue.try_recv() else { break };
                jobs.push(job);
            }
            self.carry_out(&mut jobs)?;
        }
        Ok(())
    }

    /// Decides the jobs in order, in one or more batches. A failure leaves all of the present
    /// batch unanswered and ends the thread: what is on disk then is for the next start to see.
    fn carry_out(&mut self, jobs: &mut Vec<Job>) -> Result<(), BrokerError> {
        while !jobs.is_empty() {
            let commands = jobs.iter().map(|job| &job.command);
            let done = self.order.batch(commands, &mut Machine)?;
            let size = self.order.size();
            self.tell.send_modify(|progress| {
                progress.size = size;
                progress.membership += u64::from(done.membership);
            });
            let taken = done.replies.len().min(jobs.len());
            for (job, reply) in jobs.drain(..taken).zip(done.replies) {
                // Whoever asked may have gone; what was done stays done.
                let _ = job.reply.send(reply);
            }
        }
        Ok(())
    }
}

/// The open requests that wait for `holder`.
pub fn waiting_for(view: &View, holder: &AgencyId) -> Result<Vec<RequestId>, StoreError> {
    let prefix = state::key::open_by_holder(holder, "");
    let ids = state::suffixes(view.projection.as_ref(), &prefix, usize::MAX)?;
    Ok(ids.iter().filter_map(|id| id.parse().ok()).collect())
}
