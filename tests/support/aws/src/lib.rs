//! Stand-ins for what an EC2 instance talks to, made for tests and demos.
//!
//! * [`imds`]: a scripted, strict instance metadata service (session tokens only).
//! * [`proxy`]: a fault-injecting proxy in front of an AWS emulator.
//! * [`moto`]: that emulator, started from a private Python environment.
//! * [`ec2`]: EC2 and Parameter Store in this process, behind the same proxy, for bursts.
//!
//! What every double needs is here for others as well: the HTTP server ([`serve`]), the list of requests ([`record`]),
//! faults with bounds ([`rules`], [`when`]) and the conversation with a script ([`script`]).
//!
//! Every double owns a thread with a small runtime of its own, so it serves
//! plain tests and asynchronous ones alike, and stops when it is dropped. They
//! listen on the loopback address only.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may fail there"))]

pub mod ec2;
pub mod http;
pub mod imds;
pub mod moto;
pub mod proxy;
pub mod record;
pub mod rules;
pub mod script;
pub mod serve;
pub mod when;

mod dates;

pub use serve::ConnectionCounts;
pub use when::{Limit, RuleId};
