//! A house that asks, a clinic that holds, two more witnesses, people who consent.

use anyhow::{Context as _, Result};
use passerelle_model::request::Status;
use passerelle_proto::{
    v1,
    views::{Done, RequestLine, RequestView},
};
use passerelle_tests::{
    export::Export,
    federation::Federation,
    office::{document, within},
    raw_agency::now,
};
use std::{
    io::ErrorKind,
    path::Path,
    time::{Duration, Instant},
};

pub(crate) const EXE: &str = env!("CARGO_BIN_EXE_passerelle");

pub(crate) const POLICE: &str = "police";
pub(crate) const CLINIC: &str = "clinic";
pub(crate) const HOUSE: &str = "house";
pub(crate) const OVERSIGHT: &str = "oversight";
pub(crate) const AGENCIES: [&str; 4] = [POLICE, CLINIC, HOUSE, OVERSIGHT];
pub(crate) const WORKER: &str = "worker-1";

/// Everybody gets this much time; reached only by a test that fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// How many people there are whom the clinic has a consent of: it answers at once.
pub(crate) const PEOPLE: usize = 4;

/// One more, whose consent the house has recorded: somebody at the clinic has to look.
pub(crate) const LOOKED_AT: usize = PEOPLE;

const MAPPING: &str = "source_id = \"no\"\ndate_formats = [\"YYYY-MM-DD\"]\n\
     [person]\nfamily_name = \"last\"\ngiven_name = \"first\"\nbirth_date = \"born\"\n\
     [[fact]]\ncategory = \"in_service\"\ncode = { constant = \"active\" }\n\
     contact = { constant = \"Desk, 555-0140\" }\nsensitivity = { constant = 1 }\n";

pub(crate) struct Scene {
    pub(crate) federation: Federation,
}

/// Synthetic, and the same in CSV and in a question.
pub(crate) fn person(number: usize) -> v1::Person {
    let letter = char::from(b'A' + u8::try_from(number).expect("few people"));
    v1::Person {
        family_name: format!("Ravin{letter}"),
        given_name: "Claude".to_owned(),
        birth_date: format!("1988-03-1{number}"),
    }
}

pub(crate) fn is_delivered(line: &RequestLine) -> bool {
    line.status == Status::Delivered
}

/// Whether nothing more can come of a request.
pub(crate) fn is_over(line: &RequestLine) -> bool {
    use Status::{Delivered, Denied, Erased, Expired, Stopped, Viewed};
    matches!(
        line.status,
        Denied | Expired | Stopped | Delivered | Viewed | Erased
    )
}

/// What the house asks the clinic.
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
        ..v1::AskRequest::default()
    }
}

/// A person lets the clinic tell the house for so many days.
pub(crate) fn terms(number: usize, days: u64) -> v1::RecordConsentRequest {
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
        expires_at_ms: now().plus_s(days * 86_400).0,
        redisclosure: false,
        evidence: String::new(),
    }
}

