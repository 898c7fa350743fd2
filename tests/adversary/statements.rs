//! Statements that are not what they should be.

use crate::scene::{Scene, statement_of};
use anyhow::Result;
use passerelle_model::{
    bytes::{Bytes, Digest, Nonce},
    commitment::Field,
    entry::EntryBody,
    error::ErrorCode,
    ids::RequestId,
    pdp::Effect,
    statement::{Body, CaseAdvance, PAYLOAD_CONTEXT},
    vocabulary::{Level, Stage, Threshold},
};
use passerelle_tests::{
    raw_agency::{now, random},
    raw_session::Said,
    statements::{commit, somebody},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_signature_is_refused_and_logged() -> Result<()> {
    let scene = Scene::open().await?;
    let (subject, _) = scene.consenting().await?;
    let honest = scene.house.agency.sign(&scene.question(&subject).draft);

    let mut flipped = honest.clone();
    flipped.envelope.as_mut().unwrap().signature[17] ^= 1;
    let mut zero = honest.clone();
    zero.envelope.as_mut().unwrap().signature = vec![0; 64];
    // Signed by another member, in this one's name.
    let mut anothers = honest.clone();
    let payload = honest.envelope.clone().unwrap().payload;
    anothers.envelope = Some(scene.school.agency.envelope(payload));
    // Signed over other bytes than those sent.
    let mut swapped = honest.clone();
    let other = scene.house.agency.sign(&scene.question(&somebody()).draft);
    swapped.envelope.as_mut().unwrap().signature = other.envelope.unwrap().signature;
    for (what, bad) in [
        ("one bit", flipped),
        ("zeros", zero),
        ("another's key", anothers),
        ("over other bytes", swapped),
    ] {
        let code = ErrorCode::BadSignature;
        scene.house.is_refused(what, bad, code).await?;
    }
    scene.nothing_crossed().await?;
    // A refused statement leaves no trace that would stop the honest one.
    scene.house.session.submit(honest).await?.index();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_under_another_agencys_name_is_refused_and_logged() -> Result<()> {
    let scene = Scene::open().await?;
    let (subject, _) = scene.consenting().await?;
    // The school sends the house's own, rightly signed request.
    let stolen = scene.house.agency.sign(&scene.question(&subject).draft);
    let code = ErrorCode::WrongAgency;
    scene.school.is_refused("stolen", stolen, code).await?;
    // The school signs in the house's name.
    let mut draft = scene.question(&subject).draft;
    draft.statement.agency = scene.house.agency.agency.clone();
    let forged = scene.school.agency.sign(&draft);
    scene.school.is_refused("forged", forged, code).await?;
    let nobody = "nobody-here".parse()?;
    draft.statement.agency = nobody;
    let forged = scene.school.agency.sign(&draft);
    scene.school.is_refused("made up", forged, code).await?;
    scene.nothing_crossed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_of_another_federation_is_refused_and_logged() -> Result<()> {
    let scene = Scene::open().await?;
    let (subject, _) = scene.consenting().await?;
    let mut draft = scene.question(&subject).draft;
    draft.statement.federation = "elsewhere".parse()?;
    let bad = scene.house.agency.sign(&draft);
    let code = ErrorCode::WrongFederation;
    scene.house.is_refused("federation", bad, code).await?;
    scene.nothing_crossed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_request_has_no_second_effect() -> Result<()> {
    let scene = Scene::open().await?;
    let (asked, _, _) = scene.permitted().await?;
    let first = scene.house.agency.notice("its request", |n| {
        matches!(crate::scene::said(n), Some(Body::Request(_)))
    });
    let first = first.await?.index;
    scene.fence().await?;
    let size = scene.federation.broker_status().await?.log_size;
    let again = scene.house.agency.sign(&asked.draft);
    for _ in 0..3 {
        let said = scene.house.session.submit(again.clone()).await?;
        assert_eq!(said, Said::Refused(ErrorCode::Replayed, Some(first)));
    }
    // Nor with other openings and payloads beside the same signed bytes.
    let mut stripped = again.clone();
    stripped.openings.clear();
    stripped.payloads.clear();
    let said = scene.house.session.submit(stripped).await?;
    assert_eq!(said, Said::Refused(ErrorCode::Replayed, Some(first)));
    assert_eq!(scene.federation.broker_status().await?.log_size, size);
    // Nor by another agency, nor after the broker was killed.
    let code = ErrorCode::WrongAgency;
    let stolen = scene.school.is_refused("replay", again.clone(), code);
    stolen.await?;
    let mut scene = scene;
    scene.federation.restart_broker().await?;
    scene.house.session = scene.house.agency.attach().await?;
    let said = scene.house.session.submit(again).await?;
    assert_eq!(said, Said::Refused(ErrorCode::Replayed, Some(first)));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_serves_once() -> Result<()> {
    let scene = Scene::open().await?;
    let (asked, _, _) = scene.permitted().await?;
    // The same id for another person, by the same agency and by another one.
    for seat in [&scene.house, &scene.school] {
        let (subject, _) = scene.consenting().await?;
        let clinic = &scene.clinic.agency;
        let mut other = seat
            .agency
            .request(clinic, &subject, crate::scene::CATEGORY);
        other.draft.request_mut().request = asked.request.clone();
        let bad = seat.agency.sign(&other.draft);
        seat.is_refused("id", bad, ErrorCode::Duplicate).await?;
    }
    scene.nothing_crossed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_no_vocabulary_has_is_refused_and_not_guessed() -> Result<()> {
    let scene = Scene::open().await?;
    let (subject, _) = scene.consenting().await?;
    for (field, known, unknown) in [
        ("category", "in_service", "in_servicE"),
        ("category", "in_service", ""),
        ("level", "known", "everything"),
        ("purpose", "plan", "curiosity"),
        ("basis", "consent", "because"),
        ("role", "mentor", "king"),
    ] {
        let bytes = String::from_utf8(scene.question(&subject).draft.bytes())?;
        let changed = bytes.replace(
            &format!("\"{field}\":\"{known}\""),
            &format!("\"{field}\":\"{unknown}\""),
        );
        assert_ne!(bytes, changed, "{field}");
        let bad = scene.house.agency.submit_bytes(changed.into_bytes());
        let code = ErrorCode::UnknownCode;
        scene.house.is_refused(field, bad, code).await?;
    }
    scene.nothing_crossed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn anything_but_canonical_json_is_refused_and_logged() -> Result<()> {
    let scene = Scene::open().await?;
    let (subject, _) = scene.consenting().await?;
    let text = String::from_utf8(scene.question(&subject).draft.bytes())?;
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let bad = [
        ("empty", String::new()),
        ("not json", "hello".into()),
        ("null", "null".into()),
        ("deep", deep),
        ("cut", text[..text.len() - 1].into()),
        ("space", text.replacen(':', ": ", 1)),
        ("line end", format!("{text}\n")),
        ("two", format!("{text}{text}")),
        ("unknown field", text.replacen('{', "{\"@a\":1,", 1)),
        ("field twice", text.replacen('{', "{\"@version\":1,", 1)),
        ("escape", text.replacen("in_service", "\\u0069n_service", 1)),
        (
            "float",
            text.replacen("\"@version\":1", "\"@version\":1.0", 1),
        ),
        (
            "version",
            text.replacen("\"@version\":1", "\"@version\":2", 1),
        ),
        ("case of an id", text.replacen("\"req-", "\"REQ-", 1)),
    ];
    for (what, payload) in bad {
        assert_ne!(payload, text, "{what}");
        let bad = scene.house.agency.submit_bytes(payload.into_bytes());
        let code = ErrorCode::Malformed;
        scene.house.is_refused(what, bad, code).await?;
    }
    let not_text = scene.house.agency.submit_bytes(vec![0xff; 64]);
    let code = ErrorCode::Malformed;
    scene.house.is_refused("not text", not_text, code).await?;
    scene.nothing_crossed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_out_of_its_time_is_refused_and_logged() -> Result<()> {
    let scene = Scene::open().await?;
    let (subject, _) = scene.consenting().await?;
    for at in [
        now().plus_s(600),
        now().plus_s(40 * 365 * 86_400),
        now().minus_s(31 * 86_400),
        passerelle_model::time::Timestamp(0),
    ] {
        let mut draft = scene.question(&subject).draft;
        draft.statement.at = at;
        let bad = scene.house.agency.sign(&draft);
        let what = at.to_rfc3339();
        scene.house.is_refused(&what, bad, ErrorCode::Stale).await?;
    }
    scene.nothing_crossed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opening_that_does_not_open_is_refused_and_logged() -> Result<()> {
    let scene = Scene::open().await?;
    let (subject, _) = scene.consenting().await?;
    let honest = scene.question(&subject).draft;
    let with = |change: &dyn Fn(&mut passerelle_model::commitment::Opening)| {
        let mut draft = honest.clone();
        change(&mut draft.openings[0]);
        draft
    };
    let mut missing = honest.clone();
    missing.openings.clear();
    // A commitment that opens, but not to a handle.
    let mut short = honest.clone();
    let (commitment, opening) = commit(Field::Subject, b"marie");
    short.request_mut().subject = Some(commitment);
    short.openings = vec![opening];
    for (what, draft) in [
        ("missing", missing),
        ("random", with(&|o| o.random = Nonce([0; 32]))),
        (
            "another person",
            with(&|o| o.data = Bytes(random::<32>().to_vec())),
        ),
        ("longer", with(&|o| o.data.0.push(0))),
        ("another field", with(&|o| o.field = Field::Worker)),
        ("not a handle", short),
    ] {
        let bad = scene.house.agency.sign(&draft);
        let code = ErrorCode::OpeningMismatch;
        scene.house.is_refused(what, bad, code).await?;
    }
    scene.nothing_crossed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_with_another_digest_is_refused_and_logged() -> Result<()> {
    let scene = Scene::open().await?;
    let (subject, _) = scene.consenting().await?;
    let honest = scene.question(&subject).draft;
    let mut missing = honest.clone();
    missing.payloads.clear();
    let mut changed = honest.clone();
    changed.payloads.get_mut(PAYLOAD_CONTEXT).unwrap().0[5] ^= 1;
    let mut renamed = honest.clone();
    let context = renamed.payloads.remove(PAYLOAD_CONTEXT).unwrap();
    renamed.payloads.insert("Context".into(), context);
    for (what, draft) in [
        ("missing", missing),
        ("changed", changed),
        ("renamed", renamed),
    ] {
        let bad = scene.house.agency.sign(&draft);
        let code = ErrorCode::PayloadMismatch;
        scene.house.is_refused(what, bad, code).await?;
    }
    // A rightly digested one that is over the limit.
    let mut large = honest.clone();
    let context = vec![7; 16 * 1024 + 1];
    large.request_mut().context = Digest::of(&context);
    large
        .payloads
        .insert(PAYLOAD_CONTEXT.into(), Bytes(context));
    let bad = scene.house.agency.sign(&large);
    scene
        .house
        .is_refused("large", bad, ErrorCode::TooLarge)
        .await?;
    scene.nothing_crossed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_asks_nobody_or_nothing_is_refused_and_logged() -> Result<()> {
    let scene = Scene::open().await?;
    let (subject, _) = scene.consenting().await?;
    let changed = |change: &dyn Fn(&mut passerelle_model::statement::Request)| {
        let mut draft = scene.question(&subject).draft;
        change(draft.request_mut());
        draft
    };
    let house = scene.house.agency.agency.clone();
    let case = passerelle_model::ids::CaseId::from_random(random());
    for (what, draft, code) in [
        (
            "unknown holder",
            changed(&|r| r.holder = "nobody-here".parse().unwrap()),
            ErrorCode::UnknownAgency,
        ),
        (
            "itself",
            changed(&|r| r.holder = house.clone()),
            ErrorCode::OutOfRange,
        ),
        (
            "no item",
            changed(&|r| r.items.clear()),
            ErrorCode::OutOfRange,
        ),
        (
            "one item twice",
            changed(&|r| {
                let mut item = r.items[0];
                item.level = Level::Detail;
                r.items.push(item);
            }),
            ErrorCode::OutOfRange,
        ),
        (
            "over already",
            changed(&|r| r.not_after = now().minus_s(1)),
            ErrorCode::OutOfRange,
        ),
        (
            "for ever",
            changed(&|r| r.not_after = passerelle_model::time::Timestamp(u64::MAX >> 11)),
            ErrorCode::OutOfRange,
        ),
        (
            "no person",
            changed(&|r| r.subject = None),
            ErrorCode::OutOfRange,
        ),
        (
            "unknown case",
            changed(&|r| r.case = Some(case.clone())),
            ErrorCode::UnknownCase,
        ),
    ] {
        let bad = scene.house.agency.sign(&draft);
        scene.house.is_refused(what, bad, code).await?;
    }
    scene.nothing_crossed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_by_an_agency_that_the_consent_does_not_name_is_refused() -> Result<()> {
    let scene = Scene::open().await?;
    let (subject, consent) = scene.consenting().await?;
    let school = &scene.school;
    let bad = school.agency.sign(&school.agency.withdrawal(&consent));
    school
        .is_refused("named", bad, ErrorCode::NotAParty)
        .await?;
    let unknown = passerelle_model::ids::ConsentId::from_random(random());
    let bad = school.agency.sign(&school.agency.withdrawal(&unknown));
    school
        .is_refused("unknown", bad, ErrorCode::UnknownConsent)
        .await?;
    // It still stands: the house gets its permit.
    let asked = scene.question(&subject);
    scene.house.say(&asked.draft).await?.index();
    scene.permit(&asked.request).await?;
    // And the recipient, whom it names, may withdraw it.
    let withdrawal = scene.house.agency.withdrawal(&consent);
    scene.house.say(&withdrawal).await?.index();
    stopped(&scene, &asked.request).await
}

async fn stopped(scene: &Scene, request: &RequestId) -> Result<()> {
    let is_stop = |n: &passerelle_tests::raw_agency::Received| {
        let EntryBody::Stopped {
            request: stopped, ..
        } = &n.entry.body
        else {
            return false;
        };
        stopped == request
    };
    scene.clinic.agency.notice("the stop", is_stop).await?;
    scene.house.agency.notice("the stop", is_stop).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_its_lead_advances_a_case() -> Result<()> {
    let scene = Scene::open().await?;
    let (house, clinic) = (&scene.house, &scene.clinic);
    let (case, opening) = house.agency.case(&[&clinic.agency.agency]);
    house.say(&opening).await?.index();
    let advance = CaseAdvance {
        case: case.clone(),
        stage: Stage::DeIdentified,
        threshold: Threshold::Pending,
        agencies: vec![clinic.agency.agency.clone()],
        plan: vec![],
        subject: None,
        outcome: None,
    };
    // One at the table, one who is not.
    for seat in [clinic, &scene.school] {
        let draft = seat.agency.draft(Body::CaseAdvance(advance.clone()));
        let bad = seat.agency.sign(&draft);
        seat.is_refused("advance", bad, ErrorCode::NotAParty)
            .await?;
    }
    let skipped = CaseAdvance {
        stage: Stage::Interveners,
        threshold: Threshold::Agreed,
        ..advance.clone()
    };
    let draft = house.agency.draft(Body::CaseAdvance(skipped));
    let bad = house.agency.sign(&draft);
    house
        .is_refused("skipped", bad, ErrorCode::WrongState)
        .await?;
    let draft = house.agency.draft(Body::CaseAdvance(advance));
    house.say(&draft).await?.index();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_request_never_reaches_the_holder() -> Result<()> {
    let scene = Scene::open().await?;
    // Nobody consented.
    let asked = scene.question(&somebody());
    let index = scene.house.say(&asked.draft).await?.index();
    let decided = scene.house.agency.notice_of(index + 1).await?;
    let EntryBody::Decided { items, .. } = &decided.entry.body else {
        panic!("{:?}", decided.entry.body);
    };
    assert!(items.iter().all(|i| i.ruling.effect == Effect::Deny));
    assert!(!items[0].ruling.reasons.is_empty(), "a denial says why");
    scene.nothing_crossed().await?;
    for notice in scene.clinic.agency.notices() {
        let text = String::from_utf8(notice.entry.to_bytes()?)?;
        assert!(!text.contains(asked.request.as_str()), "{text}");
        if let EntryBody::Said { envelope, .. } = &notice.entry.body {
            assert!(!matches!(statement_of(envelope), Body::Request(_)));
        }
    }
    Ok(())
}
