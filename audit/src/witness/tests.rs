//! The rule case by case, the request body, the quorum, and a hostile log against a witness that
//! crashes.

use super::*;
use crate::cosignature::{self, CosignatureError, Cosigner, cosigned_by};
use crate::keys::SigningKey;
use crate::merkle::{Tree, leaf_hash};
use crate::note::{NoteError, SignatureType, Signer};
use proptest::prelude::*;

const ORIGIN: &str = "log.example";

fn log() -> Signer {
    Signer::new(ORIGIN, SigningKey::from_seed(&[1; 32])).unwrap()
}

fn cosigner(n: u8) -> Cosigner {
    Cosigner::new(
        &format!("w{n}.example"),
        SigningKey::from_seed(&[100 + n; 32]),
    )
    .unwrap()
}

/// `common` leaves that all forks share, then `own` leaves of this fork.
fn fork(name: u64, common: u64, own: u64) -> Tree {
    let shared = (0..common).map(|n| leaf_hash(&n.to_be_bytes()));
    let own = (0..own).map(|n| leaf_hash(format!("{name} {n}").as_bytes()));
    shared.chain(own).collect()
}

fn signed(size: u64, root: Digest) -> String {
    let checkpoint = Checkpoint::new(ORIGIN, size, root).unwrap();
    checkpoint.sign(&log()).unwrap().note().to_string()
}

fn signed_at(tree: &Tree, size: u64) -> String {
    signed(size, tree.root_at(size).unwrap())
}

fn state_at(tree: &Tree, size: u64) -> WitnessState {
    WitnessState {
        size,
        root: tree.root_at(size).unwrap(),
    }
}

fn ask(state: &WitnessState, old: u64, proof: &[Digest], note: &str) -> Result<u64, WitnessError> {
    consider(state, log().verifier_key(), old, proof, note).map(|accepted| accepted.state().size)
}

#[test]
fn growth_with_a_proof_is_accepted() {
    let tree = fork(0, 20, 0);
    let key = log().verifier_key().clone();
    let mut state = WitnessState::default();
    for size in [0, 0, 3, 3, 8, 9, 20] {
        let proof = tree.consistency_proof(state.size, size).unwrap();
        let note = signed_at(&tree, size);
        let accepted = consider(&state, &key, state.size, &proof, &note).unwrap();
        assert_eq!(accepted.state(), state_at(&tree, size));
        assert_eq!(accepted.checkpoint().note().to_string(), note);
        state = accepted.state();
    }
}

#[test]
fn each_refusal_has_its_http_status() {
    let (tree, other) = (fork(0, 5, 6), fork(1, 5, 6));
    let state = state_at(&tree, 7);
    let proof = tree.consistency_proof(7, 11).unwrap();
    let note = signed_at(&tree, 11);
    assert_eq!(ask(&state, 7, &proof, &note), Ok(11));
    let forked = other.consistency_proof(7, 11).unwrap();
    let (empty, start) = (signed(0, Digest([1; 32])), WitnessState::default());
    let elsewhere = note.replace(ORIGIN, "other.example");
    let forged = note.replacen("\n11\n", "\n12\n", 1);
    let cases = [
        (
            ask(&state, 7, &proof, "no note"),
            WitnessError::Malformed,
            400,
        ),
        (
            ask(&state, 7, &proof, &note.replace("\n11\n", "\n011\n")),
            WitnessError::Malformed,
            400,
        ),
        (
            ask(&state, 7, &proof, &elsewhere),
            WitnessError::UnknownOrigin("other.example".into()),
            404,
        ),
        (
            ask(&state, 7, &proof, &forged),
            WitnessError::BadSignature,
            403,
        ),
        (ask(&state, 12, &[], &note), WitnessError::OldTooLarge, 400),
        (
            ask(&state, 7, &[], &signed_at(&tree, 6)),
            WitnessError::OldTooLarge,
            400,
        ),
        (
            ask(&state, 5, &proof, &note),
            WitnessError::Conflict { size: 7 },
            409,
        ),
        (
            ask(&state, 0, &[], &note),
            WitnessError::Conflict { size: 7 },
            409,
        ),
        (ask(&state, 7, &[], &note), WitnessError::BadProof, 422),
        (
            ask(&state, 7, &proof[1..], &note),
            WitnessError::BadProof,
            422,
        ),
        (
            ask(&state, 7, &forked, &signed_at(&other, 11)),
            WitnessError::BadProof,
            422,
        ),
        (
            ask(&state, 7, &proof, &signed_at(&tree, 7)),
            WitnessError::BadProof,
            422,
        ),
        (
            ask(&state, 7, &[], &signed_at(&other, 7)),
            WitnessError::SameSizeDifferentRoot,
            422,
        ),
        (ask(&start, 0, &proof, &note), WitnessError::BadProof, 422),
        (ask(&start, 0, &[], &empty), WitnessError::BadProof, 422),
    ];
    for (outcome, error, status) in cases {
        assert_eq!(error.http_status(), status);
        assert_eq!(outcome, Err(error));
    }
}

