//! One concrete request, as a solver found it, that can be changed and asked of Cedar again.
//!
//! In scope: reading and writing what it says, and what Cedar says of it. Out of scope: which
//! changes make it plainer (`smaller`), its words (`story`).

use crate::{invariants::name_of, world::Prefix};
use cedar_policy::{
    Authorizer, Context, Decision, Entities, EntityUid, PolicySet, Request, Schema,
};
use cedar_policy_symcc::Env;
use passerelle_model::vocabulary::{Category, CategoryKind, LegalBasis, Purpose};
use passerelle_policies::Library;
use serde::Serialize;
use serde_json::{Value, json};
use std::{collections::BTreeSet, str::FromStr};

/// Where a path begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Root {
    Principal,
    Resource,
    Context,
}

/// A request with all that policies see of it, in Cedar's JSON format: `principal`, `action`,
/// `resource`, `context` and `entities` can be given to any Cedar.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Concrete {
    #[serde(serialize_with = "as_text")]
    principal: EntityUid,
    #[serde(serialize_with = "as_text")]
    action: EntityUid,
    #[serde(serialize_with = "as_text")]
    resource: EntityUid,
    context: Value,
    entities: Value,
}

fn as_text<S: serde::Serializer>(uid: &EntityUid, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(uid)
}

impl Concrete {
    pub(crate) fn of(env: &Env) -> Option<Self> {
        Some(Self {
            principal: env.request.principal()?.clone(),
            action: env.request.action()?.clone(),
            resource: env.request.resource()?.clone(),
            context: env.request.context()?.to_json_value().ok()?,
            entities: env.entities.to_json_value().ok()?,
        })
    }

    /// The action's name.
    pub fn action(&self) -> &str {
        name_of(&self.action)
    }

    /// What Cedar says of it: the permits by which it is allowed, or `None` if it is not.
    ///
    /// # Errors
    /// It does not fit the schema, or a policy fails on it.
    pub fn ask(
        &self,
        schema: &Schema,
        policies: &PolicySet,
    ) -> Result<Option<BTreeSet<String>>, String> {
        let text = |e: &dyn std::fmt::Display| e.to_string();
        let context = Context::from_json_value(self.context.clone(), Some((schema, &self.action)))
            .map_err(|e| text(&e))?;
        let request = Request::new(
            self.principal.clone(),
            self.action.clone(),
            self.resource.clone(),
            context,
            Some(schema),
        )
        .map_err(|e| text(&e))?;
        let entities =
            Entities::from_json_value(self.entities.clone(), Some(schema)).map_err(|e| text(&e))?;
        let response = Authorizer::new().is_authorized(&request, policies, &entities);
        let diagnostics = response.diagnostics();
        if let Some(error) = diagnostics.errors().next() {
            return Err(error.to_string());
        }
        let rules = diagnostics.reason().map(ToString::to_string).collect();
        Ok((response.decision() == Decision::Allow).then_some(rules))
    }

    /// What stands at the end of `path`, through entities.
    pub(crate) fn at(&self, root: Root, path: &[&str]) -> Option<&Value> {
        let mut here = match root {
            Root::Principal => self.attributes(&self.principal)?,
            Root::Resource => self.attributes(&self.resource)?,
            Root::Context => &self.context,
        };
        for name in path {
            if let Some(entity) = uid_of(here) {
                here = self.attributes(&entity)?;
            }
            here = here.get(*name)?;
        }
        Some(here)
    }

    /// The id of the entity that stands there.
    pub(crate) fn code(&self, root: Root, path: &[&str]) -> Option<String> {
        uid_of(self.at(root, path)?).map(|uid| name_of(&uid).to_owned())
    }

    pub(crate) fn flag(&self, root: Root, path: &[&str]) -> Option<bool> {
        self.at(root, path)?.as_bool()
    }

    pub(crate) fn number(&self, root: Root, path: &[&str]) -> Option<i64> {
        self.at(root, path)?.as_i64()
    }

    /// The members of the set that stands there.
    pub(crate) fn members(&self, root: Root, path: &[&str]) -> Option<&Vec<Value>> {
        self.at(root, path)?.as_array()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.context.get(name).is_some()
    }

    /// Puts `value` in the place of what stands there; without effect if nothing does.
    pub(crate) fn put(&mut self, root: Root, path: &[&str], value: Value) {
        let Some((last, before)) = path.split_last() else {
            return;
        };
        let home = match root {
            Root::Principal => Some(self.principal.clone()),
            Root::Resource => Some(self.resource.clone()),
            Root::Context => None,
        };
        let owner = if before.is_empty() {
            home.map(|uid| json_of(&uid))
        } else {
            self.at(root, before).cloned()
        };
        let entity = owner.as_ref().and_then(uid_of);
        let place = match (&owner, entity) {
            (_, Some(entity)) => self.attributes_mut(&entity).and_then(|a| a.get_mut(*last)),
            (None, None) => self.context.get_mut(*last),
            // A record inside an entity's attribute, such as an agreement's line.
            (Some(_), None) => {
                let mut copy = owner.clone().unwrap_or_default();
                if let Some(field) = copy.get_mut(*last) {
                    *field = value;
                    self.put(root, before, copy);
                }
                return;
            }
        };
        if let Some(place) = place {
            *place = value;
        }
    }

