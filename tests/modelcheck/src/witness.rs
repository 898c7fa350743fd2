//! When can two forks of one log both gather a quorum?
//!
//! **The world.** `n` witnesses, `liars` of them sign anything. A log that lies: it holds the keys,
//! so it can sign any checkpoint, with a right proof for every old size, or a wrong one. After two
//! common entries its history forks. It shows any checkpoint to any witness, at any time, in any
//! order, again and again, also a smaller one after a larger one (it came back from a copy).
//! Honest witnesses crash between check and persist, and between persist and reply.
//!
//! **Production code here:** `audit::witness::consider`, with real signatures, trees and proofs,
//! for every state of a witness and everything that a log can send; `audit::witness::quorum`.
//! **By hand:** who sends what when, and that check and persist are one step before the reply.
//!
//! **Left out:** forks in more than two ways, more sizes than a few, changes of membership.
//! Witnesses are interchangeable: states that differ only in which witness is which are one.

use passerelle_audit::{
    checkpoint::Checkpoint,
    keys::SigningKey,
    merkle::{Tree, leaf_hash},
    note::Signer,
    witness::{WitnessState, consider},
};
use passerelle_model::bytes::Digest;
use stateright::{Model, Property};

const ORIGIN: &str = "journal.example";

/// The checkpoints in this world: which history, and how many entries.
pub const CHECKPOINTS: [(Fork, u64); 5] = [
    (Fork::Common, 2),
    (Fork::Left, 3),
    (Fork::Left, 4),
    (Fork::Right, 3),
    (Fork::Right, 5),
];

/// Which history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fork {
    /// Before they part.
    Common,
    /// One.
    Left,
    /// The other.
    Right,
}

/// What is wrong with an honest witness, on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum WitnessFlaw {
    /// Nothing.
    #[default]
    None,
    /// It replies before what it accepted is durable.
    RepliesFirst,
}

/// The model.
#[derive(Clone, Debug)]
pub struct Witnesses {
    /// How many in all.
    pub n: usize,
    /// How many of them lie.
    pub liars: usize,
    /// How many cosignatures make a checkpoint count.
    pub k: usize,
    /// What is wrong with those who don't lie.
    pub flaw: WitnessFlaw,
    /// For each place of a witness (zero is the start, then those of `CHECKPOINTS`) the
    /// checkpoints that production code accepts there.
    accepts: Vec<u8>,
}

/// An honest witness: where it is on disk, and for which of the forked checkpoints its cosignature
/// is out, as a bit mask.
pub type Witness = (u8, u8);

/// The honest witnesses, in order.
pub type State = Vec<Witness>;

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A checkpoint is shown to a witness, which cosigns if it may.
    Show(u8, u8),
    /// The same, and it crashes between persist and reply.
    CrashAfter(u8, u8),
    /// The same, and it crashes between check and persist: only a flawed one has replied then.
    CrashBefore(u8, u8),
}

impl Witnesses {
    /// `n` witnesses, of which `liars` lie, and a quorum of `k`.
    pub fn new(n: usize, liars: usize, k: usize, flaw: WitnessFlaw) -> Self {
        Self {
            n,
            liars,
            k,
            flaw,
            accepts: table(),
        }
    }

    fn cosignatures(&self, state: &State, checkpoint: usize) -> usize {
        let honest = state.iter().filter(|(_, out)| out & (1 << checkpoint) != 0);
        honest.count() + self.liars
    }
}

fn tree(fork: Fork) -> Tree {
    let leaf = |n: u64| match n {
        0 | 1 => leaf_hash(&n.to_be_bytes()),
        _ => leaf_hash(format!("{fork:?} {n}").as_bytes()),
    };
    (0..5).map(leaf).collect()
}

