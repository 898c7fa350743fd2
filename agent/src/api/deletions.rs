//! Early deletion reviews: listed, and closed by keeping. Closed by erasing: `Erase`.

use super::{Reply, document, done, input, refuse, refused};
use crate::{
    deletions,
    holder::storage,
    node::{Node, Settled},
};
use passerelle_model::{error::ErrorCode, ids::RequestId};
use passerelle_proto::v1;

pub(super) fn list(node: &Node) -> Reply {
    let (now, days) = (node.clock.now(), node.context.config.deletion_review_days);
    let reviews = deletions::reviews(node.core.view(), days, now);
    document(&reviews.map_err(|e| refused(storage(e)))?)
}

pub(super) async fn keep(node: &Node, request: v1::KeepAfterCaseRequest) -> Reply {
    let id: RequestId = input::id("request", &request.request)?;
    let worker = input::worker(node, &request.worker)?;
    let reason = request.reason.parse::<deletions::KeepReason>();
    let reason = reason.map_err(|error| refuse(ErrorCode::UnknownCode, error))?;
    let now = node.clock.now();
    let kept = id.clone();
    let write = node.core.write(now, move |view| {
        let events = deletions::keep(view, &kept, reason, &worker.id, now)?;
        Ok((events, ()))
    });
    write.await.map_err(refused)?;
    document(&done(id.to_string(), &Settled::Logged(None)))
}
