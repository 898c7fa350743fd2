//! What opens an entry and is this agency's own: of the requests that it made, and of those that
//! it was asked, as long as they are not erased. The broker gives neither to a reader of the log.

use crate::{asked_by::open_context, node::Node, state};
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
    if asked.holder == *me {
        openings.extend(of_asked(node, &asked));
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

/// What came with the permit: the handle from the broker, the worker sealed by who asked.
fn of_asked(node: &Node, asked: &Request) -> Vec<Opening> {
    let view = node.core.view();
    let offer = state::offer(view, &asked.request).ok().flatten();
    let related = offer.and_then(|noticed| noticed.related);
    let mut openings = related.map_or_else(Vec::new, |related| related.openings);
    if let Ok(context) = open_context(&node.context, view, &asked.request) {
        openings.extend(context.openings);
    }
    openings
}
