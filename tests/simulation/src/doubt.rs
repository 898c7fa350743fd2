//! What an agency's machine does after a storage that failed, and after a permit that it could not
//! use.
//!
//! A write whose sync failed may be on the disk all the same: nobody knows before the next start.
//! The observer learns of it then, as the agency does.

use crate::{
    ops::Machine,
    promises::{self, Heard},
    world::{Happening, Step, World},
};
use passerelle_agent::{event::Event, postponed};

/// As in `passerelle_agent::session`: when permits are asked for again, and the longest pause.
const FIRST_AGAIN_MS: u64 = 30_000;
const LONGEST_AGAIN_MS: u64 = 3_600_000;

/// A transaction that was written and not acknowledged.
pub struct InDoubt {
    /// What it says.
    pub events: Vec<Event>,
    /// The notice from which it followed.
    pub heard: Option<Heard>,
}

/// When permits are asked for again.
#[derive(Clone, Copy, Default)]
pub struct Again {
    /// Arranged for this start of the agent.
    start: Option<u64>,
    pause_ms: u64,
}

impl World {
    /// The agent has started again, with `there` transactions in its journal: what was in doubt is
    /// no more.
    ///
    /// # Errors
    /// A broken promise.
    pub(crate) fn resolve_doubt(&mut self, ix: usize, had: usize, there: usize) -> Step {
        let doubt = self.agencies[ix].in_doubt.take();
        let Some(doubt) = doubt.filter(|_| there > had) else {
            return Ok(());
        };
        let now = self.clock(Machine::Agency(ix));
        promises::of_what_an_agent_journals(self, ix, now, &doubt.events)?;
        if let Some(heard) = doubt.heard {
            promises::what_is_believed_is_in_the_log(self, ix, &heard)?;
        }
        self.tell_events(ix, &doubt.events);
        Ok(())
    }

    /// Arranges that permits are asked for again, if any could not be used.
    pub(crate) fn arrange_again(&mut self, ix: usize) {
        let start = self.agencies[ix].starts;
        let Some(up) = &self.agencies[ix].up else {
            return;
        };
        let waits = postponed::waiting(up.store.view(), 1).expect("the projection");
        let again = &mut self.agencies[ix].again;
        if waits.is_empty() {
            again.pause_ms = 0;
            return;
        }
        if again.start == Some(start) {
            return;
        }
        let pause = (again.pause_ms * 2).clamp(FIRST_AGAIN_MS, LONGEST_AGAIN_MS);
        *again = Again {
            start: Some(start),
            pause_ms: pause,
        };
        self.arrange(pause, Happening::AskAgain(ix, start));
    }

    /// Asks for permits again.
    ///
    /// # Errors
    /// A broken promise.
    pub(crate) fn ask_again(&mut self, ix: usize) -> Step {
        self.agencies[ix].again.start = None;
        let now = self.clock(Machine::Agency(ix));
        self.agent_runs(ix, |context, view| {
            Ok((postponed::ask_again(context, view, now)?, ()))
        })?;
        self.arrange_again(ix);
        self.pump_agent(ix)
    }
}
