//! The holder's own policy: the second key to every door.
//!
//! In scope: what the holder knows of its record and the broker never sees (a specially protected
//! programme, a youth record, danger to a third party), and the agency's own file of rules. Out of
//! scope: the federation's rules (`pdp`), checking permits, reading records.
//!
//! It can only narrow what the permit allows. An agency's file holds `forbid` policies and nothing
//! else, so that no edit of it can open a door.
//!
//! # Three values and a silence
//! As in the federation, answering and answering after review are two Cedar actions, so that a lost
//! permit denies. A denial is "cannot say" unless every rule that forbids is marked
//! `@outcome("decline")`: a wrong or missing mark hides, never reveals.

use crate::{
    cedar::{LoadError, Policies, Problem, parse_schema, type_name, uid},
    library::check_codes,
};
use cedar_policy::{
    Authorizer, Context, Decision, Effect, Entities, Entity, EntityTypeName, PolicySet, Request,
    RestrictedExpression, Schema,
};
use passerelle_model::{
    bytes::Digest,
    canonical,
    records::Agency,
    vocabulary::{Category, Level, Purpose, Sector},
};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

const SCHEMA: (&str, &str) = (
    "schema.cedarschema",
    include_str!("../library/local/schema.cedarschema"),
);
const DEFAULT: (&str, &str) = (
    "default.cedar",
    include_str!("../library/local/default.cedar"),
);
const AGENCY_FILE: &str = "agency.cedar";

/// Rule id when there is no record; the verdict says no more than that nothing can be said.
const NO_RECORD: &str = "local_no_record";
/// Rule id when the evaluation failed.
const LOCAL_ERROR: &str = "local_policy_error";
/// Rule id when nothing forbids and nothing permits.
const LOCAL_NO_RULE: &str = "local_no_rule_permits";

/// What the holder knows of the record that would answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecordFacts {
    /// It stems from a programme whose very name is protected (rule 21).
    pub specially_protected: bool,
    /// It is a youth record (rule 18).
    pub youth_record: bool,
    /// Somebody else could come to harm by the answer.
    pub third_party_at_risk: bool,
    /// Its content is restricted to its owner (rule 22).
    pub restricted: bool,
    /// 0 ordinary, 1 personal, 2 sensitive, 3 and more most sensitive.
    pub sensitivity: u8,
}

/// One item that a permit allows, and the record that would answer it.
#[derive(Clone, Copy, Debug)]
pub struct LocalMatter<'a> {
    /// Who asks.
    pub requester: &'a Agency,
    /// What for.
    pub purpose: Purpose,
    /// Whether the permit is for an emergency.
    pub emergency: bool,
    /// Whether the permit rests on the person's consent: its legal basis is `consent`.
    pub on_consent: bool,
    /// Whether a person here has already agreed to answer.
    pub review_approved: bool,
    /// What about.
    pub category: Category,
    /// How far the permit goes.
    pub level: Level,
    /// The record; `None` if there is none.
    pub record: Option<RecordFacts>,
}

/// What the holder does.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Answers.
    Release,
    /// Puts it before a person first.
    Review,
    /// Says that it declines.
    Decline,
    /// Says nothing: no record, or one that may not be spoken of. Never told apart.
    CannotSay,
}

/// The verdict with its reasons, which stay at the holder.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct LocalRuling {
    /// What the holder does.
    pub verdict: Verdict,
    /// The determining rules. Never empty.
    pub rules: Vec<String>,
}

impl LocalRuling {
    fn cannot_say(rule: &str) -> Self {
        Self {
            verdict: Verdict::CannotSay,
            rules: vec![rule.to_owned()],
        }
    }
}

/// The holder's decision point, loaded once.
pub struct LocalPdp {
    schema: Schema,
    policies: PolicySet,
    declining: BTreeSet<String>,
    names: Names,
    authorizer: Authorizer,
    digest: Digest,
}

#[derive(Clone)]
struct Names {
    action: EntityTypeName,
    agency: EntityTypeName,
    category: EntityTypeName,
    kind: EntityTypeName,
    purpose: EntityTypeName,
    record: EntityTypeName,
    sector: EntityTypeName,
}

