//! A disk that fails on demand and forgets what was not synced.
//!
//! Files are real, and stand for the page cache. Beside each, the bytes that a power cut would
//! leave are kept: a sync copies the blocks written since the last one. A failed sync drops them
//! from that list, as Linux does: a later sync succeeds without writing them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use passerelle_journal::files::{Disk, WriteFile};

const BLOCK_BYTES: u64 = 16;

/// What one operation does instead of its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Error, nothing done; of a sync: and its blocks are lost.
    FailNotPersist,
    /// Error, but all done and durable.
    FailButPersist,
    /// So many quarters of it, then the machine is off.
    Crash(u64),
    /// So many quarters of it, then error: no space, now and for all later writes.
    Full(u64),
}

/// What is left after the machine or the process has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// kill -9: the page cache survives.
    Kill,
    /// Power cut: nothing but what was synced.
    Lose,
    /// Power cut: any of the blocks and names that were not synced, in no order.
    Random(u64),
}

#[derive(Default)]
struct Tracked {
    durable: Vec<u8>,
    named: bool,
    dirty: BTreeSet<u64>,
}

#[derive(Default)]
struct State {
    operations: usize,
    fault: Option<(usize, Fault)>,
    off: bool,
    full: bool,
    files: BTreeMap<PathBuf, Tracked>,
}

#[derive(Clone, Default)]
pub(crate) struct FaultDisk(Arc<Mutex<State>>);

impl FaultDisk {
    /// Makes operation number `operation` from now go wrong.
    pub(crate) fn arm(&self, operation: usize, fault: Fault) {
        let mut state = self.0.lock().unwrap();
        state.fault = Some((state.operations + operation, fault));
    }

    pub(crate) fn operations(&self) -> usize {
        self.0.lock().unwrap().operations
    }

    /// Ends what runs, leaves the files as `after` says, and heals the disk.
    pub(crate) fn restart(&self, after: After) {
        let mut state = self.0.lock().unwrap();
        (state.off, state.full, state.fault) = (false, false, None);
        let mut random = Random(match after {
            After::Random(seed) => seed,
            After::Kill | After::Lose => 0,
        });
        if after == After::Kill {
            return;
        }
        for (path, file) in std::mem::take(&mut state.files) {
            let lose = after == After::Lose;
            if !file.named && (lose || random.coin()) {
                std::fs::remove_file(&path).unwrap();
                continue;
            }
            let mut bytes = file.durable;
            if !lose {
                let cached = std::fs::read(&path).unwrap();
                if random.coin() {
                    bytes.resize(cached.len(), 0);
                }
                for block in file.dirty {
                    if random.coin() {
                        copy_block(&cached, &mut bytes, block);
                    }
                }
            }
            std::fs::write(&path, bytes).unwrap();
        }
    }
}

/// Small and repeatable (Knuth's linear congruential generator).
struct Random(u64);

impl Random {
    fn coin(&mut self) -> bool {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695);
        self.0 >> 63 == 1
    }
}

fn copy_block(from: &[u8], to: &mut [u8], block: u64) {
    let start = (block * BLOCK_BYTES) as usize;
    let end = (start + BLOCK_BYTES as usize).min(from.len()).min(to.len());
    if start < end {
        to[start..end].copy_from_slice(&from[start..end]);
    }
}

fn failed() -> io::Error {
    io::Error::other("injected fault")
}

impl State {
    fn begin(&mut self) -> io::Result<Option<Fault>> {
        if self.off {
            return Err(io::Error::other("the machine is off"));
        }
        let number = self.operations;
        self.operations += 1;
        Ok(self
            .fault
            .filter(|(at, _)| *at == number)
            .map(|(_, fault)| fault))
    }

    fn error(&mut self, fault: Fault) -> io::Error {
        match fault {
            Fault::Crash(_) => self.off = true,
            Fault::Full(_) => {
                self.full = true;
                return io::ErrorKind::StorageFull.into();
            }
            Fault::FailNotPersist | Fault::FailButPersist => {}
        }
        failed()
    }

    fn file(&mut self, path: &Path) -> &mut Tracked {
        self.files.get_mut(path).unwrap()
    }

    fn sync(&mut self, path: &Path, blocks: usize) {
        let cached = std::fs::read(path).unwrap();
        let file = self.file(path);
        let all = blocks >= file.dirty.len();
        for block in std::mem::take(&mut file.dirty).into_iter().take(blocks) {
            if file.durable.len() < cached.len() {
                file.durable.resize(cached.len(), 0);
            }
            copy_block(&cached, &mut file.durable, block);
        }
        if all {
            file.durable.resize(cached.len(), 0);
        }
    }
}

struct FaultFile {
    state: Arc<Mutex<State>>,
    path: PathBuf,
    file: File,
}

impl Disk for FaultDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        let mut state = self.0.lock().unwrap();
        let fault = state.begin()?;
        if fault == Some(Fault::FailNotPersist) || (state.full && !path.exists()) {
            return Err(failed());
        }
        let old = std::fs::read(path).ok();
        let named = old.is_some() || fault == Some(Fault::FailButPersist);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        state
            .files
            .entry(path.to_path_buf())
            .or_insert_with(|| Tracked {
                durable: old.unwrap_or_default(),
                named,
                dirty: BTreeSet::new(),
            });
        match fault {
            Some(fault) => Err(state.error(fault)),
            None => Ok(Box::new(FaultFile {
                state: Arc::clone(&self.0),
                path: path.to_path_buf(),
                file,
            })),
        }
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        let fault = state.begin()?;
        if matches!(fault, None | Some(Fault::FailButPersist)) {
            for (path, file) in &mut state.files {
                file.named |= path.parent() == Some(dir);
            }
        }
        fault.map_or(Ok(()), |fault| Err(state.error(fault)))
    }
}

impl WriteFile for FaultFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        let fault = state.begin()?;
        if state.full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let part = match fault {
            None | Some(Fault::FailButPersist) => bytes.len(),
            Some(Fault::FailNotPersist) => 0,
            Some(Fault::Crash(quarters) | Fault::Full(quarters)) => {
                bytes.len() * quarters as usize / 4
            }
        };
        self.file.write_all_at(&bytes[..part], offset)?;
        if part > 0 {
            let blocks = offset / BLOCK_BYTES..=(offset + part as u64 - 1) / BLOCK_BYTES;
            state.file(&self.path).dirty.extend(blocks);
        }
        if fault == Some(Fault::FailButPersist) {
            state.sync(&self.path, usize::MAX);
        }
        fault.map_or(Ok(()), |fault| Err(state.error(fault)))
    }

    fn sync_data(&mut self) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        let fault = state.begin()?;
        let blocks = state.file(&self.path).dirty.len();
        match fault {
            None | Some(Fault::FailButPersist) => state.sync(&self.path, usize::MAX),
            Some(Fault::FailNotPersist) => state.file(&self.path).dirty.clear(),
            Some(Fault::Crash(quarters) | Fault::Full(quarters)) => {
                let part = (blocks * quarters as usize / 4).min(blocks.saturating_sub(1));
                state.sync(&self.path, part);
            }
        }
        fault.map_or(Ok(()), |fault| Err(state.error(fault)))
    }

    fn sync_all(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        let fault = state.begin()?;
        if fault != Some(Fault::FailNotPersist) && fault != Some(Fault::Crash(0)) {
            self.file.set_len(len)?;
        }
        if fault == Some(Fault::FailButPersist) {
            state.sync(&self.path, usize::MAX);
        }
        fault.map_or(Ok(()), |fault| Err(state.error(fault)))
    }
}
