//! Who is a second person for an audit case, and what the log is told of the review of an emergency.

use super::{
    suspicion::{decides, emergency, office, someone, worker},
    *,
};
use crate::facts::sealed::PersonRecord;
use crate::suspicion::{
    Finding, Kind, override_review,
    question::Passage,
    record,
    verdict::{self, require_reader},
};
use passerelle_model::{
    commitment::Field,
    ids::AuditCaseId,
    pdp::Obligation,
    store::Read as _,
    vocabulary::{EmergencyKind, ReviewFinding, WorkerRole},
};

const REFUSED: ErrorCode = ErrorCode::NotIndependent;

impl World {
    /// Whether a worker of the police sees a case.
    fn sees(&self, worker: &str, case: &AuditCaseId) -> Result<(), ErrorCode> {
        let (context, view) = (&self.police.context, self.police.core.view());
        let row = record::case(view, case).unwrap();
        require_reader(context, view, &row, context.config.worker(worker).unwrap())
    }

    fn erases(&self, by: &'static str, case: &AuditCaseId) -> Vec<String> {
        let case = case.clone();
        let erased = self.police.write(NOW, move |context, view| {
            let by = context.config.worker(by).unwrap();
            verdict::erase(context, view, &case, by)
        });
        erased.unwrap()
    }

    /// The permit for the question that the police said last, which wants a review.
    fn permits_emergency(&mut self) -> AuditCaseId {
        let (_, stated) = self.police.outbox().pop().unwrap();
        let mut permit = permit_for("police", &stated.envelope, NOW);
        permit.obligations = vec![Obligation::ReviewWithinHours(48)];
        self.police.settles();
        self.offer(&stated, &permit);
        override_review::case_of(&permit.request)
    }
}

#[test]
fn the_log_is_told_once_by_each_agency_what_came_of_a_review_and_not_who_looked() {
    let (world, request) = emergency();
    let case = override_review::case_of(&request);
    for (agent, by, role) in [
        (&world.police, "privacy", WorkerRole::PrivacyOfficer),
        (&world.clinic, "second", WorkerRole::Supervisor),
    ] {
        let before = agent.outbox().len();
        assert_eq!(decides(agent, by, &case, Finding::NotJustified), Ok(false));
        let outbox = agent.outbox();
        assert_eq!(outbox.len(), before + 1);
        let (_, stated) = outbox.last().unwrap();
        let Body::OverrideReview(said) = agent.said() else {
            panic!("not a review");
        };
        assert_eq!((&said.request, said.role), (&request, role));
        assert_eq!(said.finding, ReviewFinding::NotJustified);
        assert!(stated.openings.is_empty() && stated.payloads.is_empty());
        let payload = String::from_utf8(stated.envelope.payload.0.clone()).unwrap();
        assert!(!payload.contains("looked at"), "the note stays here");
        // The agency can show who it was.
        let row = record::case(agent.core.view(), &case).unwrap();
        let opening = row.decided.unwrap().reviewer.unwrap();
        assert!(opening.opens(&said.reviewer) && opening.field == Field::Worker);
        assert_eq!(opening.data.0, by.as_bytes());
        let again = decides(agent, by, &case, Finding::Justified);
        assert_eq!(again, Err(ErrorCode::WrongState));
    }
}

#[test]
fn an_audit_case_that_is_no_emergency_stays_at_the_agency() {
    let world = office(|_| ());
    world
        .tries("clerk", &someone("Gagnon", "Zoé"), |_| ())
        .unwrap();
    let case = world.one_case().case;
    let before = world.police.outbox().len();
    world.decides("chief", &case, Finding::Justified).unwrap();
    assert_eq!(world.police.outbox().len(), before);
}

