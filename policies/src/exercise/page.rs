//! The report of an exercise as one printable page: HTML that needs nothing else, in English and
//! in French one after the other.
//!
//! No script, no link out, no image, no font: the page's own policy forbids them. Whatever comes
//! from the file is escaped.

use super::{
    output::{explained, told_less_finely},
    play::{Outturn, Played, Trace},
    script::Question,
    words::{asked, effect, event, happened, item, party, person, pick, prompts, time, view},
};
use passerelle_model::{
    html::escaped,
    pdp::ItemRuling,
    statement::Item,
    vocabulary::{Language, labels},
};
use std::fmt::Write as _;

const STYLE: &str = "\
:root{color-scheme:light}\
body{font:1rem/1.45 sans-serif;color:#111;background:#fff;margin:2rem auto;max-width:70rem;\
padding:0 1rem}\
h1{font-size:1.7rem}h2{font-size:1.35rem;margin-top:2rem}h3{font-size:1.1rem}\
h4{font-size:1rem;margin:.6rem 0 .2rem}\
a{color:#0b3d91}a:focus{outline:3px solid #0b3d91}\
table{border-collapse:collapse;width:100%;margin:.8rem 0}\
caption{text-align:left;font-weight:bold;padding:.3rem 0}\
th,td{border:1px solid #555;padding:.3rem .5rem;text-align:left;vertical-align:top}\
thead th{background:#eee}\
.cards{display:flex;flex-wrap:wrap;gap:1rem}\
.card{flex:1 1 20rem;border:1px solid #555;border-top:6px solid #555;padding:0 .8rem .5rem}\
.permit{border-top-color:#1d6b34}.review{border-top-color:#8a5a00}.deny{border-top-color:#8b1a1a}\
.unmet{border:2px solid #8b1a1a;padding:.3rem .8rem}\
ul,ol{padding-left:1.3rem}li{margin:.25rem 0}code{overflow-wrap:anywhere}\
@media print{body{margin:0;max-width:none;font-size:10pt}nav{display:none}\
.card,tr,li{break-inside:avoid}.language{break-before:page}thead th{background:none}}";

/// The page.
pub fn page(played: &Played<'_>) -> String {
    let title = &played.exercise.title;
    let (en, fr) = (escaped(&title.en), escaped(&title.fr));
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{en} / {fr}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <nav aria-label=\"Language / Langue\"><ul><li><a href=\"#en\" lang=\"en\">English</a></li>\
         <li><a href=\"#fr\" lang=\"fr\">Français</a></li></ul></nav>\n<main>\n"
    );
    for (tag, language) in [("en", Language::English), ("fr", Language::French)] {
        let report = Report {
            played,
            language,
            tag,
        };
        report.whole(&mut out);
    }
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

/// The report in one language.
struct Report<'a> {
    played: &'a Played<'a>,
    language: Language,
    tag: &'static str,
}

