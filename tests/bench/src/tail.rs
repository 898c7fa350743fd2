//! Reads an agent's journal while the agent writes it: the cheapest way to learn that an answer
//! is there, since it takes nothing from the agent.
//!
//! The local interface has no call that waits for an answer: `Show` attests that a worker looked,
//! and `ListRequests` lists all there are. A frame of the journal is complete in the file one
//! `fdatasync` before it is durable; `exchange` adds one durable write to each latency for that.

use anyhow::{Context as _, Result};
use passerelle_agent::event::{Event, Transaction};
use passerelle_journal::{FRAME_HEADER_BYTES, JournalRecord, SEGMENT_HEADER_BYTES};
use serde::Deserialize;
use std::{
    collections::HashMap,
    fs::File,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// How often the file is looked at.
const POLL: Duration = Duration::from_micros(250);

/// One frame's place.
struct Frame {
    index: u64,
    position_in_batch: u32,
    entry_at: u64,
    entry_bytes: usize,
    sidecar_bytes: usize,
}

impl Frame {
    fn end(&self) -> u64 {
        self.entry_at + (self.entry_bytes + self.sidecar_bytes) as u64
    }
}

/// Walks the frames of a journal, from segment to segment.
pub(crate) struct Frames {
    dir: PathBuf,
    file: File,
    next: u64,
    offset: u64,
}

fn segment(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}.seg"))
}

impl Frames {
    /// From the journal's first record.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let path = segment(dir, 0);
        Ok(Self {
            file: File::open(&path).with_context(|| path.display().to_string())?,
            dir: dir.to_owned(),
            next: 0,
            offset: SEGMENT_HEADER_BYTES,
        })
    }

    /// The next frame that is whole, if there is one yet.
    fn step(&mut self) -> Result<Option<Frame>> {
        loop {
            let length = self.file.metadata()?.len();
            if length >= self.offset + FRAME_HEADER_BYTES
                && let Some(frame) = self.header()?
            {
                return Ok((length >= frame.end()).then_some(frame));
            }
            let path = segment(&self.dir, self.next);
            if self.next == 0 || self.offset == SEGMENT_HEADER_BYTES || !path.exists() {
                return Ok(None);
            }
            self.file = File::open(path)?;
            self.offset = SEGMENT_HEADER_BYTES;
        }
    }

    /// `magic 4 | index 8 | position in batch 4 | entry bytes 4 | sidecar bytes 4 | sums 8`.
    fn header(&self) -> Result<Option<Frame>> {
        let mut bytes = [0; FRAME_HEADER_BYTES as usize];
        self.file.read_exact_at(&mut bytes, self.offset)?;
        let number = |at: usize| -> Result<u32> {
            let bytes = bytes.get(at..at + 4).context("a short header")?;
            Ok(u32::from_le_bytes(bytes.try_into()?))
        };
        let index = u64::from(number(4)?) | u64::from(number(8)?) << 32;
        if index != self.next || number(0)? == 0 {
            return Ok(None);
        }
        Ok(Some(Frame {
            index,
            position_in_batch: number(12)?,
            entry_bytes: number(16)? as usize,
            sidecar_bytes: number(20)? as usize,
            entry_at: self.offset + FRAME_HEADER_BYTES,
        }))
    }

    fn entry(&self, frame: &Frame) -> Result<Vec<u8>> {
        let mut bytes = vec![0; frame.entry_bytes];
        self.file.read_exact_at(&mut bytes, frame.entry_at)?;
        Ok(bytes)
    }

    fn sidecar(&self, frame: &Frame) -> Result<Vec<u8>> {
        let mut bytes = vec![0; frame.sidecar_bytes];
        let at = frame.entry_at + frame.entry_bytes as u64;
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    }

    fn pass(&mut self, frame: &Frame) {
        self.next = frame.index + 1;
        self.offset = frame.end();
    }
}

#[derive(Default)]
struct Seen {
    opened: HashMap<String, Instant>,
    waiting: HashMap<String, oneshot::Sender<Instant>>,
    failed: Option<String>,
}

/// Watches the answers that an agent opens.
pub(crate) struct Tail {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

fn locked(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tail {
    /// Begins with what the journal in `dir` holds already.
    pub(crate) fn begin(dir: &Path) -> Result<Self> {
        let mut frames = Frames::open(dir)?;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopped) = (Arc::clone(&seen), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                if let Err(error) = take_in(&mut frames, &shared) {
                    let mut seen = locked(&shared);
                    seen.failed = Some(format!("{error:#}"));
                    seen.waiting.clear();
                    return;
                }
                std::thread::sleep(POLL);
            }
        });
        Ok(Self {
            seen,
            stop,
            thread: Some(thread),
        })
    }

    /// For those who wait.
    pub(crate) fn handle(&self) -> Opened {
        Opened(Arc::clone(&self.seen))
    }

    /// As [`Opened::opened`].
    pub(crate) async fn opened(&self, request: &str, patience: Duration) -> Result<Instant> {
        self.handle().opened(request, patience).await
    }
}

/// Whoever waits for answers.
#[derive(Clone)]
pub(crate) struct Opened(Arc<Mutex<Seen>>);

