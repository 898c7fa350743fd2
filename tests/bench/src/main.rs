//! The benchmark: governed exchanges beside a raw relay and beside the primitives that they are
//! made of, in one run, as ratios.
//!
//! In scope: relay, exchange, primitives, growth; one table, one JSON file, one plot; and, as a run
//! of its own, the log alone beside Tessera's.
//! Out of scope: judging a machine. Absolute figures vary by machine and by hour; ratios within
//! one run are what counts. See `docs/performance/README.md`.

mod exchange;
mod floor;
mod generate;
mod growth;
mod log_node;
mod plot;
mod policy;
mod primitives;
mod proc;
mod profile;
mod relay;
mod report;
mod stats;
mod svg;
mod tail;
mod tessera;
mod world;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand, ValueEnum};
use report::Results;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::signal::unix::{SignalKind, signal};

/// Exchanges under way.
const LOADS: [usize; 3] = [1, 16, 64];

const EXAMPLES: &str = "\
Examples:
  cargo build --release -p passerelle
  cargo run --release -p passerelle-bench                      everything, some 15 minutes
  cargo run --release -p passerelle-bench -- --quick           under 3 minutes
  cargo run --release -p passerelle-bench -- --only exchange,primitives
  cargo run --release -p passerelle-bench -- policy            one decision, beside regorus
  cargo run --release -p passerelle-bench -- tessera --go \"$(deploy/go.sh)\"";

/// A part of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Two hops of tonic over mTLS, without checks and log: the ceiling.
    Relay,
    /// Complete governed exchanges through the product's processes.
    Exchange,
    /// What the parts of an exchange cost alone.
    Primitives,
    /// The same with more agencies, agreements, consents and entries.
    Growth,
}

/// Measures complete governed exchanges beside a raw relay and beside their primitives.
#[derive(Parser, Debug)]
#[command(name = "passerelle-bench", version, after_help = EXAMPLES)]
struct Args {
    #[command(subcommand)]
    other: Option<Other>,
    /// Shorter: fewer and smaller points, under 3 minutes
    #[arg(long)]
    quick: bool,
    /// Only these parts, separated by commas
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Where results.txt, results.json and results.svg go
    #[arg(long, default_value = "docs/performance")]
    out: PathBuf,
    /// The program to measure; without: the one beside this program
    #[arg(long)]
    exe: Option<PathBuf>,
    /// Where homes and generated logs go; must be on a disk, with a short path
    #[arg(long, default_value = "target/bench")]
    work: PathBuf,
}

/// What is not a part of the one run.
#[derive(Clone, Debug, Subcommand)]
enum Other {
    #[command(flatten)]
    Relay(relay::Hidden),
    /// Our log alone; started by `tessera`
    #[command(hide = true)]
    LogNode {
        /// Where the log is
        dir: PathBuf,
        /// Where it listens
        address: SocketAddr,
    },
    /// One decision, beside regorus, under 2 minutes
    Policy,
    /// Durable entries a second beside Tessera's POSIX log, some 5 minutes
    Tessera {
        /// A Go, such as `deploy/go.sh` finds
        #[arg(long)]
        go: PathBuf,
    },
}

impl Args {
    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(until_signal(async {
        match args.other.clone() {
            Some(Other::Relay(hidden)) => relay::node(hidden).await,
            Some(Other::LogNode { dir, address }) => tessera::node(&dir, address).await,
            Some(Other::Policy) => policy::compare(&args.work, &args.out),
            Some(Other::Tessera { go }) => tessera::compare(&go, &args.work, &args.out).await,
            None => run(args).await,
        }
    }));
    // What is still at work in a thread of its own is not waited for.
    runtime.shutdown_timeout(Duration::from_secs(1));
    done
}

/// Runs `work` until it ends or a signal comes. Dropping it ends every process it started.
async fn until_signal(work: impl Future<Output = Result<()>>) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        done = work => done,
        _ = interrupt.recv() => anyhow::bail!("interrupted"),
        _ = terminate.recv() => anyhow::bail!("terminated"),
    }
}

