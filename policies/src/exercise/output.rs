//! What came of an exercise, for programs and for a terminal.

use super::{
    play::{Outturn, Played, Trace},
    script::Question,
    words::{asked, effect, event, happened, item, party, pick, time, view},
};
use crate::alike::{Generalised, told_instead};
use passerelle_model::vocabulary::{Category, Language};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt::Write as _};

/// Everything as JSON, in both languages where there are words.
pub fn json(played: &Played<'_>) -> Value {
    let exercise = played.exercise;
    let events = exercise.events.iter().enumerate().map(|(number, entry)| {
        let bundles = played.traces.iter().filter_map(|trace| {
            let step = trace.steps.get(number)?;
            let happened = step.happened.iter().filter_map(|(question, what)| {
                let question = exercise.questions.get(*question)?;
                Some(json!({ "question": question.id, "what": what }))
            });
            Some(json!({
                "bundle": trace.label,
                "refused": step.refused.map(|code| code.code()),
                "happened": happened.collect::<Vec<_>>(),
                "failures": step.failures,
            }))
        });
        json!({
            "at": entry.at,
            "en": event(exercise, entry, Language::English),
            "fr": event(exercise, entry, Language::French),
            "told": entry.say,
            "bundles": bundles.collect::<Vec<_>>(),
        })
    });
    let questions = exercise
        .questions
        .iter()
        .enumerate()
        .map(|(number, question)| {
            let bundles = played.traces.iter();
            let bundles = bundles.filter_map(|t| outturn(played, t, number, question));
            json!({
                "id": question.id,
                "requester": question.requester,
                "holder": question.holder(),
                "items": question.items(),
                "purpose": question.request.purpose,
                "basis": question.request.basis,
                "differs": played.differs(number),
                "bundles": bundles.collect::<Vec<_>>(),
            })
        });
    let bundles = played.traces.iter();
    json!({
        "title": exercise.title,
        "bundles": bundles.map(|t| json!({ "label": t.label, "digest": t.digest }))
            .collect::<Vec<_>>(),
        "events": events.collect::<Vec<_>>(),
        "questions": questions.collect::<Vec<_>>(),
        "differing": played.differing(),
        "as_expected": played.as_expected(),
        "failures": played.failures(),
    })
}

fn outturn(
    played: &Played<'_>,
    trace: &Trace,
    number: usize,
    question: &Question,
) -> Option<Value> {
    let outturn = trace.questions.get(number)?;
    let views = outturn.views.iter();
    let items = outturn.rulings.iter().enumerate().map(|(n, ruled)| {
        let remedies = outturn.missing.get(n).into_iter().flatten().map(|remedy| {
            json!({
                "remedy": remedy,
                "en": remedy.words(ruled.category, Language::English),
                "fr": remedy.words(ruled.category, Language::French),
            })
        });
        json!({
            "category": ruled.category,
            "level": ruled.level,
            "ruling": ruled.ruling,
            "en": explained(played, trace, ruled, Language::English),
            "fr": explained(played, trace, ruled, Language::French),
            "missing": remedies.collect::<Vec<_>>(),
        })
    });
    Some(json!({
        "bundle": trace.label,
        "question": question.id,
        "items": items.collect::<Vec<_>>(),
        "later": outturn.later,
        "status": outturn.status.map(|s| s.code()),
        "outcome": outturn.outcome,
        "released": outturn.released,
        "told_less_finely": less_finely(outturn),
        "holders_own_rules": outturn.local_rules,
        "sees": views.map(|(party, view)| (party.to_string(), json!(view)))
            .collect::<serde_json::Map<_, _>>(),
        "failures": outturn.failures,
    }))
}

/// A ruling in the words of the bundle that made it.
pub(super) fn explained(
    played: &Played<'_>,
    trace: &Trace,
    ruled: &passerelle_model::pdp::ItemRuling,
    language: Language,
) -> Vec<String> {
    let bundle = played.bundles.iter().find(|b| b.label == trace.label);
    bundle
        .map(|b| b.pdp.library().explain(&ruled.ruling, language))
        .unwrap_or_default()
}

