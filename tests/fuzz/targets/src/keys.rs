//! Key files, keys from the wire, and the membership file of an agent.

use crate::Input;
use passerelle_agent::{home::Membership, seal::SealingKeys};
use passerelle_audit::{
    dsse::SigningKey,
    note::{SignatureType, VerifierKey},
};
use passerelle_broker::oprf::{KEY_BYTES, OprfServer};
use passerelle_model::bytes::{Commitment, Digest, Handle, Nonce, PublicKey, Signature};

/// A PEM file, raw secret keys, a public key, hexadecimal, or `federation.json`.
pub fn keys(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.byte();
    match (kind % 6, input.text()) {
        (0, Some(text)) => pem(text),
        (1, _) => oprf(input.rest()),
        (2, _) => sealing(input.rest()),
        (3, _) => public(input.rest()),
        (4, Some(text)) => hexadecimal(text),
        (5, Some(text)) => membership(text),
        _ => {}
    }
}

fn pem(text: &str) {
    let Ok(key) = SigningKey::from_pkcs8_pem(text) else {
        return;
    };
    let written = key.to_pkcs8_pem().unwrap();
    let again = SigningKey::from_pkcs8_pem(&written).unwrap();
    assert_eq!(again.public_key(), key.public_key());
    assert_eq!(*again.to_pkcs8_pem().unwrap(), *written);
}

fn oprf(bytes: &[u8]) {
    let Ok(server) = OprfServer::from_bytes(bytes) else {
        return;
    };
    assert_eq!(*server.to_bytes(), bytes, "a key file of another form");
    assert_eq!(bytes.len(), KEY_BYTES);
    let again = OprfServer::from_bytes(&server.to_bytes()).unwrap();
    assert_eq!(again.public_key(), server.public_key());
}

fn sealing(bytes: &[u8]) {
    let Ok(keys) = SealingKeys::from_bytes(bytes) else {
        return;
    };
    // A scalar may be kept clamped (RFC 7748, section 5), and is the same key then.
    assert_eq!(keys.to_bytes()[1..31], bytes[1..31]);
    let again = SealingKeys::from_bytes(&keys.to_bytes()).unwrap();
    assert_eq!(again.public(), keys.public());
    assert_eq!(*again.to_bytes(), *keys.to_bytes());
}

/// What an agency enrols with. A key of small order would verify anything.
fn public(bytes: &[u8]) {
    let Some(key) = PublicKey::from_slice(bytes) else {
        assert_ne!(bytes.len(), 32);
        return;
    };
    let Ok(verifier) = VerifierKey::new("agency", SignatureType::Ed25519, key) else {
        return;
    };
    assert_eq!(verifier.to_string().parse(), Ok(verifier.clone()));
    // The all-zero signature and one of the base point verify nothing under a usable key.
    for signature in [Signature([0; 64]), identity_signature()] {
        for message in [&b""[..], b"a", b"another message"] {
            let type_ = passerelle_model::statement::PAYLOAD_TYPE;
            let verdict = passerelle_audit::dsse::verify(&key, type_, message, &signature);
            assert!(!verdict, "a forged signature verifies");
        }
    }
}

/// R is the identity, S is zero: what a key of small order would verify.
fn identity_signature() -> Signature {
    let mut signature = [0; 64];
    signature[0] = 1;
    Signature(signature)
}

fn hexadecimal(text: &str) {
    macro_rules! one_spelling {
        ($($kind:ty),*) => {$(
            if let Ok(value) = <$kind>::from_hex(text) {
                assert_eq!(value.to_hex(), text);
                assert_eq!(<$kind>::from_slice(&value.0), Some(value));
            }
        )*};
    }
    one_spelling!(Digest, Commitment, Handle, Nonce, PublicKey, Signature);
}

fn membership(text: &str) {
    let Ok(membership) = serde_json::from_str::<Membership>(text) else {
        return;
    };
    let written = serde_json::to_string(&membership).unwrap();
    let again: Membership = serde_json::from_str(&written).unwrap();
    assert_eq!(again, membership);
    if let Ok(key) = membership.checkpoint_key.parse::<VerifierKey>() {
        assert_eq!(key.to_string(), membership.checkpoint_key);
    }
}
