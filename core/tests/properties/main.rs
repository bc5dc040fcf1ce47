//! What holds for any input, tried with random ones, and with the corpus that fuzzing (`scripts/fuzz`) has gathered.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test may fail there")]

mod configuration;
mod corpus;
mod deadlines;
#[path = "../../fuzz/promises.rs"]
mod promises;
