//! A worker who looks up her own name, and what her agency makes of it (synthetic people).

use crate::{
    offices::{CLINIC, HOUSE, PATIENCE},
    scene::EXE,
};
use anyhow::{Context as _, Result};
use passerelle_model::request::Status;
use passerelle_proto::views::AuditCaseView;
use passerelle_tests::{
    cli::Ran, false_clock::FalseClock, federation::Federation, machine::given, office::within,
};
use std::time::Duration;

const CLERK: &str = "ana";
const CHIEF: &str = "sam";

struct Agencies {
    federation: Federation,
    sister: String,
    own: String,
}

impl Agencies {
    /// A house with a clerk named Ana Dubruit and her chief; a clinic that knows Maude Dubruit, who
    /// consents to what is asked.
    async fn open() -> Result<Self> {
        let mut federation = Federation::start(EXE).await?;
        let workers = ["ana:mentor", "sam:supervisor"];
        federation.open_office(HOUSE, "community", &workers).await?;
        federation
            .open_office(CLINIC, "health", &["cam:nurse"])
            .await?;
        let path = federation.agent_dir(HOUSE).join("agent.toml");
        let mut settings: toml::Table = std::fs::read_to_string(&path)?.parse()?;
        let workers = settings
            .get_mut("workers")
            .and_then(toml::Value::as_array_mut);
        for (worker, name) in workers.context("no workers")?.iter_mut().zip([
            "family = \"Dubruit\"\ngiven = \"Ana\"\nborn = \"1984-05-06\"\n",
            "family = \"Roy\"\ngiven = \"Sam\"\n",
        ]) {
            let worker = worker.as_table_mut().context("no table")?;
            worker.insert("name".to_owned(), name.parse::<toml::Table>()?.into());
        }
        std::fs::write(&path, settings.to_string())?;
        federation.restart_agent(HOUSE).await?;
        federation.all_know_each_other(&[HOUSE, CLINIC]).await?;
        let mapping = "source_id = \"no\"\ndate_formats = [\"YYYY-MM-DD\"]\n\
             [person]\nfamily_name = \"last\"\ngiven_name = \"first\"\nbirth_date = \"born\"\n\
             [[fact]]\ncategory = \"in_service\"\ncode = { constant = \"active\" }\n\
             contact = { constant = \"Desk, 555-0140\" }\nsensitivity = { constant = 1 }\n";
        let csv = "no,last,first,born\n1,Dubruit,Maude,1991-02-03\n";
        federation.import(CLINIC, mapping, csv).await?.done()?;
        let sister = federation.person("Dubruit", "Maude", "1991-02-03")?;
        let own = federation.person("DUBRUIT", "Âna", "1984-05-06")?;
        let consent = federation.consent(CLINIC, &sister, "in_service", HOUSE, CLINIC);
        consent.await?.done()?;
        Ok(Self {
            federation,
            sister,
            own,
        })
    }

    async fn asks(&self, person: &str) -> Result<Ran> {
        let args = [
            ["--person", person],
            ["--holder", CLINIC],
            ["--item", "in_service:known"],
            ["--purpose", "deliver"],
            ["--basis", "consent"],
            ["--worker", CLERK],
        ];
        self.federation
            .agent_cli(HOUSE, "request", &args.concat())
            .await
    }

    async fn audit(&self, verb: &str, worker: &str, args: &[&str]) -> Result<Ran> {
        let verb = format!("audit-cases {verb}");
        let args = [args, &["--worker", worker]].concat();
        self.federation.agent_cli(HOUSE, &verb, &args).await
    }

    async fn cases(&self, filter: &[&str]) -> Result<Vec<AuditCaseView>> {
        let ran = self.audit("list", CHIEF, filter).await?.done()?;
        Ok(serde_json::from_value(ran.json)?)
    }

    /// The only case that waits.
    async fn open_case(&self) -> Result<AuditCaseView> {
        let mut cases = self.cases(&["--open"]).await?;
        anyhow::ensure!(cases.len() == 1, "{cases:?}");
        cases.pop().context("no case")
    }

    /// Whether no question has left, nor reached the clinic.
    async fn nothing_left(&self) -> Result<bool> {
        self.federation.settled(&[HOUSE, CLINIC], PATIENCE).await?;
        let asked = self.federation.lines(HOUSE, "requests").await?;
        let heard = self.federation.lines(CLINIC, "inbox").await?;
        Ok(asked.is_empty() && heard.is_empty())
    }
}

