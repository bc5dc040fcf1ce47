//! The pure modules of the agent, where they are, under their own names: what is fuzzed is the shipped source.

#![allow(dead_code, unreachable_pub, reason = "the agent uses all of it, and this crate only its readers")]

#[path = "../../src/config/mod.rs"]
pub mod config;
#[path = "../../src/host/mod.rs"]
pub mod host;
#[path = "../../src/lifecycle/mod.rs"]
pub mod lifecycle;

#[path = "../../src/docker"]
pub mod docker {
    mod label;
    pub use label::Label;
}

#[path = "../../src/runner"]
pub mod runner {
    pub mod console;
    pub mod jit;
    pub mod perf;
}

#[path = "../../src/platform"]
pub mod platform {
    pub mod imds {
        pub mod notices;
    }
}
