//! An agency as its people use it: workers, files, and the commands that they type.

use crate::{cli::Ran, federation::Federation};
use anyhow::Context as _;
use passerelle_agent::client;
use passerelle_proto::{
    v1::{self, node_client::NodeClient},
    views::{RequestLine, RequestView},
};
use serde::de::DeserializeOwned;
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};
use tonic::{Response, Status, transport::Channel};

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(40);

/// Asks `check` until it gives something, for as long as `patience`. Errors of `check` count as
/// "not yet": the other side may just be starting.
pub async fn within<T, F, C>(patience: Duration, what: &str, mut check: C) -> anyhow::Result<T>
where
    C: FnMut() -> F,
    F: Future<Output = anyhow::Result<Option<T>>>,
{
    let deadline = Instant::now() + patience;
    loop {
        let looked = check().await;
        if let Ok(Some(found)) = looked {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            let seconds = patience.as_secs();
            return match looked {
                Err(error) => Err(error.context(format!("waited {seconds} s for: {what}"))),
                Ok(_) => anyhow::bail!("waited {seconds} s in vain for: {what}"),
            };
        }
        tokio::time::sleep(POLL).await;
    }
}

/// The view in a reply of an agent's local interface.
pub fn document<T: DeserializeOwned>(
    reply: Result<Response<v1::Document>, Status>,
) -> anyhow::Result<T> {
    Ok(serde_json::from_str(&reply?.into_inner().json)?)
}

impl Federation {
    /// Invites, enrols and serves an agency with these workers (`ID:ROLE`).
    pub async fn open_office(
        &mut self,
        agency: &str,
        sector: &str,
        workers: &[&str],
    ) -> anyhow::Result<()> {
        let token = self.invite(agency, sector).await?;
        let broker = self.address().to_string();
        let mut args = vec!["--broker", &broker, "--token", &token];
        for worker in workers {
            args.extend(["--worker", worker]);
        }
        self.agent_cli(agency, "enrol", &args).await?.done()?;
        self.serve_agent(agency).await
    }

    /// Writes a file for a command; its path.
    pub fn file(&self, name: &str, text: impl AsRef<[u8]>) -> anyhow::Result<String> {
        let path = self.dir().join(name);
        std::fs::write(&path, text)?;
        Ok(path.to_str().context("a path that is not text")?.to_owned())
    }

    /// Writes a person file; its path.
    pub fn person(&self, family: &str, given: &str, born: &str) -> anyhow::Result<String> {
        let text = format!(
            "family_name = \"{family}\"\ngiven_name = \"{given}\"\nbirth_date = \"{born}\"\n"
        );
        self.file(&format!("{family}-{given}.toml"), text)
    }

    /// Imports a CSV text by a mapping text.
    pub async fn import(&self, agency: &str, mapping: &str, csv: &str) -> anyhow::Result<Ran> {
        let mapping = self.file(&format!("{agency}-mapping.toml"), mapping)?;
        let csv = self.file(&format!("{agency}.csv"), csv)?;
        self.agent_cli(agency, "import", &["--mapping", &mapping, &csv])
            .await
    }

    /// Waits until every agent knows all `count` members, itself included.
    pub async fn all_know_each_other(&self, agencies: &[&str]) -> anyhow::Result<()> {
        for agency in agencies {
            let what = format!("`{agency}` to know all members");
            within(Duration::from_secs(60), &what, || async {
                let status = self.agent_status(agency).await?;
                let members = status.map_or(0, |s| s.members.len());
                Ok((members >= agencies.len()).then_some(()))
            })
            .await?;
        }
        Ok(())
    }

    /// Records a consent for the purpose `deliver`; its id.
    pub async fn consent(
        &self,
        agency: &str,
        person: &str,
        category: &str,
        recipient: &str,
        discloser: &str,
    ) -> anyhow::Result<Ran> {
        let args = [
            "--person",
            person,
            "--category",
            category,
            "--purpose",
            "deliver",
            "--recipient",
            recipient,
            "--discloser",
            discloser,
            "--language",
            "fr",
        ];
        self.agent_cli(agency, "consent record", &args).await
    }

    /// A request as typed; what it showed, if it was accepted.
    pub async fn ask(&self, agency: &str, args: &[&str]) -> anyhow::Result<(Ran, RequestView)> {
        let ran = self.agent_cli(agency, "request", args).await?;
        let view = serde_json::from_value(ran.json.clone())
            .with_context(|| format!("the request was not accepted: {}", ran.stderr))?;
        Ok((ran, view))
    }

    /// What a request looks like to a worker. Looking at an answer is attested.
    pub async fn show(
        &self,
        agency: &str,
        request: &str,
        worker: &str,
    ) -> anyhow::Result<RequestView> {
        let args = [request, "--worker", worker];
        let ran = self.agent_cli(agency, "show", &args).await?.done()?;
        Ok(serde_json::from_value(ran.json)?)
    }

    /// The requests that an agency has made (`requests`) or got (`inbox`).
    pub async fn lines(&self, agency: &str, list: &str) -> anyhow::Result<Vec<RequestLine>> {
        let ran = self.agent_cli(agency, list, &[]).await?.done()?;
        Ok(serde_json::from_value(ran.json)?)
    }

    /// Waits until a line of a list is as it should be.
    pub async fn line_until(
        &self,
        agency: &str,
        list: &str,
        request: &str,
        is_reached: impl Fn(&RequestLine) -> bool,
    ) -> anyhow::Result<RequestLine> {
        let what = format!("`{request}` in `{list}` of `{agency}` to be as it should");
        within(Duration::from_secs(60), &what, || async {
            let lines = self.lines(agency, list).await?;
            let found = lines.into_iter().find(|line| line.request == request);
            match found {
                Some(line) if is_reached(&line) => Ok(Some(line)),
                other => anyhow::bail!("it is {other:?}"),
            }
        })
        .await
    }

    /// Waits until all that the log holds is published and has reached every agent.
    pub async fn settled(&self, agencies: &[&str], patience: Duration) -> anyhow::Result<()> {
        within(patience, "the federation to settle", || async {
            let status = self.broker_status().await?;
            anyhow::ensure!(
                status.published_size == status.log_size,
                "{} of {} entries published",
                status.published_size,
                status.log_size
            );
            for agency in agencies {
                let agent = self.agent_status(agency).await?.context("no status")?;
                anyhow::ensure!(agent.connected, "`{agency}` is not connected");
                anyhow::ensure!(agent.outbox == 0, "`{agency}`: outbox {}", agent.outbox);
            }
            let after = self.broker_status().await?;
            Ok((after.log_size == status.log_size).then_some(()))
        })
        .await
    }

    /// A client of an agent's local interface.
    pub async fn node(&self, agency: &str) -> anyhow::Result<NodeClient<Channel>> {
        node_in(self.agent_dir(agency)).await
    }
}

/// A client of the agent that runs in `dir`.
pub async fn node_in(dir: PathBuf) -> anyhow::Result<NodeClient<Channel>> {
    Ok(client::connect(&dir).await?)
}
