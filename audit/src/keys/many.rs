//! Ed25519 verification of many signatures by few keys.
//!
//! In scope: the verdict of strict verification, several times faster, for keys that sign often.
//! Out of scope: any weaker rule. Batch verification by a random linear combination is not used:
//! it accepts signatures that a single verification refuses.
//!
//! What makes it faster changes no verdict:
//! - `R' = [s]B - [k]A` is computed from tables of the multiples of `B` and of `-A`, without the
//!   doublings that make up most of a single verification. Scalars are public here, so the time
//!   may depend on them.
//! - Strict verification decodes the signature's `R` to see whether it has small order. Nothing is
//!   accepted unless the encoding of `R'` is `R`, byte for byte, so it is enough to look at `R'`.
//! - Points are encoded several at a time, with one inversion for all of them.
//!
//! Source: RFC 8032, section 5.1.7, without cofactor, and with the refusals of
//! `ed25519_dalek::VerifyingKey::verify_strict`.

use super::DecodedKey;
use curve25519_dalek::{
    constants::ED25519_BASEPOINT_POINT,
    edwards::{CompressedEdwardsY, EdwardsPoint},
    scalar::Scalar,
    traits::Identity as _,
};
use passerelle_model::bytes::{PublicKey, Signature};
use sha2::{Digest as _, Sha512};
use std::collections::HashMap;

/// Multiples of each power of 256: a digit is from -127 to 128.
const MULTIPLES: usize = 128;

/// Digits of a scalar.
const DIGITS: usize = 32;

/// Signatures after which a key gets a table. One costs about as much as 20 single verifications,
/// and 640 KiB.
const TABLE_AFTER: u64 = 64;

/// Most tables, so that an export that names many agencies can't fill the memory (40 MiB).
const MAX_TABLES: usize = 64;

/// How many points are encoded with one inversion.
const ENCODED_TOGETHER: usize = 64;

/// A signature and what it is said to be over.
pub(crate) struct Claim<'a> {
    pub(crate) key: PublicKey,
    /// What is signed before the message: its domain separation.
    pub(crate) prefix: String,
    pub(crate) message: &'a [u8],
    pub(crate) signature: &'a Signature,
}

/// Verifies signatures, and remembers the keys.
pub(crate) struct ManyVerifier {
    base: Table,
    keys: HashMap<PublicKey, Key>,
    tables: usize,
}

struct Key {
    /// `None`: no point of the curve, nothing verifies.
    decoded: Option<DecodedKey>,
    /// Multiples of the key's negative. Never of a key of small order.
    negative: Option<Table>,
    signatures: u64,
}

impl ManyVerifier {
    pub(crate) fn new() -> Self {
        Self {
            base: Table::new(ED25519_BASEPOINT_POINT),
            keys: HashMap::new(),
            tables: 0,
        }
    }

    /// Says that a signature by `key` will be looked at.
    pub(crate) fn expect(&mut self, key: &PublicKey) {
        let known = self.keys.entry(*key).or_insert_with(|| Key {
            decoded: DecodedKey::new(key),
            negative: None,
            signatures: 0,
        });
        known.signatures += 1;
        if known.signatures == TABLE_AFTER && self.tables < MAX_TABLES {
            let usable = known.decoded.as_ref().filter(|key| !key.0.is_weak());
            known.negative = usable.map(|key| Table::new(-key.0.to_edwards()));
            self.tables += usize::from(known.negative.is_some());
        }
    }

