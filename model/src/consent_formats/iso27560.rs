//! Writes the consent record of ISO/IEC TS 27560:2023 as JSON-LD, as the W3C community group's guide
//! maps it to the Data Privacy Vocabulary (DPV 2.3, profile `dpv-27560#record`).
//!
//! The context is in the document: nothing has to be fetched to read it. Codes of the project are
//! IRIs under `urn:passerelle:`, each with a broader term of DPV where there is one.

use super::{
    ConsentFile, Standing, Surroundings, instant,
    names::{CAPACITIES, CATEGORIES, GIVERS, METHODS, Names, PURPOSES, code, system_and_value},
};
use crate::{
    statement::WithdrawalScope,
    vocabulary::{Category, CategoryKind, ConsentGiver, Purpose},
};
use serde_json::{Value, json};

/// The version of the schema, as the guide names it.
pub(super) const SCHEMA: &str = "https://w3id.org/dpv/schema/dpv-27560#record";

/// How long a recipient keeps what it got is decided with each permit (its obligations).
pub(super) const RETENTION: &str = "The retention that each decision names has ended";

pub(super) const RIGHT: &str = "Withdrawal of consent, whole or in part";

/// Given by a clear act that concerns this consent alone: there is no other way here.
pub(super) const EXPLICIT: &str = "dpv:ExplicitlyExpressedConsent";

/// Fields that may have several values, and are lists always.
pub(super) const LISTS: &[&str] = &[
    "dpv:hasConsentStatus",
    "dpv:hasDataController",
    "dpv:hasEntity",
    "dpv:hasJurisdiction",
    "dpv:hasLocation",
    "dpv:hasPersonalData",
    "dpv:hasPurpose",
    "dpv:hasRecipient",
    "dpv:hasStorageCondition",
    "dpv:isExercisedAt",
];

fn context() -> Value {
    let mut context = json!({
        "dct": "http://purl.org/dc/terms/",
        "dpv": "https://w3id.org/dpv#",
        "loc": "https://w3id.org/dpv/loc#",
        "psr": "urn:passerelle:term:",
        "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
        "schema": "https://schema.org/",
        "skos": "http://www.w3.org/2004/02/skos/core#",
        "xsd": "http://www.w3.org/2001/XMLSchema#",
        "dpv:isIndicatedAtTime": {"@type": "xsd:dateTime"},
    });
    for refers in [
        "dct:conformsTo",
        "dct:publisher",
        "dpv:hasDataController",
        "dpv:hasIndicationMethod",
        "dpv:hasJurisdiction",
        "dpv:hasLegalBasis",
        "dpv:hasLocation",
        "dpv:hasProcessing",
        "dpv:hasRecipient",
        "dpv:isExercisedAt",
        "dpv:isIndicatedBy",
        "psr:capacity",
        "skos:broader",
    ] {
        if let Some(context) = context.as_object_mut() {
            context.insert(refers.to_owned(), json!({"@type": "@id"}));
        }
    }
    context
}

pub(super) fn record(
    file: &ConsentFile,
    standing: &Standing,
    surroundings: &Surroundings,
) -> Value {
    let names = Names(&file.federation);
    let (id, identifier) = node(
        &system_and_value(&file.record, names.consents()),
        &file.record,
    );
    let (subject, handle) = node(
        &system_and_value(&file.subject, names.handles()),
        &file.subject,
    );
    json!({
        "@context": context(),
        "@id": id,
        "@type": "dpv:ConsentRecord",
        "dct:conformsTo": SCHEMA,
        "dct:identifier": identifier,
        "dct:publisher": names.agency(&file.recorded_by),
        "dpv:hasDataSubject": {
            "@id": subject,
            "@type": "dpv:DataSubject",
            "dct:identifier": handle,
        },
        "dpv:hasNotice": {
            "@id": format!("{}:{}", names.notices(), file.notice_version),
            "@type": "dpv:ConsentNotice",
            "dct:language": file.language.code(),
        },
        "dpv:hasJurisdiction": places(&surroundings.jurisdictions),
        "dpv:hasProcess": process(file, surroundings),
        "dpv:hasEntity": entities(file, surroundings),
        "dpv:hasConsentStatus": states(file, standing),
    })
}

/// IRI and identifier: one of ours is its system and its value.
fn node<T>((system, value): &(String, String), identity: &super::Identity<T>) -> (String, String) {
    match identity {
        super::Identity::Own(_) => (code(system, value), value.clone()),
        super::Identity::Other { .. } => (system.clone(), value.clone()),
    }
}

fn places(codes: &[String]) -> Vec<String> {
    codes.iter().map(|place| format!("loc:{place}")).collect()
}

