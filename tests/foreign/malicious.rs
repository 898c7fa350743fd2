//! A stranger who breaks the rules gets the code that the document promises, an entry in the log
//! where one is due, and holds up nobody.

use crate::{
    python::start,
    scene::{CLINIC, FOREIGN, HOUSE, OVERSIGHT, Scene, about_the_person},
};
use anyhow::{Context as _, Result};
use passerelle_model::{entry::EntryBody, error::ErrorCode};
use passerelle_tests::office::within;
use serde_json::Value;
use std::time::Duration;

type Expected = (&'static str, ErrorCode);

/// Checks each case against its code, and that the log has the refusal.
async fn are_refused_and_logged(scene: &Scene, seen: &[Value], wanted: &[Expected]) -> Result<()> {
    let names: Vec<_> = seen.iter().map(|s| s["case"].as_str().unwrap()).collect();
    let expected: Vec<_> = wanted.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, expected);
    let export = scene.federation.export(OVERSIGHT).await?;
    export.verify()?;
    for (seen, (name, code)) in seen.iter().zip(wanted) {
        assert_eq!(seen["code"], code.code(), "{name}");
        assert_eq!(seen["logged"], true, "{name}");
        let index = usize::try_from(seen["index"].as_u64().unwrap())?;
        let EntryBody::Refused {
            agency,
            code: logged,
            statement,
        } = &export.entries[index].body
        else {
            panic!("{name}: {:?}", export.entries[index].body);
        };
        assert_eq!(agency.as_str(), FOREIGN, "{name}");
        assert_eq!(logged, code, "{name}");
        assert_eq!(seen["statement"], statement.to_hex(), "{name}");
    }
    Ok(())
}

