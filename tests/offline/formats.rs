//! What a real federation's export says in the formats of others: nothing that crossed is missing.

use crate::{
    is_delivered,
    scene::{AGENCIES, EXE, OVERSIGHT, Scene},
};
use anyhow::{Context as _, Result};
use serde_json::Value;
use std::time::Duration;

async fn convert(scene: &Scene, args: &[&str]) -> Result<String> {
    let ran = scene.federation.passerelle_audit(EXE, args).await?;
    let said = String::from_utf8_lossy(&ran.stderr);
    anyhow::ensure!(ran.status.success(), "{args:?}: {said}");
    Ok(String::from_utf8(ran.stdout)?)
}

fn lines(text: &str) -> Result<Vec<Value>> {
    text.lines().map(|l| Ok(serde_json::from_str(l)?)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exchange_of_real_processes_is_told_in_every_format() -> Result<()> {
    let scene = Scene::open().await?;
    let consent = scene.consent().await?;
    let (ran, view) = scene.ask(&[]).await?;
    assert_eq!(ran.code, 0, "{ran:?}");
    let request = view.line.request;
    scene.line_until(&request, is_delivered).await?;
    let args = [consent.as_str()];
    let withdrawn = scene
        .federation
        .agent_cli("clinic", "consent withdraw", &args);
    withdrawn.await?.done()?;
    scene
        .federation
        .settled(&AGENCIES, Duration::from_secs(60))
        .await?;
    let export = scene.federation.export(OVERSIGHT).await?;
    let file = export.path.to_str().context("a path that is not text")?;

    let fhir = lines(&convert(&scene, &["convert", file, "--to", "fhir"]).await?)?;
    assert!(!fhir.is_empty());
    assert!(
        fhir.iter()
            .all(|event| event["resourceType"] == "AuditEvent")
    );
    let ocsf = lines(&convert(&scene, &["convert", file, "--to", "ocsf"]).await?)?;
    assert!(!ocsf.is_empty());
    assert!(ocsf.iter().all(|event| event["class_uid"] == 6003));
    let csv = convert(&scene, &["convert", file, "--to", "csv"]).await?;
    for text in [
        &csv,
        &serde_json::to_string(&fhir)?,
        &serde_json::to_string(&ocsf)?,
    ] {
        assert!(text.contains(&request), "{text}");
        assert!(!text.contains("Dubruit"), "a name is in no log");
    }

    let args = ["disclosures", file, "--consent", &consent];
    let account: Value = serde_json::from_str(&convert(&scene, &args).await?)?;
    assert!(account.to_string().contains(&request), "{account}");
    for lang in ["en", "fr"] {
        let page = [&args[..], &["--format", "html", "--lang", lang]].concat();
        let page = convert(&scene, &page).await?;
        assert!(page.contains(&format!("lang=\"{lang}\"")) && page.contains("clinic"));
    }
    Ok(())
}
