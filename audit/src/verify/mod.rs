//! Verification of an exported log, offline and without trust in the broker.
//!
//! In scope: that the export is the log which the checkpoint commits to, that a quorum of
//! witnesses vouches for it, that every statement was signed by its agency, and that every step
//! was allowed by what stands before it in the log. Memory grows with what happened (agencies,
//! consents, requests), not with the bytes of the entries.
//! Out of scope: files (the caller brings a reader), policy rules (a decision is checked against
//! what it rests on, not made again), whether what agencies say is true.
//!
//! Rows are read in chunks. Each chunk is parsed on several threads, then taken in order into the
//! `ledger`, which decides with which key each statement must be signed; then its signatures
//! are checked on several threads. The first fault is that of the lowest index.

mod exchange;
mod fault;
mod ground;
mod ledger;
mod members;
mod report;
mod row;
mod said;

pub use fault::{Fault, FaultCode};
pub use report::{Cosignatures, MAX_WARNINGS, Report, Trust, Warning, WitnessLine};

use crate::{
    checkpoint::{self, SignedCheckpoint},
    export::{ExportError, ExportHeader, ExportReader},
    keys::DecodedKey,
    note::{SignatureType, VerifierKey},
};
use ledger::Ledger;
use passerelle_model::ids::FederationId;
use report::Check;
use row::{Job, Parsed};
use std::{collections::HashMap, io::BufRead};

/// Most rows of a chunk.
const CHUNK_ROWS: u64 = 4096;

/// Bytes of rows after which a chunk ends.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;

/// Work below which threads cost more than they save.
const MIN_ITEMS_PER_THREAD: usize = 16;

/// Most threads.
const MAX_THREADS: usize = 64;

/// Keys that are trusted beforehand, and how to work.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The log's key, known from outside. Without it the key in the export is used, which proves
    /// consistency but not whose log it is.
    pub log_key: Option<VerifierKey>,
    /// Witnesses known from outside, of type 04. A quorum of these must have cosigned, beside the
    /// quorum of those that the log enrolled.
    pub witnesses: Vec<VerifierKey>,
    /// How many threads parse and check signatures; 0 counts as 1.
    pub threads: usize,
}

/// Verifies an export. See [`verify_with_progress`].
///
/// # Errors
/// The first fault.
pub fn verify(reader: impl BufRead, options: &Options) -> Result<Report, Fault> {
    verify_with_progress(reader, options, &mut |_, _| {})
}

