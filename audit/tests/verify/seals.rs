//! Seals that say something else than the entries.

use crate::{
    dishonest::{assert_refused, forged},
    file::check,
    story::story,
    world::{World, agency, find},
};
use passerelle_audit::verify::FaultCode;
use passerelle_model::{
    bytes::{Bytes, Nonce},
    commitment::{Field, Opening},
    decide::Command,
    entry::{EntryBody, Record},
    seal::Counts,
    vocabulary::Category,
};
use std::collections::BTreeMap;

const DAY_S: u64 = 86_400;

fn is_seal(body: &EntryBody) -> bool {
    matches!(body, EntryBody::Sealed { .. })
}

/// The log with its first seal saying of agency 1 what `alter` makes of it.
fn altered(world: &World, alter: impl Fn(&mut Counts)) -> (Vec<Record>, usize) {
    let mut records = world.records.clone();
    let at = find(&records, 0, is_seal);
    records.truncate(at + 1);
    let Record { entry, sidecar } = &mut records[at];
    let EntryBody::Sealed { counts, .. } = &mut entry.body else {
        unreachable!()
    };
    let commitment = counts.get_mut(&agency(1)).unwrap();
    let opening = sidecar
        .openings
        .iter_mut()
        .find(|opening| opening.opens(commitment))
        .unwrap();
    let mut said = Counts::from_bytes(&opening.data.0).unwrap();
    alter(&mut said);
    opening.data = Bytes(said.to_bytes().unwrap());
    *commitment = opening.commitment();
    (records, at)
}

#[test]
fn a_seal_that_counts_more_or_less_than_reached_an_agency_is_a_fault() {
    let world = story();
    let (records, _) = altered(&world, |_| ());
    check(&crate::file::export(&records)).unwrap();
    let (records, at) = altered(&world, |counts| counts.entries -= 1);
    assert_refused(&records, at, FaultCode::Seal);
    let (records, at) = altered(&world, |counts| counts.entries += 1);
    assert_refused(&records, at, FaultCode::Seal);
}

#[test]
fn a_seal_that_moves_a_count_from_one_pair_to_another_is_a_fault() {
    let (records, at) = altered(&story(), |counts| {
        *counts.with.get_mut(&agency(0)).unwrap() -= 1;
        *counts.with.entry(agency(2)).or_default() += 1;
    });
    assert_refused(&records, at, FaultCode::Seal);
}

#[test]
fn a_seal_that_leaves_a_range_out_is_a_fault() {
    let mut world = World::new();
    world.consent(1, 1, 0);
    world.now = world.now.plus_s(DAY_S);
    world.run(&Command::Tick);
    world.ask(1, 1, 0, Category::InService);
    let mut records = world.records.clone();
    let until = records.len() as u64;
    let body = EntryBody::Sealed {
        from: until - 1,
        until,
        counts: BTreeMap::new(),
    };
    records.push(forged(&records, body));
    let last = records.len() - 1;
    assert_refused(&records, last, FaultCode::Seal);
}

#[test]
fn an_opening_that_is_no_count_is_a_fault() {
    let world = World::new();
    let mut records = world.records.clone();
    let until = records.len() as u64;
    let opening = Opening {
        field: Field::Counts,
        random: Nonce([1; 32]),
        data: Bytes(b"{\"entries\":1}".to_vec()),
    };
    let body = EntryBody::Sealed {
        from: 0,
        until,
        counts: BTreeMap::from([(agency(0), opening.commitment())]),
    };
    let mut record = forged(&records, body);
    record.sidecar.openings = vec![opening];
    records.push(record);
    let last = records.len() - 1;
    assert_refused(&records, last, FaultCode::Opening);
}
