//! Connections of readers who show no certificate: over plain HTTP, since all of it is signed, or
//! over a socket that the file system guards.

use crate::{Anybody, Log, router, turns::Turns};
use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{sleep, timeout},
};
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;

/// Connections at once. When all are taken, the oldest gives way.
const CONNECTIONS: usize = 64;

/// For how long a connection is safe from those who wait.
const GRACE: Duration = Duration::from_secs(10);

/// How long a connection may last, and the head of a request take.
const LIFETIME: Duration = Duration::from_secs(300);
const HEAD: Duration = Duration::from_secs(10);

/// How long to wait after the system refused a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves the files of `log` to whoever connects and `door` lets in, for ever. Where the future is
/// dropped, the connections end with it.
pub async fn serve<S>(
    mut incoming: impl Stream<Item = io::Result<S>> + Unpin,
    log: Arc<dyn Log>,
    door: Anybody,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stop = CancellationToken::new();
    let _ends_with_this = stop.clone().drop_guard();
    let turns = Turns::new(CONNECTIONS, GRACE);
    let service = router(log, Arc::new(door));
    while let Some(accepted) = incoming.next().await {
        let Ok(connection) = accepted.inspect_err(|error| {
            tracing::warn!(%error, "cannot accept a reader of tiles now");
        }) else {
            sleep(PAUSE).await;
            continue;
        };
        let Some(turn) = turns.take().await else {
            return;
        };
        let (service, stop) = (service.clone(), stop.clone());
        tokio::spawn(async move {
            let over = turn.over().clone();
            let served = timeout(LIFETIME, serve_one(connection, service, over, stop));
            // How a stranger's connection ends is not for the log.
            let _ = served.await;
            drop(turn);
        });
    }
}

async fn serve_one<S>(
    connection: S,
    service: Router,
    over: CancellationToken,
    stop: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD);
    server
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(32);
    let service = TowerToHyperService::new(service);
    let connection = server.serve_connection(TokioIo::new(connection), service);
    tokio::select! {
        _ = connection => {}
        () = over.cancelled() => {}
        () = stop.cancelled() => {}
    }
}
