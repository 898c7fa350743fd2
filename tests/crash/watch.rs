//! Somebody who keeps every checkpoint that is published while the crashes go on.

use anyhow::{Context as _, Result};
use passerelle_agent::{csr::TlsIdentity, tls_client::BrokerConnector};
use passerelle_audit::{
    checkpoint,
    note::{Note, VerifierKey},
};
use passerelle_model::bytes::Digest;
use passerelle_proto::v1::{LatestCheckpointRequest, log_read_client::LogReadClient};
use passerelle_tests::{federation::Federation, raw_agency::channel};
use std::{collections::BTreeSet, net::SocketAddr, time::Duration};
use tokio::{sync::watch, task::JoinHandle};

/// Sizes with roots, each signed by the log and, when published, cosigned by a quorum.
pub(crate) type Published = BTreeSet<(u64, Digest)>;

pub(crate) struct Watch {
    task: JoinHandle<Result<Published>>,
    stop: watch::Sender<bool>,
}

impl Watch {
    /// Watches with the credentials of the oversight body.
    pub(crate) fn begin(federation: &Federation) -> Result<Self> {
        let dir = federation.agent_dir("oversight");
        let pem = std::fs::read_to_string(dir.join("tls/agent.pem"))?;
        let root = std::fs::read(dir.join("tls/ca.pem"))?;
        let membership: serde_json::Value =
            serde_json::from_slice(&std::fs::read(dir.join("federation.json"))?)?;
        let key = membership["checkpoint_key"].as_str().context("no key")?;
        let log: VerifierKey = key.parse()?;
        let identity = TlsIdentity::new(&pem, b"");
        let connector = BrokerConnector::new(federation.name(), &root, &identity)?;
        let (stop, stopped) = watch::channel(false);
        let address = federation.address();
        let task = tokio::spawn(async move {
            let mut published = Published::new();
            while !*stopped.borrow() {
                // The broker may be down.
                let _ = poll(address, &connector, &log, &stopped, &mut published).await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(published)
        });
        Ok(Self { task, stop })
    }

    pub(crate) async fn end(self) -> Result<Published> {
        self.stop.send_replace(true);
        self.task.await?
    }
}

/// Polls until the connection breaks. The outer error is a checkpoint that does not verify.
async fn poll(
    address: SocketAddr,
    connector: &BrokerConnector,
    log: &VerifierKey,
    stopped: &watch::Receiver<bool>,
    published: &mut Published,
) -> Result<Result<(), tonic::Status>> {
    let mut client = match channel(address, connector.clone()).await {
        Ok(channel) => LogReadClient::new(channel),
        Err(status) => return Ok(Err(status)),
    };
    while !*stopped.borrow() {
        let latest = client.latest_checkpoint(LatestCheckpointRequest {});
        let note = match tokio::time::timeout(Duration::from_secs(5), latest).await {
            Ok(Ok(latest)) => latest.into_inner().checkpoint,
            Ok(Err(status)) => return Ok(Err(status)),
            Err(_) => return Ok(Ok(())),
        };
        let signed = checkpoint::open(&note, log)?;
        // The log's own signature and those of three witnesses.
        anyhow::ensure!(Note::parse(&note)?.signatures().len() >= 4, "{note}");
        let checkpoint = signed.checkpoint();
        published.insert((checkpoint.size(), checkpoint.root()));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(Ok(()))
}
