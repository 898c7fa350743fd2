//! The signed log: Merkle tree, notes, checkpoints, witnesses, proofs, verification.
