//! Putting policies together into the sets that a proof speaks of.
//!
//! In scope: building sets. Out of scope: what is proved of them.

use crate::{
    ProveError,
    world::{self, Prefix},
};
use cedar_policy::{
    ActionConstraint, Effect, EntityUid, Policy, PolicyId, PolicySet, Schema, ValidationMode,
    Validator,
};
use passerelle_policies::Library;
use serde_json::Value;
use std::collections::BTreeSet;

/// A policy set of these.
pub(crate) fn of<'a>(
    policies: impl IntoIterator<Item = &'a Policy>,
) -> Result<PolicySet, ProveError> {
    PolicySet::from_policies(policies.into_iter().cloned()).map_err(refused)
}

/// One policy from its text, under this name.
pub(crate) fn parse(id: &str, text: &str) -> Result<Policy, ProveError> {
    Policy::parse(Some(PolicyId::new(id)), text).map_err(refused)
}

/// The policy that permits everything.
pub(crate) fn permit_all() -> Result<Policy, ProveError> {
    parse("permit-all", "permit (principal, action, resource);")
}

/// The policies that forbid what can't be, which must fit the schema: one that does not would
/// leave every question undecided, without a word on why.
pub(crate) fn world(
    libraries: &[(&Library, Prefix)],
    schema: &Schema,
) -> Result<Vec<Policy>, ProveError> {
    let texts = world::policies(libraries);
    let all: Result<Vec<_>, _> = texts.iter().map(|(id, text)| parse(id, text)).collect();
    let all = all?;
    let result = Validator::new(schema.clone()).validate(&of(&all)?, ValidationMode::Strict);
    match result.validation_errors().next() {
        Some(error) => Err(refused(error)),
        None => Ok(all),
    }
}

/// Whether a policy can speak of this action. The schema has no groups of actions.
pub(crate) fn speaks_of(policy: &Policy, action: &EntityUid) -> bool {
    match policy.action_constraint() {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(named) => named == *action,
        ActionConstraint::In(named) => named.contains(action),
    }
}

/// The attributes that a policy reads. `recipients` of a consent are not those of a basis.
pub(crate) fn reads(policy: &Policy) -> Result<BTreeSet<String>, ProveError> {
    let mut found = BTreeSet::new();
    collect(&policy.to_json().map_err(refused)?, &mut found);
    Ok(found)
}

fn collect(json: &Value, found: &mut BTreeSet<String>) {
    if let Some(access) = json.get(".")
        && let Some(attr) = access.get("attr").and_then(Value::as_str)
        && (!attr.ends_with("recipients") || is_of_basis(access))
    {
        found.insert(attr.to_owned());
    }
    match json {
        Value::Object(fields) => fields.values().for_each(|f| collect(f, found)),
        Value::Array(items) => items.iter().for_each(|i| collect(i, found)),
        _ => {}
    }
}

/// Whether an access reads an attribute of the request's basis.
pub(crate) fn is_of_basis(access: &Value) -> bool {
    let left = access.get("left").and_then(|l| l.get("."));
    left.and_then(|l| l.get("attr"))
        .is_some_and(|a| a == "basis")
}

/// A permit of what `policy` speaks of, whichever its effect.
pub(crate) fn as_permit(policy: &Policy) -> Result<Policy, ProveError> {
    if policy.effect() == Effect::Permit {
        return Ok(policy.clone());
    }
    let mut json = policy.to_json().map_err(refused)?;
    if let Some(effect) = json.get_mut("effect") {
        *effect = Value::String("permit".to_owned());
    }
    let turned = Policy::from_json(Some(policy.id().clone()), json).map_err(refused)?;
    if turned.effect() == Effect::Permit {
        Ok(turned)
    } else {
        Err(ProveError::Policy(format!("`{}`", policy.id())))
    }
}

pub(crate) fn refused(error: impl std::fmt::Display) -> ProveError {
    ProveError::Policy(error.to_string())
}
