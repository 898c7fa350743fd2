//! From the offer to the opened answer, and everything that can come between.

use super::*;

#[test]
fn a_permitted_fact_crosses_reduced_and_sealed() {
    let mut world = world(fact());
    let (stated, permit) = world.ask(KNOWN);
    let offer = world.offer(&stated, &permit);
    let events = world.clinic.hears(NOW, offer).unwrap();
    assert_eq!(events, ["noticed", "answered", "stated"]);
    assert_eq!(world.clinic.holds(&permit.request).status, Status::Released);
    let asked = asked_by::open_context(
        &world.clinic.context,
        world.clinic.core.view(),
        &permit.request,
    );
    let asked = asked.unwrap();
    assert_eq!(asked.worker, "w-1");
    assert!(asked.justification.contains("très tard"));
    let events = world.deliver(|_| ());
    assert_eq!(events, ["noticed", "answer_opened", "stated"]);
    let opened = world.opened(&permit.request).unwrap();
    assert_eq!(opened.outcome, Outcome::Released);
    let json = serde_json::to_string(&opened.items).unwrap();
    assert!(json.contains("2025-Q3") && !json.contains("kept"), "{json}");
    assert!(matches!(world.police.said(), Body::Receipt(r) if r.kind == ReceiptKind::Delivered));
    assert_eq!(world.police.asks(&permit.request).status, Status::Delivered);
}

#[test]
fn no_record_looks_like_a_release_from_outside() {
    let mut sizes = Vec::new();
    let cases = [
        (KNOWN, fact(), Outcome::Released),
        (UNKNOWN, fact(), Outcome::CannotSay),
    ];
    for (subject, fact, expected) in cases {
        let mut world = world(fact);
        let (stated, permit) = world.ask(subject);
        let offer = world.offer(&stated, &permit);
        let events = world.clinic.hears(NOW, offer).unwrap();
        assert_eq!(events, ["noticed", "answered", "stated"]);
        let (_, answer) = world.clinic.outbox().pop().unwrap();
        let sealed = &answer.payloads["answer"].0;
        assert!(seal::is_sealed_size(sealed.len()));
        sizes.push((
            answer.envelope.payload.0.len(),
            sealed.len(),
            answer.not_before,
        ));
        world.deliver(|_| ());
        assert_eq!(world.opened(&permit.request).unwrap().outcome, expected);
    }
    assert_eq!(sizes[0], sizes[1]);
    assert_eq!(sizes[0].2, Timestamp(NOW.0 + 200));
}

#[test]
fn an_offer_that_comes_again_gets_no_second_answer() {
    let mut world = world(fact());
    let (stated, permit) = world.ask(KNOWN);
    let offer = world.offer(&stated, &permit);
    world.clinic.hears(NOW, offer.clone()).unwrap();
    assert_eq!(world.clinic.hears(NOW, offer).unwrap(), [""; 0]);
    // The same permit at another index: in the log, but without effect.
    let replayed = world.offer(&stated, &permit);
    assert_eq!(world.clinic.hears(NOW, replayed).unwrap(), ["noticed"]);
    assert_eq!(world.clinic.outbox().len(), 1);
    world.clinic.settles();
    let replayed = world.offer(&stated, &permit);
    assert_eq!(world.clinic.hears(NOW, replayed).unwrap(), ["noticed"]);
    assert!(world.clinic.outbox().is_empty());
}

#[test]
fn a_review_is_asked_for_whether_or_not_there_is_a_record() {
    for (subject, found) in [(KNOWN, true), (UNKNOWN, false)] {
        let mut world = world(fact());
        let (stated, mut permit) = world.ask(subject);
        permit.review = true;
        let offer = world.offer(&stated, &permit);
        let events = world.clinic.hears(NOW, offer).unwrap();
        assert_eq!(events, ["noticed", "review_asked"]);
        let row = world.clinic.holds(&permit.request);
        assert_eq!(row.status, Status::HolderReview);
        assert_eq!(row.record_found, Some(found));
        assert_eq!(world.clinic.meta().reviews, 1);
        let events = world
            .clinic
            .reviews(&permit.request, Verdict::Approve, "w-1", NOW);
        assert_eq!(events.unwrap(), ["reviewed", "answered", "stated"]);
        assert_eq!(world.clinic.meta().reviews, 0);
        let again = world
            .clinic
            .reviews(&permit.request, Verdict::Decline, "w-1", NOW);
        assert_eq!(again, Err(ErrorCode::WrongState));
        world.deliver(|_| ());
        let outcome = world.opened(&permit.request).unwrap().outcome;
        let expected = if found {
            Outcome::Released
        } else {
            Outcome::CannotSay
        };
        assert_eq!(outcome, expected);
    }
}

