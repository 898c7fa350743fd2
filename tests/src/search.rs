//! Looking for planted strings in everything that was stored or logged.
//!
//! A string may be there as it is, in other letter case, in base64 at any of three alignments, in
//! hexadecimal, with JSON or decimal escapes, and any of these inside any other: what looks
//! encoded is decoded and searched again.

use crate::raw_agency::random;
use aho_corasick::{AhoCorasick, MatchKind};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use std::path::{Path, PathBuf};

/// Length of a marker, in letters.
pub const MARKER_LETTERS: usize = 24;

/// Shortest run of letters that is taken for something encoded.
const MIN_RUN: usize = 32;

/// How deep encodings may be nested.
const MAX_DEPTH: u8 = 5;

/// A name that nobody else in the world has: a capital, then small letters.
pub fn marker() -> String {
    let letter = |byte: u8| char::from(b'a' + byte % 26);
    let letters: String = random::<MARKER_LETTERS>().into_iter().map(letter).collect();
    let mut chars = letters.chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}

/// What was planted, by what it stands for.
#[derive(Default)]
pub struct Planted(Vec<(String, String)>);

/// A planted string that was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// Where.
    pub place: PathBuf,
    /// What it stands for.
    pub what: String,
    /// In which form.
    pub form: String,
}

impl Planted {
    /// Plants a fresh marker that stands for `what`.
    pub fn plant(&mut self, what: &str) -> String {
        let marker = marker();
        self.0.push((what.to_owned(), marker.clone()));
        marker
    }

    /// The same in small letters, for codes and ids.
    pub fn plant_lower(&mut self, what: &str) -> String {
        self.plant(what).to_lowercase()
    }

    /// What was planted, by what it stands for.
    pub fn each(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(what, marker)| (what.as_str(), marker.as_str()))
    }

    /// A searcher for all that was planted so far.
    pub fn searcher(&self) -> Searcher {
        let mut needles = Vec::new();
        let mut meanings = Vec::new();
        for (what, marker) in &self.0 {
            for (form, needle) in forms(marker) {
                needles.push(needle);
                meanings.push((what.clone(), form));
            }
        }
        // Letter case is folded: it costs nothing and finds what was normalised.
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .build(&needles)
            .expect("the needles fit");
        Searcher {
            automaton,
            meanings,
        }
    }
}

fn forms(marker: &str) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    let mut add = |form: &str, text: String| all.push((form.to_owned(), text.into_bytes()));
    add("as it is", marker.to_owned());
    let joined = |sep: &str, one: &dyn Fn(u8) -> String| {
        let parts: Vec<_> = marker.bytes().map(one).collect();
        parts.join(sep)
    };
    add("json escapes", joined("", &|b| format!("\\u{b:04x}")));
    add("decimal bytes", joined(", ", &|b| b.to_string()));
    add("decimal bytes, dense", joined(",", &|b| b.to_string()));
    add("utf-16", joined("\0", &|b| char::from(b).to_string()));
    for (case, text) in [
        ("", marker.to_owned()),
        (" of small letters", marker.to_lowercase()),
        (" of capitals", marker.to_uppercase()),
    ] {
        add(&format!("hex{case}"), hex(text.as_bytes()));
        for skip in 0..3 {
            add(
                &format!("base64{case}, shifted by {skip}"),
                aligned(&text, skip),
            );
        }
    }
    all
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The characters of the base64 form that depend on `text` alone when `skip` bytes precede it.
fn aligned(text: &str, skip: usize) -> String {
    let bytes = [&vec![0; skip], text.as_bytes()].concat();
    let encoded = STANDARD_NO_PAD.encode(&bytes);
    let first = (skip * 8).div_ceil(6);
    let last = bytes.len() * 8 / 6;
    encoded[first..last].to_owned()
}

/// Finds what was planted.
pub struct Searcher {
    automaton: AhoCorasick,
    meanings: Vec<(String, String)>,
}

impl Searcher {
    /// What of it is in these bytes: what it stands for, and the form.
    pub fn bytes(&self, bytes: &[u8]) -> Vec<(String, String)> {
        let mut found = Vec::new();
        self.dig(bytes, 0, "", &mut found);
        found.sort();
        found.dedup();
        found
    }

    /// The same without decoding anything.
    pub fn undecoded(&self, bytes: &[u8]) -> Vec<(String, String)> {
        let mut found = Vec::new();
        self.dig(bytes, MAX_DEPTH, "", &mut found);
        found.sort();
        found.dedup();
        found
    }

