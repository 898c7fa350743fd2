//! Views as text for people.

use super::{
    Lang,
    output::{fields, table},
};
use passerelle_model::{
    pdp::{Effect, Obligation},
    request::Status,
    statement::WithdrawalScope,
    time::Timestamp,
};
use passerelle_proto::views::{
    AgentStatus, AgreementView, AnswerView, AuditLine, AuditPage, CaseView, ConsentView,
    ImportReport, ItemView, RequestLine, RequestView,
};
use std::fmt::Write as _;

/// State of an agent.
pub(super) fn agent_status(status: &AgentStatus) -> String {
    let connection = match (status.connected, &status.last_error) {
        (true, _) => "up".to_owned(),
        (false, Some(code)) => format!("down ({code})"),
        (false, None) => "down".to_owned(),
    };
    let people = if status.without_handle == 0 {
        status.people.to_string()
    } else {
        format!(
            "{} ({} wait for the broker to be findable)",
            status.people, status.without_handle
        )
    };
    let heard_at = status.heard_at.map(|at| at.to_rfc3339());
    fields(&[
        ("agency", format!("{} ({})", status.agency, status.sector)),
        ("federation", status.federation.clone()),
        ("version", status.version.clone()),
        ("stream to broker", connection),
        ("people", people),
        ("facts", status.facts.to_string()),
        ("tree witnessed", format!("{} entries", status.witness_size)),
        (
            "newest notice",
            heard_at.unwrap_or_else(|| "none yet".to_owned()),
        ),
        ("late notices", late_notices(status)),
        ("statements to send", status.outbox.to_string()),
        ("inbox", format!("{} to review", status.reviews)),
        ("members", status.members.join(", ")),
        ("witnesses", witnesses(status)),
        (
            "certificate",
            status
                .certificate_days_left
                .map_or_else(String::new, |days| format!("{days} days left")),
        ),
    ])
}

/// Shown only if there is something to say.
fn late_notices(status: &AgentStatus) -> String {
    match status.late_notices {
        0 => String::new(),
        n => format!("{n} that the broker had kept back: tell oversight"),
    }
}

fn witnesses(status: &AgentStatus) -> String {
    let least = match status.min_witnesses {
        0 => String::new(),
        least if status.witnesses < least => {
            format!("; below the {least} asked for, so no permit is used")
        }
        least => format!("; at least {least} asked for"),
    };
    let (witnesses, quorum) = (status.witnesses, status.quorum);
    format!("{witnesses}, of which {quorum} must cosign{least}")
}

/// What an import did.
pub(super) fn import(report: &ImportReport) -> String {
    let mut out = fields(&[
        (
            "people",
            format!(
                "{} ({} new, {} changed, {} as before)",
                report.people, report.added, report.updated, report.unchanged
            ),
        ),
        ("facts", report.facts.to_string()),
        (
            "without handle",
            match report.without_handle {
                0 => String::new(),
                n => format!("{n} people wait for the broker to be findable"),
            },
        ),
        ("rows left out", report.problems.len().to_string()),
        (
            "dry run",
            if report.dry_run {
                "nothing was written".to_owned()
            } else {
                String::new()
            },
        ),
    ]);
    for problem in &report.problems {
        let column = problem
            .column
            .as_ref()
            .map_or_else(String::new, |column| format!(", column `{column}`"));
        // Writing to a string can't fail.
        let _infallible = writeln!(out, "  line {}{column}: {}", problem.line, problem.message);
    }
    out
}

/// Agreements.
pub(super) fn agreements(views: &[AgreementView]) -> String {
    let mut out = String::new();
    for view in views {
        let parties: Vec<_> = view
            .terms
            .parties
            .iter()
            .map(|p| format!("{} ({})", p.agency, p.basis))
            .collect();
        let purposes: Vec<_> = view.terms.purposes.iter().map(|p| p.code()).collect();
        let days = view
            .days_left
            .map_or_else(String::new, |days| format!(", {days} days left"));
        out.push_str(&fields(&[
            ("agreement", view.terms.agreement.to_string()),
            ("status", format!("{}{days}", view.status.replace('_', " "))),
            ("parties", parties.join(", ")),
            ("signed by", view.signed.join(", ")),
            ("purposes", purposes.join(", ")),
            (
                "from, until",
                format!(
                    "{}, {}",
                    view.terms.starts_at.to_rfc3339(),
                    view.terms.ends_at.to_rfc3339()
                ),
            ),
        ]));
        let rows: Vec<[String; 5]> = view
            .terms
            .lines
            .iter()
            .map(|line| {
                [
                    format!("  {}", line.from),
                    line.to.to_string(),
                    line.category.to_string(),
                    line.level.to_string(),
                    format!("{} days", line.retention_days),
                ]
            })
            .collect();
        out.push_str(&table(
            ["  from", "to", "category", "up to", "kept"],
            &rows,
            "  nothing may go anywhere\n",
        ));
        out.push('\n');
    }
    none_if_empty(out, "no agreements")
}

