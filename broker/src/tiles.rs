//! The log as files over HTTP: C2SP tlog-tiles v0.1.0, for tools that know nothing of us.
//!
//! In scope: `/checkpoint`, `/tile/L/N[.p/W]` and `/tile/entries/N[.p/W]`; who may have which; the
//! plain listener for those without a certificate.
//! Out of scope: what a tile is ([`passerelle_audit::tiles`]); entries by right for those whom they
//! name (the `LogRead` service), for whom whole bundles would say too much.
//!
//! What is served is what a quorum has cosigned, never more. A hash of an entry says nothing of it:
//! each has a random nonce. So checkpoint and hashes are for anybody, entries for oversight alone.

use crate::{
    acceptor::Peer,
    error::BrokerError,
    ledger::View,
    services::{Shared, reads_all},
    turns::Turns,
};
use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use passerelle_audit::{
    merkle::MerkleError,
    tiles::{TileKind, TilePath, encode_bundle},
};
use passerelle_model::error::ErrorCode;
use std::{any::Any, sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// Connections of those without a certificate. When all are taken, the oldest gives way.
const CONNECTIONS: usize = 64;

/// For how long a connection is safe from those who wait.
const GRACE: Duration = Duration::from_secs(10);

/// How long a connection may last, and the head of a request take.
const LIFETIME: Duration = Duration::from_secs(300);
const HEAD: Duration = Duration::from_secs(10);

/// Reads for those without a certificate that may be under way.
const PUBLIC_READS: usize = 8;

/// How long to wait after the system refused a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Full tiles never change. Entries are for oversight, and for no cache in between.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const NOT_KEPT: HeaderValue = HeaderValue::from_static("no-store");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// What is served to whom.
#[derive(Clone)]
struct Tiles {
    broker: Shared,
    /// For those without a certificate; absent where only members come.
    public: Option<Arc<Semaphore>>,
}

/// The files for members, to be served beside the gRPC services.
pub(crate) fn for_members(broker: Shared) -> Router {
    router(Tiles {
        broker,
        public: None,
    })
}

fn router(tiles: Tiles) -> Router {
    Router::new()
        .route("/checkpoint", get(checkpoint))
        .route("/tile/{*path}", get(tile))
        .with_state(tiles)
}

/// Why nothing is served.
#[derive(Debug)]
struct Refused(StatusCode, ErrorCode);

impl Refused {
    const NOT_FOUND: Self = Self(StatusCode::NOT_FOUND, ErrorCode::OutOfRange);

    fn internal(error: &BrokerError) -> Self {
        tracing::error!(%error, "a tile can't be read");
        Self(StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Internal)
    }
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

/// Somebody who may read, with the place for it.
struct Reader {
    reads_all: bool,
    place: Box<dyn Any + Send>,
}

impl Tiles {
    fn admit(&self, request: &Request) -> Result<Reader, Refused> {
        let busy = || Refused(StatusCode::TOO_MANY_REQUESTS, ErrorCode::RateLimited);
        if let Some(places) = &self.public {
            let place = places.clone().try_acquire_owned().map_err(|_| busy())?;
            return Ok(Reader {
                reads_all: false,
                place: Box::new(place),
            });
        }
        let member = self.broker.member_of(request.extensions().get::<Peer>());
        let member = member.map_err(|code| match code {
            ErrorCode::Revoked => Refused(StatusCode::FORBIDDEN, code),
            code => Refused(StatusCode::INTERNAL_SERVER_ERROR, code),
        })?;
        let place = self.broker.readers.enter(&member.agency);
        Ok(Reader {
            reads_all: reads_all(member.sector()),
            place: Box::new(place.ok_or_else(busy)?),
        })
    }
}

async fn checkpoint(State(tiles): State<Tiles>, request: Request) -> Result<Response, Refused> {
    tiles.admit(&request)?;
    let published = tiles.broker.witnesses.published();
    let published = published.ok_or(Refused(
        StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::NoQuorum,
    ))?;
    let head = [
        (header::CONTENT_TYPE, TEXT),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    Ok((head, published.note.to_string()).into_response())
}

async fn tile(State(tiles): State<Tiles>, request: Request) -> Result<Response, Refused> {
    let reader = tiles.admit(&request)?;
    let path = request.uri().path().strip_prefix('/').unwrap_or_default();
    let path: TilePath = path.parse().map_err(|_| Refused::NOT_FOUND)?;
    if path.kind() == TileKind::Entries && !reader.reads_all {
        return Err(Refused(StatusCode::FORBIDDEN, ErrorCode::NotAParty));
    }
    let published = tiles.broker.witnesses.published();
    let size = published.map_or(0, |published| published.size);
    if !is_within(&path, size) {
        return Err(Refused::NOT_FOUND);
    }
    let view = tiles.broker.sequencer.view().clone();
    let place = reader.place;
    let read = tokio::task::spawn_blocking(move || {
        let content = content(&view, &path);
        drop(place);
        content
    });
    let content = read
        .await
        .map_err(|_| Refused(StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Internal))?;
    let content = content.map_err(|error| Refused::internal(&error))?;
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

fn content(view: &View, path: &TilePath) -> Result<Vec<u8>, BrokerError> {
    let missing = || BrokerError::Refused(ErrorCode::Internal);
    if path.kind() != TileKind::Entries {
        return view.tree().tile(path).map_err(|error: MerkleError| {
            // Else the refusal alone would be in the log, and not why.
            tracing::error!(%error, %path, "a tile can't be had");
            missing()
        });
    }
    let start = path.start().ok_or_else(missing)?;
    let mut entries = Vec::with_capacity(path.width().into());
    for index in start..start.saturating_add(path.width().into()) {
        let raw = view.journal.read(index)?.ok_or_else(missing)?;
        entries.push(raw.entry);
    }
    encode_bundle(entries.iter().map(Vec::as_slice)).map_err(|_| missing())
}

/// Serves checkpoint and hashes to anybody who reaches `listener`, over plain HTTP, until
/// `shutdown`. All of it is signed, so nothing is lost by the lack of encryption.
pub(crate) async fn serve_public(broker: Shared, listener: TcpListener) -> Result<(), BrokerError> {
    let shutdown = broker.shutdown.clone();
    let turns = Turns::new(CONNECTIONS, GRACE);
    let service = router(Tiles {
        broker,
        public: Some(Arc::new(Semaphore::new(PUBLIC_READS))),
    });
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => return Ok(()),
        };
        let Ok((tcp, _)) = accepted.inspect_err(|error| {
            tracing::warn!(%error, "cannot accept a reader of tiles now");
        }) else {
            sleep(PAUSE).await;
            continue;
        };
        let Some(turn) = turns.take().await else {
            return Ok(());
        };
        let (service, shutdown) = (service.clone(), shutdown.clone());
        tokio::spawn(async move {
            let over = turn.over().clone();
            let served = timeout(LIFETIME, serve_one(tcp, service, over, shutdown));
            // How a stranger's connection ends is not for the log.
            let _ = served.await;
            drop(turn);
        });
    }
}

async fn serve_one(
    tcp: tokio::net::TcpStream,
    service: Router,
    over: CancellationToken,
    shutdown: CancellationToken,
) {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD);
    server
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(32);
    let connection = server.serve_connection(TokioIo::new(tcp), TowerToHyperService::new(service));
    tokio::select! {
        _ = connection => {}
        () = over.cancelled() => {}
        () = shutdown.cancelled() => {}
    }
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
