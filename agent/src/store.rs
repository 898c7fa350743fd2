//! Journal and projection of one agent, with their one writer.
//!
//! In scope: transactions on the state that those before them leave, one append for many, one
//! commit, the rebuild of the projection, and taking nothing more after a failure of the journal
//! or of the vault, whose keys are made durable before each append.
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
    vault::Vault,
};
use passerelle_journal::{
    Journal, JournalReader, JournalRecord, Options, Projection, SegmentJournal, files::Disk,
};
use passerelle_model::{
    error::ErrorCode,
    ids::AgencyId,
    seeded::{Bug, seeded},
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
    vault: Vault,
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
    /// which is written through `disk`; what `vault` has put is durable before it.
    ///
    /// # Errors
    /// The storage; another process that has it open.
    pub fn open_on(
        dir: &Path,
        me: AgencyId,
        vault: Vault,
        disk: Arc<dyn Disk>,
    ) -> Result<Self, CoreError> {
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
            vault,
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

    /// Makes a batch true: the keys of what it sealed first, in one sync, the journal, in one
    /// durable write, then the projection.
    ///
    /// # Errors
    /// The storage. Nothing more is taken then: the next start sees what is on disk.
    pub fn commit(&mut self, batch: Finished) -> Result<(), CoreError> {
        if batch.records.is_empty() && !self.vault.has_failed() {
            return Ok(());
        }
        let failed = std::mem::replace(&mut self.failed, true);
        if failed {
            return Err(CoreError::Stopped);
        }
        // A crash here leaves keys without a request. The other order could leave a request whose
        // answer never opens.
        if !seeded(Bug::KeysWithoutSync) {
            self.vault.sync()?;
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
        let done = work(batch.state());
        if self.vault.has_failed() {
            drop(batch);
            self.failed = true;
            return Err(ErrorCode::Storage);
        }
        let (events, value) = done?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        context::Context,
        erasure,
        event::Event,
        requester,
        testing::{Federation, FileOp, HookedDisk, NOW, agency, question},
    };
    use passerelle_journal::files::OsDisk;
    use std::{io, sync::Mutex};

    /// What a disk was asked to do, by file, and the file whose syncs it fails.
    #[derive(Clone, Default)]
    struct Notes {
        notes: Arc<Mutex<Vec<(String, FileOp)>>>,
        fails: Arc<Mutex<Option<&'static str>>>,
    }

    impl Notes {
        fn take(&self) -> Vec<(String, FileOp)> {
            std::mem::take(&mut self.notes.lock().unwrap())
        }

        fn disk(&self) -> HookedDisk {
            let Self { notes, fails } = self.clone();
            HookedDisk::new(move |file, op| {
                notes.lock().unwrap().push((file.to_owned(), op));
                match *fails.lock().unwrap() == Some(file) && op == FileOp::Sync {
                    true => Err(io::Error::other("injected fault")),
                    false => Ok(()),
                }
            })
        }
    }

    fn police(dir: &Path, notes: &Notes) -> (Context, Store) {
        let disk = notes.disk();
        let mut context = Federation::new().context("police", dir);
        // One vault has one process.
        context.vault = elsewhere();
        context.vault = Vault::open_on(&crate::home::Home::new(dir), &disk).unwrap();
        let vault = context.vault.clone();
        let store = Store::open_on(dir, agency("police"), vault, Arc::new(disk));
        (context, store.unwrap())
    }

    fn elsewhere() -> Vault {
        let dir = tempfile::tempdir().unwrap();
        Vault::open_on(&crate::home::Home::new(dir.path()), &OsDisk).unwrap()
    }

    fn asks(context: &Context) -> Result<Vec<Event>, ErrorCode> {
        let question = question(&context.config.workers[0]);
        let trust = Federation::new().trust("police");
        let (_, stated) = requester::ask(context, &trust, question, NOW)?;
        Ok(vec![Event::Stated(Box::new(stated))])
    }

    #[test]
    fn keys_of_a_batch_share_one_sync_before_the_journals_write() {
        let (dir, disk) = (tempfile::tempdir().unwrap(), Notes::default());
        let (context, mut store) = police(dir.path(), &disk);
        let mut batch = store.batch();
        disk.take();
        for _ in 0..3 {
            let events = asks(&context).unwrap();
            batch.add(&Transaction { at: NOW, events }).unwrap();
        }
        let batch = batch.finish();
        store.commit(batch).unwrap();
        let notes = disk.take();
        let notes: Vec<_> = notes.iter().map(|(f, what)| (f.as_str(), *what)).collect();
        let put = ("keys", FileOp::Write);
        let expected = [
            put,
            put,
            put,
            ("keys", FileOp::Sync),
            ("seg", FileOp::Write),
            ("seg", FileOp::Sync),
        ];
        assert_eq!(notes[..6], expected);
        // No question, no sync of keys.
        let labelled = Event::Labelled {
            id: "c".into(),
            handle: passerelle_model::bytes::Handle([1; 32]),
            label: "n".into(),
        };
        store.run(NOW, |_| Ok((vec![labelled], ()))).unwrap();
        assert!(disk.take().iter().all(|(file, _)| file != "keys"));
    }

    #[test]
    fn a_failed_sync_of_the_keys_stops_the_store_before_anything_is_journaled() {
        let (dir, disk) = (tempfile::tempdir().unwrap(), Notes::default());
        let (context, mut store) = police(dir.path(), &disk);
        *disk.fails.lock().unwrap() = Some("keys");
        let refused = store.run(NOW, |_| Ok((asks(&context)?, ())));
        assert_eq!(refused, Err(ErrorCode::Storage));
        assert!(store.has_failed());
        assert_eq!(store.reader().len(), 0);
        *disk.fails.lock().unwrap() = None;
        assert!(asks(&context).is_err(), "no key is taken any more");
        assert_eq!(
            store.run(NOW, |_| Ok((Vec::new(), ()))),
            Err(ErrorCode::Storage)
        );
        drop((context, store));
        let (context, store) = police(dir.path(), &disk);
        context.vault.sweep(store.view()).unwrap();
        let bytes = std::fs::read(dir.path().join(crate::vault::FILE)).unwrap();
        assert!(bytes[64..].iter().all(|byte| *byte == 0), "swept");
    }

    #[test]
    fn an_erasure_whose_sync_fails_stops_the_store_and_is_not_journaled() {
        let (dir, disk) = (tempfile::tempdir().unwrap(), Notes::default());
        let (context, mut store) = police(dir.path(), &disk);
        store.run(NOW, |_| Ok((asks(&context)?, ()))).unwrap();
        let asked = crate::state::asks(store.view()).unwrap();
        let request = asked[0].request.request.clone();
        let settled = Event::Settled {
            seq: 0,
            code: Some(ErrorCode::Stale),
            index: None,
        };
        store.run(NOW, |_| Ok((vec![settled], ()))).unwrap();
        let begun = store.run(NOW, |view| Ok((erasure::begin(view, &request)?, ())));
        begun.unwrap();
        let len = store.reader().len();
        *disk.fails.lock().unwrap() = Some("keys");
        let erased = store.run(NOW, |view| {
            let events = erasure::finish(&context, view, &request, NOW)?;
            Ok((events, ()))
        });
        assert_eq!(erased, Err(ErrorCode::Storage));
        assert!(store.has_failed());
        assert_eq!(store.reader().len(), len);
        let unfinished = erasure::unfinished(store.view()).unwrap();
        assert_eq!(unfinished, [request], "the next start finishes it");
    }
}
