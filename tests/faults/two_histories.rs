//! A broker whose home is copied and run twice, so that each half of the federation is shown a
//! history of its own. Both are consistent, and each has its quorum: the other half is shut out in
//! it. What finds it are two agencies that compare their checkpoints past the broker.

use crate::scene::{AGENCIES, CLINIC, EXE, HOUSE, OVERSIGHT, PATIENCE, POLICE, Scene};
use anyhow::{Context as _, Result};
use passerelle_tests::{cli::Ran, machine::run, office::within};
use std::{net::TcpListener, path::PathBuf, time::Duration};

/// Agencies compare once a minute.
const COMPARED: Duration = Duration::from_secs(180);

/// A port of this machine that nobody has now.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?.port())
}

impl Scene {
    /// Adds these settings, above the first table of the file; counts from the agent's next start.
    fn set(&self, agency: &str, lines: &str) -> Result<()> {
        let path = self.federation.agent_dir(agency).join("agent.toml");
        let text = std::fs::read_to_string(&path)?;
        Ok(std::fs::write(&path, format!("{lines}\n{text}"))?)
    }

    /// What the oversight body has to look at.
    async fn alerts(&self) -> Result<Ran> {
        let dir = self.federation.agent_dir(OVERSIGHT);
        let dir = dir.to_str().context("a path that is not text")?;
        self.federation
            .cli(&["audit", "alerts", "--dir", dir])
            .await
    }

    /// Waits for the alert about a fork; where its proof is.
    async fn fork_found(&self) -> Result<PathBuf> {
        within(COMPARED, "the two histories to be found", || async {
            let ran = self.alerts().await?;
            let alerts = ran.json.as_array().cloned().unwrap_or_default();
            let found = alerts.iter().find(|alert| alert["code"] == "forked");
            anyhow::ensure!(
                found.is_none() || ran.code == 1,
                "an open alert exits with 1"
            );
            let proof = found.and_then(|alert| alert["proof"].as_str());
            Ok(proof.map(PathBuf::from))
        })
        .await
    }

    async fn confirms(&self, proof: &str, key: &str) -> Result<(Option<i32>, String)> {
        let args = ["fork", proof, "--log-key", key];
        let output = self.federation.passerelle_audit(EXE, &args).await?;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.code(), String::from_utf8(said)?))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_histories_of_one_log_are_found_by_comparing_and_proven_to_anybody() -> Result<()> {
    let mut scene = Scene::open().await?;
    let port = free_port()?;
    scene.set(POLICE, &format!("checkpoint_listen = \"127.0.0.1:{port}\""))?;
    scene.set(
        OVERSIGHT,
        &format!("compare = [\"http://127.0.0.1:{port}\"]"),
    )?;
    scene.federation.restart_agent(POLICE).await?;
    scene.exchange(0).await?;
    scene.federation.settled(&AGENCIES, PATIENCE).await?;

    // The operator keeps a copy of everything, keys and all.
    for agency in [HOUSE, OVERSIGHT] {
        scene.federation.agent(agency).terminate().await?;
    }
    scene.federation.broker().terminate().await?;
    let home = scene.federation.broker_dir();
    let (copy, first) = (home.with_extension("copy"), home.with_extension("first"));
    let path = |path: &PathBuf| path.to_str().map(str::to_owned).context("not text");
    run(&["cp", "-a", &path(&home)?, &path(&copy)?])?;

    // One history for two of them: the other two are shut out in it.
    scene.federation.serve_broker().await?;
    for agency in [HOUSE, OVERSIGHT] {
        scene.federation.revoke(agency).await?;
    }
    let of_police = [POLICE, CLINIC];
    scene.federation.settled(&of_police, PATIENCE).await?;
    for agency in of_police {
        scene.federation.agent(agency).sigstop()?;
    }
    scene.federation.broker().terminate().await?;

    // And another, longer one, for the others. Who saw the first is kept away meanwhile.
    std::fs::rename(&home, &first)?;
    std::fs::rename(&copy, &home)?;
    scene.federation.serve_broker().await?;
    for agency in of_police {
        scene.federation.revoke(agency).await?;
    }
    for agency in ["fifth", "sixth", "seventh"] {
        scene.federation.invite(agency, "community").await?;
    }
    for agency in [HOUSE, OVERSIGHT] {
        scene.federation.serve_agent(agency).await?;
    }
    scene
        .federation
        .settled(&[HOUSE, OVERSIGHT], PATIENCE)
        .await?;
    let status = scene.federation.broker_status().await?;
    assert_eq!(status.published_size, status.log_size, "{status:?}");
    assert!(status.old_copy.is_none(), "nobody doubts it: {status:?}");
    for agency in of_police {
        scene.federation.agent(agency).sigcont()?;
    }

    // Neither broker nor log shows anything; the two who compare find it.
    let proof = scene.fork_found().await?;
    assert!(proof.starts_with(scene.federation.agent_dir(OVERSIGHT).join("forks")));
    let file = scene.federation.agent_dir(POLICE).join("federation.json");
    let membership: serde_json::Value = serde_json::from_slice(&std::fs::read(file)?)?;
    let key = membership["checkpoint_key"].as_str().context("no key")?;
    // The file alone convinces whoever has the log's key, from anywhere.
    let text = std::fs::read_to_string(&proof)?;
    let elsewhere = scene.federation.file("proof.txt", text.clone())?;
    let (code, said) = scene.confirms(&elsewhere, key).await?;
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("fork") && said.contains("passerelle/"),
        "{said}"
    );

    // And nobody can be convinced of what did not happen.
    let spoilt = text.replacen('4', "5", 1);
    let spoilt = match spoilt == text {
        true => text.replacen('A', "B", 1),
        false => spoilt,
    };
    let spoilt = scene.federation.file("spoilt.txt", spoilt)?;
    let (code, said) = scene.confirms(&spoilt, key).await?;
    assert_ne!(code, Some(0), "{said}");
    Ok(())
}
