//! `POST /add-checkpoint` (C2SP tlog-witness v1.0.0, section "add-checkpoint").
//!
//! In scope: requests, status codes, limits on strangers. Out of scope: encryption: all that is
//! said here is signed and public. Whoever wants HTTPS puts a proxy in front.
//!
//! Known attack: connections that do nothing, or send a byte a minute, hold every place. Each part
//! of a request has its time, and when all places are taken a connection gives way, once it has had
//! [`GRACE`]: the oldest of the address that has the most, so that who takes all places from one
//! address keeps out nobody but itself.

use super::{OutsideError, home::Witness, page::Refused};
use crate::clock::Clock;
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use passerelle_audit::{
    checkpoint::Checkpoint,
    witness::{AddCheckpoint, MAX_REQUEST_BYTES, WitnessError},
};
use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep, sleep_until, timeout},
};

/// Connections at once.
pub const CONNECTIONS: usize = 64;

/// For how long a connection is safe from those who wait.
pub const GRACE: Duration = Duration::from_secs(2);

/// How long a connection may last, the head of a request take, and its body.
const LIFETIME: Duration = Duration::from_secs(300);
const HEAD: Duration = Duration::from_secs(10);
const BODY: Duration = Duration::from_secs(10);

/// How long to wait after the system refused a connection.
const PAUSE: Duration = Duration::from_millis(100);

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const SIZE: HeaderValue = HeaderValue::from_static("text/x.tlog.size");

#[derive(Clone)]
struct Service {
    witness: Arc<Witness>,
    clock: Arc<dyn Clock>,
    /// Told when a state could not be stored.
    stop: Arc<Notify>,
}

/// Serves until `shutdown`.
///
/// # Errors
/// [`OutsideError::Stopped`]: a new state could not be made durable. A supervisor starts it again,
/// and what is on the disk is read anew.
pub async fn serve(
    witness: Witness,
    clock: Arc<dyn Clock>,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), OutsideError> {
    let stop = Arc::new(Notify::new());
    let router = router(Service {
        witness: Arc::new(witness),
        clock,
        stop: stop.clone(),
    });
    let mut tasks = JoinSet::new();
    let mut places = Vec::new();
    tokio::pin!(shutdown);
    let outcome = loop {
        let accepted = async {
            make_room(&mut places).await;
            listener.accept().await
        };
        let accepted = tokio::select! {
            accepted = accepted => accepted,
            () = stop.notified() => break Err(OutsideError::Stopped),
            () = &mut shutdown => break Ok(()),
        };
        while tasks.try_join_next().is_some() {}
        let Ok((tcp, peer)) = accepted else {
            sleep(PAUSE).await;
            continue;
        };
        let served = timeout(LIFETIME, serve_one(tcp, router.clone()));
        let task = tasks.spawn(async move {
            // How a stranger's connection ends is not for the log.
            let _ = served.await;
        });
        places.push(Place {
            began: Instant::now(),
            whose: neighbourhood(peer.ip()),
            task,
        });
    };
    // The directory is free for another process when this returns.
    tasks.shutdown().await;
    outcome
}

/// A connection.
struct Place {
    began: Instant,
    whose: IpAddr,
    task: AbortHandle,
}

/// Whom an address stands for: of IPv6, all that one customer has.
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let first = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(first.into())
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// Which of the connections, the oldest first, gives way: the oldest of who has the most.
fn gives_way(whose: &[IpAddr]) -> Option<usize> {
    let mut counts = HashMap::new();
    for address in whose {
        *counts.entry(*address).or_insert(0_usize) += 1;
    }
    let most = counts.values().copied().max()?;
    whose.iter().position(|a| counts.get(a) == Some(&most))
}

/// Ends a connection if there are too many.
async fn make_room(places: &mut Vec<Place>) {
    places.retain(|place| !place.task.is_finished());
    while places.len() >= CONNECTIONS {
        let whose: Vec<_> = places.iter().map(|place| place.whose).collect();
        let Some(which) = gives_way(&whose) else {
            return;
        };
        if let Some(place) = places.get(which) {
            sleep_until(place.began + GRACE).await;
        }
        places.remove(which).task.abort();
    }
}

