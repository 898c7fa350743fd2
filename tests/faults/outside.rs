//! Witnesses outside the federation: what they add, and that nobody waits for them.

use crate::scene::{AGENCIES, EXE, OVERSIGHT, PATIENCE, Scene};
use anyhow::{Context as _, Result};
use passerelle_audit::{
    checkpoint::{SignedCheckpoint, open},
    cosignature::cosigned_by,
    note::VerifierKey,
};
use passerelle_proto::views::OutsideWitness as Seen;
use passerelle_tests::{machine::run, office::within, outside::OutsideWitness};
use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Longer than an exchange takes on a slow machine, shorter than the broker waits for a witness.
pub(crate) const PROMPT: Duration = Duration::from_secs(8);

/// A federation at work, its broker with tiles and these witnesses.
pub(crate) struct Watched {
    pub(crate) scene: Scene,
    log: VerifierKey,
    pub(crate) witnesses: Vec<OutsideWitness>,
}

impl Watched {
    pub(crate) async fn open(names: &[&str]) -> Result<Self> {
        let mut scene = Scene::open().await?;
        let membership = scene
            .federation
            .agent_dir(OVERSIGHT)
            .join("federation.json");
        let membership: serde_json::Value = serde_json::from_slice(&std::fs::read(membership)?)?;
        let log = membership["checkpoint_key"].as_str().context("no key")?;
        let mut witnesses = Vec::new();
        for name in names {
            let mut witness = scene.federation.outside_witness(name, log).await?;
            witness.serve().await?;
            witnesses.push(witness);
        }
        let all: Vec<_> = witnesses.iter().collect();
        scene.federation.name_outside(&all)?;
        scene.federation.configure(|table| {
            table.insert("tiles".to_owned(), "127.0.0.1:0".into());
        })?;
        let log = log.parse()?;
        scene.federation.restart_broker().await?;
        let mut watched = Self {
            scene,
            log,
            witnesses,
        };
        watched.connected().await?;
        Ok(watched)
    }

    pub(crate) async fn connected(&mut self) -> Result<()> {
        for agency in AGENCIES {
            self.scene.connected(agency, true).await?;
            self.scene.link(agency, true).await?;
        }
        Ok(())
    }

