//! What storage costs as it grows: time per batch, time to start, memory.
//!
//! `cargo bench -p passerelle-journal --bench storage -- run DIR [ENTRIES]` fills DIR to 10,000,
//! 100,000 ... ENTRIES (1,000,000 if not given) entries of about 1 KB, each with four rows of
//! 40 to 300 bytes, killing itself at each point, and starts again in a new process. Without
//! arguments it does so for 20,000 entries in a temporary directory.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark: what fails ends it"
)]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use passerelle_audit::merkle::leaf_hash;
use passerelle_journal::files::OsDisk;
use passerelle_journal::{Journal, JournalRecord, Options, Projection, SegmentJournal, StoredTree};
use passerelle_model::store::{Read, Write};

const BATCH: u64 = 64;
/// Batches of one entry that are timed at each point.
const SINGLE: usize = 500;

fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.skip(4).flatten().take(bytes).collect()
}

fn record(n: u64) -> JournalRecord {
    JournalRecord {
        entry: noise(n, 700),
        sidecar: noise(n + 1, 300),
    }
}

/// A row at a random place, two in groups, one in order.
fn rows(n: u64) -> Vec<Write> {
    let key = |kind: &str, of: u64, tail: &[u8]| [kind.as_bytes(), &noise(of, 32), tail].concat();
    let number = n.to_be_bytes();
    vec![
        (key("consent/", n, &[]), Some(noise(n, 300))),
        (key("subject/", n / 4, &number), Some(noise(n, 40))),
        (key("request/", n / 3, &[]), Some(noise(n, 200))),
        ([b"inbox/", number.as_slice()].concat(), Some(noise(n, 100))),
    ]
}

struct Node {
    journal: SegmentJournal,
    projection: Projection,
    tree: StoredTree,
}

impl Node {
    fn open(dir: &Path) -> Self {
        let journal = SegmentJournal::open(&dir.join("journal"), Options::default()).unwrap();
        let projection = Projection::open(&dir.join("projection"), 1, journal.len()).unwrap();
        let tree = StoredTree::open(&dir.join("tree"), journal.reader(), Arc::new(OsDisk)).unwrap();
        let mut node = Self {
            journal,
            projection,
            tree,
        };
        while node.projection.watermark() < node.journal.len() {
            let from = node.projection.watermark();
            let to = (from + 4_096).min(node.journal.len());
            node.apply(from, to);
        }
        node
    }

    fn apply(&mut self, from: u64, to: u64) {
        let writes = (from..to).flat_map(rows).collect();
        self.projection.commit(writes, to).unwrap();
    }

    /// One batch; gives the times with and without the journal's own.
    fn append(&mut self, count: u64) -> [Duration; 2] {
        let from = self.journal.len();
        let batch: Vec<_> = (from..from + count).map(record).collect();
        let writes = (from..from + count).flat_map(rows).collect();
        let start = Instant::now();
        self.journal.append(&batch).unwrap();
        let appended = start.elapsed();
        let leaves = batch.iter().map(|record| leaf_hash(&record.entry));
        self.tree.append(leaves);
        self.projection.commit(writes, from + count).unwrap();
        let all = start.elapsed();
        [all, all - appended]
    }
}

fn rss_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        / 1024
}

fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |part: usize| times[(times.len() - 1) * part / 1000].as_micros();
    format!("p50 {} p99 {} p99.9 {} us", at(500), at(990), at(999))
}

fn fill(dir: &Path, entries: u64) {
    let mut node = Node::open(dir);
    let (mut all, mut beside) = (vec![], vec![]);
    while node.journal.len() + SINGLE as u64 <= entries.saturating_sub(BATCH) {
        let [time, without] = node.append(BATCH);
        all.push(time);
        beside.push(without);
    }
    println!("{entries:>9} batches of {BATCH}, all: {}", percentiles(all));
    println!("{:>9} without the journal: {}", "", percentiles(beside));
    let single: Vec<_> = (0..SINGLE).map(|_| node.append(1)).collect();
    let part = |part: usize| percentiles(single.iter().map(|times| times[part]).collect());
    println!("{:>9} batches of 1, all: {}", "", part(0));
    println!("{:>9} without the journal: {}", "", part(1));
    node.append(entries - node.journal.len());
    let of = |n: u64| {
        noise(n, 8)
            .iter()
            .fold(0, |sum, b| sum * 251 + u64::from(*b))
            % entries
    };
    let read = (0..2_000).map(|n| {
        let key = &rows(of(n))[(n % 4) as usize].0;
        let start = Instant::now();
        node.projection.get(key).unwrap().unwrap();
        start.elapsed()
    });
    println!("{:>9} row read: {}", "", percentiles(read.collect()));
    let proof = (0..2_000).map(|n| {
        let start = Instant::now();
        node.tree.inclusion_proof(of(n), entries).unwrap();
        start.elapsed()
    });
    println!(
        "{:>9} inclusion proof: {}",
        "",
        percentiles(proof.collect())
    );
    println!("{:>9} memory after it: {} MiB", "", rss_mib());
    // As kill -9: nothing is closed.
    std::process::abort();
}

fn start(dir: &Path, how: &str) {
    let start = Instant::now();
    let node = Node::open(dir);
    let entries = node.journal.len();
    println!(
        "{entries:>9} start after {how}: {} ms, memory {} MiB",
        start.elapsed().as_millis(),
        rss_mib()
    );
    assert_eq!(
        (node.tree.size(), node.projection.watermark()),
        (entries, entries)
    );
    let start = Instant::now();
    node.projection.check().unwrap();
    println!(
        "{:>9} all rows checked in {} ms, memory {} MiB",
        "",
        start.elapsed().as_millis(),
        rss_mib()
    );
}

fn run(dir: &Path, entries: u64) {
    let me = std::env::current_exe().unwrap();
    let step = |arguments: &[&str]| {
        let mut command = Command::new(&me);
        command.args(&arguments[..1]).arg(dir).args(&arguments[1..]);
        command.status().unwrap();
    };
    for point in [10_000, 100_000, 1_000_000, 10_000_000, entries] {
        if point <= entries {
            step(&["fill", &point.to_string()]);
            step(&["start", "a kill"]);
            step(&["start", "an end in order"]);
        }
        if point >= entries {
            break;
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().filter(|a| a != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().skip(1).map(String::as_str).collect();
    match arguments.as_slice() {
        ["fill", dir, entries] => fill(Path::new(dir), entries.parse().unwrap()),
        ["start", dir, how] => start(Path::new(dir), how),
        ["run", dir] => run(Path::new(dir), 1_000_000),
        ["run", dir, entries] => run(Path::new(dir), entries.parse().unwrap()),
        _ => run(tempfile::tempdir().unwrap().path(), 20_000),
    }
}
