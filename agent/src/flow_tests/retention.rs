//! Answers whose time is over.

use super::*;
use crate::retention::due;
use passerelle_model::{ids::ConsentId, pdp::Obligation};

const DAY_S: u64 = 86_400;

/// An answer at the police under a permit with these obligations.
fn delivered(obligations: &[Obligation]) -> (World, RequestId) {
    let mut world = world(fact());
    let (stated, mut permit) = world.ask(KNOWN);
    permit.obligations = obligations.to_vec();
    let offer = world.offer(&stated, &permit);
    world.clinic.hears(NOW, offer).unwrap();
    world.deliver(|_| ());
    assert_eq!(world.police.asks(&permit.request).status, Status::Delivered);
    (world, permit.request)
}

impl World {
    fn due(&self, at: Timestamp, grace_h: u64) -> Vec<RequestId> {
        due(self.police.core.view(), at, grace_h).unwrap()
    }
}

#[test]
fn an_answer_is_due_when_the_shortest_of_its_retentions_is_over() {
    let retentions = [Obligation::RetainDays(60), Obligation::RetainDays(30)];
    let (world, request) = delivered(&retentions);
    let end = NOW.plus_s(30 * DAY_S);
    assert_eq!(world.due(Timestamp(end.0 - 1), 0), []);
    assert_eq!(world.due(end, 24), std::slice::from_ref(&request));
    let erased = world.police.erases(&request);
    assert_eq!(erased.unwrap(), ["erasure_begun", "erased", "stated"]);
    assert_eq!(world.due(end.plus_s(DAY_S), 0), [], "once");
}

#[test]
fn an_answer_without_a_retention_is_kept_until_it_is_recalled() {
    let (mut world, request) = delivered(&[]);
    let later = NOW.plus_s(3_650 * DAY_S);
    assert_eq!(world.due(later, 0), []);
    for _ in 0..2 {
        world.police_hear(EntryBody::Recalled {
            request: request.clone(),
            consent: ConsentId::from_random([3; 16]),
        });
    }
    assert_eq!(world.due(NOW, 24), []);
    assert_eq!(world.due(NOW.plus_s(DAY_S - 1), 24), []);
    assert_eq!(
        world.due(NOW.plus_s(DAY_S), 24),
        std::slice::from_ref(&request)
    );
    assert_eq!(
        world.due(NOW, 0),
        std::slice::from_ref(&request),
        "or at once"
    );
    world.police.erases(&request).unwrap();
    assert_eq!(world.due(later, 0), []);
}

#[test]
fn a_permit_that_comes_after_the_answer_does_not_change_its_retention() {
    let (mut world, request) = delivered(&[Obligation::RetainDays(30)]);
    let end = NOW.plus_s(30 * DAY_S);
    let (_, other) = world.ask_with(KNOWN, |_| ());
    world.police_hear(EntryBody::Offered {
        permit: Box::new(Permit {
            request: request.clone(),
            ..other
        }),
    });
    assert_eq!(world.due(end, 24), [request]);
}

#[test]
fn what_was_never_delivered_is_never_due() {
    let world = world(fact());
    let (_, permit) = world.ask_with(KNOWN, |_| ());
    assert_eq!(world.due(NOW.plus_s(3_650 * DAY_S), 0), []);
    assert_eq!(world.police.asks(&permit.request).status, Status::Submitted);
}
