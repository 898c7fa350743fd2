//! The broker's own accept loop: from a socket to a stream whose peer is known.
//!
//! In scope: accepting, handshakes with their limits, reading the peer's identity once, the
//! registry of live connections, which closes those of a revoked certificate at once.
//!
//! Out of scope: what TLS accepts ([`crate::tls`]); what a peer may call (the services); limits on
//! messages and calls (the gRPC server).
//!
//! Known attacks, and what meets each: a client that never finishes its handshake (a timeout, and
//! handshakes run beside each other); many without a certificate, to keep members out (they have
//! places of their own, and few); one certificate that takes all places (a limit for each); a
//! resumed session or a live connection after a revocation (checked after every handshake; closed
//! by the registry). Nothing here limits one address: behind one address may be a whole town.

use crate::tls::{PeerCertificate, PeerFault, RevokedSerials, fault_of};
use passerelle_model::{
    error::ErrorCode,
    ids::{AgencyId, FederationId},
    time::Timestamp,
};
use rustls::{HandshakeKind, ServerConfig};
use std::{
    collections::HashMap,
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

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
    /// See [`ANONYMOUS_LIFETIME`].
    pub anonymous_lifetime: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            agency_connections: MAX_AGENCY_CONNECTIONS,
            anonymous_connections: MAX_ANONYMOUS_CONNECTIONS,
            per_certificate: MAX_CONNECTIONS_PER_CERTIFICATE,
            handshakes: MAX_HANDSHAKES,
            handshake_timeout: HANDSHAKE_TIMEOUT,
            anonymous_lifetime: ANONYMOUS_LIFETIME,
        }
    }
}

/// Says what time it is. Given by the clock module, or by a test.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Who is at the other end, in the extensions of every request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The agency of the verified certificate; `None` without a certificate, which may only enrol.
    pub agency: Option<AgencyId>,
    /// The certificate's serial, as in [`RevokedSerials`].
    pub serial: Option<String>,
    /// The address it comes from. Says nothing about who it is.
    pub remote: SocketAddr,
}

/// The live connections of agencies by serial.
#[derive(Clone, Debug, Default)]
pub struct Connections(Arc<Registry>);

#[derive(Debug, Default)]
struct Registry {
    revoked: RevokedSerials,
    live: Mutex<Live>,
}

#[derive(Debug, Default)]
struct Live {
    next_id: u64,
    by_serial: HashMap<String, HashMap<u64, CancellationToken>>,
}

impl Registry {
    fn live(&self) -> MutexGuard<'_, Live> {
        // The map is whole between any two statements, so a panic elsewhere does not spoil it.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connections {
    /// An empty registry beside `revoked`, which must be the set that the TLS configuration has.
    pub fn new(revoked: RevokedSerials) -> Self {
        Self(Arc::new(Registry {
            revoked,
            live: Mutex::default(),
        }))
    }

    /// Refuses `serial_hex` from now on, then closes its live connections. Returns how many.
    ///
    /// When it returns, none of them delivers another byte; a call that was read before goes on,
    /// so what it asks for must be checked again where it takes effect. A handshake that runs
    /// meanwhile is registered before it is checked, so it is refused by its check or closed here.
    pub fn revoke(&self, serial_hex: &str) -> usize {
        self.0.revoked.insert(serial_hex);
        let tokens: Vec<_> = {
            let live = self.0.live();
            // By the set, not by the text given: the set knows how serials are written.
            let refused = live
                .by_serial
                .iter()
                .filter(|(s, _)| self.0.revoked.contains(s));
            refused
                .flat_map(|(_, tokens)| tokens.values().cloned())
                .collect()
        };
        // Outside the lock, which a connection takes when it ends.
        tokens.iter().for_each(CancellationToken::cancel);
        tokens.len()
    }

    /// How many connections of agencies are live.
    pub fn len(&self) -> usize {
        self.0.live().by_serial.values().map(HashMap::len).sum()
    }

    /// True if no agency is connected.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `None` when the certificate has `most` connections already.
    fn register(&self, serial: &str, token: CancellationToken, most: usize) -> Option<Entry> {
        let mut live = self.0.live();
        let id = live.next_id;
        live.next_id = id.wrapping_add(1);
        let tokens = live.by_serial.entry(serial.to_owned()).or_default();
        if tokens.len() >= most {
            return None;
        }
        tokens.insert(id, token);
        Some(Entry {
            registry: self.0.clone(),
            serial: serial.to_owned(),
            id,
        })
    }
}

