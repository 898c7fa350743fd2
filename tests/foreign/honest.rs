//! A stranger who keeps the rules is a member like any other.

use crate::{
    python::{foreign, start},
    scene::{CLINIC, FOREIGN, HOUSE, OVERSIGHT, Scene, about_the_person},
};
use anyhow::Result;
use passerelle_model::request::Status;
use passerelle_proto::views::RequestLine;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn what_the_foreign_client_computes_by_hand_gives_the_published_vectors() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let checked = foreign(&dir.path().join("none"), &["vectors"]).await?;
    let all = ["rfc_8785", "rfc_9180", "rfc_9496", "rfc_9497", "rfc_6962"];
    assert_eq!(checked, json!(all));
    Ok(())
}

/// The page can't fall behind: a code that it lacks is one that no stranger can send.
#[test]
fn the_document_names_every_code_that_a_statement_may_have() {
    use passerelle_model::{
        error::ErrorCode,
        vocabulary::{
            Capacity, CaseOutcome, Category, ConsentGiver, ConsentMethod, EmergencyKind, Language,
            LegalBasis, Level, Outcome, Profile, Purpose, Sector, Stage, Threshold, WorkerRole,
        },
    };
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/PROTOCOL.md");
    let page = std::fs::read_to_string(page).expect("the page is there");
    let mut missing: Vec<&str> = Vec::new();
    macro_rules! look {
        ($($vocabulary:ident)*) => {$(
            let codes = $vocabulary::ALL.iter().map(|c| c.code());
            missing.extend(codes.filter(|code| !page.contains(&format!("`{code}`"))));
        )*};
    }
    look!(ErrorCode Capacity CaseOutcome Category ConsentGiver ConsentMethod EmergencyKind
        Language LegalBasis Level Outcome Profile Purpose Sector Stage Threshold WorkerRole);
    // Said otherwise: proofs are for a client to refuse, nobody is told.
    missing.retain(|code| *code != "proof_invalid");
    assert!(missing.is_empty(), "{missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_made_from_the_documents_alone_takes_part_in_everything() -> Result<()> {
    let mut scene = Scene::open().await?;
    asks(&scene).await?;
    let consent = answers(&scene).await?;
    withdraws(&scene, &consent).await?;
    // What the foreign agency was, beside: a witness, and a reader of the log.
    let log = scene.foreign("read_log", &[]).await?;
    assert!(log["readable"].as_u64() < log["size"].as_u64(), "{log}");
    let watching = start(&scene.state(), &["follow"]).await?;
    scene.others_are_served().await?;
    watching.result().await?;
    let export = scene.federation.export(OVERSIGHT).await?;
    export.verify()?;
    Ok(())
}

/// The foreign agency asks the clinic, and attests what it does with the answer.
async fn asks(scene: &Scene) -> Result<()> {
    let about = about_the_person();
    let question = ["--holder", CLINIC, "--category", "in_service", "--level"];
    let asking = [&about[..], &question, &["known"]].concat();
    let denied = scene.foreign("ask", &asking).await?;
    assert_eq!(denied["effects"], json!(["deny"]), "nobody consented yet");
    scene.consented(FOREIGN).await?;
    let answer = scene.foreign("ask", &asking).await?;
    assert_eq!(answer["outcome"], "released", "{answer}");
    assert_eq!(answer["items"][0]["category"], "in_service", "{answer}");
    let request = answer["request"].as_str().unwrap();
    let sealed = answer["sealed"].as_str().unwrap();
    let args = ["--request", request, "--sealed", sealed];
    scene.foreign("erase", &args).await?;
    let kinds = scene.federation.export(OVERSIGHT).await?.kinds(request);
    assert_eq!(
        kinds,
        [
            "request",
            "decided",
            "offered",
            "answer",
            "delivered",
            "viewed",
            "erased"
        ]
    );
    // About somebody whom the clinic does not know, it looks just the same until it is opened.
    let nobody = ["--family", "Nemo", "--given", "N", "--born", "1999-09-09"];
    let asking = [&nobody[..], &question, &["known"]].concat();
    let denied = scene.foreign("ask", &asking).await?;
    assert_eq!(denied["effects"], json!(["deny"]), "{denied}");
    Ok(())
}

/// The house asks the foreign agency. Gives the consent on which that rests.
async fn answers(scene: &Scene) -> Result<String> {
    let mut args = vec!["hold"];
    args.extend(about_the_person());
    args.extend(["--recipient", HOUSE, "--category", "open_file"]);
    let mut holding = start(&scene.state(), &args).await?;
    let consent = holding.line().await?["consent"]
        .as_str()
        .unwrap()
        .to_owned();
    let (code, view) = scene.house_asks(FOREIGN, "open_file:known").await?;
    assert_eq!(code, 0, "{view:?}");
    let answer = view.answer.expect("the house opened the answer");
    assert_eq!(answer.outcome, "released");
    let fact = json!({"category": "open_file", "level": "known"});
    assert_eq!(answer.items[0].values, [fact]);
    let held = holding.result().await?;
    assert_eq!(held["asked_by"], "ben", "the context was for the holder");
    assert_eq!(held["receipt"], "delivered");
    assert_eq!(held["request"], json!(view.line.request));
    Ok(consent)
}

/// The withdrawal recalls what was told, and stops what would have been.
async fn withdraws(scene: &Scene, consent: &str) -> Result<()> {
    scene.foreign("withdraw", &["--consent", consent]).await?;
    let (code, view) = scene.house_asks(FOREIGN, "open_file:known").await?;
    assert_eq!((code, view.line.status), (1, Status::Denied));
    let lines: Vec<RequestLine> = scene.federation.lines(HOUSE, "requests").await?;
    let told = |l: &&RequestLine| matches!(l.status, Status::Delivered | Status::Viewed);
    let told = lines.iter().find(told);
    let told = told.expect("the answer is still there");
    let shown = scene.federation.show(HOUSE, &told.request, "ben").await?;
    assert!(
        shown.answer.is_some_and(|a| a.recalled),
        "the house was told"
    );
    Ok(())
}
