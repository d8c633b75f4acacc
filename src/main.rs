//! The `tickreel` binary.
fn main() {}
