//! What is to be proved, as data beside the library: `invariants/*.toml`.
//!
//! In scope: reading invariants and the ledger, and refusing what does not fit the library. Out of
//! scope: proving.
//!
//! An invariant is a ceiling: a policy that permits whatever is not bad. The library holds it if it
//! permits nothing that the ceiling does not.

use crate::ProveError;
use cedar_policy::{EntityUid, Policy, PolicyId, PolicySet, RequestEnv, ValidationMode, Validator};
use passerelle_model::pdp::Obligation;
use passerelle_policies::{INVARIANTS_DIR, Library, Problem, Rule};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

/// The file of what is known of the rules, as opposed to what is demanded of them.
const LEDGER: &str = "ledger.toml";

/// The head of the ledger.
const HEADER: &str = "\
# What is known of the rules. Each entry must be true: `passerelle policy prove` fails on one that
# is not any more, and on a conflict that is not listed. `passerelle policy prove --ledger` prints
# this file as it would be true.

# Rules that can't fire, each with the reason why it stays.";

/// A sentence in both languages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Words {
    /// English.
    pub en: String,
    /// Canadian French.
    pub fr: String,
}

impl Words {
    pub(crate) fn new(en: impl Into<String>, fr: impl Into<String>) -> Self {
        Self {
            en: en.into(),
            fr: fr.into(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    invariant: Vec<RawInvariant>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawInvariant {
    id: String,
    title: Words,
    #[serde(default)]
    source: String,
    actions: BTreeSet<String>,
    ceiling: String,
    #[serde(default)]
    only_with: BTreeSet<String>,
}

/// Something that the library must never do.
#[derive(Clone, Debug)]
pub struct Invariant {
    /// Its name.
    pub id: String,
    /// What it says.
    pub title: Words,
    /// Where it comes from, in law or practice; empty for a choice of design.
    pub source: String,
    /// The actions of which it speaks.
    pub actions: BTreeSet<String>,
    /// What may be permitted at most: policies, by their number.
    pub(crate) ceiling: Vec<Policy>,
    /// Above the ceiling only rules that carry all of these obligations may permit. Nothing may if
    /// it is empty.
    pub(crate) only_with: BTreeSet<String>,
}

/// What is known of the rules, each entry of which must be true.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// Rules that can't fire, each with the reason why it stays.
    #[serde(default)]
    pub dead: BTreeMap<String, String>,
    /// For each permit the forbids that may overrule it.
    #[serde(default)]
    pub conflicts: BTreeMap<String, BTreeSet<String>>,
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}\n[dead]")?;
        for (rule, reason) in &self.dead {
            writeln!(f, "{rule} = {}", toml::Value::String(reason.clone()))?;
        }
        writeln!(
            f,
            "\n# For each permit the forbids that may overrule it.\n[conflicts]"
        )?;
        for (permit, forbids) in &self.conflicts {
            writeln!(f, "{permit} = [")?;
            for forbid in forbids {
                writeln!(f, "  \"{forbid}\",")?;
            }
            writeln!(f, "]")?;
        }
        Ok(())
    }
}

/// All that is to be proved of a library.
#[derive(Clone, Debug)]
pub struct Invariants {
    /// The invariants, in the order of their files.
    pub all: Vec<Invariant>,
    /// What is known of the rules.
    pub ledger: Ledger,
}

impl Invariants {
    /// Those that a bundle, given as its files by path, keeps in `invariants/`.
    ///
    /// # Errors
    /// As [`Invariants::load`].
    pub fn of_bundle(
        library: &Library,
        files: &BTreeMap<String, String>,
    ) -> Result<Self, ProveError> {
        let own = files.iter().filter_map(|(path, text)| {
            let name = path.strip_prefix(INVARIANTS_DIR)?;
            Some((name.to_owned(), text.clone()))
        });
        Self::load(library, &own.collect())
    }

