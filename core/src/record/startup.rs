//! Why a start took so long: every step from EC2's launch to the job's first step, as far as something tells of it.
//!
//! Nothing is guessed. A step that nobody tells of, or of which two witnesses tell what cannot both be, says why it is not
//! known.

use serde::{Deserialize, Serialize};

use super::{PhaseTime, Record};
use crate::lifecycle::Time;

/// Moments of different witnesses may be this far in the wrong order: the kernel counts a process's start in hundredths of a
/// second, and a file is read a moment after it was written.
const TOLERANCE_MS: i64 = 250;

/// A step of the start-up, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum StepName {
    /// From EC2's beginning of the launch to the kernel's first moment: capacity, volumes, firmware, boot loader.
    Launch,
    /// The kernel, until it started its first process.
    Kernel,
    /// The initramfs, if there is one.
    Initramfs,
    /// systemd, until it started the agent.
    Systemd,
    /// cloud-init, from its first stage to the last one that is done. It goes on beside the other steps.
    CloudInit,
    /// The agent learns who the machine is.
    Identity,
    /// The agent waits for the JIT configuration.
    JitConfig,
    /// The runner's process is started.
    RunnerStart,
    /// The runner starts up and connects to GitHub.
    Session,
    /// From the session to `Listening for Jobs`.
    Listening,
    /// The runner waits for a job.
    JobMessage,
    /// The runner starts its worker.
    Worker,
    /// The worker prepares the job, until the job-started hook, its first step.
    FirstStep,
}

impl StepName {
    /// What it is called in the record and in the figures.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Launch => "launch",
            Self::Kernel => "kernel",
            Self::Initramfs => "initramfs",
            Self::Systemd => "systemd",
            Self::CloudInit => "cloud-init",
            Self::Identity => "identity",
            Self::JitConfig => "jit-config",
            Self::RunnerStart => "runner-start",
            Self::Session => "session",
            Self::Listening => "listening",
            Self::JobMessage => "job-message",
            Self::Worker => "worker",
            Self::FirstStep => "first-step",
        }
    }
}

/// Who tells when a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Source {
    /// The instance metadata service, in whole seconds.
    MetadataService,
    /// systemd's own time stamps.
    Systemd,
    /// The kernel, of a process.
    Process,
    /// The agent's journal.
    Journal,
    /// The runner's perf log.
    PerfLog,
    /// The job-started hook.
    Hook,
}

/// A step of the start-up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StartupStep {
    /// Which.
    pub step: StepName,
    /// When it began, in milliseconds since the kernel started; negative before that. `null` if not known.
    pub began_ms: Option<i64>,
    /// When it began, RFC 3339.
    pub began_at: Option<String>,
    /// How long it took. `null` if not known.
    pub duration_ms: Option<u64>,
    /// Who tells when it ended.
    pub source: Source,
    /// Why it is not known how long it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown_why: Option<String>,
}

/// What a witness tells, or why it tells nothing.
pub type Fact<T> = Result<T, String>;

/// The moments that the record does not have from the journal, in milliseconds since the kernel started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// EC2 began to launch the instance.
    pub launched: Fact<i64>,
    /// systemd's moments.
    pub systemd: Fact<SystemdTimes>,
    /// cloud-init's first stage began, and the last one that is done was done.
    pub cloud_init: Fact<(i64, i64)>,
    /// The agent's process began.
    pub agent: Fact<i64>,
    /// The listener's process began.
    pub listener: Fact<i64>,
    /// The runner had a session.
    pub session: Fact<i64>,
    /// The runner got a message that asks for a job.
    pub message: Fact<i64>,
    /// The worker had its job.
    pub worker: Fact<i64>,
}

/// When systemd began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SystemdTimes {
    /// In the initramfs, if there was one.
    pub initramfs: Option<i64>,
    /// In the root file system.
    pub userspace: i64,
}

impl Facts {
    /// Nothing is known, for this reason.
    #[must_use]
    pub fn unknown(why: &str) -> Self {
        let no = || Err(why.to_owned());
        Self {
            launched: no(),
            systemd: Err(why.to_owned()),
            cloud_init: Err(why.to_owned()),
            agent: no(),
            listener: no(),
            session: no(),
            message: no(),
            worker: no(),
        }
    }
}

