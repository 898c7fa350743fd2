//! The log as files over HTTP: C2SP tlog-tiles v0.1.0, for tools that know nothing of us.
//!
//! In scope: `/checkpoint`, `/tile/L/N[.p/W]` and `/tile/entries/N[.p/W]`; which of them a reader
//! gets; connections of those without a certificate ([`serve`]).
//! Out of scope: what a tile is ([`passerelle_audit::tiles`]); where hashes and entries come from
//! ([`Log`]: the broker's journal, or the mirror of an oversight body); who a reader is ([`Door`]);
//! entries by right for those whom they name, for whom whole bundles would say too much.
//!
//! What is served is what a quorum has cosigned, never more. A hash of an entry says nothing of it:
//! each has a random nonce. So checkpoint and hashes are for anybody, entries for oversight alone.

mod listen;
pub mod turns;

pub use listen::serve;

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use passerelle_audit::tiles::{TileKind, TilePath, encode_bundle};
use passerelle_model::error::ErrorCode;
use std::{any::Any, error::Error, sync::Arc};
use tokio::sync::Semaphore;

/// Full tiles never change. Entries are for oversight, and for no cache in between.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const NOT_KEPT: HeaderValue = HeaderValue::from_static("no-store");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// What went wrong below, for the server's own log and nobody else.
pub type Below = Box<dyn Error + Send + Sync>;

/// A log that can be read.
pub trait Log: Send + Sync + 'static {
    /// The newest checkpoint that a quorum cosigned, as its note; none yet.
    fn checkpoint(&self) -> Option<String>;

    /// The number of entries under it, 0 without one.
    fn size(&self) -> u64;

    /// The bytes of a tile of hashes. It is within [`Log::size`]. May wait for a disk.
    ///
    /// # Errors
    /// It can't be read.
    fn hashes(&self, path: &TilePath) -> Result<Vec<u8>, Below>;

    /// The entry at `index`, which is below [`Log::size`]. May wait for a disk.
    ///
    /// # Errors
    /// It can't be read.
    fn entry(&self, index: u64) -> Result<Option<Vec<u8>>, Below>;
}

/// Who comes in.
pub trait Door: Send + Sync + 'static {
    /// The right of whoever sent `request`, with a place to read.
    ///
    /// # Errors
    /// Nobody who may read, or no place.
    fn admit(&self, request: &Request) -> Result<Reader, Refused>;
}

/// Somebody who may read, with the place for it.
pub struct Reader {
    /// Whether entries are among it.
    pub reads_all: bool,
    /// Given back when it is dropped.
    pub place: Box<dyn Any + Send>,
}

/// Why nothing is served: the status, and the code that is the body.
#[derive(Debug)]
pub struct Refused(pub StatusCode, pub ErrorCode);

impl Refused {
    const NOT_FOUND: Self = Self(StatusCode::NOT_FOUND, ErrorCode::OutOfRange);
    const INTERNAL: Self = Self(StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Internal);
    /// All places are taken.
    pub const BUSY: Self = Self(StatusCode::TOO_MANY_REQUESTS, ErrorCode::RateLimited);
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let head = [
            (header::CONTENT_TYPE, TEXT),
            (header::CACHE_CONTROL, NOT_KEPT),
        ];
        (self.0, head, format!("{}\n", self.1.code())).into_response()
    }
}

/// A door that lets in whoever stands before it, so many at a time.
#[derive(Debug)]
pub struct Anybody {
    places: Arc<Semaphore>,
    reads_all: bool,
}

impl Anybody {
    /// For checkpoint and hashes.
    pub fn for_hashes(reads: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(reads)),
            reads_all: false,
        }
    }

    /// For entries too: where nobody can come who may not read all, such as behind a socket that
    /// the file system guards.
    pub fn for_all(reads: usize) -> Self {
        Self {
            reads_all: true,
            ..Self::for_hashes(reads)
        }
    }
}

