//! Our log beside Tessera's POSIX log: the same load generator (Tessera's own), the same entries,
//! the same durability (both sync before they answer), one after the other, several times in turn.
//!
//! In scope: building what Go offers, running it, entries a second by the servers' own checkpoints.
//! Out of scope: governed exchanges, for which an entry is only a part.

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use passerelle_audit::{checkpoint, keys::SigningKey, note::Signer};
use serde::Serialize;
use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::{Child, Command},
};

const VERSION: &str = "v1.0.4";
const POSIX: &str = "github.com/transparency-dev/tessera/cmd/conformance/posix";
const HAMMER: &str = "github.com/transparency-dev/tessera/internal/hammer";

/// Name of both logs.
const NAME: &str = "bench.example";
/// Of a test log: no secret.
const SEED: [u8; 32] = [42; 32];
/// Bytes of an entry, about those of ours.
const ENTRY_BYTES: usize = 1_024;
/// Requests under way: the best for each side is taken. Tessera writes 256 together, or waits a
/// second.
const WRITERS: [usize; 3] = [256, 1_024, 4_096];
/// Runs for each number of writers, in turn.
const ROUNDS: usize = 3;
const WARM_UP: Duration = Duration::from_secs(3);
const WINDOW: Duration = Duration::from_secs(10);
/// Nobody waits longer for a server to be there.
const PATIENCE: Duration = Duration::from_secs(30);

/// One load on one log.
#[derive(Debug, Serialize)]
struct Run {
    log: &'static str,
    writers: usize,
    round: usize,
    entries_per_second: f64,
}

/// What was built.
struct Tools {
    posix: PathBuf,
    hammer: PathBuf,
}

/// Measures both, prints a table, and writes it as JSON to `out`.
pub(crate) async fn compare(go: &Path, work: &Path, out: &Path) -> Result<()> {
    let work = work.join("tessera");
    std::fs::create_dir_all(&work)?;
    let work = work.canonicalize()?;
    eprintln!("tessera: building its log and its load generator");
    let tools = build(go, &work).await?;
    let signer = Signer::new(NAME, SigningKey::from_seed(&SEED))?;
    let mut runs = Vec::new();
    for round in 0..ROUNDS {
        for writers in WRITERS {
            for log in ["tessera", "passerelle"] {
                let run = one(&tools, &work, &signer, log, writers, round).await?;
                eprintln!("{log}: {writers} writers: {:.0}/s", run.entries_per_second);
                runs.push(run);
            }
        }
    }
    let text = table(&runs);
    print!("{text}");
    std::fs::create_dir_all(out)?;
    std::fs::write(out.join("tessera.txt"), &text)?;
    std::fs::write(
        out.join("tessera.json"),
        serde_json::to_string_pretty(&runs)? + "\n",
    )?;
    Ok(())
}

async fn build(go: &Path, work: &Path) -> Result<Tools> {
    for package in [POSIX, HAMMER] {
        let built = Command::new(go)
            .arg("install")
            .arg(format!("{package}@{VERSION}"))
            .env("GOBIN", work)
            .env("GOPATH", work.join("go"))
            .env("GOCACHE", work.join("go/cache"))
            .current_dir(work)
            .status()
            .await
            .with_context(|| format!("`{}` can't be run", go.display()))?;
        ensure!(built.success(), "go install {package}: {built}");
    }
    Ok(Tools {
        posix: work.join("posix"),
        hammer: work.join("hammer"),
    })
}

