//! The run: what both sides make is judged by both, whole and then changed.

use crate::{
    case::{Base, Case, Kind, Side, Trial, Verdict},
    explain, export, files,
    go::Go,
    ground::{Head, Log},
    numbers, ours, signed, texts,
    witnesses::Answered,
};
use anyhow::{Context as _, Result, ensure};
use passerelle_audit::tiles;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

/// Fewest corruptions that each side must have refused of what each side makes.
const FEWEST: usize = 200;
/// Faults that are printed in full.
const MOST_SHOWN: usize = 20;

/// What is judged, and by whom.
pub(crate) struct Ground {
    /// The other side.
    pub(crate) go: Go,
    /// The logs.
    pub(crate) logs: Vec<Log>,
    /// What Tessera asked a witness of Passerelle.
    pub(crate) asked: Vec<Answered>,
    /// The real log as it was exported.
    pub(crate) export: PathBuf,
}

impl Ground {
    /// Changes one bit of one entry of each log.
    pub(crate) fn spoil(&self) -> Result<()> {
        for log in &self.logs {
            let head = log.heads.last().context("no head")?;
            let path = tiles::new_tiles(0, head.size)
                .first()
                .context("no file")?
                .to_string();
            let mut content = std::fs::read(log.dir.join(&path))?;
            *content.last_mut().context("an empty file")? ^= 1;
            std::fs::write(log.dir.join(&path), content)?;
            println!("spoiled: {} of {}", path, log.name);
        }
        Ok(())
    }
}

/// Judges everything; an error if anything came out otherwise than it must.
pub(crate) fn run(ground: &Ground) -> Result<()> {
    let bases = bases(ground)?;
    let meanings = accepted(&ground.go, &bases)?;
    let mut tally = Tally::default();
    for (number, base) in bases.iter().enumerate() {
        if !is_changed(&ground.logs, base) {
            continue;
        }
        let trials = trials(base, ground)?;
        let meaning = meanings.get(number).context("it was judged")?;
        tally.judge(&ground.go, base, &trials, meaning)?;
    }
    let exported = export::judge(&ground.export)?;
    tally.print();
    println!("\nthe federation's export: {exported} corruptions, all refused by the verifier");
    tally.require()
}

/// Everything that must be accepted.
fn bases(ground: &Ground) -> Result<Vec<Base>> {
    let mut bases = Vec::new();
    for log in &ground.logs {
        bases.extend(log.key_bases()?);
        for head in &log.heads {
            bases.extend(log.bases(head)?);
        }
    }
    let theirs = ground
        .logs
        .iter()
        .find(|log| log.maker == Side::Theirs)
        .context("no log")?;
    for asked in &ground.asked {
        let case = Case::new(Kind::Request)
            .with("request", &asked.body)
            .with("log_key", theirs.key.to_string())
            .with("state_size", asked.before.size.to_string())
            .with("state_root", asked.before.root.0);
        let name = format!("{}: request from {}", theirs.name, asked.before.size);
        let (maker, keys) = (Side::Theirs, theirs.keys.clone());
        bases.push(Base {
            maker,
            name,
            case,
            keys,
        });
    }
    Ok(bases)
}

/// Has both sides accept all of it, with one meaning. The meanings.
fn accepted(go: &Go, bases: &[Base]) -> Result<Vec<String>> {
    let cases: Vec<&Case> = bases.iter().map(|base| &base.case).collect();
    let (mine, theirs) = by_both(go, &cases)?;
    let (mut counts, mut faults) = (BTreeMap::new(), Vec::new());
    for ((base, mine), theirs) in bases.iter().zip(&mine).zip(&theirs) {
        let sides = [(Side::Ours, Some(mine)), (Side::Theirs, theirs.as_ref())];
        for (judge, verdict) in sides.into_iter().filter_map(|(j, v)| Some((j, v?))) {
            if !verdict.ok {
                faults.push(format!(
                    "{}: {} refuses it: {}",
                    base.name,
                    name(judge),
                    verdict.why
                ));
            }
            *counts
                .entry((base.case.kind, base.maker, judge))
                .or_insert(0_usize) += 1;
        }
        if theirs
            .as_ref()
            .is_some_and(|theirs| theirs.ok && theirs.meaning != mine.meaning)
        {
            faults.push(format!("{}: they read different things in it", base.name));
        }
    }
    println!("accepted, as saying the same:");
    print_counts(
        &counts
            .into_iter()
            .map(|(key, count)| (key, (count, 0)))
            .collect(),
    );
    fail(&faults, "must be accepted, and are not")?;
    Ok(mine.into_iter().map(|verdict| verdict.meaning).collect())
}