impl Opened {
    /// Waits until the agent has opened the answer to `request`, and says when it had.
    pub(crate) async fn opened(&self, request: &str, patience: Duration) -> Result<Instant> {
        let waiting = {
            let mut seen = locked(&self.0);
            if let Some(error) = &seen.failed {
                anyhow::bail!("the agent's journal can't be read: {error}");
            }
            if let Some(at) = seen.opened.remove(request) {
                return Ok(at);
            }
            let (tell, told) = oneshot::channel();
            seen.waiting.insert(request.to_owned(), tell);
            told
        };
        let told = tokio::time::timeout(patience, waiting).await;
        let told = told.with_context(|| format!("no answer to `{request}` in {patience:?}"))?;
        told.context("the agent's journal can't be read")
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn take_in(frames: &mut Frames, shared: &Mutex<Seen>) -> Result<()> {
    while let Some(frame) = frames.step()? {
        let entry = frames.entry(&frame)?;
        let holds = |kind: &[u8]| entry.windows(kind.len()).any(|w| w == kind);
        if holds(b"answer_opened") || holds(b"answer_refused") {
            let sidecar = frames.sidecar(&frame)?;
            let Ok(transaction) = Transaction::from_record(&JournalRecord { entry, sidecar })
            else {
                // Its bytes are not all there yet.
                return Ok(());
            };
            let now = Instant::now();
            for event in transaction.events {
                match event {
                    Event::AnswerOpened { request, .. } => tell(shared, request.as_str(), now),
                    Event::AnswerRefused { request, code } => {
                        anyhow::bail!("the answer to `{request}` was refused: {code}")
                    }
                    _ => {}
                }
            }
        }
        frames.pass(&frame);
    }
    Ok(())
}

fn tell(shared: &Mutex<Seen>, request: &str, at: Instant) {
    let mut seen = locked(shared);
    match seen.waiting.remove(request) {
        // Whoever waited may have given up.
        Some(waiting) => drop(waiting.send(at)),
        None => drop(seen.opened.insert(request.to_owned(), at)),
    }
}

/// What a journal took in a span of time.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub(crate) struct Written {
    /// Durable writes: batches.
    pub(crate) batches: u64,
    /// Records in them.
    pub(crate) records: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Records that hold a step of the witness.
    pub(crate) witnessed: u64,
}

#[derive(Deserialize)]
struct Head {
    at: u64,
    #[serde(default)]
    events: Vec<String>,
}

/// What the journal in `dir` took from `from_ms` to `until_ms` of the machine's clock.
pub(crate) fn written(dir: &Path, from_ms: u64, until_ms: u64) -> Result<Written> {
    let mut frames = Frames::open(dir)?;
    let mut sum = Written::default();
    while let Some(frame) = frames.step()? {
        let head: Head = serde_json::from_slice(&frames.entry(&frame)?)?;
        if (from_ms..until_ms).contains(&head.at) {
            sum.batches += u64::from(frame.position_in_batch == 0);
            sum.records += 1;
            sum.bytes += FRAME_HEADER_BYTES + (frame.entry_bytes + frame.sidecar_bytes) as u64;
            sum.witnessed += u64::from(head.events.iter().any(|e| e == "witnessed"));
        }
        frames.pass(&frame);
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use passerelle_journal::{Journal as _, Options, SegmentJournal};
    use passerelle_model::{time::Timestamp, vocabulary::Outcome};

    fn opened(at: u64, request: &str) -> JournalRecord {
        let events = vec![Event::AnswerOpened {
            request: request.parse().unwrap(),
            outcome: Outcome::Released,
        }];
        let at = Timestamp(at);
        Transaction { at, events }.to_record().unwrap()
    }

    fn id(letter: char) -> String {
        format!("req-{}", letter.to_string().repeat(32))
    }

    #[test]
    fn batches_are_counted_within_the_span_across_segments() {
        let dir = tempfile::tempdir().unwrap();
        // Every batch in a segment of its own.
        let options = Options { segment_bytes: 1 };
        let mut journal = SegmentJournal::open(dir.path(), options).unwrap();
        let record = |at| opened(at, &id('a'));
        journal.append(&[record(10), record(10)]).unwrap();
        journal.append(&[record(20)]).unwrap();
        journal.append(&[record(30)]).unwrap();
        let sum = written(dir.path(), 10, 30).unwrap();
        assert_eq!((sum.batches, sum.records), (2, 3));
    }

    #[tokio::test]
    async fn an_answer_is_seen_whether_it_comes_before_or_after_one_waits() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = SegmentJournal::open(dir.path(), Options::default()).unwrap();
        journal.append(&[opened(1, &id('a'))]).unwrap();
        let tail = Tail::begin(dir.path()).unwrap();
        let patience = Duration::from_secs(20);
        tail.opened(&id('a'), patience).await.unwrap();
        let (later, other) = (tail.handle(), id('b'));
        let waiting = tokio::spawn(async move { later.opened(&other, patience).await.map(drop) });
        tokio::task::yield_now().await;
        journal.append(&[opened(2, &id('b'))]).unwrap();
        waiting.await.unwrap().unwrap();
        let nobody = tail.opened(&id('c'), Duration::from_millis(50)).await;
        assert!(nobody.is_err(), "what never comes is an error");
    }
}
