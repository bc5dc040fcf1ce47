//! What a Docker daemon that does not answer means for a life.

use super::{Effect, End, Outcome, Phase, Step};

impl Step<'_> {
    /// Restarted once, while nothing runs; where every job needs it, a second time ends the life, before a job is lost.
    /// A job that has the machine is never stopped for it: it may not need Docker, or have broken it on purpose.
    pub(super) fn docker_down(&mut self, detail: &str) {
        let waiting = match &self.state.phase {
            Phase::WaitingForJitConfig { .. } => true,
            Phase::Starting { run, .. } | Phase::Idle { run, .. } => !run.evidence.assigned(),
            _ => false,
        };
        if !waiting {
            return;
        }
        if !self.state.docker_restarted {
            self.state.docker_restarted = true;
            self.want(Effect::RestartDocker);
        } else if self.policy.docker_required {
            if self.state.phase.run().is_some() {
                self.drain(Outcome::DockerUnavailable);
            } else {
                self.close(End::without_runner(Outcome::DockerUnavailable, detail));
            }
        }
    }
}