/// What a terminal shows: the timeline, then each question with what every bundle decides.
pub fn text(played: &Played<'_>, language: Language) -> String {
    let exercise = played.exercise;
    let mut out = format!("{}\n", exercise.title.say(language == Language::French));
    // Writing to a string does not fail, here and below.
    for trace in &played.traces {
        let _ = writeln!(out, "  {}  {}", trace.label, trace.digest);
    }
    out.push('\n');
    for (number, entry) in exercise.events.iter().enumerate() {
        let words = event(exercise, entry, language);
        let told = entry
            .say
            .as_ref()
            .map(|t| t.say(language == Language::French));
        let line = [told.unwrap_or_default(), words.as_str()].join(" ");
        let _ = writeln!(out, "{:<14} {}", time(entry, language), line.trim());
        for trace in &played.traces {
            let Some(step) = trace.steps.get(number) else {
                continue;
            };
            let mut notes: Vec<_> = step
                .happened
                .iter()
                .filter_map(|(question, what)| {
                    let id = &exercise.questions.get(*question)?.id;
                    Some(format!("{id}: {}", happened(*what, language)))
                })
                .collect();
            notes.extend(
                step.refused
                    .map(|code| format!("{} ({code})", pick(language, "refused", "refusé"))),
            );
            if !notes.is_empty() {
                let _ = writeln!(out, "{:14}   {}: {}", "", trace.label, notes.join("; "));
            }
        }
    }
    for (number, question) in exercise.questions.iter().enumerate() {
        let differs = played.differs(number);
        let mark = pick(
            language,
            "  (the bundles differ)",
            "  (les ensembles divergent)",
        );
        let _ = writeln!(out, "\n{}{}", question.id, if differs { mark } else { "" });
        let _ = writeln!(out, "  {}", asked(exercise, question, language));
        for trace in &played.traces {
            question_text(&mut out, played, trace, (number, question), language);
        }
    }
    summary(&mut out, played, language);
    out
}

fn question_text(
    out: &mut String,
    played: &Played<'_>,
    trace: &Trace,
    (number, question): (usize, &Question),
    language: Language,
) {
    let Some(outturn) = trace.questions.get(number) else {
        return;
    };
    let _ = writeln!(out, "  {}", trace.label);
    for (n, ruled) in outturn.rulings.iter().enumerate() {
        let asked = passerelle_model::statement::Item {
            category: ruled.category,
            level: ruled.level,
        };
        let decided = effect(ruled.ruling.effect, language);
        let _ = writeln!(out, "    {decided}: {}", item(asked, language));
        for sentence in explained(played, trace, ruled, language).iter().skip(1) {
            let _ = writeln!(out, "      {sentence}");
        }
        for remedy in outturn.missing.get(n).into_iter().flatten() {
            let _ = writeln!(out, "      + {}", remedy.words(ruled.category, language));
        }
    }
    if let Some(told) = told_less_finely(outturn, language) {
        let _ = writeln!(out, "    {told}");
    }
    for (who, sees) in &outturn.views {
        let who = party(played.exercise, question, who, language);
        let _ = writeln!(out, "    {who}: {}", view(*sees, language));
    }
}

/// What was told less finely than asked, so that it doesn't say who it is.
fn less_finely(outturn: &Outturn) -> BTreeMap<Category, Generalised> {
    let told = outturn.told.iter();
    told.filter_map(|(category, how)| Some((*category, (*how)?)))
        .collect()
}

/// The same in words; none if nothing was.
pub(super) fn told_less_finely(outturn: &Outturn, language: Language) -> Option<String> {
    let told = less_finely(outturn);
    let head = pick(
        language,
        "Too few people share it. Told instead:",
        "Trop peu de personnes ont cela en commun. Dit à la place :",
    );
    (!told.is_empty()).then(|| format!("{head} {}", told_instead(&told, language)))
}

fn summary(out: &mut String, played: &Played<'_>, language: Language) {
    out.push('\n');
    let differing = played.differing();
    if !differing.is_empty() {
        let words = pick(
            language,
            "The bundles differ on",
            "Les ensembles divergent sur",
        );
        let _ = writeln!(out, "{words}: {}", differing.join(", "));
    }
    let failures = played.failures();
    if failures.is_empty() {
        let words = pick(
            language,
            "Everything came out as expected.",
            "Tout s’est passé comme prévu.",
        );
        let _ = writeln!(out, "{words}");
    } else {
        let words = pick(language, "Not as expected:", "Pas comme prévu :");
        let _ = writeln!(out, "{words}");
        for failure in failures {
            let _ = writeln!(out, "  {failure}");
        }
    }
}