async fn one(
    tools: &Tools,
    work: &Path,
    signer: &Signer,
    log: &'static str,
    writers: usize,
    round: usize,
) -> Result<Run> {
    let dir = tempfile::Builder::new().prefix(log).tempdir_in(work)?;
    let address = free()?;
    let mut server = match log {
        "tessera" => start_tessera(tools, dir.path(), address, signer)?,
        _ => start_ours(dir.path(), address)?,
    };
    let began = Instant::now();
    while size(address, signer).await.is_err() {
        ensure!(began.elapsed() < PATIENCE, "{log} does not come up");
        ensure!(server.try_wait()?.is_none(), "{log} has ended");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let url = format!("http://{address}/");
    let mut hammer = Command::new(&tools.hammer)
        .args([
            format!("--log_url={url}"),
            format!("--num_writers={writers}"),
        ])
        .arg(format!("--log_public_key={}", signer.verifier_key()))
        .arg(format!("--leaf_min_size={ENTRY_BYTES}"))
        .args([
            "--show_ui=false",
            "--dup_chance=0",
            "--max_write_ops=1000000",
        ])
        .args([
            "--max_read_ops=0",
            "--num_readers_random=0",
            "--num_readers_full=0",
        ])
        // It ends by itself, whatever becomes of us.
        .arg("--max_runtime=60s")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    tokio::time::sleep(WARM_UP).await;
    let (from, began) = (size(address, signer).await?, Instant::now());
    tokio::time::sleep(WINDOW).await;
    let (until, span) = (size(address, signer).await?, began.elapsed());
    hammer.kill().await?;
    server.kill().await?;
    Ok(Run {
        log,
        writers,
        round,
        entries_per_second: until.saturating_sub(from) as f64 / span.as_secs_f64(),
    })
}

fn free() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

fn start_tessera(tools: &Tools, dir: &Path, address: SocketAddr, signer: &Signer) -> Result<Child> {
    // The form of Go's note: type and seed.
    let key = STANDARD.encode([&[1][..], &SEED].concat());
    let verifier = signer.verifier_key().to_string();
    let id = verifier.split('+').nth(1).context("a key has an id")?;
    let file = dir.join("key");
    std::fs::write(&file, format!("PRIVATE+KEY+{NAME}+{id}+{key}"))?;
    Ok(Command::new(&tools.posix)
        .arg(format!("--listen={address}"))
        .arg(format!("--private_key={}", file.display()))
        .arg(format!("--storage_dir={}", dir.join("log").display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?)
}

fn start_ours(dir: &Path, address: SocketAddr) -> Result<Child> {
    Ok(Command::new(std::env::current_exe()?)
        .arg("log-node")
        .arg(dir.join("log"))
        .arg(address.to_string())
        .kill_on_drop(true)
        .spawn()?)
}

/// Serves our log alone, as [`start_ours`] asks.
pub(crate) async fn node(dir: &Path, address: SocketAddr) -> Result<()> {
    crate::log_node::serve(dir, address, NAME, SEED).await
}

/// The size of the newest checkpoint, whose signature is checked.
async fn size(address: SocketAddr, signer: &Signer) -> Result<u64> {
    let mut stream = TcpStream::connect(address).await?;
    let request = "GET /checkpoint HTTP/1.0\r\nHost: bench.example\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    let mut reply = String::new();
    stream.take(65_536).read_to_string(&mut reply).await?;
    let (head, note) = reply.split_once("\r\n\r\n").context("no reply")?;
    ensure!(head.contains(" 200 "), "no checkpoint yet");
    let signed = checkpoint::open(note, signer.verifier_key())?;
    Ok(signed.checkpoint().size())
}

/// Medians by writers, and the ratio of each side's best.
fn table(runs: &[Run]) -> String {
    let median = |log: &str, writers: usize| {
        let of = runs.iter().filter(|r| r.log == log && r.writers == writers);
        let mut rates: Vec<f64> = of.map(|r| r.entries_per_second).collect();
        rates.sort_by(f64::total_cmp);
        rates.get(rates.len() / 2).copied().unwrap_or_default()
    };
    let mut text = format!(
        "durable entries a second, {ENTRY_BYTES} bytes each, by Tessera's own load generator \
         ({VERSION}),\nmedian of {ROUNDS} runs in turn on {} processors\n\n\
         requests under way   tessera posix   passerelle   ratio\n",
        std::thread::available_parallelism().map_or(0, std::num::NonZero::get)
    );
    let (mut best_theirs, mut best_ours) = (0.0_f64, 0.0_f64);
    for writers in WRITERS {
        let (theirs, ours) = (median("tessera", writers), median("passerelle", writers));
        best_theirs = best_theirs.max(theirs);
        best_ours = best_ours.max(ours);
        text += &format!(
            "{writers:>18}   {theirs:>13.0}   {ours:>10.0}   {:>5.2}\n",
            ours / theirs
        );
    }
    text += &format!(
        "\nbest of each: {best_theirs:.0} and {best_ours:.0}, ratio {:.2} (target 3)\n",
        best_ours / best_theirs
    );
    text
}
