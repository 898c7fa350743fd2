//! What the offices do: permit, denial, review, emergency, withdrawal, a case, an erasure.

use super::offices::{AGENCIES, BASIS, CLINIC, HOUSE, Offices, POLICE};
use anyhow::Result;
use passerelle_agent::suspicion::override_review;
use passerelle_model::{entry::EntryBody, request::Status, statement::Body};
use passerelle_proto::views::{RequestLine, RequestView};
use passerelle_tests::{cli::Ran, export::Export};
use std::time::Duration;

/// A request with a planted reason; its id and what it came to.
impl Offices {
    async fn ask(
        &mut self,
        from: &'static str,
        person: Option<&str>,
        item: &str,
        more: &[&str],
    ) -> Result<(Ran, RequestView)> {
        let why = self.planted.plant("justification");
        let why = format!("because {why}, as she said");
        let mut args = vec!["--item", item, "--worker", &self.workers[from]];
        args.extend(["--justification", &why]);
        if let Some(person) = person {
            args.extend(["--person", &self.people[person]]);
        }
        args.extend(more);
        self.federation.ask(from, &args).await
    }

    async fn answered(
        &mut self,
        from: &'static str,
        person: Option<&str>,
        item: &str,
        more: &[&str],
    ) -> Result<RequestView> {
        let more = [more, &["--wait", "60"]].concat();
        let (ran, view) = self.ask(from, person, item, &more).await?;
        anyhow::ensure!(
            ran.code == 0 && view.answer.is_some(),
            "{} {ran:?}",
            view.line.request
        );
        Ok(view)
    }
}

fn outcome(view: &RequestView) -> &str {
    view.answer
        .as_ref()
        .map_or("none", |answer| &answer.outcome)
}

const ON_CONSENT: [&str; 6] = [
    "--holder",
    CLINIC,
    "--purpose",
    "deliver",
    "--basis",
    "consent",
];
const TO_PLAN: [&str; 6] = ["--holder", CLINIC, "--purpose", "plan", "--basis", BASIS];

pub(crate) async fn tell(offices: &mut Offices) -> Result<()> {
    consent(offices).await?;
    reviews(offices).await?;
    emergency(offices).await?;
    case(offices).await?;
    offices
        .federation
        .settled(&AGENCIES, Duration::from_secs(60))
        .await
}

/// Consent, permit, answer, erasure, withdrawal, denial.
async fn consent(offices: &mut Offices) -> Result<()> {
    let person = offices.people["consenting"].clone();
    let recorded = offices
        .federation
        .consent(CLINIC, &person, "clinician_contact", HOUSE, CLINIC);
    let consent = recorded.await?.done()?.text("id")?;
    let item = "clinician_contact:contact";
    let view = offices
        .answered(HOUSE, Some("consenting"), item, &ON_CONSENT)
        .await?;
    assert_eq!(outcome(&view), "released");
    let request = view.line.request;
    offices
        .federation
        .show(HOUSE, &request, &offices.workers[HOUSE])
        .await?;
    offices
        .federation
        .agent_cli(HOUSE, "erase", &[&request])
        .await?
        .done()?;

    let recorded = offices
        .federation
        .consent(CLINIC, &person, "in_service", HOUSE, CLINIC);
    let second = recorded.await?.done()?.text("id")?;
    offices
        .answered(
            HOUSE,
            Some("consenting"),
            "in_service:involvement",
            &ON_CONSENT,
        )
        .await?;
    offices
        .federation
        .agent_cli(HOUSE, "consent withdraw", &[&consent])
        .await?
        .done()?;
    // The second answer is still there: its recipient is told.
    offices
        .federation
        .agent_cli(HOUSE, "consent withdraw", &[&second])
        .await?
        .done()?;
    let (ran, view) = offices
        .ask(HOUSE, Some("consenting"), item, &ON_CONSENT)
        .await?;
    assert_eq!((ran.code, view.line.status), (1, Status::Denied));
    Ok(())
}

/// A worker of the clinic looks at a request of the police and decides; what arrives.
async fn decided_at_the_clinic(offices: &Offices, id: &str, verdict: &str) -> Result<RequestView> {
    let federation = &offices.federation;
    let waits = |line: &RequestLine| line.status == Status::HolderReview;
    federation.line_until(CLINIC, "inbox", id, waits).await?;
    let shown = federation
        .show(CLINIC, id, &offices.workers[CLINIC])
        .await?;
    let asked_by = shown.asked_by.expect("the holder sees who asks");
    assert_eq!(asked_by.worker, offices.workers[POLICE]);
    let args = [id, "--worker", &offices.workers[CLINIC]];
    federation.agent_cli(CLINIC, verdict, &args).await?.done()?;
    let arrived = |line: &RequestLine| line.status == Status::Delivered;
    federation
        .line_until(POLICE, "requests", id, arrived)
        .await?;
    federation.show(POLICE, id, &offices.workers[POLICE]).await
}

