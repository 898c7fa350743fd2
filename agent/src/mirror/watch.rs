//! Watching over the log: alerts on whatever in it, or in what the broker shows of it, is not in
//! order.
//!
//! In scope: what is worth an alert, and when; the proof of a fork. Out of scope: keeping alerts
//! ([`crate::alerts`]).
//!
//! What a broker that is being stopped can cause, such as a stream that ends early, must come
//! several times in a row before it is an alert. A contradiction is one at once.

use super::{Mirror, follow::Trouble};
use crate::{alerts::AlertCode, audit_read, node::Node, state};
use passerelle_audit::{
    checkpoint::SignedCheckpoint,
    fork::{ForkError, ForkProof},
    merkle::{Frontier, Tree},
    verify::FaultCode,
};
use passerelle_model::{error::ErrorCode, time::Timestamp};
use std::{collections::BTreeSet, sync::PoisonError};
use tokio::task::block_in_place;

/// Steps in a row with the same trouble, after which it is an alert.
const PERSISTENT: u32 = 3;

/// How long the broker may show a log that is shorter than what this agency knows of, in seconds.
const STALE_S: u64 = 600;

/// Entries whose rules are verified in one go.
const AT_ONCE: u64 = 5_000;

/// Most overdue reviews that become alerts at one look; the next look goes on.
const MAX_OVERDUE: usize = 64;

/// Most entries of a log that is fetched whole to prove a fork (64 bytes of memory each).
const MAX_FORK_ENTRIES: u64 = 8 * 1024 * 1024;

/// Looks at what the last step came to, and at what is stored since.
pub(super) async fn watch(node: &Node, mirror: &Mirror, trouble: Option<Trouble>) {
    if let Some(trouble) = trouble {
        judge(node, mirror, trouble).await;
    }
    block_in_place(|| mirror.check_rules(node));
    look_for_newer(node, mirror);
    look_for_overdue_reviews(node, mirror);
}

async fn judge(node: &Node, mirror: &Mirror, trouble: Trouble) {
    let times = mirror.noted().times;
    let (code, what) = match trouble {
        Trouble::Away | Trouble::NoQuorum => return,
        Trouble::Contradiction if times == 1 => return contradiction(node, mirror).await,
        // Longer, and perhaps with another beginning: the proof takes the whole log.
        Trouble::Entries if times == PERSISTENT => return contradiction(node, mirror).await,
        Trouble::Checkpoint if times == PERSISTENT => (
            AlertCode::CheckpointInvalid,
            "the broker shows a checkpoint that is not signed or cosigned as it says",
        ),
        Trouble::Witness if times == PERSISTENT => (
            AlertCode::WitnessContradicts,
            "this agency's own witness cosigned another tree than that of the mirror",
        ),
        Trouble::Storage if times == PERSISTENT => (
            AlertCode::MirrorFailed,
            "the mirror can't be written; it stands still",
        ),
        Trouble::Contradiction
        | Trouble::Entries
        | Trouble::Checkpoint
        | Trouble::Witness
        | Trouble::Storage => return,
    };
    doubt(node, code, what);
}

fn doubt(node: &Node, code: AlertCode, what: &str) {
    let alerts = &node.context.alerts;
    alerts.raise(node.clock.now(), code, what, None);
}

/// What is shown and what was verified do not go together: the proof, if there is one.
async fn contradiction(node: &Node, mirror: &Mirror) {
    let offered = mirror.noted().offered.clone();
    let (Some(offered), Some(verified)) = (offered, mirror.verified()) else {
        let what = "the entries do not lead to the root that the log signed";
        return doubt(node, AlertCode::EntriesDoNotMatch, what);
    };
    let (size, shown) = (verified.size(), offered.checkpoint().size());
    let what = format!("{size} entries were verified, and the broker shows {shown}");
    match prove(node, mirror, verified.signed(), &offered).await {
        Ok(proof) => {
            let kept = node.context.forks.keep(&proof.to_string());
            let kept = kept.inspect_err(|error| {
                tracing::error!(%error, "the proof of a fork can't be kept");
            });
            let alerts = &node.context.alerts;
            alerts.raise(
                node.clock.now(),
                AlertCode::Forked,
                &what,
                kept.ok().as_deref(),
            );
        }
        Err(ForkError::Consistent) if shown < size => doubt(node, AlertCode::WentBack, &what),
        Err(_) => doubt(node, AlertCode::EntriesDoNotMatch, &what),
    }
}

async fn prove(
    node: &Node,
    mirror: &Mirror,
    verified: &SignedCheckpoint,
    offered: &SignedCheckpoint,
) -> Result<ForkProof, ForkError> {
    if offered.checkpoint().size() <= verified.checkpoint().size() {
        // The mirror has the hashes of the larger one; for equal sizes none are needed.
        return mirror.fork(verified, offered, node);
    }
    let tree = whole(node, offered).await.ok_or(ForkError::OtherTree)?;
    let log = &node.context.identity.anchors.log;
    ForkProof::of(verified, offered, log, &tree)
}

/// The tree of the log that the broker shows, from its first entry on.
async fn whole(node: &Node, offered: &SignedCheckpoint) -> Option<Tree> {
    if offered.checkpoint().size() > MAX_FORK_ENTRIES {
        return None;
    }
    let offer = audit_read::offer(node, offered.note().to_string()).ok()?;
    let mut tree = Tree::new();
    let mut frontier = Frontier::new();
    let mut take = |row: audit_read::Row| {
        tree.push(row.leaf);
        Ok(())
    };
    let fetched = audit_read::rows(node, &offer, &mut frontier, &mut take).await;
    fetched.ok()?;
    Some(tree)
}

