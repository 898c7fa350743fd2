//! Following the broker: each second, what is new in the log is fetched, verified and stored.
//!
//! In scope: what a step verifies, and what is said of the state. Out of scope: what is made of
//! trouble (`super::watch`).
//!
//! A mirror that can't go on never stops the agent: its witness and its readers are needed more
//! than ever then.

use super::{Mirror, incoming::Incoming, watch};
use crate::{audit_read, holder::storage, node::Node, state};
use passerelle_audit::{
    checkpoint::{Checkpoint, SignedCheckpoint},
    cosignature::cosigned_by,
    merkle::Frontier,
    verify::opens_something,
};
use passerelle_journal::JournalError;
use passerelle_model::{commitment::Field, error::ErrorCode, time::Timestamp};
use passerelle_proto::views::MirrorStatus;
use std::{
    collections::BTreeSet,
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{task::block_in_place, time::MissedTickBehavior};

/// How often the broker is asked.
const EVERY: Duration = Duration::from_secs(1);

/// What was last seen of the broker.
#[derive(Clone, Debug, Default)]
pub(super) struct Noted {
    /// The newest checkpoint that it showed.
    pub(super) offered: Option<SignedCheckpoint>,
    /// When the mirror last stood where the broker did, by the agent's clock.
    level_at: Option<Timestamp>,
    /// Why the last step failed.
    trouble: Option<Trouble>,
    /// How many steps in a row failed so.
    pub(super) times: u32,
    /// Since when the log is longer, as far as this agency knows, than what is shown.
    pub(super) behind_since: Option<Timestamp>,
    /// The reviews that were overdue at the last look.
    pub(super) overdue: BTreeSet<String>,
}

impl Noted {
    /// Whether the last step found no trouble.
    pub(super) const fn is_in_order(&self) -> bool {
        self.trouble.is_none()
    }
}

/// Why a step failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The broker can't be reached.
    Away,
    /// It has no checkpoint with a quorum now.
    NoQuorum,
    /// What it shows is not signed by the log, or not cosigned as it says.
    Checkpoint,
    /// It shows a checkpoint that is not the mirror's at the same size, or shorter.
    Contradiction,
    /// The entries that it gives do not lead to the root that the log signed, or are out of order.
    Entries,
    /// This agency's witness cosigned something else.
    Witness,
    /// The mirror can't be written.
    Storage,
}

impl Trouble {
    /// The stable code.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Away => "unavailable",
            Self::NoQuorum => "no_quorum",
            Self::Checkpoint => "checkpoint_invalid",
            Self::Contradiction => "checkpoint_contradicts",
            Self::Entries => "entries_do_not_match",
            Self::Witness => "witness_contradicts",
            Self::Storage => "storage",
        }
    }
}

impl From<JournalError> for Trouble {
    fn from(error: JournalError) -> Self {
        tracing::error!(%error, "the mirror can't be written");
        Self::Storage
    }
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// So many entries are stored, all that the broker shows.
    Level(u64),
    /// The newest checkpoint lacks the cosignature of this agency's own witness: soon.
    NotYet,
}

impl Mirror {
    pub(super) fn noted(&self) -> MutexGuard<'_, Noted> {
        // Each change is one step.
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the mirror stands.
    pub(crate) fn status(&self) -> MirrorStatus {
        let noted = self.noted().clone();
        let verified = self.verified();
        let size = verified.as_ref().map_or(0, |verified| verified.size());
        MirrorStatus {
            size,
            behind: noted
                .offered
                .map_or(0, |o| o.checkpoint().size().saturating_sub(size)),
            checked: self.checked(),
            root: verified.map(|v| v.signed().checkpoint().root().to_hex()),
            level_at: noted.level_at,
            trouble: noted.trouble.map(|t| t.code().to_owned()),
        }
    }

    /// One step: everything that is new is fetched, verified and stored.
    pub(super) async fn step(&self, node: &Node) -> Result<Step, Trouble> {
        let offer = audit_read::latest(node).await.map_err(of_checkpoint)?;
        let offered = offer.signed.checkpoint().clone();
        self.noted().offered = Some(offer.signed.clone());
        let verified = self.verified();
        if let Some(verified) = &verified {
            // Whoever cosigned it: the log signed both.
            agrees(verified.signed().checkpoint(), &offered)?;
        }
        if !is_ours(node, &offer.signed)? {
            return Ok(Step::NotYet);
        }
        if verified.is_some_and(|verified| verified.size() == offered.size()) {
            return Ok(Step::Level(offered.size()));
        }
        let mut tree = self.frontier();
        let incoming = self.fetch(node, &offer, &mut tree).await?;
        if tree.root() != offered.root() {
            return Err(Trouble::Entries);
        }
        block_in_place(|| self.accept(offer.signed, incoming))?;
        self.agrees_with_witness(node)?;
        Ok(Step::Level(offered.size()))
    }

