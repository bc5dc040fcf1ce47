//! What a test does to the world behind the double, and what it sees of it.

use std::time::Duration;

use mayfly_fake_aws::record::lock;
use mayfly_fake_aws::{Limit, RuleId};

use crate::FakeGithub;
use crate::options::WebhookTarget;
use crate::shared::CheckRun;
use crate::webhook::{WebhookFault, WebhookMatch, send_alone, send_any};
use crate::world::model::{Conclusion, Job, JobId, JobSpec, Runner, Scope};
use crate::world::sets::JobForm;
use crate::world::{Registration, World};

/// A webhook that was sent, or should have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentWebhook {
    /// The id of the delivery.
    pub id: u64,
    /// `X-GitHub-Delivery`, the same for a redelivery.
    pub guid: String,
    /// Such as `workflow_job`.
    pub event: String,
    /// Such as `queued`.
    pub action: Option<String>,
    /// The job.
    pub job: Option<JobId>,
    /// Whether it was asked for again.
    pub redelivery: bool,
    /// `OK`, or what went wrong.
    pub status: String,
    /// The status answered.
    pub status_code: u16,
    /// How long the receiver took.
    pub duration: Duration,
}

impl FakeGithub {
    /// Queues a job, and tells so by webhook.
    pub fn queue_job(&self, spec: &JobSpec) -> Result<JobId, String> {
        self.shared.world(|world| world.queue(spec))
    }

    /// Gives a queued job to a runner, which begins it. Refused where GitHub would not: the runner must exist, be online
    /// and idle, be allowed for the repository, and have every label.
    pub fn start_job(&self, job: JobId, runner: &str) -> Result<(), String> {
        self.shared.world(|world| world.start(job, runner))
    }

    /// Ends a job. Its runner's record vanishes.
    pub fn complete_job(&self, job: JobId, conclusion: Conclusion) -> Result<(), String> {
        self.shared.world(|world| world.end(job, conclusion))
    }

    /// Cancels a job: at once while it is queued. One that runs is told to stop: the runner's double does so, a test says
    /// [`FakeGithub::complete_job`], and after 5 minutes GitHub does without.
    pub fn cancel(&self, job: JobId) {
        self.shared.world(|world| world.cancel(job));
    }

    /// Cancels all jobs of a run, as a person does it; an error if it is over.
    pub fn cancel_run(&self, run: u64) -> Result<(), String> {
        self.shared.world(|world| world.cancel_run(run)).map_err(|_| format!("run {run} is over"))
    }

    /// Lets a waiting job go: it is queued.
    pub fn approve(&self, job: JobId) -> Result<(), String> {
        self.shared.world(|world| world.hold(job, false))
    }

    /// Holds a queued job: it waits for an environment.
    pub fn hold(&self, job: JobId) -> Result<(), String> {
        self.shared.world(|world| world.hold(job, true))
    }

    /// A registered runner connects. It may get a job at once.
    pub fn runner_online(&self, name: &str) -> Result<(), String> {
        self.shared.world(|world| world.connect_runner(name, false).map(drop))
    }

    /// A runner's connection ends. A job that it had fails when its lease is over.
    pub fn runner_gone(&self, name: &str) -> Result<(), String> {
        self.shared.world(|world| world.disconnect_runner(name))
    }

    /// Gives queued jobs to idle runners now, oldest first, also where [`crate::Options::auto_assign`] is off.
    pub fn auto_assign(&self) {
        self.shared.world(World::assign_all);
    }

    /// Registers a runner of somebody else's, or a ghost: the record of one that never came.
    pub fn add_runner(&self, scope: Scope, name: &str, group_id: u64, labels: &[&str]) -> Result<u64, String> {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        let wanted = Registration { name: name.to_owned(), scope, group_id, labels, scale_set: None };
        let registered = self.shared.world(|world| world.register(wanted));
        registered.map(|runner| runner.id).ok_or_else(|| format!("a runner named {name} exists"))
    }

    /// Removes a runner's record.
    pub fn remove_runner(&self, name: &str) -> Result<(), String> {
        self.shared.world(|world| {
            let id = world.runner_named(name).map(|runner| runner.id);
            id.map(|id| world.remove_runner(id)).ok_or_else(|| format!("no such runner: {name}"))
        })
    }

    /// A job as it is now.
    pub fn job(&self, id: JobId) -> Option<Job> {
        self.shared.world(|world| world.job(id).cloned())
    }

    /// All jobs.
    pub fn jobs(&self) -> Vec<Job> {
        self.shared.world(|world| world.all_jobs().cloned().collect())
    }

    /// All runners whose record exists.
    pub fn runners(&self) -> Vec<Runner> {
        self.shared.world(|world| world.live_runners().cloned().collect())
    }

