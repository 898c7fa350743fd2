//! A house that asks, a clinic that holds, an oversight body: real agents, three witnesses of
//! which all must cosign. One person whom the clinic knows.

use crate::scene::EXE;
use anyhow::Result;
use passerelle_model::{entry::EntryBody, request::Status, statement::Body};
use passerelle_proto::views::{RequestLine, RequestView};
use passerelle_tests::{export::Export, federation::Federation, office::within};
use std::time::Duration;

pub(crate) const HOUSE: &str = "house";
pub(crate) const CLINIC: &str = "clinic";
pub(crate) const OVERSIGHT: &str = "oversight";
pub(crate) const OFFICES: [&str; 3] = [HOUSE, CLINIC, OVERSIGHT];
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Offices {
    pub(crate) federation: Federation,
    pub(crate) person: String,
    pub(crate) stranger: String,
}

impl Offices {
    pub(crate) async fn open() -> Result<Self> {
        Self::open_in(Federation::prepare(EXE)?).await
    }

    /// In a federation that is prepared, and not founded yet.
    pub(crate) async fn open_in(mut federation: Federation) -> Result<Self> {
        federation.init_broker().await?.done()?;
        federation.serve_broker().await?;
        let workers = ["ana:mentor", "bea:mentor"];
        let nurses = ["cam:nurse", "dan:nurse"];
        federation.open_office(HOUSE, "community", &workers).await?;
        federation.open_office(CLINIC, "health", &nurses).await?;
        let officers = ["eva:privacy_officer"];
        federation
            .open_office(OVERSIGHT, "oversight", &officers)
            .await?;
        federation.all_know_each_other(&OFFICES).await?;
        let mapping = "source_id = \"no\"\ndate_formats = [\"YYYY-MM-DD\"]\n\
             [person]\nfamily_name = \"last\"\ngiven_name = \"first\"\nbirth_date = \"born\"\n\
             [[fact]]\ncategory = \"in_service\"\ncode = { constant = \"active\" }\n\
             contact = { constant = \"Desk, 555-0140\" }\nsensitivity = { constant = 1 }\n";
        let csv = "no,last,first,born\n1,Dubruit,Maude,1991-02-03\n";
        federation.import(CLINIC, mapping, csv).await?.done()?;
        Ok(Self {
            person: federation.person("Dubruit", "Maude", "1991-02-03")?,
            stranger: federation.person("Inconnu", "Paul", "1960-05-06")?,
            federation,
        })
    }

    /// The clinic records that the person consents; the consent's id.
    pub(crate) async fn consent(&self) -> Result<String> {
        let recorded = self
            .federation
            .consent(CLINIC, &self.person, "in_service", HOUSE, CLINIC);
        recorded.await?.done()?.text("id")
    }

    /// A worker of the house asks the clinic about somebody.
    pub(crate) async fn ask(&self, person: &str, worker: &str) -> Result<RequestView> {
        let args = [
            ["--person", person],
            ["--holder", CLINIC],
            ["--item", "in_service:known"],
            ["--purpose", "deliver"],
            ["--basis", "consent"],
            ["--worker", worker],
        ];
        Ok(self.federation.ask(HOUSE, &args.concat()).await?.1)
    }

    /// Waits until the house sees a request like this.
    pub(crate) async fn until(&self, request: &str, status: Status) -> Result<RequestLine> {
        let reached = |line: &RequestLine| line.status == status;
        self.federation
            .line_until(HOUSE, "requests", request, reached)
            .await
    }

    /// Waits until every agent has its stream, and nothing more to say.
    pub(crate) async fn connected(&self) -> Result<()> {
        for office in OFFICES {
            within(PATIENCE, "an agent to be connected", || async {
                let status = self.federation.agent_status(office).await?;
                Ok(status.filter(|s| s.connected && s.outbox == 0).map(drop))
            })
            .await?;
        }
        Ok(())
    }

    /// The log as oversight reads it, once it holds `wanted`.
    pub(crate) async fn log_with(&self, wanted: impl Fn(&Export) -> bool) -> Result<Export> {
        within(PATIENCE, "the log to hold it", || async {
            let export = self.federation.export(OVERSIGHT).await?;
            Ok(wanted(&export).then_some(export))
        })
        .await
    }
}

/// The statements of a log, with their places.
pub(crate) fn said(export: &Export) -> Vec<(usize, Body)> {
    let said = export
        .entries
        .iter()
        .enumerate()
        .filter_map(|(place, entry)| {
            let EntryBody::Said { envelope, .. } = &entry.body else {
                return None;
            };
            Some((place, envelope.unverified_statement().unwrap().body))
        });
    said.collect()
}

/// How many answers a log holds.
pub(crate) fn answers(export: &Export) -> usize {
    let is_answer = |(_, body): &(usize, Body)| matches!(body, Body::Answer(_));
    said(export).iter().filter(|s| is_answer(s)).count()
}
