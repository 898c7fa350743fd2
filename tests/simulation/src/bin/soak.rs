//! The long run: many seeds, the failing ones with their shortest story.

use clap::Parser;
use passerelle_simulation::{OPERATIONS, ops, shrink::shrink, simulate_ops};
use std::{
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

/// Runs simulated federations from many seeds, and tells the stories that break a promise.
#[derive(Parser)]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Operations in a story.
    #[arg(long, default_value_t = OPERATIONS)]
    operations: usize,
    /// Worlds at a time.
    #[arg(long, default_value_t = 2)]
    threads: u32,
    /// Runs that shortening one story may take.
    #[arg(long, default_value_t = 300)]
    shrink: u32,
    /// Tells the story of every seed.
    #[arg(long)]
    tell: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let started = Instant::now();
    let next = AtomicU64::new(arguments.from);
    let end = arguments.from + arguments.seeds;
    let failed = Mutex::new(Vec::new());
    let done = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..arguments.threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        break;
                    }
                    let run = || simulate_ops(seed, ops::generate(seed, arguments.operations));
                    let outcome = std::panic::catch_unwind(run);
                    match &outcome {
                        Ok(outcome) => {
                            if arguments.tell {
                                println!("seed {seed}\n{}", outcome.lines.join("\n"));
                            }
                            if let Some(broken) = &outcome.broken {
                                println!("seed {seed}: {broken}");
                                failed.lock().unwrap().push(seed);
                            }
                        }
                        Err(_) => {
                            println!("seed {seed}: panicked");
                            failed.lock().unwrap().push(seed);
                        }
                    }
                    let count = done.fetch_add(1, Ordering::Relaxed) + 1;
                    if count.is_multiple_of(100) {
                        let per_seed = started.elapsed().as_secs_f64() / count as f64;
                        eprintln!("{count} seeds, {:.0} ms each", per_seed * 1_000.0);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    let ran = done.into_inner();
    println!(
        "{ran} seeds, {} failed, {:.1} s",
        failed.len(),
        started.elapsed().as_secs_f64()
    );
    for seed in failed.iter().take(3) {
        let shrunk =
            std::panic::catch_unwind(|| shrink(*seed, arguments.operations, arguments.shrink));
        match shrunk {
            Ok(Some(shrunk)) => println!("{shrunk}"),
            Ok(None) => println!("seed {seed} did not fail again"),
            Err(_) => println!("seed {seed} panics"),
        }
    }
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