impl Door for Anybody {
    fn admit(&self, _: &Request) -> Result<Reader, Refused> {
        let place = self.places.clone().try_acquire_owned();
        Ok(Reader {
            reads_all: self.reads_all,
            place: Box::new(place.map_err(|_| Refused::BUSY)?),
        })
    }
}

/// What is served to whom.
#[derive(Clone)]
struct Tiles {
    log: Arc<dyn Log>,
    door: Arc<dyn Door>,
}

/// The files of `log`, for those whom `door` lets in.
pub fn router(log: Arc<dyn Log>, door: Arc<dyn Door>) -> Router {
    Router::new()
        .route("/checkpoint", get(checkpoint))
        .route("/tile/{*path}", get(tile))
        .with_state(Tiles { log, door })
}

async fn checkpoint(State(tiles): State<Tiles>, request: Request) -> Result<Response, Refused> {
    tiles.door.admit(&request)?;
    let note = tiles.log.checkpoint().ok_or(Refused(
        StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::NoQuorum,
    ))?;
    let head = [
        (header::CONTENT_TYPE, TEXT),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    Ok((head, note).into_response())
}

async fn tile(State(tiles): State<Tiles>, request: Request) -> Result<Response, Refused> {
    let reader = tiles.door.admit(&request)?;
    let path = request.uri().path().strip_prefix('/').unwrap_or_default();
    let path: TilePath = path.parse().map_err(|_| Refused::NOT_FOUND)?;
    if path.kind() == TileKind::Entries && !reader.reads_all {
        return Err(Refused(StatusCode::FORBIDDEN, ErrorCode::NotAParty));
    }
    if !is_within(&path, tiles.log.size()) {
        return Err(Refused::NOT_FOUND);
    }
    let place = reader.place;
    let read = tokio::task::spawn_blocking(move || {
        let content = content(tiles.log.as_ref(), &path);
        drop(place);
        content
    });
    let content = read.await.map_err(|_| Refused::INTERNAL)?;
    let content = content.map_err(|error| {
        // The refusal does not say why.
        tracing::error!(%error, %path, "a tile can't be had");
        Refused::INTERNAL
    })?;
    let is_for_all = path.kind() != TileKind::Entries;
    let kept = match !path.is_partial() && is_for_all {
        true => FOR_EVER,
        false => NOT_KEPT,
    };
    let head = [(header::CONTENT_TYPE, BYTES), (header::CACHE_CONTROL, kept)];
    Ok((head, content).into_response())
}

/// Whether a tree of `size` leaves has this tile.
fn is_within(path: &TilePath, size: u64) -> bool {
    let units = match path.kind() {
        TileKind::Entries => size,
        TileKind::Hashes(level) => size.checked_shr(8 * u32::from(level)).unwrap_or(0),
    };
    let end = path
        .start()
        .and_then(|s| s.checked_add(path.width().into()));
    end.is_some_and(|end| end <= units)
}

fn content(log: &dyn Log, path: &TilePath) -> Result<Vec<u8>, Below> {
    if path.kind() != TileKind::Entries {
        return log.hashes(path);
    }
    let start = path.start().ok_or("the tile is beyond every log")?;
    let mut entries = Vec::with_capacity(path.width().into());
    for index in start..start.saturating_add(path.width().into()) {
        let entry = log.entry(index)?;
        entries.push(entry.ok_or_else(|| format!("entry {index} is missing"))?);
    }
    Ok(encode_bundle(entries.iter().map(Vec::as_slice))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tile_is_within_what_is_published_or_not_at_all() {
        let within = |path: &str, size| is_within(&path.parse().unwrap(), size);
        assert!(within("tile/0/000", 256) && !within("tile/0/000", 255));
        assert!(within("tile/0/000.p/255", 255) && !within("tile/0/000.p/255", 254));
        assert!(within("tile/entries/001.p/1", 257) && !within("tile/entries/001.p/1", 256));
        assert!(within("tile/1/000.p/1", 256) && !within("tile/1/000.p/2", 511));
        assert!(!within("tile/8/000.p/1", u64::MAX));
    }
}
