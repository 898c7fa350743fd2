//! Bugs that are put in on purpose, to prove that the simulation finds them.
//!
//! In scope: the list, and which one is in force on this thread. Without the feature
//! `seeded-bugs`, which no build of the product has and no build without debug assertions takes,
//! none ever is, and the compiler drops every trace. Out of scope: what they do; that stands where
//! the right code stands.

#[cfg(all(feature = "seeded-bugs", not(debug_assertions)))]
compile_error!("`seeded-bugs` is for the simulation alone");

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// An agent believes an entry that its own witness alone has cosigned.
    EntryWithoutQuorum,
    /// What has expired still counts.
    ExpiredStillCounts,
    /// Who asks and why goes to the broker in the clear.
    ContextInTheClear,
    /// The holder's own policy is not asked.
    LocalPolicyIgnored,
    /// A withdrawal stops nothing that is under way.
    WithdrawalStopsNothing,
    /// A withdrawal is told to nobody who has received something.
    WithdrawalToldToNobody,
    /// A decision depends on something that is not in the log.
    DecisionByChance,
    /// An append is acknowledged before it is durable.
    AppendWithoutSync,
    /// A request is journaled before the key of its answer is durable.
    KeysWithoutSync,
    /// A witness forgets what it cosigned.
    WitnessForgets,
    /// Without a record the answer leaves at once.
    AnswerAtOnceWithoutRecord,
    /// The size of a sealed answer follows from what is in it.
    SizeByContent,
    /// Erasing an answer leaves its key.
    EraseKeepsKey,
    /// A permit is issued again although the new one ends with the old one.
    RenewalForNothing,
    /// An answer leaves although what it rested on was withdrawn at the holder since.
    LeavesAfterWithdrawal,
    /// What waited while the keys were renewed leaves under the old signature.
    OldSignature,
}

#[cfg(feature = "seeded-bugs")]
std::thread_local! {
    static IN_FORCE: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Puts a bug in force on this thread, or takes it out.
#[cfg(feature = "seeded-bugs")]
pub fn plant(bug: Option<Bug>) {
    IN_FORCE.with(|cell| cell.set(bug));
}

/// Whether `bug` is in force.
#[cfg(feature = "seeded-bugs")]
pub fn seeded(bug: Bug) -> bool {
    IN_FORCE.with(|cell| cell.get() == Some(bug))
}

/// Whether `bug` is in force: never.
#[cfg(not(feature = "seeded-bugs"))]
pub const fn seeded(_: Bug) -> bool {
    false
}
