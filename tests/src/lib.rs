//! Harness of the end-to-end tests: real processes on loopback.