#[test]
fn who_let_an_emergency_leave_does_not_review_it() {
    let mut world = office(|_| ());
    let zoe = someone("Tremblay", "Zoé");
    let (_, passage) = world
        .tries("clerk", &zoe, |question| {
            question.emergency = Some(EmergencyKind::Medical);
        })
        .unwrap();
    let Passage::Held(held, _) = passage else {
        panic!("not held");
    };
    assert_eq!(
        world.decides("privacy", &held, Finding::Justified),
        Ok(true)
    );
    let review = world.permits_emergency();
    let row = record::case(world.police.core.view(), &review).unwrap();
    assert_eq!(row.kinds[0].0, Kind::EmergencyOverride);
    let word = Finding::Justified;
    assert_eq!(world.decides("privacy", &review, word), Err(REFUSED));
    assert_eq!(world.decides("chief", &review, word), Ok(false));
}

#[test]
fn who_the_question_is_about_never_sees_its_case_whatever_became_of_it() {
    let mut world = office(|_| ());
    world
        .tries("clerk", &someone("Roy", "Luc"), |question| {
            question.emergency = Some(EmergencyKind::Medical);
        })
        .unwrap();
    let held = world.one_case().case;
    assert_eq!(world.sees("chief", &held), Err(REFUSED), "held");
    world.decides("privacy", &held, Finding::Justified).unwrap();
    assert_eq!(world.sees("chief", &held), Err(REFUSED), "released");
    assert_eq!(world.sees("privacy", &held), Ok(()));
    // Nor the review of the emergency in it.
    let review = world.permits_emergency();
    assert_eq!(world.sees("chief", &review), Err(REFUSED), "the review");
    assert_eq!(world.erases("privacy", &held), [format!("{held}/note")]);
    assert_eq!(world.sees("chief", &held), Err(REFUSED), "erased");
    assert_eq!(world.sees("chief", &review), Err(REFUSED), "still");
    assert_eq!(world.sees("privacy", &held), Ok(()));
}

#[test]
fn a_relative_is_kept_apart_from_an_emergency_whose_question_was_erased_before_its_permit() {
    let mut world = office(|_| ());
    let (request, _) = world
        .tries("clerk", &someone("Roy", "Zoé"), |question| {
            question.emergency = Some(EmergencyKind::Medical);
        })
        .unwrap();
    let held = world.one_case().case;
    world.decides("privacy", &held, Finding::Justified).unwrap();
    let apart = format!("{request}/apart");
    assert!(world.erases("privacy", &held).contains(&apart));
    let view = world.police.core.view();
    assert!(!world.police.context.vault.is_kept(view, &apart).unwrap());
    let review = world.permits_emergency();
    assert_eq!(world.sees("chief", &review), Err(REFUSED));
    let word = Finding::Justified;
    assert_eq!(world.decides("chief", &review, word), Err(REFUSED));
}

#[test]
fn a_case_that_is_erased_is_seen_by_nobody_but_who_decided_it() {
    let world = office(|_| ());
    world
        .tries("clerk", &someone("Tremblay", "Zoé"), |_| ())
        .unwrap();
    let case = world.one_case().case;
    world
        .decides("privacy", &case, Finding::NotJustified)
        .unwrap();
    assert_eq!(world.sees("chief", &case), Ok(()), "nobody's relative");
    world.erases("chief", &case);
    assert_eq!(world.sees("chief", &case), Err(REFUSED), "nobody knows now");
    assert_eq!(world.sees("privacy", &case), Ok(()));
}

#[test]
fn a_relative_of_the_person_is_no_second_person() {
    let world = office(|_| ());
    let (request, _) = world
        .tries("clerk", &someone("Roy", "Zoé"), |_| ())
        .unwrap();
    let case = world.one_case().case;
    let word = Finding::Justified;
    assert_eq!(world.decides("chief", &case, word), Err(REFUSED));
    assert_eq!(world.decides("privacy", &case, word), Ok(false));
    // What says so is sealed, and its key goes with the case.
    let vault = &world.police.context.vault;
    let view = world.police.core.view();
    let rows = view.scan(b"kept/", None, 100).unwrap();
    assert!(
        rows.iter()
            .all(|(_, row)| { !row.windows(7).any(|window| window == b"\"chief\"") })
    );
    let apart = format!("{request}/apart");
    assert!(vault.is_kept(view, &apart).unwrap());
    assert!(world.erases("privacy", &case).contains(&apart));
    assert!(!vault.is_kept(view, &apart).unwrap());
}

