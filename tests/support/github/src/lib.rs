//! A double of GitHub for Mayfly's tests and demos: its REST API, its webhooks and the service that runners talk to.
//!
//! It owns a thread with a small runtime, so it serves plain tests and asynchronous ones alike, listens on the loopback
//! address only, and stops when it is dropped. One base address stands for `https://api.github.com`,
//! `https://github.com` and the runner service.
//!
//! ```no_run
//! use std::time::Duration;
//! use mayfly_fake_github::{Conclusion, FakeGithub, Fault, JobSpec, Limit, Match, Options, WebhookFault, WebhookMatch};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let github = FakeGithub::start(Options::default())?;
//! // For the client: base address, App id or client id, key, installation.
//! let (api, key) = (github.api_url(), github.app_private_key_pem());
//! let (app, client, installation) =
//!     (mayfly_fake_github::APP_ID, mayfly_fake_github::CLIENT_ID, mayfly_fake_github::FIRST_INSTALLATION);
//! # let _ = (api, key, app, client, installation);
//!
//! // Webhooks go to the client as soon as its address is known.
//! github.webhook_to("http://127.0.0.1:4000/webhook", "secret");
//! let job = github.queue_job(&JobSpec::new("mayfly-example/sample", &["self-hosted", "ec2"]))?;
//!
//! // The client registers a runner with generate-jitconfig; the test plays the machine …
//! github.wait_runners(Duration::from_secs(10), |runners| !runners.is_empty());
//! let name = github.runners()[0].name.clone();
//! github.runner_online(&name)?; // takes the oldest job that it matches
//! github.complete_job(job, Conclusion::Success)?; // the runner's record vanishes
//! // … or the runner's double does, which reports to the address in its JIT configuration by itself.
//!
//! // Faults: the first two registrations are answered 503, the third is made but its answer is lost.
//! github.fault(Match::operation("generate-jitconfig"), Limit::times(2), Fault::Status(503));
//! github.fault(Match::operation("generate-jitconfig"), Limit::times(1), Fault::LoseAnswer);
//! github.webhook_fault(WebhookMatch::action("queued"), Limit::times(1), WebhookFault::Lose);
//!
//! assert_eq!(github.violations(), [], "a request, or the double itself, broke GitHub's description");
//! # Ok(())
//! # }
//! ```
//!
//! # What is where
//!
//! * [`Options`]: owners, repositories, groups, permissions; GHES; clock; limits.
//! * [`FakeGithub`]: starting, faults ([`Fault`], [`Match`]), the requests seen ([`GithubRequest`]), breaches of
//!   GitHub's OpenAPI description ([`Violation`]); steering the world (`queue_job`, `start_job`, `complete_job`,
//!   `runner_online`, …) and webhooks (`webhook_to`, [`WebhookFault`], `webhooks`).
//! * A fault comes before everything else: a call that a fault answers needs no token and costs no rate limit. The oldest
//!   fault that applies decides, and younger ones are not used up by that call; delays add up.
//! * Runner scale sets: `POST /actions/runner-registration` at [`FakeGithub::api_url`] leads to the service, for which
//!   [`Match::operation`] knows names such as `GET _apis/runtime/runnerscalesets/{id}/messages`; [`JobForm`],
//!   `statistics_off`, `expire_queue_tokens`, `drop_sessions`, [`Fault::ByteOrderMark`]. A job that fits a set is the
//!   set's alone.
//! * The runner's double reports below `/_runner/`, which faults do not touch and the record does not show. A test that
//!   plays the runner itself says `runner_online`, `complete_job`, `runner_gone`.
//! * With [`ClockKind::Manual`] the double's time stands still but for [`FakeGithub::advance`]: limits, leases, tokens,
//!   delays of webhooks and periods of faults follow it. Latency and [`Fault::Delay`] are real time.
//! * Jobs go to idle online runners by themselves, oldest matching job first (so they are "stolen" as at GitHub),
//!   unless [`Options::auto_assign`] is off.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may fail there"))]

mod auth;
mod clock;
mod command;
mod examples;
mod fault;
mod github;
mod jit;
mod options;
mod rate;
mod request;
mod rest;
mod runner_service;
mod scale_set;
mod schema;
mod shared;
mod steering;
mod webhook;
mod world;

pub use auth::{APP_ID, CLIENT_ID};
pub use clock::{ClockKind, Time};
pub use fault::{Fault, Match};
pub use github::FakeGithub;
pub use mayfly_fake_aws::{Limit, RuleId};
pub use options::{GroupSpec, Options, OwnerSpec, RepoSpec, WebhookTarget};
pub use request::GithubRequest;
pub use schema::{Side, Violation};
pub use shared::CheckRun;
pub use steering::SentWebhook;
pub use webhook::{WebhookFault, WebhookMatch, signature};
pub use world::model::{Conclusion, Job, JobId, JobSpec, JobStatus, Runner, RunnerRef, Scope};
pub use world::sets::JobForm;
pub use world::{DEFAULT_GROUP, FIRST_INSTALLATION, List, Served};
