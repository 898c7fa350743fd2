//! `passerelle agent audit-cases`: what a second person at the agency has to look at.

use super::{Place, Worker, done_text};
use crate::cli::{
    Global, backend,
    failure::{Exit, Failure},
    output, render,
};
use clap::{Subcommand, ValueEnum};
use passerelle_model::ids::AuditCaseId;
use passerelle_proto::{
    v1,
    views::{AuditCaseView, Done},
};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// List audit cases, those that wait first
    #[command(after_help = "\
Examples:
  passerelle agent audit-cases list --dir /srv/police-nord --worker sergeant-3
  passerelle agent audit-cases list --dir /srv/police-nord --worker sergeant-3 --open --lang fr
  passerelle agent audit-cases list --dir /srv/police-nord --worker sergeant-3 --overdue
  passerelle agent audit-cases list --dir /srv/police-nord --worker sergeant-3 --limit 50 \\
    --after audit-00112233445566778899aabbccddeeff

Exit code 1 with `--overdue`: there are some.")]
    List {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        worker: Worker,
        /// Only those that wait for a verdict
        #[arg(long)]
        open: bool,
        /// Only those whose deadline is over
        #[arg(long)]
        overdue: bool,
        /// At most so many of all, the newest first
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000),
            conflicts_with_all = ["open", "overdue"])]
        limit: Option<u32>,
        /// Those of all that come after this one, the newest first: the next page
        #[arg(long, value_name = "ID", conflicts_with_all = ["open", "overdue"])]
        after: Option<AuditCaseId>,
    },
    /// Show one, with the person's handle and the reviewer's note
    #[command(after_help = "\
Examples:
  passerelle agent audit-cases show --dir /srv/police-nord --worker sergeant-3 \\
    audit-00112233445566778899aabbccddeeff")]
    Show {
        #[command(flatten)]
        place: Place,
        /// The audit case
        #[arg(value_name = "ID")]
        case: AuditCaseId,
        #[command(flatten)]
        worker: Worker,
    },
    /// Give the verdict; a question that is held leaves if it is justified, and else never does
    #[command(after_help = "\
Examples:
  passerelle agent audit-cases decide --dir /srv/police-nord --worker sergeant-3 \\
    audit-00112233445566778899aabbccddeeff justified --note 'her own file, not her sister'
  passerelle agent audit-cases decide --dir /srv/police-nord --worker sergeant-3 \\
    audit-00112233445566778899aabbccddeeff not-justified --suspend

Who asked, who the question is about, and who approved the answer can't decide.")]
    Decide {
        #[command(flatten)]
        place: Place,
        /// The audit case
        #[arg(value_name = "ID")]
        case: AuditCaseId,
        /// What was found
        #[arg(value_name = "VERDICT", value_enum)]
        verdict: Verdict,
        #[command(flatten)]
        worker: Worker,
        /// Why; sealed, and destroyed with the audit case. `-` reads it from standard input
        #[arg(long, value_name = "TEXT", default_value = "")]
        note: String,
        /// Suspend the worker who asked, too
        #[arg(long)]
        suspend: bool,
    },
    /// Destroy what an audit case says of a person; that there was one stays
    #[command(after_help = "\
Examples:
  passerelle agent audit-cases erase --dir /srv/police-nord --worker sergeant-3 \\
    audit-00112233445566778899aabbccddeeff")]
    Erase {
        #[command(flatten)]
        place: Place,
        /// The audit case, decided before
        #[arg(value_name = "ID")]
        case: AuditCaseId,
        #[command(flatten)]
        worker: Worker,
    },
    /// Stop a worker from asking, looking and deciding
    #[command(after_help = "\
Examples:
  passerelle agent audit-cases suspend --dir /srv/police-nord --worker sergeant-3 officer-12")]
    Suspend {
        #[command(flatten)]
        place: Place,
        /// Who is stopped, as in agent.toml
        #[arg(value_name = "WORKER")]
        suspended: String,
        #[command(flatten)]
        worker: Worker,
    },
    /// Let a suspended worker go on
    #[command(after_help = "\
Examples:
  passerelle agent audit-cases lift --dir /srv/police-nord --worker sergeant-3 officer-12")]
    Lift {
        #[command(flatten)]
        place: Place,
        /// Who may go on, as in agent.toml
        #[arg(value_name = "WORKER")]
        suspended: String,
        #[command(flatten)]
        worker: Worker,
    },
}

