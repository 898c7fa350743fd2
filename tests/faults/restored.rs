//! Nodes that come back from an old copy.

use crate::scene::{
    AGENCIES, CLINIC, EXE, HOUSE, OVERSIGHT, PATIENCE, POLICE, Scene, every_answer_came_once,
};
use anyhow::{Context as _, Result};
use passerelle_tests::machine::run;
use std::{path::Path, process::Command, time::Duration};

/// Copies what a backup would hold.
fn copy(from: &Path, to: &Path) -> Result<()> {
    run(&["cp", "-a", from.to_str().unwrap(), to.to_str().unwrap()]).map(drop)
}

/// Puts a copy in the place of what went on; what went on is kept beside it.
fn restore(copy: &Path, home: &Path) -> Result<()> {
    std::fs::rename(home, home.with_extension("newer"))?;
    Ok(std::fs::rename(copy, home)?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_from_an_old_copy_signs_nothing_and_the_newer_log_goes_on() -> Result<()> {
    let mut scene = Scene::open().await?;
    scene.federation.settled(&AGENCIES, PATIENCE).await?;
    let home = scene.federation.broker_dir();
    let old = scene.federation.dir().join("old");
    scene.federation.broker().terminate().await?;
    copy(&home, &old)?;
    scene.federation.serve_broker().await?;
    for agency in AGENCIES {
        scene.connected(agency, true).await?;
    }
    let before = scene.federation.broker_status().await?.log_size;
    for person in 0..3 {
        scene.exchange(person).await?;
    }
    scene.federation.settled(&AGENCIES, PATIENCE).await?;
    let real = scene.federation.broker_status().await?.log_size;
    assert!(real > before);
    scene.federation.broker().kill9()?;
    restore(&old, &home)?;

    scene.federation.serve_broker().await?;
    for agency in AGENCIES {
        scene.connected(agency, true).await?;
    }
    let request = scene.ask(1).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let status = scene.federation.broker_status().await?;
    assert!(!scene.is_in_the_inbox(&request).await?);
    assert!(scene.view(&request).await?.answer.is_none());
    // No checkpoint over anything that the old copy has written since.
    assert_eq!(status.published_size, 0, "{status:?}");
    let seen = status
        .old_copy
        .as_ref()
        .context("the status does not say why")?;
    assert_eq!(seen.size, real, "{status:?}");
    let log = scene.federation.broker().own_log();
    assert!(log.contains("this may be an old copy"), "{log}");
    let text = Command::new(EXE)
        .args(["broker", "status", "--dir", home.to_str().unwrap()])
        .output()?;
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("this is an old copy"), "{text}");
    // It acknowledges nothing: the question waits where it was asked.
    assert_eq!(status.log_size, before, "{status:?}");
    let asker = scene
        .federation
        .agent_status(HOUSE)
        .await?
        .context("no status")?;
    assert!(asker.outbox >= 1, "{asker:?}");

    // With the newer log back in its place all goes on.
    scene.federation.broker().kill9()?;
    std::fs::remove_dir_all(&home)?;
    std::fs::rename(home.with_extension("newer"), &home)?;
    scene.federation.serve_broker().await?;
    scene.delivered(&request).await?;
    let export = scene.all_is_well().await?;
    assert_eq!(export.count(&request, "answer"), 1);
    Ok(())
}

/// Its witness forgot what it cosigned. It can cosign again, but only what extends what it
/// remembers; and it answers no request twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_from_an_old_copy_catches_up_and_repeats_nothing() -> Result<()> {
    let mut scene = Scene::open().await?;
    scene.federation.settled(&AGENCIES, PATIENCE).await?;
    for agency in [CLINIC, HOUSE] {
        let home = scene.federation.agent_dir(agency);
        let old = scene.federation.dir().join(format!("old-{agency}"));
        scene.federation.agent(agency).terminate().await?;
        copy(&home, &old)?;
        scene.federation.serve_agent(agency).await?;
        let mut answered = Vec::new();
        for person in 0..3 {
            let request = scene.ask(person).await?;
            scene.delivered(&request).await?;
            answered.push(request);
        }
        scene.federation.settled(&AGENCIES, PATIENCE).await?;
        let now = scene
            .federation
            .agent_status(agency)
            .await?
            .context("no status")?;
        let before = scene.federation.export(OVERSIGHT).await?;
        scene.federation.agent(agency).kill9()?;
        restore(&old, &home)?;
        scene.federation.serve_agent(agency).await?;
        // It takes part again, and the quorum needs it.
        scene.federation.agent(POLICE).sigstop()?;
        scene.exchange(0).await?;
        scene.federation.agent(POLICE).sigcont()?;
        let witness = scene
            .federation
            .agent_status(agency)
            .await?
            .context("no status")?;
        assert!(witness.witness_size > now.witness_size, "{witness:?}");
        scene.federation.settled(&AGENCIES, PATIENCE).await?;
        let export = scene.federation.export(OVERSIGHT).await?;
        every_answer_came_once(&export);
        for request in &answered {
            assert_eq!(
                export.count(request, "answer"),
                1,
                "{:?}",
                export.kinds(request)
            );
            println!(
                "{agency}: {:?} then {:?}",
                before.kinds(request),
                export.kinds(request)
            );
        }
        let log = scene.federation.agent(agency).own_log();
        assert!(!log.contains("rewritten"), "{log}");
    }
    scene.all_is_well().await.map(drop)
}
