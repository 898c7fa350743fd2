//! Broker, three agencies and an oversight body with people and consents; crashes and recovery.

use crate::load::Said;
use anyhow::{Context as _, Result};
use passerelle_model::request::Status;
use passerelle_proto::{
    v1,
    views::{AgentStatus, Done, RequestLine},
};
use passerelle_tests::{
    federation::Federation,
    office::{document, node_in, within},
};
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

pub(crate) const POLICE: &str = "police";
pub(crate) const CLINIC: &str = "clinic";
pub(crate) const HOUSE: &str = "house";
pub(crate) const AGENCIES: [&str; 4] = [POLICE, CLINIC, HOUSE, "oversight"];

/// The worker of every agency.
pub(crate) const WORKER: &str = "worker-1";

/// How many people there are. All consent that the clinic tells the house.
pub(crate) const PEOPLE: usize = 6;

/// How many more there are who consent and withdraw all the time.
pub(crate) const FICKLE: usize = 2;

pub(crate) struct Ground {
    pub(crate) federation: Federation,
}

/// Synthetic, and the same in CSV and in a question.
pub(crate) fn person(number: usize) -> v1::Person {
    let letter = char::from(b'A' + u8::try_from(number).expect("few people"));
    v1::Person {
        family_name: format!("Ruisseau{letter}"),
        given_name: "Camille".to_owned(),
        birth_date: format!("1990-05-1{number}"),
    }
}

/// What the house may ask the clinic: terms of a consent.
pub(crate) fn consent(person: v1::Person) -> v1::RecordConsentRequest {
    v1::RecordConsentRequest {
        person: Some(person),
        giver: "self".to_owned(),
        capacity: "capable".to_owned(),
        categories: vec!["in_service".to_owned()],
        purposes: vec!["deliver".to_owned()],
        recipients: vec![HOUSE.to_owned()],
        disclosers: vec![CLINIC.to_owned()],
        method: "written".to_owned(),
        language: "fr".to_owned(),
        interpreter: false,
        notice_version: 1,
        expires_at_ms: passerelle_tests::raw_agency::now().plus_s(86_400).0,
        redisclosure: false,
        evidence: String::new(),
    }
}

/// Whether nothing more can come of a request.
pub(crate) fn is_over(status: Status) -> bool {
    matches!(
        status,
        Status::Denied
            | Status::Expired
            | Status::Stopped
            | Status::Delivered
            | Status::Viewed
            | Status::Erased
    )
}

impl Ground {
    pub(crate) async fn lay(exe: &str) -> Result<Self> {
        let mut federation = Federation::start(exe).await?;
        for (agency, sector, role) in [
            (POLICE, "law_enforcement", "officer"),
            (CLINIC, "health", "nurse"),
            (HOUSE, "community", "mentor"),
            ("oversight", "oversight", "privacy_officer"),
        ] {
            let worker = format!("{WORKER}:{role}");
            federation.open_office(agency, sector, &[&worker]).await?;
        }
        federation.all_know_each_other(&AGENCIES).await?;
        let mapping = "source_id = \"no\"\ndate_formats = [\"YYYY-MM-DD\"]\n\
             [person]\nfamily_name = \"last\"\ngiven_name = \"first\"\nbirth_date = \"born\"\n\
             [[fact]]\ncategory = \"in_service\"\ncode = { constant = \"active\" }\n\
             contact = { constant = \"Desk, 555-0140\" }\nsensitivity = { constant = 1 }\n";
        let rows = (0..PEOPLE + FICKLE).map(|number| {
            let p = person(number);
            format!(
                "{number},{},{},{}\n",
                p.family_name, p.given_name, p.birth_date
            )
        });
        let csv: String = std::iter::once("no,last,first,born\n".to_owned())
            .chain(rows)
            .collect();
        federation.import(CLINIC, mapping, &csv).await?.done()?;
        let ground = Self { federation };
        let mut node = ground.federation.node(CLINIC).await?;
        for number in 0..PEOPLE {
            let done: Done = document(node.record_consent(consent(person(number))).await)?;
            anyhow::ensure!(done.status == "done", "{done:?}");
        }
        for agency in [POLICE, HOUSE] {
            ground.know_handles(agency).await?;
        }
        Ok(ground)
    }