/// What a second person found.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Verdict {
    /// The worker had a reason
    Justified,
    /// The worker had none
    #[value(alias = "not_justified")]
    NotJustified,
    /// There was no need to know
    #[value(alias = "no_access_needed")]
    NoAccessNeeded,
}

impl Verdict {
    const fn code(self) -> &'static str {
        match self {
            Self::Justified => "justified",
            Self::NotJustified => "not_justified",
            Self::NoAccessNeeded => "no_access_needed",
        }
    }
}

pub(super) async fn run(global: Global, verb: Verb) -> Result<Exit, Failure> {
    match verb {
        Verb::List {
            place,
            worker,
            open,
            overdue,
            limit,
            after,
        } => {
            let request = v1::ListAuditCasesRequest {
                worker: worker.name(&place.dir),
                open,
                overdue,
                after: after.map(|after| after.to_string()).unwrap_or_default(),
                limit: limit.unwrap_or_default(),
            };
            list(global, &place, request).await
        }
        Verb::Show {
            place,
            case,
            worker,
        } => show(global, &place, case, &worker).await,
        Verb::Decide {
            place,
            case,
            verdict,
            worker,
            note,
            suspend,
        } => {
            let request = v1::DecideAuditCaseRequest {
                audit_case: case.to_string(),
                verdict: verdict.code().to_owned(),
                worker: worker.name(&place.dir),
                note: match note.as_str() {
                    "-" => std::io::read_to_string(std::io::stdin())?,
                    _ => note,
                },
                suspend,
            };
            let mut node = backend::audit_cases(&place.dir).await?;
            let done: Done = backend::document(node.decide_audit_case(request).await)?;
            done_text(global, &done, "decided")
        }
        Verb::Erase {
            place,
            case,
            worker,
        } => erase(global, &place, case, &worker).await,
        Verb::Suspend {
            place,
            suspended,
            worker,
        } => suspend(global, &place, suspended, &worker, false).await,
        Verb::Lift {
            place,
            suspended,
            worker,
        } => suspend(global, &place, suspended, &worker, true).await,
    }
}

async fn list(
    global: Global,
    place: &Place,
    request: v1::ListAuditCasesRequest,
) -> Result<Exit, Failure> {
    let overdue = request.overdue;
    let mut node = backend::audit_cases(&place.dir).await?;
    let reply = node.list_audit_cases(request).await;
    let views: Vec<AuditCaseView> = backend::document(reply)?;
    output::print(global, &views, |views| {
        render::audit_cases(views, global.lang())
    })?;
    Ok(if overdue && !views.is_empty() {
        Exit::Refused
    } else {
        Exit::Done
    })
}

async fn show(
    global: Global,
    place: &Place,
    case: AuditCaseId,
    worker: &Worker,
) -> Result<Exit, Failure> {
    let request = v1::ShowAuditCaseRequest {
        audit_case: case.to_string(),
        worker: worker.name(&place.dir),
    };
    let mut node = backend::audit_cases(&place.dir).await?;
    let view: AuditCaseView = backend::document(node.show_audit_case(request).await)?;
    output::print(global, &view, |view| {
        render::audit_case(view, global.lang())
    })?;
    Ok(Exit::Done)
}

async fn erase(
    global: Global,
    place: &Place,
    case: AuditCaseId,
    worker: &Worker,
) -> Result<Exit, Failure> {
    let request = v1::EraseAuditCaseRequest {
        audit_case: case.to_string(),
        worker: worker.name(&place.dir),
    };
    let mut node = backend::audit_cases(&place.dir).await?;
    let done: Done = backend::document(node.erase_audit_case(request).await)?;
    done_text(global, &done, "what it said of a person is destroyed")
}

async fn suspend(
    global: Global,
    place: &Place,
    suspended: String,
    worker: &Worker,
    lift: bool,
) -> Result<Exit, Failure> {
    let request = v1::SuspendWorkerRequest {
        suspended,
        worker: worker.name(&place.dir),
        lift,
    };
    let mut node = backend::audit_cases(&place.dir).await?;
    let done: Done = backend::document(node.suspend_worker(request).await)?;
    let what = if lift { "may go on" } else { "suspended" };
    done_text(global, &done, what)
}
