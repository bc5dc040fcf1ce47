//! `mayfly-launcher simulate`: the decisions of the launcher and the agent's own lifecycle, in a world of jobs, quotas and faults that
//! is made up, in virtual time. The same seed gives the same run.

mod agent;
mod answers;
mod aws;
mod github;
mod history;
mod options;
mod report;
mod run;

pub use history::{Arrival, from_csv, made_up};
pub use options::{Faults, Options};
pub use report::Report;
pub use run::run;
