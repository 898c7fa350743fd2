//! Writes FHIR R4 (4.0.1) Consent.
//!
//! A withdrawal of a part is a nested provision that denies, as FHIR says exceptions; one of the
//! whole, and the end, make the status `inactive`. `Period.end` counts as the instant from which
//! on the consent is over.

use super::{
    ConsentFile, Standing, instant,
    names::{CAPACITIES, CATEGORIES, GIVERS, METHODS, Names, PURPOSES, system_and_value, term},
};
use crate::{
    ids::AgencyId,
    statement::WithdrawalScope,
    vocabulary::{Category, ConsentGiver},
};
use serde_json::{Value, json};

pub(super) const SCOPE: &str = "http://terminology.hl7.org/CodeSystem/consentscope";
pub(super) const ACT_CODE: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";
pub(super) const ACTION: &str = "http://terminology.hl7.org/CodeSystem/consentaction";
pub(super) const PARTICIPATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";

/// Information recipient.
pub(super) const RECIPIENT: &str = "IRCP";
/// Custodian: who holds, and may disclose.
pub(super) const CUSTODIAN: &str = "CST";

pub(super) fn resource(file: &ConsentFile, standing: &Standing) -> Value {
    let names = Names(&file.federation);
    let (system, record) = system_and_value(&file.record, names.consents());
    let at = instant::text(file.given_at);
    let is_over = standing.is_expired || standing.is_withdrawn_whole();
    let mut resource = json!({
        "resourceType": "Consent",
        "extension": extensions(file, standing),
        "identifier": [{"system": system, "value": record}],
        "status": if is_over { "inactive" } else { "active" },
        "scope": {"coding": [{"system": SCOPE, "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": ACT_CODE, "code": "IDSCL"}]}],
        "patient": patient(file),
        "dateTime": at,
        "performer": [performer(file)],
        "organization": [organization(file, &file.recorded_by)],
        "policy": [{
            "authority": names.agency(&file.recorded_by),
            "uri": format!("{}:{}", names.notices(), file.notice_version),
        }],
        "provision": provision(file, standing),
    });
    // FHIR's ids are of letters, digits, `-` and `.`; ours always are.
    if let (super::Identity::Own(id), Some(resource)) = (&file.record, resource.as_object_mut()) {
        resource.insert("id".to_owned(), json!(id.as_str()));
    }
    resource
}

fn extensions(file: &ConsentFile, standing: &Standing) -> Vec<Value> {
    let coded = |name, system: &str, code: &str| json!({"url": term(name), "valueCoding": {"system": system, "code": code}});
    let mut list = vec![
        coded("capacity", CAPACITIES, file.capacity.code()),
        coded("method", METHODS, file.method.code()),
        json!({"url": term("language"), "valueCode": file.language.code()}),
        json!({"url": term("interpreter"), "valueBoolean": file.interpreter}),
        json!({"url": term("redisclosure"), "valueBoolean": file.redisclosure}),
    ];
    if let Some(evidence) = file.evidence {
        list.push(json!({"url": term("evidence"), "valueString": evidence.to_hex()}));
    }
    if standing.is_withdrawn_whole() {
        list.push(json!({"url": term("state"), "valueCode": "withdrawn"}));
    } else if standing.is_expired {
        list.push(json!({"url": term("state"), "valueCode": "expired"}));
    }
    list
}

fn patient(file: &ConsentFile) -> Value {
    let own = Names(&file.federation).handles();
    let (system, value) = system_and_value(&file.subject, own);
    json!({"type": "Patient", "identifier": {"system": system, "value": value}})
}

/// Who gave it: the person, or somebody who is told by the kind alone.
fn performer(file: &ConsentFile) -> Value {
    match file.giver {
        ConsentGiver::Subject => patient(file),
        ConsentGiver::Parent | ConsentGiver::Substitute => json!({
            "type": "RelatedPerson",
            "extension": [{
                "url": term("giver"),
                "valueCoding": {"system": GIVERS, "code": file.giver.code()},
            }],
        }),
    }
}

fn organization(file: &ConsentFile, agency: &AgencyId) -> Value {
    let system = Names(&file.federation).agencies();
    json!({"type": "Organization", "identifier": {"system": system, "value": agency.as_str()}})
}

fn actor(file: &ConsentFile, role: &str, agency: &AgencyId) -> Value {
    json!({
        "role": {"coding": [{"system": PARTICIPATION, "code": role}]},
        "reference": organization(file, agency),
    })
}

fn category(category: Category) -> Value {
    json!({"coding": [{"system": CATEGORIES, "code": category.code()}]})
}

fn provision(file: &ConsentFile, standing: &Standing) -> Value {
    let recipients = file.recipients.iter().map(|a| actor(file, RECIPIENT, a));
    let disclosers = file.disclosers.iter().map(|a| actor(file, CUSTODIAN, a));
    let purposes = file.purposes.iter();
    let purposes = purposes.map(|p| json!({"system": PURPOSES, "code": p.code()}));
    let mut provision = json!({
        "type": "permit",
        "period": {
            "start": instant::text(file.given_at),
            "end": instant::text(file.expires_at),
        },
        "actor": recipients.chain(disclosers).collect::<Vec<_>>(),
        "action": [{"coding": [{"system": ACTION, "code": "disclose"}]}],
        "purpose": purposes.collect::<Vec<_>>(),
        "code": file.categories.iter().copied().map(category).collect::<Vec<_>>(),
    });
    let parts = standing.withdrawn.iter().filter_map(|scope| match scope {
        WithdrawalScope::All => None,
        WithdrawalScope::Recipient(agency) => {
            Some(json!({"type": "deny", "actor": [actor(file, RECIPIENT, agency)]}))
        }
        WithdrawalScope::Category(code) => Some(json!({"type": "deny", "code": [category(*code)]})),
    });
    let parts: Vec<_> = parts.collect();
    if let (false, Some(provision)) = (parts.is_empty(), provision.as_object_mut()) {
        provision.insert("provision".to_owned(), Value::Array(parts));
    }
    provision
}
