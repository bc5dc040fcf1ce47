//! Webhooks: what is sent, how it is signed, and what goes wrong on the way.

mod courier;
mod payload;
mod plan;

use aws_lc_rs::hmac;

use crate::clock::Time;
use crate::world::model::Job;

pub(crate) use courier::{Courier, Delivery, deliver, redeliver, send_alone, send_any};
pub(crate) use payload::{commit, job_members, payload, renamed as payload_renamed};
pub use plan::{WebhookFault, WebhookMatch};

/// The one agent that GitHub sends webhooks with.
pub(crate) const USER_AGENT: &str = "GitHub-Hookshot/4f2a7d1";
/// The id of the App's webhook.
pub(crate) const HOOK_ID: u64 = 500_000_001;

/// What a `workflow_job` event tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JobAction {
    Queued,
    Waiting,
    InProgress,
    Completed,
}

impl JobAction {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Waiting => "waiting",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
        }
    }
}

/// Something happened to a job.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) action: JobAction,
    pub(crate) job: Job,
    pub(crate) at: Time,
}

/// The value of `X-Hub-Signature-256` for a body.
pub fn signature(secret: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, body);
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}
