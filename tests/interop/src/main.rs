//! The log beside the tools of others: Go's `golang.org/x/mod/sumdb/note` and `tlog`, the formats
//! of transparency-dev, and Tessera's fsck and POSIX driver. Each side must accept what the other
//! makes, and refuse each of thousands of systematic corruptions of it.
//!
//! In scope: keys, checkpoints, cosignatures, inclusion, consistency and offline proofs, tiles,
//! bundles, the witness protocol; the log that the product's code grows, that of a real
//! federation, and one of Tessera's. Both sides judge everything; whatever is changed and still
//! accepted has a reason that is proven, or the run fails.
//! Out of scope: speed; what entries say (see `passerelle-audit verify`).

mod case;
mod explain;
mod export;
mod files;
mod go;
mod ground;
mod numbers;
mod ours;
mod real;
mod run;
mod signed;
mod texts;
mod witnesses;

use anyhow::{Context as _, Result};
use clap::Parser;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  cargo build -p passerelle
  cargo run -p passerelle-interop -- --go \"$(deploy/go.sh)\"
  cargo run -p passerelle-interop -- --spoil      shows that it can fail";

/// Lets Go's transparency libraries and Passerelle judge each other's logs, whole and corrupted.
#[derive(Parser, Debug)]
#[command(name = "passerelle-interop", version, after_help = EXAMPLES)]
struct Args {
    /// The program `go`, 1.21 or newer
    #[arg(long, default_value = "go")]
    go: PathBuf,
    /// The program to test; without: the one beside this program
    #[arg(long)]
    exe: Option<PathBuf>,
    /// Where Go's modules and the logs go
    #[arg(long, default_value = "target/interop")]
    work: PathBuf,
    /// Change one bit of one entry of each log before it is judged: the run must fail
    #[arg(long)]
    spoil: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let exe = match args.exe {
        Some(exe) => exe,
        None => std::env::current_exe()?.with_file_name("passerelle"),
    };
    let sources = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("go");
    std::fs::create_dir_all(&args.work)?;
    let work = std::path::absolute(&args.work)?;
    let go = go::Go::build(&args.go, &sources, &work)?;
    let logs = tempfile::Builder::new().prefix("logs").tempdir_in(&work)?;
    let story = real::Story::start(&exe)?;
    let ours = ground::grow_ours(&logs.path().join("ours"))?;
    let (theirs, asked) = ground::grow_theirs(&go, &logs.path().join("theirs"))?;
    let real = story
        .log(&logs.path().join("real"))
        .context("the demonstration's log")?;
    let ground = run::Ground {
        go,
        logs: vec![ours, real.log, theirs],
        asked,
        export: real.export,
    };
    if args.spoil {
        ground.spoil()?;
    }
    run::run(&ground)
}
