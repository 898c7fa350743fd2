//! The little federation: directories, processes, and what its workers type.

use super::{
    cast::{self, AGENCIES, Agency},
    service::Service,
    shell::{Ran, Shell},
};
use crate::cli::backend;
use anyhow::{Context as _, bail};
use passerelle_model::request::Status;
use passerelle_proto::{
    v1,
    views::{AgentStatus, AuditPage, Done, RequestLine, RequestView},
};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// How long to wait for a state that must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often to look.
const LOOK_INTERVAL: Duration = Duration::from_millis(40);

/// The name of the broker's process and directory.
pub(super) const BROKER: &str = "broker";

/// Directories and processes.
pub(super) struct World {
    root: PathBuf,
    listen: SocketAddr,
    /// Types commands.
    pub(super) shell: Shell,
    services: BTreeMap<String, Service>,
}

/// What a worker asks.
pub(super) struct Question<'a> {
    /// Who asks.
    pub(super) from: &'a str,
    /// Who is asked.
    pub(super) to: &'a str,
    /// About whom: name of a person file.
    pub(super) person: &'a str,
    /// `CATEGORY:LEVEL`.
    pub(super) items: &'a [&'a str],
    /// Purpose code.
    pub(super) purpose: &'a str,
    /// Legal basis code.
    pub(super) basis: &'a str,
    /// Further arguments.
    pub(super) more: &'a [&'a str],
    /// The reason, for the holder alone.
    pub(super) why: &'a str,
    /// Seconds to wait for the answer; `None`: for the decision only.
    pub(super) wait: Option<u64>,
}

impl World {
    /// A federation in `root`, whose broker will listen on a port that is free now.
    pub(super) fn new(root: &Path) -> anyhow::Result<Self> {
        let free = std::net::TcpListener::bind(("127.0.0.1", 0)).context("no free port")?;
        Ok(Self {
            root: root.to_owned(),
            listen: free.local_addr()?,
            shell: Shell::new(&root.join("commands.log"))?,
            services: BTreeMap::new(),
        })
    }

    /// Where everything is.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Where agents find the broker.
    pub(super) fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// The directory of a node.
    pub(super) fn dir(&self, name: &str) -> String {
        self.root.join(name).display().to_string()
    }

    /// A person's file.
    pub(super) fn person(&self, name: &str) -> String {
        let file = format!("people/{name}.toml");
        self.root.join(file).display().to_string()
    }

    fn log(&self, name: &str) -> PathBuf {
        self.root.join(format!("{name}.log"))
    }

    /// Names and process ids of what runs.
    pub(super) fn running(&self) -> impl Iterator<Item = (&str, u32)> {
        let services = self.services.iter();
        services.filter_map(|(name, service)| Some((name.as_str(), service.id()?)))
    }

    /// Starts the broker, and waits until it accepts connections.
    pub(super) async fn start_broker(&mut self) -> anyhow::Result<()> {
        let (dir, listen) = (self.dir(BROKER), self.listen.to_string());
        let args = ["broker", "serve", "--dir", &dir, "--listen", &listen];
        self.start(BROKER, &args)?;
        let deadline = Instant::now() + PATIENCE;
        let socket = self.root.join(BROKER).join("admin.sock");
        loop {
            // It is there once the port listens.
            if tokio::net::UnixStream::connect(&socket).await.is_ok() {
                return Ok(());
            }
            self.look_again(BROKER, deadline, "accepts no connections")
                .await?;
        }
    }

    /// Starts an agent, and waits until its stream to the broker is up.
    pub(super) async fn start_agent(&mut self, name: &str) -> anyhow::Result<()> {
        let dir = self.dir(name);
        self.start(name, &["agent", "serve", "--dir", &dir])?;
        self.until(name, "has no stream to the broker", |status| {
            status.connected
        })
        .await
    }

    fn start(&mut self, name: &str, args: &[&str]) -> anyhow::Result<()> {
        let service = Service::start(name, self.shell.exe(), args, &self.log(name))?;
        self.services.insert(name.to_owned(), service);
        Ok(())
    }

    /// Tells a process to stop, and waits until it has.
    pub(super) async fn stop(&mut self, name: &str) -> anyhow::Result<()> {
        match self.services.remove(name) {
            Some(service) => service.stop().await.map(drop),
            None => bail!("`{name}` does not run"),
        }
    }

    /// Stops everything, the broker last. All are tried.
    pub(super) async fn stop_all(&mut self) {
        let broker = self.services.remove(BROKER);
        let mut agents = tokio::task::JoinSet::new();
        for service in std::mem::take(&mut self.services).into_values() {
            agents.spawn(service.stop());
        }
        while let Some(stopped) = agents.join_next().await {
            if let Ok(Err(error)) = stopped {
                tracing::warn!("{error:#}");
            }
        }
        if let Some(service) = broker
            && let Err(error) = service.stop().await
        {
            tracing::warn!("{error:#}");
        }
    }

