//! The power fails: a node's home is on an ext4 on a disk that records every write and flush, and
//! the image of any moment is made, repaired as at start-up, mounted and opened by the program.
//!
//! What was written since the last flush is there in part, sector by sector, as a seed says: that
//! is lost, torn and reordered writes. What was acknowledged before the moment must be there.
//!
//! `PASSERELLE_CUTS` sets how many moments are tried with each node (40 without).

use crate::{
    scene::{AGENCIES, CLINIC, EXE, OVERSIGHT, PATIENCE, Scene},
    seeded::Seeded,
};
use anyhow::{Context as _, Result};
use passerelle_journal::{Journal as _, Options, SegmentJournal};
use passerelle_proto::views::{AgentStatus, BrokerStatus, ConsentView};
use passerelle_tests::{
    federation::Federation,
    file_system::{FileSystem, check_image},
    machine::given,
    office::within,
    process::Process,
    recorded_disk::RecordedDisk,
};
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

const BYTES: u64 = 48 * 1024 * 1024;

fn cuts() -> usize {
    let given = std::env::var("PASSERELLE_CUTS").ok();
    given.map_or(40, |text| {
        text.parse().expect("PASSERELLE_CUTS is a number")
    })
}

/// A scene whose `node` has its home on a disk that records. The disk comes first: it is taken
/// away after the processes.
async fn recorded_scene(node: &str) -> Result<Option<(RecordedDisk, Scene)>> {
    let federation = Federation::prepare(EXE)?;
    let Some(disk) = given(
        "a disk that records (FUSE, loop)",
        RecordedDisk::make(BYTES),
    )?
    else {
        return Ok(None);
    };
    let home = disk.path().join("home");
    std::fs::create_dir(&home)?;
    std::os::unix::fs::symlink(&home, federation.dir().join(node))?;
    Ok(Some((disk, Scene::open_in(federation).await?)))
}

/// The moments: after flushes, and between them, from `first` on.
fn moments(disk: &RecordedDisk, first: usize, random: &mut Seeded) -> Vec<usize> {
    let (last, flushes) = (disk.position(), disk.flushes());
    let flushes: Vec<_> = flushes.into_iter().filter(|at| *at >= first).collect();
    println!(
        "{} writes and flushes, {} of them flushes",
        last - first,
        flushes.len()
    );
    let count = cuts();
    let mut moments = Vec::new();
    for number in 0..count {
        moments.push(if number % 3 == 0 && !flushes.is_empty() {
            flushes[random.index(flushes.len())]
        } else {
            first + random.index(last - first + 1)
        });
    }
    moments.push(last);
    moments.sort_unstable();
    moments
}

/// What a node had told somebody, with the position of the disk when it was heard.
struct Heard<T> {
    by: usize,
    what: T,
}

/// The newest of what was heard up to a moment.
fn heard_by<T>(all: &[Heard<T>], moment: usize) -> impl Iterator<Item = &T> {
    let before = all.iter().filter(move |heard| heard.by <= moment);
    before.map(|heard| &heard.what)
}

