//! `convert` and `disclosures`: an export, verified first, in the formats of others.
//!
//! In scope: arguments, files, exit codes. Out of scope: what stands in the output, which is the
//! library's `disclosure`.

use crate::{
    FAULT, READ_AHEAD_BYTES, UNREADABLE, VERIFIED, failure, log_key, policies::given, witness_key,
};
use clap::{Args, ValueEnum};
use passerelle_audit::{
    disclosure::{self, Date, DisclosureError, Format, Lang, Query, Suspension, Walked},
    note::VerifierKey,
    verify::{Fault, FaultCode, Options, Report, verify},
};
use passerelle_model::{
    bytes::{Digest, Handle},
    ids::{AgencyId, ConsentId, RequestId},
};
use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    thread::available_parallelism,
};

/// The export says of nothing, or not of this consent, whom it is about.
const NOT_OPENED: u8 = 4;

/// Bytes gathered before they are written.
const WRITE_BEHIND_BYTES: usize = 256 * 1024;

pub(crate) const CONVERT_EXAMPLES: &str = "\
Examples:
  passerelle-audit convert export.jsonl --to fhir --out events.ndjson
  passerelle-audit convert export.jsonl --to ocsf --out events.ndjson
  passerelle-audit convert export.jsonl --to csv --out events.csv

The export is verified first; one with a fault is not converted.
Exit codes: 0 converted, 1 a fault was found, 2 wrong usage, 3 a file can't be read or written.";

pub(crate) const DISCLOSURES_EXAMPLES: &str = "\
Examples:
  passerelle-audit disclosures export.jsonl --consent consent-0123456789abcdef0123456789abcdef
      What was disclosed about the person who gave this consent?
  passerelle-audit disclosures e.jsonl --format html --request req-0123456789abcdef0123456789abcdef
      The same for an exchange that is known to be about the person, as a page to print.

Whom an exchange is about is known only where an opening in the export says so. The export of an
oversight body has all of them; that of another agency has those of the consents that name it.
Exchanges of which an agency knows from its own files that they are about the person are added with
`--request`.
Exit codes: 0 done, 1 a fault was found, 2 wrong usage, 3 a file can't be read or written,
4 the export does not reveal the person.";

// The export that is read. No doc comment: it would be the text of each command that flattens it.
#[derive(Args)]
pub(crate) struct Given {
    /// The export, as `passerelle audit export` writes it.
    file: PathBuf,
    /// The log's key, known from elsewhere, in the form `name+id+key`.
    #[arg(long, value_name = "KEY", value_parser = log_key)]
    log_key: Option<VerifierKey>,
    /// A witness's key, known from elsewhere; may be repeated.
    #[arg(long, value_name = "KEY", value_parser = witness_key)]
    witness: Vec<VerifierKey>,
    /// A C2SP tlog-policy file that the checkpoint must meet as well.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Source {
    #[command(flatten)]
    given: Given,
    /// The file to write; without, the standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct ConvertArguments {
    #[command(flatten)]
    source: Source,
    /// Into what.
    #[arg(long, value_enum)]
    to: Target,
}

#[derive(Clone, Copy, ValueEnum)]
enum Target {
    /// FHIR R4 AuditEvent, one resource a line
    Fhir,
    /// OCSF API Activity (6003), one event a line
    Ocsf,
    /// Comma-separated values
    Csv,
}

