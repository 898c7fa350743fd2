//! Versions, suspension and termination of agreements.

mod random;
mod signatories;

use super::*;
use crate::{
    ids::AgreementId,
    records::Agreement,
    request::Status,
    statement::{
        AgreementChange, AgreementLine, AgreementParty, AgreementSignature, AgreementTerms, Change,
        Edition,
    },
    vocabulary::{AgreementReason, AgreementState},
};

/// Permits what an agreement covers; of one that is in force, or of any.
struct ByAgreement {
    blindly: bool,
}

impl PolicyDecisionPoint for ByAgreement {
    fn rule(&self, matter: &Matter) -> Ruling {
        let stands = |a: &&Agreement| {
            let mut lines = a.terms.lines.iter();
            let has_line = lines.any(|l| {
                l.from == matter.holder.agency
                    && l.to == matter.requester.agency
                    && l.category == matter.item.category
            });
            has_line && (self.blindly || a.is_in_force(matter.at))
        };
        let Some(found) = matter.agreements.iter().find(stands) else {
            return Ruling::deny("no_rule_permits");
        };
        Ruling {
            effect: Effect::Permit,
            agreement: Some(found.terms.agreement.clone()),
            ..Ruling::deny("agreement-covers")
        }
    }

    fn bundle(&self) -> Digest {
        Digest([7; 32])
    }
}

fn id(n: u8) -> AgreementId {
    AgreementId::from_random(id_bytes(n))
}

fn refusal(reply: Reply) -> Option<ErrorCode> {
    match reply {
        Reply::Refused { code, .. } => Some(code),
        Reply::Done { .. } | Reply::Nothing => None,
    }
}

const SUSPEND: Change = Change::Suspend(AgreementReason::Breach);
const TERMINATE: Change = Change::Terminate(AgreementReason::Leaving);

impl World {
    fn agreed() -> Self {
        let mut world = Self::with_rules(&ByAgreement { blindly: false });
        world.propose(1, None, 0, &[0, 1]);
        world.sign_agreement(1, 1);
        world
    }

    fn terms(&self, n: u8, after: Option<u8>, starts_s: u64, parties: &[u8]) -> AgreementTerms {
        let line = |from: u8, to: u8| AgreementLine {
            from: agency(from),
            to: agency(to),
            category: Category::InService,
            level: Level::Known,
            retention_days: 30,
        };
        let party = |n: &u8| AgreementParty {
            agency: agency(*n),
            basis: LegalBasis::Gdpr6,
        };
        let earlier = after.and_then(|n| self.agreement(n));
        AgreementTerms {
            signatories: Vec::new(),
            agreement: id(n),
            edition: Edition {
                version: earlier.map_or(1, |a| a.terms.edition.version + 1),
                supersedes: after.map(id),
                document: Some(Digest([3; 32])),
            },
            parties: parties.iter().map(party).collect(),
            purposes: vec![Purpose::Plan],
            lines: vec![line(1, 0), line(0, 1)],
            starts_at: self.now.plus_s(starts_s),
            review_at: self.now.plus_s(80_000),
            ends_at: self.now.plus_s(86_400),
        }
    }

    fn propose(&mut self, n: u8, after: Option<u8>, starts_s: u64, parties: &[u8]) -> Reply {
        let terms = self.terms(n, after, starts_s, parties);
        self.say(0, Body::Agreement(Box::new(terms)), Vec::new(), &[])
    }

    fn sign_agreement(&mut self, n: u8, by: u8) -> Reply {
        let terms = self.agreement(n).map_or(Digest([0; 32]), |a| a.digest);
        let signature = AgreementSignature {
            endorsements: Vec::new(),
            agreement: id(n),
            terms,
        };
        self.say(by, Body::AgreementSignature(signature), Vec::new(), &[])
    }

    fn change(&mut self, n: u8, by: u8, change: Change) -> Reply {
        self.now = self.now.plus_s(1);
        let agreement = id(n);
        let body = Body::AgreementChange(AgreementChange { agreement, change });
        self.say(by, body, Vec::new(), &[])
    }

    fn agreement(&self, n: u8) -> Option<Agreement> {
        state::agreement(&self.store, &id(n)).unwrap()
    }

    fn state_of(&self, n: u8) -> AgreementState {
        self.agreement(n).unwrap().state(self.now)
    }

