//! The library of rules: a bundle of schema, policies, reference data, texts and test cases.
//!
//! In scope: loading a bundle whole or refusing it, its digest, what each rule's annotations say.
//! Out of scope: decisions (`pdp`), running the test cases (`cases`).

use crate::{
    cedar::{LoadError, Policies, Problem, parse_schema, uid},
    entities::Names,
    provable::INVARIANTS_DIR,
    reference::Reference,
    texts::{FRAME, Texts},
};
use cedar_policy::{Effect, Entities, Entity, EntityTypeName, Policy, PolicySet, Schema};
use passerelle_model::{
    bytes::Digest,
    canonical,
    pdp::Obligation,
    vocabulary::{
        Capacity, CaseRole, Category, ConsentGiver, EmergencyKind, LegalBasis, Profile, Purpose,
        Sector, Stage, Threshold, WorkerRole,
    },
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashSet};

pub(crate) const SCHEMA: &str = "schema.cedarschema";
pub(crate) const REFERENCE: &str = "reference.toml";
pub(crate) const TEXTS: &str = "texts.toml";

/// Denials that no policy says, with the key of what can be done. Their texts have the same key.
pub(crate) const BUILT_IN: &[(&str, &str)] = &[
    (NO_RULE_PERMITS, "remedy-basis"),
    (AGREEMENT_ABSENT, "remedy-agreement"),
    (CONSENT_ABSENT, "remedy-consent"),
    (POLICY_ERROR, "remedy-operator"),
    (UNKNOWN_AGENCY, "remedy-membership"),
    (TOO_MANY_CANDIDATES, "remedy-operator"),
];
/// One of the two agencies is not on record; said by the state machine.
pub(crate) const UNKNOWN_AGENCY: &str = "unknown_agency";
/// More papers on record than can be looked through; said by the state machine.
pub(crate) const TOO_MANY_CANDIDATES: &str = "too_many_candidates";
/// Nothing forbids, and nothing permits (rule 1).
pub(crate) const NO_RULE_PERMITS: &str = "no_rule_permits";
/// There is no agreement between the two to rely on (rule 2).
pub(crate) const AGREEMENT_ABSENT: &str = "agreement_absent";
/// There is no consent to rely on.
pub(crate) const CONSENT_ABSENT: &str = "consent_absent";
/// The evaluation failed: deny, and alarm.
pub(crate) const POLICY_ERROR: &str = "policy_error";

macro_rules! embedded {
    ($($path:literal),* $(,)?) => {
        [$(($path, include_str!(concat!("../library/core/", $path)))),*]
    };
}

/// The files of the shipped bundle, by path.
pub fn embedded_files() -> BTreeMap<String, String> {
    embedded![
        "schema.cedarschema",
        "reference.toml",
        "texts.toml",
        "invariants/agreements.toml",
        "invariants/consents.toml",
        "invariants/emergency.toml",
        "invariants/guards.toml",
        "invariants/health.toml",
        "invariants/ledger.toml",
        "invariants/stages.toml",
        "policies/agreements.cedar",
        "policies/consents.cedar",
        "policies/emergency.cedar",
        "policies/guards.cedar",
        "policies/health.cedar",
        "policies/stages.cedar",
        "tests/agreements.toml",
        "tests/consents.toml",
        "tests/emergency.toml",
        "tests/guards.toml",
        "tests/health.toml",
        "tests/stages.toml",
    ]
    .into_iter()
    .map(|(path, text)| (path.to_owned(), text.to_owned()))
    .collect()
}

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
    /// Whether it permits; otherwise it forbids.
    pub permits: bool,
    /// Key of the text of the reason.
    pub why: String,
    /// Source in law or practice; empty for a choice of design.
    pub source: String,
    /// Bases in law that it concerns, if it says so.
    pub legal_basis: Option<String>,
    /// Key of the text of what can be done. Every forbid has one.
    pub remedy: Option<String>,
    /// On what a permit rests. `Nothing` for a forbid.
    pub rests_on: RestsOn,
    /// What a permit obliges to.
    pub obligations: Vec<Obligation>,
}

