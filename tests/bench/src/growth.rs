//! The same exchange with more behind it: more entries and consents, more agencies and agreements.
//!
//! The log is made by production code ([`crate::generate`]) on the broker's directory of a real
//! federation while it does not run. The directories are kept, so that another run finds them.

use crate::{
    exchange,
    generate::Maker,
    proc::{self, Memory},
    world::{AGENCIES, World},
};
use anyhow::Result;
use passerelle_tests::federation::Federation;
use serde::Serialize;
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// The series of entries.
pub(crate) const ENTRIES: &str = "consents and entries";
/// The series of agencies.
pub(crate) const AGENCIES_AND: &str = "agencies and agreements";
/// People at the clinic, whatever the size.
const PEOPLE: usize = 100;
/// Changes when homes of before can't be used any more; the versions of the projections besides.
const FORM: &str = "v3";

/// One size.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Point {
    /// Agencies, or entries.
    pub(crate) size: u64,
    /// Entries of the log before the load.
    pub(crate) entries: u64,
    /// One exchange alone: half take less.
    pub(crate) p50_ms: f64,
    /// Milliseconds of processor for one exchange, 16 in flight.
    pub(crate) cpu_ms: f64,
    /// Seconds from the start of the broker's process until it listens.
    pub(crate) start_s: f64,
    /// The broker's memory after the load.
    pub(crate) broker: Memory,
    /// Bytes of the broker's directory.
    pub(crate) disk_bytes: u64,
    /// As [`exchange::Point::others`].
    pub(crate) others: f64,
}

/// One thing that grows.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Series {
    /// What.
    pub(crate) what: &'static str,
    /// At each size.
    pub(crate) points: Vec<Point>,
    /// Sizes that could not be measured, with the reason.
    pub(crate) failed: Vec<(u64, String)>,
}

impl Series {
    /// A figure at the largest size over that at the smallest.
    fn growth_of(&self, of: impl Fn(&Point) -> f64) -> Option<f64> {
        let first = self.points.iter().min_by_key(|p| p.size)?;
        let last = self.points.iter().max_by_key(|p| p.size)?;
        (first.size < last.size).then(|| of(last) / of(first))
    }

    /// Time of one exchange alone, largest over smallest.
    pub(crate) fn time_ratio(&self) -> Option<f64> {
        self.growth_of(|p| p.p50_ms)
    }

    /// Processor time of one exchange, largest over smallest.
    pub(crate) fn cpu_ratio(&self) -> Option<f64> {
        self.growth_of(|p| p.cpu_ms)
    }

    /// The broker's memory, largest over smallest.
    pub(crate) fn memory_ratio(&self) -> Option<f64> {
        self.growth_of(|p| p.broker.resident_kib as f64)
    }
}

/// The directories of a federation.
const PARTS: [&str; 5] = ["broker", "clinic", "house", "police", "oversight"];

/// Homes that take no more than this are copied for each run, so that they stay as they were
/// made. Larger ones are used in place: what a run adds does not count beside what they hold.
const COPIED_BYTES: u64 = 1 << 29;

/// Makes the homes that are missing, all of them before the first is measured: what the disk still
/// has to write would be in the way.
pub(crate) async fn prepare(exe: &str, work: &Path, what: &str, sizes: &[u64]) -> Result<()> {
    for &size in sizes {
        let kept = place(work, what, size);
        if !kept.join("whole").exists() {
            eprintln!("growth: making a federation with {size} {what}");
            make(exe, work, &kept, what, size).await?;
        }
    }
    Ok(())
}

fn place(work: &Path, what: &str, size: u64) -> PathBuf {
    let name = what.split(' ').next().unwrap_or(what);
    let (broker, agent) = (
        passerelle_model::state::SCHEMA_VERSION,
        passerelle_agent::state::SCHEMA_VERSION,
    );
    let form = format!("{FORM}-{broker}-{agent}");
    work.join("data").join(format!("{form}-{name}-{size}"))
}

/// Waits until the disk has everything.
async fn settle() -> Result<()> {
    let synced = tokio::process::Command::new("sync").status().await?;
    anyhow::ensure!(synced.success(), "sync: {synced}");
    Ok(())
}

/// Copies files and directories with their modes. Sockets of before stay behind.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to)?;
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, to) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &to)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), &to)?;
        }
    }
    Ok(())
}

/// Measures one size after the other. One that fails is left out, and said.
pub(crate) async fn measure(
    exe: &str,
    work: &Path,
    what: &'static str,
    sizes: &[u64],
    window: Duration,
) -> Series {
    let mut series = Series {
        what,
        points: Vec::new(),
        failed: Vec::new(),
    };
    for &size in sizes {
        eprintln!("growth: {size} {what}");
        match one(exe, work, what, size, window).await {
            Ok(point) => series.points.push(point),
            Err(error) => {
                eprintln!("growth: {size} {what}: {error:#}");
                series.failed.push((size, format!("{error:#}")));
            }
        }
    }
    series
}

async fn one(
    exe: &str,
    work: &Path,
    what: &'static str,
    size: u64,
    window: Duration,
) -> Result<Point> {
    let kept = place(work, what, size);
    let mut federation = Federation::prepare_in(exe, work)?;
    let is_copied = proc::bytes_below(&kept)? <= COPIED_BYTES;
    for part in PARTS {
        let (from, to) = (kept.join(part), federation.dir().join(part));
        match is_copied {
            true => copy(&from, &to)?,
            // What is kept stays where it is, whatever becomes of the federation.
            false => std::os::unix::fs::symlink(from, to)?,
        }
    }
    settle().await?;
    federation.serve_broker().await?;
    // As after a power cut: nothing was prepared for this start.
    federation.broker().kill9()?;
    let began = Instant::now();
    federation.serve_broker().await?;
    let start_s = began.elapsed().as_secs_f64();
    let mut world = World::again(federation, PEOPLE).await?;
    let entries = world.federation.broker_status().await?.log_size;
    let warm_up = Duration::from_secs(1);
    let alone = exchange::measure(&mut world, 1, warm_up, window).await?;
    let many = exchange::measure(&mut world, 16, warm_up, window).await?;
    let broker = proc::memory(world.federation.broker().id())?;
    let disk_bytes = proc::bytes_below(&world.federation.broker_dir())?;
    world.stop().await;
    Ok(Point {
        size,
        entries,
        p50_ms: alone.answer_ms.p50,
        cpu_ms: many.product_cpu_ms(),
        start_s,
        broker,
        disk_bytes,
        others: alone.others.max(many.others),
    })
}

/// Makes the directories of one size.
async fn make(exe: &str, work: &Path, kept: &Path, what: &str, size: u64) -> Result<()> {
    if kept.exists() {
        fs::remove_dir_all(kept)?;
    }
    fs::create_dir_all(kept)?;
    let mut world = World::build(exe, work, PEOPLE).await?;
    world.stop().await;
    let dir = world.federation.dir().to_owned();
    let federation = world.federation.name().clone();
    let entries = what == ENTRIES;
    let broker = dir.join("broker");
    let making = tokio::task::spawn_blocking(move || {
        let mut maker = Maker::open(&broker, &federation)?;
        if entries {
            maker.consents(size)
        } else {
            maker.ring(size.saturating_sub(AGENCIES.len() as u64))
        }
    });
    making.await??;
    for part in PARTS {
        fs::rename(dir.join(part), kept.join(part))?;
    }
    Ok(fs::write(kept.join("whole"), b"")?)
}
