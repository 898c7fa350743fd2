//! An agency that goes on under a new origin of the log.

use super::*;
use crate::event::OriginAccepted;
use passerelle_audit::witness::WitnessState;

impl World {
    /// The clinic accepts that the log goes on from so many entries, and hears anew who is a
    /// member. The key stays that of the log under test.
    fn clinic_goes_on(&mut self, index: u64) {
        let accepted = OriginAccepted {
            entry: Digest([1; 32]),
            index,
            key: self.clinic.context.identity.anchors.log.to_string(),
            witness: WitnessState::default(),
            again: Vec::new(),
            resumptions: Vec::new(),
        };
        let accepted = Event::OriginAccepted(Box::new(accepted));
        self.clinic.happens(vec![accepted]);
        let mut membership = vec![self.federation.founding()];
        membership.extend(self.federation.enrolments(&NAMES));
        for notice in membership {
            self.clinic.hears(NOW, notice).unwrap();
        }
    }
}

#[test]
fn a_permit_of_the_former_origin_is_not_used_when_it_comes_under_the_new() {
    let mut world = world(fact());
    let (stated, permit) = world.ask(KNOWN);
    let offer = world.offer(&stated, &permit);
    world.clinic_goes_on(offer.index + 1);
    assert_eq!(world.clinic.hears(NOW, offer).unwrap(), ["noticed"]);
    let view = world.clinic.core.view();
    assert!(state::hold(view, &permit.request).unwrap().is_none());
    assert!(world.clinic.outbox().is_empty());
    // One that is issued under the new origin is.
    let (stated, permit) = world.ask(KNOWN);
    let offer = world.offer(&stated, &permit);
    world.clinic.hears(NOW, offer).unwrap();
    assert_eq!(world.clinic.outbox().len(), 1);
}

#[test]
fn an_answer_under_the_former_origin_that_has_not_left_does_not_leave() {
    let mut world = world(fact());
    let (stated, permit) = world.ask(KNOWN);
    let offer = world.offer(&stated, &permit);
    let index = offer.index;
    world.clinic.hears(NOW, offer).unwrap();
    let (_, answer) = world.clinic.outbox().pop().expect("an answer");
    world.clinic_goes_on(index + 1);
    assert!(world.clinic.outbox().is_empty());
    let row = world.clinic.holds(&permit.request);
    assert_eq!(row.status, Status::Stopped);
    assert_eq!(row.stopped.as_deref(), Some("superseded"));
    let sent = state::sent(world.clinic.core.view(), &answer.envelope.digest()).unwrap();
    assert_eq!(sent.unwrap().code, Some(ErrorCode::PermitWithdrawn));
}
