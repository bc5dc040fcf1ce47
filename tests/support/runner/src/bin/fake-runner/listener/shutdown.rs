//! The listener's one shutdown.

use std::time::{Duration, Instant};

use mayfly_fake_runner::{JobResult, WorkerBehaviour};

use super::{FOR_EVER, Listener, Next};

impl Listener {
    /// The one shutdown: it keeps the configuration and has no time limit of
    /// its own. The exit code.
    pub(super) fn shut_down(&mut self) -> i32 {
        if let Some(result) = self.result {
            return self.job_code(result);
        }
        if self.worker_runs() {
            return self.cancelled_job();
        }
        let end = Instant::now() + Duration::from_millis(self.scenario.shutdown_delay_ms);
        let due = self.job_due();
        let late = self.scenario.job_arrives_despite_interrupt
            && self.listening_at.is_some()
            && self.worker.is_none()
            && due < end;
        self.sit_out(if late { due } else { end });
        if late { self.late_job() } else { 0 }
    }

    pub(super) fn sit_out(&mut self, moment: Instant) {
        while Instant::now() < moment {
            let _ = self.pause(Some(moment));
        }
    }

    /// A job that was assigned while the shutdown was under way.
    fn late_job(&mut self) -> i32 {
        let _ = self.message();
        self.running();
        match self.start_worker(WorkerBehaviour::Normal) {
            Next::Exit(code) => code,
            _ => self.cancelled_job(),
        }
    }

    fn cancelled_job(&mut self) -> i32 {
        self.cancel_worker();
        // Further signals change nothing here.
        while self.worker_runs() {
            let _ = self.pause(FOR_EVER);
        }
        self.completed(None);
        self.job_code(self.result.unwrap_or(JobResult::Canceled))
    }
}
