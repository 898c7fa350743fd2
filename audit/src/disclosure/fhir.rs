//! FHIR R4 AuditEvent (4.0.1) in the pattern of IHE BALP 1.1, PrivacyDisclosure at source and at
//! recipient.
//!
//! A disclosure gives an event of the source (DCM 110106, Export), recorded by it, and, once the
//! recipient has confirmed the delivery, one of the recipient (DCM 110107, Import). What was not
//! disclosed (denied, stopped, expired, declined, refused) gives one event, without the subtype
//! `disclose`; an exchange that is still open gives none.
//!
//! A resource names a profile only if it has all that the profile wants: the profiles demand a
//! patient, and an export says only of some exchanges who that is. The patient is a logical
//! reference by pseudonym, never a name.

use super::{Disclosure, Log, Outcome, Step, effect_code};
use passerelle_model::{ids::AgencyId, vocabulary::Purpose};
use serde_json::{Value, json};

const DCM: &str = "http://dicom.nema.org/resources/ontology/DCM";
const LIFECYCLE: &str = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle";
const ACT_REASON: &str = "http://terminology.hl7.org/CodeSystem/v3-ActReason";
const ENTITY_TYPE: &str = "http://terminology.hl7.org/CodeSystem/audit-entity-type";
const OBJECT_ROLE: &str = "http://terminology.hl7.org/CodeSystem/object-role";
const SOURCE_TYPE: &str = "http://terminology.hl7.org/CodeSystem/security-source-type";
const SNOMED: &str = "http://snomed.info/sct";
const PROFILE: &str = "https://profiles.ihe.net/ITI/BALP/StructureDefinition";

/// The role of the recipient (DCM).
const DESTINATION: &str = "110152";

/// Code systems of the project's own vocabularies.
const PURPOSES: &str = "urn:passerelle:purpose";
const OUTCOMES: &str = "urn:passerelle:outcome";

/// Which side's record an event is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Source,
    Recipient,
    /// The broker's: nothing crossed.
    Broker,
}

impl Side {
    /// Sets the two events apart where one entry is all that tells of both.
    const fn code(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Recipient => "recipient",
            Self::Broker => "broker",
        }
    }
}

/// The events of one exchange: none, one or two.
pub(super) fn events(log: &Log, row: &Disclosure) -> Vec<Value> {
    match row.outcome {
        Outcome::Open => Vec::new(),
        Outcome::Refused => vec![refused(log, row)],
        Outcome::Answered | Outcome::Released => {
            let left = row.steps.answered.unwrap_or(row.settled);
            let source = event(log, row, Side::Source, left);
            let arrived = row.steps.delivered;
            let arrived = arrived.map(|step| event(log, row, Side::Recipient, step));
            std::iter::once(source).chain(arrived).collect()
        }
        Outcome::Declined
        | Outcome::CannotSay
        | Outcome::Denied
        | Outcome::Stopped
        | Outcome::Expired => vec![event(log, row, Side::Broker, row.settled)],
    }
}

fn event(log: &Log, row: &Disclosure, side: Side, step: Step) -> Value {
    let (kind, display, action, profile) = match side {
        Side::Source | Side::Broker => ("110106", "Export", "R", "Source"),
        Side::Recipient => ("110107", "Import", "C", "Recipient"),
    };
    let observer = match side {
        Side::Source => who(log, row.source.as_ref()),
        Side::Recipient => who(log, row.recipient.as_ref()),
        Side::Broker => the_log(log),
    };
    let outcome = json!({"system": OUTCOMES, "code": row.outcome.code()});
    let disclose = json!({
        "system": LIFECYCLE,
        "code": "disclose",
        "display": "Disclose Record Lifecycle Event",
    });
    let subtype = if side == Side::Broker {
        vec![outcome]
    } else {
        vec![disclose, outcome]
    };
    let mut event = json!({
        "resourceType": "AuditEvent",
        "id": format!("{}-{}", id(step), side.code()),
        "type": {"system": DCM, "code": kind, "display": display},
        "subtype": subtype,
        "action": action,
        "recorded": step.at.to_rfc3339(),
        "outcome": if side == Side::Broker { "4" } else { "0" },
        "outcomeDesc": description(row.outcome),
        "agent": agents(log, row),
        "source": source(log, observer),
        "entity": entities(log, row, step),
    });
    if let (Some(purpose), Some(event)) = (row.purpose, event.as_object_mut()) {
        event.insert("purposeOfEvent".to_owned(), json!([purpose_of(purpose)]));
    }
    let fits = row.person.is_some() && row.source.is_some() && row.recipient.is_some();
    let profile = format!("{PROFILE}/IHE.BasicAudit.PrivacyDisclosure.{profile}");
    set_meta(
        &mut event,
        (fits && side != Side::Broker).then_some(profile),
        row.purpose,
    );
    event
}

