//! `passerelle policy`: check, test and prove a library of rules, list its legal packs, and ask what
//! it would decide.

mod bundle;
mod packs;
mod preview;
mod prove;
mod what_if;

pub(super) use bundle::{
    changes_text as bundle_changes, digest as bundle_digest, period as bundle_period,
    read as bundle_file, replaces as bundle_replaces,
};

use super::{
    Global,
    failure::{Exit, Failure},
    output::{self, fields},
};
use clap::{Args, Subcommand};
use passerelle_model::pdp::PolicyDecisionPoint as _;
use passerelle_policies::{
    CedarPdp, LoadError, Problem, SELECTION, cases, embedded_files, selection,
};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  passerelle policy check
  passerelle policy test
  passerelle policy prove --library ./library
  passerelle policy diff ./library ./library-draft
  passerelle policy packs
  passerelle policy bundle check next.bundle
  passerelle policy explain --requester police --holder health --item diagnosis:coded \\
    --purpose plan --basis GDPR-6
  passerelle policy preview --requester police --holder health --purpose plan --basis GDPR-6")]
pub(crate) struct PolicyArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Check a library whole: schema, rules, legal packs, texts in both languages, a test case for
    /// each rule
    #[command(after_help = "\
Examples:
  passerelle policy check
  passerelle policy check --packs ca-federal,ca-qc
  passerelle policy check --library ./library --json")]
    Check {
        #[command(flatten)]
        source: Source,
    },
    /// Run the library's test cases
    #[command(after_help = "\
Examples:
  passerelle policy test
  passerelle policy test --json")]
    Test {
        #[command(flatten)]
        source: Source,
    },
    /// List the legal packs with their bases in law, citations, rules and duties
    #[command(after_help = packs::EXAMPLES)]
    Packs {
        #[command(flatten)]
        source: Source,
        /// Only this one
        #[arg(value_name = "PACK")]
        id: Option<String>,
    },
    /// Write a library as one file that agencies can endorse, show one, check one
    #[command(after_help = bundle::EXAMPLES)]
    Bundle(bundle::BundleArgs),
    /// Ask what would be decided, and by which rule, without asking anybody
    #[command(after_help = what_if::EXAMPLES)]
    Explain {
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        what_if: Box<what_if::WhatIf>,
    },
    /// Prove what a library can never do, whatever is on record; needs the solver cvc5
    #[command(after_help = prove::EXAMPLES)]
    Prove(prove::ProveArgs),
    /// Prove that a library permits no more than another, or show what it does
    #[command(after_help = prove::DIFF_EXAMPLES)]
    Diff(prove::DiffArgs),
    /// Show what one could get, what a person would look at, what is denied, and what is missing
    #[command(after_help = preview::EXAMPLES)]
    Preview {
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        preview: Box<preview::Preview>,
    },
}

#[derive(Debug, Args)]
struct Source {
    /// Directory with the library's files: those of the core, the packs below `packs/`, or both
    /// side by side as `core/` and `packs/` [default: the embedded library]
    #[arg(long, value_name = "DIR")]
    library: Option<PathBuf>,
    /// The legal packs in use [default: those that the library's `packs.toml` names, or all]
    #[arg(long, value_name = "PACK,...", value_delimiter = ',')]
    packs: Option<Vec<String>>,
}

impl Source {
    fn files(&self) -> Result<BTreeMap<String, String>, Failure> {
        let mut files = files_of(self.library.as_deref())?;
        if let Some(packs) = &self.packs {
            let packs = packs.iter().cloned().collect();
            files.insert(SELECTION.to_owned(), selection(&packs));
        }
        Ok(files)
    }
}

