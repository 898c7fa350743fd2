//! Changes to the files of a log: every hash of every tile, every entry of every bundle, every
//! file. They are laid over the files that are there: nothing is written.

use crate::case::Case;
use anyhow::{Context as _, Result};
use passerelle_audit::tiles::{TileKind, TilePath, new_tiles};
use passerelle_model::bytes::Bytes;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Files by their path; `None` for one that is to go.
pub(crate) type Files = BTreeMap<String, Option<Bytes>>;

/// The files that are laid over those of the directory of a case.
pub(crate) fn overlay(case: &Case) -> Result<Files, String> {
    match case.part("overlay") {
        [] => Ok(Files::new()),
        json => serde_json::from_slice(json).map_err(|error| error.to_string()),
    }
}

/// Reads a file of the log that a case is about.
pub(crate) fn read(case: &Case, overlay: &Files, path: &str) -> Result<Vec<u8>, String> {
    match overlay.get(path) {
        Some(Some(content)) => Ok(content.0.clone()),
        Some(None) => Err(format!("`{path}` is not there")),
        None => std::fs::read(Path::new(case.text("dir")?).join(path))
            .map_err(|error| format!("`{path}`: {error}")),
    }
}

/// All changes to the log that a case is about.
pub(crate) fn changes(case: &Case, size: u64) -> Result<Vec<(String, Case)>> {
    let dir = PathBuf::from(case.text("dir").map_err(anyhow::Error::msg)?);
    let paths = new_tiles(0, size);
    let mut files = BTreeMap::new();
    for path in &paths {
        files.insert(path.to_string(), std::fs::read(dir.join(path.to_string()))?);
    }
    let mut all = Vec::new();
    for path in &paths {
        let content = files.get(&path.to_string()).context("it was read")?;
        of_file(path, content, &mut all);
        for other in paths
            .iter()
            .filter(|other| other.kind() == path.kind() && *other > path)
        {
            let second = files.get(&other.to_string()).context("it was read")?;
            let swapped = [(path, second), (other, content)];
            let swapped =
                swapped.map(|(path, content)| (path.to_string(), Some(Bytes(content.clone()))));
            all.push((
                format!("files swapped: {path} and {other}"),
                Files::from(swapped),
            ));
        }
    }
    all.retain(|(_, changed)| {
        let honest = |path| files.get(path);
        changed
            .iter()
            .any(|(path, content)| honest(path) != content.as_ref().map(|c| &c.0))
    });
    let cases = all
        .into_iter()
        .map(|(change, changed)| Ok((change, case.with("overlay", serde_json::to_vec(&changed)?))));
    cases.collect()
}

fn of_file(path: &TilePath, content: &[u8], all: &mut Vec<(String, Files)>) {
    let mut put = |name: String, content: Vec<u8>| {
        let files = Files::from([(path.to_string(), Some(Bytes(content)))]);
        all.push((format!("{name}: {path}"), files));
    };
    let less = |n: usize| {
        content
            .get(..content.len().saturating_sub(n))
            .unwrap_or_default()
    };
    for n in [1, 2, 31, 32, 33, content.len() / 2, content.len()] {
        put(format!("file cut by {n}"), less(n).to_vec());
        put(
            format!("file cut before by {n}"),
            content.get(n..).unwrap_or_default().to_vec(),
        );
    }
    put("file longer by a byte".to_owned(), [content, &[0]].concat());
    put(
        "file longer by a hash".to_owned(),
        [content, &[0; 32]].concat(),
    );
    put(
        "file longer by itself".to_owned(),
        [content, content].concat(),
    );
    put("file longer before".to_owned(), [&[0], content].concat());
    put(
        "file of text".to_owned(),
        content
            .iter()
            .flat_map(|b| format!("{b:02x}").into_bytes())
            .collect(),
    );
    put("file of zeros".to_owned(), vec![0; content.len()]);
    match path.kind() {
        TileKind::Hashes(_) => of_hashes(content, &mut put),
        TileKind::Entries => of_entries(content, &mut put),
    }
    let gone = (path.to_string(), None);
    all.push((format!("file missing: {path}"), Files::from([gone.clone()])));
    for width in [path.width() - 1, path.width() + 1, 256] {
        if let Some(other) = TilePath::new(path.kind(), path.index(), width)
            && other != *path
        {
            let moved = (other.to_string(), Some(Bytes(content.to_vec())));
            let name = match other.is_partial() {
                true => "file of another width",
                false => "file named as a full one",
            };
            all.push((
                format!("{name}: {other}"),
                Files::from([gone.clone(), moved]),
            ));
        }
    }
    let upper = path.to_string().replace(".p/", ".P/");
    let moved = (upper, Some(Bytes(content.to_vec())));
    all.push((
        format!("file named in upper case: {path}"),
        Files::from([gone, moved]),
    ));
}