/// A statement that never became part of anything: what it was about is not known.
fn refused(log: &Log, row: &Disclosure) -> Value {
    let mut outcome = json!({"system": OUTCOMES, "code": row.outcome.code()});
    if let (Some(reason), Some(outcome)) = (row.reason, outcome.as_object_mut()) {
        outcome.insert("display".to_owned(), json!(reason));
    }
    json!({
        "resourceType": "AuditEvent",
        "id": id(row.settled),
        "type": {"system": DCM, "code": "110113", "display": "Security Alert"},
        "subtype": [outcome],
        "action": "E",
        "recorded": row.settled.at.to_rfc3339(),
        "outcome": "8",
        "outcomeDesc": description(row.outcome),
        "agent": [{"who": who(log, row.recipient.as_ref()), "requestor": true}],
        "source": source(log, the_log(log)),
        "entity": [entry(log, row, row.settled)],
    })
}

fn id(step: Step) -> String {
    let leaf = step.leaf_hash.to_hex();
    let (leaf, _) = leaf.split_at_checked(32).unwrap_or((&leaf, ""));
    format!("{}-{leaf}", step.index)
}

const fn description(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Open => "not settled",
        Outcome::Answered => "answered; whether facts were released is sealed",
        Outcome::Released => "answered with facts",
        Outcome::Declined => "declined by the holder; nothing was disclosed",
        Outcome::CannotSay => "answered that the holder can't say; nothing was disclosed",
        Outcome::Denied => "denied by policy; nothing was disclosed",
        Outcome::Stopped => "stopped before an answer; nothing was disclosed",
        Outcome::Expired => "not answered in time; nothing was disclosed",
        Outcome::Refused => "a statement was refused; nothing was done",
    }
}

fn set_meta(event: &mut Value, profile: Option<String>, purpose: Option<Purpose>) {
    let mut meta = serde_json::Map::new();
    if let Some(profile) = profile {
        meta.insert("profile".to_owned(), json!([profile]));
    }
    if purpose == Some(Purpose::Exercise) {
        let label = json!([{"system": ACT_REASON, "code": "HTEST"}]);
        meta.insert("security".to_owned(), label);
    }
    if let (false, Some(event)) = (meta.is_empty(), event.as_object_mut()) {
        event.insert("meta".to_owned(), Value::Object(meta));
    }
}

/// The project's own code, and HL7's where one means the same. Most have none.
fn purpose_of(purpose: Purpose) -> Value {
    let own = json!({"system": PURPOSES, "code": purpose.code()});
    let coding = match purpose {
        Purpose::RightsRequest => vec![own, json!({"system": ACT_REASON, "code": "PATRQT"})],
        Purpose::Screen
        | Purpose::Threshold
        | Purpose::IdentifyInvolved
        | Purpose::Plan
        | Purpose::Deliver
        | Purpose::FollowUp
        | Purpose::Emergency
        | Purpose::Audit
        | Purpose::Evaluate
        | Purpose::Exercise
        | Purpose::CriminalInvestigation
        | Purpose::ImmigrationEnforcement
        | Purpose::Media => vec![own],
    };
    json!({"coding": coding})
}

fn agency_system(log: &Log) -> String {
    format!("urn:passerelle:{}:agency", log.federation)
}

fn who(log: &Log, agency: Option<&AgencyId>) -> Value {
    match agency {
        Some(agency) => json!({
            "type": "Organization",
            "identifier": {"system": agency_system(log), "value": agency.as_str()},
            "display": agency.as_str(),
        }),
        None => json!({"display": "not readable in this export"}),
    }
}

fn the_log(log: &Log) -> Value {
    let system = format!("urn:passerelle:{}:log", log.federation);
    json!({
        "type": "Device",
        "identifier": {"system": system, "value": log.origin},
        "display": log.origin,
    })
}