/// The files of a library in this directory, or of the embedded one.
fn files_of(library: Option<&Path>) -> Result<BTreeMap<String, String>, Failure> {
    let Some(root) = library else {
        return Ok(embedded_files());
    };
    let mut files = BTreeMap::new();
    let core = root.join("core");
    // As the sources have it: core and packs side by side, and a holder's policy beside them.
    if core.join("schema.cedarschema").is_file() {
        read_dir(&core, "", CORE_DEPTH, &mut files)?;
        let packs = root.join("packs");
        if packs.is_dir() {
            read_dir(&packs, "packs/", PACK_DEPTH, &mut files)?;
        }
    } else {
        read_dir(root, "", CORE_DEPTH.max(PACK_DEPTH + 1), &mut files)?;
    }
    Ok(files)
}

/// Folders within one another below the core: `policies/`.
const CORE_DEPTH: usize = 1;
/// The same below `packs/`: `ca-qc/policies/`.
const PACK_DEPTH: usize = 2;

/// The decision point over a library in this directory, or over the embedded one.
pub(super) fn load(library: Option<&Path>) -> Result<CedarPdp, Failure> {
    CedarPdp::load_dir(&files_of(library)?).map_err(load_failure)
}

/// The decision point over the embedded library for a federation that uses these packs.
pub(super) fn load_with_packs(packs: &[String]) -> Result<CedarPdp, Failure> {
    let packs = packs.iter().cloned().collect();
    CedarPdp::load_with_packs(&packs).map_err(load_failure)
}

/// Reads files by path below `dir`, as many folders deep as `depth`.
fn read_dir(
    dir: &Path,
    prefix: &str,
    depth: usize,
    files: &mut BTreeMap<String, String>,
) -> Result<(), Failure> {
    for entry in std::fs::read_dir(dir).map_err(|e| Failure::file(dir, &e))? {
        let path = entry?.path();
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let name = format!("{prefix}{name}");
        if path.is_dir() && depth > 0 {
            read_dir(&path, &format!("{name}/"), depth - 1, files)?;
        } else {
            let text = std::fs::read_to_string(&path).map_err(|e| Failure::file(&path, &e))?;
            files.insert(name, text);
        }
    }
    Ok(())
}

/// Runs the command.
pub(super) fn run(global: Global, args: PolicyArgs) -> Result<Exit, Failure> {
    match args.verb {
        Verb::Check { source } => check(global, &source.files()?),
        Verb::Test { source } => test(global, &source),
        Verb::Packs { source, id } => {
            let pdp = CedarPdp::load_dir(&source.files()?).map_err(load_failure)?;
            packs::run(global, pdp.library(), id.as_deref())
        }
        Verb::Bundle(args) => bundle::run(global, args),
        Verb::Explain { source, what_if } => {
            let pdp = CedarPdp::load_dir(&source.files()?).map_err(load_failure)?;
            explain(global, &pdp, &what_if)
        }
        Verb::Prove(args) => prove::prove(global, &args),
        Verb::Diff(args) => prove::diff(global, &args),
        Verb::Preview { source, preview } => {
            let pdp = CedarPdp::load_dir(&source.files()?).map_err(load_failure)?;
            preview::run(global, &pdp, &preview)
        }
    }
}

fn load_failure(error: LoadError) -> Failure {
    Failure::failed(error.to_string()).with_hint("`passerelle policy check` lists all problems")
}

fn check(global: Global, files: &BTreeMap<String, String>) -> Result<Exit, Failure> {
    let problems = match cases::check(files) {
        Ok(summary) => {
            let done = serde_json::json!({
                "digest": summary.digest,
                "permits": summary.permits,
                "forbids": summary.forbids,
                "duties": summary.duties,
                "packs": summary.packs,
                "texts": summary.texts,
                "cases": summary.cases,
                "problems": [],
            });
            output::print(global, &done, |_| {
                fields(&[
                    ("bundle", summary.digest.to_hex()),
                    (
                        "rules",
                        format!("{} permit, {} forbid", summary.permits, summary.forbids),
                    ),
                    ("duties", summary.duties.to_string()),
                    ("legal packs", summary.packs.to_string()),
                    ("texts", format!("{} in en and fr", summary.texts)),
                    ("test cases", format!("{} pass", summary.cases)),
                ])
            })?;
            return Ok(Exit::Done);
        }
        Err(problems) => problems,
    };
    print_problems(global, &problems)
}

