//! The verdict is that of a single strict verification, whatever key, signature and message.

use super::*;
use crate::keys::SigningKey;
use curve25519_dalek::constants::EIGHT_TORSION;
use proptest::prelude::*;

/// The order of the group, least significant byte first (RFC 8032, section 5.1).
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// A verifier that has a table for this key, unless no table can be made for it.
fn verifier(key: &PublicKey) -> ManyVerifier {
    let mut verifier = ManyVerifier::new();
    for _ in 0..TABLE_AFTER {
        verifier.expect(key);
    }
    verifier
}

fn verdict(verifier: &ManyVerifier, key: PublicKey, message: &[u8], signature: &Signature) -> bool {
    // As much of it as is text goes before the rest.
    let text = message.iter().take_while(|byte| byte.is_ascii()).count();
    let (prefix, message) = message.split_at(text / 2);
    let claim = || Claim {
        key,
        prefix: String::from_utf8(prefix.to_vec()).unwrap(),
        message,
        signature,
    };
    let verdicts = verifier.verify(&[claim(), claim()]);
    assert_eq!(verdicts.len(), 2);
    assert_eq!(verdicts[0], verdicts[1]);
    verdicts[0]
}

/// The verdict, which must be that of a single strict verification.
fn same(verifier: &ManyVerifier, key: PublicKey, message: &[u8], signature: &Signature) -> bool {
    let decoded = DecodedKey::new(&key);
    let single = decoded.is_some_and(|key| key.verify_raw(message, signature));
    assert_eq!(
        verdict(verifier, key, message, signature),
        single,
        "{key} {signature}"
    );
    single
}

fn challenge(r: &[u8; 32], key: &PublicKey, message: &[u8]) -> Scalar {
    Scalar::from_hash(
        Sha512::new()
            .chain_update(r)
            .chain_update(key.0)
            .chain_update(message),
    )
}

fn signature(r: [u8; 32], s: [u8; 32]) -> Signature {
    Signature([r, s].concat().try_into().unwrap())
}

/// Scalars at the edges of digits and carries.
fn edges() -> Vec<Scalar> {
    let mut edges = vec![Scalar::ZERO, Scalar::ONE, -Scalar::ONE];
    for byte in [0x7f, 0x80, 0x81, 0xff] {
        let mut bytes = [byte; 32];
        bytes[31] = 0x0f;
        edges.push(Scalar::from_canonical_bytes(bytes).unwrap());
        for at in 0..31 {
            let mut bytes = [0; 32];
            bytes[at] = byte;
            edges.push(Scalar::from_canonical_bytes(bytes).unwrap());
        }
    }
    edges
}

#[test]
fn a_table_multiplies_at_the_edges_of_digits() {
    let torsion = EIGHT_TORSION[1];
    for point in [ED25519_BASEPOINT_POINT, ED25519_BASEPOINT_POINT + torsion] {
        let table = Table::new(point);
        assert_eq!(table.0.len(), DIGITS * MULTIPLES);
        for scalar in edges() {
            let sum = table.add_multiple(torsion, &scalar);
            // Not `point * scalar`, which is a product for points of the large order alone.
            let expected =
                EdwardsPoint::vartime_double_scalar_mul_basepoint(&scalar, &point, &Scalar::ZERO);
            assert_eq!(sum, expected + torsion, "{scalar:?}");
        }
    }
}

#[test]
fn keys_without_a_table_are_verified_one_by_one() {
    let key = SigningKey::from_seed(&[1; 32]);
    let signature = key.sign_raw(b"message");
    let mut verifier = ManyVerifier::new();
    assert!(!verdict(
        &verifier,
        key.public_key(),
        b"message",
        &signature
    ));
    verifier.expect(&key.public_key());
    assert!(verifier.keys[&key.public_key()].negative.is_none());
    assert!(same(&verifier, key.public_key(), b"message", &signature));
    assert!(!same(&verifier, key.public_key(), b"massage", &signature));
}

#[test]
fn the_number_of_tables_is_capped() {
    let mut verifier = ManyVerifier::new();
    for n in 0..=MAX_TABLES {
        let key = SigningKey::from_seed(&[u8::try_from(n).unwrap(); 32]);
        for _ in 0..TABLE_AFTER {
            verifier.expect(&key.public_key());
        }
        assert!(same(&verifier, key.public_key(), b"m", &key.sign_raw(b"m")));
    }
    let tables = verifier.keys.values().filter(|key| key.negative.is_some());
    assert_eq!(tables.count(), MAX_TABLES);
}

#[test]
fn a_key_of_small_order_or_off_the_curve_verifies_nothing() {
    let mut off_the_curve = [0; 32];
    off_the_curve[0] = 2;
    let torsion = EIGHT_TORSION.map(|point| point.compress().0);
    for key in torsion.into_iter().chain([off_the_curve]).map(PublicKey) {
        let verifier = verifier(&key);
        assert!(verifier.keys[&key].negative.is_none());
        for r in torsion {
            for n in 0..8_u8 {
                assert!(!same(&verifier, key, &[n], &signature(r, [0; 32])));
            }
        }
    }
}

