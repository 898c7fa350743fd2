//! `passerelle audit replay`: decides again what a log says was decided.
//!
//! In scope: verifying the log, an export or what the agent has of it, reading rules from directories, the outcome as a table and as
//! JSON. Out of scope: deciding (crate `policies`) and the state that a decision was made on (crate
//! `audit`).

use super::{Place, fetch};
use crate::cli::{
    Global, backend,
    failure::{Exit, Failure},
    output, policy,
};
use clap::Args;
use passerelle_audit::{
    replay::{Outcome, Replayed, Rules, replay},
    verify::{self, FaultCode, verify},
};
use passerelle_model::pdp::{Effect, ItemRuling, PolicyDecisionPoint, Ruling};
use passerelle_policies::CedarPdp;
use serde::Serialize;
use std::{
    fs::File,
    io::{BufReader, Seek as _},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    thread::available_parallelism,
};

pub(super) const EXAMPLES: &str = "\
Examples:
  passerelle audit replay log.export
  passerelle audit replay log.export 42
  passerelle audit replay log.export 0..999 --json
  passerelle audit replay log.export --packs ca-federal,ca-qc
  passerelle audit replay log.export --policy ./library
  passerelle audit replay --dir /srv/oversight --mirror
  passerelle audit replay --dir /srv/oversight --mirror 42 --policy ./library

With `--dir` what the agent there reads is replayed, with `--mirror` its own copy of the log, which
takes no broker. The log is verified first; give `passerelle-audit verify` the keys that you know from elsewhere.
Whom a request is about decides which consents count: a replay needs an export with the openings,
an oversight body's.
With `--policy` the table shows what these rules would have decided otherwise.
Exit code 1: a decision does not come out as the log says, or that can't be known.";

#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// The export, as `audit export` writes it; with `--dir` the range stands here
    #[arg(required_unless_present = "dir")]
    file: Option<PathBuf>,
    /// One entry, or all from one to another, both included [default: the whole log]
    #[arg(value_name = "INDEX|FROM..TO", value_parser = range)]
    range: Option<RangeInclusive<u64>>,
    /// Directory of an oversight body's agent, whose view of the log is replayed
    #[arg(long, value_name = "D")]
    dir: Option<PathBuf>,
    /// The agent's own mirror, and not the broker
    #[arg(long, requires = "dir")]
    mirror: bool,
    /// Directory of rules that were in force [default: the embedded library]; may be repeated
    #[arg(long, value_name = "DIR", conflicts_with = "policy")]
    library: Vec<PathBuf>,
    /// The legal packs that the federation used, if not all of the embedded library's
    #[arg(
        long,
        value_name = "PACK,...",
        value_delimiter = ',',
        conflicts_with_all = ["library", "policy"]
    )]
    packs: Option<Vec<String>>,
    /// Directory of other rules: what would they have decided?
    #[arg(long, value_name = "DIR")]
    policy: Option<PathBuf>,
}

/// `7` or `7..9`.
fn range(text: &str) -> Result<RangeInclusive<u64>, String> {
    let (from, to) = text.split_once("..").unwrap_or((text, text));
    let index = |text: &str| {
        let number = text.parse::<u64>().ok();
        number.ok_or_else(|| "expected an index, or two as in `7..9`".to_owned())
    };
    let (from, to) = (index(from)?, index(to)?);
    if to < from {
        return Err(format!("`{from}..{to}` is empty"));
    }
    Ok(from..=to)
}

/// What is printed as JSON.
#[derive(Debug, Default, Serialize)]
struct Outcomes {
    /// Decisions that came out as the log says.
    same: u64,
    /// Decisions that came out otherwise.
    differs: u64,
    /// Decisions of which that can't be known.
    not_possible: u64,
    /// All decisions that did not come out as the log says.
    decisions: Vec<Replayed>,
}

impl Outcomes {
    fn add(&mut self, replayed: Replayed) {
        let counter = match replayed.outcome {
            Outcome::Same => {
                self.same += 1;
                return;
            }
            Outcome::Differs(_) => &mut self.differs,
            Outcome::NotPossible(_) => &mut self.not_possible,
        };
        *counter += 1;
        self.decisions.push(replayed);
    }