#[test]
fn only_the_key_of_the_log_counts() {
    let tree = fork(0, 5, 0);
    let thief = Signer::new(ORIGIN, SigningKey::from_seed(&[2; 32])).unwrap();
    let checkpoint = Checkpoint::new(ORIGIN, 5, tree.root()).unwrap();
    let note = checkpoint.sign(&thief).unwrap().note().to_string();
    assert_eq!(
        ask(&WitnessState::default(), 0, &[], &note),
        Err(WitnessError::BadSignature)
    );
    let public = *log().verifier_key().public_key();
    let wrong_use = VerifierKey::new(ORIGIN, SignatureType::CosignatureV1, public).unwrap();
    let outcome = consider(
        &WitnessState::default(),
        &wrong_use,
        0,
        &[],
        &signed_at(&tree, 5),
    );
    assert_eq!(outcome, Err(WitnessError::BadSignature));
}

#[test]
fn published_request_round_trips() {
    // The example of tlog-witness, section "add-checkpoint".
    let body = "old 20852014\n\
        PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n\
        jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=\n\
        5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=\n\
        /6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=\n\
        \n\
        example.com/behind-the-sofa\n\
        20852163\n\
        CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\
        \n\
        — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7\
        u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
        — example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2W\
        ks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=\n";
    let request = AddCheckpoint::parse(body).unwrap();
    assert_eq!((request.old_size, request.proof.len()), (20_852_014, 4));
    assert_eq!(request.to_string(), body);
    for (from, to) in [
        ("old 2", "old 02"),
        ("old 2", "Old 2"),
        ("old 2", "old  2"),
        ("kaw=\n", "kax=\n"),
        ("kaw=\n", "kaw=\r\n"),
        ("kaw=\n", "kaw=\n\n"),
        ("kaw=\n", "kaw=\nAA==\n"),
        ("20852163", "020852163"),
        ("j/0=\n\n", "j/0=\n"),
    ] {
        assert!(
            AddCheckpoint::parse(&body.replace(from, to)).is_err(),
            "{from:?} to {to:?}"
        );
    }
    let repeat = |times: usize| {
        let hash = "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n";
        AddCheckpoint::parse(&body.replace(hash, &hash.repeat(times)))
    };
    assert!(repeat(60).is_ok());
    assert_eq!(repeat(61), Err(WitnessError::Malformed));
}

#[test]
fn quorum_is_one_more_than_two_thirds() {
    let quorums: Vec<usize> = (1..=10).map(quorum).collect();
    assert_eq!(quorums, [1, 2, 3, 3, 4, 5, 5, 6, 7, 7]);
    assert_eq!(quorum(0), 1);
    for n in 1..200 {
        let (k, liars) = (quorum(n), (n - 1) / 3);
        // Two quorums share more witnesses than can lie, so no two views are accepted.
        assert!(k <= n && 2 * k - n > liars, "{n}");
    }
}

#[test]
fn cosignatures_are_counted_once_each_and_only_known_ones() {
    let tree = fork(0, 5, 0);
    let key = log().verifier_key().clone();
    let accepted = consider(&WitnessState::default(), &key, 0, &[], &signed_at(&tree, 5)).unwrap();
    let mut signed = accepted.checkpoint().clone();
    let witnesses: Vec<Cosigner> = (0..4).map(cosigner).collect();
    let keys: Vec<VerifierKey> = witnesses.iter().map(|w| w.verifier_key().clone()).collect();
    assert_eq!(count_cosignatures(&signed, &keys), Ok(0));
    for (time_s, n) in [(10, 0), (11, 1), (12, 1), (13, 2)] {
        let line = witnesses[n].cosign(&accepted, time_s).unwrap();
        cosignature::add(&mut signed, &keys[n], line).unwrap();
    }
    assert_eq!(count_cosignatures(&signed, &keys), Ok(3));
    assert_eq!(count_cosignatures(&signed, &keys[1..]), Ok(2));
    assert_eq!(count_cosignatures(&signed, &[]), Ok(0));
    let found = cosigned_by(&signed, &keys).unwrap();
    assert_eq!((found[2].witness(), found[2].time_s()), (&keys[2], 13));

    // One key under two names would make one witness two.
    let alias = VerifierKey::new(
        "w9.example",
        SignatureType::CosignatureV1,
        *keys[0].public_key(),
    );
    let twice = [keys[0].clone(), alias.unwrap()];
    assert!(matches!(
        count_cosignatures(&signed, &twice),
        Err(CosignatureError::SharedKey(_))
    ));
    assert!(count_cosignatures(&signed, &[key]).is_err());
}

