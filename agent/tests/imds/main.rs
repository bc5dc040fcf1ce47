//! The client of the instance metadata service, against the scripted service.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail there")]

mod client;
mod common;
mod identity;
mod notices;
