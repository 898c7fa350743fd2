//! Seals that say something else than the entries.

use crate::{
    dishonest::{assert_refused, forged},
    file::{check, export},
    story::story,
    world::{World, agency, agency_keys, find},
};
use passerelle_audit::verify::FaultCode;
use passerelle_model::{
    bytes::{Bytes, Digest, Nonce, PublicKey},
    commitment::{Field, Opening},
    decide::{Command, Reply},
    entry::{EntryBody, Record},
    ids::AgencyId,
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
    check(&export(&records)).unwrap();
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

/// More members than anything else in an entry could be opened for.
fn crowded(members: u8) -> World {
    let mut world = World::new();
    for n in 0..members {
        let agency: AgencyId = format!("member-{n}").parse().unwrap();
        let mut keys = agency_keys(0);
        let key = |kind: u8| PublicKey(Digest::of(&[n, kind]).0);
        (keys.signing, keys.sealing, keys.witness) = (key(1), key(2), key(3));
        let token = Digest::of(&[n, 0]);
        world.run(&Command::Invite {
            agency: agency.clone(),
            sector: keys.sector,
            token,
            expires_at: world.now.plus_s(60),
        });
        let certificate = format!("c{n:02x}");
        let enrol = Command::Enrol {
            agency,
            token,
            keys,
            certificate,
        };
        assert!(matches!(world.run(&enrol), Reply::Done { .. }));
    }
    for _ in 0..2 {
        world.now = world.now.plus_s(DAY_S);
        world.run(&Command::Tick);
    }
    world
}

#[test]
fn the_seals_of_many_members_are_exported_and_each_is_told_once() {
    let mut world = crowded(40);
    // What follows shows that no part is missing.
    world.consent(1, 1, 0);
    let fault = check(&export(&world.records)).unwrap_err();
    // Nothing is wrong but that so few have cosigned.
    assert_eq!((fault.index, fault.code), (None, FaultCode::Quorum));
}

#[test]
fn a_seal_that_passes_over_a_member_is_a_fault() {
    let mut world = crowded(2);
    world.consent(1, 1, 0);
    let mut records = world.records;
    let at = find(&records, 0, is_seal);
    let EntryBody::Sealed { counts, .. } = &mut records[at].entry.body else {
        unreachable!()
    };
    let dropped = counts.remove(&agency(1)).unwrap();
    records[at].sidecar.openings.retain(|o| !o.opens(&dropped));
    records.truncate(at + 1);
    let world = World::new();
    records.push(forged(&records, world.records[1].entry.body.clone()));
    assert_refused(&records, at + 1, FaultCode::Seal);
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
