//! Disks that fill up: a node's home on an ext4 of a few megabytes.
//!
//! What is expected: the node stops (exit code 3) with a line that names the file and says that
//! there is no space; nothing that it acknowledged is missing once there is room again.

use crate::scene::{self, AGENCIES, CLINIC, EXE, HOUSE, PATIENCE, Scene};
use anyhow::{Context as _, Result};
use passerelle_tests::{federation::Federation, file_system::FileSystem, machine::given};
use std::{path::Path, time::Duration};

const BYTES: u64 = 32 * 1024 * 1024;

/// What is left when the load begins: enough for some dozen entries.
const LEFT: u64 = 200 * 1024;

/// A scene whose `node` has its home on a disk of its own. The disk comes first: it is taken away
/// after the processes.
async fn scene_with_small(node: &str) -> Result<Option<(FileSystem, Scene)>> {
    let federation = Federation::prepare(EXE)?;
    let Some(disk) = given("a small file system", FileSystem::make(BYTES))? else {
        return Ok(None);
    };
    let home = disk.path().join("home");
    std::fs::create_dir(&home)?;
    std::os::unix::fs::symlink(&home, federation.dir().join(node))?;
    Ok(Some((disk, Scene::open_in(federation).await?)))
}

/// The line with which a node says why it ended.
fn last_words(log: &str) -> &str {
    let no_space = |line: &&str| line.contains("No space left on device");
    log.lines().rev().find(no_space).unwrap_or_default()
}

