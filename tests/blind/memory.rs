//! A process's memory, as its parent may read it.

use anyhow::{Context as _, Result};
use passerelle_tests::search::Searcher;
use std::{
    fs::File,
    io::{ErrorKind, Read as _, Seek as _, SeekFrom},
};

/// Most bytes that are read at once.
const STEP: usize = 4 << 20;

/// Bytes that a step repeats of the one before, longer than any form of a planted string.
const OVERLAP: usize = 512;

/// What of the planted strings a process holds in memory that it may write to; `None` where the
/// system forbids a parent to look.
pub(crate) fn held(pid: u32, searcher: &Searcher) -> Result<Option<Vec<(String, String)>>> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let mut memory = match File::open(format!("/proc/{pid}/mem")) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(None),
        opened => opened?,
    };
    let (mut found, mut searched) = (Vec::new(), 0);
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (from, to) = range(line).context("a line of maps")?;
        searched += search(&mut memory, from, to, searcher, &mut found);
    }
    anyhow::ensure!(searched > 1 << 20, "only {searched} bytes could be read");
    found.sort();
    found.dedup();
    Ok(Some(found))
}

fn range(line: &str) -> Option<(u64, u64)> {
    let (from, to) = line.split_whitespace().next()?.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    Some((number(from)?, number(to)?))
}

/// Bytes that could be read: a mapping may be a guard, or gone by now.
fn search(
    memory: &mut File,
    from: u64,
    to: u64,
    searcher: &Searcher,
    found: &mut Vec<(String, String)>,
) -> usize {
    let mut bytes = vec![0; STEP];
    let (mut at, mut searched) = (from, 0);
    while at < to {
        let want = usize::try_from(to - at).map_or(STEP, |left| left.min(STEP));
        let read = memory
            .seek(SeekFrom::Start(at))
            .and_then(|_| memory.read(&mut bytes[..want]));
        let Ok(read) = read else { break };
        found.extend(searcher.undecoded(&bytes[..read]));
        searched += read;
        if read <= OVERLAP || at + read as u64 >= to {
            break;
        }
        at += (read - OVERLAP) as u64;
    }
    searched
}
