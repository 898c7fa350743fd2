//! Canonical JSON (RFC 8785), without floats.
//!
//! What is signed is what is logged is what is verified, so each value has exactly one encoding.
//! Reading is strict: parse, write again, compare. That refuses unknown fields, other key orders,
//! spaces, other escapes and duplicate keys in one rule.
//!
//! In scope: every type that serde can describe, in the shape that `serde_json` gives it, written
//! straight into one buffer. Out of scope: floats, and keys that are not text.
//!
//! An integer beyond 2^53 is written as RFC 8785 says, rounded to the nearest double: such a
//! value is not read back as itself. None of the model's own values comes near.

mod key;
mod serializer;
#[cfg(test)]
pub(crate) mod tests;
mod writer;

use crate::bytes::Digest;
use serde::{Serialize, de::DeserializeOwned, ser};
use std::fmt;
use writer::Writer;

/// Room for a typical statement, in bytes.
const TYPICAL_BYTES: usize = 1024;

/// Why a text is not the canonical JSON of the type that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum CanonicalError {
    /// Not JSON, or not of this type; the message names fields and codes, never values of text.
    #[error("not valid here: {0}")]
    Invalid(#[from] serde_json::Error),
    /// A fractional number: RFC 8785 would write it, but equality of floats is no basis for a hash.
    #[error("a number is not an integer")]
    Float,
    /// Valid, but not in the one canonical form.
    #[error("not in canonical form, or with unknown fields")]
    NotCanonical,
}

impl ser::Error for CanonicalError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Invalid(ser::Error::custom(message))
    }
}

/// The canonical bytes of `value`.
///
/// # Errors
/// [`CanonicalError::Float`] for any float, [`CanonicalError::Invalid`] for a key that is not text
/// or occurs twice in an object, and for an integer of more than 64 bits.
pub fn to_vec<T: Serialize>(value: &T) -> Result<Vec<u8>, CanonicalError> {
    encode(value, TYPICAL_BYTES)
}

/// Parses `bytes`, and refuses them unless they are exactly what [`to_vec`] would write.
///
/// # Errors
/// [`CanonicalError`], each of its kinds.
pub fn from_slice<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, CanonicalError> {
    let value: T = serde_json::from_slice(bytes)?;
    if encode(&value, bytes.len())? != bytes {
        return Err(CanonicalError::NotCanonical);
    }
    Ok(value)
}

/// SHA-256 of the canonical bytes of `value`.
///
/// # Errors
/// As [`to_vec`].
pub fn digest<T: Serialize>(value: &T) -> Result<Digest, CanonicalError> {
    Ok(Digest::of(&to_vec(value)?))
}

fn encode<T: Serialize>(value: &T, expected_bytes: usize) -> Result<Vec<u8>, CanonicalError> {
    let mut writer = Writer::new(expected_bytes);
    value.serialize(&mut writer)?;
    Ok(writer.into_bytes())
}
