//! `passerelle`.
fn main() {}