    /// For each claim whether it is true. A key that was not [expected](Self::expect) verifies
    /// nothing.
    pub(crate) fn verify(&self, claims: &[Claim<'_>]) -> Vec<bool> {
        let mut verdicts = Vec::with_capacity(claims.len());
        for claims in claims.chunks(ENCODED_TOGETHER) {
            let candidates: Vec<Candidate> =
                claims.iter().map(|claim| self.candidate(claim)).collect();
            let points: Vec<EdwardsPoint> =
                candidates.iter().filter_map(Candidate::point).collect();
            let mut encoded = EdwardsPoint::compress_batch_alloc(&points).into_iter();
            for (claim, candidate) in claims.iter().zip(candidates) {
                verdicts.push(match candidate {
                    Candidate::Known(verdict) => verdict,
                    Candidate::If(point) => {
                        let (r, _) = halves(claim.signature);
                        encoded.next() == Some(CompressedEdwardsY(r)) && !point.is_small_order()
                    }
                });
            }
        }
        verdicts
    }

    fn candidate(&self, claim: &Claim<'_>) -> Candidate {
        let Some(key) = self.keys.get(&claim.key) else {
            return Candidate::Known(false);
        };
        match (&key.negative, &key.decoded) {
            (Some(negative), _) => self
                .expected(claim, negative)
                .map_or(Candidate::Known(false), Candidate::If),
            (None, Some(decoded)) => {
                let message = [claim.prefix.as_bytes(), claim.message].concat();
                Candidate::Known(decoded.verify_raw(&message, claim.signature))
            }
            (None, None) => Candidate::Known(false),
        }
    }

    fn expected(&self, claim: &Claim<'_>, negative: &Table) -> Option<EdwardsPoint> {
        let message = [claim.prefix.as_bytes(), claim.message];
        expected(&self.base, negative, &claim.key, &message, claim.signature)
    }
}

/// The point whose encoding a signature over `message`, in parts, must begin with: `[s]B - [k]A`.
/// `None` if `s` is not below the order of the group.
pub(super) fn expected(
    base: &Table,
    negative: &Table,
    key: &PublicKey,
    message: &[&[u8]],
    signature: &Signature,
) -> Option<EdwardsPoint> {
    let (r, s) = halves(signature);
    let s = Option::<Scalar>::from(Scalar::from_canonical_bytes(s))?;
    let mut hash = Sha512::new().chain_update(r).chain_update(key.0);
    for part in message {
        hash.update(part);
    }
    let k = Scalar::from_hash(hash);
    let sum = base.add_multiple(EdwardsPoint::identity(), &s);
    Some(negative.add_multiple(sum, &k))
}

/// What is known of a claim before points are encoded.
enum Candidate {
    /// The verdict.
    Known(bool),
    /// It is true if the signature begins with the encoding of this point, not of small order.
    If(EdwardsPoint),
}

impl Candidate {
    fn point(&self) -> Option<EdwardsPoint> {
        match self {
            Self::Known(_) => None,
            Self::If(point) => Some(*point),
        }
    }
}

fn halves(signature: &Signature) -> ([u8; 32], [u8; 32]) {
    let (mut r, mut s) = ([0; 32], [0; 32]);
    let (first, second) = signature.0.split_at(32);
    r.copy_from_slice(first);
    s.copy_from_slice(second);
    (r, s)
}

/// The multiples 1 to 128 of `[256^i]P`, for each `i` below 32, in this order.
pub(super) struct Table(Vec<EdwardsPoint>);

impl Table {
    pub(super) fn new(point: EdwardsPoint) -> Self {
        let mut multiples = Vec::with_capacity(DIGITS * MULTIPLES);
        let mut power = point;
        for _ in 0..DIGITS {
            let mut multiple = power;
            multiples.push(multiple);
            for _ in 1..MULTIPLES {
                multiple += power;
                multiples.push(multiple);
            }
            // Twice the 128th multiple.
            power = multiple + multiple;
        }
        Self(multiples)
    }

    /// `sum + [scalar]P`. In variable time: for public scalars alone.
    fn add_multiple(&self, mut sum: EdwardsPoint, scalar: &Scalar) -> EdwardsPoint {
        let mut carry = 0;
        for (multiples, byte) in self.0.chunks_exact(MULTIPLES).zip(scalar.to_bytes()) {
            let digit = usize::from(byte) + carry;
            let nth = |n: usize| multiples.get(n.checked_sub(1)?);
            // A digit above 128 is what is missing to 256, taken away, and one more of the next.
            // A scalar is below 2^253, so the last digit carries nothing.
            if digit <= MULTIPLES {
                carry = 0;
                sum = nth(digit).map_or(sum, |multiple| sum + multiple);
            } else {
                carry = 1;
                sum = nth(2 * MULTIPLES - digit).map_or(sum, |multiple| sum - multiple);
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests;
