//! The account as one printable page: HTML that needs nothing else, in English or French.
//!
//! No script, no link, no image, no font: the page's own policy forbids them. Everything that comes
//! from the log is escaped.

use super::{
    Account, Disclosure, Lang, Outcome,
    words::{Word, outcome},
};
use passerelle_model::{
    html::escaped,
    vocabulary::labels::{category, emergency, level, purpose},
};
use std::fmt::Write as _;

const STYLE: &str = "\
:root{color-scheme:light}\
body{font:1rem/1.45 sans-serif;color:#111;background:#fff;margin:2rem auto;max-width:75rem;\
padding:0 1rem}\
h1{font-size:1.6rem}\
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem}\
dt{font-weight:bold}dd{margin:0;overflow-wrap:anywhere}\
table{border-collapse:collapse;width:100%;margin:1.5rem 0}\
caption{text-align:left;font-weight:bold;padding:.3rem 0}\
th,td{border:1px solid #555;padding:.35rem .5rem;text-align:left;vertical-align:top}\
thead th{background:#eee}\
ul{margin:0;padding-left:1.1rem}\
code{overflow-wrap:anywhere}\
@media print{@page{size:landscape;margin:12mm}body{margin:0;max-width:none;font-size:9pt}\
thead{display:table-header-group}tr{break-inside:avoid}thead th{background:none}}";

/// Characters of a pseudonym that are printed: enough to tell two people of one office apart.
const PSEUDONYM_CHARS: usize = 12;

/// The page.
pub fn html(account: &Account, lang: Lang) -> String {
    let say = |word: Word| word.say(lang);
    let mut out = String::new();
    let title = say(Word::Title);
    // Writing to a string does not fail, here and below.
    let _ = write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"{}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <h1>{title}</h1>\n",
        lang.tag()
    );
    out.push_str(&section(account, lang));
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

/// What the page says, without title and frame: part of another page.
pub fn section(account: &Account, lang: Lang) -> String {
    let say = |word: Word| word.say(lang);
    let mut out = format!("<p>{}</p>\n", say(Word::Intro));
    facts(&mut out, account, lang);
    if account.entries.is_empty() {
        let _ = writeln!(out, "<p>{}</p>", say(Word::None));
    } else {
        table(&mut out, &account.entries, lang);
    }
    if account.may_be_left_out_by_law {
        let _ = writeln!(out, "<p>{}</p>", say(Word::LeftOut));
    }
    if account.not_attributable > 0 {
        let (others, mean) = (say(Word::Others), say(Word::OthersMean));
        let _ = writeln!(out, "<p>{others} {}. {mean}</p>", account.not_attributable);
    }
    let _ = writeln!(
        out,
        "<p>{} <code>{}</code> ({} {})</p>",
        say(Word::HowChecked),
        escaped(&account.root),
        account.size,
        say(Word::Entries)
    );
    out
}

fn facts(out: &mut String, account: &Account, lang: Lang) {
    let network = format!("{} ({})", account.log.federation, account.log.origin);
    let as_of = account
        .as_of
        .map_or_else(|| Word::Nothing.say(lang).to_owned(), |at| at.to_rfc3339());
    let persons: Vec<String> = account
        .persons
        .iter()
        .map(|handle| handle.to_hex().chars().take(PSEUDONYM_CHARS).collect())
        .collect();
    out.push_str("<dl>\n");
    for (word, text) in [
        (Word::Network, network),
        (Word::UpTo, as_of),
        (Word::Person, persons.join(", ")),
    ] {
        if !text.is_empty() {
            let (word, text) = (word.say(lang), escaped(&text));
            let _ = writeln!(out, "<dt>{word}</dt><dd>{text}</dd>");
        }
    }
    out.push_str("</dl>\n");
}

fn table(out: &mut String, entries: &[Disclosure], lang: Lang) {
    let caption = Word::Caption.say(lang);
    let _ = write!(out, "<table>\n<caption>{caption}</caption>\n<thead>\n<tr>");
    for word in [
        Word::When,
        Word::Recipient,
        Word::Source,
        Word::What,
        Word::Why,
        Word::Ground,
        Word::Came,
        Word::Proof,
    ] {
        let _ = write!(out, "<th scope=\"col\">{}</th>", word.say(lang));
    }
    out.push_str("</tr>\n</thead>\n<tbody>\n");
    for row in entries {
        line(out, row, lang);
    }
    out.push_str("</tbody>\n</table>\n");
}

/// One exchange. Its date is that on which it was answered or settled.
fn line(out: &mut String, row: &Disclosure, lang: Lang) {
    let unknown = Word::Unknown.say(lang);
    let agency = |agency: Option<&passerelle_model::ids::AgencyId>| {
        agency.map_or_else(|| unknown.to_owned(), |agency| escaped(agency.as_str()))
    };
    let date = row.settled.at.to_rfc3339();
    let _ = write!(
        out,
        "<tr><th scope=\"row\"><time datetime=\"{date}\">{date}</time></th>\
         <td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>",
        agency(row.recipient.as_ref()),
        agency(row.source.as_ref()),
        what(row, lang),
        row.purpose.map_or(unknown, |p| purpose(p, lang.language())),
        ground(row, lang),
        came(row, lang)
    );
    let (index, request) = (row.settled.index, row.request.as_ref());
    let request = request.map_or_else(String::new, |id| escaped(id.as_str()));
    let _ = writeln!(out, "<td>{index} <code>{request}</code></td></tr>");
}

/// What was asked; of what crossed, which of it was not allowed to.
fn what(row: &Disclosure, lang: Lang) -> String {
    if row.items.is_empty() {
        return Word::Unknown.say(lang).to_owned();
    }
    let mut out = String::from("<ul>");
    for item in &row.items {
        let given = row.allowed().any(|allowed| allowed == item);
        let not = if row.outcome.is_disclosure() && !given {
            format!(" – {}", Word::NotGiven.say(lang))
        } else {
            String::new()
        };
        let (what, far) = (
            category(item.category, lang.language()),
            level(item.level, lang.language()),
        );
        let _ = write!(out, "<li>{what} ({far}){not}</li>");
    }
    out.push_str("</ul>");
    out
}

fn ground(row: &Disclosure, lang: Lang) -> String {
    let mut parts = Vec::new();
    if let Some(basis) = row.basis {
        let word = Word::LegalBasis.say(lang);
        parts.push(format!("{word}: {}", escaped(basis.code())));
    }
    if !row.consents.is_empty() {
        parts.push(Word::ByConsent.say(lang).to_owned());
    }
    if !row.agreements.is_empty() {
        parts.push(Word::ByAgreement.say(lang).to_owned());
    }
    if let Some(kind) = row.emergency {
        let word = Word::Emergency.say(lang);
        parts.push(format!("{word}: {}", emergency(kind, lang.language())));
    }
    if parts.is_empty() {
        Word::Unknown.say(lang).to_owned()
    } else {
        parts.join("<br>")
    }
}

fn came(row: &Disclosure, lang: Lang) -> String {
    let mut text = outcome(row.outcome, lang).to_owned();
    if row.outcome == Outcome::Denied {
        for rule in row.rules() {
            let _ = write!(text, " <code>{}</code>", escaped(rule));
        }
    }
    for (happened, word) in [
        (row.steps.recalled, Word::Recalled),
        (row.steps.erased, Word::Destroyed),
    ] {
        if happened.is_some() {
            let _ = write!(text, " {}", word.say(lang));
        }
    }
    text
}
