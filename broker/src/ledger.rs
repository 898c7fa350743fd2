//! The ledger: journal, projection and Merkle tree as one. The journal is the truth; the other
//! two are made of it, here, on one path for normal running and for recovery.

use crate::{
    error::BrokerError,
    recent::{Durable, Recent},
};
use passerelle_audit::merkle::leaf_hash;
use passerelle_journal::{
    Journal, JournalReader, JournalRecord, Options, Projection, SegmentJournal, StoredTree,
    files::{Disk, OsDisk},
};
use passerelle_model::{
    apply::apply,
    bytes::Digest,
    canonical::CanonicalError,
    decide::{Command, Decided, Inputs, decide},
    entry::{Entry, Record, Sidecar},
    pdp::PolicyDecisionPoint,
    state::SCHEMA_VERSION,
    store::{Overlay, StoreError},
    time::Timestamp,
};
use std::{
    ops::ControlFlow,
    path::Path,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

/// Records applied between two commits of the projection while it is rebuilt.
const REBUILD_STEP: u64 = 4_096;

/// What others may read while the sequencer writes.
#[derive(Clone)]
pub struct View {
    /// The projection, behind the journal by nothing that was acknowledged.
    pub projection: Arc<Projection>,
    /// The durable records.
    pub journal: Arc<dyn JournalReader>,
    tree: Arc<RwLock<StoredTree>>,
    recent: Arc<Recent>,
}

impl View {
    /// The Merkle tree over the durable entries. Its proofs are verified before they are given.
    pub fn tree(&self) -> RwLockReadGuard<'_, StoredTree> {
        // Nothing panics while it holds the lock for writing; were it so, the tree is still the
        // tree of a prefix of the journal.
        self.tree.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The record at `index`.
    pub fn record(&self, index: u64) -> Result<Option<Arc<Durable>>, BrokerError> {
        if let Some(recent) = self.recent.get(index) {
            return Ok(Some(recent));
        }
        let Some(raw) = self.journal.read(index)? else {
            return Ok(None);
        };
        let record = decode(index, &raw)?;
        Ok(Some(Arc::new(Durable { raw, record })))
    }
}

/// The ledger with its one writer.
pub struct Ledger {
    journal: Box<dyn Journal>,
    view: View,
    next: u64,
    /// Time of the newest entry: the log's time does not go back, whatever the machine's does.
    last_at: Timestamp,
}

/// How far the machine's clock may be behind the newest entry. Further, and what has expired
/// would be alive again: the broker does not start.
pub const MAX_CLOCK_STEP_BACK_S: u64 = 300;

fn decode(index: u64, raw: &JournalRecord) -> Result<Record, BrokerError> {
    let entry = |source: CanonicalError| BrokerError::Entry { index, source };
    Ok(Record {
        entry: Entry::from_bytes(&raw.entry).map_err(entry)?,
        sidecar: Sidecar::from_bytes(&raw.sidecar)
            .map_err(|source| BrokerError::Sidecar { index, source })?,
    })
}

fn encode(record: &Record) -> Result<JournalRecord, StoreError> {
    let failed = |e: CanonicalError| StoreError(format!("record does not encode: {e}"));
    let sidecar = if record.sidecar.is_empty() {
        Vec::new()
    } else {
        let bytes = record.sidecar.to_bytes();
        bytes.map_err(|e| StoreError(format!("sidecar does not encode: {e}")))?
    };
    Ok(JournalRecord {
        entry: record.entry.to_bytes().map_err(failed)?,
        sidecar,
    })
}

impl Ledger {
    /// Opens the ledger in `dir`, and brings projection and tree up to the journal.
    pub fn open(dir: &Path) -> Result<Self, BrokerError> {
        Self::open_on(dir, Arc::new(OsDisk))
    }

    /// As [`Ledger::open`], with the journal written through `disk`.
    pub fn open_on(dir: &Path, disk: Arc<dyn Disk>) -> Result<Self, BrokerError> {
        let options = Options::default();
        let journal = SegmentJournal::open_on(Arc::clone(&disk), &dir.join("journal"), options)?;
        let next = journal.len();
        let projection = Projection::open(&dir.join("projection"), SCHEMA_VERSION, next)?;
        let tree = StoredTree::open(&dir.join("tree"), journal.reader(), disk)?;
        let view = View {
            projection: Arc::new(projection),
            journal: journal.reader(),
            tree: Arc::new(RwLock::new(tree)),
            recent: Arc::default(),
        };
        let mut ledger = Self {
            journal: Box::new(journal),
            view,
            next,
            last_at: Timestamp(0),
        };
        if let Some(last) = next.checked_sub(1)
            && let Some(newest) = ledger.view.record(last)?
        {
            ledger.last_at = newest.record.entry.at;
        }
        ledger.rebuild_projection()?;
        Ok(ledger)
    }

    fn rebuild_projection(&self) -> Result<(), BrokerError> {
        let from = self.view.projection.watermark();
        if from < self.next {
            tracing::info!(
                from,
                until = self.next,
                "the projection is brought up to the journal"
            );
        }
        match self.apply_from(from) {
            // Journal and projection disagree: the journal is right.
            Err(BrokerError::Store(error)) if from > 0 => {
                tracing::warn!(%error, "the projection is rebuilt from the journal");
                self.view.projection.clear()?;
                self.apply_from(0)
            }
            other => other,
        }
    }

    fn apply_from(&self, from: u64) -> Result<(), BrokerError> {
        let mut next = from;
        while next < self.next {
            let until = next.saturating_add(REBUILD_STEP).min(self.next);
            let mut overlay = Overlay::new(self.view.projection.as_ref());
            let mut fault = None;
            self.view.journal.scan(next, &mut |index, raw| {
                if index >= until {
                    return ControlFlow::Break(());
                }
                let applied =
                    decode(index, &raw).and_then(|record| Ok(apply(&mut overlay, index, &record)?));
                match applied {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(error) => {
                        fault = Some(error);
                        ControlFlow::Break(())
                    }
                }
            })?;
            if let Some(error) = fault {
                return Err(error);
            }
            let writes = overlay.into_writes();
            self.view.projection.commit(writes, until)?;
            next = until;
        }
        Ok(())
    }

    /// What others may read.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Index of the next entry.
    pub fn next_index(&self) -> u64 {
        self.next
    }

    /// Refuses to go on when the machine's clock is far behind the log.
    pub fn check_clock(&self, now: Timestamp) -> Result<(), BrokerError> {
        if now.plus_s(MAX_CLOCK_STEP_BACK_S) < self.last_at {
            return Err(BrokerError::ClockBehind {
                now: now.to_rfc3339(),
                last: self.last_at.to_rfc3339(),
            });
        }
        Ok(())
    }

    /// Root over all entries.
    pub fn root(&self) -> Digest {
        self.view.tree().root()
    }

    /// Begins a batch of commands.
    pub fn batch<'a>(&'a self, pdp: &'a dyn PolicyDecisionPoint) -> Batch<'a> {
        Batch {
            overlay: Overlay::new(self.view.projection.as_ref()),
            records: Vec::new(),
            first: self.next,
            bytes: 0,
            last_at: self.last_at,
            pdp,
        }
    }

    /// Makes a batch true: journal first, in one durable write, then tree and projection.
    ///
    /// After an error the ledger must not be used: the process ends, and the next one finds on
    /// disk either the whole batch, a leading part of it, or nothing; none of it was acknowledged.
    pub fn commit(&mut self, batch: Finished) -> Result<(), BrokerError> {
        let raw = batch
            .records
            .iter()
            .map(encode)
            .collect::<Result<Vec<_>, _>>()?;
        self.journal.append(&raw)?;
        // A crash from here on: tree and projection are behind, and catch up when they are opened.
        self.view
            .tree
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .append(raw.iter().map(|record| leaf_hash(&record.entry)));
        let last = batch.records.last().map(|record| record.entry.at);
        self.last_at = last.unwrap_or(self.last_at);
        for (raw, record) in raw.into_iter().zip(batch.records) {
            self.view.recent.push(self.next, Durable { raw, record });
            self.next = self.next.saturating_add(1);
        }
        self.view.projection.commit(batch.writes, self.next)?;
        Ok(())
    }
}

/// Commands decided on one overlay, not yet true.
pub struct Batch<'a> {
    overlay: Overlay<'a>,
    records: Vec<Record>,
    first: u64,
    bytes: usize,
    last_at: Timestamp,
    pdp: &'a dyn PolicyDecisionPoint,
}

