//! `policy bundle`: a library as one file that agencies can look at, endorse and hold.

use super::{Source, load_failure, print_problems};
use crate::cli::{
    Global,
    failure::{Exit, Failure},
    output::{self, fields},
};
use clap::{Args, Subcommand};
use passerelle_agent::api::input;
use passerelle_model::{bundle::BundleTerms, bytes::Digest, time::Timestamp};
use passerelle_policies::{
    Bundle, LoadError,
    bundle::{Changes, MAX_BUNDLE_BYTES, changes},
    cases,
};
use serde::Serialize;
use std::{
    fmt::Write as _,
    io::Read as _,
    path::{Path, PathBuf},
};

pub(super) const EXAMPLES: &str = "\
Examples:
  passerelle policy bundle build --library ./library --revision 1 \\
    --previous 2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881 --out next.bundle
  passerelle policy bundle check next.bundle
  passerelle policy bundle show next.bundle --against now.bundle

`passerelle broker status` shows the digest and the revision in force.";

#[derive(Debug, Args)]
pub(super) struct BundleArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Check a library whole, run its test cases, and write it as one file
    #[command(after_help = "\
Examples:
  passerelle policy bundle build --revision 1 \\
    --previous 2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881 --out next.bundle
  passerelle policy bundle build --library ./library --packs ca-federal,ca-qc --revision 4 \\
    --previous 2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881 \\
    --not-before 2027-01-01 --expires 2028-01-01 --out next.bundle

`--previous` is the digest in force, as `passerelle broker status` shows it. Without it the file is
one that a federation begins with.")]
    Build(Build),
    /// Show what a bundle file holds, and what it changes against another
    #[command(after_help = "\
Examples:
  passerelle policy bundle show next.bundle
  passerelle policy bundle show next.bundle --against now.bundle --json")]
    Show {
        /// The bundle file
        file: PathBuf,
        /// Another bundle file: what changes from it to this one
        #[arg(long, value_name = "FILE")]
        against: Option<PathBuf>,
    },
    /// Check a bundle file whole: form, digests, rules, texts, test cases
    #[command(after_help = "\
Examples:
  passerelle policy bundle check next.bundle
  passerelle policy bundle check next.bundle --json")]
    Check {
        /// The bundle file
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
struct Build {
    #[command(flatten)]
    source: Source,
    /// Its number: higher than the one in force
    #[arg(long, value_name = "N", default_value_t = 0)]
    revision: u64,
    /// Digest of the rules that it replaces
    #[arg(long, value_name = "DIGEST", value_parser = digest)]
    previous: Option<Digest>,
    /// In force at the soonest from then on: a date, or RFC 3339 [default: once it is endorsed]
    #[arg(long, value_name = "TIME")]
    not_before: Option<String>,
    /// In force until: a date, or RFC 3339. From then on nobody asks or answers under it
    /// [default: without end]
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
    /// Where to write it; an existing file is not replaced
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// 64 lower-case hexadecimal digits.
pub(crate) fn digest(text: &str) -> Result<Digest, String> {
    Digest::from_hex(text).map_err(|e| e.to_string())
}

/// What is shown of a bundle.
#[derive(Serialize)]
struct Shown {
    bundle: Digest,
    revision: u64,
    previous: Option<Digest>,
    not_before: Timestamp,
    expires_at: Option<Timestamp>,
    cedar_language: String,
    rules: usize,
    duties: usize,
    packs: Vec<String>,
    files: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<Changes>,
}

/// Runs the command.
pub(super) fn run(global: Global, args: BundleArgs) -> Result<Exit, Failure> {
    match args.verb {
        Verb::Build(build_args) => build(global, &build_args),
        Verb::Show { file, against } => show(global, &file, against.as_deref()),
        Verb::Check { file } => check(global, &file),
    }
}

/// The bytes of a bundle file, read no further than one may be long.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let file = std::fs::File::open(path).map_err(|e| Failure::file(path, &e))?;
    let mut bytes = Vec::new();
    file.take(MAX_BUNDLE_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| Failure::file(path, &e))?;
    Ok(bytes)
}

fn opened(path: &Path) -> Result<Result<Bundle, LoadError>, Failure> {
    Ok(Bundle::from_bytes(&read(path)?))
}

fn time(option: &str, text: Option<&str>) -> Result<Option<Timestamp>, Failure> {
    let read = text.map(|text| input::time(option, text)).transpose();
    read.map_err(|status| Failure::usage(status.message().to_owned()))
}

fn build(global: Global, args: &Build) -> Result<Exit, Failure> {
    let files = args.source.files()?;
    if let Err(problems) = cases::check(&files) {
        return print_problems(global, &problems);
    }
    if args.previous.is_none() != (args.revision == 0) {
        let words = "a bundle that replaces another has both a `--revision` and a `--previous`";
        return Err(Failure::usage(words));
    }
    let place = BundleTerms {
        bundle: Digest([0; 32]),
        previous: args.previous,
        revision: args.revision,
        not_before: time("not-before", args.not_before.as_deref())?.unwrap_or_default(),
        expires_at: time("expires", args.expires.as_deref())?,
    };
    let bundle = match Bundle::new(files, place) {
        Ok(bundle) => bundle,
        Err(error) => return print_problems(global, &error.problems),
    };
    let bytes = bundle
        .to_bytes()
        .map_err(|e| Failure::failed(e.to_string()))?;
    write_new(&args.out, &bytes)?;
    let done = serde_json::json!({
        "bundle": bundle.digest(),
        "revision": args.revision,
        "file": args.out,
        "bytes": bytes.len(),
    });
    output::print(global, &done, |_| {
        format!(
            "bundle {} (revision {}) is in `{}`, {} bytes; next: passerelle broker bundle propose \
             --dir D {}",
            bundle.digest(),
            args.revision,
            args.out.display(),
            bytes.len(),
            args.out.display()
        )
    })?;
    Ok(Exit::Done)
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    use std::io::Write as _;
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path);
    let written = file.and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(|e| Failure::file(path, &e))
}

