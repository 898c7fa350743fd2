//! Reviews of emergencies, as an auditor sees them in the log: said in time, overdue, false.

use crate::{
    dishonest::{assert_refused, forged, said},
    file::{check, export},
    world::{World, agency, envelope, federation, log_signer, request_id},
};
use passerelle_audit::verify::{FaultCode, OverdueReview, Running};
use passerelle_model::{
    bytes::Commitment,
    decide::{Command, Reply},
    entry::EntryBody,
    statement::{Body, OverrideReview},
    time::Timestamp,
    vocabulary::{Category, ReviewFinding, WorkerRole},
};

const DAY_S: u64 = 86_400;

fn review(n: u8, role: WorkerRole) -> Body {
    Body::OverrideReview(OverrideReview {
        request: request_id(n),
        finding: ReviewFinding::NotJustified,
        reviewer: Commitment([9; 32]),
        role,
    })
}

impl World {
    fn reviews(&mut self, by: u8) -> Reply {
        let body = review(1, WorkerRole::PrivacyOfficer);
        self.say(by, body, Vec::new(), &[])
    }

    /// An emergency of which both agencies have to say what came of it within a day.
    fn with_emergency() -> (Self, Timestamp) {
        let mut world = Self::new();
        world.consent(1, 1, 0);
        world.ask(1, 1, 0, Category::Mentor);
        world.offer(1);
        let due = world.now.plus_s(DAY_S);
        world.answer(1, 1);
        (world, due)
    }

    fn waits(&mut self, until: Timestamp) {
        self.now = until;
        // Something has to happen for the log to have a later time.
        self.consent(9, 9, 0);
    }

    fn overdue(&self, now: Timestamp) -> Vec<OverdueReview> {
        let mut running = Running::new(federation(), log_signer().verifier_key());
        for record in &self.records {
            running.take(&record.entry.to_bytes().unwrap()).unwrap();
        }
        running.overdue_reviews(now, 10)
    }
}

#[test]
fn a_review_that_is_not_in_the_log_in_time_is_named_with_the_agency_and_the_request() {
    let (mut world, due) = World::with_emergency();
    let before = Timestamp(due.0 - 1);
    assert_eq!(world.overdue(before), []);
    let both: Vec<_> = world.overdue(due).into_iter().map(|o| o.agency).collect();
    let mut parties = vec![agency(0), agency(1)];
    parties.sort();
    assert_eq!(both, parties);
    world.reviews(1);
    let left = world.overdue(due);
    assert_eq!(left.len(), 1);
    assert_eq!((&left[0].agency, left[0].due), (&agency(0), due));
    let said = left[0].to_string();
    assert!(said.contains(agency(0).as_str()) && said.contains(request_id(1).as_str()));
    // The verification of an export says the same, by the log's own time, and is no fault.
    world.waits(due.plus_s(10));
    let report = check(&export(&world.records)).unwrap();
    assert_eq!(report.warnings_total, 1, "{:?}", report.warnings);
    assert_eq!(report.warnings[0].message, said);
    assert_eq!(report.checks["override_reviews"], 1);
    // Late is better than never.
    world.reviews(0);
    assert_eq!(world.overdue(due.plus_s(DAY_S)), []);
    let report = check(&export(&world.records)).unwrap();
    assert_eq!(report.warnings_total, 0, "{:?}", report.warnings);
    assert_eq!(report.statements["override_review"], 2);
}

#[test]
fn a_seal_counts_reviews_for_both_agencies_as_they_reached_them() {
    let (mut world, due) = World::with_emergency();
    world.reviews(0);
    world.reviews(1);
    world.now = due.plus_s(DAY_S);
    world.run(&Command::Tick);
    let last = &world.records.last().unwrap().entry.body;
    assert!(matches!(last, EntryBody::Sealed { .. }), "{last:?}");
    check(&export(&world.records)).unwrap();
}

#[test]
fn who_was_shut_out_can_not_be_late() {
    let (mut world, due) = World::with_emergency();
    world.run(&Command::Revoke { agency: agency(1) });
    let left = world.overdue(due);
    let left: Vec<_> = left.into_iter().map(|o| o.agency).collect();
    assert_eq!(left, [agency(0)]);
}

#[test]
fn a_broker_that_takes_a_false_review_is_found_out() {
    let (world, _) = World::with_emergency();
    let role = WorkerRole::PrivacyOfficer;
    let at = world.now;
    for (by, request, role, code) in [
        (2, 1, role, FaultCode::NotAParty),
        (0, 1, WorkerRole::Officer, FaultCode::Range),
        (0, 7, role, FaultCode::WrongState),
    ] {
        let mut records = world.records.clone();
        let body = said(by, envelope(by, by, at, review(request, role)));
        records.push(forged(&records, body));
        assert_refused(&records, records.len() - 1, code);
    }
    let mut records = world.records.clone();
    for again in 0..2 {
        let at = at.plus_s(again);
        let body = said(0, envelope(0, 0, at, review(1, role)));
        records.push(forged(&records, body));
    }
    assert_refused(&records, records.len() - 1, FaultCode::Duplicate);
}
