//! What every scenario needs: a machine-like place to live in, the shipped binary, and a poll of what is left.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

pub mod bus;
pub mod cloud;
pub mod leaks;
pub mod policy;
pub mod processes;
pub mod run;
pub mod schema;
pub mod storage;
pub mod wall_clock;

pub use bus::Bus;
pub use cloud::{Cloud, Gone, OnInstance};
pub use run::{Ended, Run, Running, mayfly_binary};
pub use wall_clock::WallClock;
