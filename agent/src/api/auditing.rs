//! The log, read through this agent: checked before it is shown.

use super::{Reply, document, refused};
use crate::{audit_read, node::Node};
use passerelle_proto::v1;
use tokio::task::block_in_place;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status};

/// Bytes in one chunk of an export.
const CHUNK_BYTES: usize = 64 * 1024;

pub(super) async fn entries(node: &Node, request: v1::AuditEntriesRequest) -> Reply {
    let v1::AuditEntriesRequest { from, until, last } = request;
    let log = audit_read::read(node).await.map_err(refused)?;
    // Seconds for a large log: not on a thread that serves others.
    block_in_place(|| {
        let page = audit_read::page(&log, from, until, last).map_err(refused)?;
        document(&page)
    })
}

pub(super) async fn export(
    node: &Node,
) -> Result<Response<ReceiverStream<Result<v1::ExportChunk, Status>>>, Status> {
    let log = audit_read::read(node).await.map_err(refused)?;
    let file = block_in_place(|| audit_read::export(node, &log)).map_err(refused)?;
    let (chunks, stream) = tokio::sync::mpsc::channel(4);
    tokio::spawn(async move {
        for chunk in file.chunks(CHUNK_BYTES) {
            let data = chunk.to_vec();
            if chunks.send(Ok(v1::ExportChunk { data })).await.is_err() {
                // The reader has gone.
                return;
            }
        }
    });
    Ok(Response::new(ReceiverStream::new(stream)))
}