fn payload_bytes(record: &Record) -> usize {
    let payloads = record.sidecar.payloads.values();
    payloads.map(|p| p.0.len()).fold(0, usize::saturating_add)
}

/// A batch that borrows the ledger no more.
pub struct Finished {
    /// The records, in order.
    pub records: Vec<Record>,
    writes: Vec<passerelle_model::store::Write>,
}

impl Batch<'_> {
    /// Decides one command on top of those before it.
    pub fn run(
        &mut self,
        command: &Command,
        now: Timestamp,
        seed: [u8; 32],
    ) -> Result<(passerelle_model::decide::Reply, &[Record]), StoreError> {
        let next_index = self.first.saturating_add(self.records.len() as u64);
        let now = now.max(self.last_at);
        let inputs = Inputs {
            now,
            seed,
            next_index,
            pdp: self.pdp,
        };
        let Decided { records, reply } = decide(&mut self.overlay, command, &inputs)?;
        let added = records.len();
        self.bytes = records
            .iter()
            .map(payload_bytes)
            .fold(self.bytes, usize::saturating_add);
        if added > 0 {
            self.last_at = now;
        }
        self.records.extend(records);
        let start = self.records.len().saturating_sub(added);
        Ok((reply, self.records.get(start..).unwrap_or_default()))
    }

    /// Bytes of sealed payloads so far, before their encoding makes them a third longer.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many records there are so far.
    pub fn records(&self) -> usize {
        self.records.len()
    }

    /// Ends the borrow of the ledger.
    pub fn finish(self) -> Finished {
        Finished {
            records: self.records,
            writes: self.overlay.into_writes(),
        }
    }
}
