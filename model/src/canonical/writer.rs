//! The buffer of canonical JSON: text, integers, and objects whose members are put in order.
//!
//! A member is written where it comes, and its place noted. When its object ends, the members are
//! in order already or are copied once into it; inner objects have ended by then.

use super::CanonicalError;
use serde::ser::Error as _;
use std::fmt::{self, Write as _};

/// The largest integer up to which a double holds each (RFC 8785, section 3.2.2.3).
const EXACT: u64 = 1 << 53;

/// How many bytes are looked at in one go for something to escape.
const BLOCK: usize = 32;

/// Where a member of an object stands in the buffer: `"key":value`.
#[derive(Clone, Copy)]
struct Member {
    start: usize,
    colon: usize,
    end: usize,
}

impl Member {
    /// The text of the key as it was written, between its quotes.
    fn key<'a>(&self, out: &'a [u8]) -> &'a [u8] {
        out.get(self.start + 1..self.colon - 1).unwrap_or_default()
    }
}

/// An object that has begun.
pub(super) struct Open {
    /// Where its body begins in the buffer.
    body: usize,
    /// The position of its first member in the list.
    first: usize,
    /// Where the present member begins.
    start: usize,
    /// Where the present key ended; 0 (no key ends there) while there is none.
    colon: usize,
    /// Whether each key so far is ASCII without escapes, so that bytes sort as RFC 8785 says.
    is_plain: bool,
    /// Whether each key so far is greater than the one before it.
    is_ordered: bool,
}

pub(super) struct Writer {
    out: Vec<u8>,
    /// The members of the objects that are open, those of the innermost last.
    members: Vec<Member>,
    /// The body of an object in its right order.
    scratch: Vec<u8>,
}

