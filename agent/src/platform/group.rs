//! The instance and the lifecycle hooks of its Auto Scaling group: a launch and a termination that wait for an answer.
//!
//! Nothing here costs a job: what the group or the role refuses is said, with what to do, and the run goes on.

use std::time::Duration;

use tracing::{info, warn};

use super::aws::Aws;
use super::aws::group::{self, LifecycleHook};
use super::ec2::{ASIDE_BUDGET, Ec2};
use super::error::{Ec2Error, advice};
use super::imds::Details;

/// Heartbeats come at a third of the hook's timeout. Where that is not known, at a third of the shortest there is (30 s).
const SHORTEST_PERIOD: Duration = Duration::from_secs(10);

/// And at least this often, so that an agent that was away for a while is not too late.
const LONGEST_PERIOD: Duration = Duration::from_secs(600);

/// So many refused heartbeats in a row are the last.
const REFUSALS: u32 = 5;

/// The target state is seen a moment before or after the group begins to wait for its hook.
const BEGINS_TO_WAIT: Duration = Duration::from_secs(10);

impl Ec2 {
    /// Tells the group that the instance is of use, or is to be given up.
    pub(crate) async fn answer_launch(&self, ready: bool) {
        let hook = &self.settings.launch_hook;
        let result = if ready { "CONTINUE" } else { "ABANDON" };
        match self.complete(hook, ready, false, ASIDE_BUDGET).await {
            Ok(()) => info!("the launch hook {hook} was answered: {result}"),
            Err(error) => warn!("the launch hook {hook} was not answered ({result}): {error}"),
        }
    }

    /// Lets the group go on with the termination that waits.
    pub(super) async fn finish_termination(&self, budget: Duration) -> Result<(), Ec2Error> {
        self.complete(&self.settings.termination_hook, true, true, budget.min(self.scaled(BEGINS_TO_WAIT))).await
    }

    /// Keeps the group waiting with the termination, until this is dropped.
    pub(crate) async fn delay_termination(&self) {
        let name = self.settings.termination_hook.as_str();
        let (aws, group, id) = match (self.aws().await, self.group().await, self.known_id().await) {
            (Ok(aws), Ok(group), Ok(id)) => (aws, group, id),
            (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) => {
                return warn!("the termination is not delayed: {error}");
            }
        };
        let hook = LifecycleHook { group, name, id };
        let period = self.heartbeat_period(aws, hook).await;
        info!("the group {group} terminates this instance: its hook {name} is kept waiting, every {period:?}");
        let mut refused = 0;
        while refused < REFUSALS {
            match group::heartbeat(aws, hook, ASIDE_BUDGET).await {
                Ok(()) => refused = 0,
                Err(error) => {
                    refused += 1;
                    if refused == 1 {
                        warn!("the job may not get its time: {}", advice(&error, name));
                    }
                }
            }
            tokio::time::sleep(self.scaled(period)).await;
        }
        warn!("the hook {name} is no longer kept waiting: {REFUSALS} heartbeats in a row were refused");
    }

    async fn heartbeat_period(&self, aws: &Aws, hook: LifecycleHook<'_>) -> Duration {
        match group::hook_timeout(aws, hook, ASIDE_BUDGET).await {
            Ok(Some(timeout)) => (timeout / 3).clamp(SHORTEST_PERIOD, LONGEST_PERIOD),
            Ok(None) => {
                warn!("the group {} has no lifecycle hook {}: see autoscaling.termination_hook", hook.group, hook.name);
                SHORTEST_PERIOD
            }
            Err(error) => {
                info!("how long the hook waits is not known: {}", advice(&error, hook.name));
                SHORTEST_PERIOD
            }
        }
    }

    async fn complete(&self, name: &str, go_on: bool, awaited: bool, budget: Duration) -> Result<(), Ec2Error> {
        let (aws, group, id) = (self.aws().await?, self.group().await?, self.known_id().await?);
        let completed = group::complete(aws, LifecycleHook { group, name, id }, go_on, awaited, budget).await;
        completed.map_err(|error| Ec2Error::LifecycleHook { hook: name.to_owned(), error })
    }

    /// The group's name: from the instance's tags, or from Auto Scaling where they are not in the metadata.
    async fn group(&self) -> Result<&str, Ec2Error> {
        let asked = self.group.get_or_try_init(|| async {
            if let Some(group) = Details::fetch(&self.imds, ASIDE_BUDGET).await.group {
                return Ok(group);
            }
            let found = group::group_of(self.aws().await?, self.known_id().await?, ASIDE_BUDGET).await?;
            found.ok_or(Ec2Error::NoGroup)
        });
        asked.await.map(String::as_str)
    }
}
