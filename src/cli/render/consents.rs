//! Consents as text for people.

use super::{none_if_empty, strings};
use crate::cli::output::{fields, table};
use passerelle_model::statement::{ConsentTerms, WithdrawalScope};
use passerelle_proto::views::{ConsentImport, ConsentView, ConsentsEnding, ServiceConsentView};

/// Consents.
pub(in crate::cli) fn consents(views: &[ConsentView]) -> String {
    let mut out = String::new();
    for view in views {
        let withdrawn = view.withdrawn.iter().map(|scope| match scope {
            WithdrawalScope::All => "all of it".to_owned(),
            WithdrawalScope::Recipient(agency) => format!("for {agency}"),
            WithdrawalScope::Category(category) => format!("as to {category}"),
        });
        let mut rows = vec![
            ("consent", view.terms.consent.to_string()),
            ("person", view.person.clone().unwrap_or_default()),
            ("status", view.status.replace('_', " ")),
            ("withdrawn", withdrawn.collect::<Vec<_>>().join(", ")),
            ("recorded by", view.recorded_by.clone()),
        ];
        rows.extend(of_terms(&view.terms));
        out.push_str(&fields(&rows));
        out.push('\n');
    }
    none_if_empty(out, "no consents")
}

/// What was given, by whom, for what.
fn of_terms(terms: &ConsentTerms) -> [(&'static str, String); 6] {
    let list = |values: Vec<String>| values.join(", ");
    let (given, until) = (terms.given_at.to_rfc3339(), terms.expires_at.to_rfc3339());
    [
        ("given by", format!("{} ({})", terms.giver, terms.capacity)),
        ("categories", list(strings(&terms.categories))),
        ("purposes", list(strings(&terms.purposes))),
        ("recipients", list(strings(&terms.recipients))),
        ("disclosers", list(strings(&terms.disclosers))),
        ("given, until", format!("{given}, {until}")),
    ]
}

/// Consents to a service.
pub(in crate::cli) fn service_consents(views: &[ServiceConsentView]) -> String {
    let mut out = String::new();
    for view in views {
        let (given, until) = (view.given_at.to_rfc3339(), view.expires_at.to_rfc3339());
        out.push_str(&fields(&[
            ("consent to a service", view.consent.clone()),
            ("person", view.person.clone().unwrap_or_default()),
            ("service", view.service.clone().unwrap_or_default()),
            ("status", view.status.clone()),
            ("given by", format!("{} ({})", view.giver, view.capacity)),
            ("given, until", format!("{given}, {until}")),
            ("recorded by", view.recorded_by.clone()),
        ]));
        out.push('\n');
    }
    none_if_empty(out, "no consents to a service")
}

/// Consents that end soon, with how urgent each is: 60, 30 and 7 days before the end.
pub(in crate::cli) fn consents_ending(views: &[ConsentView]) -> String {
    let rows: Vec<_> = views
        .iter()
        .map(|view| {
            let days = view.days_left.unwrap_or_default();
            [
                days.to_string(),
                view.terms.expires_at.to_rfc3339(),
                view.terms.consent.to_string(),
                view.person.clone().unwrap_or_default(),
                view.recorded_by.clone(),
            ]
        })
        .collect();
    let headers = ["days", "ends", "consent", "person", "recorded by"];
    table(headers, &rows, "no consent ends within that time")
}

/// Shown only if some end.
pub(super) fn ending(counts: ConsentsEnding) -> String {
    let ConsentsEnding {
        within_7,
        within_30,
        within_60,
    } = counts;
    if within_60 == 0 {
        return String::new();
    }
    format!("{within_60} end within 60 days, {within_30} within 30, {within_7} within 7")
}

/// A consent from a file.
pub(in crate::cli) fn consent_import(report: &ConsentImport) -> String {
    let id = report.terms.consent.to_string();
    let what = match (report.status.as_str(), report.index) {
        ("checked", _) => "nothing was recorded; it would be".to_owned(),
        ("queued", _) => "queued: it is sent when the broker can be reached".to_owned(),
        (_, Some(index)) => format!("recorded (log entry {index})"),
        (_, None) => "recorded".to_owned(),
    };
    let mut rows = vec![
        ("consent", id),
        ("status", what),
        ("not kept", report.not_kept.join(", ")),
    ];
    rows.extend(of_terms(&report.terms));
    fields(&rows)
}
