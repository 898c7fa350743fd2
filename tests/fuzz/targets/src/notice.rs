//! Notices from the broker: what an agent believes only with proof.

use crate::{Input, world};
use passerelle_agent::verify::{Checked, check_notice, check_said};
use passerelle_audit::{
    merkle::{Tree, leaf_hash},
    tlog_proof::TlogProof,
};
use passerelle_model::entry::Entry;
use passerelle_proto::v1;
use prost::Message as _;

/// A notice as it comes, or one about any bytes whose place in the log is proven.
pub fn notice(data: &[u8]) {
    let mut input = Input::new(data);
    match input.byte() % 3 {
        0 => raw(input.rest()),
        1 => proven(input, false),
        _ => proven(input, true),
    }
}

fn raw(bytes: &[u8]) {
    let Ok(wire) = v1::Notice::decode(bytes) else {
        return;
    };
    let trust = world::trust();
    if let Ok(checked) = check_notice(wire.clone(), &trust) {
        // Then it is one of the seeds, whose proof is good.
        let proof = TlogProof::parse(&wire.proof).unwrap();
        let verdict = proof.verify(
            &wire.entry,
            &trust.anchors.log,
            std::slice::from_ref(&trust.anchors.own_witness),
            1,
        );
        assert!(verdict.is_ok());
        if let Checked::Entry(notice) = checked {
            let _ = check_said(&notice, &trust, |_| Ok(false));
        }
    }
}

/// The bytes are logged whatever they are, by a broker that may log what it likes.
fn proven(mut input: Input<'_>, change: bool) {
    let (by, size, index) = (input.byte() & 7, input.byte() % 6 + 1, input.byte());
    let index = index % size;
    let mut changes = Input::new(if change { input.take(4) } else { &[] });
    let entry = input.rest().to_vec();
    let mut tree = Tree::new();
    for place in 0..size {
        tree.push(leaf_hash(if place == index { &entry } else { b"other" }));
    }
    let (index, size) = (u64::from(index), u64::from(size));
    let hashes = tree.inclusion_proof(index, size).unwrap();
    let proof = TlogProof::new(index, hashes, world::head(&tree, by).note().clone()).unwrap();
    let known = Entry::from_bytes(&entry);
    let membership = known.as_ref().is_ok_and(|entry| entry.body.is_for_all());
    let wire = v1::Notice {
        index,
        entry,
        proof: proof.to_string(),
        membership,
        ..v1::Notice::default()
    };
    // The own witness always, and all three unless it is about members.
    let enough = by == 7 || membership && by & 1 == 1;
    let trust = world::trust();
    let verdict = check_notice(wire.clone(), &trust);
    assert!(enough || verdict.is_err(), "believed without a quorum");
    assert!(!enough || known.is_err() || verdict.is_ok());
    if let Ok(Checked::Entry(notice)) = &verdict {
        assert_eq!(notice.entry(), &known.unwrap());
        assert_eq!(notice.index(), index);
        // A statement in it counts only with the signature of the agency that it names.
        if let Ok(Some(said)) = check_said(notice, &trust, |_| Ok(false)) {
            assert!(trust.member(&said.statement().agency).is_some());
        }
    }
    if change {
        let wire = v1::Notice {
            entry: changes.change(&wire.entry),
            ..wire.clone()
        };
        let changed = wire.entry != leaf_of(&tree, index, &wire.entry);
        assert!(!changed || check_notice(wire, &trust).is_err());
    }
}

/// `entry` if it is the leaf at `index`, else nothing.
fn leaf_of(tree: &Tree, index: u64, entry: &[u8]) -> Vec<u8> {
    if tree.leaf(index) == Some(leaf_hash(entry)) {
        entry.to_vec()
    } else {
        // Any other bytes: one longer can't be equal.
        [entry, &[0]].concat()
    }
}
