//! OCSF API Activity (class 6003): one event per exchange or refused statement.
//!
//! The actor is the agency that asked, the service the one that was asked; what OCSF has no field
//! for (purpose, basis, consents) stands under `unmapped`.

use super::{Disclosure, Log, Outcome, effect_code};
use serde_json::{Map, Value, json};

/// The version of the schema that events follow.
pub const OCSF_VERSION: &str = "1.8.0";

const CATEGORY: u64 = 6;
const CLASS: u64 = 6003;
/// Reading is what a request for facts is.
const READ: u64 = 2;

/// Where the schema wants a name and the export has none. No agency can be called so.
const UNREADABLE: &str = "(not readable in this export)";

/// OCSF's code and caption of severity.
const fn severity(outcome: Outcome) -> (u64, &'static str) {
    match outcome {
        Outcome::Refused => (3, "Medium"),
        Outcome::Denied | Outcome::Stopped | Outcome::Expired => (2, "Low"),
        Outcome::Open
        | Outcome::Answered
        | Outcome::Released
        | Outcome::Declined
        | Outcome::CannotSay => (1, "Informational"),
    }
}

/// OCSF's code and caption of status.
const fn status(outcome: Outcome) -> (u64, &'static str) {
    match outcome {
        Outcome::Open => (0, "Unknown"),
        Outcome::Answered | Outcome::Released | Outcome::Declined | Outcome::CannotSay => {
            (1, "Success")
        }
        Outcome::Denied | Outcome::Stopped | Outcome::Expired | Outcome::Refused => (2, "Failure"),
    }
}

/// The event.
pub(super) fn event(log: &Log, row: &Disclosure) -> Value {
    let (severity_id, severity) = severity(row.outcome);
    let (status_id, status) = status(row.outcome);
    let recipient = row.recipient.as_ref().map_or(UNREADABLE, |a| a.as_str());
    let source = row.source.as_ref().map(|a| a.as_str());
    let operation = match row.outcome {
        Outcome::Refused => "statement",
        _ => "request",
    };
    let mut api = json!({
        "operation": operation,
        "response": {"message": row.outcome.code(), "error": row.reason},
    });
    let mut event = json!({
        "activity_id": READ,
        "activity_name": "Read",
        "category_uid": CATEGORY,
        "category_name": "Application Activity",
        "class_uid": CLASS,
        "class_name": "API Activity",
        "type_uid": CLASS * 100 + READ,
        "type_name": "API Activity: Read",
        "severity_id": severity_id,
        "severity": severity,
        "status_id": status_id,
        "status": status,
        "status_code": row.outcome.code(),
        "status_detail": row.reason,
        "time": row.settled.at.0,
        "start_time": row.steps.requested.map(|step| step.at.0),
        "metadata": {
            "version": OCSF_VERSION,
            "product": {
                "name": "Passerelle",
                "vendor_name": "Passerelle",
                "version": env!("CARGO_PKG_VERSION"),
            },
            "uid": row.settled.leaf_hash.to_hex(),
            "log_name": log.origin,
            "sequence": row.settled.index,
        },
        "actor": actor(row, recipient),
        "src_endpoint": {"name": recipient},
        "resources": resources(row),
        "unmapped": unmapped(log, row),
    });
    if let Some(api) = api.as_object_mut() {
        if let Some(request) = &row.request {
            api.insert("request".to_owned(), json!({"uid": request}));
        }
        if let Some(source) = source {
            api.insert("service".to_owned(), json!({"name": source}));
        }
    }
    if let Some(event) = event.as_object_mut() {
        event.insert("api".to_owned(), api);
        if let Some(source) = source {
            event.insert("dst_endpoint".to_owned(), json!({"name": source}));
        }
    }
    without_nulls(&mut event);
    event
}

/// The worker by commitment, who is a user of the agency.
fn actor(row: &Disclosure, recipient: &str) -> Value {
    let user = row.worker_commitment.map(|commitment| {
        json!({
            "uid": commitment.to_hex(),
            "name": row.worker,
            "type_id": 1,
            "type": "User",
            "org": {"name": recipient},
            "groups": row.role.map(|role| json!([{"name": role.code()}])),
        })
    });
    json!({"app_name": recipient, "user": user})
}

fn resources(row: &Disclosure) -> Option<Vec<Value>> {
    let resource = |item: &super::Asked| {
        json!({
            "type": "category",
            "name": item.category.code(),
            "data": {
                "level": item.level.code(),
                "effect": item.effect.map(effect_code),
                "rules": item.rules,
            },
        })
    };
    let resources: Vec<Value> = row.items.iter().map(resource).collect();
    (!resources.is_empty()).then_some(resources)
}

fn unmapped(log: &Log, row: &Disclosure) -> Value {
    json!({
        "federation": log.federation,
        "purpose": row.purpose,
        "legal_basis": row.basis,
        "consents": row.consents,
        "agreements": row.agreements,
        "case": row.case,
        "emergency": row.emergency,
        "person": row.person,
        "steps": row.steps,
    })
}

/// OCSF leaves out what is absent.
fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => drop_nulls(fields),
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn drop_nulls(fields: &mut Map<String, Value>) {
    fields.retain(|_, value| !value.is_null());
    fields.values_mut().for_each(without_nulls);
}
