//! Permits that could not be used because a clock was off.

use super::*;
use crate::postponed;

impl World {
    /// What the clinic asks for again, and says.
    fn asks_again(&self, at: Timestamp) -> Vec<&'static str> {
        self.clinic
            .write(at, move |context, view| {
                let events = postponed::ask_again(context, view, at)?;
                let kinds = kinds(&events);
                Ok((events, kinds))
            })
            .unwrap()
    }

    fn waits(&self) -> usize {
        let waiting = postponed::waiting(self.clinic.core.view(), 9);
        waiting.unwrap().len()
    }
}

#[test]
fn a_permit_ahead_of_a_slow_clock_is_asked_for_again_once_the_clock_is_right() {
    let mut world = world(fact());
    let (stated, _) = world.ask(KNOWN);
    let later = NOW.plus_s(1_000);
    let permit = permit_for("police", &stated.envelope, later);
    let offer = world.offer(&stated, &permit);
    assert_eq!(world.clinic.hears(NOW, offer).unwrap(), ["noticed"]);
    assert_eq!(world.waits(), 1);
    assert_eq!(world.asks_again(NOW), [""; 0], "the clock is still slow");
    assert_eq!(world.asks_again(later), ["stated"]);
    let Body::Renewal(renewal) = world.clinic.said() else {
        panic!("not a renewal");
    };
    assert_eq!(renewal.permit, permit.digest().unwrap());
    assert_eq!(world.asks_again(later), [""; 0], "asked already");
    // Too early for the broker: it is asked again later.
    world.clinic.is_refused(ErrorCode::WrongState, later);
    assert_eq!(world.asks_again(later.plus_s(60)), ["stated"]);
    world.clinic.settles();
    let renewed = permit_for("police", &stated.envelope, later.plus_s(60));
    let events = world.offered(&stated, &renewed);
    assert_eq!(events, ["noticed", "answered", "stated"]);
    assert_eq!(world.waits(), 0);
    assert_eq!(world.asks_again(later.plus_s(120)), [""; 0]);
}

#[test]
fn a_renewal_refused_because_of_a_fast_clock_is_said_again() {
    let mut world = world(fact());
    let (stated, permit) = world.ask(KNOWN);
    let fast = permit.not_after.plus_s(10_000);
    let offer = world.offer(&stated, &permit);
    assert_eq!(
        world.clinic.hears(fast, offer).unwrap(),
        ["noticed", "stated"]
    );
    assert_eq!(world.waits(), 0);
    world.clinic.is_refused(ErrorCode::Stale, fast);
    assert_eq!(world.waits(), 1);
    let right = permit.not_after.plus_s(60);
    assert_eq!(world.asks_again(right), ["stated"]);
    world.clinic.settles();
    let renewed = permit_for("police", &stated.envelope, right);
    let events = world.offered(&stated, &renewed);
    assert_eq!(events, ["noticed", "answered", "stated"]);
    assert_eq!(world.waits(), 0);
}

#[test]
fn an_answer_refused_because_of_the_clock_is_not_the_end() {
    let mut world = world(fact());
    let (stated, permit) = world.ask(KNOWN);
    let events = world.offered(&stated, &permit);
    assert_eq!(events, ["noticed", "answered", "stated"]);
    world.clinic.is_refused(ErrorCode::Stale, NOW);
    let row = world.clinic.holds(&permit.request);
    assert_eq!((row.status, row.stopped), (Status::Offered, None));
    assert_eq!(world.asks_again(NOW.plus_s(60)), ["stated"]);
    world.clinic.settles();
    let renewed = permit_for("police", &stated.envelope, NOW.plus_s(60));
    let events = world.offered(&stated, &renewed);
    assert_eq!(events, ["noticed", "answered", "stated"]);
}

#[test]
fn what_is_over_is_not_asked_for_again() {
    let mut world = world(fact());
    let (stated, _) = world.ask(KNOWN);
    let permit = permit_for("police", &stated.envelope, NOW.plus_s(1_000));
    let offer = world.offer(&stated, &permit);
    world.clinic.hears(NOW, offer).unwrap();
    assert_eq!(world.waits(), 1);
    let request = permit.request;
    world.clinic_hears(EntryBody::Expired { request });
    assert_eq!(world.waits(), 0);
    assert_eq!(world.asks_again(NOW.plus_s(2_000)), [""; 0]);
}
