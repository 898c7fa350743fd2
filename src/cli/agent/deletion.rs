//! `passerelle agent deletions`: what was received in cases that ended without a concern.

use super::{Place, Worker, done_text};
use crate::cli::{
    Global, Lang, backend,
    failure::{Exit, Failure},
    output::{self, table},
};
use clap::{Subcommand, ValueEnum};
use passerelle_model::ids::RequestId;
use passerelle_proto::{
    v1,
    views::{DeletionView, Done},
};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// List the answers to look at early, those that wait first
    #[command(after_help = "\
Examples:
  passerelle agent deletions list --dir /srv/police-nord
  passerelle agent deletions list --dir /srv/police-nord --overdue --lang fr

Close each with `agent erase`, or keep it with a reason. Exit code 1 with `--overdue`: there are
some.")]
    List {
        #[command(flatten)]
        place: Place,
        /// Only those whose deadline is over
        #[arg(long)]
        overdue: bool,
    },
    /// Keep an answer, and say why
    #[command(after_help = "\
Examples:
  passerelle agent deletions keep --dir /srv/police-nord \\
    req-00112233445566778899aabbccddeeff --reason legal-duty")]
    Keep {
        #[command(flatten)]
        place: Place,
        /// The request whose answer is kept
        #[arg(value_name = "ID")]
        request: RequestId,
        /// Why
        #[arg(long)]
        reason: Reason,
        #[command(flatten)]
        worker: Worker,
    },
}

/// Why an answer is kept.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Reason {
    /// A service that this agency gives to the person needs it
    OwnService,
    /// A law obliges this agency to keep it
    LegalDuty,
    /// A complaint, a review or a proceeding is open
    Dispute,
    /// The person wants it kept
    PersonWishes,
}

impl Reason {
    const fn code(self) -> &'static str {
        match self {
            Self::OwnService => "own_service",
            Self::LegalDuty => "legal_duty",
            Self::Dispute => "dispute",
            Self::PersonWishes => "person_wishes",
        }
    }
}

pub(super) async fn run(global: Global, verb: Verb) -> Result<Exit, Failure> {
    match verb {
        Verb::List { place, overdue } => {
            let mut node = backend::connect(&place.dir).await?;
            let reply = node.list_deletions(v1::ListDeletionsRequest {}).await;
            let mut reviews: Vec<DeletionView> = backend::document(reply)?;
            if overdue {
                reviews.retain(|review| review.overdue);
            }
            output::print(global, &reviews, |reviews| text(reviews, global.lang()))?;
            Ok(match overdue && !reviews.is_empty() {
                true => Exit::Refused,
                false => Exit::Done,
            })
        }
        Verb::Keep {
            place,
            request,
            reason,
            worker,
        } => {
            let keep = v1::KeepAfterCaseRequest {
                request: request.to_string(),
                reason: reason.code().to_owned(),
                worker: worker.name(&place.dir),
            };
            let mut node = backend::connect(&place.dir).await?;
            let done: Done = backend::document(node.keep_after_case(keep).await)?;
            done_text(global, &done, "kept")
        }
    }
}

fn text(reviews: &[DeletionView], lang: Lang) -> String {
    let french = matches!(lang, Lang::Fr);
    let rows: Vec<[String; 5]> = reviews
        .iter()
        .map(|review| {
            let state = match (&review.kept, review.overdue, french) {
                (Some(reason), _, false) => format!("kept: {reason}"),
                (Some(reason), _, true) => format!("conservé : {reason}"),
                (None, true, false) => "OVERDUE".to_owned(),
                (None, true, true) => "EN RETARD".to_owned(),
                (None, false, false) => "waits".to_owned(),
                (None, false, true) => "en attente".to_owned(),
            };
            let cause = match (review.cause.as_str(), french) {
                ("left", false) => "this agency left".to_owned(),
                ("left", true) => "l’organisme s’est retiré".to_owned(),
                (outcome, _) => outcome.replace('_', " "),
            };
            [
                review.request.clone(),
                review.holder.clone(),
                cause,
                review.review_by.to_rfc3339(),
                state,
            ]
        })
        .collect();
    match french {
        false => table(
            ["request", "from", "case ended", "look by", "state"],
            &rows,
            "nothing to look at",
        ),
        true => table(
            ["demande", "de", "fin du dossier", "à revoir avant", "état"],
            &rows,
            "rien à revoir",
        ),
    }
}
