//! A member agency that searches, probes, floods, repeats and lies in its receipts.

use crate::scene::{CATEGORY, EXE, Scene, Seat};
use anyhow::Result;
use passerelle_agent::handle::Blinding;
use passerelle_model::{
    bytes::Digest,
    entry::EntryBody,
    error::ErrorCode,
    statement::{Body, PAYLOAD_ANSWER, Receipt, ReceiptKind},
};
use passerelle_proto::v1;
use passerelle_tests::{
    federation::Federation,
    raw_agency::{RawAgency, Received},
    raw_session::Said,
    statements::{Asked, somebody},
};
use std::time::{Duration, Instant};

fn limits(federation: &Federation, set: &[(&str, i64)]) -> Result<()> {
    federation.configure(|config| {
        let limits = config.entry("limits").or_insert(toml::Table::new().into());
        for (name, value) in set {
            let table = limits.as_table_mut().unwrap();
            table.insert((*name).into(), (*value).into());
        }
    })
}

/// The entries of the log that `reader` may read.
async fn entries(reader: &RawAgency) -> Result<Vec<passerelle_model::entry::Entry>> {
    let mut client = reader.log_reader().await?;
    let request = v1::EntriesRequest { from: 0, until: 0 };
    let mut stream = client.entries(request).await?.into_inner();
    let mut entries = Vec::new();
    while let Some(row) = stream.message().await? {
        if !row.entry.is_empty() {
            entries.push(passerelle_model::entry::Entry::from_bytes(&row.entry)?);
        }
    }
    Ok(entries)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agency_that_tries_names_is_slowed_down_and_oversight_reads_how_many() -> Result<()> {
    let mut federation = Federation::found(EXE).await?;
    limits(
        &federation,
        &[("evaluations_per_s", 1), ("evaluations_burst", 60)],
    )?;
    federation.serve_broker().await?;
    let scene = Scene::on(federation).await?;
    let oversight = Seat::take(&scene.federation, "oversight", "oversight").await?;
    let (mut got, mut refused) = (0_u64, 0);
    for batch in 0..10_u8 {
        let tokens: Vec<_> = (0..20_u8).map(|n| vec![batch, n, 1, 2]).collect();
        let done = scene
            .school
            .session
            .evaluate(Blinding::blind(&tokens)?.1)
            .await?;
        match done.code.as_str() {
            "" => got += done.elements.len() as u64,
            code => {
                assert_eq!(code, ErrorCode::RateLimited.code());
                refused += 1;
            }
        }
    }
    assert!((60..=80).contains(&got), "{got} of 200 names");
    assert!(refused >= 6, "{refused}");
    // The house is not slowed down by it.
    let own = scene
        .house
        .session
        .evaluate(Blinding::blind(&[vec![1]])?.1)
        .await?;
    assert_eq!(own.code, "");
    scene.fence().await?;
    let counted: u64 = entries(&oversight.agency)
        .await?
        .iter()
        .map(|entry| match &entry.body {
            EntryBody::HandlesEvaluated { agency, count } if agency.as_str() == "school" => {
                u64::from(*count)
            }
            _ => 0,
        })
        .sum();
    assert_eq!(counted, got, "every name tried is in the log");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_without_a_basis_learn_nothing_and_each_is_an_entry_for_oversight() -> Result<()>
{
    let scene = Scene::open().await?;
    let oversight = Seat::take(&scene.federation, "oversight", "oversight").await?;
    // Somebody of whom there is a consent, for another house; and people of whom there is nothing.
    let known = somebody();
    let clinic = &scene.clinic.agency;
    let names = [&scene.house.agency.agency];
    let (_, terms) = clinic.consent(&known, &[CATEGORY], &names, &[&clinic.agency]);
    scene.clinic.say(&terms).await?.index();
    let mut asked: Vec<Asked> = Vec::new();
    for subject in [known, somebody(), somebody(), somebody()] {
        let question = scene.school.agency.request(clinic, &subject, CATEGORY);
        scene.school.say(&question.draft).await?.index();
        asked.push(question);
    }
    let mut reasons = Vec::new();
    for question in &asked {
        let id = question.request.clone();
        let decided = |n: &Received| match &n.entry.body {
            EntryBody::Decided { request, .. } => *request == id,
            _ => false,
        };
        let notice = scene.school.agency.notice("the decision", decided).await?;
        let EntryBody::Decided { items, .. } = notice.entry.body else {
            unreachable!("matched above")
        };
        reasons.push(serde_json::to_value(&items)?);
    }
    scene.fence().await?;
    for reason in &reasons[1..] {
        assert_eq!(reason, &reasons[1], "one stranger is like the other");
    }
    let heard = clinic.notices();
    for question in &asked {
        let mentions = |n: &Received| {
            String::from_utf8_lossy(&n.entry.to_bytes().unwrap())
                .contains(question.request.as_str())
        };
        assert!(!heard.iter().any(mentions), "the clinic heard of it");
    }
    let tried = entries(&oversight.agency)
        .await?
        .into_iter()
        .filter(|entry| {
            let EntryBody::Said { agency, envelope } = &entry.body else {
                return false;
            };
            let body = envelope.unverified_statement().unwrap().body;
            agency.as_str() == "school" && matches!(body, Body::Request(_))
        });
    assert_eq!(tried.count(), asked.len());
    Ok(())
}

/// How long the clinic waits for the reply to a statement, in the middle of several.
async fn latency(seat: &Seat, other: &RawAgency) -> Result<Duration> {
    let mut took = Vec::new();
    for _ in 0..25 {
        let names = [&other.agency];
        let agency = &seat.agency;
        let (_, terms) = agency.consent(&somebody(), &[CATEGORY], &names, &[&agency.agency]);
        let began = Instant::now();
        seat.say(&terms).await?.index();
        took.push(began.elapsed());
    }
    took.sort_unstable();
    Ok(took[took.len() / 2])
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agency_that_floods_is_refused_and_another_is_served_meanwhile() -> Result<()> {
    let mut federation = Federation::found(EXE).await?;
    limits(
        &federation,
        &[("statements_per_s", 50), ("statements_burst", 100)],
    )?;
    federation.serve_broker().await?;
    let scene = Scene::on(federation).await?;
    let calm = latency(&scene.clinic, &scene.house.agency).await?;
    let flood = async {
        let mut calls = Vec::new();
        for _ in 0..1_500 {
            let (_, opening) = scene.school.agency.case(&[]);
            let submit = scene.school.agency.sign(&opening);
            calls.push(scene.school.session.begin(submit).await);
        }
        let mut limited = 0;
        for call in calls {
            if let Said::Refused(code, index) = scene.school.session.reply(call).await? {
                assert_eq!((code, index), (ErrorCode::RateLimited, None));
                limited += 1;
            }
        }
        anyhow::Ok(limited)
    };
    let served = latency(&scene.clinic, &scene.house.agency);
    let (limited, flooded) = tokio::join!(flood, served);
    let (limited, flooded) = (limited?, flooded?);
    assert!(limited > 1_000, "{limited} of 1,500 refused");
    // Not the first second of it, but the middle of all: a factor for the shared machine.
    let bound = (calm * 10).max(Duration::from_millis(500));
    assert!(flooded < bound, "{flooded:?} in the flood, {calm:?} before");
    assert!(scene.school.session.end().is_none(), "and it may go on");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_session_said_again_backwards_and_by_another_changes_nothing() -> Result<()> {
    let mut scene = Scene::open().await?;
    let subject = somebody();
    let (house, clinic) = (scene.house.agency.clone(), scene.clinic.agency.clone());
    let names = [&house.agency];
    let (consent, terms) = clinic.consent(&subject, &[CATEGORY], &names, &[&clinic.agency]);
    let terms = clinic.sign(&terms);
    scene.clinic.session.submit(terms.clone()).await?.index();
    let asked = house.request(&clinic, &subject, CATEGORY);
    let request = house.sign(&asked.draft);
    scene.house.session.submit(request.clone()).await?.index();
    let permit = scene.permit(&asked.request).await?;
    let answer = clinic.sign(&clinic.answer(&permit, b"{}"));
    let answered = scene.clinic.session.submit(answer.clone()).await?.index();
    let sealed = house.notice_of(answered).await?.payloads[PAYLOAD_ANSWER].clone();
    let receipt = house.sign(&house.draft(Body::Receipt(Receipt {
        request: asked.request.clone(),
        kind: ReceiptKind::Delivered,
        sealed: Digest::of(&sealed),
    })));
    scene.house.session.submit(receipt.clone()).await?.index();
    let withdrawal = house.sign(&house.withdrawal(&consent));
    scene
        .house
        .session
        .submit(withdrawal.clone())
        .await?
        .index();
    scene.fence().await?;
    let size = scene.federation.broker_status().await?.log_size;
    // On new streams, from the last to the first, twice.
    scene.house.session = house.attach().await?;
    scene.clinic.session = clinic.attach().await?;
    for _ in 0..2 {
        for submit in [&withdrawal, &receipt, &request] {
            let said = scene.house.session.submit(submit.clone()).await?;
            said.refused_as(ErrorCode::Replayed);
        }
        for submit in [&answer, &terms] {
            let said = scene.clinic.session.submit(submit.clone()).await?;
            said.refused_as(ErrorCode::Replayed);
        }
    }
    let now = scene.federation.broker_status().await?.log_size;
    assert_eq!(now, size, "a repetition is no entry");
    // And by another, who recorded the session: it is not the school's to say.
    for submit in [withdrawal, receipt, request, answer, terms] {
        let code = ErrorCode::WrongAgency;
        scene.school.is_refused("another's", submit, code).await?;
    }
    let answers = house.notices().into_iter().filter(crate::scene::is_answer);
    assert_eq!(answers.count(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_for_what_never_came_or_for_anothers_is_refused_and_logged() -> Result<()> {
    let scene = Scene::open().await?;
    let (asked, _, permit) = scene.permitted().await?;
    let house = &scene.house;
    let receipt = |kind, sealed: &[u8]| {
        let sealed = Digest::of(sealed);
        let request = asked.request.clone();
        house
            .agency
            .sign(&house.agency.draft(Body::Receipt(Receipt {
                request,
                kind,
                sealed,
            })))
    };
    let kinds = [
        ReceiptKind::Delivered,
        ReceiptKind::Viewed,
        ReceiptKind::Erased,
    ];
    for kind in kinds {
        let lie = receipt(kind, b"nothing");
        house
            .is_refused("before the answer", lie, ErrorCode::WrongState)
            .await?;
    }
    let answer = scene.clinic.agency.answer(&permit, b"{}");
    let index = scene.clinic.say(&answer).await?.index();
    let sealed = house.agency.notice_of(index).await?.payloads[PAYLOAD_ANSWER].clone();
    for kind in kinds {
        let lie = receipt(kind, b"another answer");
        house
            .is_refused("another answer", lie, ErrorCode::PayloadMismatch)
            .await?;
    }
    let early = receipt(ReceiptKind::Viewed, &sealed);
    house
        .is_refused("viewed before it came", early, ErrorCode::WrongState)
        .await?;
    // Another agency says so of the house's request, and the holder of its own answer.
    for seat in [&scene.school, &scene.clinic] {
        for kind in kinds {
            let lie = seat.agency.draft(Body::Receipt(Receipt {
                request: asked.request.clone(),
                kind,
                sealed: Digest::of(&sealed),
            }));
            let lie = seat.agency.sign(&lie);
            seat.is_refused("another's", lie, ErrorCode::NotAParty)
                .await?;
        }
    }
    house
        .session
        .submit(receipt(ReceiptKind::Erased, &sealed))
        .await?
        .index();
    let late = receipt(ReceiptKind::Viewed, &sealed);
    house
        .is_refused("viewed what is destroyed", late, ErrorCode::WrongState)
        .await
}