#[test]
fn whether_a_person_looks_first_does_not_depend_on_whose_record_is_asked_for() {
    let weighty = Fact {
        sensitivity: Sensitivity::UNKNOWN,
        ..fact()
    };
    let protected = Fact {
        specially_protected: true,
        ..weighty.clone()
    };
    for (subject, fact) in [
        (KNOWN, weighty.clone()),
        (UNKNOWN, weighty),
        (KNOWN, protected),
    ] {
        let mut world = world(fact);
        let (stated, permit) = world.ask(subject);
        let offer = world.offer(&stated, &permit);
        let events = world.clinic.hears(NOW, offer).unwrap();
        assert_eq!(events, ["noticed", "review_asked"]);
    }
}

#[test]
fn a_reviewer_may_decline_or_say_nothing() {
    for (verdict, outcome) in [
        (Verdict::Decline, Outcome::Declined),
        (Verdict::CannotSay, Outcome::CannotSay),
    ] {
        let mut world = world(fact());
        let (stated, mut permit) = world.ask(KNOWN);
        permit.review = true;
        let offer = world.offer(&stated, &permit);
        world.clinic.hears(NOW, offer).unwrap();
        world
            .clinic
            .reviews(&permit.request, verdict, "w-1", NOW)
            .unwrap();
        world.deliver(|_| ());
        let opened = world.opened(&permit.request).unwrap();
        assert_eq!(opened.outcome, outcome);
        assert!(opened.items.is_empty());
    }
}

#[test]
fn a_second_approver_is_another_person() {
    let mut world = world(fact());
    let (stated, mut permit) = world.ask(KNOWN);
    permit.review = true;
    permit.obligations = vec![passerelle_model::pdp::Obligation::SecondApprover];
    let offer = world.offer(&stated, &permit);
    world.clinic.hears(NOW, offer).unwrap();
    let by = |worker| {
        world
            .clinic
            .reviews(&permit.request, Verdict::Approve, worker, NOW)
    };
    assert_eq!(by("w-1").unwrap(), ["reviewed"]);
    assert_eq!(by("w-1"), Err(ErrorCode::Duplicate));
    assert_eq!(by("w-2").unwrap(), ["reviewed", "answered", "stated"]);
}

#[test]
fn the_agencys_own_policy_can_ask_for_a_person_or_say_nothing() {
    let at_risk = Fact {
        third_party_at_risk: true,
        ..fact()
    };
    let mut world_1 = world(at_risk);
    let (stated, permit) = world_1.ask(KNOWN);
    let offer = world_1.offer(&stated, &permit);
    let events = world_1.clinic.hears(NOW, offer).unwrap();
    assert_eq!(events, ["noticed", "review_asked"]);
    let youth = Fact {
        youth_record: true,
        ..fact()
    };
    let mut world_2 = world(youth);
    let (stated, permit) = world_2.ask(KNOWN);
    let offer = world_2.offer(&stated, &permit);
    world_2.clinic.hears(NOW, offer).unwrap();
    let given = world_2.clinic.holds(&permit.request).given.unwrap();
    assert_eq!(given.outcome, Outcome::CannotSay);
}

#[test]
fn an_expired_permit_is_decided_again_before_anything_is_released() {
    let mut world = world(fact());
    let (stated, permit) = world.ask(KNOWN);
    let offer = world.offer(&stated, &permit);
    let late = permit.not_after.plus_s(60);
    assert_eq!(
        world.clinic.hears(late, offer).unwrap(),
        ["noticed", "stated"]
    );
    assert!(matches!(world.clinic.said(), Body::Renewal(_)));
    world.clinic.settles();
    let renewed = permit_for("police", &stated.envelope, late);
    let offer = world.offer(&stated, &renewed);
    let events = world.clinic.hears(late, offer).unwrap();
    assert_eq!(events, ["noticed", "answered", "stated"]);
}

