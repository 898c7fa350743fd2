//! The broker: sequencer, policy enforcement, relay, witness rounds, gRPC services.
//!
//! In scope: deciding every request by policy, making the decision durable and provable, and only
//! then letting sealed answers pass between agencies. Out of scope: facts, names and free text,
//! which it can't read.

pub mod acceptor;
pub mod bundles;
pub mod ca;
pub mod clock;
pub mod connections;
pub mod error;
pub mod home;
pub mod ledger;
pub mod notices;
pub mod operator;
pub mod oprf;
pub mod order;
pub mod outside;
pub mod rate;
pub mod recent;
pub mod seat;
pub mod sequencer;
pub mod serve;
pub mod services;
mod session;
pub mod succession;
mod tiles;
pub mod tls;
pub mod witnesses;

pub use error::BrokerError;
pub use operator::{Invited, Proposed, init, invite, propose_bundle, revoke, status};
pub use serve::{Serving, start};
