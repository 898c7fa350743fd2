//! Other spellings of a name: what a person at the holder compares, and what never leaves without.

use super::{consents::bare, *};
use crate::{
    asked_by::NearAsked,
    near::{Likeness, near_tokens},
    near_index::{self, NearHandles},
};
use passerelle_model::{pdp::Obligation, statement::WithdrawalScope};

/// What the oblivious function would make of a near token.
fn near_of(person: &Person) -> Vec<(Likeness, Handle)> {
    let tokens = near_tokens(person).into_iter();
    let handle = |token: Vec<u8>| Handle(Digest::of(&token).0);
    tokens.map(|(how, token)| (how, handle(token))).collect()
}

/// As the police write the clinic's Zoé Tremblay.
fn soe() -> Person {
    Person::new("Tremblé", "Soé", "2009-05-02".parse().unwrap(), None).unwrap()
}

/// A clinic where Zoé Tremblay can be found by other spellings.
fn clinic() -> World {
    let world = bare();
    world.clinic.is_indexed(&person());
    world
}

impl Agent {
    fn is_indexed(&self, person: &Person) {
        self.happens(vec![Event::NearFound(vec![NearHandles {
            token: self.context.vault.index().unwrap().token(person),
            handles: near_of(person),
        }])]);
    }

    fn is_near(&self, person: &Person) -> Vec<String> {
        let asked: Vec<_> = near_of(person).into_iter().map(|(_, h)| h).collect();
        let shown = near_index::shown(&self.context.vault, self.core.view(), &asked);
        shown.unwrap().into_iter().map(|near| near.record).collect()
    }
}

impl World {
    /// The police ask about somebody by this handle, and by other spellings of `person`.
    fn asks_near(&mut self, subject: Handle, person: &Person) -> (Permit, Vec<&'static str>) {
        self.asks_near_with(subject, person, |_| ())
    }

    fn asks_near_with(
        &mut self,
        subject: Handle,
        person: &Person,
        edit: impl FnOnce(&mut Permit),
    ) -> (Permit, Vec<&'static str>) {
        let near = NearAsked {
            handles: near_of(person).into_iter().map(|(_, h)| h).collect(),
            person: person.clone(),
        };
        let (stated, mut permit) = self.ask_with(subject, |question| {
            question.near = Some(near);
            question.basis = LegalBasis::Gdpr6;
        });
        edit(&mut permit);
        let events = self.offered(&stated, &permit);
        (permit, events)
    }

    fn approves(
        &self,
        permit: &Permit,
        worker: &'static str,
        record: Option<&'static str>,
    ) -> Result<Vec<&'static str>, ErrorCode> {
        let approve = Verdict::Approve;
        self.clinic
            .reviews_record(&permit.request, approve, worker, record, NOW)
    }

    fn opens(&mut self, permit: &Permit) -> (Outcome, usize) {
        let (_, stated) = self.clinic.outbox().pop().unwrap();
        let size = stated.payloads["answer"].0.len();
        self.deliver(|_| ());
        let opened = self.opened(&permit.request).unwrap();
        assert_eq!(opened.items.is_empty(), opened.outcome != Outcome::Released);
        (opened.outcome, size)
    }
}

const REVIEW: [&str; 2] = ["noticed", "review_asked"];

#[test]
fn who_asks_for_no_other_spelling_is_told_nothing_of_one() {
    let mut world = clinic();
    assert_eq!(world.clinic.is_near(&soe()), ["c-1"]);
    let (stated, permit) = world.ask_with(UNKNOWN, |q| q.basis = LegalBasis::Gdpr6);
    let events = world.offered(&stated, &permit);
    assert_eq!(events, ["noticed", "answered", "stated"]);
    assert_eq!(world.opens(&permit).0, Outcome::CannotSay);
}

#[test]
fn a_person_looks_whoever_is_near_or_found_or_neither() {
    let mut world = clinic();
    let stranger = Person::new("Roy", "Ida", "1970-01-02".parse().unwrap(), None).unwrap();
    for (subject, by) in [(UNKNOWN, soe()), (UNKNOWN, stranger), (KNOWN, person())] {
        assert_eq!(world.asks_near(subject, &by).1, REVIEW);
    }
}

#[test]
fn a_near_match_is_released_once_somebody_says_which_record_it_is() {
    let mut world = clinic();
    let (permit, _) = world.asks_near(UNKNOWN, &soe());
    let row = world.clinic.holds(&permit.request);
    assert_eq!(row.record_found, Some(false));
    for wrong in [None, Some("c-9"), Some("")] {
        let refused = world.approves(&permit, "n-1", wrong);
        assert_eq!(refused, Err(ErrorCode::OutOfRange), "{wrong:?}");
    }
    let events = world.approves(&permit, "n-1", Some("c-1")).unwrap();
    assert_eq!(events, ["reviewed", "answered", "stated"]);
    assert_eq!(world.opens(&permit).0, Outcome::Released);
}

