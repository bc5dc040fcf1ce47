//! Mayfly: one instance, one job, gone.
//!
//! An agent that runs one GitHub Actions job on this machine with GitHub's own runner, and then ends. The map:
//!
//! - [`mayfly_core`] decides: a pure core of states, events and effects, and the configuration;
//! - [`base`] is what everybody needs: clock, paths, users, cgroups;
//! - [`daemon`] acts: the loop that owns the state, its journal, and the performer of effects;
//! - [`runner`] knows GitHub's runner: its files, its processes, and what can be seen of it;
//! - [`systemd`] is PID 1, which owns the runner's unit on a machine that has one;
//! - [`notices`] hears what EC2 and the Auto Scaling group announce;
//! - [`shipping`] brings every log line to where it can be read when the machine is gone;
//! - [`docker`] looks at the host's Docker daemon, and clears up in it after a killed job;
//! - [`timeline`] draws a run;
//! - [`control`] talks to people's commands and to the job's hooks;
//! - [`doctor`] checks each promise on a machine and says what holds;
//! - [`commands`] are what a person types.

pub mod base;
pub mod commands;
pub mod control;
pub mod daemon;
pub mod docker;
pub mod doctor;
pub mod host;
pub mod jit_source;
pub mod log;
pub mod notices;
pub mod platform;
pub mod runner;
pub mod shipping;
pub mod systemd;
pub mod timeline;
