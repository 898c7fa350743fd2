//! The newest records, decoded, beside the journal.
//!
//! An entry is told to those whom it concerns a moment after it was written, and often to several:
//! without this each notice would read and parse it from the file again. Bounded in records and in
//! bytes; whoever asks for an older one reads the journal.

use passerelle_journal::JournalRecord;
use passerelle_model::entry::Record;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Most records that are kept.
const MAX_RECORDS: usize = 2_048;
/// Most bytes of them, as they stand in the journal; decoded they take about as many again.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// A durable record, as it was written and decoded.
#[derive(Debug)]
pub struct Durable {
    /// As it stands in the journal.
    pub raw: JournalRecord,
    /// What it says.
    pub record: Record,
}

impl Durable {
    fn bytes(&self) -> usize {
        self.raw.entry.len().saturating_add(self.raw.sidecar.len())
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Recent(Mutex<Window>);

/// Consecutive records.
#[derive(Debug, Default)]
struct Window {
    first: u64,
    records: VecDeque<Arc<Durable>>,
    bytes: usize,
}

impl Recent {
    fn window(&self) -> MutexGuard<'_, Window> {
        // Nothing panics while it is held; were it so, what is missing is read from the journal.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in the record at `index`, which is durable.
    pub fn push(&self, index: u64, durable: Durable) {
        self.window().push(index, durable);
    }

    /// The record at `index`, if it is among the newest.
    pub fn get(&self, index: u64) -> Option<Arc<Durable>> {
        let window = self.window();
        let place = usize::try_from(index.checked_sub(window.first)?).ok()?;
        window.records.get(place).map(Arc::clone)
    }
}

impl Window {
    fn push(&mut self, index: u64, durable: Durable) {
        let next = self.first.saturating_add(self.records.len() as u64);
        if index != next {
            *self = Self {
                first: index,
                ..Self::default()
            };
        }
        self.bytes = self.bytes.saturating_add(durable.bytes());
        self.records.push_back(Arc::new(durable));
        while (self.records.len() > MAX_RECORDS || self.bytes > MAX_BYTES)
            && let Some(oldest) = self.records.pop_front()
        {
            self.first = self.first.saturating_add(1);
            self.bytes = self.bytes.saturating_sub(oldest.bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use passerelle_model::{
        bytes::{Digest, Nonce},
        entry::{Entry, EntryBody, Sidecar},
        time::Timestamp,
    };

    fn durable(bytes: usize) -> Durable {
        Durable {
            raw: JournalRecord {
                entry: vec![b'x'; bytes],
                sidecar: Vec::new(),
            },
            record: Record {
                entry: Entry {
                    kind: "bundle_activated".to_owned(),
                    version: 1,
                    nonce: Nonce([0; 32]),
                    at: Timestamp(1),
                    body: EntryBody::BundleActivated {
                        bundle: Digest::of(b""),
                    },
                },
                sidecar: Sidecar::default(),
            },
        }
    }

    #[test]
    fn the_newest_are_kept_by_their_index_and_the_oldest_go() {
        let recent = Recent::default();
        for index in 7..7 + MAX_RECORDS as u64 + 3 {
            recent.push(index, durable(usize::try_from(index).expect("small")));
        }
        assert!(recent.get(6).is_none());
        assert!(recent.get(9).is_none());
        assert_eq!(recent.get(10).expect("kept").raw.entry.len(), 10);
        let last = 7 + MAX_RECORDS as u64 + 2;
        assert!(recent.get(last).is_some());
        assert!(recent.get(last + 1).is_none());
    }

    #[test]
    fn large_records_are_not_hoarded() {
        let recent = Recent::default();
        for index in 0..5 {
            recent.push(index, durable(MAX_BYTES / 2));
        }
        assert!(recent.get(2).is_none());
        assert!(recent.get(3).is_some());
        assert!(recent.get(4).is_some());
    }

    #[test]
    fn a_gap_begins_anew() {
        let recent = Recent::default();
        recent.push(0, durable(1));
        recent.push(5, durable(1));
        assert!(recent.get(0).is_none());
        assert!(recent.get(4).is_none());
        assert!(recent.get(5).is_some());
    }
}