/// The image after a power cut at `moment`, repaired and mounted.
fn mounted_after(
    disk: &RecordedDisk,
    moment: usize,
    at: &Path,
    random: &mut Seeded,
) -> Result<FileSystem> {
    let image = at.join("image");
    // Mostly some of it arrived; now and then all or nothing.
    let share = [0, 10, 50, 90, 100][random.index(5)];
    disk.cut(moment, &image, || random.below(100) < share)?;
    check_image(&image).with_context(|| format!("cut at {moment}, {share} % arrived"))?;
    FileSystem::mount(&image, &at.join("m"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_power_cut_at_any_write_the_broker_has_what_it_acknowledged() -> Result<()> {
    let mut random = Seeded::from_environment();
    let Some((disk, mut scene)) = recorded_scene("broker").await? else {
        return Ok(());
    };
    let first = disk.position();
    let (mut entries, mut published) = (Vec::new(), Vec::new());
    for round in 0..16 {
        let (id, index) = scene.consent_done(CLINIC, round % 4).await?;
        if let Some(index) = index {
            entries.push(Heard {
                by: disk.position(),
                what: (id, index),
            });
        }
        if round % 2 == 0 {
            scene.exchange(round % 4).await?;
        }
        // Signed, and cosigned by others: it must never be a fork.
        let status = scene.federation.broker_status().await?;
        published.push(Heard {
            by: disk.position(),
            what: status.published_size,
        });
    }
    scene.federation.settled(&AGENCIES, PATIENCE).await?;
    let export = scene.federation.export(OVERSIGHT).await?;
    scene.federation.broker().kill9()?;
    let dir = tempfile::Builder::new().prefix("psp").tempdir_in("/tmp")?;
    let (began, mut lengths) = (Instant::now(), Vec::new());
    for moment in moments(&disk, first, &mut random) {
        let mounted = mounted_after(&disk, moment, dir.path(), &mut random)?;
        let home = mounted.path().join("home");
        let args = ["broker", "status", "--dir", home.to_str().unwrap()];
        let ran = scene.federation.cli(&args).await?;
        let ran = ran.done().with_context(|| format!("cut at {moment}"))?;
        let status: BrokerStatus = serde_json::from_value(ran.json)?;
        let journal = SegmentJournal::open(&home.join("journal"), Options::default())?;
        assert_eq!(journal.len(), status.log_size, "cut at {moment}");
        // The same log, or a leading part of it.
        for (index, entry) in (0..journal.len()).zip(&export.entries) {
            let record = journal.read(index)?.expect("a record below the length");
            assert_eq!(
                record.entry,
                entry.to_bytes()?,
                "entry {index}, cut at {moment}"
            );
        }
        for (id, index) in heard_by(&entries, moment) {
            assert!(
                *index < status.log_size,
                "`{id}` at {index} is lost, cut at {moment}"
            );
        }
        for size in heard_by(&published, moment) {
            assert!(
                *size <= status.log_size,
                "{size} was published, cut at {moment}"
            );
        }
        lengths.push(status.log_size);
        drop((journal, mounted));
    }
    println!(
        "{} cuts in {:?}: logs of {lengths:?}",
        lengths.len(),
        began.elapsed()
    );
    assert!(entries.len() >= 8, "too little was acknowledged");
    assert!(
        lengths[0] < lengths[lengths.len() - 1],
        "all cuts were at the end"
    );

    // From the last moment, with nothing that was not flushed, the exchange goes on.
    let image = dir.path().join("image");
    disk.cut(disk.position(), &image, || false)?;
    check_image(&image)?;
    let mounted = FileSystem::mount(&image, &dir.path().join("m"))?;
    let home = scene.federation.broker_dir();
    std::fs::remove_file(&home)?;
    std::os::unix::fs::symlink(mounted.path().join("home"), &home)?;
    scene.federation.serve_broker().await?;
    let after = scene.all_is_well().await?;
    assert_eq!(after.entries[..export.entries.len()], export.entries[..]);
    scene.federation.broker().kill9()
}

/// What an agent had said of itself.
struct Said {
    consents: Vec<String>,
    witness_size: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_power_cut_at_any_write_an_agent_has_what_it_acknowledged() -> Result<()> {
    let mut random = Seeded::from_environment();
    let Some((disk, mut scene)) = recorded_scene(CLINIC).await? else {
        return Ok(());
    };
    let first = disk.position();
    let mut heard = Vec::new();
    let mut consents = Vec::new();
    for round in 0..12 {
        consents.push(scene.consent(CLINIC, round % 4, 1).await?);
        if round % 3 == 0 {
            scene.exchange(round % 4).await?;
        }
        let status = scene.federation.agent_status(CLINIC).await?;
        let witness_size = status.context("no status")?.witness_size;
        let said = Said {
            consents: consents.clone(),
            witness_size,
        };
        heard.push(Heard {
            by: disk.position(),
            what: said,
        });
    }
    scene.federation.settled(&AGENCIES, PATIENCE).await?;
    scene.federation.agent(CLINIC).kill9()?;
    scene.federation.broker().kill9()?;
    let dir = tempfile::Builder::new().prefix("psp").tempdir_in("/tmp")?;
    let (began, mut count) = (Instant::now(), 0);
    for moment in moments(&disk, first, &mut random) {
        let mounted = mounted_after(&disk, moment, dir.path(), &mut random)?;
        let home = mounted.path().join("home");
        let (agent, status) = opened(&scene, &home, dir.path()).await?;
        if let Some(said) = heard_by(&heard, moment).last() {
            assert!(
                said.witness_size <= status.witness_size,
                "cut at {moment}: {status:?}"
            );
            let args = ["agent", "consent", "show", "--dir", home.to_str().unwrap()];
            let shown = scene.federation.cli(&args).await?.done()?;
            let shown: Vec<ConsentView> = serde_json::from_value(shown.json)?;
            for consent in &said.consents {
                let is_there = shown
                    .iter()
                    .any(|c| c.terms.consent.to_string() == *consent);
                assert!(is_there, "`{consent}` is lost, cut at {moment}");
            }
        }
        drop((agent, mounted));
        count += 1;
    }
    println!("{count} cuts in {:?}", began.elapsed());
    Ok(())
}

/// The agent, served without a broker from what the cut left.
async fn opened(scene: &Scene, home: &Path, logs: &Path) -> Result<(Process, AgentStatus)> {
    let args = ["agent", "serve", "--dir", home.to_str().unwrap()];
    let (out, log) = (logs.join("out"), logs.join("log"));
    let agent = Process::start(&PathBuf::from(EXE), &args, out, log, "warn")?;
    let mut agent = agent;
    let status = within(
        Duration::from_secs(30),
        "the agent to open its home",
        || {
            let alive = agent.require_alive();
            async move {
                alive?;
                let args = ["agent", "status", "--dir", home.to_str().unwrap()];
                let ran = scene.federation.cli(&args).await?.done()?;
                Ok(Some(serde_json::from_value(ran.json)?))
            }
        },
    )
    .await?;
    Ok((agent, status))
}
