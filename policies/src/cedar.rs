//! Loading Cedar text strictly: what both the federation's and the holder's policies go through.
//!
//! In scope: parsing, re-keying by `@id`, strict validation. Out of scope: what annotations mean.

use cedar_policy::{
    ActionConstraint, EntityId, EntityTypeName, EntityUid, Policy, PolicyId, PolicySet, Schema,
    ValidationMode, Validator,
};
use std::{collections::BTreeMap, fmt, str::FromStr};

/// Attributes of attributes of the request: agency of the worker, sector of the agency.
const MAX_DEREFERENCE: u32 = 2;

/// Largest policy file, in bytes.
const MAX_FILE_SIZE_BYTES: usize = 256 * 1024;

/// What is wrong with one file of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file's path in the bundle.
    pub file: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Problem {
    pub(crate) fn new(file: &str, reason: impl fmt::Display) -> Self {
        Self {
            file: file.to_owned(),
            reason: reason.to_string(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.file, self.reason)
    }
}

/// A bundle that is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("policies refused: {}", join(.problems))]
pub struct LoadError {
    /// All that is wrong with it. Never empty.
    pub problems: Vec<Problem>,
}

impl LoadError {
    pub(crate) fn one(file: &str, reason: impl fmt::Display) -> Self {
        Self {
            problems: vec![Problem::new(file, reason)],
        }
    }
}

fn join(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

/// An entity's name.
pub(crate) fn uid(entity_type: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(entity_type.clone(), EntityId::new(id))
}

/// An entity type's name.
pub(crate) fn type_name(name: &str) -> Result<EntityTypeName, String> {
    EntityTypeName::from_str(name).map_err(|e| e.to_string())
}

/// Parses a schema; a warning is an error.
pub(crate) fn parse_schema(file: &str, text: &str) -> Result<Schema, LoadError> {
    let (schema, warnings) =
        Schema::from_cedarschema_str(text).map_err(|e| LoadError::one(file, chain(&e)))?;
    let problems: Vec<_> = warnings.map(|w| Problem::new(file, w)).collect();
    if problems.is_empty() {
        Ok(schema)
    } else {
        Err(LoadError { problems })
    }
}

/// Policies named by their `@id`, with the file that each is from.
#[derive(Default)]
pub(crate) struct Policies {
    pub(crate) by_id: BTreeMap<String, (String, Policy)>,
}

impl Policies {
    /// Adds the policies of one file. Cedar names them `policy0` and so on, which would name
    /// another policy after every edit: `@id` becomes the name.
    pub(crate) fn add_file(&mut self, file: &str, text: &str) -> Vec<Problem> {
        if text.len() > MAX_FILE_SIZE_BYTES {
            return vec![Problem::new(file, "larger than 256 KiB")];
        }
        let parsed = match PolicySet::from_str(text) {
            Ok(parsed) => parsed,
            Err(errors) => return vec![Problem::new(file, chain(&errors))],
        };
        let mut problems = Vec::new();
        if parsed.num_of_templates() > 0 {
            problems.push(Problem::new(file, "templates are not allowed"));
        }
        for policy in parsed.policies() {
            if let Err(reason) = self.add(file, policy) {
                problems.push(Problem::new(file, reason));
            }
        }
        problems
    }

    fn add(&mut self, file: &str, policy: &Policy) -> Result<(), String> {
        let id = policy
            .annotation("id")
            .ok_or_else(|| format!("a policy has no `@id`: `{}`", first_line(policy)))?;
        if !is_rule_id(id) {
            return Err(format!(
                "`@id` of `{id}` is not lower-case words with hyphens"
            ));
        }
        // A permit that names no action would open them all, the strongest included.
        let names_action = matches!(policy.action_constraint(), ActionConstraint::Eq(_));
        if policy.effect() == cedar_policy::Effect::Permit && !names_action {
            return Err(format!("permit `{id}` does not name one action"));
        }
        if self.by_id.contains_key(id) {
            return Err(format!("`@id` `{id}` is used twice"));
        }
        let renamed = policy.new_id(PolicyId::new(id));
        self.by_id.insert(id.to_owned(), (file.to_owned(), renamed));
        Ok(())
    }

    /// The set, once it passes strict validation without a warning.
    pub(crate) fn validated(&self, schema: &Schema) -> Result<PolicySet, LoadError> {
        let set = PolicySet::from_policies(self.by_id.values().map(|(_, p)| p.clone()))
            .map_err(|e| LoadError::one("policies", chain(&e)))?;
        let result = Validator::new(schema.clone()).validate_with_level(
            &set,
            ValidationMode::Strict,
            MAX_DEREFERENCE,
        );
        let errors = result
            .validation_errors()
            .map(|e| self.problem(e.policy_id(), &chain(e)));
        let warnings = result
            .validation_warnings()
            .map(|w| self.problem(w.policy_id(), &chain(w)));
        let mut problems: Vec<_> = errors.chain(warnings).collect();
        problems.sort();
        if problems.is_empty() && result.validation_passed_without_warnings() {
            Ok(set)
        } else {
            Err(LoadError { problems })
        }
    }

    fn problem(&self, id: &PolicyId, reason: &str) -> Problem {
        let file = self.by_id.get(id.to_string().as_str());
        Problem::new(file.map_or("policies", |(file, _)| file), reason)
    }
}

/// The error with its causes: Cedar's outermost message alone often says little.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

fn first_line(policy: &Policy) -> String {
    let text = policy.to_string();
    text.lines().next().unwrap_or_default().to_owned()
}

/// Lower-case words with hyphens. Built-in denials use underscores, so the two can't collide.
fn is_rule_id(id: &str) -> bool {
    (2..=64).contains(&id.len())
        && id
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && !id.starts_with('-')
        && !id.ends_with('-')
}
