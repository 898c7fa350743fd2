//! Durable append-only storage of entries and sidecars, and the projection beside it.
