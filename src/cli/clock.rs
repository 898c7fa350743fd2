//! The one place of this crate that reads the clock.

use passerelle_model::time::Timestamp;
use std::time::{SystemTime, UNIX_EPOCH};

/// Now; the epoch if the machine's clock is set before it.
#[expect(clippy::disallowed_methods, reason = "this is the clock module")]
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
