//! Views as text for people.

mod audit_cases;
mod consents;
mod requests;
mod rights;

pub(super) use audit_cases::{audit_case, audit_cases};
pub(super) use consents::{consent_import, consents, consents_ending, service_consents};
pub(crate) use requests::{decided_item, plain, status_words};
pub(super) use requests::{inbox, request, requests};
pub(super) use rights::{rights, rights_reply, rights_tasks, said_words};

use super::{
    Lang,
    agent::bundle::in_force_text,
    output::{fields, table},
};
use passerelle_model::error::ErrorCode;
use passerelle_proto::views::{
    AgentStatus, AgreementView, AgreementWarning, AuditLine, AuditPage, CaseView, Copies, FewAlike,
    ImportReport,
};
use std::fmt::Write as _;

/// How many entries, and the root over them.
fn witnessed(status: &AgentStatus) -> String {
    format!(
        "{} entries, root {}",
        status.witness_size, status.witness_root
    )
}

/// The origin of the log, and what is in the way of it.
fn origin(status: &AgentStatus) -> String {
    let refused = ErrorCode::OriginNotAccepted.code();
    if status.last_error.as_deref() == Some(refused) && !status.connected {
        return format!(
            "{}: THE LOG GOES ON UNDER A NEW ORIGIN, nothing is asked or answered; stop the agent, \
             and run `passerelle agent accept-origin` with the file from the broker's operator",
            status.origin
        );
    }
    match status.resuming {
        true => format!(
            "{}, accepted; what was lost is being said again",
            status.origin
        ),
        false => status.origin.clone(),
    }
}

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
        ("tree witnessed", witnessed(status)),
        ("origin", origin(status)),
        (
            "newest notice",
            heard_at.unwrap_or_else(|| "none yet".to_owned()),
        ),
        ("policy bundle", rules(status)),
        ("late notices", late_notices(status)),
        ("seals", seals(status)),
        ("mirror", mirror(status)),
        ("alerts", open_alerts(status)),
        ("agreements", agreement_warnings(status)),
        ("forks", fork_proofs(status)),
        ("statements to send", status.outbox.to_string()),
        ("inbox", format!("{} to review", status.reviews)),
        ("audit cases", audit_case_counts(status)),
        ("to erase or keep", deletions(status)),
        ("consents", consents::ending(status.consents_ending)),
        ("suspended", status.suspended.join(", ")),
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

fn rules(status: &AgentStatus) -> String {
    let rules = status.rules.as_ref();
    rules.map_or_else(String::new, in_force_text)
}

/// Shown only if there is something to say.
fn late_notices(status: &AgentStatus) -> String {
    match status.late_notices {
        0 => String::new(),
        n => format!("{n} that the broker had kept back: tell oversight"),
    }
}

/// How the daily counts of entries compare with what was heard.
fn seals(status: &AgentStatus) -> String {
    let newest = match status.sealed_at {
        None => "none yet".to_owned(),
        Some(at) => format!("newest of {}", at.to_rfc3339()),
    };
    match status.seal_faults.as_slice() {
        [] => newest,
        [fault, ..] => {
            let sealed = fault.sealed.map_or_else(
                || "says nothing to this agency".to_owned(),
                |sealed| format!("counts {sealed} entries"),
            );
            format!(
                "{newest}; {} do not fit: that of {} to {} {sealed}, {} were heard: the broker \
                 keeps something back, tell oversight",
                status.seal_faults.len(),
                fault.from,
                fault.until,
                fault.heard
            )
        }
    }
}

/// Shown only if there is something to say.
fn open_alerts(status: &AgentStatus) -> String {
    match status.alerts {
        0 => String::new(),
        n => format!("{n} to look at: see `passerelle audit alerts`"),
    }
}

