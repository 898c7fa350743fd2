//! What was received in a case that ended without a concern.

use super::*;
use crate::deletions::{self, KeepReason};
use passerelle_model::{
    ids::CaseId,
    statement::{CaseAdvance, CaseOpening},
    vocabulary::{CaseOutcome, Profile, Stage, Threshold},
};
use passerelle_proto::views::DeletionView;

const DAY_S: u64 = 86_400;
const DAYS: u64 = 14;

fn case() -> CaseId {
    CaseId::from_random([7; 16])
}

impl World {
    fn table_hears(&mut self, who: &str, body: Body) {
        let envelope = self.states(who, body);
        let notice = self.federation.said(NOW, who, envelope);
        self.police.hears(NOW, notice.clone()).unwrap();
        self.clinic.hears(NOW, notice).unwrap();
    }

    fn moves_on(&mut self, stage: Stage, agencies: &[&str], outcome: Option<CaseOutcome>) {
        let advance = CaseAdvance {
            case: case(),
            stage,
            threshold: Threshold::Agreed,
            agencies: agencies.iter().map(|name| agency(name)).collect(),
            plan: Vec::new(),
            subject: None,
            outcome,
        };
        self.table_hears("clinic", Body::CaseAdvance(advance));
    }

    fn reviews_at(&self, now: Timestamp) -> Vec<DeletionView> {
        deletions::reviews(self.police.core.view(), DAYS, now).unwrap()
    }

    fn keeps(&self, request: &RequestId) -> Result<(), ErrorCode> {
        let request = request.clone();
        self.police.write(NOW, move |_, view| {
            let events = deletions::keep(view, &request, KeepReason::LegalDuty, "w-1", NOW)?;
            Ok((events, ()))
        })
    }

    fn copies(&self) -> Option<(u64, u64)> {
        let copies = deletions::copies(self.clinic.core.view(), &case()).unwrap();
        copies.map(|copies| (copies.given, copies.erased))
    }
}

/// The clinic told the police something in a case that it opened.
fn told() -> (World, RequestId) {
    let mut world = world(fact());
    let opening = CaseOpening {
        case: case(),
        profile: Profile::SituationTable,
        agencies: vec![agency("police"), agency("mentors")],
    };
    world.table_hears("clinic", Body::CaseOpening(opening));
    let (stated, permit) = world.ask_with(KNOWN, |q| q.case = Some(case()));
    let offer = world.offer(&stated, &permit);
    world.clinic.hears(NOW, offer).unwrap();
    world.deliver(|_| ());
    (world, permit.request)
}

#[test]
fn what_was_received_is_looked_at_once_the_case_ends_without_a_concern() {
    let (mut world, request) = told();
    assert_eq!(world.reviews_at(NOW), []);
    assert_eq!(world.keeps(&request), Err(ErrorCode::WrongState));
    let outcome = CaseOutcome::RejectedSingleAgency;
    world.moves_on(Stage::DeIdentified, &["police"], Some(outcome));
    let [review] = world.reviews_at(NOW).try_into().unwrap();
    assert_eq!(review.request, request.to_string());
    assert_eq!(review.cause, "rejected_single_agency");
    let end = NOW.plus_s(DAYS * DAY_S);
    assert_eq!((review.review_by, review.overdue), (end, false));
    assert!(world.reviews_at(end)[0].overdue);
    let waiting = deletions::waiting(world.police.core.view(), DAYS, end);
    assert_eq!(waiting.unwrap(), (1, 1));
}

#[test]
fn keeping_it_closes_the_review_and_says_why() {
    let (mut world, request) = told();
    let outcome = CaseOutcome::LoweredNoAction;
    world.moves_on(Stage::DeIdentified, &["police"], Some(outcome));
    world.keeps(&request).unwrap();
    assert_eq!(world.keeps(&request), Err(ErrorCode::WrongState), "once");
    let [review] = world.reviews_at(NOW.plus_s(99 * DAY_S)).try_into().unwrap();
    assert_eq!(review.kept.as_deref(), Some("legal_duty"));
    assert_eq!(
        (review.kept_by.as_deref(), review.overdue),
        (Some("w-1"), false)
    );
}

#[test]
fn erasing_it_closes_the_review_and_the_giver_hears_of_it() {
    let (mut world, request) = told();
    let outcome = CaseOutcome::RejectedBelowThreshold;
    world.moves_on(Stage::DeIdentified, &["police"], Some(outcome));
    let index = world.clinic.holds(&request).given.unwrap().statement;
    assert_ne!(index, Digest([0; 32]));
    world.police.erases(&request).unwrap();
    assert_eq!(world.reviews_at(NOW), []);
    let (_, stated) = world.police.outbox().pop().unwrap();
    let before = world.copies();
    let notice = world.federation.said(NOW, "police", stated.envelope);
    world.clinic.hears(NOW, notice).unwrap();
    let copies = (before.map(|c| c.1), world.copies().map(|c| c.1));
    assert_eq!(copies, (Some(0), Some(1)));
}

#[test]
fn a_case_that_ends_with_a_concern_asks_for_no_early_look() {
    for outcome in [
        CaseOutcome::ElevatedRefused,
        CaseOutcome::LoweredConnected,
        CaseOutcome::Relocated,
    ] {
        let (mut world, _) = told();
        world.moves_on(Stage::DeIdentified, &["police"], Some(outcome));
        assert_eq!(world.reviews_at(NOW), [], "{outcome}");
    }
}

#[test]
fn who_is_not_needed_at_stage_3_looks_at_what_it_has() {
    let (mut world, _) = told();
    world.moves_on(Stage::LimitedIdentifiers, &["mentors"], None);
    let [review] = world.reviews_at(NOW).try_into().unwrap();
    assert_eq!(review.cause, "left");
    // The end of the case, weeks later, gives no more time.
    let outcome = CaseOutcome::RejectedNotExhausted;
    world.moves_on(Stage::LimitedIdentifiers, &["mentors"], Some(outcome));
    assert_eq!(world.reviews_at(NOW), [review]);
}
