//! Agreements as the local interface shows them, and what is soon to be done about each. Pure: by
//! the clock that is given.

use crate::agreements::{self, Episode};
use passerelle_model::{
    records::Agreement,
    store::{Read, StoreError},
    time::Timestamp,
    vocabulary::AgreementState,
};
use passerelle_proto::views::{AgreementStep, AgreementView, AgreementWarning};

/// How many days before its end an agreement is warned of; the nearest counts.
const WARNED_DAYS: [(u64, &str); 3] = [(7, "ends_in_7"), (30, "ends_in_30"), (60, "ends_in_60")];

/// An agreement, with what the parties said of it. Its document is left out: a list of many would
/// be larger than a message may be.
///
/// # Errors
/// The store.
pub fn agreement_view(
    view: &dyn Read,
    row: Agreement,
    now: Timestamp,
) -> Result<AgreementView, StoreError> {
    let status = status(&row, now);
    let id = &row.terms.agreement;
    Ok(AgreementView {
        days_left: (status == "in_force").then_some(days_left(&row, now)),
        signed: row.signed.iter().map(ToString::to_string).collect(),
        status: status.to_owned(),
        suspended_by: row
            .course
            .suspended
            .iter()
            .map(ToString::to_string)
            .collect(),
        successor: row
            .course
            .successor
            .as_ref()
            .map(|s| s.agreement.to_string()),
        warnings: warnings(&row, now),
        history: agreements::trail(view, id)?.into_iter().map(step).collect(),
        document: None,
        terms: row.terms,
    })
}

fn step(episode: Episode) -> AgreementStep {
    AgreementStep {
        index: episode.index,
        at: episode.at,
        agency: episode.agency.to_string(),
        what: episode.what.code().to_owned(),
        reason: episode.what.reason().map(|r| r.code().to_owned()),
    }
}

/// Where it stands. Of several that hold the most final.
fn status(row: &Agreement, now: Timestamp) -> &'static str {
    match row.state(now) {
        AgreementState::Terminated => "terminated",
        AgreementState::Superseded => "superseded",
        _ if !row.is_signed_by_all() => "proposed",
        _ if now >= row.terms.ends_at => "ended",
        AgreementState::Suspended => "suspended",
        AgreementState::Active if now < row.terms.starts_at => "not_begun",
        AgreementState::Active => "in_force",
    }
}

fn days_left(row: &Agreement, now: Timestamp) -> u64 {
    row.terms.ends_at.seconds().saturating_sub(now.seconds()) / 86_400
}

/// What is soon to be done about an agreement that all have signed: its end, 60, 30 and 7 days
/// before, unless a next version is signed; its review, from the date on.
pub fn warnings(row: &Agreement, now: Timestamp) -> Vec<AgreementWarning> {
    let mut all = Vec::new();
    let lives = matches!(status(row, now), "in_force" | "suspended");
    if !lives || row.course.successor.is_some() {
        return all;
    }
    let (left, id) = (days_left(row, now), &row.terms.agreement);
    let mut add = |code: &str, en: String, fr: String| {
        all.push(AgreementWarning {
            agreement: id.to_string(),
            code: code.to_owned(),
            days_left: left,
            en,
            fr,
        });
    };
    let end = row.terms.ends_at.to_rfc3339();
    let until_end = row.terms.ends_at.0.saturating_sub(now.0);
    let near = WARNED_DAYS
        .iter()
        .find(|(days, _)| until_end <= days * 86_400_000);
    if let Some((_, code)) = near {
        let (days, jours) = match left {
            0 => (
                "in less than a day".to_owned(),
                "dans moins d’un jour".to_owned(),
            ),
            1 => ("in 1 day".to_owned(), "dans 1 jour".to_owned()),
            n => (format!("in {n} days"), format!("dans {n} jours")),
        };
        add(
            code,
            format!("ends {days}, on {end}; propose the next version now"),
            format!("prend fin {jours}, le {end}; proposez maintenant la version suivante"),
        );
    }
    // Without a date of its own the review is at the end, of which the others warn.
    let review = row.terms.review_at;
    if review <= now && review < row.terms.ends_at {
        let since = review.to_rfc3339();
        add(
            "review_due",
            format!("is due for review since {since}"),
            format!("est à réexaminer depuis le {since}"),
        );
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use passerelle_model::{
        ids::AgreementId,
        statement::{AgreementParty, AgreementTerms, Edition},
        vocabulary::LegalBasis,
    };

    const DAY_MS: u64 = 86_400_000;

    fn signed(review_day: u64, end_day: u64) -> Agreement {
        let agency = |name: &str| name.parse().unwrap();
        let party = |name| AgreementParty {
            agency: agency(name),
            basis: LegalBasis::Gdpr6,
        };
        let terms = AgreementTerms {
            signatories: Vec::new(),
            agreement: AgreementId::from_random([1; 16]),
            edition: Edition::default(),
            parties: vec![party("police-nord"), party("sante-centre")],
            purposes: Vec::new(),
            lines: Vec::new(),
            starts_at: Timestamp(0),
            review_at: Timestamp(review_day * DAY_MS),
            ends_at: Timestamp(end_day * DAY_MS),
        };
        let mut row = Agreement::proposed(&agency("police-nord"), terms, 1).unwrap();
        row.signed.push(agency("sante-centre"));
        row
    }

    fn codes(row: &Agreement, ms: u64) -> Vec<String> {
        warnings(row, Timestamp(ms))
            .into_iter()
            .map(|w| w.code)
            .collect()
    }

    #[test]
    fn the_end_is_warned_of_from_60_30_and_7_days_before_to_the_last_instant() {
        let row = signed(100, 100);
        for (day, code) in [(40, "ends_in_60"), (70, "ends_in_30"), (93, "ends_in_7")] {
            assert_eq!(codes(&row, day * DAY_MS), [code]);
            assert_ne!(codes(&row, day * DAY_MS - 1), [code], "a moment too early");
        }
        assert_eq!(codes(&row, 40 * DAY_MS - 1), [""; 0]);
        assert_eq!(codes(&row, 100 * DAY_MS - 1), ["ends_in_7"]);
        assert_eq!(codes(&row, 100 * DAY_MS), [""; 0], "it has ended");
    }

    #[test]
    fn a_review_is_due_from_its_date_on() {
        let row = signed(10, 100);
        assert_eq!(codes(&row, 10 * DAY_MS - 1), [""; 0]);
        assert_eq!(codes(&row, 10 * DAY_MS), ["review_due"]);
        assert_eq!(codes(&row, 95 * DAY_MS), ["ends_in_7", "review_due"]);
    }

    #[test]
    fn nobody_is_warned_of_what_is_over_renewed_or_not_signed() {
        let mut proposed = signed(10, 100);
        proposed.signed.pop();
        let mut ended = signed(10, 100);
        ended.course.terminated = Some("police-nord".parse().unwrap());
        let mut renewed = signed(10, 100);
        renewed.follow(&signed(10, 300));
        for row in [proposed, ended, renewed] {
            assert_eq!(codes(&row, 95 * DAY_MS), [""; 0]);
        }
    }
}
