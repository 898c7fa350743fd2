//! The broker's one look at the clock. Everything below takes the time as a parameter.

use passerelle_model::time::Timestamp;
use std::time::{SystemTime, UNIX_EPOCH};

/// Now, by the machine's clock.
#[expect(clippy::disallowed_methods, reason = "this is the clock module")]
pub fn now() -> Timestamp {
    // Before 1970 the machine is broken: zero makes every statement look as if from the future,
    // so nothing is accepted.
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Timestamp(since.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)))
}
