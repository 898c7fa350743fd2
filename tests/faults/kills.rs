//! kill -9 where `tests/crash` does not aim: while a projection is rebuilt, while an agency
//! enrols, while it renews its keys. The moments are drawn from a seed.

use crate::{
    scene::{self, AGENCIES, CLINIC, EXE, HOUSE, PATIENCE, Scene},
    seeded::Seeded,
};
use anyhow::{Context as _, Result};
use passerelle_tests::{federation::Federation, process::Process};
use std::{path::PathBuf, time::Duration};

/// Longest that a command is left to itself, in milliseconds: most end within.
const LONGEST_MS: u64 = 400;

async fn sleep_below(random: &mut Seeded, limit_ms: u64) {
    tokio::time::sleep(Duration::from_millis(random.below(limit_ms))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_of_the_projection_that_is_killed_is_done_again() -> Result<()> {
    let mut random = Seeded::from_environment();
    let mut scene = Scene::open().await?;
    scene.federation.settled(&AGENCIES, PATIENCE).await?;
    let before = scene.federation.broker_status().await?.log_size;
    scene.federation.broker().kill9()?;
    scene.federation.agent(CLINIC).kill9()?;
    let (broker, clinic) = (
        scene.federation.broker_dir(),
        scene.federation.agent_dir(CLINIC),
    );
    for round in 0..16 {
        // Every other time what the killed one left is gone on with.
        if round % 2 == 0 {
            scene::forget_projection(&broker)?;
            scene::forget_projection(&clinic)?;
        }
        let started = scene.federation.start_broker()?;
        scene.federation.spawn_agent(CLINIC)?;
        sleep_below(&mut random, 200).await;
        drop(started);
        scene.federation.agent(CLINIC).kill9()?;
    }
    scene.federation.serve_broker().await?;
    scene.federation.serve_agent(CLINIC).await?;
    scene.federation.settled(&AGENCIES, PATIENCE).await?;
    assert!(scene.federation.broker_status().await?.log_size >= before);
    for log in [
        scene.federation.broker().log(),
        scene.federation.agent(CLINIC).log(),
    ] {
        assert!(!log.contains("panicked") || log.contains("/redb-"), "{log}");
    }
    scene.all_is_well().await.map(drop)
}

/// Runs a command for a while and kills it, unless it has ended.
async fn killed(
    federation: &Federation,
    args: &[&str],
    random: &mut Seeded,
) -> Result<Option<i32>> {
    let (out, log) = (
        federation.dir().join("killed.out"),
        federation.dir().join("killed.log"),
    );
    let mut process = Process::start(&PathBuf::from(EXE), args, out, log, "info")?;
    sleep_below(random, LONGEST_MS).await;
    let ended = process.ended()?;
    process.kill9()?;
    Ok(ended.and_then(|status| status.code()))
}

/// Whatever the moment, the same command with the same invitation, or one with a new invitation,
/// makes a member of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_enrolment_that_is_killed_can_be_done_again() -> Result<()> {
    let mut random = Seeded::from_environment();
    let mut federation = Federation::start(EXE).await?;
    let broker = federation.address().to_string();
    let (mut again, mut anew) = (0, 0);
    for round in 0..8 {
        let agency = format!("agency-{round}");
        let token = federation.invite(&agency, "community").await?;
        let dir = federation.agent_dir(&agency);
        let dir = dir.to_str().context("a path")?;
        let args = [
            "agent", "enrol", "--dir", dir, "--broker", &broker, "--token", &token,
        ];
        if killed(&federation, &args, &mut random).await? != Some(0) {
            let ran = federation.cli(&args).await?;
            if ran.code == 0 {
                again += 1;
            } else {
                anew += 1;
                println!("{}", ran.stderr.trim());
                let token = federation.invite(&agency, "community").await?;
                let args = [
                    "agent", "enrol", "--dir", dir, "--broker", &broker, "--token", &token,
                ];
                federation.cli(&args).await?.done()?;
            }
        }
        federation.serve_agent(&agency).await?;
    }
    println!("{again} with the same invitation, {anew} with another");
    let status = federation.broker_status().await?;
    assert_eq!(status.members.len(), 8);
    assert!(
        status
            .members
            .iter()
            .all(|member| member.active && member.connected),
        "{status:?}"
    );
    Ok(())
}

/// New keys and a new certificate, or the old ones: never half of each, and what is sealed to the
/// old key is still opened.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_of_keys_that_is_killed_leaves_old_or_new_ones() -> Result<()> {
    let mut random = Seeded::from_environment();
    let mut scene = Scene::open().await?;
    let broker = scene.federation.address().to_string();
    for round in 0..6 {
        let agency = if round % 2 == 0 { CLINIC } else { HOUSE };
        let sector = if round % 2 == 0 {
            "health"
        } else {
            "community"
        };
        scene.federation.settled(&AGENCIES, PATIENCE).await?;
        scene.federation.agent(agency).terminate().await?;
        let token = scene.federation.invite(agency, sector).await?;
        let dir = scene.federation.agent_dir(agency);
        let dir = dir.to_str().context("a path")?;
        let args = [
            "agent", "enrol", "--dir", dir, "--broker", &broker, "--token", &token,
        ];
        let ended = killed(&scene.federation, &args, &mut random).await?;
        // The same command once more, as its documentation says; it may find nothing left to do.
        let again = scene.federation.cli(&args).await?;
        println!(
            "ended with {ended:?}, then with {}: {}",
            again.code,
            again.stderr.trim()
        );
        if ended != Some(0) && again.code != 0 {
            // The broker's answer got lost, and an invitation counts once: another one does it.
            let token = scene.federation.invite(agency, sector).await?;
            let args = [
                "agent", "enrol", "--dir", dir, "--broker", &broker, "--token", &token,
            ];
            scene.federation.cli(&args).await?.done()?;
        }
        scene.federation.spawn_agent(agency)?;
        scene.link(agency, true).await?;
        scene.exchange(round % 4).await?;
    }
    scene.all_is_well().await.map(drop)
}
