//! Byte strings with a text form: hexadecimal for fixed sizes, base64 for the rest. In a binary
//! form (see [`crate::binary`]) they are themselves.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, Visitor},
};
use std::fmt;

/// A fixed-size byte string that is not the text which it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} bytes as lower-case hexadecimal")]
pub struct NotHex {
    /// How many bytes the type holds.
    pub expected: usize,
}

macro_rules! fixed_bytes {
    ($($(#[$meta:meta])* $name:ident[$size:literal];)*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $size]);

        impl $name {
            /// Lower-case hexadecimal.
            pub fn to_hex(&self) -> String {
                hex::encode(self.0)
            }

            /// Parses lower-case hexadecimal of exactly this size.
            pub fn from_hex(text: &str) -> Result<Self, NotHex> {
                let wrong = NotHex { expected: $size };
                if text.bytes().any(|b| b.is_ascii_uppercase()) {
                    return Err(wrong);
                }
                let mut out = [0; $size];
                hex::decode_to_slice(text, &mut out).map_err(|_| wrong)?;
                Ok(Self(out))
            }

            /// Takes a slice of exactly this size.
            pub fn from_slice(slice: &[u8]) -> Option<Self> {
                slice.try_into().ok().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.to_hex())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.to_hex())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                if s.is_human_readable() {
                    s.serialize_str(&self.to_hex())
                } else {
                    s.serialize_bytes(&self.0)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                if d.is_human_readable() {
                    let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
                    return Self::from_hex(&text).map_err(D::Error::custom);
                }
                let bytes = d.deserialize_byte_buf(BytesVisitor)?;
                Self::from_slice(&bytes).ok_or_else(|| D::Error::custom(NotHex { expected: $size }))
            }
        }
    )*};
}

fixed_bytes! {
    /// A SHA-256 digest.
    Digest[32];
    /// A salted commitment to a private field (see [`crate::commitment`]).
    Commitment[32];
    /// A subject handle: the output of the oblivious function over a person's match token.
    /// A pseudonym, so never in a public entry; there it is a [`Commitment`].
    Handle[32];
    /// 32 fresh random bytes, so that the hash of an entry can't be guessed.
    Nonce[32];
    /// A public key of 32 bytes: Ed25519 (signing, checkpoints) or X25519 (sealing).
    PublicKey[32];
    /// An Ed25519 signature.
    Signature[64];
}

impl Digest {
    /// SHA-256 of `data`.
    pub fn of(data: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(data).into())
    }
}

/// Takes the bytes of a binary form.
struct BytesVisitor;

impl Visitor<'_> for BytesVisitor {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
        Ok(bytes)
    }
}

/// Any bytes; standard base64 with padding in JSON.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bytes(pub Vec<u8>);

impl fmt::Debug for Bytes {
    // Payloads are sealed, but their size is all that a log line needs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({} bytes)", self.0.len())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() {
            s.serialize_str(&STANDARD.encode(&self.0))
        } else {
            s.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        if !d.is_human_readable() {
            return d.deserialize_byte_buf(BytesVisitor).map(Self);
        }
        let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        STANDARD
            .decode(text.as_bytes())
            .map(Self)
            .map_err(D::Error::custom)
    }
}
