//! The projection as the pure functions see it: ordered keys and values.
//!
//! `decide` and `apply` read through [`Read`] and write into an [`Overlay`]; a broker commits the
//! overlay to its store only after the journal is durable. [`Memory`] serves tests, simulation and
//! verification.

use std::collections::BTreeMap;

/// A key with its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// A change: the new value, or `None` for a deletion.
pub type Write = (Vec<u8>, Option<Vec<u8>>);

/// The store can't be read, or holds what it should not. The projection is then rebuilt.
#[derive(Debug, Clone, thiserror::Error)]
#[error("projection: {0}")]
pub struct StoreError(pub String);

/// Ordered reads.
pub trait Read {
    /// The value at `key`.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// At most `limit` rows whose key starts with `prefix` and is greater than `after`, in order.
    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError>;
}

/// A store in memory.
#[derive(Debug, Clone, Default)]
pub struct Memory(BTreeMap<Vec<u8>, Vec<u8>>);

impl Memory {
    /// Carries out `writes` in order.
    pub fn commit(&mut self, writes: impl IntoIterator<Item = Write>) {
        for (key, value) in writes {
            match value {
                Some(value) => self.0.insert(key, value),
                None => self.0.remove(&key),
            };
        }
    }

    /// Every row, in order.
    pub fn rows(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(k, v)| (k.as_slice(), v.as_slice()))
    }
}

fn from_here<'a, V>(
    map: &'a BTreeMap<Vec<u8>, V>,
    prefix: &'a [u8],
    after: Option<&[u8]>,
) -> impl Iterator<Item = (&'a Vec<u8>, &'a V)> + use<'a, V> {
    use std::ops::Bound::{Excluded, Included, Unbounded};
    let start = match after {
        Some(after) if after >= prefix => Excluded(after.to_vec()),
        Some(_) | None => Included(prefix.to_vec()),
    };
    map.range((start, Unbounded))
        .take_while(move |(key, _)| key.starts_with(prefix))
}

impl Read for Memory {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0.get(key).cloned())
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        Ok(from_here(&self.0, prefix, after)
            .take(limit)
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect())
    }
}

/// Uncommitted writes over a store, read as one.
pub struct Overlay<'a> {
    base: &'a dyn Read,
    changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl<'a> Overlay<'a> {
    /// An overlay without changes.
    pub fn new(base: &'a dyn Read) -> Self {
        Self {
            base,
            changes: BTreeMap::new(),
        }
    }

    /// Notes one change.
    pub fn write(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.changes.insert(key, value);
    }

    /// The changes, in key order.
    pub fn into_writes(self) -> Vec<Write> {
        self.changes.into_iter().collect()
    }
}

impl Read for Overlay<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.changes.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.base.get(key),
        }
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        // Changes may hide rows of the base: ask for as many more as there are changes here.
        let changes: Vec<_> = from_here(&self.changes, prefix, after).collect();
        let base = self
            .base
            .scan(prefix, after, limit.saturating_add(changes.len()))?;
        let mut rows: BTreeMap<Vec<u8>, Vec<u8>> = base.into_iter().collect();
        for (key, value) in changes {
            match value {
                Some(value) => rows.insert(key.clone(), value.clone()),
                None => rows.remove(key),
            };
        }
        Ok(rows.into_iter().take(limit).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn write() -> impl Strategy<Value = Write> {
        (
            proptest::collection::vec(0u8..4, 1..3),
            proptest::option::of(proptest::collection::vec(any::<u8>(), 0..2)),
        )
    }

    proptest! {
        #[test]
        fn an_overlay_reads_as_if_it_were_committed(
            first in proptest::collection::vec(write(), 0..20),
            second in proptest::collection::vec(write(), 0..20),
            prefix in proptest::collection::vec(0u8..4, 0..2),
            after in proptest::option::of(proptest::collection::vec(0u8..4, 0..3)),
            limit in 0usize..10,
        ) {
            let mut base = Memory::default();
            base.commit(first);
            let mut overlay = Overlay::new(&base);
            for (key, value) in second.clone() {
                overlay.write(key, value);
            }
            let mut committed = base.clone();
            committed.commit(second);
            prop_assert_eq!(
                overlay.scan(&prefix, after.as_deref(), limit).unwrap(),
                committed.scan(&prefix, after.as_deref(), limit).unwrap()
            );
        }
    }
}
