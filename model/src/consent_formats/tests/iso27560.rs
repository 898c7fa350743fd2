//! Each way in which a record of ISO/IEC TS 27560 can be wrong.

use super::{
    refusals::{refused, set, without},
    *,
};
use serde_json::json;

#[test]
fn a_record_of_iso_27560_that_is_wrong_is_refused() {
    const STATE: &str = "$.dpv:hasConsentStatus[0]";
    let state = |field: &str| format!("{STATE}.{field}");
    let process = |field: &str| format!("$.dpv:hasProcess.{field}");
    refused(
        Format::Iso27560,
        &[
            ("$.dpv:hasConsentStatus", "one state", |v| {
                let given = v["dpv:hasConsentStatus"][0].clone();
                let withdrawn = json!({"@type": "dpv:ConsentWithdrawn"});
                set(v, "/dpv:hasConsentStatus", json!([given, withdrawn]));
            }),
            (&state("@type"), "dpv:ConsentGiven", |v| {
                set(
                    v,
                    "/dpv:hasConsentStatus/0/@type",
                    json!("dpv:ConsentRefused"),
                )
            }),
            (&state("@type"), "dpv:ConsentGiven", |v| {
                set(
                    v,
                    "/dpv:hasConsentStatus/0/@type",
                    json!(["dpv:ConsentRevoked"]),
                )
            }),
            (&state("dpv:hasDuration"), "never ends", |v| {
                without(v, "/dpv:hasConsentStatus/0", "dpv:hasDuration")
            }),
            (&state("dpv:hasDuration.@type"), "never ends", |v| {
                let endless = json!({"@type": "dpv:EndlessDuration"});
                set(v, "/dpv:hasConsentStatus/0/dpv:hasDuration", endless);
            }),
            (&state("dpv:isIndicatedBy"), "dpv:DataSubject", |v| {
                set(
                    v,
                    "/dpv:hasConsentStatus/0/dpv:isIndicatedBy",
                    json!("dpv:Human"),
                )
            }),
            (&process("dpv:hasRecipient"), "names nobody", |v| {
                set(v, "/dpv:hasProcess/dpv:hasRecipient", json!([]))
            }),
            (&process("dpv:hasDataController"), "names nobody", |v| {
                without(v, "/dpv:hasProcess", "dpv:hasDataController")
            }),
            (&process("dpv:hasPurpose"), "any", |v| {
                set(v, "/dpv:hasProcess/dpv:hasPurpose", json!([]))
            }),
            (
                &process("dpv:hasPurpose[0].@id"),
                "urn:passerelle:purpose",
                |v| {
                    set(
                        v,
                        "/dpv:hasProcess/dpv:hasPurpose/0/@id",
                        json!("dpv:Marketing"),
                    )
                },
            ),
            (&process("dpv:hasPurpose[0].@id"), "prohibited", |v| {
                let media = json!("urn:passerelle:purpose:media");
                set(v, "/dpv:hasProcess/dpv:hasPurpose/0/@id", media);
            }),
            (
                &process("dpv:hasPurpose[0].skos:broader"),
                "RiskIntervention",
                |v| {
                    let marketing = json!("dpv:Marketing");
                    set(
                        v,
                        "/dpv:hasProcess/dpv:hasPurpose/0/skos:broader",
                        marketing,
                    );
                },
            ),
            (&process("dpv:hasPersonalData[0].@type"), "Special", |v| {
                let plain = json!("dpv:PersonalData");
                set(v, "/dpv:hasProcess/dpv:hasPersonalData/0/@type", plain);
            }),
            (&process("dpv:hasLegalBasis"), "Explicitly", |v| {
                set(
                    v,
                    "/dpv:hasProcess/dpv:hasLegalBasis",
                    json!("dpv:Contract"),
                )
            }),
            (&process("dpv:hasProcessing"), "Disclose", |v| {
                set(v, "/dpv:hasProcess/dpv:hasProcessing", json!("dpv:Sell"))
            }),
            ("$.@context.dpv", "expected", |v| {
                set(v, "/@context/dpv", json!("https://example.org/"))
            }),
            ("$.@context", "an object", |v| {
                set(v, "/@context", json!("https://example.org/context.jsonld"))
            }),
            ("$.dct:conformsTo", "dpv-27560#record", |v| {
                set(
                    v,
                    "/dct:conformsTo",
                    json!("https://w3id.org/dpv/schema/dpv-27560#receipt"),
                )
            }),
            ("$.dpv:hasJurisdiction", "mandatory", |v| {
                without(v, "", "dpv:hasJurisdiction")
            }),
            ("$.dpv:hasJurisdiction[0]", "ISO 3166", |v| {
                set(v, "/dpv:hasJurisdiction/0", json!("Canada"))
            }),
            ("$.dpv:hasEntity[0].schema:address", "mandatory", |v| {
                without(v, "/dpv:hasEntity/0", "schema:address")
            }),
            ("$.party.ecole-du-lac", "mandatory", |v| {
                v["dpv:hasEntity"].as_array_mut().unwrap().remove(0);
            }),
            ("$.@id", "dct:identifier", |v| {
                set(v, "/dct:identifier", json!("consent-2"))
            }),
        ],
    );
}

#[test]
fn one_value_may_stand_for_a_list_of_one() {
    let mut file = full();
    file.categories.truncate(1);
    let mut value = written(&file, &Standing::default(), Format::Iso27560);
    for pointer in [
        "/dpv:hasProcess/dpv:hasDataController",
        "/dpv:hasProcess/dpv:hasPersonalData",
        "/dpv:hasConsentStatus",
    ] {
        let only = value.pointer(pointer).unwrap()[0].clone();
        set(&mut value, pointer, only);
    }
    assert_eq!(read_value(&value).unwrap().file, file);
}

#[test]
fn surroundings_that_can_t_be_are_refused() {
    let file = full();
    let good = surroundings(&file);
    type Doctor = fn(&mut Surroundings);
    let cases: [(&str, Doctor); 6] = [
        ("$.jurisdictions", |s| s.jurisdictions.clear()),
        ("$.jurisdictions", |s| {
            s.jurisdictions.push("Québec".to_owned())
        }),
        ("$.storage", |s| s.storage.push(s.storage[0].clone())),
        ("$.party.sante-centre", |s| {
            s.party.remove(&"sante-centre".parse::<AgencyId>().unwrap());
        }),
        ("$.party.ecole-du-lac", |s| {
            s.party.values_mut().next().unwrap().contact.clear();
        }),
        ("$.party.ecole-du-lac", |s| {
            s.party.values_mut().next().unwrap().name = "x".repeat(300);
        }),
    ];
    for (path, doctor) in cases {
        let mut wrong = good.clone();
        doctor(&mut wrong);
        let refusal = to_iso27560(&file, &Standing::default(), &wrong).unwrap_err();
        assert_eq!(refusal.path, path, "{refusal}");
    }
}
