//! Consents to a service, and evidence on paper: by real processes.

use crate::offices::{CLINIC, HOUSE, open};
use anyhow::Result;
use passerelle_proto::views::{EvidenceCheck, ServiceConsentView};
use passerelle_tests::{cli::Ran, federation::Federation};

const SERVICE: &str = "addiction counselling";

struct Scene {
    federation: Federation,
    person: String,
    other: String,
    form: String,
}

impl Scene {
    async fn open() -> Result<Self> {
        let federation = open().await?;
        Ok(Self {
            person: federation.person("Dubruit", "Maude", "1991-02-03")?,
            other: federation.person("Lelac", "Ann", "1992-03-04")?,
            form: federation.file("form.pdf", b"signed by Maude Dubruit")?,
            federation,
        })
    }

    async fn clinic(&self, verb: &str, args: &[&str]) -> Result<Ran> {
        self.federation.agent_cli(CLINIC, verb, args).await
    }

    async fn record(&self) -> Result<String> {
        let args = [
            "--person",
            &self.person,
            "--service",
            SERVICE,
            "--language",
            "fr",
        ];
        let args = [&args[..], &["--evidence", &self.form]].concat();
        self.clinic("consent service record", &args)
            .await?
            .done()?
            .text("id")
    }

    async fn agrees(&self, person: &str, service: &str) -> Result<bool> {
        let args = ["--person", person, "--service", service];
        let ran = self.clinic("consent service check", &args).await?;
        anyhow::ensure!(ran.code == 0 || ran.code == 1, "{ran:?}");
        let views: Vec<ServiceConsentView> = serde_json::from_value(ran.json)?;
        anyhow::ensure!(views.is_empty() == (ran.code == 1), "{views:?}");
        Ok(ran.code == 0)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn to_be_helped_is_not_to_be_talked_about_nor_the_other_way_round() -> Result<()> {
    let scene = Scene::open().await?;
    let size = scene.federation.broker_status().await?.log_size;
    let id = scene.record().await?;
    anyhow::ensure!(id.starts_with("service-"), "{id}");
    assert_eq!(
        scene.federation.broker_status().await?.log_size,
        size,
        "nobody else hears of it"
    );
    assert!(scene.agrees(&scene.person, SERVICE).await?);
    assert!(
        !scene.agrees(&scene.other, SERVICE).await?,
        "of somebody else"
    );
    assert!(
        !scene.agrees(&scene.person, "housing").await?,
        "to something else"
    );

    // No request rests on it, by whichever id.
    let ask = [
        "--person",
        &scene.person,
        "--holder",
        CLINIC,
        "--item",
        "in_service:known",
        "--purpose",
        "deliver",
        "--basis",
        "consent",
    ];
    let (ran, view) = scene.federation.ask(HOUSE, &ask).await?;
    assert_eq!(ran.code, 1, "{ran:?}");
    let rules: Vec<_> = view.decision[0].item.ruling.reasons.iter().collect();
    assert_eq!(rules[0].rule, "consent-needed");
    let as_shared = scene.clinic("consent show", &[]).await?.done()?;
    assert_eq!(as_shared.json, serde_json::json!([]));
    for (verb, more) in [
        ("consent withdraw", &[][..]),
        ("consent show", &[]),
        ("consent export", &["--format", "fhir"]),
    ] {
        let args = [&[id.as_str()], more].concat();
        let ran = scene.clinic(verb, &args).await?;
        anyhow::ensure!(ran.code == 2, "`{verb}` took it: {ran:?}");
    }

    // A consent to share, of the same person on the same day, is no consent to be treated.
    let (federation, other) = (&scene.federation, &scene.other);
    let ran = federation
        .consent(CLINIC, other, "in_service", HOUSE, CLINIC)
        .await?;
    let sharing = ran.done()?.text("id")?;
    assert!(!scene.agrees(&scene.other, SERVICE).await?);
    let ran = scene.clinic("consent service show", &[]).await?.done()?;
    let views: Vec<ServiceConsentView> = serde_json::from_value(ran.json)?;
    assert_eq!(views.len(), 1);
    assert_eq!(
        (views[0].kind.as_str(), views[0].has_evidence),
        ("service", true)
    );
    let ran = scene
        .clinic("consent service withdraw", &[&sharing])
        .await?;
    anyhow::ensure!(ran.code == 2, "{ran:?}");

    withdrawn_it_ends(&scene, &id).await?;
    let ran = scene.clinic("consent show", &[&sharing]).await?.done()?;
    assert_eq!(ran.json[0]["status"], "active", "the other one stays");
    Ok(())
}

async fn withdrawn_it_ends(scene: &Scene, id: &str) -> Result<()> {
    let ran = scene.clinic("consent service erase", &[id]).await?;
    assert_eq!(
        ran.error_code().as_deref(),
        Some("wrong_state"),
        "it stands: {ran:?}"
    );
    scene
        .clinic("consent service withdraw", &[id])
        .await?
        .done()?;
    assert!(!scene.agrees(&scene.person, SERVICE).await?);
    let ran = scene.clinic("consent service withdraw", &[id]).await?;
    assert_eq!(ran.error_code().as_deref(), Some("wrong_state"), "{ran:?}");
    scene.clinic("consent service erase", &[id]).await?.done()?;
    let ran = scene.clinic("consent service show", &[id]).await?.done()?;
    anyhow::ensure!(
        !ran.stdout.contains("Dubruit") && !ran.stdout.contains(SERVICE),
        "{ran:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_is_not_agreed_to_by_somebody_who_can_not() -> Result<()> {
    let scene = Scene::open().await?;
    let base = [
        "--person",
        &scene.person,
        "--service",
        SERVICE,
        "--language",
        "fr",
    ];
    for wrong in [
        &["--giver", "parent"][..],
        &["--capacity", "substituted"],
        &["--giver", "substitute", "--capacity", "mature_minor"],
    ] {
        let args = [&base[..], wrong].concat();
        let ran = scene.clinic("consent service record", &args).await?;
        assert_eq!(ran.error_code().as_deref(), Some("out_of_range"), "{ran:?}");
    }
    let args = [
        "--person",
        &scene.person,
        "--service",
        " ",
        "--language",
        "fr",
    ];
    let ran = scene.clinic("consent service record", &args).await?;
    assert_eq!(ran.error_code().as_deref(), Some("out_of_range"), "{ran:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_paper_that_was_signed_is_the_evidence() -> Result<()> {
    let scene = Scene::open().await?;
    let forged = scene
        .federation
        .file("forged.pdf", b"signed by Maude Dubruit.")?;
    let args = [
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
    ];
    let with = [&args[..], &["--evidence", &scene.form]].concat();
    let shared = scene
        .clinic("consent record", &with)
        .await?
        .done()?
        .text("id")?;
    let without = scene
        .clinic("consent record", &args)
        .await?
        .done()?
        .text("id")?;
    let service = scene.record().await?;
    for id in [&shared, &service] {
        for (file, is_same) in [(&scene.form, true), (&forged, false)] {
            let ran = scene.clinic("consent check-evidence", &[id, file]).await?;
            assert_eq!(ran.code, i32::from(!is_same), "{ran:?}");
            let check: EvidenceCheck = serde_json::from_value(ran.json)?;
            assert_eq!(check.is_same, is_same);
            let logged = check.commitment.is_some();
            assert_eq!(logged, id == &shared, "of a service nothing is in the log");
        }
    }
    let ran = scene
        .clinic("consent check-evidence", &[&without, &scene.form])
        .await?;
    assert_eq!(ran.error_code().as_deref(), Some("wrong_state"), "{ran:?}");
    let empty = scene.federation.file("empty.pdf", b"")?;
    let with = [&args[..], &["--evidence", &empty]].concat();
    assert_eq!(scene.clinic("consent record", &with).await?.code, 2);
    // What the log says of the paper says nothing of the paper.
    let ran = scene.clinic("consent show", &[&shared]).await?.done()?;
    let digest = passerelle_model::bytes::Digest::of(b"signed by Maude Dubruit").to_hex();
    anyhow::ensure!(!ran.stdout.contains(&digest), "{ran:?}");
    // Another agency that the consent names has the commitment, and can't check.
    let args = [shared.as_str(), scene.form.as_str()];
    let at_house = scene
        .federation
        .agent_cli(HOUSE, "consent check-evidence", &args);
    let ran = at_house.await?;
    assert_eq!(ran.error_code().as_deref(), Some("wrong_state"), "{ran:?}");
    Ok(())
}
