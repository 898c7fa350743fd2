//! Canonical JSON (RFC 8785), without floats.
//!
//! What is signed is what is logged is what is verified, so each value has exactly one encoding.
//! Reading is strict: parse, write again, compare. That refuses unknown fields, other key orders,
//! spaces, other escapes and duplicate keys in one rule.

use crate::bytes::Digest;
use serde::{Serialize, de::DeserializeOwned};

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

/// The canonical bytes of `value`.
pub fn to_vec<T: Serialize>(value: &T) -> Result<Vec<u8>, CanonicalError> {
    let tree = serde_json::to_value(value)?;
    if has_float(&tree) {
        return Err(CanonicalError::Float);
    }
    Ok(serde_json_canonicalizer::to_vec(&tree)?)
}

/// Parses `bytes`, and refuses them unless they are exactly what [`to_vec`] would write.
pub fn from_slice<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, CanonicalError> {
    let value: T = serde_json::from_slice(bytes)?;
    if to_vec(&value)? != bytes {
        return Err(CanonicalError::NotCanonical);
    }
    Ok(value)
}

/// SHA-256 of the canonical bytes of `value`.
pub fn digest<T: Serialize>(value: &T) -> Result<Digest, CanonicalError> {
    Ok(Digest::of(&to_vec(value)?))
}

fn has_float(tree: &serde_json::Value) -> bool {
    use serde_json::Value;
    match tree {
        Value::Number(n) => n.is_f64(),
        Value::Array(items) => items.iter().any(has_float),
        Value::Object(map) => map.values().any(has_float),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Sample {
        b: u64,
        a: String,
    }

    #[test]
    fn keys_are_sorted_and_text_is_escaped_as_rfc_8785_says() {
        let bytes = to_vec(&Sample {
            b: 1,
            a: "é\n\u{1}\"".into(),
        })
        .unwrap();
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "{\"a\":\"é\\n\\u0001\\\"\",\"b\":1}"
        );
    }

    #[test]
    fn anything_but_the_canonical_form_is_refused() {
        assert!(from_slice::<Sample>(br#"{"a":"x","b":1}"#).is_ok());
        for text in [
            r#"{"b":1,"a":"x"}"#,
            r#"{"a":"x", "b":1}"#,
            r#"{"a":"x","b":1,"c":2}"#,
            r#"{"a":"\u0078","b":1}"#,
            r#"{"a":"x","b":1} "#,
            r#"{"a":"x","b":1.0}"#,
        ] {
            assert!(from_slice::<Sample>(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn floats_are_refused() {
        assert!(matches!(
            to_vec(&serde_json::json!({"x": 0.5})),
            Err(CanonicalError::Float)
        ));
    }
}
