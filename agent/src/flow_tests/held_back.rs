//! An answer that was made, and had not left when the person withdrew.

use super::{consents::bare, *};
use passerelle_model::statement::WithdrawalScope;

/// A release by the clinic that waits for a stream, and whose consent was withdrawn there.
fn withdrawn(scope: WithdrawalScope) -> (World, Permit) {
    withdrawn_with(scope, |_| ())
}

fn withdrawn_with(scope: WithdrawalScope, edit: impl FnOnce(&mut Permit)) -> (World, Permit) {
    let mut world = bare();
    let consent = world.records("clinic", KNOWN, |_| ());
    let (stated, mut permit) = world.ask(KNOWN);
    edit(&mut permit);
    assert_eq!(world.offers(&stated, &permit, NOW), "released");
    world.withdraws_unsent("clinic", &consent, scope);
    (world, permit)
}

#[test]
fn an_answer_does_not_leave_after_the_person_withdrew_here() {
    let (mut world, permit) = withdrawn(WithdrawalScope::All);
    let instead = vec!["held_back", "answered", "stated"];
    assert_eq!(world.clinic.sends(), (vec!["withdrawal"], instead));
    // The house hears no more than that it was declined.
    assert_eq!(world.clinic.holds(&permit.request).status, Status::Declined);
    assert_eq!(world.clinic.meta().outbox, 2);
    world.deliver(|_| ());
    let opened = world.opened(&permit.request).unwrap();
    assert_eq!(opened.outcome, Outcome::Declined);
    assert!(opened.items.is_empty());
}

#[test]
fn an_answer_whose_permit_ran_out_meanwhile_is_asked_about_again() {
    let (mut world, permit) = withdrawn_with(WithdrawalScope::All, |permit| {
        permit.not_after = NOW.plus_s(30);
    });
    let (said, journaled) = world.clinic.sends();
    assert_eq!(
        (said, journaled),
        (vec!["withdrawal"], vec!["held_back", "stated"])
    );
    assert!(matches!(world.clinic.said(), Body::Renewal(_)));
    let row = world.clinic.holds(&permit.request);
    assert_eq!((row.status, row.given), (Status::Offered, None));
    // The broker decides again, and there is nothing left to rest on.
    world.clinic_hears(EntryBody::Stopped {
        request: permit.request.clone(),
        cause: passerelle_model::entry::StopCause::DecidedAgain,
    });
    let row = world.clinic.holds(&permit.request);
    assert_eq!(row.status, Status::Stopped);
}

#[test]
fn an_answer_leaves_if_what_was_withdrawn_does_not_concern_it() {
    for scope in [
        WithdrawalScope::Recipient(agency("mentors")),
        WithdrawalScope::Category(Category::Name),
    ] {
        let (world, _) = withdrawn(scope);
        let (said, journaled) = world.clinic.sends();
        assert_eq!((said, journaled), (vec!["answer", "withdrawal"], vec![]));
    }
}

#[test]
fn a_silence_leaves_all_the_same() {
    let mut world = bare();
    let consent = world.records("clinic", KNOWN, |t| t.purposes = vec![Purpose::Plan]);
    let (stated, permit) = world.ask(KNOWN);
    let declined = world.offers(&stated, &permit, NOW);
    assert_eq!(declined, "declined: unknown_consent");
    world.withdraws_unsent("clinic", &consent, WithdrawalScope::All);
    assert_eq!(world.clinic.sends().0, ["answer", "withdrawal"]);
}

#[test]
fn an_answer_that_had_left_before_the_cut_is_known_when_the_log_shows_it() {
    let (mut world, permit) = withdrawn(WithdrawalScope::All);
    let (_, answer) = world.clinic.outbox().remove(0);
    world.clinic.sends();
    assert_eq!(world.clinic.holds(&permit.request).status, Status::Declined);
    let notice = world.federation.said(NOW, "clinic", answer.envelope);
    world.clinic.hears(NOW, notice).unwrap();
    let row = world.clinic.holds(&permit.request);
    assert_eq!((row.status, row.stopped), (Status::Released, None));
    assert!(row.given.unwrap().accepted);
    // What was said instead is refused then, which changes nothing.
    world.clinic.is_refused(ErrorCode::WrongState, NOW);
    assert_eq!(world.clinic.holds(&permit.request).status, Status::Released);
}
