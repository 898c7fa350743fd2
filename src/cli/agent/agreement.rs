//! `passerelle agent agreement`: propose, sign, suspend, end, list, show.

use super::{
    Place, agreement_list, agreement_paper,
    agreement_sign::{self, ENDORSE_EXAMPLES, EndorseArgs, SignArgs},
    done_text,
};
use crate::cli::{
    Global, Lang, backend,
    failure::{Exit, Failure},
    output, render,
};
use clap::Subcommand;
use passerelle_agent::isa;
use passerelle_model::{ids::AgreementId, vocabulary::AgreementReason};
use passerelle_proto::{
    v1,
    views::{AgreementView, Done},
};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Write a draft with everything in it to fill in
    #[command(after_help = "\
Examples:
  passerelle agent agreement draft

Send it to a file, fill it in, check it, send it to the other parties, propose it.")]
    Draft,
    /// Say what is wrong with a draft, by line, before anything leaves
    #[command(after_help = "\
Examples:
  passerelle agent agreement check agreement.toml

Exit code 1: the draft is refused; every problem is listed.")]
    Check {
        /// The draft
        #[arg(value_name = "DRAFT.toml")]
        draft: PathBuf,
    },
    /// Print an agreement so that people can read it
    #[command(after_help = "\
Examples:
  passerelle agent agreement print agreement.toml --language fr
  passerelle agent agreement print --dir /srv/police-nord \\
    isa-00112233445566778899aabbccddeeff --language en --html")]
    Print {
        /// The agent's directory, to print an agreement that it knows
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
        /// The agreement, or the file of a draft
        #[arg(value_name = "ID|DRAFT.toml")]
        what: String,
        /// Language of the text [default: as --lang]
        #[arg(long, value_enum)]
        language: Option<Lang>,
        /// A page instead of text
        #[arg(long)]
        html: bool,
    },
    /// Propose an agreement from a draft; the other parties then sign it
    #[command(after_help = "\
Examples:
  passerelle agent agreement propose --dir /srv/police-nord draft.toml")]
    Propose {
        #[command(flatten)]
        place: Place,
        /// The draft: parties, purposes, lines, dates
        #[arg(value_name = "DRAFT.toml")]
        draft: PathBuf,
    },
    /// Sign an agreement as it stands in the log
    #[command(after_help = "\
Examples:
  passerelle agent agreement sign --dir /srv/sante-centre isa-00112233445566778899aabbccddeeff
  passerelle agent agreement sign --dir /srv/sante-centre \\
    isa-00112233445566778899aabbccddeeff agreement.toml
  passerelle agent agreement sign --dir /srv/sante-centre \\
    isa-00112233445566778899aabbccddeeff agreement.toml \\
    --endorsement chief.json --endorsement privacy.json

The file is what the proposer sent. Nothing is signed unless it is the text whose digest the log
holds, and says exactly the terms that are there.")]
    Sign(SignArgs),
    /// Make a key for a person who signs agreements for an agency; needs no node
    #[command(after_help = "\
Examples:
  passerelle agent agreement keygen --out chief.pem

The public half, which it prints, goes into the draft. The file is written once and readable by its
owner alone: keep it where its owner keeps such things, not on the node.")]
    Keygen {
        /// Where the key goes
        #[arg(long, value_name = "KEY.pem")]
        out: PathBuf,
    },
    /// Write what the people who sign for this agency are to endorse
    #[command(after_help = "\
Examples:
  passerelle agent agreement terms --dir /srv/sante-centre \\
    isa-00112233445566778899aabbccddeeff --out terms.json")]
    Terms {
        #[command(flatten)]
        place: Place,
        /// The agreement
        #[arg(value_name = "ID")]
        agreement: AgreementId,
        /// Where the terms go
        #[arg(long, value_name = "TERMS.json")]
        out: PathBuf,
    },
    /// Endorse the terms of an agreement with the key of a person; needs no node
    #[command(after_help = ENDORSE_EXAMPLES)]
    Endorse(EndorseArgs),
    /// Suspend an agreement: nothing rests on it until this agency lifts the suspension
    #[command(after_help = "\
Examples:
  passerelle agent agreement suspend --dir /srv/sante-centre \\
    isa-00112233445566778899aabbccddeeff --reason breach

It takes effect where the log enters it: what waits unanswered on it is decided again, and denied \
unless something else carries it. A statutory emergency stays open.")]
    Suspend {
        #[command(flatten)]
        place: Place,
        /// The agreement
        #[arg(value_name = "ID")]
        agreement: AgreementId,
        /// Why: breach, safety, law_changed, review, leaving, other; every party reads it
        #[arg(long, value_name = "CODE")]
        reason: AgreementReason,
    },
    /// Lift this agency's own suspension of an agreement
    #[command(after_help = "\
