//! Searching the log through this agent: what it may read, and who asked and about whom as far as
//! it has the openings itself.

use super::{Row, Source, openings, walk};
use crate::node::Node;
use passerelle_audit::search::{Limits, Page, Query, Search, SearchError};
use passerelle_model::error::ErrorCode;
use serde::{Deserialize, Serialize};
use std::sync::Mutex;

/// What was found, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchView {
    /// What was found.
    #[serde(flatten)]
    pub page: Page,
    /// Distinct valid cosignatures on the checkpoint that was read.
    pub cosignatures: u64,
    /// Whether this agency's own mirror was read, not the broker.
    pub from_mirror: bool,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum SearchFailure {
    /// The log can't be read, or is not what the witnesses cosigned.
    Log(ErrorCode),
    /// The question can't be answered.
    Query(SearchError),
}

/// Searches the log.
///
/// # Errors
/// [`SearchFailure`].
pub async fn search(
    node: &Node,
    source: Source,
    query: &Query,
    limits: Limits,
) -> Result<SearchView, SearchFailure> {
    let by_person = !query.persons.is_empty();
    let why = Mutex::new(None);
    let begin = || Search::new(query.clone(), limits);
    let take = |search: &mut Search, row: Row| {
        let Row {
            entry,
            openings: mut opened,
            ..
        } = row;
        let Some(entry) = entry else {
            search.hidden();
            return Ok(());
        };
        opened.extend(openings::own(node, &entry));
        search.entry(&entry, &opened).map_err(|error| {
            if let Ok(mut why) = why.lock() {
                *why = Some(error);
            }
            ErrorCode::Malformed
        })
    };
    let walked = walk(node, (source, false), begin, take).await;
    let why = why.into_inner().unwrap_or_default();
    let (head, search) = walked.map_err(|code| match why {
        Some(error) => SearchFailure::Query(error),
        None => SearchFailure::Log(code),
    })?;
    // The mirror has no openings: it would find nobody, and that is no answer.
    if head.from_mirror && by_person {
        return Err(SearchFailure::Log(ErrorCode::Unavailable));
    }
    Ok(SearchView {
        page: search.finish().map_err(SearchFailure::Query)?,
        cosignatures: head.cosignatures as u64,
        from_mirror: head.from_mirror,
    })
}