// Writing to a string does not fail, here and below.
impl Report<'_> {
    fn say<'b>(&self, english: &'b str, french: &'b str) -> &'b str {
        pick(self.language, english, french)
    }

    fn french(&self) -> bool {
        self.language == Language::French
    }

    fn whole(&self, out: &mut String) {
        let (tag, exercise) = (self.tag, self.played.exercise);
        let title = escaped(exercise.title.say(self.french()));
        let invented = self.say(
            "An exercise: every person and every fact in it is invented.",
            "Un exercice : toutes les personnes et tous les renseignements y sont fictifs.",
        );
        let _ = write!(
            out,
            "<div class=\"language\" id=\"{tag}\" lang=\"{tag}\">\n<h1>{title}</h1>\n\
             <p>{invented}</p>\n"
        );
        if let Some(about) = &exercise.about {
            let _ = writeln!(out, "<p>{}</p>", escaped(about.say(self.french())));
        }
        self.verdict(out);
        self.cast(out);
        self.timeline(out);
        let _ = writeln!(
            out,
            "<h2>{}</h2>",
            self.say("Questions", "Questions posées")
        );
        for (number, question) in exercise.questions.iter().enumerate() {
            self.question(out, number, question);
        }
        self.discussion(out);
        out.push_str("</div>\n");
    }

    /// Which bundles, and whether all came out as the file expects.
    fn verdict(&self, out: &mut String) {
        let head = self.say("Rules played against", "Règles mises à l’essai");
        let _ = write!(out, "<p>{head}:</p>\n<ul>");
        for trace in &self.played.traces {
            let label = escaped(&trace.label);
            let _ = write!(out, "<li>{label} <code>{}</code></li>", trace.digest);
        }
        out.push_str("</ul>\n");
        let failures = self.played.failures();
        if failures.is_empty() {
            let words = self.say(
                "Everything came out as the exercise expects.",
                "Tout s’est passé comme l’exercice le prévoit.",
            );
            let _ = writeln!(out, "<p>{words}</p>");
            return;
        }
        let words = self.say(
            "Not as the exercise expects:",
            "Pas comme l’exercice le prévoit :",
        );
        let _ = write!(out, "<div class=\"unmet\"><p>{words}</p>\n<ul>");
        for failure in failures {
            let _ = write!(out, "<li lang=\"en\">{}</li>", escaped(&failure));
        }
        out.push_str("</ul></div>\n");
    }

    fn cast(&self, out: &mut String) {
        let exercise = self.played.exercise;
        let _ = write!(
            out,
            "<h2>{}</h2>\n<table>\n<caption>{}</caption>\n<thead><tr><th scope=\"col\">{}</th>\
             <th scope=\"col\">{}</th></tr></thead>\n<tbody>\n",
            self.say("Who takes part", "Qui participe"),
            self.say("Agencies", "Organismes"),
            self.say("Agency", "Organisme"),
            self.say("Sector", "Secteur"),
        );
        for agency in &exercise.agencies {
            let name = escaped(agency.name.say(self.french()));
            let sector = labels::sector(agency.sector, self.language);
            let _ = writeln!(
                out,
                "<tr><th scope=\"row\">{name}</th><td>{sector}</td></tr>"
            );
        }
        out.push_str("</tbody>\n</table>\n");
        if exercise.people.is_empty() {
            return;
        }
        out.push_str("<ul>");
        for (key, entry) in &exercise.people {
            let about = entry.about.as_ref().map(|a| a.say(self.french()));
            let about = about
                .map(|a| format!(": {}", escaped(a)))
                .unwrap_or_default();
            let name = escaped(person(exercise, key));
            let _ = write!(out, "<li><strong>{name}</strong>{about}</li>");
        }
        out.push_str("</ul>\n");
    }

    fn timeline(&self, out: &mut String) {
        let exercise = self.played.exercise;
        let _ = write!(
            out,
            "<h2>{}</h2>\n<ol>\n",
            self.say("What happens", "Ce qui se passe")
        );
        for (number, entry) in exercise.events.iter().enumerate() {
            let told = entry
                .say
                .as_ref()
                .map(|t| t.say(self.french()))
                .unwrap_or_default();
            let words = event(exercise, entry, self.language);
            let line = [told, words.as_str()].join(" ");
            let _ = write!(
                out,
                "<li><strong>{}</strong> {}",
                escaped(&time(entry, self.language)),
                escaped(line.trim())
            );
            self.step(out, number);
            out.push_str("</li>\n");
        }
        out.push_str("</ol>\n");
    }

    /// What an event led to, under each bundle.
    fn step(&self, out: &mut String, number: usize) {
        let mut lines = Vec::new();
        for trace in &self.played.traces {
            let Some(step) = trace.steps.get(number) else {
                continue;
            };
            let mut notes: Vec<_> = step
                .happened
                .iter()
                .filter_map(|(question, what)| {
                    let id = &self.played.exercise.questions.get(*question)?.id;
                    Some(format!("{id}: {}", happened(*what, self.language)))
                })
                .collect();
            let refused = self.say("refused", "refusé");
            notes.extend(step.refused.map(|code| format!("{refused} ({code})")));
            if !notes.is_empty() {
                lines.push(format!("{}: {}", trace.label, notes.join("; ")));
            }
        }
        if !lines.is_empty() {
            out.push_str("<ul>");
            for line in lines {
                let _ = write!(out, "<li>{}</li>", escaped(&line));
            }
            out.push_str("</ul>");
        }
    }

    fn question(&self, out: &mut String, number: usize, question: &Question) {
        let exercise = self.played.exercise;
        let differs = self.played.differs(number);
        let id = escaped(&question.id);
        let _ = write!(
            out,
            "<section aria-labelledby=\"{tag}-{id}\">\n<h3 id=\"{tag}-{id}\">{id}</h3>\n\
             <p>{}</p>\n",
            escaped(&asked(exercise, question, self.language)),
            tag = self.tag,
        );
        if let Some(why) = &question.why {
            let head = self.say("Why, in the worker’s words", "Pourquoi, selon la personne");
            let _ = writeln!(out, "<p>{head}: {}</p>", escaped(why.say(self.french())));
        }
        if differs {
            let words = self.say(
                "The bundles differ here.",
                "Les ensembles de règles divergent ici.",
            );
            let _ = writeln!(out, "<p><strong>{words}</strong></p>");
        }
        out.push_str("<div class=\"cards\">\n");
        for trace in &self.played.traces {
            if let Some(outturn) = trace.questions.get(number) {
                self.card(out, trace, outturn, question);
            }
        }
        out.push_str("</div>\n");
        let first = self
            .played
            .traces
            .first()
            .and_then(|t| t.questions.get(number));
        let prompts = first
            .map(|o| prompts(o, differs, self.language))
            .unwrap_or_default();
        if !prompts.is_empty() {
            let _ = write!(
                out,
                "<h4>{}</h4>\n<ul>",
                self.say("To discuss", "À discuter")
            );
            for prompt in prompts {
                let _ = write!(out, "<li>{}</li>", escaped(prompt));
            }
            out.push_str("</ul>\n");
        }
        out.push_str("</section>\n");
    }

    /// What one bundle decides of a question, and what everybody sees.
    fn card(&self, out: &mut String, trace: &Trace, outturn: &Outturn, question: &Question) {
        let worst = outturn.rulings.iter().map(|r| r.ruling.effect).max();
        let class = match worst {
            Some(passerelle_model::pdp::Effect::Permit) => "permit",
            Some(passerelle_model::pdp::Effect::Review) => "review",
            _ => "deny",
        };
        let _ = writeln!(out, "<article class=\"card {class}\">");
        let _ = writeln!(out, "<h4>{}</h4>", escaped(&trace.label));
        if outturn.rulings.is_empty() {
            let words = self.say("Was never decided.", "N’a jamais été décidée.");
            let _ = writeln!(out, "<p>{words}</p>");
        }
        for (number, ruled) in outturn.rulings.iter().enumerate() {
            self.ruled(out, trace, outturn, (number, ruled));
        }
        if outturn.later.is_some() {
            let words = self.say(
                "Decided again later, and otherwise.",
                "Décidée de nouveau plus tard, et autrement.",
            );
            let _ = writeln!(out, "<p>{words}</p>");
        }
        if let Some(told) = told_less_finely(outturn, self.language) {
            let _ = writeln!(out, "<p>{}</p>", escaped(&told));
        }
        let _ = write!(
            out,
            "<table>\n<caption>{}</caption>\n<thead><tr><th scope=\"col\">{}</th>\
             <th scope=\"col\">{}</th></tr></thead>\n<tbody>\n",
            self.say("Who sees what in the end", "Qui voit quoi à la fin"),
            self.say("Who", "Qui"),
            self.say("Sees", "Voit"),
        );
        for (who, sees) in &outturn.views {
            let who = escaped(&party(self.played.exercise, question, who, self.language));
            let sees = escaped(view(*sees, self.language));
            let _ = writeln!(out, "<tr><th scope=\"row\">{who}</th><td>{sees}</td></tr>");
        }
        out.push_str("</tbody>\n</table>\n</article>\n");
    }

    /// One item: the decision, its reasons with rule and source, its duties, what is missing.
    fn ruled(
        &self,
        out: &mut String,
        trace: &Trace,
        outturn: &Outturn,
        (number, ruled): (usize, &ItemRuling),
    ) {
        let asked = Item {
            category: ruled.category,
            level: ruled.level,
        };
        let decision = effect(ruled.ruling.effect, self.language);
        let what = escaped(&item(asked, self.language));
        let _ = write!(out, "<p><strong>{decision}</strong>: {what}</p>\n<ul>");
        for sentence in explained(self.played, trace, ruled, self.language)
            .iter()
            .skip(1)
        {
            let _ = write!(out, "<li>{}</li>", escaped(sentence));
        }
        out.push_str("</ul>\n");
        let missing = outturn
            .missing
            .get(number)
            .map(Vec::as_slice)
            .unwrap_or_default();
        if !missing.is_empty() {
            let head = self.say("What would have to be there", "Ce qu’il faudrait");
            let _ = write!(out, "<p>{head}:</p>\n<ul>");
            for remedy in missing {
                let words = remedy.words(ruled.category, self.language);
                let _ = write!(out, "<li>{}</li>", escaped(&words));
            }
            out.push_str("</ul>\n");
        }
    }

    fn discussion(&self, out: &mut String) {
        let prompts = &self.played.exercise.discuss;
        if prompts.is_empty() {
            return;
        }
        let head = self.say("For the whole table", "Pour toute la table");
        let _ = write!(out, "<h2>{head}</h2>\n<ol>\n");
        for prompt in prompts {
            let _ = writeln!(out, "<li>{}</li>", escaped(prompt.say(self.french())));
        }
        out.push_str("</ol>\n");
    }
}
