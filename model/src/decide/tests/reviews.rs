//! Reviews of emergencies: who may say what came of one, of what, and how often.

use super::*;
use crate::{bytes::Commitment, statement::OverrideReview, vocabulary::ReviewFinding};

impl World {
    pub(super) fn review(
        &mut self,
        request: u8,
        by: u8,
        role: WorkerRole,
    ) -> Result<u64, ErrorCode> {
        let body = Body::OverrideReview(OverrideReview {
            request: RequestId::from_random(id_bytes(request)),
            finding: ReviewFinding::Justified,
            reviewer: Commitment([8; 32]),
            role,
        });
        match self.say(by, body, vec![handle_opening(0)], &[]) {
            Reply::Done { index } => Ok(index),
            Reply::Refused { code, .. } => Err(code),
            other => panic!("expected an index or a refusal, got {other:?}"),
        }
    }

    /// The request `n` for what of `category` is about person 0, permitted.
    fn permitted(n: u8, category: Category) -> Self {
        let mut world = Self::new();
        world.consent(1, 0, 0);
        world.ask(n, 0, 0, category);
        world.run(&Command::Offer {
            request: RequestId::from_random(id_bytes(n)),
        });
        assert!(world.row(n).unwrap().permit.is_some());
        world
    }
}

const OFFICER: WorkerRole = WorkerRole::PrivacyOfficer;

#[test]
fn each_of_the_two_agencies_reviews_an_emergency_once_and_nobody_else() {
    let mut world = World::permitted(1, Category::Mentor);
    assert_eq!(world.review(1, 2, OFFICER), Err(ErrorCode::NotAParty));
    let first = world.review(1, 0, OFFICER).unwrap();
    world.now = world.now.plus_s(1);
    assert_eq!(world.review(1, 0, OFFICER), Err(ErrorCode::Duplicate));
    world.review(1, 1, WorkerRole::Supervisor).unwrap();
    world.now = world.now.plus_s(1);
    assert_eq!(world.review(1, 1, OFFICER), Err(ErrorCode::Duplicate));
    let row = world.row(1).unwrap();
    assert_eq!(row.review.unwrap().by, [agency(0), agency(1)]);
    // Both hear of it, and of nobody does the log keep who it was.
    for party in [agency(0), agency(1)] {
        let mailbox = state::key::mailbox(&party, first);
        assert!(world.store.get(&mailbox).unwrap().is_some());
    }
    let record = &world.records[usize::try_from(first).unwrap()];
    assert!(record.sidecar.is_empty());
}

#[test]
fn only_whoever_reviews_in_an_agency_does_and_only_what_wants_a_review() {
    let mut world = World::permitted(1, Category::Mentor);
    for role in WorkerRole::ALL.iter().filter(|role| !role.is_reviewer()) {
        assert_eq!(world.review(1, 0, *role), Err(ErrorCode::NotIndependent));
    }
    assert_eq!(world.review(2, 0, OFFICER), Err(ErrorCode::UnknownRequest));
    let mut world = World::permitted(1, Category::InService);
    assert_eq!(world.review(1, 0, OFFICER), Err(ErrorCode::WrongState));
}

#[test]
fn a_review_is_due_so_many_hours_after_the_first_permit_whatever_becomes_of_the_request() {
    let mut world = World::permitted(1, Category::Mentor);
    let due = world.now.plus_s(24 * 3_600);
    assert_eq!(world.row(1).unwrap().review.unwrap().due, due);
    world.withdraw(1, WithdrawalScope::All);
    world.now = due.plus_s(3_600);
    world.review(1, 0, OFFICER).unwrap();
    let review = world.row(1).unwrap().review.unwrap();
    assert_eq!((review.due, review.by), (due, vec![agency(0)]));
}
