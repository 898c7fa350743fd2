//! The mirror as files over HTTP, in the form and by the code in which the broker serves its log.
//!
//! In scope: checkpoint and hashes for anybody, where `checkpoint_listen` says so; everything,
//! entries among it, for who may open [`SOCKET`] in the agent's directory: the agency itself, and
//! whomever a proxy of its own lets in. Out of scope: HTTP and the files ([`passerelle_tiles`]);
//! encryption and the auditors' accounts, which that proxy has.

use super::Mirror;
use passerelle_audit::tiles::TilePath;
use passerelle_tiles::{Anybody, Below, Log, serve};
use std::sync::Arc;
use tokio::net::{TcpListener, UnixListener};
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};

/// The socket, within the agent's directory.
pub const SOCKET: &str = "mirror.sock";

/// Reads that may be under way: of strangers, and of the agency's own.
const PUBLIC_READS: usize = 8;
const OWN_READS: usize = 32;

/// What was verified, and no more.
struct Shown(Arc<Mirror>);

impl Log for Shown {
    fn checkpoint(&self) -> Option<String> {
        let verified = self.0.verified()?;
        Some(verified.signed().note().to_string())
    }

    fn size(&self) -> u64 {
        let verified = self.0.verified();
        verified.map_or(0, |verified| verified.size())
    }

    fn hashes(&self, path: &TilePath) -> Result<Vec<u8>, Below> {
        Ok(self.0.tree().tile(path)?)
    }

    fn entry(&self, index: u64) -> Result<Option<Vec<u8>>, Below> {
        let record = self.0.reader.read(index)?;
        Ok(record.map(|record| record.entry))
    }
}

/// Serves checkpoint and hashes to anybody who reaches `listener`, for ever.
pub(crate) async fn public(mirror: Arc<Mirror>, listener: TcpListener) {
    let incoming = TcpListenerStream::new(listener);
    let log = Arc::new(Shown(mirror));
    serve(incoming, log, Anybody::for_hashes(PUBLIC_READS)).await;
}

/// Serves everything to whoever may open the socket, for ever.
pub(crate) async fn own(mirror: Arc<Mirror>, listener: UnixListener) {
    let incoming = UnixListenerStream::new(listener);
    let log = Arc::new(Shown(mirror));
    serve(incoming, log, Anybody::for_all(OWN_READS)).await;
}