fn source(log: &Log, observer: Value) -> Value {
    json!({
        "site": log.origin,
        "observer": observer,
        "type": [{"system": SOURCE_TYPE, "code": "4", "display": "Application Server"}],
    })
}

/// Source, recipient, and the custodian, which is the source again: a holder answers for its own
/// records.
fn agents(log: &Log, row: &Disclosure) -> Vec<Value> {
    let purpose = row.purpose.map(|purpose| json!([purpose_of(purpose)]));
    let agent = |system: &str, code: &str, display: &str, agency: Option<&AgencyId>| {
        let mut agent = json!({
            "type": {"coding": [{"system": system, "code": code, "display": display}]},
            "who": who(log, agency),
            // The recipient asked: that is what sets an exchange off.
            "requestor": code == DESTINATION,
        });
        if let Some(agent) = agent.as_object_mut() {
            let uri = |name| format!("{}:{name}", agency_system(log));
            let network = agency.map(|name| json!({"address": uri(name), "type": "5"}));
            agent.extend(network.map(|network| ("network".to_owned(), network)));
            let purpose = purpose.clone();
            agent.extend(purpose.map(|purpose| ("purposeOfUse".to_owned(), purpose)));
        }
        agent
    };
    let (source, recipient) = (row.source.as_ref(), row.recipient.as_ref());
    let custodian = "Record keeping/library clerk";
    vec![
        agent(DCM, "110153", "Source Role ID", source),
        agent(DCM, DESTINATION, "Destination Role ID", recipient),
        agent(SNOMED, "159541003", custodian, source),
    ]
}

fn entities(log: &Log, row: &Disclosure, step: Step) -> Vec<Value> {
    let patient = row.person.map(|person| {
        let system = format!("urn:passerelle:{}:handle", log.federation);
        json!({
            "what": {
                "type": "Patient",
                "identifier": {"system": system, "value": person.handle.to_hex()},
            },
            "type": {"system": ENTITY_TYPE, "code": "1", "display": "Person"},
            "role": {"system": OBJECT_ROLE, "code": "1", "display": "Patient"},
        })
    });
    patient.into_iter().chain([entry(log, row, step)]).collect()
}

/// The entry of the log that proves the event, and what it and those before it say.
fn entry(log: &Log, row: &Disclosure, step: Step) -> Value {
    let system = format!("urn:passerelle:{}:log-entry", log.federation);
    let mut details = vec![("leaf_hash", step.leaf_hash.to_hex())];
    let mut add = |kind: &'static str, value: Option<String>| {
        details.extend(value.map(|value| (kind, value)));
    };
    add("request", row.request.as_ref().map(ToString::to_string));
    for item in &row.items {
        let effect = item.effect.map_or("undecided", effect_code);
        add(
            "item",
            Some(format!("{}:{}:{effect}", item.category, item.level)),
        );
    }
    for rule in row.rules() {
        // FHIR has no empty strings.
        add(
            "rule",
            Some(rule.to_owned()).filter(|rule| !rule.trim().is_empty()),
        );
    }
    add(
        "legal_basis",
        row.basis.map(|basis| basis.code().to_owned()),
    );
    for consent in &row.consents {
        add("consent", Some(consent.to_string()));
    }
    for agreement in &row.agreements {
        add("agreement", Some(agreement.to_string()));
    }
    add("case", row.case.as_ref().map(ToString::to_string));
    add(
        "emergency",
        row.emergency.map(|kind| kind.code().to_owned()),
    );
    add("worker_role", row.role.map(|role| role.code().to_owned()));
    add(
        "worker_commitment",
        row.worker_commitment.map(|c| c.to_hex()),
    );
    add("reason", row.reason.map(str::to_owned));
    let details: Vec<Value> = details
        .into_iter()
        .map(|(kind, value)| json!({"type": kind, "valueString": value}))
        .collect();
    json!({
        "what": {"identifier": {"system": system, "value": step.index.to_string()}},
        "type": {"system": ENTITY_TYPE, "code": "2", "display": "System Object"},
        "role": {"system": OBJECT_ROLE, "code": "3", "display": "Report"},
        "name": format!("entry {} of {}", step.index, log.origin),
        "detail": details,
    })
}
