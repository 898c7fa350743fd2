//! Sealing for one recipient: HPKE (RFC 9180), base mode, DHKEM(X25519, HKDF-SHA256),
//! HKDF-SHA256, ChaCha20Poly1305.
//!
//! In scope: key pairs, one-time reply keys, padding to a few sizes, seal and open.
//! Out of scope: who signed (the statement around it says), where keys are kept.
//!
//! A sealed message is `encapsulated key (32) || ciphertext (size class + 16)`. The plaintext
//! inside is `length (4, big-endian) || content || zeros`. Its size is chosen by what it is for,
//! never by the content, so that it says nothing about whether and how much was found (promise 9).

use hpke::{
    Deserializable, HpkeError, Kem as _, OpModeR, OpModeS, Serializable, aead::ChaCha20Poly1305,
    kdf::HkdfSha256, kem::X25519HkdfSha256, single_shot_open, single_shot_seal,
};
use passerelle_model::bytes::PublicKey;
use std::fmt;
use zeroize::Zeroizing;

/// The sizes that a padded plaintext may have, in bytes: 1, 8, 64 and 256 KiB.
pub const PADDED_SIZES: [usize; 4] = [1 << 10, 8 << 10, 64 << 10, 256 << 10];
/// The padded size of a request's context.
pub const CONTEXT: usize = 8 << 10;
/// The padded size of an answer to a permit of few items without details.
pub const SHORT_ANSWER: usize = 8 << 10;
/// The padded size of all other answers.
pub const LONG_ANSWER: usize = 64 << 10;
/// Bytes of the length field within the padded plaintext.
pub const LENGTH_BYTES: usize = 4;
/// Longest content, in bytes.
pub const MAX_CONTENT_BYTES: usize = (256 << 10) - LENGTH_BYTES;
/// What sealing adds to the padded plaintext, in bytes: encapsulated key and tag.
pub const OVERHEAD_BYTES: usize = ENCAPSULATED_BYTES + 16;

const ENCAPSULATED_BYTES: usize = 32;
/// Begins every HPKE context, so that a key used elsewhere can't be made to open these.
const CONTEXT_PREFIX: &[u8] = b"passerelle/seal/v1\0";

type Kem = X25519HkdfSha256;
type PrivateKey = <Kem as hpke::Kem>::PrivateKey;

/// Why nothing was sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The content does not fit the size.
    #[error("the content is longer than its size allows")]
    TooLarge,
    /// The recipient's key is unusable (a point of small order).
    #[error("the recipient's public key is unusable")]
    RecipientKey,
    /// The bytes of a secret key have the wrong length.
    #[error("a sealing key has 32 bytes")]
    SecretKey,
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Randomness,
    /// The sealed message has none of the sizes that exist.
    #[error("the sealed message has a wrong size")]
    Size,
    /// Tampered with, for another recipient, or for another context.
    #[error("the sealed message does not open with this key and context")]
    Unauthentic,
    /// It opened, but the sender did not pad as agreed.
    #[error("the sealed message is wrongly padded")]
    Padding,
}

/// An X25519 key pair to which others seal. The secret half is wiped when dropped.
#[derive(Clone)]
pub struct SealingKeys {
    secret: PrivateKey,
    public: PublicKey,
}

impl fmt::Debug for SealingKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKeys({})", self.public)
    }
}

impl SealingKeys {
    /// A fresh pair.
    pub fn generate() -> Result<Self, SealError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut_slice()).map_err(|_| SealError::Randomness)?;
        // RFC 9180, 7.1.3: DeriveKeyPair.
        let (secret, _) = Kem::derive_keypair(seed.as_slice());
        Self::from_secret(secret)
    }

    /// The pair whose secret half is `bytes`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SealError> {
        Self::from_secret(PrivateKey::from_bytes(bytes).map_err(|_| SealError::SecretKey)?)
    }

    fn from_secret(secret: PrivateKey) -> Result<Self, SealError> {
        let bytes = Kem::sk_to_pk(&secret).to_bytes();
        let public = PublicKey::from_slice(&bytes).ok_or(SealError::SecretKey)?;
        Ok(Self { secret, public })
    }

    /// The secret half, 32 bytes, for the key file.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.secret.to_bytes().to_vec())
    }

    /// The public half.
    pub const fn public(&self) -> PublicKey {
        self.public
    }

    /// Opens what [`seal`] made for this key with the same `info` and `aad`.
    pub fn open(
        &self,
        info: &[u8],
        aad: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (encapsulated, ciphertext) = sealed
            .split_at_checked(ENCAPSULATED_BYTES)
            .ok_or(SealError::Size)?;
        if !is_sealed_size(sealed.len()) {
            return Err(SealError::Size);
        }
        let encapsulated = <Kem as hpke::Kem>::EncappedKey::from_bytes(encapsulated)
            .map_err(|_| SealError::Size)?;
        let padded = single_shot_open::<ChaCha20Poly1305, HkdfSha256, Kem>(
            &OpModeR::Base,
            &self.secret,
            &encapsulated,
            &context(info),
            ciphertext,
            aad,
        )
        .map_err(|_| SealError::Unauthentic)?;
        unpad(&Zeroizing::new(padded))
    }
}

