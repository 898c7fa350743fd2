//! What serde describes, in the shape that `serde_json` gives it: externally tagged variants are
//! objects of one member, byte slices are arrays of integers, `None` and unit are `null`.

use super::{
    CanonicalError,
    key::Key,
    writer::{Open, Writer},
};
use serde::{
    Serialize, Serializer,
    ser::{self, Error as _},
};
use std::fmt;

type Outcome = Result<(), CanonicalError>;

/// How `serde_json` marks values that only its own serializer can write.
const PRIVATE: &str = "$serde_json::private::";

macro_rules! integers {
    ($($method:ident($type:ty) via $wide:ident;)*) => {$(
        fn $method(self, value: $type) -> Outcome {
            self.$wide(value.into())
        }
    )*};
}

impl<'a> Serializer for &'a mut Writer {
    type Ok = ();
    type Error = CanonicalError;
    type SerializeSeq = Array<'a>;
    type SerializeTuple = Array<'a>;
    type SerializeTupleStruct = Array<'a>;
    type SerializeTupleVariant = Array<'a>;
    type SerializeMap = Object<'a>;
    type SerializeStruct = Object<'a>;
    type SerializeStructVariant = Object<'a>;

    integers! {
        serialize_i8(i8) via serialize_i64;
        serialize_i16(i16) via serialize_i64;
        serialize_i32(i32) via serialize_i64;
        serialize_u8(u8) via serialize_u64;
        serialize_u16(u16) via serialize_u64;
        serialize_u32(u32) via serialize_u64;
    }

    fn serialize_bool(self, value: bool) -> Outcome {
        self.raw(if value { "true" } else { "false" });
        Ok(())
    }

    fn serialize_i64(self, value: i64) -> Outcome {
        self.integer(value < 0, value.unsigned_abs())
            .map_err(CanonicalError::custom)
    }

    fn serialize_u64(self, value: u64) -> Outcome {
        self.integer(false, value).map_err(CanonicalError::custom)
    }

    fn serialize_i128(self, value: i128) -> Outcome {
        match (u64::try_from(value), i64::try_from(value)) {
            (Ok(value), _) => self.serialize_u64(value),
            (_, Ok(value)) => self.serialize_i64(value),
            _ => Err(CanonicalError::custom("number out of range")),
        }
    }

    fn serialize_u128(self, value: u128) -> Outcome {
        match u64::try_from(value) {
            Ok(value) => self.serialize_u64(value),
            Err(_) => Err(CanonicalError::custom("number out of range")),
        }
    }

    fn serialize_f32(self, _: f32) -> Outcome {
        Err(CanonicalError::Float)
    }

    fn serialize_f64(self, _: f64) -> Outcome {
        Err(CanonicalError::Float)
    }

    fn serialize_char(self, value: char) -> Outcome {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Outcome {
        self.string(value);
        Ok(())
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, value: &T) -> Outcome {
        self.display(value).map_err(CanonicalError::custom)
    }

    fn serialize_bytes(self, value: &[u8]) -> Outcome {
        self.collect_seq(value)
    }

    fn serialize_none(self) -> Outcome {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Outcome {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Outcome {
        self.raw("null");
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Outcome {
        self.serialize_unit()
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

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Outcome {
        self.begin_variant(variant);
        value.serialize(&mut *self)?;
        self.raw("}");
        Ok(())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Array<'a>, CanonicalError> {
        Ok(Array::begin(self, "]"))
    }

    fn serialize_tuple(self, _: usize) -> Result<Array<'a>, CanonicalError> {
        Ok(Array::begin(self, "]"))
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Array<'a>, CanonicalError> {
        Ok(Array::begin(self, "]"))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Array<'a>, CanonicalError> {
        self.begin_variant(variant);
        Ok(Array::begin(self, "]}"))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Object<'a>, CanonicalError> {
        Ok(Object::begin(self, ""))
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Object<'a>, CanonicalError> {
        if name.starts_with(PRIVATE) {
            return Err(CanonicalError::custom("a number or text of arbitrary form"));
        }
        Ok(Object::begin(self, ""))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Object<'a>, CanonicalError> {
        self.begin_variant(variant);
        Ok(Object::begin(self, "}"))
    }
}

impl Writer {
    /// An object of one member has nothing to sort.
    fn begin_variant(&mut self, variant: &str) {
        self.raw("{");
        self.string(variant);
        self.raw(":");
    }
}

/// An array that has begun.
pub(super) struct Array<'a> {
    writer: &'a mut Writer,
    is_empty: bool,
    close: &'static str,
}

impl<'a> Array<'a> {
    fn begin(writer: &'a mut Writer, close: &'static str) -> Self {
        writer.raw("[");
        Self {
            writer,
            is_empty: true,
            close,
        }
    }

    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Outcome {
        if !self.is_empty {
            self.writer.raw(",");
        }
        self.is_empty = false;
        value.serialize(&mut *self.writer)
    }

    fn finish(self) {
        self.writer.raw(self.close);
    }
}

/// An object that has begun.
pub(super) struct Object<'a> {
    writer: &'a mut Writer,
    open: Open,
    /// What follows the object's own brace.
    close: &'static str,
}

impl<'a> Object<'a> {
    fn begin(writer: &'a mut Writer, close: &'static str) -> Self {
        let open = writer.begin_object();
        Self {
            writer,
            open,
            close,
        }
    }

    fn key<T: Serialize + ?Sized>(&mut self, key: &T) -> Outcome {
        self.writer.begin_member(&mut self.open)?;
        key.serialize(Key(self.writer))?;
        self.writer.end_key(&mut self.open);
        Ok(())
    }

    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Outcome {
        value.serialize(&mut *self.writer)?;
        self.writer.end_member(&mut self.open)
    }

    fn finish(self) -> Outcome {
        self.writer.end_object(&self.open)?;
        self.writer.raw(self.close);
        Ok(())
    }
}

macro_rules! array {
    ($($form:ident, $method:ident;)*) => {$(
        impl ser::$form for Array<'_> {
            type Ok = ();
            type Error = CanonicalError;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Outcome {
                self.element(value)
            }

            fn end(self) -> Outcome {
                self.finish();
                Ok(())
            }
        }
    )*};
}

array! {
    SerializeSeq, serialize_element;
    SerializeTuple, serialize_element;
    SerializeTupleStruct, serialize_field;
    SerializeTupleVariant, serialize_field;
}

macro_rules! object {
    ($($form:ident;)*) => {$(
        impl ser::$form for Object<'_> {
            type Ok = ();
            type Error = CanonicalError;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Outcome {
                self.key(key)?;
                self.value(value)
            }

            fn end(self) -> Outcome {
                self.finish()
            }
        }
    )*};
}

object! {
    SerializeStruct;
    SerializeStructVariant;
}

impl ser::SerializeMap for Object<'_> {
    type Ok = ();
    type Error = CanonicalError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Outcome {
        self.key(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Outcome {
        self.value(value)
    }

    fn end(self) -> Outcome {
        self.finish()
    }
}
