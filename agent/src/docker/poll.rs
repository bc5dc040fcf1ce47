//! Looking at the daemon again and again.

use std::time::Duration;

use tokio::sync::watch::Sender;
use tokio::time::sleep;

use super::{Docker, Health};
use crate::base::backoff;
use crate::base::clock;
use mayfly_core::config::DockerMode;
use mayfly_core::lifecycle::Time;

/// How long an answer is waited for. Far more than [`super::SLOW`]: a daemon under load answers late, and only one
/// that hangs answers never.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// The pause between polls while the daemon does not answer: a job may be waiting for it.
const SEARCHING: Duration = Duration::from_secs(1);

/// The pause between polls of a daemon that is well, or that nobody needs.
const RESTING: Duration = Duration::from_secs(10);

/// Every which look at a daemon that is well is a deep one, [`Docker::probe`]: about once a minute.
const DEEP: u32 = 6;

/// What the last poll found, for [`super::DockerHistory::observe`]. Every poll is sent, also if nothing changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// What it found.
    pub health: Health,
    /// When a poll first found that, without anything else since.
    pub since: Time,
    /// When the last poll ended.
    pub seen: Time,
}

/// Looks at the daemon until nobody listens any more: every second while it does not answer, every ten seconds (give
/// or take two, so that machines that were started together do not stay in step) while it does. Not at all with
/// [`DockerMode::Off`].
///
/// A daemon that did not answer the last poll, and now and then one that did, is looked at deeply: only so a stuck
/// containerd is seen, and once seen is not forgotten for an answered ping.
///
/// Sends what it saw and decides nothing. A receiver that is slow misses polls, and so judges later, never wrongly.
pub async fn watch(docker: Docker, mode: DockerMode, states: Sender<Option<State>>) {
    if mode == DockerMode::Off {
        return;
    }
    let mut last: Option<(Health, Time)> = None;
    let mut answers = 0;
    loop {
        let poll = async { if answers % DEEP == 0 { docker.probe(TIMEOUT).await } else { docker.ping(TIMEOUT).await } };
        let health = tokio::select! {
            health = poll => health,
            () = states.closed() => return,
        };
        let seen = clock::now();
        let since = last.filter(|(before, _)| *before == health).map_or(seen, |(_, since)| since);
        last = Some((health.clone(), since));
        answers = if health.is_answer() { answers.wrapping_add(1) } else { 0 };
        let pause = pause(&health, mode);
        states.send_replace(Some(State { health, since, seen }));
        tokio::select! {
            () = sleep(pause) => {}
            () = states.closed() => return,
        }
    }
}

fn pause(health: &Health, mode: DockerMode) -> Duration {
    let unneeded = *health == Health::Absent && mode == DockerMode::IfPresent;
    if health.is_answer() || unneeded { backoff::give_or_take(0.2, RESTING, fastrand::f64()) } else { SEARCHING }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_is_needed_and_silent_is_looked_for_every_second() {
        for health in [Health::Hung, Health::Starting, Health::Failing(String::new())] {
            assert_eq!(pause(&health, DockerMode::IfPresent), SEARCHING, "a job would wait for longer than it must");
        }
        assert_eq!(pause(&Health::Absent, DockerMode::Required), SEARCHING);
    }

    #[test]
    fn a_daemon_that_is_well_or_not_needed_is_left_in_peace() {
        for (health, mode) in [(Health::Ready, DockerMode::Required), (Health::Absent, DockerMode::IfPresent)] {
            let pauses: Vec<Duration> = (0..100).map(|_| pause(&health, mode)).collect();
            let bounds = Duration::from_secs(8)..=Duration::from_secs(12);
            assert!(pauses.iter().all(|pause| bounds.contains(pause)), "{pauses:?}");
            assert!(pauses.iter().any(|pause| *pause != pauses[0]), "a fleet would ask in step");
        }
    }
}
