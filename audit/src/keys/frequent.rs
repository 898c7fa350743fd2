//! Keys that sign often, each with a table of its multiples.
//!
//! In scope: which keys get one, for the whole process. Out of scope: why the verdict is the same
//! ([`super::many`]).
//!
//! A node verifies thousands of signatures a second by few keys: the log's, the permits', its
//! members'. Only keys with which something was verified are remembered, and only so many, so
//! nobody without one of the federation's keys can take room here.

use super::{
    DecodedKey,
    many::{Table, expected},
};
use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use passerelle_model::bytes::{PublicKey, Signature};
use std::{
    collections::HashMap,
    sync::{
        Arc, LazyLock, OnceLock, PoisonError, RwLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

/// Signatures after which a key gets a table: see [`super::many`].
const TABLE_AFTER: u64 = 64;

/// Most tables (40 MiB).
const MAX_TABLES: usize = 64;

/// Most keys that are remembered.
const MAX_KEYS: usize = 8_192;

static BASE: LazyLock<Table> = LazyLock::new(|| Table::new(ED25519_BASEPOINT_POINT));
static FREQUENT: LazyLock<Keys> = LazyLock::new(Keys::default);

#[derive(Default)]
struct Keys {
    known: RwLock<HashMap<PublicKey, Arc<Known>>>,
    tables: AtomicUsize,
}

struct Known {
    decoded: DecodedKey,
    verified: AtomicU64,
    /// Multiples of the key's negative.
    negative: OnceLock<Table>,
}

/// Strict verification, as [`DecodedKey::verify_raw`].
pub(super) fn verify(key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
    FREQUENT.verify(key, message, signature)
}

impl Keys {
    fn verify(&self, key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let found = known.get(key).cloned();
        drop(known);
        let Some(found) = found else {
            let Some(decoded) = DecodedKey::new(key) else {
                return false;
            };
            let verdict = decoded.verify_raw(message, signature);
            if verdict {
                self.remember(key, decoded);
            }
            return verdict;
        };
        if let Some(negative) = found.negative.get() {
            let expected = expected(&BASE, negative, key, &[message], signature);
            return expected.is_some_and(|point| {
                signature.0.starts_with(&point.compress().0) && !point.is_small_order()
            });
        }
        let verdict = found.decoded.verify_raw(message, signature);
        if verdict && found.verified.fetch_add(1, Ordering::Relaxed) + 1 == TABLE_AFTER {
            self.make_table(&found);
        }
        verdict
    }

    fn remember(&self, key: &PublicKey, decoded: DecodedKey) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() < MAX_KEYS {
            known.entry(*key).or_insert_with(|| {
                Arc::new(Known {
                    decoded,
                    verified: AtomicU64::new(1),
                    negative: OnceLock::new(),
                })
            });
        }
    }

    fn make_table(&self, known: &Known) {
        if self.tables.fetch_add(1, Ordering::Relaxed) >= MAX_TABLES {
            self.tables.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        // One with which something was verified is not of small order.
        let point = -known.decoded.0.to_edwards();
        known.negative.get_or_init(|| Table::new(point));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::SigningKey;
    use curve25519_dalek::{constants::EIGHT_TORSION, scalar::Scalar};
    use proptest::prelude::*;

    fn frequent(key: &SigningKey) -> Keys {
        let keys = Keys::default();
        for n in 0..TABLE_AFTER {
            let message = n.to_be_bytes();
            let signature = key.sign_raw(&message);
            assert!(keys.verify(&key.public_key(), &message, &signature));
        }
        let known = keys.known.read().unwrap();
        assert!(known[&key.public_key()].negative.get().is_some());
        drop(known);
        keys
    }

    /// The verdict, which must be that of a single strict verification.
    fn same(keys: &Keys, key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
        let single = DecodedKey::new(key).is_some_and(|k| k.verify_raw(message, signature));
        assert_eq!(keys.verify(key, message, signature), single, "{key}");
        single
    }

    #[test]
    fn a_key_gets_its_table_only_by_signatures_that_verify() {
        let keys = Keys::default();
        let key = SigningKey::from_seed(&[1; 32]);
        let wrong = key.sign_raw(b"another message");
        for _ in 0..2 * TABLE_AFTER {
            assert!(!keys.verify(&key.public_key(), b"message", &wrong));
        }
        assert!(keys.known.read().unwrap().is_empty());
        let right = key.sign_raw(b"message");
        assert!(keys.verify(&key.public_key(), b"message", &right));
        for _ in 0..2 * TABLE_AFTER {
            assert!(!keys.verify(&key.public_key(), b"message", &wrong));
        }
        let known = keys.known.read().unwrap();
        assert!(known[&key.public_key()].negative.get().is_none());
    }

    #[test]
    fn tables_are_so_many_and_no_more() {
        let keys = Keys::default();
        keys.tables.store(MAX_TABLES, Ordering::Relaxed);
        let key = SigningKey::from_seed(&[2; 32]);
        for _ in 0..2 * TABLE_AFTER {
            assert!(same(&keys, &key.public_key(), b"m", &key.sign_raw(b"m")));
        }
        assert!(
            keys.known.read().unwrap()[&key.public_key()]
                .negative
                .get()
                .is_none()
        );
        assert_eq!(keys.tables.load(Ordering::Relaxed), MAX_TABLES);
    }

    #[test]
    fn a_nonce_of_small_order_is_refused_by_the_table_too() {
        let key = SigningKey::from_seed(&[3; 32]);
        let keys = frequent(&key);
        for torsion in EIGHT_TORSION {
            let r = torsion.compress().0;
            for s in [Scalar::ZERO, Scalar::ONE] {
                let forged = Signature([r, s.to_bytes()].concat().try_into().unwrap());
                assert!(!same(&keys, &key.public_key(), b"m", &forged));
            }
        }
    }

    proptest! {
        // Each makes a table.
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn the_verdict_is_that_of_a_single_strict_verification(
            seed: [u8; 32],
            message: Vec<u8>,
            at in 0_usize..64,
            flip in 0_u8..=255,
        ) {
            let key = SigningKey::from_seed(&seed);
            let keys = frequent(&key);
            let public = key.public_key();
            let mut signature = key.sign_raw(&message);
            prop_assert!(same(&keys, &public, &message, &signature));
            signature.0[at] ^= flip;
            prop_assert_eq!(same(&keys, &public, &message, &signature), flip == 0);
            let random = Signature([seed, seed].concat().try_into().unwrap());
            same(&keys, &public, &message, &random);
        }
    }
}
