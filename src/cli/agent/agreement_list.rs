//! The list of agreements as text: versions, what became of each, what ends soon.

use passerelle_proto::views::{AgreementStep, AgreementView};
use std::fmt::Write as _;

/// Every agreement, the versions of one below each other, the newest first.
pub(super) fn list(views: &[AgreementView], history: bool) -> String {
    let followed = |view: &AgreementView| {
        let id = Some(&view.terms.agreement);
        views
            .iter()
            .any(|other| other.terms.edition.supersedes.as_ref() == id)
    };
    let mut out = String::new();
    for newest in views.iter().filter(|view| !followed(view)) {
        let mut next = Some(newest);
        let mut left = views.len();
        // What an agency was shown can't go round in a circle, but a program must not hang on it.
        while let Some(view) = next.filter(|_| left > 0) {
            left -= 1;
            one(&mut out, view, history);
            let earlier = view.terms.edition.supersedes.as_ref();
            next = views.iter().find(|v| Some(&v.terms.agreement) == earlier);
        }
    }
    if out.is_empty() {
        out.push_str("no agreements\n");
    }
    out
}

fn one(out: &mut String, view: &AgreementView, history: bool) {
    let parties: Vec<_> = view
        .terms
        .parties
        .iter()
        .map(|p| p.agency.as_str())
        .collect();
    let status = view.status.replace('_', " ");
    let days = match view.days_left {
        None => String::new(),
        Some(days) => format!(", {days} days left"),
    };
    let _ = writeln!(
        out,
        "{}  version {}  {status}{days}  {}",
        view.terms.agreement,
        view.terms.edition.version,
        parties.join(", ")
    );
    if !view.suspended_by.is_empty() {
        let _ = writeln!(out, "  suspended by {}", view.suspended_by.join(", "));
    }
    for warning in &view.warnings {
        let _ = writeln!(out, "  {}\n  {}", warning.en, warning.fr);
    }
    for step in view.history.iter().filter(|_| history) {
        let _ = writeln!(out, "  {}", told(step));
    }
}

fn told(step: &AgreementStep) -> String {
    let reason = step
        .reason
        .as_ref()
        .map_or_else(String::new, |r| format!(" ({r})"));
    format!(
        "entry {}, {}: {} by {}{reason}",
        step.index,
        step.at.to_rfc3339(),
        step.what,
        step.agency
    )
}
