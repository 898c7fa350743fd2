//! Each way in which a file can be wrong: refused with its path and a reason.

use super::*;
use serde_json::json;

type Doctor = fn(&mut Value);

pub(super) fn without(value: &mut Value, pointer: &str, field: &str) {
    let object = value.pointer_mut(pointer).and_then(Value::as_object_mut);
    assert!(object.unwrap().remove(field).is_some(), "{pointer}/{field}");
}

pub(super) fn set(value: &mut Value, pointer: &str, new: Value) {
    *value
        .pointer_mut(pointer)
        .unwrap_or_else(|| panic!("{pointer}")) = new;
}

/// Doctored, a file is refused at this path with a reason that has these words.
pub(super) fn refused(format: Format, cases: &[(&str, &str, Doctor)]) {
    let good = written(&full(), &Standing::default(), format);
    read_value(&good).unwrap();
    for (path, words, doctor) in cases {
        let mut value = good.clone();
        doctor(&mut value);
        assert_ne!(value, good, "{path}: {words}: changes nothing");
        let refusal = read_value(&value).unwrap_err();
        assert_eq!(refusal.path, *path, "{refusal}");
        assert!(refusal.reason.contains(words), "{refusal}, not {words}");
    }
}

#[test]
fn fhir_that_names_nobody_or_never_ends_is_refused() {
    refused(
        Format::Fhir,
        &[
            ("$.provision.actor", "everyone", |v| {
                without(v, "/provision", "actor")
            }),
            ("$.provision.actor", "everyone", |v| {
                set(v, "/provision/actor", json!([]))
            }),
            ("$.provision.actor[0].reference", "everyone", |v| {
                without(v, "/provision/actor/0", "reference")
            }),
            ("$.provision.actor[0].reference.identifier", "nobody", |v| {
                set(v, "/provision/actor/0/reference", json!({"display": "all"}))
            }),
            ("$.provision.actor", "receive", |v| {
                let discloser = v["provision"]["actor"][2].clone();
                set(v, "/provision/actor", json!([discloser]));
            }),
            ("$.provision.actor", "disclose", |v| {
                v["provision"]["actor"].as_array_mut().unwrap().pop();
            }),
            ("$.provision.period", "never ends", |v| {
                without(v, "/provision", "period")
            }),
            ("$.provision.period.end", "never ends", |v| {
                without(v, "/provision/period", "end")
            }),
            ("$.provision.period.end", "a day alone", |v| {
                set(v, "/provision/period/end", json!("2027-01-01"))
            }),
            ("$.provision.period.end", "before it begins", |v| {
                set(v, "/provision/period/end", json!("2026-01-01T00:00:00Z"))
            }),
            ("$.provision.period.end", "five years", |v| {
                set(v, "/provision/period/end", json!("2036-01-01T00:00:00Z"))
            }),
            ("$.provision.period.start", "when it was given", |v| {
                set(v, "/provision/period/start", json!("2026-12-01T00:00:00Z"))
            }),
            ("$.provision.code", "everything", |v| {
                without(v, "/provision", "code")
            }),
            ("$.provision.purpose", "any", |v| {
                set(v, "/provision/purpose", json!([]))
            }),
            ("$.provision", "permits nothing", |v| {
                without(v, "", "provision")
            }),
            ("$.patient", "nobody", |v| without(v, "", "patient")),
            ("$.patient.identifier", "reference", |v| {
                set(v, "/patient", json!({"reference": "Patient/1"}))
            }),
        ],
    );
}

