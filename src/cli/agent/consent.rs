//! `passerelle agent consent`: record, withdraw, show, what ends soon; export and import.

use super::{
    Place,
    consent_files::{self, EXPORT_EXAMPLES, ExportArgs, IMPORT_EXAMPLES, ImportArgs},
    consent_service, done_text, evidence,
};
use crate::cli::{
    Global, backend, clock, codes,
    failure::{Exit, Failure},
    output, render,
};
use clap::{Args, Subcommand};
use passerelle_model::{
    ids::{AgencyId, ConsentId},
    vocabulary::{Capacity, Category, ConsentGiver, ConsentMethod, Language, Purpose},
};
use passerelle_proto::{
    v1,
    views::{ConsentView, Done},
};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Record a consent to share
    #[command(after_help = "\
Examples:
  passerelle agent consent record --dir /srv/maison-commune --person person.toml \\
    --category in_service --category appointment_status --purpose plan --purpose deliver \\
    --recipient maison-commune --discloser sante-centre --language fr --days 180
  passerelle agent consent record --dir /srv/maison-commune --person person.toml \\
    --category in_service --purpose deliver --recipient maison-commune \\
    --discloser sante-centre --language fr --evidence form.pdf

The file of --evidence never leaves this machine: the log has a commitment to its SHA-256.")]
    Record(Box<RecordArgs>),
    /// Withdraw a consent, whole or in part
    #[command(after_help = "\
Examples:
  passerelle agent consent withdraw --dir /srv/maison-commune \\
    consent-00112233445566778899aabbccddeeff
  passerelle agent consent withdraw --dir /srv/maison-commune \\
    consent-00112233445566778899aabbccddeeff --recipient police-nord")]
    Withdraw {
        #[command(flatten)]
        place: Place,
        /// The consent
        #[arg(value_name = "ID")]
        consent: ConsentId,
        /// Only as to this recipient
        #[arg(long, value_name = "AGENCY", conflicts_with = "category")]
        recipient: Option<AgencyId>,
        /// Only as to this category
        #[arg(long)]
        category: Option<Category>,
    },
    /// Show one consent, or all that name this agency
    #[command(after_help = "\
Examples:
  passerelle agent consent show --dir /srv/maison-commune")]
    Show {
        #[command(flatten)]
        place: Place,
        /// The consent; all if left out
        #[arg(value_name = "ID")]
        consent: Option<ConsentId>,
    },
    /// Compare a file with the evidence that was recorded; exit code 1 if it is another
    #[command(after_help = "\
Examples:
  passerelle agent consent check-evidence --dir /srv/maison-commune \\
    consent-00112233445566778899aabbccddeeff form.pdf
  passerelle agent consent check-evidence --dir /srv/maison-commune \\
    service-00112233445566778899aabbccddeeff form.pdf")]
    CheckEvidence {
        #[command(flatten)]
        place: Place,
        /// The consent, recorded here: to share or to a service
        #[arg(value_name = "ID")]
        consent: String,
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Consents to a service of this agency: other records, which share nothing
    #[command(subcommand)]
    Service(consent_service::Verb),
    /// List consents that end soon, the next to end first
    #[command(after_help = "\
Examples:
  passerelle agent consent expiring --dir /srv/maison-commune
  passerelle agent consent expiring --dir /srv/maison-commune --within 7

A consent is never lengthened: ask the person again, and record what is said.")]
    Expiring {
        #[command(flatten)]
        place: Place,
        /// Days within which they end
        #[arg(long, value_name = "N", default_value_t = 60)]
        within: u64,
    },
    /// Write one consent, or all that name this agency, in a format of others
    #[command(after_help = EXPORT_EXAMPLES)]
    Export(ExportArgs),
    /// Record a consent from a file in a format of others
    #[command(after_help = IMPORT_EXAMPLES)]
    Import(ImportArgs),
}

