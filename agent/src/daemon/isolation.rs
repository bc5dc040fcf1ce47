//! Are jobs blocked from the instance's credentials? Before anything is fetched, right before the runner starts, and while
//! it runs: another firewall's restart, or an upgrade of it, may take the rules away at any time.
//!
//! The agent has no capability to look at rules, so systemd runs two units for it: one checks the way as the job's user, the
//! other compares the rules with what was loaded, and puts them back.

use std::time::Duration;

use thiserror::Error;
use tokio::time::sleep;
use tracing::{error, warn};

use super::host::HostWatch;
use crate::runner::request::NotStarted;
use crate::systemd::{ISOLATION, JobResult, Manager, PROBE, SystemdError};
use mayfly_core::host::WarningKind;
use mayfly_core::lifecycle::{Exit, Outcome};

/// How long a unit may take; a refused connection, or a list of the rules, takes milliseconds.
const TIMEOUT: Duration = Duration::from_secs(20);

/// How often the rules are looked at while there is a runner: two short processes.
const INTERVAL: Duration = Duration::from_secs(30);

/// What `isolate check` exits with when the rules were gone and are in force again.
const PUT_BACK: i32 = 3;

/// What it exits with when they are gone and stay so.
const GONE: i32 = 4;

/// What is known of the rules.
#[derive(Debug)]
enum Rules {
    /// As they were loaded.
    InForce,
    /// They were not, and are again.
    PutBack,
    /// They are not, and nothing helps.
    Gone,
    /// Nobody knows: systemd or nft did not say.
    Unknown(SystemdError),
}

/// Why no job may run: it may get what no job may have.
#[derive(Debug, Error)]
pub(super) enum NotIsolated {
    /// The instance's credentials can be got, or that they cannot could not be tried.
    #[error("jobs could reach the instance's credentials, or it could not be tried that they cannot: {0}")]
    Probe(SystemdError),
    /// The rules are not in force.
    #[error("the rules of isolation.nft are gone and cannot be put back")]
    RulesGone,
    /// Nobody knows whether they are.
    #[error("it could not be seen that the rules are in force: {0}")]
    RulesUnknown(SystemdError),
}

impl From<NotIsolated> for NotStarted {
    fn from(error: NotIsolated) -> Self {
        Self { outcome: Outcome::IsolationBroken, detail: error.to_string() }
    }
}

/// Who checks, and whom it is told.
#[derive(Clone)]
pub(super) struct Isolation {
    manager: Manager,
    host: HostWatch,
}

impl Isolation {
    pub(super) fn new(manager: Manager, host: HostWatch) -> Self {
        Self { manager, host }
    }

    pub(super) fn manager(&self) -> &Manager {
        &self.manager
    }

    /// Tries, as the job's user, to get what no job may have, and looks whether the rules are in force: before anything is fetched,
    /// and once more right before the one start, for rules that hold now may be gone in a second.
    ///
    /// # Errors
    /// It can be got, the rules are not there, or nobody can tell. Then nothing may be fetched or started.
    pub(super) async fn check(&self) -> Result<(), NotIsolated> {
        let probe = async { self.manager.start(PROBE, TIMEOUT).await.map_err(NotIsolated::Probe) };
        let (blocked, rules) = tokio::join!(probe, rules(&self.manager));
        match rules {
            Rules::InForce => {}
            Rules::PutBack => told_back(&self.host),
            Rules::Gone => return Err(NotIsolated::RulesGone),
            Rules::Unknown(why) => return Err(NotIsolated::RulesUnknown(why)),
        }
        blocked
    }
}

/// Looks again and again while there is a runner, and says what is wrong; a job is not stopped for it.
pub(super) async fn watch(Isolation { manager, host }: Isolation) {
    let (mut gone_told, mut unknown_told) = (false, false);
    loop {
        sleep(INTERVAL).await;
        match rules(&manager).await {
            Rules::InForce => gone_told = false,
            Rules::PutBack => told_back(&host),
            Rules::Gone if !gone_told => {
                gone_told = true;
                error!("the rules that block jobs from the instance's credentials are gone and cannot be put back");
                let text = "the rules that block jobs from the instance's credentials are gone";
                host.trouble(WarningKind::Isolation, text.to_owned());
            }
            Rules::Unknown(why) if !unknown_told => {
                unknown_told = true;
                warn!("it cannot be seen whether the rules that block jobs are in force: {why}");
            }
            Rules::Gone | Rules::Unknown(_) => {}
        }
    }
}

fn told_back(host: &HostWatch) {
    error!("the rules that block jobs from the instance's credentials were gone; they are in force again");
    host.trouble(
        WarningKind::Isolation,
        "the rules that block jobs from the instance's credentials were gone for a while".to_owned(),
    );
}

async fn rules(manager: &Manager) -> Rules {
    match manager.start(ISOLATION, TIMEOUT).await {
        Ok(()) => Rules::InForce,
        // A job whose end was not heard may still be under way: its unit's last exit is of another look.
        Err(error @ SystemdError::Job { result: JobResult::Cut, .. }) => Rules::Unknown(error),
        Err(error @ SystemdError::Job { .. }) => match manager.status(ISOLATION).await {
            Ok(status) => judge(status.exit, error),
            Err(silent) => Rules::Unknown(silent),
        },
        Err(error) => Rules::Unknown(error),
    }
}

/// What the unit's exit says. Only its own two words count: a unit that was killed, or had no time, has seen nothing.
fn judge(exit: Option<Exit>, failure: SystemdError) -> Rules {
    match exit {
        Some(Exit::Code(PUT_BACK)) => Rules::PutBack,
        Some(Exit::Code(GONE)) => Rules::Gone,
        _ => Rules::Unknown(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_poll_that_was_made_says_that_the_rules_are_gone() {
        let failed = || SystemdError::Job { verb: "start", unit: ISOLATION.to_owned(), result: JobResult::Failed };
        assert!(matches!(judge(Some(Exit::Code(PUT_BACK)), failed()), Rules::PutBack));
        assert!(matches!(judge(Some(Exit::Code(GONE)), failed()), Rules::Gone));
        for exit in [None, Some(Exit::Code(5)), Some(Exit::Signal(9)), Some(Exit::Code(203))] {
            assert!(matches!(judge(exit, failed()), Rules::Unknown(_)), "{exit:?} is taken for an answer");
        }
    }
}
