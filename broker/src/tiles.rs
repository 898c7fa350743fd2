//! The broker's log as files over HTTP: whose they are here, and who may have which.
//!
//! In scope: members, by the certificate of their connection; anybody, where `broker.toml` says so.
//! Out of scope: the files themselves and HTTP ([`passerelle_tiles`]); entries by right for those
//! whom they name (the `LogRead` service).

use crate::{
    acceptor::Peer,
    error::BrokerError,
    services::{Shared, reads_all},
};
use axum::{Router, extract::Request, http::StatusCode};
use passerelle_audit::tiles::TilePath;
use passerelle_model::error::ErrorCode;
use passerelle_tiles::{Anybody, Below, Door, Log, Reader, Refused, router, serve};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;

/// Reads for those without a certificate that may be under way.
const PUBLIC_READS: usize = 8;

/// What a quorum has cosigned of the ledger.
struct Published(Shared);

impl Log for Published {
    fn checkpoint(&self) -> Option<String> {
        let published = self.0.witnesses.published()?;
        Some(published.note.to_string())
    }

    fn size(&self) -> u64 {
        let published = self.0.witnesses.published();
        published.map_or(0, |published| published.size)
    }

    fn hashes(&self, path: &TilePath) -> Result<Vec<u8>, Below> {
        Ok(self.0.sequencer.view().tree().tile(path)?)
    }

    fn entry(&self, index: u64) -> Result<Option<Vec<u8>>, Below> {
        let raw = self.0.sequencer.view().journal.read(index)?;
        Ok(raw.map(|raw| raw.entry))
    }
}

/// Lets in members.
struct Members(Shared);

impl Door for Members {
    fn admit(&self, request: &Request) -> Result<Reader, Refused> {
        let member = self.0.member_of(request.extensions().get::<Peer>());
        let member = member.map_err(|code| match code {
            ErrorCode::Revoked => Refused(StatusCode::FORBIDDEN, code),
            code => Refused(StatusCode::INTERNAL_SERVER_ERROR, code),
        })?;
        let place = self.0.readers.enter(&member.agency);
        Ok(Reader {
            reads_all: reads_all(member.sector()),
            place: Box::new(place.ok_or(Refused::BUSY)?),
        })
    }
}

/// The files for members, to be served beside the gRPC services.
pub(crate) fn for_members(broker: Shared) -> Router {
    router(
        Arc::new(Published(broker.clone())),
        Arc::new(Members(broker)),
    )
}

/// Serves checkpoint and hashes to anybody who reaches `listener`, over plain HTTP, until
/// `shutdown`. All of it is signed, so nothing is lost by the lack of encryption.
pub(crate) async fn serve_public(broker: Shared, listener: TcpListener) -> Result<(), BrokerError> {
    let shutdown = broker.shutdown.clone();
    let incoming = TcpListenerStream::new(listener);
    let log = Arc::new(Published(broker));
    tokio::select! {
        () = serve(incoming, log, Anybody::for_hashes(PUBLIC_READS)) => {}
        () = shutdown.cancelled() => {}
    }
    Ok(())
}
