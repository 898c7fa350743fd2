//! The ten promises of `ARCHITECTURE.md` as predicates, one small function each.
//!
//! They look at what left a machine, what a machine stored, and what the observer knows. What they
//! know of the law they know by a reading of their own ([`crate::ghost::Reading`]).

mod blind;
mod exchange;
mod history;
mod log;
mod silence;

pub use blind::{
    erased_keys_are_nowhere, erasure_is_real, searcher, the_broker_is_blind,
    the_brokers_disk_is_blind,
};
pub use exchange::{
    Heard, of_what_an_agent_journals, of_what_an_agent_says, of_what_the_broker_says,
    what_is_believed_is_in_the_log,
};
pub use history::{
    naive_root, no_key_is_lost, nothing_acknowledged_is_lost_by_agent,
    nothing_acknowledged_is_lost_by_broker,
};
pub use log::{decisions_can_be_replayed_whole, of_an_entry};
pub use silence::no_record_looks_the_same;

use std::fmt;

/// A promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// 1.
    NoEntryNoRelease,
    /// 2.
    DenyByDefault,
    /// 3.
    TheBrokerIsBlind,
    /// 4.
    TwoKeys,
    /// 5.
    WithdrawalWins,
    /// 6.
    DecisionsCanBeReplayed,
    /// 7.
    NothingAcknowledgedIsLost,
    /// 8.
    HistoryIsNotRewritten,
    /// 9.
    SilenceLooksTheSame,
    /// 10.
    ErasureIsReal,
    /// Beside the ten: once everything is mended, everything comes to an end.
    NothingIsStuck,
}

/// A promise that was broken, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub promise: Promise,
    /// How.
    pub how: String,
}

impl Broken {
    /// A broken promise.
    pub fn new(promise: Promise, how: impl Into<String>) -> Self {
        Self {
            promise,
            how: how.into(),
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is broken: {}", self.promise, self.how)
    }
}

/// Fails with a broken promise unless `holds`.
pub(crate) fn ensure(
    holds: bool,
    promise: Promise,
    how: impl FnOnce() -> String,
) -> Result<(), Broken> {
    if holds {
        Ok(())
    } else {
        Err(Broken::new(promise, how()))
    }
}
