//! `LogRead`: checkpoints and what concerns the federation itself for every member, entries for
//! those whom they name, all entries for oversight.

use super::{Shared, internal, reads_all};
use crate::{error::BrokerError, ledger::View, notices::visible_to};
use passerelle_audit::merkle::leaf_hash;
use passerelle_model::{
    bytes::Digest,
    commitment::{Field, Opening},
    entry::EntryBody,
    error::ErrorCode,
    records::Agency,
    state,
};
use passerelle_proto::{convert, v1};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// Rows that may wait for a slow reader.
const QUEUE: usize = 256;

/// Rows read at once.
const PAGE: u64 = 256;

/// Bytes of a part of a bundle file.
const CHUNK: usize = 64 << 10;

/// How long a reader may leave a row.
const PATIENCE: Duration = Duration::from_secs(60);

/// See the module.
pub struct LogReadService(pub Shared);

#[tonic::async_trait]
impl v1::log_read_server::LogRead for LogReadService {
    type BundleStream = ReceiverStream<Result<v1::BundleChunk, Status>>;
    type EntriesStream = ReceiverStream<Result<v1::LogRow, Status>>;

    async fn latest_checkpoint(
        &self,
        request: Request<v1::LatestCheckpointRequest>,
    ) -> Result<Response<v1::LatestCheckpointResponse>, Status> {
        self.0.member(&request)?;
        let published = self.0.witnesses.published();
        let published = published.ok_or_else(|| convert::status(ErrorCode::NoQuorum))?;
        Ok(Response::new(v1::LatestCheckpointResponse {
            checkpoint: published.note.to_string(),
        }))
    }

    async fn bundle(
        &self,
        request: Request<v1::BundleRequest>,
    ) -> Result<Response<Self::BundleStream>, Status> {
        let reader = self.0.member(&request)?;
        let name = Digest::from_slice(&request.into_inner().terms);
        let name = name.ok_or_else(|| convert::status(ErrorCode::Malformed))?;
        let busy = || convert::status(ErrorCode::RateLimited);
        let place = self.0.readers.enter(&reader.agency).ok_or_else(busy)?;
        let bundles = self.0.bundles.clone();
        let read = tokio::task::spawn_blocking(move || bundles.read(&name));
        let read = read.await.map_err(|_| convert::status(ErrorCode::Internal));
        let file = read?.map_err(|error| internal(&error))?;
        let (file, _) = file.ok_or_else(|| convert::status(ErrorCode::UnknownBundle))?;
        let (parts, stream) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            for part in file.chunks(CHUNK) {
                let chunk = v1::BundleChunk {
                    data: part.to_vec(),
                };
                let sent = tokio::time::timeout(PATIENCE, parts.send(Ok(chunk))).await;
                if !matches!(sent, Ok(Ok(()))) {
                    break;
                }
            }
            drop(place);
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn entries(
        &self,
        request: Request<v1::EntriesRequest>,
    ) -> Result<Response<Self::EntriesStream>, Status> {
        let reader = self.0.member(&request)?;
        let v1::EntriesRequest { from, until } = request.into_inner();
        let published = self.0.witnesses.published();
        let size = published
            .ok_or_else(|| convert::status(ErrorCode::NoQuorum))?
            .size;
        let until = if until == 0 { size } else { until.min(size) };
        let busy = || convert::status(ErrorCode::RateLimited);
        let place = self.0.readers.enter(&reader.agency).ok_or_else(busy)?;
        let view = self.0.sequencer.view().clone();
        let (rows, stream) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            let mut next = from;
            while next < until {
                let (view, reader) = (view.clone(), reader.clone());
                let page_end = next.saturating_add(PAGE).min(until);
                // Only the reading occupies a thread: a reader that does not take its rows waits
                // without one.
                let page = tokio::task::spawn_blocking(move || {
                    let rows = (next..page_end).map(|index| row(&view, &reader, index));
                    rows.collect::<Result<Vec<_>, _>>()
                });
                let page = match page.await {
                    Ok(Ok(page)) => page,
                    Ok(Err(error)) => {
                        let _ = rows.send(Err(internal(&error))).await;
                        return;
                    }
                    Err(_) => return,
                };
                for row in page {
                    let sent = tokio::time::timeout(PATIENCE, rows.send(Ok(row))).await;
                    // The reader has gone, or sleeps.
                    if !matches!(sent, Ok(Ok(()))) {
                        return;
                    }
                }
                next = page_end;
            }
            drop(place);
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

fn row(view: &View, reader: &Agency, index: u64) -> Result<v1::LogRow, BrokerError> {
    let missing = || BrokerError::Refused(ErrorCode::Internal);
    let durable = view.record(index)?.ok_or_else(missing)?;
    let (entry, record) = (&durable.raw.entry, &durable.record);
    let named = state::concerns(view.projection.as_ref(), &reader.agency, index)?;
    if !(named || is_for_everybody(&record.entry.body) || reads_all(reader.sector())) {
        return Ok(v1::LogRow {
            index,
            entry: Vec::new(),
            leaf_hash: leaf_hash(entry).0.to_vec(),
            openings: Vec::new(),
        });
    }
    let mut openings = if named {
        visible_to(&reader.agency, record).openings
    } else {
        Vec::new()
    };
    if reads_all(reader.sector()) {
        // Without knowing which entries are about one person nothing could be replayed or counted
        // (decision 0015), and without all counts of a seal it could not be held to the entries.
        let all = record.sidecar.openings.iter();
        let may_read = |o: &&Opening| matches!(o.field, Field::Subject | Field::Counts);
        openings = all.filter(may_read).cloned().collect();
    }
    Ok(v1::LogRow {
        index,
        entry: entry.clone(),
        leaf_hash: Vec::new(),
        openings: convert::openings_to_wire(openings),
    })
}

/// What the operator did with the federation itself: every member may hold it to that.
fn is_for_everybody(body: &EntryBody) -> bool {
    body.is_for_all() || matches!(body, EntryBody::Invited { .. })
}
