//! Where the processor's time goes, by `perf` if it is there: samples of the five processes under
//! load, each counted for the part of the work that the innermost function belongs to.

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

/// Samples a second: odd, so that it does not fall in step with a timer.
const FREQUENCY: &str = "497";

/// One function's share of all samples.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Hot {
    /// Of all processes' samples.
    pub(crate) share: f64,
    /// The process that it ran in.
    pub(crate) process: String,
    /// The part of the work.
    pub(crate) part: &'static str,
    /// Its name.
    pub(crate) function: String,
}

/// What was found.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Profile {
    /// Share of all samples by part.
    pub(crate) parts: BTreeMap<&'static str, f64>,
    /// Share of all samples by process and part.
    pub(crate) by_process: BTreeMap<String, BTreeMap<&'static str, f64>>,
    /// The functions that took most.
    pub(crate) hottest: Vec<Hot>,
}

/// Whether `perf` can sample here.
pub(crate) fn is_available() -> bool {
    let probe = Command::new("perf")
        .args(["record", "-e", "cpu-clock", "-o", "/dev/null", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    probe.is_ok_and(|status| status.success())
}

/// Samples `processes` for `span` while something else makes the load. Blocks.
pub(crate) fn sample(
    processes: &[(String, u32)],
    span: Duration,
    scratch: &Path,
) -> Result<Profile> {
    let pids: Vec<_> = processes.iter().map(|(_, pid)| pid.to_string()).collect();
    // The report names threads, which may end.
    let threads = threads(processes);
    let status = Command::new("perf")
        .args(["record", "-q", "-e", "cpu-clock", "-F", FREQUENCY, "-p"])
        .arg(pids.join(","))
        .arg("-o")
        .arg(scratch)
        .args(["--", "sleep", &span.as_secs_f64().to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    ensure!(status.success(), "perf record: {status}");
    let report = Command::new("perf")
        .args(["report", "--stdio", "-q", "--no-children", "-t", "|", "-i"])
        .arg(scratch)
        .args(["--sort", "pid,comm,dso,sym"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()?;
    ensure!(report.status.success(), "perf report: {}", report.status);
    read(&String::from_utf8_lossy(&report.stdout), &threads)
}

/// Thread ids with the names of their processes.
fn threads(processes: &[(String, u32)]) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (name, pid) in processes {
        let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
            continue;
        };
        for task in tasks.flatten() {
            let id = task.file_name().to_string_lossy().into_owned();
            all.insert(id, name.clone());
        }
    }
    all
}

fn read(report: &str, threads: &BTreeMap<String, String>) -> Result<Profile> {
    let mut found = Profile::default();
    for line in report.lines().filter(|l| l.contains('|')) {
        let mut fields = line.splitn(5, '|').map(str::trim);
        let share = fields.next().and_then(|f| f.strip_suffix('%'));
        let Some(share) = share.and_then(|f| f.parse::<f64>().ok()) else {
            continue;
        };
        let pid = fields.next().unwrap_or_default();
        let (_thread, dso) = (fields.next(), fields.next().unwrap_or_default());
        let symbol = fields.next().unwrap_or_default();
        let pid = pid.split(':').next().unwrap_or_default();
        let process = threads.get(pid).map_or("other", String::as_str).to_owned();
        let function = symbol
            .trim_start_matches("[.]")
            .trim_start_matches("[k]")
            .trim();
        let part = part_of(dso, function);
        *found.parts.entry(part).or_default() += share / 100.0;
        let of_process = found.by_process.entry(process.clone()).or_default();
        *of_process.entry(part).or_default() += share / 100.0;
        found.hottest.push(Hot {
            share: share / 100.0,
            process,
            part,
            function: function.to_owned(),
        });
    }
    ensure!(!found.parts.is_empty(), "perf gave no samples");
    let merged = merge(std::mem::take(&mut found.hottest));
    found.hottest = merged;
    Ok(found)
}

/// One line for each function and kind of process, the largest first.
fn merge(hot: Vec<Hot>) -> Vec<Hot> {
    let mut by_name: BTreeMap<(String, String), Hot> = BTreeMap::new();
    for one in hot {
        let key = (one.process.clone(), one.function.clone());
        match by_name.get_mut(&key) {
            Some(same) => same.share += one.share,
            None => drop(by_name.insert(key, one)),
        }
    }
    let mut all: Vec<_> = by_name.into_values().collect();
    all.sort_by(|a, b| b.share.total_cmp(&a.share));
    all.truncate(60);
    all
}

/// Parts of the work, by words in the name of a function, in this order.
const PARTS: &[(&str, &[&str])] = &[
    ("policy", &["cedar", "smol_str", "nonempty"]),
    ("store", &["sled", "redb", "pagecache", "crossbeam_epoch"]),
    (
        "sealing",
        &["montgomery", "chacha", "poly1305", "hpke", "x25519", "hkdf"],
    ),
    (
        "signatures",
        &[
            "ed25519",
            "edwards",
            "curve25519",
            "scalar",
            "sha512",
            "FieldElement",
        ],
    ),
    (
        "log",
        &[
            "sha256",
            "sha2::",
            "merkle",
            "crc32c",
            "passerelle_journal",
            "tlog",
            "note::",
        ],
    ),
    (
        "encoding",
        &[
            "serde",
            "json",
            "base64",
            "hex::",
            "ryu",
            "itoa",
            "canonical",
            "prost",
        ],
    ),
    (
        "wire",
        &[
            "rustls", "aws_lc", "h2::", "hyper", "tonic", "http::", "tower", "bytes::",
        ],
    ),
    (
        "scheduling",
        &[
            "tokio",
            "parking_lot",
            "futex",
            "syscall",
            "pthread",
            "std::thread",
        ],
    ),
    (
        "memory",
        &[
            "malloc",
            "free",
            "realloc",
            "calloc",
            "mem",
            "unlink_chunk",
            "alloc::",
            "hashbrown",
            "BTree",
            "btree",
            "Vec<",
        ],
    ),
];

/// Parts of the kernel's work.
const KERNEL_PARTS: &[(&str, &[&str])] = &[
    (
        "wire",
        &[
            "tcp", "inet", "ip_", "skb", "sock", "net", "unix_", "nf_", "loopback", "ep_",
        ],
    ),
    (
        "disk",
        &[
            "ext4",
            "jbd2",
            "blk",
            "bio",
            "virtio",
            "iowrite",
            "nvme",
            "sync",
            "folio",
            "filemap",
            "writeback",
            "inode",
            "dentry",
            "path",
            "submit",
            "dio_",
            "xas_",
            "do_open",
            "vfs",
        ],
    ),
    (
        "memory",
        &[
            "page", "copy", "clear_", "mm", "fault", "vma", "slab", "kmem",
        ],
    ),
];

fn part_of(dso: &str, function: &str) -> &'static str {
    let kernel = dso.contains("kernel") || dso.starts_with('[');
    let table = if kernel { KERNEL_PARTS } else { PARTS };
    let of = |words: &[&str]| words.iter().any(|word| function.contains(word));
    match table.iter().find(|(_, words)| of(words)) {
        Some((part, _)) => part,
        None if kernel => "scheduling",
        None => "other",
    }
}

/// The profile as lines of text, for a file beside the results.
pub(crate) fn text(profile: &Profile) -> Result<String> {
    use std::fmt::Write as _;
    let mut out = String::new();
    let mut parts: Vec<_> = profile.parts.iter().collect();
    parts.sort_by(|a, b| b.1.total_cmp(a.1));
    for (part, share) in parts {
        writeln!(out, "{:6.1} %  {part}", share * 100.0).context("text")?;
    }
    for hot in &profile.hottest {
        writeln!(
            out,
            "{:6.2} %  {:9} {:10} {}",
            hot.share * 100.0,
            hot.process,
            hot.part,
            hot.function
        )?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "\
 40.00%|  11:sequencer|sequencer|passerelle|[.] cedar_policy_core::evaluator::Evaluator::eval
 30.00%|  11:writer|writer|[kernel.kallsyms]|[k] ext4_sync_file
 20.00%|  12:tokio|tokio|passerelle|[.] cedar_policy_core::evaluator::Evaluator::eval
 10.00%|  99:odd|odd|passerelle|[.] something_else";

    #[test]
    fn samples_count_for_their_process_and_part() {
        let threads = [("11", "broker"), ("12", "clinic")];
        let threads = threads.map(|(id, name)| (id.to_owned(), name.to_owned()));
        let found = read(REPORT, &threads.into_iter().collect()).unwrap();
        assert!((found.parts["policy"] - 0.6).abs() < 1e-9);
        assert!((found.by_process["broker"]["disk"] - 0.3).abs() < 1e-9);
        assert!((found.by_process["other"]["other"] - 0.1).abs() < 1e-9);
        let first = found.hottest.first().unwrap();
        assert_eq!((first.process.as_str(), first.part), ("broker", "policy"));
        assert!(
            read("", &BTreeMap::new()).is_err(),
            "no samples are no profile"
        );
    }
}
