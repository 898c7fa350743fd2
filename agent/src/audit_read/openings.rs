//! What opens an entry and is this agency's own: of the requests that it made, as long as they are
//! not erased. The broker gives it to no reader of the log.

use crate::node::Node;
use passerelle_model::{
    commitment::{Field, Opening},
    entry::{Entry, EntryBody},
    statement::{Body, Request},
};

/// Who asked and about whom, of a request that is in `entry`; nothing of anything else.
pub(super) fn own(node: &Node, entry: &[u8]) -> Vec<Opening> {
    let me = &node.context.identity.membership.agency;
    let Ok(EntryBody::Said { agency, envelope }) = Entry::from_bytes(entry).map(|e| e.body) else {
        return Vec::new();
    };
    let Ok(Body::Request(asked)) = envelope.unverified_statement().map(|s| s.body) else {
        return Vec::new();
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
