//! Comparing checkpoints with other members, past the broker: a log that shows two of them two
//! histories is found out though each by itself is in order.
//!
//! In scope: the newest checkpoint of this agency, for others to fetch ([`http`]); fetching those
//! of the peers that `agent.toml` names, each minute; a proof and an alert if one contradicts.
//! Out of scope: what a proof is ([`passerelle_audit::fork`]); who the peers are, which the
//! agencies tell each other.
//!
//! A peer's checkpoint counts if the log signed it, whoever shows it: nobody else can make one, so
//! plain HTTP takes nothing away. A peer that answers nonsense is a warning and no more.
//!
//! With a mirror every size can be compared; a checkpoint that is ahead of the mirror is compared
//! once the mirror is there. Without one, sizes that this witness cosigned of late.

pub(crate) mod http;
#[cfg(test)]
mod tests;

use crate::{alerts::AlertCode, node::Node};
use passerelle_audit::{
    checkpoint::{SignedCheckpoint, open},
    fork::{ForkError, ForkProof},
    merkle::Tree,
};
use std::{collections::BTreeMap, time::Duration};
use tokio::{task::block_in_place, time::MissedTickBehavior};

/// How often the peers are asked.
const EVERY: Duration = Duration::from_secs(60);

/// What a peer's checkpoint came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compared {
    /// One history.
    Agrees,
    /// Of a size that is not known here, or not yet.
    NotKnown,
    /// Two histories; there is an alert.
    Contradicts,
}

/// The newest checkpoint that this agency vouches for: of its mirror, else what its witness
/// cosigned last.
pub(crate) fn own(node: &Node) -> Option<SignedCheckpoint> {
    let verified = node.mirror.as_ref().and_then(|mirror| mirror.verified());
    match verified {
        Some(verified) => Some(verified.signed().clone()),
        None => node.context.forks.newest(),
    }
}

/// Holds a peer's checkpoint against what this agency knows.
///
/// # Errors
/// What is wrong with it, in words: nothing follows from such a one.
pub(crate) fn compare(node: &Node, peer: &str, note: &str) -> Result<Compared, String> {
    let log = &node.context.identity.anchors.log;
    let theirs = open(note, log).map_err(|error| error.to_string())?;
    let proven = match (
        against_mirror(node, &theirs),
        against_witness(node, &theirs),
    ) {
        (Some(Ok(proof)), _) | (_, Some(Ok(proof))) => proof,
        (Some(Err(ForkError::Consistent)), _) | (_, Some(Err(ForkError::Consistent))) => {
            return Ok(Compared::Agrees);
        }
        (None, None) => return Ok(Compared::NotKnown),
        (Some(Err(error)), _) | (_, Some(Err(error))) => return Err(error.to_string()),
    };
    let kept = node.context.forks.keep(&proven.to_string());
    let kept = kept.inspect_err(|error| {
        tracing::error!(%error, "the proof of a fork can't be kept");
    });
    let size = theirs.checkpoint().size();
    let what = format!("`{peer}` has another log than this agency, at {size} entries");
    let alerts = &node.context.alerts;
    alerts.raise(
        node.clock.now(),
        AlertCode::Forked,
        &what,
        kept.ok().as_deref(),
    );
    Ok(Compared::Contradicts)
}

/// `None` if the mirror does not reach as far.
fn against_mirror(node: &Node, theirs: &SignedCheckpoint) -> Option<Result<ForkProof, ForkError>> {
    let mirror = node.mirror.as_ref()?;
    let verified = mirror.verified()?;
    let is_within = theirs.checkpoint().size() <= verified.size();
    is_within.then(|| block_in_place(|| mirror.fork(verified.signed(), theirs, node)))
}

/// `None` if this witness has not cosigned this size of late.
fn against_witness(node: &Node, theirs: &SignedCheckpoint) -> Option<Result<ForkProof, ForkError>> {
    let ours = node.context.forks.at(theirs.checkpoint().size())?;
    let log = &node.context.identity.anchors.log;
    // Of one size no hashes are needed.
    Some(ForkProof::of(&ours, theirs, log, &Tree::new()))
}

/// What a peer showed that was not known here yet, newest by peer.
type Ahead = BTreeMap<String, String>;

/// Compares with the peers for ever.
pub(crate) async fn keep(node: &Node) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ahead = Ahead::new();
    loop {
        ticks.tick().await;
        for peer in &node.context.config.compare {
            if let Some(earlier) = ahead.remove(peer) {
                weigh(node, peer, &earlier);
            }
            match http::fetch(peer).await {
                Ok(note) if weigh(node, peer, &note) == Some(Compared::NotKnown) => {
                    ahead.insert(peer.clone(), note);
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(peer, error, "the checkpoint of a peer can't be fetched");
                }
            }
        }
    }
}

fn weigh(node: &Node, peer: &str, note: &str) -> Option<Compared> {
    compare(node, peer, note)
        .inspect_err(|error| {
            tracing::warn!(
                peer,
                error,
                "what a peer shows is no checkpoint of this log"
            );
        })
        .ok()
}
