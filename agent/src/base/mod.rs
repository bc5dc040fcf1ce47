//! What everybody needs, and what needs nobody: the ground floor of the agent.

pub mod backoff;
pub mod cgroup;
pub mod clock;
pub mod durable;
pub mod exit;
pub mod http;
pub mod image;
pub mod paths;
pub mod reading;
pub mod seen;
pub mod users;
