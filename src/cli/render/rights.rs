//! What a person asks about herself, as text for people.

use super::{none_if_empty, plain};
use crate::cli::{
    Lang,
    output::{fields, table},
};
use passerelle_proto::views::{RightsReply, RightsTask, RightsView};
use std::fmt::Write as _;

/// How far the owners are.
pub(in crate::cli) fn rights(views: &[RightsView]) -> String {
    let mut out = String::new();
    for view in views {
        let late = if view.overdue { ", overdue" } else { "" };
        out.push_str(&fields(&[
            ("rights", view.rights.clone()),
            ("person", view.person.clone().unwrap_or_default()),
            ("wants", view.kind.clone()),
            ("opened", view.at.to_rfc3339()),
            ("due", format!("{}{late}", view.due.to_rfc3339())),
            ("rounds", view.rounds.to_string()),
            ("evidence", view.evidence.clone()),
            (
                "answered",
                format!("{} of {}", view.answered, view.owners.len()),
            ),
        ]));
        let rows: Vec<_> = view
            .owners
            .iter()
            .map(|owner| {
                [
                    owner.agency.clone(),
                    owner.status.replace('_', " "),
                    owner.request.clone(),
                ]
            })
            .collect();
        out.push_str(&table(["owner", "", "request"], &rows, ""));
        out.push('\n');
    }
    none_if_empty(out, "nobody has asked")
}

/// What people ask about themselves of this agency.
pub(in crate::cli) fn rights_tasks(tasks: &[RightsTask], lang: Lang) -> String {
    let mut out = String::new();
    for task in tasks {
        let time = |at: Option<passerelle_model::time::Timestamp>| {
            at.map(|at| at.to_rfc3339()).unwrap_or_default()
        };
        let reason = task.restricted_for.as_ref().map(|told| match lang {
            Lang::En => told.en.clone(),
            Lang::Fr => told.fr.clone(),
        });
        out.push_str(&fields(&[
            ("request", task.request.clone()),
            ("door", task.requester.clone()),
            ("status", task.status.replace('_', " ")),
            ("due", time(task.due)),
            ("kept back until", time(task.restricted_until)),
            ("because", reason.unwrap_or_default()),
            ("says", task.says.clone().unwrap_or_default()),
        ]));
        out.push('\n');
    }
    none_if_empty(out, "nobody has asked")
}

/// What an owner said, in words.
pub(in crate::cli) fn said_words(code: &str, lang: Lang) -> &'static str {
    match (code, lang) {
        ("told_before", Lang::En) => {
            "It told something on the day named; that is no longer kept here."
        }
        ("told_before", Lang::Fr) => {
            "Il a indiqué quelque chose le jour dit; ce n’est plus conservé ici."
        }
        ("told", Lang::En) => "This is what it tells:",
        ("told", Lang::Fr) => "Voici ce qu’il indique :",
        ("nothing_to_report", Lang::En) => "It has nothing to report through this agency.",
        ("nothing_to_report", Lang::Fr) => "Il n’a rien à signaler par cet organisme.",
        ("refused", Lang::En) => "It does not answer through this agency.",
        ("refused", Lang::Fr) => "Il ne répond pas par cet organisme.",
        (_, Lang::En) => "It has not answered yet.",
        (_, Lang::Fr) => "Il n’a pas encore répondu.",
    }
}

/// The reply for the person.
pub(in crate::cli) fn rights_reply(reply: &RightsReply, lang: Lang) -> String {
    let mut out = String::new();
    for answer in &reply.answers {
        // Writing to a string does not fail.
        let _ = writeln!(out, "{}: {}", answer.agency, said_words(&answer.said, lang));
        for item in &answer.items {
            let values: Vec<_> = item.values.iter().map(plain).collect();
            let _ = writeln!(out, "  {}: {}", item.category, values.join("; "));
        }
        if let Some(refusal) = &answer.refusal {
            let words = match lang {
                Lang::En => &refusal.en,
                Lang::Fr => &refusal.fr,
            };
            let _ = writeln!(out, "  {words}");
        }
        if !answer.ask_the_owner.is_empty() {
            let items = answer.ask_the_owner.iter().map(|i| i.category.as_str());
            let items = items.collect::<Vec<_>>().join(", ");
            let _ = match lang {
                Lang::En => writeln!(out, "  told by the owner alone, to anybody: {items}"),
                Lang::Fr => writeln!(out, "  dit par le détenteur seul, à quiconque : {items}"),
            };
        }
        if let Some(contact) = &answer.contact {
            let _ = writeln!(out, "  contact: {contact}");
        }
    }
    out
}
