//! One decision of the federation's policy: the facts collected from the broker's projection,
//! entities built and validated, all packs loaded; beside regorus on the same cases.
//!
//! In scope: time of a decision with 10 to 1,000 agreements and 100,000 consents, by three ways in
//! turn: as the broker decides, which remembers what Cedar said of a shape (decision 0014); by
//! Cedar each time; by regorus over the same policies in Rego. That all three say the same of every
//! case is checked. Out of scope: exchanges.

mod rego;
mod world;

use crate::stats::{Spread, spread};
use anyhow::{Context as _, Result, ensure};
use passerelle_model::{
    pdp::{Effect, Matter, PolicyDecisionPoint as _},
    pip::{self, Collected},
    records::RequestRow,
};
use passerelle_policies::CedarPdp;
use rego::Rego;
use serde::Serialize;
use std::{fmt::Write as _, fs, path::Path, time::Instant};
use world::{CONSENTS, Draw, NOW, World};

/// Agreements in each world.
const SIZES: [u64; 3] = [10, 100, 1_000];
/// Questions, each of another draw.
const QUESTIONS: u64 = 4_000;
/// Questions that are asked one after another of one way before the next has its turn.
const TURN: usize = 50;

/// Microseconds of a decision by each way, in one world.
#[derive(Debug, Serialize)]
struct Point {
    agreements: u64,
    consents: u64,
    questions: u64,
    permits: u64,
    reviews: u64,
    denials: u64,
    /// As the broker decides, once such questions have been asked.
    ours: Spread,
    /// As the broker decides, each question asked for the first time, from an empty memory.
    first: Spread,
    /// Cedar each time.
    cedar: Spread,
    /// regorus, with the question made for it.
    regorus: Spread,
    /// Of that, in regorus itself.
    regorus_alone: Spread,
}

/// The decision point in each of its ways.
struct Ways {
    remembering: CedarPdp,
    forgetful: CedarPdp,
    rego: Rego,
}

/// Measures each world, prints a table, and writes it as text and JSON to `out`.
///
/// # Errors
/// The ways differ on a case, or a world can't be made.
pub(crate) fn compare(work: &Path, out: &Path) -> Result<()> {
    let ways = Ways {
        remembering: CedarPdp::load_embedded()?,
        forgetful: CedarPdp::load_forgetful()?,
        rego: Rego::load(rego::translate(CedarPdp::load_embedded()?.library())?)?,
    };
    fs::create_dir_all(work)?;
    let mut points = Vec::new();
    for agreements in SIZES {
        eprintln!("policy: {agreements} agreements, {CONSENTS} consents");
        let dir = tempfile::Builder::new().prefix("policy").tempdir_in(work)?;
        let world = World::make(dir.path(), agreements)?;
        points.push(measure(&ways, &world, agreements)?);
    }
    let text = table(&points)?;
    print!("{text}");
    fs::create_dir_all(out)?;
    fs::write(out.join("policy.txt"), &text)?;
    fs::write(
        out.join("policy.json"),
        serde_json::to_string_pretty(&points)? + "\n",
    )?;
    Ok(())
}

fn collect(world: &World, row: &RequestRow) -> Result<Box<Matter>> {
    let item = row.items.first().copied().context("an item")?;
    match pip::collect(&world.projection, row, item, NOW)? {
        Collected::Matter(matter) => Ok(matter),
        Collected::Doubt(why) => anyhow::bail!("a question that is not decided: {why}"),
    }
}

