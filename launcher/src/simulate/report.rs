//! What came of it.

use std::time::Duration;

use mayfly_core::launcher::budget::Budget;
use mayfly_core::launcher::{JobStatus, Moment};
use serde::Serialize;

use super::aws::Aws;
use super::github::Github;
use super::history::Arrival;
use super::options::Options;

/// The figures of a simulation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Jobs that came.
    pub jobs: usize,
    /// Jobs that did not run to their end.
    pub unserved: usize,
    /// Jobs of which people were told that nothing more is tried.
    pub given_up: usize,
    /// Instances that were still there at the end, with nobody to end them.
    pub leaked: u32,
    /// Instances that were given a second JIT configuration.
    pub doubled: usize,
    /// Parameters and runner records that were left.
    pub left: usize,
    /// Instances that were launched.
    pub launched: usize,
    /// The most instances at once.
    pub most_at_once: u32,
    /// From the queue to the runner, half of the jobs, in seconds.
    pub wait_median: f64,
    /// The same, 99 of 100.
    pub wait_p99: f64,
    /// The mean.
    pub wait_mean: f64,
    /// The mean that the quotas and the boot of an instance allow.
    pub wait_bound: f64,
    /// What the instances cost, in dollars.
    pub cost: f64,
    /// What the jobs alone would cost on the same instances, on demand.
    pub cost_ideal: f64,
    /// Virtual time, in seconds.
    pub took: u64,
    /// Decisions.
    pub steps: u64,
}

/// What a boot takes at best: launch, boot, the runner's start.
const BOOT: Duration = Duration::from_millis(29_500);

impl Report {
    pub(super) fn of(
        options: &Options,
        arrivals: &[Arrival],
        github: &Github,
        aws: &Aws,
        now: Moment,
        steps: u64,
    ) -> Self {
        let mut waits: Vec<f64> = github
            .jobs
            .iter()
            .filter_map(|job| job.started_at.map(|at| at.since(job.queued_at).as_secs_f64()))
            .collect();
        waits.sort_by(f64::total_cmp);
        let at = |share: f64| {
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "an index"
            )]
            let place = ((waits.len() as f64 - 1.0).max(0.0) * share) as usize;
            waits.get(place).copied().unwrap_or(0.0)
        };
        let spot = f64::from(options.spot_percent) / 100.0;
        let hours: f64 = aws
            .machines
            .values()
            .map(|machine| {
                let lived = machine.ended_at.unwrap_or(now).since(machine.launched_at).as_secs_f64().max(60.0) / 3600.0;
                if machine.spot { lived * spot } else { lived }
            })
            .sum();
        let work: f64 = arrivals.iter().map(|arrival| arrival.takes.as_secs_f64() / 3600.0).sum();
        Self {
            jobs: arrivals.len(),
            unserved: arrivals.len() - github.jobs.iter().filter(|job| job.status == JobStatus::Completed).count(),
            given_up: github.jobs.iter().filter(|job| job.told).count(),
            leaked: aws.live,
            doubled: aws.machines.values().filter(|machine| machine.puts > 1).count(),
            left: aws.parameters.len() + github.records(),
            launched: aws.machines.len(),
            most_at_once: aws.most_live,
            wait_median: at(0.5),
            wait_p99: at(0.99),
            wait_mean: mean(&waits),
            wait_bound: bound(options, arrivals),
            cost: hours * options.price,
            cost_ideal: work * options.price,
            took: now.0 / 1000,
            steps,
        }
    }
}

fn mean(values: &[f64]) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "millions at most")]
    let count = values.len().max(1) as f64;
    values.iter().sum::<f64>() / count
}

/// The mean wait that nobody can be below: each job waits for its turn at the slowest of the quotas, and for a boot.
fn bound(options: &Options, arrivals: &[Arrival]) -> f64 {
    let mut jit = Budget::new(180 * options.apps, 166 * options.apps);
    let mut puts = Budget::new(3 * options.apps, 180 * options.apps);
    let mut waits = Vec::with_capacity(arrivals.len());
    let mut turn = Moment(0);
    for arrival in arrivals {
        turn = turn.max(arrival.at);
        while !(jit.room(turn) > 0 && puts.room(turn) > 0) {
            turn = jit.next(turn).max(puts.next(turn)).max(Moment(turn.0 + 1));
        }
        let _ = jit.take(turn) && puts.take(turn);
        waits.push(turn.since(arrival.at).saturating_add(BOOT).as_secs_f64());
    }
    mean(&waits)
}
