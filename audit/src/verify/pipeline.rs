//! Rows go through four stages, a chunk of them at a time: read, parsed, taken into the ledger,
//! signatures checked. While one chunk is taken into the ledger, which can only be done in order,
//! other threads parse the next and check the signatures of the one before.
//!
//! In scope: the order of work, and that it shows in no result: the outcome is that of one row
//! after the other, however many threads there are. Out of scope: what is checked.

use super::{
    fault::{Fault, FaultCode},
    ledger::Ledger,
    report::Check,
    row::{self, Job, Parsed},
    unreadable,
};
use crate::{
    dsse,
    export::ExportReader,
    keys::many::{Claim, ManyVerifier},
};
use passerelle_model::{ids::FederationId, statement::PAYLOAD_TYPE};
use std::{
    io::BufRead,
    sync::atomic::{AtomicUsize, Ordering},
};

/// Most rows of a chunk, unless the caller says otherwise.
const CHUNK_ROWS: u64 = 4096;

/// Bytes of rows after which a chunk ends.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;

/// Rows or signatures that a thread takes on in one go.
const TASK_ITEMS: usize = 64;

/// Most threads.
const MAX_THREADS: usize = 64;

/// Takes all rows below `size` into the ledger.
pub(super) struct Pipeline {
    threads: usize,
    chunk_rows: u64,
    size: u64,
    /// Rows read so far.
    read: u64,
    federation: FederationId,
    verifier: ManyVerifier,
    /// Read, not parsed.
    lines: Option<Lines>,
    /// Parsed, not taken into the ledger.
    rows: Option<Rows>,
    /// Taken into the ledger, signatures not checked.
    taken: Option<Taken>,
}

/// Lines of consecutive rows, and what ended them if they are too few.
struct Lines {
    lines: Vec<(u64, Vec<u8>)>,
    fault: Option<Fault>,
}

/// Rows up to the first that is wrong, and what is wrong with it.
struct Rows {
    rows: Vec<Parsed>,
    fault: Option<Fault>,
}

/// Rows up to the first fault, and the signatures that they need.
struct Taken {
    rows: Vec<Parsed>,
    jobs: Vec<Job>,
    fault: Option<Fault>,
}

/// What a thread brings back of one task.
enum Done {
    Parsed(Vec<Result<Parsed, Fault>>),
    Signed(Vec<bool>),
}

impl Pipeline {
    pub(super) fn new(ledger: &Ledger, size: u64, threads: usize, chunk_rows: u64) -> Self {
        Self {
            threads: threads.clamp(1, MAX_THREADS),
            chunk_rows: if chunk_rows == 0 {
                CHUNK_ROWS
            } else {
                chunk_rows
            },
            size,
            read: 0,
            federation: ledger.federation.clone(),
            verifier: ManyVerifier::new(),
            lines: None,
            rows: None,
            taken: None,
        }
    }

    /// Reads and verifies every row, and says after each chunk how many are done.
    pub(super) fn run(
        mut self,
        reader: &mut ExportReader<impl BufRead>,
        ledger: &mut Ledger,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), Fault> {
        let mut verified = 0;
        loop {
            // After a fault nothing more is looked at but the signatures that come before it.
            if self
                .taken
                .as_ref()
                .is_some_and(|taken| taken.fault.is_some())
            {
                (self.lines, self.rows, self.read) = (None, None, self.size);
            }
            let idle = self.lines.is_none() && self.rows.is_none() && self.taken.is_none();
            if idle && self.read >= self.size {
                return Ok(());
            }
            let (lines, rows, taken) = (self.lines.take(), self.rows.take(), self.taken.take());
            let work = Work {
                federation: &self.federation,
                verifier: &self.verifier,
                lines: lines.as_ref().map_or(&[], |lines| &lines.lines),
                rows: taken.as_ref().map_or(&[], |taken| &taken.rows),
                jobs: taken.as_ref().map_or(&[], |taken| &taken.jobs),
            };
            let (read, size, chunk_rows) = (self.read, self.size, self.chunk_rows);
            let in_order = || {
                let next = (read < size).then(|| Lines::read(reader, read, size, chunk_rows));
                (next, rows.map(|rows| rows.take(ledger)))
            };
            let ((next, just_taken), parsed, signed) = work.share(self.threads, in_order);
            if let Some(taken) = taken {
                verified += taken.rows.len() as u64;
                taken.judge(ledger, &signed)?;
                progress(verified);
            }
            self.rows = lines.map(|lines| Rows::collect(parsed, lines.fault));
            self.taken = just_taken;
            if let Some(next) = next {
                // A chunk that ends in a fault is the last.
                let rows = next.lines.len() as u64;
                self.read = next.fault.as_ref().map_or(self.read + rows, |_| self.size);
                self.lines = Some(next);
            }
            for job in self.taken.iter().flat_map(|taken| &taken.jobs) {
                self.verifier.expect(&job.key);
            }
        }
    }
}