/// Asks production code about every place and every request; a bit for each checkpoint.
fn table() -> Vec<u8> {
    let log = Signer::new(ORIGIN, SigningKey::from_seed(&[1; 32])).unwrap();
    let places = [WitnessState::default()]
        .into_iter()
        .chain(CHECKPOINTS.map(|(fork, size)| WitnessState {
            size,
            root: tree(fork).root_at(size).unwrap(),
        }));
    let accepted = |place: WitnessState| {
        let mut mask = 0;
        for (n, (fork, size)) in CHECKPOINTS.into_iter().enumerate() {
            let root = tree(fork).root_at(size).unwrap();
            let checkpoint = Checkpoint::new(ORIGIN, size, root).unwrap();
            let note = checkpoint.sign(&log).unwrap().note().to_string();
            for old in 0..=5 {
                for proof in proofs(old, size) {
                    let answer = consider(&place, log.verifier_key(), old, &proof, &note);
                    if let Ok(accepted) = answer {
                        assert_eq!(accepted.state(), WitnessState { size, root });
                        mask |= 1 << n;
                    }
                }
            }
        }
        mask
    };
    places.map(accepted).collect()
}

/// Every proof that a log could try: of each history, and none.
fn proofs(old: u64, new: u64) -> Vec<Vec<Digest>> {
    let histories = [Fork::Common, Fork::Left, Fork::Right];
    let tried = histories.map(|fork| tree(fork).consistency_proof(old, new).ok());
    tried.into_iter().flatten().chain([Vec::new()]).collect()
}

/// Whether no history holds both.
pub fn are_forked(a: usize, b: usize) -> bool {
    let parts = [CHECKPOINTS[a].0, CHECKPOINTS[b].0];
    parts == [Fork::Left, Fork::Right] || parts == [Fork::Right, Fork::Left]
}

impl Model for Witnesses {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![vec![(0, 0); self.n - self.liars]]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for witness in 0..state.len() {
            // Interchangeable: of those who are alike, the first is enough.
            if witness > 0 && state[witness] == state[witness - 1] {
                continue;
            }
            for shown in 0..CHECKPOINTS.len() {
                let (witness, shown) = (witness as u8, shown as u8);
                actions.push(Action::Show(witness, shown));
                actions.push(Action::CrashAfter(witness, shown));
                actions.push(Action::CrashBefore(witness, shown));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        let (Action::Show(witness, shown)
        | Action::CrashAfter(witness, shown)
        | Action::CrashBefore(witness, shown)) = action;
        let (place, out) = &mut state[usize::from(witness)];
        if self.accepts[usize::from(*place)] & (1 << shown) == 0 {
            return None;
        }
        let (persisted, replied) = match action {
            Action::Show(..) => (true, true),
            Action::CrashAfter(..) => (true, self.flaw == WitnessFlaw::RepliesFirst),
            Action::CrashBefore(..) => (false, self.flaw == WitnessFlaw::RepliesFirst),
        };
        if persisted {
            *place = shown + 1;
        }
        // What came before the fork contradicts nothing.
        if replied && CHECKPOINTS[usize::from(shown)].0 != Fork::Common {
            *out |= 1 << shown;
        }
        state.sort_unstable();
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONE_HISTORY, |model: &Self, state| {
                let counts = |n: &usize| model.cosignatures(state, *n) >= model.k;
                let counting: Vec<_> = (0..CHECKPOINTS.len()).filter(counts).collect();
                let pairs = counting
                    .iter()
                    .flat_map(|a| counting.iter().map(|b| (*a, *b)));
                !pairs.into_iter().any(|(a, b)| are_forked(a, b))
            }),
            Property::sometimes(ALL_AGREE, |model: &Self, state| {
                (0..CHECKPOINTS.len()).any(|n| model.cosignatures(state, n) == model.n)
            }),
        ]
    }
}

/// Property: no two inconsistent checkpoints both count.
pub const ONE_HISTORY: &str = "one history";
/// Property: it is possible at all that something counts.
pub const ALL_AGREE: &str = "all agree";
