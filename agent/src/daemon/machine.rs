//! The performer's half that touches the platform: identity, the JIT configuration's source, tags, the machine's end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout_at;
use tracing::warn;

use super::isolation::Isolation;
use super::performer::Budget;
use super::settings::Platform;
use crate::base::clock;
use crate::base::seen::Seen;
use crate::jit_source::{self, JitSource, JitSourceError};
use crate::notices::Notices;
use crate::platform::ec2::Ec2;
use crate::platform::tags::{Tags, tagger};
use mayfly_core::contract::TagKey;
use mayfly_core::lifecycle::{End, Event, Identity, JobInfo, Outcome, Phase, Stop, Target, TerminationMethod, Time};
use mayfly_core::metrics::Registry;
use mayfly_core::runner::jit::JitConfig;

/// See the module.
pub(super) enum InstanceTasks {
    /// Any machine.
    Local(JitSource),
    /// An EC2 instance.
    Ec2(OnEc2),
}

/// What goes on beside the run of an instance.
pub(super) struct OnEc2 {
    ec2: Arc<Ec2>,
    tags: Tags,
    wanted: watch::Sender<Tags>,
    tagging: JoinHandle<()>,
    deletion: Option<JoinHandle<()>>,
    /// The last question who the machine is.
    asking: Option<JoinHandle<()>>,
    notices: Arc<Notices>,
    watching: Option<JoinHandle<()>>,
    /// Keeps the group's termination waiting.
    delay: Option<JoinHandle<()>>,
    /// The last answer to the group's launch hook.
    launch: Option<JoinHandle<()>>,
}

impl InstanceTasks {
    pub(super) fn new(platform: Platform) -> Self {
        match platform {
            Platform::Local(source) => Self::Local(source),
            Platform::Ec2 { ec2, notices } => {
                let (wanted, tagging) = tagger(Arc::clone(&ec2));
                Self::Ec2(OnEc2 {
                    ec2,
                    tags: Tags::new(),
                    wanted,
                    tagging,
                    deletion: None,
                    asking: None,
                    notices,
                    watching: None,
                    delay: None,
                    launch: None,
                })
            }
        }
    }

    /// Tells who the machine is; at a shutdown patiently, and without a probe, which nobody starts any more.
    pub(super) fn identify(&mut self, isolation: Option<Isolation>, shutdown: bool, events: mpsc::Sender<Seen>) {
        let notices = match self {
            Self::Local(_) => None,
            Self::Ec2(on) => Some(Arc::clone(&on.notices)),
        };
        let asking = tokio::spawn(async move {
            let who = async {
                match &notices {
                    Some(notices) if shutdown => notices.identify_at_shutdown().await,
                    Some(notices) => notices.identify().await,
                    // A machine that no cloud gave a name is what it is.
                    None => Event::Identified(Identity { target: Target::Absent, launched: None, notice: None }),
                }
            };
            let isolation = isolation.filter(|_| !shutdown);
            let isolated = async {
                match &isolation {
                    Some(isolation) => isolation.check().await,
                    None => Ok(()),
                }
            };
            let (who, isolated) = tokio::join!(who, isolated);
            let event = match (isolated, isolation) {
                (Ok(()), _) => who,
                // Then it proves nothing: nothing is started any more.
                (Err(_), Some(isolation)) if isolation.manager().is_stopping().await.unwrap_or(false) => {
                    Event::Stop(Stop::Shutdown)
                }
                (Err(error), _) => Event::NotIsolated { detail: error.to_string() },
            };
            let _ = events.send(Seen::Event(event)).await;
        });
        if let Self::Ec2(on) = self
            && let Some(before) = on.asking.replace(asking)
        {
            before.abort(); // what it would answer was asked for something else
        }
    }

    pub(super) fn watch_notices(&mut self, events: &mpsc::Sender<Seen>) {
        if let Self::Ec2(on) = self {
            let (notices, events) = (Arc::clone(&on.notices), events.clone());
            on.watching.get_or_insert_with(|| tokio::spawn(async move { notices.watch(events).await }));
        }
    }

    /// Tells whoever looks at the instance's tags that the machine goes, and under which run; says when that is.
    pub(super) fn publish(&mut self, outcome: Outcome, at: Time, job: Option<&JobInfo>) -> Option<String> {
        let Self::Ec2(on) = self else { return None };
        let when = on.ec2.utc(at);
        if let Some(run) = job.and_then(JobInfo::run) {
            on.tags.insert(TagKey::Run, run);
        }
        on.tag([(TagKey::InterruptedAt, when.clone()), (TagKey::Outcome, outcome.code().to_owned())]);
        Some(when)
    }

    /// Empties the tags of [`Self::publish`]: to delete them the role would need one more permission.
    pub(super) fn clear(&mut self) {
        if let Self::Ec2(on) = self {
            on.tag([TagKey::InterruptedAt, TagKey::Outcome].map(|key| (key, String::new())));
        }
    }

    pub(super) fn delay_termination(&mut self) {
        if let Self::Ec2(on) = self {
            let ec2 = Arc::clone(&on.ec2);
            on.delay.get_or_insert_with(|| tokio::spawn(async move { ec2.delay_termination().await }));
        }
    }

    pub(super) fn answer_launch(&mut self, ready: bool) {
        if let Self::Ec2(on) = self {
            let ec2 = Arc::clone(&on.ec2);
            on.launch = Some(tokio::spawn(async move { ec2.answer_launch(ready).await }));
        }
    }

