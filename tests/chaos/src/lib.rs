//! Chaos: runs of the shipped binary in which everything that can go wrong may go wrong, at random and together.
//!
//! A seed makes a [`plan::Plan`], which is pure and can be printed; [`play`](play::play) carries it out on real processes
//! and doubles; what independent witnesses saw of it ([`witness::Witness`]) is judged by the [`oracle`].

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

pub mod campaign;
pub mod draw;
pub mod limits;
mod log;
mod mischief;
pub mod oracle;
pub mod plan;
pub mod play;
pub mod stories;
pub mod witness;
mod world;
