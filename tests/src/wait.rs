//! Waiting for a condition with a deadline. A test never sleeps in the hope that something has
//! happened meanwhile: it asks until it has, or fails with what it waited for.

use anyhow::bail;
use std::time::{Duration, Instant};

/// Long enough for a slow machine; reached only by a test that fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(10);

/// Asks `check` until it gives something. `what` says in words what is waited for.
pub async fn until<T, F, C>(what: &str, mut check: C) -> anyhow::Result<T>
where
    C: FnMut() -> F,
    F: Future<Output = anyhow::Result<Option<T>>>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = check().await? {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            bail!("waited {} s in vain for: {what}", PATIENCE.as_secs());
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Looks at `check` for the whole of `span`, and fails as soon as it is true: for what must not
/// happen. It can miss what happens later, so it belongs after something that orders events.
pub async fn never(
    what: &str,
    span: Duration,
    mut check: impl FnMut() -> bool,
) -> anyhow::Result<()> {
    let end = Instant::now() + span;
    while Instant::now() < end {
        if check() {
            bail!("this must not happen, and did: {what}");
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}
