//! The launcher's decisions: what is known of jobs, instances, runners and parameters, and an event in; actions out. No I/O and
//! no clock: the moment comes with the event, so the model checker and the simulator run the very rules that `mayfly-launcher`
//! runs.
//!
//! - [`class`] is a runner class: which jobs are its own, and within which bounds;
//! - [`signal`] is what GitHub says of a job;
//! - [`world`] is what is known, [`event`] what comes in, [`action`] what is to be done;
//! - [`step`](mod@step) decides; [`demand`] which jobs need an instance, [`provide`] how an instance gets its JIT configuration,
//!   [`reconcile`] what lists of AWS and GitHub mend, [`ending`] what is ended and why;
//! - [`budget`] paces calls, [`breaker`] stops what fails again and again;
//! - [`why`](mod@why) says why a job waits;
//! - [`names`] are the names and tags by which everything is found again.
//!
//! What must survive the process is in the tags of instances and in GitHub; the world is a cache of it.

pub mod action;
pub mod breaker;
pub mod budget;
pub mod class;
pub mod demand;
pub mod ending;
pub mod event;
pub mod names;
pub mod provide;
pub mod reconcile;
pub mod signal;
pub mod step;
pub mod time;
pub mod why;
pub mod world;

pub use action::Action;
pub use class::{Class, Scope, WhenSpent};
pub use event::{Event, Problem, ProblemKind};
pub use signal::{JobId, JobSignal, JobStatus, RunId};
pub use step::step;
pub use time::Moment;
pub use why::why;
pub use world::{Settings, World};
