//! The output against published models and schemas, which must refuse what is doctored.
//!
//! The libraries are installed once, into a virtual environment below `target`.

use crate::{
    account::hostile,
    file::export_rows,
    formats::converted,
    rows::{answered_with, as_exported, story_rows},
};
use passerelle_audit::disclosure::{Format, Lang, Query, account, page};
use passerelle_model::bytes::Handle;
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
};

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/exports")
}

fn venv() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
    target.unwrap().join("exports-venv")
}

fn run(command: &mut Command, otherwise: &str) -> Vec<u8> {
    let ran = command.stdin(Stdio::null()).output();
    let ran = ran.unwrap_or_else(|error| panic!("{otherwise}: {error}"));
    let errors = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{otherwise}:\n{errors}");
    ran.stdout
}

/// Makes the virtual environment, unless it is there with these requirements.
fn prepare() {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let requirements = sources().join("requirements.txt");
    let wanted = std::fs::read(&requirements).unwrap();
    let done = venv().join("requirements.done");
    if std::fs::read(&done).ok().as_deref() == Some(&*wanted) {
        return;
    }
    run(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(venv()),
        "no virtual environment; on Debian: `apt-get install python3 python3-venv`",
    );
    run(
        Command::new(venv().join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--no-deps", "-r"])
            .arg(&requirements),
        "the libraries can't be installed (PyPI must be reachable once)",
    );
    std::fs::write(&done, &wanted).unwrap();
}

/// How many documents each file has, and what is wrong with it.
fn validate(files: &[(&str, &str)]) -> Vec<(u64, Vec<String>)> {
    prepare();
    let dir = tempfile::tempdir().unwrap();
    let mut arguments = Vec::new();
    for (n, (kind, text)) in files.iter().enumerate() {
        let path = dir.path().join(n.to_string());
        std::fs::write(&path, text).unwrap();
        arguments.push(format!("{kind}:{}", path.display()));
    }
    let mut command = Command::new(venv().join("bin/python"));
    command
        .arg(sources().join("check/validate.py"))
        .args(arguments);
    let said = run(&mut command, "the validation did not run");
    let said: Vec<Value> = serde_json::from_slice(&said).unwrap();
    let errors = |result: &Value| serde_json::from_value(result["errors"].clone()).unwrap();
    said.iter()
        .map(|result| (result["documents"].as_u64().unwrap(), errors(result)))
        .collect()
}

/// Whole, as an agency has it, as somebody has it who may read half, from a hostile broker, with
/// an opened outcome.
fn files() -> Vec<Vec<u8>> {
    let mut exported = story_rows();
    as_exported(&mut exported);
    let mut half = exported.clone();
    for (n, row) in half.iter_mut().enumerate() {
        row.hidden = n > 8 && n % 3 == 0;
    }
    let hostile = hostile(" \u{1}<b>\"");
    let rows = [story_rows(), exported, hostile, answered_with("declined")];
    let mut files: Vec<_> = rows.iter().map(|rows| export_rows(rows)).collect();
    files.push(export_rows(&half));
    files
}

fn in_format(format: Format) -> Vec<String> {
    files()
        .iter()
        .map(|file| {
            let mut out = Vec::new();
            passerelle_audit::disclosure::convert(&file[..], format, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        })
        .collect()
}

pub(crate) fn are_valid(kind: &str, texts: &[String]) {
    let files: Vec<_> = texts.iter().map(|text| (kind, text.as_str())).collect();
    let results = validate(&files);
    assert_eq!(results.len(), texts.len());
    for ((documents, errors), text) in results.iter().zip(texts) {
        assert!(*documents > 0, "{text}");
        assert!(errors.is_empty(), "{errors:#?}\n{text}");
    }
}

pub(crate) type Doctor = (&'static str, fn(&mut Value));

/// Each way of doctoring must be noticed, in each line that it changes.
pub(crate) fn are_refused(kind: &str, text: &str, ways: &[Doctor]) {
    let texts: Vec<String> = ways
        .iter()
        .map(|(name, doctor)| {
            let mut value: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
            let before = value.clone();
            doctor(&mut value);
            assert_ne!(value, before, "`{name}` changes nothing");
            format!("{value}\n")
        })
        .collect();
    let files: Vec<_> = texts.iter().map(|text| (kind, text.as_str())).collect();
    for ((name, _), (_, errors)) in ways.iter().zip(validate(&files)) {
        assert!(!errors.is_empty(), "`{name}` was not noticed");
    }
}

pub(crate) fn without(value: &mut Value, field: &str) {
    value.as_object_mut().unwrap().remove(field);
}

#[test]
fn fhir_is_valid_r4_and_keeps_the_profiles_that_it_names() {
    are_valid("fhir", &in_format(Format::Fhir));
}

#[test]
fn doctored_fhir_is_refused() {
    let text = converted(&export_rows(&story_rows()), Format::Fhir);
    let disclosed = text
        .lines()
        .find(|line| line.contains("Disclosure.Source"))
        .unwrap();
    are_refused(
        "fhir",
        disclosed,
        &[
            ("another resource", |v| v["resourceType"] = json!("Patient")),
            ("an unknown field", |v| v["surname"] = json!("x")),
            ("no agent", |v| v["agent"] = json!([])),
            ("no source", |v| without(v, "source")),
            ("no time", |v| without(v, "recorded")),
            ("no time of day", |v| v["recorded"] = json!("2027-13-01")),
            ("requestor is a word", |v| {
                v["agent"][0]["requestor"] = json!("perhaps")
            }),
            ("no requestor", |v| without(&mut v["agent"][0], "requestor")),
            ("an id with spaces", |v| v["id"] = json!("a b")),
            ("an empty string", |v| v["outcomeDesc"] = json!("")),
            ("no patient", |v| {
                v["entity"].as_array_mut().unwrap().remove(0);
            }),
            ("another type", |v| v["type"]["code"] = json!("110107")),
            ("no disclose", |v| v["subtype"][0]["code"] = json!("access")),
            ("another observer", |v| {
                v["source"]["observer"]["display"] = json!("x")
            }),
            ("no recipient", |v| {
                v["agent"].as_array_mut().unwrap().remove(1);
            }),
            ("no network", |v| without(&mut v["agent"][0], "network")),
        ],
    );
}

#[test]
fn ocsf_is_valid_under_the_published_schema() {
    are_valid("ocsf", &in_format(Format::Ocsf));
}

#[test]
fn doctored_ocsf_is_refused() {
    let text = converted(&export_rows(&story_rows()), Format::Ocsf);
    let answered = text
        .lines()
        .find(|line| line.contains("\"answered\""))
        .unwrap();
    are_refused(
        "ocsf",
        answered,
        &[
            ("an unknown field", |v| v["surname"] = json!("x")),
            ("an unknown field below", |v| {
                v["api"]["surname"] = json!("x")
            }),
            ("no api", |v| without(v, "api")),
            ("no actor", |v| without(v, "actor")),
            ("no product", |v| without(&mut v["metadata"], "product")),
            ("another category", |v| v["category_uid"] = json!(3)),
            ("another activity", |v| v["activity_id"] = json!(77)),
            ("another type", |v| v["type_uid"] = json!(600_301)),
            ("time as text", |v| {
                v["time"] = json!("2027-01-01T00:00:00Z")
            }),
            ("severity as text", |v| v["severity_id"] = json!("low")),
        ],
    );
}

#[test]
fn the_page_is_valid_accessible_and_alone() {
    let mut query = Query {
        persons: [Handle([1; 32]), Handle([3; 32])].into(),
        say_left_out: true,
        ..Query::default()
    };
    let mut pages = Vec::new();
    for file in files() {
        for lang in [Lang::English, Lang::French] {
            let (account, ..) = account(&file[..], &query).unwrap();
            pages.push(page::html(&account, lang));
            query.say_left_out = !query.say_left_out;
        }
    }
    are_valid("html", &pages);
    let page = pages.first().unwrap();
    let doctored = [
        page.replace("lang=\"en\"", ""),
        page.replace("</main>", "<script>x</script></main>"),
        page.replace(
            "</main>",
            "<img src=\"https://example.org/x.png\" alt=\"\"></main>",
        ),
        page.replace("scope=\"col\"", ""),
        page.replace("</caption>", ""),
        page.replace("<!DOCTYPE html>", ""),
        page.replace("</tr>\n</tbody>", "<td>x</td></tr>\n</tbody>"),
        page.replace("@media print", "@media screen"),
        page.replace("</h1>", "</h2>"),
    ];
    let files: Vec<_> = doctored
        .iter()
        .map(|page| ("html", page.as_str()))
        .collect();
    for (doctored, (_, errors)) in doctored.iter().zip(validate(&files)) {
        assert_ne!(doctored, page);
        assert!(!errors.is_empty(), "{doctored}");
    }
}
