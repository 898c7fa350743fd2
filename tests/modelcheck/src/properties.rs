//! What must never happen in an exchange, and what an exploration must have met.

use crate::{
    broker::Event,
    exchange::{Asked, Exchange, State},
    said::Stmt,
};
use passerelle_model::request::Status;
use stateright::Property;

/// What never happens.
pub(crate) fn safety() -> Vec<Property<Exchange>> {
    vec![
        Property::always(NO_BLIND_ANSWER, |_, state: &State| {
            state.holder.blind_answers == 0 && !state.holder.answered_nothing
        }),
        Property::always(LOG_IN_ORDER, |model: &Exchange, state| {
            model.log(state).faults.is_empty()
        }),
        Property::always(NO_UNLOGGED_DELIVERY, |model: &Exchange, state| {
            let answered = model.log(state).answered();
            match state.asker.asked {
                Asked::Delivered | Asked::Erased => {
                    answered.is_some_and(|place| state.is_covered(place as u8))
                }
                _ => true,
            }
        }),
    ]
}

/// Property: no fact leaves without a permit in a log that a quorum, the holder among it, cosigned.
pub const NO_BLIND_ANSWER: &str = "facts leave only under a permit that is logged and cosigned";
/// Property: no release after a withdrawal, twice, or under a dead permit, and withdrawals are
/// carried out in full.
pub const LOG_IN_ORDER: &str = "the log breaks no rule";
/// Property: what the asker has is in a cosigned log.
pub const NO_UNLOGGED_DELIVERY: &str = "nothing is delivered that is not logged and cosigned";

/// What the exploration must have met, or it shows nothing.
pub(crate) fn reached() -> Vec<Property<Exchange>> {
    vec![
        Property::sometimes("the answer is delivered", |_, state: &State| {
            state.asker.asked == Asked::Delivered
        }),
        Property::sometimes("withdrawn before the answer", |model: &Exchange, state| {
            let log = model.log(state);
            log.withdrawn().is_some() && !log.permits.is_empty() && log.answered().is_none()
        }),
        Property::sometimes("recalled and destroyed", |_, state: &State| {
            state.asker.asked == Asked::Erased
        }),
        Property::sometimes("a crash before the decision", |model: &Exchange, state| {
            model.log(state).events.last() == Some(&Event::Said(Stmt::Request))
        }),
        Property::sometimes("a crash before the stop", |model: &Exchange, state| {
            let log = model.log(state);
            log.events.last() == Some(&Event::Said(Stmt::Withdrawal))
                && log.status == Some(Status::Offered)
        }),
        Property::sometimes(
            "answered under a second permit",
            |model: &Exchange, state| {
                let second = Event::Said(Stmt::Answer { permit: 1 });
                model.log(state).events.contains(&second)
            },
        ),
        Property::sometimes("denied on the second look", |model: &Exchange, state| {
            let log = model.log(state);
            !log.permits.is_empty() && log.status == Some(Status::Denied)
        }),
        Property::sometimes("out of time", |_, state: &State| {
            state.asker.asked == Asked::Expired
        }),
        Property::sometimes("two answers out for one request", |_, state: &State| {
            state.holder.answers.count_ones() > 1
        }),
    ]
}