/// The verdicts of both sides; Go's is none for what it has no check for.
fn by_both(go: &Go, cases: &[&Case]) -> Result<(Vec<Verdict>, Vec<Option<Verdict>>)> {
    let for_go = |case: &&Case| case.kind != Kind::Request;
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| go.judge(cases.iter().copied().filter(for_go)));
        let mine = cases.iter().map(|case| ours::judge(case)).collect();
        let theirs = asked
            .join()
            .ok()
            .context("the thread of Go has panicked")??;
        let mut theirs = theirs.into_iter();
        let theirs = cases
            .iter()
            .map(|case| for_go(case).then(|| theirs.next()).flatten());
        Ok((mine, theirs.collect()))
    })
}

/// Which bases are also judged changed: each kind at sizes that have every shape of file and
/// proof, so that the run stays short.
fn is_changed(logs: &[Log], base: &Base) -> bool {
    let case = &base.case;
    let head = |sizes: &[u64]| {
        sizes
            .iter()
            .any(|size| base.name.ends_with(&format!(" at {size}")))
    };
    let real = logs.iter().filter(|log| log.heads.len() == 1);
    let real = real
        .flat_map(|log| &log.heads)
        .map(|head: &Head| head.size)
        .next();
    let real = real.is_some_and(|size| head(&[size]));
    match case.kind {
        Kind::LogKey | Kind::WitnessKey => true,
        Kind::Checkpoint | Kind::Cosigned => real || head(&[300]),
        Kind::Tiles => real || head(&[1, 300]),
        Kind::TileProofs => false,
        Kind::Proof => {
            let ends = [" at 1 of 0", " at 300 of 256", " at 65537 of 65536"];
            ends.iter().any(|end| base.name.ends_with(end)) || base.name.ends_with(" of 41")
        }
        Kind::Inclusion => case
            .number("size")
            .is_ok_and(|size| [1, 3, 300, 65_537].contains(&size)),
        Kind::Consistency => case
            .number("new_size")
            .is_ok_and(|size| [2, 3, 300, 65_537].contains(&size)),
        Kind::Request => case
            .number("state_size")
            .is_ok_and(|size| [0, 257].contains(&size)),
    }
}

fn trials(base: &Base, ground: &Ground) -> Result<Vec<Trial>> {
    let mut changed: Vec<(String, Case)> = Vec::new();
    let case = &base.case;
    let part = case.kind.text_part();
    if let Some(part) = part {
        let with = |(change, text)| (change, case.with(part, text));
        if case.kind == Kind::Tiles {
            let size: u64 = case
                .text("note")
                .unwrap_or_default()
                .lines()
                .nth(1)
                .context("size")?
                .parse()?;
            changed.extend(files::changes(case, size)?);
            changed.extend(signed::lies(base)?);
        } else {
            changed.extend(texts::changes(case.part(part)).into_iter().map(with));
            changed.extend(signed::changes(base)?.into_iter().map(with));
            changed.extend(other_keys(base, &ground.logs));
        }
    }
    changed.extend(numbers::changes(case));
    let trials = changed
        .into_iter()
        .map(|(change, case)| Trial { change, case });
    Ok(trials.collect())
}

/// The same thing held against the keys of others.
fn other_keys(base: &Base, logs: &[Log]) -> Vec<(String, Case)> {
    let case = &base.case;
    let mut all = Vec::new();
    let own = case.text("log_key").unwrap_or_default();
    if !own.is_empty() {
        for log in logs.iter().filter(|log| log.key.to_string() != own) {
            let key = log.key.to_string();
            all.push((
                format!("key of another log: {}", log.name),
                case.with("log_key", &key),
            ));
        }
    }
    let witnesses = case.text("witness_keys").unwrap_or_default();
    if !witnesses.is_empty() {
        for log in logs.iter().filter(|log| log.key.to_string() != own) {
            let more = [witnesses, &log.witnesses.join("\n")].join("\n");
            let all_others = log.witnesses.join("\n");
            all.push((
                format!("witnesses of another log: {}", log.name),
                case.with("witness_keys", all_others),
            ));
            all.push((
                format!("witnesses more: {}", log.name),
                case.with("witness_keys", more),
            ));
        }
    }
    all
}

type Counts = BTreeMap<(Kind, Side, Side), (usize, usize)>;

