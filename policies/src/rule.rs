//! A rule of the library, as its annotations tell it.
//!
//! In scope: reading annotations, and the texts that they need. Out of scope: the policy itself.

use crate::{library::TEXTS, problem::Problem, texts::Texts};
use cedar_policy::{Effect, Policy};
use passerelle_model::{pdp::Obligation, vocabulary::LegalBasis};
use std::collections::BTreeSet;

/// On what a permit rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RestsOn {
    /// On neither agreement nor consent: a statute, the table's own rule.
    Nothing,
    /// On the candidate consent.
    Consent,
    /// On the candidate agreement.
    Agreement,
}

/// What a rule's annotations say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its `@id`.
    pub id: String,
    /// The file that it is in.
    pub file: String,
    /// The pack that it is of; `None` for the core.
    pub pack: Option<String>,
    /// The line of its `@id`, from 1.
    pub line: Option<usize>,
    /// Whether it permits; otherwise it forbids.
    pub permits: bool,
    /// Key of the text of the reason.
    pub why: String,
    /// Source in law or practice; empty for a choice of design.
    pub source: String,
    /// Bases in law that it concerns, if it says so.
    pub legal_basis: Option<String>,
    /// The same, read, of a rule of a pack. A permit of a pack opens nothing on any other basis.
    pub bases: BTreeSet<LegalBasis>,
    /// Key of the text of what can be done. Every forbid has one.
    pub remedy: Option<String>,
    /// On what a permit rests. `Nothing` for a forbid.
    pub rests_on: RestsOn,
    /// What a permit obliges to.
    pub obligations: Vec<Obligation>,
}

impl Rule {
    /// A problem that it has.
    pub(crate) fn problem(&self, reason: &str) -> Problem {
        Problem::new(&self.file, format!("`{}`: {reason}", self.id)).in_line(self.line)
    }
}

/// The bases in law that a `@legal_basis` names, separated by commas.
pub(crate) fn parse_bases(list: &str) -> Result<BTreeSet<LegalBasis>, String> {
    let words = list.split(',').map(str::trim);
    let basis = |word: &str| {
        let unknown = |_| format!("`@legal_basis` names the unknown basis `{word}`");
        word.parse::<LegalBasis>().map_err(unknown)
    };
    words.map(basis).collect()
}

/// The annotations that a policy may have. One that is misspelt would be silent.
const ANNOTATIONS: &[&str] = &[
    "id",
    "why",
    "remedy",
    "source",
    "legal_basis",
    "rests_on",
    "obligation",
];

pub(crate) fn read_rule(id: &str, file: &str, policy: &Policy) -> Result<Rule, String> {
    if let Some((unknown, _)) = policy
        .annotations()
        .find(|(name, _)| !ANNOTATIONS.contains(name))
    {
        return Err(format!("unknown annotation `@{unknown}`"));
    }
    let text = |name: &str| policy.annotation(name).map(str::to_owned);
    let required = |name: &str| text(name).ok_or_else(|| format!("no `@{name}`"));
    let permits = policy.effect() == Effect::Permit;
    let rule = Rule {
        id: id.to_owned(),
        file: file.to_owned(),
        pack: None,
        line: None,
        permits,
        why: required("why")?,
        source: required("source")?,
        legal_basis: text("legal_basis"),
        bases: BTreeSet::new(),
        remedy: text("remedy"),
        rests_on: match (permits, text("rests_on").as_deref()) {
            (false, None) | (true, Some("none")) => RestsOn::Nothing,
            (true, Some("consent")) => RestsOn::Consent,
            (true, Some("agreement")) => RestsOn::Agreement,
            (true, None) => return Err("a permit must have `@rests_on`".to_owned()),
            (false, Some(_)) => return Err("a forbid rests on nothing".to_owned()),
            (true, Some(other)) => return Err(format!("`@rests_on` can't be `{other}`")),
        },
        obligations: match text("obligation") {
            Some(list) if permits => parse_obligations(&list)?,
            Some(_) => return Err("a forbid obliges to nothing".to_owned()),
            None => Vec::new(),
        },
    };
    if !permits && rule.remedy.is_none() {
        return Err("a forbid must have `@remedy`".to_owned());
    }
    Ok(rule)
}

/// `retain_days:90,no_redisclosure`: separated by commas, each at most once.
pub(crate) fn parse_obligations(list: &str) -> Result<Vec<Obligation>, String> {
    let mut obligations = Vec::new();
    for word in list.split(',').map(str::trim) {
        let number = |text: &str| {
            text.parse::<u16>()
                .map_err(|_| format!("`{word}` needs a whole number up to 65535"))
        };
        let obligation = match word.split_once(':') {
            None if word == "no_redisclosure" => Obligation::NoRedisclosure,
            None if word == "alert" => Obligation::Alert,
            None if word == "second_approver" => Obligation::SecondApprover,
            None if word == "notify_subject" => Obligation::NotifySubject,
            None if word == "mask" => Obligation::Mask,
            Some(("retain_days", days)) => Obligation::RetainDays(number(days)?),
            Some(("review_within_hours", hours)) => Obligation::ReviewWithinHours(number(hours)?),
            Some(("notice", key)) if !key.is_empty() => Obligation::Notice(key.to_owned()),
            Some(("task", key)) if !key.is_empty() => Obligation::Task(key.to_owned()),
            _ => return Err(format!("unknown obligation `{word}`")),
        };
        if obligations.contains(&obligation) {
            return Err(format!("obligation `{word}` stands twice"));
        }
        obligations.push(obligation);
    }
    Ok(obligations)
}

/// The keys of texts that these obligations show and that are not there.
pub(crate) fn missing_notices<'a>(
    obligations: &'a [Obligation],
    texts: &'a Texts,
) -> impl Iterator<Item = &'a str> {
    let keys = obligations.iter().filter_map(|o| match o {
        Obligation::Notice(key) | Obligation::Task(key) => Some(key.as_str()),
        Obligation::RetainDays(_)
        | Obligation::NoRedisclosure
        | Obligation::ReviewWithinHours(_)
        | Obligation::SecondApprover
        | Obligation::NotifySubject
        | Obligation::Alert
        | Obligation::Mask => None,
    });
    keys.filter(|key| !texts.has(key))
}

/// The texts that a rule needs and that are not there.
pub(crate) fn missing_texts(rule: &Rule, texts: &Texts) -> Vec<Problem> {
    [Some(rule.why.as_str()), rule.remedy.as_deref()]
        .into_iter()
        .flatten()
        .filter(|key| !texts.has(key))
        .chain(missing_notices(&rule.obligations, texts))
        .map(|key| rule.problem(&format!("no text `{key}` in `{TEXTS}`")))
        .collect()
}
