//! A clock that goes wrong: the library of Debian's `faketime` in front of a process's own.
//!
//! Only the time of day is false. The steady clock, by which the process waits, stays right, as
//! it does when somebody sets a machine's clock.

use crate::surroundings::Surroundings;
use anyhow::Context as _;
use std::path::{Path, PathBuf};

/// A clock that can be set while a process runs by it.
#[derive(Debug)]
pub struct FalseClock {
    library: PathBuf,
    file: PathBuf,
}

impl FalseClock {
    /// A clock that is right as yet; its setting is kept in `file`.
    ///
    /// # Errors
    /// `faketime` is not installed.
    pub fn at(file: &Path) -> anyhow::Result<Self> {
        let clock = Self {
            library: library().context("no libfaketime; install `faketime`")?,
            file: file.to_owned(),
        };
        clock.set(0)?;
        Ok(clock)
    }

    /// Sets it to so many seconds after the right time; before it, if negative.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn set(&self, ahead_s: i64) -> anyhow::Result<()> {
        // As one: it is read at any moment.
        let new = self.file.with_extension("new");
        std::fs::write(&new, format!("{ahead_s:+}\n"))?;
        Ok(std::fs::rename(new, &self.file)?)
    }

    /// What a process runs in to go by it.
    pub fn around(&self) -> Surroundings {
        Surroundings::default()
            .with("LD_PRELOAD", &self.library)
            .with("FAKETIME_TIMESTAMP_FILE", &self.file)
            .with("FAKETIME_NO_CACHE", "1")
            .with("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .with("NO_FAKE_STAT", "1")
    }
}

/// The library for this machine's kind.
fn library() -> Option<PathBuf> {
    let kinds = std::fs::read_dir("/usr/lib").ok()?.flatten();
    let paths = kinds.map(|kind| kind.path().join("faketime/libfaketimeMT.so.1"));
    paths.into_iter().find(|path| path.exists())
}
