//! One slot of the file of keys: its form, and what a damaged one still says.
//!
//! In scope: bytes to tag and key and back; the header. Out of scope: where slots are, and when
//! they are written ([`crate::key_file`]).

use zeroize::Zeroizing;

use crate::key_file::{Key, SLOT_BYTES, Tag};

pub(crate) const MAGIC: [u8; 8] = *b"PSRLKEYS";
const VERSION: u8 = 1;
const KEY_AT: usize = 16;
const VERSION_AT: usize = 48;
const NAME_CRC_AT: usize = 56;
const CRC_AT: usize = 60;

pub(crate) type Slot = Zeroizing<[u8; SLOT_BYTES]>;

/// What a slot holds.
pub(crate) enum Found {
    Free,
    Live(Tag, Key),
    /// The tag can be believed, the key can't.
    Damaged(Tag),
    Nameless,
}

/// The slot of a key.
pub(crate) fn encode(tag: &Tag, key: &[u8; 32]) -> Slot {
    let mut slot = Zeroizing::new([0; SLOT_BYTES]);
    let (name, rest) = slot.split_at_mut(KEY_AT);
    name.copy_from_slice(tag);
    let (body, rest) = rest.split_at_mut(VERSION_AT - KEY_AT);
    body.copy_from_slice(key);
    if let Some(version) = rest.first_mut() {
        *version = VERSION;
    }
    put_u32(slot.as_mut_slice(), NAME_CRC_AT, name_crc(tag));
    let crc = crc32c::crc32c(slot.split_at(CRC_AT).0);
    put_u32(slot.as_mut_slice(), CRC_AT, crc);
    slot
}

/// The first slot.
pub(crate) fn header() -> Slot {
    let mut slot = Zeroizing::new([0; SLOT_BYTES]);
    let (magic, rest) = slot.split_at_mut(MAGIC.len());
    magic.copy_from_slice(&MAGIC);
    if let Some(version) = rest.first_mut() {
        *version = VERSION;
    }
    let crc = crc32c::crc32c(slot.split_at(CRC_AT).0);
    put_u32(slot.as_mut_slice(), CRC_AT, crc);
    slot
}

fn name_crc(tag: &Tag) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(tag), &[VERSION])
}

fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    if let Some(place) = bytes.get_mut(at..at + 4) {
        place.copy_from_slice(&value.to_le_bytes());
    }
}

fn take<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let found = bytes.get(at..at + N).and_then(|b| b.try_into().ok());
    found.unwrap_or([0; N])
}

/// Whether its checksum is right.
pub(crate) fn is_whole(slot: &[u8]) -> bool {
    let content = slot.get(..CRC_AT).filter(|_| slot.len() == SLOT_BYTES);
    content.is_some_and(|c| u32::from_le_bytes(take(slot, CRC_AT)) == crc32c::crc32c(c))
}

/// Reads a slot.
pub(crate) fn decode(slot: &[u8]) -> Found {
    if slot.iter().all(|byte| *byte == 0) {
        return Found::Free;
    }
    let tag = take(slot, 0);
    if u32::from_le_bytes(take(slot, NAME_CRC_AT)) != name_crc(&tag) {
        return Found::Nameless;
    }
    if is_whole(slot) && slot.get(VERSION_AT) == Some(&VERSION) {
        Found::Live(tag, Zeroizing::new(take(slot, KEY_AT)))
    } else {
        Found::Damaged(tag)
    }
}