#[test]
fn an_approval_outlives_its_permit_but_covers_no_more() {
    let mut world = world(fact());
    let (stated, mut permit) = world.ask(KNOWN);
    permit.review = true;
    permit.items[0].level = Level::Known;
    let offer = world.offer(&stated, &permit);
    world.clinic.hears(NOW, offer).unwrap();
    let late = permit.not_after.plus_s(60);
    let events = world
        .clinic
        .reviews(&permit.request, Verdict::Approve, "w-1", late);
    assert_eq!(events.unwrap(), ["reviewed", "stated"]);
    assert!(matches!(world.clinic.said(), Body::Renewal(_)));
    // A wider permit needs another look.
    let mut wider = permit_for("police", &stated.envelope, late);
    wider.review = true;
    let offer = world.offer(&stated, &wider);
    let events = world.clinic.hears(late, offer).unwrap();
    assert_eq!(events, ["noticed", "review_asked"]);
    world
        .clinic
        .reviews(&permit.request, Verdict::Approve, "w-1", late)
        .unwrap();
    assert_eq!(world.clinic.holds(&permit.request).status, Status::Released);
}

#[test]
fn an_answer_that_the_broker_refuses_for_its_permit_is_renewed_not_lost() {
    let mut world = world(fact());
    let (stated, permit) = world.ask(KNOWN);
    let offer = world.offer(&stated, &permit);
    world.clinic.hears(NOW, offer).unwrap();
    let events = world.clinic.is_refused(ErrorCode::PermitExpired, NOW);
    assert_eq!(events, ["settled", "stated"]);
    assert!(matches!(world.clinic.said(), Body::Renewal(_)));
    assert_eq!(world.clinic.holds(&permit.request).status, Status::Offered);
    world.clinic.settles();
    let renewed = permit_for("police", &stated.envelope, NOW.plus_s(1));
    let offer = world.offer(&stated, &renewed);
    let events = world.clinic.hears(NOW.plus_s(1), offer).unwrap();
    assert_eq!(events, ["noticed", "answered", "stated"]);
    // A withdrawal is the end.
    assert_eq!(
        world.clinic.is_refused(ErrorCode::PermitWithdrawn, NOW),
        ["settled"]
    );
    let row = world.clinic.holds(&permit.request);
    assert_eq!((row.status, row.given), (Status::Stopped, None));
}

#[test]
fn a_stopped_request_is_not_answered_any_more() {
    let mut world = world(fact());
    let (stated, mut permit) = world.ask(KNOWN);
    permit.review = true;
    let offer = world.offer(&stated, &permit);
    world.clinic.hears(NOW, offer).unwrap();
    let body = EntryBody::Stopped {
        request: permit.request.clone(),
        cause: passerelle_model::entry::StopCause::DecidedAgain,
    };
    let stop = world.federation.notice(NOW, body, &NAMES);
    world.clinic.hears(NOW, stop).unwrap();
    let refused = world
        .clinic
        .reviews(&permit.request, Verdict::Approve, "w-1", NOW);
    assert_eq!(refused, Err(ErrorCode::WrongState));
    assert!(world.clinic.outbox().is_empty());
    assert_eq!(world.clinic.meta().reviews, 0);
}

#[test]
fn a_permit_that_is_not_in_order_is_recorded_and_never_used() {
    let mut world = world(fact());
    let (stated, mut permit) = world.ask(KNOWN);
    permit.items[0].level = Level::Detail;
    let offer = world.offer(&stated, &permit);
    let events = world.clinic.hears(NOW, offer).unwrap();
    assert_eq!(events, ["noticed", "permit_refused"]);
    assert!(world.clinic.outbox().is_empty());
    let row = world.clinic.holds(&permit.request);
    assert_eq!(row.stopped.as_deref(), Some("permit_mismatch"));
}

#[test]
fn an_answer_that_is_not_what_was_signed_is_refused() {
    let spoilers: [fn(&mut v1::Notice); 3] = [
        |n| n.payloads.get_mut("answer").unwrap()[50] ^= 1,
        |n| n.payloads.clear(),
        |n| drop(n.payloads.insert("answer".into(), vec![0; 1072])),
    ];
    for spoil in spoilers {
        let mut world = world(fact());
        let (stated, permit) = world.ask(KNOWN);
        let offer = world.offer(&stated, &permit);
        world.clinic.hears(NOW, offer).unwrap();
        assert_eq!(world.deliver(spoil), ["noticed", "answer_refused"]);
        assert!(world.opened(&permit.request).is_err());
        assert!(world.police.outbox().is_empty(), "no receipt");
        let row = world.police.asks(&permit.request);
        assert_eq!(row.status, Status::Stopped, "nothing more will come");
        assert_eq!(row.stopped.as_deref(), Some("payload_mismatch"));
    }
}