fn process(file: &ConsentFile, surroundings: &Surroundings) -> Value {
    let names = Names(&file.federation);
    let iris = |list: &[crate::ids::AgencyId]| -> Vec<_> {
        list.iter().map(|agency| names.agency(agency)).collect()
    };
    let named = file.agencies();
    let named: Vec<_> = named.into_iter().map(|a| names.agency(a)).collect();
    json!({
        "@type": "dpv:Process",
        "dpv:hasLegalBasis": EXPLICIT,
        "dpv:hasProcessing": "dpv:Disclose",
        "dpv:hasPurpose": file.purposes.iter().copied().map(purpose).collect::<Vec<_>>(),
        "dpv:hasPersonalData": file.categories.iter().copied().map(category).collect::<Vec<_>>(),
        "dpv:hasDataController": iris(&file.disclosers),
        "dpv:hasRecipient": iris(&file.recipients),
        "dpv:hasStorageCondition": [
            {"@type": "dpv:StorageLocation", "dpv:hasLocation": places(&surroundings.storage)},
            {
                "@type": "dpv:StorageDuration",
                "dpv:hasDuration": {"@type": "dpv:UntilEventDuration", "rdf:value": RETENTION},
            },
        ],
        "dpv:hasConsentControl": {"@type": "dpv:WithdrawConsent", "dpv:isExercisedAt": named},
        "dpv:hasRight": {
            "@type": "dpv:DataSubjectRight",
            "dct:title": RIGHT,
            "dpv:isExercisedAt": named,
        },
        "psr:redisclosure": file.redisclosure,
    })
}

/// A purpose with the broader one: of DPV, or our own, to which DPV has no equal.
pub(super) fn purpose(purpose: Purpose) -> Value {
    let broader = match purpose {
        Purpose::RightsRequest => "dpv:RightsFulfilment",
        Purpose::Audit => "dpv:LegalCompliance",
        Purpose::Evaluate => "dpv:ImprovePublicServices",
        Purpose::Screen
        | Purpose::Threshold
        | Purpose::IdentifyInvolved
        | Purpose::Plan
        | Purpose::Deliver
        | Purpose::FollowUp
        | Purpose::Emergency
        | Purpose::Exercise
        | Purpose::CriminalInvestigation
        | Purpose::ImmigrationEnforcement
        | Purpose::Media => "psr:RiskIntervention",
    };
    json!({
        "@id": code(PURPOSES, purpose.code()),
        "@type": "dpv:Purpose",
        "skos:broader": broader,
    })
}

/// A category with how sensitive it is. Health and convictions are special in law (GDPR 9 and 10);
/// what else police, schools and social services hold is sensitive.
pub(super) fn category(category: Category) -> Value {
    let kind = match category.kind() {
        CategoryKind::Health | CategoryKind::SpeciallyProtectedHealth => {
            "dpv:SpecialCategoryPersonalData"
        }
        CategoryKind::DeIdentified | CategoryKind::Identifier => "dpv:PersonalData",
        _ => "dpv:SensitivePersonalData",
    };
    json!({"@id": code(CATEGORIES, category.code()), "@type": kind})
}

fn entities(file: &ConsentFile, surroundings: &Surroundings) -> Vec<Value> {
    let names = Names(&file.federation);
    let entity = |agency| {
        let party = surroundings.party.get(agency)?;
        Some(json!({
            "@id": names.agency(agency),
            "@type": "dpv:Organisation",
            "dpv:hasIdentifier": agency.as_str(),
            "dpv:hasName": party.name,
            "schema:address": {
                "@type": "schema:PostalAddress",
                "schema:streetAddress": party.address,
            },
            "schema:contactPoint": {
                "@type": "schema:ContactPoint",
                "schema:description": party.contact,
            },
        }))
    };
    file.agencies().into_iter().filter_map(entity).collect()
}

/// Who gave it. DPV has no word for a substitute decision-maker.
pub(super) fn giver(giver: ConsentGiver) -> String {
    match giver {
        ConsentGiver::Subject => "dpv:DataSubject".to_owned(),
        ConsentGiver::Parent => "dpv:ParentOfDataSubject".to_owned(),
        ConsentGiver::Substitute => code(GIVERS, giver.code()),
    }
}

/// That it was given, and what became of it since.
fn states(file: &ConsentFile, standing: &Standing) -> Vec<Value> {
    let names = Names(&file.federation);
    let mut given = json!({
        "@type": ["dpv:ConsentGiven", EXPLICIT],
        "dpv:isIndicatedAtTime": instant::text(file.given_at),
        "dpv:hasDuration": {
            "@type": "dpv:UntilTimeDuration",
            "rdf:value": {"@type": "xsd:dateTime", "@value": instant::text(file.expires_at)},
        },
        "dpv:isIndicatedBy": giver(file.giver),
        "dpv:hasIndicationMethod": code(METHODS, file.method.code()),
        "psr:capacity": code(CAPACITIES, file.capacity.code()),
        "psr:interpreter": file.interpreter,
    });
    if let (Some(evidence), Some(given)) = (file.evidence, given.as_object_mut()) {
        given.insert("psr:evidence".to_owned(), json!(evidence.to_hex()));
    }
    let withdrawn = standing.withdrawn.iter().map(|scope| match scope {
        WithdrawalScope::All => json!({"@type": "dpv:ConsentWithdrawn"}),
        WithdrawalScope::Recipient(agency) => json!({
            "@type": "dpv:ConsentWithdrawn",
            "dpv:hasRecipient": [names.agency(agency)],
        }),
        WithdrawalScope::Category(withdrawn) => json!({
            "@type": "dpv:ConsentWithdrawn",
            "dpv:hasPersonalData": [category(*withdrawn)],
        }),
    });
    let expired = standing.is_expired.then(|| {
        json!({
            "@type": "dpv:ConsentExpired",
            "dpv:isIndicatedAtTime": instant::text(file.expires_at),
        })
    });
    std::iter::once(given)
        .chain(withdrawn)
        .chain(expired)
        .collect()
}