#[derive(Args)]
#[command(group = clap::ArgGroup::new("whom").required(true).multiple(true))]
pub(crate) struct DisclosuresArguments {
    #[command(flatten)]
    source: Source,
    /// The person's handle, 64 hexadecimal digits; may be repeated.
    #[arg(long, value_name = "HEX", value_parser = Handle::from_hex, group = "whom")]
    handle: Vec<Handle>,
    /// A consent of the person, as the export opens it; may be repeated.
    #[arg(long, value_name = "ID", group = "whom")]
    consent: Vec<ConsentId>,
    /// An exchange that is about the person, whatever the export says; may be repeated.
    #[arg(long, value_name = "ID", group = "whom")]
    request: Vec<RequestId>,
    /// For programs, or for people.
    #[arg(long, value_enum, default_value_t = Form::Json)]
    format: Form,
    /// The language of the page.
    #[arg(long, value_enum, default_value_t = Tongue::En)]
    lang: Tongue,
    /// Leave out, before this day (YYYY-MM-DD), what the agency in `--for` received or asked for;
    /// may be repeated, each with its `--for`.
    #[arg(long, value_name = "DATE", requires = "for")]
    suspend_until: Vec<Date>,
    /// The agency that has suspended the accounting.
    #[arg(
        long = "for",
        id = "for",
        value_name = "AGENCY",
        requires = "suspend_until"
    )]
    suspended_for: Vec<AgencyId>,
    /// The present day (YYYY-MM-DD), for suspensions; without, the day of the export's last entry.
    #[arg(long, value_name = "DATE")]
    today: Option<Date>,
    /// Say that entries may have been left out by law, where the law lets that be said. It is said
    /// whether or not any were.
    #[arg(long)]
    say_left_out: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// One JSON document
    Json,
    /// One HTML page, to print
    Html,
}

#[derive(Clone, Copy, ValueEnum)]
enum Tongue {
    /// English
    En,
    /// French
    Fr,
}

/// Why there is no output, and the exit code.
pub(crate) struct Failed(pub(crate) String, pub(crate) u8);

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Self {
        let code = if fault.code == FaultCode::Io {
            UNREADABLE
        } else {
            FAULT
        };
        Self(failure(&fault, false), code)
    }
}

impl From<DisclosureError> for Failed {
    fn from(error: DisclosureError) -> Self {
        let code = match &error {
            DisclosureError::NoPersons | DisclosureError::NotOpened(_) => NOT_OPENED,
            DisclosureError::Export(_)
            | DisclosureError::Entry { .. }
            | DisclosureError::Write(_) => UNREADABLE,
        };
        Self(format!("{error}\n"), code)
    }
}

pub(crate) fn exit(outcome: Result<(), Failed>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::from(VERIFIED),
        Err(Failed(message, code)) => {
            // The code says it too.
            let _ = io::stderr().write_all(message.as_bytes());
            ExitCode::from(code)
        }
    }
}

pub(crate) fn convert(arguments: &ConvertArguments) -> ExitCode {
    let source = &arguments.source;
    let format = match arguments.to {
        Target::Fhir => Format::Fhir,
        Target::Ocsf => Format::Ocsf,
        Target::Csv => Format::Csv,
    };
    exit(source.verified().and_then(|report| {
        source.write(|out| {
            let walked = disclosure::convert(source.open()?, format, out)?;
            is_same(&report, &walked)
        })
    }))
}

pub(crate) fn disclosures(arguments: &DisclosuresArguments) -> ExitCode {
    if arguments.suspend_until.len() != arguments.suspended_for.len() {
        let message = "each `--suspend-until` goes with one `--for`\n".to_owned();
        return exit(Err(Failed(message, 2)));
    }
    exit(account(arguments))
}

fn account(arguments: &DisclosuresArguments) -> Result<(), Failed> {
    let source = &arguments.source;
    let report = source.verified()?;
    let mut query = Query {
        persons: arguments.handle.iter().copied().collect(),
        requests: arguments.request.iter().cloned().collect(),
        today: arguments.today,
        say_left_out: arguments.say_left_out,
        suspensions: Vec::new(),
    };
    for (agency, until) in arguments.suspended_for.iter().zip(&arguments.suspend_until) {
        let (agency, until) = (agency.clone(), *until);
        query.suspensions.push(Suspension { agency, until });
    }
    for consent in &arguments.consent {
        let person = disclosure::person_of(source.open()?, consent)?;
        query.persons.insert(person);
    }
    let (account, aside, walked) = disclosure::account(source.open()?, &query)?;
    is_same(&report, &walked)?;
    let mut text = match (arguments.format, arguments.lang) {
        (Form::Json, _) => serde_json::to_string_pretty(&account)
            .map_err(|error| Failed(format!("{error}\n"), UNREADABLE))?,
        (Form::Html, Tongue::En) => disclosure::page::html(&account, Lang::English),
        (Form::Html, Tongue::Fr) => disclosure::page::html(&account, Lang::French),
    };
    if arguments.format == Form::Json {
        text.push('\n');
    }
    source.write(|out| {
        out.write_all(text.as_bytes())
            .map_err(|error| DisclosureError::Write(error).into())
    })?;
    // For whoever makes the account, never in it.
    if aside.left_out > 0 {
        note(&format!("left out by suspension: {}", aside.left_out));
    }
    for request in &aside.not_found {
        note(&format!("not readable in this export: `{request}`"));
    }
    Ok(())
}