fn list(seen: Value) -> Vec<Value> {
    seen.as_array().expect("a list of cases").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_that_are_not_in_order_get_their_code_and_an_entry() -> Result<()> {
    use ErrorCode as E;
    let mut scene = Scene::open().await?;
    let mut seen = list(scene.foreign("statements", &[]).await?);
    let replay = seen.pop().context("the replay")?;
    are_refused_and_logged(
        &scene,
        &seen,
        &[
            ("wrong signature", E::BadSignature),
            ("signature by another key", E::BadSignature),
            ("signature without the encoding", E::BadSignature),
            ("signature of another payload type", E::BadSignature),
            ("another agency's name", E::WrongAgency),
            ("a name that nobody has", E::WrongAgency),
            ("a space", E::Malformed),
            ("keys out of order", E::Malformed),
            ("an escaped letter", E::Malformed),
            ("a newline at the end", E::Malformed),
            ("a key twice", E::Malformed),
            ("a fraction", E::Malformed),
            ("not UTF-8", E::Malformed),
            ("not JSON", E::Malformed),
            ("nothing", E::Malformed),
            ("deeply nested JSON", E::Malformed),
            ("unknown field", E::Malformed),
            ("unknown field in the body", E::Malformed),
            ("missing field", E::Malformed),
            ("unknown statement", E::UnknownCode),
            ("unknown code", E::UnknownCode),
            ("two bodies", E::Malformed),
            ("free text for an identifier", E::Malformed),
            ("version 2", E::Malformed),
            ("31 days old", E::Stale),
            ("six minutes ahead", E::Stale),
            ("at the end of time", E::Malformed),
            ("wrong federation", E::WrongFederation),
        ],
    )
    .await?;
    // The first one counts; the second leaves no trace but its reply.
    assert_eq!(replay["code"], E::Replayed.code());
    assert_eq!(
        (&replay["index"], &replay["logged"]),
        (&replay["first"], &true.into())
    );
    scene.others_are_served().await
}

#[tokio::test(flavor = "multi_thread")]
async fn exchanges_that_are_not_in_order_get_their_code_and_an_entry() -> Result<()> {
    use ErrorCode as E;
    let mut scene = Scene::open().await?;
    let seen = scene.foreign("exchange", &["--holder", CLINIC]).await?;
    are_refused_and_logged(
        &scene,
        &list(seen),
        &[
            ("another request under the same id", E::Duplicate),
            ("no opening", E::OpeningMismatch),
            ("an opening that opens nothing", E::OpeningMismatch),
            ("an opening of an unknown field", E::UnknownCode),
            ("a giant opening", E::OpeningMismatch),
            ("no context", E::PayloadMismatch),
            ("another context", E::PayloadMismatch),
            ("a giant context", E::TooLarge),
            ("seventeen items", E::OutOfRange),
            ("no items", E::OutOfRange),
            ("asking oneself", E::OutOfRange),
            ("asking nobody", E::UnknownAgency),
            ("void already", E::OutOfRange),
            ("void in a year", E::OutOfRange),
            ("an answer to nothing", E::UnknownRequest),
            ("an answer in another's place", E::NotAParty),
            ("a renewal in another's place", E::NotAParty),
            ("a consent with a giant list", E::OutOfRange),
            ("a giant statement", E::OutOfRange),
            ("a withdrawal of nothing", E::UnknownConsent),
        ],
    )
    .await?;
    scene.others_are_served().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permit_is_good_for_one_answer_in_order_and_nonsense_is_not_shown() -> Result<()> {
    use ErrorCode as E;
    let mut scene = Scene::open().await?;
    let mut args = vec!["answers"];
    args.extend(about_the_person());
    args.extend(["--recipient", HOUSE, "--category", "open_file"]);
    let mut holding = start(&scene.state(), &args).await?;
    holding.line().await?;
    let (_, view) = scene.house_asks(FOREIGN, "open_file:known").await?;
    assert!(view.answer.is_none(), "nonsense is no answer: {view:?}");
    let mut seen = list(holding.result().await?);
    let request = seen.pop().context("the request")?["request"].clone();
    assert_eq!(request, view.line.request.as_str());
    are_refused_and_logged(
        &scene,
        &seen,
        &[
            ("an answer under another permit", E::PermitMismatch),
            ("an answer that was not signed", E::PayloadMismatch),
            ("a giant answer", E::TooLarge),
            ("a second answer", E::WrongState),
        ],
    )
    .await?;
    scene.others_are_served().await
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_are_not_in_order_end_the_stream_with_their_code() -> Result<()> {
    let mut scene = Scene::open().await?;
    for seen in list(scene.foreign("frames", &[]).await?) {
        let code = match seen["case"].as_str().unwrap() {
            "a giant message" => ErrorCode::TooLarge,
            _ => ErrorCode::Malformed,
        };
        assert_eq!(seen["code"], code.code(), "{seen}");
    }
    scene.others_are_served().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lying_witness_counts_for_nothing_and_comes_back_when_it_stops() -> Result<()> {
    let mut scene = Scene::open().await?;
    let seen = list(scene.foreign("witness", &[]).await?);
    assert_eq!(seen.len(), 5, "{seen:?}");
    scene.others_are_served().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_the_agencys_present_one_opens_nothing() -> Result<()> {
    let mut scene = Scene::open().await?;
    let root = scene.federation.broker_dir().join("tls/ca.pem");
    let args = ["--ca", root.to_str().unwrap()];
    let seen = list(scene.foreign("certificates", &args).await?);
    // In TLS 1.3 a client that is refused sees an alert; the code is in the broker's log.
    let expected = [
        ("expired", "refused"),
        ("not valid yet", "refused"),
        ("of another CA", "refused"),
        ("signed by itself", "refused"),
        ("of another federation", "refused"),
        ("of a broker", "refused"),
        ("never issued", ErrorCode::Revoked.code()),
        ("none", ErrorCode::Revoked.code()),
    ];
    let got: Vec<_> = seen
        .iter()
        .map(|s| (s["case"].as_str().unwrap(), s["code"].as_str().unwrap()))
        .collect();
    assert_eq!(got, expected);
    let reasons = [
        ErrorCode::Stale,
        ErrorCode::BadSignature,
        ErrorCode::WrongFederation,
        ErrorCode::WrongAgency,
    ];
    within(Duration::from_secs(20), "the log to say why", || async {
        let log = scene.federation.dir().join("broker.log");
        let log = std::fs::read_to_string(log)?;
        let said = |code: &ErrorCode| {
            let mut lines = log.lines().filter(|l| l.contains("connection refused"));
            lines.any(|line| line.contains(code.code()))
        };
        Ok(reasons.iter().all(said).then_some(()))
    })
    .await?;
    scene.others_are_served().await
}