/// It ended by itself, orderly, and said which file found no room.
fn ended_for_want_of_room(code: Option<i32>, log: &str, home: &Path) {
    println!("ended with {code:?}: {}", last_words(log));
    assert_eq!(code, Some(3), "{log}");
    let said = last_words(log);
    let names = [home.to_str().unwrap(), "journal", "projection"];
    assert!(names.iter().any(|name| said.contains(name)), "{log}");
    assert!(log.contains("make room"), "{log}");
    assert!(!log.contains("panicked"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_the_broker_and_nothing_acknowledged_is_lost() -> Result<()> {
    let Some((disk, mut scene)) = scene_with_small("broker").await? else {
        return Ok(());
    };
    let ballast = disk.fill_up_to(LEFT)?;
    // Until the broker gives up, and then some: the agents accept and keep.
    let (mut requests, mut consents) = (Vec::new(), Vec::new());
    let mut ended = None;
    for round in 0..400 {
        consents.push(scene.consent_done(CLINIC, round % 4).await?);
        requests.push(scene.ask(round % 4).await?);
        ended = scene.federation.broker().ended()?;
        if ended.is_some() {
            break;
        }
    }
    let code = ended.context("the disk never was full")?.code();
    let home = scene.federation.broker_dir();
    ended_for_want_of_room(code, &scene.federation.broker().own_log(), &home);
    println!(
        "{} requests, {} consents before",
        requests.len(),
        consents.len()
    );

    // No room yet: it refuses in the same words, or serves what it can; never half.
    let mut again = scene.federation.start_broker()?;
    let tried = again.end(Duration::from_secs(5)).await;
    if let Ok(status) = tried {
        ended_for_want_of_room(status.code(), &again.own_log(), &home);
    }
    assert!(!again.own_log().contains("panicked"), "{}", again.own_log());
    again.kill9()?;
    drop(again);

    std::fs::remove_file(ballast)?;
    scene.federation.serve_broker().await?;
    for request in &requests {
        scene.delivered(request).await?;
    }
    let export = scene.all_is_well().await?;
    for request in &requests {
        assert_eq!(export.count(request, "answer"), 1);
    }
    for (consent, index) in consents {
        let entries = export.about(&consent);
        assert_eq!(entries.len(), 1, "{consent}: {entries:?}");
        assert!(
            index.is_none_or(|index| entries[0].0 == index),
            "{consent} at {index:?}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_an_agent_and_others_go_on() -> Result<()> {
    let Some((disk, mut scene)) = scene_with_small(CLINIC).await? else {
        return Ok(());
    };
    let ballast = disk.fill_up_to(LEFT)?;
    let (mut requests, mut consents) = (Vec::new(), Vec::new());
    let mut ended = None;
    for round in 0..400 {
        // What the agent refuses it has not acknowledged.
        if let Ok(done) = scene.consent_done(CLINIC, round % 4).await {
            consents.push(done);
        }
        requests.push(scene.ask(round % 4).await?);
        ended = scene.federation.agent(CLINIC).ended()?;
        if ended.is_some() {
            break;
        }
    }
    let code = ended.context("the disk never was full")?.code();
    let home = scene.federation.agent_dir(CLINIC);
    ended_for_want_of_room(code, &scene.federation.agent(CLINIC).own_log(), &home);
    println!(
        "{} requests, {} consents before",
        requests.len(),
        consents.len()
    );
    // The others are three of four.
    let consent = scene.consent(HOUSE, 1, 1).await?;
    scene.connected(CLINIC, false).await?;

    // Started without room it ends in the same words, or runs; never half.
    scene.federation.spawn_agent(CLINIC)?;
    if let Ok(status) = scene
        .federation
        .agent(CLINIC)
        .end(Duration::from_secs(5))
        .await
    {
        let log = scene.federation.agent(CLINIC).own_log();
        ended_for_want_of_room(status.code(), &log, &home);
    }
    scene.federation.agent(CLINIC).kill9()?;

    std::fs::remove_file(ballast)?;
    scene.federation.serve_agent(CLINIC).await?;
    for request in &requests {
        scene.delivered(request).await?;
    }
    scene.federation.settled(&AGENCIES, PATIENCE).await?;
    let export = scene.all_is_well().await?;
    for request in &requests {
        assert_eq!(export.count(request, "answer"), 1);
    }
    assert_eq!(export.count(&consent, "consent"), 1);
    for (consent, _) in consents {
        assert_eq!(export.count(&consent, "consent"), 1, "{consent}");
    }
    Ok(())
}

/// How a node that was started on a full disk is: ended with these words, or serving.
enum Started {
    Ended(Option<i32>, String),
    Serving(String),
}

async fn start_and_see(scene: &mut Scene, node: &str) -> Result<Started> {
    let started = match node {
        "broker" => Some(scene.federation.start_broker()?),
        _ => None,
    };
    if started.is_none() {
        scene.federation.spawn_agent(node)?;
    }
    let mut started = started;
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let process = match started.as_mut() {
            Some(broker) => broker,
            None => scene.federation.agent(node),
        };
        let (ended, log) = (process.ended()?, process.own_log());
        if let Some(status) = ended {
            return Ok(Started::Ended(status.code(), log));
        }
        let serves = match node {
            // Not asked: without a broker `status` itself opens the home.
            "broker" => log.contains("broker listens"),
            _ => scene.federation.agent_status(node).await?.is_some(),
        };
        if serves {
            return Ok(Started::Serving(log));
        }
        anyhow::ensure!(
            std::time::Instant::now() < deadline,
            "neither ended nor serving:\n{log}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn kill(scene: &mut Scene, node: &str) -> Result<()> {
    match node {
        "broker" => scene.federation.broker().kill9(),
        agency => scene.federation.agent(agency).kill9(),
    }
}

/// The journal is there, the projection is gone, and there is no room to make it again: none at
/// all, too little, just about enough.
async fn rebuilds_when_there_is_room(node: &str) -> Result<()> {
    let Some((disk, mut scene)) = scene_with_small(node).await? else {
        return Ok(());
    };
    scene.federation.settled(&AGENCIES, PATIENCE).await?;
    let before = scene.federation.broker_status().await?;
    let home = scene.federation.dir().join(node);
    kill(&mut scene, node)?;
    for left in [0, 12 * 1024, 100 * 1024] {
        scene::forget_projection(&home)?;
        let ballast = disk.fill_up_to(left)?;
        match start_and_see(&mut scene, node).await? {
            Started::Ended(code, log) => ended_for_want_of_room(code, &log, &home),
            Started::Serving(log) => {
                assert!(left > 0 && !log.contains("panicked"), "{left} left:\n{log}");
                println!("{node} serves with {left} bytes left");
            }
        }
        // Of the broker the last handle was dropped with it, which kills it.
        if node != "broker" {
            kill(&mut scene, node)?;
        }
        std::fs::remove_file(ballast)?;
    }
    match node {
        "broker" => scene.federation.serve_broker().await?,
        agency => scene.federation.serve_agent(agency).await?,
    }
    scene.federation.settled(&AGENCIES, PATIENCE).await?;
    let after = scene.federation.broker_status().await?;
    assert!(after.log_size >= before.log_size);
    scene.all_is_well().await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_brokers_projection_that_finds_no_room_is_rebuilt_when_there_is_some() -> Result<()> {
    rebuilds_when_there_is_room("broker").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agents_projection_that_finds_no_room_is_rebuilt_when_there_is_some() -> Result<()> {
    rebuilds_when_there_is_room(CLINIC).await
}
