//! Proofs of inclusion (RFC 6962) and their text form (C2SP tlog-proof).

use crate::{Input, world};
use passerelle_audit::{
    fork::{ForkProof, MAX_FORK_PROOF_BYTES},
    merkle::{MAX_PROOF_HASHES, Tree, leaf_hash, node_hash, verify_inclusion},
    tlog_proof::{MAX_EXTRA_BYTES, MAX_TLOG_PROOF_BYTES, TlogProof},
};
use passerelle_model::bytes::Digest;

/// The text of a proof, hashes that claim to be one, a good proof with one change, or the text of a
/// proof of a fork.
pub fn proof(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.byte();
    match (kind % 4, input.text()) {
        (0, Some(text)) => parse(text),
        (1, _) => path(input),
        (2, _) => change(input),
        (3, Some(text)) => fork(text),
        _ => {}
    }
}

fn parse(text: &str) {
    let Ok(parsed) = TlogProof::parse(text) else {
        return;
    };
    assert_eq!(parsed.to_string(), text, "a proof has one spelling");
    assert!(text.len() <= MAX_TLOG_PROOF_BYTES);
    let extra = parsed.unauthenticated_extra();
    assert!(extra.is_none_or(|e| (1..=MAX_EXTRA_BYTES).contains(&e.len())));
    let (log, witnesses) = (world::signer(), world::witnesses());
    let quorum = passerelle_audit::witness::quorum(witnesses.len());
    let never = b"an entry that was never logged";
    assert!(
        parsed
            .verify(never, log.verifier_key(), &witnesses, quorum)
            .is_err()
    );
}

fn fork(text: &str) {
    let Ok(parsed) = ForkProof::parse(text) else {
        return;
    };
    assert_eq!(parsed.to_string(), text, "a proof has one spelling");
    assert!(text.len() <= MAX_FORK_PROOF_BYTES);
    let log = world::signer();
    if let Ok(fork) = parsed.check(log.verifier_key()) {
        assert!(fork.smaller().size() <= fork.larger().size());
        assert_ne!(fork.smaller().root(), fork.implied_root());
    }
}

/// The root to which a path leads by the recursive definition (RFC 6962, section 2.1.1), written
/// from the specification and not from the code under test.
fn root_of(leaf: &Digest, index: u64, size: u64, path: &[Digest]) -> Option<Digest> {
    if size == 1 {
        return path.is_empty().then_some(*leaf);
    }
    let (last, path) = path.split_last()?;
    let half = 1_u64 << (63 - (size - 1).leading_zeros());
    if index < half {
        let left = root_of(leaf, index, half, path)?;
        Some(node_hash(&left, last))
    } else {
        let right = root_of(leaf, index - half, size - half, path)?;
        Some(node_hash(last, &right))
    }
}

fn path(mut input: Input<'_>) {
    let (size, index) = (input.long(), input.long());
    // Small trees as well: most 64-bit numbers are large.
    let size = if size % 2 == 0 { size } else { size % 70 };
    let size = size.min(i64::MAX as u64);
    let index = index % size.saturating_add(2);
    let leaf = Digest(input.array());
    let mut hashes = Vec::new();
    while !input.is_empty() && hashes.len() < MAX_PROOF_HASHES + 2 {
        hashes.push(Digest([input.byte(); 32]));
    }
    let expected = (index < size)
        .then(|| root_of(&leaf, index, size, &hashes))
        .flatten();
    let root = expected.unwrap_or(Digest([7; 32]));
    let verdict = verify_inclusion(&leaf, index, size, &hashes, &root);
    assert_eq!(verdict.is_ok(), expected.is_some(), "{index} of {size}");
    let other = Digest::of(&root.0);
    assert!(verify_inclusion(&leaf, index, size, &hashes, &other).is_err());
}

fn change(mut input: Input<'_>) {
    let size = u64::from(input.byte() % 20) + 1;
    let index = u64::from(input.byte()) % size;
    let by = input.byte();
    let mut change = Input::new(input.take(4));
    let mut tree = Tree::new();
    let entries: Vec<Vec<u8>> = (0..size)
        .map(|n| [&[n as u8], input.take(4)].concat())
        .collect();
    for entry in &entries {
        tree.push(leaf_hash(entry));
    }
    let entry = &entries[index as usize];
    let (log, witnesses) = (world::signer(), world::witnesses());
    let note = world::head(&tree, by & 7).note().clone();
    let hashes = tree.inclusion_proof(index, size).unwrap();
    let good = TlogProof::new(index, hashes, note).unwrap();
    let cosigned = (by & 7).count_ones() as usize;
    for quorum in 0..=4 {
        let verdict = good.verify(entry, log.verifier_key(), &witnesses, quorum);
        assert_eq!(verdict.is_ok(), quorum > 0 && quorum <= cosigned);
    }
    let quorum = cosigned.max(1);
    let other = change.change(entry);
    let verdict = good.verify(&other, log.verifier_key(), &witnesses, quorum);
    assert!(verdict.is_err() || other == *entry, "another entry passes");
    let written = good.to_string();
    let Ok(text) = String::from_utf8(input.change(written.as_bytes())) else {
        return;
    };
    if let Ok(changed) = TlogProof::parse(&text)
        && let Ok(proven) = changed.verify(entry, log.verifier_key(), &witnesses, quorum)
    {
        assert_eq!((proven.index(), proven.leaf()), (index, leaf_hash(entry)));
        assert_eq!(proven.checkpoint().root(), tree.root());
    }
}
