//! The library of rules: a bundle of schema, policies, reference data, texts and test cases.
//!
//! In scope: loading a bundle whole or refusing it, its digest, what each rule's annotations say.
//! Out of scope: decisions (`pdp`), running the test cases (`cases`).

use crate::{
    cedar::{LoadError, Policies, Problem, parse_schema, uid},
    duties::{Duty, RawDuty},
    embedded_packs,
    entities::Names,
    packs::{Pack, Packs, SELECTION, pack_of, part_of, untested},
    problem::line_of,
    provable::INVARIANTS_DIR,
    reference::Reference,
    rule::{Rule, missing_notices, missing_texts, read_rule},
    texts::{FRAME, Texts},
};
use cedar_policy::{Entities, Entity, EntityTypeName, PolicyId, PolicySet, Schema};
use passerelle_model::{
    bytes::Digest,
    canonical,
    vocabulary::{
        AgreementState, Capacity, CaseRole, Category, ConsentGiver, ConsentMethod, EmergencyKind,
        LegalBasis, Level, Profile, Purpose, Sector, Stage, Threshold, WorkerRole,
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
        "invariants/rights.toml",
        "invariants/stages.toml",
        "policies/agreements.cedar",
        "policies/consents.cedar",
        "policies/emergency.cedar",
        "policies/guards.cedar",
        "policies/health.cedar",
        "policies/rights.cedar",
        "policies/stages.cedar",
        "tests/agreements.toml",
        "tests/consents.toml",
        "tests/duties.toml",
        "tests/emergency.toml",
        "tests/guards.toml",
        "tests/health.toml",
        "tests/rights.toml",
        "tests/stages.toml",
    ]
    .into_iter()
    .chain(embedded_packs::FILES.iter().copied())
    .map(|(path, text)| (path.to_owned(), text.to_owned()))
    .collect()
}

/// A bundle that has passed every check.
#[derive(Clone, Debug)]
pub struct Library {
    pub(crate) schema: Schema,
    /// All but the permits of packs that are not used.
    pub(crate) policies: PolicySet,
    pub(crate) reference: Reference,
    pub(crate) names: Names,
    rules: BTreeMap<String, Rule>,
    duties: Vec<Duty>,
    packs: BTreeMap<String, Pack>,
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
    /// strict validation, with the file, the line and the reason.
    pub fn load(files: &BTreeMap<String, String>) -> Result<Self, LoadError> {
        Self::load_in(files, &cedar_policy::get_lang_version().to_string())
    }

