//! The proof that the simulation can fail: for each promise a bug that it finds.

use passerelle_model::seeded::{Bug, plant};
use passerelle_simulation::{OPERATIONS, promises::Promise, shrink::shrink, simulate};

/// Seeds that a bug may survive.
const PATIENCE: u64 = 400;

fn finds(bug: Bug, promise: Promise) {
    plant(Some(bug));
    let found = (0..PATIENCE).find_map(|seed| Some((seed, simulate(seed).broken?)));
    plant(None);
    let (seed, broken) = found.unwrap_or_else(|| panic!("{bug:?} survived {PATIENCE} seeds"));
    println!("{bug:?}: seed {seed}: {broken}");
    assert_eq!(broken.promise, promise, "{broken}");
}

macro_rules! bugs {
    ($($name:ident: $bug:ident breaks $promise:ident;)*) => {$(
        #[test]
        fn $name() {
            finds(Bug::$bug, Promise::$promise);
        }
    )*};
}

bugs! {
    an_entry_without_quorum_is_found: EntryWithoutQuorum breaks NoEntryNoRelease;
    a_permit_on_what_has_expired_is_found: ExpiredStillCounts breaks DenyByDefault;
    a_context_in_the_clear_is_found: ContextInTheClear breaks TheBrokerIsBlind;
    a_local_policy_that_is_not_asked_is_found: LocalPolicyIgnored breaks TwoKeys;
    a_withdrawal_that_stops_nothing_is_found: WithdrawalStopsNothing breaks WithdrawalWins;
    a_withdrawal_that_is_told_to_nobody_is_found: WithdrawalToldToNobody breaks WithdrawalWins;
    an_answer_that_leaves_after_a_withdrawal_is_found: LeavesAfterWithdrawal
        breaks WithdrawalWins;
    a_decision_by_chance_is_found: DecisionByChance breaks DecisionsCanBeReplayed;
    an_append_without_sync_is_found: AppendWithoutSync breaks NothingAcknowledgedIsLost;
    a_key_that_is_not_durable_is_found: KeysWithoutSync breaks NothingAcknowledgedIsLost;
    a_witness_that_forgets_is_found: WitnessForgets breaks HistoryIsNotRewritten;
    an_answer_at_once_without_record_is_found: AnswerAtOnceWithoutRecord
        breaks SilenceLooksTheSame;
    a_size_that_follows_content_is_found: SizeByContent breaks SilenceLooksTheSame;
    a_key_that_survives_erasure_is_found: EraseKeepsKey breaks ErasureIsReal;
    a_permit_that_is_renewed_for_ever_is_found: RenewalForNothing breaks NothingIsStuck;
    an_old_signature_is_found: OldSignature breaks NothingIsStuck;
}

#[test]
fn a_failing_story_is_made_short() {
    plant(Some(Bug::WithdrawalToldToNobody));
    // A bug that many seeds find: which seed is the first moves when what is drawn moves.
    let seed = (0..PATIENCE).find(|seed| simulate(*seed).broken.is_some());
    let shrunk = shrink(seed.expect("a seed fails"), OPERATIONS, 120).expect("it fails again");
    plant(None);
    println!("{shrunk}");
    let broken = shrunk.outcome.broken.as_ref().expect("it still fails");
    assert_eq!(broken.promise, Promise::WithdrawalWins);
    let left = shrunk.ops.len();
    assert!(left <= 12, "{left} operations of {OPERATIONS}");
    assert!(shrunk.outcome.lines.iter().any(|line| line.contains("** ")));
}
