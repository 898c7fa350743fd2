//! Who reads the log, and how many may at once.
//!
//! A reader that dawdles keeps its place for a minute and more. With few places for each member
//! none can take those of the others.

use passerelle_model::ids::AgencyId;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Reads under way at once.
const MAX_READERS: usize = 64;
/// Of these by one member: its agent, an export, and a person who looks.
const MAX_READERS_OF_ONE: usize = 4;

type Counts = HashMap<AgencyId, usize>;

/// The places.
#[derive(Debug, Clone, Default)]
pub struct Readers(Arc<Mutex<Counts>>);

/// One place, until it is dropped.
#[derive(Debug)]
pub struct Place {
    readers: Readers,
    agency: AgencyId,
}

impl Readers {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Each change is one step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for `agency`, if there is one.
    pub fn enter(&self, agency: &AgencyId) -> Option<Place> {
        let mut counts = self.counts();
        let all = counts
            .values()
            .fold(0, |sum: usize, n| sum.saturating_add(*n));
        let own = counts.get(agency).copied().unwrap_or(0);
        if all >= MAX_READERS || own >= MAX_READERS_OF_ONE {
            return None;
        }
        counts.insert(agency.clone(), own.saturating_add(1));
        Some(Place {
            readers: self.clone(),
            agency: agency.clone(),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.readers.counts();
        if let Some(own) = counts.get_mut(&self.agency) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                counts.remove(&self.agency);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agency(number: usize) -> AgencyId {
        format!("agency{number}").parse().unwrap()
    }

    #[test]
    fn one_member_leaves_places_for_the_others_and_gives_its_own_back() {
        let readers = Readers::default();
        let own: Vec<_> = (0..MAX_READERS_OF_ONE)
            .map(|_| readers.enter(&agency(0)).expect("a place"))
            .collect();
        assert!(readers.enter(&agency(0)).is_none());
        assert!(readers.enter(&agency(1)).is_some());
        drop(own);
        assert!(readers.enter(&agency(0)).is_some());
        assert!(readers.counts().is_empty());
    }

    #[test]
    fn all_together_have_so_many() {
        let readers = Readers::default();
        let held: Vec<_> = (0..MAX_READERS)
            .map(|n| readers.enter(&agency(n)).expect("a place"))
            .collect();
        assert!(readers.enter(&agency(MAX_READERS)).is_none());
        drop(held);
        assert!(readers.enter(&agency(MAX_READERS)).is_some());
    }
}
