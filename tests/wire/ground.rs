//! A federation under attack: three agencies that go on working, one whose certificate the attacks
//! use, and a watch over the broker's memory and file descriptors.

use crate::http2::Raw;
use anyhow::{Context as _, Result, ensure};
use passerelle_agent::tls_client::EnrolmentConnector;
use passerelle_model::{
    entry::EntryBody,
    statement::{Body, Statement},
    vocabulary::Category,
};
use passerelle_proto::invitation::Invitation;
use passerelle_tests::{
    federation::Federation,
    raw_agency::{RawAgency, Received},
    raw_session::Session,
    statements::somebody,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{net::TcpStream, task::JoinHandle, time::sleep};
use tokio_rustls::client::TlsStream;

/// How much the broker may grow under attack, and be larger afterwards, in KiB.
const GROWTH_KIB: u64 = 64 << 10;

/// File descriptors that may be open afterwards beside those that were before: a connection of an
/// agency that came back, a file of the journal.
const SPARE_FDS: usize = 8;

/// How long an exchange of others may take under attack. No target for speed: it must end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(45);

/// The TLS connection of a client.
pub(crate) type Tls = TlsStream<TcpStream>;

pub(crate) struct Ground {
    pub(crate) federation: Federation,
    house: (RawAgency, Session),
    clinic: (RawAgency, Session),
    _school: (RawAgency, Session),
    /// Whose certificate the attacks use; it is not attached.
    pub(crate) attacker: RawAgency,
    invitation: Invitation,
}

impl Ground {
    pub(crate) async fn open() -> Result<Self> {
        let federation = Federation::start(env!("CARGO_BIN_EXE_passerelle")).await?;
        let seat = async |name, sector| -> Result<_> {
            let agency = federation.raw(name, sector).await?;
            let session = agency.attach().await?;
            Ok((agency, session))
        };
        let (house, clinic, school) = (
            seat("house", "community").await?,
            seat("clinic", "health").await?,
            seat("school", "education").await?,
        );
        let attacker = federation.raw("shelter", "housing_income").await?;
        let spare = federation.invite("spare", "community").await?;
        let invitation = Invitation::from_text(&spare)
            .map_err(|code| anyhow::anyhow!("no invitation: {code}"))?;
        let ground = Self {
            federation,
            house,
            clinic,
            _school: school,
            attacker,
            invitation,
        };
        // Everything is loaded once before anything is measured.
        ground.exchange().await?;
        Ok(ground)
    }

    /// One exchange between two others, from consent to the answer's arrival.
    pub(crate) async fn exchange(&self) -> Result<()> {
        let ((house, asking), (clinic, holding)) = (&self.house, &self.clinic);
        let subject = somebody();
        let category = Category::InService;
        let parties = (&[&house.agency], &[&clinic.agency]);
        let (_, terms) = clinic.consent(&subject, &[category], parties.0, parties.1);
        holding.submit(clinic.sign(&terms)).await?.index();
        let asked = house.request(clinic, &subject, category);
        asking.submit(house.sign(&asked.draft)).await?.index();
        let permit = clinic
            .notice("a permit", |n| {
                matches!(&n.entry.body, EntryBody::Offered { permit }
                    if permit.request == asked.request)
            })
            .await?;
        let EntryBody::Offered { permit } = permit.entry.body else {
            unreachable!("it was looked for")
        };
        let answer = clinic.answer(&permit, b"{}");
        let index = holding.submit(clinic.sign(&answer)).await?.index();
        let arrived = house.notice_of(index).await?;
        ensure!(is_answer(&arrived), "{:?}", arrived.entry);
        house.require_honest_broker()
    }

    /// Runs an attack. Meanwhile an exchange of others must complete, and a new connection of one
    /// of them; afterwards the broker must be as before.
    pub(crate) async fn under<T>(
        &mut self,
        what: &str,
        attack: impl AsyncFnOnce(&Self) -> Result<T>,
    ) -> Result<T> {
        let before = self.federation.broker().id();
        let watch = Watch::over(before)?;
        let others = async {
            let began = Instant::now();
            let mut exchanges = 0_u32;
            // More than one, so that some begin when the attack is under way.
            while exchanges < 3 {
                let done = tokio::time::timeout(PATIENCE, self.exchange()).await;
                done.with_context(|| format!("{what}: others are held up"))??;
                exchanges += 1;
                sleep(Duration::from_millis(200)).await;
            }
            Ok(began.elapsed())
        };
        let (outcome, others) = tokio::join!(attack(self), others);
        let took: Result<Duration> = others;
        let took = took.with_context(|| format!("{what}: the others"))?;
        let outcome = outcome.with_context(|| format!("{what}: the attack"))?;
        let report = watch.end(what).await?;
        println!("{what}: {report}; three exchanges meanwhile in {took:.1?}");
        self.broker_is_well()?;
        Ok(outcome)
    }

    fn broker_is_well(&mut self) -> Result<()> {
        let broker = self.federation.broker();
        broker.require_alive()?;
        let log = broker.log();
        ensure!(!log.contains("panick"), "the broker panicked:\n{log}");
        Ok(())
    }

    /// A TCP connection to the broker.
    pub(crate) async fn tcp(&self) -> Result<TcpStream> {
        let tcp = TcpStream::connect(self.federation.address()).await?;
        tcp.set_nodelay(true)?;
        Ok(tcp)
    }

    /// A TLS connection with the attacker's certificate, or without any.
    pub(crate) async fn tls(&self, with_certificate: bool) -> Result<Tls> {
        let address = self.federation.address();
        let (host, port) = (address.ip().to_string(), address.port());
        if with_certificate {
            return Ok(self.attacker.connector.open(&host, port).await?);
        }
        let enrolment = EnrolmentConnector::by_fingerprint(self.invitation.ca_fingerprint)?;
        Ok(enrolment.connector.open(&host, port).await?)
    }

    /// An HTTP/2 connection that has said what a client says first.
    pub(crate) async fn http2(&self, with_certificate: bool) -> Result<Raw<Tls>> {
        Raw::greet(self.tls(with_certificate).await?).await
    }

    /// Shows that a member that was away can come back.
    pub(crate) async fn comes_back(&self) -> Result<()> {
        let session = self.attacker.attach().await?;
        let (_, opening) = self.attacker.case(&[]);
        session.submit(self.attacker.sign(&opening)).await?.index();
        Ok(())
    }
}

fn is_answer(notice: &Received) -> bool {
    let EntryBody::Said { envelope, .. } = &notice.entry.body else {
        return false;
    };
    let statement: Option<Statement> = envelope.unverified_statement().ok();
    matches!(statement.map(|s| s.body), Some(Body::Answer(_)))
}

/// Resident memory in KiB.
pub(crate) fn resident_kib(process: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let words = line.context("no memory in the process's status")?;
    Ok(words.trim().trim_end_matches("kB").trim().parse()?)
}

/// How many file descriptors are open.
pub(crate) fn open_files(process: u32) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{process}/fd"))?.count())
}

