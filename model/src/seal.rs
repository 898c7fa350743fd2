//! Daily seals: how many entries reached each agency, so that an entry that is kept from it shows.
//!
//! In scope: counting, and the form of what is committed to. Out of scope: when a seal is due
//! ([`crate::decide`]), comparing (the agent, and the auditor's ledger).
//!
//! A seal covers a range of entries that ends where the seal stands. For each agency it has a
//! commitment to [`Counts`]. An agency gets the opening of its own alone, and compares it with what
//! it heard; oversight gets all, and counts again from the entries. So a broker that keeps an entry
//! from an agency must say a lower number in the seal, which oversight finds, or the right one,
//! which the agency finds. Who dealt with whom how often is told to nobody else: in a small place it
//! would tell of whom.

use crate::{
    canonical::{self, CanonicalError},
    ids::AgencyId,
    state::{self, key},
    store::{Read, StoreError},
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Most entries that one seal covers: bounds the work of making it.
pub const MAX_SEALED: u64 = 65_536;

/// Most bytes of names and commitments in one entry; the rest goes into another of the same range.
pub(crate) const MAX_PART_BYTES: usize = 48_000;

/// Most bytes of what opens them: a row with all of them goes into one message.
pub(crate) const MAX_PART_OPENED_BYTES: usize = 128 * 1024;

/// Most agencies that an entry may reach and be counted for each pair of them. Seals themselves reach
/// all members; to say so of each pair would make what is committed to grow with their square.
pub const MAX_TOGETHER: usize = 16;

/// What a seal says to one agency of a range of entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Entries that reached it, those of membership aside, which reach everybody.
    pub entries: u64,
    /// How many of these reached each other member too; of those that reached more than
    /// [`MAX_TOGETHER`] nothing is said.
    pub with: BTreeMap<AgencyId, u64>,
}

impl Counts {
    /// The canonical bytes that a commitment stands for.
    ///
    /// # Errors
    /// Does not happen for values of this type.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CanonicalError> {
        canonical::to_vec(self)
    }

    /// Reads them back.
    ///
    /// # Errors
    /// Another form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CanonicalError> {
        canonical::from_slice(bytes)
    }

    /// Counts one entry that reached `me` and all of `reached`.
    pub fn add(&mut self, me: &AgencyId, reached: &BTreeSet<AgencyId>) {
        self.entries = self.entries.saturating_add(1);
        if reached.len() > MAX_TOGETHER {
            return;
        }
        for other in reached.iter().filter(|other| *other != me) {
            let count = self.with.entry(other.clone()).or_default();
            *count = count.saturating_add(1);
        }
    }
}

/// The counts of each of these members for the entries from `from` on, before `until`.
///
/// # Errors
/// The projection.
pub fn counts(
    state: &dyn Read,
    members: &BTreeSet<AgencyId>,
    from: u64,
    until: u64,
) -> Result<BTreeMap<AgencyId, Counts>, StoreError> {
    let limit = usize::try_from(until.saturating_sub(from)).unwrap_or(usize::MAX);
    let mut reached: BTreeMap<u64, BTreeSet<AgencyId>> = BTreeMap::new();
    for agency in members {
        let indices = state::indices(state, &key::mailbox_of(agency), from, limit)?;
        for index in indices.into_iter().take_while(|index| *index < until) {
            reached.entry(index).or_default().insert(agency.clone());
        }
    }
    let mut counts: BTreeMap<_, _> = members
        .iter()
        .map(|agency| (agency.clone(), Counts::default()))
        .collect();
    for whom in reached.values() {
        for agency in whom {
            if let Some(counts) = counts.get_mut(agency) {
                counts.add(agency, whom);
            }
        }
    }
    Ok(counts)
}
