//! Loading Cedar text strictly: what both the federation's and the holder's policies go through.
//!
//! In scope: parsing, re-keying by `@id`, strict validation. Out of scope: what annotations mean.

pub(crate) use crate::problem::{LoadError, Problem};

use crate::{
    nesting::{Language, too_deep},
    problem::{line_at, line_of},
};
use cedar_policy::{
    ActionConstraint, EntityId, EntityTypeName, EntityUid, Policy, PolicyId, PolicySet, Schema,
    ValidationMode, Validator,
};
use miette::Diagnostic;
use std::{collections::BTreeMap, str::FromStr};

/// Attributes of attributes of the request: agency of the worker, sector of the agency.
const MAX_DEREFERENCE: u32 = 2;

/// Largest policy file, in bytes.
const MAX_FILE_SIZE_BYTES: usize = 256 * 1024;

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
    if let Some(problem) = nested(file, text, Language::Schema) {
        return Err(problem.into());
    }
    let (schema, warnings) = Schema::from_cedarschema_str(text)
        .map_err(|e| Problem::new(file, chain(&e)).in_line(labelled_line(text, &e)))?;
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
    /// The files' texts, to find lines in.
    texts: BTreeMap<String, String>,
}

impl Policies {
    /// Adds the policies of one file. Cedar names them `policy0` and so on, which would name
    /// another policy after every edit: `@id` becomes the name.
    pub(crate) fn add_file(&mut self, file: &str, text: &str) -> Vec<Problem> {
        if text.len() > MAX_FILE_SIZE_BYTES {
            return vec![Problem::new(file, "larger than 256 KiB")];
        }
        if let Some(problem) = nested(file, text, Language::Policies) {
            return vec![problem];
        }
        let parsed = match PolicySet::from_str(text) {
            Ok(parsed) => parsed,
            Err(errors) => {
                let line = labelled_line(text, &errors);
                return vec![Problem::new(file, chain(&errors)).in_line(line)];
            }
        };
        self.texts.insert(file.to_owned(), text.to_owned());
        let mut problems = Vec::new();
        if parsed.num_of_templates() > 0 {
            problems.push(Problem::new(file, "templates are not allowed"));
        }
        for policy in parsed.policies() {
            if let Err(reason) = self.add(file, policy) {
                let line = policy.annotation("id").and_then(|id| id_line(text, id));
                problems.push(Problem::new(file, reason).in_line(line));
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
            .map(|e| self.problem(e.policy_id(), e, &chain(e)));
        let warnings = result
            .validation_warnings()
            .map(|w| self.problem(w.policy_id(), w, &chain(w)));
        let mut problems: Vec<_> = errors.chain(warnings).collect();
        problems.sort();
        if problems.is_empty() && result.validation_passed_without_warnings() {
            Ok(set)
        } else {
            Err(LoadError { problems })
        }
    }

    fn problem(&self, id: &PolicyId, found: &dyn Diagnostic, reason: &str) -> Problem {
        let Some((file, _)) = self.by_id.get(id.to_string().as_str()) else {
            return Problem::new("policies", reason);
        };
        let line = self
            .texts
            .get(file)
            .and_then(|text| labelled_line(text, found));
        Problem::new(file, reason).in_line(line.or_else(|| self.line_of_rule(id.as_ref())))
    }

    /// The line of the `@id` of a rule.
    pub(crate) fn line_of_rule(&self, id: &str) -> Option<usize> {
        let (file, _) = self.by_id.get(id)?;
        id_line(self.texts.get(file)?, id)
    }
}

/// What is nested too deeply for Cedar to read.
fn nested(file: &str, text: &str, language: Language) -> Option<Problem> {
    let (at, reason) = too_deep(text, language)?;
    Some(Problem::new(file, reason).in_line(Some(line_at(text, at))))
}

fn id_line(text: &str, id: &str) -> Option<usize> {
    line_of(text, &format!("@id(\"{id}\")"))
}

/// The line that Cedar points at.
fn labelled_line(text: &str, found: &dyn Diagnostic) -> Option<usize> {
    let label = found.labels()?.next()?;
    Some(line_at(text, label.offset()))
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
pub(crate) fn is_rule_id(id: &str) -> bool {
    (2..=64).contains(&id.len())
        && id
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && !id.starts_with('-')
        && !id.ends_with('-')
}
