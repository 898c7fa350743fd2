//! A small file system of its own: an ext4 image on a loop device.

use crate::machine::{run, run_last, text};
use std::{
    fs::File,
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};
use tempfile::TempDir;

/// How the ballast grows.
const BLOCK_BYTES: usize = 16 * 1024;

/// A directory for images and mounts. Short: a Unix socket's path has room for 107 bytes.
pub(crate) fn directory() -> anyhow::Result<TempDir> {
    Ok(tempfile::Builder::new().prefix("psd").tempdir_in("/tmp")?)
}

/// A mounted ext4 image. Unmounted when dropped.
#[derive(Debug)]
pub struct FileSystem {
    mount: PathBuf,
    device: String,
    /// Removed once it is unmounted.
    own: Option<TempDir>,
}

/// Makes an empty image of this many bytes. Only root's share is reserved away: a full disk is
/// full for the tests too, which run as root.
///
/// # Errors
/// The file can't be made, or `mke2fs` is not there.
pub fn make_image(image: &Path, bytes: u64) -> anyhow::Result<()> {
    File::create(image)?.set_len(bytes)?;
    let options = ["mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", "-E"];
    // Everything is initialised now: nothing is written later that the test did not write.
    let lazy = "nodiscard,lazy_itable_init=0,lazy_journal_init=0";
    run(&[&options[..], &[lazy, "-J", "size=4", text(image)?]].concat()).map(drop)
}

/// Repairs as at start-up after a power cut.
///
/// # Errors
/// The file system is damaged beyond what its own journal mends.
pub fn check_image(image: &Path) -> anyhow::Result<()> {
    let status = std::process::Command::new("/usr/sbin/e2fsck")
        .args(["-fp", text(image)?])
        .output()?;
    // 1: mended, by replaying the journal.
    let fine = matches!(status.status.code(), Some(0 | 1));
    anyhow::ensure!(fine, "e2fsck: {status:?}");
    Ok(())
}

impl FileSystem {
    /// Makes an image of this many bytes in a directory of its own and mounts it.
    ///
    /// # Errors
    /// The machine refuses.
    pub fn make(bytes: u64) -> anyhow::Result<Self> {
        let own = directory()?;
        let image = own.path().join("image");
        make_image(&image, bytes)?;
        let mut made = Self::mount(&image, &own.path().join("mount"))?;
        made.own = Some(own);
        Ok(made)
    }

    /// Mounts an image.
    ///
    /// # Errors
    /// The machine refuses.
    pub fn mount(image: &Path, mount: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(mount)?;
        let device = run(&["losetup", "--find", "--show", text(image)?])?;
        let device = device.trim().to_owned();
        let mounted = run(&["mount", "-t", "ext4", &device, text(mount)?]);
        if let Err(error) = mounted {
            run_last(&["losetup", "--detach", &device]);
            return Err(error);
        }
        Ok(Self {
            mount: mount.to_owned(),
            device,
            own: None,
        })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mount
    }

    /// Writes a file that takes all room but about `left` bytes; its path.
    ///
    /// # Errors
    /// It can't be written for another reason than that there is no room.
    pub fn fill_up_to(&self, left: u64) -> anyhow::Result<PathBuf> {
        let ballast = self.mount.join("ballast");
        let mut file = File::create(&ballast)?;
        let mut block = vec![0; BLOCK_BYTES];
        // What was removed is free only once the file system's journal says so.
        run(&["sync", "-f", text(&self.mount)?])?;
        loop {
            let stat = rustix::fs::statvfs(&self.mount)?;
            if stat.f_bavail.saturating_mul(stat.f_frsize) <= left {
                break;
            }
            match file.write_all(&block).and_then(|()| file.sync_all()) {
                Err(error) if error.kind() == ErrorKind::StorageFull => {
                    // To the last block.
                    run(&["sync", "-f", text(&self.mount)?])?;
                    match block.len() {
                        1024 => break,
                        more => block.truncate(more / 2),
                    }
                }
                written => written?,
            }
        }
        Ok(ballast)
    }
}

impl Drop for FileSystem {
    fn drop(&mut self) {
        // A process that was killed a moment ago may hold it for a moment more.
        for _ in 0..50 {
            if let Ok(mount) = text(&self.mount)
                && run(&["umount", mount]).is_ok()
            {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        run_last(&["losetup", "--detach", &self.device]);
    }
}
