//! Whether one library permits more than another.
//!
//! In scope: a proof for each action, and the plainest request that one permits and the other does
//! not. Out of scope: obligations, texts, which rule is the reason.
//!
//! The two may differ in policies, in reference data and in the words of the schema. Each sees its
//! own reference data: the older one's policies are made to read attributes of their own, which
//! the world fills from its reference data.

use crate::{
    ProveError,
    check::plain_story,
    invariants::{action_of, environments},
    request::Concrete,
    sets,
    solver::{Set, Solver, Verdict},
    story::Story,
    world::{PLAIN, Prefix},
};
use cedar_policy::{Policy, PolicyId, Schema, SchemaFragment, ValidationMode, Validator};
use passerelle_policies::Library;
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;

/// The attributes of the reference data as the older library has it.
const OLD: Prefix = Prefix("old_");

/// The attributes that the reference data fills, with the entity that has them.
const REFERENCE: [(&str, &str); 4] = [
    ("Item", "max_level"),
    ("Basis", "emergencies"),
    ("Basis", "holders"),
    ("Basis", "recipients"),
];

/// What came of one direction.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Side {
    /// Nothing more is permitted.
    Proved,
    /// This is.
    More {
        /// The plainest request found; `None` if the solver's could not be shown.
        story: Option<Box<Story>>,
    },
    /// Not known.
    Undecided {
        /// Why.
        reason: String,
    },
}

/// How two libraries differ in one action.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// The action.
    pub action: String,
    /// What the newer one permits and the older one does not.
    pub looser: Side,
    /// What the older one permits and the newer one does not.
    pub tighter: Side,
}

impl Difference {
    /// Whether it is proved that the newer one permits no more.
    pub const fn is_no_looser(&self) -> bool {
        matches!(self.looser, Side::Proved)
    }
}

