//! `passerelle agent consent service`: consents to what this agency does for a person. They are no
//! consents to share: nobody else gets them, and no request rests on one.

use super::{Place, Worker, done_text, evidence};
use crate::cli::{
    Global, backend, clock, codes,
    failure::{Exit, Failure},
    output, render,
};
use clap::{Args, Subcommand};
use passerelle_model::{
    ids::ServiceConsentId,
    vocabulary::{Capacity, ConsentGiver, ConsentMethod, Language},
};
use passerelle_proto::{
    v1,
    views::{Done, ServiceConsentView},
};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Record that the person agrees to a service
    #[command(after_help = "\
Examples:
  passerelle agent consent service record --dir /srv/sante-centre --person person.toml \\
    --service 'addiction counselling' --language fr --days 180 --evidence form.pdf

It stays at this agency, sealed under a key of its own. To share anything about the person takes a
consent to share: `agent consent record`.")]
    Record(Box<RecordArgs>),
    /// Withdraw a consent to a service
    #[command(after_help = "\
Examples:
  passerelle agent consent service withdraw --dir /srv/sante-centre \\
    service-00112233445566778899aabbccddeeff")]
    Withdraw(RefArgs),
    /// Show one, or all
    #[command(after_help = "\
Examples:
  passerelle agent consent service show --dir /srv/sante-centre
  passerelle agent consent service show --dir /srv/sante-centre --json")]
    Show {
        #[command(flatten)]
        place: Place,
        /// Which; all if left out
        #[arg(value_name = "ID")]
        consent: Option<ServiceConsentId>,
    },
    /// Say whether the person agrees to a service now; exit code 1 if not
    #[command(after_help = "\
Examples:
  passerelle agent consent service check --dir /srv/sante-centre --person person.toml \\
    --service 'addiction counselling'

A consent to share is none, whatever it names.")]
    Check {
        #[command(flatten)]
        place: Place,
        /// TOML file with family_name, given_name, birth_date
        #[arg(long, value_name = "FILE")]
        person: PathBuf,
        /// The service, in the words in which it was recorded
        #[arg(long, value_name = "TEXT")]
        service: String,
    },
    /// Destroy what says of whom and to what, of one that stands no more
    #[command(after_help = "\
Examples:
  passerelle agent consent service erase --dir /srv/sante-centre \\
    service-00112233445566778899aabbccddeeff")]
    Erase(RefArgs),
}

#[derive(Debug, Args)]
pub(super) struct RefArgs {
    #[command(flatten)]
    place: Place,
    /// Which
    #[arg(value_name = "ID")]
    consent: ServiceConsentId,
    #[command(flatten)]
    worker: Worker,
}

#[derive(Debug, Args)]
pub(super) struct RecordArgs {
    #[command(flatten)]
    place: Place,
    /// TOML file with family_name, given_name, birth_date
    #[arg(long, value_name = "FILE")]
    person: PathBuf,
    /// What is offered, in the agency's own words or codes
    #[arg(long, value_name = "TEXT")]
    service: String,
    /// Who gave it: self, parent, substitute
    #[arg(long, default_value = "self")]
    giver: ConsentGiver,
    /// The giver's capacity: capable, mature_minor, substituted
    #[arg(long, default_value = "capable")]
    capacity: Capacity,
    /// How: written, verbal_witnessed, electronic
    #[arg(long, default_value = "written")]
    method: ConsentMethod,
    /// Language in which it was explained: en, fr, iu, cr, moe, other
    #[arg(long)]
    language: Language,
    /// An interpreter helped
    #[arg(long)]
    interpreter: bool,
    /// Days until it ends
    #[arg(
        long,
        value_name = "N",
        default_value_t = 365,
        value_parser = clap::value_parser!(u64).range(1..=1825)
    )]
    days: u64,
    /// What was signed: any file; only its SHA-256 is kept
    #[arg(long, value_name = "FILE")]
    evidence: Option<PathBuf>,
    #[command(flatten)]
    worker: Worker,
}

const SECONDS_PER_DAY: u64 = 86_400;

pub(super) async fn run(global: Global, verb: Verb) -> Result<Exit, Failure> {
    match verb {
        Verb::Record(args) => record(global, *args).await,
        Verb::Withdraw(args) => {
            let (place, request) = reference(args);
            let mut node = backend::consents(&place.dir).await?;
            let done: Done = backend::document(node.withdraw_service_consent(request).await)?;
            done_text(global, &done, "withdrawn")
        }
        Verb::Erase(args) => {
            let (place, request) = reference(args);
            let mut node = backend::consents(&place.dir).await?;
            let done: Done = backend::document(node.erase_service_consent(request).await)?;
            done_text(global, &done, "what it said of the person is destroyed")
        }
        Verb::Show { place, consent } => {
            let request = v1::ShowServiceConsentsRequest {
                consent: consent.map(|id| id.to_string()).unwrap_or_default(),
                ..v1::ShowServiceConsentsRequest::default()
            };
            shown(global, &place, request).await?;
            Ok(Exit::Done)
        }
        Verb::Check {
            place,
            person,
            service,
        } => {
            let request = v1::ShowServiceConsentsRequest {
                consent: String::new(),
                person: Some(codes::person(&person)?),
                service,
                standing: true,
            };
            Ok(match shown(global, &place, request).await? {
                0 => Exit::Refused,
                _ => Exit::Done,
            })
        }
    }
}

fn reference(args: RefArgs) -> (Place, v1::ServiceConsentRef) {
    let request = v1::ServiceConsentRef {
        consent: args.consent.to_string(),
        worker: args.worker.name(&args.place.dir),
    };
    (args.place, request)
}

/// Prints them; how many there are.
async fn shown(
    global: Global,
    place: &Place,
    request: v1::ShowServiceConsentsRequest,
) -> Result<usize, Failure> {
    let mut node = backend::consents(&place.dir).await?;
    let reply = node.show_service_consents(request).await;
    let views: Vec<ServiceConsentView> = backend::document(reply)?;
    output::print(global, &views, |views| render::service_consents(views))?;
    Ok(views.len())
}

async fn record(global: Global, args: RecordArgs) -> Result<Exit, Failure> {
    let days_s = args.days.saturating_mul(SECONDS_PER_DAY);
    let request = v1::RecordServiceConsentRequest {
        person: Some(codes::person(&args.person)?),
        service: args.service,
        giver: args.giver.to_string(),
        capacity: args.capacity.to_string(),
        method: args.method.to_string(),
        language: args.language.to_string(),
        interpreter: args.interpreter,
        expires_at_ms: clock::now().plus_s(days_s).0,
        evidence: evidence::optional(args.evidence.as_deref())?,
        worker: args.worker.name(&args.place.dir),
    };
    let mut node = backend::consents(&args.place.dir).await?;
    let done: Done = backend::document(node.record_service_consent(request).await)?;
    done_text(global, &done, "recorded here; it shares nothing")
}
