//! `passerelle agent`: enrol and run an agency's node, and use it.

mod agreement;
mod agreement_list;
mod agreement_paper;
mod agreement_sign;
mod audit_case;
pub(super) mod bundle;
mod case;
mod consent;
mod consent_files;
mod consent_service;
mod deletion;
mod evidence;
pub(super) mod preview;
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
    /// Follow the log under the new origin that its operator has announced
    #[command(after_help = "\
Examples:
  passerelle agent accept-origin --dir /srv/police-nord new-origin.json

The agent must be stopped. Compare the key in the announcement with the broker's operator, by
telephone. What this agency had said and the log may have lost is then said again. Refused if the
announcement does not cover what this agency has cosigned.")]
    AcceptOrigin {
        #[command(flatten)]
        place: Place,
        /// The announcement, from the broker's operator
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Read people and facts from a CSV file
    #[command(after_help = "\
Examples:
  passerelle agent import --dir /srv/police-nord --mapping police.toml police.csv
  passerelle agent import --dir /srv/police-nord --mapping police.toml police.csv --dry-run

Importing the same file again changes nothing. Exit code 1: rows were left out; they are listed.
People who were forgotten (`agent forget`) are left out and counted, until `--bring-back`.")]
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
        /// Take in people who were forgotten, too
        #[arg(long)]
        bring_back: bool,
    },
    /// Forget one imported person: destroy the key of the record, here and in every backup
    #[command(after_help = "\
Examples:
  passerelle agent forget --dir /srv/police-nord 4711
  passerelle agent forget --dir /srv/police-nord -- -12

The id is the source's own, of the column that the mapping names as `source_id`. From then on this
agency has no record of the person: it answers as if there had never been one. What was answered
before stays with those who received it; consents and cases are not touched. The source is not
either: while it still has the person, imports leave the row out and count it as forgotten, and
`agent import --bring-back` takes it in again.")]
    Forget {
        #[command(flatten)]
        place: Place,
        /// The person's id in the source
        #[arg(value_name = "SOURCE-ID")]
        source_id: String,
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
    /// Show what the rules would let through about one person, without asking anybody
    #[command(after_help = preview::EXAMPLES)]
    Preview(preview::PreviewArgs),
    /// What was received in cases that ended without a concern: erase it, or say why not
    #[command(subcommand)]
    Deletions(deletion::Verb),
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
  passerelle agent approve --dir /srv/sante-centre req-00112233445566778899aabbccddeeff
  passerelle agent approve --dir /srv/sante-centre req-00112233445566778899aabbccddeeff \\
    --record c-1042")]
    Approve(ApproveArgs),
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

#[derive(Debug, Args)]
struct ApproveArgs {
    #[command(flatten)]
    verdict: VerdictArgs,
    /// The own record that it is about, where only other spellings were found
    #[arg(long, value_name = "RECORD")]
    record: Option<String>,
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
        Verb::AcceptOrigin { place, file } => accept_origin(global, &place.dir, &file),
        Verb::Import {
            place,
            mapping,
            file,
            dry_run,
            bring_back,
        } => {
            let request = v1::ImportFactsRequest {
                mapping: std::fs::read_to_string(&mapping)
                    .map_err(|e| Failure::file(&mapping, &e))?,
                csv: std::fs::read(&file).map_err(|e| Failure::file(&file, &e))?,
                dry_run,
                bring_back,
            };
            import(global, &place.dir, request).await
        }
        Verb::Forget { place, source_id } => {
            let mut node = backend::connect(&place.dir).await?;
            let request = v1::ForgetPersonRequest { source_id };
            let done: Done = backend::document(node.forget_person(request).await)?;
            done_text(
                global,
                &done,
                "forgotten, the key of the record is destroyed",
            )
        }
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
        Verb::Preview(args) => preview::run(global, args).await,
        Verb::Deletions(verb) => deletion::run(global, verb).await,
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
        Verb::Approve(ApproveArgs { verdict, record }) => {
            review(global, verdict, "approve", record).await
        }
        Verb::Decline(args) => review(global, args, "decline", None).await,
        Verb::CannotSay(args) => review(global, args, "cannot_say", None).await,
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

fn accept_origin(global: Global, dir: &Path, file: &Path) -> Result<Exit, Failure> {
    let text = std::fs::read_to_string(file).map_err(|e| Failure::file(file, &e))?;
    let accepted = backend::agent_accept_origin(dir, &text)?;
    let done = serde_json::json!({
        "origin": accepted.origin,
        "carried": accepted.carried,
        "again": accepted.again,
        "before": accepted.before,
    });
    output::print(global, &done, |_| match accepted.before {
        true => format!("`{}` was accepted before", accepted.origin),
        false => format!(
            "this agency follows the log under the origin `{}`, and says {} statements again\n\
             next: passerelle agent serve --dir {}",
            accepted.origin,
            accepted.again,
            dir.display()
        ),
    })?;
    Ok(Exit::Done)
}

async fn import(
    global: Global,
    dir: &Path,
    request: v1::ImportFactsRequest,
) -> Result<Exit, Failure> {
    let mut node = backend::connect(dir).await?;
    let report: ImportReport = backend::document(node.import_facts(request).await)?;
    output::print(global, &report, render::import)?;
    Ok(if report.problems.is_empty() {
        Exit::Done
    } else {
        Exit::Refused
    })
}

async fn review(
    global: Global,
    args: VerdictArgs,
    verdict: &str,
    record: Option<String>,
) -> Result<Exit, Failure> {
    let mut node = backend::connect(&args.place.dir).await?;
    let request = v1::ReviewRequest {
        request: args.request.to_string(),
        verdict: verdict.to_owned(),
        worker: args.worker.name(&args.place.dir),
        record: record.unwrap_or_default(),
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
            "awaits_second" => format!("{}: a second worker has to do the same", done.id),
            other => format!("{}: {what}, {other}{log}", done.id),
        }
    })?;
    Ok(Exit::Done)
}
