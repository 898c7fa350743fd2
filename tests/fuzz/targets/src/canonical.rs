//! Canonical JSON (RFC 8785, without floats).

use crate::Input;
use passerelle_model::canonical::{from_slice, to_vec};
use serde_json::Value;

/// Any JSON: what is accepted is in the one form that RFC 8785 gives, written here once more.
pub fn canonical(data: &[u8]) {
    let input = Input::new(data);
    let bytes = input.rest();
    let accepted = from_slice::<Value>(bytes);
    if let Ok(value) = &accepted {
        assert_eq!(to_vec(value).unwrap(), bytes);
        assert_eq!(reference(value), bytes, "not the form of RFC 8785");
    }
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else {
        assert!(accepted.is_err(), "accepted, but not JSON");
        return;
    };
    // Whatever can be written is read back as the same value, and as nothing else.
    if let Ok(written) = to_vec(&value) {
        assert_eq!(accepted.is_ok(), written == bytes);
        if exact(&value) {
            assert_eq!(from_slice::<Value>(&written).unwrap(), value);
        }
    }
}

/// Whether every number is one that JSON carries exactly (RFC 7493, section 2.2).
fn exact(value: &Value) -> bool {
    const LARGEST: u64 = (1 << 53) - 1;
    match value {
        Value::Number(n) => n.as_i64().map_or_else(
            || n.as_u64().is_some_and(|n| n <= LARGEST),
            |n| n.unsigned_abs() <= LARGEST,
        ),
        Value::Array(items) => items.iter().all(exact),
        Value::Object(map) => map.values().all(exact),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

/// RFC 8785, section 3.2, for values without floats.
fn reference(value: &Value) -> Vec<u8> {
    let mut out = String::new();
    write(value, &mut out);
    out.into_bytes()
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(yes) => out.push_str(if *yes { "true" } else { "false" }),
        Value::Number(n) => out.push_str(&n.to_string()),
        Value::String(text) => string(text, out),
        Value::Array(items) => {
            out.push('[');
            for (position, item) in items.iter().enumerate() {
                out.push_str(if position == 0 { "" } else { "," });
                write(item, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            // Section 3.2.3: by UTF-16 code units, which is not the order of UTF-8.
            keys.sort_by_key(|key| key.encode_utf16().collect::<Vec<_>>());
            out.push('{');
            for (position, key) in keys.into_iter().enumerate() {
                out.push_str(if position == 0 { "" } else { "," });
                string(key, out);
                out.push(':');
                write(&map[key], out);
            }
            out.push('}');
        }
    }
}

/// Section 3.2.2.2.
fn string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}