impl Lines {
    fn read(reader: &mut ExportReader<impl BufRead>, first: u64, size: u64, rows: u64) -> Self {
        let mut chunk = Self {
            lines: Vec::new(),
            fault: None,
        };
        let mut bytes = 0;
        let last = size.min(first.saturating_add(rows));
        for index in first..last {
            if bytes >= CHUNK_BYTES {
                break;
            }
            let mut line = Vec::new();
            match reader.next_line(&mut line) {
                Ok(true) => {
                    bytes += line.len();
                    chunk.lines.push((index, line));
                }
                Ok(false) => {
                    let message = format!("the file ends here, {size} entries are expected");
                    chunk.fault = Some(Fault::at(index, FaultCode::Missing, message));
                    break;
                }
                Err(error) => {
                    chunk.fault = Some(unreadable(error, Some(index)));
                    break;
                }
            }
        }
        chunk
    }
}

impl Rows {
    /// The rows before the first that did not parse; `end` is what ended the chunk, if anything.
    fn collect(parsed: Vec<Result<Parsed, Fault>>, end: Option<Fault>) -> Self {
        let mut rows = Vec::with_capacity(parsed.len());
        for row in parsed {
            match row {
                Ok(row) => rows.push(row),
                Err(fault) => {
                    let fault = Some(fault);
                    return Self { rows, fault };
                }
            }
        }
        Self { rows, fault: end }
    }

    fn take(self, ledger: &mut Ledger) -> Taken {
        let Self {
            mut rows,
            mut fault,
        } = self;
        for (position, row) in rows.iter().enumerate() {
            if let Err(earlier) = ledger.take(position, row) {
                fault = Some(earlier);
                rows.truncate(position + 1);
                break;
            }
        }
        let jobs = std::mem::take(&mut ledger.jobs);
        Taken { rows, jobs, fault }
    }
}

impl Taken {
    /// Statements before the fault, and of its own entry, may be badly signed: that comes first.
    fn judge(self, ledger: &mut Ledger, signed: &[bool]) -> Result<(), Fault> {
        for (position, job) in self.jobs.iter().enumerate() {
            if signed.get(position) == Some(&true) {
                ledger.tally.checked(Check::StatementSignature, 1);
            } else if job.is_excused {
                ledger.tally.excused(FaultCode::Signature);
            } else {
                let message = "the signature is not by the key that the agency had enrolled";
                return Err(Fault::at(job.index, FaultCode::Signature, message));
            }
        }
        self.fault.map_or(Ok(()), Err)
    }
}

/// What can be done in any order.
struct Work<'a> {
    federation: &'a FederationId,
    verifier: &'a ManyVerifier,
    lines: &'a [(u64, Vec<u8>)],
    rows: &'a [Parsed],
    jobs: &'a [Job],
}

impl Work<'_> {
    /// Does `in_order` on this thread and, beside it and after it, everything else on all threads.
    ///
    /// Returns what `in_order` said, the parsed lines and the verdicts on signatures, each in the
    /// order of what they are about.
    fn share<T>(
        &self,
        threads: usize,
        in_order: impl FnOnce() -> T,
    ) -> (T, Vec<Result<Parsed, Fault>>, Vec<bool>) {
        let tasks = self.signature_tasks() + self.lines.len().div_ceil(TASK_ITEMS);
        let next = AtomicUsize::new(0);
        let work = || {
            let mut done = Vec::new();
            loop {
                let task = next.fetch_add(1, Ordering::Relaxed);
                if task >= tasks {
                    return done;
                }
                done.push((task, self.do_task(task)));
            }
        };
        let (said, mut done) = std::thread::scope(|scope| {
            let workers: Vec<_> = (1..threads.min(tasks + 1))
                .map(|_| scope.spawn(work))
                .collect();
            let said = in_order();
            let mut done = work();
            for worker in workers {
                match worker.join() {
                    Ok(more) => done.extend(more),
                    // A defect here: it must not pass for a verification.
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            (said, done)
        });
        done.sort_unstable_by_key(|(task, _)| *task);
        let mut parsed = Vec::with_capacity(self.lines.len());
        let mut signed = Vec::with_capacity(self.jobs.len());
        for (_, done) in done {
            match done {
                Done::Parsed(rows) => parsed.extend(rows),
                Done::Signed(verdicts) => signed.extend(verdicts),
            }
        }
        (said, parsed, signed)
    }

    fn signature_tasks(&self) -> usize {
        self.jobs.len().div_ceil(TASK_ITEMS)
    }

    fn do_task(&self, task: usize) -> Done {
        match task.checked_sub(self.signature_tasks()) {
            None => Done::Signed(self.check(nth_part(self.jobs, task))),
            Some(task) => {
                let lines = nth_part(self.lines, task);
                let parse =
                    |(index, line): &(u64, Vec<u8>)| row::parse(line, *index, self.federation);
                Done::Parsed(lines.iter().map(parse).collect())
            }
        }
    }

    fn check(&self, jobs: &[Job]) -> Vec<bool> {
        let claim = |job: &Job| {
            let envelope = self.rows.get(job.position)?.envelope()?;
            Some(Claim {
                key: job.key,
                prefix: dsse::prefix(PAYLOAD_TYPE, envelope.payload.0.len()),
                message: &envelope.payload.0,
                signature: &envelope.signature,
            })
        };
        // A job without its statement would be a defect here: nothing then counts as signed.
        jobs.iter()
            .map(claim)
            .collect::<Option<Vec<_>>>()
            .map_or_else(Vec::new, |claims| self.verifier.verify(&claims))
    }
}

fn nth_part<T>(items: &[T], n: usize) -> &[T] {
    items.chunks(TASK_ITEMS).nth(n).unwrap_or_default()
}