/// The key of one request, to which its answer is sealed. Opening uses it up.
#[derive(Debug)]
pub struct ReplyKey(SealingKeys);

impl ReplyKey {
    /// A fresh key.
    pub fn generate() -> Result<Self, SealError> {
        SealingKeys::generate().map(Self)
    }

    /// The key as kept in the agent's journal until the answer comes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SealError> {
        SealingKeys::from_bytes(bytes).map(Self)
    }

    /// The secret half, 32 bytes.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        self.0.to_bytes()
    }

    /// The public half, for the request.
    pub const fn public(&self) -> PublicKey {
        self.0.public()
    }

    /// Opens the one answer.
    pub fn open(
        self,
        info: &[u8],
        aad: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        self.0.open(info, aad, sealed)
    }
}

/// Seals `content` for `recipient`. `info` is the context without which it does not open (a
/// permit's hash, a request's id); `aad` is further data that both sides know. The result has
/// `padded_size`, one of [`PADDED_SIZES`], plus [`OVERHEAD_BYTES`] bytes.
pub fn seal(
    recipient: &PublicKey,
    info: &[u8],
    aad: &[u8],
    content: &[u8],
    padded_size: usize,
) -> Result<Vec<u8>, SealError> {
    let key = <Kem as hpke::Kem>::PublicKey::from_bytes(&recipient.0)
        .map_err(|_| SealError::RecipientKey)?;
    let padded = pad(content, padded_size)?;
    let (encapsulated, ciphertext) = single_shot_seal::<ChaCha20Poly1305, HkdfSha256, Kem>(
        &OpModeS::Base,
        &key,
        &context(info),
        &padded,
        aad,
    )
    .map_err(|error| match error {
        HpkeError::SealError | HpkeError::MessageLimitReached => SealError::TooLarge,
        _ => SealError::RecipientKey,
    })?;
    Ok([encapsulated.to_bytes().as_slice(), &ciphertext].concat())
}

/// Whether a sealed message can have this many bytes. Cheap to check on arrival.
pub fn is_sealed_size(length: usize) -> bool {
    PADDED_SIZES
        .iter()
        .any(|size| size + OVERHEAD_BYTES == length)
}

fn context(info: &[u8]) -> Vec<u8> {
    [CONTEXT_PREFIX, info].concat()
}

fn pad(content: &[u8], size: usize) -> Result<Zeroizing<Vec<u8>>, SealError> {
    if !PADDED_SIZES.contains(&size) {
        return Err(SealError::Size);
    }
    if content.len() > size - LENGTH_BYTES {
        return Err(SealError::TooLarge);
    }
    let length = u32::try_from(content.len()).map_err(|_| SealError::TooLarge)?;
    let mut padded = Zeroizing::new(Vec::with_capacity(size));
    padded.extend_from_slice(&length.to_be_bytes());
    padded.extend_from_slice(content);
    padded.resize(size, 0);
    Ok(padded)
}

