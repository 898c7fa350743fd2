//! A bounded number of turns. When all are taken and somebody waits, the one that has taken longest
//! gives way, once it has had its time.
//!
//! In scope: taking, giving back, giving way. Out of scope: what a turn is for.
//!
//! Known attack: many connections that do nothing hold every place until their timeout, and others
//! queue behind them for minutes. Here an honest one waits behind them for as long as it takes to
//! turn them out, so many of them for each length of the grace.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

/// How long a turn that is over may take to be given back before another is ended.
const GIVING_WAY: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Clone, Debug)]
pub struct Turns {
    places: Arc<Semaphore>,
    live: Arc<Live>,
    /// How long a turn is safe from those who wait.
    grace: Duration,
}

#[derive(Debug, Default)]
struct Live(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    next_id: u64,
    /// By age, the oldest first.
    turns: BTreeMap<u64, (Instant, CancellationToken)>,
}

impl Live {
    fn taken(&self) -> MutexGuard<'_, Taken> {
        // The map is whole between any two statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn oldest(&self) -> Option<(u64, Instant)> {
        let taken = self.taken();
        let (id, (began, _)) = taken.turns.first_key_value()?;
        Some((*id, *began))
    }

    fn end(&self, id: u64) {
        let ended = self.taken().turns.remove(&id);
        // Outside the lock: whoever holds the turn may give it back in the same breath.
        if let Some((_, token)) = ended {
            token.cancel();
        }
    }
}

/// A turn. Dropping it gives it back.
#[derive(Debug)]
pub struct Turn {
    id: u64,
    live: Arc<Live>,
    token: CancellationToken,
    _place: OwnedSemaphorePermit,
}

impl Turn {
    /// Cancelled when the turn is over; its holder must then drop it.
    pub fn over(&self) -> &CancellationToken {
        &self.token
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.live.taken().turns.remove(&self.id);
    }
}

impl Turns {
    /// So many at once, each safe for `grace` from those who wait.
    pub fn new(places: usize, grace: Duration) -> Self {
        Self {
            places: Arc::new(Semaphore::new(places)),
            live: Arc::default(),
            grace,
        }
    }

    /// Waits for a turn. `None` would mean that the places were closed, which nobody does.
    pub async fn take(&self) -> Option<Turn> {
        loop {
            let oldest = self.live.oldest();
            let had_its_time = async {
                match oldest {
                    Some((id, began)) => {
                        sleep_until(began + self.grace).await;
                        id
                    }
                    None => std::future::pending().await,
                }
            };
            let place = || self.places.clone().acquire_owned();
            tokio::select! {
                biased;
                place = place() => return Some(self.turn(place.ok()?)),
                id = had_its_time => self.live.end(id),
            }
            // One gives way to one: the next oldest only if this one does not.
            if let Ok(place) = timeout(GIVING_WAY, place()).await {
                return Some(self.turn(place.ok()?));
            }
        }
    }

    /// As [`Self::take`], for at most `patience`.
    pub async fn take_within(&self, patience: Duration) -> Option<Turn> {
        timeout(patience, self.take()).await.ok().flatten()
    }

    fn turn(&self, place: OwnedSemaphorePermit) -> Turn {
        let token = CancellationToken::new();
        let mut taken = self.live.taken();
        let id = taken.next_id;
        taken.next_id = id.wrapping_add(1);
        taken.turns.insert(id, (Instant::now(), token.clone()));
        Turn {
            id,
            live: self.live.clone(),
            token,
            _place: place,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_millis(100);

    fn honours(turn: Turn) -> tokio::task::JoinHandle<()> {
        tokio::spawn(async move {
            turn.over().cancelled().await;
            drop(turn);
        })
    }

    #[tokio::test]
    async fn the_oldest_gives_way_to_who_waits_and_not_before_its_time() {
        let turns = Turns::new(2, GRACE);
        let first = turns.take().await.unwrap();
        let second = turns.take().await.unwrap();
        let (over, spared) = (first.over().clone(), second.over().clone());
        let (first, _second) = (honours(first), honours(second));
        let began = Instant::now();
        let third = turns.take().await.unwrap();
        assert!(began.elapsed() >= GRACE / 2, "{:?}", began.elapsed());
        assert!(over.is_cancelled() && !spared.is_cancelled());
        first.await.unwrap();
        assert!(!third.over().is_cancelled());
    }

    #[tokio::test]
    async fn nobody_is_turned_out_while_nobody_waits() {
        let turns = Turns::new(1, GRACE);
        let only = turns.take().await.unwrap();
        tokio::time::sleep(3 * GRACE).await;
        assert!(!only.over().is_cancelled());
        drop(only);
        assert!(turns.take_within(GRACE).await.is_some());
    }

    #[tokio::test]
    async fn who_does_not_give_way_is_asked_once_and_the_next_one_after_it() {
        let turns = Turns::new(2, GRACE);
        let stubborn = turns.take().await.unwrap();
        let next = honours(turns.take().await.unwrap());
        assert!(turns.take_within(10 * GRACE).await.is_some());
        assert!(stubborn.over().is_cancelled());
        next.await.unwrap();
        assert!(turns.take_within(GRACE / 2).await.is_none() || stubborn.over().is_cancelled());
    }
}
