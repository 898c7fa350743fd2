//! The federation that is measured: a broker and four agents, each a process of the program, on a
//! real disk; people with consents at the clinic, whom the house asks about.

use crate::{proc, tail::Tail};
use anyhow::{Context as _, Result, ensure};
use passerelle_agent::clock::{Clock as _, SystemClock};
use passerelle_proto::{
    v1::{self, node_client::NodeClient},
    views::{AgentStatus, Done, RequestView},
};
use passerelle_tests::{
    federation::Federation,
    office::{document, within},
};
use std::{path::Path, time::Duration};
use tokio::task::JoinSet;
use tonic::transport::Channel;

/// Answers.
pub(crate) const CLINIC: &str = "clinic";
/// Asks.
pub(crate) const HOUSE: &str = "house";
/// All agencies; the other two witness.
pub(crate) const AGENCIES: [&str; 4] = [CLINIC, HOUSE, "police", "oversight"];
const WORKER: &str = "worker-1";

/// Calls of the local interface at once while things are set up.
const HANDS: usize = 16;

/// The running federation.
pub(crate) struct World {
    /// The processes.
    pub(crate) federation: Federation,
    /// People with a consent, numbered from 0.
    pub(crate) people: usize,
    /// Answers that the house has opened.
    pub(crate) tail: Tail,
}

/// Synthetic, and another for each number.
pub(crate) fn person(number: usize) -> v1::Person {
    let letters = [number / 676 % 26, number / 26 % 26, number % 26];
    let letters = letters.map(|n| char::from(b'a' + n as u8));
    v1::Person {
        family_name: format!("Ruisseau{}", letters.iter().collect::<String>()),
        given_name: "Camille".to_owned(),
        birth_date: format!(
            "19{}-{:02}-{:02}",
            50 + number % 45,
            1 + number % 12,
            1 + number % 28
        ),
    }
}

fn consent(number: usize) -> v1::RecordConsentRequest {
    v1::RecordConsentRequest {
        person: Some(person(number)),
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
        expires_at_ms: SystemClock.now().plus_s(30 * 86_400).0,
        redisclosure: false,
        evidence: String::new(),
    }
}

/// The question: is this person in service with you?
pub(crate) fn question(number: usize) -> v1::AskRequest {
    v1::AskRequest {
        person: Some(person(number)),
        holder: CLINIC.to_owned(),
        items: vec![v1::AskItem {
            category: "in_service".to_owned(),
            level: "known".to_owned(),
        }],
        purpose: "deliver".to_owned(),
        basis: "consent".to_owned(),
        worker: WORKER.to_owned(),
        justification: "Follow-up of a referral.".to_owned(),
        ..v1::AskRequest::default()
    }
}

const MAPPING: &str = "source_id = \"no\"\ndate_formats = [\"YYYY-MM-DD\"]\n\
    [person]\nfamily_name = \"last\"\ngiven_name = \"first\"\nbirth_date = \"born\"\n\
    [[fact]]\ncategory = \"in_service\"\ncode = { constant = \"active\" }\n\
    contact = { constant = \"Desk, 555-0140\" }\nsensitivity = { constant = 1 }\n";

/// Changes a configuration file.
pub(crate) fn configure(path: &Path, change: impl FnOnce(&mut toml::Table)) -> Result<()> {
    let mut table: toml::Table = std::fs::read_to_string(path)?.parse()?;
    change(&mut table);
    Ok(std::fs::write(path, table.to_string())?)
}

/// Allowances that are never reached: policy, not cost.
pub(crate) fn no_limits(table: &mut toml::Table) {
    let names = [
        "statements_per_s",
        "statements_burst",
        "evaluations_per_s",
        "evaluations_burst",
    ];
    let most = toml::Value::Integer(4_000_000);
    let limits: toml::Table = names
        .map(|n| (n.to_owned(), most.clone()))
        .into_iter()
        .collect();
    table.insert("limits".into(), toml::Value::Table(limits));
}

impl World {
    /// Founds everything below `parent` with the program at `exe`.
    pub(crate) async fn build(exe: &str, parent: &Path, people: usize) -> Result<Self> {
        ensure!(
            proc::is_on_disk(parent)?,
            "`{}` is in memory: durable writes there cost nothing",
            parent.display()
        );
        let mut federation = Federation::prepare_in(exe, parent)?;
        let name = federation.name().to_string();
        // The four that run, whoever joins later.
        let args = ["--federation", &name, "--witnesses", "4"];
        federation.broker_cli("init", &args).await?.done()?;
        federation.configure(no_limits)?;
        federation.log_at("warn,passerelle_broker=info,passerelle=info");
        federation.serve_broker().await?;
        for agency in AGENCIES {
            let (sector, role) = match agency {
                CLINIC => ("health", "nurse"),
                HOUSE => ("community", "mentor"),
                "police" => ("law_enforcement", "officer"),
                _ => ("oversight", "privacy_officer"),
            };
            let token = federation.invite(agency, sector).await?;
            let broker = federation.address().to_string();
            let worker = format!("{WORKER}:{role}");
            let args = ["--broker", &broker, "--token", &token, "--worker", &worker];
            federation.agent_cli(agency, "enrol", &args).await?.done()?;
            configure(&federation.agent_dir(agency).join("agent.toml"), |table| {
                table.insert("answer_delay_ms".into(), toml::Value::Integer(0));
            })?;
            federation.serve_agent(agency).await?;
        }
        federation.all_know_each_other(&AGENCIES).await?;
        let tail = Tail::begin(&federation.agent_dir(HOUSE).join("journal"))?;
        let world = Self {
            federation,
            people,
            tail,
        };
        world.import().await?;
        world.consents().await?;
        world.first_questions().await?;
        Ok(world)
    }

