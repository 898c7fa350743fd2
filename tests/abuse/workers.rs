//! A worker who snoops.

use crate::offices::{CLINIC, HOUSE, Offices, said};
use anyhow::Result;
use passerelle_model::{
    entry::EntryBody,
    request::Status,
    statement::{Body, ReceiptKind},
    vocabulary::WorkerRole,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_who_asks_without_a_basis_gets_nothing_and_leaves_a_trace() -> Result<()> {
    let offices = Offices::open().await?;
    for person in [&offices.person, &offices.stranger] {
        let asked = offices.ask(person, "ana").await?;
        let line = offices.until(&asked.line.request, Status::Denied).await?;
        assert_eq!(line.status, Status::Denied);
    }
    let denied = |entry: &EntryBody| matches!(entry, EntryBody::Decided { .. });
    let log = offices
        .log_with(|log| log.entries.iter().filter(|e| denied(&e.body)).count() == 2)
        .await?;
    // The role in the log is the one of the agency's settings: no worker can claim another.
    for (_, body) in said(&log) {
        if let Body::Request(request) = body {
            assert_eq!(request.role, WorkerRole::Mentor);
        }
    }
    // The clinic has not been told that somebody asked.
    assert!(offices.federation.lines(CLINIC, "inbox").await?.is_empty());
    // Who is not in the settings can't ask in anybody's name.
    let refused = offices.ask(&offices.person, "zoe").await;
    assert!(refused.is_err(), "an unknown worker asked");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_look_at_an_answer_is_in_the_log_and_no_stranger_gets_one() -> Result<()> {
    let offices = Offices::open().await?;
    offices.consent().await?;
    let asked = offices.ask(&offices.person, "ana").await?;
    let id = asked.line.request.clone();
    offices.until(&id, Status::Delivered).await?;
    let shown = offices.federation.show(HOUSE, &id, "zoe").await;
    assert!(shown.is_err(), "an unknown worker looked");
    // A colleague who did not ask sees it: the agency's own affair. The look is attested.
    let shown = offices.federation.show(HOUSE, &id, "bea").await?;
    assert!(shown.answer.is_some());
    offices
        .log_with(|log| {
            said(log)
                .iter()
                .any(|(_, body)| matches!(body, Body::Receipt(r) if r.kind == ReceiptKind::Viewed))
        })
        .await?
        .verify()?;
    // The clinic's own people don't see what the house asked for beyond their own inbox.
    let other = offices.federation.show(CLINIC, &id, "cam").await?;
    assert!(other.answer.is_none());
    Ok(())
}