impl Record {
    /// Explains the start-up from what the journal told so far and from these facts.
    pub fn explain_startup(&mut self, facts: &Facts) {
        use Source::{Hook, Journal, MetadataService, PerfLog, Process, Systemd};
        let not_reached = match self.ended_at {
            Some(_) => "the run ended before it came to this",
            None => "the run has not come to this yet",
        };
        let phases = Phases { all: &self.phases, not_reached };
        let kernel: Fact<i64> = Ok(0);
        let userspace = facts.systemd.clone().map(|times| times.userspace);
        let initramfs = facts.systemd.clone().and_then(|times| {
            times.initramfs.ok_or_else(|| "there was none: the kernel started systemd itself".to_owned())
        });
        let agent = facts.agent.clone().or_else(|_| phases.first());
        // A witness with a wall clock of its own is believed where it fits what the agent saw.
        let fits = |told: &Fact<i64>, from: &Fact<i64>, to: &Fact<i64>| match (told, from, to) {
            (Ok(told), Ok(from), _) if *told < from - TOLERANCE_MS => Err(DOES_NOT_FIT.to_owned()),
            (Ok(told), _, Ok(to)) if *told > to + TOLERANCE_MS => Err(DOES_NOT_FIT.to_owned()),
            _ => told.clone(),
        };
        let starting = phases.entered("Starting");
        let listening = phases.entered("Idle");
        let listener = starting.clone().and_then(|_| facts.listener.clone());
        let session = starting.clone().and_then(|_| fits(&facts.session, &starting, &phases.left("Starting")));
        let assigned = phases.entered("Assigned").or_else(|_| phases.entered("Busy"));
        let (message, message_source) = match fits(&facts.message, &starting, &assigned) {
            Ok(moment) if assigned.is_ok() => (Ok(moment), PerfLog),
            _ => (assigned.clone(), Journal),
        };
        let busy = phases.entered("Busy");
        let (worker, worker_source) = match fits(&facts.worker, &message, &busy) {
            Ok(moment) if busy.is_ok() => (Ok(moment), PerfLog),
            _ => (busy, Journal),
        };
        let hook = self.first_step.map(millis).ok_or_else(|| match &worker {
            Ok(_) => "nothing tells when the job-started hook was called".to_owned(),
            Err(why) => why.clone(),
        });
        self.startup = vec![
            step(StepName::Launch, MetadataService, &facts.launched, &kernel),
            step(StepName::Kernel, Systemd, &kernel, &initramfs.clone().or_else(|_| userspace.clone())),
            step(StepName::Initramfs, Systemd, &initramfs, &userspace),
            step(StepName::Systemd, if facts.agent.is_ok() { Process } else { Journal }, &userspace, &agent),
            step(
                StepName::CloudInit,
                Systemd,
                &facts.cloud_init.clone().map(|(began, _)| began),
                &facts.cloud_init.clone().map(|(_, ended)| ended),
            ),
            step(StepName::Identity, Journal, &agent, &phases.left("Booting")),
            step(
                StepName::JitConfig,
                Journal,
                &phases.entered("WaitingForJitConfig"),
                &phases.left("WaitingForJitConfig"),
            ),
            step(StepName::RunnerStart, Process, &starting, &listener),
            step(StepName::Session, PerfLog, &listener, &session),
            step(StepName::Listening, Journal, &session, &listening),
            step(StepName::JobMessage, message_source, &listening, &message),
            step(StepName::Worker, worker_source, &message, &worker),
            step(StepName::FirstStep, Hook, &worker, &hook),
        ];
    }
}

const DOES_NOT_FIT: &str = "the runner's time does not fit what the agent saw: the clock was set meanwhile";

struct Phases<'a> {
    all: &'a [PhaseTime],
    not_reached: &'static str,
}

impl Phases<'_> {
    fn first(&self) -> Fact<i64> {
        self.all.first().map(|phase| millis(phase.at)).ok_or_else(|| self.not_reached.to_owned())
    }

    fn entered(&self, name: &str) -> Fact<i64> {
        let found = self.all.iter().find(|phase| phase.phase == name);
        found.map(|phase| millis(phase.at)).ok_or_else(|| self.not_reached.to_owned())
    }

    fn left(&self, name: &str) -> Fact<i64> {
        let next = self.all.iter().skip_while(|phase| phase.phase != name).nth(1);
        next.map(|phase| millis(phase.at)).ok_or_else(|| self.not_reached.to_owned())
    }
}

fn millis(moment: Time) -> i64 {
    i64::try_from(moment.0).unwrap_or(i64::MAX)
}