/// The log is longer than what the broker shows, as far as this agency knows: for how long?
fn look_for_newer(node: &Node, mirror: &Mirror) {
    let Ok(meta) = state::meta(node.core.view()) else {
        return;
    };
    let mut noted = mirror.noted();
    let offered = noted.offered.as_ref().map_or(0, |o| o.checkpoint().size());
    let known = [meta.witness.size, meta.next_notice, meta.next_member];
    let known = known.into_iter().fold(offered, u64::max);
    let size = mirror.verified().map_or(0, |verified| verified.size());
    if known <= size || !node.link.is_up() {
        noted.behind_since = None;
        return;
    }
    let now = node.clock.now();
    let since = *noted.behind_since.get_or_insert(now);
    drop(noted);
    if is_stale(since, now) {
        let what = format!("at {size} entries since {}", since.to_rfc3339());
        doubt(node, AlertCode::Stale, &what);
    }
}

/// Emergencies whose review is overdue, once the mirror has all that the broker shows: what comes
/// late may be in what is missing.
fn look_for_overdue_reviews(node: &Node, mirror: &Mirror) {
    let size = mirror.verified().map_or(0, |verified| verified.size());
    {
        let noted = mirror.noted();
        let shown = noted.offered.as_ref().map(|o| o.checkpoint().size());
        if !noted.is_in_order() || shown != Some(size) {
            return;
        }
    }
    let now = node.clock.now();
    for what in mirror.overdue_reviews(size, now) {
        let alerts = &node.context.alerts;
        alerts.raise_once(now, AlertCode::ReviewOverdue, &what);
    }
}

/// What of `overdue` was not said yet, at most so much as one look says. Those that were said take
/// no place of one that was not, however long nobody reviews them.
fn new_of(overdue: &BTreeSet<String>, said: &mut BTreeSet<String>) -> Vec<String> {
    said.retain(|what| overdue.contains(what));
    let new = overdue.difference(said).take(MAX_OVERDUE);
    let new: Vec<_> = new.cloned().collect();
    said.extend(new.iter().cloned());
    new
}

fn is_stale(since: Timestamp, now: Timestamp) -> bool {
    now >= since.plus_s(STALE_S)
}

impl Mirror {
    /// The proof that `other`, which is not larger, contradicts what was verified.
    ///
    /// # Errors
    /// [`ForkError::Consistent`] if it does not.
    pub(crate) fn fork(
        &self,
        verified: &SignedCheckpoint,
        other: &SignedCheckpoint,
        node: &Node,
    ) -> Result<ForkProof, ForkError> {
        let log = &node.context.identity.anchors.log;
        ForkProof::of(verified, other, log, &*self.tree())
    }

    /// How many entries were verified to keep to the rules of the log.
    pub(super) fn checked(&self) -> u64 {
        let rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        rules.next()
    }

    /// What is overdue and was not said since the start, if all `size` entries were verified.
    fn overdue_reviews(&self, size: u64, now: Timestamp) -> Vec<String> {
        let rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        if rules.next() != size || rules.fault().is_some() {
            return Vec::new();
        }
        let overdue = rules.overdue_reviews(now, usize::MAX);
        drop(rules);
        let overdue = overdue.iter().map(ToString::to_string).collect();
        new_of(&overdue, &mut self.noted().overdue)
    }

    /// Verifies what is stored against the rules of the log, as the verification of an export
    /// does. After a start it begins anew: what it remembers of a log is not on disk.
    fn check_rules(&self, node: &Node) {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let size = self.verified().map_or(0, |verified| verified.size());
        let from = rules.next();
        if rules.fault().is_some() || from >= size {
            return;
        }
        let until = size.min(from.saturating_add(AT_ONCE));
        let read = self.read(from, until, &mut |entry| {
            rules.take(&entry).map_err(|_| ErrorCode::Malformed)
        });
        let Some(fault) = rules.fault() else {
            if read.is_err() {
                doubt(node, AlertCode::MirrorFailed, "the mirror can't be read");
            }
            return;
        };
        let code = match fault.code {
            FaultCode::Time => AlertCode::TimeWentBack,
            _ => AlertCode::EntryInvalid,
        };
        doubt(node, code, &fault.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_stale_after_some_minutes_and_not_before() {
        let since = Timestamp(1_000_000);
        assert!(!is_stale(since, since));
        assert!(!is_stale(since, Timestamp(since.plus_s(STALE_S).0 - 1)));
        assert!(is_stale(since, since.plus_s(STALE_S)));
        // A clock that is put back is no reason.
        assert!(!is_stale(since, Timestamp(0)));
    }

    #[test]
    fn reviews_that_nobody_ever_does_hide_no_later_one() {
        let name = |n: usize| format!("review {n:04}");
        let mut overdue: BTreeSet<_> = (0..3 * MAX_OVERDUE).map(name).collect();
        let mut said = BTreeSet::new();
        let mut all = Vec::new();
        for _ in 0..3 {
            let new = new_of(&overdue, &mut said);
            assert_eq!(new.len(), MAX_OVERDUE);
            all.extend(new);
        }
        assert!(all.iter().eq(&overdue), "each once");
        assert!(new_of(&overdue, &mut said).is_empty());
        overdue.insert(name(9_999));
        assert_eq!(new_of(&overdue, &mut said), [name(9_999)]);
        // One that was reviewed is forgotten.
        overdue.remove(&name(0));
        assert!(new_of(&overdue, &mut said).is_empty());
        assert!(!said.contains(&name(0)));
    }
}
