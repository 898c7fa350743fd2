//! SIGSTOP and SIGCONT: a process that is there and does nothing, its connections open.

use crate::scene::{AGENCIES, CLINIC, HOUSE, OVERSIGHT, PATIENCE, POLICE, Scene};
use anyhow::Result;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_broker_makes_everybody_wait_and_loses_nothing() -> Result<()> {
    let mut scene = Scene::open().await?;
    // The receipts of what was asked before are not among what will wait.
    scene.federation.settled(&AGENCIES, PATIENCE).await?;
    scene.federation.broker().sigstop()?;
    let mut requests = Vec::new();
    for number in 0..3 {
        requests.push(scene.ask(number).await?);
    }
    // An office still works: it lists, and says what waits.
    for request in &requests {
        let line = scene.line(request).await?;
        assert!(line.status.is_open(), "{line:?}");
    }
    let status = scene
        .federation
        .agent_status(HOUSE)
        .await?
        .expect("a status");
    assert_eq!(status.outbox, 3, "{status:?}");
    scene.federation.broker().sigcont()?;
    for request in &requests {
        scene.delivered(request).await?;
    }
    let export = scene.all_is_well().await?;
    for request in &requests {
        assert_eq!(export.count(request, "answer"), 1);
    }
    Ok(())
}

/// Longer than both ends' keep-alive, and during a request: the place of a frozen holder is given
/// up, and taken again on its return.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_holder_is_noticed_and_takes_its_place_on_its_return() -> Result<()> {
    let mut scene = Scene::open().await?;
    scene.federation.agent(CLINIC).sigstop()?;
    let before = Instant::now();
    let request = scene.ask(1).await?;
    // The others get what they say into the log meanwhile: quorum is three of four without it.
    let consent = scene.consent(HOUSE, 2, 1).await?;
    assert!(before.elapsed() < Duration::from_secs(10));
    scene.connected(CLINIC, false).await?;
    println!("noticed after {:?}", before.elapsed());
    assert!(scene.line(&request).await?.status.is_open());
    // Now it is known to be away: what is asked now waits undelivered.
    let later = scene.ask(3).await?;
    scene.federation.agent(CLINIC).sigcont()?;
    scene.connected(CLINIC, true).await?;
    scene.delivered(&request).await?;
    scene.delivered(&later).await?;
    let export = scene.all_is_well().await?;
    assert_eq!(export.count(&request, "answer"), 1);
    assert_eq!(export.count(&later, "answer"), 1);
    assert_eq!(export.count(&consent, "consent"), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_asker_gets_its_answers_once_when_it_goes_on() -> Result<()> {
    let mut scene = Scene::open().await?;
    let mut requests = Vec::new();
    for number in 0..3 {
        requests.push(scene.ask(number).await?);
    }
    scene.federation.agent(HOUSE).sigstop()?;
    // Three of four witnesses go on without it, and it is not waited for.
    let mut clinic = scene.federation.node(CLINIC).await?;
    let mut consent = crate::scene::terms(3, 1);
    consent.recipients = vec![POLICE.to_owned()];
    let before = Instant::now();
    clinic.record_consent(consent).await?;
    assert!(
        before.elapsed() < Duration::from_secs(10),
        "{:?}",
        before.elapsed()
    );
    tokio::time::sleep(Duration::from_secs(2)).await;
    scene.federation.agent(HOUSE).sigcont()?;
    for request in &requests {
        scene.delivered(request).await?;
    }
    let export = scene.all_is_well().await?;
    for request in &requests {
        assert_eq!(export.count(request, "delivered"), 1);
    }
    Ok(())
}

/// Exchanges with one witness frozen take as long as before, from the first on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_witness_does_not_slow_a_quorum_that_is_met() -> Result<()> {
    let mut scene = Scene::open().await?;
    let mut with_all = Duration::ZERO;
    for number in 0..4 {
        with_all += scene.exchange(number).await?;
    }
    scene.federation.agent(POLICE).sigstop()?;
    let mut without = Duration::ZERO;
    for number in 0..4 {
        without += scene.exchange(number).await?;
    }
    println!("four exchanges: {with_all:?} with all witnesses, {without:?} with one frozen");
    // A round that waited for it would wait for the keep-alive, which is half a minute.
    assert!(without < with_all * 4 + Duration::from_secs(2));

    // With a second one frozen nothing leaves; with one of them back it does.
    scene.federation.agent(OVERSIGHT).sigstop()?;
    let request = scene.ask(0).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!scene.is_in_the_inbox(&request).await?);
    scene.federation.agent(POLICE).sigcont()?;
    scene.delivered(&request).await?;
    scene.federation.agent(OVERSIGHT).sigcont()?;
    scene.federation.settled(&AGENCIES, PATIENCE).await?;
    scene.all_is_well().await.map(drop)
}