/// Approved, declined, cannot say; and what an agreement can't allow.
async fn reviews(offices: &mut Offices) -> Result<()> {
    let agreement = offices.agreement.clone();
    let more = [&TO_PLAN[..], &["--agreement", &agreement]].concat();
    let item = "in_service:known";
    for (person, verdict, expected) in [
        ("reviewed", "approve", "released"),
        ("reviewed", "decline", "declined"),
        ("consenting", "cannot-say", "cannot_say"),
        ("protected", "approve", "cannot_say"),
        ("stranger", "approve", "cannot_say"),
    ] {
        let (ran, view) = offices.ask(POLICE, Some(person), item, &more).await?;
        assert_eq!(ran.code, 0, "{ran:?}");
        let id = view.line.request;
        let view = decided_at_the_clinic(offices, &id, verdict).await?;
        assert_eq!(outcome(&view), expected, "{person}, {verdict}");
    }
    let (ran, _) = offices
        .ask(POLICE, Some("reviewed"), "diagnosis:coded", &more)
        .await?;
    assert_eq!(ran.code, 1, "{ran:?}");
    Ok(())
}

async fn emergency(offices: &mut Offices) -> Result<()> {
    let more = [
        "--holder",
        CLINIC,
        "--purpose",
        "emergency",
        "--basis",
        "A2.1-59.1",
        "--emergency",
        "subject_in_danger",
        "--item",
        "diagnosis:coded",
    ];
    let (ran, view) = offices
        .ask(POLICE, Some("danger"), "location:detail", &more)
        .await?;
    assert_eq!(ran.code, 0, "{ran:?}");
    let view = decided_at_the_clinic(offices, &view.line.request, "approve").await?;
    let answer = serde_json::to_string(&view.answer)?;
    assert!(
        answer.contains(&offices.whereabouts),
        "the fact has crossed: {answer}"
    );
    // Somebody else looks at it, as the permit wants; the log hears what came of it and no more.
    let case = override_review::case_of(&view.line.request.parse()?).to_string();
    let note = offices.planted.plant("note of the reviewer");
    let by = offices.reviewer.as_str();
    let args = [case.as_str(), "justified", "--worker", by, "--note", &note];
    let decided = offices
        .federation
        .agent_cli(POLICE, "audit-cases decide", &args);
    let decided = decided.await?.done()?;
    let entered = decided.text("status")? == "done" && decided.json["index"].is_u64();
    assert!(entered, "the review is in the log: {decided:?}");
    Ok(())
}

/// The four filters of a table, with a request without a person at stage 2.
async fn case(offices: &mut Offices) -> Result<()> {
    let person = offices.people["reviewed"].clone();
    let args = ["--agency", CLINIC, "--agency", HOUSE, "--person", &person];
    let opened = offices
        .federation
        .agent_cli(CLINIC, "case open", &args)
        .await?;
    let case = opened.done()?.text("id")?;
    let table = ["--case", &case, "--holder", CLINIC, "--basis", BASIS];
    let codes = [&table[..], &["--purpose", "screen"]].concat();
    let advance = async |offices: &Offices, more: &[&str]| -> Result<()> {
        let args = [&[case.as_str()], more].concat();
        offices
            .federation
            .agent_cli(CLINIC, "case advance", &args)
            .await?
            .done()?;
        Ok(())
    };
    let item = "risk_factors:coded";
    let (ran, _) = offices.ask(HOUSE, None, item, &codes).await?;
    assert_eq!(ran.code, 1, "at stage 1 nothing leaves: {ran:?}");
    advance(offices, &["--stage", "2", "--threshold", "pending"]).await?;
    let view = offices.answered(HOUSE, None, item, &codes).await?;
    assert_eq!(outcome(&view), "released");
    let (ran, _) = offices.ask(HOUSE, Some("reviewed"), item, &codes).await?;
    assert_eq!(ran.code, 1, "at stage 2 nobody is named: {ran:?}");
    let needed = ["--agency", CLINIC, "--agency", HOUSE];
    let stage = ["--stage", "3", "--threshold", "agreed"];
    advance(offices, &[&stage[..], &needed].concat()).await?;
    let stage = [
        "--stage",
        "4",
        "--threshold",
        "agreed",
        "--plan",
        "in_service",
    ];
    advance(offices, &[&stage[..], &needed].concat()).await?;
    let on_consent = [
        "--case",
        &case,
        "--holder",
        CLINIC,
        "--purpose",
        "deliver",
        "--basis",
        "consent",
    ];
    offices
        .federation
        .consent(CLINIC, &person, "in_service", HOUSE, CLINIC)
        .await?
        .done()?;
    let item = "in_service:involvement";
    let view = offices
        .answered(HOUSE, Some("reviewed"), item, &on_consent)
        .await?;
    assert_eq!(outcome(&view), "released");
    let stage = [
        "--stage",
        "4",
        "--threshold",
        "agreed",
        "--outcome",
        "lowered_connected",
    ];
    advance(offices, &stage).await
}

/// The log tells the whole story: the search looked at something.
pub(crate) fn happened(export: &Export) {
    let mut kinds = std::collections::BTreeMap::new();
    for entry in &export.entries {
        *kinds.entry(entry.body.code()).or_insert(0) += 1;
    }
    for kind in [
        "decided",
        "offered",
        "said",
        "handles_evaluated",
        "recalled",
    ] {
        assert!(
            kinds.get(kind).is_some_and(|n| *n >= 1),
            "{kind}: {kinds:?}"
        );
    }
    assert!(kinds["decided"] >= 14, "{kinds:?}");
    let reviews = export.entries.iter().filter(|entry| match &entry.body {
        EntryBody::Said { envelope, .. } => {
            let said = envelope.unverified_statement().expect("a statement");
            matches!(said.body, Body::OverrideReview(_))
        }
        _ => false,
    });
    assert_eq!(
        reviews.count(),
        1,
        "what came of the emergency is in the log"
    );
}
