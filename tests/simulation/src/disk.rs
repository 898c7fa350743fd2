//! A simulated disk below the journal, and at an agency below the file of keys.
//!
//! What a process sees is in real files of a temporary directory. What would be there after a power
//! cut is kept beside: the content as of the last sync, and the changes since. At a cut each of
//! them is kept, lost or torn, in any order, and names whose directory was not synced may vanish.
//!
//! Faults: a write that fails for lack of space after a part, a sync that fails (and, as kernels
//! do, counts the pages as clean: they are never written by a later sync), a cut in the middle of
//! an operation, rot of one bit.

use crate::rng::Rng;
use passerelle_journal::files::{Disk, OsDisk, WriteFile};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

/// Bytes that reach a disk together or not at all.
const SECTOR: usize = 512;

/// A disk, shared by the processes that follow each other on one machine.
#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<Inner>>);

/// All durable files, to be put back later.
#[derive(Clone)]
pub struct Snapshot(BTreeMap<PathBuf, Vec<u8>>);

struct Inner {
    rng: Rng,
    files: BTreeMap<PathBuf, Kept>,
    /// Writes that still find space; `None`: as many as there are.
    space: Option<u64>,
    /// The next syncs that fail.
    failing_syncs: u32,
    /// Operations until the power goes.
    until_cut: Option<u32>,
    /// The power is gone.
    cut: bool,
}

#[derive(Default)]
struct Kept {
    durable: Vec<u8>,
    name_is_durable: bool,
    pending: Vec<Change>,
}

enum Change {
    Write(u64, Vec<u8>),
    Truncate(u64),
}

impl Change {
    fn carry_out(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write(offset, bytes) => {
                let from = usize::try_from(*offset).unwrap();
                let end = from + bytes.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[from..end].copy_from_slice(bytes);
            }
            Self::Truncate(len) => content.resize(usize::try_from(*len).unwrap(), 0),
        }
    }

    /// A part of it: some sectors of a write, in any order.
    fn carry_out_torn(&self, content: &mut Vec<u8>, rng: &mut Rng) {
        let Self::Write(offset, bytes) = self else {
            return;
        };
        let mut at = usize::try_from(*offset).unwrap();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let take = (SECTOR - at % SECTOR).min(rest.len());
            let (sector, after) = rest.split_at(take);
            if rng.percent(50) {
                Self::Write(at as u64, sector.to_vec()).carry_out(content);
            }
            at += take;
            rest = after;
        }
    }
}

fn gone() -> io::Error {
    io::Error::other("the power is gone")
}

impl SimDisk {
    /// An empty disk without faults.
    pub fn new(rng: Rng) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            rng,
            files: BTreeMap::new(),
            space: None,
            failing_syncs: 0,
            until_cut: None,
            cut: false,
        })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// The disk is full after so many more writes, or has space again.
    pub fn set_space(&self, writes: Option<u64>) {
        self.inner().space = writes;
    }

    /// The next `count` syncs fail.
    pub fn fail_syncs(&self, count: u32) {
        self.inner().failing_syncs = count;
    }

    /// The power goes in the middle of the `operations`-th operation from now.
    pub fn cut_within(&self, operations: u32) {
        self.inner().until_cut = Some(operations);
    }

    /// Whether the power is to go within an operation that has not come.
    pub fn is_to_be_cut(&self) -> bool {
        self.inner().until_cut.is_some()
    }

    /// Whether the power has gone.
    pub fn is_cut(&self) -> bool {
        self.inner().cut
    }

    /// All faults that were set end; what was lost stays lost.
    pub fn heal(&self) {
        let mut inner = self.inner();
        inner.space = None;
        inner.failing_syncs = 0;
        inner.until_cut = None;
    }

    /// From here on no operation succeeds: the process has ended, whatever its destructors think.
    /// Says whether the power had gone.
    pub fn freeze(&self) -> bool {
        std::mem::replace(&mut self.inner().cut, true)
    }

    /// Another process may come.
    pub fn thaw(&self) {
        self.inner().cut = false;
    }

    /// A start failed: if the power went during it, it does what a power cut does.
    pub fn after_failure(&self) {
        if self.freeze() {
            self.power_cut();
        } else {
            self.thaw();
        }
    }

    /// Carries out what a power cut does, once no process has files open.
    pub fn power_cut(&self) {
        let mut inner = self.inner();
        let inner = &mut *inner;
        inner.cut = false;
        inner.until_cut = None;
        for (path, kept) in &mut inner.files {
            let mut content = std::mem::take(&mut kept.durable);
            for change in kept.pending.drain(..) {
                match inner.rng.below(10) {
                    0..5 => change.carry_out(&mut content),
                    5..8 => {}
                    _ => change.carry_out_torn(&mut content, &mut inner.rng),
                }
            }
            if kept.name_is_durable || inner.rng.percent(50) {
                kept.name_is_durable = true;
                fs::write(path, &content).unwrap();
                kept.durable = content;
            } else {
                let _ = fs::remove_file(path);
            }
        }
        inner.files.retain(|_, kept| kept.name_is_durable);
    }

    /// The durable content of all files, as a copy taken now would have it.
    pub fn snapshot(&self) -> Snapshot {
        let inner = self.inner();
        let files = inner.files.iter();
        Snapshot(files.map(|(p, k)| (p.clone(), k.durable.clone())).collect())
    }

    /// Puts a copy in place of all that is there. No process may have files open.
    pub fn restore(&self, snapshot: &Snapshot) {
        let mut inner = self.inner();
        inner.cut = false;
        for path in inner.files.keys() {
            let _ = fs::remove_file(path);
        }
        inner.files.clear();
        for (path, content) in &snapshot.0 {
            fs::write(path, content).unwrap();
            let kept = Kept {
                durable: content.clone(),
                name_is_durable: true,
                pending: Vec::new(),
            };
            inner.files.insert(path.clone(), kept);
        }
    }

    /// Flips one bit of a segment or of the file of keys; returns where, for [`SimDisk::unrot`].
    /// Only within what was synced: below it nothing was promised.
    pub fn rot(&self) -> Option<(PathBuf, usize, u8)> {
        let mut inner = self.inner();
        let inner = &mut *inner;
        let may_rot = |p: &&PathBuf| p.extension().is_some_and(|e| e == "seg" || e == "keys");
        let segments: Vec<_> = inner.files.keys().filter(may_rot).cloned().collect();
        if segments.is_empty() {
            return None;
        }
        let path = inner.rng.pick(&segments).clone();
        let len = inner.files[&path].durable.len() as u64;
        let at = usize::try_from(inner.rng.below(len)).unwrap();
        let bit = 1 << inner.rng.below(8);
        let rot = (len > 0).then_some((path, at, bit))?;
        flip(inner, &rot);
        Some(rot)
    }

    /// Flips the bit back.
    pub fn unrot(&self, rot: &(PathBuf, usize, u8)) {
        flip(&mut self.inner(), rot);
    }

    /// What a power cut may leave, file by file: each content that was made durable, and each
    /// write that was not.
    pub fn after_a_cut(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let inner = self.inner();
        let mut all = Vec::new();
        for (path, kept) in &inner.files {
            all.push((path.clone(), kept.durable.clone()));
            for change in &kept.pending {
                if let Change::Write(_, bytes) = change {
                    all.push((path.clone(), bytes.clone()));
                }
            }
        }
        all
    }

    /// Everything that is on the disk now, file by file.
    pub fn contents(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let paths: Vec<_> = self.inner().files.keys().cloned().collect();
        let read = |p: PathBuf| fs::read(&p).ok().map(|bytes| (p, bytes));
        paths.into_iter().filter_map(read).collect()
    }
}

