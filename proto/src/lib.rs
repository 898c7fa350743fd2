//! The wire: protocol buffers, generated code and conversions to model types.
//!
//! In scope: the published `.proto` files, what `tonic` generates of them, `TryFrom` conversions
//! at the boundary, and the JSON views of the local interfaces.
//! Out of scope: policy and defaults. A missing field is an error here, never a guess.

pub mod convert;
pub mod invitation;
pub mod views;

/// Generated code.
#[expect(
    missing_docs,
    unused_qualifications,
    reason = "generated from the .proto files, which carry the documentation"
)]
pub mod v1 {
    tonic::include_proto!("passerelle.v1");
}

/// The encoded file descriptors, for server reflection.
pub const FILE_DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/passerelle.bin"));

/// The protocol version that both sides must speak.
pub const PROTOCOL: u32 = 1;

/// Largest message on the exchange stream, in bytes: the largest sealed answer, its envelope and
/// proof, with room.
pub const MAX_MESSAGE_BYTES: usize = 512 * 1024;

/// Largest message on a local socket, in bytes: a CSV file.
pub const MAX_LOCAL_MESSAGE_BYTES: usize = 64 * 1024 * 1024;
