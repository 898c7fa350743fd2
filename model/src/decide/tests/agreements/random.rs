//! Agreements in random sequences of what parties say.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    Propose(u8, Option<u8>, u16),
    Sign(u8, u8),
    Change(u8, u8, u8),
    Ask(u8, u8),
    Offer(u8),
    Answer(u8),
    Wait(u16),
    Tick,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => (1u8..5, proptest::option::of(1u8..5), prop_oneof![Just(0u16), Just(300)])
            .prop_map(|(n, after, starts)| Op::Propose(n, after, starts)),
        3 => (1u8..5, 0u8..2).prop_map(|(n, by)| Op::Sign(n, by)),
        3 => (1u8..5, 0u8..3, 0u8..5).prop_map(|(n, by, c)| Op::Change(n, by, c)),
        4 => (0u8..8, 0u8..2).prop_map(|(n, from)| Op::Ask(n, from)),
        4 => (0u8..8).prop_map(Op::Offer),
        4 => (0u8..8).prop_map(Op::Answer),
        2 => prop_oneof![Just(1u16), Just(200), Just(400), Just(40_000)].prop_map(Op::Wait),
        1 => Just(Op::Tick),
    ]
}

fn carry_out(world: &mut World, op: &Op) {
    world.now = world.now.plus_s(1);
    match op {
        Op::Propose(n, after, starts) => world.propose(*n, *after, u64::from(*starts), &[0, 1]),
        Op::Sign(n, by) => world.sign_agreement(*n, *by),
        Op::Change(n, by, change) => {
            let change =
                [SUSPEND, SUSPEND, Change::Lift, Change::Lift, TERMINATE][usize::from(*change)];
            world.change(*n, *by, change)
        }
        Op::Ask(n, from) => world.ask(*n, 1, *from, Category::InService),
        Op::Offer(n) => world.offer(*n),
        Op::Answer(n) => {
            let holder = world.row(*n).map_or(0, |r| u8::from(r.holder == agency(1)));
            world.answer(*n, holder, false)
        }
        Op::Wait(seconds) => {
            world.now = world.now.plus_s(u64::from(*seconds));
            Reply::Nothing
        }
        Op::Tick => world.run(&Command::Tick),
    };
}

/// Reads the log alone: who has halted what, which version has taken over.
fn check_log(records: &[Record]) {
    let mut terms: BTreeMap<AgreementId, (AgreementTerms, usize)> = BTreeMap::new();
    let mut halted: BTreeMap<AgreementId, Vec<AgencyId>> = BTreeMap::new();
    let mut over: BTreeMap<AgreementId, Timestamp> = BTreeMap::new();
    let mut decided: BTreeMap<RequestId, Option<AgreementId>> = BTreeMap::new();
    for record in records {
        let at = record.entry.at;
        match &record.entry.body {
            EntryBody::Decided { request, items, .. } => {
                let on = items.iter().find_map(|i| i.ruling.agreement.clone());
                decided.insert(request.clone(), on);
            }
            EntryBody::Said { agency, envelope } => {
                match envelope.unverified_statement().unwrap().body {
                    Body::Agreement(t) => drop(terms.insert(t.agreement.clone(), (*t, 1))),
                    Body::AgreementSignature(s) => {
                        let (t, signatures) = terms.get_mut(&s.agreement).unwrap();
                        *signatures += 1;
                        let begins = t.starts_at;
                        if let Some(earlier) = &t.edition.supersedes {
                            let twice = over.insert(earlier.clone(), begins);
                            assert_eq!(twice, None, "two versions follow one");
                        }
                    }
                    Body::AgreementChange(c) => {
                        let all = halted.entry(c.agreement.clone()).or_default();
                        match c.change {
                            Change::Suspend(_) => all.push(agency.clone()),
                            Change::Lift => all.retain(|a| a != agency),
                            Change::Terminate(_) => {
                                all.push("for-ever".parse().unwrap());
                                let (t, _) = &terms[&c.agreement];
                                let earlier = t.edition.supersedes.as_ref();
                                if at < t.starts_at
                                    && let Some(earlier) = earlier
                                {
                                    let heir = over.get(&c.agreement).copied();
                                    over.remove(earlier);
                                    if let Some(begins) = heir {
                                        over.insert(earlier.clone(), begins);
                                    }
                                }
                            }
                        }
                    }
                    Body::Answer(answer) => {
                        let on = decided[&answer.request].as_ref().unwrap();
                        let (t, signatures) = &terms[on];
                        assert_eq!(*signatures, 2, "answered on a proposal");
                        assert!(t.starts_at <= at && at < t.ends_at);
                        assert!(halted.get(on).is_none_or(Vec::is_empty), "halted");
                        assert!(over.get(on).is_none_or(|begins| at < *begins), "superseded");
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    /// No answer is sequenced that rests on an agreement which was suspended, ended, superseded,
    /// not begun or over; a log that is applied again gives the same state.
    #[test]
    fn nothing_crosses_on_an_agreement_out_of_force(ops in proptest::collection::vec(op(), 1..60)) {
        let mut world = World::agreed();
        for op in &ops {
            carry_out(&mut world, op);
            world.check_index();
        }
        check_log(&world.records);
        let again = super::super::random::replay(&world.records);
        prop_assert_eq!(
            again.scan(&[], None, usize::MAX).unwrap(),
            world.store.scan(&[], None, usize::MAX).unwrap()
        );
    }
}
