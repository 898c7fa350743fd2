//! What the tests begin with: three agencies of the project's own program (one of them oversight)
//! and a foreign one. The three are a quorum of four, whatever the fourth does.

use crate::python::foreign;
use anyhow::{Context as _, Result};
use passerelle_proto::views::{ImportReport, RequestView};
use passerelle_tests::{federation::Federation, office::within};
use serde_json::Value;
use std::{path::PathBuf, time::Duration};

pub(crate) const CLINIC: &str = "clinic";
pub(crate) const HOUSE: &str = "house";
pub(crate) const OVERSIGHT: &str = "oversight";
pub(crate) const FOREIGN: &str = "foreign";
const AGENCIES: [&str; 3] = [CLINIC, HOUSE, OVERSIGHT];

/// Family name, given name, birth date.
pub(crate) const PERSON: [&str; 3] = ["Gagnon-Bédard", "Zoé", "1991-04-05"];

/// One column for each, and one fact.
const MAPPING: &str = "source_id = \"no\"\ndate_formats = [\"YYYY-MM-DD\"]\n\
     [person]\nfamily_name = \"family\"\ngiven_name = \"given\"\nbirth_date = \"born\"\n\
     [[fact]]\ncategory = \"in_service\"\ncode = { constant = \"active\" }\n\
     sensitivity = { constant = 1 }\n";

pub(crate) struct Scene {
    pub(crate) federation: Federation,
    person: String,
}

impl Scene {
    pub(crate) async fn open() -> Result<Self> {
        let mut federation = Federation::start(env!("CARGO_BIN_EXE_passerelle")).await?;
        for (agency, sector, worker) in [
            (CLINIC, "health", "ana:nurse"),
            (HOUSE, "community", "ben:mentor"),
            (OVERSIGHT, "oversight", "cas:privacy_officer"),
        ] {
            federation.open_office(agency, sector, &[worker]).await?;
        }
        let [family, given, born] = PERSON;
        let person = federation.person(family, given, born)?;
        let csv = format!("no,family,given,born\nA-1,{family},{given},{born}\n");
        let ran = federation.import(CLINIC, MAPPING, &csv).await?.done()?;
        let report: ImportReport = serde_json::from_value(ran.json)?;
        anyhow::ensure!(
            report.people == 1 && report.problems.is_empty(),
            "{report:?}"
        );
        let minute = Duration::from_secs(60);
        within(minute, "the person to have a handle", || async {
            let status = federation
                .agent_status(CLINIC)
                .await?
                .context("no status")?;
            Ok((status.without_handle == 0).then_some(()))
        })
        .await?;
        let scene = Self { federation, person };
        let invitation = scene.federation.invite(FOREIGN, "social_services").await?;
        let broker = scene.federation.address().to_string();
        let args = ["--broker", &broker, "--invitation", &invitation];
        let enrolled = scene.foreign("enrol", &args).await?;
        assert_eq!(enrolled["agency"], FOREIGN);
        scene.federation.all_know_each_other(&AGENCIES).await?;
        within(minute, "everybody to know the foreign agency", || async {
            let mut known = 0;
            for agency in AGENCIES {
                let status = scene.federation.agent_status(agency).await?;
                known += usize::from(status.is_some_and(|s| s.members.len() == 4));
            }
            Ok((known == AGENCIES.len()).then_some(()))
        })
        .await?;
        Ok(scene)
    }

    /// The foreign agency's directory.
    pub(crate) fn state(&self) -> PathBuf {
        self.federation.agent_dir(FOREIGN)
    }

    /// Runs a sub-command of the foreign agency.
    pub(crate) async fn foreign(&self, command: &str, args: &[&str]) -> Result<Value> {
        foreign(&self.state(), &[&[command], args].concat()).await
    }

    /// The clinic may tell `recipient` whether the person is in service; the consent's id.
    pub(crate) async fn consented(&self, recipient: &str) -> Result<String> {
        let recorded =
            self.federation
                .consent(CLINIC, &self.person, "in_service", recipient, CLINIC);
        recorded.await?.done()?.text("id")
    }

    /// The house asks about the person; its exit code and what it shows.
    pub(crate) async fn house_asks(&self, holder: &str, item: &str) -> Result<(i32, RequestView)> {
        let args = [
            ["--person", &self.person],
            ["--holder", holder],
            ["--item", item],
            ["--purpose", "deliver"],
            ["--basis", "consent"],
            ["--worker", "ben"],
            ["--wait", "60"],
        ];
        let (ran, view) = self.federation.ask(HOUSE, &args.concat()).await?;
        Ok((ran.code, view))
    }

    /// Shows that two agencies of the project's own are served as if nothing had happened, that the
    /// services live, and that none of them has panicked.
    pub(crate) async fn others_are_served(&mut self) -> Result<()> {
        self.consented(HOUSE).await?;
        let (code, view) = self.house_asks(CLINIC, "in_service:known").await?;
        let outcome = view.answer.as_ref().map(|a| a.outcome.as_str());
        assert_eq!((code, outcome), (0, Some("released")), "{view:?}");
        self.federation.broker().require_alive()?;
        for agency in AGENCIES {
            self.federation.agent(agency).require_alive()?;
        }
        let agents = AGENCIES.map(|agency| format!("agent-{agency}"));
        for name in agents.iter().map(String::as_str).chain(["broker"]) {
            let log = self.federation.dir().join(format!("{name}.log"));
            let log = std::fs::read_to_string(log)?;
            assert!(!log.contains("panick"), "{name}:\n{log}");
        }
        Ok(())
    }
}

/// The arguments that name the person.
pub(crate) fn about_the_person() -> Vec<&'static str> {
    let [family, given, born] = PERSON;
    vec!["--family", family, "--given", given, "--born", born]
}