    pub(crate) fn drop_from_context(&mut self, name: &str) {
        if let Some(context) = self.context.as_object_mut() {
            context.remove(name);
        }
    }

    /// Writes again what follows from the rest: the category's kind, and what the reference data
    /// says.
    pub(crate) fn follow(&mut self, library: &Library, Prefix(prefix): Prefix) {
        let code = self.code(Root::Resource, &["category", "code"]);
        let category = code.and_then(|c| Category::from_str(&c).ok());
        let purpose = self.code(Root::Context, &["purpose"]);
        let purpose = purpose.and_then(|p| Purpose::from_str(&p).ok());
        if let Some(category) = category {
            let kind = CategoryKind::code(category.kind());
            let path = ["category", "kind"];
            self.put(Root::Resource, &path, entity("CategoryKind", kind));
            if let Some(purpose) = purpose {
                let rank = library.highest_level(purpose, category).rank();
                let name = format!("{prefix}max_level");
                self.put(Root::Resource, &[&name], json!(rank));
            }
        }
        let basis = self.code(Root::Context, &["basis", "code"]);
        if let Some(basis) = basis.and_then(|b| LegalBasis::from_str(&b).ok()) {
            let reach = library.emergency_reach(basis);
            let kinds = reach
                .kinds
                .iter()
                .map(|k| entity("EmergencyKind", k.code()));
            let holders = reach.holders.iter().map(|s| entity("Sector", s.code()));
            let recipients = reach.recipients.iter().map(|s| entity("Sector", s.code()));
            let mut set = |name: &str, members: Vec<Value>| {
                let name = format!("{prefix}{name}");
                self.put(Root::Context, &["basis", &name], Value::Array(members));
            };
            set("emergencies", kinds.collect());
            set("holders", holders.collect());
            set("recipients", recipients.collect());
        }
    }

    /// The same to one of two libraries: attributes with `drop` gone, those with `keep` without it.
    pub(crate) fn view(&self, keep: Prefix, drop: Prefix) -> Self {
        let mut seen = self.clone();
        let Some(entities) = seen.entities.as_array_mut() else {
            return seen;
        };
        for entity in entities {
            let Some(attrs) = entity.get_mut("attrs").and_then(Value::as_object_mut) else {
                continue;
            };
            if !drop.0.is_empty() {
                attrs.retain(|name, _| !name.starts_with(drop.0));
            }
            if !keep.0.is_empty() {
                let renamed: Vec<_> = attrs
                    .iter()
                    .filter_map(|(name, value)| {
                        let plain = name.strip_prefix(keep.0)?;
                        Some((name.clone(), plain.to_owned(), value.clone()))
                    })
                    .collect();
                for (name, plain, value) in renamed {
                    attrs.remove(&name);
                    attrs.insert(plain, value);
                }
            }
        }
        seen
    }

    /// The agency that asks, or the one that is asked.
    pub(crate) fn agency(&self, root: Root) -> Option<Value> {
        let name = match root {
            Root::Principal => "agency",
            Root::Resource | Root::Context => "holder",
        };
        let root = match root {
            Root::Context => Root::Resource,
            other => other,
        };
        self.at(root, &[name]).cloned()
    }

    fn attributes(&self, uid: &EntityUid) -> Option<&Value> {
        let entities = self.entities.as_array()?;
        let found = entities.iter().find(|e| is(e, uid))?;
        found.get("attrs")
    }

    fn attributes_mut(&mut self, uid: &EntityUid) -> Option<&mut Value> {
        let entities = self.entities.as_array_mut()?;
        let found = entities.iter_mut().find(|e| is(e, uid))?;
        found.get_mut("attrs")
    }
}

fn is(entity: &Value, uid: &EntityUid) -> bool {
    let name = entity.get("uid");
    let found = name.and_then(|n| uid_of(n).or_else(|| uid_of(&json!({ "__entity": n }))));
    found.as_ref() == Some(uid)
}

/// The entity that this JSON names, if it names one.
pub(crate) fn uid_of(value: &Value) -> Option<EntityUid> {
    let named = value.get("__entity")?;
    let entity_type = named.get("type")?.as_str()?;
    let id = named.get("id")?.as_str()?;
    let entity_type = entity_type.parse().ok()?;
    Some(EntityUid::from_type_name_and_id(
        entity_type,
        cedar_policy::EntityId::new(id),
    ))
}

fn json_of(uid: &EntityUid) -> Value {
    entity(&uid.type_name().to_string(), name_of(uid))
}

/// A name in Cedar's JSON.
pub(crate) fn entity(entity_type: &str, id: &str) -> Value {
    json!({ "__entity": { "type": entity_type, "id": id } })
}
