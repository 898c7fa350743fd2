//! Makes a failing story short: operations are left out as long as the same promise is broken.

use crate::{
    Outcome,
    ops::{self, Timed},
    simulate_ops,
};

/// A failing story.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// Its seed.
    pub seed: u64,
    /// The operations that are needed.
    pub ops: Vec<Timed>,
    /// What comes of them.
    pub outcome: Outcome,
    /// How many runs it took.
    pub runs: u32,
}

/// Shrinks the story of a seed in at most `runs` runs. `None` if it does not fail.
pub fn shrink(seed: u64, count: usize, runs: u32) -> Option<Shrunk> {
    let ops = ops::generate(seed, count);
    let outcome = simulate_ops(seed, ops.clone());
    let promise = outcome.broken.as_ref()?.promise;
    let mut shrunk = Shrunk {
        seed,
        ops,
        outcome,
        runs: 1,
    };
    let mut chunk = shrunk.ops.len().div_ceil(2);
    while chunk > 0 {
        let mut at = 0;
        while at < shrunk.ops.len() && shrunk.runs < runs {
            let fewer = without(&shrunk.ops, at, chunk);
            let outcome = simulate_ops(seed, fewer.clone());
            shrunk.runs += 1;
            if outcome
                .broken
                .as_ref()
                .is_some_and(|b| b.promise == promise)
            {
                shrunk.ops = fewer;
                shrunk.outcome = outcome;
            } else {
                at += chunk;
            }
        }
        chunk /= 2;
    }
    Some(shrunk)
}

/// Without `count` operations from `at` on. What comes after happens when it happened before.
fn without(ops: &[Timed], at: usize, count: usize) -> Vec<Timed> {
    let end = (at + count).min(ops.len());
    let gone: u64 = ops[at..end].iter().map(|o| o.after_ms).sum();
    let mut left = [&ops[..at], &ops[end..]].concat();
    if let Some(next) = left.get_mut(at) {
        next.after_ms += gone;
    }
    left
}

impl std::fmt::Display for Shrunk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "seed {}: {} operations are enough",
            self.seed,
            self.ops.len()
        )?;
        for op in &self.ops {
            writeln!(f, "  {op}")?;
        }
        writeln!(f, "the story:")?;
        for line in &self.outcome.lines {
            writeln!(f, "  {line}")?;
        }
        Ok(())
    }
}
