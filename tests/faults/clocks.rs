//! Clocks that jump, one node's or everybody's, in the middle of an exchange.
//!
//! What is expected: nothing is released under a permit or on a consent that has expired by the
//! log's time or the holder's; the log's time never goes back; what could not be done while a
//! clock was wrong is done once it is right.

use crate::scene::{
    AGENCIES, CLINIC, EXE, HOUSE, LOOKED_AT, OVERSIGHT, PATIENCE, POLICE, Scene, WORKER, is_over,
};
use anyhow::Result;
use passerelle_model::{entry::EntryBody, request::Status, statement::Body};
use passerelle_tests::{
    export::Export, false_clock::FalseClock, federation::Federation, machine::given, office::within,
};
use std::{collections::BTreeMap, time::Duration};

const MINUTE: i64 = 60;
const DAY: i64 = 24 * 60 * MINUTE;

/// Long enough for an exchange, had it not to wait.
const WHILE: Duration = Duration::from_secs(3);

struct Clocks(BTreeMap<&'static str, FalseClock>);

impl Clocks {
    fn set(&self, node: &str, ahead_s: i64) -> Result<()> {
        self.0[node].set(ahead_s)
    }

    /// Time passes for everybody.
    fn set_all(&self, ahead_s: i64) -> Result<()> {
        self.0.values().try_for_each(|clock| clock.set(ahead_s))
    }
}

async fn scene() -> Result<Option<(Scene, Clocks)>> {
    let mut federation = Federation::prepare(EXE)?;
    let mut clocks = BTreeMap::new();
    for node in AGENCIES.into_iter().chain(["broker"]) {
        let clock = FalseClock::at(&federation.dir().join(format!("{node}.clock")));
        let Some(clock) = given("a clock that can be set", clock)? else {
            return Ok(None);
        };
        federation.surround(node, clock.around());
        clocks.insert(node, clock);
    }
    Ok(Some((Scene::open_in(federation).await?, Clocks(clocks))))
}

/// The permits that were offered for a request, and the one that was used, by digest.
fn permits(
    export: &Export,
    request: &str,
) -> (
    Vec<passerelle_model::bytes::Digest>,
    Option<passerelle_model::bytes::Digest>,
) {
    let offered = export.entries.iter().filter_map(|entry| match &entry.body {
        EntryBody::Offered { permit } if permit.request.to_string() == request => {
            Some(permit.digest().unwrap())
        }
        _ => None,
    });
    let used = export
        .statements()
        .find_map(|(_, statement)| match statement.body {
            Body::Answer(answer) if answer.request.to_string() == request => Some(answer.permit),
            _ => None,
        });
    (offered.collect(), used)
}

/// A question that somebody at the clinic has to look at, once it lies there.
async fn looked_at(scene: &Scene) -> Result<String> {
    let request = scene.ask(LOOKED_AT).await?;
    scene.reaches_the_clinic(&request).await?;
    Ok(request)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permit_that_expires_while_somebody_looks_is_decided_again() -> Result<()> {
    let Some((scene, clocks)) = scene().await? else {
        return Ok(());
    };
    scene.consent(HOUSE, LOOKED_AT, 100).await?;
    let request = looked_at(&scene).await?;
    clocks.set_all(10 * MINUTE)?;
    scene.approve(&request).await?;
    scene.delivered(&request).await?;
    let export = scene.all_is_well().await?;
    let (offered, used) = permits(&export, &request);
    assert_eq!(offered.len(), 2, "{:?}", export.kinds(&request));
    assert_eq!(used, offered.last().copied());
    println!("{:?}", export.kinds(&request));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consent_that_ends_while_somebody_looks_releases_nothing() -> Result<()> {
    let Some((scene, clocks)) = scene().await? else {
        return Ok(());
    };
    scene.consent(HOUSE, LOOKED_AT, 1).await?;
    let request = looked_at(&scene).await?;
    clocks.set_all(2 * DAY)?;
    scene.approve(&request).await?;
    let line = scene.line_until(&request, is_over).await?;
    assert!(
        matches!(line.status, Status::Stopped | Status::Denied),
        "{line:?}"
    );
    assert!(scene.view(&request).await?.answer.is_none());
    let again = scene.ask(LOOKED_AT).await?;
    let line = scene.line_until(&again, is_over).await?;
    assert_eq!(line.status, Status::Denied);
    let export = scene.all_is_well().await?;
    for request in [&request, &again] {
        println!("{:?}", export.kinds(request));
        assert_eq!(export.count(request, "answer"), 0);
    }
    Ok(())
}

/// Time passes for everybody until old permits are over, and the clinic connects anew: what it
/// could not use is offered again.
async fn offered_again(scene: &mut Scene, clocks: &Clocks, ahead_s: i64) -> Result<()> {
    clocks.set_all(ahead_s)?;
    scene.federation.restart_agent(CLINIC).await
}

/// Nothing has come of a request, and nothing does for as long as a clock is wrong.
async fn nothing_is_released(scene: &Scene, request: &str) -> Result<()> {
    tokio::time::sleep(WHILE).await;
    let view = scene.view(request).await?;
    assert!(
        view.line.status.is_open() && view.answer.is_none(),
        "{view:?}"
    );
    Ok(())
}

/// The holder believes that its permit still lives; the log knows better.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_whose_clock_is_slow_gets_nothing_through_under_an_old_permit() -> Result<()> {
    let Some((mut scene, clocks)) = scene().await? else {
        return Ok(());
    };
    scene.consent(HOUSE, LOOKED_AT, 100).await?;
    let request = looked_at(&scene).await?;
    for node in ["broker", HOUSE, POLICE, OVERSIGHT] {
        clocks.set(node, 10 * MINUTE)?;
    }
    let args = [request.as_str(), "--worker", WORKER];
    let approved = scene.federation.agent_cli(CLINIC, "approve", &args).await?;
    println!("{approved:?}");
    nothing_is_released(&scene, &request).await?;
    offered_again(&mut scene, &clocks, 20 * MINUTE).await?;
    scene.delivered(&request).await?;
    let export = scene.all_is_well().await?;
    println!("{:?}", export.kinds(&request));
    let (offered, used) = permits(&export, &request);
    assert!(
        offered.len() >= 2 && used == offered.last().copied(),
        "{offered:?}, {used:?}"
    );
    Ok(())
}

/// To a fast clock every permit is over, to a slow one it is of the future: neither is used.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_whose_clock_is_wrong_releases_nothing_until_it_is_right() -> Result<()> {
    let Some((mut scene, clocks)) = scene().await? else {
        return Ok(());
    };
    let mut requests = Vec::new();
    for (person, ahead_s) in [(0, 10 * MINUTE), (1, -10 * MINUTE), (2, DAY), (3, -DAY)] {
        clocks.set(CLINIC, ahead_s)?;
        let request = scene.ask(person).await?;
        nothing_is_released(&scene, &request).await?;
        requests.push(request);
    }
    offered_again(&mut scene, &clocks, 6 * MINUTE).await?;
    for request in &requests {
        scene.delivered(request).await?;
    }
    let export = scene.all_is_well().await?;
    for request in &requests {
        println!("{:?}", export.kinds(request));
        assert_eq!(export.count(request, "answer"), 1);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_asker_whose_clock_is_fast_is_told_and_a_slow_one_gets_its_answer() -> Result<()> {
    let Some((scene, clocks)) = scene().await? else {
        return Ok(());
    };
    for ahead_s in [10 * MINUTE, DAY, 60 * DAY, -60 * DAY] {
        clocks.set(HOUSE, ahead_s)?;
        let refused = scene.ask(1).await.expect_err("a statement of another time");
        assert!(
            refused.to_string().contains("check the clock"),
            "{refused:?}"
        );
    }
    // An agency may have been offline for a while: what it said then counts.
    for ahead_s in [-10 * MINUTE, -DAY] {
        clocks.set(HOUSE, ahead_s)?;
        scene.exchange(2).await?;
    }
    clocks.set(HOUSE, 0)?;
    scene.all_is_well().await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_broker_is_ahead_nothing_is_released_and_the_log_never_goes_back() -> Result<()> {
    let Some((mut scene, clocks)) = scene().await? else {
        return Ok(());
    };
    clocks.set("broker", 10 * MINUTE)?;
    let request = scene.ask(1).await?;
    nothing_is_released(&scene, &request).await?;
    // Right again: ten minutes behind its own log.
    clocks.set("broker", 0)?;
    let later = scene.ask(2).await?;
    nothing_is_released(&scene, &later).await?;
    scene.federation.broker().kill9()?;
    refuses_for_the_clock(&scene).await?;
    // The others' time reaches the log's.
    clocks.set_all(16 * MINUTE)?;
    scene.federation.serve_broker().await?;
    for request in [&request, &later] {
        scene.delivered(request).await?;
    }
    scene.all_is_well().await.map(drop)
}

/// A broker that is started far behind its log says so and ends.
async fn refuses_for_the_clock(scene: &Scene) -> Result<()> {
    let mut broker = scene.federation.start_broker()?;
    let ended = broker.end(PATIENCE).await?;
    let log = broker.own_log();
    println!("{}", log.lines().last().unwrap_or_default());
    assert_eq!(ended.code(), Some(3));
    assert!(log.contains("set the clock right"), "{log}");
    Ok(())
}

/// Ahead by more than any request lives: all that is open ends, for good, and nothing is released.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_sixty_days_ahead_ends_what_is_open_and_does_not_start_when_it_is_back()
-> Result<()> {
    let Some((mut scene, clocks)) = scene().await? else {
        return Ok(());
    };
    scene.federation.agent(CLINIC).terminate().await?;
    let request = scene.ask(1).await?;
    clocks.set("broker", 60 * DAY)?;
    let line = scene.line_until(&request, is_over).await?;
    assert_eq!(line.status, Status::Expired);
    let refused = scene
        .ask(2)
        .await
        .expect_err("a statement of sixty days ago");
    assert!(
        refused.to_string().contains("check the clock"),
        "{refused:?}"
    );
    scene.federation.broker().kill9()?;
    for ahead_s in [0, DAY, 59 * DAY] {
        clocks.set("broker", ahead_s)?;
        refuses_for_the_clock(&scene).await?;
    }
    // When that day has come it goes on.
    clocks.set_all(60 * DAY + MINUTE)?;
    scene.federation.serve_broker().await?;
    scene.federation.serve_agent(CLINIC).await?;
    let export = scene.all_is_well().await?;
    assert_eq!(export.count(&request, "answer"), 0);
    Ok(())
}

/// A day behind while it runs: the log's time stands still, and what it would decide for longer
/// than a permit lives does not get past the holder's own clock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_falls_behind_keeps_the_logs_time() -> Result<()> {
    let Some((mut scene, clocks)) = scene().await? else {
        return Ok(());
    };
    scene.consent(HOUSE, LOOKED_AT, 1).await?;
    clocks.set("broker", -DAY)?;
    scene.exchange(1).await?;
    scene.federation.broker().kill9()?;
    refuses_for_the_clock(&scene).await?;
    clocks.set("broker", 0)?;
    scene.federation.serve_broker().await?;
    // Cut off, the house would take a question and keep it until it is back.
    scene.link(HOUSE, true).await?;
    scene.connected(CLINIC, true).await?;
    // Everybody else's day passes; the broker's does not.
    for node in AGENCIES {
        clocks.set(node, DAY + 10 * MINUTE)?;
    }
    let asked = scene.ask(LOOKED_AT).await;
    println!("{asked:?}");
    assert!(
        asked.is_err(),
        "the broker takes nothing from a day ahead of it"
    );
    clocks.set_all(DAY + 10 * MINUTE)?;
    let request = scene.ask(LOOKED_AT).await?;
    let line = scene.line_until(&request, is_over).await?;
    assert_eq!(line.status, Status::Denied);
    scene.all_is_well().await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_counts_only_while_it_is_valid_by_both_clocks() -> Result<()> {
    let Some((mut scene, clocks)) = scene().await? else {
        return Ok(());
    };
    // The broker's own lasts two years, an agency's one.
    for ahead_s in [800 * DAY, -DAY] {
        clocks.set(POLICE, ahead_s)?;
        scene.federation.agent(POLICE).kill9()?;
        scene.federation.spawn_agent(POLICE)?;
        let status = within(PATIENCE, "the agent to have tried", || async {
            let status = scene.federation.agent_status(POLICE).await?;
            Ok(status.filter(|s| s.last_error.is_some()))
        })
        .await?;
        assert!(!status.connected);
        // Its code for "check the clock".
        assert_eq!(status.last_error.as_deref(), Some("stale"), "{status:?}");
        // The quorum is met without it.
        scene.exchange(1).await?;
    }
    clocks.set(POLICE, 0)?;
    scene.federation.restart_agent(POLICE).await?;
    // The other way round: the broker thinks that a member's certificate is over.
    clocks.set("broker", 400 * DAY)?;
    scene.federation.agent(POLICE).kill9()?;
    scene.federation.spawn_agent(POLICE)?;
    let status = within(PATIENCE, "the agent to have tried", || async {
        let status = scene.federation.agent_status(POLICE).await?;
        Ok(status.filter(|s| s.last_error.is_some()))
    })
    .await?;
    println!("broker ahead: {:?}", status.last_error);
    assert!(!status.connected);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recalled_answer_is_erased_a_day_later_and_the_log_has_it_attested() -> Result<()> {
    let Some((mut scene, clocks)) = scene().await? else {
        return Ok(());
    };
    let consent = scene.consent(CLINIC, LOOKED_AT, 300).await?;
    let request = scene.ask(LOOKED_AT).await?;
    scene.delivered(&request).await?;
    let args = [consent.as_str()];
    let withdrawn = scene
        .federation
        .agent_cli(CLINIC, "consent withdraw", &args);
    withdrawn.await?.done()?;
    within(PATIENCE, "the recall", || async {
        let answer = scene.view(&request).await?.answer;
        Ok(answer.is_some_and(|a| a.recalled).then_some(()))
    })
    .await?;
    clocks.set_all(23 * 60 * MINUTE)?;
    scene.federation.restart_agent(HOUSE).await?;
    assert!(scene.view(&request).await?.answer.is_some(), "not yet");
    clocks.set_all(DAY + MINUTE)?;
    scene.federation.restart_agent(HOUSE).await?;
    let is_erased = |line: &passerelle_proto::views::RequestLine| line.status == Status::Erased;
    scene.line_until(&request, is_erased).await?;
    assert!(scene.view(&request).await?.answer.is_none());
    let export = scene.all_is_well().await?;
    let receipts = export.statements().filter(|(_, statement)| {
        let kind = passerelle_model::statement::ReceiptKind::Erased;
        matches!(&statement.body, Body::Receipt(r) if r.kind == kind && r.request.as_str() == request)
    });
    assert_eq!(receipts.count(), 1);
    Ok(())
}

/// A day later every agency has the count of what reached it, and the auditor counts the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_day_is_over_it_is_sealed_and_everybody_counts_the_same() -> Result<()> {
    let Some((mut scene, clocks)) = scene().await? else {
        return Ok(());
    };
    scene.consent(HOUSE, LOOKED_AT, 1).await?;
    scene.exchange(1).await?;
    clocks.set_all(DAY)?;
    for node in AGENCIES {
        let status = within(PATIENCE, "the seal of the day", || async {
            let status = scene.federation.agent_status(node).await?;
            Ok(status.filter(|s| s.sealed_at.is_some()))
        })
        .await?;
        assert_eq!(status.seal_faults, [], "{node}");
    }
    // What is restarted or rebuilt counts the same.
    scene.federation.agent(CLINIC).kill9()?;
    scene.federation.serve_agent(CLINIC).await?;
    let export = scene.all_is_well().await?;
    let report = export.verify()?;
    assert_eq!(report.checks["seals_counted_again"], AGENCIES.len() as u64);
    Ok(())
}
