//! Requests and answers as text.

use crate::cli::{
    Lang,
    output::{fields, table},
};
use passerelle_model::{
    pdp::{Effect, Obligation},
    request::Status,
    time::Timestamp,
    vocabulary::Language,
};
use passerelle_proto::views::{AnswerView, ItemView, NearRecord, RequestLine, RequestView};
use std::fmt::Write as _;

/// Requests made here.
pub(in crate::cli) fn requests(lines: &[RequestLine]) -> String {
    let rows: Vec<[String; 6]> = lines
        .iter()
        .map(|line| {
            [
                line.request.clone(),
                line.at.to_rfc3339(),
                line.holder.clone(),
                line.purpose.clone(),
                line.items.join(" "),
                status_words(line.status).to_owned(),
            ]
        })
        .collect();
    let headers = ["request", "at", "holder", "purpose", "items", "status"];
    table(headers, &rows, "no requests")
}

/// Requests made to this agency.
pub(in crate::cli) fn inbox(lines: &[RequestLine]) -> String {
    let rows: Vec<[String; 6]> = lines
        .iter()
        .map(|line| {
            [
                line.request.clone(),
                line.requester.clone(),
                line.purpose.clone(),
                line.items.join(" "),
                match line.status {
                    Status::HolderReview => "waits for you",
                    status => status_words(status),
                }
                .to_owned(),
                line.review_by
                    .filter(|_| line.status == Status::HolderReview)
                    .map_or_else(String::new, Timestamp::to_rfc3339),
            ]
        })
        .collect();
    let headers = ["request", "from", "purpose", "items", "status", "answer by"];
    table(headers, &rows, "no requests")
}

/// Everything that is known of a request.
pub(in crate::cli) fn request(view: &RequestView, lang: Lang) -> String {
    let line = &view.line;
    let asked_by = view.asked_by.as_ref();
    let mut out = fields(&[
        ("request", line.request.clone()),
        ("from, to", format!("{}, {}", line.requester, line.holder)),
        ("at", line.at.to_rfc3339()),
        ("items", line.items.join(" ")),
        ("purpose", line.purpose.clone()),
        ("basis", view.basis.clone()),
        ("case", view.case.clone().unwrap_or_default()),
        ("emergency", view.emergency.clone().unwrap_or_default()),
        ("status", status_words(line.status).to_owned()),
        ("because", view.stopped.clone().unwrap_or_default()),
        (
            "answer by",
            line.review_by
                .map_or_else(String::new, Timestamp::to_rfc3339),
        ),
        (
            "asked by",
            asked_by.map_or_else(String::new, |a| format!("{} ({})", a.worker, a.role)),
        ),
        (
            "why",
            asked_by.map_or_else(String::new, |a| a.justification.clone()),
        ),
        (
            "record found",
            view.record_found.map_or_else(String::new, |found| {
                if found { "yes" } else { "no" }.to_owned()
            }),
        ),
    ]);
    if let Some(records) = &view.near {
        out.push_str(&near(records, view.near_asked.as_deref(), lang));
    }
    out.push_str(&super::few_alike(view.few_alike.as_ref(), lang));
    if let Some(index) = view.decision_index {
        let _infallible = writeln!(out, "\nDecision (log entry {index}):");
    } else if line.status == Status::Submitted {
        out.push_str("\nIt is sent and decided when the broker can be reached.\n");
    }
    for item in &view.decision {
        out.push_str(&decided_item(item, lang));
    }
    if let Some(answer) = &view.answer {
        out.push_str(&answer_text(answer, lang));
    }
    if !view.trail.is_empty() {
        out.push_str("\nTrail:\n");
        for step in &view.trail {
            let _infallible = writeln!(
                out,
                "  {}  entry {:<5} {}",
                step.at.to_rfc3339(),
                step.index,
                step.what.replace('_', " ")
            );
        }
    }
    out
}

/// The own records that may be the person under another spelling, for whoever compares them.
fn near(records: &[NearRecord], asked: Option<&str>, lang: Lang) -> String {
    let mut out = match (records.is_empty(), lang) {
        (true, Lang::En) => "\nOther spellings are asked for too: no record here is near.\n",
        (true, Lang::Fr) => {
            "\nD’autres graphies sont aussi demandées : aucun dossier n’est proche.\n"
        }
        (false, Lang::En) => "\nOther spellings are asked for too. Compare before you approve:\n",
        (false, Lang::Fr) => {
            "\nD’autres graphies sont aussi demandées. Comparez avant d’approuver :\n"
        }
    }
    .to_owned();
    if let Some(asked) = asked {
        let label = match lang {
            Lang::En => "asked for:",
            Lang::Fr => "demandé :",
        };
        let _infallible = writeln!(
            out,
            "  {label} {}",
            asked.replace(char::is_control, "\u{fffd}")
        );
    }
    for record in records {
        let alike = match lang {
            Lang::En => &record.explained_en,
            Lang::Fr => &record.explained_fr,
        };
        let _infallible = writeln!(
            out,
            "  --record {}  {}, {}: {}",
            record.record,
            record.name,
            record.born,
            alike.join("; ")
        );
    }
    out
}