    fn status(&self, n: u8) -> Status {
        self.row(n).unwrap().status
    }

    fn offer(&mut self, n: u8) -> Reply {
        let request = RequestId::from_random(id_bytes(n));
        self.run(&Command::Offer { request })
    }

    /// What is filed of open requests is what the requests themselves say, and something is left to
    /// do exactly where something rests on what was halted.
    fn check_index(&self) {
        let prefix = [b'y'];
        let filed: Vec<_> = self.store.scan(&prefix, None, 999).unwrap();
        let mut expected = Vec::new();
        for (_, value) in self.store.scan(b"r", None, 999).unwrap() {
            let row: RequestRow = state::decode(&value).unwrap();
            if row.status.is_open() {
                let request = row.request.as_str();
                let keys = row.agreements().into_iter();
                expected.extend(keys.map(|a| state::key::by_agreement(a.as_str(), request)));
            }
        }
        expected.sort();
        assert_eq!(
            filed.into_iter().map(|(k, _)| k).collect::<Vec<_>>(),
            expected
        );
        for (_, value) in self.store.scan(b"g", None, 999).unwrap() {
            let row: Agreement = state::decode(&value).unwrap();
            let id = row.terms.agreement.as_str();
            let prefix = state::key::by_agreement(id, "");
            let rests = expected.iter().any(|k| k.starts_with(&prefix));
            let halted = row.course.terminated.is_some() || !row.course.suspended.is_empty();
            let marked = self.store.get(&state::key::halted(id)).unwrap().is_some();
            assert_eq!(marked, rests && halted, "{id}");
        }
    }
}

#[test]
fn a_suspension_denies_what_waits_and_what_is_asked_until_its_party_lifts_it() {
    let mut world = World::agreed();
    world.ask(1, 1, 0, Category::InService);
    world.ask(2, 2, 0, Category::InService);
    world.offer(2);
    assert_eq!(
        (world.status(1), world.status(2)),
        (Status::Queued, Status::Offered)
    );
    assert_eq!(refusal(world.change(1, 1, SUSPEND)), None);
    assert_eq!(
        (world.status(1), world.status(2)),
        (Status::Denied, Status::Denied)
    );
    assert_eq!(
        refusal(world.answer(2, 1, false)),
        Some(ErrorCode::WrongState)
    );
    world.ask(3, 3, 0, Category::InService);
    assert_eq!(world.status(3), Status::Denied);
    world.check_index();
    assert_eq!(
        refusal(world.change(1, 0, Change::Lift)),
        Some(ErrorCode::WrongState)
    );
    assert_eq!(refusal(world.change(1, 1, Change::Lift)), None);
    world.ask(4, 4, 0, Category::InService);
    assert_eq!(world.status(4), Status::Queued);
    world.check_index();
}

#[test]
fn of_two_suspensions_each_party_lifts_its_own() {
    let mut world = World::agreed();
    world.change(1, 0, SUSPEND);
    assert_eq!(
        refusal(world.change(1, 0, SUSPEND)),
        Some(ErrorCode::WrongState)
    );
    assert_eq!(refusal(world.change(1, 1, SUSPEND)), None);
    world.change(1, 0, Change::Lift);
    assert_eq!(world.state_of(1), AgreementState::Suspended);
    world.change(1, 1, Change::Lift);
    assert_eq!(world.state_of(1), AgreementState::Active);
}

#[test]
fn nobody_else_changes_an_agreement_and_what_is_terminated_stays_so() {
    let mut world = World::agreed();
    for change in [SUSPEND, Change::Lift, TERMINATE] {
        assert_eq!(
            refusal(world.change(1, 2, change)),
            Some(ErrorCode::NotAParty)
        );
        assert_eq!(
            refusal(world.change(9, 0, change)),
            Some(ErrorCode::UnknownAgreement)
        );
    }
    world.change(1, 0, SUSPEND);
    assert_eq!(refusal(world.change(1, 1, TERMINATE)), None);
    for change in [SUSPEND, Change::Lift, TERMINATE] {
        assert_eq!(
            refusal(world.change(1, 0, change)),
            Some(ErrorCode::WrongState)
        );
    }
    assert_eq!(
        refusal(world.propose(2, Some(1), 0, &[0, 1])),
        Some(ErrorCode::WrongState)
    );
    assert_eq!(world.state_of(1), AgreementState::Terminated);
}

