//! `passerelle agent agreement`: propose, sign, show.

use super::{Place, done_text};
use crate::cli::{
    Global, backend,
    failure::{Exit, Failure},
    output, render,
};
use clap::Subcommand;
use passerelle_model::ids::AgreementId;
use passerelle_proto::{
    v1,
    views::{AgreementView, Done},
};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
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
  passerelle agent agreement sign --dir /srv/sante-centre isa-00112233445566778899aabbccddeeff")]
    Sign {
        #[command(flatten)]
        place: Place,
        /// The agreement
        #[arg(value_name = "ID")]
        agreement: AgreementId,
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
            done_text(global, &done, "proposed and signed here")
        }
        Verb::Sign { place, agreement } => {
            let mut node = backend::connect(&place.dir).await?;
            let request = v1::AgreementRef {
                agreement: agreement.to_string(),
            };
            let done: Done = backend::document(node.sign_agreement(request).await)?;
            done_text(global, &done, "signed")
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