/// One item with its ruling in words, rule and source.
pub(crate) fn decided_item(item: &ItemView, lang: Lang) -> String {
    let ruling = &item.item.ruling;
    let mut out = format!(
        "  {}  {}:{}\n",
        effect_words(ruling.effect),
        item.item.category,
        item.item.level
    );
    let words = match lang {
        Lang::En => &item.explained_en,
        Lang::Fr => &item.explained_fr,
    };
    // The first sentence says the effect once more.
    for sentence in words.iter().skip(1) {
        let _infallible = writeln!(out, "          {sentence}");
    }
    // A library without texts, or another version's: at least what stands in the log.
    if words.is_empty() {
        for reason in &ruling.reasons {
            let _infallible = writeln!(out, "          rule {} {}", reason.rule, reason.source);
        }
        for obligation in &ruling.obligations {
            let _infallible =
                writeln!(out, "          must {}", obligation_words(obligation, lang));
        }
    }
    out
}

fn answer_text(answer: &AnswerView, lang: Lang) -> String {
    let mut out = format!("\nAnswer: {}\n", answer.outcome.replace('_', " "));
    for item in &answer.items {
        let values: Vec<_> = item.values.iter().map(plain).collect();
        let _infallible = writeln!(
            out,
            "  {}:{}  {}",
            item.category,
            item.level,
            values.join("; ")
        );
    }
    for obligation in &answer.obligations {
        let _infallible = writeln!(out, "  must: {}", obligation_words(obligation, lang));
    }
    if let Some(erase_by) = answer.erase_by {
        let _infallible = writeln!(out, "  must be gone by {}", erase_by.to_rfc3339());
    }
    if answer.recalled {
        out.push_str("  the consent it rested on is withdrawn since: erase it and attest\n");
    }
    out
}

/// A fact without what stands beside it already: its category and level. A fact that says no more
/// than that says yes.
pub(crate) fn plain(value: &serde_json::Value) -> String {
    match value {
        // Another agency's text: on a terminal a control character could rewrite what stands there.
        serde_json::Value::String(text) => text.replace(char::is_control, "\u{fffd}"),
        serde_json::Value::Object(map) => {
            let parts: Vec<_> = map
                .iter()
                .filter(|(name, _)| !["category", "level"].contains(&name.as_str()))
                .map(|(name, value)| format!("{name} {}", plain(value)))
                .collect();
            if parts.is_empty() {
                "yes".to_owned()
            } else {
                parts.join(", ")
            }
        }
        other => other.to_string(),
    }
}

/// A status for people.
pub(crate) const fn status_words(status: Status) -> &'static str {
    match status {
        Status::Submitted => "submitted, not decided yet",
        Status::Decided => "decided, waits until the holder can be reached",
        Status::Denied => "denied",
        Status::Queued => "waits for the holder, which is unavailable now",
        Status::Offered => "at the holder",
        Status::HolderReview => "a person at the holder decides",
        Status::Released => "released",
        Status::Declined => "declined",
        Status::CannotSay => "cannot say",
        Status::Answered => "answered, on its way",
        Status::Expired => "not answered in time",
        Status::Stopped => "stopped",
        Status::Delivered => "answered",
        Status::Viewed => "answered and viewed",
        Status::Erased => "erased",
    }
}

/// An effect for people, of one width.
pub(crate) const fn effect_words(effect: Effect) -> &'static str {
    match effect {
        Effect::Permit => "PERMIT",
        Effect::Review => "REVIEW",
        Effect::Deny => "DENY  ",
    }
}

/// An obligation for people.
pub(crate) fn obligation_words(obligation: &Obligation, lang: Lang) -> String {
    match obligation {
        Obligation::RetainDays(days) => format!("keep at most {days} days"),
        Obligation::NoRedisclosure => "not pass it on".to_owned(),
        Obligation::Notice(key) => format!("attach the notice `{key}`"),
        Obligation::ReviewWithinHours(hours) => {
            format!("have it reviewed independently within {hours} hours")
        }
        Obligation::SecondApprover => "have a second person at the holder agree".to_owned(),
        Obligation::NotifySubject => "tell the person concerned".to_owned(),
        Obligation::Alert => "alert the privacy officers of both agencies".to_owned(),
        Obligation::Task(key) => {
            let language = match lang {
                Lang::En => Language::English,
                Lang::Fr => Language::French,
            };
            let says = passerelle_policies::texts::text(key, language);
            says.map_or_else(|| format!("see to the task `{key}`"), str::to_owned)
        }
        Obligation::Mask => {
            "mask in notices and access replies what may put somebody in danger".to_owned()
        }
    }
}