/// Verifies an export, and calls `progress` now and then with the number of entries verified so
/// far and in all.
///
/// # Errors
/// The first fault; [`FaultCode::Io`] if the reader fails, which says nothing about the log.
pub fn verify_with_progress(
    reader: impl BufRead,
    options: &Options,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Report, Fault> {
    let mut reader = ExportReader::new(reader).map_err(|error| unreadable(error, None))?;
    let header = reader.header().clone();
    let (signed, log_key) = open_checkpoint(&header, options)?;
    let given = given_quorum(&signed, options)?;
    let size = signed.checkpoint().size();
    let mut ledger = Ledger::new(header.federation.clone(), log_key.to_string());
    let mut next = 0;
    while next < size {
        progress(next, size);
        let chunk = Chunk::read(&mut reader, next, size);
        next += chunk.rows();
        chunk.verify(&mut ledger, options.threads)?;
    }
    let mut rest = Vec::new();
    match reader.next_line(&mut rest) {
        Ok(false) => {}
        Ok(true) => {
            let message = format!("there is a line after the row of the last entry, {size} in all");
            return Err(Fault::at(size, FaultCode::Trailing, message));
        }
        Err(ExportError::Line { reason, .. }) => {
            return Err(Fault::at(size, FaultCode::Trailing, reason));
        }
        Err(error) => return Err(unreadable(error, Some(size))),
    }
    progress(size, size);
    if ledger.frontier.root() != signed.checkpoint().root() {
        let message = "the root over the rows is not the one that the log signed";
        return Err(Fault::whole(FaultCode::Root, message));
    }
    let own = ledger.own_quorum(&signed)?;
    let trust = options
        .log_key
        .as_ref()
        .map_or(Trust::FromExport, |_| Trust::Given);
    let cosignatures = std::iter::once(own).chain(given).collect();
    Ok(report(ledger, &signed, trust, cosignatures))
}

fn report(
    ledger: Ledger,
    signed: &SignedCheckpoint,
    log_key_trust: Trust,
    cosignatures: Vec<Cosignatures>,
) -> Report {
    let tally = ledger.tally;
    Report {
        federation: ledger.federation,
        origin: signed.checkpoint().origin().to_owned(),
        size: signed.checkpoint().size(),
        root: signed.checkpoint().root(),
        log_key: ledger.log_key,
        log_key_trust,
        cosignatures,
        first_at: ledger.first_at,
        last_at: ledger.last_at,
        entries: tally.entries,
        statements: tally.statements,
        checks: tally.checks,
        not_readable: tally.not_readable,
        not_checkable: tally.not_checkable,
        warnings: tally.warnings,
        warnings_total: tally.warnings_total,
    }
}

fn unreadable(error: ExportError, index: Option<u64>) -> Fault {
    let code = match (&error, index) {
        (ExportError::Io(_), _) => FaultCode::Io,
        (_, None) => FaultCode::Header,
        (_, Some(_)) => FaultCode::Row,
    };
    Fault {
        index,
        code,
        message: error.to_string(),
    }
}

fn open_checkpoint(
    header: &ExportHeader,
    options: &Options,
) -> Result<(SignedCheckpoint, VerifierKey), Fault> {
    let named: VerifierKey = header
        .checkpoint_key
        .parse()
        .map_err(|error| Fault::whole(FaultCode::Key, format!("the log's key: {error}")))?;
    if let Some(trusted) = options
        .log_key
        .as_ref()
        .filter(|trusted| **trusted != named)
    {
        let message = format!("the export is of the log `{named}`, not of `{trusted}`");
        return Err(Fault::whole(FaultCode::OtherLogKey, message));
    }
    let signed = checkpoint::open(&header.checkpoint, &named)
        .map_err(|error| Fault::whole(FaultCode::Checkpoint, error.to_string()))?;
    Ok((signed, named))
}

fn given_quorum(
    signed: &SignedCheckpoint,
    options: &Options,
) -> Result<Option<Cosignatures>, Fault> {
    let witnesses = &options.witnesses;
    if witnesses.is_empty() {
        return Ok(None);
    }
    let wrong = |key: &&VerifierKey| key.kind() != SignatureType::CosignatureV1;
    if let Some(key) = witnesses.iter().find(wrong) {
        let message = format!("`{}` is not the key of a witness", key.name());
        return Err(Fault::whole(FaultCode::Key, message));
    }
    let (outcome, missing) =
        members::cosignatures(signed, witnesses, witnesses.len(), Trust::Given)?;
    missing.map_or(Ok(Some(outcome)), Err)
}

/// Lines of consecutive rows, and what ended them if they are too few.
struct Chunk {
    lines: Vec<(u64, Vec<u8>)>,
    fault: Option<Fault>,
}

impl Chunk {
    fn read(reader: &mut ExportReader<impl BufRead>, first: u64, size: u64) -> Self {
        let mut chunk = Self {
            lines: Vec::new(),
            fault: None,
        };
        let mut bytes = 0;
        let last = size.min(first.saturating_add(CHUNK_ROWS));
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

    fn rows(&self) -> u64 {
        self.lines.len() as u64
    }

    fn verify(self, ledger: &mut Ledger, threads: usize) -> Result<(), Fault> {
        let federation: &FederationId = &ledger.federation;
        let parsed = in_parallel(&self.lines, threads, |(index, line)| {
            row::parse(line, *index, federation)
        });
        drop(self.lines);
        let mut rows: Vec<Parsed> = Vec::with_capacity(parsed.len());
        let mut first_fault = self.fault;
        for (position, row) in parsed.into_iter().enumerate() {
            let outcome = row.and_then(|row| {
                let outcome = ledger.take(position, &row);
                rows.push(row);
                outcome
            });
            if let Err(fault) = outcome {
                first_fault = Some(fault);
                break;
            }
        }
        // Statements before the fault, and of its own entry, may be badly signed: that comes first.
        check_signatures(ledger, &rows, threads)?;
        first_fault.map_or(Ok(()), Err)
    }
}

fn check_signatures(ledger: &mut Ledger, rows: &[Parsed], threads: usize) -> Result<(), Fault> {
    let jobs = std::mem::take(&mut ledger.jobs);
    // Few agencies sign the many statements of a chunk.
    let mut keys = HashMap::new();
    for job in &jobs {
        keys.entry(job.key)
            .or_insert_with(|| DecodedKey::new(&job.key));
    }
    let outcomes = in_parallel(&jobs, threads, |job: &Job| {
        let key = keys.get(&job.key).and_then(Option::as_ref);
        let row = rows.get(job.position);
        key.zip(row).is_some_and(|(key, row)| row.is_signed_by(key))
    });
    for (job, is_signed) in jobs.iter().zip(outcomes) {
        if is_signed {
            ledger.tally.checked(Check::StatementSignature, 1);
        } else if job.is_excused {
            ledger.tally.excused(FaultCode::Signature);
        } else {
            let message = "the signature is not by the key that the agency had enrolled";
            return Err(Fault::at(job.index, FaultCode::Signature, message));
        }
    }
    Ok(())
}

/// Maps on up to `threads` threads, in order.
fn in_parallel<T: Sync, R: Send>(
    items: &[T],
    threads: usize,
    map: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let threads = threads.clamp(1, MAX_THREADS);
    let share = items.len().div_ceil(threads).max(MIN_ITEMS_PER_THREAD);
    if items.len() <= share {
        return items.iter().map(map).collect();
    }
    let map = &map;
    std::thread::scope(|scope| {
        let workers: Vec<_> = items
            .chunks(share)
            .map(|part| scope.spawn(move || part.iter().map(map).collect::<Vec<R>>()))
            .collect();
        let mut results = Vec::with_capacity(items.len());
        for worker in workers {
            match worker.join() {
                Ok(part) => results.extend(part),
                // A defect here: it must not pass for a verification.
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        results
    })
}
