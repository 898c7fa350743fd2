//! The oversight body's own copy of the log, and the search of the log: real processes, through
//! crashes and without the broker.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: what is wrong should end the test where it stands"
)]

#[path = "../offline/scene.rs"]
#[allow(dead_code, reason = "shared with the tests of what waits")]
mod scene;
mod served;

use anyhow::{Context as _, Result};
use passerelle_audit::{
    export::{ExportReader, ExportRow},
    search::Page,
};
use passerelle_model::{commitment::Field, request::Status};
use passerelle_proto::views::{MirrorStatus, RequestLine};
use passerelle_tests::{cli::Ran, export::Export, office::within};
use scene::{AGENCIES, CLINIC, HOUSE, OVERSIGHT, POLICE, Scene};
use std::{
    fs::{self, File},
    io::BufReader,
    path::{Path, PathBuf},
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(60);

impl Scene {
    /// One exchange from consent to answer; the request's id.
    async fn exchange(&self) -> Result<String> {
        self.consent().await?;
        let (_, view) = self.ask(&[]).await?;
        let request = view.line.request;
        let delivered = |line: &RequestLine| line.status == Status::Delivered;
        self.line_until(&request, delivered).await?;
        self.federation.settled(&AGENCIES, PATIENCE).await?;
        Ok(request)
    }

    async fn mirror(&self) -> Result<MirrorStatus> {
        let status = self.federation.agent_status(OVERSIGHT).await?;
        let status = status.context("the oversight agent does not answer")?;
        status.mirror.context("an oversight body keeps a mirror")
    }

    /// Waits until the mirror holds the whole log.
    async fn mirrored(&self) -> Result<u64> {
        within(PATIENCE, "the mirror to hold the whole log", || async {
            let log = self.federation.broker_status().await?.log_size;
            let mirror = self.mirror().await?;
            anyhow::ensure!(mirror.size == log, "{} of {log}: {mirror:?}", mirror.size);
            Ok(Some(log))
        })
        .await
    }

    async fn audit(&self, agency: &str, verb: &str, args: &[&str]) -> Result<Ran> {
        let dir = self.federation.agent_dir(agency);
        let head = ["audit", verb, "--dir", dir.to_str().context("not text")?];
        self.federation.cli(&[&head[..], args].concat()).await
    }

    async fn found(&self, agency: &str, args: &[&str]) -> Result<Page> {
        let ran = self.audit(agency, "search", args).await?.done()?;
        Ok(serde_json::from_value(ran.json)?)
    }

    fn person(&self) -> String {
        let path = self.federation.dir().join("Dubruit-Maude.toml");
        path.to_str().expect("text").to_owned()
    }
}

fn indices(page: &Page) -> Vec<u64> {
    page.entries.iter().map(|found| found.index).collect()
}

fn kinds(page: &Page) -> Vec<&'static str> {
    page.entries.iter().map(|found| found.kind.code()).collect()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut open = vec![dir.to_path_buf()];
    let mut files = Vec::new();
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => open.push(path),
                false => files.push(path),
            }
        }
    }
    files
}

/// The handles that an export opens.
fn handles(export: &Export) -> Vec<Vec<u8>> {
    let file = BufReader::new(File::open(&export.path).unwrap());
    let mut reader = ExportReader::new(file).unwrap();
    let mut handles = Vec::new();
    while let Some(row) = reader.next_row().unwrap() {
        let ExportRow::Entry { openings, .. } = row else {
            continue;
        };
        let subjects = openings.into_iter().filter(|o| o.field == Field::Subject);
        handles.extend(subjects.map(|o| o.data.0));
    }
    handles
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_mirror_goes_on_after_kills_and_answers_without_the_broker() -> Result<()> {
    let mut scene = Scene::open().await?;
    let request = scene.exchange().await?;
    scene.mirrored().await?;
    let about = ["--request", &request];
    let before = scene.found(OVERSIGHT, &about).await?;
    assert_eq!(
        kinds(&before),
        ["request", "decided", "offered", "answer", "receipt"]
    );

    scene.federation.agent(OVERSIGHT).kill9()?;
    scene.other_exchange_without(OVERSIGHT).await?;
    // In the middle of catching up, twice.
    for _ in 0..2 {
        scene.federation.spawn_agent(OVERSIGHT)?;
        tokio::time::sleep(Duration::from_millis(150)).await;
        scene.federation.agent(OVERSIGHT).kill9()?;
    }
    scene.federation.serve_agent(OVERSIGHT).await?;
    let size = scene.mirrored().await?;
    let export = scene.export().await?;
    export.verify()?;
    assert_eq!(export.entries.len() as u64, size);

    scene.federation.broker().kill9()?;
    scene.disconnected(OVERSIGHT).await?;
    for more in [&[][..], &["--mirror"]] {
        let page = scene.found(OVERSIGHT, &[&about[..], more].concat()).await?;
        assert_eq!(indices(&page), indices(&before), "{more:?}");
        assert_eq!(page.size, size);
    }
    let tail = scene
        .audit(OVERSIGHT, "tail", &["--mirror"])
        .await?
        .done()?;
    assert_eq!(tail.json["from_mirror"], true);
    // What the mirror exports is verified as any other export, and holds the same entries.
    let out = scene.federation.dir().join("mirror.export");
    let args = ["--mirror", "--out", out.to_str().context("not text")?];
    scene.audit(OVERSIGHT, "export", &args).await?.done()?;
    let mirrored = Export::read(out)?;
    mirrored.verify()?;
    assert_eq!(mirrored.tree.root(), export.tree.root());
    // The others have none.
    let refused = scene.audit(POLICE, "tail", &["--mirror"]).await?;
    assert_eq!(
        (refused.code, refused.error_code().as_deref()),
        (1, Some("wrong_state"))
    );
    // Whom entries are about is nowhere in it.
    let handles = handles(&export);
    assert!(handles.len() >= 2, "{}", handles.len());
    assert!(self::handles(&mirrored).is_empty());
    for file in files(&scene.federation.agent_dir(OVERSIGHT).join("mirror")) {
        let bytes = fs::read(&file)?;
        for handle in &handles {
            let is_in = bytes.windows(handle.len()).any(|window| window == handle);
            assert!(!is_in, "a handle is in {}", file.display());
        }
    }
    Ok(())
}

impl Scene {
    /// An exchange while one agency is away, which is then not waited for.
    async fn other_exchange_without(&self, away: &str) -> Result<()> {
        let (_, view) = self.ask(&[]).await?;
        let delivered = |line: &RequestLine| line.status == Status::Delivered;
        self.line_until(&view.line.request, delivered).await?;
        let others: Vec<_> = AGENCIES.into_iter().filter(|a| *a != away).collect();
        self.federation.settled(&others, PATIENCE).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_finds_what_it_may_read_and_whom_it_knows() -> Result<()> {
    let scene = Scene::open().await?;
    scene.exchange().await?;
    let person = scene.person();
    let about = ["--person", person.as_str()];
    let mine = [
        "consent", "request", "decided", "offered", "answer", "receipt",
    ];
    for agency in [OVERSIGHT, HOUSE] {
        let page = scene.found(agency, &about).await?;
        assert_eq!(kinds(&page), mine, "{agency}");
    }
    // Who was asked may not read the request's own entry, which says whom it is about.
    let page = scene.found(CLINIC, &about).await?;
    assert_eq!(kinds(&page), ["consent"]);
    Ok(())
}
