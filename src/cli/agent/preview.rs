//! `passerelle agent preview`: what one could get about somebody, before anything is asked.

use super::{Place, Worker};
use crate::cli::{
    Global, Lang, backend, codes,
    failure::{Exit, Failure},
    output,
};
use clap::Args;
use passerelle_model::{
    ids::{AgencyId, AgreementId, CaseId, ConsentId},
    pdp::Effect,
    statement::Item,
    vocabulary::{EmergencyKind, LegalBasis, Purpose, Sector, labels},
};
use passerelle_proto::{
    v1,
    views::{HolderPreview, PreviewItem, PreviewView},
};
use std::{fmt::Write as _, path::PathBuf};

pub(super) const EXAMPLES: &str = "\
Examples:
  passerelle agent preview --dir /srv/maison-commune --person person.toml
  passerelle agent preview --dir /srv/maison-commune --person person.toml \\
    --holder sante-centre --purpose deliver --basis consent --lang fr
  passerelle agent preview --dir /srv/police-nord --person person.toml --holder sante-centre \\
    --item location:detail --purpose emergency --basis A2.1-59.1 --emergency threat_to_others

Nobody is asked anything: the agency's own node says what the rules in force would, by what it knows
of consents, agreements and cases. What it can't know stands below. A look is journaled, and counts
as a question for those who look after curiosity.
Exit code 1: everything would be denied, or the agency does not show it.";

#[derive(Debug, Args)]
pub(super) struct PreviewArgs {
    #[command(flatten)]
    place: Place,
    /// TOML file with family_name, given_name, birth_date; left out at stage 2 of a case
    #[arg(long, value_name = "FILE", required_unless_present = "case")]
    person: Option<PathBuf>,
    /// Who would be asked; repeat for more [default: every other member]
    #[arg(long = "holder", value_name = "AGENCY")]
    holders: Vec<AgencyId>,
    /// What would be asked, the level as a code or 0 to 4; repeat for more [default: everything]
    #[arg(long = "item", value_name = "CATEGORY:LEVEL", value_parser = codes::item)]
    items: Vec<Item>,
    /// What for [default: plan]
    #[arg(long)]
    purpose: Option<Purpose>,
    /// On which basis in law [default: consent]
    #[arg(long)]
    basis: Option<LegalBasis>,
    /// Consent relied on [default: any that fits]
    #[arg(long, value_name = "ID", conflicts_with = "agreement")]
    consent: Option<ConsentId>,
    /// Agreement relied on [default: any that fits]
    #[arg(long, value_name = "ID")]
    agreement: Option<AgreementId>,
    /// Case
    #[arg(long, value_name = "ID")]
    case: Option<CaseId>,
    /// Emergency: subject_in_danger, threat_to_others, medical
    #[arg(long, value_name = "REASON")]
    emergency: Option<EmergencyKind>,
    #[command(flatten)]
    worker: Worker,
}

/// The code of what may be left out.
fn code<T: ToString>(value: Option<T>) -> String {
    value.map(|v| v.to_string()).unwrap_or_default()
}

/// Runs the command.
pub(super) async fn run(global: Global, args: PreviewArgs) -> Result<Exit, Failure> {
    let items = args.items.iter().map(|item| v1::AskItem {
        category: item.category.to_string(),
        level: item.level.to_string(),
    });
    let request = v1::PreviewRequest {
        person: args.person.as_deref().map(codes::person).transpose()?,
        holders: args.holders.iter().map(ToString::to_string).collect(),
        items: items.collect(),
        purpose: code(args.purpose),
        basis: code(args.basis),
        consent: code(args.consent),
        agreement: code(args.agreement),
        case: code(args.case),
        emergency: code(args.emergency),
        worker: args.worker.name(&args.place.dir),
    };
    let mut node = backend::connect(&args.place.dir).await?;
    let view: PreviewView = backend::document(node.preview(request).await)?;
    output::print(global, &view, |view| text(view, global.lang()))?;
    let mut effects = view.holders.iter().flat_map(|h| &h.items);
    let all_denied = effects.all(|item| item.item.item.ruling.effect == Effect::Deny);
    Ok(if all_denied {
        Exit::Refused
    } else {
        Exit::Done
    })
}

fn text(view: &PreviewView, lang: Lang) -> String {
    let french = lang == Lang::Fr;
    let mut out = String::new();
    for holder in &view.holders {
        let (head, colon) = match french {
            true => ("Auprès de", "\u{a0}:"),
            false => ("From", ":"),
        };
        let sector = holder.sector.parse::<Sector>();
        let sector = sector.map_or(holder.sector.as_str(), |s| {
            labels::sector(s, lang.language())
        });
        // Writing to a string can't fail.
        let _infallible = writeln!(out, "{head} {} ({sector}){colon}\n", holder.holder);
        for effect in [Effect::Permit, Effect::Review, Effect::Deny] {
            of_effect(&mut out, holder, effect, lang);
        }
    }
    out.push_str(match french {
        true => "À savoir\u{a0}:\n",
        false => "Bear in mind:\n",
    });
    for limit in &view.limits {
        let words = if french { &limit.fr } else { &limit.en };
        let _infallible = writeln!(out, "  {words}");
    }
    out
}

fn of_effect(out: &mut String, holder: &HolderPreview, effect: Effect, lang: Lang) {
    let is_so = |item: &&PreviewItem| item.item.item.ruling.effect == effect;
    let mut items = holder.items.iter().filter(is_so).peekable();
    if items.peek().is_none() {
        return;
    }
    let _infallible = writeln!(out, "{}", heading(effect, lang));
    for item in items {
        let ruled = &item.item.item;
        let (language, words) = match lang {
            Lang::En => (lang.language(), &item.item.explained_en),
            Lang::Fr => (lang.language(), &item.item.explained_fr),
        };
        let what = labels::category(ruled.category, language);
        let far = labels::level(ruled.level, language);
        let code = format!("{}:{}", ruled.category, ruled.level);
        let _infallible = writeln!(out, "  {what} ({far}) [{code}]");
        // The first sentence says the effect once more.
        for sentence in words.iter().skip(1) {
            let _infallible = writeln!(out, "    {sentence}");
        }
        for missing in &item.missing {
            let words = match lang {
                Lang::En => &missing.en,
                Lang::Fr => &missing.fr,
            };
            let _infallible = writeln!(out, "    + {words}");
        }
    }
    out.push('\n');
}

/// The heading of what is permitted, reviewed, denied.
pub(in crate::cli) const fn heading(effect: Effect, lang: Lang) -> &'static str {
    match (effect, lang) {
        (Effect::Permit, Lang::Fr) => "AUTORISÉ",
        (Effect::Permit, Lang::En) => "PERMITTED",
        (Effect::Review, Lang::Fr) => "À EXAMINER PAR UNE PERSONNE DU DÉTENTEUR",
        (Effect::Review, Lang::En) => "A PERSON AT THE HOLDER LOOKS FIRST",
        (Effect::Deny, Lang::Fr) => "REFUSÉ",
        (Effect::Deny, Lang::En) => "DENIED",
    }
}
