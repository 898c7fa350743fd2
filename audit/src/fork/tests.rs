use super::*;
use crate::{
    cosignature::{self, Cosigner},
    keys::SigningKey,
    merkle::{Tree, leaf_hash},
    note::Signer,
    witness,
};
use proptest::prelude::*;

fn log() -> Signer {
    Signer::new("essai.example/log", SigningKey::from_seed(&[1; 32])).unwrap()
}

/// A log of so many entries, the same as every other up to the entry at `forked_at`.
fn tree(size: u64, forked_at: Option<u64>) -> Tree {
    (0..size)
        .map(|index| {
            let other = forked_at.is_some_and(|from| index >= from);
            leaf_hash(&[&[u8::from(other)][..], &index.to_be_bytes()].concat())
        })
        .collect()
}

fn signed(size: u64, root: Digest) -> SignedCheckpoint {
    let checkpoint = Checkpoint::new(log().verifier_key().name(), size, root).unwrap();
    checkpoint.sign(&log()).unwrap()
}

fn head(tree: &Tree) -> SignedCheckpoint {
    signed(tree.size(), tree.root())
}

fn of(
    one: &SignedCheckpoint,
    other: &SignedCheckpoint,
    tree: &Tree,
) -> Result<ForkProof, ForkError> {
    ForkProof::of(one, other, log().verifier_key(), tree)
}

fn check(proof: &ForkProof) -> Result<Fork, ForkError> {
    proof.check(log().verifier_key())
}

#[test]
fn every_fork_between_small_sizes_is_proven_and_no_honest_pair_is() {
    for new in 1..=40 {
        let larger = tree(new, None);
        for old in 1..=new {
            let honest = of(&head(&tree(old, None)), &head(&larger), &larger);
            assert_eq!(honest, Err(ForkError::Consistent), "{old} {new}");
            for forked_at in [0, old / 2, old - 1] {
                let smaller = tree(old, Some(forked_at));
                let proof = of(&head(&larger), &head(&smaller), &larger).unwrap();
                let fork = check(&proof).unwrap();
                assert_eq!((fork.smaller().size(), fork.larger().size()), (old, new));
                let roots = [fork.smaller().root(), fork.larger().root()];
                assert!(roots.contains(&smaller.root()) && roots.contains(&larger.root()));
                if old < new {
                    assert_eq!(fork.implied_root(), larger.root_at(old).unwrap());
                }
                let text = proof.to_string();
                assert_eq!(ForkProof::parse(&text).unwrap(), proof);
                assert!(text.len() <= MAX_FORK_PROOF_BYTES);
            }
        }
    }
}

#[test]
fn a_power_of_two_has_its_root_in_the_larger_tree_given() {
    let larger = tree(11, None);
    let proof = of(&head(&tree(8, Some(3))), &head(&larger), &larger).unwrap();
    assert_eq!(proof.hashes[0], larger.root_at(8).unwrap());
    assert_eq!(proof.hashes[1..], larger.consistency_proof(8, 11).unwrap());
    // Without it there is nothing to compare.
    let mut without = proof;
    without.hashes.remove(0);
    assert!(check(&without).is_err());
}

#[test]
fn a_log_that_is_not_empty_at_size_zero_is_a_fork() {
    let larger = tree(5, None);
    let wrong = signed(0, Digest([9; 32]));
    let fork = check(&of(&wrong, &head(&larger), &larger).unwrap()).unwrap();
    assert_eq!(fork.implied_root(), empty_root());
    let empty = signed(0, empty_root());
    assert_eq!(
        of(&empty, &head(&larger), &larger),
        Err(ForkError::Consistent)
    );
    assert_eq!(of(&empty, &empty, &Tree::new()), Err(ForkError::Consistent));
    assert!(check(&of(&empty, &wrong, &Tree::new()).unwrap()).is_ok());
}

