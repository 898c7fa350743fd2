//! Bundles: nothing but the agencies' count puts one in force.

use super::{random::replay, *};
use crate::{
    bundle::{BundleTerms, PROPOSAL_LIFE_S, needed},
    statement::BundleEndorsement,
};
use proptest::prelude::*;
use std::collections::BTreeSet;

const BEFORE: Digest = Digest([7; 32]);
const NEXT: Digest = Digest([8; 32]);
const OTHER: Digest = Digest([9; 32]);

fn terms(bundle: Digest, revision: u64) -> BundleTerms {
    BundleTerms {
        bundle,
        previous: Some(BEFORE),
        revision,
        not_before: Timestamp(0),
        expires_at: None,
    }
}

impl World {
    fn propose_rules(&mut self, terms: BundleTerms) -> Reply {
        self.now = self.now.plus_s(1);
        self.run(&Command::ProposeBundle { terms })
    }

    fn endorse(&mut self, from: u8, terms: &BundleTerms) -> Reply {
        self.now = self.now.plus_s(1);
        let endorsement = BundleEndorsement {
            bundle: terms.bundle,
            terms: terms.digest().unwrap(),
        };
        let body = Body::BundleEndorsement(endorsement);
        self.say(from, body, Vec::new(), &[])
    }

    /// What the broker's decision point, gone over to this bundle, is told.
    fn activate(&mut self, bundle: Digest) -> Reply {
        let before = std::mem::replace(&mut self.bundle, bundle);
        let reply = self.run(&Command::ActivateBundle);
        if !matches!(reply, Reply::Done { .. }) {
            self.bundle = before;
        }
        reply
    }

    fn in_force(&self) -> Digest {
        state::federation(&self.store).unwrap().unwrap().bundle
    }
}

