//! The broker's own accept loop: from a socket to a stream whose peer is known.
//!
//! In scope: accepting, handshakes with their limits, reading the peer's identity once, places.
//!
//! Out of scope: what TLS accepts ([`crate::tls`]); cutting ([`crate::connections`]); what a peer
//! may call (the services); limits on messages and calls (the gRPC server).
//!
//! Known attacks, and what meets each: a client that never finishes its handshake (a timeout, and
//! handshakes run beside each other); more of them than there are places (the oldest gives way to
//! who waits, module `turns`); many without a certificate, to keep members out (they have places
//! of their own, and few) or to keep others from enrolling (the oldest gives way); one certificate that takes all places (a limit for each); a
//! resumed session or a live connection after a revocation (checked after every handshake; closed
//! by the registry). Nothing here limits one address: behind one address may be a whole town.

pub use crate::connections::{Connections, Peer, PeerStream};
use crate::tls::{PeerCertificate, PeerFault, fault_of};
use passerelle_model::{error::ErrorCode, ids::FederationId, time::Timestamp};
use passerelle_tiles::turns::{Turn, Turns};
use rustls::{HandshakeKind, ServerConfig};
use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;

/// Most live connections of agencies.
pub const MAX_AGENCY_CONNECTIONS: usize = 4_096;
/// Most live connections without a certificate. Enrolment is rare and short.
pub const MAX_ANONYMOUS_CONNECTIONS: usize = 64;
/// Most live connections with one certificate.
pub const MAX_CONNECTIONS_PER_CERTIFICATE: usize = 32;
/// Most handshakes at one time; further ones wait in the kernel's queue.
pub const MAX_HANDSHAKES: usize = 256;
/// How long a handshake may take.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a handshake may take when all places are taken and others wait.
pub const HANDSHAKE_GRACE: Duration = Duration::from_secs(1);
/// How long a connection without a certificate is safe when all places of its kind are taken.
pub const ANONYMOUS_GRACE: Duration = Duration::from_secs(10);
/// How long one that has no place waits for another to give way.
const ANONYMOUS_PATIENCE: Duration = Duration::from_secs(1);
/// How long a connection without a certificate may live: an enrolment takes seconds.
pub const ANONYMOUS_LIFETIME: Duration = Duration::from_secs(120);
/// Finished connections that wait for the server to take them.
const READY_QUEUE: usize = 16;
/// First pause after accepting failed, as when file descriptors ran out; doubled up to the longest.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// The limits of an [`Acceptor`]. The default are the constants of this module.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// See [`MAX_AGENCY_CONNECTIONS`].
    pub agency_connections: usize,
    /// See [`MAX_ANONYMOUS_CONNECTIONS`].
    pub anonymous_connections: usize,
    /// See [`MAX_CONNECTIONS_PER_CERTIFICATE`].
    pub per_certificate: usize,
    /// See [`MAX_HANDSHAKES`].
    pub handshakes: usize,
    /// See [`HANDSHAKE_TIMEOUT`].
    pub handshake_timeout: Duration,
    /// See [`HANDSHAKE_GRACE`].
    pub handshake_grace: Duration,
    /// See [`ANONYMOUS_LIFETIME`].
    pub anonymous_lifetime: Duration,
    /// See [`ANONYMOUS_GRACE`].
    pub anonymous_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            agency_connections: MAX_AGENCY_CONNECTIONS,
            anonymous_connections: MAX_ANONYMOUS_CONNECTIONS,
            per_certificate: MAX_CONNECTIONS_PER_CERTIFICATE,
            handshakes: MAX_HANDSHAKES,
            handshake_timeout: HANDSHAKE_TIMEOUT,
            handshake_grace: HANDSHAKE_GRACE,
            anonymous_lifetime: ANONYMOUS_LIFETIME,
            anonymous_grace: ANONYMOUS_GRACE,
        }
    }
}

/// Says what time it is. Given by the clock module, or by a test.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Accepts connections; see the module.
pub struct Acceptor {
    tls: TlsAcceptor,
    federation: FederationId,
    connections: Connections,
    limits: Limits,
    now: Now,
    agency_places: Arc<Semaphore>,
    anonymous_places: Turns,
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Why a connection was refused, beyond what a certificate says.
enum Refusal {
    Peer(PeerFault),
    Handshake(io::Error),
    TooSlow,
    NoPlace,
}

impl Refusal {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Peer(fault) => fault.code(),
            Self::Handshake(error) => fault_of(error).unwrap_or(ErrorCode::Malformed),
            Self::TooSlow | Self::NoPlace => ErrorCode::RateLimited,
        }
    }

    /// A fixed text: what a peer sent never reaches the log.
    fn reason(&self) -> &'static str {
        match self {
            Self::Peer(PeerFault::Revoked) => "the certificate is revoked",
            Self::Peer(_) => "the certificate is not of an agency of this federation",
            Self::Handshake(_) => "the handshake failed",
            Self::TooSlow => "the handshake took too long",
            Self::NoPlace => "too many connections",
        }
    }
}

impl Acceptor {
    /// An acceptor for agencies of `federation`. `connections` must have been made with the set
    /// of revoked serials that `config` has.
    pub fn new(
        config: Arc<ServerConfig>,
        federation: FederationId,
        connections: Connections,
        limits: Limits,
        now: Now,
    ) -> Self {
        Self {
            tls: TlsAcceptor::from(config),
            federation,
            connections,
            limits,
            now,
            agency_places: Arc::new(Semaphore::new(limits.agency_connections)),
            anonymous_places: Turns::new(limits.anonymous_connections, limits.anonymous_grace),
        }
    }

