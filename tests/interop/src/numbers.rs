//! Changes to proofs beside their roots, which travel as values: every hash, every size, every
//! index, the entry.

use crate::case::{Case, Kind};

/// All changes to an inclusion or consistency proof.
pub(crate) fn changes(case: &Case) -> Vec<(String, Case)> {
    let (numbers, roots): (&[&'static str], &[&'static str]) = match case.kind {
        Kind::Inclusion => (&["index", "size"], &["root"]),
        Kind::Consistency => (&["old_size", "new_size"], &["old_root", "new_root"]),
        _ => return Vec::new(),
    };
    let mut all = Vec::new();
    for part in numbers {
        number(case, part, &mut all);
    }
    for part in roots {
        root(case, part, &mut all);
    }
    hashes(case, &mut all);
    if case.kind == Kind::Inclusion {
        entry(case, &mut all);
    } else {
        let (old, new) = (
            case.part("old_root").to_vec(),
            case.part("new_root").to_vec(),
        );
        let swapped = case.with("old_root", new).with("new_root", old);
        all.push(("roots swapped".to_owned(), swapped));
        let (old, new) = (
            case.part("old_size").to_vec(),
            case.part("new_size").to_vec(),
        );
        let swapped = case.with("old_size", new).with("new_size", old);
        all.push(("sizes swapped".to_owned(), swapped));
    }
    all.retain(|(_, changed)| changed.parts != case.parts);
    all
}

fn number(case: &Case, part: &'static str, all: &mut Vec<(String, Case)>) {
    let value = case.number(part).unwrap_or(0);
    let bits = (0..64).map(|bit| value ^ (1 << bit));
    let near = [1, 2, 255, 256, 257].into_iter();
    let near = near.flat_map(|n| [value.wrapping_add(n), value.wrapping_sub(n)]);
    let mut others: Vec<u64> = bits.chain(near).chain([0, 1, u64::MAX, 1 << 63]).collect();
    others.extend([value.wrapping_mul(2), value / 2]);
    others.sort_unstable();
    others.dedup();
    for other in others {
        let changed = case.with(part, other.to_string());
        all.push((format!("{part} changed: to {other}"), changed));
    }
}

fn root(case: &Case, part: &'static str, all: &mut Vec<(String, Case)>) {
    let root = case.part(part);
    for at in 0..root.len() {
        let changed = case.with(part, flipped(root, at));
        all.push((format!("{part} bit flipped: byte {at}"), changed));
    }
    for (name, other) in [
        ("zeros", vec![0; 32]),
        ("short", root.get(1..).unwrap_or_default().to_vec()),
        ("long", [root, &[0]].concat()),
        ("missing", Vec::new()),
    ] {
        all.push((format!("{part} {name}"), case.with(part, other)));
    }
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << (at % 8);
    }
    bytes
}

fn hashes(case: &Case, all: &mut Vec<(String, Case)>) {
    let plain = case.part("hashes");
    let list: Vec<&[u8]> = plain.chunks(32).collect();
    let mut change = |name: String, hashes: Vec<u8>| {
        all.push((name, case.with("hashes", hashes)));
    };
    for at in 0..list.len() {
        let mut left_out = list.clone();
        let hash = left_out.remove(at);
        change(format!("hash left out: {at}"), left_out.concat());
        let mut twice = list.clone();
        twice.insert(at, hash);
        change(format!("hash twice: {at}"), twice.concat());
        let mut zeros = list.clone();
        zeros.splice(at..=at, [&[0; 32][..]]);
        change(format!("hash of zeros: {at}"), zeros.concat());
        for byte in [0, 15, 31] {
            change(
                format!("hash bit flipped: {at}, byte {byte}"),
                flipped(plain, at * 32 + byte),
            );
        }
        for other in at + 1..list.len() {
            let mut swapped = list.clone();
            swapped.swap(at, other);
            change(
                format!("hashes swapped: {at} and {other}"),
                swapped.concat(),
            );
        }
    }
    let root = ["root", "new_root"].iter().map(|part| case.part(part));
    let root: Vec<u8> = root.flatten().copied().collect();
    change(
        "hash more: zeros after".to_owned(),
        [plain, &[0; 32]].concat(),
    );
    change(
        "hash more: zeros before".to_owned(),
        [&[0; 32], plain].concat(),
    );
    change(
        "hash more: the root after".to_owned(),
        [plain, &root].concat(),
    );
    change(
        "hash more: the root before".to_owned(),
        [&root, plain].concat(),
    );
    change(
        "hashes more: 64 of them".to_owned(),
        [plain, &[7; 64 * 32]].concat(),
    );
    change("hashes missing".to_owned(), Vec::new());
    change(
        "hashes reversed".to_owned(),
        list.iter().rev().copied().flatten().copied().collect(),
    );
    change(
        "hash cut off".to_owned(),
        plain.get(1..).unwrap_or_default().to_vec(),
    );
}

fn entry(case: &Case, all: &mut Vec<(String, Case)>) {
    let entry = case.part("entry");
    let mut change = |name: String, entry: Vec<u8>| all.push((name, case.with("entry", entry)));
    for at in 0..entry.len().min(64) {
        change(format!("entry bit flipped: byte {at}"), flipped(entry, at));
        change(
            format!("entry cut off: byte {at}"),
            entry.get(..at).unwrap_or_default().to_vec(),
        );
    }
    change("entry longer: NUL".to_owned(), [entry, &[0]].concat());
    change("entry longer: line end".to_owned(), [entry, b"\n"].concat());
    change(
        "entry longer: space before".to_owned(),
        [b" ", entry].concat(),
    );
    change(
        "entry longer: its prefix".to_owned(),
        [&[0], entry].concat(),
    );
    change(
        "entry longer: its length".to_owned(),
        [&[0, 15], entry].concat(),
    );
    // A node passed off as an entry: what the prefixes of RFC 6962 are for.
    let first = case.part("hashes").get(..32).unwrap_or_default();
    change("node for an entry".to_owned(), [first, first].concat());
    change(
        "node for an entry: with its prefix".to_owned(),
        [&[1], first, first].concat(),
    );
    let root = case.part("root").to_vec();
    change("root for an entry".to_owned(), root);
}
