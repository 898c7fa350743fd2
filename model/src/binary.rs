//! The form of what a node keeps for itself: sidecars, rows, an agent's own events.
//!
//! MessagePack with field names: self-describing as JSON is, so that a later version can add a
//! field, but bytes stay bytes. What is signed or hashed is canonical JSON and nothing else (see
//! [`crate::canonical`]): two encoders of this form may differ.

use serde::{Serialize, de::DeserializeOwned};

/// A value that can't be encoded, or bytes that are none. Says nothing of the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not in the binary form of this version")]
pub struct BinaryError;

/// Encodes.
///
/// # Errors
/// [`BinaryError`]: it never happens for the types of this project.
pub fn to_vec<T: Serialize>(value: &T) -> Result<Vec<u8>, BinaryError> {
    rmp_serde::to_vec_named(value).map_err(|_| BinaryError)
}

/// Decodes. Bytes after the value are refused.
///
/// # Errors
/// [`BinaryError`].
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BinaryError> {
    let mut rest = bytes;
    let mut decoder = rmp_serde::Deserializer::new(&mut rest);
    let value = T::deserialize(&mut decoder).map_err(|_| BinaryError)?;
    if rest.is_empty() {
        Ok(value)
    } else {
        Err(BinaryError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::{Bytes, Digest};

    #[test]
    fn bytes_stay_bytes_and_nothing_may_follow() {
        let value = (Digest([7; 32]), Bytes(vec![1; 1_000]));
        let encoded = to_vec(&value).unwrap();
        assert!(encoded.len() < 1_050, "{}", encoded.len());
        assert_eq!(from_slice::<(Digest, Bytes)>(&encoded), Ok(value));
        let longer = [&encoded[..], &[0]].concat();
        assert!(from_slice::<(Digest, Bytes)>(&longer).is_err());
        for end in 0..encoded.len() {
            assert!(from_slice::<(Digest, Bytes)>(&encoded[..end]).is_err());
        }
    }

    #[test]
    fn a_digest_of_another_size_is_refused() {
        let encoded = to_vec(&Bytes(vec![1; 31])).unwrap();
        assert!(from_slice::<Digest>(&encoded).is_err());
    }
}
