//! Two hundred stories, and that a seed always tells the same one.

use passerelle_simulation::{Outcome, simulate};
use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

const THREADS: usize = 2;

/// The outcomes of these seeds, by two threads of one world each.
fn simulate_all(seeds: std::ops::Range<u64>) -> Vec<(u64, Outcome)> {
    let next = AtomicU64::new(seeds.start);
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    let outcome = simulate(seed);
                    outcomes.lock().unwrap().push((seed, outcome));
                }
            });
        }
    });
    outcomes.into_inner().unwrap()
}

#[test]
fn two_hundred_seeds() {
    let outcomes = simulate_all(0..200);
    let broken: Vec<_> = outcomes
        .iter()
        .filter_map(|(seed, outcome)| Some((seed, outcome.broken.as_ref()?)))
        .collect();
    for (seed, broken) in &broken {
        println!("seed {seed}: {broken}");
    }
    assert!(
        broken.is_empty(),
        "`cargo run -p passerelle-simulation --bin soak -- --from SEED --seeds 1` tells the story"
    );
    let told = |what: &str| {
        let lines = outcomes.iter().flat_map(|(_, o)| &o.lines);
        lines.filter(|line| line.contains(what)).count()
    };
    // What never happens is not tested: each of these must be told often enough.
    for (what, least) in [
        (": released", 100),
        (": declined", 10),
        (": cannot_say", 50),
        ("asks a person", 50),
        ("Approve", 20),
        ("said renewal", 10),
        ("recalled", 20),
        ("stopped", 20),
        ("expired", 20),
        ("Deny", 100),
        ("(it was a lie)", 50),
        ("storage of", 50),
        ("PowerCut", 50),
        ("does not start", 20),
        ("has new keys", 20),
        ("is to be shut out", 10),
        ("is restored from an old copy", 10),
        ("opens the answer", 100),
        ("erases", 50),
    ] {
        let times = told(what);
        println!("{times} times: {what}");
        assert!(times >= least, "told {times} times only: {what}");
    }
}

#[test]
fn a_seed_always_tells_the_same_story() {
    for seed in [3, 1_001, 1_002] {
        let (once, again) = (simulate(seed), simulate(seed));
        let differs = once.lines.iter().zip(&again.lines).find(|(a, b)| a != b);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(once.digest, again.digest, "seed {seed}");
    }
}