    /// The agents of a federation that [`World::build`] made and whose broker runs again.
    pub(crate) async fn again(mut federation: Federation, people: usize) -> Result<Self> {
        let broker = federation.address().to_string();
        for agency in AGENCIES {
            configure(&federation.agent_dir(agency).join("agent.toml"), |table| {
                table.insert("broker".into(), toml::Value::String(broker.clone()));
            })?;
            federation.spawn_agent(agency)?;
        }
        for agency in AGENCIES {
            // All that was said meanwhile reaches it first: members, above all.
            let patience = Duration::from_secs(300);
            within(patience, "an agent to be up to date", || async {
                let status = federation.agent_status(agency).await?;
                let status = status.context("no status")?;
                let log = federation.broker_status().await?;
                let settled = status.connected && status.outbox == 0;
                let cosigned = status.witness_size >= log.published_size;
                let active = log.members.iter().filter(|m| m.active).count();
                let known = status.members.len() >= active;
                Ok((settled && cosigned && known).then_some(()))
            })
            .await?;
        }
        let tail = Tail::begin(&federation.agent_dir(HOUSE).join("journal"))?;
        Ok(Self {
            federation,
            people,
            tail,
        })
    }

    /// Ends all processes in order.
    pub(crate) async fn stop(&mut self) {
        for agency in AGENCIES {
            // One that has ended already is no matter.
            let _ = self.federation.agent(agency).terminate().await;
        }
        let _ = self.federation.broker().terminate().await;
    }

    async fn import(&self) -> Result<()> {
        let rows = (0..self.people).map(|number| {
            let p = person(number);
            let (last, first, born) = (p.family_name, p.given_name, p.birth_date);
            format!("{number},{last},{first},{born}\n")
        });
        let head = std::iter::once("no,last,first,born\n".to_owned());
        let csv: String = head.chain(rows).collect();
        self.federation
            .import(CLINIC, MAPPING, &csv)
            .await?
            .done()?;
        let node = self.federation.node(CLINIC).await?;
        let patience = Duration::from_secs(60);
        within(patience, "the clinic to have all handles", || {
            let mut node = node.clone();
            async move {
                let status = node.node_status(v1::NodeStatusRequest {}).await;
                let status: AgentStatus = document(status)?;
                let all = status.without_handle == 0 && status.people as usize >= self.people;
                Ok(all.then_some(()))
            }
        })
        .await
    }

    /// Runs `work` for every person, [`HANDS`] at a time.
    async fn each<F>(
        &self,
        agency: &str,
        work: impl Fn(NodeClient<Channel>, usize) -> F,
    ) -> Result<()>
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let node = self.federation.node(agency).await?;
        let mut running = JoinSet::new();
        for number in 0..self.people {
            if running.len() >= HANDS
                && let Some(done) = running.join_next().await
            {
                done??;
            }
            running.spawn(work(node.clone(), number));
        }
        while let Some(done) = running.join_next().await {
            done??;
        }
        Ok(())
    }

    async fn consents(&self) -> Result<()> {
        self.each(CLINIC, |mut node, number| async move {
            let done: Done = document(node.record_consent(consent(number)).await)?;
            ensure!(done.status == "done", "consent {number}: {done:?}");
            Ok(())
        })
        .await
    }

    /// The house asks about everybody once: from then on it has the handles, as an agency does
    /// that follows people up.
    async fn first_questions(&self) -> Result<()> {
        self.each(HOUSE, |mut node, number| async move {
            let view: RequestView = document(node.ask(question(number)).await)?;
            let decided = view.decision.first();
            let effect = decided.map(|d| d.item.ruling.effect);
            ensure!(
                effect == Some(passerelle_model::pdp::Effect::Permit),
                "the question about person {number} was not permitted: {view:?}"
            );
            Ok(())
        })
        .await?;
        self.show_one().await
    }

    /// Looks at an answer as a worker does, to be sure that it says what the clinic holds.
    async fn show_one(&self) -> Result<()> {
        let mut node = self.federation.node(HOUSE).await?;
        let view: RequestView = document(node.ask(question(0)).await)?;
        let request = view.line.request;
        self.tail.opened(&request, Duration::from_secs(20)).await?;
        let shown = within(Duration::from_secs(20), "the answer to be shown", || {
            let mut node = node.clone();
            let look = v1::ShowRequest {
                request: request.clone(),
                worker: WORKER.to_owned(),
            };
            async move { Ok(document::<RequestView>(node.show(look).await)?.answer) }
        })
        .await?;
        let text = serde_json::to_string(&shown)?;
        ensure!(
            text.contains("released"),
            "the clinic did not release: {text}"
        );
        Ok(())
    }

    /// Process ids by name, the broker first.
    pub(crate) fn processes(&mut self) -> Vec<(String, u32)> {
        let mut all = vec![("broker".to_owned(), self.federation.broker().id())];
        for agency in AGENCIES {
            all.push((agency.to_owned(), self.federation.agent(agency).id()));
        }
        all
    }

    /// The journal of the broker or of an agency.
    pub(crate) fn journal(&self, name: &str) -> std::path::PathBuf {
        self.federation.dir().join(name).join("journal")
    }

    /// Milliseconds of the machine's clock.
    pub(crate) fn now_ms() -> u64 {
        SystemClock.now().0
    }

    /// An error if a process has ended.
    pub(crate) fn require_alive(&mut self) -> Result<()> {
        self.federation.broker().require_alive().context("broker")?;
        for agency in AGENCIES {
            self.federation.agent(agency).require_alive()?;
        }
        Ok(())
    }
}
