//! To measure by hand:
//! `cargo test --release -p passerelle-model canonical -- --ignored --nocapture`

use super::{samples, *};
use std::{hint::black_box, time::Instant};

const ROUNDS: u32 = 100_000;

fn nanoseconds(name: &str, mut work: impl FnMut()) {
    for _ in 0..ROUNDS / 10 {
        work();
    }
    let begun = Instant::now();
    for _ in 0..ROUNDS {
        work();
    }
    let each = begun.elapsed().as_nanos() / u128::from(ROUNDS);
    eprintln!("{name:<40} {each:>8} ns");
}

/// Beside the tree of `serde_json` and the implementation over it, which came before.
fn compare<T: Serialize + DeserializeOwned>(name: &str, value: &T) {
    let bytes = to_vec(value).unwrap();
    eprintln!("{name}: {} bytes", bytes.len());
    nanoseconds("  to_vec", || {
        black_box(to_vec(black_box(value)).unwrap());
    });
    nanoseconds("  to_vec, over a tree", || {
        black_box(reference(black_box(value)));
    });
    nanoseconds("  from_slice", || {
        black_box(from_slice::<T>(black_box(&bytes)).unwrap());
    });
    nanoseconds("  from_slice, over a tree", || {
        let read: T = serde_json::from_slice(black_box(&bytes)).unwrap();
        assert_eq!(reference(&read), bytes);
    });
    nanoseconds("  serde_json::from_slice alone", || {
        black_box(serde_json::from_slice::<T>(black_box(&bytes)).unwrap());
    });
}

#[test]
#[ignore = "a measurement, worth something in release only"]
fn statements_and_entries_are_written_and_read_fast() {
    let statement = samples::request_statement();
    compare("request statement", &statement);
    compare("its `said` entry", &samples::said(&statement));
}
