//! Doubles for Mayfly's tests: a stand-in for GitHub's `actions/runner`.
//!
//! The `fake-runner` binary plays the listener and the worker, driven by a
//! [`Scenario`]; this library builds scenarios and JIT configurations,
//! installs the double into a runner root and reads back what it recorded.

pub mod clock;
pub mod install;
pub mod jit;
pub mod recording;
pub mod scenario;
pub mod scenarios;
pub mod strings;

pub use install::FakeRunner;
pub use jit::JitConfig;
pub use recording::{Event, Record, Start};
pub use scenario::{Act, JobResult, Scenario, Stream, WorkerBehaviour};
pub use strings as console;