#[test]
fn fhir_in_another_state_or_of_another_scope_is_refused() {
    refused(
        Format::Fhir,
        &[
            ("$.status", "active", |v| {
                set(v, "/status", json!("inactive"))
            }),
            ("$.status", "active", |v| {
                set(v, "/status", json!("proposed"))
            }),
            ("$.status", "active", |v| {
                set(v, "/status", json!("entered-in-error"))
            }),
            ("$.scope.coding[0].code", "patient-privacy", |v| {
                set(v, "/scope/coding/0/code", json!("treatment"))
            }),
            ("$.category[0].coding[0].code", "service", |v| {
                set(v, "/category/0/coding/0/code", json!("INFA"))
            }),
            ("$.provision.type", "permit", |v| {
                set(v, "/provision/type", json!("deny"))
            }),
            ("$.provision.action", "alone", |v| {
                let both = json!([v["provision"]["action"][0], v["provision"]["action"][0]]);
                set(v, "/provision/action", both);
            }),
            ("$.provision.provision", "exceptions", |v| {
                v["provision"]["provision"] = json!([{"type": "deny"}])
            }),
            ("$.text", "qualify", |v| {
                v["text"] = json!({"status": "additional"})
            }),
            ("$.verification", "qualify", |v| {
                v["verification"] = json!([])
            }),
            ("$.modifierExtension", "qualify", |v| {
                v["modifierExtension"] = json!([])
            }),
            ("$.contained", "qualify", |v| v["contained"] = json!([])),
            ("$.sourceAttachment", "can hold", |v| {
                v["sourceAttachment"] = json!({})
            }),
            ("$.provision.dataPeriod", "can hold", |v| {
                v["provision"]["dataPeriod"] = json!({"start": "2026"})
            }),
            ("$.provision.securityLabel", "can hold", |v| {
                v["provision"]["securityLabel"] = json!([])
            }),
            ("$.meta", "can hold", |v| {
                v["meta"] = json!({"security": []})
            }),
            ("$.resourceType", "one `Consent`", |v| {
                set(v, "/resourceType", json!("Bundle"))
            }),
        ],
    );
}

#[test]
fn fhir_with_a_code_or_a_name_that_is_not_known_is_refused() {
    refused(
        Format::Fhir,
        &[
            (
                "$.provision.code[1].coding[0].code",
                "unknown category",
                |v| set(v, "/provision/code/1/coding/0/code", json!("religion")),
            ),
            (
                "$.provision.code[1].coding[0].system",
                "urn:passerelle:category",
                |v| {
                    set(
                        v,
                        "/provision/code/1/coding/0/system",
                        json!("http://loinc.org"),
                    )
                },
            ),
            ("$.provision.code[1]", "twice", |v| {
                let first = v["provision"]["code"][0].clone();
                set(v, "/provision/code/1", first);
            }),
            ("$.provision.code[0].coding", "category", |v| {
                let coding = v["provision"]["code"][0]["coding"][0].clone();
                set(v, "/provision/code/0/coding", json!([coding, coding]));
            }),
            ("$.provision.purpose[0].code", "unknown purpose", |v| {
                set(v, "/provision/purpose/0/code", json!("TREAT"))
            }),
            ("$.provision.purpose[0].code", "prohibited", |v| {
                set(
                    v,
                    "/provision/purpose/0/code",
                    json!("criminal_investigation"),
                )
            }),
            ("$.provision.actor[0].role.coding[0].code", "IRCP", |v| {
                set(v, "/provision/actor/0/role/coding/0/code", json!("PRF"))
            }),
            (
                "$.provision.actor[0].reference.identifier.system",
                "estrie",
                |v| {
                    let system = json!("urn:passerelle:outaouais:agency");
                    set(v, "/provision/actor/0/reference/identifier/system", system);
                },
            ),
            (
                "$.provision.actor[0].reference.identifier.value",
                "not a valid",
                |v| {
                    let name = json!("Maison commune");
                    set(v, "/provision/actor/0/reference/identifier/value", name);
                },
            ),
            ("$.performer[0].type", "RelatedPerson", |v| {
                set(v, "/performer/0/type", json!("Practitioner"))
            }),
            ("$.performer[0].extension", "missing", |v| {
                without(v, "/performer/0", "extension")
            }),
            ("$.performer[0].display", "can hold", |v| {
                v["performer"][0]["display"] = json!("the mother")
            }),
            ("$.extension", "capacity", |v| {
                v["extension"].as_array_mut().unwrap().remove(0);
            }),
            ("$.extension[0].valueCoding.code", "unknown capacity", |v| {
                set(v, "/extension/0/valueCoding/code", json!("none"))
            }),
            ("$.extension[2].valueCode", "unknown language", |v| {
                set(v, "/extension/2/valueCode", json!("de"))
            }),
            ("$.extension[3].valueBoolean", "true or false", |v| {
                set(v, "/extension/3/valueBoolean", json!("false"))
            }),
            ("$.extension[5].valueString", "hexadecimal", |v| {
                set(v, "/extension/5/valueString", json!("abc"))
            }),
            ("$.policy[0].uri", "a number", |v| {
                set(v, "/policy/0/uri", json!("urn:passerelle:estrie:notice:a"))
            }),
            ("$.policy[0].uri", "expected", |v| {
                set(v, "/policy/0/uri", json!("urn:passerelle:estrie:notice:03"))
            }),
            ("$.organization", "one agency", |v| {
                let one = v["organization"][0].clone();
                set(v, "/organization", json!([one, one]));
            }),
            ("$.identifier[0].value", "no identifier", |v| {
                set(v, "/identifier/0/value", json!("consent-1"))
            }),
            ("$.identifier[0].system", "absolute URI", |v| {
                set(v, "/identifier/0/system", json!("our own"))
            }),
        ],
    );
}