fn print_problems(global: Global, problems: &[Problem]) -> Result<Exit, Failure> {
    let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
    let done = serde_json::json!({ "problems": texts });
    output::print(global, &done, |_| texts.join("\n"))?;
    Ok(Exit::Refused)
}

/// One case as it is shown, of the federation's rules or of the holder's own.
#[derive(serde::Serialize)]
struct Shown {
    file: String,
    name: String,
    passed: bool,
    ruling: serde_json::Value,
    failures: Vec<String>,
}

fn shown(
    file: String,
    name: String,
    ruling: &impl serde::Serialize,
    failures: Vec<String>,
) -> Result<Shown, Failure> {
    Ok(Shown {
        file,
        name,
        passed: failures.is_empty(),
        ruling: serde_json::to_value(ruling)?,
        failures,
    })
}

/// The cases of a library; with the embedded one, those of the holder's own policy too.
fn cases_of(source: &Source) -> Result<Result<Vec<Shown>, Vec<Problem>>, Failure> {
    let federation = match cases::run_cases(&source.files()?) {
        Ok(results) => results,
        Err(problems) => return Ok(Err(problems)),
    };
    let local = match &source.library {
        None => cases::run_local_cases(),
        // What an agency's own library says of the federation's rules is no policy of a holder.
        Some(_) => Ok(Vec::new()),
    };
    let local = match local {
        Ok(results) => results,
        Err(problems) => return Ok(Err(problems)),
    };
    let federation = federation.into_iter();
    let local = local.into_iter();
    let all: Result<Vec<_>, Failure> = federation
        .map(|r| shown(r.file, r.name, &r.ruling, r.failures))
        .chain(local.map(|r| shown(r.file, r.name, &r.ruling, r.failures)))
        .collect();
    Ok(Ok(all?))
}

fn test(global: Global, source: &Source) -> Result<Exit, Failure> {
    let results = match cases_of(source)? {
        Ok(results) => results,
        Err(problems) => return print_problems(global, &problems),
    };
    let failed = results.iter().filter(|result| !result.passed).count();
    output::print(global, &results, |_| {
        let mut out = String::new();
        for result in &results {
            let mark = if result.passed { "ok    " } else { "FAILED" };
            // Writing to a string can't fail.
            let _infallible = writeln!(out, "{mark}  {}: {}", result.file, result.name);
            for failure in &result.failures {
                let _infallible = writeln!(out, "          {failure}");
            }
        }
        let _infallible = writeln!(out, "\n{} cases, {failed} failed", results.len());
        out
    })?;
    Ok(if failed == 0 {
        Exit::Done
    } else {
        Exit::Refused
    })
}

fn explain(global: Global, pdp: &CedarPdp, what_if: &what_if::WhatIf) -> Result<Exit, Failure> {
    let matter = what_if.matter()?;
    let ruling = pdp.rule(&matter);
    let language = global.lang().language();
    let words = pdp.library().explain(&ruling, language);
    let done = serde_json::json!({
        "category": matter.item.category,
        "level": matter.item.level,
        "ruling": ruling,
        "explained": words,
        "bundle": pdp.bundle(),
    });
    output::print(global, &done, |_| {
        let mut out = format!(
            "{} asks {} for {}:{}, purpose {}, basis {}\n\n",
            matter.requester.sector(),
            matter.holder.sector(),
            matter.item.category,
            matter.item.level,
            matter.purpose,
            matter.basis
        );
        for sentence in &words {
            let _infallible = writeln!(out, "{sentence}");
        }
        out
    })?;
    Ok(match ruling.effect {
        passerelle_model::pdp::Effect::Deny => Exit::Refused,
        passerelle_model::pdp::Effect::Permit | passerelle_model::pdp::Effect::Review => Exit::Done,
    })
}

#[cfg(test)]
mod tests;
