//! What GitHub's runner is given, and what it says: pure readers, of text from GitHub and of text from jobs.
//!
//! Facts about the runner come from `actions/runner` 2.336.0, read in source.

pub mod console;
pub mod diag;
pub mod jit;
pub mod label;
pub mod material;
pub mod perf;
