//! DSSE v1: what an agency signs when it signs a statement.
//!
//! In scope: the pre-authentication encoding (section "Signature Definition" of the DSSE
//! protocol), Ed25519 over it. The payload type is signed too, so that a signature made for one
//! kind of statement never passes for another.
//! Out of scope: the JSON envelope, what the payload says, which keys an agency has.

use crate::keys::verify_raw;
pub use crate::keys::{KeyError, SigningKey, key_id};
use passerelle_model::bytes::{PublicKey, Signature};

/// `"DSSEv1" SP LEN(type) SP type SP LEN(body) SP body`, lengths in bytes as ASCII decimals.
pub fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    [prefix(payload_type, payload.len()).as_bytes(), payload].concat()
}

/// What stands before a payload of this size in the encoding.
pub(crate) fn prefix(payload_type: &str, payload_bytes: usize) -> String {
    format!(
        "DSSEv1 {} {payload_type} {payload_bytes} ",
        payload_type.len()
    )
}

/// Signs a payload of this type.
pub fn sign(key: &SigningKey, payload_type: &str, payload: &[u8]) -> Signature {
    key.sign_raw(&pre_authentication_encoding(payload_type, payload))
}

/// Whether `signature` is by `public_key` over a payload of this type. Strict: see RFC 8032,
/// section 5.1.7, and the refusal of small-order points on top.
#[must_use]
pub fn verify(
    public_key: &PublicKey,
    payload_type: &str,
    payload: &[u8],
    signature: &Signature,
) -> bool {
    verify_raw(
        public_key,
        &pre_authentication_encoding(payload_type, payload),
        signature,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn encoding_is_that_of_the_specification() {
        assert_eq!(
            pre_authentication_encoding("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
        // Lengths count bytes, not characters, and a body may be empty.
        assert_eq!(
            pre_authentication_encoding("é", b""),
            "DSSEv1 2 é 0 ".as_bytes()
        );
    }

    #[test]
    fn a_signature_fits_one_key_type_and_payload() {
        let key = SigningKey::from_seed(&[7; 32]);
        let public = key.public_key();
        let signature = sign(&key, "a/b", b"c");
        assert!(verify(&public, "a/b", b"c", &signature));
        assert!(!verify(&public, "a/b", b"d", &signature));
        assert!(!verify(&public, "a/c", b"c", &signature));
        assert!(!verify(&public, "a/b 1 c", b"", &signature));
        assert!(!verify(
            &SigningKey::from_seed(&[8; 32]).public_key(),
            "a/b",
            b"c",
            &signature
        ));
    }

    proptest! {
        #[test]
        fn encoding_is_injective(
            one in ("[ -~]{0,12}", prop::collection::vec(any::<u8>(), 0..12)),
            two in ("[ -~]{0,12}", prop::collection::vec(any::<u8>(), 0..12)),
        ) {
            let encode = |(kind, body): &(String, Vec<u8>)| pre_authentication_encoding(kind, body);
            prop_assert_eq!(encode(&one) == encode(&two), one == two);
        }

        #[test]
        fn every_bit_of_a_signature_counts(bit in 0_usize..512) {
            let key = SigningKey::from_seed(&[7; 32]);
            let mut signature = sign(&key, "a/b", b"c");
            signature.0[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!verify(&key.public_key(), "a/b", b"c", &signature));
        }
    }
}