impl Names {
    fn new() -> Result<Self, String> {
        Ok(Self {
            action: type_name("Action")?,
            agency: type_name("Agency")?,
            category: type_name("CategoryCode")?,
            kind: type_name("CategoryKind")?,
            purpose: type_name("Purpose")?,
            record: type_name("Record")?,
            sector: type_name("Sector")?,
        })
    }
}

/// Why an evaluation failed; the caller hears "cannot say".
struct Failed;

impl LocalPdp {
    /// The shipped policy alone.
    ///
    /// # Errors
    /// The shipped policy does not pass strict validation.
    pub fn load_default() -> Result<Self, LoadError> {
        Self::load(None)
    }

    /// The shipped policy and the text of the agency's own file.
    ///
    /// # Errors
    /// The file does not parse, holds a permit or a template, has a policy without `@id` or with
    /// one that is taken, an unknown annotation or outcome, or does not pass strict validation.
    pub fn load(agency: Option<&str>) -> Result<Self, LoadError> {
        Self::load_with(DEFAULT.1, agency)
    }

    /// `shipped` stands for the shipped policy: tests change it to see whether a case notices.
    pub(crate) fn load_with(shipped: &str, agency: Option<&str>) -> Result<Self, LoadError> {
        let schema = parse_schema(SCHEMA.0, SCHEMA.1)?;
        let names = Names::new().map_err(|e| LoadError::one(SCHEMA.0, e))?;
        check_vocabulary(&schema, &names).map_err(|e| LoadError::one(SCHEMA.0, e))?;
        let mut policies = Policies::default();
        let mut problems = policies.add_file(DEFAULT.0, shipped);
        if let Some(text) = agency {
            problems.extend(policies.add_file(AGENCY_FILE, text));
        }
        let mut declining = BTreeSet::new();
        for (id, (file, policy)) in &policies.by_id {
            let own = file == AGENCY_FILE;
            match declines(policy, own) {
                Ok(true) => drop(declining.insert(id.clone())),
                Ok(false) => {}
                Err(reason) => problems.push(Problem::new(file, format!("`{id}`: {reason}"))),
            }
        }
        if !problems.is_empty() {
            return Err(LoadError { problems });
        }
        let agency = (AGENCY_FILE, agency.unwrap_or_default());
        let texts = BTreeMap::from([SCHEMA, (DEFAULT.0, shipped), agency]);
        Ok(Self {
            policies: policies.validated(&schema)?,
            schema,
            declining,
            names,
            authorizer: Authorizer::new(),
            digest: canonical::digest(&texts).map_err(|e| LoadError::one(AGENCY_FILE, e))?,
        })
    }

    /// Digest of schema, shipped policy and the agency's file, to stand in the agency's journal.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// What the holder does about one item. Any doubt is "cannot say".
    pub fn rule(&self, matter: &LocalMatter<'_>) -> LocalRuling {
        // Before any rule: what is said of no record must not depend on rules about records.
        let Some(record) = matter.record else {
            return LocalRuling::cannot_say(NO_RECORD);
        };
        self.evaluate(matter, record)
            .unwrap_or_else(|Failed| LocalRuling::cannot_say(LOCAL_ERROR))
    }

    fn evaluate(
        &self,
        matter: &LocalMatter<'_>,
        record: RecordFacts,
    ) -> Result<LocalRuling, Failed> {
        let entities = self.entities(matter, record)?;
        if let (Decision::Allow, rules) = self.ask("answer", matter, &entities)? {
            return Ok(ruling(Verdict::Release, rules));
        }
        let (decision, rules) = self.ask("answer_after_review", matter, &entities)?;
        Ok(match decision {
            Decision::Allow if matter.review_approved => ruling(Verdict::Release, rules),
            Decision::Allow => ruling(Verdict::Review, rules),
            Decision::Deny if rules.is_empty() => LocalRuling::cannot_say(LOCAL_NO_RULE),
            Decision::Deny if rules.is_subset(&self.declining) => ruling(Verdict::Decline, rules),
            Decision::Deny => ruling(Verdict::CannotSay, rules),
        })
    }