/// Takes a home's projection away, if it has one.
pub(crate) fn forget_projection(home: &Path) -> Result<()> {
    match std::fs::remove_dir_all(home.join("projection")) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

impl Scene {
    /// On loopback, with one clock.
    pub(crate) async fn open() -> Result<Self> {
        Self::open_in(Federation::prepare(EXE)?).await
    }

    /// With what was prepared: every agency enrolled and served, every person known and consenting.
    pub(crate) async fn open_in(mut federation: Federation) -> Result<Self> {
        federation.init_broker().await?.done()?;
        federation.serve_broker().await?;
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
        let rows = (0..=LOOKED_AT).map(|number| {
            let p = person(number);
            format!(
                "{number},{},{},{}\n",
                p.family_name, p.given_name, p.birth_date
            )
        });
        let csv: String = std::iter::once("no,last,first,born\n".to_owned())
            .chain(rows)
            .collect();
        federation.import(CLINIC, MAPPING, &csv).await?.done()?;
        let scene = Self { federation };
        for number in 0..PEOPLE {
            scene.consent(CLINIC, number, 300).await?;
        }
        // From now on the house knows the handles, and can ask while the broker is away.
        for number in 0..PEOPLE {
            let request = scene.ask(number).await?;
            scene.delivered(&request).await?;
        }
        Ok(scene)
    }

    /// An agency records that a person consents for so many days; the consent's id.
    pub(crate) async fn consent(&self, agency: &str, number: usize, days: u64) -> Result<String> {
        let mut node = self.federation.node(agency).await?;
        let done: Done = document(node.record_consent(terms(number, days)).await)?;
        Ok(done.id)
    }

    /// The same for a day; its id, and the index of its entry if the agent knows it already.
    pub(crate) async fn consent_done(
        &self,
        agency: &str,
        number: usize,
    ) -> Result<(String, Option<u64>)> {
        let mut node = self.federation.node(agency).await?;
        let done: Done = document(node.record_consent(terms(number, 1)).await)?;
        Ok((done.id, done.index))
    }

    /// The house asks about a person; what its agent acknowledged.
    pub(crate) async fn ask(&self, number: usize) -> Result<String> {
        let mut node = self.federation.node(HOUSE).await?;
        let view: RequestView = document(node.ask(question(number)).await)?;
        Ok(view.line.request)
    }

    /// One exchange from question to answer; how long it took.
    pub(crate) async fn exchange(&self, number: usize) -> Result<Duration> {
        let began = Instant::now();
        let request = self.ask(number).await?;
        self.delivered(&request).await?;
        Ok(began.elapsed())
    }

    /// Waits until the house has an answer.
    pub(crate) async fn delivered(&self, request: &str) -> Result<()> {
        self.line_until(request, is_delivered).await.map(drop)
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

    /// How the house sees a request now.
    pub(crate) async fn line(&self, request: &str) -> Result<RequestLine> {
        let lines = self.federation.lines(HOUSE, "requests").await?;
        let found = lines.into_iter().find(|line| line.request == request);
        found.with_context(|| format!("`{request}` is lost"))
    }

    /// Somebody at the clinic looks at a request and approves of it.
    pub(crate) async fn approve(&self, request: &str) -> Result<()> {
        within(PATIENCE, "the clinic to be asked", || async {
            let args = [request, "--worker", WORKER];
            let ran = self.federation.agent_cli(CLINIC, "approve", &args).await?;
            ran.done().map(Some)
        })
        .await
        .map(drop)
    }

    /// What a worker of the house sees of a request.
    pub(crate) async fn view(&self, request: &str) -> Result<RequestView> {
        self.federation.show(HOUSE, request, WORKER).await
    }

    /// Waits until a request lies before the people of the clinic.
    pub(crate) async fn reaches_the_clinic(&self, request: &str) -> Result<RequestLine> {
        let reached = |line: &RequestLine| line.status == Status::HolderReview;
        self.federation
            .line_until(CLINIC, "inbox", request, reached)
            .await
    }

    /// Whether it has reached the clinic.
    pub(crate) async fn is_in_the_inbox(&self, request: &str) -> Result<bool> {
        let inbox = self.federation.lines(CLINIC, "inbox").await?;
        Ok(inbox.iter().any(|line| line.request == request))
    }

    /// Waits until the broker sees an agency connected, or no longer.
    pub(crate) async fn connected(&self, agency: &str, wanted: bool) -> Result<()> {
        let what = format!("the broker to see `{agency}` connected: {wanted}");
        within(PATIENCE, &what, || async {
            let status = self.federation.broker_status().await?;
            let mut members = status.members.into_iter();
            let member = members.find(|m| m.agency == agency);
            let is = member.context("no such member")?.connected;
            Ok((is == wanted).then_some(()))
        })
        .await
    }

    /// Waits until an agent sees its stream up, or down.
    pub(crate) async fn link(&self, agency: &str, wanted: bool) -> Result<()> {
        let what = format!("the stream of `{agency}` to be up: {wanted}");
        within(PATIENCE, &what, || async {
            let status = self.federation.agent_status(agency).await?;
            let is = status.context("no status")?.connected;
            Ok((is == wanted).then_some(()))
        })
        .await
    }

    /// Everything is as if nothing had happened: all settled, one more exchange, the log whole.
    pub(crate) async fn all_is_well(&self) -> Result<Export> {
        self.exchange(0).await?;
        self.federation.settled(&AGENCIES, PATIENCE).await?;
        let export = self.federation.export(OVERSIGHT).await?;
        let report = export.verify()?;
        anyhow::ensure!(report.is_complete(), "{report:?}");
        // Every decision comes out the same when it is made again from the log alone.
        let file = export.path.to_str().context("a path that is not text")?;
        self.federation
            .cli(&["audit", "replay", file])
            .await?
            .done()?;
        every_answer_came_once(&export);
        Ok(export)
    }
}

/// No request has two answers or two deliveries, and the log's time does not go back.
pub(crate) fn every_answer_came_once(export: &Export) {
    let requests: std::collections::BTreeSet<_> = export.named().map(|(_, _, id)| id).collect();
    for id in requests.iter().filter(|id| id.starts_with("req-")) {
        let kinds = export.kinds(id);
        for kind in ["request", "answer", "delivered", "stopped", "expired"] {
            assert!(export.count(id, kind) <= 1, "{id}: {kinds:?}");
        }
        assert!(
            export.count(id, "delivered") <= export.count(id, "answer"),
            "{id}: {kinds:?}"
        );
    }
    let times = export.entries.windows(2);
    for pair in times {
        assert!(
            pair[0].at <= pair[1].at,
            "{:?} before {:?}",
            pair[0].at,
            pair[1].at
        );
    }
}