fn note(text: &str) {
    // What can't be shown here is no reason to fail.
    let _ = writeln!(io::stderr(), "{text}");
}

/// What was walked is what was verified, unless the file changed in between.
fn is_same(report: &Report, walked: &Walked) -> Result<(), Failed> {
    is_of(report, walked.size, walked.root)
}

/// The same, by size and root.
pub(crate) fn is_of(report: &Report, size: u64, root: Digest) -> Result<(), Failed> {
    if (report.size, report.root) == (size, root) {
        Ok(())
    } else {
        let message = "the file changed while it was read; the output is worth nothing\n";
        Err(Failed(message.to_owned(), FAULT))
    }
}

impl Given {
    pub(crate) fn open(&self) -> Result<BufReader<File>, Failed> {
        let file = File::open(&self.file).map_err(|error| {
            let path = self.file.display();
            Failed(format!("`{path}` can't be opened: {error}\n"), UNREADABLE)
        })?;
        Ok(BufReader::with_capacity(READ_AHEAD_BYTES, file))
    }

    pub(crate) fn verified(&self) -> Result<Report, Failed> {
        let policy = given(self.policy.as_deref())
            .map_err(|(message, code)| Failed(format!("{message}\n"), code))?;
        let options = Options {
            log_key: self.log_key.clone(),
            witnesses: self.witness.clone(),
            policy,
            threads: available_parallelism().map_or(1, usize::from),
            ..Options::default()
        };
        let report = verify(self.open()?, &options)?;
        if !report.is_complete() {
            note(&format!(
                "verified as far as this export can be read: {} entries are not readable, and \
                 what they say is missing in the output",
                report.not_readable
            ));
        }
        Ok(report)
    }
}

impl Source {
    pub(crate) fn open(&self) -> Result<BufReader<File>, Failed> {
        self.given.open()
    }

    pub(crate) fn verified(&self) -> Result<Report, Failed> {
        self.given.verified()
    }

    /// To the standard output, or beside the file that is asked for and then renamed, so that it is
    /// whole or absent.
    pub(crate) fn write(
        &self,
        make: impl FnOnce(&mut BufWriter<Box<dyn Write>>) -> Result<(), Failed>,
    ) -> Result<(), Failed> {
        let Some(path) = &self.out else {
            return whole(Box::new(io::stdout()), make);
        };
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".partial");
        let partial = path.with_file_name(name);
        let file = File::create(&partial).map_err(|error| not_written(&partial, &error))?;
        let done = whole(Box::new(file), make)
            .and_then(|()| fs::rename(&partial, path).map_err(|error| not_written(path, &error)));
        if done.is_err() {
            // Nothing half made stays; if it can't be removed, the first failure says enough.
            let _ = fs::remove_file(&partial);
        }
        done
    }
}

fn whole(
    to: Box<dyn Write>,
    make: impl FnOnce(&mut BufWriter<Box<dyn Write>>) -> Result<(), Failed>,
) -> Result<(), Failed> {
    let mut out = BufWriter::with_capacity(WRITE_BEHIND_BYTES, to);
    make(&mut out)?;
    out.flush()
        .map_err(|error| DisclosureError::Write(error).into())
}

pub(crate) fn not_written(path: &Path, error: &io::Error) -> Failed {
    let path = path.display();
    Failed(format!("`{path}` can't be written: {error}\n"), UNREADABLE)
}
