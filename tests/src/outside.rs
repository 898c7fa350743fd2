//! Witnesses outside the federation, each a process of the program under test.

use crate::{cli::Ran, federation::Federation, process::Process, wait};
use anyhow::Context as _;
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

/// A witness with a directory of its own; it may run or not.
pub struct OutsideWitness {
    exe: PathBuf,
    dir: PathBuf,
    key: String,
    address: Option<SocketAddr>,
    process: Option<Process>,
}

impl Federation {
    /// Makes a witness that follows the log with this key; it does not run yet.
    pub async fn outside_witness(&self, name: &str, log: &str) -> anyhow::Result<OutsideWitness> {
        let dir = self.dir().join(format!("outside-{name}"));
        let full = format!("witness.example/{name}");
        let place = dir.to_str().context("a path that is not text")?;
        let args = [
            "witness", "init", "--dir", place, "--name", &full, "--log", log,
        ];
        let key = self.cli(&args).await?.done()?.text("key")?;
        Ok(OutsideWitness {
            exe: self.exe().to_owned(),
            dir,
            key,
            address: None,
            process: None,
        })
    }

    /// Writes these witnesses into `broker.toml`; counts from the broker's next start.
    pub fn name_outside(&self, witnesses: &[&OutsideWitness]) -> anyhow::Result<()> {
        let one = |witness: &&OutsideWitness| {
            let mut table = toml::Table::new();
            table.insert("url".to_owned(), witness.url().into());
            table.insert("key".to_owned(), witness.key.clone().into());
            toml::Value::Table(table)
        };
        let all = witnesses.iter().map(one).collect();
        self.configure(|table| {
            table.insert("outside_witnesses".to_owned(), toml::Value::Array(all));
        })
    }
}

impl OutsideWitness {
    /// Serves it, where it was before if it was, and waits until it listens.
    pub async fn serve(&mut self) -> anyhow::Result<()> {
        let host: IpAddr = Ipv4Addr::LOCALHOST.into();
        let listen = self.address.unwrap_or((host, 0).into()).to_string();
        let dir = self.dir.to_str().context("a path that is not text")?;
        let args = ["witness", "serve", "--dir", dir, "--listen", &listen];
        let (out, log) = (self.dir.join("out"), self.dir.join("log"));
        let mut process = Process::start(&self.exe, &args, out, log, "info")?;
        let address = wait::until("a witness to say where it listens", || {
            let alive = process.require_alive();
            let said = process.own_log();
            async move { alive.map(|()| crate::federation::listening(host, &said)) }
        });
        self.address = Some(address.await?);
        self.process = Some(process);
        Ok(())
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("the witness runs")
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its verifier key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Where it is asked.
    pub fn url(&self) -> String {
        let address = self.address.expect("the witness was served before");
        format!("http://{address}")
    }

    /// How many entries of its first log it has cosigned, and how many proofs of forks it holds.
    pub async fn stands_at(&self, federation: &Federation) -> anyhow::Result<(u64, u64)> {
        let dir = self.dir.to_str().context("a path that is not text")?;
        let ran: Ran = federation.cli(&["witness", "status", "--dir", dir]).await?;
        let json = ran.done()?.json;
        let number = |value: &serde_json::Value| value.as_u64().context("not a number");
        Ok((number(&json["logs"][0]["size"])?, number(&json["forks"])?))
    }
}