#[test]
fn a_proposal_can_be_ended_but_not_suspended_and_then_nobody_signs_it() {
    let mut world = World::agreed();
    world.propose(2, None, 0, &[0, 1]);
    assert_eq!(
        refusal(world.change(2, 1, SUSPEND)),
        Some(ErrorCode::WrongState)
    );
    assert_eq!(refusal(world.change(2, 1, TERMINATE)), None);
    assert_eq!(
        refusal(world.sign_agreement(2, 1)),
        Some(ErrorCode::WrongState)
    );
}

#[test]
fn a_next_version_takes_over_when_it_begins_and_no_older_one_comes_back() {
    let mut world = World::agreed();
    assert_eq!(refusal(world.propose(2, Some(1), 600, &[0, 1])), None);
    // Another, which loses the race.
    assert_eq!(refusal(world.propose(3, Some(1), 0, &[0, 1])), None);
    assert_eq!(world.state_of(1), AgreementState::Active, "not signed yet");
    assert_eq!(refusal(world.sign_agreement(2, 1)), None);
    assert_eq!(world.state_of(1), AgreementState::Active, "not begun yet");
    world.now = world.now.plus_s(600);
    assert_eq!(world.state_of(1), AgreementState::Superseded);
    assert_eq!(
        refusal(world.sign_agreement(3, 1)),
        Some(ErrorCode::WrongState)
    );
    assert_eq!(
        refusal(world.propose(4, Some(1), 0, &[0, 1])),
        Some(ErrorCode::WrongState)
    );
    world.ask(1, 1, 0, Category::InService);
    assert_eq!(world.row(1).unwrap().agreements(), [id(2)]);
    // What is over of the new one does not bring the old one back.
    world.change(2, 0, TERMINATE);
    assert_eq!(world.state_of(1), AgreementState::Superseded);
    world.ask(2, 2, 0, Category::InService);
    assert_eq!(world.status(2), Status::Denied);
}

#[test]
fn a_permit_on_the_old_version_is_worth_nothing_once_the_next_has_begun() {
    let mut world = World::agreed();
    world.ask(1, 1, 0, Category::InService);
    world.offer(1);
    world.propose(2, Some(1), 60, &[0, 1]);
    world.sign_agreement(2, 1);
    world.now = world.now.plus_s(60);
    assert_eq!(
        refusal(world.answer(1, 1, false)),
        Some(ErrorCode::PermitExpired)
    );
}

#[test]
fn a_next_version_that_is_ended_before_it_begins_takes_nothing_over() {
    let mut world = World::agreed();
    world.propose(2, Some(1), 600, &[0, 1]);
    world.sign_agreement(2, 1);
    world.change(2, 1, TERMINATE);
    world.now = world.now.plus_s(900);
    assert_eq!(world.state_of(1), AgreementState::Active);
    assert_eq!(refusal(world.propose(3, Some(1), 0, &[0, 1])), None);
    assert_eq!(world.agreement(3).unwrap().terms.edition.version, 2);
}

#[test]
fn what_all_signed_after_a_version_that_is_ended_before_it_begins_follows_the_one_before() {
    let mut world = World::agreed();
    for (n, starts_s) in [(2, 600), (3, 700), (4, 800)] {
        assert_eq!(
            refusal(world.propose(n, Some(n - 1), starts_s, &[0, 1])),
            None
        );
        assert_eq!(refusal(world.sign_agreement(n, 1)), None);
    }
    let next = |world: &World, n: u8| {
        let next = world.agreement(n).unwrap().course.successor;
        next.map(|s| (s.agreement, s.starts_at))
    };
    let (third, fourth) = (next(&world, 2), next(&world, 3));
    assert_eq!(refusal(world.change(2, 1, TERMINATE)), None);
    assert_eq!(next(&world, 1), third);
    // Also where the one before it was ended early itself.
    assert_eq!(refusal(world.change(3, 1, TERMINATE)), None);
    assert_eq!(next(&world, 1), fourth);
    assert_eq!(
        refusal(world.propose(5, Some(1), 900, &[0, 1])),
        Some(ErrorCode::WrongState)
    );
    let later = world.now.plus_s(900);
    let first = world.agreement(1).unwrap();
    assert_eq!(first.state(later), AgreementState::Superseded);
    assert_eq!(refusal(world.change(4, 1, TERMINATE)), None);
    assert_eq!(next(&world, 1), None);
    world.now = world.now.plus_s(900);
    assert_eq!(world.state_of(1), AgreementState::Active);
}

