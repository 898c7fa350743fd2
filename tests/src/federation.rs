//! A federation of real processes in a directory of its own.

use crate::{
    cli::{self, Ran},
    process::Process,
    raw_agency::RawAgency,
    surroundings::Surroundings,
    wait,
};
use anyhow::Context as _;
use passerelle_model::ids::FederationId;
use passerelle_proto::views::{AgentStatus, BrokerStatus};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

/// The broker among the nodes that have surroundings.
pub const BROKER: &str = "broker";

/// A broker and agents, each a process of the program under test.
pub struct Federation {
    exe: PathBuf,
    dir: tempfile::TempDir,
    name: FederationId,
    level: String,
    host: IpAddr,
    address: Option<SocketAddr>,
    surroundings: BTreeMap<String, Surroundings>,
    broker: Option<Process>,
    agents: BTreeMap<String, Process>,
}

impl Federation {
    /// Founds a federation with the program at `exe`; its broker does not run yet.
    pub async fn found(exe: &str) -> anyhow::Result<Self> {
        let made = Self::prepare(exe)?;
        made.init_broker().await?.done()?;
        Ok(made)
    }

    /// An empty directory, in which nodes may get surroundings of their own before they are made.
    pub fn prepare(exe: &str) -> anyhow::Result<Self> {
        // Short: a Unix socket's path has room for 107 bytes.
        Self::prepare_in(exe, Path::new("/tmp"))
    }