fn step(step: StepName, source: Source, began: &Fact<i64>, ended: &Fact<i64>) -> StartupStep {
    let took = match (began, ended) {
        (Ok(began), Ok(ended)) if ended.saturating_sub(*began) >= -TOLERANCE_MS => {
            Ok(u64::try_from(ended.saturating_sub(*began)).unwrap_or(0))
        }
        (Ok(_), Ok(_)) => Err("what tells of its beginning and what tells of its end do not agree".to_owned()),
        (Err(why), _) | (_, Err(why)) => Err(why.clone()),
    };
    let (duration_ms, unknown_why) = match took {
        Ok(took) => (Some(took), None),
        Err(why) => (None, Some(why)),
    };
    StartupStep { step, began_ms: began.clone().ok(), began_at: None, duration_ms, source, unknown_why }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn record(phases: &[(&str, u64)]) -> Record {
        let phase =
            |(phase, at): &(&str, u64)| PhaseTime { phase: (*phase).to_owned(), at: Time(*at), ..PhaseTime::default() };
        Record { phases: phases.iter().map(phase).collect(), ..Record::default() }
    }

    fn whole() -> (Record, Facts) {
        let mut record = record(&[
            ("Booting", 9_500),
            ("WaitingForJitConfig", 9_600),
            ("Starting", 11_000),
            ("Idle", 13_000),
            ("Assigned", 20_000),
            ("Busy", 21_000),
        ]);
        record.first_step = Some(Time(22_000));
        let facts = Facts {
            launched: Ok(-8_000),
            systemd: Ok(SystemdTimes { initramfs: Some(1_500), userspace: 3_000 }),
            cloud_init: Ok((4_000, 9_000)),
            agent: Ok(9_400),
            listener: Ok(11_200),
            session: Ok(12_700),
            message: Ok(19_900),
            worker: Ok(20_800),
        };
        (record, facts)
    }

    #[test]
    fn every_step_of_a_start_is_told_with_its_time() {
        let (mut record, facts) = whole();
        record.explain_startup(&facts);
        let told: Vec<_> = record.startup.iter().map(|step| (step.began_ms.unwrap(), step.duration_ms)).collect();
        let expected = [
            (-8_000, 8_000),
            (0, 1_500),
            (1_500, 1_500),
            (3_000, 6_400),
            (4_000, 5_000),
            (9_400, 200),
            (9_600, 1_400),
            (11_000, 200),
            (11_200, 1_500),
            (12_700, 300),
            (13_000, 6_900),
            (19_900, 900),
            (20_800, 1_200),
        ];
        assert_eq!(told, expected.map(|(began, took)| (began, Some(took))));
        assert!(record.startup.iter().all(|step| step.unknown_why.is_none()));
        let codes = record.startup.iter().map(|step| (serde_json::to_value(step.step).unwrap(), step.step.code()));
        codes.for_each(|(written, code)| assert_eq!(written, code, "record and figures call a step by two names"));
    }

    #[test]
    fn what_is_not_known_says_why_and_is_not_guessed() {
        let (mut record, _) = whole();
        record.explain_startup(&Facts::unknown("nobody was asked"));
        for step in &record.startup {
            assert_eq!(step.duration_ms.is_none(), step.unknown_why.is_some(), "{step:?}");
        }
        let of = |record: &Record, name| record.startup.iter().find(|step| step.step == name).cloned().unwrap();
        assert_eq!(of(&record, StepName::Kernel).unknown_why.as_deref(), Some("nobody was asked"));
        assert_eq!(of(&record, StepName::Session).duration_ms, None, "a time was made up");
        // The journal alone tells these, if less exactly.
        assert_eq!(of(&record, StepName::Worker).duration_ms, Some(1_000));
        assert_eq!(of(&record, StepName::Worker).source, Source::Journal);
        record.phases.truncate(2);
        record.first_step = None;
        record.ended_at = Some("then".to_owned());
        record.explain_startup(&whole().1);
        let worker = of(&record, StepName::Worker).unknown_why;
        assert_eq!(worker.as_deref(), Some("the run ended before it came to this"));
        assert_eq!(of(&record, StepName::Session).duration_ms, None, "a runner that never started had a session");
    }

    #[test]
    fn a_clock_that_was_set_meanwhile_makes_a_time_unknown_and_not_wrong() {
        for session in [12_700 - 3_600_000, 12_700 + 3_600_000] {
            let (mut record, facts) = whole();
            record.explain_startup(&Facts { session: Ok(session), ..facts });
            let told: Vec<_> = record.startup.iter().filter(|step| step.unknown_why.is_some()).collect();
            assert_eq!(told.len(), 2, "the steps on both sides of the session: {told:?}");
            assert!(told.iter().all(|step| step.unknown_why.as_deref() == Some(DOES_NOT_FIT)));
        }
    }
}