    fn dig(&self, bytes: &[u8], depth: u8, path: &str, found: &mut Vec<(String, String)>) {
        for hit in self.automaton.find_overlapping_iter(bytes) {
            let (what, form) = &self.meanings[hit.pattern().as_usize()];
            found.push((what.clone(), format!("{path}{form}")));
        }
        if depth == MAX_DEPTH {
            return;
        }
        for run in runs(bytes) {
            let inner = format!("{path}encoded: ");
            for decoded in decodings(run) {
                self.dig(&decoded, depth + 1, &inner, found);
            }
        }
    }

    /// What of it is in these files, and in all files below these directories.
    pub fn files(&self, places: &[PathBuf]) -> anyhow::Result<(Vec<Found>, usize)> {
        let mut open = places.to_vec();
        let (mut found, mut searched) = (Vec::new(), 0);
        while let Some(place) = open.pop() {
            let name = place.as_os_str().as_encoded_bytes();
            let mut hits = self.bytes(name);
            if place.is_dir() {
                for entry in std::fs::read_dir(&place)? {
                    open.push(entry?.path());
                }
            } else if place.is_file() {
                searched += 1;
                hits.extend(self.bytes(&std::fs::read(&place)?));
            }
            found.extend(hits.into_iter().map(|(what, form)| Found {
                place: place.clone(),
                what,
                form,
            }));
        }
        Ok((found, searched))
    }
}

/// Runs of letters that base64 (of either alphabet) or hexadecimal could be.
fn runs(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_letter = |b: &u8| b.is_ascii_alphanumeric() || b"+/-_".contains(b);
    bytes
        .split(move |b| !is_letter(b))
        .filter(|run| run.len() >= MIN_RUN)
}

/// What a run may stand for. Where it begins is not known for certain: something of the same
/// alphabet may precede it.
fn decodings(run: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    if run.iter().all(u8::is_ascii_hexdigit) {
        let pair = |pair: &[u8]| {
            let text = std::str::from_utf8(pair).ok()?;
            u8::from_str_radix(text, 16).ok()
        };
        for start in 0..2 {
            all.extend(
                run[start..]
                    .chunks_exact(2)
                    .map(pair)
                    .collect::<Option<Vec<_>>>(),
            );
        }
    }
    for start in 0..4 {
        let rest = &run[start..];
        let whole = &rest[..rest.len() - usize::from(rest.len() % 4 == 1)];
        // The last letters may hold bits that a strict decoder refuses: they are cut off.
        for text in [whole, &rest[..rest.len() / 4 * 4]] {
            let decoded = STANDARD_NO_PAD
                .decode(text)
                .or_else(|_| URL_SAFE_NO_PAD.decode(text));
            if let Ok(decoded) = decoded {
                all.push(decoded);
                break;
            }
        }
    }
    all
}

/// Every file below `dir`.
pub fn files_below(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let (mut open, mut files) = (vec![dir.to_owned()], Vec::new());
    while let Some(place) = open.pop() {
        if place.is_dir() {
            for entry in std::fs::read_dir(&place)? {
                open.push(entry?.path());
            }
        } else if place.is_file() {
            files.push(place);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::STANDARD;

    fn finds(text: impl AsRef<[u8]>, searcher: &Searcher) -> bool {
        !searcher.bytes(text.as_ref()).is_empty()
    }

    #[test]
    fn a_marker_is_found_in_every_form_and_nothing_is_found_elsewhere() {
        let mut planted = Planted::default();
        let marker = planted.plant("a name");
        let searcher = planted.searcher();
        assert!(!finds("nothing here", &searcher));
        assert!(!finds(super::marker().repeat(20), &searcher));
        assert!(finds(format!("x{marker}y"), &searcher));
        assert!(finds(marker.to_lowercase(), &searcher));
        assert!(finds(marker.to_uppercase(), &searcher));
        assert!(finds(format!("{:?}", marker.as_bytes()), &searcher));
        assert!(finds(hex(marker.as_bytes()), &searcher));
        for before in 0..8 {
            let text = format!("{}{marker}, and more", "é".repeat(before));
            for text in [text.clone(), text.to_lowercase(), text.to_uppercase()] {
                let once = STANDARD.encode(&text);
                let twice = STANDARD.encode(format!("{{\"payload\":\"{once}\"}}"));
                let thrice = hex(URL_SAFE_NO_PAD.encode(&twice).as_bytes());
                assert!(finds(&once, &searcher), "{before}");
                assert!(finds(&twice, &searcher), "{before}");
                assert!(finds(format!("abc{thrice}"), &searcher), "{before}");
            }
        }
    }
}
