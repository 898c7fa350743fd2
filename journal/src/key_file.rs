//! Keys that can be destroyed: one file of fixed slots, overwritten in place.
//!
//! Purpose: what stands sealed in an append-only journal becomes unreadable once its key is
//! overwritten here. One small write a key, and one sync for all that were put since the last.
//!
//! In scope: put, get, destroy, what a start finds after a crash. Out of scope: what is sealed
//! with a key, and which keys are still wanted (the caller sweeps at its start).
//!
//! A slot is 64 bytes, so that none crosses a sector (512 bytes), which a disk writes whole:
//!
//! ```text
//! 0..16 tag | 16..48 key | 48 version | 49..56 zero | 56..60 crc32c of tag and version | 60..64
//! crc32c of what is before
//! ```
//!
//! All zero is free. The first slot is the header. The file grows by chunks of written zeros, so
//! that a sync of a slot has no length and no new block to write. Memory has the place of each
//! tag and no key.
//!
//! What is read at an open may be in the page cache alone: after a failed sync the kernel counts
//! its pages as clean. So a slot that was found free is not taken for destroyed until it has been
//! overwritten once more ([`KeyFile::destroy`] of a tag that is not there).
//!
//! To copy it while it is in use, copy it after the journal that has what the keys open.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use zeroize::Zeroizing;

use crate::JournalError;
use crate::files::{Disk, WriteFile};
use crate::key_slot::{Found, MAGIC, decode, encode, header, is_whole};

/// Bytes of a slot.
pub const SLOT_BYTES: usize = 64;
/// Slots by which the file grows (64 KiB).
pub const CHUNK_SLOTS: u32 = 1_024;

/// What a key is found by.
pub type Tag = [u8; 16];
/// A key, wiped when dropped.
pub type Key = Zeroizing<[u8; 32]>;

/// See the module. All calls may come from several threads.
pub struct KeyFile {
    path: PathBuf,
    // Holds the lock against other processes, too.
    reader: File,
    // Taken before `index` where both are needed; held while the disk works. Reads take `index`
    // alone, and wait for no sync.
    writer: Mutex<Writer>,
    index: Mutex<Index>,
}

struct Writer {
    file: Box<dyn WriteFile>,
    /// The next to be used is the last.
    free: Vec<u32>,
    slots: u32,
    dirty: bool,
    /// Whether all slots that hold no key were made durably zero since the open.
    scrubbed: bool,
}

#[derive(Default)]
struct Index {
    known: BTreeMap<Tag, u32>,
    /// Neither free nor with a tag that can be believed: a torn write, or rot.
    nameless: Vec<u32>,
    failed: Option<String>,
}

fn offset(slot: u32) -> u64 {
    u64::from(slot) * SLOT_BYTES as u64
}