fn refused(reply: Reply) -> ErrorCode {
    match reply {
        Reply::Refused { code, .. } => code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_endorsement_short_is_refused_and_the_next_one_puts_it_in_force() {
    let mut world = World::new();
    let next = terms(NEXT, 1);
    assert!(matches!(
        world.propose_rules(next.clone()),
        Reply::Done { .. }
    ));
    assert_eq!(refused(world.activate(NEXT)), ErrorCode::BundleNotEndorsed);
    world.endorse(0, &next);
    assert_eq!(refused(world.activate(NEXT)), ErrorCode::BundleNotEndorsed);
    assert_eq!(world.in_force(), BEFORE, "the running bundle stays");
    assert!(state::endorsed(&world.store, world.now).unwrap().is_none());
    world.endorse(1, &next);
    let ready = state::endorsed(&world.store, world.now).unwrap().unwrap();
    assert_eq!(ready.terms, next);
    assert!(matches!(world.activate(NEXT), Reply::Done { .. }));
    assert_eq!(world.in_force(), NEXT);
    assert!(state::proposals(&world.store).unwrap().is_empty());
    assert_eq!(world.activate(NEXT), Reply::Nothing);
}

#[test]
fn an_agency_that_endorses_twice_counts_once() {
    let mut world = World::new();
    let next = terms(NEXT, 1);
    world.propose_rules(next.clone());
    world.endorse(0, &next);
    assert_eq!(refused(world.endorse(0, &next)), ErrorCode::Duplicate);
    assert_eq!(refused(world.activate(NEXT)), ErrorCode::BundleNotEndorsed);
}

#[test]
fn who_is_shut_out_does_not_count_not_even_once_it_is_back() {
    let mut world = World::new();
    let next = terms(NEXT, 1);
    world.propose_rules(next.clone());
    world.endorse(0, &next);
    world.run(&Command::Revoke { agency: agency(0) });
    assert_eq!(refused(world.endorse(0, &next)), ErrorCode::Revoked);
    // Two are left, and both must endorse.
    world.endorse(1, &next);
    assert_eq!(refused(world.activate(NEXT)), ErrorCode::BundleNotEndorsed);
    world.enrol(0);
    assert_eq!(refused(world.activate(NEXT)), ErrorCode::BundleNotEndorsed);
    world.endorse(0, &next);
    assert!(matches!(world.activate(NEXT), Reply::Done { .. }));
}

#[test]
fn what_a_member_endorsed_under_former_keys_counts_no_more() {
    let mut world = World::new();
    let next = terms(NEXT, 1);
    world.propose_rules(next.clone());
    world.endorse(0, &next);
    world.enrol(0);
    world.endorse(1, &next);
    assert_eq!(refused(world.activate(NEXT)), ErrorCode::BundleNotEndorsed);
    // It may endorse again under those that it has now.
    world.endorse(0, &next);
    assert!(matches!(world.activate(NEXT), Reply::Done { .. }));
}

#[test]
fn what_nobody_proposed_cannot_be_endorsed_nor_put_in_force() {
    let mut world = World::new();
    let next = terms(NEXT, 1);
    assert_eq!(refused(world.endorse(0, &next)), ErrorCode::UnknownBundle);
    assert_eq!(refused(world.activate(NEXT)), ErrorCode::BundleNotEndorsed);
    world.propose_rules(next);
    let other = terms(NEXT, 2);
    assert_eq!(
        refused(world.endorse(0, &other)),
        ErrorCode::PayloadMismatch
    );
}

#[test]
fn a_lower_revision_one_that_is_over_and_one_that_follows_another_are_not_proposed() {
    let mut world = World::new();
    let now = world.now;
    assert_eq!(
        refused(world.propose_rules(terms(NEXT, 0))),
        ErrorCode::OutOfRange
    );
    let over = BundleTerms {
        expires_at: Some(now),
        ..terms(NEXT, 1)
    };
    assert_eq!(refused(world.propose_rules(over)), ErrorCode::OutOfRange);
    let of_another = BundleTerms {
        previous: Some(OTHER),
        ..terms(NEXT, 1)
    };
    assert_eq!(
        refused(world.propose_rules(of_another)),
        ErrorCode::WrongState
    );
    assert_eq!(
        refused(world.propose_rules(terms(BEFORE, 1))),
        ErrorCode::Duplicate
    );
    world.propose_rules(terms(NEXT, 1));
    assert_eq!(
        refused(world.propose_rules(terms(NEXT, 2))),
        ErrorCode::Duplicate
    );
    // Rollback: what was in force before is a lower revision.
    for n in 0..2 {
        world.endorse(n, &terms(NEXT, 1));
    }
    world.activate(NEXT);
    let back = BundleTerms {
        previous: Some(NEXT),
        ..terms(BEFORE, 1)
    };
    assert_eq!(refused(world.propose_rules(back)), ErrorCode::OutOfRange);
}

#[test]
fn before_its_time_and_after_its_end_it_is_not_put_in_force() {
    let mut world = World::new();
    let start = world.now;
    let next = BundleTerms {
        not_before: start.plus_s(1_000),
        expires_at: Some(start.plus_s(2_000)),
        ..terms(NEXT, 1)
    };
    world.propose_rules(next.clone());
    for n in 0..3 {
        world.endorse(n, &next);
    }
    assert_eq!(refused(world.activate(NEXT)), ErrorCode::Stale);
    world.now = start.plus_s(2_000);
    assert_eq!(refused(world.activate(NEXT)), ErrorCode::OutOfRange);
    world.now = start.plus_s(1_000);
    assert!(matches!(world.activate(NEXT), Reply::Done { .. }));
}

#[test]
fn what_was_endorsed_long_ago_surprises_nobody() {
    let mut world = World::new();
    let next = terms(NEXT, 1);
    world.propose_rules(next.clone());
    world.endorse(0, &next);
    world.now = world.now.plus_s(PROPOSAL_LIFE_S);
    assert_eq!(refused(world.endorse(1, &next)), ErrorCode::UnknownBundle);
    assert_eq!(refused(world.activate(NEXT)), ErrorCode::Stale);
    // It makes room for the same rules, which have to be endorsed anew.
    assert!(matches!(world.propose_rules(next), Reply::Done { .. }));
    let proposal = state::proposal(&world.store, &NEXT).unwrap().unwrap();
    assert!(proposal.endorsed.is_empty());
}

#[test]
fn before_anybody_has_joined_other_rules_replace_the_first() {
    let mut world = World {
        store: Memory::default(),
        records: Vec::new(),
        now: Timestamp(1_800_000_000_000),
        seed: 0,
        bundle: BEFORE,
        pdp: None,
    };
    world.run(&Command::Found {
        federation: "essai".parse().unwrap(),
        keys: BrokerKeys {
            checkpoint: "test+00000000+AA==".into(),
            permit: PublicKey([1; 32]),
            oprf: PublicKey([2; 32]),
        },
        panel: Panel::default(),
    });
    assert!(matches!(world.activate(NEXT), Reply::Done { .. }));
    world.enrol(0);
    assert_eq!(refused(world.activate(OTHER)), ErrorCode::BundleNotEndorsed);
    world.run(&Command::Revoke { agency: agency(0) });
    let none_left = refused(world.activate(OTHER));
    assert_eq!(
        none_left,
        ErrorCode::BundleNotEndorsed,
        "shut out is no way around"
    );
}

#[test]
fn nothing_is_decided_by_rules_that_are_not_in_force() {
    let mut world = World::new();
    world.consent(1, 0, 0);
    world.bundle = NEXT;
    let asked = world.ask(1, 0, 0, Category::InService);
    assert_eq!(refused(asked), ErrorCode::BundleNotHeld);
}

#[derive(Clone, Debug)]
enum Op {
    Propose(u8, u64),
    Endorse(u8, u8),
    Activate(u8),
    Revoke(u8),
    Enrol(u8),
    Wait(u32),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (8u8..11, 0u64..4).prop_map(|(bundle, revision)| Op::Propose(bundle, revision)),
        6 => (0u8..3, 8u8..11).prop_map(|(from, bundle)| Op::Endorse(from, bundle)),
        4 => (7u8..11).prop_map(Op::Activate),
        1 => (0u8..3).prop_map(Op::Revoke),
        1 => (0u8..3).prop_map(Op::Enrol),
        1 => prop_oneof![Just(1u32), Just(3_000_000)].prop_map(Op::Wait),
    ]
}

fn carry_out(world: &mut World, op: &Op) {
    match op {
        Op::Propose(bundle, revision) => {
            let previous = Some(world.in_force());
            world.propose_rules(BundleTerms {
                previous,
                ..terms(Digest([*bundle; 32]), *revision)
            });
        }
        Op::Endorse(from, bundle) => {
            let proposal = state::proposal(&world.store, &Digest([*bundle; 32])).unwrap();
            let member = state::member(&world.store, &agency(*from)).unwrap();
            if let Some(proposal) = proposal.filter(|_| member.is_some()) {
                world.endorse(*from, &proposal.terms);
            }
        }
        Op::Activate(bundle) => {
            world.activate(Digest([*bundle; 32]));
        }
        Op::Revoke(n) => {
            world.run(&Command::Revoke { agency: agency(*n) });
        }
        // Who is a member already gets other keys.
        Op::Enrol(n) => world.enrol(*n),
        Op::Wait(seconds) => world.now = world.now.plus_s(u64::from(*seconds)),
    }
}

/// Counts again from the log alone, in another way than the state does.
fn check_log(records: &[Record]) {
    let mut members: BTreeSet<AgencyId> = BTreeSet::new();
    let mut endorsed: BTreeSet<(AgencyId, Digest)> = BTreeSet::new();
    let mut revision = 0;
    let mut proposed: BTreeMap<Digest, BundleTerms> = BTreeMap::new();
    for record in records {
        match &record.entry.body {
            EntryBody::Enrolled { agency, .. } => {
                members.insert(agency.clone());
                endorsed.retain(|(who, _)| who != agency);
            }
            EntryBody::Revoked { agency } => {
                members.remove(agency);
                endorsed.retain(|(who, _)| who != agency);
            }
            EntryBody::BundleProposed { terms } => {
                endorsed.retain(|(_, of)| *of != terms.digest().unwrap());
                proposed.insert(terms.bundle, terms.clone());
            }
            EntryBody::Said { agency, envelope } => {
                let body = envelope.unverified_statement().unwrap().body;
                if let Body::BundleEndorsement(endorsement) = body {
                    endorsed.insert((agency.clone(), endorsement.terms));
                }
            }
            EntryBody::BundleActivated { bundle } => {
                let terms = &proposed[bundle];
                let digest = terms.digest().unwrap();
                let count = members
                    .iter()
                    .filter(|who| endorsed.contains(&((*who).clone(), digest)))
                    .count();
                assert!(
                    count >= needed(members.len()),
                    "{count} of {}",
                    members.len()
                );
                assert!(terms.revision > revision, "a rollback");
                revision = terms.revision;
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_commands_puts_rules_in_force_without_more_than_half_of_the_members(
        ops in proptest::collection::vec(op(), 1..60)
    ) {
        let mut world = World::new();
        for op in &ops {
            carry_out(&mut world, op);
        }
        check_log(&world.records);
        let rebuilt = replay(&world.records);
        prop_assert!(rebuilt.rows().eq(world.store.rows()), "replay gives another state");
    }
}
