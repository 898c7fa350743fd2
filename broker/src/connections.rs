//! Live connections: who is at the other end, and the means to cut them.
//!
//! In scope: the registry by certificate, a stream that ends with its certificate.
//!
//! Out of scope: how a connection comes about ([`crate::acceptor`]).

use crate::tls::RevokedSerials;
use passerelle_model::ids::AgencyId;
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
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

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

    pub(crate) fn revoked(&self) -> &RevokedSerials {
        &self.0.revoked
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
    pub(crate) fn register(
        &self,
        serial: &str,
        token: CancellationToken,
        most: usize,
    ) -> Option<Entry> {
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
pub(crate) struct Entry {
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
    /// Whatever it is, it goes with the connection.
    _place: Box<dyn Send>,
}

impl fmt::Debug for PeerStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerStream")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

impl PeerStream {
    pub(crate) fn new(
        tls: TlsStream<TcpStream>,
        peer: Peer,
        cut: CancellationToken,
        lifetime: Duration,
        entry: Option<Entry>,
        place: Box<dyn Send>,
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
