//! Outside witnesses that must be met: below so many no permit leaves, and any that many will do.

use crate::{
    outside::{PROMPT, Watched},
    scene::{CLINIC, PATIENCE},
};
use anyhow::Result;
use passerelle_proto::views::BrokerStatus;
use passerelle_tests::office::within;
use std::time::Duration;

/// How long nothing has to happen for it to count as not happening.
const QUIET: Duration = Duration::from_secs(3);

impl Watched {
    /// Writes `outside_required` into `broker.toml`, and starts the broker with it.
    async fn require(&mut self, witnesses: i64) -> Result<()> {
        self.scene.federation.configure(|table| {
            table.insert("outside_required".to_owned(), witnesses.into());
        })?;
        self.scene.federation.restart_broker().await?;
        self.connected().await
    }

    /// Waits until the broker says that a checkpoint waits for outside witnesses alone.
    async fn waits(&self) -> Result<BrokerStatus> {
        within(PATIENCE, "the broker to say that it waits", || async {
            let status = self.scene.federation.broker_status().await?;
            Ok(status.waits_for_outside.is_some().then_some(status))
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn below_the_required_outside_witnesses_no_permit_leaves_and_requests_wait() -> Result<()> {
    let mut watched = Watched::open(&["one", "two", "three"]).await?;
    watched.require(2).await?;
    assert!(watched.scene.exchange(0).await? < PROMPT);

    // One too many for nothing: a frozen one does not slow the two that are met.
    watched.witnesses[0].process().sigstop()?;
    for person in 1..3 {
        let took = watched.scene.exchange(person).await?;
        assert!(took < PROMPT, "{took:?}");
    }

    // One too few: what is asked is taken, and waits.
    watched.witnesses[1].process().kill9()?;
    let request = watched.scene.ask(3).await?;
    let before = watched.waits().await?;
    tokio::time::sleep(QUIET).await;
    let status = watched.scene.federation.broker_status().await?;
    assert_eq!(status.published_size, before.published_size, "{status:?}");
    assert!(status.log_size > status.published_size, "{status:?}");
    let wait = status.waits_for_outside.expect("it still waits");
    assert!(wait.have < 2 && wait.size > status.published_size);
    assert!(status.outside_required == 2 && status.outside_witnesses.len() == 3);
    assert!(
        !watched.scene.is_in_the_inbox(&request).await?,
        "at {CLINIC}"
    );
    let line = watched.scene.line(&request).await?;
    assert!(
        line.status.is_open(),
        "it waits, and is not refused: {line:?}"
    );

    // A restart changes nothing of that: the members' word alone is not enough.
    watched.scene.federation.restart_broker().await?;
    watched.connected().await?;
    watched.waits().await?;
    tokio::time::sleep(QUIET).await;
    assert!(
        !watched.scene.is_in_the_inbox(&request).await?,
        "at {CLINIC}"
    );

    // Once one is back it goes on by itself.
    watched.witnesses[1].serve().await?;
    watched.scene.delivered(&request).await?;
    watched.witnesses[0].process().sigcont()?;
    watched.cosigned(&[0, 1, 2]).await?;
    watched.scene.all_is_well().await?;
    Ok(())
}