#[test]
fn a_parent_may_not_be_told_as_the_person() {
    let mut file = full();
    file.giver = ConsentGiver::Subject;
    let mut value = to_fhir(&file, &Standing::default());
    set(
        &mut value,
        "/performer/0/identifier/value",
        json!("00".repeat(32)),
    );
    let refusal = read_value(&value).unwrap_err();
    assert_eq!(refusal.path, "$.performer[0].identifier.value");
    assert_eq!(refusal.reason, "expected the identifier of the patient");
}

#[test]
fn what_a_server_adds_for_itself_is_named_and_not_kept() {
    let mut value = to_fhir(&full(), &Standing::default());
    value["meta"] = json!({"versionId": "3", "lastUpdated": "2026-11-22T00:00:00Z"});
    value["patient"]["display"] = json!("Maude Dubruit");
    value["provision"]["code"][0]["coding"][0]["display"] = json!("in service");
    let read = read_value(&value).unwrap();
    assert_eq!(read.file, full());
    assert_eq!(
        read.not_kept,
        [
            "$.meta.versionId",
            "$.meta.lastUpdated",
            "$.patient.display",
            "$.provision.code[0].coding[0].display",
        ]
    );
    let mut file = full();
    let (system, value) = (
        "https://chart.example/consent".to_owned(),
        "4711".to_owned(),
    );
    file.record = Identity::Other { system, value };
    let mut value = to_fhir(&file, &Standing::default());
    value["id"] = json!("a6f58318");
    let read = read_value(&value).unwrap();
    assert_eq!((read.file, read.not_kept), (file, vec!["$.id".to_owned()]));
}

#[test]
fn json_that_says_two_things_or_is_too_much_is_refused() {
    let good = to_fhir(&full(), &Standing::default()).to_string();
    let twice = good.replacen("{", "{\"status\":\"inactive\",", 1);
    let deep = format!("{}{}", "[".repeat(40), "]".repeat(40));
    let deep = good.replacen("{", &format!("{{\"text\":{deep},"), 1);
    let long = good.replacen(
        "{",
        &format!("{{\"text\":\"{}\",", "x".repeat(MAX_FILE_BYTES)),
        1,
    );
    let float = good.replacen("{", "{\"text\":1.5,", 1);
    let after = format!("{good}{good}");
    let cut = good.get(..good.len() - 9).unwrap().to_owned();
    for (text, words) in [
        (twice, "twice"),
        (deep, "too deeply"),
        (long, "longer than"),
        (float, "whole number"),
        (after, "not JSON"),
        (cut, "not JSON"),
        (String::new(), "not JSON"),
        ("[]".to_owned(), "neither"),
        ("{}".to_owned(), "neither"),
    ] {
        let refusal = read(text.as_bytes(), None, &federation()).unwrap_err();
        assert!(
            refusal.path == "$" && refusal.reason.contains(words),
            "{refusal}"
        );
    }
}

#[test]
fn the_format_that_was_asked_for_is_the_one_that_is_read() {
    for (format, other) in [
        (Format::Fhir, Format::Iso27560),
        (Format::Iso27560, Format::Fhir),
    ] {
        let text = written(&full(), &Standing::default(), format).to_string();
        assert!(read(text.as_bytes(), Some(format), &federation()).is_ok());
        assert!(read(text.as_bytes(), Some(other), &federation()).is_err());
        assert_eq!(format.code().parse(), Ok(format));
    }
    assert_eq!("r4".parse::<Format>(), Err(UnknownFormat));
}

#[test]
fn a_refusal_repeats_no_field_name_that_is_no_plain_word() {
    let mut value = to_fhir(&full(), &Standing::default());
    value["Maude Dubruit, 1991"] = json!(1);
    let refusal = read_value(&value).unwrap_err();
    assert_eq!(refusal.path, "$[?]");
}
