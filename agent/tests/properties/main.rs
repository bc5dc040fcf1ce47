//! What holds for any bytes in the agent's own files and in the runner's, tried with random ones.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test may fail there")]

mod journal;
mod lines;