    /// Reads invariants for `library` from files: contents by name.
    ///
    /// # Errors
    /// A file that can't be read, an invariant that does not fit the library's schema, a name used
    /// twice, a title without one of the languages, no invariant at all, no ledger.
    pub fn load(library: &Library, files: &BTreeMap<String, String>) -> Result<Self, ProveError> {
        let mut problems = Vec::new();
        let mut all: Vec<Invariant> = Vec::new();
        let mut ledger = None;
        for (name, text) in files {
            let mut refuse = |reason: String| problems.push(problem(name, reason));
            if name == LEDGER {
                match toml::from_str(text) {
                    Ok(read) => ledger = Some(read),
                    Err(error) => refuse(error.to_string()),
                }
                continue;
            }
            let raw: RawFile = match toml::from_str(text) {
                Ok(raw) => raw,
                Err(error) => {
                    refuse(error.to_string());
                    continue;
                }
            };
            for raw in raw.invariant {
                let id = raw.id.clone();
                match read(library, raw) {
                    Ok(_) if all.iter().any(|known| known.id == id) => {
                        refuse(format!("`{id}` stands twice"));
                    }
                    Ok(invariant) => all.push(invariant),
                    Err(reason) => refuse(format!("`{id}`: {reason}")),
                }
            }
        }
        if files.is_empty() || (all.is_empty() && problems.is_empty()) {
            problems.push(problem(
                "*.toml",
                "there is no invariant to prove".to_owned(),
            ));
        }
        match ledger {
            Some(ledger) if problems.is_empty() => Ok(Self { all, ledger }),
            Some(_) => Err(ProveError::Invariants(problems)),
            None => {
                problems.push(problem(LEDGER, "missing or unreadable".to_owned()));
                Err(ProveError::Invariants(problems))
            }
        }
    }
}

fn problem(name: &str, reason: String) -> Problem {
    Problem {
        file: format!("{INVARIANTS_DIR}{name}"),
        line: None,
        reason,
    }
}

fn read(library: &Library, raw: RawInvariant) -> Result<Invariant, String> {
    if raw.id.is_empty()
        || !raw
            .id
            .bytes()
            .all(|b| b == b'-' || b.is_ascii_alphanumeric())
    {
        return Err("a name has letters, digits and hyphens".to_owned());
    }
    if raw.title.en.trim().is_empty() || raw.title.fr.trim().is_empty() {
        return Err("a title needs both languages".to_owned());
    }
    let known: BTreeSet<_> = environments(library)
        .iter()
        .map(|env| action_of(env).to_owned())
        .collect();
    if raw.actions.is_empty() {
        return Err("it speaks of no action".to_owned());
    }
    if let Some(unknown) = raw.actions.iter().find(|a| !known.contains(*a)) {
        return Err(format!("unknown action `{unknown}`"));
    }
    if let Some(unknown) = raw.only_with.iter().find(|o| !is_obligation(o)) {
        return Err(format!("unknown obligation `{unknown}`"));
    }
    Ok(Invariant {
        ceiling: ceiling(library, &raw)?,
        id: raw.id,
        title: raw.title,
        source: raw.source,
        actions: raw.actions,
        only_with: raw.only_with,
    })
}

/// Under names that no rule can have.
fn ceiling(library: &Library, raw: &RawInvariant) -> Result<Vec<Policy>, String> {
    let parsed = PolicySet::from_str(&raw.ceiling).map_err(|e| e.to_string())?;
    let policies: Vec<_> = parsed
        .policies()
        .enumerate()
        .map(|(n, policy)| policy.new_id(PolicyId::new(format!("ceiling_{n}"))))
        .collect();
    if policies.is_empty() || parsed.num_of_templates() > 0 {
        return Err("a ceiling is one policy or more, and no template".to_owned());
    }
    let set = PolicySet::from_policies(policies.iter().cloned()).map_err(|e| e.to_string())?;
    let result = Validator::new(library.schema().clone()).validate(&set, ValidationMode::Strict);
    let mut complaints: Vec<_> = result
        .validation_errors()
        .map(ToString::to_string)
        .collect();
    complaints.extend(result.validation_warnings().map(ToString::to_string));
    match complaints.first() {
        Some(complaint) => Err(complaint.clone()),
        None => Ok(policies),
    }
}

/// The kinds of request that the schema knows.
pub(crate) fn environments(library: &Library) -> Vec<RequestEnv> {
    let mut all: Vec<_> = library.schema().request_envs().collect();
    all.sort_by_key(|env| env.action().to_string());
    all
}

/// The action's name without its type.
pub(crate) fn action_of(env: &RequestEnv) -> &str {
    name_of(env.action())
}

pub(crate) fn name_of(uid: &EntityUid) -> &str {
    let id: &str = uid.id().as_ref();
    id
}

fn is_obligation(name: &str) -> bool {
    let plain = [
        "retain_days",
        "no_redisclosure",
        "review_within_hours",
        "second_approver",
        "notify_subject",
        "alert",
        "mask",
    ];
    let keyed = ["notice:", "task:"].iter();
    let mut keys = keyed.filter_map(|prefix| name.strip_prefix(prefix));
    plain.contains(&name) || keys.any(|key| !key.is_empty())
}

/// Whether `rule` obliges to all of these.
pub(crate) fn carries(rule: &Rule, names: &BTreeSet<String>) -> bool {
    let carried: BTreeSet<String> = rule.obligations.iter().map(name_of_obligation).collect();
    names.is_subset(&carried)
}

fn name_of_obligation(obligation: &Obligation) -> String {
    match obligation {
        Obligation::RetainDays(_) => "retain_days".to_owned(),
        Obligation::NoRedisclosure => "no_redisclosure".to_owned(),
        Obligation::Notice(key) => format!("notice:{key}"),
        Obligation::ReviewWithinHours(_) => "review_within_hours".to_owned(),
        Obligation::SecondApprover => "second_approver".to_owned(),
        Obligation::NotifySubject => "notify_subject".to_owned(),
        Obligation::Alert => "alert".to_owned(),
        Obligation::Mask => "mask".to_owned(),
        Obligation::Task(key) => format!("task:{key}"),
    }
}
