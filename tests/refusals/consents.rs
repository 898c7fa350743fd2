//! Consents in files: written and read by real processes, refused where they must be.

use crate::offices::{AGENCIES, CLINIC, HOUSE, open};
use anyhow::{Context as _, Result};
use passerelle_proto::views::{AgentStatus, ConsentImport, ConsentView};
use passerelle_tests::{cli::Ran, federation::Federation};
use serde_json::{Value, json};
use std::time::Duration;

const SURROUNDINGS: &str = "jurisdictions = [\"CA-QC\"]\nstorage = [\"CA-QC\"]\n\
    [party.clinic]\nname = \"Clinique\"\naddress = \"1, rue de l’Exemple\"\n\
    contact = \"x@clinic.example\"\n\
    [party.house]\nname = \"Maison\"\naddress = \"2, rue de l’Exemple\"\n\
    contact = \"x@house.example\"\n";

struct Scene {
    federation: Federation,
    person: String,
    other: String,
}

impl Scene {
    async fn open() -> Result<Self> {
        let federation = open().await?;
        Ok(Self {
            person: federation.person("Dubruit", "Maude", "1991-02-03")?,
            other: federation.person("Lelac", "Ann", "1992-03-04")?,
            federation,
        })
    }

    async fn record(&self) -> Result<String> {
        let (federation, person) = (&self.federation, &self.person);
        let ran = federation.consent(CLINIC, person, "in_service", HOUSE, CLINIC);
        ran.await?.done()?.text("id")
    }

    async fn export(&self, args: &[&str]) -> Result<Ran> {
        self.federation
            .agent_cli(CLINIC, "consent export", args)
            .await
    }

    async fn fhir(&self, consent: &str) -> Result<Value> {
        Ok(self
            .export(&["--format", "fhir", consent])
            .await?
            .done()?
            .json)
    }

    async fn import(&self, agency: &str, person: &str, file: &Value, more: &[&str]) -> Result<Ran> {
        let path = self.federation.file("consent.json", file.to_string())?;
        let args = [&["--person", person, path.as_str()], more].concat();
        self.federation
            .agent_cli(agency, "consent import", &args)
            .await
    }

    async fn is_refused(&self, person: &str, file: &Value, code: &str, words: &str) -> Result<()> {
        let ran = self.import(CLINIC, person, file, &[]).await?;
        anyhow::ensure!(
            ran.code == 1 && ran.error_code().as_deref() == Some(code),
            "{ran:?}"
        );
        anyhow::ensure!(
            ran.stdout.is_empty() && ran.stderr.contains(words),
            "{ran:?}"
        );
        Ok(())
    }
}