fn flip(inner: &mut Inner, (path, at, bit): &(PathBuf, usize, u8)) {
    let mut bytes = fs::read(path).unwrap();
    bytes[*at] ^= bit;
    fs::write(path, &bytes).unwrap();
    if let Some(kept) = inner.files.get_mut(path) {
        kept.durable[*at] ^= bit;
    }
}

impl Inner {
    /// Counts an operation. An error: the power went before it, or goes within it.
    fn operation(&mut self) -> io::Result<bool> {
        if self.cut {
            return Err(gone());
        }
        let Some(left) = &mut self.until_cut else {
            return Ok(false);
        };
        *left = left.saturating_sub(1);
        self.cut = *left == 0;
        Ok(self.cut)
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        let mut inner = self.inner();
        if inner.operation()? {
            return Err(gone());
        }
        let is_new = !path.exists();
        let file = OsDisk.open(path)?;
        if is_new || !inner.files.contains_key(path) {
            let kept = Kept {
                durable: fs::read(path)?,
                name_is_durable: !is_new,
                pending: Vec::new(),
            };
            inner.files.insert(path.to_path_buf(), kept);
        }
        Ok(Box::new(SimFile {
            disk: self.clone(),
            path: path.to_path_buf(),
            file,
        }))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut inner = self.inner();
        if inner.operation()? {
            return Err(gone());
        }
        for (path, kept) in &mut inner.files {
            kept.name_is_durable |= path.parent() == Some(dir);
        }
        Ok(())
    }
}

struct SimFile {
    disk: SimDisk,
    path: PathBuf,
    file: Box<dyn WriteFile>,
}

impl SimFile {
    fn change(&mut self, inner: &mut Inner, change: Change) -> io::Result<()> {
        match &change {
            Change::Write(offset, bytes) => self.file.write_at(*offset, bytes)?,
            Change::Truncate(len) => self.file.truncate(*len)?,
        }
        inner
            .files
            .get_mut(&self.path)
            .unwrap()
            .pending
            .push(change);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let disk = self.disk.clone();
        let mut inner = disk.inner();
        if inner.operation()? {
            return Err(gone());
        }
        let fails = inner.failing_syncs > 0;
        inner.failing_syncs = inner.failing_syncs.saturating_sub(1);
        let kept = inner.files.get_mut(&self.path).unwrap();
        let pending = std::mem::take(&mut kept.pending);
        if fails {
            // The pages count as clean from here on, and are lost at a power cut.
            return Err(io::Error::other("the sync failed"));
        }
        for change in pending {
            change.carry_out(&mut kept.durable);
        }
        Ok(())
    }
}

impl WriteFile for SimFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let disk = self.disk.clone();
        let mut inner = disk.inner();
        let cut = inner.operation()?;
        let full = inner.space == Some(0);
        if let Some(space) = &mut inner.space {
            *space = space.saturating_sub(1);
        }
        if cut || full {
            let part = usize::try_from(inner.rng.below(bytes.len() as u64 + 1)).unwrap();
            let part = Change::Write(offset, bytes[..part].to_vec());
            self.change(&mut inner, part)?;
            return Err(if cut {
                gone()
            } else {
                io::ErrorKind::StorageFull.into()
            });
        }
        self.change(&mut inner, Change::Write(offset, bytes.to_vec()))
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.sync()
    }

    fn sync_all(&mut self) -> io::Result<()> {
        self.sync()
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        let disk = self.disk.clone();
        let mut inner = disk.inner();
        if inner.operation()? {
            return Err(gone());
        }
        self.change(&mut inner, Change::Truncate(len))
    }
}
