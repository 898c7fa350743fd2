//! `passerelle agent case`: open, advance, show.

use super::{Place, done_text};
use crate::cli::{
    Global, backend, codes,
    failure::{Exit, Failure},
    output, render,
};
use clap::Subcommand;
use passerelle_model::{
    ids::{AgencyId, CaseId},
    vocabulary::{CaseOutcome, Category, Profile, Stage, Threshold},
};
use passerelle_proto::{
    v1,
    views::{CaseView, Done},
};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Put a case on the table
    #[command(after_help = "\
Examples:
  passerelle agent case open --dir /srv/police-nord --agency sante-centre \\
    --agency maison-commune --person person.toml

The person stays at this agency until stage 3.")]
    Open {
        #[command(flatten)]
        place: Place,
        /// Mechanism
        #[arg(long, default_value = "situation_table")]
        profile: Profile,
        /// Another agency at the table; repeat for more
        #[arg(long = "agency", value_name = "AGENCY", required = true)]
        agencies: Vec<AgencyId>,
        /// TOML file with family_name, given_name, birth_date
        #[arg(long, value_name = "FILE")]
        person: Option<PathBuf>,
    },
    /// Move a case on, or close it
    #[command(after_help = "\
Examples:
  passerelle agent case advance --dir /srv/police-nord \\
    case-00112233445566778899aabbccddeeff --stage 3 --threshold agreed --agency sante-centre
  passerelle agent case advance --dir /srv/police-nord \\
    case-00112233445566778899aabbccddeeff --stage 4 --threshold agreed --agency sante-centre \\
    --plan in_service --plan appointment_status
  passerelle agent case advance --dir /srv/police-nord \\
    case-00112233445566778899aabbccddeeff --stage 2 --threshold rejected \\
    --outcome rejected_single_agency")]
    Advance {
        #[command(flatten)]
        place: Place,
        /// The case
        #[arg(value_name = "ID")]
        case: CaseId,
        /// The stage from now on, 1 to 4
        #[arg(long, value_parser = codes::stage)]
        stage: Stage,
        /// What the table agreed: pending, agreed, rejected
        #[arg(long)]
        threshold: Threshold,
        /// Agency needed (stage 3) or named as intervener (stage 4); the others leave
        #[arg(long = "agency", value_name = "AGENCY")]
        agencies: Vec<AgencyId>,
        /// Category that the plan needs (stage 4); repeat for more
        #[arg(long, value_name = "CATEGORY")]
        plan: Vec<Category>,
        /// How it closes, if it does
        #[arg(long)]
        outcome: Option<CaseOutcome>,
    },
    /// Show one case, or all
    #[command(after_help = "\
Examples:
  passerelle agent case show --dir /srv/police-nord")]
    Show {
        #[command(flatten)]
        place: Place,
        /// The case; all if left out
        #[arg(value_name = "ID")]
        case: Option<CaseId>,
    },
}

pub(super) async fn run(global: Global, verb: Verb) -> Result<Exit, Failure> {
    match verb {
        Verb::Open {
            place,
            profile,
            agencies,
            person,
        } => {
            let request = v1::OpenCaseRequest {
                profile: profile.to_string(),
                agencies: agencies.iter().map(ToString::to_string).collect(),
                person: person.as_deref().map(codes::person).transpose()?,
            };
            let mut node = backend::connect(&place.dir).await?;
            let done: Done = backend::document(node.open_case(request).await)?;
            done_text(global, &done, "opened")
        }
        Verb::Advance {
            place,
            case,
            stage,
            threshold,
            agencies,
            plan,
            outcome,
        } => {
            let request = v1::AdvanceCaseRequest {
                case: case.to_string(),
                stage: stage.to_string(),
                threshold: threshold.to_string(),
                agencies: agencies.iter().map(ToString::to_string).collect(),
                plan: plan.iter().map(ToString::to_string).collect(),
                outcome: outcome.map(|o| o.to_string()).unwrap_or_default(),
            };
            let mut node = backend::connect(&place.dir).await?;
            let done: Done = backend::document(node.advance_case(request).await)?;
            done_text(global, &done, "advanced")
        }
        Verb::Show { place, case } => {
            let mut node = backend::connect(&place.dir).await?;
            let request = v1::ShowCasesRequest {
                case: case.map(|id| id.to_string()).unwrap_or_default(),
            };
            let views: Vec<CaseView> = backend::document(node.show_cases(request).await)?;
            output::print(global, &views, |views| render::cases(views, global.lang()))?;
            Ok(Exit::Done)
        }
    }
}
