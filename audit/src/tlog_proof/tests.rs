//! Proofs of a small witnessed log: what verifies, and that nothing changed does.

use super::*;
use crate::checkpoint::open;
use crate::cosignature::{self, Cosigner};
use crate::keys::SigningKey;
use crate::merkle::Tree;
use crate::note::Signer;
use crate::witness::{WitnessState, consider, quorum};
use proptest::prelude::*;

const SIZE: u64 = 11;

/// A log of [`SIZE`] entries with its key, and the keys of three witnesses that cosigned it.
struct Log {
    tree: Tree,
    note: Note,
    key: VerifierKey,
    witnesses: Vec<VerifierKey>,
}

fn entry(index: u64) -> Vec<u8> {
    format!("entry {index}").into_bytes()
}

fn log() -> Log {
    let tree: Tree = (0..SIZE).map(|n| leaf_hash(&entry(n))).collect();
    let signer = Signer::new("log.example", SigningKey::from_seed(&[1; 32])).unwrap();
    let key = signer.verifier_key().clone();
    let checkpoint = Checkpoint::new("log.example", SIZE, tree.root()).unwrap();
    let mut signed = checkpoint.sign(&signer).unwrap();
    let note = signed.note().to_string();
    let mut witnesses = Vec::new();
    for n in 0..3_u8 {
        let seed = SigningKey::from_seed(&[100 + n; 32]);
        let witness = Cosigner::new(&format!("w{n}.example"), seed).unwrap();
        let accepted = consider(&WitnessState::default(), &key, 0, &[], &note).unwrap();
        let line = witness.cosign(&accepted, 1000 + u64::from(n)).unwrap();
        cosignature::add(&mut signed, witness.verifier_key(), line).unwrap();
        witnesses.push(witness.verifier_key().clone());
    }
    Log {
        tree,
        note: signed.note().clone(),
        key,
        witnesses,
    }
}

impl Log {
    fn proof(&self, index: u64) -> TlogProof {
        let hashes = self.tree.inclusion_proof(index, SIZE).unwrap();
        TlogProof::new(index, hashes, self.note.clone()).unwrap()
    }

    fn verify(&self, proof: &TlogProof, entry: &[u8]) -> Result<VerifiedInclusion, TlogProofError> {
        proof.verify(entry, &self.key, &self.witnesses, quorum(3))
    }
}

#[test]
fn every_entry_verifies_after_a_round_trip() {
    let log = log();
    for index in 0..SIZE {
        let text = log.proof(index).to_string();
        assert!(text.starts_with("c2sp.org/tlog-proof@v1\nindex "));
        let proof: TlogProof = text.parse().unwrap();
        assert_eq!(proof, log.proof(index));
        let verified = log.verify(&proof, &entry(index)).unwrap();
        assert_eq!(verified.index(), index);
        assert_eq!(verified.leaf(), leaf_hash(&entry(index)));
        assert_eq!(verified.checkpoint().root(), log.tree.root());
        let times: Vec<u64> = verified
            .cosigned_by()
            .iter()
            .map(Cosigned::time_s)
            .collect();
        assert_eq!(times, [1000, 1001, 1002]);
        assert!(verified.is_cosigned_by(&log.witnesses[2]));
    }
}

#[test]
fn another_entry_index_or_log_is_refused() {
    let log = log();
    let proof = log.proof(4);
    let wrong_root = Err(TlogProofError::Inclusion(MerkleError::WrongRoot));
    assert_eq!(log.verify(&proof, &entry(5)), wrong_root);
    for index in (0..SIZE + 9).filter(|index| *index != 4) {
        let moved = TlogProof {
            index,
            ..proof.clone()
        };
        assert!(log.verify(&moved, &entry(4)).is_err(), "{index}");
    }
    let other = Signer::new("log.example", SigningKey::from_seed(&[2; 32])).unwrap();
    let refused = proof.verify(&entry(4), other.verifier_key(), &log.witnesses, 3);
    assert!(matches!(refused, Err(TlogProofError::Checkpoint(_))));
}

#[test]
fn a_quorum_of_known_witnesses_is_needed() {
    let log = log();
    let proof = log.proof(4);
    let verify = |witnesses: &[VerifierKey], quorum| {
        proof
            .verify(&entry(4), &log.key, witnesses, quorum)
            .map(|verified| verified.index())
    };
    let missing = |found, needed| Err(TlogProofError::NoQuorum { found, needed });
    assert_eq!(verify(&log.witnesses, 3), Ok(4));
    assert_eq!(verify(&log.witnesses, 4), missing(3, 4));
    assert_eq!(verify(&log.witnesses[..1], 2), missing(1, 2));
    // No witnesses, or none asked for: never enough.
    assert_eq!(verify(&[], quorum(0)), missing(0, 1));
    assert_eq!(verify(&log.witnesses, 0), missing(3, 0));
    let twice = [&log.witnesses[..], &log.witnesses[..1]].concat();
    assert!(verify(&twice, 4).is_err());
    // A receiver can see that its own witness was not asked.
    let partial = proof
        .verify(&entry(4), &log.key, &log.witnesses[..2], 2)
        .unwrap();
    assert!(!partial.is_cosigned_by(&log.witnesses[2]));
}

