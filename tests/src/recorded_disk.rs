//! A disk that records every write and every flush in order, so that the image that a power cut
//! would have left can be made for any moment.
//!
//! How: a file system of one file (FUSE, answered by a thread of the test) under a loop device
//! under ext4. What ext4 believes to be a disk with a volatile cache reaches the thread as writes
//! and syncs, in order. What was written before the last sync is on the disk after a cut; of what
//! was written since, any part may be, down to the sector.

use crate::{
    file_system::{self, FileSystem},
    fuse::{self, Content},
    machine::{run, run_with, text},
};
use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};
use tempfile::TempDir;

/// What a disk writes as a whole, in bytes.
const SECTOR: usize = 512;

/// What reached the disk.
#[derive(Debug)]
enum Step {
    Write { offset: u64, data: Vec<u8> },
    Flush,
}

/// A disk that remembers. Dropping it unmounts it.
#[derive(Debug)]
pub struct RecordedDisk {
    steps: Arc<Mutex<Vec<Step>>>,
    before: PathBuf,
    node: PathBuf,
    thread: Option<JoinHandle<io::Result<()>>>,
    file_system: Option<FileSystem>,
    /// Removed last.
    own: TempDir,
}

struct Recording {
    image: File,
    size: u64,
    steps: Arc<Mutex<Vec<Step>>>,
}

impl Recording {
    fn push(&self, step: Step) {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        steps.push(step);
    }
}

impl Content for Recording {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&mut self, offset: u64, size: usize) -> io::Result<Vec<u8>> {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut data = vec![0; size.min(left)];
        self.image.read_exact_at(&mut data, offset)?;
        Ok(data)
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.image.write_all_at(data, offset)?;
        let data = data.to_vec();
        self.push(Step::Write { offset, data });
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.push(Step::Flush);
        Ok(())
    }
}

impl RecordedDisk {
    /// A disk with an empty ext4 of `bytes`, mounted in a directory of its own.
    ///
    /// # Errors
    /// The machine refuses.
    pub fn make(bytes: u64) -> anyhow::Result<Self> {
        let own = file_system::directory()?;
        let at = |name| own.path().join(name);
        let (image, before, node) = (at("image"), at("before"), at("disk"));
        file_system::make_image(&image, bytes)?;
        copy(&image, &before)?;
        File::create(&node)?;
        let kernel = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/fuse")?;
        // The kernel takes the connection from the mounting process's standard input.
        let options = "fd=0,rootmode=100000,user_id=0,group_id=0,allow_other,default_permissions";
        let words = [
            "mount",
            "-i",
            "-t",
            "fuse",
            "-o",
            options,
            "recorded",
            text(&node)?,
        ];
        run_with(&words, Some(&kernel))?;
        let steps = Arc::default();
        let mut recording = Recording {
            image: OpenOptions::new().read(true).write(true).open(&image)?,
            size: bytes,
            steps: Arc::clone(&steps),
        };
        let thread = std::thread::spawn(move || fuse::serve(&kernel, &mut recording));
        let mut disk = Self {
            steps,
            before,
            node,
            thread: Some(thread),
            file_system: None,
            own,
        };
        let mount = disk.own.path().join("mount");
        disk.file_system = Some(FileSystem::mount(&disk.node, &mount)?);
        Ok(disk)
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.own.path().join("mount")
    }

    fn with<T>(&self, look: impl FnOnce(&[Step]) -> T) -> T {
        look(&self.steps.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many writes and flushes there were so far. What was acknowledged before this was
    /// called must be there after a cut at this number or later.
    pub fn position(&self) -> usize {
        self.with(<[Step]>::len)
    }

    /// The positions just after each flush.
    pub fn flushes(&self) -> Vec<usize> {
        self.with(|steps| {
            let flushes = (1..).zip(steps);
            let flushes = flushes.filter(|(_, step)| matches!(step, Step::Flush));
            flushes.map(|(position, _)| position).collect()
        })
    }

    /// Writes to `image` what a power cut after `position` steps leaves. Of each sector that was
    /// written but not flushed, `is_there` says whether it made it.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn cut(
        &self,
        position: usize,
        image: &Path,
        mut is_there: impl FnMut() -> bool,
    ) -> anyhow::Result<()> {
        copy(&self.before, image)?;
        let file = OpenOptions::new().write(true).open(image)?;
        self.with(|steps| {
            let done = &steps[..position];
            let flushed = done.iter().rposition(|step| matches!(step, Step::Flush));
            let flushed = flushed.map_or(0, |last| last + 1);
            for (number, step) in done.iter().enumerate() {
                let Step::Write { offset, data } = step else {
                    continue;
                };
                if number < flushed {
                    file.write_all_at(data, *offset)?;
                    continue;
                }
                for (sector, at) in data.chunks(SECTOR).zip((*offset..).step_by(SECTOR)) {
                    if is_there() {
                        file.write_all_at(sector, at)?;
                    }
                }
            }
            Ok(())
        })
    }
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    run(&["cp", "--sparse=always", text(from)?, text(to)?]).map(drop)
}

/// The loop device lets go of the file a moment after it is detached.
fn unmount(node: &str) -> bool {
    (0..100).any(|_| {
        let done = run(&["umount", node]).is_ok();
        if !done {
            std::thread::sleep(Duration::from_millis(100));
        }
        done
    })
}

impl Drop for RecordedDisk {
    fn drop(&mut self) {
        self.file_system = None;
        let unmounted = text(&self.node).is_ok_and(unmount);
        if !unmounted {
            // The thread would wait for ever for the kernel's next word.
            eprintln!("`{}` stays mounted", self.node.display());
            return;
        }
        match self.thread.take().map(JoinHandle::join) {
            None | Some(Ok(Ok(()))) => {}
            Some(ended) => eprintln!("the recorded disk ended: {ended:?}"),
        }
    }
}
