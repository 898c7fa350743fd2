//! Audit cases whose deadline is over: said in the log of the node, at the start and every hour.

use super::record;
use crate::{holder::storage, node::Node};
use passerelle_model::error::ErrorCode;
use std::time::Duration;

/// How often to look.
const EVERY: Duration = Duration::from_secs(3_600);

/// Says what is overdue until the storage fails.
///
/// # Errors
/// The store.
pub(crate) async fn keep(node: &Node) -> Result<(), ErrorCode> {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = node.clock.now();
        let overdue = record::open_until(node.core.view(), now).map_err(storage)?;
        if let Some(oldest) = overdue.first() {
            let since_h = oldest
                .review_by
                .map_or(0, |by| now.0.saturating_sub(by.0) / 3_600_000);
            tracing::error!(overdue = overdue.len(), oldest = %oldest.case, since_h,
                "audit cases wait for a verdict beyond their deadline");
        }
    }
}