#[derive(Debug, Args)]
pub(super) struct RecordArgs {
    #[command(flatten)]
    place: Place,
    /// TOML file with family_name, given_name, birth_date
    #[arg(long, value_name = "FILE")]
    person: PathBuf,
    /// Category that may be shared; repeat for more
    #[arg(long = "category", required = true)]
    categories: Vec<Category>,
    /// Purpose that it may serve; repeat for more
    #[arg(long = "purpose", required = true)]
    purposes: Vec<Purpose>,
    /// Agency that may receive; repeat for more
    #[arg(long = "recipient", value_name = "AGENCY", required = true)]
    recipients: Vec<AgencyId>,
    /// Agency that may disclose; repeat for more
    #[arg(long = "discloser", value_name = "AGENCY", required = true)]
    disclosers: Vec<AgencyId>,
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
    /// Version of the notice that was given
    #[arg(long, value_name = "N", default_value_t = 1)]
    notice_version: u32,
    /// Days until it ends
    #[arg(
        long,
        value_name = "N",
        default_value_t = 365,
        value_parser = clap::value_parser!(u64).range(1..=3650)
    )]
    days: u64,
    /// Recipients may pass it on
    #[arg(long)]
    redisclosure: bool,
    /// What was signed: any file; only its SHA-256 is kept
    #[arg(long, value_name = "FILE")]
    evidence: Option<PathBuf>,
}

fn texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(T::to_string).collect()
}

const SECONDS_PER_DAY: u64 = 86_400;

async fn record(global: Global, args: RecordArgs) -> Result<Exit, Failure> {
    let request = v1::RecordConsentRequest {
        person: Some(codes::person(&args.person)?),
        giver: args.giver.to_string(),
        capacity: args.capacity.to_string(),
        categories: texts(&args.categories),
        purposes: texts(&args.purposes),
        recipients: texts(&args.recipients),
        disclosers: texts(&args.disclosers),
        method: args.method.to_string(),
        language: args.language.to_string(),
        interpreter: args.interpreter,
        notice_version: args.notice_version,
        expires_at_ms: clock::now()
            .plus_s(args.days.saturating_mul(SECONDS_PER_DAY))
            .0,
        redisclosure: args.redisclosure,
        evidence: evidence::optional(args.evidence.as_deref())?,
    };
    let mut node = backend::connect(&args.place.dir).await?;
    let done: Done = backend::document(node.record_consent(request).await)?;
    done_text(global, &done, "recorded")
}

pub(super) async fn run(global: Global, verb: Verb) -> Result<Exit, Failure> {
    match verb {
        Verb::Record(args) => record(global, *args).await,
        Verb::Withdraw {
            place,
            consent,
            recipient,
            category,
        } => {
            let mut node = backend::connect(&place.dir).await?;
            let request = v1::WithdrawConsentRequest {
                consent: consent.to_string(),
                recipient: recipient.map(|r| r.to_string()).unwrap_or_default(),
                category: category.map(|c| c.to_string()).unwrap_or_default(),
            };
            let done: Done = backend::document(node.withdraw_consent(request).await)?;
            let what = match done.status.as_str() {
                "queued" => "the withdrawal is not in force yet",
                _ => "withdrawn",
            };
            done_text(global, &done, what)
        }
        Verb::Show { place, consent } => {
            let mut node = backend::connect(&place.dir).await?;
            let request = v1::ShowConsentsRequest {
                consent: consent.map(|id| id.to_string()).unwrap_or_default(),
            };
            let views: Vec<ConsentView> = backend::document(node.show_consents(request).await)?;
            output::print(global, &views, |views| render::consents(views))?;
            Ok(Exit::Done)
        }
        Verb::CheckEvidence {
            place,
            consent,
            file,
        } => evidence::check(global, &place, consent, &file).await,
        Verb::Service(verb) => consent_service::run(global, verb).await,
        Verb::Expiring { place, within } => expiring(global, &place, within).await,
        Verb::Export(args) => consent_files::export(global, args).await,
        Verb::Import(args) => consent_files::import(global, args).await,
    }
}

async fn expiring(global: Global, place: &Place, within: u64) -> Result<Exit, Failure> {
    let mut node = backend::connect(&place.dir).await?;
    let request = v1::ShowConsentsRequest::default();
    let mut views: Vec<ConsentView> = backend::document(node.show_consents(request).await)?;
    views.retain(|view| view.days_left.is_some_and(|days| days < within));
    views.sort_by_key(|view| view.terms.expires_at);
    output::print(global, &views, |views| render::consents_ending(views))?;
    Ok(Exit::Done)
}
