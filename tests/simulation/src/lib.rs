//! Deterministic simulation of a federation: broker, agents, witnesses, network and disks under one
//! seeded scheduler with a simulated clock, in one thread.
//!
//! In scope: the production `decide` and `apply`, journal and recovery, order, seats, rounds,
//! notices, permit checks, holder, requester, review, exchange, witness and vault, unchanged; the
//! promises of `ARCHITECTURE.md` as predicates after every step; stories that can be told and
//! shrunk.
//! Out of scope: TLS, HTTP/2, gRPC, tokio's scheduling, the local interface, certificates: the
//! end-to-end tests run those. Keys of one-time use and sealing are random; nothing that is told
//! depends on them.

pub mod act;
pub mod agency;
pub mod broker;
pub mod disk;
pub mod doubt;
pub mod end;
pub mod ghost;
mod handles;
mod matters;
mod membership;
mod misfortune;
pub mod net;
pub mod ops;
pub mod promises;
pub mod rng;
mod sessions;
pub mod shrink;
pub mod story;
pub mod world;

use ops::Timed;
use passerelle_model::bytes::Digest;
use promises::Broken;
use world::World;

/// Operations in a story, unless it is said otherwise.
pub const OPERATIONS: usize = 80;

/// What came of one story.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The lines.
    pub lines: Vec<String>,
    /// Digest over them.
    pub digest: Digest,
    /// The promise that was broken, if one was.
    pub broken: Option<Broken>,
    /// Entries in the log at the end.
    pub entries: usize,
}

/// Runs the story of a seed.
pub fn simulate(seed: u64) -> Outcome {
    simulate_ops(seed, ops::generate(seed, OPERATIONS))
}

/// Runs these operations in the world of a seed.
pub fn simulate_ops(seed: u64, ops: Vec<Timed>) -> Outcome {
    let mut world = World::new(seed, ops);
    let broken = world.run().err();
    if let Some(broken) = &broken {
        world.tell(format!("** {broken}"));
    }
    Outcome {
        digest: world.story.digest(),
        lines: world.story.lines().to_vec(),
        entries: world.ghost.log.len(),
        broken,
    }
}
