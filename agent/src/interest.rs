//! Who waits for which rows of the projection.
//!
//! A local call waits until a certain row was written. To look again after every batch would cost
//! as much for each of many waiting calls as all the rest of an exchange.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

type Rows = HashMap<Vec<u8>, Vec<Arc<Notify>>>;

/// All who wait.
#[derive(Clone, Default)]
pub(crate) struct Interests(Arc<Mutex<Rows>>);

/// One who waits, until it is dropped.
pub struct Interest {
    interests: Interests,
    rows: Vec<Vec<u8>>,
    notify: Arc<Notify>,
}

impl Interests {
    fn rows(&self) -> MutexGuard<'_, Rows> {
        // One insertion or removal at a time: nothing is left half done by a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, rows: impl IntoIterator<Item = Vec<u8>>) -> Interest {
        let rows: Vec<_> = rows.into_iter().collect();
        let notify = Arc::new(Notify::new());
        let mut all = self.rows();
        for row in &rows {
            all.entry(row.clone()).or_default().push(notify.clone());
        }
        drop(all);
        Interest {
            interests: self.clone(),
            rows,
            notify,
        }
    }

    /// Those who wait for one of these rows.
    pub(crate) fn in_any_of(&self, written: &[Vec<u8>]) -> Vec<Arc<Notify>> {
        let all = self.rows();
        if all.is_empty() {
            return Vec::new();
        }
        let waiting = written.iter().filter_map(|row| all.get(row));
        waiting.flatten().cloned().collect()
    }
}

impl Interest {
    /// Returns once a row was written since this was made or since it returned last.
    pub async fn changed(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        let mut all = self.interests.rows();
        for row in &self.rows {
            if let Some(waiting) = all.get_mut(row) {
                waiting.retain(|other| !Arc::ptr_eq(other, &self.notify));
                if waiting.is_empty() {
                    all.remove(row);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_is_told_of_its_rows_until_it_is_dropped() {
        let interests = Interests::default();
        let one = interests.add([b"a".to_vec(), b"b".to_vec()]);
        let two = interests.add([b"b".to_vec()]);
        let told = |rows: &[&[u8]]| {
            let rows: Vec<_> = rows.iter().map(|row| row.to_vec()).collect();
            interests.in_any_of(&rows).len()
        };
        assert_eq!(told(&[b"c"]), 0);
        assert_eq!(told(&[b"a"]), 1);
        assert_eq!(told(&[b"b"]), 2);
        drop(one);
        assert_eq!(told(&[b"a", b"b"]), 1);
        drop(two);
        assert_eq!(told(&[b"b"]), 0);
        assert!(interests.rows().is_empty());
    }
}
