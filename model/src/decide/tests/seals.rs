//! Seals: when they are made, what they count, and that they leave nothing out.

use super::*;
use crate::{
    commitment,
    seal::{Counts, MAX_SEALED},
};

const DAY_S: u64 = 86_400;

/// The seals of a log, each with what it says to whom.
fn seals(world: &World) -> Vec<(usize, u64, u64, BTreeMap<AgencyId, Counts>)> {
    let records = world.records.iter().enumerate();
    let sealed = records.filter_map(|(index, record)| {
        let EntryBody::Sealed {
            from,
            until,
            counts,
        } = &record.entry.body
        else {
            return None;
        };
        let openings = &record.sidecar.openings;
        assert_eq!(openings.len(), counts.len());
        let opened = counts.iter().map(|(agency, commitment)| {
            let opening = commitment::find(openings, Field::Counts, commitment).unwrap();
            let counts = Counts::from_bytes(&opening.data.0).unwrap();
            (agency.clone(), counts)
        });
        Some((index, *from, *until, opened.collect()))
    });
    sealed.collect()
}

#[test]
fn a_day_is_sealed_once_when_the_next_has_begun_and_counts_whom_each_entry_reached() {
    let mut world = World::new();
    world.consent(1, 0, 0);
    world.ask(1, 0, 0, Category::InService);
    world.run(&Command::Tick);
    assert!(seals(&world).is_empty(), "the day is not over");
    world.now = world.now.plus_s(DAY_S);
    world.run(&Command::Tick);
    world.run(&Command::Tick);
    let [(index, from, until, counts)] = &seals(&world)[..] else {
        panic!("{:?}", seals(&world));
    };
    assert_eq!((*from, *until), (0, *until));
    assert!(*until <= *index as u64);
    // The consent reaches all three, the request and the decision the requester alone; what ended
    // the request reaches it too.
    let one = &counts[&agency(0)];
    assert_eq!(counts[&agency(1)].entries, 1);
    assert_eq!(counts[&agency(1)].with[&agency(0)], 1);
    assert_eq!(counts[&agency(1)].with[&agency(2)], 1);
    assert!(one.entries >= 3, "{one:?}");
    assert_eq!(one.with.values().sum::<u64>(), 2, "{one:?}");
}

#[test]
fn a_quiet_day_is_sealed_too_and_a_seal_counts_in_the_next() {
    let mut world = World::new();
    for _ in 0..3 {
        world.now = world.now.plus_s(DAY_S);
        world.run(&Command::Tick);
    }
    let seals = seals(&world);
    assert_eq!(seals.len(), 3);
    assert_eq!(seals[0].1, 0);
    for pair in seals.windows(2) {
        assert_eq!(pair[0].2, pair[1].1, "nothing is left out");
        assert_eq!(pair[1].3[&agency(2)].entries, 1, "the seal before");
    }
}

#[test]
fn more_than_one_seal_may_cover_is_sealed_in_several() {
    let mut world = World::new();
    let counted = Command::CountEvaluations {
        agency: agency(0),
        count: 1,
    };
    for _ in 0..MAX_SEALED + 10 {
        world.run(&counted);
    }
    let total = world.records.len() as u64;
    world.run(&Command::Tick);
    assert_eq!(seals(&world).len(), 1, "it is due before the day is over");
    world.now = world.now.plus_s(DAY_S);
    world.run(&Command::Tick);
    world.run(&Command::Tick);
    let seals = seals(&world);
    assert_eq!(seals.len(), 2);
    assert_eq!((seals[0].1, seals[0].2), (0, MAX_SEALED));
    assert_eq!((seals[1].1, seals[1].2), (MAX_SEALED, total + 1));
    let of_one = |n: usize| seals[n].3[&agency(0)].entries;
    assert_eq!(of_one(0) + of_one(1), MAX_SEALED + 10 + 1);
}

#[test]
fn who_has_left_is_counted_no_more() {
    let mut world = World::new();
    world.consent(1, 0, 0);
    world.run(&Command::Revoke { agency: agency(2) });
    world.now = world.now.plus_s(DAY_S);
    world.run(&Command::Tick);
    let counts = &seals(&world)[0].3;
    assert!(!counts.contains_key(&agency(2)));
    assert!(!counts[&agency(1)].with.contains_key(&agency(2)));
    assert_eq!(counts[&agency(1)].with[&agency(0)], 1);
}
