//! What the kernel says of a process: time on a processor, memory, bytes written.

use anyhow::{Context as _, Result};
use serde::Serialize;
use std::{fs, path::Path};

/// Ticks of `/proc/PID/stat` in a second: what the kernel shows to programs (`USER_HZ`), whatever
/// its own clock does.
const TICKS_PER_S: f64 = 100.0;

/// Memory of a process, in KiB.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Memory {
    /// Resident now.
    pub(crate) resident_kib: u64,
    /// The most that was resident.
    pub(crate) peak_kib: u64,
}

/// Seconds on a processor, in user space and in the kernel, of all threads that ever were.
pub(crate) fn cpu_s(pid: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The command's name may hold blanks and parentheses: what counts comes after its end.
    let (_, rest) = text.rsplit_once(')').context("no name in stat")?;
    let field = |n: usize| -> Result<u64> {
        let value = rest
            .split_ascii_whitespace()
            .nth(n)
            .context("a short stat")?;
        Ok(value.parse()?)
    };
    let ticks = field(11)? + field(12)?;
    Ok(ticks as f64 / TICKS_PER_S)
}

/// Seconds that all processors together were not idle, whoever used them, and a hypervisor that
/// took them away included.
pub(crate) fn busy_s() -> Result<f64> {
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().context("an empty stat")?;
    let times: Vec<u64> = line
        .split_ascii_whitespace()
        .skip(1)
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    // user, nice, system, idle, iowait, irq, softirq, steal
    let busy = [0, 1, 2, 5, 6, 7].map(|n| times.get(n).copied().unwrap_or_default());
    Ok(busy.iter().sum::<u64>() as f64 / TICKS_PER_S)
}

/// Memory of a process.
pub(crate) fn memory(pid: u32) -> Result<Memory> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let value = |name: &str| -> Result<u64> {
        let line = text.lines().find(|l| l.starts_with(name));
        let words = line.and_then(|l| l.split_ascii_whitespace().nth(1));
        Ok(words.with_context(|| format!("no `{name}`"))?.parse()?)
    };
    Ok(Memory {
        resident_kib: value("VmRSS:")?,
        peak_kib: value("VmHWM:")?,
    })
}

/// Nanoseconds that this thread has been on a processor.
pub(crate) fn thread_cpu_ns() -> Result<u64> {
    // The kernel brings the account up to date when the thread gives way, else once a tick.
    std::thread::yield_now();
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let first = text
        .split_ascii_whitespace()
        .next()
        .context("no schedstat")?;
    Ok(first.parse()?)
}

/// Bytes that the files below `dir` take on the disk (as `du` counts).
pub(crate) fn bytes_below(dir: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut sum = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        // It may be a file that is just being replaced.
        let Ok(meta) = entry.metadata() else { continue };
        sum += if meta.is_dir() {
            bytes_below(&entry.path())?
        } else {
            meta.blocks() * 512
        };
    }
    Ok(sum)
}

/// Whether `dir` is on a disk, as far as the mount table says: memory has no `fdatasync`.
pub(crate) fn is_on_disk(dir: &Path) -> Result<bool> {
    let dir = dir.canonicalize()?;
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let mut best: Option<(usize, &str)> = None;
    for line in mounts.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(_), Some(at), Some(kind)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        if dir.starts_with(at) && best.is_none_or(|(length, _)| at.len() >= length) {
            best = Some((at.len(), kind));
        }
    }
    Ok(best.is_some_and(|(_, kind)| !matches!(kind, "tmpfs" | "ramfs")))
}
