//! What is read of a runner's files, and how much of it. All of them can be written by a job, so everything has a bound, of
//! bytes and of items, also where a new agent process reads them again from the beginning.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tracing::warn;

use super::listener_log::ListenerLog;
use super::tail::Tail;
use crate::runner::hooks;
use mayfly_core::lifecycle::{ConsoleError, Observation};
use mayfly_core::runner::{console, perf};

/// So much is read of each file in the perf log directory. The runner writes some hundred lines, the hooks two.
const FOREIGN: u64 = 1024 * 1024;

/// So many observations are passed on that change the run there and back, such as a connection that is lost and comes again.
const REPEATS: u32 = 1000;

/// Something that was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Read {
    /// What it says about the runner.
    pub(super) observation: Option<Observation>,
    /// A console line that was not passed on yet, and where it ends in the file.
    pub(super) line: Option<(String, u64)>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Intake {
    /// Up to here an earlier agent process passed the console's lines on.
    told: u64,
    /// Up to here the console was printed before the worker's end: that process saw it alive.
    before_end: u64,
    console: Tail,
    perf: Tail,
    hooks: Tail,
    log: ListenerLog,
    admission: Admission,
}

/// Which observations are passed on.
#[derive(Debug, Default)]
struct Admission {
    started: bool,
    completed: bool,
    repeats: u32,
    left_out: u64,
    said: bool,
}

impl Intake {
    pub(super) fn new(console: &Path, perf: &Path, runner: &Path, told: u64, worker_told: bool) -> Self {
        Self {
            told,
            before_end: if worker_told { told } else { 0 },
            console: Tail::new(console).giving_back(),
            perf: Tail::new(&perf.join(perf::LISTENER_FILE)).at_most(FOREIGN),
            hooks: Tail::new(&perf.join(hooks::TRACE_FILE)).at_most(FOREIGN),
            log: ListenerLog::new(runner),
            admission: Admission::default(),
        }
    }

    /// Gives no more of the console back than was shipped, where it is.
    pub(super) fn share(&mut self, shipped: Option<Arc<AtomicU64>>) {
        self.console.share(shipped);
    }

    /// Up to where the console has to be read for all that is there right now.
    pub(super) fn console_length(&self) -> u64 {
        self.console.length()
    }

    /// Whether the console was read up to there.
    pub(super) fn has_read(&self, until: u64) -> bool {
        self.console.offset() >= until
    }

    /// The next portion, and whether there may be more of the console and of the other files.
    pub(super) fn portion(&mut self) -> io::Result<(Vec<Read>, bool, bool)> {
        let mut read = Vec::new();
        let (told, before_end) = (self.told, self.before_end);
        let more = self.console.read(|line, end| {
            let observation = console::observation(line);
            // Lines that an earlier agent process passed on are evidence still, and nothing more. A job's end among those
            // that are older than its worker's is forged, by the job's name.
            let forged = end <= before_end && matches!(observation, Some(Observation::Completed { .. }));
            let line = (end > told).then(|| (line.to_owned(), end));
            let observation = observation.filter(|_| !forged);
            if observation.is_some() || line.is_some() {
                read.push(Read { observation, line });
            }
        })?;
        let mut note = |observation: Option<Observation>| {
            read.extend(observation.map(|observation| Read { observation: Some(observation), line: None }))
        };
        // These are the job's to spoil: then the other witnesses have to do.
        let perf_more = self.perf.read(|line, _| note(perf::observation(line))).unwrap_or(false);
        let hooks_more = self.hooks.read(|line, _| note(hooks::HookCall::read(line))).unwrap_or(false);
        let log_more = self.log.read(|observation| note(Some(observation)));
        for one in &mut read {
            one.observation = one.observation.take().filter(|observation| self.admission.admits(observation));
        }
        read.retain(|one| one.observation.is_some() || one.line.is_some());
        if self.perf.is_spent() || self.hooks.is_spent() {
            self.admission.say();
        }
        Ok((read, more, perf_more || hooks_more || log_more))
    }

    /// A last line that has no line break. Only after the writer has ended.
    pub(super) fn finish(&mut self) -> Vec<Read> {
        let mut read = Vec::new();
        self.console.finish(|line| {
            read.push(Read { observation: console::observation(line), line: Some((line.to_owned(), u64::MAX)) });
        });
        read
    }
}

impl Admission {
    /// The first call of each hook counts, and what goes there and back does so a bounded number of times. Everything else
    /// can only add up, and so changes the run a bounded number of times by itself.
    fn admits(&mut self, observation: &Observation) -> bool {
        let admitted = match observation {
            Observation::HookStarted(_) => !std::mem::replace(&mut self.started, true),
            Observation::HookCompleted => !std::mem::replace(&mut self.completed, true),
            Observation::Listening
            | Observation::JobMessage
            | Observation::Reconnected
            | Observation::UpdateStarted
            | Observation::UpdateFailed
            | Observation::ConsoleError(
                ConsoleError::Unreachable | ConsoleError::SessionConflict | ConsoleError::ClockSkew,
            ) => {
                self.repeats = self.repeats.saturating_add(1);
                self.repeats <= REPEATS
            }
            _ => true,
        };
        if !admitted {
            self.left_out += 1;
            self.say();
        }
        admitted
    }

    fn say(&mut self) {
        if !std::mem::replace(&mut self.said, true) {
            warn!("more is written about this runner than it says itself; what is beyond the bounds is not looked at");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mayfly_core::lifecycle::JobInfo;

    #[test]
    fn the_first_call_of_each_hook_is_passed_on_and_no_other() {
        let mut admission = Admission::default();
        let call = |repository: &str| {
            Observation::HookStarted(JobInfo { repository: repository.to_owned(), ..JobInfo::default() })
        };
        assert!(admission.admits(&call("o/r")) && admission.admits(&Observation::HookCompleted));
        for number in 0..1000 {
            assert!(!admission.admits(&call(&format!("forged/{number}"))), "call {number} reached the run");
            assert!(!admission.admits(&Observation::HookCompleted));
        }
        assert_eq!(admission.left_out, 2000);
    }

    #[test]
    fn what_goes_there_and_back_is_bounded_and_what_ends_a_run_is_not() {
        let mut admission = Admission::default();
        let flips = [
            Observation::ConsoleError(ConsoleError::Unreachable),
            Observation::Reconnected,
            Observation::UpdateStarted,
            Observation::UpdateFailed,
        ];
        let passed = flips.iter().cycle().take(100_000).filter(|observation| admission.admits(observation)).count();
        assert_eq!(passed, REPEATS as usize);
        for last in [
            Observation::ConsoleError(ConsoleError::RegistrationRemoved),
            Observation::WorkerGone,
            Observation::WorkerSeen,
        ] {
            assert!(admission.admits(&last), "{last:?} was lost in the flood before it");
        }
    }
}
