//! Strict pieces of text that several formats share: decimal numbers, base64, names.
//!
//! In scope: one accepted spelling per value, so that parse and serialise are inverse.
//! Out of scope: the formats themselves.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use passerelle_model::bytes::Digest;

/// Parses ASCII digits without sign and without leading zeros (`0` itself excepted).
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits || (text.len() > 1 && text.starts_with('0')) {
        return None;
    }
    // Overflow is an error of `parse`.
    text.parse().ok()
}

/// Parses padded standard base64. The engine refuses missing padding and stray trailing bits.
pub(crate) fn base64_decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

pub(crate) fn base64_encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Parses one SHA-256 hash in base64.
pub(crate) fn hash(text: &str) -> Option<Digest> {
    Digest::from_slice(&base64_decode(text)?)
}

/// Parses newline-terminated lines of one hash each; `None` also when there are too many.
pub(crate) fn hash_lines(text: &str, most: usize) -> Option<Vec<Digest>> {
    let mut hashes = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (line, after) = rest.split_once('\n')?;
        if hashes.len() == most {
            return None;
        }
        hashes.push(hash(line)?);
        rest = after;
    }
    Some(hashes)
}

/// Whether `name` can name a key: not empty, no space of any kind, no `+`, no control character
/// (signed-note, section "Format"), and at most `most` bytes.
pub(crate) fn is_name(name: &str, most: usize) -> bool {
    let fits = !name.is_empty() && name.len() <= most;
    fits && !name
        .chars()
        .any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_spelling() {
        assert_eq!(decimal("0"), Some(0));
        assert_eq!(decimal("18446744073709551615"), Some(u64::MAX));
        for text in [
            "", "00", "01", "+1", "-1", " 1", "1 ", "1\r", "0x1", "١", "1_0",
        ] {
            assert_eq!(decimal(text), None, "{text:?}");
        }
        assert_eq!(decimal("18446744073709551616"), None);
    }

    #[test]
    fn base64_has_one_spelling() {
        assert_eq!(base64_decode("AA=="), Some(vec![0]));
        // Stray trailing bits, no padding, too much padding, URL alphabet, line ends.
        for text in [
            "AB==", "AA", "AA=", "AA===", "__8=", "AA==\r", "AA==\n", " AA==",
        ] {
            assert_eq!(base64_decode(text), None, "{text:?}");
        }
    }

    #[test]
    fn names_are_free_of_spaces_plus_and_control_characters() {
        assert!(is_name("example.com/log42", 255));
        assert!(is_name("exemple.ca/école", 255));
        for name in [
            "",
            "a b",
            "a+b",
            "a\u{a0}b",
            "a\u{2003}b",
            "a\nb",
            "a\u{7f}",
            "a\u{85}",
        ] {
            assert!(!is_name(name, 255), "{name:?}");
        }
        assert!(!is_name(&"a".repeat(256), 255));
    }
}
