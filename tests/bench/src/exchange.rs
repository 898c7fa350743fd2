//! Complete governed exchanges through the product, with all checks and every journal on.
//!
//! An exchange begins when a worker's program calls `Ask` of its own agent, and counts when that
//! agent has verified, opened and journaled the answer.

use crate::{
    proc,
    stats::{Spread, spread},
    tail::written,
    world::{AGENCIES, HOUSE, World, question},
};
use anyhow::{Context as _, Result, ensure};
use passerelle_proto::views::RequestView;
use passerelle_tests::office::document;
use serde::Serialize;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// An answer that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// The local interface takes 32 calls at once on one connection; half of that leaves room.
const CALLS_PER_CONNECTION: usize = 16;

/// One load.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Point {
    /// Exchanges under way at any time.
    pub(crate) in_flight: usize,
    /// How many ended in the window.
    pub(crate) exchanges: usize,
    /// Length of the window.
    pub(crate) seconds: f64,
    /// Exchanges a second.
    pub(crate) per_second: f64,
    /// From the call to the opened answer.
    pub(crate) answer_ms: Spread,
    /// From the call to its return: the decision is known.
    pub(crate) decision_ms: Spread,
    /// Milliseconds of processor for one exchange, by process.
    pub(crate) cpu_ms: BTreeMap<String, f64>,
    /// Durable writes of a journal for one exchange, by process.
    pub(crate) durable_writes: BTreeMap<String, f64>,
    /// Records of a journal for one exchange, by process.
    pub(crate) records: BTreeMap<String, f64>,
    /// Bytes of a journal for one exchange, by process.
    pub(crate) journal_bytes: BTreeMap<String, f64>,
    /// Witness rounds for one exchange.
    pub(crate) rounds: f64,
    /// Share of the processors that others had meanwhile: the less, the more the times are worth.
    pub(crate) others: f64,
}

impl Point {
    /// Milliseconds of processor for one exchange, of the product's five processes.
    pub(crate) fn product_cpu_ms(&self) -> f64 {
        let of = |(name, ms): (&String, &f64)| if name == "bench" { 0.0 } else { *ms };
        self.cpu_ms.iter().map(of).sum()
    }
}

struct Ended {
    at: Instant,
    took: Duration,
    decided: Duration,
}

/// Holds `in_flight` exchanges under way: first for `warm_up`, then for `window`, which counts.
pub(crate) async fn measure(
    world: &mut World,
    in_flight: usize,
    warm_up: Duration,
    window: Duration,
) -> Result<Point> {
    let mut processes = world.processes();
    processes.push(("bench".to_owned(), std::process::id()));
    let began = Instant::now();
    let (from, until) = (began + warm_up, began + warm_up + window);
    let load = run(world, in_flight, until);
    let watch = async {
        tokio::time::sleep_until(from.into()).await;
        let (before, busy) = (usage(&processes)?, proc::busy_s()?);
        let from_ms = World::now_ms();
        tokio::time::sleep_until(until.into()).await;
        let busy = proc::busy_s()? - busy;
        anyhow::Ok((before, usage(&processes)?, busy, [from_ms, World::now_ms()]))
    };
    let (ended, watched) = tokio::join!(load, watch);
    let (ended, (before, after, busy, [from_ms, until_ms])) = (ended?, watched?);
    world.require_alive()?;
    let counted: Vec<_> = ended
        .iter()
        .filter(|e| (from..until).contains(&e.at))
        .collect();
    ensure!(!counted.is_empty(), "no exchange ended within {window:?}");
    let n = counted.len() as f64;
    let mut point = Point {
        in_flight,
        exchanges: counted.len(),
        seconds: window.as_secs_f64(),
        per_second: n / window.as_secs_f64(),
        answer_ms: spread(counted.iter().map(|e| e.took.as_secs_f64() * 1e3)),
        decision_ms: spread(counted.iter().map(|e| e.decided.as_secs_f64() * 1e3)),
        cpu_ms: BTreeMap::new(),
        durable_writes: BTreeMap::new(),
        records: BTreeMap::new(),
        journal_bytes: BTreeMap::new(),
        rounds: 0.0,
        others: 0.0,
    };
    let mut own = 0.0;
    for ((name, before), (_, after)) in before.into_iter().zip(after) {
        own += after - before;
        point.cpu_ms.insert(name, (after - before) * 1e3 / n);
    }
    let all = std::thread::available_parallelism()?.get() as f64 * window.as_secs_f64();
    point.others = ((busy - own) / all).clamp(0.0, 1.0);
    for name in ["broker"].into_iter().chain(AGENCIES) {
        let sum = written(&world.journal(name), from_ms, until_ms)?;
        let name = name.to_owned();
        point
            .durable_writes
            .insert(name.clone(), sum.batches as f64 / n);
        point.records.insert(name.clone(), sum.records as f64 / n);
        point
            .journal_bytes
            .insert(name.clone(), sum.bytes as f64 / n);
        if name == HOUSE {
            point.rounds = sum.witnessed as f64 / n;
        }
    }
    Ok(point)
}

fn usage(processes: &[(String, u32)]) -> Result<Vec<(String, f64)>> {
    let of = |(name, pid): &(String, u32)| Ok((name.clone(), proc::cpu_s(*pid)?));
    processes.iter().map(of).collect()
}

/// Workers who ask one question after another until `until`.
async fn run(world: &World, in_flight: usize, until: Instant) -> Result<Vec<Ended>> {
    let next = Arc::new(AtomicUsize::new(0));
    let tail = world.tail.handle();
    let people = world.people;
    ensure!(people > in_flight, "fewer people than questions under way");
    let mut workers = JoinSet::new();
    let mut node = world.federation.node(HOUSE).await?;
    for number in 0..in_flight {
        if number % CALLS_PER_CONNECTION == 0 {
            node = world.federation.node(HOUSE).await?;
        }
        let (mut node, next, tail) = (node.clone(), Arc::clone(&next), tail.clone());
        workers.spawn(async move {
            let mut ended = Vec::new();
            while Instant::now() < until {
                let person = next.fetch_add(1, Ordering::Relaxed) % people;
                let began = Instant::now();
                let view: RequestView = document(node.ask(question(person)).await)
                    .with_context(|| format!("the question about person {person}"))?;
                let decided = began.elapsed();
                let at = tail.opened(&view.line.request, PATIENCE).await;
                let at = at.with_context(|| format!("{view:?}"))?;
                let took = at.duration_since(began);
                ended.push(Ended { at, took, decided });
            }
            anyhow::Ok(ended)
        });
    }
    let mut all = Vec::new();
    while let Some(ended) = workers.join_next().await {
        all.extend(ended??);
    }
    Ok(all)
}

/// Holds the load for `window` without measuring: for a profiler.
pub(crate) async fn load(world: &World, in_flight: usize, window: Duration) -> Result<usize> {
    Ok(run(world, in_flight, Instant::now() + window).await?.len())
}