async fn run(args: Args) -> Result<()> {
    std::fs::create_dir_all(&args.work)?;
    let work = args.work.canonicalize()?;
    let exe = match &args.exe {
        Some(exe) => exe.clone(),
        None => std::env::current_exe()?.with_file_name("passerelle"),
    };
    let exe = exe.canonicalize().with_context(|| {
        format!(
            "no program at `{}`: cargo build --release -p passerelle",
            exe.display()
        )
    })?;
    let exe = exe.to_str().context("a path that is not text")?;
    if cfg!(debug_assertions) {
        eprintln!("this is no release build: its figures say nothing");
    }
    let load = std::fs::read_to_string("/proc/loadavg")?;
    let load = load.split_ascii_whitespace().next().context("no load")?;
    let mut results = Results {
        processors: std::thread::available_parallelism()?.get(),
        load_before: load.parse()?,
        quick: args.quick,
        ..Results::default()
    };
    let seconds = |quick, whole| Duration::from_secs(if args.quick { quick } else { whole });
    if args.wants(Part::Relay) {
        let window = seconds(3, 10);
        results.relay = relay::measure(&work, &LOADS, window, relay::SEALED_BYTES).await?;
    }
    if args.wants(Part::Primitives) {
        primitives(&mut results, &work).await?;
    }
    if args.wants(Part::Exchange) {
        exchanges(&mut results, exe, &work, args.quick).await?;
    }
    if args.wants(Part::Growth) {
        let most = if args.quick { 2 } else { 3 };
        let window = seconds(3, 8);
        let all = [
            (growth::ENTRIES, &[10_000, 100_000, 1_000_000][..most]),
            (growth::AGENCIES_AND, &[10, 100, 1_000][..most]),
        ];
        for (what, sizes) in all {
            growth::prepare(exe, &work, what, sizes).await?;
        }
        for (what, sizes) in all {
            let series = growth::measure(exe, &work, what, sizes, window).await;
            results.growth.push(series);
        }
    }
    let text = results.text();
    print!("{text}");
    std::fs::create_dir_all(&args.out)?;
    std::fs::write(args.out.join("results.txt"), &text)?;
    std::fs::write(args.out.join("results.json"), results.json()?)?;
    std::fs::write(args.out.join("results.svg"), plot::draw(&results))?;
    Ok(())
}

/// What the parts cost alone.
async fn primitives(results: &mut Results, work: &Path) -> Result<()> {
    eprintln!("primitives");
    let window = Duration::from_secs(2);
    let large = relay::measure(work, &[16], window, relay::SEALED_BYTES).await?;
    let small = relay::measure(work, &[16], window, 0).await?;
    let costs = large
        .first()
        .zip(small.first())
        .context("no cost of a message")?;
    let (large, small) = (report::message_cost(costs.0), report::message_cost(costs.1));
    let dir = tempfile::Builder::new().prefix("alone").tempdir_in(work)?;
    let alone = tokio::task::spawn_blocking(move || {
        let broker = dir.path().join("broker");
        let federation = "essai".parse()?;
        passerelle_broker::init(&broker, &federation, Default::default())?;
        let (entry, matter) = generate::Maker::open(&broker, &federation)?.example()?;
        primitives::measure(dir.path(), &entry, &matter)
    });
    let alone = alone.await??;
    results.needs = floor::needs(&alone, small, large);
    results.primitives = Some(alone);
    Ok(())
}

/// The product, under each load; then once more under the profiler.
async fn exchanges(results: &mut Results, exe: &str, work: &Path, quick: bool) -> Result<()> {
    let people = if quick { 200 } else { 1_000 };
    eprintln!("exchange: a broker, four agents, {people} people with consents");
    let mut world = world::World::build(exe, work, people).await?;
    let window = Duration::from_secs(if quick { 5 } else { 20 });
    for in_flight in LOADS {
        eprintln!("exchange: {in_flight} in flight, {window:?}");
        let warm_up = Duration::from_secs(2);
        let point = exchange::measure(&mut world, in_flight, warm_up, window).await?;
        results.exchange.push(point);
    }
    if profile::is_available() {
        eprintln!("exchange: 64 in flight, sampled");
        let processes = world.processes();
        let scratch = work.join("perf.data");
        let span = Duration::from_secs(if quick { 4 } else { 10 });
        let sampling =
            tokio::task::spawn_blocking(move || profile::sample(&processes, span, &scratch));
        exchange::load(&world, 64, span + Duration::from_secs(1)).await?;
        let profile = sampling.await??;
        std::fs::write(work.join("profile.txt"), profile::text(&profile)?)?;
        results.profile = Some(profile);
    }
    world.stop().await;
    Ok(())
}
