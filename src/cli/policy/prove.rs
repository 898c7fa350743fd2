//! `policy prove` and `policy diff`: proofs over a library, told to a person or a script.

use super::{CORE_DEPTH, load_failure, read_dir};
use crate::cli::{
    Global, Lang,
    failure::{Exit, Failure},
    output,
};
use clap::Args;
use passerelle_model::vocabulary::Language;
use passerelle_policies::{Library, SCHEMA_FILE};
use passerelle_prove::{
    Check, Difference, Invariants, ProveError, Report, Side, Solver, SolverError, Story, Words,
};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

pub(super) const EXAMPLES: &str = "\
Examples:
  passerelle policy prove --library ./library
  passerelle policy prove --library ./library --lang fr
  passerelle policy prove --only substance-use-not-to-police-never --json
  passerelle policy prove --library ./library --ledger

All of it takes about a minute. Exit code 1: something is refuted, or not decided in time. 3: no
proof could be tried.";

pub(super) const DIFF_EXAMPLES: &str = "\
Examples:
  passerelle policy diff ./library ./library-draft
  passerelle policy diff ./library ./library-draft --lang fr --json

Exit code 0: the newer library permits no more than the older. 1: it does, or nobody knows.
3: no proof could be tried.";

#[derive(Debug, Args)]
pub(super) struct ProveArgs {
    #[command(flatten)]
    source: super::Source,
    /// Directory with the invariants [default: `invariants` in the library]
    #[arg(long, value_name = "DIR")]
    invariants: Option<PathBuf>,
    /// Prove only this one; may be given several times
    #[arg(long, value_name = "ID")]
    only: Vec<String>,
    /// Print the ledger as it would be true, instead of the proofs
    #[arg(long, conflicts_with = "only")]
    ledger: bool,
    #[command(flatten)]
    limit: Limit,
}

#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    /// Directory of the older library
    old: PathBuf,
    /// Directory of the newer library
    new: PathBuf,
    #[command(flatten)]
    limit: Limit,
}

#[derive(Debug, Args)]
struct Limit {
    /// Seconds for one question to the solver, 1 to 600
    #[arg(long = "limit", value_name = "SECONDS", default_value_t = 20,
          value_parser = clap::value_parser!(u64).range(1..=600))]
    limit_s: u64,
}

impl Limit {
    fn solver(&self) -> Result<Solver, Failure> {
        Solver::find(Duration::from_secs(self.limit_s)).map_err(|e| failure(&e.into()))
    }
}

fn failure(error: &ProveError) -> Failure {
    let text = error.to_string();
    match error {
        ProveError::Solver(SolverError::Missing(_) | SolverError::Foreign(_)) => {
            Failure::failed(text).with_hint(
                "install it with `apt-get install cvc5`, or name its program in the environment's \
                 `CVC5`; nothing is proved without it",
            )
        }
        ProveError::Unknown(_) => Failure::usage(text)
            .with_hint("`passerelle policy prove` lists the names of all invariants"),
        ProveError::Invariants(_) => Failure::failed(text)
            .with_hint("give a directory with invariants and their ledger by `--invariants`"),
        ProveError::Incomparable(_) => Failure::failed(text)
            .with_hint("every code and attribute of the older schema must be in the newer"),
        ProveError::Solver(_) | ProveError::Policy(_) => Failure::failed(text),
    }
}

pub(super) fn prove(global: Global, args: &ProveArgs) -> Result<Exit, Failure> {
    let files = args.source.files()?;
    let library = Library::load(&files).map_err(load_failure)?;
    let invariants = match &args.invariants {
        Some(dir) => {
            let mut own = BTreeMap::new();
            read_dir(dir, "/", CORE_DEPTH, &mut own)?;
            let own = own.into_iter();
            let own = own.map(|(name, text)| (name.trim_start_matches('/').to_owned(), text));
            Invariants::load(&library, &own.collect())
        }
        None => Invariants::of_bundle(&library, &files),
    };
    let invariants = invariants.map_err(|e| failure(&e))?;
    let solver = args.limit.solver()?;
    let report = passerelle_prove::prove(&library, &invariants, &solver, &args.only)
        .map_err(|e| failure(&e))?;
    let decided = report.holds();
    if args.ledger {
        output::line(report.ledger.to_string().trim_end())?;
    } else {
        output::print(global, &report, |report| told(report, global.lang()))?;
    }
    Ok(if decided { Exit::Done } else { Exit::Refused })
}

fn say(lang: Lang, en: &str, fr: &str) -> String {
    match lang {
        Lang::En => en.to_owned(),
        Lang::Fr => fr.to_owned(),
    }
}

fn words(lang: Lang, words: &Words) -> &str {
    match lang {
        Lang::En => &words.en,
        Lang::Fr => &words.fr,
    }
}

