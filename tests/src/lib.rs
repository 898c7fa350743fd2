//! Harness of the end-to-end tests: real processes on loopback, and an agency played by hand.
//!
//! In scope: starting, stopping and crashing the program's own processes ([`federation`],
//! [`process`]), running its command line ([`cli`]), waiting with deadlines ([`wait`]), and a
//! client of the published protocol that may be as dishonest as a test needs ([`raw_agency`],
//! [`raw_session`], [`statements`]).
//! Beside them, what an office does ([`office`]), witnesses outside ([`outside`]), what an auditor
//! reads ([`export`]), and a search for what must be nowhere ([`search`]).
//! Where the nodes run can be made hostile ([`surroundings`]): clocks that jump ([`false_clock`]),
//! hosts that part ([`hosts`]), small disks ([`file_system`]), disks that record what was written
//! ([`recorded_disk`]).
//! Out of scope: shortcuts into broker or agent. What a test sees, a stranger on the network or a
//! user at the terminal could see.

pub mod cli;
pub mod export;
pub mod false_clock;
pub mod federation;
pub mod file_system;
mod fuse;
pub mod hosts;
pub mod machine;
pub mod office;
pub mod outside;
pub mod process;
pub mod raw_agency;
pub mod raw_session;
pub mod recorded_disk;
pub mod search;
pub mod statements;
pub mod surroundings;
pub mod wait;