    fn all_same(&self) -> bool {
        self.differs == 0 && self.not_possible == 0
    }
}

/// A log to be replayed: a file, by its name or open and without one.
#[derive(Clone, Copy)]
enum Log<'a> {
    Named(&'a Path),
    Open(&'a File),
}

impl<'a> From<&'a Path> for Log<'a> {
    fn from(path: &'a Path) -> Self {
        Self::Named(path)
    }
}

impl Log<'_> {
    /// From its beginning.
    fn read(self) -> Result<BufReader<File>, Failure> {
        let (name, file) = match self {
            Self::Named(path) => (path, File::open(path)),
            Self::Open(file) => (Path::new("the log"), file.try_clone()),
        };
        let rewound = file.and_then(|mut file| file.rewind().map(|()| file));
        let file = rewound.map_err(|error| Failure::file(name, &error))?;
        Ok(BufReader::new(file))
    }
}

/// Runs the command.
pub(super) async fn run_any(global: Global, args: &ReplayArgs) -> Result<Exit, Failure> {
    let Some(dir) = &args.dir else {
        return run(global, args);
    };
    let range = match (&args.file, &args.range) {
        (None, _) => None,
        (Some(text), None) => Some(range(&text.to_string_lossy()).map_err(Failure::usage)?),
        (Some(_), Some(_)) => {
            let message = "either a file or `--dir`: the range alone stands after `--dir`";
            return Err(Failure::usage(message.to_owned()));
        }
    };
    // Whether there is an agent is said before there is a file.
    drop(backend::connect(dir).await?);
    // It says which entries are about one person: a file without a name, gone with this process.
    let unwritable = |error| Failure::file(dir, &error);
    let mut file = tempfile::tempfile_in(dir).map_err(unwritable)?;
    let place = Place {
        dir: dir.clone(),
        mirror: args.mirror,
    };
    fetch(&place, true, &mut file, dir).await?;
    replay_log(global, args, Log::Open(&file), range)
}

/// The same with a file.
fn run(global: Global, args: &ReplayArgs) -> Result<Exit, Failure> {
    let Some(file) = &args.file else {
        return Err(Failure::usage("either a file or `--dir`".to_owned()));
    };
    replay_log(global, args, Log::Named(file), args.range.clone())
}

fn replay_log(
    global: Global,
    args: &ReplayArgs,
    log: Log<'_>,
    range: Option<RangeInclusive<u64>>,
) -> Result<Exit, Failure> {
    let size = verified_size(log)?;
    let whole = 0..=size.saturating_sub(1);
    let range = range.unwrap_or(whole);
    if *range.start() >= size {
        return Err(Failure::usage(format!("the log has {size} entries")));
    }
    let loaded = match (&args.policy, args.library.as_slice()) {
        (Some(other), _) => vec![policy::load(Some(other))?],
        (None, []) => match &args.packs {
            // It may have used all of them before.
            Some(packs) => vec![policy::load(None)?, policy::load_with_packs(packs)?],
            None => vec![policy::load(None)?],
        },
        (None, all) => {
            let loaded: Result<_, _> = all.iter().map(|dir| policy::load(Some(dir))).collect();
            loaded?
        }
    };
    let points: Vec<&dyn PolicyDecisionPoint> = loaded.iter().map(as_point).collect();
    let rules = match (&args.policy, points.as_slice()) {
        (Some(_), [other, ..]) => Rules::Other(*other),
        (_, all) => Rules::InForce(all),
    };
    let outcomes = decide_again(log, &range, rules)?;
    let is_question = args.policy.is_some();
    output::print(global, &outcomes, |all| text(all, is_question))?;
    // Rules that were not in force may well decide otherwise: to see how is what was asked for.
    if outcomes.all_same() || (is_question && outcomes.not_possible == 0) {
        Ok(Exit::Done)
    } else {
        Ok(Exit::Refused)
    }
}

fn as_point(pdp: &CedarPdp) -> &dyn PolicyDecisionPoint {
    pdp
}

