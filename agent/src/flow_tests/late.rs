//! Notices that the broker keeps back and sends after later ones.

use super::*;
use passerelle_model::{entry::StopCause, statement::WithdrawalScope};

#[test]
fn a_notice_that_comes_late_is_counted_once_and_has_no_effect() {
    let mut world = world(fact());
    let (stated, permit) = world.ask(KNOWN);
    let kept_back = world.offer(&stated, &permit);
    world.clinic_hears(EntryBody::HandlesEvaluated {
        agency: agency("clinic"),
        count: 1,
    });
    let next = world.clinic.meta().next_notice;
    let heard = world.clinic.hears(NOW, kept_back.clone());
    assert_eq!(heard.unwrap(), ["noticed"], "it is journaled");
    let view = world.clinic.core.view();
    assert!(state::hold(view, &permit.request).unwrap().is_none());
    assert!(world.clinic.outbox().is_empty());
    let meta = world.clinic.meta();
    assert_eq!((meta.late, meta.next_notice), (1, next));
    assert_eq!(world.clinic.hears(NOW, kept_back).unwrap(), [""; 0]);
    assert_eq!(world.clinic.meta().late, 1, "counted once");
}

#[test]
fn a_notice_that_comes_again_is_not_late() {
    let mut world = world(fact());
    let (stated, permit) = world.ask(KNOWN);
    let offer = world.offer(&stated, &permit);
    world.clinic.hears(NOW, offer.clone()).unwrap();
    assert_eq!(world.clinic.hears(NOW, offer).unwrap(), [""; 0]);
    assert_eq!(world.clinic.meta().late, 0);
}

#[test]
fn a_late_notice_that_the_log_does_not_hold_is_refused_and_not_counted() {
    let mut world = world(fact());
    let (stated, permit) = world.ask(KNOWN);
    let mut offer = world.offer(&stated, &permit);
    world.clinic_hears(EntryBody::HandlesEvaluated {
        agency: agency("clinic"),
        count: 1,
    });
    offer.entry.push(b' ');
    let heard = world.clinic.hears(NOW, offer);
    assert_eq!(heard, Err(ErrorCode::ProofInvalid));
    assert_eq!(world.clinic.meta().late, 0);
}

#[test]
fn a_late_withdrawal_and_a_late_stop_take_effect() {
    let mut world = world_of(fact(), |_| (), false);
    let consent = world.records("police", KNOWN, |_| ());
    let (stated, permit) = world.ask(KNOWN);
    assert_eq!(world.offered(&stated, &permit), ["noticed", "review_asked"]);
    let said = world.says_withdrawal("police", &consent, WithdrawalScope::All);
    let withdrawal = world.federation.said(NOW, "police", said);
    let cause = StopCause::Withdrawn(consent);
    let request = permit.request.clone();
    let stopped = EntryBody::Stopped { request, cause };
    let stopped = world.federation.notice(NOW, stopped, &NAMES);
    world.clinic_hears(EntryBody::HandlesEvaluated {
        agency: agency("clinic"),
        count: 1,
    });
    assert_eq!(world.clinic.hears(NOW, stopped).unwrap(), ["noticed"]);
    assert_eq!(world.clinic.holds(&permit.request).status, Status::Stopped);
    assert_eq!(world.clinic.hears(NOW, withdrawal).unwrap(), ["noticed"]);
    assert_eq!(world.clinic.meta().late, 2);
    let (stated, permit) = world.ask(KNOWN);
    world.offered(&stated, &permit);
    assert_eq!(world.clinic.holds(&permit.request).status, Status::Declined);
}

#[test]
fn a_revocation_that_comes_late_shuts_the_member_out() {
    let mut world = world(fact());
    let agency = agency("police");
    let revoked = EntryBody::Revoked { agency };
    let revoked = world.federation.notice(NOW, revoked, &NAMES);
    let other = EntryBody::Revoked {
        agency: self::agency("social"),
    };
    world.clinic_hears(other);
    assert_eq!(world.clinic.hears(NOW, revoked).unwrap(), ["noticed"]);
    assert_eq!(world.clinic.meta().late, 1);
    let police = state::member(world.clinic.core.view(), &self::agency("police"));
    assert!(!police.unwrap().unwrap().active);
}