/// Strict, so that the padding carries no message.
fn unpad(padded: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let (length, rest) = padded
        .split_first_chunk::<LENGTH_BYTES>()
        .ok_or(SealError::Padding)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| SealError::Padding)?;
    let (content, zeros) = rest.split_at_checked(length).ok_or(SealError::Padding)?;
    if !PADDED_SIZES.contains(&padded.len()) || zeros.iter().any(|b| *b != 0) {
        return Err(SealError::Padding);
    }
    Ok(Zeroizing::new(content.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INFO: &[u8] = b"permit hash";
    const AAD: &[u8] = b"request id";

    #[test]
    fn what_was_sealed_opens_for_the_recipient_alone() {
        let (recipient, other) = (SealingKeys::generate(), SealingKeys::generate());
        let (recipient, other) = (recipient.unwrap(), other.unwrap());
        let sealed = seal(&recipient.public(), INFO, AAD, b"secret", CONTEXT).unwrap();
        assert_eq!(*recipient.open(INFO, AAD, &sealed).unwrap(), b"secret");
        assert_eq!(other.open(INFO, AAD, &sealed), Err(SealError::Unauthentic));
        assert!(!sealed.windows(6).any(|w| w == b"secret"));
    }

    #[test]
    fn another_context_does_not_open() {
        let keys = SealingKeys::generate().unwrap();
        let sealed = seal(&keys.public(), INFO, AAD, b"x", CONTEXT).unwrap();
        assert!(keys.open(b"permit hasi", AAD, &sealed).is_err());
        assert!(keys.open(INFO, b"", &sealed).is_err());
        assert!(keys.open(b"", AAD, &sealed).is_err());
        assert!(keys.open(AAD, INFO, &sealed).is_err());
    }

    #[test]
    fn any_changed_byte_is_refused() {
        let keys = SealingKeys::generate().unwrap();
        let sealed = seal(&keys.public(), INFO, AAD, b"content", CONTEXT).unwrap();
        for index in 0..sealed.len() {
            let mut tampered = sealed.clone();
            tampered[index] ^= 1;
            assert!(keys.open(INFO, AAD, &tampered).is_err(), "byte {index}");
        }
    }

    #[test]
    fn truncated_or_extended_messages_are_refused_before_decryption() {
        let keys = SealingKeys::generate().unwrap();
        let sealed = seal(&keys.public(), INFO, AAD, b"content", CONTEXT).unwrap();
        let mut longer = sealed.clone();
        longer.push(0);
        for wrong in [&[][..], &sealed[..31], &sealed[..sealed.len() - 1], &longer] {
            assert_eq!(keys.open(INFO, AAD, wrong), Err(SealError::Size));
        }
    }

    #[test]
    fn the_size_is_the_one_asked_for_whatever_the_content() {
        let keys = SealingKeys::generate().unwrap();
        for size in PADDED_SIZES {
            let sealed = |n: usize| seal(&keys.public(), INFO, AAD, &vec![7; n], size);
            let largest = size - LENGTH_BYTES;
            for content in [0, 1, largest] {
                let sealed = sealed(content).unwrap();
                assert_eq!(sealed.len(), size + OVERHEAD_BYTES);
                assert!(is_sealed_size(sealed.len()));
                assert_eq!(keys.open(INFO, AAD, &sealed).unwrap().len(), content);
            }
            assert_eq!(sealed(largest + 1), Err(SealError::TooLarge));
        }
        let odd = seal(&keys.public(), INFO, AAD, b"x", 1000);
        assert_eq!(odd, Err(SealError::Size));
    }

    #[test]
    fn padding_that_is_not_the_one_form_is_refused() {
        let good = pad(b"abc", PADDED_SIZES[0]).unwrap();
        assert_eq!(*unpad(&good).unwrap(), b"abc");
        let mut message_in_padding = good.clone();
        *message_in_padding.last_mut().unwrap() = 1;
        let mut too_long = good.clone();
        too_long[..4].copy_from_slice(&u32::MAX.to_be_bytes());
        let mut shorter = good.clone();
        shorter[3] = 2;
        let mut other_size = good.clone();
        other_size.resize(PADDED_SIZES[1] - 1, 0);
        for wrong in [&message_in_padding, &too_long, &shorter, &other_size] {
            assert_eq!(unpad(wrong), Err(SealError::Padding));
        }
        assert_eq!(unpad(&[0, 0, 0]), Err(SealError::Padding));
    }

    #[test]
    fn keys_survive_writing_and_reading() {
        let keys = SealingKeys::generate().unwrap();
        let again = SealingKeys::from_bytes(&keys.to_bytes()).unwrap();
        assert_eq!(again.public(), keys.public());
        assert!(SealingKeys::from_bytes(&[1; 31]).is_err());
        let reply = ReplyKey::generate().unwrap();
        let sealed = seal(&reply.public(), INFO, AAD, b"answer", CONTEXT).unwrap();
        let kept = ReplyKey::from_bytes(&reply.to_bytes()).unwrap();
        assert_eq!(*kept.open(INFO, AAD, &sealed).unwrap(), b"answer");
    }

    #[test]
    fn a_small_order_recipient_key_is_refused() {
        let result = seal(&PublicKey([0; 32]), INFO, AAD, b"x", CONTEXT);
        assert_eq!(result, Err(SealError::RecipientKey));
    }

    #[test]
    fn debug_output_hides_the_secret() {
        let keys = SealingKeys::generate().unwrap();
        let secret = hex::encode(&*keys.to_bytes());
        assert!(!format!("{keys:?} {:?}", ReplyKey(keys.clone())).contains(&secret));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn every_content_comes_back(content in proptest::collection::vec(any::<u8>(), 0..8188)) {
            let keys = SealingKeys::generate().unwrap();
            let sealed = seal(&keys.public(), INFO, AAD, &content, CONTEXT).unwrap();
            prop_assert_eq!(&*keys.open(INFO, AAD, &sealed).unwrap(), &content);
        }
    }
}
