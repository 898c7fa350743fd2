//! The broker: sequencer, policy enforcement, relay, witness rounds, gRPC services.
