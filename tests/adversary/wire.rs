//! Frames, sizes, rates and connections that are not what they should be.

use crate::scene::{CATEGORY, EXE, Scene, Seat};
use anyhow::Result;
use passerelle_agent::handle::{Blinding, MAX_BATCH};
use passerelle_model::{bytes::Bytes, entry::EntryBody, error::ErrorCode};
use passerelle_proto::{MAX_MESSAGE_BYTES, PROTOCOL, v1};
use passerelle_tests::{
    federation::Federation, raw_agency::code_of, raw_session::Said, statements::somebody,
};
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use v1::agent_frame::Frame;

#[tokio::test(flavor = "multi_thread")]
async fn an_evaluation_of_garbage_is_refused_and_the_stream_goes_on() -> Result<()> {
    let federation = Federation::start(EXE).await?;
    let house = Seat::take(&federation, "house", "community").await?;
    let good = Blinding::blind(&[b"token".to_vec()])?.1.remove(0);
    let identity = vec![0; 32];
    let mut long = good.clone();
    long.push(0);
    for (what, batch) in [
        ("none", vec![]),
        ("identity", vec![good.clone(), identity]),
        ("not canonical", vec![vec![0xff; 32]]),
        ("short", vec![good[..31].to_vec()]),
        ("long", vec![long]),
        ("empty", vec![vec![], good.clone()]),
        ("above the cap", vec![good.clone(); MAX_BATCH + 1]),
    ] {
        let refused = house.session.evaluate(batch).await?;
        assert_eq!(refused.code, ErrorCode::Malformed.code(), "{what}");
        assert!(
            refused.elements.is_empty() && refused.proof.is_empty(),
            "{what}"
        );
    }
    // Refused ones are not counted, the honest one is, before it is answered.
    let before = federation.broker_status().await?.log_size;
    let tokens = vec![b"one".to_vec(), b"two".to_vec()];
    let (blinding, blinded) = Blinding::blind(&tokens)?;
    let done = house.session.evaluate(blinded).await?;
    assert_eq!(done.code, "");
    let key = &house.agency.oprf_key;
    let handles = blinding.finalize(&done.elements, &done.proof, key)?;
    assert_eq!(handles.len(), 2);
    assert_eq!(federation.broker_status().await?.log_size, before + 1);
    let counted = house.agency.notice("the count", |n| {
        matches!(n.entry.body, EntryBody::HandlesEvaluated { count: 2, .. })
    });
    counted.await?;
    let all = house.agency.notices();
    let is_count = |n: &&passerelle_tests::raw_agency::Received| {
        matches!(n.entry.body, EntryBody::HandlesEvaluated { .. })
    };
    assert_eq!(all.iter().filter(is_count).count(), 1);
    Ok(())
}

