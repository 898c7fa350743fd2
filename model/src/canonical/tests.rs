//! Against the published examples, and against another implementation of RFC 8785 over the tree
//! of `serde_json`.

mod measure;
mod samples;
mod shapes;

use super::*;
use proptest::prelude::*;
use serde::{Deserialize, ser::SerializeMap as _};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What was written before there was a writer here; slow, and of another hand.
pub(crate) fn reference<T: Serialize>(value: &T) -> Vec<u8> {
    let tree = serde_json::to_value(value).unwrap();
    serde_json_canonicalizer::to_vec(&tree).unwrap()
}

/// Writes, compares with the other implementation, reads back.
pub(crate) fn assert_canonical<T>(value: &T)
where
    T: Serialize + DeserializeOwned + PartialEq + fmt::Debug,
{
    let bytes = to_vec(value).unwrap();
    let text = String::from_utf8(bytes.clone()).unwrap();
    assert_eq!(text, String::from_utf8(reference(value)).unwrap());
    assert_eq!(from_slice::<T>(&bytes).unwrap(), *value, "{text}");
}

fn text(value: &impl Serialize) -> String {
    String::from_utf8(to_vec(value).unwrap()).unwrap()
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Sample {
    b: u64,
    a: String,
}

#[test]
fn keys_are_sorted_and_text_is_escaped_as_rfc_8785_says() {
    let sample = Sample {
        b: 1,
        a: "é\n\u{1}\"".into(),
    };
    assert_eq!(text(&sample), "{\"a\":\"é\\n\\u0001\\\"\",\"b\":1}");
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
        r#"{"a":"x","b":-0}"#,
        r#"{"a":"x","a":"x","b":1}"#,
        r#"{"a":"\/","b":1}"#,
        r#"{"a":"\u001F","b":1}"#,
        r#"{"a":"\u000a","b":1}"#,
    ] {
        assert!(from_slice::<Sample>(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn floats_are_refused_wherever_they_stand() {
    for value in [
        json!(0.5),
        json!({"x": 0.5}),
        json!([[1.0]]),
        json!({"x": [{"y": -1e300}]}),
    ] {
        assert!(matches!(to_vec(&value), Err(CanonicalError::Float)));
        let bytes = serde_json::to_vec(&value).unwrap();
        assert!(from_slice::<Value>(&bytes).is_err());
    }
    // `null` in the tree of `serde_json`, which is another value.
    assert!(matches!(to_vec(&f64::NAN), Err(CanonicalError::Float)));
    assert!(matches!(to_vec(&f32::INFINITY), Err(CanonicalError::Float)));
}

/// RFC 8785, section 3.2.3: the example of sorting, in the order in which it stands there.
#[test]
fn members_sort_as_in_the_example_of_the_rfc() {
    let input = r#"{
        "\u20ac": "Euro Sign",
        "\r": "Carriage Return",
        "\ufb33": "Hebrew Letter Dalet With Dagesh",
        "1": "One",
        "\ud83d\ude00": "Emoji: Grinning Face",
        "\u0080": "Control",
        "\u00f6": "Latin Small Letter O With Diaeresis"
    }"#;
    let value: Value = serde_json::from_str(input).unwrap();
    let expected = "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u{80}\":\"Control\",\
        \"\u{f6}\":\"Latin Small Letter O With Diaeresis\",\"\u{20ac}\":\"Euro Sign\",\
        \"\u{1f600}\":\"Emoji: Grinning Face\",\
        \"\u{fb33}\":\"Hebrew Letter Dalet With Dagesh\"}";
    assert_eq!(text(&value), expected);
}

/// RFC 8785, section 3.2.2: the string and the literals of the example (its numbers are floats).
#[test]
fn text_and_literals_are_written_as_in_the_example_of_the_rfc() {
    let input = r#"{
        "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
        "literals": [null, true, false]
    }"#;
    let value: Value = serde_json::from_str(input).unwrap();
    let expected = r#"{"literals":[null,true,false],"string":"€$\u000f\nA'B\"\\\\\"/"}"#;
    assert_eq!(text(&value), expected);
}

#[test]
fn every_character_that_needs_an_escape_has_one_and_no_other_has() {
    let all: String = ('\0'..='\u{ff}').collect();
    for around in ["", "x", &"x".repeat(31), &"é".repeat(40)] {
        for c in all.chars() {
            assert_canonical(&format!("{around}{c}{around}"));
        }
    }
    assert_canonical(&all);
    assert_canonical(&BTreeMap::from([(all, 1)]));
}

#[test]
fn integers_are_exact_up_to_2_53_and_the_double_beyond() {
    const EXACT: u64 = 1 << 53;
    for n in [0, 1, 9, 10, EXACT - 1, EXACT] {
        assert_eq!(text(&n), n.to_string());
        assert_canonical(&n);
        assert_canonical(&-i64::try_from(n).unwrap());
    }
    for n in [
        EXACT + 1,
        EXACT + 2,
        EXACT + 3,
        1 << 60,
        u64::MAX >> 1,
        u64::MAX,
    ] {
        assert_eq!(to_vec(&n).unwrap(), reference(&n), "{n}");
    }
    for n in [i64::MIN, i64::MIN + 1, i64::MAX] {
        assert_eq!(to_vec(&n).unwrap(), reference(&n), "{n}");
    }
    // Not read back as another number.
    assert!(from_slice::<u64>(b"9007199254740993").is_err());
    assert!(from_slice::<u64>(b"18446744073709551615").is_err());
    for (wide, bytes) in [(-7_i64, "-7"), (1 << 40, "1099511627776")] {
        assert_eq!(text(&i128::from(wide)), bytes);
    }
    assert_eq!(text(&7_u128), "7");
    for wide in [
        i128::MIN,
        i128::from(i64::MIN) - 1,
        i128::from(u64::MAX) + 1,
    ] {
        assert!(matches!(to_vec(&wide), Err(CanonicalError::Invalid(_))));
    }
    assert!(matches!(
        to_vec(&u128::MAX),
        Err(CanonicalError::Invalid(_))
    ));
}

/// A map that says the keys it is told, in that order.
struct Members(Vec<&'static str>);

impl Serialize for Members {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(None)?;
        for key in &self.0 {
            map.serialize_entry(key, &1)?;
        }
        map.end()
    }
}

#[test]
fn a_key_that_occurs_twice_is_refused() {
    for keys in [
        vec!["a", "a"],
        vec!["a", "b", "a"],
        vec!["b", "a", "b"],
        vec!["\n", "\n"],
        vec!["é", "a", "é"],
    ] {
        assert!(matches!(
            to_vec(&Members(keys)),
            Err(CanonicalError::Invalid(_))
        ));
    }
    assert_eq!(text(&Members(vec!["b", "", "a"])), r#"{"":1,"a":1,"b":1}"#);
}

#[test]
fn keys_sort_by_what_they_say_not_by_how_it_is_written() {
    // As text `\n` (10) is before `"` (34) before `A` (65) before `\` (92) before `a`, and the
    // units of a character beyond the basic plane (0xd800 on) are before U+E000.
    let keys = vec!["a", "\u{e000}", "\u{1f600}", "\\", "A", "\"", "\n", "é"];
    let expected = "{\"\\n\":1,\"\\\"\":1,\"A\":1,\"\\\\\":1,\"a\":1,\"é\":1,\
        \"\u{1f600}\":1,\"\u{e000}\":1}";
    assert_eq!(text(&Members(keys)), expected);
}

#[test]
fn keys_that_are_not_text_are_refused() {
    let refused = [
        to_vec(&BTreeMap::from([(None::<u8>, 1)])),
        to_vec(&BTreeMap::from([(Some(1), 1)])),
        to_vec(&BTreeMap::from([((), 1)])),
        to_vec(&BTreeMap::from([((1, 2), 1)])),
        to_vec(&BTreeMap::from([(vec![1], 1)])),
        to_vec(&BTreeMap::from([(BTreeMap::from([(1, 1)]), 1)])),
    ];
    for outcome in refused {
        assert!(matches!(outcome, Err(CanonicalError::Invalid(_))));
    }
    for value in [(true, 'é', 1_u8), (false, '"', 255)] {
        let (yes, c, n) = value;
        assert_canonical(&BTreeMap::from([(yes, 1)]));
        assert_canonical(&BTreeMap::from([(c, 1)]));
        assert_canonical(&BTreeMap::from([(n, 1), (9, 1), (10, 1)]));
        assert_canonical(&BTreeMap::from([(-i64::from(n) - 1, 1), (0, 1)]));
    }
}

fn any_text() -> impl Strategy<Value = String> {
    let c = prop_oneof![
        4 => prop::char::range(' ', '~'),
        1 => prop::char::range('\0', '\u{1f}'),
        1 => prop::sample::select(vec!['"', '\\', '/', '\u{7f}', 'é', '\u{2028}', '€']),
        1 => prop::char::range('\u{d000}', '\u{10fff}'),
        1 => any::<char>(),
    ];
    prop_oneof![
        prop::collection::vec(c, 0..8).prop_map(String::from_iter),
        "[a-c@]{0,3}",
        "[ -~]{30,70}",
    ]
}

/// Any JSON without floats, with integers at the edges of what a double holds.
pub(crate) fn any_json() -> impl Strategy<Value = Value> {
    let edges = vec![0, 1, 1 << 53, (1 << 53) + 1, 1 << 63, u64::MAX];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i16>().prop_map(Value::from),
        prop::sample::select(edges).prop_map(Value::from),
        any_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((any_text(), inner), 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn any_value_is_written_as_another_implementation_writes_it(value in any_json()) {
        let bytes = to_vec(&value).unwrap();
        let expected = reference(&value);
        prop_assert_eq!(String::from_utf8(bytes), String::from_utf8(expected));
    }

    #[test]
    fn what_is_accepted_is_exactly_what_is_written(value in any_json(), at: prop::sample::Index) {
        let bytes = to_vec(&value).unwrap();
        let accepted = from_slice::<Value>(&bytes);
        if let Ok(read) = accepted {
            prop_assert_eq!(to_vec(&read).unwrap(), bytes.clone());
        }
        // One byte changed: refused, or another value that is written so.
        let mut other = bytes;
        let at = at.index(other.len());
        other[at] = other[at].wrapping_add(1);
        if let Ok(read) = from_slice::<Value>(&other) {
            prop_assert_eq!(reference(&read), other);
        }
    }
}