/// Whether a write found no space: nothing else is wrong then, and a later one may succeed.
fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl KeyFile {
    /// Opens the file at `path`, creating it if there is none, and locks it against other
    /// processes. It is read whole; keys are not kept in memory.
    ///
    /// # Errors
    /// Another process has it open, the storage fails, or it is no file of keys of this version.
    /// A damaged slot is no error: see [`KeyFile::get`].
    pub fn open_on(disk: &dyn Disk, path: &Path) -> Result<Self, JournalError> {
        let fail = |action| move |error| JournalError::storage(action, path.display(), error);
        let file = disk.open(path).map_err(fail("open"))?;
        let reader = File::open(path).map_err(fail("open"))?;
        match reader.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(JournalError::InUse {
                    place: path.display().to_string(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(fail("lock")(error)),
        }
        let bytes = Zeroizing::new(std::fs::read(path).map_err(fail("read"))?);
        let (index, free, slots) = survey(&bytes);
        let mut writer = Writer {
            file,
            free,
            slots,
            dirty: false,
            scrubbed: false,
        };
        if !has_header(path, &bytes, !index.known.is_empty())? {
            writer
                .file
                .write_at(0, header().as_slice())
                .map_err(fail("write"))?;
            writer.slots = writer.slots.max(1);
            if writer.slots == 1 {
                writer.grow(CHUNK_SLOTS - 1).map_err(fail("write"))?;
            }
            writer.file.sync_all().map_err(fail("sync"))?;
        }
        // Also for a name that an earlier process could not sync.
        if let Some(parent) = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
        {
            disk.sync_dir(parent)
                .map_err(|error| JournalError::storage("sync", parent.display(), error))?;
        }
        Ok(Self {
            path: path.to_path_buf(),
            reader,
            writer: Mutex::new(writer),
            index: Mutex::new(index),
        })
    }

    /// Writes a key that is not there yet. It is durable after the next [`KeyFile::sync`].
    ///
    /// # Errors
    /// The disk is full: nothing was put, and a later put may succeed. Any other: nothing is taken
    /// any more.
    pub fn put(&self, tag: &Tag, key: &[u8; 32]) -> Result<(), JournalError> {
        let mut writer = lock(&self.writer);
        if self.index_in_use()?.known.contains_key(tag) {
            let taken = io::Error::from(io::ErrorKind::AlreadyExists);
            return Err(self.error("put a key into", taken));
        }
        if writer.free.is_empty() {
            writer
                .grow(CHUNK_SLOTS)
                .map_err(|e| self.refuse("extend", e))?;
        }
        let Some(slot) = writer.free.pop() else {
            return Err(self.give_up("extend", io::ErrorKind::FileTooLarge.into()));
        };
        // Before the write: a part of it may be there.
        writer.dirty = true;
        let written = writer
            .file
            .write_at(offset(slot), encode(tag, key).as_slice());
        if let Err(error) = written {
            // Nobody waits for it to be durable: the slot may be used again at once.
            writer.free.push(slot);
            return Err(self.refuse("write", error));
        }
        lock(&self.index).known.insert(*tag, slot);
        Ok(())
    }

    /// Makes all that was put durable, in one sync; none if nothing was put since the last.
    ///
    /// # Errors
    /// The storage failed, now or before. Nobody knows what is on the disk: nothing is taken or
    /// given any more until the file has been opened again.
    pub fn sync(&self) -> Result<(), JournalError> {
        let mut writer = lock(&self.writer);
        drop(self.index_in_use()?);
        if writer.dirty {
            writer
                .file
                .sync_data()
                .map_err(|e| self.give_up("sync", e))?;
            writer.dirty = false;
        }
        Ok(())
    }

    /// The key of a tag, if it has one.
    ///
    /// # Errors
    /// [`JournalError::Corrupt`]: its slot is damaged, or one is of which nobody knows whose it
    /// was. Any other: the storage failed, now or before.
    pub fn get(&self, tag: &Tag) -> Result<Option<Key>, JournalError> {
        let index = self.index_in_use()?;
        let Some(slot) = index.known.get(tag) else {
            return match index.nameless.first() {
                None => Ok(None),
                Some(slot) => Err(self.corrupt(*slot)),
            };
        };
        let mut bytes = Zeroizing::new([0; SLOT_BYTES]);
        self.reader
            .read_exact_at(bytes.as_mut_slice(), offset(*slot))
            .map_err(|error| self.error("read", error))?;
        match decode(bytes.as_slice()) {
            Found::Live(found, key) if found == *tag => Ok(Some(key)),
            _ => Err(self.corrupt(*slot)),
        }
    }

    /// Overwrites the keys of these tags with zeros, durably, in one sync. Doing it again does
    /// nothing more. For a tag that is not there, every slot that holds no key is overwritten,
    /// once after an open: one of them may have held it.
    ///
    /// # Errors
    /// The disk is full: the keys may be damaged or still there, and it can be done again. Any
    /// other: as [`KeyFile::sync`].
    pub fn destroy(&self, tags: &[Tag]) -> Result<(), JournalError> {
        let mut writer = lock(&self.writer);
        let mut index = self.index_in_use()?;
        let mut gone: BTreeMap<_, _> = BTreeMap::new();
        let mut is_unknown = false;
        for tag in tags {
            match index.known.remove(tag) {
                Some(slot) => drop(gone.insert(*tag, slot)),
                None => is_unknown |= !gone.contains_key(tag),
            }
        }
        let scrubs = is_unknown && !writer.scrubbed;
        let used: BTreeSet<_> = match scrubs {
            true => index.known.values().copied().collect(),
            false => BTreeSet::new(),
        };
        drop(index);
        if gone.is_empty() && !scrubs {
            return Ok(());
        }
        writer.dirty = true;
        let slots = writer.slots;
        let zeroed = match scrubs {
            true => writer.zero((1..slots).filter(|slot| !used.contains(slot))),
            false => writer.zero(gone.values().copied().collect::<BTreeSet<_>>()),
        };
        if let Err(error) = zeroed {
            lock(&self.index).known.extend(gone);
            return Err(self.refuse("overwrite a key in", error));
        }
        writer
            .file
            .sync_data()
            .map_err(|e| self.give_up("sync", e))?;
        writer.dirty = false;
        writer.free.extend(gone.values());
        if scrubs {
            writer.scrubbed = true;
            let nameless = std::mem::take(&mut lock(&self.index).nameless);
            writer.free.extend(nameless);
        }
        Ok(())
    }

    /// As [`KeyFile::destroy`] of a tag that is not there: no slot without a key holds anything
    /// when it returns.
    ///
    /// # Errors
    /// As there.
    pub fn scrub(&self) -> Result<(), JournalError> {
        // No digest is zero; and if one were, it would be destroyed, not kept by mistake.
        self.destroy(&[Tag::default()])
    }

    /// The tags, in order, damaged ones among them.
    pub fn tags(&self) -> Vec<Tag> {
        lock(&self.index).known.keys().copied().collect()
    }

    /// Slots of which nobody knows whose they were.
    pub fn nameless(&self) -> usize {
        lock(&self.index).nameless.len()
    }

    /// Whether nothing is taken or given any more.
    pub fn has_failed(&self) -> bool {
        lock(&self.index).failed.is_some()
    }

    fn index_in_use(&self) -> Result<MutexGuard<'_, Index>, JournalError> {
        let index = lock(&self.index);
        match &index.failed {
            None => Ok(index),
            Some(cause) => Err(JournalError::GivenUp {
                place: self.path.display().to_string(),
                cause: cause.clone(),
            }),
        }
    }

    fn error(&self, action: &'static str, error: io::Error) -> JournalError {
        JournalError::storage(action, self.path.display(), error)
    }

    fn corrupt(&self, slot: u32) -> JournalError {
        JournalError::Corrupt {
            place: self.path.display().to_string(),
            position: offset(slot),
            reason: "the slot of a key does not match its checksum".to_owned(),
        }
    }

    /// A write failed: for lack of space that is all, else nothing is taken any more.
    fn refuse(&self, action: &'static str, error: io::Error) -> JournalError {
        if is_full(&error) {
            self.error(action, error)
        } else {
            self.give_up(action, error)
        }
    }

    fn give_up(&self, action: &'static str, error: io::Error) -> JournalError {
        let error = self.error(action, error);
        lock(&self.index).failed = Some(error.to_string());
        error
    }
}

impl Writer {
    /// Adds `count` free slots. On an error none.
    fn grow(&mut self, count: u32) -> io::Result<()> {
        let end = self.slots.checked_add(count);
        let end = end.ok_or(io::ErrorKind::FileTooLarge)?;
        self.dirty = true;
        self.file
            .write_at(offset(self.slots), &vec![0; count as usize * SLOT_BYTES])?;
        self.free.extend((self.slots..end).rev());
        self.slots = end;
        Ok(())
    }

    /// Overwrites these slots, given in order: neighbours in one write, of a chunk at most.
    fn zero(&mut self, slots: impl IntoIterator<Item = u32>) -> io::Result<()> {
        let mut run: Option<(u32, u32)> = None;
        for slot in slots {
            run = match run {
                Some((from, count)) if from + count == slot && count < CHUNK_SLOTS => {
                    Some((from, count + 1))
                }
                full => {
                    self.zero_run(full)?;
                    Some((slot, 1))
                }
            };
        }
        self.zero_run(run)
    }

    fn zero_run(&mut self, run: Option<(u32, u32)>) -> io::Result<()> {
        let Some((from, count)) = run else {
            return Ok(());
        };
        let zeros = vec![0; count as usize * SLOT_BYTES];
        self.file.write_at(offset(from), &zeros)
    }
}

/// What the slots after the header hold: the index, the free ones, how many there are.
fn survey(bytes: &[u8]) -> (Index, Vec<u32>, u32) {
    let mut index = Index::default();
    let (mut free, mut slots) = (Vec::new(), 0);
    for (number, bytes) in (0_u32..).zip(bytes.chunks(SLOT_BYTES)) {
        slots = number + 1;
        if number == 0 {
            continue;
        }
        // A length that a crash cut: what is missing counts as zeros.
        let mut slot = Zeroizing::new([0; SLOT_BYTES]);
        slot.iter_mut()
            .zip(bytes)
            .for_each(|(to, from)| *to = *from);
        match decode(slot.as_slice()) {
            Found::Free => free.push(number),
            Found::Nameless => index.nameless.push(number),
            Found::Live(tag, _) | Found::Damaged(tag) => {
                if let Some(twice) = index.known.insert(tag, number) {
                    // No put makes two of one tag. Neither is believed before the other.
                    index.nameless.push(twice);
                }
            }
        }
    }
    free.reverse();
    (index, free, slots)
}

/// Whether the file begins with a header; `false` if it may be written: the file is new, its
/// making was cut short, or other slots vouch for it.
fn has_header(path: &Path, bytes: &[u8], holds_keys: bool) -> Result<bool, JournalError> {
    let wrong = |reason: &str| {
        Err(JournalError::Corrupt {
            place: path.display().to_string(),
            position: 0,
            reason: reason.to_owned(),
        })
    };
    let found = bytes.get(..SLOT_BYTES).unwrap_or(bytes);
    let expected = header();
    if found == expected.as_slice() {
        return Ok(true);
    }
    if found.starts_with(&MAGIC) && is_whole(found) {
        return wrong("it is of another version");
    }
    let is_part = |(found, expected): (&u8, &u8)| *found == 0 || found == expected;
    if holds_keys || found.iter().zip(expected.iter()).all(is_part) {
        return Ok(false);
    }
    wrong("it is not a file of keys")
}