Examples:
  passerelle agent agreement lift --dir /srv/sante-centre isa-00112233445566778899aabbccddeeff")]
    Lift {
        #[command(flatten)]
        place: Place,
        /// The agreement
        #[arg(value_name = "ID")]
        agreement: AgreementId,
    },
    /// End an agreement before its time, for good; a proposal can no longer be signed
    #[command(after_help = "\
Examples:
  passerelle agent agreement terminate --dir /srv/sante-centre \\
    isa-00112233445566778899aabbccddeeff --reason leaving")]
    Terminate {
        #[command(flatten)]
        place: Place,
        /// The agreement
        #[arg(value_name = "ID")]
        agreement: AgreementId,
        /// Why: breach, safety, law_changed, review, leaving, other; every party reads it
        #[arg(long, value_name = "CODE")]
        reason: AgreementReason,
    },
    /// List agreements with their versions, what became of each, and what ends soon
    #[command(after_help = "\
Examples:
  passerelle agent agreement list --dir /srv/police-nord
  passerelle agent agreement list --dir /srv/police-nord --history")]
    List {
        #[command(flatten)]
        place: Place,
        /// With every signature, suspension and end, and its place in the log
        #[arg(long)]
        history: bool,
    },
    /// Show one agreement, or all
    #[command(after_help = "\
Examples:
  passerelle agent agreement show --dir /srv/police-nord
  passerelle agent agreement show --dir /srv/police-nord isa-00112233445566778899aabbccddeeff")]
    Show {
        #[command(flatten)]
        place: Place,
        /// The agreement; all if left out
        #[arg(value_name = "ID")]
        agreement: Option<AgreementId>,
    },
}

pub(super) async fn run(global: Global, verb: Verb) -> Result<Exit, Failure> {
    match verb {
        Verb::Propose { place, draft } => {
            let draft = std::fs::read_to_string(&draft).map_err(|e| Failure::file(&draft, &e))?;
            let mut node = backend::connect(&place.dir).await?;
            let request = v1::ProposeAgreementRequest { draft };
            let done: Done = backend::document(node.propose_agreement(request).await)?;
            done_text(
                global,
                &done,
                "proposed, and signed unless people sign for this agency",
            )
        }
        Verb::Draft => {
            output::line(isa::TEMPLATE.trim_end())?;
            Ok(Exit::Done)
        }
        Verb::Check { draft } => agreement_paper::check(global, &draft),
        Verb::Print {
            dir,
            what,
            language,
            html,
        } => {
            let language = language.unwrap_or_else(|| global.lang());
            agreement_paper::print(global, dir.as_deref(), &what, language, html).await
        }
        Verb::Sign(args) => agreement_sign::sign(global, args).await,
        Verb::Keygen { out } => agreement_sign::keygen(global, &out),
        Verb::Terms {
            place,
            agreement,
            out,
        } => agreement_sign::terms(global, &place.dir, &agreement, &out).await,
        Verb::Endorse(args) => agreement_sign::endorse(global, &args),
        Verb::Suspend {
            place,
            agreement,
            reason,
        } => change(global, &place, &agreement, "suspend", Some(reason)).await,
        Verb::Lift { place, agreement } => change(global, &place, &agreement, "lift", None).await,
        Verb::Terminate {
            place,
            agreement,
            reason,
        } => change(global, &place, &agreement, "terminate", Some(reason)).await,
        Verb::List { place, history } => {
            let mut node = backend::connect(&place.dir).await?;
            let request = v1::ShowAgreementsRequest::default();
            let views: Vec<AgreementView> = backend::document(node.show_agreements(request).await)?;
            output::print(global, &views, |views| agreement_list::list(views, history))?;
            Ok(Exit::Done)
        }
        Verb::Show { place, agreement } => {
            let mut node = backend::connect(&place.dir).await?;
            let request = v1::ShowAgreementsRequest {
                agreement: agreement.map(|id| id.to_string()).unwrap_or_default(),
            };
            let views: Vec<AgreementView> = backend::document(node.show_agreements(request).await)?;
            output::print(global, &views, |views| render::agreements(views))?;
            Ok(Exit::Done)
        }
    }
}

async fn change(
    global: Global,
    place: &Place,
    agreement: &AgreementId,
    change: &str,
    reason: Option<AgreementReason>,
) -> Result<Exit, Failure> {
    let mut node = backend::connect(&place.dir).await?;
    let request = v1::ChangeAgreementRequest {
        agreement: agreement.to_string(),
        change: change.to_owned(),
        reason: reason.map(|r| r.code().to_owned()).unwrap_or_default(),
    };
    let done: Done = backend::document(node.change_agreement(request).await)?;
    let what = match change {
        "suspend" => "suspended here",
        "lift" => "the suspension by this agency is lifted",
        _ => "terminated",
    };
    done_text(global, &done, what)
}