#[test]
fn cosignatures_on_another_checkpoint_do_not_carry_over() {
    let log = log();
    let signer = Signer::new("log.example", SigningKey::from_seed(&[1; 32])).unwrap();
    let forked: Tree = (0..SIZE).map(|n| leaf_hash(&entry(n + 100))).collect();
    let checkpoint = Checkpoint::new("log.example", SIZE, forked.root()).unwrap();
    let mut note = checkpoint.sign(&signer).unwrap().note().clone();
    for line in &log.note.signatures()[1..] {
        note.add(line.clone()).unwrap();
    }
    assert!(open(&note.to_string(), &log.key).is_ok());
    let proof = TlogProof::new(4, forked.inclusion_proof(4, SIZE).unwrap(), note).unwrap();
    let refused = log.verify(&proof, &entry(104));
    assert!(matches!(refused, Err(TlogProofError::Cosignature(_))));
}

#[test]
fn extra_data_is_carried_within_its_cap_and_not_trusted() {
    let log = log();
    let proof = log.proof(0).with_extra(b"anything".to_vec()).unwrap();
    let text = proof.to_string();
    assert!(text.contains("@v1\nextra YW55dGhpbmc=\nindex 0\n"));
    let parsed = TlogProof::parse(&text).unwrap();
    assert_eq!(parsed.unauthenticated_extra(), Some(&b"anything"[..]));
    assert!(log.verify(&parsed, &entry(0)).is_ok());
    assert!(log.proof(0).with_extra(vec![0; MAX_EXTRA_BYTES]).is_ok());
    assert!(
        log.proof(0)
            .with_extra(vec![0; MAX_EXTRA_BYTES + 1])
            .is_err()
    );
    assert!(TlogProof::parse(&text.replace("YW55dGhpbmc=", "")).is_err());
}

#[test]
fn other_spellings_are_refused() {
    let text = log().proof(4).with_extra(vec![0]).unwrap().to_string();
    for (from, to) in [
        ("@v1", "@v2"),
        ("c2sp", " c2sp"),
        ("extra AA==\n", "extra AA==\nextra AA==\n"),
        ("extra AA==", "extra AB=="),
        ("extra AA==", "Extra AA=="),
        ("index 4", "index 04"),
        ("index 4", "index +4"),
        ("index 4\n", "index 4\n\n"),
        ("index 4\n", ""),
        ("index 4\n", "index 4\nAA==\n"),
        ("\n", "\r\n"),
        ("\n\n", "\n"),
        ("log.example\n11\n", "log.example\n011\n"),
        ("@v1\nextra AA==\nindex 4", "@v1\nindex 4\nextra AA=="),
    ] {
        let changed = text.replace(from, to);
        assert_ne!(changed, text, "{from:?}");
        assert_eq!(
            TlogProof::parse(&changed),
            Err(TlogProofError::Malformed),
            "{to:?}"
        );
    }
    let hash = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
    let with =
        |hashes: usize| text.replace("index 4\n", &format!("index 4\n{}", hash.repeat(hashes)));
    assert!(TlogProof::parse(&with(59)).is_ok());
    assert!(TlogProof::parse(&with(60)).is_err());
}

#[test]
fn any_flipped_bit_is_refused() {
    let log = log();
    let text = log.proof(4).to_string();
    for at in 0..text.len() {
        for bit in 0..8 {
            let mut changed = text.clone().into_bytes();
            changed[at] ^= 1 << bit;
            let proof = String::from_utf8(changed)
                .ok()
                .and_then(|text| text.parse().ok());
            let Some(proof) = proof else { continue };
            assert!(
                log.verify(&proof, &entry(4)).is_err(),
                "bit {bit} of byte {at}"
            );
        }
    }
}

proptest! {
    #[test]
    fn serialise_after_parse_is_identity(at: usize, by: char) {
        let text = log().proof(4).to_string();
        let mut text: Vec<char> = text.chars().collect();
        let at = at % text.len();
        text[at] = by;
        let text: String = text.into_iter().collect();
        if let Ok(proof) = TlogProof::parse(&text) {
            prop_assert_eq!(proof.to_string(), text);
        }
    }
}
