//! The agent: fact sources, enforcement at the holder, sealing, witness, local API.
//!
//! In scope: everything that one agency runs. Its facts, keys and policy stay in its directory;
//! it opens one outbound stream to the broker and one Unix socket for its own people.
//! Out of scope: the federation's decisions (crates `broker`, `policies`), printing (the command
//! line), pages (the portal).
//!
//! The entry points are [`enrol::enrol`], [`serve::serve`] and [`client::connect`].

pub mod agreement_view;
pub mod agreements;
pub mod alerts;
mod alike;
pub mod api;
pub mod apply;
mod apply_notice;
pub mod asked_by;
pub mod audit_read;
pub mod bundles;
pub mod client;
pub mod clock;
mod compare;
pub mod config;
pub mod context;
pub mod core;
pub mod csr;
pub mod date;
pub mod deletions;
pub mod enrol;
pub mod entropy;
pub mod erasure;
pub mod event;
pub mod exchange;
pub mod facts;
pub mod forget;
pub mod forks;
mod ground;
pub mod handle;
pub mod holder;
pub mod home;
pub mod import;
mod imported;
pub mod inbound;
pub mod interest;
pub mod isa;
mod late;
pub mod link;
pub mod mirror;
mod names;
pub mod near;
pub mod near_index;
pub mod node;
pub mod origin;
pub mod outside;
pub mod person;
pub mod postponed;
pub mod preview;
pub mod render;
mod renewal;
pub mod requester;
pub mod retention;
pub mod review;
pub mod rights;
pub mod rules;
mod ruling;
pub mod seal;
mod seals;
pub mod serve;
pub mod service_consents;
pub mod session;
mod settlement;
mod standing;
pub mod state;
pub mod store;
pub mod suspicion;
pub mod tls_client;
pub mod trust;
pub mod vault;
pub mod verify;
pub mod witness;

#[cfg(test)]
mod flow_tests;
#[cfg(test)]
mod session_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod verify_tests;
