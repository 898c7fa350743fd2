//! `passerelle-audit`: verifies an exported log, alone. No network, no trust in the broker, and
//! nothing needed but the file; an auditor can build and run it without the rest. It also confirms
//! proofs that a log forked.
//!
//! Exit codes: 0 verified (or the fork is proven), 1 a fault was found (or it is not), 2 wrong
//! usage, 3 the file can't be read.

use clap::{Args, Parser, Subcommand};
use passerelle_audit::{
    note::{SignatureType, VerifierKey},
    tlog_policy::TlogPolicy,
    verify::{Fault, FaultCode, Options, Report, follows, verify_with_progress},
};
use serde_json::json;
use std::{
    fs::File,
    io::{self, BufReader, IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
    thread::available_parallelism,
};

#[path = "passerelle-audit/exports.rs"]
mod exports;
#[path = "passerelle-audit/forks.rs"]
mod forks;
#[path = "passerelle-audit/policies.rs"]
mod policies;
#[path = "passerelle-audit/report.rs"]
mod report;
#[path = "passerelle-audit/search.rs"]
mod search;
#[path = "passerelle-audit/tiles.rs"]
mod tiles;

const VERIFIED: u8 = 0;
const FAULT: u8 = 1;
const USAGE: u8 = 2;
const UNREADABLE: u8 = 3;

/// Bytes read ahead of the verification.
const READ_AHEAD_BYTES: usize = 1024 * 1024;

const EXAMPLES: &str = "\
Examples:
  passerelle-audit verify export.jsonl
      Is the export consistent in itself?
  passerelle-audit keys export.jsonl
      Print the keys of the log and its witnesses, to compare with the agencies by telephone.
  passerelle-audit verify export.jsonl --log-key 'KEY' --witness 'KEY' --witness 'KEY'
      Is this the log of these very keys? (As printed by `keys`, confirmed elsewhere.)
  passerelle-audit verify export.jsonl --policy policy.txt
      The same with a C2SP tlog-policy file, which may ask for witnesses outside the federation.
  passerelle-audit verify export.jsonl --former former.jsonl
      Does it go on, under its new origin, from this former log?
  passerelle-audit checkpoint checkpoint.txt --policy policy.txt
      Is this a checkpoint that the policy accepts?
  passerelle-audit fork fork.txt --log-key 'KEY'
      Did the log with this key sign two checkpoints that contradict each other?

Exit codes: 0 verified, 1 a fault was found, 2 wrong usage, 3 the file can't be read.";

/// Verify an exported log of Passerelle, offline and without trust in the broker.
#[derive(Parser)]
#[command(version, about, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Verify an export: says what was checked, or names the first fault.
    #[command(after_help = EXAMPLES)]
    Verify(Arguments),
    /// Verify an export, and print the keys of the log and of the witnesses it enrolled.
    #[command(after_help = EXAMPLES)]
    Keys(Arguments),
    /// Check a proof that the log forked: two checkpoints, both signed by the log, that contradict
    /// each other.
    #[command(after_help = forks::EXAMPLES)]
    Fork(forks::Arguments),
    /// Check one checkpoint, such as a broker serves it, against a tlog-policy file.
    #[command(after_help = policies::EXAMPLES)]
    Checkpoint(policies::Arguments),
    /// Convert an export for other programs: FHIR, OCSF or CSV. It is verified first.
    #[command(after_help = exports::CONVERT_EXAMPLES)]
    Convert(exports::ConvertArguments),
    /// Account for the disclosures about one person, for programs or as a printable page.
    #[command(after_help = exports::DISCLOSURES_EXAMPLES)]
    Disclosures(exports::DisclosuresArguments),
    /// Search an export by period, agency, purpose, decision, rule and more. It is verified first.
    #[command(after_help = search::EXAMPLES)]
    Search(Box<search::SearchArguments>),
    /// Count the exchanges of an export, so that nobody can be found in the numbers. It is verified
    /// first.
    #[command(after_help = report::EXAMPLES)]
    Report(report::ReportArguments),
    /// Write the log as C2SP tlog-tiles: the checkpoint, tiles of hashes, bundles of entries. The
    /// export is verified first.
    #[command(after_help = tiles::EXAMPLES)]
    Tiles(tiles::Arguments),
}

