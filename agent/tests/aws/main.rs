//! The calls to AWS, against moto behind the fault proxy.

#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "a test may fail there")]

mod common;
mod credentials;
mod instance;
mod parameter;
