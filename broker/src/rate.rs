//! A token bucket: a sustained rate, and how much may come at once.

use crate::home::RateLimits;
use passerelle_model::{ids::AgencyId, time::Timestamp};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// What each agency may still send. Kept by agency, not by stream: reconnecting gives no fresh
/// allowance. Holds at most one line for each agency that ever connected.
pub struct Allowances {
    limits: RateLimits,
    by_agency: Mutex<HashMap<AgencyId, Allowance>>,
}

struct Allowance {
    statements: Bucket,
    evaluations: Bucket,
}

impl Allowances {
    /// Full ones for everybody.
    pub fn new(limits: RateLimits) -> Self {
        Self {
            limits,
            by_agency: Mutex::default(),
        }
    }

    fn by_agency(&self) -> MutexGuard<'_, HashMap<AgencyId, Allowance>> {
        // A bucket is whole between any two statements.
        self.by_agency
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, agency: &AgencyId, now: Timestamp, of: impl Fn(&mut Allowance) -> bool) -> bool {
        let limits = self.limits;
        let mut all = self.by_agency();
        let allowance = all.entry(agency.clone()).or_insert_with(|| Allowance {
            statements: Bucket::new(limits.statements_per_s, limits.statements_burst, now),
            evaluations: Bucket::new(limits.evaluations_per_s, limits.evaluations_burst, now),
        });
        of(allowance)
    }

    /// Takes one statement of `agency`.
    pub fn statement(&self, agency: &AgencyId, now: Timestamp) -> bool {
        self.take(agency, now, |a| a.statements.take(1, now))
    }

    /// Takes evaluations of `agency`, all or none.
    pub fn evaluations(&self, agency: &AgencyId, count: u64, now: Timestamp) -> bool {
        self.take(agency, now, |a| a.evaluations.take(count, now))
    }
}

/// A bucket. Time is a parameter; one that goes backwards adds nothing.
#[derive(Clone, Debug)]
pub struct Bucket {
    rate_per_s: u64,
    capacity: u64,
    /// In thousandths, so that a rate of one per second fills it every millisecond by one.
    level_milli: u64,
    filled_at: Timestamp,
}

impl Bucket {
    /// A full bucket.
    pub fn new(rate_per_s: u32, capacity: u32, now: Timestamp) -> Self {
        let capacity = u64::from(capacity);
        Self {
            rate_per_s: u64::from(rate_per_s),
            capacity,
            level_milli: capacity.saturating_mul(1_000),
            filled_at: now,
        }
    }

    /// Takes `count`, or nothing if there is not so much.
    pub fn take(&mut self, count: u64, now: Timestamp) -> bool {
        let elapsed_ms = now.0.saturating_sub(self.filled_at.0);
        self.filled_at = self.filled_at.max(now);
        let added = elapsed_ms.saturating_mul(self.rate_per_s);
        let full = self.capacity.saturating_mul(1_000);
        self.level_milli = self.level_milli.saturating_add(added).min(full);
        let wanted = count.saturating_mul(1_000);
        let enough = wanted <= self.level_milli;
        if enough {
            self.level_milli -= wanted;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_the_rate_holds() {
        let start = Timestamp(1_000_000);
        let mut bucket = Bucket::new(10, 5, start);
        assert!((0..5).all(|_| bucket.take(1, start)));
        assert!(!bucket.take(1, start));
        assert!(!bucket.take(1, Timestamp(start.0 + 99)));
        assert!(bucket.take(1, Timestamp(start.0 + 100)));
        assert!(
            !bucket.take(6, start.plus_s(3_600)),
            "never more than the burst"
        );
        assert!(
            !bucket.take(1, start) || bucket.take(4, start),
            "time that goes back adds nothing"
        );
    }
}
