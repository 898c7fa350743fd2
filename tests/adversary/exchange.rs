//! Answers that should not be, and the one that should.

use crate::scene::{CATEGORY, Scene, is_answer};
use anyhow::Result;
use passerelle_model::{
    bytes::Digest,
    entry::EntryBody,
    error::ErrorCode,
    ids::RequestId,
    statement::{Body, PAYLOAD_ANSWER, Receipt, ReceiptKind, Renewal},
};
use passerelle_tests::{
    raw_agency::{now, random},
    statements::somebody,
};

const FACT: &[u8] = b"{\"in_service\":\"yes, since the spring\"}";

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_under_its_permit_crosses_sealed_to_the_requester_alone() -> Result<()> {
    let scene = Scene::open().await?;
    let (asked, _, permit) = scene.permitted().await?;
    let answer = scene.clinic.agency.answer(&permit, FACT);
    let index = scene.clinic.say(&answer).await?.index();
    let notice = scene.house.agency.notice_of(index).await?;
    let sealed = &notice.payloads[PAYLOAD_ANSWER];
    assert!(!sealed.windows(8).any(|w| FACT.windows(8).any(|f| f == w)));
    let digest = permit.digest()?;
    let opened = asked.reply_key.open(&digest.0, b"", sealed)?;
    assert_eq!(opened.as_slice(), FACT);
    scene.fence().await?;
    // The holder gets no copy of its own answer, the school nothing at all.
    let of_clinic = scene.clinic.agency.notice_of(index).await?;
    assert!(of_clinic.payloads.is_empty());
    assert!(
        scene
            .school
            .agency
            .notices()
            .iter()
            .all(|n| n.index != index)
    );

    // Once: a second answer, even the same one signed anew, is refused.
    let second = scene
        .clinic
        .agency
        .sign(&scene.clinic.agency.answer(&permit, FACT));
    let code = ErrorCode::WrongState;
    scene.clinic.is_refused("second", second, code).await?;
    // Only the requester gives receipts, and only for what it got.
    let receipt = |sealed: Digest| {
        Body::Receipt(Receipt {
            request: asked.request.clone(),
            kind: ReceiptKind::Delivered,
            sealed,
        })
    };
    let right = Digest::of(sealed);
    for seat in [&scene.clinic, &scene.school] {
        let bad = seat.agency.sign(&seat.agency.draft(receipt(right)));
        seat.is_refused("receipt", bad, ErrorCode::NotAParty)
            .await?;
    }
    let house = &scene.house;
    let bad = house
        .agency
        .sign(&house.agency.draft(receipt(Digest::of(b""))));
    house
        .is_refused("receipt", bad, ErrorCode::PayloadMismatch)
        .await?;
    house
        .say(&house.agency.draft(receipt(right)))
        .await?
        .index();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_a_permit_is_refused_and_logged() -> Result<()> {
    let scene = Scene::open().await?;
    let (_, _, permit) = scene.permitted().await?;
    // To a request that was denied, with a permit made up from another.
    let denied = scene.question(&somebody());
    scene.house.say(&denied.draft).await?.index();
    let mut invented = permit.clone();
    invented.request = denied.request.clone();
    let bad = scene
        .clinic
        .agency
        .sign(&scene.clinic.agency.answer(&invented, FACT));
    let code = ErrorCode::WrongState;
    scene.clinic.is_refused("denied", bad, code).await?;
    // To a request that nobody made.
    invented.request = RequestId::from_random(random());
    let bad = scene
        .clinic
        .agency
        .sign(&scene.clinic.agency.answer(&invented, FACT));
    let code = ErrorCode::UnknownRequest;
    scene.clinic.is_refused("unknown", bad, code).await?;
    // A renewal can't make a permit out of nothing either.
    let renewal = Body::Renewal(Renewal {
        request: denied.request.clone(),
        permit: permit.digest()?,
    });
    let bad = scene
        .clinic
        .agency
        .sign(&scene.clinic.agency.draft(renewal));
    let code = ErrorCode::WrongState;
    scene.clinic.is_refused("renewal", bad, code).await?;
    scene.nothing_crossed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_under_another_permit_is_refused_and_logged() -> Result<()> {
    let scene = Scene::open().await?;
    let (_, _, permit) = scene.permitted().await?;
    let (_, _, other) = scene.permitted().await?;
    let clinic = &scene.clinic;
    let mut crossed = clinic.agency.answer(&permit, FACT);
    crossed.answer_mut().permit = other.digest()?;
    // A permit widened by the holder itself has another digest.
    let mut widened = permit.clone();
    widened.not_after = permit.not_after.plus_s(86_400);
    let widened = clinic.agency.answer(&widened, FACT);
    for (what, draft) in [("of another request", crossed), ("widened", widened)] {
        let bad = clinic.agency.sign(&draft);
        clinic
            .is_refused(what, bad, ErrorCode::PermitMismatch)
            .await?;
    }
    let mut changed = clinic.agency.answer(&permit, FACT);
    changed.answer_mut().sealed = Digest::of(b"other");
    let bad = clinic.agency.sign(&changed);
    clinic
        .is_refused("payload", bad, ErrorCode::PayloadMismatch)
        .await?;
    scene.nothing_crossed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_by_another_agency_than_the_holder_is_refused_and_logged() -> Result<()> {
    let scene = Scene::open().await?;
    let (_, _, permit) = scene.permitted().await?;
    // The permit's text may leak: it serves nobody but its holder, the requester included.
    for seat in [&scene.school, &scene.house] {
        let bad = seat.agency.sign(&seat.agency.answer(&permit, FACT));
        seat.is_refused("holder", bad, ErrorCode::NotAParty).await?;
    }
    scene.nothing_crossed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_after_the_withdrawal_is_refused_and_nothing_crosses() -> Result<()> {
    let scene = Scene::open().await?;
    let (_, consent, permit) = scene.permitted().await?;
    let withdrawal = scene.house.agency.withdrawal(&consent);
    scene.house.say(&withdrawal).await?.index();
    // The clinic may not have heard of it yet: the broker knows.
    let bad = scene
        .clinic
        .agency
        .sign(&scene.clinic.agency.answer(&permit, FACT));
    let code = ErrorCode::PermitWithdrawn;
    scene.clinic.is_refused("answer", bad, code).await?;
    let renewal = Body::Renewal(Renewal {
        request: permit.request.clone(),
        permit: permit.digest()?,
    });
    let bad = scene
        .clinic
        .agency
        .sign(&scene.clinic.agency.draft(renewal));
    scene.clinic.is_refused("renewal", bad, code).await?;
    scene.nothing_crossed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_and_an_answer_at_the_same_time_never_both_hold() -> Result<()> {
    let scene = Scene::open().await?;
    for _ in 0..10 {
        let (asked, consent, permit) = scene.permitted().await?;
        let answer = scene
            .clinic
            .agency
            .sign(&scene.clinic.agency.answer(&permit, FACT));
        let withdrawal = scene
            .house
            .agency
            .sign(&scene.house.agency.withdrawal(&consent));
        let (answered, withdrawn) = tokio::join!(
            scene.clinic.session.submit(answer),
            scene.house.session.submit(withdrawal),
        );
        let withdrawn = withdrawn?.index();
        match answered? {
            passerelle_tests::raw_session::Said::Done(index) => {
                assert!(index < withdrawn, "released after the withdrawal");
                // Then the recipient is told to give it back.
                let recalled = scene.house.agency.notice("the recall", |n| {
                    matches!(&n.entry.body,
                        EntryBody::Recalled { request, .. } if *request == asked.request)
                });
                recalled.await?;
            }
            refused => {
                refused.refused_as(ErrorCode::PermitWithdrawn);
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_after_the_request_ran_out_of_time_is_refused() -> Result<()> {
    let scene = Scene::open().await?;
    let (subject, _) = scene.consenting().await?;
    let mut asked = scene.question(&subject);
    asked.draft.request_mut().not_after = now().plus_s(1);
    scene.house.say(&asked.draft).await?.index();
    let permit = scene.permit(&asked.request).await?;
    assert!(
        permit.not_after <= now().plus_s(1),
        "no longer than the request"
    );
    let expired = scene.house.agency.notice(
        "the end",
        |n| matches!(&n.entry.body, EntryBody::Expired { request } if *request == asked.request),
    );
    expired.await?;
    let bad = scene
        .clinic
        .agency
        .sign(&scene.clinic.agency.answer(&permit, FACT));
    let code = ErrorCode::WrongState;
    scene.clinic.is_refused("late", bad, code).await?;
    scene.nothing_crossed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_was_away_is_decided_for_again_when_it_comes() -> Result<()> {
    let mut scene = Scene::open().await?;
    let (stays, _) = scene.consenting().await?;
    let (withdraws, consent) = scene.consenting().await?;
    scene.fence().await?;
    drop(scene.clinic.session);
    passerelle_tests::wait::until("the clinic to be gone", || async {
        let members = scene.federation.broker_status().await?.members;
        let gone = members.iter().any(|m| m.agency == "clinic" && !m.connected);
        Ok(gone.then_some(()))
    })
    .await?;
    let agency = scene.clinic.agency.clone();
    let ask = |subject| scene.house.agency.request(&agency, subject, CATEGORY);
    let (kept, lost) = (ask(&stays), ask(&withdraws));
    for asked in [&kept, &lost] {
        scene.house.say(&asked.draft).await?.index();
    }
    let withdrawal = scene.house.agency.withdrawal(&consent);
    scene.house.say(&withdrawal).await?.index();
    scene.clinic.session = agency.attach().await?;
    let permit = scene.permit(&kept.request).await?;
    scene.nothing_crossed().await?;
    let hears_of_lost = agency.notices().iter().any(|n| {
        String::from_utf8_lossy(&n.entry.to_bytes().unwrap()).contains(lost.request.as_str())
    });
    assert!(
        !hears_of_lost,
        "after a withdrawal the holder hears nothing of the request"
    );
    let answer = agency.answer(&permit, FACT);
    let index = scene.clinic.say(&answer).await?.index();
    assert!(is_answer(&scene.house.agency.notice_of(index).await?));
    Ok(())
}
