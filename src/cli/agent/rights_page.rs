//! The reply for the person as one printable page: HTML that needs nothing else, in English or
//! Canadian French. No script, no link, no image, no font; everything that others wrote is escaped.

use super::rights::Compiled;
use crate::cli::{
    Lang,
    render::{plain, said_words},
};
use passerelle_audit::disclosure::{self, page};
use passerelle_model::{
    html::escaped,
    vocabulary::{Category, Sector, labels},
};
use passerelle_proto::views::{OwnerAnswer, RightsView};
use std::{
    fmt::Write as _,
    fs, io,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

const STYLE: &str = "\
:root{color-scheme:light}\
body{font:1rem/1.45 sans-serif;color:#111;background:#fff;margin:2rem auto;max-width:60rem;\
padding:0 1rem}\
h1{font-size:1.6rem}h2{font-size:1.25rem;margin-top:2rem}\
h3{font-size:1.05rem;margin:1.2rem 0 .2rem}\
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem}\
dt{font-weight:bold}dd{margin:0;overflow-wrap:anywhere}\
table{border-collapse:collapse;width:100%;margin:1rem 0}\
caption{text-align:left;font-weight:bold;padding:.3rem 0}\
th,td{border:1px solid #555;padding:.35rem .5rem;text-align:left;vertical-align:top}\
p,ul{margin:.3rem 0}code{overflow-wrap:anywhere}\
@media print{@page{margin:14mm}body{margin:0;max-width:none;font-size:10pt}\
section,tr{break-inside:avoid}}";

const fn pick(lang: Lang, en: &'static str, fr: &'static str) -> &'static str {
    match lang {
        Lang::En => en,
        Lang::Fr => fr,
    }
}

/// The page.
pub(super) fn html(compiled: &Compiled, lang: Lang) -> String {
    let title = pick(
        lang,
        "What is held about you: the answers",
        "Ce qui est détenu à votre sujet : les réponses",
    );
    let tag = pick(lang, "en", "fr-CA");
    let mut out = String::new();
    // Writing to a string does not fail, here and below.
    let _ = write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"{tag}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <h1>{title}</h1>\n"
    );
    asked(&mut out, &compiled.reply.asked, lang);
    let made = compiled.reply.made_at.to_rfc3339();
    let _ = writeln!(
        out,
        "<p>{} {made}.</p>\n<h2>{}</h2>",
        pick(
            lang,
            "This reply was made on",
            "Cette réponse a été établie le"
        ),
        pick(lang, "Each agency", "Chaque organisme")
    );
    for answer in &compiled.reply.answers {
        one(&mut out, answer, lang);
    }
    notes(&mut out, lang);
    let _ = writeln!(
        out,
        "<h2>{}</h2>",
        pick(
            lang,
            "To whom it was disclosed",
            "À qui cela a été communiqué"
        )
    );
    match &compiled.account {
        Some(account) => {
            let lang = match lang {
                Lang::En => disclosure::Lang::English,
                Lang::Fr => disclosure::Lang::French,
            };
            out.push_str(&page::section(account, lang));
        }
        None => {
            let _ = writeln!(
                out,
                "<p>{}</p>",
                pick(
                    lang,
                    "The accounting of disclosures is not part of this page. Ask for it here.",
                    "Le relevé des communications ne figure pas sur cette page. Demandez-le ici."
                )
            );
        }
    }
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

fn asked(out: &mut String, asked: &RightsView, lang: Lang) {
    out.push_str("<dl>\n");
    let answered = format!(
        "{} {} {}",
        asked.answered,
        pick(lang, "of", "sur"),
        asked.owners.len()
    );
    for (name, value) in [
        (
            pick(lang, "For", "Pour"),
            asked.person.clone().unwrap_or_default(),
        ),
        (
            pick(lang, "Your request", "Votre demande"),
            asked.rights.clone(),
        ),
        (pick(lang, "Made on", "Présentée le"), asked.at.to_rfc3339()),
        (
            pick(lang, "To be answered by", "Réponse attendue d’ici le"),
            asked.due.to_rfc3339(),
        ),
        (
            pick(
                lang,
                "Agencies that have answered",
                "Organismes qui ont répondu",
            ),
            answered,
        ),
    ] {
        if !value.is_empty() {
            let _ = writeln!(out, "<dt>{name}</dt><dd>{}</dd>", escaped(&value));
        }
    }
    out.push_str("</dl>\n");
}

