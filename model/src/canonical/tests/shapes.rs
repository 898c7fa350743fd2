//! Every shape that serde can describe.

use super::*;
use std::collections::HashMap;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Newtype(Box<Shape>);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Pair(i8, Option<String>);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "zz", rename_all = "snake_case")]
enum Internal {
    Bare,
    Fields { b: u16, a: bool },
    Inner(Named),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "t", content = "c")]
enum Adjacent {
    Bare,
    One(u32),
    Two(i32, String),
    Fields { y: char, x: () },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u8),
    Text(String),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Named {
    #[serde(rename = "é\"\n")]
    odd: i64,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<u8>,
    #[serde(flatten)]
    more: BTreeMap<String, u32>,
}

/// Octets as serde knows them, not as a sequence.
#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Octets(Vec<u8>);

impl Serialize for Octets {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_bytes(&self.0)
    }
}

/// Text that is never whole in memory.
#[derive(Clone, Debug, PartialEq)]
struct Shown(Vec<char>);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|c| write!(f, "{c}"))
    }
}

impl Serialize for Shown {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Shown {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d).map(|text| Self(text.chars().collect()))
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Bare,
    Null(()),
    Unit(Unit),
    Newtype(Newtype),
    Tuple(u8, Box<Shape>),
    Fields {
        z: Box<Shape>,
        a: Vec<Shape>,
        m: (i8, char),
    },
    Option(Option<Box<Shape>>),
    Map(BTreeMap<String, Shape>),
    Hashed(HashMap<u16, bool>),
    Pair(Pair),
    Octets(Octets),
    Shown(Shown),
    Internal(Internal),
    Adjacent(Adjacent),
    Untagged(Untagged),
}

fn named() -> impl Strategy<Value = Named> {
    let more = prop::collection::btree_map("[a-m]{1,3}", any::<u32>(), 0..4);
    (any::<i16>(), any_text(), any::<Option<u8>>(), more).prop_map(|(odd, name, left_out, more)| {
        Named {
            odd: odd.into(),
            name,
            left_out,
            more,
        }
    })
}

fn leaf() -> impl Strategy<Value = Shape> {
    let chars = prop::collection::vec(any::<char>(), 0..6);
    prop_oneof![
        Just(Shape::Bare),
        Just(Shape::Null(())),
        Just(Shape::Unit(Unit)),
        (any::<i8>(), prop::option::of(any_text())).prop_map(|(a, b)| Shape::Pair(Pair(a, b))),
        prop::collection::vec(any::<u8>(), 0..5).prop_map(|b| Shape::Octets(Octets(b))),
        prop::collection::hash_map(any::<u16>(), any::<bool>(), 0..5).prop_map(Shape::Hashed),
        chars.prop_map(|chars| Shape::Shown(Shown(chars))),
        Just(Shape::Internal(Internal::Bare)),
        (any::<u16>(), any::<bool>()).prop_map(|(b, a)| Shape::Internal(Internal::Fields { b, a })),
        named().prop_map(|n| Shape::Internal(Internal::Inner(n))),
        Just(Shape::Adjacent(Adjacent::Bare)),
        any::<u32>().prop_map(|n| Shape::Adjacent(Adjacent::One(n))),
        (any::<i32>(), any_text()).prop_map(|(n, t)| Shape::Adjacent(Adjacent::Two(n, t))),
        any::<char>().prop_map(|y| Shape::Adjacent(Adjacent::Fields { y, x: () })),
        any::<u8>().prop_map(|n| Shape::Untagged(Untagged::Number(n))),
        any_text().prop_map(|t| Shape::Untagged(Untagged::Text(t))),
    ]
}

fn shape() -> impl Strategy<Value = Shape> {
    leaf().prop_recursive(5, 48, 6, |inner| {
        let boxed = inner.clone().prop_map(Box::new);
        prop_oneof![
            boxed.clone().prop_map(|s| Shape::Newtype(Newtype(s))),
            (any::<u8>(), boxed.clone()).prop_map(|(n, s)| Shape::Tuple(n, s)),
            prop::option::of(boxed.clone()).prop_map(Shape::Option),
            prop::collection::btree_map(any_text(), inner.clone(), 0..5).prop_map(Shape::Map),
            (
                boxed,
                prop::collection::vec(inner, 0..4),
                any::<(i8, char)>()
            )
                .prop_map(|(z, a, m)| Shape::Fields { z, a, m }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn every_shape_is_what_serde_json_makes_of_it(shape in shape()) {
        let bytes = to_vec(&shape).unwrap();
        prop_assert_eq!(String::from_utf8(bytes), String::from_utf8(reference(&shape)));
    }
}

#[test]
fn a_display_that_fails_is_an_error() {
    struct Broken;
    impl fmt::Display for Broken {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            Err(fmt::Error)
        }
    }
    impl Serialize for Broken {
        fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
            s.collect_str(self)
        }
    }
    assert!(matches!(to_vec(&Broken), Err(CanonicalError::Invalid(_))));
}

#[test]
fn a_value_without_a_key_and_a_key_without_a_value_are_errors() {
    struct Lone(u8);
    impl Serialize for Lone {
        fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
            let mut map = s.serialize_map(None)?;
            map.serialize_entry("a", &1)?;
            match self.0 {
                0 => map.serialize_key("b")?,
                1 => map.serialize_value("b")?,
                _ => {
                    map.serialize_key("b")?;
                    map.serialize_entry("c", &1)?;
                }
            }
            map.end()
        }
    }
    for lone in [Lone(0), Lone(1), Lone(2)] {
        assert!(matches!(to_vec(&lone), Err(CanonicalError::Invalid(_))));
    }
}
