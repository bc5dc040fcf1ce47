//! The limits of every run here, short enough for thousands of them, and what follows: how long a run may take.

use std::time::Duration;

use crate::plan::{Between, Plan, What};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) const BOOTING: Duration = ms(3000);
pub(crate) const JIT_WAIT: Duration = ms(4000);
pub(crate) const LISTENING: Duration = ms(2500);
pub(crate) const IDLE: Duration = ms(1500);
pub(crate) const ASSIGNED: Duration = ms(1500);
pub(crate) const JOB: Duration = ms(2500);
pub(crate) const FINISHING: Duration = ms(1000);
pub(crate) const UPDATING: Duration = ms(1000);
pub(crate) const DRAINING: Duration = ms(1000);
pub(crate) const CLOSING: Duration = ms(3000);
pub(crate) const TERMINATING: Duration = ms(1200);
pub(crate) const LIFETIME: Duration = ms(12_000);

/// How long one attempt of a call to AWS may take: the agent's 5 s, at the scale of `MAYFLY_TIME_SCALE`.
pub(crate) const ATTEMPT: Duration = ms(500);

/// The constants of the lifecycle that no configuration changes.
const POLL_GRACE: Duration = ms(5000);
const KILL_GRACE: Duration = ms(5000);
/// What an agent asks the metadata service before its run begins, beyond the limit for booting.
const BEFORE: Duration = ms(2000);
/// The group with and without the decrement, EC2, the power.
const METHODS: u32 = 4;

/// A loaded machine is not a bug.
const SLACK: Duration = ms(12_000);

/// The configuration's names for them.
pub(crate) const ALL: [(&str, Duration); 11] = [
    ("booting", BOOTING),
    ("listening", LISTENING),
    ("idle", IDLE),
    ("assigned", ASSIGNED),
    ("job", JOB),
    ("finishing", FINISHING),
    ("updating", UPDATING),
    ("draining", DRAINING),
    ("closing", CLOSING),
    ("terminating", TERMINATING),
    ("lifetime", LIFETIME),
];

/// After this much time a run of this plan hangs.
#[must_use]
pub fn bound(plan: &Plan) -> Duration {
    let after_lifetime = POLL_GRACE + DRAINING + KILL_GRACE + CLOSING + TERMINATING * METHODS;
    let mut bound = BEFORE + BOOTING + LIFETIME + after_lifetime + SLACK;
    for fault in &plan.faults {
        bound += match fault.what {
            What::KillAgent { down, between } => {
                // A new boot counts its lifetime anew.
                down + BEFORE + if between == Between::Reboot { BOOTING + LIFETIME } else { Duration::ZERO }
            }
            What::PoolStop { down, wanted } => down + wanted + BEFORE + BOOTING + LIFETIME,
            What::FreezeAgent { time } => time,
            What::Hold { time } => time,
            _ => Duration::ZERO,
        };
    }
    bound
}
