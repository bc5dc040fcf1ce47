//! The launcher: turns a queued job into an instance with a JIT configuration, and leaves nothing behind. What is decided is in
//! [`mayfly_core::launcher`]; here are GitHub, AWS, this machine, and what a person types.

pub mod clock;
pub mod commands;
pub mod config;
pub mod github;
mod log;
pub mod provider;
pub mod serve;
pub mod simulate;
