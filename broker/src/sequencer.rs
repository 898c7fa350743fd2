//! The sequencer: one thread owns the order. It drains its queue into a batch, makes the batch
//! durable in one write, and only then answers.

use crate::{
    clock,
    error::BrokerError,
    home,
    ledger::{Ledger, View},
};
use passerelle_model::{
    decide::{Command, Reply},
    entry::{EntryBody, Record},
    error::ErrorCode,
    ids::{AgencyId, RequestId},
    pdp::{Effect, PolicyDecisionPoint},
    state,
    statement::Body,
    store::StoreError,
};
use std::{
    collections::HashSet,
    sync::{Arc, PoisonError, RwLock},
    thread,
};
use tokio::sync::{mpsc, oneshot, watch};

/// Most commands in one batch: bounds the delay of the first by the work of the others.
const MAX_BATCH_COMMANDS: usize = 256;

/// Records after which a batch takes no further command. One command leads to a few hundred at
/// most; the journal takes four times as many.
const MAX_BATCH_RECORDS: usize = 4_096;

/// Bytes of sealed payloads after which a batch takes no further command: half of what the
/// journal takes in one write.
const MAX_BATCH_PAYLOAD_BYTES: usize = 24 * 1024 * 1024;

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

/// Agencies whose agents are connected: a request for one of them gets its permit in the batch
/// that decides it.
#[derive(Clone, Default)]
pub struct Reachable(Arc<RwLock<HashSet<AgencyId>>>);

impl Reachable {
    /// Notes that `agency` can be reached, or no longer.
    pub fn set(&self, agency: &AgencyId, reachable: bool) {
        let mut set = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if reachable {
            set.insert(agency.clone());
        } else {
            set.remove(agency);
        }
    }

    /// Whether it can.
    pub fn contains(&self, agency: &AgencyId) -> bool {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(agency)
    }
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
        ledger,
        pdp,
        reachable: reachable.clone(),
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
    ledger: Ledger,
    pdp: Arc<dyn PolicyDecisionPoint>,
    reachable: Reachable,
    tell: watch::Sender<Progress>,
}

type Answers = Vec<(oneshot::Sender<Reply>, Reply)>;

impl Worker {
    fn run(mut self, mut queue: mpsc::Receiver<Job>) -> Result<(), BrokerError> {
        let mut jobs = Vec::new();
        while let Some(job) = queue.blocking_recv() {
            jobs.push(job);
            while jobs.len() < MAX_BATCH_COMMANDS {
                let Ok(job) = queue.try_recv() else { break };
                jobs.push(job);
            }
            self.batch(&mut jobs)?;
        }
        Ok(())
    }

    /// Decides the jobs in order, in one or more batches. A failure leaves all of the present
    /// batch unanswered and ends the thread: what is on disk then is for the next start to see.
    fn batch(&mut self, jobs: &mut Vec<Job>) -> Result<(), BrokerError> {
        let mut jobs = jobs.drain(..).peekable();
        while jobs.peek().is_some() {
            let pdp = self.pdp.clone();
            let mut batch = self.ledger.batch(pdp.as_ref());
            let mut answers: Answers = Vec::new();
            while batch.records() < MAX_BATCH_RECORDS && batch.bytes() < MAX_BATCH_PAYLOAD_BYTES {
                let Some(job) = jobs.next() else { break };
                let now = clock::now();
                let (reply, records) = batch.run(&job.command, now, home::random()?)?;
                if let Some(request) = permitted(records, &self.reachable) {
                    batch.run(&Command::Offer { request }, now, home::random()?)?;
                }
                answers.push((job.reply, reply));
            }
            let finished = batch.finish();
            let membership = finished.records.iter().any(changes_membership);
            if !finished.records.is_empty() {
                self.ledger.commit(finished)?;
            }
            let size = self.ledger.next_index();
            self.tell.send_modify(|progress| {
                progress.size = size;
                progress.membership += u64::from(membership);
            });
            for (sender, reply) in answers {
                // Whoever asked may have gone; what was done stays done.
                let _ = sender.send(reply);
            }
        }
        Ok(())
    }
}

/// The request among these records that was just permitted, if its holder can be reached.
fn permitted(records: &[Record], reachable: &Reachable) -> Option<RequestId> {
    let [said, decided] = records else {
        return None;
    };
    let EntryBody::Said { envelope, .. } = &said.entry.body else {
        return None;
    };
    let EntryBody::Decided { request, items, .. } = &decided.entry.body else {
        return None;
    };
    if items.iter().all(|i| i.ruling.effect == Effect::Deny) {
        return None;
    }
    match envelope.unverified_statement().ok()?.body {
        Body::Request(asked) if reachable.contains(&asked.holder) => Some(request.clone()),
        _ => None,
    }
}

fn changes_membership(record: &Record) -> bool {
    matches!(
        record.entry.body,
        EntryBody::Enrolled { .. } | EntryBody::Revoked { .. }
    )
}

/// The open requests that wait for `holder`.
pub fn waiting_for(view: &View, holder: &AgencyId) -> Result<Vec<RequestId>, StoreError> {
    let prefix = state::key::open_by_holder(holder, "");
    let ids = state::suffixes(view.projection.as_ref(), &prefix, usize::MAX)?;
    Ok(ids.iter().filter_map(|id| id.parse().ok()).collect())
}