/// A bundle that has passed every check.
#[derive(Clone, Debug)]
pub struct Library {
    pub(crate) schema: Schema,
    pub(crate) policies: PolicySet,
    pub(crate) reference: Reference,
    pub(crate) names: Names,
    rules: BTreeMap<String, Rule>,
    texts: Texts,
    digest: Digest,
}

#[derive(Serialize)]
struct Manifest {
    format: u8,
    cedar_language: String,
    files: BTreeMap<String, Digest>,
}

impl Library {
    /// Loads a bundle, given as its files by path.
    ///
    /// # Errors
    /// Anything that is missing, unknown, misspelt, or draws an error or warning from Cedar's
    /// strict validation, with the file and the reason.
    pub fn load(files: &BTreeMap<String, String>) -> Result<Self, LoadError> {
        let mut problems = unknown_files(files);
        let schema = parse_schema(SCHEMA, required(files, SCHEMA)?)?;
        let reference = Reference::parse(required(files, REFERENCE)?)
            .map_err(|reason| LoadError::one(REFERENCE, reason))?;
        let texts = Texts::parse(required(files, TEXTS)?)
            .map_err(|reason| LoadError::one(TEXTS, reason))?;
        let names = Names::new().map_err(|e| LoadError::one(SCHEMA, e))?;
        check_vocabulary(&schema, &names).map_err(|reason| LoadError::one(SCHEMA, reason))?;

        let mut policies = Policies::default();
        for (path, text) in files.iter().filter(|(p, _)| p.ends_with(".cedar")) {
            problems.extend(policies.add_file(path, text));
        }
        let mut rules = BTreeMap::new();
        for (id, (file, policy)) in &policies.by_id {
            match read_rule(id, file, policy) {
                Ok(rule) => {
                    problems.extend(missing_texts(&rule, &texts));
                    rules.insert(id.clone(), rule);
                }
                Err(reason) => problems.push(Problem::new(file, format!("`{id}`: {reason}"))),
            }
        }
        let built_in = BUILT_IN.iter().flat_map(|(rule, remedy)| [rule, remedy]);
        for key in built_in.chain(FRAME) {
            if !texts.has(key) {
                problems.push(Problem::new(TEXTS, format!("no text `{key}`")));
            }
        }
        if rules.is_empty() {
            problems.push(Problem::new("policies", "the bundle holds no policy"));
        }
        if !problems.is_empty() {
            return Err(LoadError { problems });
        }
        let set = policies.validated(&schema)?;
        let digest = digest(files).map_err(|e| LoadError::one("manifest", e))?;
        Ok(Self {
            schema,
            policies: set,
            reference,
            names,
            rules,
            texts,
            digest,
        })
    }

    /// SHA-256 of the manifest: format, version of the Cedar language, and the SHA-256 of every
    /// file, in canonical JSON.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The rules by id.
    pub const fn rules(&self) -> &BTreeMap<String, Rule> {
        &self.rules
    }

    /// The texts.
    pub const fn texts(&self) -> &Texts {
        &self.texts
    }

    /// Key of what can be done about a denial by `rule`, policy or built in.
    pub fn remedy(&self, rule: &str) -> Option<&str> {
        let built_in = || BUILT_IN.iter().find(|(id, _)| *id == rule).map(|(_, r)| *r);
        match self.rules.get(rule) {
            Some(rule) => rule.remedy.as_deref(),
            None => built_in(),
        }
    }
}

fn required<'a>(files: &'a BTreeMap<String, String>, path: &str) -> Result<&'a str, LoadError> {
    files
        .get(path)
        .map(String::as_str)
        .ok_or_else(|| LoadError::one(path, "missing from the bundle"))
}