    /// The runner of this name, if its record exists.
    pub fn runner(&self, name: &str) -> Option<Runner> {
        self.shared.world(|world| world.runner_named(name).cloned())
    }

    /// Whether a runner has a job that has begun.
    pub fn is_busy(&self, name: &str) -> bool {
        self.shared.world(|world| world.runner_named(name).is_some_and(|runner| world.busy(runner)))
    }

    /// Blocks until a job is as wished; false if the limit passes first.
    pub fn wait_job(&self, id: JobId, limit: Duration, mut done: impl FnMut(&Job) -> bool) -> bool {
        self.shared.wait(limit, |world| world.job(id).is_some_and(&mut done))
    }

    /// Blocks until the runners are as wished; false if the limit passes first.
    pub fn wait_runners(&self, limit: Duration, mut done: impl FnMut(&[Runner]) -> bool) -> bool {
        self.shared.wait(limit, |world| done(&world.live_runners().cloned().collect::<Vec<_>>()))
    }

    /// Blocks until every webhook has arrived, failed, or is held; false if the limit passes first.
    pub fn wait_delivered(&self, limit: Duration) -> bool {
        self.shared.wait(limit, |world| {
            let courier = lock(&self.shared.courier);
            courier.under_way == 0 && courier.handled == world.told
        })
    }

    /// The check runs that clients made.
    pub fn check_runs(&self) -> Vec<CheckRun> {
        lock(&self.shared.api).check_runs.values().cloned().collect()
    }

    /// How jobs come to scale sets from now on.
    pub fn job_form(&self, form: JobForm) {
        self.shared.world(|world| world.job_form = form);
    }

    /// Makes the statistics of all scale sets wrong by so many assigned jobs; 0 makes them right.
    pub fn statistics_off(&self, jobs: i64) {
        self.shared.world(|world| world.statistics_off = jobs);
    }

    /// Makes the queue tokens of all sessions invalid: each is answered with 401 until it is renewed.
    pub fn expire_queue_tokens(&self) {
        self.shared.world(|world| {
            let now = world.now();
            world.sets.values_mut().filter_map(|set| set.session.as_mut()).for_each(|held| held.token_until = now);
        });
    }

    /// Forgets all sessions: renewing one is answered with 404.
    pub fn drop_sessions(&self) {
        self.shared.world(|world| world.sets.values_mut().for_each(|set| set.session = None));
    }

    /// Removes a scale set, as an administrator may.
    pub fn remove_scale_set(&self, id: u64) {
        self.shared.world(|world| world.sets.remove(&id));
    }

    /// Sends webhooks there from now on.
    pub fn webhook_to(&self, url: &str, secret: &str) {
        let target = WebhookTarget { url: url.to_owned(), secret: secret.to_owned() };
        lock(&self.shared.courier).target = Some(target);
    }

    /// Installs a fault for the webhooks that match.
    pub fn webhook_fault(&self, matching: WebhookMatch, limit: Limit, fault: WebhookFault) -> RuleId {
        lock(&self.shared.courier).rules.add(matching, limit, fault, self.shared.clock.instant())
    }

    /// Removes one fault of webhooks.
    pub fn clear_webhook_fault(&self, id: RuleId) {
        lock(&self.shared.courier).rules.clear(Some(id));
    }

    /// Sends what was held, in the order it was made or the other way round.
    pub fn release_webhooks(&self, reversed: bool) {
        let mut held = {
            let mut courier = lock(&self.shared.courier);
            let held = std::mem::take(&mut courier.held);
            courier.under_way += held.len();
            held
        };
        if reversed {
            held.reverse();
        }
        send_alone(&self.shared, held, false);
    }

    /// Sends any text as any event, signed: a `ping`, what is no JSON, what is too long.
    pub fn send_webhook(&self, event: &str, body: &str) {
        send_any(&self.shared, event, body);
    }

    /// Every try to deliver a webhook, oldest first.
    pub fn webhooks(&self) -> Vec<SentWebhook> {
        let courier = lock(&self.shared.courier);
        let sent = courier.deliveries.iter().map(|delivery| SentWebhook {
            id: delivery.id,
            guid: delivery.parcel.guid.clone(),
            event: delivery.parcel.event.clone(),
            action: delivery.parcel.action.map(str::to_owned),
            job: delivery.parcel.job.map(JobId),
            redelivery: delivery.redelivery,
            status: delivery.status.clone(),
            status_code: delivery.status_code,
            duration: delivery.duration,
        });
        sent.collect()
    }

    /// Blocks until the deliveries are as wished; false if the limit passes first.
    pub fn wait_webhooks(&self, limit: Duration, mut done: impl FnMut(&[SentWebhook]) -> bool) -> bool {
        self.shared.wait(limit, |_| done(&self.webhooks()))
    }
}