fn measure(ways: &Ways, world: &World, agreements: u64) -> Result<Point> {
    let mut draw = Draw::new(11);
    let questions = (0..QUESTIONS)
        .map(|n| world.question(&mut draw, n))
        .collect::<Result<Vec<_>>>()?;
    let first = first_time(world, &questions)?;
    let counts = agree(ways, world, &questions)?;
    let mut ours = Vec::new();
    let mut cedar = Vec::new();
    let mut regorus = Vec::new();
    let mut alone = Vec::new();
    for turn in questions.chunks(TURN) {
        for row in turn {
            ours.push(timed(|| {
                Ok(ways.remembering.try_rule(&*collect(world, row)?)?)
            })?);
        }
        for row in turn {
            cedar.push(timed(|| {
                Ok(ways.forgetful.try_rule(&*collect(world, row)?)?)
            })?);
        }
        for row in turn {
            ways.rego.spent();
            let matter = |row| collect(world, row);
            regorus.push(timed(|| {
                Ok(ways.remembering.rule_beside(&*matter(row)?, &ways.rego)?)
            })?);
            alone.push(ways.rego.spent().as_nanos() as f64 / 1e3);
        }
    }
    let [permits, reviews, denials] = counts;
    Ok(Point {
        agreements,
        consents: CONSENTS,
        questions: QUESTIONS,
        permits,
        reviews,
        denials,
        ours: spread(ours.into_iter()),
        first: spread(first.into_iter()),
        cedar: spread(cedar.into_iter()),
        regorus: spread(regorus.into_iter()),
        regorus_alone: spread(alone.into_iter()),
    })
}

/// Every question once, by a decision point that has just been started.
fn first_time(world: &World, questions: &[RequestRow]) -> Result<Vec<f64>> {
    let started = CedarPdp::load_embedded()?;
    let times = questions
        .iter()
        .map(|row| timed(|| Ok(started.try_rule(&*collect(world, row)?)?)));
    times.collect()
}

/// Microseconds on the clock.
fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<f64> {
    let began = Instant::now();
    let done = work()?;
    let spent = began.elapsed();
    drop(std::hint::black_box(done));
    Ok(spent.as_nanos() as f64 / 1e3)
}

/// Checks that every way rules the same on every question, and counts the effects.
fn agree(ways: &Ways, world: &World, questions: &[RequestRow]) -> Result<[u64; 3]> {
    let mut counts = [0; 3];
    for row in questions {
        let matter = collect(world, row)?;
        let ruling = ways.remembering.rule(&matter);
        let cedar = ways.forgetful.try_rule(&matter)?;
        let rego = ways.remembering.rule_beside(&matter, &ways.rego)?;
        ensure!(ruling == cedar, "what is remembered differs on {row:?}");
        ensure!(
            cedar == rego,
            "regorus says {rego:?}, Cedar {cedar:?} on {row:?}"
        );
        let place = match ruling.effect {
            Effect::Permit => 0,
            Effect::Review => 1,
            Effect::Deny => 2,
        };
        if let Some(count) = counts.get_mut(place) {
            *count += 1;
        }
    }
    ensure!(
        counts.iter().all(|count| *count > 0),
        "an effect is missing: {counts:?}"
    );
    Ok(counts)
}

fn table(points: &[Point]) -> Result<String> {
    let mut text = format!(
        "One decision: facts collected, entities built and validated, all packs loaded.\n\
         Microseconds, {CONSENTS} consents, {QUESTIONS} questions. As the broker decides it remembers\n\
         what Cedar said of a shape (first: of an empty memory, each question once); the others\n\
         evaluate each time. All say the same of each case.\n\n\
         {:>10} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}\n",
        "agreements", "ours", "", "first", "", "Cedar", "", "regorus", "", "of it in", "regorus"
    );
    writeln!(
        text,
        "{:>10} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "", "p50", "p99", "p50", "p99", "p50", "p99", "p50", "p99", "p50", "p99"
    )?;
    for point in points {
        let s = [
            &point.ours,
            &point.first,
            &point.cedar,
            &point.regorus,
            &point.regorus_alone,
        ];
        write!(text, "{:>10}", point.agreements)?;
        for s in s {
            write!(text, " {:>8.1} {:>8.1}", s.p50, s.p99)?;
        }
        writeln!(text)?;
    }
    if let (Some(first), Some(last)) = (points.first(), points.last()) {
        let ratio = |of: fn(&Point) -> f64| of(last) / of(first);
        writeln!(
            text,
            "\nFrom {} to {} agreements: ours {:.2} times, Cedar each time {:.2} times.",
            first.agreements,
            last.agreements,
            ratio(|p| p.ours.p50),
            ratio(|p| p.cedar.p50)
        )?;
        writeln!(
            text,
            "Beside regorus at {} agreements: ours {:.2} times its time, Cedar each time {:.2} times.",
            last.agreements,
            last.ours.p50 / last.regorus.p50,
            last.cedar.p50 / last.regorus.p50
        )?;
    }
    Ok(text)
}
