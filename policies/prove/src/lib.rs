//! Proofs over a library of rules: what it can never do, whatever is recorded of agencies,
//! consents, agreements and cases.
//!
//! In scope: named invariants kept beside the library as ceiling policies, rules that fail or are
//! dead, conflicts of permits and forbids, whether one library permits more than another; a
//! request that shows it, in words, when something does not hold.
//! Out of scope: what no proof over policies can see: entities that are missing, several requests
//! together, what Rust does around Cedar. Those are for tests and the simulation.
//!
//! Policies are turned into questions to an SMT solver (cvc5) by `cedar-policy-symcc`. What is not
//! decided is not proved: no solver is an error; a limit of time, an answer `unknown` and a solver
//! that always says yes are failures.

mod check;
mod diff;
mod invariants;
mod judge;
mod request;
mod sets;
mod smaller;
mod solver;
mod story;
mod world;

pub use check::{Check, Failing, Report, STRUCTURAL, Told, prove};
pub use diff::{Difference, Side, diff};
pub use invariants::{Invariant, Invariants, Ledger, Words};
pub use request::Concrete;
pub use solver::{Solver, SolverError};
pub use story::Story;

use passerelle_policies::Problem;

/// Why no proof could be tried.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// The solver.
    #[error(transparent)]
    Solver(#[from] SolverError),
    /// What is to be proved does not fit the library, or can't be read.
    #[error("invariants refused: {}", listed(.0))]
    Invariants(Vec<Problem>),
    /// There is no check of this name.
    #[error("there is no invariant `{0}`")]
    Unknown(String),
    /// Two libraries can't be held against each other.
    #[error("the two libraries can't be compared: {0}")]
    Incomparable(String),
    /// Something that a library which passed its checks can't bring about.
    #[error("a policy can't be put into a proof: {0}")]
    Policy(String),
}

fn listed(problems: &[Problem]) -> String {
    let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
    texts.join("; ")
}