    /// `/checkpoint`, as anybody gets it.
    fn checkpoint(&mut self) -> Result<SignedCheckpoint> {
        let said = self.scene.federation.broker().own_log();
        let line = said.lines().find(|l| l.contains("served to anybody"));
        let (_, rest) = line.context("no tiles")?.split_once("127.0.0.1:").unwrap();
        let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
        let mut tcp = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port.parse()?)))?;
        tcp.set_read_timeout(Some(Duration::from_secs(20)))?;
        tcp.write_all(b"GET /checkpoint HTTP/1.1\r\nHost: log\r\nConnection: close\r\n\r\n")?;
        let mut reply = String::new();
        tcp.read_to_string(&mut reply)?;
        let (_, note) = reply.split_once("\r\n\r\n").context("no body")?;
        Ok(open(note, &self.log)?)
    }

    /// Waits until the newest checkpoint has the cosignatures of these witnesses; its size.
    pub(crate) async fn cosigned(&mut self, which: &[usize]) -> Result<u64> {
        self.scene.federation.settled(&AGENCIES, PATIENCE).await?;
        let keys = which.iter().map(|n| self.witnesses[*n].key().parse());
        let keys: Vec<VerifierKey> = keys.collect::<Result<_, _>>()?;
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            let status = self.scene.federation.broker_status().await?;
            let signed = self.checkpoint()?;
            let found = cosigned_by(&signed, &keys)?.len();
            let size = signed.checkpoint().size();
            if found == keys.len() && size == status.log_size {
                return Ok(size);
            }
            let late = std::time::Instant::now() > deadline;
            anyhow::ensure!(!late, "{found} of {}: {status:?}", keys.len());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn seen(&self, which: usize) -> Result<Seen> {
        let status = self.scene.federation.broker_status().await?;
        let seen = status.outside_witnesses.get(which).cloned();
        seen.context("the status does not show it")
    }

    /// Waits until the broker sees this trouble with a witness.
    async fn trouble(&self, which: usize, words: &str) -> Result<Seen> {
        within(PATIENCE, &format!("trouble with `{words}`"), || async {
            let seen = self.seen(which).await?;
            let is = seen.error.as_ref().is_some_and(|e| e.contains(words));
            Ok(is.then_some(seen))
        })
        .await
    }

    /// A policy file: the log, the witnesses, and one that has cosigned nothing.
    fn policy(&self, quorum: &str) -> Result<String> {
        let stranger = passerelle_audit::cosignature::Cosigner::new(
            "witness.example/third",
            passerelle_audit::keys::SigningKey::from_seed(&[7; 32]),
        )?;
        let mut text = format!("log {}\n", self.log);
        for (n, witness) in self.witnesses.iter().enumerate() {
            text.push_str(&format!(
                "witness w{n} {} {}\n",
                witness.key(),
                witness.url()
            ));
        }
        text.push_str(&format!("witness third {}\n", stranger.verifier_key()));
        text.push_str(&format!("{quorum}quorum q\n"));
        self.scene.federation.file("policy.txt", text)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outside_cosignatures_are_published_and_a_policy_asks_for_them() -> Result<()> {
    let mut watched = Watched::open(&["one", "two"]).await?;
    watched.scene.exchange(0).await?;
    let size = watched.cosigned(&[0, 1]).await?;
    let export = watched.scene.federation.export(OVERSIGHT).await?;
    let export = export.path.to_str().context("a path that is not text")?;
    for (quorum, code) in [
        ("group q all w0 w1\n", 0),
        ("group q 2 w0 w1 third\n", 0),
        ("group q all w0 w1 third\n", 1),
        ("group g any w0 w1\ngroup q all g third\n", 1),
    ] {
        let policy = watched.policy(quorum)?;
        let args = ["verify", export, "--policy", &policy];
        let output = watched
            .scene
            .federation
            .passerelle_audit(EXE, &args)
            .await?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(code), "{quorum}: {said}");
        let note = watched.checkpoint()?.note().to_string();
        let file = watched.scene.federation.file("checkpoint.txt", note)?;
        let args = ["checkpoint", &file, "--policy", &policy];
        let output = watched
            .scene
            .federation
            .passerelle_audit(EXE, &args)
            .await?;
        assert_eq!(output.status.code(), Some(code), "{quorum}");
    }

    // One is killed: exchanges and the other go on, and the operator sees it.
    watched.witnesses[0].process().kill9()?;
    assert!(watched.scene.exchange(1).await? < PROMPT);
    let later = watched.cosigned(&[1]).await?;
    assert!(later > size);
    let seen = watched.trouble(0, "reached").await?;
    assert!(seen.size < later, "{seen:?}");
    let at = watched.witnesses[0].stands_at(&watched.scene.federation);
    let before = at.await?;
    assert!((1..later).contains(&before.0), "{before:?}");
    watched.witnesses[0].serve().await?;
    let caught_up = watched.cosigned(&[0, 1]).await?;
    assert!(caught_up >= later);
    assert_eq!(watched.seen(0).await?.error, None);

    // So does a broker that was killed: it asks where they stand.
    watched.scene.federation.restart_broker().await?;
    watched.connected().await?;
    watched.scene.exchange(2).await?;
    watched.cosigned(&[0, 1]).await?;
    for witness in &watched.witnesses {
        assert_eq!(witness.stands_at(&watched.scene.federation).await?.1, 0);
    }
    watched.scene.all_is_well().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_witness_that_is_frozen_or_nowhere_slows_no_exchange() -> Result<()> {
    let mut watched = Watched::open(&["frozen", "gone", "good"]).await?;
    watched.cosigned(&[0, 1, 2]).await?;
    watched.witnesses[0].process().sigstop()?;
    watched.witnesses[1].process().kill9()?;
    for person in 0..3 {
        let took = watched.scene.exchange(person).await?;
        assert!(took < PROMPT, "{took:?}");
    }
    watched.cosigned(&[2]).await?;
    watched.trouble(0, "in time").await?;
    watched.trouble(1, "reached").await?;
    let took = watched.scene.exchange(0).await?;
    assert!(took < PROMPT, "{took:?}");
    watched.witnesses[0].process().sigcont()?;
    watched.witnesses[1].serve().await?;
    watched.cosigned(&[0, 1, 2]).await?;
    Ok(())
}

/// The one thing that no witness among the members can see: all of them went back together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_federation_from_an_old_copy_is_refused_outside() -> Result<()> {
    let mut watched = Watched::open(&["one"]).await?;
    let old = watched.cosigned(&[0]).await?;
    let mut homes = vec![watched.scene.federation.broker_dir()];
    homes.extend(AGENCIES.map(|agency| watched.scene.federation.agent_dir(agency)));
    watched.stop().await?;
    for home in &homes {
        let copy = home.with_extension("old");
        run(&["cp", "-a", home.to_str().unwrap(), copy.to_str().unwrap()])?;
    }
    watched.start().await?;
    for person in 0..3 {
        watched.scene.exchange(person).await?;
    }
    let real = watched.cosigned(&[0]).await?;
    assert!(real > old);
    watched.stop().await?;
    for home in &homes {
        std::fs::rename(home, home.with_extension("newer"))?;
        std::fs::rename(home.with_extension("old"), home)?;
    }
    watched.start().await?;
    // Shorter than what it has cosigned: it says how much that was.
    watched
        .trouble(0, &format!("cosigned {real} entries"))
        .await?;
    // As long, and longer: the members' quorum is met, and it is another history.
    for person in [0, 1, 2, 3, 0, 1] {
        watched.scene.exchange(person).await?;
    }
    let seen = watched.trouble(0, "another log").await?;
    assert_eq!(seen.size, 0, "since the start it has cosigned nothing");
    let status = watched.scene.federation.broker_status().await?;
    assert!(status.published_size > real, "{status:?}");
    // It keeps its word, and the proof convinces anybody who has the log's key.
    let (size, forks) = watched.witnesses[0]
        .stands_at(&watched.scene.federation)
        .await?;
    assert_eq!(size, real);
    // The log's own proof lacks a hash where the size is a power of two.
    if real.is_power_of_two() {
        return Ok(());
    }
    assert!(forks >= 1);
    for file in std::fs::read_dir(watched.witnesses[0].dir().join("forks"))? {
        let file = file?.path();
        let policy = watched.policy("group q all w0\n")?;
        let args = ["fork", file.to_str().unwrap(), "--policy", &policy];
        let output = watched
            .scene
            .federation
            .passerelle_audit(EXE, &args)
            .await?;
        assert!(output.status.success(), "{output:?}");
    }
    // An export of this history does not pass for who trusts the witness.
    let export = watched.scene.federation.export(OVERSIGHT).await?;
    let export = export.path.to_str().context("a path that is not text")?;
    let policy = watched.policy("group q all w0\n")?;
    let plain = ["verify", export];
    let output = watched
        .scene
        .federation
        .passerelle_audit(EXE, &plain)
        .await?;
    assert!(output.status.success(), "{output:?}");
    let held = ["verify", export, "--policy", &policy];
    let output = watched
        .scene
        .federation
        .passerelle_audit(EXE, &held)
        .await?;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    Ok(())
}

impl Watched {
    /// Stops broker and agents in order.
    async fn stop(&mut self) -> Result<()> {
        self.scene.federation.settled(&AGENCIES, PATIENCE).await?;
        for agency in AGENCIES {
            self.scene.federation.agent(agency).terminate().await?;
        }
        self.scene.federation.broker().terminate().await?;
        Ok(())
    }

    async fn start(&mut self) -> Result<()> {
        self.scene.federation.serve_broker().await?;
        for agency in AGENCIES {
            self.scene.federation.serve_agent(agency).await?;
        }
        self.connected().await
    }
}
