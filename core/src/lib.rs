//! What Mayfly decides, and what its parts agree on. Everything stands on this crate, and it stands on none of them: it has
//! no tokio, no AWS, and reads nothing but configuration files.
//!
//! - [`launcher`] decides which jobs get an instance, and what is ended or removed;
//! - [`lifecycle`] decides: a pure core of states, events and effects;
//! - [`config`] is the table of keys, and its reader;
//! - [`contract`] is what the agent asks of AWS and what others read from it: actions, tags;
//! - [`host`] judges whether a machine is fit for a job;
//! - [`image`] reads what an image says of itself, and how old its runner is;
//! - [`machine_quiet`] is the list of what must not start by itself on a machine that lives for one job;
//! - [`metrics`] is the list of a run's figures, and the forms in which others read them;
//! - [`notices`] reads what EC2 and the Auto Scaling group announce;
//! - [`record`] is what happened in a run, written by the agent and read by whoever explains it;
//! - [`runner`] reads what GitHub's runner is given and what it says;
//! - [`timeline`] makes a picture of a record.

pub mod config;
pub mod contract;
pub mod host;
pub mod image;
pub mod launcher;
pub mod lifecycle;
pub mod machine_quiet;
pub mod metrics;
pub mod notices;
pub mod record;
pub mod runner;
pub mod timeline;
