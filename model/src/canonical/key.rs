//! Keys of maps: text, or what `serde_json` writes as text in this place (integers, booleans,
//! names of variants). Floats are refused here too.

use super::{CanonicalError, writer::Writer};
use serde::{
    Serialize, Serializer,
    ser::{Error as _, Impossible},
};
use std::fmt;

pub(super) struct Key<'a>(pub(super) &'a mut Writer);

type Never = Impossible<(), CanonicalError>;
type Outcome = Result<(), CanonicalError>;

fn not_text<T>() -> Result<T, CanonicalError> {
    Err(CanonicalError::custom("a key is not text"))
}

macro_rules! displayed {
    ($($method:ident($type:ty);)*) => {$(
        fn $method(self, value: $type) -> Outcome {
            self.collect_str(&value)
        }
    )*};
}

impl Serializer for Key<'_> {
    type Ok = ();
    type Error = CanonicalError;
    type SerializeSeq = Never;
    type SerializeTuple = Never;
    type SerializeTupleStruct = Never;
    type SerializeTupleVariant = Never;
    type SerializeMap = Never;
    type SerializeStruct = Never;
    type SerializeStructVariant = Never;

    displayed! {
        serialize_bool(bool);
        serialize_i8(i8);
        serialize_i16(i16);
        serialize_i32(i32);
        serialize_i64(i64);
        serialize_i128(i128);
        serialize_u8(u8);
        serialize_u16(u16);
        serialize_u32(u32);
        serialize_u64(u64);
        serialize_u128(u128);
        serialize_char(char);
    }

    fn serialize_str(self, value: &str) -> Outcome {
        self.0.string(value);
        Ok(())
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, value: &T) -> Outcome {
        self.0.display(value).map_err(CanonicalError::custom)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Outcome {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Outcome {
        value.serialize(self)
    }

    fn serialize_f32(self, _: f32) -> Outcome {
        Err(CanonicalError::Float)
    }

    fn serialize_f64(self, _: f64) -> Outcome {
        Err(CanonicalError::Float)
    }

    fn serialize_bytes(self, _: &[u8]) -> Outcome {
        not_text()
    }

    fn serialize_none(self) -> Outcome {
        not_text()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Outcome {
        not_text()
    }

    fn serialize_unit(self) -> Outcome {
        not_text()
    }

    fn serialize_unit_struct(self, _: &'static str) -> Outcome {
        not_text()
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Outcome {
        not_text()
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Never, CanonicalError> {
        not_text()
    }

    fn serialize_tuple(self, _: usize) -> Result<Never, CanonicalError> {
        not_text()
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Never, CanonicalError> {
        not_text()
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Never, CanonicalError> {
        not_text()
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Never, CanonicalError> {
        not_text()
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Never, CanonicalError> {
        not_text()
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Never, CanonicalError> {
        not_text()
    }
}
