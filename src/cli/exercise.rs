//! `passerelle exercise`: play a tabletop scenario against one or several bundles of rules.
//!
//! In scope: finding the file, the bundles, the report. Out of scope: playing, which the policies
//! crate does without a network, a clock or a file. Nothing here speaks to a node.

use super::{
    Global,
    failure::{Exit, Failure},
    output, policy,
};
use clap::{Args, Subcommand};
use passerelle_policies::{
    CedarPdp, LocalPdp,
    exercise::{self, Bundle, Exercise, Problem},
};
use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  passerelle exercise list
  passerelle exercise run 3-threat-tonight --report report.html
  passerelle exercise check ours.yaml")]
pub(crate) struct ExerciseArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the exercises that come with the program
    #[command(after_help = "\
Examples:
  passerelle exercise list
  passerelle exercise list --lang fr --json")]
    List,
    /// Print the file of an exercise that comes with the program, to change it
    #[command(after_help = "\
Examples:
  passerelle exercise show 3-threat-tonight")]
    Show {
        /// Its name, as `exercise list` shows it
        name: String,
    },
    /// Check the file of an exercise without playing it
    #[command(after_help = "\
Examples:
  passerelle exercise check ours.yaml
  passerelle exercise check ours.yaml --library ./library --json

Exit code 1: something is wrong with the file; each line names the place.")]
    Check {
        /// The file, or the name of an exercise that comes with the program
        file: String,
        #[command(flatten)]
        against: Against,
    },
    /// Play an exercise, show what each bundle decides and why, and whether it is as expected
    #[command(after_help = "\
Examples:
  passerelle exercise run 3-threat-tonight
  passerelle exercise run 3-threat-tonight --report report.html --lang fr
  passerelle exercise run ours.yaml --library ./library --library ./proposed --json

With `--library` given several times the bundles are shown side by side; `embedded` stands for the
embedded one.
Exit code 1: something did not come out as the file expects. 2: something is wrong with the file.")]
    Run {
        /// The file, or the name of an exercise that comes with the program
        file: String,
        #[command(flatten)]
        against: Against,
        /// Write the report here: one HTML page in both languages, to print or to show
        #[arg(long, value_name = "OUT.html")]
        report: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
struct Against {
    /// Directory with a library's files, or `embedded`; may be given several times
    #[arg(long = "library", value_name = "DIR", default_value = EMBEDDED)]
    libraries: Vec<PathBuf>,
}

/// What stands for the embedded library among directories.
const EMBEDDED: &str = "embedded";

/// The exercises that come with the program, by name.
const SHIPPED: &[(&str, &str)] = &[
    (
        "1-withdrawn-in-flight",
        include_str!("../../docs/exercises/1-withdrawn-in-flight.yaml"),
    ),
    (
        "2-fifteen-at-school",
        include_str!("../../docs/exercises/2-fifteen-at-school.yaml"),
    ),
    (
        "3-threat-tonight",
        include_str!("../../docs/exercises/3-threat-tonight.yaml"),
    ),
    (
        "4-police-ask-for-a-diagnosis",
        include_str!("../../docs/exercises/4-police-ask-for-a-diagnosis.yaml"),
    ),
    (
        "5-moving-to-another-province",
        include_str!("../../docs/exercises/5-moving-to-another-province.yaml"),
    ),
    (
        "6-the-agreement-ends-at-midnight",
        include_str!("../../docs/exercises/6-the-agreement-ends-at-midnight.yaml"),
    ),
    (
        "8-two-spellings",
        include_str!("../../docs/exercises/8-two-spellings.yaml"),
    ),
    (
        "9-a-mentor-at-the-table",
        include_str!("../../docs/exercises/9-a-mentor-at-the-table.yaml"),
    ),
    (
        "10-a-clinic-offline-for-two-days",
        include_str!("../../docs/exercises/10-a-clinic-offline-for-two-days.yaml"),
    ),
    (
        "11-one-door-five-owners",
        include_str!("../../docs/exercises/11-one-door-five-owners.yaml"),
    ),
    (
        "12-a-small-town",
        include_str!("../../docs/exercises/12-a-small-town.yaml"),
    ),
];

/// Runs the command.
pub(super) fn run(global: Global, args: &ExerciseArgs) -> Result<Exit, Failure> {
    match &args.verb {
        Verb::List => list(global),
        Verb::Show { name } => match shipped(name) {
            Some(text) => output::line(text.trim_end()).map(|()| Exit::Done),
            None => Err(unknown(name)),
        },
        Verb::Check { file, against } => check(global, file, against),
        Verb::Run {
            file,
            against,
            report,
        } => play(global, file, against, report.as_deref()),
    }
}

fn shipped(name: &str) -> Option<&'static str> {
    let found = SHIPPED.iter().find(|(known, _)| *known == name);
    found.map(|(_, text)| *text)
}

fn unknown(name: &str) -> Failure {
    Failure::usage(format!("no exercise is called `{name}`"))
        .with_hint("`passerelle exercise list` names them")
}

