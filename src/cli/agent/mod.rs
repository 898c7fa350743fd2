//! `passerelle agent`: enrol and run an agency's node, and use it.

mod agreement;
mod agreement_list;
mod agreement_paper;
mod audit_case;
pub(super) mod bundle;
mod case;
mod consent;
mod consent_files;
mod consent_service;
mod evidence;
mod request;
mod rights;
mod rights_page;

use super::{
    Global, Tether, backend, codes,
    failure::{Exit, Failure},
    output, render,
};
use clap::{Args, Subcommand};
use passerelle_model::{ids::RequestId, vocabulary::WorkerRole};
use passerelle_proto::{
    v1,
    views::{AgentStatus, Done, ImportReport, RequestLine, RequestView},
};
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  passerelle agent enrol --dir /srv/police-nord --broker 10.0.0.5:7443 --token TOKEN
  passerelle agent serve --dir /srv/police-nord
  passerelle agent request --dir /srv/police-nord --person person.toml --holder sante-centre \\
    --item in_service:known --purpose plan --basis consent
  passerelle agent inbox --dir /srv/sante-centre")]
pub(crate) struct AgentArgs {
    #[command(subcommand)]
    verb: Verb,
}

impl AgentArgs {
    /// Whether the command runs until it is told to stop.
    pub(super) const fn is_service(&self) -> bool {
        matches!(self.verb, Verb::Serve { .. })
    }
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Join a federation with an invitation
    #[command(after_help = "\
Examples:
  passerelle agent enrol --dir /srv/police-nord --broker 10.0.0.5:7443 --token TOKEN \\
    --worker officer-12:officer --worker sergeant-3:supervisor
  passerelle agent enrol --dir /srv/police-nord --broker broker.example:7443 --token - < token.txt

A worker named here counts as trained; change `trained` in agent.toml when it is not so.")]
    Enrol {
        #[command(flatten)]
        place: Place,
        /// Address and port of the broker
        #[arg(long, value_name = "ADDR")]
        broker: String,
        /// The invitation; `-` reads it from standard input, out of sight of other users
        #[arg(long, value_name = "TOKEN")]
        token: String,
        /// Worker who may ask and decide, with role; repeat for more. More can be added to
        /// agent.toml later
        #[arg(long = "worker", value_name = "ID:ROLE", value_parser = codes::worker)]
        workers: Vec<(String, WorkerRole)>,
    },
    /// Run the node until SIGINT or SIGTERM
    #[command(after_help = "\
Examples:
  passerelle agent serve --dir /srv/police-nord")]
    Serve {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        tether: Tether,
    },
    /// Read people and facts from a CSV file
    #[command(after_help = "\
Examples:
  passerelle agent import --dir /srv/police-nord --mapping police.toml police.csv
  passerelle agent import --dir /srv/police-nord --mapping police.toml police.csv --dry-run

Importing the same file again changes nothing. Exit code 1: rows were left out; they are listed.")]
    Import {
        #[command(flatten)]
        place: Place,
        /// Which column is what
        #[arg(long, value_name = "M.toml")]
        mapping: PathBuf,
        /// The file
        #[arg(value_name = "FILE.csv")]
        file: PathBuf,
        /// Check only, write nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Show connection, index, witness, work that waits
    #[command(after_help = "\
Examples:
  passerelle agent status --dir /srv/police-nord")]
    Status {
        #[command(flatten)]
        place: Place,
    },
    /// Information sharing agreements
    #[command(subcommand)]
    Agreement(agreement::Verb),
    /// Look at the rules in force and at proposals, endorse one
    #[command(subcommand)]
    Bundle(bundle::Verb),
    /// Consent records
    #[command(subcommand)]
    Consent(consent::Verb),
    /// Cases at a table
    #[command(subcommand)]
    Case(case::Verb),
    /// What a second person has to look at: curious questions, emergencies that were claimed
    #[command(subcommand)]
    AuditCases(audit_case::Verb),
    /// What a person asks about herself or himself: one door, all owners, one reply
    #[command(subcommand)]
    Rights(rights::Verb),
    /// Ask another agency about one person, and wait for the decision
    #[command(after_help = request::EXAMPLES)]
    Request(request::RequestArgs),
    /// List requests made here
    #[command(after_help = "\
Examples:
  passerelle agent requests --dir /srv/police-nord")]
    Requests {
        #[command(flatten)]
        place: Place,
    },
    /// List requests made to this agency, those that wait for a person first
    #[command(after_help = "\
Examples:
  passerelle agent inbox --dir /srv/sante-centre")]
    Inbox {
        #[command(flatten)]
        place: Place,
    },
    /// Answer a request in the inbox with what it permits
    #[command(after_help = "\
Examples:
  passerelle agent approve --dir /srv/sante-centre req-00112233445566778899aabbccddeeff")]
    Approve(VerdictArgs),
    /// Decline a request in the inbox
    #[command(after_help = "\
Examples:
  passerelle agent decline --dir /srv/sante-centre req-00112233445566778899aabbccddeeff")]
    Decline(VerdictArgs),
    /// Answer a request in the inbox with `cannot say`, as if there were no record
    #[command(after_help = "\
Examples:
  passerelle agent cannot-say --dir /srv/sante-centre req-00112233445566778899aabbccddeeff")]
    CannotSay(VerdictArgs),
    /// Show a request: status, decision with rule and source, answer, log entries
    #[command(after_help = "\
Examples:
  passerelle agent show --dir /srv/police-nord req-00112233445566778899aabbccddeeff
  passerelle agent show --dir /srv/police-nord req-00112233445566778899aabbccddeeff --lang fr

Showing an answer is recorded in the log as viewed.")]
    Show(VerdictArgs),
    /// Destroy an answer and attest it
    #[command(after_help = "\
Examples:
  passerelle agent erase --dir /srv/police-nord req-00112233445566778899aabbccddeeff")]
    Erase {
        #[command(flatten)]
        place: Place,
        /// The request whose answer is destroyed
        #[arg(value_name = "ID")]
        request: RequestId,
    },
}

#[derive(Debug, Args)]
struct Place {
    /// Directory of the agent
    #[arg(long, value_name = "D")]
    dir: PathBuf,
}

#[derive(Debug, Args)]
struct Worker {
    /// Who acts, as in agent.toml [default: $USER, or the only worker there]
    #[arg(long, value_name = "NAME")]
    worker: Option<String>,
}

impl Worker {
    /// As given; else whoever is logged in, if the agency knows that name; else the only worker
    /// that it has.
    fn name(&self, dir: &Path) -> String {
        if let Some(worker) = &self.worker {
            return worker.clone();
        }
        let user = std::env::var("USER").unwrap_or_default();
        match backend::workers(dir).as_slice() {
            known if known.contains(&user) => user,
            [only] => only.clone(),
            _ if user.is_empty() => "worker".to_owned(),
            _ => user,
        }
    }
}

#[derive(Debug, Args)]
struct VerdictArgs {
    #[command(flatten)]
    place: Place,
    /// The request
    #[arg(value_name = "ID")]
    request: RequestId,
    #[command(flatten)]
    worker: Worker,
}

/// Runs the command.
pub(super) async fn run(global: Global, args: AgentArgs) -> Result<Exit, Failure> {
    match args.verb {
        Verb::Enrol {
            place,
            broker,
            token,
            workers,
        } => enrol(global, &place.dir, &broker, &token, workers).await,
        Verb::Serve { place, tether } => {
            tether.tie()?;
            backend::agent_serve(&place.dir).await?;
            Ok(Exit::Done)
        }
        Verb::Import {
            place,
            mapping,
            file,
            dry_run,
        } => import(global, &place.dir, &mapping, &file, dry_run).await,
        Verb::Status { place } => {
            let mut node = backend::connect(&place.dir).await?;
            let status: AgentStatus =
                backend::document(node.node_status(v1::NodeStatusRequest {}).await)?;
            output::print(global, &status, render::agent_status)?;
            Ok(Exit::Done)
        }
        Verb::Agreement(verb) => agreement::run(global, verb).await,
        Verb::Bundle(verb) => bundle::run(global, verb).await,
        Verb::Consent(verb) => consent::run(global, verb).await,
        Verb::Case(verb) => case::run(global, verb).await,
        Verb::AuditCases(verb) => audit_case::run(global, verb).await,
        Verb::Rights(verb) => rights::run(global, verb).await,
        Verb::Request(args) => request::run(global, args).await,
        Verb::Requests { place } => {
            let mut node = backend::connect(&place.dir).await?;
            let reply = node.list_requests(v1::ListRequestsRequest {}).await;
            let lines: Vec<RequestLine> = backend::document(reply)?;
            output::print(global, &lines, |lines| render::requests(lines))?;
            Ok(Exit::Done)
        }
        Verb::Inbox { place } => {
            let mut node = backend::connect(&place.dir).await?;
            let reply = node.inbox(v1::InboxRequest {}).await;
            let lines: Vec<RequestLine> = backend::document(reply)?;
            output::print(global, &lines, |lines| render::inbox(lines))?;
            Ok(Exit::Done)
        }
        Verb::Approve(args) => review(global, args, "approve").await,
        Verb::Decline(args) => review(global, args, "decline").await,
        Verb::CannotSay(args) => review(global, args, "cannot_say").await,
        Verb::Show(args) => show(global, args).await,
        Verb::Erase { place, request } => {
            let mut node = backend::connect(&place.dir).await?;
            let request = v1::EraseRequest {
                request: request.to_string(),
            };
            let done: Done = backend::document(node.erase(request).await)?;
            done_text(global, &done, "the answer is destroyed")
        }
    }
}

async fn enrol(
    global: Global,
    dir: &Path,
    broker: &str,
    token: &str,
    workers: Vec<(String, WorkerRole)>,
) -> Result<Exit, Failure> {
    let token = if token == "-" {
        std::io::read_to_string(std::io::stdin())?
    } else {
        token.to_owned()
    };
    let enrolled = backend::agent_enrol(dir, broker, &token, workers).await?;
    output::print(global, &enrolled, |enrolled| {
        format!(
            "`{}` has joined `{}`, and accepts its rules {}\n\
             its people go into {}/agent.toml\n\
             next: passerelle agent serve --dir {}",
            enrolled.agency,
            enrolled.federation,
            enrolled
                .bundle
                .map_or_else(String::new, |bundle| bundle.to_hex()),
            dir.display(),
            dir.display()
        )
    })?;
    Ok(Exit::Done)
}

async fn import(
    global: Global,
    dir: &Path,
    mapping: &Path,
    file: &Path,
    dry_run: bool,
) -> Result<Exit, Failure> {
    let request = v1::ImportFactsRequest {
        mapping: std::fs::read_to_string(mapping).map_err(|e| Failure::file(mapping, &e))?,
        csv: std::fs::read(file).map_err(|e| Failure::file(file, &e))?,
        dry_run,
    };
    let mut node = backend::connect(dir).await?;
    let report: ImportReport = backend::document(node.import_facts(request).await)?;
    output::print(global, &report, render::import)?;
    Ok(if report.problems.is_empty() {
        Exit::Done
    } else {
        Exit::Refused
    })
}

async fn review(global: Global, args: VerdictArgs, verdict: &str) -> Result<Exit, Failure> {
    let mut node = backend::connect(&args.place.dir).await?;
    let request = v1::ReviewRequest {
        request: args.request.to_string(),
        verdict: verdict.to_owned(),
        worker: args.worker.name(&args.place.dir),
    };
    let done: Done = backend::document(node.review(request).await)?;
    let what = match verdict {
        "approve" => "approved",
        "decline" => "declined",
        _ => "answered with `cannot say`",
    };
    done_text(global, &done, what)
}

async fn show(global: Global, args: VerdictArgs) -> Result<Exit, Failure> {
    let mut node = backend::connect(&args.place.dir).await?;
    let request = v1::ShowRequest {
        request: args.request.to_string(),
        worker: args.worker.name(&args.place.dir),
    };
    let view: RequestView = backend::document(node.show(request).await)?;
    output::print(global, &view, |view| render::request(view, global.lang()))?;
    Ok(Exit::Done)
}

/// Prints that something is done, or is queued until the broker can be reached.
fn done_text(global: Global, done: &Done, what: &str) -> Result<Exit, Failure> {
    output::print(global, done, |done| {
        let log = done
            .index
            .map_or_else(String::new, |index| format!(" (log entry {index})"));
        match done.status.as_str() {
            "done" => format!("{}: {what}{log}", done.id),
            "queued" => format!(
                "{}: {what}, queued: it is sent when the broker can be reached",
                done.id
            ),
            other => format!("{}: {what}, {other}{log}", done.id),
        }
    })?;
    Ok(Exit::Done)
}
