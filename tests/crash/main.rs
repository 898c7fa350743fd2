//! What was acknowledged is there after kill -9, at whatever moment it comes.
//!
//! The rounds are drawn from a seed, which is printed; `PASSERELLE_SEED` repeats them as far as
//! the machine's own timing allows. With `PASSERELLE_KEEP` set, what did not recover is kept.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: what is wrong should end the test where it stands"
)]

mod checks;
mod ground;
mod load;
mod projection;
mod seeded;
mod watch;

use anyhow::Result;
use ground::{AGENCIES, CLINIC, Ground, HOUSE, POLICE};
use load::Load;
use seeded::Seeded;
use std::time::Duration;
use watch::Watch;

const EXE: &str = env!("CARGO_BIN_EXE_passerelle");

/// How often something is killed.
const ROUNDS: usize = 50;

/// Until when every exchange must have ended once everything runs again.
const SETTLE: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_crashes_under_load_lose_nothing_and_leave_nothing_open() -> Result<()> {
    let mut random = Seeded::from_environment();
    let mut ground = Ground::lay(EXE).await?;
    let watch = Watch::begin(&ground.federation)?;
    let load = Load::begin(&ground);
    for _ in 0..ROUNDS {
        let pause_ms = 20 + random.below(380);
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        // The broker in every third round or so: most depends on it.
        let victim = match random.below(7) {
            0 | 1 => "broker",
            2 => "oversight",
            3 => POLICE,
            4 => HOUSE,
            _ => CLINIC,
        };
        ground.crash(victim).await?;
    }
    let said = load.end().await?;
    ground.recover(&said, SETTLE).await?;
    let published = watch.end().await?;
    let export = ground.federation.export("oversight").await?;
    println!(
        "{} requests, {} consents acknowledged; {} entries, {} checkpoints",
        said.asked.len(),
        said.consents.len(),
        export.entries.len(),
        published.len()
    );
    assert!(
        said.asked.len() >= 50,
        "the load was too small: {}",
        said.asked.len()
    );
    assert!(
        published.len() >= 20,
        "too few checkpoints: {}",
        published.len()
    );
    checks::acknowledged_is_there(&export, &said);
    checks::tree_is_consistent(&export, &published);
    checks::every_exchange_ended_once(&export);
    checks::auditor_accepts(&ground.federation, EXE, &export).await?;
    checks::nobody_panicked(&mut ground.federation, &AGENCIES)
}
