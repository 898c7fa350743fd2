//! Hosts that can't reach each other: every node in a network namespace of its own, on a switch
//! whose ports are cut, made one-way, lossy or slow.

use crate::scene::{AGENCIES, CLINIC, EXE, HOUSE, OVERSIGHT, PATIENCE, POLICE, Scene};
use anyhow::Result;
use passerelle_tests::{
    federation::Federation,
    hosts::{Fault, Network},
    machine::given,
};
use std::time::{Duration, Instant};

const BROKER: &str = passerelle_tests::federation::BROKER;

/// Each node on a host of its own. The network comes first: it is taken away after the processes.
async fn scene() -> Result<Option<(Network, Scene)>> {
    let hosts = [&[BROKER][..], &AGENCIES].concat();
    let Some(network) = given("network namespaces", Network::lay(&hosts))? else {
        return Ok(None);
    };
    let mut federation = Federation::prepare(EXE)?;
    for host in hosts {
        federation.surround(host, network.on(host)?);
    }
    federation.listen_at(network.address(BROKER)?);
    let scene = Scene::open_in(federation).await?;
    Ok(Some((network, scene)))
}

/// Shorter than any keep-alive: connections outlive it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_cut_of_any_link_delays_and_loses_nothing() -> Result<()> {
    let Some((network, scene)) = scene().await? else {
        return Ok(());
    };
    let mut requests = Vec::new();
    for host in [CLINIC, BROKER] {
        network.fault(host, Fault::Silence)?;
        let request = scene.ask(1).await?;
        tokio::time::sleep(Duration::from_millis(1200)).await;
        assert!(
            !scene.is_in_the_inbox(&request).await?,
            "through the cut of `{host}`"
        );
        network.heal()?;
        let began = Instant::now();
        scene.delivered(&request).await?;
        println!("`{host}` cut: answered {:?} after", began.elapsed());
        requests.push(request);
    }
    let export = scene.all_is_well().await?;
    for request in &requests {
        assert_eq!(export.count(request, "answer"), 1);
    }
    Ok(())
}

/// Longer than the keep-alive of both ends, the cable pulled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_cut_of_the_holder_is_noticed_at_both_ends_and_healed() -> Result<()> {
    let Some((network, scene)) = scene().await? else {
        return Ok(());
    };
    network.unplug(CLINIC)?;
    let request = scene.ask(1).await?;
    let consent = scene.consent(CLINIC, 2, 1).await?;
    let began = Instant::now();
    scene.connected(CLINIC, false).await?;
    scene.link(CLINIC, false).await?;
    println!("both ends noticed after {:?}", began.elapsed());
    // Three of four agencies go on.
    let other = scene.consent(HOUSE, 3, 1).await?;
    assert!(scene.line(&request).await?.status.is_open());
    network.heal()?;
    scene.delivered(&request).await?;
    scene.federation.settled(&AGENCIES, PATIENCE).await?;
    let export = scene.all_is_well().await?;
    assert_eq!(export.count(&request, "answer"), 1);
    for consent in [consent, other] {
        assert_eq!(export.count(&consent, "consent"), 1);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_no_side_of_a_partition_has_a_quorum_nothing_leaves() -> Result<()> {
    let Some((network, scene)) = scene().await? else {
        return Ok(());
    };
    scene.federation.settled(&AGENCIES, PATIENCE).await?;
    for host in [POLICE, OVERSIGHT] {
        network.fault(host, Fault::Silence)?;
    }
    let request = scene.ask(1).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!scene.is_in_the_inbox(&request).await?);
    let status = scene.federation.broker_status().await?;
    assert!(status.published_size < status.log_size, "{status:?}");
    network.heal()?;
    scene.delivered(&request).await?;
    scene.all_is_well().await.map(drop)
}

/// One direction is lost: one agency speaks and hears nothing, another hears and is not heard.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_works_one_way_is_given_up_and_taken_up_again() -> Result<()> {
    let Some((network, scene)) = scene().await? else {
        return Ok(());
    };
    network.fault(CLINIC, Fault::Mute)?;
    network.fault(OVERSIGHT, Fault::Deaf)?;
    let request = scene.ask(1).await?;
    for agency in [CLINIC, OVERSIGHT] {
        scene.connected(agency, false).await?;
        scene.link(agency, false).await?;
    }
    assert!(scene.line(&request).await?.status.is_open());
    assert!(!scene.is_in_the_inbox(&request).await?);
    network.heal()?;
    scene.delivered(&request).await?;
    scene.all_is_well().await.map(drop)
}

/// The broker's host restarts behind a cut: the agents hold connections that nobody has any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_connections_to_a_broker_that_restarted_are_found_out() -> Result<()> {
    let Some((network, mut scene)) = scene().await? else {
        return Ok(());
    };
    network.fault(BROKER, Fault::Silence)?;
    let request = scene.ask(1).await?;
    scene.federation.restart_broker().await?;
    network.heal()?;
    let began = Instant::now();
    scene.delivered(&request).await?;
    println!("answered {:?} after", began.elapsed());
    let export = scene.all_is_well().await?;
    assert_eq!(export.count(&request, "request"), 1);
    assert_eq!(export.count(&request, "answer"), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lossy_and_slow_links_delay_and_break_nothing() -> Result<()> {
    let Some((network, scene)) = scene().await? else {
        return Ok(());
    };
    for host in [CLINIC, HOUSE] {
        network.fault(host, Fault::Loss(15))?;
        network.slow(host, 128)?;
    }
    let mut requests = Vec::new();
    for person in [0, 1, 2, 3, 0, 1] {
        requests.push(scene.ask(person).await?);
    }
    let began = Instant::now();
    for request in &requests {
        scene.delivered(request).await?;
    }
    println!("six exchanges in {:?}", began.elapsed());
    network.heal()?;
    let export = scene.all_is_well().await?;
    for request in &requests {
        assert_eq!(export.count(request, "answer"), 1);
    }
    Ok(())
}