/// A file that nothing reads could be a rule that its author believes to be in force.
fn unknown_files(files: &BTreeMap<String, String>) -> Vec<Problem> {
    files
        .keys()
        .filter(|path| {
            let known = [SCHEMA, REFERENCE, TEXTS].contains(&path.as_str())
                || path.starts_with("policies/") && path.ends_with(".cedar")
                || path.starts_with("tests/") && path.ends_with(".toml")
                || path.starts_with(INVARIANTS_DIR) && path.ends_with(".toml");
            !known
        })
        .map(|path| Problem::new(path, "not a file that a bundle has"))
        .collect()
}

fn digest(files: &BTreeMap<String, String>) -> Result<Digest, canonical::CanonicalError> {
    canonical::digest(&Manifest {
        format: 1,
        cedar_language: cedar_policy::get_lang_version().to_string(),
        files: files
            .iter()
            .map(|(path, text)| (path.clone(), Digest::of(text.as_bytes())))
            .collect(),
    })
}

/// The schema must know every code that a matter may carry, or good requests would be denied with
/// an evaluation error that nobody expects.
fn check_vocabulary(schema: &Schema, names: &Names) -> Result<(), String> {
    macro_rules! codes {
        ($($field:ident: $vocabulary:ty),* $(,)?) => {
            vec![$((&names.$field, <$vocabulary>::ALL.iter().map(|c| c.code()).collect())),*]
        };
    }
    let mut vocabularies: Vec<(_, BTreeSet<&str>)> = codes![
        sector: Sector,
        worker_role: WorkerRole,
        category_code: Category,
        purpose: Purpose,
        basis_code: LegalBasis,
        emergency_kind: EmergencyKind,
        stage: Stage,
        profile: Profile,
        threshold: Threshold,
        case_role: CaseRole,
        consent_giver: ConsentGiver,
        capacity: Capacity,
    ];
    let kinds = Category::ALL.iter().map(|c| c.kind().code()).collect();
    vocabularies.push((&names.category_kind, kinds));
    check_codes(schema, vocabularies)
}

/// Whether the schema knows every code of these vocabularies.
pub(crate) fn check_codes(
    schema: &Schema,
    vocabularies: Vec<(&EntityTypeName, BTreeSet<&str>)>,
) -> Result<(), String> {
    for (entity_type, codes) in vocabularies {
        for code in codes {
            let entity = Entity::new_no_attrs(uid(entity_type, code), HashSet::new());
            Entities::from_entities([entity], Some(schema))
                .map_err(|_| format!("`{entity_type}` lacks the code `{code}`"))?;
        }
    }
    Ok(())
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

fn read_rule(id: &str, file: &str, policy: &Policy) -> Result<Rule, String> {
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
        permits,
        why: required("why")?,
        source: required("source")?,
        legal_basis: text("legal_basis"),
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
            Some(("retain_days", days)) => Obligation::RetainDays(number(days)?),
            Some(("review_within_hours", hours)) => Obligation::ReviewWithinHours(number(hours)?),
            Some(("notice", key)) if !key.is_empty() => Obligation::Notice(key.to_owned()),
            _ => return Err(format!("unknown obligation `{word}`")),
        };
        if obligations.contains(&obligation) {
            return Err(format!("obligation `{word}` stands twice"));
        }
        obligations.push(obligation);
    }
    Ok(obligations)
}

fn missing_texts(rule: &Rule, texts: &Texts) -> Vec<Problem> {
    let notices = rule.obligations.iter().filter_map(|o| match o {
        Obligation::Notice(key) => Some(key.as_str()),
        _ => None,
    });
    [Some(rule.why.as_str()), rule.remedy.as_deref()]
        .into_iter()
        .flatten()
        .chain(notices)
        .filter(|key| !texts.has(key))
        .map(|key| {
            let reason = format!("`{}`: no text `{key}` in `{TEXTS}`", rule.id);
            Problem::new(&rule.file, reason)
        })
        .collect()
}
