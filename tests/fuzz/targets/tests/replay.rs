//! Replays what fuzzing found, without libFuzzer: every file of the corpora and every regression,
//! the seeds as the present code makes them, and mutations of all of these from a fixed sequence.

use passerelle_fuzz_targets::{Input, TARGETS, Target, seeds};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long one target's mutations may take. The replay of files has no limit.
const MUTATIONS_LAST: Duration = Duration::from_millis(600);
/// Mutations of each input at most.
const MUTATIONS: u32 = 2_000;

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

fn files(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.display().to_string(), std::fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

/// A small generator of numbers (Marsaglia's xorshift64), so that a run can be repeated.
struct Sequence(u64);

impl Sequence {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Runs the target; a panic says with which input.
fn run(target: Target, name: &str, bytes: &[u8]) {
    let outcome = std::panic::catch_unwind(|| target(bytes));
    assert!(
        outcome.is_ok(),
        "{name}, {} bytes: {bytes:02x?}",
        bytes.len()
    );
}

fn replay(name: &str, target: Target) {
    let mut inputs = files(&directory("corpus").join(name));
    assert!(!inputs.is_empty(), "`{name}` has no corpus");
    inputs.extend(files(&directory("regressions").join(name)));
    let mine = seeds::all().into_iter().filter(|(of, ..)| *of == name);
    inputs.extend(mine.map(|(_, seed, bytes)| (seed, bytes)));
    for (file, bytes) in &inputs {
        run(target, file, bytes);
    }
    let mut sequence = Sequence(0x9e37_79b9_7f4a_7c15);
    let start = Instant::now();
    for _ in 0..MUTATIONS {
        for (file, bytes) in &inputs {
            if start.elapsed() > MUTATIONS_LAST {
                return;
            }
            let mut changed = bytes.clone();
            for _ in 0..=sequence.next() % 3 {
                changed = Input::new(&sequence.next().to_be_bytes()).change(&changed);
            }
            run(target, &format!("a mutation of {file}"), &changed);
        }
    }
}

macro_rules! replayed {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            let (name, target) = TARGETS
                .iter()
                .find(|(name, _)| *name == stringify!($name))
                .expect("no such target");
            replay(name, *target);
        }
    )*

        #[test]
        fn every_target_is_replayed_and_built() {
            let names = [$(stringify!($name)),*];
            assert!(TARGETS.iter().map(|(name, _)| *name).eq(names));
            for name in names {
                let source = directory("fuzz_targets").join(format!("{name}.rs"));
                assert!(source.exists(), "{name} has no binary");
            }
        }
    };
}

replayed! {
    canonical certificate checkpoint config consent csv decide entry export frames journal keys
    mapping note notice oprf policy proof sealed statement text tiles tlog_policy
}