#[test]
fn a_version_does_not_begin_before_the_one_that_it_follows() {
    let mut world = World::agreed();
    world.propose(2, Some(1), 600, &[0, 1]);
    world.sign_agreement(2, 1);
    assert_eq!(
        refusal(world.propose(3, Some(2), 599, &[0, 1])),
        Some(ErrorCode::OutOfRange)
    );
    assert_eq!(refusal(world.propose(3, Some(2), 600, &[0, 1])), None);
}

#[test]
fn a_version_keeps_the_number_and_the_parties_in_order() {
    let mut world = World::agreed();
    let mut said = |change: &dyn Fn(&mut AgreementTerms), parties: &[u8]| {
        let mut terms = world.terms(2, Some(1), 0, parties);
        change(&mut terms);
        let body = Body::Agreement(Box::new(terms));
        refusal(world.say(0, body, Vec::new(), &[]))
    };
    let version = |n: u16| move |terms: &mut AgreementTerms| terms.edition.version = n;
    for number in [0, 1, 3, u16::MAX] {
        assert_eq!(said(&version(number), &[0, 1]), Some(ErrorCode::OutOfRange));
    }
    let first = |terms: &mut AgreementTerms| terms.edition.supersedes = None;
    assert_eq!(said(&first, &[0, 1]), Some(ErrorCode::OutOfRange));
    let unknown = |terms: &mut AgreementTerms| terms.edition.supersedes = Some(id(9));
    assert_eq!(said(&unknown, &[0, 1]), Some(ErrorCode::UnknownAgreement));
    // Others can't replace what a party signed behind its back.
    let without = |terms: &mut AgreementTerms| terms.lines.clear();
    assert_ne!(said(&without, &[0, 2]), None);
    let between = |terms: &mut AgreementTerms| {
        for line in &mut terms.lines {
            (line.from, line.to) = (agency(0), agency(2));
        }
    };
    assert_eq!(said(&between, &[0, 2]), Some(ErrorCode::NotAParty));
    assert_eq!(said(&|_| {}, &[0, 1, 2]), None);
}

#[test]
fn more_requests_than_one_step_takes_are_decided_again_by_the_timer() {
    let mut world = World::agreed();
    for n in 0..150_u8 {
        let mut bytes = id_bytes(1);
        bytes[0] = n;
        world.now = world.now.plus_s(1);
        world.ask_as(bytes, 1, 0, Category::InService);
    }
    world.change(1, 0, SUSPEND);
    world.check_index();
    let open = |world: &World| world.store.scan(b"y", None, 999).unwrap().len();
    assert_eq!(open(&world), 150 - 64);
    while open(&world) > 0 {
        assert_ne!(world.run(&Command::Tick), Reply::Nothing);
        world.check_index();
    }
    assert_eq!(world.run(&Command::Tick), Reply::Nothing);
}

#[test]
fn rules_that_would_let_it_pass_all_the_same_do_not() {
    let mut world = World::with_rules(&ByAgreement { blindly: true });
    world.propose(1, None, 0, &[0, 1]);
    world.sign_agreement(1, 1);
    world.ask(1, 1, 0, Category::InService);
    world.offer(1);
    world.change(1, 1, TERMINATE);
    assert_eq!(world.status(1), Status::Stopped);
    world.check_index();
}

#[test]
fn one_that_another_agreement_carries_too_goes_on_under_a_new_permit() {
    let mut world = World::agreed();
    world.ask(1, 1, 0, Category::InService);
    world.offer(1);
    let before = world.row(1).unwrap();
    world.propose(2, None, 0, &[0, 1]);
    world.sign_agreement(2, 1);
    world.change(1, 0, SUSPEND);
    let after = world.row(1).unwrap();
    assert_eq!(
        (after.status, after.agreements()),
        (Status::Offered, vec![id(2)])
    );
    assert_ne!(before.permit.unwrap().digest, after.permit.unwrap().digest);
    world.check_index();
}
