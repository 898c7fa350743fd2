//! Quantiles.

use serde::Serialize;

/// The middle and the slow end of a set of figures.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Spread {
    /// Half are below.
    pub(crate) p50: f64,
    /// 99 of 100 are below.
    pub(crate) p99: f64,
}

/// The spread of these figures; zeros if there are none.
pub(crate) fn spread(values: impl Iterator<Item = f64>) -> Spread {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let last = sorted.len().saturating_sub(1);
        let index = (last as f64 * share).round() as usize;
        sorted.get(index).copied().unwrap_or_default()
    };
    Spread {
        p50: at(0.5),
        p99: at(0.99),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_the_slow_end_are_found_in_any_order() {
        let found = spread((0..=100).rev().map(f64::from));
        assert_eq!((found.p50, found.p99), (50.0, 99.0));
        assert_eq!(spread(std::iter::empty()).p99, 0.0);
    }
}
