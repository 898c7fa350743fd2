//! An answer that was made, and had not left when the person withdrew.

use super::{consents::bare, *};
use passerelle_model::statement::WithdrawalScope;

/// A release by the clinic that waits for a stream, and whose consent was withdrawn there.
fn withdrawn(scope: WithdrawalScope) -> (World, Permit) {
    let mut world = bare();
    let consent = world.records("clinic", KNOWN, |_| ());
    let (stated, permit) = world.ask(KNOWN);
    assert_eq!(world.offers(&stated, &permit, NOW), "released");
    world.withdraws_unsent("clinic", &consent, scope);
    (world, permit)
}

#[test]
fn an_answer_does_not_leave_after_the_person_withdrew_here() {
    let (world, permit) = withdrawn(WithdrawalScope::All);
    let (said, journaled) = world.clinic.sends();
    assert_eq!((said, journaled), (vec!["withdrawal"], vec!["held_back"]));
    let row = world.clinic.holds(&permit.request);
    assert_eq!(row.status, Status::Stopped);
    assert_eq!(row.stopped.as_deref(), Some("permit_withdrawn"));
    assert_eq!(world.clinic.sends(), (vec!["withdrawal"], vec![]));
    assert_eq!(world.clinic.meta().outbox, 1);
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
    assert_eq!(world.clinic.sends().1, ["held_back"]);
    let notice = world.federation.said(NOW, "clinic", answer.envelope);
    world.clinic.hears(NOW, notice).unwrap();
    let row = world.clinic.holds(&permit.request);
    assert_eq!((row.status, row.stopped), (Status::Released, None));
    assert!(row.given.unwrap().accepted);
}
