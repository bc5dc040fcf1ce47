//! The EC2 instance this agent runs on: who it is, its JIT configuration, its tags, and its end.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use secrecy::SecretString;
use tokio::sync::OnceCell;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::aws::parameter::{self, LastAnswer};
use super::aws::{Aws, AwsSettings, Soon, group, instance};
use super::error::{Ec2Error, ParameterError, TerminationError};
use super::imds::{Details, Identity, ImdsClient, ImdsError, ImdsSettings, InstanceId};
use super::power;
use super::tags::Tags;
use crate::base::clock;
use mayfly_core::config::PowerOff;
use mayfly_core::contract::TagKey;
use mayfly_core::lifecycle::{Event, TerminationMethod, Time};

/// How long an act off the critical path may take.
pub(super) const ASIDE_BUDGET: Duration = Duration::from_secs(20);

/// How long the identity is asked for again by an agent that started without it.
const LATE_IDENTITY_BUDGET: Duration = Duration::from_secs(5);

/// How long before the deadline of the wait a refusal is told: it must be there before the deadline is.
const BEFORE_THE_DEADLINE: Duration = Duration::from_secs(2);

/// A wait that is longer is as good as one without an end, and a clock cannot tell its end.
const LONGEST_WAIT: Duration = Duration::from_secs(366 * 24 * 3600);

/// A clock that is off by this much, in seconds, is worth a warning.
const CLOCK_TOLERANCE: i64 = 60;

/// What the configuration says about the instance.
#[derive(Clone, Debug)]
pub struct Ec2Settings {
    /// `jit.parameter`, with placeholders.
    pub parameter: String,
    /// `class`, with placeholders.
    pub class: String,
    /// `terminate.poweroff`
    pub poweroff: PowerOff,
    /// `terminate.poweroff_command`
    pub poweroff_command: String,
    /// How long a method may take.
    pub method: Duration,
    /// `autoscaling.launch_hook`; empty for none.
    pub launch_hook: String,
    /// `autoscaling.termination_hook`; empty for none.
    pub termination_hook: String,
}

/// See the module.
#[derive(Debug)]
pub struct Ec2 {
    pub(super) settings: Ec2Settings,
    pub(super) imds: ImdsClient,
    identity: OnceCell<Identity>,
    soon: Mutex<Option<Soon>>,
    aws: OnceCell<Aws>,
    unidentified: Option<ImdsError>,
    last_answer: LastAnswer,
    /// The parameter's name, once every part of it is known.
    pub(super) name: OnceCell<String>,
    /// The name of the Auto Scaling group, once it was needed.
    pub(super) group: OnceCell<String>,
}

impl Ec2 {
    /// Asks the metadata service who this is, for as long as `budget`. An instance that does not answer is one too: it
    /// must still be ended. `soon`: a JIT configuration will be fetched next, so credentials are asked for beside it.
    ///
    /// # Errors
    /// The environment names a metadata endpoint that is none.
    pub async fn discover(settings: Ec2Settings, budget: Duration, soon: bool) -> Result<Self, ImdsError> {
        let imds = ImdsClient::from_environment()?;
        // What goes wrong here is told by the first call, which tries again; an agent that cannot begin ends no machine.
        let soon = if soon { aws_settings("").ok().and_then(|settings| Aws::soon(&settings).ok()) } else { None };
        let asked = Identity::fetch(&imds, budget).await;
        let unidentified = asked.as_ref().err().cloned();
        let identity = OnceCell::new_with(asked.ok());
        let (aws, last_answer, name, group) = Default::default();
        Ok(Self { settings, imds, identity, soon: Mutex::new(soon), aws, unidentified, last_answer, name, group })
    }

    /// The instance's id, if it is known.
    #[must_use]
    pub fn id(&self) -> Option<&InstanceId> {
        self.identity.get().map(|identity| &identity.instance_id)
    }

