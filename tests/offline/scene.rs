//! A house that asks, a clinic that holds, two more witnesses, one person.

use anyhow::{Context as _, Result};
use passerelle_model::request::Status;
use passerelle_proto::views::{RequestLine, RequestView};
use passerelle_tests::{cli::Ran, export::Export, federation::Federation, office::within};
use std::time::Duration;

pub(crate) const EXE: &str = env!("CARGO_BIN_EXE_passerelle");

pub(crate) const POLICE: &str = "police";
pub(crate) const CLINIC: &str = "clinic";
pub(crate) const HOUSE: &str = "house";
pub(crate) const OVERSIGHT: &str = "oversight";
pub(crate) const AGENCIES: [&str; 4] = [POLICE, CLINIC, HOUSE, OVERSIGHT];
pub(crate) const WORKER: &str = "worker-1";

pub(crate) struct Scene {
    pub(crate) federation: Federation,
    person: String,
    other: String,
}

impl Scene {
    pub(crate) async fn open() -> Result<Self> {
        let mut federation = Federation::start(EXE).await?;
        for (agency, sector, role) in [
            (POLICE, "law_enforcement", "officer"),
            (CLINIC, "health", "nurse"),
            (HOUSE, "community", "mentor"),
            (OVERSIGHT, "oversight", "privacy_officer"),
        ] {
            let worker = format!("{WORKER}:{role}");
            federation.open_office(agency, sector, &[&worker]).await?;
        }
        federation.all_know_each_other(&AGENCIES).await?;
        let mapping = "source_id = \"no\"\ndate_formats = [\"YYYY-MM-DD\"]\n\
             [person]\nfamily_name = \"last\"\ngiven_name = \"first\"\nbirth_date = \"born\"\n\
             [[fact]]\ncategory = \"in_service\"\ncode = { constant = \"active\" }\n\
             contact = { constant = \"Desk, 555-0140\" }\nsensitivity = { constant = 1 }\n";
        let csv = "no,last,first,born\n1,Dubruit,Maude,1991-02-03\n2,Lelac,Ann,1992-03-04\n";
        federation.import(CLINIC, mapping, csv).await?.done()?;
        Ok(Self {
            person: federation.person("Dubruit", "Maude", "1991-02-03")?,
            other: federation.person("Lelac", "Ann", "1992-03-04")?,
            federation,
        })
    }

    /// A worker of the clinic approves a request that rests on a consent recorded elsewhere.
    pub(crate) async fn approve(&self, request: &str) -> Result<()> {
        within(
            Duration::from_secs(60),
            "the clinic to be asked",
            || async {
                let args = [request, "--worker", WORKER];
                let ran = self.federation.agent_cli(CLINIC, "approve", &args).await?;
                Ok((ran.code == 0).then_some(()))
            },
        )
        .await
    }

    /// The house records the person's consent.
    pub(crate) async fn record(&self) -> Result<Ran> {
        let (federation, person) = (&self.federation, &self.person);
        federation
            .consent(HOUSE, person, "in_service", HOUSE, CLINIC)
            .await
    }

    /// The clinic records the person's consent, so that it may answer on it at once; its id, once
    /// it is in the log.
    pub(crate) async fn consent(&self) -> Result<String> {
        let (federation, person) = (&self.federation, &self.person);
        let recorded = federation.consent(CLINIC, person, "in_service", HOUSE, CLINIC);
        let recorded = recorded.await?.done()?;
        anyhow::ensure!(recorded.text("status")? == "done", "{recorded:?}");
        recorded.text("id")
    }

    async fn ask_about(&self, person: &str, more: &[&str]) -> Result<(Ran, RequestView)> {
        let head = [
            "--person",
            person,
            "--holder",
            CLINIC,
            "--item",
            "in_service:known",
        ];
        let terms = [
            "--purpose",
            "deliver",
            "--basis",
            "consent",
            "--worker",
            WORKER,
        ];
        self.federation
            .ask(HOUSE, &[&head[..], &terms, more].concat())
            .await
    }

    /// The house asks the clinic about the person.
    pub(crate) async fn ask(&self, more: &[&str]) -> Result<(Ran, RequestView)> {
        self.ask_about(&self.person, more).await
    }

    /// An exchange about somebody else, from consent to answer.
    pub(crate) async fn other_exchange(&self) -> Result<()> {
        let (federation, other) = (&self.federation, &self.other);
        let recorded = federation.consent(CLINIC, other, "in_service", HOUSE, CLINIC);
        recorded.await?.done()?;
        let (_, view) = self.ask_about(other, &[]).await?;
        let delivered = |line: &RequestLine| line.status == Status::Delivered;
        self.line_until(&view.line.request, delivered).await?;
        self.federation
            .settled(&AGENCIES, Duration::from_secs(60))
            .await
    }

    /// Waits until the house sees a request as it should be.
    pub(crate) async fn line_until(
        &self,
        request: &str,
        is_reached: impl Fn(&RequestLine) -> bool,
    ) -> Result<RequestLine> {
        self.federation
            .line_until(HOUSE, "requests", request, is_reached)
            .await
    }

    /// Waits until an agent has noticed that the broker is gone.
    pub(crate) async fn disconnected(&self, agency: &str) -> Result<()> {
        within(
            Duration::from_secs(60),
            "an agent to be without the broker",
            || async {
                let status = self
                    .federation
                    .agent_status(agency)
                    .await?
                    .context("no status")?;
                let noticed = !status.connected && status.last_error.is_some();
                Ok(noticed.then_some(()))
            },
        )
        .await
    }

    /// The log, once whoever is there has settled.
    pub(crate) async fn export(&self) -> Result<Export> {
        within(
            Duration::from_secs(60),
            "the log to be published",
            || async {
                let status = self.federation.broker_status().await?;
                Ok((status.published_size == status.log_size).then_some(()))
            },
        )
        .await?;
        self.federation.export(OVERSIGHT).await
    }
}