#[derive(Args)]
struct Arguments {
    /// The export, as `passerelle audit export` writes it.
    file: PathBuf,
    /// The log's key, known from elsewhere, in the form `name+id+key`.
    #[arg(long, value_name = "KEY", value_parser = log_key)]
    log_key: Option<VerifierKey>,
    /// A witness's key, known from elsewhere; may be repeated. A quorum of these must have
    /// cosigned, beside the quorum of those that the log enrolled.
    #[arg(long, value_name = "KEY", value_parser = witness_key)]
    witness: Vec<VerifierKey>,
    /// A C2SP tlog-policy file that the checkpoint must meet as well.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// An export of the log whose place this one took: is what was carried of it what stood there?
    #[arg(long, value_name = "FILE")]
    former: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn log_key(text: &str) -> Result<VerifierKey, String> {
    key(text, SignatureType::Ed25519)
}

fn witness_key(text: &str) -> Result<VerifierKey, String> {
    key(text, SignatureType::CosignatureV1)
}

fn key(text: &str, kind: SignatureType) -> Result<VerifierKey, String> {
    let key: VerifierKey = text.parse().map_err(|error| format!("{error}"))?;
    if key.kind() == kind {
        Ok(key)
    } else {
        Err("a key of the wrong kind: log and witnesses have different ones".to_owned())
    }
}

fn main() -> ExitCode {
    let (arguments, show): (Arguments, fn(&Report) -> String) = match Cli::parse().command {
        Command::Verify(arguments) => (arguments, verdict),
        Command::Keys(arguments) => (arguments, keys),
        Command::Fork(arguments) => return say(forks::check(&arguments)),
        Command::Checkpoint(arguments) => return say(policies::check(&arguments)),
        Command::Convert(arguments) => return exports::convert(&arguments),
        Command::Disclosures(arguments) => return exports::disclosures(&arguments),
        Command::Search(arguments) => return search::search(&arguments),
        Command::Report(arguments) => return report::report(&arguments),
        Command::Tiles(arguments) => return tiles::write(&arguments),
    };
    let policy = match policies::given(arguments.policy.as_deref()) {
        Ok(policy) => policy,
        Err((message, code)) => return not_started(&message, code),
    };
    say(
        match run(&arguments, policy).and_then(|report| against_former(&arguments, report)) {
            Ok(report) if arguments.json => {
                let (verified, complete) = (true, report.is_complete());
                let value = json!({"verified": verified, "complete": complete, "report": report});
                (format!("{value}\n"), VERIFIED)
            }
            Ok(report) => (show(&report), VERIFIED),
            Err(fault) => {
                let code = if fault.code == FaultCode::Io {
                    UNREADABLE
                } else {
                    FAULT
                };
                (failure(&fault, arguments.json), code)
            }
        },
    )
}

/// Prints the verdict, and makes its exit code.
fn say((text, code): (String, u8)) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::from(code),
        // A verdict that nobody received is no verdict.
        Err(_) => ExitCode::from(UNREADABLE),
    }
}

/// Nothing was verified, for this reason.
fn not_started(message: &str, code: u8) -> ExitCode {
    // A message that can't be shown leaves the exit code.
    let _ = writeln!(io::stderr(), "{message}");
    ExitCode::from(code)
}

fn run(arguments: &Arguments, policy: Option<TlogPolicy>) -> Result<Report, Fault> {
    let path = arguments.file.display();
    let file = File::open(&arguments.file).map_err(|error| {
        Fault::whole(FaultCode::Io, format!("`{path}` can't be opened: {error}"))
    })?;
    let options = Options {
        log_key: arguments.log_key.clone(),
        witnesses: arguments.witness.clone(),
        policy,
        threads: available_parallelism().map_or(1, usize::from),
        ..Options::default()
    };
    let reader = BufReader::with_capacity(READ_AHEAD_BYTES, file);
    if !io::stderr().is_terminal() || arguments.json {
        return verify_with_progress(reader, &options, &mut |_, _| {});
    }
    let mut shown = None;
    let outcome = verify_with_progress(reader, &options, &mut |done, size| {
        let bar = progress_bar(done, size);
        if shown.as_ref() != Some(&bar) {
            // Progress that can't be shown is no reason to stop.
            let _ = write!(io::stderr(), "\r{bar} of {size} entries");
            shown = Some(bar);
        }
    });
    let _ = writeln!(io::stderr());
    outcome
}

/// Holds the export of a former log against the newest entry by which this one took a log's place.
fn against_former(arguments: &Arguments, report: Report) -> Result<Report, Fault> {
    let Some(path) = &arguments.former else {
        return Ok(report);
    };
    let Some((_, supersedes)) = report.origins.last() else {
        let message = "this log took the place of no other, as far as it can be read";
        return Err(Fault::whole(FaultCode::Origin, message));
    };
    let file = File::open(path).map_err(|error| {
        let message = format!("`{}` can't be opened: {error}", path.display());
        Fault::whole(FaultCode::Io, message)
    })?;
    follows(BufReader::with_capacity(READ_AHEAD_BYTES, file), supersedes)?;
    Ok(report)
}

/// `[#####     ]  50 %`.
fn progress_bar(done: u64, size: u64) -> String {
    const WIDTH: u64 = 40;
    let part = |of: u64| (u128::from(done.min(size)) * u128::from(of)) / u128::from(size.max(1));
    let filled = usize::try_from(part(WIDTH)).unwrap_or_default();
    let (bar, percent) = ("#".repeat(filled), part(100));
    format!("[{bar:<40}] {percent:>3} %")
}

fn verdict(report: &Report) -> String {
    let verdict = if report.is_complete() {
        "verified: no fault"
    } else {
        "verified as far as this export can be read: no fault"
    };
    format!("{report}{verdict}\n")
}

fn keys(report: &Report) -> String {
    let mut text = format!("log      {}\n", report.log_key);
    for witness in report.cosignatures.iter().take(1).flat_map(|set| &set.keys) {
        let state = witness
            .cosigned_at_s
            .map_or("has not cosigned this checkpoint", |_| "has cosigned");
        text.push_str(&format!("witness  {}  ({state})\n", witness.key));
    }
    text.push_str(
        "compare these keys with the agencies' own, by telephone or on paper, before you trust \
         them\n",
    );
    text
}

fn failure(fault: &Fault, as_json: bool) -> String {
    if as_json {
        let value = json!({
            "verified": false,
            "fault": fault,
            "meaning": fault.code.meaning(),
        });
        return format!("{value}\n");
    }
    let place = match fault.index {
        Some(index) => format!("first fault at index {index}"),
        None if fault.code == FaultCode::Io => "not verified".to_owned(),
        None => "fault of the log as a whole".to_owned(),
    };
    format!(
        "{place} ({}): {}\nwhat it means: {}\n",
        fault.code,
        fault.message,
        fault.code.meaning()
    )
}