fn list(global: Global) -> Result<Exit, Failure> {
    let french = global.lang() == super::Lang::Fr;
    let mut rows = Vec::new();
    for (name, text) in SHIPPED {
        let exercise = exercise::read(text).map_err(|problems| refusal(name, &problems))?;
        let (events, questions) = exercise.size();
        rows.push(serde_json::json!({
            "name": name,
            "title": exercise.title().say(french),
            "about": exercise.about().map(|a| a.say(french)),
            "events": events,
            "questions": questions,
        }));
    }
    output::print(global, &rows, |rows| {
        let field = |row: &serde_json::Value, name: &str| {
            super::plain_value(row.get(name).unwrap_or(&serde_json::Value::Null))
        };
        let rows: Vec<_> = rows
            .iter()
            .map(|row| {
                [
                    field(row, "name"),
                    field(row, "questions"),
                    field(row, "title"),
                ]
            })
            .collect();
        output::table(["name", "questions", "title"], &rows, "")
    })?;
    Ok(Exit::Done)
}

/// The text of a file, or of an exercise that comes with the program.
fn text_of(file: &str) -> Result<String, Failure> {
    let path = Path::new(file);
    match shipped(file) {
        Some(text) if !path.exists() => Ok(text.to_owned()),
        _ => {
            let opened = std::fs::File::open(path).map_err(|e| Failure::file(path, &e))?;
            let most = exercise::MAX_FILE_BYTES as u64;
            let mut text = String::new();
            // A device has no length: no more is read than an exercise may have.
            opened
                .take(most.saturating_add(1))
                .read_to_string(&mut text)
                .map_err(|e| Failure::file(path, &e))?;
            if text.len() as u64 > most {
                return Err(Failure::usage(format!(
                    "`{file}` is too large for an exercise"
                )));
            }
            Ok(text)
        }
    }
}

fn load(against: &Against) -> Result<Vec<(String, CedarPdp)>, Failure> {
    let mut bundles: Vec<(String, CedarPdp)> = Vec::new();
    for library in &against.libraries {
        let label = library.display().to_string();
        let dir = (label != EMBEDDED).then_some(library.as_path());
        if bundles.iter().any(|(known, _)| *known == label) {
            return Err(Failure::usage(format!("`--library {label}` stands twice")));
        }
        bundles.push((label, policy::load(dir)?));
    }
    Ok(bundles)
}

fn side_by_side(loaded: &[(String, CedarPdp)]) -> Vec<Bundle<'_>> {
    let bundles = loaded.iter().map(|(label, pdp)| Bundle {
        label: label.clone(),
        pdp,
    });
    bundles.collect()
}

/// The exercise, with everything that is wrong with it, whatever the bundles.
fn read(text: &str, bundles: &[Bundle<'_>]) -> Result<Exercise, Vec<Problem>> {
    let exercise = exercise::read(text)?;
    let unknown = exercise::unknown_rules(&exercise, bundles);
    if unknown.is_empty() {
        Ok(exercise)
    } else {
        Err(unknown)
    }
}

fn refusal(file: &str, problems: &[Problem]) -> Failure {
    let first = problems
        .first()
        .map(ToString::to_string)
        .unwrap_or_default();
    let more = match problems.len() {
        0 | 1 => String::new(),
        n => format!(" (and {} more)", n - 1),
    };
    Failure::usage(format!("`{file}`:{first}{more}")).with_hint(format!(
        "`passerelle exercise check {file}` lists everything"
    ))
}

fn check(global: Global, file: &str, against: &Against) -> Result<Exit, Failure> {
    let text = text_of(file)?;
    let loaded = load(against)?;
    let problems = match read(&text, &side_by_side(&loaded)) {
        Ok(exercise) => {
            let (events, questions) = exercise.size();
            let done = serde_json::json!({
                "events": events, "questions": questions, "problems": [],
            });
            output::print(global, &done, |_| {
                output::fields(&[
                    ("events", events.to_string()),
                    ("questions", questions.to_string()),
                ])
            })?;
            return Ok(Exit::Done);
        }
        Err(problems) => problems,
    };
    let done = serde_json::json!({ "problems": problems });
    output::print(global, &done, |_| {
        let lines = problems.iter().map(|problem| format!("{file}:{problem}"));
        lines.collect::<Vec<_>>().join("\n")
    })?;
    Ok(Exit::Refused)
}

fn play(
    global: Global,
    file: &str,
    against: &Against,
    report: Option<&Path>,
) -> Result<Exit, Failure> {
    let text = text_of(file)?;
    let loaded = load(against)?;
    let bundles = side_by_side(&loaded);
    let exercise = read(&text, &bundles).map_err(|problems| refusal(file, &problems))?;
    let local = LocalPdp::load_default().map_err(|e| Failure::failed(e.to_string()))?;
    let played =
        exercise::play(&exercise, &bundles, &local).map_err(|e| Failure::failed(e.to_string()))?;
    if let Some(path) = report {
        let page = exercise::page(&played);
        std::fs::write(path, page).map_err(|e| Failure::file(path, &e))?;
    }
    output::print(global, &exercise::json(&played), |_| {
        exercise::text(&played, global.lang().language())
    })?;
    Ok(if played.as_expected() {
        Exit::Done
    } else {
        Exit::Refused
    })
}
