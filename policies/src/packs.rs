//! Legal packs: what one jurisdiction's law adds to the core, as data.
//!
//! A pack is a folder `packs/<id>/` of the bundle: `pack.toml` (who, which bases in law with their
//! citation, what they are good for in an emergency, which duties they bring), `texts.toml`,
//! `policies/*.cedar`, `tests/*.toml`. All packs are loaded with the core into one bundle and
//! checked as one: a guard of a pack can close what the core or another pack opens, and one set of policies
//! decides.
//!
//! In scope: reading packs, what only packs must obey, which of them a federation uses. Out of
//! scope: deciding; the law itself, which counsel must confirm for each federation.

use crate::{
    cases::CaseFile,
    cedar::is_rule_id,
    duties::{Duty, RawDuty},
    problem::{Problem, line_of},
    reference::EmergencyUse,
    rule::{Rule, parse_bases, parse_obligations},
    texts::Text,
};
use passerelle_model::vocabulary::{LegalBasis, Profile};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// Where packs are in a bundle.
pub(crate) const PACKS: &str = "packs/";
/// The file of a bundle that says which packs a federation uses; all, if the bundle has none.
pub const SELECTION: &str = "packs.toml";

/// The text of the file of a bundle that says which packs a federation uses, `packs.toml`: the same
/// for the same packs, so that the bundle has the same digest.
pub fn selection(packs: &BTreeSet<String>) -> String {
    let quoted: Vec<_> = packs.iter().map(|id| format!("{id:?}")).collect();
    format!("active = [{}]\n", quoted.join(", "))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSelection {
    active: BTreeSet<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPack {
    id: String,
    version: u32,
    jurisdiction: String,
    title: Text,
    counsel: Text,
    #[serde(default)]
    profiles: BTreeSet<Profile>,
    #[serde(default)]
    basis: Vec<RawBasis>,
    #[serde(default)]
    duty: Vec<RawDuty>,
    access: Option<Access>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBasis {
    code: LegalBasis,
    citation: Text,
    emergency: Option<EmergencyUse>,
}

/// How soon an owner answers a person who asks what is held (rule 24). A starting point: the act
/// that governs an agency, and what suspends or lengthens the time, are for counsel.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// Days from the day on which the request was received, 1 to 30.
    pub days: u16,
    /// Where the law says so.
    pub citation: Text,
}

/// No law gives an owner more days to answer than a request through the broker lasts.
const MAX_ACCESS_DAYS: u16 = 30;

/// A legal pack.
#[derive(Clone, Debug)]
pub struct Pack {
    /// Its id, the name of its folder.
    pub id: String,
    /// Its version, which rises with each change of content.
    pub version: u32,
    /// Whose law: a code of ISO 3166, or `EU`.
    pub jurisdiction: String,
    /// Its title.
    pub title: Text,
    /// What counsel must confirm before a federation relies on it.
    pub counsel: Text,
    /// The mechanisms of a table that it speaks for.
    pub profiles: BTreeSet<Profile>,
    /// The bases in law that it concerns, with their citations.
    pub bases: BTreeMap<LegalBasis, Text>,
    /// How soon an owner answers a person who asks what is held.
    pub access: Option<Access>,
    /// Whether its permits and its emergency bases count. Its guards and duties always do.
    pub active: bool,
    pub(crate) emergency: BTreeMap<LegalBasis, EmergencyUse>,
    pub(crate) duties: Vec<Duty>,
}

/// The packs of a bundle.
#[derive(Default)]
pub(crate) struct Packs {
    pub(crate) by_id: BTreeMap<String, Pack>,
    pub(crate) problems: Vec<Problem>,
}

/// The pack that a file of a bundle is of: `ca-qc` for `packs/ca-qc/pack.toml`.
pub(crate) fn pack_of(path: &str) -> Option<&str> {
    path.strip_prefix(PACKS)?.split('/').next()
}

impl Packs {
    /// All packs of a bundle.
    pub(crate) fn read(files: &BTreeMap<String, String>) -> Self {
        let mut packs = Self::default();
        let ids: BTreeSet<_> = files.keys().filter_map(|path| pack_of(path)).collect();
        for id in ids {
            match read_pack(id, files) {
                Ok(pack) => drop(packs.by_id.insert(id.to_owned(), pack)),
                Err(problem) => packs.problems.push(problem),
            }
        }
        if packs.problems.is_empty() {
            packs.problems.extend(packs.claimed_twice());
            packs.problems.extend(packs.unclaimed());
        }
        if let Some(text) = files.get(SELECTION) {
            packs.select(text);
        }
        packs
    }

    /// A basis or a mechanism is one pack's: two would disagree on what it is good for.
    fn claimed_twice(&self) -> Vec<Problem> {
        let mut seen = BTreeMap::new();
        let mut problems = Vec::new();
        for pack in self.by_id.values() {
            let bases = pack.bases.keys().map(|b| b.code());
            let claims = bases.chain(pack.profiles.iter().map(|p| p.code()));
            for claim in claims {
                if let Some(other) = seen.insert(claim, &pack.id) {
                    let reason = format!("`{claim}` is of pack `{other}` already");
                    problems.push(Problem::new(&file(&pack.id), reason));
                }
            }
        }
        problems
    }

    /// The guards of a mechanism are in its pack: without it the mechanism would be unguarded.
    fn unclaimed(&self) -> Option<Problem> {
        let claims = |profile: &Profile| {
            let mut packs = self.by_id.values();
            *profile == Profile::SituationTable || packs.any(|p| p.profiles.contains(profile))
        };
        let profile = Profile::ALL.iter().find(|profile| !claims(profile))?;
        let reason = format!("no pack speaks for the mechanism `{profile}`");
        Some(Problem::new(PACKS, reason))
    }

    fn select(&mut self, text: &str) {
        let active = match toml::from_str::<RawSelection>(text) {
            Ok(selection) => selection.active,
            Err(error) => {
                self.problems.push(Problem::toml(SELECTION, text, &error));
                return;
            }
        };
        for unknown in active.iter().filter(|id| !self.by_id.contains_key(*id)) {
            let known: Vec<_> = self.by_id.keys().map(String::as_str).collect();
            let known = known.join(", ");
            let reason = format!("unknown pack `{unknown}`; known are: {known}");
            let line = line_of(text, unknown);
            self.problems
                .push(Problem::new(SELECTION, reason).in_line(line));
        }
        for pack in self.by_id.values_mut() {
            pack.active = active.contains(&pack.id);
        }
    }
}

fn file(id: &str) -> String {
    format!("{PACKS}{id}/pack.toml")
}

fn read_pack(id: &str, files: &BTreeMap<String, String>) -> Result<Pack, Problem> {
    let path = file(id);
    let text = files
        .get(&path)
        .ok_or_else(|| Problem::new(&path, "missing from the bundle"))?;
    let raw: RawPack = toml::from_str(text).map_err(|e| Problem::toml(&path, text, &e))?;
    let refuse =
        |words: &str, reason: String| Problem::new(&path, reason).in_line(line_of(text, words));
    if raw.id != id || !is_rule_id(id) {
        let reason = format!("id `{}` is not the name of its folder, `{id}`", raw.id);
        return Err(refuse("id =", reason));
    }
    for (name, words) in [("title", &raw.title), ("counsel", &raw.counsel)] {
        let unsound = |reason| refuse(name, format!("`{name}` {reason}"));
        words.is_sound().map_err(unsound)?;
    }
    let (mut bases, mut emergency) = (BTreeMap::new(), BTreeMap::new());
    for basis in raw.basis {
        let code = basis.code;
        let unsound = |reason: &str| refuse(code.code(), format!("basis `{code}` {reason}"));
        basis
            .citation
            .is_sound()
            .map_err(|reason| unsound(&reason))?;
        if code.is_the_persons_own() {
            return Err(unsound("is of the core, not of a jurisdiction"));
        }
        if let Some(good_for) = basis.emergency {
            if good_for.kinds.is_empty() {
                return Err(unsound("lists no kind of emergency"));
            }
            emergency.insert(code, good_for);
        }
        if bases.insert(code, basis.citation).is_some() {
            return Err(unsound("stands twice"));
        }
    }
    let duties = raw
        .duty
        .into_iter()
        .map(|duty| read_duty(duty, id, &path, text, (&bases, &raw.profiles)))
        .collect::<Result<_, _>>()?;
    if let Some(access) = &raw.access {
        let unsound = |reason: String| refuse("[access]", format!("`access` {reason}"));
        access.citation.is_sound().map_err(unsound)?;
        if !(1..=MAX_ACCESS_DAYS).contains(&access.days) {
            return Err(unsound(format!("has 1 to {MAX_ACCESS_DAYS} days")));
        }
    }
    Ok(Pack {
        access: raw.access,
        id: raw.id,
        version: raw.version,
        jurisdiction: raw.jurisdiction,
        title: raw.title,
        counsel: raw.counsel,
        profiles: raw.profiles,
        bases,
        active: true,
        emergency,
        duties,
    })
}

/// A duty of a pack binds what is disclosed on its bases or by its mechanisms, nothing else.
fn read_duty(
    duty: RawDuty,
    id: &str,
    path: &str,
    text: &str,
    (bases, profiles): (&BTreeMap<LegalBasis, Text>, &BTreeSet<Profile>),
) -> Result<Duty, Problem> {
    let when = &duty.when;
    let own = when.bases.iter().all(|b| bases.contains_key(b))
        && when.profiles.is_subset(profiles)
        && !(when.bases.is_empty() && when.profiles.is_empty());
    let name = duty.id.clone();
    if !own {
        let reason = format!("duty `{name}` names no basis or mechanism of the pack, or another's");
        return Err(duty.problem(path, text, &reason));
    }
    let line = line_of(text, &format!("\"{name}\""));
    duty.read(path, Some(id))
        .map_err(|reason| Problem::new(path, reason).in_line(line))
}

impl Pack {
    /// What only a rule of a pack must obey: the bases that it names are known, and a permit names
    /// some, of the pack's own.
    pub(crate) fn adopt(&self, rule: Rule) -> Result<Rule, String> {
        let bases = match &rule.legal_basis {
            Some(list) => parse_bases(list)?,
            None => BTreeSet::new(),
        };
        if rule.permits && bases.is_empty() {
            return Err("a permit of a pack names bases of that pack in `@legal_basis`".to_owned());
        }
        let other = bases.iter().find(|b| !self.bases.contains_key(b));
        if let Some(other) = other.filter(|_| rule.permits) {
            return Err(format!(
                "`@legal_basis` names `{other}`, not a basis of the pack"
            ));
        }
        Ok(Rule {
            pack: Some(self.id.clone()),
            bases,
            ..rule
        })
    }
}

/// Every rule and duty of a pack stands in the expectation of one of the pack's own test cases.
/// Whether the cases pass is found when they are run.
pub(crate) fn untested(
    rules: &BTreeMap<String, Rule>,
    duties: &[Duty],
    files: &BTreeMap<String, String>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut expected = BTreeSet::new();
    for (path, text) in files.iter().filter(|(path, _)| is_test(path)) {
        let Some(pack) = pack_of(path) else { continue };
        let file = match toml::from_str::<CaseFile>(text) {
            Ok(file) => file,
            Err(error) => {
                problems.push(Problem::toml(path, text, &error));
                continue;
            }
        };
        for case in &file.case {
            let rules = case.expect.rules.iter().cloned();
            expected.extend(rules.map(|rule| (pack, rule)));
            let Some(list) = &case.expect.obligations else {
                continue;
            };
            let obliged = parse_obligations(list).unwrap_or_default();
            let due = |duty: &&Duty| duty.obligations.iter().all(|o| obliged.contains(o));
            let met = duties.iter().filter(due).map(|duty| duty.id.clone());
            expected.extend(met.map(|duty| (pack, duty)));
        }
    }
    for rule in rules.values() {
        let Some(pack) = rule.pack.as_deref() else {
            continue;
        };
        if !expected.contains(&(pack, rule.id.clone())) {
            problems.push(rule.problem("no test case of the pack expects it"));
        }
    }
    for duty in duties {
        let Some(pack) = duty.pack.as_deref() else {
            continue;
        };
        if !expected.contains(&(pack, duty.id.clone())) {
            let reason = format!("duty `{}`: no test case of the pack expects it", duty.id);
            let text = files.get(&duty.file).map_or("", String::as_str);
            let line = line_of(text, &format!("\"{}\"", duty.id));
            problems.push(Problem::new(&duty.file, reason).in_line(line));
        }
    }
    problems
}

/// Whether a file of a bundle holds test cases.
pub(crate) fn is_test(path: &str) -> bool {
    part_of(path).starts_with("tests/")
}

/// The path within the core or the pack.
pub(crate) fn part_of(path: &str) -> &str {
    let within = path.strip_prefix(PACKS).and_then(|p| p.split_once('/'));
    within.map_or(path, |(_, part)| part)
}

#[cfg(test)]
#[path = "packs_tests.rs"]
mod tests;
