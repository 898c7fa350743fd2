//! The witness rule for one to seven witnesses, every number of liars, every order.

use passerelle_audit::witness::quorum;
use passerelle_modelcheck::witness::{ALL_AGREE, ONE_HISTORY, WitnessFlaw, Witnesses};
use stateright::{Checker as _, HasDiscoveries, Model as _};

/// Whether two forks can both gather `k` cosignatures.
fn can_fork(n: usize, liars: usize, k: usize, flaw: WitnessFlaw) -> bool {
    let checker = Witnesses::new(n, liars, k, flaw)
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let forks = checker.discovery(ONE_HISTORY).is_some();
    assert!(
        forks || checker.discovery(ALL_AGREE).is_some(),
        "n {n}: nothing ever counts"
    );
    forks
}

/// Most liars among `n` witnesses that the quorum is meant to bear: up to a third.
fn bearable(n: usize) -> usize {
    n / 3
}

#[test]
fn no_two_histories_both_reach_the_quorum_however_a_third_of_the_witnesses_lie() {
    for n in 1..=7 {
        for liars in 0..=bearable(n) {
            let forks = can_fork(n, liars, quorum(n), WitnessFlaw::None);
            assert!(!forks, "{n} witnesses, {liars} liars");
        }
    }
}

#[test]
fn the_quorum_bears_exactly_as_many_liars_as_two_quorums_share_witnesses() {
    for n in 1..=5 {
        // Two sets of k among n have at least 2k - n in common: one honest one must be left.
        let shared = 2 * quorum(n) - n;
        for liars in 0..=n {
            let forks = can_fork(n, liars, quorum(n), WitnessFlaw::None);
            assert_eq!(forks, liars >= shared, "{n} witnesses, {liars} liars");
        }
    }
}

#[test]
fn one_cosignature_less_would_not_be_enough() {
    for n in 1..=7 {
        let forks = can_fork(n, bearable(n), quorum(n) - 1, WitnessFlaw::None);
        assert!(forks, "{n} witnesses");
    }
}

#[test]
fn witnesses_that_reply_before_they_persist_can_be_brought_to_sign_two_histories() {
    for n in 1..=4 {
        assert!(
            can_fork(n, 0, quorum(n), WitnessFlaw::RepliesFirst),
            "{n} witnesses"
        );
    }
}

#[test]
#[ignore = "minutes: nine witnesses"]
fn nine_witnesses_with_three_liars() {
    assert!(!can_fork(9, 3, quorum(9), WitnessFlaw::None));
    assert!(can_fork(9, 3, quorum(9) - 1, WitnessFlaw::None));
}
