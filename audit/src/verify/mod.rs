//! Verification of an exported log, offline and without trust in the broker.
//!
//! In scope: that the export is the log which the checkpoint commits to, that a quorum of
//! witnesses vouches for it, that every statement was signed by its agency, and that every step
//! was allowed by what stands before it in the log. Memory grows with what happened (agencies,
//! consents, requests), not with the bytes of the entries.
//! Out of scope: files (the caller brings a reader), policy rules (a decision is checked against
//! what it rests on, not made again), whether what agencies say is true.
//!
//! Rows are parsed on several threads, then taken in order into the `ledger`, which decides with
//! which key each statement must be signed; then signatures are checked on several threads (see
//! `pipeline`). The first fault is that of the lowest index, whatever the number of threads.

mod bundle;
mod exchange;
mod fault;
mod ground;
mod ledger;
mod members;
mod origin;
mod pipeline;
mod report;
mod reviews;
mod row;
mod running;
mod said;
mod seals;

pub use fault::{Fault, FaultCode};
pub use origin::{follows, wrong_with};
pub use report::{Cosignatures, MAX_WARNINGS, PolicyMet, Report, Trust, Warning, WitnessLine};
pub use reviews::OverdueReview;
pub use row::opens_something;
pub use running::Running;

use crate::{
    checkpoint::{self, SignedCheckpoint},
    cosignature::Cosigned,
    export::{ExportError, ExportHeader, ExportReader},
    note::{SignatureType, VerifierKey},
    tlog_policy::{Party, TlogPolicy},
};
use ledger::Ledger;
use pipeline::Pipeline;
use std::io::BufRead;

/// Keys that are trusted beforehand, and how to work.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The log's key, known from outside. Without it the key in the export is used, which proves
    /// consistency but not whose log it is.
    pub log_key: Option<VerifierKey>,
    /// Witnesses known from outside, of type 04. A quorum of these must have cosigned, beside the
    /// quorum of those that the log enrolled.
    pub witnesses: Vec<VerifierKey>,
    /// A policy known from outside that the checkpoint must meet, beside all else. If it names
    /// logs, the log must be one of them.
    pub policy: Option<TlogPolicy>,
    /// How many threads parse and check signatures; 0 counts as 1.
    pub threads: usize,
    /// Most rows that are read in one go; 0 counts as 4096. Up to four times as many are in memory.
    pub chunk_rows: u64,
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
    let policy = options.policy.as_ref();
    let policy = policy.map(|p| policy_met(&signed, p)).transpose()?;
    let size = signed.checkpoint().size();
    let mut ledger = Ledger::new(header.federation.clone(), log_key.to_string());
    progress(0, size);
    let pipeline = Pipeline::new(&ledger, size, options.threads, options.chunk_rows);
    pipeline.run(&mut reader, &mut ledger, &mut |done| progress(done, size))?;
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
    if ledger.frontier.root() != signed.checkpoint().root() {
        let message = "the root over the rows is not the one that the log signed";
        return Err(Fault::whole(FaultCode::Root, message));
    }
    ledger.goes_by_its_key()?;
    let own = ledger.own_quorum(&signed)?;
    ledger.warn_of_overdue_reviews();
    let names_logs = |policy: &TlogPolicy| !policy.logs().is_empty();
    let is_given = options.log_key.is_some() || options.policy.as_ref().is_some_and(names_logs);
    let trust = match is_given {
        true => Trust::Given,
        false => Trust::FromExport,
    };
    let cosignatures = std::iter::once(own).chain(given).collect();
    Ok(report(ledger, &signed, trust, cosignatures, policy))
}

fn report(
    ledger: Ledger,
    signed: &SignedCheckpoint,
    log_key_trust: Trust,
    cosignatures: Vec<Cosignatures>,
    policy: Option<PolicyMet>,
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
        policy,
        first_at: ledger.first_at,
        last_at: ledger.last_at,
        entries: tally.entries,
        statements: tally.statements,
        checks: tally.checks,
        origins: ledger.origin.entries,
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
    let logs = options.policy.as_ref().map_or(&[][..], TlogPolicy::logs);
    if !logs.is_empty() && logs.iter().all(|log| *log.key() != named) {
        let message = format!("the export is of the log `{named}`, which the policy does not name");
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

fn policy_met(signed: &SignedCheckpoint, policy: &TlogPolicy) -> Result<PolicyMet, Fault> {
    let judged = policy
        .judge(signed)
        .map_err(|error| Fault::whole(FaultCode::Cosignature, error.to_string()))?;
    let mut witnesses = Vec::new();
    for witness in policy.witnesses() {
        let mut found = judged.cosigned.iter();
        let found = found.find(|cosigned| cosigned.witness() == witness.key());
        witnesses.push(WitnessLine {
            key: witness.key().to_string(),
            cosigned_at_s: found.map(Cosigned::time_s),
        });
    }
    if judged.met {
        return Ok(PolicyMet {
            quorum: policy.quorum(),
            witnesses,
        });
    }
    let has_not = |w: &&Party| judged.cosigned.iter().all(|c| c.witness() != w.key());
    let missing = policy.witnesses().iter().filter(has_not);
    let missing: Vec<_> = missing.map(|w| format!("`{}`", w.name())).collect();
    let message = format!(
        "the quorum `{}` of the policy is not met: {} of its {} witnesses have cosigned, not {}",
        policy.quorum(),
        judged.cosigned.len(),
        witnesses.len(),
        missing.join(", ")
    );
    Err(Fault::whole(FaultCode::Policy, message))
}
