//! Ed25519 keys (RFC 8032): a signing key that keeps its secret to itself, key ids, verification.
//!
//! In scope: signing, strict verification, PKCS#8 (RFC 8410) text form.
//! Out of scope: randomness (the caller brings the seed), files, what is signed.

mod frequent;
pub(crate) mod many;

use ed25519_dalek::{
    Signer as _, VerifyingKey,
    pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, KeypairBytes, spki::der::pem},
};
use passerelle_model::bytes::{Digest, PublicKey, Signature};
use std::fmt;
use zeroize::Zeroizing;

/// A key that can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not a private key in PKCS#8 PEM for Ed25519. The reason is withheld: it could quote input.
    #[error("not an Ed25519 private key in PKCS#8 PEM")]
    NotPkcs8,
    /// The key could not be written; it never happens for a key of 32 bytes.
    #[error("the private key can't be encoded")]
    NotEncoded,
}

/// An Ed25519 private key. Zeroized on drop, and its debug text shows the public key only.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// The key of a seed of 32 random bytes, which the caller draws and zeroizes.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// Reads a PKCS#8 PEM document (`BEGIN PRIVATE KEY`).
    pub fn from_pkcs8_pem(pem: &str) -> Result<Self, KeyError> {
        let key = ed25519_dalek::SigningKey::from_pkcs8_pem(pem);
        key.map(Self).map_err(|_| KeyError::NotPkcs8)
    }

    /// Writes a PKCS#8 PEM document.
    pub fn to_pkcs8_pem(&self) -> Result<Zeroizing<String>, KeyError> {
        // Version 1, without the public key: other tools do not read version 2.
        let bytes = KeypairBytes {
            secret_key: self.0.to_bytes(),
            public_key: None,
        };
        bytes
            .to_pkcs8_pem(pem::LineEnding::LF)
            .map_err(|_| KeyError::NotEncoded)
    }

    /// The public half.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// The id of the public half, see [`key_id`].
    pub fn id(&self) -> String {
        key_id(&self.public_key())
    }

    /// Signs bytes that already carry their own domain separation: a note, a cosignature
    /// message, or the encoding of [`crate::dsse`]. Hence not public.
    pub(crate) fn sign_raw(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(public {})", self.public_key())
    }
}

/// The id of an agency's key: the first 16 hexadecimal digits of the SHA-256 of the public key.
pub fn key_id(public_key: &PublicKey) -> String {
    Digest::of(&public_key.0)
        .to_hex()
        .chars()
        .take(16)
        .collect()
}

/// Whether `public_key` is a point that strict verification can ever accept.
pub(crate) fn is_usable(public_key: &PublicKey) -> bool {
    VerifyingKey::from_bytes(&public_key.0).is_ok_and(|key| !key.is_weak())
}

/// A public key, decoded once for many signatures: decoding is a tenth of a verification.
#[derive(Clone)]
pub(crate) struct DecodedKey(VerifyingKey);

impl DecodedKey {
    /// `None` for bytes that are no point of the curve: nothing verifies with them.
    pub(crate) fn new(public_key: &PublicKey) -> Option<Self> {
        VerifyingKey::from_bytes(&public_key.0).ok().map(Self)
    }

    /// Strict verification: refuses small-order points and malleable signatures, so that a
    /// signature has one form and fits one message.
    pub(crate) fn verify_raw(&self, message: &[u8], signature: &Signature) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        self.0.verify_strict(message, &signature).is_ok()
    }
}

/// [`DecodedKey::verify_raw`] for one signature; faster for a key that signs often.
pub(crate) fn verify_raw(public_key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
    frequent::verify(public_key, message, signature)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8410, section 10.3: the private key of the example.
    const RFC_8410_PEM: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
        -----END PRIVATE KEY-----\n";

    /// RFC 8032, section 7.1, test 2: seed, public key, message, signature.
    const SEED: &str = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";
    const PUBLIC: &str = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
    const SIGNATURE: &str = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
        085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";

    fn rfc_8032_key() -> SigningKey {
        let mut seed = [0; 32];
        hex::decode_to_slice(SEED, &mut seed).unwrap();
        SigningKey::from_seed(&seed)
    }

    #[test]
    fn signatures_are_those_of_rfc_8032() {
        let key = rfc_8032_key();
        assert_eq!(key.public_key().to_hex(), PUBLIC);
        let signature = key.sign_raw(&[0x72]);
        assert_eq!(signature.to_hex(), SIGNATURE);
        assert!(verify_raw(&key.public_key(), &[0x72], &signature));
        assert!(!verify_raw(&key.public_key(), &[0x73], &signature));
    }

    #[test]
    fn pem_is_that_of_rfc_8410_and_round_trips() {
        let key = SigningKey::from_pkcs8_pem(RFC_8410_PEM).unwrap();
        assert_eq!(
            key.public_key().to_hex(),
            "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1"
        );
        assert_eq!(*key.to_pkcs8_pem().unwrap(), RFC_8410_PEM);
    }

    #[test]
    fn other_documents_are_not_keys() {
        for pem in [
            "",
            "x",
            &RFC_8410_PEM.replace("PRIVATE", "PUBLIC"),
            &RFC_8410_PEM[..60],
        ] {
            assert_eq!(
                SigningKey::from_pkcs8_pem(pem).unwrap_err(),
                KeyError::NotPkcs8
            );
        }
    }

    #[test]
    fn debug_text_holds_no_secret() {
        let text = format!("{:?}", rfc_8032_key());
        assert!(text.contains(PUBLIC) && !text.contains(SEED));
    }

    #[test]
    fn small_order_keys_verify_nothing() {
        // The neutral element: with plain verification the all-but-zero signature below
        // verifies for every message.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        assert!(!is_usable(&PublicKey(neutral)));
        assert!(!verify_raw(
            &PublicKey(neutral),
            b"anything",
            &Signature(signature)
        ));
    }

    #[test]
    fn key_id_is_sixteen_digits_of_the_hash() {
        let id = rfc_8032_key().id();
        assert_eq!(id, Digest::of(&hex::decode(PUBLIC).unwrap()).to_hex()[..16]);
    }
}