    /// Has the agency get the handles while nothing is down: a worker whose question can't get
    /// one is told so at once, and nothing is acknowledged.
    async fn know_handles(&self, agency: &str) -> Result<()> {
        let mut node = self.federation.node(agency).await?;
        for number in 0..PEOPLE + FICKLE {
            node.ask(crate::load::question(agency, number)).await?;
        }
        Ok(())
    }

    /// Where the agents' local interfaces are.
    pub(crate) fn dirs(&self) -> BTreeMap<&'static str, PathBuf> {
        let dirs = AGENCIES.map(|agency| (agency, self.federation.agent_dir(agency)));
        dirs.into_iter().collect()
    }

    /// Kills a process with SIGKILL and starts it again. Agents are not waited for: the next crash
    /// may come while they start.
    pub(crate) async fn crash(&mut self, victim: &str) -> Result<()> {
        if victim == "broker" {
            return self.federation.restart_broker().await;
        }
        self.federation.agent(victim).require_alive()?;
        self.federation.agent(victim).kill9()?;
        self.federation.spawn_agent(victim)
    }

    /// Waits until every exchange has ended and everybody has everything.
    pub(crate) async fn recover(&mut self, said: &Said, patience: Duration) -> Result<()> {
        for agency in AGENCIES {
            self.federation.agent(agency).require_alive()?;
        }
        let dirs = self.dirs();
        let ended = within(patience, "every exchange to end", || async {
            for (agency, dir) in &dirs {
                let mut node = node_in(dir.clone()).await?;
                let lines: Vec<RequestLine> =
                    document(node.list_requests(v1::ListRequestsRequest {}).await)?;
                let open: Vec<_> = lines.iter().filter(|l| !is_over(l.status)).collect();
                anyhow::ensure!(open.is_empty(), "`{agency}`: {open:?}");
                let known = |id: &String| lines.iter().any(|line| line.request == *id);
                let own = said.asked.iter().filter(|a| a.agency == *agency);
                let lost: Vec<_> = own.filter(|a| !known(&a.request)).collect();
                anyhow::ensure!(lost.is_empty(), "`{agency}` forgot {lost:?}");
                let status: AgentStatus =
                    document(node.node_status(v1::NodeStatusRequest {}).await)?;
                anyhow::ensure!(status.outbox == 0, "`{agency}`: outbox {}", status.outbox);
            }
            Ok(Some(()))
        })
        .await;
        if ended.is_err() {
            println!("{:?}", self.federation.broker_status().await?);
            for agency in AGENCIES {
                println!("{:?}", self.federation.agent_status(agency).await?);
            }
            if std::env::var_os("PASSERELLE_KEEP").is_some() {
                let kept = self.federation.dir().with_extension("kept");
                std::process::Command::new("cp")
                    .arg("-a")
                    .args([self.federation.dir(), &kept])
                    .status()?;
                println!("kept in {}", kept.display());
            }
        }
        ended.with_context(|| self.logs())?;
        self.federation.settled(&AGENCIES, patience).await
    }

    /// The last lines of each log, for a failure.
    fn logs(&mut self) -> String {
        let mut text = String::new();
        for name in ["broker"].into_iter().chain(AGENCIES) {
            let log = match name {
                "broker" => self.federation.broker().log(),
                agency => self.federation.agent(agency).log(),
            };
            let mut last: Vec<_> = log.lines().rev().take(12).collect();
            last.reverse();
            text += &format!("--- {name}\n{}\n", last.join("\n"));
        }
        text
    }
}