impl Writer {
    pub(super) fn new(expected_bytes: usize) -> Self {
        Self {
            out: Vec::with_capacity(expected_bytes),
            members: Vec::with_capacity(BLOCK),
            scratch: Vec::new(),
        }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// Punctuation and words that need no escape.
    pub(super) fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    pub(super) fn string(&mut self, text: &str) {
        self.out.push(b'"');
        escape(&mut self.out, text);
        self.out.push(b'"');
    }

    /// What `value` displays, as a string.
    pub(super) fn display(&mut self, value: &(impl fmt::Display + ?Sized)) -> fmt::Result {
        self.out.push(b'"');
        write!(Escaped(&mut self.out), "{value}")?;
        self.out.push(b'"');
        Ok(())
    }

    pub(super) fn integer(&mut self, is_negative: bool, size: u64) -> fmt::Result {
        if is_negative {
            self.out.push(b'-');
        }
        if size <= EXACT {
            write!(Escaped(&mut self.out), "{size}")
        } else {
            // Section 3.2.2.3: the shortest digits of the double. Below 10^21 ECMAScript writes
            // it without an exponent, as is done here.
            write!(Escaped(&mut self.out), "{}", size as f64)
        }
    }

    pub(super) fn begin_object(&mut self) -> Open {
        self.out.push(b'{');
        Open {
            body: self.out.len(),
            first: self.members.len(),
            start: 0,
            colon: 0,
            is_plain: true,
            is_ordered: true,
        }
    }

    /// Before a key is written.
    pub(super) fn begin_member(&mut self, open: &mut Open) -> Result<(), CanonicalError> {
        if open.colon != 0 {
            return Err(CanonicalError::custom("a key without a value"));
        }
        if self.members.len() > open.first {
            self.out.push(b',');
        }
        open.start = self.out.len();
        Ok(())
    }

    /// After a key was written.
    pub(super) fn end_key(&mut self, open: &mut Open) {
        open.colon = self.out.len();
        self.out.push(b':');
    }

    /// After the value was written.
    pub(super) fn end_member(&mut self, open: &mut Open) -> Result<(), CanonicalError> {
        if open.colon == 0 {
            return Err(CanonicalError::custom("a value without a key"));
        }
        let member = Member {
            start: open.start,
            colon: open.colon,
            end: self.out.len(),
        };
        let key = member.key(&self.out);
        open.is_plain = open.is_plain && key.is_ascii() && !key.contains(&b'\\');
        if let Some(before) = self.members.get(open.first..).and_then(<[_]>::last) {
            open.is_ordered = open.is_ordered && before.key(&self.out) < key;
        }
        self.members.push(member);
        open.colon = 0;
        Ok(())
    }

    pub(super) fn end_object(&mut self, open: &Open) -> Result<(), CanonicalError> {
        if open.colon != 0 {
            return Err(CanonicalError::custom("a key without a value"));
        }
        if !(open.is_plain && open.is_ordered) {
            self.sort(open)?;
        }
        self.members.truncate(open.first);
        self.out.push(b'}');
        Ok(())
    }

    /// Section 3.2.3: members are sorted by the UTF-16 code units of their keys.
    fn sort(&mut self, open: &Open) -> Result<(), CanonicalError> {
        let Self {
            out,
            members,
            scratch,
        } = self;
        let members = members.get_mut(open.first..).unwrap_or_default();
        let is_strict = if open.is_plain {
            members.sort_unstable_by(|a, b| a.key(out).cmp(b.key(out)));
            members.is_sorted_by(|a, b| a.key(out) < b.key(out))
        } else {
            sort_by_code_units(members, out)?
        };
        if !is_strict {
            return Err(CanonicalError::custom("a key occurs twice in an object"));
        }
        scratch.clear();
        for member in members {
            if !scratch.is_empty() {
                scratch.push(b',');
            }
            scratch.extend_from_slice(out.get(member.start..member.end).unwrap_or_default());
        }
        out.truncate(open.body);
        out.append(scratch);
        Ok(())
    }
}

/// Whether no two keys are the same.
fn sort_by_code_units(members: &mut [Member], out: &[u8]) -> Result<bool, CanonicalError> {
    let mut keyed = Vec::with_capacity(members.len());
    for member in members.iter() {
        let quoted = out.get(member.start..member.colon).unwrap_or_default();
        let key: String = serde_json::from_slice(quoted)?;
        keyed.push((key.encode_utf16().collect::<Vec<u16>>(), *member));
    }
    keyed.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    for (place, (_, member)) in members.iter_mut().zip(&keyed) {
        *place = *member;
    }
    Ok(keyed.is_sorted_by(|(a, _), (b, _)| a < b))
}

/// Takes formatted text, and escapes it.
struct Escaped<'a>(&'a mut Vec<u8>);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escape(self.0, text);
        Ok(())
    }
}

/// Section 3.2.2.2: what must be escaped, and nothing else, in its shortest form.
fn escape(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    while let Some((plain, tail)) = rest.split_at_checked(plain_len(rest)) {
        out.extend_from_slice(plain);
        let Some((special, tail)) = tail.split_first() else {
            return;
        };
        escape_byte(out, *special);
        rest = tail;
    }
}

const fn is_special(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
}

/// How many bytes need no escape from the first on. All of a longer character are above ASCII.
fn plain_len(bytes: &[u8]) -> usize {
    // Payloads are long: a block is checked without a way out of it, hence with wide registers.
    let is_plain = |block: &&[u8]| {
        !block
            .iter()
            .fold(false, |any, byte| any | is_special(*byte))
    };
    let blocks = bytes.chunks_exact(BLOCK).take_while(is_plain).count() * BLOCK;
    let tail = bytes.get(blocks..).unwrap_or_default();
    let more = tail.iter().position(|byte| is_special(*byte));
    blocks + more.unwrap_or(tail.len())
}

fn escape_byte(out: &mut Vec<u8>, byte: u8) {
    let short: &[u8] = match byte {
        b'"' => b"\\\"",
        b'\\' => b"\\\\",
        0x08 => b"\\b",
        b'\t' => b"\\t",
        b'\n' => b"\\n",
        0x0c => b"\\f",
        b'\r' => b"\\r",
        _ => {
            let digit = |value: u8| value + if value < 10 { b'0' } else { b'a' - 10 };
            out.extend_from_slice(b"\\u00");
            out.extend([digit(byte >> 4), digit(byte & 15)]);
            return;
        }
    };
    out.extend_from_slice(short);
}