#[test]
fn hashes_of_another_tree_convince_nobody() {
    let (larger, liar) = (tree(21, None), tree(21, Some(2)));
    let smaller = head(&tree(13, None));
    assert_eq!(
        of(&smaller, &head(&larger), &liar),
        Err(ForkError::OtherTree)
    );
    // The hashes of an invented tree say that the honest smaller checkpoint is wrong.
    let forged = ForkProof {
        hashes: liar.consistency_proof(13, 21).unwrap(),
        smaller: smaller.note().clone(),
        larger: head(&larger).note().clone(),
    };
    assert_eq!(check(&forged), Err(ForkError::OtherTree));
    assert!(of(&smaller, &head(&larger), &tree(20, None)).is_err());
}

#[test]
fn a_witness_makes_a_proof_of_what_the_log_itself_sent() {
    let larger = tree(21, None);
    let old = head(&tree(13, Some(12)));
    let key = log().verifier_key().clone();
    let sent = larger.consistency_proof(13, 21).unwrap();
    let proof = ForkProof::with_hashes(&old, &head(&larger), &key, sent).unwrap();
    assert_eq!(proof, of(&old, &head(&larger), &larger).unwrap());
    // A wrong proof by whoever is no proof of a fork.
    for hashes in [
        Vec::new(),
        vec![Digest([1; 32]); 6],
        vec![Digest([1; 32]); 64],
    ] {
        assert!(ForkProof::with_hashes(&old, &head(&larger), &key, hashes).is_err());
    }
}

#[test]
fn only_the_key_of_the_caller_counts() {
    let larger = tree(6, None);
    let proof = of(&head(&tree(4, Some(0))), &head(&larger), &larger).unwrap();
    let name = log().verifier_key().name().to_owned();
    for (name, seed) in [(&*name, [2; 32]), ("other.example/log", [1; 32])] {
        let other = Signer::new(name, SigningKey::from_seed(&seed)).unwrap();
        assert!(matches!(
            proof.check(other.verifier_key()),
            Err(ForkError::Checkpoint(_))
        ));
    }
}

#[test]
fn checkpoints_of_two_logs_are_no_fork() {
    let other = Signer::new("other.example/log", SigningKey::from_seed(&[1; 32])).unwrap();
    let checkpoint = Checkpoint::new("other.example/log", 4, Digest([1; 32])).unwrap();
    let other = checkpoint.sign(&other).unwrap();
    let larger = tree(6, None);
    assert!(of(&other, &head(&larger), &larger).is_err());
}

#[test]
fn cosignatures_are_left_out_and_refused() {
    let (smaller, larger) = (tree(4, Some(0)), tree(6, None));
    let mut cosigned = head(&smaller);
    let witness = Cosigner::new("witness.example", SigningKey::from_seed(&[5; 32])).unwrap();
    let state = witness::WitnessState::default();
    let note = cosigned.note().to_string();
    let accepted = witness::consider(&state, log().verifier_key(), 0, &[], &note).unwrap();
    let line = witness.cosign(&accepted, 1).unwrap();
    cosignature::add(&mut cosigned, witness.verifier_key(), line).unwrap();
    let proof = of(&cosigned, &head(&larger), &larger).unwrap();
    assert_eq!(proof.smaller.signatures().len(), 1);
    let mut with = proof.clone();
    with.smaller = cosigned.note().clone();
    assert_eq!(check(&with), Err(ForkError::Malformed));
    assert_eq!(
        ForkProof::parse(&with.to_string()),
        Err(ForkError::Malformed)
    );
}

#[test]
fn any_flipped_bit_is_refused() {
    let larger = tree(21, None);
    for old in [13, 16, 21] {
        let text = of(&head(&tree(old, Some(1))), &head(&larger), &larger)
            .unwrap()
            .to_string();
        for at in 0..text.len() * 8 {
            let mut bytes = text.clone().into_bytes();
            bytes[at / 8] ^= 1 << (at % 8);
            let Ok(changed) = String::from_utf8(bytes) else {
                continue;
            };
            let outcome = ForkProof::parse(&changed).and_then(|proof| check(&proof));
            assert!(outcome.is_err(), "bit {at} of {text}");
        }
    }
}