fn of_hashes(content: &[u8], put: &mut impl FnMut(String, Vec<u8>)) {
    let hashes: Vec<&[u8]> = content.chunks(32).collect();
    for at in 0..hashes.len() {
        let mut flipped = content.to_vec();
        if let Some(byte) = flipped.get_mut(at * 32 + at % 32) {
            *byte ^= 1 << (at % 8);
        }
        put(format!("hash bit flipped: {at}"), flipped);
    }
    for at in 1..hashes.len() {
        let mut swapped = hashes.clone();
        swapped.swap(at - 1, at);
        put(format!("hashes swapped: {at}"), swapped.concat());
    }
    let mut rotated = hashes.clone();
    rotated.rotate_left(1);
    put("hashes rotated".to_owned(), rotated.concat());
    let reversed: Vec<&[u8]> = hashes.iter().rev().copied().collect();
    put("hashes reversed".to_owned(), reversed.concat());
}

fn of_entries(content: &[u8], put: &mut impl FnMut(String, Vec<u8>)) {
    let entries = split(content);
    for at in 0..entries.len() {
        // A bit of every entry; everything else of those at the ends and of each seventh.
        let is_end = at < 8 || at + 2 >= entries.len() || at % 7 == 0;
        let most = if is_end { usize::MAX } else { 1 };
        for (name, changed) in of_entry(&entries, at).into_iter().take(most) {
            put(format!("entry {name}: {at}"), joined(&changed));
        }
    }
    let more: Vec<Vec<u8>> = entries.iter().cloned().chain([b"more".to_vec()]).collect();
    put("file longer by an entry".to_owned(), joined(&more));
    let little = |entry: &Vec<u8>| [&(entry.len() as u16).to_le_bytes()[..], entry].concat();
    put(
        "lengths in little endian".to_owned(),
        entries.iter().flat_map(little).collect(),
    );
    let wide = |entry: &Vec<u8>| [&(entry.len() as u32).to_be_bytes()[..], entry].concat();
    put(
        "lengths of 4 bytes".to_owned(),
        entries.iter().flat_map(wide).collect(),
    );
    put("lengths left out".to_owned(), entries.concat());
    put(
        "entries reversed".to_owned(),
        joined(&entries.iter().rev().cloned().collect::<Vec<_>>()),
    );
    put(
        "entries as one".to_owned(),
        joined(&[content.get(..65_535).unwrap_or(content).to_vec()]),
    );
}

fn of_entry(entries: &[Vec<u8>], at: usize) -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let mut all = Vec::new();
    let entry = entries.get(at).cloned().unwrap_or_default();
    let with = |other: Vec<u8>| {
        let mut entries = entries.to_vec();
        entries.splice(at..=at, [other]);
        entries
    };
    let mut flipped = entry.clone();
    if let Some(byte) = flipped.get_mut(at % entry.len().max(1)) {
        *byte ^= 1 << (at % 8);
    }
    all.push(("bit flipped", with(flipped)));
    all.push(("longer", with([&entry[..], &[0]].concat())));
    all.push((
        "shorter",
        with(
            entry
                .split_last()
                .map_or(Vec::new(), |(_, head)| head.to_vec()),
        ),
    ));
    all.push(("of a leaf's prefix", with([&[0], &entry[..]].concat())));
    let mut left_out = entries.to_vec();
    left_out.remove(at);
    all.push(("left out", left_out));
    let mut twice = entries.to_vec();
    twice.insert(at, entry.clone());
    all.push(("twice", twice));
    if let Some(next) = entries.get(at + 1) {
        let mut swapped = entries.to_vec();
        swapped.swap(at, at + 1);
        all.push(("swapped with the next", swapped));
        // The same bytes in all, with the border elsewhere.
        if let Some((first, rest)) = next.split_first() {
            let mut moved = entries.to_vec();
            let longer = [&entry[..], &[*first]].concat();
            moved.splice(at..=at + 1, [longer, rest.to_vec()]);
            all.push(("grown by the next's first byte", moved));
        }
    }
    all
}

/// The entries of a bundle, read by other code than the product's.
fn split(mut content: &[u8]) -> Vec<Vec<u8>> {
    let mut entries = Vec::new();
    while let [high, low, rest @ ..] = content {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (entry, after) = rest.split_at(length);
        entries.push(entry.to_vec());
        content = after;
    }
    entries
}

fn joined(entries: &[Vec<u8>]) -> Vec<u8> {
    let prefixed = |entry: &Vec<u8>| [&(entry.len() as u16).to_be_bytes()[..], entry].concat();
    entries.iter().flat_map(prefixed).collect()
}
