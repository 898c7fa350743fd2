//! Our log alone as a server of its own, for a load generator that knows nothing of us: `POST /add`
//! answers with the index once the entry is durable; checkpoint, tiles and bundles as C2SP
//! tlog-tiles says.
//!
//! In scope: journal, tree and checkpoints of the product under a plain listener on loopback. Out of
//! scope: statements, decisions, witnesses: what `passerelle-bench` measures otherwise.

use anyhow::{Context as _, Result};
use axum::{
    Router,
    body::Bytes,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use passerelle_audit::{
    checkpoint::Checkpoint,
    keys::SigningKey,
    merkle::leaf_hash,
    note::Signer,
    tiles::{TileKind, TilePath, encode_bundle},
};
use passerelle_journal::{
    Journal, JournalReader, JournalRecord, Options, SegmentJournal, StoredTree, files::OsDisk,
};
use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot};

/// Entries that may wait.
const QUEUE: usize = 16_384;
/// Most entries in one write.
const BATCH: usize = 4_096;
/// How old a checkpoint may be; as the other side has it.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);

type Waiting = (Vec<u8>, oneshot::Sender<u64>);

#[derive(Clone)]
struct Log {
    add: mpsc::Sender<Waiting>,
    journal: Arc<dyn JournalReader>,
    tree: Arc<RwLock<StoredTree>>,
    /// The newest checkpoint, its size, and when it was made.
    checkpoint: Arc<RwLock<(String, u64)>>,
}

/// Serves until it is ended.
pub(crate) async fn serve(
    dir: &Path,
    address: SocketAddr,
    name: &str,
    seed: [u8; 32],
) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    let signer = Signer::new(name, SigningKey::from_seed(&seed))?;
    let journal = SegmentJournal::open(&dir.join("journal"), Options::default())?;
    let reader = journal.reader();
    let tree = StoredTree::open(&dir.join("tree"), reader.clone(), Arc::new(OsDisk))?;
    let tree = Arc::new(RwLock::new(tree));
    let first = signed(&signer, &tree)?;
    let checkpoint = Arc::new(RwLock::new(first));
    let (add, waiting) = mpsc::channel(QUEUE);
    let log = Log {
        add,
        journal: reader,
        tree: tree.clone(),
        checkpoint: checkpoint.clone(),
    };
    std::thread::spawn(move || {
        if let Err(error) = write(journal, &tree, &checkpoint, &signer, waiting) {
            eprintln!("the log has ended: {error:#}");
            std::process::exit(1);
        }
    });
    let router = Router::new()
        .route("/add", post(added))
        .route("/checkpoint", get(newest))
        .route("/tile/{*path}", get(tile))
        .with_state(log);
    let listener = tokio::net::TcpListener::bind(address).await?;
    Ok(axum::serve(listener, router).await?)
}

fn signed(signer: &Signer, tree: &RwLock<StoredTree>) -> Result<(String, u64)> {
    let tree = tree.read().unwrap_or_else(PoisonError::into_inner);
    let size = tree.size();
    let checkpoint = Checkpoint::new(signer.verifier_key().name(), size, tree.root())?;
    drop(tree);
    Ok((checkpoint.sign(signer)?.note().to_string(), size))
}

/// The one writer: what waits goes into one durable write, and is answered after it.
fn write(
    mut journal: SegmentJournal,
    tree: &RwLock<StoredTree>,
    checkpoint: &RwLock<(String, u64)>,
    signer: &Signer,
    mut waiting: mpsc::Receiver<Waiting>,
) -> Result<()> {
    let mut signed_at = Instant::now();
    let mut batch: Vec<Waiting> = Vec::new();
    while let Some(first) = waiting.blocking_recv() {
        batch.push(first);
        while batch.len() < BATCH
            && let Ok(next) = waiting.try_recv()
        {
            batch.push(next);
        }
        let (records, replies): (Vec<_>, Vec<_>) = batch
            .drain(..)
            .map(|(entry, reply)| {
                let sidecar = Vec::new();
                (JournalRecord { entry, sidecar }, reply)
            })
            .unzip();
        let index = journal.append(&records)?;
        tree.write()
            .unwrap_or_else(PoisonError::into_inner)
            .append(records.iter().map(|record| leaf_hash(&record.entry)));
        for (index, reply) in (index..).zip(replies) {
            // Who asked may have gone.
            let _ = reply.send(index);
        }
        if signed_at.elapsed() >= CHECKPOINT_EVERY {
            let newest = signed(signer, tree)?;
            *checkpoint.write().unwrap_or_else(PoisonError::into_inner) = newest;
            signed_at = Instant::now();
        }
    }
    Ok(())
}

fn failed(error: impl std::fmt::Display) -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response()
}

async fn added(State(log): State<Log>, entry: Bytes) -> Response {
    let (reply, answer) = oneshot::channel();
    if log.add.send((entry.to_vec(), reply)).await.is_err() {
        return failed("the log has ended");
    }
    match answer.await {
        Ok(index) => index.to_string().into_response(),
        Err(error) => failed(error),
    }
}

async fn newest(State(log): State<Log>) -> String {
    let newest = log.checkpoint.read();
    newest.unwrap_or_else(PoisonError::into_inner).0.clone()
}

async fn tile(State(log): State<Log>, request: Request) -> Response {
    let path = request.uri().path().trim_start_matches('/').to_owned();
    let read = tokio::task::spawn_blocking(move || content(&log, &path)).await;
    match read {
        Ok(Ok(Some(content))) => content.into_response(),
        Ok(Ok(None)) => StatusCode::NOT_FOUND.into_response(),
        Ok(Err(error)) => failed(error),
        Err(error) => failed(error),
    }
}

fn content(log: &Log, path: &str) -> Result<Option<Vec<u8>>> {
    let Ok(path) = path.parse::<TilePath>() else {
        return Ok(None);
    };
    if path.kind() != TileKind::Entries {
        let tree = log.tree.read().unwrap_or_else(PoisonError::into_inner);
        return Ok(tree.tile(&path).ok());
    }
    let start = path.start().context("a bundle begins somewhere")?;
    let mut entries = Vec::new();
    for index in start..start.saturating_add(path.width().into()) {
        match log.journal.read(index)? {
            Some(record) => entries.push(record.entry),
            None => return Ok(None),
        }
    }
    let bundle = encode_bundle(entries.iter().map(Vec::as_slice));
    Ok(Some(bundle.map_err(|_| anyhow::anyhow!("too long"))?))
}