#[test]
fn at_the_holder_a_relative_of_the_person_does_not_review_the_emergency() {
    let (mut world, request) = emergency();
    let config = &mut Arc::get_mut(&mut world.clinic.context).unwrap().config;
    let zoe = worker("aunt", WorkerRole::Supervisor, "Tremblay", "Line");
    config.workers.push(zoe);
    let case = override_review::case_of(&request);
    let word = Finding::Justified;
    assert_eq!(decides(&world.clinic, "aunt", &case, word), Err(REFUSED));
    assert_eq!(decides(&world.clinic, "second", &case, word), Ok(false));
}

#[test]
fn at_the_holder_nobody_is_a_second_person_while_the_record_of_the_person_does_not_open() {
    let (world, request) = emergency();
    let people = state::people_by_handle(world.clinic.core.view(), &KNOWN).unwrap();
    let names: Vec<_> = people.into_iter().map(|row| row.record).collect();
    let [PersonRecord::Sealed(name)] = names.as_slice() else {
        panic!("not one sealed record");
    };
    world.clinic.context.vault.destroy_named(name).unwrap();
    let case = override_review::case_of(&request);
    let word = Finding::Justified;
    let unknown = Err(ErrorCode::Storage);
    assert_eq!(decides(&world.clinic, "second", &case, word), unknown);
}

#[test]
fn audit_cases_are_paged_by_time_the_newest_first() {
    let world = office(|_| ());
    for minute in 0..5_u64 {
        let at = NOW.plus_s(60 * minute);
        let raised = record::Raised {
            // In an order of ids that is not that of time.
            case: AuditCaseId::from_random([(7 * minute % 5) as u8; 16]),
            kinds: vec![(Kind::OffHours, crate::suspicion::Action::Note)],
            worker: None,
            request: RequestId::from_random([minute as u8; 16]),
            review_by: None,
            fate: record::Fate::Sent,
            kept: None,
        };
        let event = record::CaseEvent::Raised(Box::new(raised));
        let write = |_: &Context, _: &dyn passerelle_model::store::Read| {
            Ok((vec![Event::AuditCase(Box::new(event))], ()))
        };
        world.police.write(at, write).unwrap();
    }
    let view = world.police.core.view();
    let minutes = |rows: &[record::CaseRow]| -> Vec<u64> {
        rows.iter().map(|row| (row.at.0 - NOW.0) / 60_000).collect()
    };
    let first = record::page(view, None, 2).unwrap();
    assert_eq!(minutes(&first), [4, 3]);
    let next = record::page(view, first.last(), 2).unwrap();
    assert_eq!(minutes(&next), [2, 1]);
    let last = record::page(view, next.last(), 2).unwrap();
    assert_eq!(minutes(&last), [0]);
    assert!(record::page(view, last.last(), 2).unwrap().is_empty());
}

#[test]
fn an_override_that_nobody_reviews_is_overdue_after_its_hours() {
    let (world, request) = emergency();
    let view = world.clinic.core.view();
    let end = NOW.plus_s(48 * 3_600);
    assert_eq!(record::waiting(view, Timestamp(end.0 - 1)).unwrap(), (1, 0));
    assert_eq!(record::waiting(view, end).unwrap(), (1, 1));
    let overdue = record::open_until(view, end).unwrap();
    assert_eq!(overdue[0].case, override_review::case_of(&request));
    decides(
        &world.clinic,
        "second",
        &overdue[0].case,
        Finding::Justified,
    )
    .unwrap();
    assert_eq!(record::waiting(view, end).unwrap(), (0, 0));
}

#[test]
fn an_override_that_the_broker_keeps_back_is_reviewed_all_the_same() {
    let mut world = office(|_| ());
    let (stated, mut permit) = world.ask(KNOWN);
    permit.obligations = vec![Obligation::ReviewWithinHours(48)];
    let kept_back = world.offer(&stated, &permit);
    world.clinic_hears(EntryBody::HandlesEvaluated {
        agency: agency("clinic"),
        count: 1,
    });
    let heard = world.clinic.hears(NOW, kept_back).unwrap();
    assert_eq!(heard, ["noticed", "audit_case_raised"]);
}