#[test]
fn other_spellings_are_refused() {
    let larger = tree(21, None);
    let text = of(&head(&tree(13, Some(1))), &head(&larger), &larger)
        .unwrap()
        .to_string();
    let (first, rest) = text.split_at(HEADER.len());
    let one_line = rest.split_inclusive('\n').next().unwrap();
    for wrong in [
        String::new(),
        HEADER.to_owned(),
        format!("{text}\n"),
        format!("\n{text}"),
        format!("{text}x"),
        text.trim_end().to_owned(),
        text.replace('\n', "\r\n"),
        text.replace("@v1", "@v2"),
        text.replacen("\n\n", "\n\n\n", 1),
        text.replacen("\n\n", "\n", 1),
        format!("{first}\n{rest}"),
        format!("{first}{}{rest}", one_line.repeat(MAX_HASHES + 1)),
    ] {
        assert_eq!(
            ForkProof::parse(&wrong),
            Err(ForkError::Malformed),
            "{wrong:?}"
        );
    }
    // One hash too many, one too few, two in another order.
    let proof = ForkProof::parse(&text).unwrap();
    for hashes in [
        [&proof.hashes[..], &proof.hashes[..1]].concat(),
        proof.hashes[1..].to_vec(),
        proof.hashes.iter().rev().copied().collect(),
        Vec::new(),
    ] {
        assert!(
            check(&ForkProof {
                hashes,
                ..proof.clone()
            })
            .is_err()
        );
    }
    let swapped = ForkProof {
        smaller: proof.larger.clone(),
        larger: proof.smaller.clone(),
        ..proof
    };
    assert_eq!(check(&swapped), Err(ForkError::Malformed));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_hashes_make_a_fork_of_an_honest_log(
        new in 1_u64..300,
        old: prop::sample::Index,
        pick in prop::collection::vec((any::<prop::sample::Index>(), 0_u32..9), 0..10),
        noise: [u8; 32],
        noise_at: Option<prop::sample::Index>,
    ) {
        let larger = tree(new, None);
        let old = old.index(usize::try_from(new).unwrap()) as u64 + 1;
        // Hashes that are in the tree, in any order, or the right ones; and one that is in none.
        let mut hashes: Vec<Digest> = pick
            .iter()
            .filter_map(|(at, level)| {
                let count = usize::try_from(new >> level).unwrap();
                (count > 0).then(|| larger.complete(*level, at.index(count) as u64).unwrap())
            })
            .collect();
        if hashes.len() < 3 {
            hashes = larger.consistency_proof(old, new).unwrap();
            if old.is_power_of_two() && old < new {
                hashes.insert(0, larger.root_at(old).unwrap());
            }
        }
        if let Some(at) = noise_at.filter(|_| !hashes.is_empty()) {
            let at = at.index(hashes.len());
            hashes[at] = Digest(noise);
        }
        let proof = ForkProof {
            hashes,
            smaller: signed(old, larger.root_at(old).unwrap()).note().clone(),
            larger: head(&larger).note().clone(),
        };
        prop_assert!(check(&proof).is_err());
        let text = proof.to_string();
        if let Ok(parsed) = ForkProof::parse(&text) {
            prop_assert_eq!(parsed, proof);
        }
    }

    #[test]
    fn large_forks_round_trip(
        new in 2_u64..3000,
        old: prop::sample::Index,
        at: prop::sample::Index,
    ) {
        let old = old.index(usize::try_from(new).unwrap() - 1) as u64 + 1;
        let forked_at = at.index(usize::try_from(old).unwrap()) as u64;
        let larger = tree(new, None);
        let proof = of(&head(&tree(old, Some(forked_at))), &head(&larger), &larger).unwrap();
        let read: ForkProof = proof.to_string().parse().unwrap();
        prop_assert_eq!(&read, &proof);
        prop_assert!(check(&read).is_ok());
    }

    #[test]
    fn any_text_is_refused_or_its_own_spelling(
        text in "(passerelle/fork-proof@v1\n)?[ -~\n—]{0,200}",
    ) {
        if let Ok(proof) = ForkProof::parse(&text) {
            prop_assert_eq!(proof.to_string(), text);
        }
    }
}
