//! Checkpoints, cosignatures and the requests to witnesses (C2SP tlog-checkpoint,
//! tlog-cosignature, tlog-witness).

use crate::{Input, world};
use passerelle_audit::{
    checkpoint::{self, Checkpoint},
    cosignature::{cosigned_by, verify},
    merkle::{MAX_PROOF_HASHES, MAX_TREE_SIZE, Tree, leaf_hash},
    witness::{AddCheckpoint, MAX_REQUEST_BYTES, WitnessState, count_cosignatures},
};

/// A checkpoint, a signed one, a request to a witness, or a growing log that lies.
pub fn checkpoint(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.byte();
    match (kind % 4, input.text()) {
        (0, Some(text)) => parse(text),
        (1, Some(text)) => open(text),
        (2, Some(text)) => request(text),
        (3, _) => grow(input),
        _ => {}
    }
}

fn parse(text: &str) {
    let Ok(parsed) = Checkpoint::parse(text) else {
        return;
    };
    assert_eq!(parsed.to_string(), text, "a checkpoint has one spelling");
    assert!(parsed.size() <= MAX_TREE_SIZE);
    let made = Checkpoint::new(parsed.origin(), parsed.size(), parsed.root());
    assert_eq!(made, Ok(parsed));
}

fn open(text: &str) {
    let log = world::signer();
    let Ok(signed) = checkpoint::open(text, log.verifier_key()) else {
        return;
    };
    assert_eq!(signed.note().to_string(), text);
    assert_eq!(signed.checkpoint().origin(), world::ORIGIN);
    let witnesses = world::witnesses();
    if let Ok(found) = cosigned_by(&signed, &witnesses) {
        assert!(found.len() <= witnesses.len());
        for cosigned in found {
            assert_eq!(verify(&signed, cosigned.witness()), Ok(cosigned.time_s()));
        }
    }
}

fn request(text: &str) {
    let Ok(parsed) = AddCheckpoint::parse(text) else {
        return;
    };
    assert_eq!(parsed.to_string(), text, "a request has one spelling");
    assert!(text.len() <= MAX_REQUEST_BYTES && parsed.proof.len() <= MAX_PROOF_HASHES);
    let state = WitnessState::default();
    if let Ok(accepted) = parsed.consider(&state, world::signer().verifier_key()) {
        assert!(accepted.state().size >= state.size);
    }
}

/// A witness has seen the tree of `old` leaves and is asked to cosign that of `new`, with one
/// change somewhere in the request.
fn grow(mut input: Input<'_>) {
    let (old, more) = (u64::from(input.byte() % 40), u64::from(input.byte() % 40));
    let mut change = Input::new(input.take(4));
    let mut tree = Tree::new();
    for index in 0..old + more {
        tree.push(leaf_hash(&[input.byte(), index as u8]));
    }
    let new = tree.size();
    let log = world::signer();
    let state = WitnessState {
        size: old,
        root: tree.root_at(old).unwrap(),
    };
    let honest = AddCheckpoint {
        old_size: old,
        proof: match old {
            0 => Vec::new(),
            _ => tree.consistency_proof(old, new).unwrap(),
        },
        checkpoint: world::head(&tree, 0).note().clone(),
    };
    let accepted = honest.consider(&state, log.verifier_key()).unwrap();
    assert_eq!(accepted.state().size, new);
    let written = honest.to_string();
    let Ok(text) = String::from_utf8(change.change(written.as_bytes())) else {
        return;
    };
    if let Ok(lie) = AddCheckpoint::parse(&text)
        && let Ok(accepted) = lie.consider(&state, log.verifier_key())
    {
        assert_eq!(accepted.state().size, new, "a changed size is accepted");
        assert_eq!(accepted.state().root, tree.root());
        assert_eq!(lie.proof, honest.proof, "a changed proof is accepted");
    }
    cosign(&mut change, &tree);
}

/// A cosigned checkpoint with one change counts no witness that did not cosign this text.
fn cosign(change: &mut Input<'_>, tree: &Tree) {
    let witnesses = world::witnesses();
    let signed = world::head(tree, 0b101);
    assert_eq!(count_cosignatures(&signed, &witnesses), Ok(2));
    let written = signed.note().to_string();
    let Ok(text) = String::from_utf8(change.change(written.as_bytes())) else {
        return;
    };
    if let Ok(changed) = checkpoint::open(&text, world::signer().verifier_key()) {
        assert_eq!(changed.checkpoint(), signed.checkpoint());
        assert!(count_cosignatures(&changed, &witnesses).is_ok_and(|n| n <= 2) || text != written);
        if let Ok(found) = cosigned_by(&changed, &witnesses) {
            assert!(found.iter().all(|c| c.witness() != &witnesses[1]));
        }
    }
}
