//! FHIR, OCSF and CSV: what each says of the same exchanges.

use crate::{
    account::hostile,
    file::{check, export_rows},
    rows::{answered_with, as_exported, story_rows},
    world::request_id,
};
use passerelle_audit::disclosure::{Format, convert};
use passerelle_model::bytes::Handle;
use serde_json::Value;

pub(crate) fn converted(file: &[u8], format: Format) -> String {
    check(file).unwrap();
    let mut out = Vec::new();
    convert(file, format, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn values(file: &[u8], format: Format) -> Vec<Value> {
    let lines = converted(file, format);
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn profile(event: &Value) -> Option<&str> {
    event["meta"]["profile"][0].as_str()?.rsplit('.').next()
}

#[test]
fn a_disclosure_is_an_export_and_once_delivered_an_import() {
    let events = values(&export_rows(&story_rows()), Format::Fhir);
    let of = |code: &str| -> Vec<&Value> {
        events
            .iter()
            .filter(|event| event["type"]["code"] == code)
            .collect()
    };
    let discloses = |event: &Value| event["subtype"][0]["code"] == "disclose";
    let (exports, imports) = (of("110106"), of("110107"));
    assert_eq!(exports.iter().filter(|event| discloses(event)).count(), 2);
    assert_eq!(imports.iter().filter(|event| discloses(event)).count(), 2);
    assert_eq!(exports.len(), 6, "refusals are there, but disclose nothing");
    assert_eq!(of("110113").len(), 2, "refused statements");
    assert_eq!(events.len(), 10);
    for event in &events {
        let disclosed = discloses(event);
        assert_eq!(event["outcome"] == "0", disclosed, "{event}");
        assert_eq!(profile(event).is_some(), disclosed, "{event}");
    }
    let patient = &exports[0]["entity"][0]["what"]["identifier"];
    assert_eq!(patient["system"], "urn:passerelle:essai:handle");
    assert_eq!(patient["value"], Handle([1; 32]).to_hex());
    assert_eq!(exports[0]["source"]["observer"]["display"], "sante-centre");
    assert_eq!(imports[0]["source"]["observer"]["display"], "police-nord");
    assert_eq!(exports[0]["purposeOfEvent"][0]["coding"][0]["code"], "plan");
}

#[test]
fn a_profile_is_named_only_where_the_patient_is_known() {
    let mut rows = story_rows();
    as_exported(&mut rows);
    let events = values(&export_rows(&rows), Format::Fhir);
    let with: Vec<_> = events.iter().filter_map(profile).collect();
    assert_eq!(
        with,
        ["Source", "Recipient"],
        "that of the agreement has no patient"
    );
    for event in events {
        let has_patient = event["entity"][0]["type"]["code"] == "1";
        assert!(profile(&event).is_none() || has_patient);
    }
}

#[test]
fn an_answer_that_is_known_to_hold_no_facts_is_no_disclosure() {
    for (code, disclose) in [
        ("released", true),
        ("declined", false),
        ("cannot_say", false),
    ] {
        let events = values(&export_rows(&answered_with(code)), Format::Fhir);
        assert_eq!(events.len(), 1);
        let text = events[0].to_string();
        assert_eq!(text.contains("\"disclose\""), disclose, "{text}");
    }
}

#[test]
fn ocsf_has_one_event_for_each_row_and_nothing_null() {
    let events = values(&export_rows(&story_rows()), Format::Ocsf);
    assert_eq!(events.len(), 8);
    for event in &events {
        assert_eq!(event["class_uid"], 6003);
        assert_eq!(event["type_uid"], 600_302);
        assert!(!event.to_string().contains("null"), "{event}");
    }
    let statuses: Vec<_> = events
        .iter()
        .map(|e| e["status_code"].as_str().unwrap())
        .collect();
    for outcome in ["answered", "denied", "stopped", "expired", "refused"] {
        assert!(statuses.contains(&outcome), "{outcome}");
    }
    let first = events
        .iter()
        .find(|e| e["status_code"] == "answered")
        .unwrap();
    assert_eq!(first["actor"]["app_name"], "police-nord");
    assert_eq!(first["api"]["service"]["name"], "sante-centre");
    assert_eq!(first["api"]["request"]["uid"], request_id(1).to_string());
    assert_eq!(first["unmapped"]["purpose"], "plan");
}

#[test]
fn csv_has_one_line_for_each_row_of_one_width_and_no_formula() {
    let file = export_rows(&hostile("=HYPERLINK(\"x\",\"y\")\r\n;@cmd"));
    let text = converted(&file, Format::Csv);
    assert_eq!(text.matches("\r\n").count(), 9, "a header and eight rows");
    assert_eq!(text.matches(['\r', '\n']).count(), 18);
    let lines: Vec<Vec<String>> = text.lines().map(cells).collect();
    assert!(lines.iter().all(|line| line.len() == lines[0].len()));
    let first = |cell: &String| cell.trim_start().chars().next();
    for cell in lines.iter().flatten() {
        assert!(!first(cell).is_some_and(|c| "=+-@".contains(c)), "{cell}");
    }
    assert!(text.contains("'=HYPERLINK("));
    for column in [
        "time",
        "source",
        "recipient",
        "outcome",
        "index",
        "worker_commitment",
    ] {
        assert!(lines[0].iter().any(|name| name == column), "{column}");
    }
}

/// The cells of one line, by RFC 4180: all are quoted, a quote inside is doubled.
fn cells(line: &str) -> Vec<String> {
    let (mut cells, mut rest) = (Vec::new(), line);
    loop {
        rest = rest.strip_prefix('"').unwrap();
        let mut cell = String::new();
        loop {
            let (part, after) = rest.split_once('"').unwrap();
            cell.push_str(part);
            rest = after;
            let Some(more) = rest.strip_prefix('"') else {
                break;
            };
            cell.push('"');
            rest = more;
        }
        cells.push(cell);
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => break,
        }
    }
    assert_eq!(rest, "");
    cells
}