    fn ask(
        &self,
        action: &str,
        matter: &LocalMatter<'_>,
        entities: &Entities,
    ) -> Result<(Decision, BTreeSet<String>), Failed> {
        let names = &self.names;
        let context = Context::from_pairs([
            (
                "purpose".to_owned(),
                RestrictedExpression::new_entity_uid(uid(&names.purpose, matter.purpose.code())),
            ),
            (
                "emergency".to_owned(),
                RestrictedExpression::new_bool(matter.emergency),
            ),
            (
                "on_consent".to_owned(),
                RestrictedExpression::new_bool(matter.on_consent),
            ),
        ])
        .map_err(|_| Failed)?;
        let request = Request::new(
            uid(&names.agency, matter.requester.agency.as_str()),
            uid(&names.action, action),
            uid(&names.record, "record"),
            context,
            Some(&self.schema),
        )
        .map_err(|_| Failed)?;
        let response = self
            .authorizer
            .is_authorized(&request, &self.policies, entities);
        if response.diagnostics().errors().next().is_some() {
            return Err(Failed);
        }
        let rules = response.diagnostics().reason().map(ToString::to_string);
        Ok((response.decision(), rules.collect()))
    }

    fn entities(&self, matter: &LocalMatter<'_>, record: RecordFacts) -> Result<Entities, Failed> {
        let names = &self.names;
        let boolean = RestrictedExpression::new_bool;
        let long = RestrictedExpression::new_long;
        let name = RestrictedExpression::new_entity_uid;
        let category = matter.category;
        let requester = HashMap::from(
            [
                (
                    "sector",
                    name(uid(&names.sector, matter.requester.sector().code())),
                ),
                ("active", boolean(matter.requester.active)),
            ]
            .map(|(k, v)| (k.to_owned(), v)),
        );
        let record = HashMap::from(
            [
                ("category", name(uid(&names.category, category.code()))),
                ("kind", name(uid(&names.kind, category.kind().code()))),
                ("level", long(matter.level.rank().into())),
                ("specially_protected", boolean(record.specially_protected)),
                ("youth_record", boolean(record.youth_record)),
                ("third_party_at_risk", boolean(record.third_party_at_risk)),
                ("restricted", boolean(record.restricted)),
                ("sensitivity", long(record.sensitivity.into())),
            ]
            .map(|(k, v)| (k.to_owned(), v)),
        );
        let agency = uid(&names.agency, matter.requester.agency.as_str());
        let all = [
            Entity::new(agency, requester, HashSet::new()),
            Entity::new(uid(&names.record, "record"), record, HashSet::new()),
        ];
        let all: Result<Vec<_>, _> = all.into_iter().collect();
        Entities::from_entities(all.map_err(|_| Failed)?, Some(&self.schema)).map_err(|_| Failed)
    }
}

/// The schema must know every code that a matter may carry, as the federation's must: one that it
/// lacks would make an evaluation fail, and a record be silent, where nobody expects it.
fn check_vocabulary(schema: &Schema, names: &Names) -> Result<(), String> {
    let vocabularies = vec![
        (
            &names.sector,
            Sector::ALL.iter().map(|c| c.code()).collect(),
        ),
        (
            &names.category,
            Category::ALL.iter().map(|c| c.code()).collect(),
        ),
        (
            &names.kind,
            Category::ALL.iter().map(|c| c.kind().code()).collect(),
        ),
        (
            &names.purpose,
            Purpose::ALL.iter().map(|c| c.code()).collect(),
        ),
    ];
    check_codes(schema, vocabularies)
}

/// Whether a denial by this policy may be told. `own`: it is from the agency's file.
fn declines(policy: &cedar_policy::Policy, own: bool) -> Result<bool, String> {
    if own && policy.effect() == Effect::Permit {
        return Err("an agency's own file may only forbid".to_owned());
    }
    let known = ["id", "outcome", "why", "source"];
    if let Some((unknown, _)) = policy.annotations().find(|(k, _)| !known.contains(k)) {
        return Err(format!("unknown annotation `@{unknown}`"));
    }
    match policy.annotation("outcome") {
        None | Some("cannot_say") => Ok(false),
        Some("decline") => Ok(true),
        Some(other) => Err(format!("unknown outcome `{other}`")),
    }
}

fn ruling(verdict: Verdict, rules: BTreeSet<String>) -> LocalRuling {
    LocalRuling {
        verdict,
        rules: rules.into_iter().collect(),
    }
}

#[cfg(test)]
#[path = "local_tests.rs"]
mod tests;