async fn serve_one(tcp: TcpStream, router: Router) {
    let mut server = auto::Builder::new(TokioExecutor::new()).http1_only();
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD);
    let service = TowerToHyperService::new(router);
    let _ = server.serve_connection(TokioIo::new(tcp), service).await;
}

fn router(service: Service) -> Router {
    Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .with_state(service)
}

async fn add_checkpoint(State(service): State<Service>, body: Body) -> Response {
    let body = match timeout(BODY, to_bytes(body, MAX_REQUEST_BYTES)).await {
        Ok(Ok(body)) => body,
        // Too long, or the sender has gone: then nobody reads this.
        Ok(Err(_)) => return said(StatusCode::PAYLOAD_TOO_LARGE, "the request is too long"),
        Err(_) => return said(StatusCode::REQUEST_TIMEOUT, "the request came too slowly"),
    };
    let request = str::from_utf8(&body).ok();
    let request = request.and_then(|body| AddCheckpoint::parse(body).ok());
    let Some(request) = request else {
        return refused(WitnessError::Malformed, 0);
    };
    let stop = service.stop.clone();
    // The disk is waited for, and other requests for the same log.
    let outcome = tokio::task::spawn_blocking(move || service.consider(&request)).await;
    match outcome {
        Ok(Ok(line)) => ([(header::CONTENT_TYPE, TEXT)], line).into_response(),
        Ok(Err(Refused::Rule { error, known_size })) => refused(error, known_size),
        Ok(Err(error @ Refused::Clock)) => {
            said(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string())
        }
        Ok(Err(Refused::Storage)) | Err(_) => {
            stop.notify_one();
            let text = Refused::Storage.to_string();
            said(StatusCode::INTERNAL_SERVER_ERROR, &text)
        }
    }
}

impl Service {
    fn consider(&self, request: &AddCheckpoint) -> Result<String, Refused> {
        let unknown = |origin: &str| Refused::Rule {
            error: WitnessError::UnknownOrigin(origin.to_owned()),
            known_size: 0,
        };
        let checkpoint = Checkpoint::parse(request.checkpoint.text());
        let checkpoint = checkpoint.map_err(|_| Refused::Rule {
            error: WitnessError::Malformed,
            known_size: 0,
        })?;
        let origin = checkpoint.origin();
        let page = self.witness.page(origin).ok_or_else(|| unknown(origin))?;
        page.add(request, self.witness.cosigner(), self.clock.now().seconds())
    }
}

/// The response that version 1.0.0 gives to a refusal. Two roots of one size are 409 there, with
/// the size as in every 409; the agents' stream, and later drafts, say 422.
fn refused(error: WitnessError, known_size: u64) -> Response {
    if matches!(
        error,
        WitnessError::Conflict { .. } | WitnessError::SameSizeDifferentRoot
    ) {
        let head = [(header::CONTENT_TYPE, SIZE)];
        return (StatusCode::CONFLICT, head, format!("{known_size}\n")).into_response();
    }
    let status = StatusCode::from_u16(error.http_status());
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    said(status, &error.to_string())
}

fn said(status: StatusCode, text: &str) -> Response {
    (status, [(header::CONTENT_TYPE, TEXT)], format!("{text}\n")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_the_most_places_gives_way_and_nobody_else() {
        let address = |text: &str| neighbourhood(text.parse().unwrap());
        let (greedy, other) = (address("192.0.2.1"), address("192.0.2.2"));
        assert_eq!(gives_way(&[]), None);
        assert_eq!(gives_way(&[other, greedy, greedy]), Some(1));
        assert_eq!(gives_way(&[other, greedy]), Some(0), "else the oldest");
        // The first of many from one customer of a network, whatever is behind the prefix.
        let many = (0..CONNECTIONS).map(|n| address(&format!("2001:db8::{n:x}:1")));
        let mut whose = vec![other, address("2001:db8:0:1::1")];
        whose.extend(many);
        assert_eq!(gives_way(&whose), Some(2));
        assert_eq!(address("::ffff:192.0.2.1"), greedy);
    }
}