    /// Starts accepting on `listener`, within a tokio runtime. When the returned stream is
    /// dropped, accepting ends and the port is closed; connections that were taken go on.
    pub fn listen(self, listener: TcpListener) -> Incoming {
        let (ready, taken) = mpsc::channel(READY_QUEUE);
        tokio::spawn(Arc::new(self).accept_all(listener, ready));
        Incoming(taken)
    }

    async fn accept_all(self: Arc<Self>, listener: TcpListener, ready: mpsc::Sender<PeerStream>) {
        let handshakes = Turns::new(self.limits.handshakes, self.limits.handshake_grace);
        let mut pause = ACCEPT_PAUSE;
        loop {
            let accepted = tokio::select! {
                () = ready.closed() => return,
                accepted = accept_one(&listener, &handshakes) => accepted,
            };
            match accepted {
                Ok((tcp, remote, turn)) => {
                    pause = ACCEPT_PAUSE;
                    let (acceptor, ready) = (self.clone(), ready.clone());
                    tokio::spawn(
                        async move { acceptor.shake_hands(tcp, remote, turn, ready).await },
                    );
                }
                // That one connection ended before it was taken (accept(2)); the next may be fine.
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(code = %ErrorCode::Unavailable, %error, "cannot accept now");
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_ACCEPT_PAUSE);
                }
            }
        }
    }

    async fn shake_hands(
        &self,
        tcp: TcpStream,
        remote: SocketAddr,
        turn: Turn,
        ready: mpsc::Sender<PeerStream>,
    ) {
        let peer = tokio::select! {
            peer = self.peer_of(tcp, remote) => peer,
            () = turn.over().cancelled() => Err(Refusal::TooSlow),
        };
        match peer {
            Ok(stream) => {
                drop(turn);
                tracing::debug!(%remote, agency = ?stream.peer().agency, "connected");
                // The server may have stopped meanwhile; the stream then closes here.
                let _ = ready.send(stream).await;
            }
            Err(refusal) => {
                let (code, reason) = (refusal.code(), refusal.reason());
                tracing::warn!(%remote, %code, reason, "connection refused");
            }
        }
    }

    async fn peer_of(&self, tcp: TcpStream, remote: SocketAddr) -> Result<PeerStream, Refusal> {
        // Without it a small message waits for the acknowledgement of the one before.
        tcp.set_nodelay(true).map_err(Refusal::Handshake)?;
        let handshake = timeout(self.limits.handshake_timeout, self.tls.accept(tcp));
        let tls = match handshake.await {
            Ok(result) => result.map_err(Refusal::Handshake)?,
            Err(_) => return Err(Refusal::TooSlow),
        };
        let (_, session) = tls.get_ref();
        let resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
        let certificate = session
            .peer_certificates()
            .and_then(<[_]>::first)
            .map(|leaf| PeerCertificate::parse(leaf, &self.federation))
            .transpose()
            .map_err(Refusal::Peer)?;
        tracing::trace!(%remote, resumed, "handshake done");
        match certificate {
            Some(certificate) => self.agency_stream(tls, &certificate, remote),
            None => self.anonymous_stream(tls, remote).await,
        }
    }

    fn agency_stream(
        &self,
        tls: TlsStream<TcpStream>,
        certificate: &PeerCertificate,
        remote: SocketAddr,
    ) -> Result<PeerStream, Refusal> {
        let place = self
            .agency_places
            .clone()
            .try_acquire_owned()
            .map_err(|_| Refusal::NoPlace)?;
        let cut = CancellationToken::new();
        let entry = self
            .connections
            .register(
                &certificate.serial_hex,
                cut.clone(),
                self.limits.per_certificate,
            )
            .ok_or(Refusal::NoPlace)?;
        // Registered first, checked second: see `Connections::revoke`.
        let now = (self.now)();
        certificate
            .check(self.connections.revoked(), now)
            .map_err(Refusal::Peer)?;
        let left_ms = certificate.not_after.plus_s(1).0.saturating_sub(now.0);
        let peer = Peer {
            agency: Some(certificate.agency.clone()),
            serial: Some(certificate.serial_hex.clone()),
            remote,
        };
        let lifetime = Duration::from_millis(left_ms);
        Ok(PeerStream::new(
            tls,
            peer,
            cut,
            lifetime,
            Some(entry),
            Box::new(place),
        ))
    }

    async fn anonymous_stream(
        &self,
        tls: TlsStream<TcpStream>,
        remote: SocketAddr,
    ) -> Result<PeerStream, Refusal> {
        let turn = self.anonymous_places.take_within(ANONYMOUS_PATIENCE).await;
        let turn = turn.ok_or(Refusal::NoPlace)?;
        let peer = Peer {
            agency: None,
            serial: None,
            remote,
        };
        let lifetime = self.limits.anonymous_lifetime;
        Ok(PeerStream::new(
            tls,
            peer,
            turn.over().clone(),
            lifetime,
            None,
            Box::new(turn),
        ))
    }
}

async fn accept_one(
    listener: &TcpListener,
    handshakes: &Turns,
) -> io::Result<(TcpStream, SocketAddr, Turn)> {
    // Accepted first: a handshake gives way to somebody who is there, not to nobody.
    let (tcp, remote) = listener.accept().await?;
    let turn = handshakes.take().await;
    // It never is missing; if it were, that would be backed off.
    let turn = turn.ok_or_else(|| io::Error::other("no places"))?;
    Ok((tcp, remote, turn))
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

/// Connections as they become ready, for `serve_with_incoming_shutdown`. Never an error: one would
/// be the end of the server.
#[derive(Debug)]
pub struct Incoming(mpsc::Receiver<PeerStream>);

impl Stream for Incoming {
    type Item = io::Result<PeerStream>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|stream| stream.map(Ok))
    }
}