/// What has come out.
#[derive(Default)]
struct Tally {
    /// By kind, maker and judge: refused, and accepted for a reason.
    counts: Counts,
    /// By judge and reason: how often, and which classes of changes.
    reasons: BTreeMap<(Side, &'static str), (usize, BTreeSet<String>)>,
    faults: Vec<String>,
}

impl Tally {
    fn judge(&mut self, go: &Go, base: &Base, trials: &[Trial], meaning: &str) -> Result<()> {
        let cases: Vec<&Case> = trials.iter().map(|trial| &trial.case).collect();
        let (mine, theirs) = by_both(go, &cases)?;
        for ((trial, mine), theirs) in trials.iter().zip(&mine).zip(&theirs) {
            self.take(Side::Ours, base, trial, mine, meaning);
            if let Some(theirs) = theirs {
                self.take(Side::Theirs, base, trial, theirs, meaning);
            }
        }
        Ok(())
    }

    fn take(&mut self, judge: Side, base: &Base, trial: &Trial, verdict: &Verdict, meaning: &str) {
        let count = self
            .counts
            .entry((base.case.kind, base.maker, judge))
            .or_default();
        if !verdict.ok {
            count.0 += 1;
            return;
        }
        let Some(reason) = explain::reason(judge, base, trial, verdict, meaning) else {
            let fault = format!("{}: {} accepts `{}`", base.name, name(judge), trial.change);
            self.faults.push(fault);
            return;
        };
        count.1 += 1;
        let (count, classes) = self.reasons.entry((judge, reason)).or_default();
        *count += 1;
        classes.insert(trial.class().to_owned());
    }

    fn print(&self) {
        println!("\ncorrupted: refused (accepted, for a reason below):");
        print_counts(&self.counts);
        for judge in [Side::Ours, Side::Theirs] {
            println!("\naccepted by {}, and why:", name(judge));
            for ((_, reason), (count, classes)) in
                self.reasons.iter().filter(|((j, _), _)| *j == judge)
            {
                let classes: Vec<_> = classes.iter().map(String::as_str).collect();
                println!("  {count:>6}  {reason}\n          ({})", classes.join("; "));
            }
        }
    }

    fn require(&self) -> Result<()> {
        fail(&self.faults, "are accepted without a reason")?;
        for maker in [Side::Ours, Side::Theirs] {
            for judge in [Side::Ours, Side::Theirs] {
                let refused = total(&self.counts, maker, judge).0;
                ensure!(refused >= FEWEST, "only {refused} corruptions");
            }
        }
        Ok(())
    }
}

fn total(counts: &Counts, maker: Side, judge: Side) -> (usize, usize) {
    let of = counts
        .iter()
        .filter(|((_, m, j), _)| (*m, *j) == (maker, judge));
    of.fold((0, 0), |sum, (_, count)| (sum.0 + count.0, sum.1 + count.1))
}

fn fail(faults: &[String], what: &str) -> Result<()> {
    for fault in faults.iter().take(MOST_SHOWN) {
        eprintln!("FAULT  {fault}");
    }
    ensure!(faults.is_empty(), "{} {what}", faults.len());
    Ok(())
}

fn name(side: Side) -> &'static str {
    match side {
        Side::Ours => "Passerelle",
        Side::Theirs => "Go",
    }
}

/// The four ways across.
const WAYS: [(Side, Side); 4] = [
    (Side::Ours, Side::Theirs),
    (Side::Theirs, Side::Ours),
    (Side::Ours, Side::Ours),
    (Side::Theirs, Side::Theirs),
];

fn print_counts(counts: &Counts) {
    let cell = |(refused, reasoned): (usize, usize)| match reasoned {
        0 => refused.to_string(),
        _ => format!("{refused} ({reasoned})"),
    };
    let row = |name: &str, cells: [String; 4]| {
        let [a, b, c, d] = cells;
        println!("  {name:<20} {a:>18} {b:>18} {c:>18} {d:>18}");
    };
    let heads = ["ours by Go", "Go's by ours", "ours by ours", "Go's by Go"];
    row("", heads.map(str::to_owned));
    let kinds: BTreeSet<Kind> = counts.keys().map(|(kind, _, _)| *kind).collect();
    for kind in kinds {
        let count = |(maker, judge)| counts.get(&(kind, maker, judge)).copied();
        row(
            kind.name(),
            WAYS.map(|way| count(way).map_or("-".to_owned(), cell)),
        );
    }
    row(
        "all",
        WAYS.map(|(maker, judge)| cell(total(counts, maker, judge))),
    );
}