    /// Waits until an agent's status is as it should be.
    pub(super) async fn until(
        &mut self,
        name: &str,
        otherwise: &str,
        is_reached: impl Fn(&AgentStatus) -> bool,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let dir = self.root.join(name);
        loop {
            if let Ok(mut node) = backend::connect(&dir).await {
                let reply = node.node_status(v1::NodeStatusRequest {}).await;
                if backend::document(reply).is_ok_and(|status| is_reached(&status)) {
                    return Ok(());
                }
            }
            self.look_again(name, deadline, otherwise).await?;
        }
    }

    async fn look_again(
        &mut self,
        name: &str,
        deadline: Instant,
        otherwise: &str,
    ) -> anyhow::Result<()> {
        let log = self.log(name);
        if let Some(service) = self.services.get_mut(name) {
            service.require_alive(&log)?;
        }
        if Instant::now() >= deadline {
            bail!(
                "`{name}` {otherwise} after {} s; see `{}`",
                PATIENCE.as_secs(),
                log.display()
            );
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
        Ok(())
    }

    /// A worker asks. Exit code of the command, and what it showed.
    pub(super) async fn ask(&self, question: &Question<'_>) -> anyhow::Result<(i32, RequestView)> {
        let (dir, person) = (self.dir(question.from), self.person(question.person));
        let wait = question.wait.map(|seconds| seconds.to_string());
        let mut args = vec!["agent", "request", "--dir", &dir, "--person", &person];
        args.extend(["--holder", question.to]);
        for item in question.items {
            args.extend(["--item", item]);
        }
        args.extend(["--purpose", question.purpose, "--basis", question.basis]);
        args.extend(["--worker", first_worker(question.from)?]);
        args.extend(["--justification", question.why]);
        args.extend(question.more);
        if let Some(wait) = &wait {
            args.extend(["--wait", wait]);
        }
        let ran: Ran = self.shell.run(&args).await?;
        let view = ran.json().context("the request was not accepted")?;
        Ok((ran.exit, view))
    }

    /// A worker looks at a request until it is as it should be, or patience ends.
    pub(super) async fn show_until(
        &self,
        agency: &str,
        request: &str,
        is_reached: impl Fn(&RequestView) -> bool,
    ) -> anyhow::Result<RequestView> {
        let deadline = Instant::now() + PATIENCE;
        let dir = self.dir(agency);
        let worker = first_worker(agency)?;
        let args = ["agent", "show", "--dir", &dir, request, "--worker", worker];
        loop {
            let view: RequestView = self.shell.done(&args).await?;
            if is_reached(&view) || Instant::now() >= deadline {
                return Ok(view);
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Whether a request comes to wait for a person at an agency.
    pub(super) async fn comes_to_inbox(&self, agency: &str, request: &str) -> anyhow::Result<bool> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let lines = self.inbox(agency).await?;
            let waits = lines
                .iter()
                .any(|line| line.request == request && line.status == Status::HolderReview);
            if waits || Instant::now() >= deadline {
                return Ok(waits);
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// The requests made to an agency.
    pub(super) async fn inbox(&self, agency: &str) -> anyhow::Result<Vec<RequestLine>> {
        let dir = self.dir(agency);
        self.shell.done(&["agent", "inbox", "--dir", &dir]).await
    }

    /// A person at the holder decides.
    pub(super) async fn review(
        &self,
        agency: &str,
        verdict: &str,
        request: &str,
    ) -> anyhow::Result<Done> {
        let dir = self.dir(agency);
        let reviewer = cast::agency(agency)
            .and_then(|a| a.workers.last())
            .map(|(id, _)| *id)
            .with_context(|| format!("`{agency}` has no worker"))?;
        let args = [
            "agent", verdict, "--dir", &dir, request, "--worker", reviewer,
        ];
        self.shell.done(&args).await
    }

    /// The kinds of the log entries about a request, in order, as the oversight body reads them
    /// once they are as they should be.
    pub(super) async fn entries_about(
        &self,
        request: &str,
        is_reached: impl Fn(&[String]) -> bool,
    ) -> anyhow::Result<Vec<String>> {
        let deadline = Instant::now() + PATIENCE;
        let dir = self.dir(cast::OVERSIGHT);
        let args = ["audit", "tail", "--dir", &dir, "--last", "400"];
        loop {
            let page: AuditPage = self.shell.done(&args).await?;
            let about = page.entries.into_iter();
            let about = about.filter(|line| line.summary.contains(request));
            let kinds: Vec<_> = about.map(|line| line.what).collect();
            if is_reached(&kinds) || Instant::now() >= deadline {
                return Ok(kinds);
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }
}

fn first_worker(agency: &str) -> anyhow::Result<&'static str> {
    cast::agency(agency)
        .and_then(|a| a.workers.first())
        .map(|(id, _)| *id)
        .with_context(|| format!("`{agency}` has no worker"))
}

/// The agencies that hold facts.
pub(super) fn holders() -> impl Iterator<Item = &'static Agency> {
    AGENCIES.iter().filter(|agency| agency.files.is_some())
}
