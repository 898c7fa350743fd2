//! `passerelle policy packs`: the legal packs of a library, with what each brings.
//!
//! In scope: the list as text in one language and as JSON in both. Out of scope: what packs are and
//! how they are checked (crate `policies`).

use crate::cli::{
    Global, Lang,
    failure::{Exit, Failure},
    output,
};
use passerelle_model::{pdp::Obligation, vocabulary::Language};
use passerelle_policies::{Library, Pack, texts::Text};
use serde::Serialize;
use std::fmt::Write as _;

pub(super) const EXAMPLES: &str = "\
Examples:
  passerelle policy packs
  passerelle policy packs ca-qc --lang fr
  passerelle policy packs --library ./library --json

JSON has both languages. Counsel must confirm each pack for the federation that uses it.";

/// A text in both languages.
#[derive(Serialize)]
struct Both {
    en: String,
    fr: String,
}

impl Both {
    fn of(text: &Text) -> Self {
        Self {
            en: text.en.clone(),
            fr: text.fr.clone(),
        }
    }

    /// The text with this key.
    fn keyed(library: &Library, key: &str) -> Self {
        let say = |language| {
            let text = library.texts().text(key, language);
            text.unwrap_or(key).to_owned()
        };
        Self {
            en: say(Language::English),
            fr: say(Language::French),
        }
    }

    fn says(&self, lang: Lang) -> &str {
        match lang {
            Lang::En => &self.en,
            Lang::Fr => &self.fr,
        }
    }
}

#[derive(Serialize)]
struct ShownPack {
    id: String,
    version: u32,
    jurisdiction: String,
    active: bool,
    title: Both,
    counsel: Both,
    mechanisms: Vec<&'static str>,
    bases: Vec<ShownBasis>,
    rules: Vec<ShownRule>,
    duties: Vec<ShownDuty>,
    /// How soon an owner answers a person who asks what is held.
    access: Option<ShownAccess>,
}

#[derive(Serialize)]
struct ShownAccess {
    days: u16,
    citation: Both,
}

#[derive(Serialize)]
struct ShownBasis {
    code: &'static str,
    citation: Both,
}

#[derive(Serialize)]
struct ShownRule {
    id: String,
    effect: &'static str,
    source: String,
    says: Both,
}

#[derive(Serialize)]
struct ShownDuty {
    id: String,
    source: String,
    says: Vec<Both>,
}

/// Runs the command: all packs, or the one with this id.
pub(super) fn run(global: Global, library: &Library, id: Option<&str>) -> Result<Exit, Failure> {
    let wanted = |pack: &&Pack| id.is_none_or(|id| pack.id == id);
    let packs = library.packs().values().filter(wanted);
    let shown: Vec<_> = packs.map(|pack| show(library, pack)).collect();
    if let Some(id) = id.filter(|_| shown.is_empty()) {
        let known: Vec<_> = library.packs().keys().map(String::as_str).collect();
        let known = known.join(", ");
        return Err(Failure::usage(format!(
            "no legal pack `{id}`; known are: {known}"
        )));
    }
    output::print(global, &shown, |packs| {
        let texts: Vec<_> = packs.iter().map(|pack| text(pack, global.lang())).collect();
        texts.join("\n")
    })?;
    Ok(Exit::Done)
}

fn show(library: &Library, pack: &Pack) -> ShownPack {
    let of_pack = |of: &Option<String>| of.as_ref() == Some(&pack.id);
    let rules = library.rules().values().filter(|rule| of_pack(&rule.pack));
    let duties = library.duties().iter().filter(|duty| of_pack(&duty.pack));
    ShownPack {
        access: pack.access.as_ref().map(|access| ShownAccess {
            days: access.days,
            citation: Both::of(&access.citation),
        }),
        id: pack.id.clone(),
        version: pack.version,
        jurisdiction: pack.jurisdiction.clone(),
        active: pack.active,
        title: Both::of(&pack.title),
        counsel: Both::of(&pack.counsel),
        mechanisms: pack.profiles.iter().map(|profile| profile.code()).collect(),
        bases: pack
            .bases
            .iter()
            .map(|(basis, citation)| ShownBasis {
                code: basis.code(),
                citation: Both::of(citation),
            })
            .collect(),
        rules: rules
            .map(|rule| ShownRule {
                id: rule.id.clone(),
                effect: if rule.permits { "permit" } else { "forbid" },
                source: rule.source.clone(),
                says: Both::keyed(library, &rule.why),
            })
            .collect(),
        duties: duties
            .map(|duty| ShownDuty {
                id: duty.id.clone(),
                source: duty.source.clone(),
                says: duty.obligations.iter().map(|o| says(library, o)).collect(),
            })
            .collect(),
    }
}

fn says(library: &Library, obligation: &Obligation) -> Both {
    let in_language = |language| library.obligation(obligation, language);
    Both {
        en: in_language(Language::English),
        fr: in_language(Language::French),
    }
}

fn text(pack: &ShownPack, lang: Lang) -> String {
    let mut out = format!(
        "{}  {} ({}), version {}{}\n",
        pack.id,
        pack.title.says(lang),
        pack.jurisdiction,
        pack.version,
        if pack.active { "" } else { ", not in use" }
    );
    // Writing to a string can't fail.
    let _infallible = writeln!(out, "  {}", pack.counsel.says(lang));
    for mechanism in &pack.mechanisms {
        let _infallible = writeln!(out, "  mechanism {mechanism}");
    }
    for basis in &pack.bases {
        let _infallible = writeln!(out, "  basis {}: {}", basis.code, basis.citation.says(lang));
    }
    for rule in &pack.rules {
        let says = rule.says.says(lang);
        let _infallible = writeln!(
            out,
            "  {} {} [{}]: {says}",
            rule.effect, rule.id, rule.source
        );
    }
    for duty in &pack.duties {
        let says: Vec<_> = duty.says.iter().map(|says| says.says(lang)).collect();
        let says = says.join(" ");
        let _infallible = writeln!(out, "  duty {} [{}]: {says}", duty.id, duty.source);
    }
    if let Some(access) = &pack.access {
        let (days, citation) = (access.days, access.citation.says(lang));
        let _infallible = match lang {
            Lang::En => writeln!(out, "  access within {days} days: {citation}"),
            Lang::Fr => writeln!(out, "  accès en {days} jours : {citation}"),
        };
    }
    out
}
