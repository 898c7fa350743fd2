//! The log, read through this agent: checked before it is shown.

use super::{Reply, document, input, refuse, refused};
use crate::{
    audit_read::{self, SearchFailure, Source},
    node::Node,
};
use passerelle_audit::search::{Limits, Query, SearchError};
use passerelle_model::error::ErrorCode;
use passerelle_proto::v1;
use tokio::task::block_in_place;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status};

/// Bytes in one chunk of an export.
const CHUNK_BYTES: usize = 64 * 1024;

const fn source(mirror: bool) -> Source {
    match mirror {
        true => Source::Mirror,
        false => Source::Newest,
    }
}

async fn read(node: &Node, mirror: bool, opened: bool) -> Result<audit_read::CheckedLog, Status> {
    has_mirror_if(node, mirror)?;
    let log = audit_read::read_with(node, source(mirror), opened).await;
    log.map_err(refused)
}

fn has_mirror_if(node: &Node, mirror: bool) -> Result<(), Status> {
    match mirror && node.mirror.is_none() {
        true => Err(refuse(
            ErrorCode::WrongState,
            "this agent keeps no mirror of the log: that is for agencies of the sector `oversight`",
        )),
        false => Ok(()),
    }
}

/// What somebody must look at, after noting that some of it was.
pub(super) fn alerts(node: &Node, request: &v1::AuditAlertsRequest) -> Reply {
    let alerts = &node.context.alerts;
    let known: Vec<_> = alerts.all().into_iter().map(|alert| alert.id).collect();
    if let Some(unknown) = request.acknowledge.iter().find(|id| !known.contains(id)) {
        let message = format!("there is no alert `{unknown}`");
        return Err(refuse(ErrorCode::OutOfRange, message));
    }
    let done = alerts.acknowledge(&request.acknowledge, node.clock.now());
    done.map_err(|error| refuse(ErrorCode::Storage, error))?;
    document(&alerts.all())
}

/// Entries of the log, by what they say.
pub(super) async fn search(node: &Node, request: v1::AuditSearchRequest) -> Reply {
    let v1::AuditSearchRequest {
        query,
        persons,
        after,
        limit,
        mirror,
    } = request;
    has_mirror_if(node, mirror)?;
    let query: Result<Query, _> = serde_json::from_str(&query);
    let mut query = query.map_err(|error| refuse(ErrorCode::Malformed, error))?;
    for person in &persons {
        let person = input::person(person)?;
        query
            .persons
            .insert(node.handle(&person).await.map_err(refused)?);
    }
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let limits = Limits { after, most };
    let found = audit_read::search(node, source(mirror), &query, limits).await;
    let found = found.map_err(|failure| match failure {
        SearchFailure::Log(code) => refused(code),
        SearchFailure::Query(error @ SearchError::Unknown { .. }) => {
            refuse(ErrorCode::UnknownCode, error)
        }
        SearchFailure::Query(error) => refuse(ErrorCode::Malformed, error),
    })?;
    document(&found)
}

pub(super) async fn entries(node: &Node, request: v1::AuditEntriesRequest) -> Reply {
    let v1::AuditEntriesRequest {
        from,
        until,
        last,
        mirror,
    } = request;
    let log = read(node, mirror, false).await?;
    // Seconds for a large log: not on a thread that serves others.
    block_in_place(|| {
        let page = audit_read::page(&log, from, until, last).map_err(refused)?;
        document(&page)
    })
}

pub(super) async fn export(
    node: &Node,
    request: v1::AuditExportRequest,
) -> Result<Response<ReceiverStream<Result<v1::ExportChunk, Status>>>, Status> {
    let log = read(node, request.mirror, request.openings).await?;
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