fn refused(ran: &Ran, code: &str) {
    assert_eq!(
        (ran.code, ran.error_code().as_deref()),
        (1, Some(code)),
        "{ran:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clerk_who_looks_up_her_own_surname_is_held_alerted_and_suspended() -> Result<()> {
    let offices = Agencies::open().await?;
    let held = offices.asks(&offices.sister).await?;
    refused(&held, "held");
    assert!(held.stderr.contains("surname") && held.stderr.contains("nom de famille"));
    assert!(offices.nothing_left().await?);
    let status = offices
        .federation
        .agent_status(HOUSE)
        .await?
        .context("no status")?;
    assert_eq!((status.audit_cases, status.audit_cases_overdue), (1, 0));
    // She can neither see nor decide that she is looked at.
    refused(&offices.audit("list", CLERK, &[]).await?, "not_independent");
    let case = offices.open_case().await?;
    assert!(held.stderr.contains(&case.audit_case));
    assert_eq!(
        (case.question.as_str(), case.worker.as_deref()),
        ("held", Some(CLERK))
    );
    let id = case.audit_case.as_str();
    let own = offices.audit("decide", CLERK, &[id, "justified"]).await?;
    refused(&own, "not_independent");
    let args = [
        id,
        "not-justified",
        "--suspend",
        "--note",
        "her sister, no reason",
    ];
    offices.audit("decide", CHIEF, &args).await?.done()?;
    // Suspended: she asks nothing, about nobody.
    let stranger = offices.federation.person("Inconnu", "Paul", "1960-05-06")?;
    refused(&offices.asks(&stranger).await?, "suspended");
    let shown = offices.audit("show", CHIEF, &[id]).await?.done()?;
    let shown: AuditCaseView = serde_json::from_value(shown.json)?;
    assert_eq!(shown.note.as_deref(), Some("her sister, no reason"));
    assert!(shown.suspended && shown.question == "dropped");
    offices.audit("lift", CHIEF, &[CLERK]).await?.done()?;
    // Her own record is refused at once, however she writes her name.
    refused(&offices.asks(&offices.own).await?, "refused_here");
    assert!(offices.nothing_left().await?, "still nothing has left");
    let overdue = offices.audit("list", CHIEF, &["--overdue"]).await?;
    assert_eq!(overdue.code, 0, "three days are left");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_question_outlives_kill_9_and_leaves_when_a_second_person_releases_it() -> Result<()>
{
    let mut offices = Agencies::open().await?;
    refused(&offices.asks(&offices.sister).await?, "held");
    offices.federation.restart_agent(HOUSE).await?;
    let case = offices.open_case().await?;
    let args = [case.audit_case.as_str(), "justified"];
    offices.audit("decide", CHIEF, &args).await?.done()?;
    let reached = |line: &passerelle_proto::views::RequestLine| line.status == Status::Delivered;
    let line = offices
        .federation
        .line_until(HOUSE, "requests", &case.request, reached);
    line.await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_to_be_held_is_there_whenever_the_agent_is_killed() -> Result<()> {
    let mut offices = Agencies::open().await?;
    let mut said = 0;
    for round in 0..6_u64 {
        let asks = offices.asks(&offices.sister);
        let ends = tokio::time::timeout(Duration::from_millis(40 * round), asks).await;
        offices.federation.agent(HOUSE).kill9()?;
        let was_said = matches!(ends, Ok(Ok(ran)) if ran.error_code().as_deref() == Some("held"));
        said += usize::from(was_said);
        offices.federation.serve_agent(HOUSE).await?;
        let cases = within(PATIENCE, "the cases", || async {
            Ok(Some(offices.cases(&["--open"]).await?))
        });
        let cases = cases.await?;
        assert!(
            cases.len() >= said,
            "{said} were said, {} are there",
            cases.len()
        );
        assert!(cases.len() <= said + usize::try_from(round)? + 1);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_case_that_nobody_looks_at_is_overdue_in_the_list_the_status_and_the_log() -> Result<()> {
    let mut offices = Agencies::open().await?;
    let clock = FalseClock::at(&offices.federation.dir().join("house.clock"));
    let Some(clock) = given("a clock that can be set", clock)? else {
        return Ok(());
    };
    offices.federation.surround(HOUSE, clock.around());
    offices.federation.restart_agent(HOUSE).await?;
    refused(&offices.asks(&offices.sister).await?, "held");
    clock.set(73 * 3_600)?;
    let overdue = offices.audit("list", CHIEF, &["--overdue"]).await?;
    assert_eq!(overdue.code, 1, "{overdue:?}");
    let status = offices.federation.agent_status(HOUSE).await?;
    let status = status.context("no status")?;
    assert_eq!((status.audit_cases, status.audit_cases_overdue), (1, 1));
    offices.federation.agent(HOUSE).kill9()?;
    offices.federation.spawn_agent(HOUSE)?;
    within(PATIENCE, "the log to say it", || {
        let log = offices.federation.agent(HOUSE).own_log();
        async move { Ok(log.contains("beyond their deadline").then_some(())) }
    })
    .await
}