    /// The same below `parent`, for what must be on a particular disk.
    pub fn prepare_in(exe: &str, parent: &Path) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("psr").tempdir_in(parent)?;
        Ok(Self {
            exe: exe.into(),
            dir,
            name: "essai".parse()?,
            level: "info".to_owned(),
            host: Ipv4Addr::LOCALHOST.into(),
            address: None,
            surroundings: BTreeMap::new(),
            broker: None,
            agents: BTreeMap::new(),
        })
    }

    /// Makes the broker's directory.
    pub async fn init_broker(&self) -> anyhow::Result<Ran> {
        let name = self.name.to_string();
        self.broker_cli("init", &["--federation", &name]).await
    }

    /// What `broker`, or an agent, runs in from its next start on; its commands too.
    pub fn surround(&mut self, node: &str, surroundings: Surroundings) {
        self.surroundings.insert(node.to_owned(), surroundings);
    }

    /// The address on which the broker is served from its next start on, instead of loopback.
    pub fn listen_at(&mut self, host: IpAddr) {
        self.host = host;
        self.address = None;
    }

    /// Founds a federation and serves its broker.
    pub async fn start(exe: &str) -> anyhow::Result<Self> {
        let mut made = Self::found(exe).await?;
        made.serve_broker().await?;
        Ok(made)
    }

    /// What services started from now on log, as in `PASSERELLE_LOG`.
    pub fn log_at(&mut self, level: &str) {
        level.clone_into(&mut self.level);
    }

    /// Its name.
    pub fn name(&self) -> &FederationId {
        &self.name
    }

    /// The program under test.
    pub fn exe(&self) -> &Path {
        &self.exe
    }

    /// The directory of everything.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The broker's directory.
    pub fn broker_dir(&self) -> PathBuf {
        self.dir().join("broker")
    }

    /// The directory of an agent.
    pub fn agent_dir(&self, agency: &str) -> PathBuf {
        self.dir().join(agency)
    }

    /// Where the broker listens, or listened last.
    pub fn address(&self) -> SocketAddr {
        self.address.expect("the broker was served before")
    }

    /// Runs the program to its end.
    pub async fn cli(&self, args: &[&str]) -> anyhow::Result<Ran> {
        cli::run(&self.exe, args).await
    }

    /// Runs a `broker` command on the broker's directory.
    pub async fn broker_cli(&self, verb: &str, args: &[&str]) -> anyhow::Result<Ran> {
        let dir = self.broker_dir();
        let head = ["broker", verb, "--dir", text(&dir)?];
        self.cli_of(BROKER, &[&head[..], args].concat()).await
    }

    /// Runs an `agent` command on an agent's directory; `verb` may be of two words.
    pub async fn agent_cli(&self, agency: &str, verb: &str, args: &[&str]) -> anyhow::Result<Ran> {
        let dir = self.agent_dir(agency);
        let verbs: Vec<_> = verb.split(' ').collect();
        let head = [&["agent"], &verbs[..], &["--dir", text(&dir)?]].concat();
        self.cli_of(agency, &[&head[..], args].concat()).await
    }

    async fn cli_of(&self, node: &str, args: &[&str]) -> anyhow::Result<Ran> {
        cli::run_in(&self.around(node), &self.exe, args).await
    }

    fn around(&self, node: &str) -> Surroundings {
        self.surroundings.get(node).cloned().unwrap_or_default()
    }

    /// Changes `broker.toml`; takes effect when the broker is served next.
    pub fn configure(&self, change: impl FnOnce(&mut toml::Table)) -> anyhow::Result<()> {
        let path = self.broker_dir().join("broker.toml");
        let mut table: toml::Table = std::fs::read_to_string(&path)?.parse()?;
        change(&mut table);
        Ok(std::fs::write(&path, table.to_string())?)
    }

    /// Changes `agent.toml` of an agency; takes effect when its agent is served next.
    pub fn configure_agent(
        &self,
        agency: &str,
        change: impl FnOnce(&mut toml::Table),
    ) -> anyhow::Result<()> {
        let path = self.agent_dir(agency).join("agent.toml");
        let mut table: toml::Table = std::fs::read_to_string(&path)?.parse()?;
        change(&mut table);
        Ok(std::fs::write(&path, table.to_string())?)
    }

    fn service(&self, node: &str, name: &str, args: &[&str]) -> anyhow::Result<Process> {
        let out = self.dir().join(format!("{name}.out"));
        let log = self.dir().join(format!("{name}.log"));
        Process::start_in(&self.around(node), &self.exe, args, out, log, &self.level)
    }

    /// Serves the broker, where it was before if it was, and waits until it listens.
    pub async fn serve_broker(&mut self) -> anyhow::Result<()> {
        let mut broker = self.start_broker()?;
        let host = self.host;
        let address = wait::until("the broker to say where it listens", || {
            let alive = broker.require_alive();
            // On standard output for programs, in the log for people; either will do.
            let said = [broker.output(), broker.own_log()].join("\n");
            async move { alive.map(|()| listening(host, &said)) }
        })
        .await?;
        self.address = Some(address);
        self.broker = Some(broker);
        Ok(())
    }

    /// Starts a broker without waiting for anything: it may refuse.
    pub fn start_broker(&self) -> anyhow::Result<Process> {
        let dir = self.broker_dir();
        let listen = self.address.unwrap_or((self.host, 0).into()).to_string();
        let args = ["broker", "serve", "--dir", text(&dir)?, "--listen", &listen];
        self.service(BROKER, "broker", &args)
    }

    /// The broker's process.
    pub fn broker(&mut self) -> &mut Process {
        self.broker.as_mut().expect("the broker runs")
    }

    /// Kills the broker as a crash would, and serves it again.
    pub async fn restart_broker(&mut self) -> anyhow::Result<()> {
        self.broker().kill9()?;
        self.serve_broker().await
    }

    /// What `broker status` says.
    pub async fn broker_status(&self) -> anyhow::Result<BrokerStatus> {
        let ran = self.broker_cli("status", &[]).await?.done()?;
        Ok(serde_json::from_value(ran.json)?)
    }

    /// Invites an agency for a day; the invitation's text.
    pub async fn invite(&self, agency: &str, sector: &str) -> anyhow::Result<String> {
        let args = [agency, "--sector", sector];
        self.broker_cli("invite", &args)
            .await?
            .done()?
            .text("token")
    }

    /// Revokes an agency.
    pub async fn revoke(&self, agency: &str) -> anyhow::Result<Ran> {
        self.broker_cli("revoke", &[agency]).await?.done()
    }

    /// Invites an agency and enrols it by hand.
    pub async fn raw(&self, agency: &str, sector: &str) -> anyhow::Result<RawAgency> {
        let invitation = self.invite(agency, sector).await?;
        let enrolled = RawAgency::enrol(self.address(), &self.name, &invitation).await;
        enrolled.map_err(|status| anyhow::anyhow!("not enrolled: {status}"))
    }

    /// Invites an agency and enrols its agent.
    pub async fn enrol_agent(&self, agency: &str, sector: &str) -> anyhow::Result<Ran> {
        let token = self.invite(agency, sector).await?;
        let broker = self.address().to_string();
        let args = ["--broker", &broker, "--token", &token];
        self.agent_cli(agency, "enrol", &args).await?.done()
    }

    /// Serves an agent that is enrolled, and waits until its stream is up.
    pub async fn serve_agent(&mut self, agency: &str) -> anyhow::Result<()> {
        self.spawn_agent(agency)?;
        wait::until("an agent to be connected", || async {
            Ok(self.agent_status(agency).await?.filter(|s| s.connected))
        })
        .await?;
        Ok(())
    }

    /// Serves an agent without waiting for anything.
    pub fn spawn_agent(&mut self, agency: &str) -> anyhow::Result<()> {
        let dir = self.agent_dir(agency);
        let args = ["agent", "serve", "--dir", text(&dir)?];
        let process = self.service(agency, &format!("agent-{agency}"), &args)?;
        self.agents.insert(agency.to_owned(), process);
        Ok(())
    }

    /// What `agent status` says, if the agent answers.
    pub async fn agent_status(&self, agency: &str) -> anyhow::Result<Option<AgentStatus>> {
        let ran = self.agent_cli(agency, "status", &[]).await?;
        if ran.code != 0 {
            return Ok(None);
        }
        Ok(Some(serde_json::from_value(ran.json)?))
    }

    /// An agent's process.
    pub fn agent(&mut self, agency: &str) -> &mut Process {
        self.agents.get_mut(agency).expect("the agent was served")
    }

    /// Kills an agent as a crash would, and serves it again.
    pub async fn restart_agent(&mut self, agency: &str) -> anyhow::Result<()> {
        self.agent(agency).kill9()?;
        self.serve_agent(agency).await
    }
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("a path that is not text")
}

/// The address on `host` in the line that says that a broker listens.
pub(crate) fn listening(host: IpAddr, output: &str) -> Option<SocketAddr> {
    let line = output
        .split_inclusive('\n')
        .find(|l| l.contains("listen"))?;
    let (_, rest) = line.split_once(&format!("{host}:"))?;
    let digits = rest.find(|c: char| !c.is_ascii_digit())?;
    Some(SocketAddr::new(host, rest[..digits].parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_once_its_line_is_whole() {
        let listening = |output| listening(Ipv4Addr::LOCALHOST.into(), output);
        assert_eq!(listening(""), None);
        assert_eq!(listening("listening on 127.0.0.1:80"), None);
        assert_eq!(listening("listening on 10.0.0.1:8080\n"), None);
        let address = "127.0.0.1:8080".parse().ok();
        assert_eq!(listening("listening on 127.0.0.1:8080\n"), address);
        assert_eq!(listening("{\"listen\":\"127.0.0.1:8080\"}\n"), address);
    }
}