    /// Gets the JIT configuration; the lifecycle waits no longer than `left`.
    pub(super) fn fetch(
        &self,
        left: Duration,
    ) -> impl Future<Output = Result<JitConfig, JitSourceError>> + Send + 'static {
        let source = match self {
            Self::Local(source) => Ok(source.clone()),
            Self::Ec2(on) => Err(Arc::clone(&on.ec2)),
        };
        async move {
            match source {
                Ok(source) => jit_source::fetch(&source).await,
                Err(ec2) => jit_source::fetch_parameter(&ec2, left).await,
            }
        }
    }

    /// What is known here of the run's figures.
    pub(super) fn figures(&self, registry: &mut Registry) {
        if let Self::Ec2(on) = self {
            on.ec2.figures(registry);
        }
    }

    /// The machine's class, its type and its zone, each empty if it is not known.
    pub(super) fn kind(&self) -> [&str; 3] {
        match self {
            Self::Local(_) => [""; 3],
            Self::Ec2(on) => on.ec2.kind(),
        }
    }

    /// Whether there is a metadata service that jobs must be blocked from.
    pub(super) fn has_metadata(&self) -> bool {
        matches!(self, Self::Ec2(_))
    }

    /// What the job's log says about this machine: the content of GitHub's `.setup_info`.
    pub(super) fn setup_info(&self) -> String {
        let mut lines = vec![format!("mayfly {}", env!("CARGO_PKG_VERSION"))];
        if let Self::Ec2(on) = self {
            lines.extend(on.ec2.about());
        }
        serde_json::json!([{ "Group": "InstanceTasks", "Detail": lines.join("\n") }]).to_string()
    }

    /// Deletes the spent JIT configuration, once, in the background.
    pub(super) fn delete_jit_config(&mut self) {
        match self {
            Self::Local(source) => {
                if let Err(error) = jit_source::delete(source) {
                    warn!("cannot delete the spent JIT configuration: {error}");
                }
            }
            Self::Ec2(on) => {
                let ec2 = Arc::clone(&on.ec2);
                on.deletion.get_or_insert_with(|| tokio::spawn(async move { ec2.delete_jit_config().await }));
            }
        }
    }

    pub(super) fn phase_entered(&mut self, phase: &Phase, events: &mpsc::Sender<Seen>) {
        let Self::Ec2(on) = self else { return };
        match phase {
            Phase::Idle { .. } => {
                let (ec2, events) = (Arc::clone(&on.ec2), events.clone());
                tokio::spawn(async move {
                    if let Some(event) = ec2.fetch_details().await {
                        let _ = events.send(Seen::Event(event)).await;
                    }
                });
                on.tag([(TagKey::Phase, "idle".to_owned())]);
            }
            Phase::Busy { .. } => on.tag([(TagKey::Phase, "busy".to_owned())]),
            Phase::Terminating { .. } | Phase::Ended { .. } => {
                for task in [on.watching.take(), on.delay.take()].into_iter().flatten() {
                    task.abort();
                }
            }
            _ => {}
        }
    }

    /// Adds what only the platform knows to an end.
    pub(super) fn explain(&self, end: &mut End) {
        if let Self::Ec2(on) = self
            && end.outcome == Outcome::JitConfigTimeout
            && end.detail.is_empty()
        {
            end.detail = on.ec2.last_answer();
        }
    }

    /// Whoever lists the instances sees that this one is there on purpose.
    pub(super) fn held(&mut self, until: Time) {
        let Self::Ec2(on) = self else { return };
        if on.wanted.receiver_count() == 0 {
            // The one before ended when the run was settled.
            (on.wanted, on.tagging) = tagger(Arc::clone(&on.ec2));
        }
        on.tag([(TagKey::Phase, "held".to_owned()), (TagKey::HeldUntil, clock::timestamp_of(until))]);
    }

    /// Tells the platform how the run ended, and waits for what is under way, all of it at once.
    pub(super) fn finish_background_tasks(
        &mut self,
        end: &End,
        budget: Budget,
    ) -> impl Future<Output = ()> + Send + 'static {
        let tasks = match self {
            Self::Local(_) => None,
            Self::Ec2(on) => {
                on.tag([(TagKey::Phase, "closing".to_owned()), (TagKey::Outcome, end.outcome.code().to_owned())]);
                if let Some(run) = end.job.as_ref().and_then(JobInfo::run) {
                    on.tag([(TagKey::Run, run)]);
                }
                // Without its sender the task ends once the newest tags are applied.
                let (last, _) = watch::channel(Tags::new());
                drop(std::mem::replace(&mut on.wanted, last));
                let tagging = std::mem::replace(&mut on.tagging, tokio::spawn(async {}));
                Some((on.deletion.take(), tagging, on.launch.take()))
            }
        };
        async move {
            let Some((deletion, tagging, launch)) = tasks else { return };
            let end = budget.beside();
            let late = async |task: Option<JoinHandle<()>>| match task {
                Some(task) => timeout_at(end, task).await.is_err(),
                None => false,
            };
            let (deletion, tagging, launch) = tokio::join!(late(deletion), late(Some(tagging)), late(launch));
            if deletion {
                warn!("the spent JIT configuration could not be deleted in time; it is of no more use");
            }
            if tagging {
                warn!("the instance could not be tagged in time");
            }
            if launch {
                warn!("the group's launch hook could not be answered in time");
            }
        }
    }

    pub(super) fn terminate(&self, method: TerminationMethod) -> Option<impl Future<Output = Event> + Send + 'static> {
        let ec2 = self.ec2()?;
        Some(async move { ec2.terminate(method).await })
    }

    fn ec2(&self) -> Option<Arc<Ec2>> {
        match self {
            Self::Local(_) => None,
            Self::Ec2(on) => Some(Arc::clone(&on.ec2)),
        }
    }
}

impl OnEc2 {
    fn tag<const N: usize>(&mut self, tags: [(TagKey, String); N]) {
        self.tags.extend(tags);
        let _ = self.wanted.send(self.tags.clone());
    }
}