fn sector(code: &str, lang: Lang) -> String {
    let sector = code.parse::<Sector>();
    sector.map_or_else(
        |_| String::new(),
        |sector| format!(" ({})", labels::sector(sector, lang.language())),
    )
}

fn category(code: &str, lang: Lang) -> String {
    let category = code.parse::<Category>();
    category.map_or_else(
        |_| escaped(code),
        |category| labels::category(category, lang.language()).to_owned(),
    )
}

fn one(out: &mut String, answer: &OwnerAnswer, lang: Lang) {
    let _ = writeln!(
        out,
        "<section>\n<h3>{}{}</h3>\n<p>{}</p>",
        escaped(&answer.agency),
        sector(&answer.sector, lang),
        said_words(&answer.said, lang)
    );
    if answer.supplement {
        let words = pick(
            lang,
            "This completes what an earlier reply said.",
            "Cela complète ce que disait une réponse précédente.",
        );
        let _ = writeln!(out, "<p>{words}</p>");
    }
    if !answer.items.is_empty() {
        out.push_str("<ul>\n");
        for item in &answer.items {
            let values: Vec<_> = item.values.iter().map(plain).collect();
            let (what, values) = (category(&item.category, lang), escaped(&values.join("; ")));
            let _ = writeln!(out, "<li>{what}{} {values}</li>", pick(lang, ":", " :"));
        }
        out.push_str("</ul>\n");
    }
    if let Some(refusal) = &answer.refusal {
        let words = match lang {
            Lang::En => &refusal.en,
            Lang::Fr => &refusal.fr,
        };
        let _ = writeln!(out, "<p>{}</p>", escaped(words));
    }
    if !answer.ask_the_owner.is_empty() {
        let items = answer.ask_the_owner.iter();
        let items: Vec<_> = items.map(|i| category(&i.category, lang)).collect();
        let words = pick(
            lang,
            "This agency alone can say, to anybody who asks, whether it holds anything under:",
            "Cet organisme est le seul à pouvoir dire, à quiconque le demande, s’il détient \
             quelque chose à titre de :",
        );
        let _ = writeln!(out, "<p>{words} {}.</p>", items.join(", "));
    }
    let contact = answer.contact.as_deref().map(escaped);
    let contact = contact.unwrap_or_else(|| {
        pick(
            lang,
            "ask here how to reach it",
            "demandez ici comment le joindre",
        )
        .to_owned()
    });
    let _ = writeln!(
        out,
        "<p>{} {contact}</p>\n</section>",
        pick(lang, "Contact:", "Personne-ressource :")
    );
}

fn notes(out: &mut String, lang: Lang) {
    let words = pick(
        lang,
        "“Nothing to report” is said by an agency that holds nothing, and by one that may not say \
         for now. Nobody here can tell which. You may ask again later, contact each agency \
         yourself, have an error corrected, and complain to the privacy commissioner.",
        "« Rien à signaler » : c’est ce que dit un organisme qui ne détient rien, et aussi celui \
         qui ne peut rien dire pour l’instant. Personne ici ne sait lequel. Vous pouvez \
         redemander plus tard, vous adresser vous-même à chaque organisme, faire corriger une \
         erreur et porter plainte au commissaire à la protection de la vie privée.",
    );
    let _ = writeln!(out, "<p>{words}</p>");
}

/// Writes a page about one person, for nobody else on this machine.
pub(super) fn write(path: &Path, page: &[u8]) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(path)?;
    // Also if it was there before.
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    io::Write::write_all(&mut file, page)?;
    file.sync_all()
}