fn limits(federation: &Federation, set: &[(&str, i64)]) -> Result<()> {
    federation.configure(|config| {
        let limits = config.entry("limits").or_insert(toml::Table::new().into());
        for (name, value) in set {
            let table = limits.as_table_mut().unwrap();
            table.insert((*name).into(), (*value).into());
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn above_the_rate_statements_are_refused_and_the_stream_goes_on() -> Result<()> {
    let mut federation = Federation::found(EXE).await?;
    limits(
        &federation,
        &[("statements_per_s", 20), ("statements_burst", 5)],
    )?;
    federation.serve_broker().await?;
    let house = Seat::take(&federation, "house", "community").await?;
    let other = Seat::take(&federation, "school", "education").await?;
    let mut calls = Vec::new();
    for _ in 0..40 {
        let (_, opening) = house.agency.case(&[]);
        calls.push(house.session.begin(house.agency.sign(&opening)).await);
    }
    // One agency's flood does not use up another's allowance.
    let (_, opening) = other.agency.case(&[]);
    other.say(&opening).await?.index();
    let (mut done, mut limited) = (0, 0);
    for call in calls {
        match house.session.reply(call).await? {
            Said::Done(_) => done += 1,
            Said::Refused(ErrorCode::RateLimited, None) => limited += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(done >= 5, "the burst passes: {done}");
    assert!(limited >= 10, "the rest does not: {limited}");
    assert!(house.session.end().is_none(), "the stream goes on");
    let (_, opening) = house.agency.case(&[]);
    passerelle_tests::wait::until("the rate to allow one again", || async {
        let said = house.say(&opening).await?;
        Ok(matches!(said, Said::Done(_)).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn above_the_rate_evaluations_are_refused_by_element_and_the_stream_goes_on() -> Result<()> {
    let mut federation = Federation::found(EXE).await?;
    limits(
        &federation,
        &[("evaluations_per_s", 1), ("evaluations_burst", 10)],
    )?;
    federation.serve_broker().await?;
    let house = Seat::take(&federation, "house", "community").await?;
    let batch = |n: usize| {
        let tokens: Vec<_> = (0..n).map(|i| vec![u8::try_from(i).unwrap(); 4]).collect();
        Blinding::blind(&tokens).unwrap().1
    };
    assert_eq!(house.session.evaluate(batch(8)).await?.code, "");
    let refused = house.session.evaluate(batch(8)).await?;
    assert_eq!(refused.code, ErrorCode::RateLimited.code());
    assert!(refused.elements.is_empty());
    assert!(house.session.end().is_none());
    let (_, opening) = house.agency.case(&[]);
    house.say(&opening).await?.index();
    // Reconnecting does not give a fresh allowance.
    let again = house.agency.attach().await?;
    let refused = again.evaluate(batch(8)).await?;
    assert_eq!(
        refused.code,
        ErrorCode::RateLimited.code(),
        "after reconnecting"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_above_the_limit_ends_the_stream_with_its_code() -> Result<()> {
    let scene = Scene::open().await?;
    let (subject, _) = scene.consenting().await?;
    let mut draft = scene.question(&subject).draft;
    let large = Bytes(vec![7; MAX_MESSAGE_BYTES + 1]);
    draft.payloads.insert("context".into(), large);
    scene
        .house
        .session
        .begin(scene.house.agency.sign(&draft))
        .await;
    let end = scene.house.session.ended().await?;
    assert_eq!(end.code, Some(ErrorCode::TooLarge), "{end:?}");
    // The agency may come back and work.
    let session = scene.house.agency.attach().await?;
    let honest = scene.house.agency.sign(&scene.question(&subject).draft);
    session.submit(honest).await?.index();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_out_of_order_or_form_ends_the_stream_with_its_code() -> Result<()> {
    let federation = Federation::start(EXE).await?;
    let house = federation.raw("house", "community").await?;
    let malformed = Some(ErrorCode::Malformed);
    let hello = |protocol| {
        Frame::Hello(v1::Hello {
            protocol,
            ..Default::default()
        })
    };
    for (what, first) in [
        ("evaluate first", Frame::Evaluate(v1::Evaluate::default())),
        ("statement first", Frame::Submit(v1::Submit::default())),
        (
            "cosignature first",
            Frame::Cosigned(v1::Cosigned::default()),
        ),
        ("protocol 0", hello(0)),
        ("protocol 2", hello(PROTOCOL + 1)),
    ] {
        let refused = house.attach_with(first).await.err();
        let refused = refused.unwrap_or_else(|| panic!("{what} was welcomed"));
        assert_eq!(code_of(&refused), malformed, "{what}: {refused:?}");
    }
    let (_, opening) = house.case(&[]);
    let honest = house.sign(&opening);
    let mut short = honest.clone();
    short.envelope.as_mut().unwrap().signature.truncate(63);
    let none = v1::Submit {
        envelope: None,
        ..honest
    };
    for (what, frame) in [
        ("hello again", hello(PROTOCOL)),
        ("no envelope", Frame::Submit(none)),
        ("short signature", Frame::Submit(short)),
    ] {
        let session = house.attach().await?;
        assert!(session.send(frame).await);
        let end = session.ended().await?;
        assert_eq!(end.code, malformed, "{what}: {end:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opening_with_an_unknown_field_is_refused_and_logged() -> Result<()> {
    let scene = Scene::open().await?;
    let (subject, _) = scene.consenting().await?;
    let honest = scene.house.agency.sign(&scene.question(&subject).draft);
    let mut unknown = honest.clone();
    unknown.openings[0].field = "nickname".into();
    let code = ErrorCode::UnknownCode;
    scene.house.is_refused("field", unknown, code).await?;
    let mut short = honest;
    short.openings[0].random.truncate(16);
    let code = ErrorCode::Malformed;
    scene.house.is_refused("random", short, code).await?;
    scene.nothing_crossed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_and_garbage_connections_do_not_block_others() -> Result<()> {
    let scene = Scene::open().await?;
    let address = scene.federation.address();
    let mut held = Vec::new();
    for n in 0..200_usize {
        let mut tcp = TcpStream::connect(address).await?;
        // A third says nothing, a third begins a handshake and stops, a third talks nonsense.
        match n % 3 {
            0 => {}
            1 => tcp.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).await?,
            _ => tcp.write_all(b"GET / HTTP/1.1\r\n\r\n").await?,
        }
        held.push(tcp);
    }
    let began = Instant::now();
    let (asked, _, permit) = scene.permitted().await?;
    let answer = scene.clinic.agency.answer(&permit, b"{}");
    let index = scene.clinic.say(&answer).await?.index();
    scene.house.agency.notice_of(index).await?;
    // New connections are let in too, with a certificate and without.
    drop(scene.school.agency.attach().await?);
    scene.federation.raw("shelter", "housing_income").await?;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(8), "held up for {took:?}");
    drop(asked);
    // Nonsense is hung up on.
    let mut bytes = [0; 64];
    let hung_up = async { while held[2].read(&mut bytes).await.is_ok_and(|n| n > 0) {} };
    tokio::time::timeout(Duration::from_secs(5), hung_up).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_stream_takes_the_place_of_the_first_and_loses_no_notice() -> Result<()> {
    let mut scene = Scene::open().await?;
    for _ in 0..5 {
        let clinic = &scene.clinic.agency;
        let names = [&scene.house.agency.agency];
        let (_, terms) = clinic.consent(&somebody(), &[CATEGORY], &names, &[&clinic.agency]);
        let before = scene.clinic.session.begin(clinic.sign(&terms)).await;
        let session = scene.house.agency.attach().await?;
        scene.house.session.ended().await?;
        scene.house.session = session;
        let index = scene.clinic.session.reply(before).await?.index();
        scene.house.agency.notice_of(index).await?;
    }
    let indices: Vec<_> = scene
        .house
        .agency
        .notices()
        .iter()
        .map(|n| n.index)
        .collect();
    let mut once = indices.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), indices.len(), "nothing twice");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn impossible_numbers_harm_only_who_sends_them() -> Result<()> {
    let scene = Scene::open().await?;
    // The fourth one: three of four are a quorum.
    let liar = scene.federation.raw("shelter", "housing_income").await?;
    let session = liar
        .attach_with(Frame::Hello(v1::Hello {
            protocol: PROTOCOL,
            next_notice: u64::MAX,
            next_member: u64::MAX,
            witness_size: u64::MAX,
            origin: String::new(),
        }))
        .await?;
    for size in [0, 1, 1 << 40, u64::MAX] {
        let line = format!("\u{2014} essai/shelter {}", "A".repeat(100));
        for signature in [String::new(), "\n".repeat(50), line] {
            session
                .send(Frame::Cosigned(v1::Cosigned { size, signature }))
                .await;
        }
        let refused = v1::CosignRefused {
            size,
            status: u32::MAX,
            known_size: u64::MAX,
        };
        session.send(Frame::CosignRefused(refused)).await;
    }
    // After all of it: who says that its witness saw a longer log holds up itself alone, until it
    // takes that back; the others' exchange goes on.
    let (_, opening) = liar.case(&[]);
    match session.submit(liar.sign(&opening)).await? {
        Said::Refused(ErrorCode::NoQuorum, None) => {}
        other => panic!("must wait: {other:?}"),
    }
    let (asked, _, permit) = scene.permitted().await?;
    let answer = scene.clinic.agency.answer(&permit, b"{}");
    let index = scene.clinic.say(&answer).await?.index();
    scene.house.agency.notice_of(index).await?;
    scene.house.agency.require_honest_broker()?;
    drop(asked);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agency_that_does_not_read_holds_up_nobody_else() -> Result<()> {
    let scene = Scene::open().await?;
    // The fourth one sends its hello and never reads: three of four are a quorum.
    let deaf = scene.federation.raw("shelter", "housing_income").await?;
    let held = deaf.attach_deaf().await?;
    let (house, clinic) = (&scene.house.agency, &scene.clinic.agency);
    let names = [&house.agency, &deaf.agency];
    let mut last = 0;
    for _ in 0..300 {
        let (_, terms) = clinic.consent(&somebody(), &[CATEGORY], &names, &[&clinic.agency]);
        last = scene.clinic.say(&terms).await?.index();
    }
    house.notice_of(last).await?;
    house.require_honest_broker()?;
    drop(held);
    Ok(())
}