    /// What a person who reads a job's log wants to know of the machine, one line each.
    #[must_use]
    pub fn about(&self) -> Vec<String> {
        let Some(identity) = self.identity.get() else { return Vec::new() };
        let line = |name: &str, value: &Option<String>| value.as_ref().map(|value| format!("{name}: {value}"));
        [
            Some(format!("Instance: {}", identity.instance_id)),
            line("Instance type", &identity.instance_type),
            line("Availability zone", &identity.availability_zone),
            line("Image", &identity.image_id),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Why the instance does not know who it is, if it does not.
    pub(crate) fn unidentified(&self) -> Option<&ImdsError> {
        if self.identity.initialized() { None } else { self.unidentified.as_ref() }
    }

    /// When EC2 began to launch it, if that is told.
    pub(crate) fn launched(&self) -> Option<Time> {
        self.identity.get()?.pending_time.map(|moment| self.boot_time(moment))
    }

    /// The metadata service's client, for whoever asks it for something of his own.
    pub(crate) fn metadata(&self) -> &ImdsClient {
        &self.imds
    }

    /// A pause, shorter in tests.
    pub(crate) fn scaled(&self, pause: Duration) -> Duration {
        pause.mul_f64(clock::time_scale().unwrap_or(1.0))
    }

    /// The cloud's time, whatever this machine's clock shows: by the metadata service, which names the times and is asked
    /// all the time, else by AWS.
    fn cloud_time(&self) -> SystemTime {
        let difference = self.imds.clock_difference().or_else(|| self.clock_difference());
        // Dates are in whole seconds: a clock that agrees to two is better than they are.
        let difference = difference.filter(|seconds| seconds.abs() > 2);
        shifted(SystemTime::now(), difference.unwrap_or(0))
    }

    /// A moment that AWS named, on the boot clock; what lies before the boot is the boot.
    pub(crate) fn boot_time(&self, moment: SystemTime) -> Time {
        let now = self.cloud_time();
        match moment.duration_since(now) {
            Ok(ahead) => clock::now() + ahead,
            Err(behind) => clock::now().before(behind.duration()),
        }
    }

    /// A moment on the boot clock as others name it: RFC 3339 in UTC, whatever this machine's clock shows.
    pub(crate) fn utc(&self, moment: Time) -> String {
        let now = self.cloud_time();
        let (boot, ahead) = (clock::now(), moment.since(clock::now()));
        let wall = if ahead.is_zero() { now.checked_sub(boot.since(moment)) } else { now.checked_add(ahead) };
        humantime::format_rfc3339_seconds(wall.unwrap_or(now)).to_string()
    }

    /// Gets the JIT configuration's text, however long it takes; the lifecycle keeps the deadline, which is `left` from
    /// now. What is refused until then is told as that a moment before.
    ///
    /// # Errors
    /// What came back, and so the run's outcome.
    pub async fn fetch_jit_config(&self, left: Duration) -> Result<SecretString, ParameterError> {
        let left = left.min(LONGEST_WAIT);
        let last_moment = Instant::now() + left.saturating_sub(BEFORE_THE_DEADLINE.min(left / 10));
        let name = self.parameter(last_moment.saturating_duration_since(Instant::now())).await?;
        let aws = self.aws().await.map_err(ParameterError::Instance)?;
        let fetched = parameter::fetch(aws, name, &self.last_answer, last_moment).await;
        if let Some(seconds) = aws.clock_difference().filter(|seconds| seconds.abs() >= CLOCK_TOLERANCE) {
            warn!("this machine's clock is {seconds} s away from AWS's; GitHub refuses a runner at 300 s");
        }
        Ok(fetched?.value)
    }

    /// AWS's clock minus this machine's in whole seconds: by the last answer of AWS, else of the metadata service.
    #[must_use]
    pub fn clock_difference(&self) -> Option<i64> {
        self.aws.get().and_then(Aws::clock_difference).or_else(|| self.imds.clock_difference())
    }

    /// What SSM said last, for a JIT configuration that never came.
    #[must_use]
    pub fn last_answer(&self) -> String {
        format!("the parameter {}: {}", self.shown_parameter(), self.last_answer)
    }

    /// Deletes the JIT configuration's parameter, however long it takes.
    pub async fn delete_jit_config(&self) {
        let name = self.parameter(Duration::MAX).await.map_err(ParameterError::from);
        let (name, aws) = match (name, self.aws().await.map_err(ParameterError::Instance)) {
            (Ok(name), Ok(aws)) => (name, aws),
            (Err(error), _) | (_, Err(error)) => {
                return warn!("the spent JIT configuration cannot be deleted: {error}");
            }
        };
        let last = LastAnswer::default();
        let attempts = parameter::delete(aws, name, &last).await;
        info!("the parameter {name} is deleted (asked {attempts} times)");
    }

    /// Tags the instance. Off the critical path; a refusal is told once and costs nothing.
    ///
    /// # Errors
    /// What came back.
    pub async fn tag(&self, tags: &Tags) -> Result<(), Ec2Error> {
        let tags: Vec<(TagKey, String)> = tags.iter().map(|(key, value)| (*key, value.clone())).collect();
        let (id, aws) = (self.known_id().await?, self.aws().await?);
        Ok(instance::tag(aws, id, &tags, ASIDE_BUDGET).await?)
    }

    /// What is learned off the critical path: the group, and whether a shutdown would only stop the machine.
    pub async fn fetch_details(&self) -> Option<Event> {
        let details = Details::fetch(&self.imds, ASIDE_BUDGET).await;
        if let (Ok(id), Ok(aws)) = (self.known_id().await, self.aws().await) {
            match instance::shutdown_behavior(aws, id, ASIDE_BUDGET).await {
                Ok(instance::Behavior::Stop) => error!(
                    "this instance's shutdown behaviour is \"stop\": a power-off would leave it, billed, for ever; set \
                     InstanceInitiatedShutdownBehavior to \"terminate\" in the launch template"
                ),
                Ok(_) => {}
                Err(error) => info!("the shutdown behaviour is not known: {error}"),
            }
        }
        details.group.map(|_| Event::InGroup)
    }

    /// Tries a termination method.
    pub async fn terminate(&self, method: TerminationMethod) -> Event {
        match self.try_method(method).await {
            Ok(()) => {
                info!(?method, "the termination was accepted");
                Event::TerminationAccepted(method)
            }
            Err(error) => {
                warn!(?method, "the termination failed: {error}");
                Event::TerminationRefused { method, at_min_size: error.is_at_min_size(), detail: error.to_string() }
            }
        }
    }

    async fn try_method(&self, method: TerminationMethod) -> Result<(), TerminationError> {
        if method == TerminationMethod::PowerOff {
            return Ok(power::off(self.settings.poweroff, &self.settings.poweroff_command).await?);
        }
        let (id, aws) = (self.known_id().await?, self.aws().await?);
        // The lifecycle's own deadline comes after this: an answer is better than none.
        let budget = self.settings.method.mul_f64(0.9);
        if method == TerminationMethod::LifecycleAction {
            return Ok(self.finish_termination(budget).await?);
        }
        match method {
            TerminationMethod::AutoScaling { decrement } => {
                group::terminate_in_group(aws, id, decrement, budget).await?
            }
            _ => instance::terminate(aws, id, budget).await.map_err(Ec2Error::from)?,
        }
        Ok(())
    }

    /// The id, asked for once more if the first answer did not come.
    pub(super) async fn known_id(&self) -> Result<&InstanceId, Ec2Error> {
        Ok(&self.known().await?.instance_id)
    }

    async fn known(&self) -> Result<&Identity, Ec2Error> {
        self.identity
            .get_or_try_init(|| Identity::fetch(&self.imds, LATE_IDENTITY_BUDGET))
            .await
            .map_err(Ec2Error::Unidentified)
    }

    /// The way to AWS for whoever has a thread, and so connections, of his own.
    ///
    /// # Errors
    /// The instance does not know its region.
    pub async fn aws_of_another_thread(&self) -> Result<Aws, Ec2Error> {
        Ok(self.aws().await?.of_another_thread())
    }

    pub(super) async fn aws(&self) -> Result<&Aws, Ec2Error> {
        self.aws
            .get_or_try_init(|| async {
                let settings = aws_settings(&self.known().await?.region).map_err(Ec2Error::Metadata)?;
                match self.soon.lock().unwrap_or_else(PoisonError::into_inner).take() {
                    Some(soon) => Ok(Aws::from_soon(settings, soon)),
                    None => Ok(Aws::new(settings)?),
                }
            })
            .await
    }
}

/// What the environment says, and the identity document about the region.
fn aws_settings(region: &str) -> Result<AwsSettings, ImdsError> {
    let imds = ImdsSettings::from_environment()?;
    let mut settings = AwsSettings::from_environment(region, &imds);
    if let Some(scale) = clock::time_scale() {
        settings.pause_scale = scale;
        settings.denied_timeout = settings.denied_timeout.mul_f64(scale);
        settings.attempt_timeout = settings.attempt_timeout.mul_f64(scale.max(0.1));
    }
    Ok(settings)
}

fn shifted(moment: SystemTime, seconds: i64) -> SystemTime {
    let span = Duration::from_secs(seconds.unsigned_abs());
    let moved = if seconds < 0 { moment.checked_sub(span) } else { moment.checked_add(span) };
    moved.unwrap_or(moment)
}
