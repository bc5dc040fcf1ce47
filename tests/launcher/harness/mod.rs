//! What every scenario needs: GitHub and AWS as doubles, the shipped launcher between them, and somebody who plays the agents.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

mod stage;
mod told;

pub use stage::{LABELS, REPOSITORY, Stage, launcher_binary};
pub use told::{Answer, get, post};
