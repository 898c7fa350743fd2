//! Somebody is away: the holder, the broker, the witnesses. What waits is kept, decided again when
//! it can go on, and never taken for an answer.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: what is wrong should end the test where it stands"
)]

mod arrival;
mod formats;
mod scene;

use anyhow::{Context as _, Result};
use passerelle_model::request::Status;
use passerelle_proto::views::{ConsentView, RequestLine};
use passerelle_tests::{office::within, wait};
use scene::{AGENCIES, CLINIC, HOUSE, OVERSIGHT, POLICE, Scene, WORKER};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

fn is_delivered(line: &RequestLine) -> bool {
    line.status == Status::Delivered
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_was_offline_gets_its_request_decided_again() -> Result<()> {
    let mut scene = Scene::open().await?;
    scene.consent().await?;
    scene.federation.agent(CLINIC).terminate().await?;
    let (ran, view) = scene.ask(&[]).await?;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        view.line.status.is_open() && view.answer.is_none(),
        "{view:?}"
    );
    let request = view.line.request;
    let before = scene.export().await?;
    assert_eq!(before.kinds(&request), ["request", "decided"]);

    scene.federation.serve_agent(CLINIC).await?;
    scene.line_until(&request, is_delivered).await?;
    let after = scene.export().await?;
    assert_eq!(
        after.kinds(&request),
        [
            "request",
            "decided",
            "decided",
            "offered",
            "answer",
            "delivered"
        ]
    );
    let view = scene.federation.show(HOUSE, &request, WORKER).await?;
    assert_eq!(view.answer.expect("an answer").outcome, "released");
    after.verify().map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_withdrawal_an_agent_that_was_offline_gets_nothing() -> Result<()> {
    let mut scene = Scene::open().await?;
    let consent = scene.consent().await?;
    scene.federation.agent(CLINIC).kill9()?;
    let (_, view) = scene.ask(&[]).await?;
    let request = view.line.request;
    let args = [consent.as_str()];
    let withdrawn = scene
        .federation
        .agent_cli(HOUSE, "consent withdraw", &args)
        .await?;
    withdrawn.done()?;
    let stopped = |line: &RequestLine| line.status == Status::Stopped;
    scene.line_until(&request, stopped).await?;

    scene.federation.serve_agent(CLINIC).await?;
    scene.federation.settled(&AGENCIES, PATIENCE).await?;
    // Another exchange passes: what was to come before it has come.
    scene.other_exchange().await?;
    let inbox = scene.federation.lines(CLINIC, "inbox").await?;
    assert!(
        inbox.iter().all(|line| line.request != request),
        "{inbox:?}"
    );
    let export = scene.export().await?;
    assert_eq!(export.kinds(&request), ["request", "decided", "stopped"]);
    assert_eq!(export.count(&consent, "withdrawal"), 1);
    let view = scene.federation.show(HOUSE, &request, WORKER).await?;
    assert!(view.answer.is_none() && view.stopped.is_some(), "{view:?}");
    export.verify().map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_expires_meanwhile_is_expired_and_never_an_answer() -> Result<()> {
    let mut scene = Scene::open().await?;
    scene.consent().await?;
    scene.federation.agent(CLINIC).kill9()?;
    let (ran, view) = scene.ask(&["--valid", "4", "--wait", "60"]).await?;
    assert_eq!(
        (ran.code, view.line.status),
        (1, Status::Expired),
        "{ran:?}"
    );
    assert!(view.answer.is_none(), "{view:?}");
    let request = view.line.request;

    scene.federation.serve_agent(CLINIC).await?;
    scene.other_exchange().await?;
    let view = scene.federation.show(HOUSE, &request, WORKER).await?;
    assert_eq!(view.line.status, Status::Expired);
    assert!(view.answer.is_none(), "{view:?}");
    let inbox = scene.federation.lines(CLINIC, "inbox").await?;
    assert!(
        inbox.iter().all(|line| line.request != request),
        "{inbox:?}"
    );
    let export = scene.export().await?;
    assert_eq!(export.kinds(&request), ["request", "decided", "expired"]);
    export.verify().map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_while_the_broker_is_away_arrives_later_and_once() -> Result<()> {
    let mut scene = Scene::open().await?;
    // The handle is known from now on; without the broker there is no new one.
    let first = scene.record().await?.done()?.text("id")?;
    scene.federation.broker().kill9()?;
    scene.disconnected(HOUSE).await?;
    let recorded = scene.record().await?.done()?;
    assert_eq!(recorded.text("status")?, "queued", "{recorded:?}");
    let consent = recorded.text("id")?;
    let (ran, view) = scene.ask(&[]).await?;
    assert_eq!(
        (ran.code, view.line.status),
        (0, Status::Submitted),
        "{ran:?}"
    );
    let request = view.line.request;
    let status = scene
        .federation
        .agent_status(HOUSE)
        .await?
        .context("no status")?;
    assert_eq!((status.connected, status.outbox), (false, 2), "{status:?}");
    assert_eq!(status.last_error.as_deref(), Some("unavailable"));
    let stranger = scene.federation.person("Inconnue", "Anne", "1971-01-01")?;
    let refused = scene
        .federation
        .consent(HOUSE, &stranger, "in_service", HOUSE, CLINIC)
        .await?;
    assert_eq!(
        (refused.code, refused.error_code()),
        (3, Some("unavailable".into()))
    );

    // The outbox outlives the agent too.
    scene.federation.agent(HOUSE).kill9()?;
    scene.federation.spawn_agent(HOUSE)?;
    within(PATIENCE, "the agent to answer", || async {
        let status = scene.federation.agent_status(HOUSE).await?;
        Ok(status.filter(|s| s.outbox == 2))
    })
    .await?;
    scene.federation.serve_broker().await?;
    scene.approve(&request).await?;
    scene.line_until(&request, is_delivered).await?;
    scene.federation.settled(&AGENCIES, PATIENCE).await?;
    let export = scene.export().await?;
    assert_eq!(export.kinds(&consent), ["consent"]);
    assert_eq!(export.kinds(&first), ["consent"]);
    assert_eq!(export.count(&request, "request"), 1);
    assert_eq!(export.count(&request, "answer"), 1);
    let position = |id: &str| export.about(id)[0].0;
    assert!(
        position(&consent) < position(&request),
        "in the order in which they were said"
    );
    let shown = scene
        .federation
        .agent_cli(CLINIC, "consent show", &[&consent])
        .await?;
    let shown: Vec<ConsentView> = serde_json::from_value(shown.done()?.json)?;
    assert_eq!(shown.len(), 1, "the discloser knows it: {shown:?}");
    export.verify().map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn below_the_quorum_of_witnesses_nothing_leaves_and_the_status_says_why() -> Result<()> {
    let mut scene = Scene::open().await?;
    scene.consent().await?;
    scene.federation.settled(&AGENCIES, PATIENCE).await?;
    for witness in [POLICE, OVERSIGHT] {
        scene.federation.agent(witness).kill9()?;
    }
    within(PATIENCE, "the broker to notice", || async {
        let status = scene.federation.broker_status().await?;
        Ok((status.members.iter().filter(|m| m.connected).count() == 2).then_some(()))
    })
    .await?;
    let (ran, view) = scene.ask(&[]).await?;
    assert_eq!(
        (ran.code, view.line.status),
        (0, Status::Submitted),
        "{ran:?}"
    );
    let request = view.line.request;
    // Sequenced, decided and offered, but not published: nobody has it, nobody answers.
    let status = scene.federation.broker_status().await?;
    assert_eq!((status.witnesses, status.quorum), (4, 3));
    assert!(status.published_size < status.log_size, "{status:?}");
    let published = status.published_size;
    for agency in [HOUSE, CLINIC] {
        let status = scene
            .federation
            .agent_status(agency)
            .await?
            .context("no status")?;
        assert!(status.connected, "{status:?}");
    }
    let inbox = scene.federation.lines(CLINIC, "inbox").await?;
    assert!(inbox.is_empty(), "{inbox:?}");

    // One more is enough.
    scene.federation.serve_agent(OVERSIGHT).await?;
    scene.line_until(&request, is_delivered).await?;
    wait::until("the log to be published", || async {
        let status = scene.federation.broker_status().await?;
        Ok((status.published_size > published).then_some(()))
    })
    .await?;
    let export = scene.export().await?;
    assert_eq!(export.count(&request, "answer"), 1);
    export.verify().map(drop)
}