#[test]
fn somebody_else_and_nobody_look_the_same() {
    let mut world = clinic();
    let (permit, _) = world.asks_near(UNKNOWN, &soe());
    let rejected = world
        .clinic
        .reviews(&permit.request, Verdict::CannotSay, "n-1", NOW);
    rejected.unwrap();
    let somebody_else = world.opens(&permit);
    let stranger = Person::new("Roy", "Ida", "1970-01-02".parse().unwrap(), None).unwrap();
    let (permit, _) = world.asks_near(UNKNOWN, &stranger);
    assert!(world.approves(&permit, "n-1", Some("c-1")).is_err());
    world.approves(&permit, "n-1", None).unwrap();
    assert_eq!(world.opens(&permit), somebody_else);
    assert_eq!(somebody_else.0, Outcome::CannotSay);
}

#[test]
fn a_record_that_is_found_needs_no_choice() {
    let mut world = clinic();
    let (permit, _) = world.asks_near(KNOWN, &person());
    let row = world.clinic.holds(&permit.request);
    assert_eq!(row.record_found, Some(true));
    assert!(world.approves(&permit, "n-1", Some("c-1")).is_err());
    world.approves(&permit, "n-1", None).unwrap();
    assert_eq!(world.opens(&permit).0, Outcome::Released);
}

#[test]
fn a_second_person_can_not_choose_another_record() {
    let mut world = clinic();
    let index = world.clinic.context.vault.index().unwrap();
    let (two, token) = (person(), index.token(&person()));
    world
        .clinic
        .imports("k", vec![imported("c-2", two, fact())]);
    let name = index.source(&SourceId("c-2".into()));
    let row = state::person(world.clinic.core.view(), &name.0).unwrap();
    assert_eq!(row.unwrap().token, token);
    let (permit, _) = world.asks_near_with(UNKNOWN, &soe(), |permit| {
        permit.obligations.push(Obligation::SecondApprover);
    });
    world.approves(&permit, "n-1", Some("c-1")).unwrap();
    let other = world.approves(&permit, "n-2", Some("c-2"));
    assert_eq!(other, Err(ErrorCode::OutOfRange));
    world.approves(&permit, "n-2", None).unwrap();
    assert_eq!(world.opens(&permit).0, Outcome::Released);
}

#[test]
fn who_withdrew_under_the_own_spelling_has_withdrawn() {
    let mut world = clinic();
    let consent = world.records("clinic", KNOWN, |_| ());
    world.withdraws("clinic", &consent, WithdrawalScope::All);
    let (permit, _) = world.asks_near(UNKNOWN, &soe());
    world.approves(&permit, "n-1", Some("c-1")).unwrap();
    assert_eq!(world.opens(&permit).0, Outcome::CannotSay);
}

#[test]
fn a_corrected_name_is_near_by_its_new_spelling_alone() {
    let world = clinic();
    let roy = Person::new("Roy", "Ida", "1970-01-02".parse().unwrap(), None).unwrap();
    world
        .clinic
        .imports("k", vec![imported("c-1", roy.clone(), fact())]);
    assert!(world.clinic.is_near(&soe()).is_empty());
    let waiting = near_index::without(world.clinic.core.view(), 9).unwrap();
    assert_eq!(waiting.len(), 1);
    // What comes late for somebody who is gone finds nobody.
    world.clinic.is_indexed(&person());
    assert!(world.clinic.is_near(&soe()).is_empty());
    world.clinic.is_indexed(&roy);
    assert_eq!(world.clinic.is_near(&roy), ["c-1"]);
    assert_eq!(
        near_index::count_without(world.clinic.core.view()).unwrap(),
        0
    );
}

#[test]
fn a_record_is_near_by_the_names_themselves_whatever_handles_came_with_them() {
    let world = clinic();
    let (vault, view) = (&world.clinic.context.vault, world.clinic.core.view());
    let is_near = |person: &Person, record| near_index::is_near(vault, view, person, record);
    assert_eq!(is_near(&soe(), "c-1"), Ok(true));
    let stranger = Person::new("Roy", "Ida", "1970-01-02".parse().unwrap(), None).unwrap();
    assert_eq!(is_near(&stranger, "c-1"), Ok(false));
    assert_eq!(is_near(&soe(), "c-9"), Ok(false));
}