    async fn fetch(
        &self,
        node: &Node,
        offer: &audit_read::Offer,
        tree: &mut Frontier,
    ) -> Result<Incoming, Trouble> {
        let unwritable = |error: std::io::Error| {
            tracing::error!(%error, "the mirror can't be written");
            ErrorCode::Storage
        };
        let mut index = tree.size();
        let incoming = Incoming::open(&self.dir).map_err(unwritable);
        let mut incoming = incoming.map_err(of_rows)?;
        let mut take = |row: audit_read::Row| {
            // Hidden from nobody who reads all: it was refused before.
            let entry = row.entry.ok_or(ErrorCode::ProofInvalid)?;
            // They are in no root: what opens nothing is nobody's word for anything.
            let mut openings = opens_something(&entry, row.openings);
            openings.retain(|o| matches!(o.field, Field::Subject | Field::Counts));
            let sealed = self.sealer.seal(index, &openings)?;
            index = index.saturating_add(1);
            incoming.push(&entry, &sealed).map_err(unwritable)
        };
        let fetched = audit_read::rows(node, offer, tree, &mut take).await;
        fetched.map_err(of_rows)?;
        Ok(incoming)
    }

    /// The tree that is stored must be the one that this agency's own witness vouched for.
    fn agrees_with_witness(&self, node: &Node) -> Result<(), Trouble> {
        let meta = state::meta(node.core.view()).map_err(storage);
        let witness = meta.map_err(of_rows)?.witness;
        let tree = self.tree();
        if witness.size > tree.size() {
            return Ok(());
        }
        match tree.root_at(witness.size) {
            Ok(root) if root == witness.root => Ok(()),
            Ok(_) => Err(Trouble::Witness),
            Err(_) => Err(Trouble::Storage),
        }
    }

    /// Takes note of what a step came to. Whether it is something new.
    fn note(&self, now: Timestamp, outcome: Result<Step, Trouble>) -> bool {
        let mut noted = self.noted();
        let before = noted.trouble;
        noted.trouble = outcome.err();
        if let Ok(Step::Level(_)) = outcome {
            noted.level_at = Some(now);
        }
        let is_new = before != noted.trouble;
        noted.times = if is_new {
            1
        } else {
            noted.times.saturating_add(1)
        };
        is_new
    }
}

/// Whether this agency's own witness cosigned it, by the note or by what it remembers.
fn is_ours(node: &Node, signed: &SignedCheckpoint) -> Result<bool, Trouble> {
    let own = &node.context.identity.anchors.own_witness;
    let trust = node.trust().map_err(of_rows)?;
    if !trust.witnesses().contains(own) {
        // Off the panel it is not asked about every checkpoint: what it did cosign is compared once
        // the entries are stored.
        return Ok(true);
    }
    let cosigned = cosigned_by(signed, std::slice::from_ref(own));
    if !cosigned.map_err(|_| Trouble::Checkpoint)?.is_empty() {
        return Ok(true);
    }
    // It may have cosigned after the note was given.
    let meta = state::meta(node.core.view()).map_err(storage);
    let witness = meta.map_err(of_rows)?.witness;
    let offered = signed.checkpoint();
    Ok((witness.size, witness.root) == (offered.size(), offered.root()))
}

/// A log only grows: what it shows now is not shorter, and at the same size the same.
fn agrees(verified: &Checkpoint, offered: &Checkpoint) -> Result<(), Trouble> {
    let is_same_size = verified.size() == offered.size();
    if offered.size() < verified.size() || (is_same_size && offered.root() != verified.root()) {
        return Err(Trouble::Contradiction);
    }
    Ok(())
}

fn of_checkpoint(code: ErrorCode) -> Trouble {
    match code {
        ErrorCode::ProofInvalid => Trouble::Checkpoint,
        code => of_rows(code),
    }
}

fn of_rows(code: ErrorCode) -> Trouble {
    match code {
        ErrorCode::ProofInvalid | ErrorCode::Malformed => Trouble::Entries,
        ErrorCode::Storage => Trouble::Storage,
        ErrorCode::NoQuorum => Trouble::NoQuorum,
        _ => Trouble::Away,
    }
}

/// One step, and what is to be said of it.
pub(super) async fn round(node: &Node, mirror: &Mirror) -> Result<Step, Trouble> {
    let outcome = mirror.step(node).await;
    let is_new = mirror.note(node.clock.now(), outcome);
    match outcome {
        Err(Trouble::Away | Trouble::NoQuorum) if is_new => {
            tracing::info!("the mirror can't be brought up to date while the broker is away");
        }
        Err(trouble) if is_new => {
            tracing::error!(code = trouble.code(), "the mirror can't go on");
        }
        _ => {}
    }
    watch::watch(node, mirror, outcome.err()).await;
    outcome
}

/// Follows the broker for ever.
pub(crate) async fn keep(node: &Node, mirror: &Arc<Mirror>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // What is wrong has been said.
        let _ = round(node, mirror).await;
    }
}
