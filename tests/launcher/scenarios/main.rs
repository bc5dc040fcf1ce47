//! Scenarios on the shipped launcher.

#![allow(missing_docs, reason = "scenarios say it by their names")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

mod commands;
mod jobs;
mod webhooks;
