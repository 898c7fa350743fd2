//! What opens an entry and is this agency's own: of the requests that it made, as long as they are
//! not erased. The broker gives it to no reader of the log.

use crate::{
    node::Node,
    suspicion::{override_review, record},
};
use passerelle_model::{
    commitment::{Field, Opening},
    entry::{Entry, EntryBody},
    ids::RequestId,
    statement::{Body, Request},
};

/// Who asked and about whom, of a request that is in `entry`; who looked, of the review of an
/// emergency; nothing of anything else.
pub(super) fn own(node: &Node, entry: &[u8]) -> Vec<Opening> {
    let me = &node.context.identity.membership.agency;
    let Ok(EntryBody::Said { agency, envelope }) = Entry::from_bytes(entry).map(|e| e.body) else {
        return Vec::new();
    };
    let asked = match envelope.unverified_statement().map(|s| s.body) {
        Ok(Body::Request(asked)) => asked,
        Ok(Body::OverrideReview(review)) if agency == *me => {
            return of_own_review(node, &review.request).into_iter().collect();
        }
        _ => return Vec::new(),
    };
    let mut openings = Vec::new();
    if agency == *me {
        openings.extend(of_own_request(node, &asked).unwrap_or_default());
    }
    // Why it was asked is nobody's to search.
    openings.retain(|o| matches!(o.field, Field::Subject | Field::Worker));
    openings
}

/// From the vault: gone once the request is erased.
fn of_own_request(node: &Node, asked: &Request) -> Option<Vec<Opening>> {
    let opened = node.context.vault.open(node.core.view(), &asked.request);
    Some(opened.ok()??.openings)
}

/// From the audit case: it stays with the worker's id in it.
fn of_own_review(node: &Node, request: &RequestId) -> Option<Opening> {
    let case = override_review::case_of(request);
    record::case(node.core.view(), &case)
        .ok()?
        .decided?
        .reviewer
}
