//! What every scenario needs: a machine-like place to live in, the shipped binary, and a look at what is left.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

pub mod bus;
pub mod cloud;
pub mod leaks;
pub mod life;
pub mod policy;
pub mod processes;

pub use bus::Bus;
pub use cloud::{Cloud, Gone, OnInstance};
pub use life::{Ended, Life, Running, mayfly_binary};