#[test]
fn a_cosignature_fits_one_checkpoint_one_time_and_one_witness() {
    let (tree, key) = (fork(0, 9, 0), log().verifier_key().clone());
    let at = |size| {
        consider(
            &WitnessState::default(),
            &key,
            0,
            &[],
            &signed_at(&tree, size),
        )
        .unwrap()
    };
    let (witness, other) = (cosigner(0), cosigner(1));
    let line = witness.cosign(&at(5), 1_679_315_147).unwrap();
    let mut signed = at(5).checkpoint().clone();
    let bad = CosignatureError::Note(NoteError::BadSignature("w0.example".into()));
    let mut later = line.clone();
    later.bytes[7] ^= 1;
    let mut cut = line.clone();
    cut.bytes.pop();
    for wrong in [later, cut] {
        let refused = cosignature::add(&mut signed, witness.verifier_key(), wrong);
        assert_eq!(refused, Err(bad.clone()));
    }
    let mut larger = at(9).checkpoint().clone();
    let refused = cosignature::add(&mut larger, witness.verifier_key(), line.clone());
    assert_eq!(refused, Err(bad));
    assert!(cosignature::add(&mut signed, other.verifier_key(), line.clone()).is_err());
    cosignature::add(&mut signed, witness.verifier_key(), line).unwrap();
    assert_eq!(
        cosignature::verify(&signed, witness.verifier_key()),
        Ok(1_679_315_147)
    );
    for time_s in [0, cosignature::MAX_TIME_S + 1] {
        let refused = witness.cosign(&at(5), time_s);
        assert_eq!(refused, Err(CosignatureError::BadTime(time_s)));
    }
}

#[test]
fn message_and_layout_are_those_of_the_specification() {
    let text =
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
    let message = cosignature::message(1_679_315_147, text);
    assert_eq!(
        message,
        format!("cosignature/v1\ntime 1679315147\n{text}").into_bytes()
    );
    // The example of tlog-cosignature; its keys are not published, but its layout is.
    let line = "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OW\
        XEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";
    let line = crate::note::parse_signature_lines(line).unwrap().remove(0);
    let (time, signature) = line.bytes().split_first_chunk::<8>().unwrap();
    assert_eq!(
        (u64::from_be_bytes(*time), signature.len()),
        (1_679_315_147, 64)
    );
}

/// What a hostile log tries, and where the witness crashes.
#[derive(Debug, Clone)]
struct Attempt {
    fork: usize,
    new: u64,
    /// The old size that it claims: the witness's own, or any.
    old: Option<u64>,
    /// The tree from which it takes the proof, and changes to it.
    proof_from: usize,
    drop_hash: bool,
    crash: Crash,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Crash {
    No,
    BeforePersist,
    AfterPersist,
}

fn attempt() -> impl Strategy<Value = Attempt> {
    let crash = prop_oneof![
        4 => Just(Crash::No), 1 => Just(Crash::BeforePersist), 1 => Just(Crash::AfterPersist)
    ];
    let old = prop_oneof![3 => Just(None), 1 => (0_u64..40).prop_map(Some)];
    let drop_hash = prop::bool::weighted(0.1);
    (
        0_usize..3,
        0_u64..40,
        old,
        prop::option::weighted(0.2, 0_usize..3),
        drop_hash,
        crash,
    )
        .prop_map(|(fork, new, old, proof_from, drop_hash, crash)| Attempt {
            fork,
            new,
            old,
            proof_from: proof_from.unwrap_or(fork),
            drop_hash,
            crash,
        })
}

proptest! {
    #[test]
    fn a_witness_never_signs_two_inconsistent_or_shrinking_checkpoints(
        common in 0_u64..30, attempts in prop::collection::vec(attempt(), 1..40),
    ) {
        let forks: Vec<Tree> = (0..3).map(|name| fork(name, common, 40 - common)).collect();
        let (key, witness) = (log().verifier_key().clone(), cosigner(0));
        let mut durable = WitnessState::default();
        // What left the witness: size, and the fork it was taken from.
        let mut cosigned: Vec<(u64, usize)> = Vec::new();
        for Attempt { fork, new, old, proof_from, drop_hash, crash } in attempts {
            let old = old.unwrap_or(durable.size);
            let mut proof = forks[proof_from].consistency_proof(old, new).unwrap_or_default();
            if drop_hash {
                proof.pop();
            }
            let note = signed_at(&forks[fork], new);
            let outcome = consider(&durable, &key, old, &proof, &note);
            let honest = forks[fork].root_at(durable.size) == Ok(durable.root)
                && old == durable.size && new >= old && proof_from == fork && !drop_hash;
            prop_assert!(outcome.is_ok() || !honest, "honest growth is accepted");
            let Ok(accepted) = outcome else { continue };
            if crash == Crash::BeforePersist {
                continue;
            }
            durable = accepted.state();
            if crash == Crash::AfterPersist {
                continue;
            }
            witness.cosign(&accepted, 1).unwrap();
            cosigned.push((new, fork));
        }
        for pair in cosigned.windows(2) {
            let ((old, before), (new, after)) = (pair[0], pair[1]);
            prop_assert!(old <= new, "shrunk from {} to {}", old, new);
            prop_assert_eq!(forks[before].root_at(old), forks[after].root_at(old));
        }
    }
}