fn show(global: Global, path: &Path, against: Option<&Path>) -> Result<Exit, Failure> {
    let bundle = match opened(path)? {
        Ok(bundle) => bundle,
        Err(error) => return print_problems(global, &error.problems),
    };
    let pdp = bundle.load().map_err(load_failure)?;
    let library = pdp.library();
    let compared = match against {
        None => None,
        Some(other) => {
            let other = opened(other)?.map_err(load_failure)?;
            let before = other.load().map_err(load_failure)?;
            Some(changes((&other, before.library()), (&bundle, library)))
        }
    };
    let terms = bundle.terms();
    let packs = library.packs().values().filter(|pack| pack.active);
    let shown = Shown {
        bundle: terms.bundle,
        revision: terms.revision,
        previous: terms.previous,
        not_before: terms.not_before,
        expires_at: terms.expires_at,
        cedar_language: bundle.language().to_owned(),
        rules: library.rules().len(),
        duties: library.duties().len(),
        packs: packs.map(|pack| pack.id.clone()).collect(),
        files: bundle.files().keys().cloned().collect(),
        changes: compared,
    };
    output::print(global, &shown, text)?;
    Ok(Exit::Done)
}

fn text(shown: &Shown) -> String {
    let head = fields(&[
        ("bundle", shown.bundle.to_hex()),
        ("revision", shown.revision.to_string()),
        ("replaces", replaces(shown.previous)),
        ("in force", period(shown.not_before, shown.expires_at)),
        ("Cedar language", shown.cedar_language.clone()),
        ("rules", shown.rules.to_string()),
        ("duties", shown.duties.to_string()),
        ("legal packs in use", shown.packs.join(", ")),
        ("files", shown.files.len().to_string()),
    ]);
    match &shown.changes {
        None => head,
        Some(changes) => format!("{head}\n{}", changes_text(changes)),
    }
}

/// What a bundle replaces, for people.
pub(crate) fn replaces(previous: Option<Digest>) -> String {
    previous.map_or_else(
        || "nothing: a federation begins with it".to_owned(),
        |d| d.to_hex(),
    )
}

/// From when until when a bundle may be in force, for people.
pub(crate) fn period(not_before: Timestamp, expires_at: Option<Timestamp>) -> String {
    let from = match not_before {
        Timestamp(0) => "once it is activated".to_owned(),
        at => format!("from {}", at.to_rfc3339()),
    };
    match expires_at {
        None => format!("{from}, without end"),
        Some(end) => format!("{from}, until {}", end.to_rfc3339()),
    }
}

/// What a bundle changes, for people.
pub(crate) fn changes_text(changes: &Changes) -> String {
    let mut out = String::new();
    let kinds = [
        ("added", &changes.added),
        ("removed", &changes.removed),
        ("changed", &changes.changed),
    ];
    for (what, rules) in kinds {
        for (id, kind) in rules {
            // Writing to a string can't fail.
            let _infallible = writeln!(out, "rule {what}: {kind} `{id}`");
        }
    }
    for path in &changes.files {
        let _infallible = writeln!(out, "file differs: `{path}`");
    }
    if out.is_empty() {
        out.push_str("nothing changes but the place that it takes\n");
    }
    out
}

fn check(global: Global, path: &Path) -> Result<Exit, Failure> {
    let bundle = match opened(path)? {
        Ok(bundle) => bundle,
        Err(error) => return print_problems(global, &error.problems),
    };
    let summary = match bundle.load() {
        Ok(_) => cases::check(bundle.files()),
        Err(error) => Err(error.problems),
    };
    let summary = match summary {
        Ok(summary) => summary,
        Err(problems) => return print_problems(global, &problems),
    };
    let done = serde_json::json!({
        "bundle": bundle.digest(),
        "revision": bundle.terms().revision,
        "cases": summary.cases,
        "problems": [],
    });
    output::print(global, &done, |_| {
        fields(&[
            ("bundle", bundle.digest().to_hex()),
            ("revision", bundle.terms().revision.to_string()),
            ("test cases", format!("{} pass", summary.cases)),
        ])
    })?;
    Ok(Exit::Done)
}

#[cfg(test)]
#[path = "bundle_tests.rs"]
mod tests;
