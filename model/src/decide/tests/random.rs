//! The state machine against random sequences of commands, honest and not.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    Consent(u8, u8, u8),
    Withdraw(u8, u8),
    Ask(u8, u8, u8, bool),
    Offer(u8),
    Answer(u8, u8, bool),
    Receive(u8, u8, u8),
    Review(u8, u8),
    Revoke(u8),
    Wait(u16),
    Tick,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (0u8..3, 0u8..2, 0u8..3).prop_map(|(n, p, r)| Op::Consent(n, p, r)),
        2 => (0u8..3, 0u8..4).prop_map(|(n, s)| Op::Withdraw(n, s)),
        5 => (0u8..6, 0u8..2, 0u8..3, any::<bool>()).prop_map(|(n, p, f, m)| Op::Ask(n, p, f, m)),
        6 => (0u8..6).prop_map(Op::Offer),
        6 => (0u8..6, 0u8..3, proptest::bool::weighted(0.1))
            .prop_map(|(n, by, forged)| Op::Answer(n, by, forged)),
        2 => (0u8..6, 0u8..3, 0u8..3).prop_map(|(n, f, k)| Op::Receive(n, f, k)),
        2 => (0u8..6, 0u8..3).prop_map(|(n, by)| Op::Review(n, by)),
        1 => (0u8..3).prop_map(Op::Revoke),
        2 => prop_oneof![Just(1u16), Just(15), Just(400), Just(8_000), Just(60_000)].prop_map(Op::Wait),
        1 => Just(Op::Tick),
    ]
}

fn carry_out(world: &mut World, op: &Op) {
    // A second passes between commands, so that no two statements are alike by accident.
    world.now = world.now.plus_s(1);
    match op {
        Op::Consent(n, person, recipient) => world.consent(*n, *person, *recipient),
        Op::Withdraw(n, scope) => {
            let scope = match scope {
                0 | 1 => WithdrawalScope::All,
                2 => WithdrawalScope::Category(Category::InService),
                other => WithdrawalScope::Recipient(agency(*other)),
            };
            world.withdraw(*n, scope)
        }
        Op::Ask(n, person, from, mentor) => {
            let category = if *mentor {
                Category::Mentor
            } else {
                Category::InService
            };
            world.ask(*n, *person, *from, category)
        }
        Op::Offer(n) => world.run(&Command::Offer {
            request: RequestId::from_random(id_bytes(*n)),
        }),
        Op::Answer(n, by, forged) => world.answer(*n, *by, *forged),
        Op::Receive(n, from, kind) => {
            let kinds = [
                ReceiptKind::Delivered,
                ReceiptKind::Viewed,
                ReceiptKind::Erased,
            ];
            world.receive(*n, *from, kinds[usize::from(*kind)])
        }
        Op::Review(n, by) => {
            let reviewed = world.review(*n, *by, WorkerRole::Supervisor);
            reviewed.map_or(Reply::Nothing, |index| Reply::Done { index })
        }
        Op::Revoke(n) => world.run(&Command::Revoke { agency: agency(*n) }),
        Op::Wait(seconds) => {
            world.now = world.now.plus_s(u64::from(*seconds));
            Reply::Nothing
        }
        Op::Tick => world.run(&Command::Tick),
    };
}

/// Reads the log alone, and checks each answer in it.
fn check_log(records: &[Record]) {
    let mut decided: BTreeMap<RequestId, Vec<crate::pdp::ItemRuling>> = BTreeMap::new();
    let mut offered: BTreeMap<RequestId, (Digest, Timestamp)> = BTreeMap::new();
    let mut withdrawn: Vec<(ConsentId, WithdrawalScope)> = Vec::new();
    let mut requesters: BTreeMap<RequestId, AgencyId> = BTreeMap::new();
    let mut answered: Vec<RequestId> = Vec::new();
    let mut revoked: Vec<AgencyId> = Vec::new();
    for record in records {
        match &record.entry.body {
            EntryBody::Decided { request, items, .. } => {
                decided.insert(request.clone(), items.clone());
            }
            EntryBody::Offered { permit } => {
                let allowed = decided[&permit.request].iter();
                assert!(allowed.clone().any(|i| i.ruling.effect != Effect::Deny));
                offered.insert(
                    permit.request.clone(),
                    (permit.digest().unwrap(), permit.not_after),
                );
            }
            EntryBody::Stopped { request, .. } | EntryBody::Expired { request } => {
                offered.remove(request);
            }
            EntryBody::Revoked { agency } => revoked.push(agency.clone()),
            EntryBody::Said { agency, envelope } => {
                assert!(!revoked.contains(agency), "a revoked agency was heard");
                match envelope.unverified_statement().unwrap().body {
                    Body::Request(r) => {
                        requesters.insert(r.request, agency.clone());
                    }
                    Body::Withdrawal(w) => withdrawn.push((w.consent, w.scope)),
                    Body::Answer(answer) => {
                        let (permit, not_after) = offered[&answer.request];
                        assert_eq!(permit, answer.permit, "answered without its permit");
                        assert!(
                            record.entry.at < not_after,
                            "answered with an expired permit"
                        );
                        for item in &decided[&answer.request] {
                            let consent = item.ruling.consent.as_ref().unwrap();
                            let requester = &requesters[&answer.request];
                            assert!(!withdrawn.iter().any(|(id, scope)| {
                                id == consent
                                    && match scope {
                                        WithdrawalScope::All => true,
                                        WithdrawalScope::Recipient(r) => r == requester,
                                        WithdrawalScope::Category(c) => *c == item.category,
                                    }
                            }));
                        }
                        assert!(!answered.contains(&answer.request), "answered twice");
                        answered.push(answer.request);
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

pub(super) fn replay(records: &[Record]) -> Memory {
    let mut store = Memory::default();
    for (index, record) in records.iter().enumerate() {
        let mut overlay = Overlay::new(&store);
        apply(&mut overlay, index as u64, record).unwrap();
        let writes = overlay.into_writes();
        store.commit(writes);
    }
    store
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_commands_answers_without_permit_nor_after_a_withdrawal(
        ops in proptest::collection::vec(op(), 1..80)
    ) {
        let mut world = World::new();
        for op in &ops {
            carry_out(&mut world, op);
        }
        check_log(&world.records);
        let rebuilt = replay(&world.records);
        prop_assert!(rebuilt.rows().eq(world.store.rows()), "replay gives another state");
        for record in &world.records {
            let bytes = record.entry.to_bytes().unwrap();
            prop_assert_eq!(&Entry::from_bytes(&bytes).unwrap(), &record.entry);
        }
    }
}
