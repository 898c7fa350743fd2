//! Promises about what was written: 7 (nothing acknowledged is lost), 8 (history is not rewritten).

use super::{Broken, Promise, ensure};
use crate::{agency::Agency, ghost::Ghost};
use passerelle_audit::merkle::{Tree, node_hash};
use passerelle_broker::ledger::View;
use passerelle_model::{bytes::Digest, ids::AgencyId, state};
use std::collections::BTreeSet;

/// 7. After a start the broker has every entry, and every statement for which it answered.
///
/// # Errors
/// The broken promise.
pub fn nothing_acknowledged_is_lost_by_broker(ghost: &Ghost, view: &View) -> Result<(), Broken> {
    let lost = |what: String| Broken::new(Promise::NothingAcknowledgedIsLost, what);
    for (index, logged) in (0..).zip(&ghost.log) {
        let raw = view
            .journal
            .read(index)
            .map_err(|_| lost(format!("entry {index}")))?;
        let raw = raw.ok_or_else(|| lost(format!("the broker lost entry {index}")))?;
        let whole = Digest::of(&[raw.entry, raw.sidecar].concat());
        if whole != logged.whole {
            return Err(lost(format!("the broker's entry {index} is another one")));
        }
    }
    for (statement, index) in &ghost.acknowledged {
        let seen = state::seen(view.projection.as_ref(), statement).expect("the projection");
        if seen != Some(*index) {
            return Err(lost(format!("the broker forgot the statement at {index}")));
        }
    }
    let root = ghost.log.iter().map(|e| e.leaf).collect::<Vec<_>>();
    let tree = view.tree();
    let same = tree
        .root_at(root.len() as u64)
        .is_ok_and(|r| r == naive_root(&root));
    ensure(same, Promise::HistoryIsNotRewritten, || {
        "after a start the tree is not the one over the entries".to_owned()
    })
}

/// 7. After a start an agent has every transaction that its journal acknowledged.
///
/// # Errors
/// The broken promise.
pub fn nothing_acknowledged_is_lost_by_agent(
    agency: &Agency,
    there: &[Digest],
) -> Result<(), Broken> {
    ensure(
        there.starts_with(&agency.acknowledged),
        Promise::NothingAcknowledgedIsLost,
        || {
            let (had, has) = (agency.acknowledged.len(), there.len());
            format!(
                "{} had acknowledged {had} transactions and has {has}",
                agency.id
            )
        },
    )
}

/// 7. After a start an agent has the key of each request that nobody set out to erase.
///
/// # Errors
/// The broken promise.
pub fn no_key_is_lost(ghost: &Ghost, agency: &Agency) -> Result<(), Broken> {
    let Some(up) = &agency.up else { return Ok(()) };
    for row in passerelle_agent::state::asks(up.store.view()).expect("the projection") {
        let request = &row.request.request;
        // One that rotted is damaged, and never taken for destroyed.
        let is_gone = matches!(up.context.vault.key(request), Ok(None));
        let lost = is_gone && !ghost.erasing.contains(request);
        ensure(!lost, Promise::NothingAcknowledgedIsLost, || {
            format!("{} lost the key of an answer", agency.id)
        })?;
    }
    Ok(())
}

/// Promise 8: checkpoints that one witness cosigned, and checkpoints that a quorum cosigned, are each over
/// prefixes of one log.
///
/// # Errors
/// The broken promise.
pub fn history_is_not_rewritten(
    ghost: &mut Ghost,
    (ix, agency): (usize, &AgencyId),
    size: u64,
    quorum: &BTreeSet<AgencyId>,
    needed: usize,
) -> Result<(), Broken> {
    let Some(leaves) = ghost.leaves(size) else {
        return Err(Broken::new(
            Promise::HistoryIsNotRewritten,
            format!("{agency} cosigned {size} entries, more than there are"),
        ));
    };
    let own = ghost.witnessed.entry(ix).or_default();
    ensure(
        leaves.starts_with(own),
        Promise::HistoryIsNotRewritten,
        || format!("the witness of {agency} cosigned two histories"),
    )?;
    own.clone_from(&leaves);
    let Some(root) = ghost.root(size) else {
        return Ok(());
    };
    let cosigners = ghost.cosigned.entry((size, root)).or_default();
    cosigners.insert(agency.clone());
    if cosigners.intersection(quorum).count() < needed {
        return Ok(());
    }
    let consistent = leaves.starts_with(&ghost.canon) || ghost.canon.starts_with(&leaves);
    ensure(consistent, Promise::HistoryIsNotRewritten, || {
        format!("a quorum cosigned {size} entries of another history")
    })?;
    if leaves.len() > ghost.canon.len() {
        ghost.canon = leaves;
    }
    Ok(())
}

/// The root of RFC 6962, section 2.1, by its definition. For large logs by the product's tree,
/// which other tests compare with this.
pub fn naive_root(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => Tree::new().root(),
        [one] => *one,
        _ => {
            let half = leaves.len().next_power_of_two() / 2;
            let (left, right) = leaves.split_at(half);
            node_hash(&naive_root(left), &naive_root(right))
        }
    }
}
