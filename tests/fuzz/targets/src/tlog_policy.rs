//! Policy files (C2SP tlog-policy).

use crate::{Input, world};
use passerelle_audit::{
    merkle::{Tree, leaf_hash},
    tlog_policy::{MAX_PARTIES, MAX_POLICY_BYTES, TlogPolicy},
};
use std::collections::BTreeSet;

/// A byte that says who has cosigned, then a policy file.
pub fn tlog_policy(data: &[u8]) {
    let mut input = Input::new(data);
    let cosigners = input.byte();
    let file = input.rest();
    let Ok(policy) = TlogPolicy::parse(file) else {
        return;
    };
    assert!(file.len() <= MAX_POLICY_BYTES);
    let parties = [policy.logs().len(), policy.witnesses().len()];
    assert!(parties.iter().all(|count| *count <= MAX_PARTIES));
    // Octets are not text: only what is written in octets is read back.
    let again = TlogPolicy::parse(&policy.to_bytes());
    assert_eq!(again.as_ref(), Ok(&policy));
    // A key is there once, whatever its names.
    let keys = policy.witnesses().iter().map(|w| w.key().public_key().0);
    let distinct: BTreeSet<_> = keys.collect();
    assert_eq!(distinct.len(), policy.witnesses().len());

    let mut tree = Tree::new();
    tree.push(leaf_hash(b"an entry"));
    let judged = |cosigners| policy.judge(&world::head(&tree, cosigners)).unwrap();
    let some = cosigners & 0b111;
    let (now, all) = (judged(some), judged(0b111));
    // More cosignatures never unmake a quorum, and strangers never make one.
    assert!(!now.met || all.met);
    assert!(now.cosigned.len() <= all.cosigned.len());
    if policy.quorum() == "none" {
        assert!(now.met);
    } else if now.cosigned.is_empty() {
        assert!(!now.met, "nobody of the policy has cosigned");
    }
    let knows = policy
        .logs()
        .iter()
        .any(|log| log.key() == world::signer().verifier_key());
    let note = world::head(&tree, some).note().clone();
    assert_eq!(policy.is_met(&note), knows && now.met);
}