/// Shown only if there is something to say, in both languages: it is for whoever reads it.
fn agreement_warnings(status: &AgentStatus) -> String {
    let one = |w: &AgreementWarning| format!("{} {} / {}", w.agreement, w.en, w.fr);
    let all: Vec<_> = status.agreement_warnings.iter().map(one).collect();
    all.join("; ")
}

/// Shown only where there is one.
fn mirror(status: &AgentStatus) -> String {
    let Some(mirror) = &status.mirror else {
        return String::new();
    };
    let mut out = format!("{} entries, verified", mirror.size);
    if mirror.behind > 0 {
        out.push_str(&format!("; {} more to fetch", mirror.behind));
    }
    if let Some(at) = mirror.level_at {
        out.push_str(&format!("; level with the broker {}", at.to_rfc3339()));
    }
    if let Some(trouble) = &mirror.trouble {
        out.push_str(&format!("; can't go on now ({trouble})"));
    }
    out
}

/// Shown only if there is something to say.
fn fork_proofs(status: &AgentStatus) -> String {
    match status.fork_proofs {
        0 => String::new(),
        n => format!("{n} proofs in `forks/` that the log was rewritten: tell every member"),
    }
}

/// Shown only if there is something to look at.
fn deletions(status: &AgentStatus) -> String {
    match (status.deletions, status.deletions_overdue) {
        (0, _) => String::new(),
        (n, 0) => format!("{n} answers of cases without a concern"),
        (n, overdue) => format!("{n} answers of cases without a concern, {overdue} OVERDUE"),
    }
}

/// What became of the facts that this agency gave in a case.
fn copies(copies: Option<&Copies>) -> String {
    let Some(copies) = copies else {
        return String::new();
    };
    let mut text = format!("{} given, {} erased", copies.given, copies.erased);
    if !copies.kept_by.is_empty() {
        let _infallible = write!(text, "; the rest at {}", copies.kept_by.join(", "));
    }
    text
}

/// Open and overdue, and what keeps questions from being recognised or looked at.
fn audit_case_counts(status: &AgentStatus) -> String {
    let mut text = format!("{} to look at", status.audit_cases);
    if status.audit_cases_overdue > 0 {
        let _infallible = write!(text, ", {} of them OVERDUE", status.audit_cases_overdue);
    }
    if status.reviewers == 0 {
        text.push_str("; nobody may: no privacy_officer or supervisor in agent.toml");
    }
    if status.unnamed_workers > 0 {
        let _infallible = write!(text, "; {} workers without `name`", status.unnamed_workers);
    }
    text
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
            "forgotten",
            match (report.forgotten, report.brought_back) {
                (0, 0) => String::new(),
                (0, back) => format!("{back} people who had been forgotten are taken in again"),
                (n, _) => format!(
                    "{n} people were forgotten here before and are left out; `--bring-back` takes \
                     them in"
                ),
            },
        ),
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

/// The warning that what may be told at stage 2 would say who it is; nothing if it would not.
fn few_alike(few: Option<&FewAlike>, lang: Lang) -> String {
    let said = |few: &FewAlike| match lang {
        Lang::En => format!("\nWARNING: {}\n", few.explained_en),
        Lang::Fr => format!("\nATTENTION : {}\n", few.explained_fr),
    };
    few.map(said).unwrap_or_default()
}

/// Cases.
pub(super) fn cases(views: &[CaseView], lang: Lang) -> String {
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
            ("answers", copies(view.copies.as_ref())),
        ]));
        out.push_str(&few_alike(view.few_alike.as_ref(), lang));
        out.push('\n');
    }
    none_if_empty(out, "no cases")
}

/// A page of the log.
pub(super) fn audit_page(page: &AuditPage) -> String {
    let (size, cosignatures) = (page.size, page.cosignatures);
    let mut out =
        format!("{size} entries under the newest checkpoint, {cosignatures} valid cosignatures\n");
    if page.from_mirror {
        out.push_str("read from this agency's own mirror, not from the broker\n");
    }
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