fn told(report: &Report, lang: Lang) -> String {
    let mut out = String::new();
    for check in &report.checks {
        tell(check, lang, &mut out);
    }
    let failed = report.checks.iter().filter(|check| !check.holds()).count();
    let count = report.checks.len();
    let many = if count == 1 { "" } else { "s" };
    let (questions, solver) = (report.questions, &report.solver);
    let seconds = report.took_ms.div_ceil(1_000);
    // Writing to a string can't fail.
    let _infallible = match lang {
        Lang::En => writeln!(
            out,
            "\n{count} check{many}, {failed} failed ({questions} questions to cvc5 {solver}, \
             {seconds} s)"
        ),
        Lang::Fr => writeln!(
            out,
            "\n{count} vérification{many}, {failed} en échec ({questions} questions à cvc5 {solver}, \
             {seconds}\u{a0}s)"
        ),
    };
    out
}

fn tell(check: &Check, lang: Lang, out: &mut String) {
    let mark = if check.holds() {
        say(lang, "proved ", "prouvé ")
    } else {
        say(lang, "FAILED ", "ÉCHEC  ")
    };
    let title = words(lang, &check.title);
    let _infallible = writeln!(out, "{mark}  {}: {title}", check.id);
    for failing in &check.failing {
        let _infallible = writeln!(out, "           {}", words(lang, &failing.says.words));
        if let Some(story) = &failing.story {
            tell_story(story, lang, out);
        }
    }
}

fn tell_story(story: &Story, lang: Lang, out: &mut String) {
    let language = match lang {
        Lang::En => Language::English,
        Lang::Fr => Language::French,
    };
    for line in story.lines(language) {
        let _infallible = writeln!(out, "             {line}");
    }
}

fn load(dir: &Path) -> Result<(Library, String), Failure> {
    let files = super::files_of(Some(dir))?;
    let schema = files.get(SCHEMA_FILE).cloned().unwrap_or_default();
    let library = Library::load(&files).map_err(|error| {
        let dir = dir.display();
        Failure::failed(format!("`{dir}`: {error}")).with_hint(format!(
            "`passerelle policy check --library {dir}` lists all problems"
        ))
    })?;
    Ok((library, schema))
}

pub(super) fn diff(global: Global, args: &DiffArgs) -> Result<Exit, Failure> {
    let ((old, old_schema), (new, new_schema)) = (load(&args.old)?, load(&args.new)?);
    let solver = args.limit.solver()?;
    let differences = passerelle_prove::diff((&old, &old_schema), (&new, &new_schema), &solver)
        .map_err(|e| failure(&e))?;
    let no_looser = differences.iter().all(Difference::is_no_looser);
    let done = serde_json::json!({
        "old": old.digest(),
        "new": new.digest(),
        "not_more_permissive": no_looser,
        "actions": differences,
    });
    output::print(global, &done, |_| {
        differ(&differences, no_looser, global.lang())
    })?;
    Ok(if no_looser { Exit::Done } else { Exit::Refused })
}

fn differ(differences: &[Difference], no_looser: bool, lang: Lang) -> String {
    let mut out = String::new();
    for difference in differences {
        let action = &difference.action;
        let looser = match &difference.looser {
            Side::Proved => say(
                lang,
                "permits no more (proved)",
                "ne permet rien de plus (prouvé)",
            ),
            Side::More { .. } => say(lang, "PERMITS MORE", "PERMET DAVANTAGE"),
            Side::Undecided { reason } => {
                format!("{} ({reason})", say(lang, "NOT DECIDED", "NON TRANCHÉ"))
            }
        };
        let _infallible = writeln!(out, "{action}: {looser}");
        show(&difference.looser, lang, &mut out);
        let tighter = match &difference.tighter {
            Side::Proved => say(lang, "and no less (proved)", "et rien de moins (prouvé)"),
            Side::More { .. } => say(lang, "tighter by:", "plus strict en ceci\u{a0}:"),
            Side::Undecided { reason } => {
                let lead = say(
                    lang,
                    "whether tighter: not decided",
                    "plus strict ou non, non tranché",
                );
                format!("{lead} ({reason})")
            }
        };
        let _infallible = writeln!(out, "  {tighter}");
        show(&difference.tighter, lang, &mut out);
    }
    let end = if no_looser {
        say(
            lang,
            "The newer library is not more permissive.",
            "La nouvelle bibliothèque n'est pas plus permissive.",
        )
    } else if differences
        .iter()
        .any(|d| matches!(d.looser, Side::More { .. }))
    {
        say(
            lang,
            "The newer library is more permissive.",
            "La nouvelle bibliothèque est plus permissive.",
        )
    } else {
        say(
            lang,
            "It is not proved that the newer library is not more permissive.",
            "Il n'est pas prouvé que la nouvelle bibliothèque ne soit pas plus permissive.",
        )
    };
    let _infallible = writeln!(out, "\n{end}");
    out
}

fn show(side: &Side, lang: Lang, out: &mut String) {
    match side {
        Side::More { story: Some(story) } => tell_story(story, lang, out),
        Side::More { story: None } => {
            let none = say(
                lang,
                "the solver's request could not be shown",
                "la demande trouvée par le solveur n'a pu être montrée",
            );
            let _infallible = writeln!(out, "             {none}");
        }
        Side::Proved | Side::Undecided { .. } => {}
    }
}