/// Looks at a process until the end.
pub(crate) struct Watch {
    process: u32,
    kib: u64,
    files: usize,
    peak_kib: Arc<AtomicU64>,
    peak_files: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Watch {
    pub(crate) fn over(process: u32) -> Result<Self> {
        let (kib, files) = (resident_kib(process)?, open_files(process)?);
        let (peak_kib, peak_files) = (Arc::new(AtomicU64::new(kib)), Arc::new(AtomicU64::new(0)));
        let (kib_seen, files_seen) = (peak_kib.clone(), peak_files.clone());
        let task = tokio::spawn(async move {
            loop {
                if let (Ok(kib), Ok(files)) = (resident_kib(process), open_files(process)) {
                    kib_seen.fetch_max(kib, Ordering::Relaxed);
                    files_seen.fetch_max(files as u64, Ordering::Relaxed);
                }
                sleep(Duration::from_millis(20)).await;
            }
        });
        Ok(Self {
            process,
            kib,
            files,
            peak_kib,
            peak_files,
            task,
        })
    }

    /// Checks that the process never grew beyond the bound, and is as it was.
    pub(crate) async fn end(self, what: &str) -> Result<String> {
        let deadline = Instant::now() + Duration::from_secs(20);
        let files = loop {
            let files = open_files(self.process)?;
            if files <= self.files + SPARE_FDS {
                break files;
            }
            ensure!(
                Instant::now() < deadline,
                "{what}: {} file descriptors before, {files} after",
                self.files
            );
            sleep(Duration::from_millis(100)).await;
        };
        self.task.abort();
        let after = resident_kib(self.process)?;
        let (peak, peak_files) = (
            self.peak_kib.load(Ordering::Relaxed),
            self.peak_files.load(Ordering::Relaxed),
        );
        let report = format!(
            "memory {} MiB, at most {}, then {}; files {}, at most {peak_files}, then {files}",
            self.kib >> 10,
            peak >> 10,
            after >> 10,
            self.files
        );
        ensure!(peak <= self.kib + GROWTH_KIB, "{what}: {report}");
        ensure!(after <= self.kib + GROWTH_KIB, "{what}: {report}");
        Ok(report)
    }
}
