//! With a double of GitHub behind it, the runner waits for that one's job instead of the scenario's.

use std::time::{Duration, Instant};

use mayfly_fake_runner::{Stream, strings};

use super::{Listener, Next, after};
use crate::service::{Service, Told};

/// How often an idle runner asks for a job.
const IDLE_LOOK: Duration = Duration::from_millis(50);
/// How often a busy one asks whether its job is cancelled.
const BUSY_LOOK: Duration = Duration::from_millis(500);

impl Listener {
    fn service(&self) -> Option<&Service> {
        self.settings.as_ref().and_then(|settings| settings.service.as_ref())
    }

    /// Tells the double, if there is one.
    pub(super) fn tell(&self, what: &str, result: Option<&str>) {
        if let Some(service) = self.service() {
            let _ = service.tell(what, result);
        }
    }

    pub(super) fn come_online(&self) -> Told {
        self.service().map_or(Told::Nothing, |service| service.tell("online", None))
    }

    /// Goes on at once without a double, or as soon as it has a job for this runner.
    pub(super) fn await_job(&mut self) -> Next {
        loop {
            match self.service().map(|service| service.tell("poll", None)) {
                None => return Next::Go,
                Some(Told::Job { name, repository, .. }) => {
                    self.scenario.job_name = name;
                    self.scenario.repository = repository;
                    return Next::Go;
                }
                Some(Told::Gone) => return self.removed_while_idle(),
                Some(Told::Nothing | Told::Silent) => {}
            }
            match self.wait(after(IDLE_LOOK)) {
                Next::Go => {}
                other => return other,
            }
        }
    }

    /// As upstream since 2.336.
    fn removed_while_idle(&mut self) -> Next {
        self.console.line(Stream::Err, strings::RUNNER_GONE, &[]);
        self.remove_config();
        Next::Exit(0)
    }

    pub(super) fn next_look(&self) -> Option<Instant> {
        self.service().and_then(|_| after(BUSY_LOOK))
    }

    pub(super) fn look_for_cancellation(&mut self) {
        let told = self.service().map(|service| service.tell("poll", None));
        if matches!(told, Some(Told::Job { cancel: true, .. })) {
            self.cancel_worker();
        }
    }
}
