//! Sealed payloads: what others seal for an agency, and what is inside.

use crate::Input;
use hpke::{
    Deserializable as _, OpModeS, Serializable as _, aead::ChaCha20Poly1305, kdf::HkdfSha256,
    kem::X25519HkdfSha256, single_shot_seal,
};
use passerelle_agent::{
    asked_by::AskContext,
    holder::SealedAnswer,
    seal::{
        LENGTH_BYTES, MAX_CONTENT_BYTES, OVERHEAD_BYTES, PADDED_SIZES, SealingKeys, is_sealed_size,
        seal,
    },
};
use std::sync::LazyLock;

static KEYS: LazyLock<SealingKeys> = LazyLock::new(|| SealingKeys::from_bytes(&[5; 32]).unwrap());

const INFO: &[u8] = b"info";
const AAD: &[u8] = b"aad";

/// Bytes that claim to be sealed, a good message with a change, a sender that pads as it likes,
/// or the content of a message.
pub fn sealed(data: &[u8]) {
    let mut input = Input::new(data);
    match input.byte() % 5 {
        0 => open(input),
        1 => change(input),
        2 => padding(input),
        3 => context(input.rest()),
        _ => answer(input.rest()),
    }
}

fn open(mut input: Input<'_>) {
    // A size that exists is seldom met by chance.
    let size = PADDED_SIZES[usize::from(input.byte() % 2)] + OVERHEAD_BYTES;
    let mut message = input.rest().to_vec();
    assert!(is_sealed_size(message.len()) || KEYS.open(INFO, AAD, &message).is_err());
    message.resize(size, 0);
    assert!(
        KEYS.open(INFO, AAD, &message).is_err(),
        "opened without a seal"
    );
}

fn change(mut input: Input<'_>) {
    let size = PADDED_SIZES[usize::from(input.byte() % 2)];
    let mut change = Input::new(input.take(4));
    let content = input.rest();
    let message = seal(&KEYS.public(), INFO, AAD, content, size);
    assert_eq!(message.is_ok(), content.len() <= size - LENGTH_BYTES);
    let Ok(message) = message else { return };
    assert_eq!(message.len(), size + OVERHEAD_BYTES, "the length tells");
    assert_eq!(*KEYS.open(INFO, AAD, &message).unwrap(), content);
    assert!(KEYS.open(AAD, AAD, &message).is_err());
    assert!(KEYS.open(INFO, INFO, &message).is_err());
    let other = SealingKeys::from_bytes(&[6; 32]).unwrap();
    assert!(other.open(INFO, AAD, &message).is_err());
    let changed = change.change(&message);
    // The highest bit of an X25519 point is ignored (RFC 7748, section 5), but the encapsulated
    // key is hashed into the context as it came (RFC 9180, section 4.1).
    assert!(changed == message || KEYS.open(INFO, AAD, &changed).is_err());
}

/// A sender that seals properly but pads as it likes: content is taken only if the rest is zero.
fn padding(input: Input<'_>) {
    let mut padded = input.rest().to_vec();
    let size = PADDED_SIZES[0];
    if padded.len() <= size {
        padded.resize(size, 0);
    }
    let key = <X25519HkdfSha256 as hpke::Kem>::PublicKey::from_bytes(&KEYS.public().0).unwrap();
    let context = [b"passerelle/seal/v1\0", INFO].concat();
    let (encapsulated, ciphertext) = single_shot_seal::<
        ChaCha20Poly1305,
        HkdfSha256,
        X25519HkdfSha256,
    >(&OpModeS::Base, &key, &context, &padded, AAD)
    .unwrap();
    let message = [encapsulated.to_bytes().as_slice(), &ciphertext].concat();
    let (length, rest) = padded.split_at(LENGTH_BYTES);
    let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
    let due = PADDED_SIZES.contains(&padded.len())
        && length <= rest.len()
        && rest[length..].iter().all(|byte| *byte == 0);
    match KEYS.open(INFO, AAD, &message) {
        Ok(content) => {
            assert!(due, "wrong padding is accepted");
            assert_eq!(*content, rest[..length]);
            assert!(content.len() <= MAX_CONTENT_BYTES);
        }
        Err(_) => assert!(!due),
    }
}

fn context(bytes: &[u8]) {
    let Ok(context) = serde_json::from_slice::<AskContext>(bytes) else {
        return;
    };
    let written = serde_json::to_vec(&context).unwrap();
    let again: AskContext = serde_json::from_slice(&written).unwrap();
    assert_eq!(serde_json::to_vec(&again).unwrap(), written);
}

/// Its facts may hold any JSON, also numbers that are not written back to the digit.
fn answer(bytes: &[u8]) {
    let Ok(answer) = serde_json::from_slice::<SealedAnswer>(bytes) else {
        return;
    };
    let written = serde_json::to_vec(&answer).unwrap();
    let again: SealedAnswer = serde_json::from_slice(&written).unwrap();
    assert_eq!(again.items.len(), answer.items.len());
    assert_eq!(again.opening, answer.opening);
}