/// A line in the registry, which goes with the connection.
struct Entry {
    registry: Arc<Registry>,
    serial: String,
    id: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut live = self.registry.live();
        if let Some(tokens) = live.by_serial.get_mut(&self.serial) {
            tokens.remove(&self.id);
            if tokens.is_empty() {
                live.by_serial.remove(&self.serial);
            }
        }
    }
}

/// Accepts connections; see the module.
pub struct Acceptor {
    tls: TlsAcceptor,
    federation: FederationId,
    connections: Connections,
    limits: Limits,
    now: Now,
    agency_places: Arc<Semaphore>,
    anonymous_places: Arc<Semaphore>,
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
            anonymous_places: Arc::new(Semaphore::new(limits.anonymous_connections)),
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
        let handshakes = Arc::new(Semaphore::new(self.limits.handshakes));
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
        turn: OwnedSemaphorePermit,
        ready: mpsc::Sender<PeerStream>,
    ) {
        match self.peer_of(tcp, remote).await {
            Ok(stream) => {
                drop(turn);
                tracing::debug!(%remote, agency = ?stream.peer.agency, "connected");
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
            None => self.anonymous_stream(tls, remote),
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
            .check(&self.connections.0.revoked, now)
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
            place,
        ))
    }

    fn anonymous_stream(
        &self,
        tls: TlsStream<TcpStream>,
        remote: SocketAddr,
    ) -> Result<PeerStream, Refusal> {
        let place = self
            .anonymous_places
            .clone()
            .try_acquire_owned()
            .map_err(|_| Refusal::NoPlace)?;
        let peer = Peer {
            agency: None,
            serial: None,
            remote,
        };
        let lifetime = self.limits.anonymous_lifetime;
        Ok(PeerStream::new(
            tls,
            peer,
            CancellationToken::new(),
            lifetime,
            None,
            place,
        ))
    }
}

async fn accept_one(
    listener: &TcpListener,
    handshakes: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    // Nobody closes this semaphore, so an error can't come; if it did, it would be backed off.
    let turn = handshakes
        .clone()
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (tcp, remote) = listener.accept().await?;
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

type Ending = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A TLS connection whose peer is known. Once cut, by revocation or at the end of its
/// certificate's time, every read and write fails with [`io::ErrorKind::ConnectionAborted`].
pub struct PeerStream {
    tls: TlsStream<TcpStream>,
    peer: Peer,
    cut: CancellationToken,
    /// Wakes who waits when the connection is cut. One for each direction: reading and writing
    /// may wait in different tasks, and a future wakes only the last that asked.
    read_end: Ending,
    write_end: Ending,
    _entry: Option<Entry>,
    _place: OwnedSemaphorePermit,
}

impl fmt::Debug for PeerStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerStream")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

impl PeerStream {
    fn new(
        tls: TlsStream<TcpStream>,
        peer: Peer,
        cut: CancellationToken,
        lifetime: Duration,
        entry: Option<Entry>,
        place: OwnedSemaphorePermit,
    ) -> Self {
        let write_end = Box::pin(cut.clone().cancelled_owned());
        let token = cut.clone();
        let read_end = Box::pin(async move {
            if timeout(lifetime, token.cancelled()).await.is_err() {
                token.cancel();
            }
        });
        Self {
            tls,
            peer,
            cut,
            read_end,
            write_end,
            _entry: entry,
            _place: place,
        }
    }

    /// Who is at the other end.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    fn write_with<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut TlsStream<TcpStream>>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if self.cut.is_cancelled() {
            return Poll::Ready(Err(cut_off()));
        }
        let written = write(Pin::new(&mut self.tls), cx);
        if written.is_pending() && self.write_end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(cut_off()));
        }
        written
    }
}

fn cut_off() -> io::Error {
    io::Error::new(
        io::ErrorKind::ConnectionAborted,
        "the certificate no longer holds",
    )
}

impl Connected for PeerStream {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for PeerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Also keeps the futures from being polled after they are done: then it is cancelled.
        if self.cut.is_cancelled() {
            return Poll::Ready(Err(cut_off()));
        }
        let read = Pin::new(&mut self.tls).poll_read(cx, buffer);
        if read.is_pending() && self.read_end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(cut_off()));
        }
        read
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write_with(cx, |tls, cx| tls.poll_write(cx, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write_with(cx, |tls, cx| tls.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write_with(cx, |tls, cx| tls.poll_shutdown(cx))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write_with(cx, |tls, cx| tls.poll_write_vectored(cx, buffers))
    }

    fn is_write_vectored(&self) -> bool {
        self.tls.is_write_vectored()
    }
}
