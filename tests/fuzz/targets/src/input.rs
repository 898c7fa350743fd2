//! Takes a fuzzer's bytes apart. What is missing counts as zero, so that every input is valid.

/// The bytes that are left.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// Of all bytes.
    pub const fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    /// The next two bytes, the high one first.
    pub fn short(&mut self) -> u16 {
        u16::from(self.byte()) << 8 | u16::from(self.byte())
    }

    /// The next eight bytes, the highest first.
    pub fn long(&mut self) -> u64 {
        (0..8).fold(0, |number, _| number << 8 | u64::from(self.byte()))
    }

    /// At most `count` bytes.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Exactly `N` bytes, filled up with zeros.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let taken = self.take(N);
        array[..taken.len()].copy_from_slice(taken);
        array
    }

    /// All that is left.
    pub const fn rest(self) -> &'a [u8] {
        self.0
    }

    /// All that is left, if it is text.
    pub fn text(self) -> Option<&'a str> {
        std::str::from_utf8(self.0).ok()
    }

    /// Whether nothing is left.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `bytes` with one change that the next bytes choose: a bit flipped, a byte set, inserted or
    /// taken out, the end cut, or a piece doubled. The result may be equal to `bytes`.
    pub fn change(&mut self, bytes: &[u8]) -> Vec<u8> {
        let (kind, place, byte) = (self.byte(), usize::from(self.short()), self.byte());
        let mut changed = bytes.to_vec();
        if bytes.is_empty() {
            return vec![byte];
        }
        let place = place % bytes.len();
        match kind % 6 {
            0 => changed[place] ^= 1 << (byte % 8),
            1 => changed[place] = byte,
            2 => changed.insert(place, byte),
            3 => drop(changed.remove(place)),
            4 => changed.truncate(place),
            _ => {
                let end = bytes.len().min(place + usize::from(byte));
                let piece = bytes[place..end].to_vec();
                changed.splice(place..place, piece);
            }
        }
        changed
    }
}
