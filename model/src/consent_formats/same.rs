//! Whether a file says what was understood of it, and nothing else.

use super::{Refusal, at::below};
use serde_json::Value;

/// Refuses `read` unless it says what `written` says. The order of a list says nothing.
pub(super) fn must_be(path: &str, read: &Value, written: &Value) -> Result<(), Refusal> {
    match (read, written) {
        (Value::Object(read), Value::Object(written)) => {
            if let Some(name) = read.keys().find(|name| !written.contains_key(*name)) {
                let reason = "no consent here can hold this field";
                return Err(Refusal::new(below(path, name), reason));
            }
            for (name, expected) in written {
                let path = below(path, name);
                let Some(value) = read.get(name) else {
                    return Err(Refusal::new(path, "is missing"));
                };
                must_be(&path, value, expected)?;
            }
            Ok(())
        }
        (Value::Array(read), Value::Array(written)) => lists(path, read, written),
        _ if read == written => Ok(()),
        _ => Err(Refusal::new(path, expected(path, written))),
    }
}

fn lists(path: &str, read: &[Value], written: &[Value]) -> Result<(), Refusal> {
    let mut left: Vec<_> = written.iter().collect();
    let mut unmatched = Vec::new();
    for (n, value) in read.iter().enumerate() {
        // Compared as documents: what is nested may stand in another order too.
        let found = left.iter().position(|w| must_be("", value, w).is_ok());
        match found {
            Some(found) => drop(left.remove(found)),
            None => unmatched.push((n, value)),
        }
    }
    match (unmatched.first(), left.first()) {
        (None, None) => Ok(()),
        (Some((n, value)), Some(expected)) => must_be(&format!("{path}[{n}]"), value, expected),
        (Some((n, _)), None) => {
            let reason = "no consent here can hold this entry";
            Err(Refusal::new(format!("{path}[{n}]"), reason))
        }
        (None, Some(_)) => Err(Refusal::new(path, "an entry is missing")),
    }
}

/// What would be right. Only what this crate writes is repeated, not an identifier that was read:
/// the one place where it is compared is that of the person who gave the consent.
fn expected(path: &str, written: &Value) -> String {
    match written {
        Value::String(_) if path.ends_with("identifier.value") => {
            "expected the identifier of the patient".to_owned()
        }
        Value::String(text) => format!("expected `{text}`"),
        Value::Bool(_) | Value::Number(_) => format!("expected {written}"),
        Value::Array(_) => "expected a list".to_owned(),
        Value::Object(_) => "expected an object".to_owned(),
        Value::Null => "is not understood".to_owned(),
    }
}
