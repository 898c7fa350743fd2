//! The exchange, in every order, and flawed ones that must be found out.

use passerelle_model::request::Status;
use passerelle_modelcheck::{
    beginning::first_log,
    broker::{Broker, Cmd, Event, FIRST, Flaw},
    exchange::{Action, Asked, Exchange, HolderFlaw, State},
    graph::Graph,
    properties::{LOG_IN_ORDER, NO_BLIND_ANSWER},
    said::{DEADLINE, Stmt},
};
use stateright::{Checker as _, HasDiscoveries, Model as _};
use std::collections::HashMap;

/// Runs the checker over everything.
fn check(model: Exchange) -> impl stateright::Checker<Exchange> {
    model.checker().threads(2).spawn_bfs().join()
}

/// Runs the checker until `property` is broken, and says how.
fn broken(model: Exchange, property: &'static str) -> Vec<Action> {
    let checker = model
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AllOf([property].into()))
        .spawn_bfs()
        .join();
    let path = checker.discovery(property);
    path.unwrap_or_else(|| panic!("nobody noticed: {property}"))
        .into_actions()
}

#[test]
fn nothing_is_released_without_permit_and_entry_nor_after_a_withdrawal_in_any_order() {
    let checker = check(Exchange::new(Flaw::None, HolderFlaw::None));
    checker.assert_properties();
    assert!(checker.unique_state_count() > 100_000, "too small a world");
}

#[test]
#[ignore = "minutes and gigabytes: a world with five steps of the clock"]
fn nothing_is_released_without_permit_and_entry_in_a_longer_story() {
    let checker = check(Exchange::until(5, Flaw::None, HolderFlaw::None));
    checker.assert_properties();
    println!("{} states", checker.unique_state_count());
}

/// The states that have no way to a goal, of those that should have one.
fn stuck(
    graph: &Graph<Exchange>,
    owed: impl Fn(&State) -> bool,
    goal: impl Fn(&State) -> bool,
    fair: impl Fn(&Action) -> bool,
) -> Option<(State, Vec<Action>)> {
    let reached = graph.can_reach(goal, fair);
    let mut owing = 0_usize;
    let mut first = None;
    for (n, state) in graph.states.iter().enumerate() {
        if owed(state) {
            owing += 1;
            if !reached[n] && first.is_none() {
                first = Some((state.clone(), graph.way_to(n)));
            }
        }
    }
    assert!(owing > 0, "a question about no state");
    first
}

fn any_step(_: &Action) -> bool {
    true
}

/// Whether the request still has a claim to an answer.
fn is_due(model: &Exchange, state: &State) -> bool {
    let status = model.log(state).status;
    let is_over = matches!(
        status,
        Some(Status::Denied | Status::Stopped | Status::Expired)
    );
    state.step < model.deadline && !state.asker.withdrew && !is_over
}

fn carried_out(model: &Exchange, state: &State) -> bool {
    let log = model.log(state);
    log.events.contains(&Event::CarriedOut)
        && (log.answered().is_none() || state.asker.asked == Asked::Erased)
}

fn is_withdrawn(model: &Exchange, state: &State) -> bool {
    model.log(state).withdrawn().is_some()
}

#[test]
fn from_everywhere_there_is_a_way_to_the_end() {
    let model = Exchange::new(Flaw::None, HolderFlaw::None);
    let graph = Graph::explore(&model);
    let is_over = |s: &State| s.asker.asked != Asked::Open && s.holder.given.is_none();
    assert_eq!(stuck(&graph, |_| true, is_over, any_step), None);
    // Without help of the clock: whatever was lost or crashed, the answer still comes in time.
    let due = |s: &State| is_due(&model, s);
    let delivered = |s: &State| matches!(s.asker.asked, Asked::Delivered);
    let found = stuck(&graph, due, delivered, Action::is_progress);
    assert_eq!(found, None);
    // A withdrawal that is in the log is carried out, and what was received is destroyed.
    let withdrawn = |s: &State| is_withdrawn(&model, s);
    let done = |s: &State| carried_out(&model, s);
    assert_eq!(stuck(&graph, withdrawn, done, Action::is_progress), None);
}

#[test]
fn a_holder_that_believes_the_broker_is_found_out() {
    let model = Exchange::new(Flaw::None, HolderFlaw::TrustsTheBroker);
    let story = broken(model, NO_BLIND_ANSWER);
    assert!(
        story.contains(&Action::Phantom) || story.iter().any(|a| matches!(a, Action::Early(_))),
        "{story:?}"
    );
}