#[test]
fn a_nonce_of_small_order_is_refused_though_the_equation_holds() {
    let secret = Scalar::from(1_234_567_u64);
    let key = PublicKey((ED25519_BASEPOINT_POINT * secret).compress().0);
    let verifier = verifier(&key);
    let neutral = EdwardsPoint::identity().compress().0;
    let k = challenge(&neutral, &key, b"message");
    let forged = signature(neutral, (k * secret).to_bytes());
    // What a verification that is not strict says.
    let lax = ed25519_dalek::VerifyingKey::from_bytes(&key.0).unwrap();
    let lax = ed25519_dalek::Verifier::verify(
        &lax,
        b"message",
        &ed25519_dalek::Signature::from_bytes(&forged.0),
    );
    assert!(lax.is_ok());
    assert!(!same(&verifier, key, b"message", &forged));
}

#[test]
fn mixed_keys_and_nonces_get_the_verdict_of_a_single_verification() {
    let secret = Scalar::from(7_654_321_u64);
    let nonce = Scalar::from(99_u64);
    let mut accepted = 0;
    for in_key in EIGHT_TORSION {
        let key = PublicKey((ED25519_BASEPOINT_POINT * secret + in_key).compress().0);
        let verifier = verifier(&key);
        for in_nonce in EIGHT_TORSION {
            let r = (ED25519_BASEPOINT_POINT * nonce + in_nonce).compress().0;
            for n in 0..16_u8 {
                let k = challenge(&r, &key, &[n]);
                let made = signature(r, (nonce + k * secret).to_bytes());
                accepted += u32::from(same(&verifier, key, &[n], &made));
            }
        }
    }
    // Those whose small parts cancel out: some, and by far not all of 1024.
    assert!((64..512).contains(&accepted), "{accepted}");
}

#[test]
fn a_scalar_that_is_not_reduced_and_a_point_in_another_spelling_are_refused() {
    let key = SigningKey::from_seed(&[3; 32]);
    let verifier = verifier(&key.public_key());
    let good = key.sign_raw(b"message");
    assert!(same(&verifier, key.public_key(), b"message", &good));
    let (r, s) = halves(&good);
    let mut carry = 0;
    let more = std::array::from_fn(|at| {
        let sum = u16::from(s[at]) + u16::from(ORDER[at]) + carry;
        carry = sum >> 8;
        sum as u8
    });
    assert_eq!(Scalar::from_bytes_mod_order(more).to_bytes(), s);
    let wrong = signature(r, more);
    assert!(!same(&verifier, key.public_key(), b"message", &wrong));
    // p + 1, p, and 2^255 - 1 stand for points whose canonical encoding is another.
    let mut spelling = [0xff; 32];
    for (first, last) in [(0xee, 0x7f), (0xed, 0x7f), (0xff, 0x7f), (0xee, 0xff)] {
        (spelling[0], spelling[31]) = (first, last);
        let wrong = signature(spelling, s);
        assert!(!same(&verifier, key.public_key(), b"message", &wrong));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_signature_gets_the_verdict_of_a_single_verification(
        seed: [u8; 32],
        message in prop::collection::vec(any::<u8>(), 0..300),
        flips in prop::collection::vec((0_usize..64, 0_u8..8), 8),
        random in prop::collection::vec(any::<u8>(), 64),
    ) {
        let key = SigningKey::from_seed(&seed);
        let verifier = verifier(&key.public_key());
        let good = key.sign_raw(&message);
        prop_assert!(same(&verifier, key.public_key(), &message, &good));
        for (at, bit) in flips {
            let mut bad = good;
            bad.0[at] ^= 1 << bit;
            prop_assert!(!same(&verifier, key.public_key(), &message, &bad));
        }
        let random = Signature(random.try_into().unwrap());
        prop_assert!(!same(&verifier, key.public_key(), &message, &random));
        let mut other = message;
        other.push(0);
        prop_assert!(!same(&verifier, key.public_key(), &other, &good));
    }

    #[test]
    fn a_table_multiplies_as_the_library_does(a: [u8; 32], b: [u8; 32]) {
        let (a, b) = (Scalar::from_bytes_mod_order(a), Scalar::from_bytes_mod_order(b));
        let point = ED25519_BASEPOINT_POINT * a;
        let sum = Table::new(point).add_multiple(EdwardsPoint::identity(), &b);
        prop_assert_eq!(sum, point * b);
    }

    #[test]
    fn verdicts_stand_in_the_order_of_the_claims(
        bad in prop::collection::vec(any::<bool>(), 0..200),
    ) {
        let keys = [[1; 32], [2; 32], [3; 32]].map(|seed| SigningKey::from_seed(&seed));
        let mut verifier = verifier(&keys[0].public_key());
        // The second has no table, the third is unknown.
        verifier.expect(&keys[1].public_key());
        let signatures: Vec<Signature> = (0..bad.len())
            .map(|n| keys[n % 3].sign_raw(&n.to_be_bytes()))
            .collect();
        let messages: Vec<[u8; 8]> = bad
            .iter()
            .enumerate()
            .map(|(n, bad)| (n + usize::from(*bad)).to_be_bytes())
            .collect();
        let claims: Vec<Claim<'_>> = (0..bad.len())
            .map(|n| Claim {
                key: keys[n % 3].public_key(),
                prefix: String::new(),
                message: &messages[n],
                signature: &signatures[n],
            })
            .collect();
        let expected: Vec<bool> = bad
            .iter()
            .enumerate()
            .map(|(n, bad)| !bad && n % 3 < 2)
            .collect();
        prop_assert_eq!(verifier.verify(&claims), expected);
    }
}