/// Consents.
pub(super) fn consents(views: &[ConsentView]) -> String {
    let list = |values: Vec<String>| values.join(", ");
    let mut out = String::new();
    for view in views {
        let terms = &view.terms;
        let withdrawn = view.withdrawn.iter().map(|scope| match scope {
            WithdrawalScope::All => "all of it".to_owned(),
            WithdrawalScope::Recipient(agency) => format!("for {agency}"),
            WithdrawalScope::Category(category) => format!("as to {category}"),
        });
        out.push_str(&fields(&[
            ("consent", terms.consent.to_string()),
            ("person", view.person.clone().unwrap_or_default()),
            ("status", view.status.replace('_', " ")),
            ("withdrawn", list(withdrawn.collect())),
            ("recorded by", view.recorded_by.clone()),
            ("given by", format!("{} ({})", terms.giver, terms.capacity)),
            ("categories", list(strings(&terms.categories))),
            ("purposes", list(strings(&terms.purposes))),
            ("recipients", list(strings(&terms.recipients))),
            ("disclosers", list(strings(&terms.disclosers))),
            (
                "given, until",
                format!(
                    "{}, {}",
                    terms.given_at.to_rfc3339(),
                    terms.expires_at.to_rfc3339()
                ),
            ),
        ]));
        out.push('\n');
    }
    none_if_empty(out, "no consents")
}

/// Cases.
pub(super) fn cases(views: &[CaseView]) -> String {
    let mut out = String::new();
    for view in views {
        let agencies: Vec<_> = view
            .agencies
            .iter()
            .map(|(agency, role)| format!("{agency} ({role})"))
            .collect();
        out.push_str(&fields(&[
            ("case", view.case.clone()),
            ("person", view.person.clone().unwrap_or_default()),
            ("profile", view.profile.clone()),
            ("stage", view.stage.replace("stage_", "")),
            ("threshold", view.threshold.clone()),
            ("lead", view.lead.clone()),
            ("agencies", agencies.join(", ")),
            ("plan", view.plan.join(", ")),
            ("closed", view.outcome.clone().unwrap_or_default()),
        ]));
        out.push('\n');
    }
    none_if_empty(out, "no cases")
}

/// Requests made here.
pub(super) fn requests(lines: &[RequestLine]) -> String {
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
pub(super) fn inbox(lines: &[RequestLine]) -> String {
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
pub(super) fn request(view: &RequestView, lang: Lang) -> String {
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
    if let Some(index) = view.decision_index {
        let _infallible = writeln!(out, "\nDecision (log entry {index}):");
    } else if line.status == Status::Submitted {
        out.push_str("\nIt is sent and decided when the broker can be reached.\n");
    }
    for item in &view.decision {
        out.push_str(&decided_item(item, lang));
    }
    if let Some(answer) = &view.answer {
        out.push_str(&answer_text(answer));
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
            let _infallible = writeln!(out, "          must {}", obligation_words(obligation));
        }
    }
    out
}

fn answer_text(answer: &AnswerView) -> String {
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
        let _infallible = writeln!(out, "  must: {}", obligation_words(obligation));
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
        serde_json::Value::String(text) => text.clone(),
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

/// A page of the log.
pub(super) fn audit_page(page: &AuditPage) -> String {
    let mut out = format!(
        "{} entries under the newest checkpoint, {} valid cosignatures\n",
        page.size, page.cosignatures
    );
    for line in &page.entries {
        out.push_str(&audit_line(line));
        out.push('\n');
    }
    out
}

/// One entry in one line.
pub(super) fn audit_line(line: &AuditLine) -> String {
    format!("{:>6}  {:<20}  {}", line.index, line.what, line.summary)
}

/// One entry whole.
pub(super) fn audit_entry(line: &AuditLine) -> String {
    let entry = line.entry.as_ref().map_or_else(
        || "the entry names other agencies: this one may see its hash only\n".to_owned(),
        |entry| format!("{entry:#}\n"),
    );
    let head = fields(&[
        ("entry", line.index.to_string()),
        ("type", line.what.clone()),
        ("summary", line.summary.clone()),
        ("leaf hash", line.leaf_hash.clone()),
    ]);
    format!("{head}\n{entry}")
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
pub(crate) fn obligation_words(obligation: &Obligation) -> String {
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
    }
}

fn strings<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(T::to_string).collect()
}

fn none_if_empty(text: String, none: &str) -> String {
    if text.is_empty() {
        none.to_owned()
    } else {
        text
    }
}