#[test]
fn a_holder_that_goes_by_the_witness_of_others_is_found_out() {
    let model = Exchange::new(Flaw::None, HolderFlaw::SkipsOwnWitness);
    let story = broken(model, NO_BLIND_ANSWER);
    assert!(
        story.iter().any(|a| matches!(a, Action::Early(_))),
        "{story:?}"
    );
}

#[test]
fn a_broker_that_does_not_rule_again_is_found_out_by_a_crash_in_a_withdrawal() {
    let model = Exchange::new(Flaw::NoSecondRuling, HolderFlaw::None);
    let story = broken(model, LOG_IN_ORDER);
    let crash = Action::Crash(Cmd::Say(Stmt::Withdrawal), 1);
    assert!(story.contains(&crash), "{story:?}");
}

#[test]
fn a_broker_that_takes_expired_permits_is_found_out() {
    let model = Exchange::new(Flaw::NoExpiry, HolderFlaw::None);
    let story = broken(model, LOG_IN_ORDER);
    assert!(story.contains(&Action::Wait), "{story:?}");
}

#[test]
fn a_broker_that_forgets_withdrawals_in_a_crash_leaves_somebody_stuck() {
    let model = Exchange::new(Flaw::ForgetsSweeps, HolderFlaw::None);
    let graph = Graph::explore(&model);
    let withdrawn = |s: &State| is_withdrawn(&model, s);
    let done = |s: &State| carried_out(&model, s);
    let found = stuck(&graph, withdrawn, done, Action::is_progress);
    let (_, story) = found.expect("a withdrawal that nobody carries out");
    assert!(
        story.iter().any(|a| matches!(a, Action::Crash(..))),
        "{story:?}"
    );
}

#[test]
fn a_broker_that_offers_only_once_leaves_somebody_stuck() {
    let model = Exchange::new(Flaw::OffersOnce, HolderFlaw::None);
    let graph = Graph::explore(&model);
    let due = |s: &State| is_due(&model, s);
    let delivered = |s: &State| s.asker.asked == Asked::Delivered;
    let found = stuck(&graph, due, delivered, Action::is_progress);
    assert!(found.is_some());
}

/// Logs that count as one node must behave as one, or the exploration above skips something.
#[test]
fn logs_that_are_taken_for_the_same_behave_alike() {
    let broker = Broker::new(Flaw::None, DEADLINE);
    let commands = commands();
    let (mut seed, mut met) = (7_u64, HashMap::new());
    for _ in 0..3_000 {
        let (mut id, mut own, mut step) = (FIRST, first_log(), 0_u8);
        for _ in 0..14 {
            if random(&mut seed, 5) == 0 && step < DEADLINE {
                step += 1;
            }
            let command = commands[random(&mut seed, commands.len())];
            if names_no_permit(command, own.permits.len()) {
                continue;
            }
            let outcome = broker.run(id, command, step);
            let (logs, refused) = broker.run_alone(&own, command, step);
            assert_eq!(outcome.refused, refused, "{command:?} on {:?}", own.events);
            assert_eq!(
                outcome.logs.len(),
                logs.len() + 1,
                "{command:?} on {:?}",
                own.events
            );
            let kept = random(&mut seed, outcome.logs.len() + 2).min(outcome.logs.len() - 1);
            id = outcome.logs[kept];
            if kept > 0 {
                own = logs.into_iter().nth(kept - 1).unwrap();
            }
            let node = broker.log(id);
            assert_eq!(node.events, own.events);
            assert!(node.is_same_ground(&own), "{:?}", own.events);
            *met.entry(id).or_insert(0) += 1;
        }
    }
    assert!(met.len() > 130, "only {} logs were met", met.len());
}

fn commands() -> Vec<Cmd> {
    let mut commands = vec![
        Cmd::Offer,
        Cmd::Tick,
        Cmd::Say(Stmt::Request),
        Cmd::Say(Stmt::Request),
        Cmd::Say(Stmt::Withdrawal),
        Cmd::Say(Stmt::Delivered),
        Cmd::Say(Stmt::Erased),
    ];
    for permit in 0..3 {
        commands.push(Cmd::Say(Stmt::Answer { permit }));
        commands.push(Cmd::Say(Stmt::Renewal { permit }));
    }
    commands
}

fn names_no_permit(command: Cmd, permits: usize) -> bool {
    match command {
        Cmd::Say(Stmt::Answer { permit } | Stmt::Renewal { permit }) => {
            usize::from(permit) >= permits
        }
        Cmd::Say(_) | Cmd::Offer | Cmd::Tick => false,
    }
}

/// xorshift: the same walks each time.
fn random(seed: &mut u64, below: usize) -> usize {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    (*seed % below as u64) as usize
}