/// The number of entries of the log, if it has no fault.
fn verified_size<'a>(log: impl Into<Log<'a>>) -> Result<u64, Failure> {
    let options = verify::Options {
        threads: available_parallelism().map_or(1, usize::from),
        ..verify::Options::default()
    };
    let report = verify(log.into().read()?, &options).map_err(|fault| Failure {
        exit: match fault.code {
            FaultCode::Io => Exit::Failed,
            _ => Exit::Refused,
        },
        code: fault.code.code(),
        message: format!("the log does not verify: {fault}"),
        hint: Some(fault.code.meaning().to_owned()),
    })?;
    Ok(report.size)
}

fn decide_again<'a>(
    log: impl Into<Log<'a>>,
    range: &RangeInclusive<u64>,
    rules: Rules<'_>,
) -> Result<Outcomes, Failure> {
    let mut outcomes = Outcomes::default();
    let outcome = replay(log.into().read()?, range, rules, &mut |one| {
        outcomes.add(one)
    });
    outcome.map_err(|error| Failure::failed(error.to_string()))?;
    Ok(outcomes)
}

fn text(outcomes: &Outcomes, is_question: bool) -> String {
    let again = if is_question { "these rules" } else { "again" };
    let headers = ["entry", "request", "item", "log", again];
    let rows: Vec<_> = outcomes.decisions.iter().flat_map(rows_of).collect();
    let mut text = output::table(headers, &rows, "");
    let Outcomes {
        same,
        differs,
        not_possible,
        ..
    } = outcomes;
    text.push_str(&format!(
        "{} decisions: {same} the same, {differs} different, {not_possible} that can't be known\n",
        same + differs + not_possible
    ));
    text
}

/// A row for each item that came out otherwise.
fn rows_of(replayed: &Replayed) -> Vec<[String; 5]> {
    let row = |item: &ItemRuling, again: String| {
        [
            replayed.index.to_string(),
            replayed.request.to_string(),
            format!("{}:{}", item.category, item.level),
            ruling(&item.ruling),
            again,
        ]
    };
    match &replayed.outcome {
        Outcome::Same => Vec::new(),
        Outcome::NotPossible(obstacle) => replayed
            .logged
            .iter()
            .map(|item| row(item, obstacle.to_string()))
            .collect(),
        Outcome::Differs(again) => differences(&replayed.logged, again)
            .map(|(logged, again)| match (logged, again) {
                (Some(item), Some(again)) if item.category == again.category => {
                    row(item, against(&item.ruling, &again.ruling))
                }
                (Some(item), _) => row(item, "not asked".to_owned()),
                (None, Some(again)) => {
                    let [entry, request, item, ..] = row(again, String::new());
                    let ruling = ruling(&again.ruling);
                    [entry, request, item, "not decided".to_owned(), ruling]
                }
                (None, None) => Default::default(),
            })
            .collect(),
    }
}

/// The pairs that differ, in order; a shorter list is filled up.
fn differences<'a>(
    logged: &'a [ItemRuling],
    again: &'a [ItemRuling],
) -> impl Iterator<Item = (Option<&'a ItemRuling>, Option<&'a ItemRuling>)> {
    (0..logged.len().max(again.len()))
        .map(|n| (logged.get(n), again.get(n)))
        .filter(|(logged, again)| logged != again)
}

fn ruling(ruling: &Ruling) -> String {
    let effect = match ruling.effect {
        Effect::Permit => "permit",
        Effect::Review => "review",
        Effect::Deny => "deny",
    };
    let rules: Vec<&str> = ruling.reasons.iter().map(|r| r.rule.as_str()).collect();
    format!("{effect} ({})", rules.join(", "))
}

/// The ruling; if it reads the same as the one in the log, what else differs.
fn against(logged: &Ruling, again: &Ruling) -> String {
    let text = ruling(again);
    if text != ruling(logged) {
        return text;
    }
    let differs = [
        ("obligations", logged.obligations != again.obligations),
        ("consent", logged.consent != again.consent),
        ("agreement", logged.agreement != again.agreement),
        ("reasons", logged.reasons != again.reasons),
    ];
    let names: Vec<&str> = differs
        .iter()
        .filter(|(_, differs)| *differs)
        .map(|(name, _)| *name)
        .collect();
    format!("{text}, other {}", names.join(", "))
}

#[cfg(test)]
mod tests;