    /// As [`Library::load`], of rules that were written for this version of the Cedar language,
    /// which stands in their digest.
    pub(crate) fn load_in(
        files: &BTreeMap<String, String>,
        language: &str,
    ) -> Result<Self, LoadError> {
        let mut problems = unknown_files(files);
        let schema = parse_schema(SCHEMA, required(files, SCHEMA)?)?;
        let (mut reference, core_duties) =
            Reference::parse(REFERENCE, required(files, REFERENCE)?)?;
        let mut texts = Texts::parse(TEXTS, required(files, TEXTS)?)?;
        let names = Names::new().map_err(|e| LoadError::one(SCHEMA, e))?;
        check_vocabulary(&schema, &names).map_err(|reason| LoadError::one(SCHEMA, reason))?;
        let Packs {
            by_id: packs,
            problems: found,
        } = Packs::read(files);
        problems.extend(found);
        for id in packs.keys() {
            let path = format!("packs/{id}/{TEXTS}");
            match files.get(&path) {
                Some(text) => problems.extend(texts.add(&path, text)),
                None => problems.push(Problem::new(&path, "missing from the bundle")),
            }
        }
        problems.extend(missing_frame(&texts));

        let mut policies = Policies::default();
        for (path, text) in files.iter().filter(|(p, _)| p.ends_with(".cedar")) {
            problems.extend(policies.add_file(path, text));
        }
        let rules = read_rules(&policies, &packs, &texts, &mut problems);
        let duties = read_duties(core_duties, &packs, files, &mut problems);
        problems.extend(check_duties(&duties, &rules, &texts));
        problems.extend(untested(&rules, &duties, files));
        if !problems.is_empty() {
            return Err(LoadError { problems });
        }
        let policies = in_use(policies.validated(&schema)?, &rules, &packs)
            .map_err(|reason| LoadError::one("policies", reason))?;
        for pack in packs.values().filter(|pack| pack.active) {
            for (basis, good_for) in &pack.emergency {
                reference.add_emergency(*basis, good_for.clone());
            }
        }
        let digest = digest_of(files, language).map_err(|e| LoadError::one("manifest", e))?;
        Ok(Self {
            schema,
            policies,
            reference,
            names,
            rules,
            duties,
            packs,
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

    /// The duties, of the core and of packs.
    pub fn duties(&self) -> &[Duty] {
        &self.duties
    }

    /// The legal packs by id.
    pub const fn packs(&self) -> &BTreeMap<String, Pack> {
        &self.packs
    }

    /// The most that `purpose` needs of `category` (rule 4); none if the purpose is not listed.
    pub fn max_level(&self, purpose: Purpose, category: Category) -> Option<Level> {
        self.reference.max_level(purpose, category)
    }

    /// The texts.
    pub const fn texts(&self) -> &Texts {
        &self.texts
    }

    /// The text of a rule, unless it is the permit of a pack that is not used.
    pub(crate) fn condition_of(&self, rule: &str) -> Option<String> {
        let policy = self.policies.policy(&PolicyId::new(rule))?;
        Some(policy.to_string())
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
pub(crate) fn unknown_files(files: &BTreeMap<String, String>) -> Vec<Problem> {
    let known = |path: &str| {
        let part = part_of(path);
        let single: &[&str] = match pack_of(path) {
            Some(_) => &["pack.toml", TEXTS],
            None => &[SCHEMA, REFERENCE, TEXTS, SELECTION],
        };
        single.contains(&part)
            || part.starts_with("policies/") && part.ends_with(".cedar")
            || part.starts_with("tests/") && part.ends_with(".toml")
            || part.starts_with(INVARIANTS_DIR) && part.ends_with(".toml")
    };
    let unknown = files.keys().filter(|path| !known(path));
    unknown
        .map(|path| Problem::new(path, "not a file that a bundle has"))
        .collect()
}

/// The rules that annotations tell, with all that is wrong with them.
fn read_rules(
    policies: &Policies,
    packs: &BTreeMap<String, Pack>,
    texts: &Texts,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, Rule> {
    let mut rules = BTreeMap::new();
    for (id, (file, policy)) in &policies.by_id {
        let line = policies.line_of_rule(id);
        let read = read_rule(id, file, policy).map(|rule| Rule { line, ..rule });
        let pack = pack_of(file).and_then(|pack| packs.get(pack));
        let checked = read.and_then(|rule| match pack {
            Some(pack) => pack.adopt(rule),
            None => Ok(rule),
        });
        match checked {
            Ok(rule) => {
                problems.extend(missing_texts(&rule, texts));
                rules.insert(id.clone(), rule);
            }
            Err(reason) => {
                problems.push(Problem::new(file, format!("`{id}`: {reason}")).in_line(line));
            }
        }
    }
    if rules.is_empty() {
        problems.push(Problem::new("policies", "the bundle holds no policy"));
    }
    rules
}

fn missing_frame(texts: &Texts) -> Vec<Problem> {
    let built_in = BUILT_IN.iter().flat_map(|(rule, remedy)| [rule, remedy]);
    let keys = built_in.chain(FRAME).filter(|key| !texts.has(key));
    keys.map(|key| Problem::new(TEXTS, format!("no text `{key}`")))
        .collect()
}

fn read_duties(
    core: Vec<RawDuty>,
    packs: &BTreeMap<String, Pack>,
    files: &BTreeMap<String, String>,
    problems: &mut Vec<Problem>,
) -> Vec<Duty> {
    let mut duties = Vec::new();
    let text = files.get(REFERENCE).map_or("", String::as_str);
    for duty in core {
        let line = line_of(text, &format!("\"{}\"", duty.id));
        match duty.read(REFERENCE, None) {
            Ok(duty) => duties.push(duty),
            Err(reason) => problems.push(Problem::new(REFERENCE, reason).in_line(line)),
        }
    }
    duties.extend(packs.values().flat_map(|pack| pack.duties.iter().cloned()));
    duties
}

/// Ids are unique among rules and duties, and what a duty obliges to can be told.
fn check_duties(duties: &[Duty], rules: &BTreeMap<String, Rule>, texts: &Texts) -> Vec<Problem> {
    let mut seen: BTreeSet<&str> = rules.keys().map(String::as_str).collect();
    let mut problems = Vec::new();
    for duty in duties {
        if !seen.insert(&duty.id) {
            let reason = format!("the id `{}` is used twice", duty.id);
            problems.push(Problem::new(&duty.file, reason));
        }
        for key in missing_notices(&duty.obligations, texts) {
            let reason = format!("duty `{}`: no text `{key}` in `{TEXTS}`", duty.id);
            problems.push(Problem::new(&duty.file, reason));
        }
    }
    problems
}

/// The policies without the permits of packs that the federation does not use. Their guards stay:
/// they can only close.
fn in_use(
    mut policies: PolicySet,
    rules: &BTreeMap<String, Rule>,
    packs: &BTreeMap<String, Pack>,
) -> Result<PolicySet, String> {
    let unused = |rule: &&Rule| {
        let pack = rule.pack.as_deref().and_then(|id| packs.get(id));
        rule.permits && pack.is_some_and(|pack| !pack.active)
    };
    for rule in rules.values().filter(unused) {
        policies
            .remove_static(PolicyId::new(&rule.id))
            .map_err(|e| e.to_string())?;
    }
    Ok(policies)
}

/// The digest of the rules in these files, written in this version of the Cedar language.
pub(crate) fn digest_of(
    files: &BTreeMap<String, String>,
    language: &str,
) -> Result<Digest, canonical::CanonicalError> {
    canonical::digest(&Manifest {
        format: 1,
        cedar_language: language.to_owned(),
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
        consent_method: ConsentMethod,
        agreement_state: AgreementState, capacity: Capacity,
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