struct Pair<'a> {
    schema: Schema,
    old: (&'a Library, Arc<Set>, Arc<Set>),
    new: (&'a Library, Arc<Set>, Arc<Set>),
}

/// Compares `new` with `old`, action by action.
///
/// # Errors
/// No solver, or the older policies do not fit the newer schema.
pub fn diff(
    old: (&Library, &str),
    new: (&Library, &str),
    solver: &Solver,
) -> Result<Vec<Difference>, ProveError> {
    let pair = Pair::new(old, new)?;
    let jobs: Vec<_> = environments(new.0)
        .into_iter()
        .flat_map(|env| [(env.clone(), true), (env, false)])
        .collect();
    let mut sides = solver
        .run(&jobs, |session, (env, looser)| {
            let (premise, conclusion) = pair.direction(*looser);
            let sets = (premise.as_ref(), conclusion.as_ref());
            match session.implies(&pair.schema, env, sets, true) {
                Verdict::Holds => Side::Proved,
                Verdict::Undecided(reason) => Side::Undecided { reason },
                Verdict::Refuted(found) => Side::More {
                    story: found.and_then(|found| pair.story(Concrete::of(&found)?, *looser)),
                },
            }
        })?
        .into_iter();
    let mut differences = Vec::new();
    for (env, _) in jobs.iter().filter(|(_, looser)| *looser) {
        if let (Some(looser), Some(tighter)) = (sides.next(), sides.next()) {
            differences.push(Difference {
                action: action_of(env).to_owned(),
                looser,
                tighter,
            });
        }
    }
    Ok(differences)
}

impl<'a> Pair<'a> {
    fn new(old: (&'a Library, &str), new: (&'a Library, &str)) -> Result<Self, ProveError> {
        let schema = wider_schema(new.1)?;
        let world = sets::world(&[(new.0, PLAIN), (old.0, OLD)], &schema)?;
        let aside: Result<Vec<_>, _> = old.0.policies().policies().map(read_old).collect();
        let aside = aside?;
        let old_set = sets::of(&aside)?;
        // A code or an attribute that only the older schema knows.
        let result = Validator::new(schema.clone()).validate(&old_set, ValidationMode::Strict);
        if let Some(error) = result.validation_errors().next() {
            return Err(ProveError::Incomparable(error.to_string()));
        }
        let known = |library| -> Vec<String> {
            environments(library)
                .iter()
                .map(|e| e.action().to_string())
                .collect()
        };
        if known(old.0) != known(new.0) {
            return Err(ProveError::Incomparable(
                "they have other actions".to_owned(),
            ));
        }
        let live = |policies: Vec<&Policy>| -> Result<_, ProveError> {
            let alone = Set::new(sets::of(policies.iter().copied())?)?;
            let live = sets::of(policies.into_iter().chain(&world))?;
            Ok((Set::new(live)?, alone))
        };
        let (old_live, old_alone) = live(aside.iter().collect())?;
        let (new_live, new_alone) = live(new.0.policies().policies().collect())?;
        Ok(Self {
            schema,
            old: (old.0, old_live, old_alone),
            new: (new.0, new_live, new_alone),
        })
    }

    fn direction(&self, looser: bool) -> (&Arc<Set>, &Arc<Set>) {
        if looser {
            (&self.new.1, &self.old.2)
        } else {
            (&self.old.1, &self.new.2)
        }
    }

    fn story(&self, request: Concrete, looser: bool) -> Option<Box<Story>> {
        let (premise, conclusion) = self.direction(looser);
        let follow = |request: &mut Concrete| {
            request.follow(self.new.0, PLAIN);
            request.follow(self.old.0, OLD);
        };
        let sets = (&premise.policies, &conclusion.policies);
        let story = plain_story(request, &self.schema, sets, &follow)?;
        // In words as the library sees it that permits it.
        let seen = if looser {
            story.request.view(PLAIN, OLD)
        } else {
            story.request.view(OLD, PLAIN)
        };
        Some(Box::new(Story::new(seen, story.rules)))
    }
}

/// The newer schema, with room for the older reference data.
fn wider_schema(text: &str) -> Result<Schema, ProveError> {
    let (fragment, _) = SchemaFragment::from_cedarschema_str(text).map_err(sets::refused)?;
    let mut json = fragment.to_json_value().map_err(sets::refused)?;
    for (entity, name) in REFERENCE {
        let path = format!("/entityTypes/{entity}/shape/attributes");
        let spaces = json.as_object_mut().into_iter().flatten();
        let mut attributes = spaces.filter_map(|(_, space)| space.pointer_mut(&path));
        if let Some(attributes) = attributes.next().and_then(Value::as_object_mut)
            && let Some(kind) = attributes.get(name).cloned()
        {
            attributes.insert(format!("{}{name}", OLD.0), kind);
        } else {
            let reason = format!("the schema has no `{name}` of `{entity}`");
            return Err(ProveError::Incomparable(reason));
        }
    }
    Schema::from_json_value(json).map_err(sets::refused)
}

/// The policy as it reads the older reference data.
fn read_old(policy: &Policy) -> Result<Policy, ProveError> {
    let mut json = policy.to_json().map_err(sets::refused)?;
    rename(&mut json);
    Policy::from_json(Some(PolicyId::new(policy.id())), json).map_err(sets::refused)
}

/// `resource.max_level` and what stands after `.basis` get the prefix. Nothing else of that name
/// does: a consent has recipients too.
fn rename(json: &mut Value) {
    if let Some(access) = json.get_mut(".") {
        let left = access.get("left");
        let of_resource = left
            .and_then(|l| l.get("Var"))
            .is_some_and(|v| v == "resource");
        let of_basis = sets::is_of_basis(access);
        if let Some(Value::String(attr)) = access.get_mut("attr") {
            let mut known = REFERENCE.iter().filter(|(_, name)| *name == attr.as_str());
            if known.any(|(entity, _)| match *entity {
                "Item" => of_resource,
                _ => of_basis,
            }) {
                attr.insert_str(0, OLD.0);
            }
        }
    }
    match json {
        Value::Object(fields) => fields.values_mut().for_each(rename),
        Value::Array(items) => items.iter_mut().for_each(rename),
        _ => {}
    }
}