/// The same consent as another program would have recorded it.
fn of_another_program(own: &Value) -> Value {
    let mut file = own.clone();
    file["id"] = json!("a6f58318");
    file["identifier"] = json!([{"system": "https://chart.example/consents", "value": "17"}]);
    let patient = json!({"system": "https://chart.example/people", "value": "4711"});
    file["patient"]["identifier"] = patient.clone();
    file["performer"][0]["identifier"] = patient;
    file["extension"].as_array_mut().unwrap().reverse();
    file
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consent_goes_out_as_a_file_and_comes_in_once() -> Result<()> {
    let scene = Scene::open().await?;
    let consent = scene.record().await?;
    let own = scene.fhir(&consent).await?;
    assert_eq!(
        (&own["resourceType"], &own["status"]),
        (&json!("Consent"), &json!("active"))
    );
    assert!(!own.to_string().contains("Dubruit"), "{own}");
    scene
        .is_refused(&scene.person, &own, "duplicate", "recorded already")
        .await?;

    let file = of_another_program(&own);
    scene
        .is_refused(&scene.person, &file, "out_of_range", "compare")
        .await?;
    let compared = ["--subject", "4711"];
    let dry = scene.import(
        CLINIC,
        &scene.person,
        &file,
        &["--subject", "4711", "--dry-run"],
    );
    let dry: ConsentImport = serde_json::from_value(dry.await?.done()?.json)?;
    assert_eq!(
        (dry.status.as_str(), dry.not_kept.as_slice()),
        ("checked", &["$.id".to_owned()][..])
    );
    let ran = scene
        .import(CLINIC, &scene.person, &file, &compared)
        .await?
        .done()?;
    let report: ConsentImport = serde_json::from_value(ran.json)?;
    assert_eq!(report.status, "done");
    assert_eq!(report.terms.consent, dry.terms.consent, "a file has one id");
    let id = report.terms.consent.to_string();
    let again = scene
        .import(CLINIC, &scene.person, &file, &compared)
        .await?;
    assert_eq!(
        again.error_code().as_deref(),
        Some("duplicate"),
        "{again:?}"
    );

    // What it says is what the file said.
    let mut told = scene.fhir(&id).await?;
    assert_eq!(told["provision"], own["provision"]);
    assert_eq!(
        told["dateTime"], own["dateTime"],
        "given then, not when it was imported"
    );
    told["identifier"] = own["identifier"].clone();
    told["id"] = own["id"].clone();
    assert_eq!(told, own);

    // Withdrawn, it stays so: no file brings it back, and what is written says it.
    let whole = [id.as_str()];
    let withdrawn = scene
        .federation
        .agent_cli(CLINIC, "consent withdraw", &whole);
    withdrawn.await?.done()?;
    let again = scene
        .import(CLINIC, &scene.person, &file, &compared)
        .await?;
    assert_eq!(
        again.error_code().as_deref(),
        Some("duplicate"),
        "{again:?}"
    );
    // Nor another file of the same, which the record system may hold besides.
    let mut copy = file.clone();
    copy["identifier"][0]["value"] = json!("18");
    let besides = scene
        .import(CLINIC, &scene.person, &copy, &compared)
        .await?;
    assert_eq!(
        besides.error_code().as_deref(),
        Some("wrong_state"),
        "{besides:?}"
    );
    let over = scene.fhir(&id).await?;
    assert_eq!(over["status"], "inactive");
    scene
        .is_refused(&scene.person, &over, "malformed", "$.status")
        .await?;
    scene
        .federation
        .settled(&AGENCIES, Duration::from_secs(60))
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_wrong_is_refused_with_its_path() -> Result<()> {
    let scene = Scene::open().await?;
    let consent = scene.record().await?;
    let own = scene.fhir(&consent).await?;
    scene
        .is_refused(&scene.other, &own, "out_of_range", "somebody else")
        .await?;
    let elsewhere = scene.import(HOUSE, &scene.person, &own, &[]).await?;
    assert_eq!(
        elsewhere.error_code().as_deref(),
        Some("not_a_party"),
        "{elsewhere:?}"
    );
    type Doctor = fn(&mut Value);
    let cases: [(&str, &str, Doctor); 5] = [
        ("malformed", "$.provision.actor", |v| {
            v["provision"]["actor"] = json!([]);
        }),
        ("malformed", "$.provision.period.end", |v| {
            v["provision"]["period"]
                .as_object_mut()
                .unwrap()
                .remove("end");
        }),
        ("malformed", "$.verification", |v| {
            v["verification"] = json!([])
        }),
        ("unknown_agency", "recipient", |v| {
            v["provision"]["actor"][0]["reference"]["identifier"]["value"] = json!("strangers");
        }),
        ("out_of_range", "substituted", |v| {
            for extension in v["extension"].as_array_mut().unwrap() {
                if extension["valueCoding"]["code"] == "capable" {
                    extension["valueCoding"]["code"] = json!("substituted");
                }
            }
        }),
    ];
    for (code, words, doctor) in cases {
        let mut file = own.clone();
        doctor(&mut file);
        scene.is_refused(&scene.person, &file, code, words).await?;
    }
    let typed = [
        "--person",
        &scene.person,
        "--category",
        "in_service",
        "--purpose",
        "deliver",
        "--recipient",
        HOUSE,
        "--discloser",
        CLINIC,
        "--language",
        "fr",
        "--giver",
        "parent",
    ];
    let ran = scene
        .federation
        .agent_cli(CLINIC, "consent record", &typed)
        .await?;
    assert_eq!(ran.error_code().as_deref(), Some("out_of_range"), "{ran:?}");
    let shown = scene
        .federation
        .agent_cli(CLINIC, "consent show", &[])
        .await?
        .done()?;
    let shown: Vec<ConsentView> = serde_json::from_value(shown.json)?;
    assert_eq!(shown.len(), 1, "nothing was recorded");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn iso_27560_wants_what_no_record_holds_and_what_ends_soon_is_listed() -> Result<()> {
    let scene = Scene::open().await?;
    let consent = scene.record().await?;
    let missing = scene.export(&["--format", "iso27560", &consent]).await?;
    assert_eq!(missing.code, 2, "{missing:?}");
    let path = scene.federation.file("surroundings.toml", SURROUNDINGS)?;
    let args = ["--format", "iso27560", "--surroundings", &path, "--all"];
    let all = scene.export(&args).await?.done()?.stdout;
    let lines: Vec<Value> = all
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["@type"], "dpv:ConsentRecord");
    scene
        .is_refused(&scene.person, &lines[0], "duplicate", "recorded already")
        .await?;
    let too_few = SURROUNDINGS.split("[party.house]").next().unwrap();
    let path = scene.federation.file("surroundings.toml", too_few)?;
    let args = ["--format", "iso27560", "--surroundings", &path, &consent];
    let refused = scene.export(&args).await?;
    assert!(
        refused.code == 1 && refused.stderr.contains("$.party.house"),
        "{refused:?}"
    );

    let typed = [
        "--person",
        &scene.other,
        "--category",
        "in_service",
        "--purpose",
        "deliver",
        "--recipient",
        HOUSE,
        "--discloser",
        CLINIC,
        "--language",
        "fr",
        "--days",
        "5",
    ];
    let soon = scene.federation.agent_cli(CLINIC, "consent record", &typed);
    let soon = soon.await?.done()?.text("id")?;
    let expiring = scene.federation.agent_cli(CLINIC, "consent expiring", &[]);
    let listed: Vec<ConsentView> = serde_json::from_value(expiring.await?.done()?.json)?;
    assert_eq!(listed.len(), 1, "the other has a year");
    assert_eq!(listed[0].terms.consent.to_string(), soon);
    // Five within the second in which it was recorded.
    assert!(matches!(listed[0].days_left, Some(4 | 5)), "{listed:?}");
    let status: AgentStatus = scene
        .federation
        .agent_status(CLINIC)
        .await?
        .context("no status")?;
    let ending = status.consents_ending;
    assert_eq!(
        (ending.within_7, ending.within_30, ending.within_60),
        (1, 1, 1)
    );
    let none = ["--within", "4"];
    let none = scene
        .federation
        .agent_cli(CLINIC, "consent expiring", &none)
        .await?;
    assert_eq!(none.done()?.json, json!([]));

    // A part that is taken back is written as an exception, and can't be read in.
    let part = [soon.as_str(), "--recipient", HOUSE];
    let withdrawn = scene
        .federation
        .agent_cli(CLINIC, "consent withdraw", &part);
    withdrawn.await?.done()?;
    let told = scene.fhir(&soon).await?;
    assert_eq!(told["provision"]["provision"][0]["type"], "deny");
    scene
        .is_refused(&scene.other, &told, "malformed", "exceptions")
        .await
}
