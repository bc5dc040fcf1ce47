//! From the runner's end to the machine's: everything shares one deadline, and no part can take what the others need.

use std::path::PathBuf;
use std::time::Duration;

use mayfly_core::lifecycle::{End, Event, KILL_GRACE, Time};
use mayfly_core::record::{Record, line};
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use super::{Performer, launch};
use crate::base::clock;
use crate::daemon::journal::Binding;
use crate::daemon::{console, record};
use crate::runner::traces::Traces;

/// How long the watcher may take to pass on the last console lines once the tree is dead.
const LAST_LINES: Duration = Duration::from_secs(3);
/// How long the files of the registration may take to be removed; under systemd the unit is stopped for that.
const CLEARING: Duration = Duration::from_secs(10);
/// How long the list of spent JIT configurations may take.
const FILING: Duration = Duration::from_secs(3);
/// How long whoever knows of the start-up may take to tell; most of it was told long ago, and the rest beside the clearing.
const ASKING: Duration = Duration::from_secs(1);
/// How long the machine's console may take.
const TELLING: Duration = Duration::from_secs(3);

/// The time until the deadline of closing, and what each part may take of it.
#[derive(Clone, Copy, Debug)]
pub(in crate::daemon) struct Budget {
    whole: Duration,
    until: Instant,
}

impl Budget {
    pub(in crate::daemon) fn until(moment: Time) -> Self {
        let whole = moment.since(clock::now());
        Self { whole, until: Instant::now() + whole }
    }

    /// The end of a part that begins now: it takes no more than `most`, and no more than this percentage of the whole. The
    /// parts that follow each other have 65 % together; what is left, and never nothing, is for what must be confirmed
    /// before the machine goes: the record.
    pub(in crate::daemon) fn part(self, percent: u32, most: Duration) -> Instant {
        (Instant::now() + most.min(self.whole * percent / 100)).min(self.until)
    }

    /// The end of what must be confirmed before the record can tell of it: nearly all that is left.
    pub(in crate::daemon) fn confirming(self) -> Instant {
        self.until - self.whole * 15 / 100
    }

    /// The end of what goes on beside the other parts: just before the deadline, so that it can still be told.
    pub(in crate::daemon) fn beside(self) -> Instant {
        self.until - self.whole / 10
    }
}

impl Performer {
    /// Clears the runner away, writes the record, tells the platform, and then reports.
    pub(in crate::daemon) fn close(&mut self, end: &End, until: Time, record: &Record) {
        self.forget_jit_config();
        if let Some(watch) = self.isolation_watch.take() {
            watch.abort();
        }
        self.host.end();
        self.stop_is_over();
        let budget = Budget::until(until);
        let (traces, watch, mut record) = (self.traces.clone(), self.watch.take(), record.clone());
        let startup = self.startup.clone();
        let logs = self.logs.clone();
        let (ran, path) = (end.ran, self.paths.record());
        let (supervisor, systemd) = (self.supervisor.clone(), self.has_systemd());
        let settling = self.machine.finish_background_tasks(end, budget);
        let binding = self.binding.clone();
        let here = async move {
            let asked = budget.part(25, ASKING);
            if ran || was_started(traces.clone(), binding, budget).await {
                supervisor.kill(budget.part(25, KILL_GRACE).saturating_duration_since(Instant::now())).await;
                if let Some(watch) = watch {
                    let _ = timeout_at(budget.part(10, LAST_LINES), watch).await;
                }
                match timeout_at(budget.part(15, CLEARING), supervisor.clear()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => warn!("a file of the spent JIT configuration is left: {error}"),
                    Err(_) => warn!(
                        "the runner could not be cleared away in time: a file of its JIT configuration may be left"
                    ),
                }
                // The disk may hang, and the loop may not.
                let filing = tokio::task::spawn_blocking(move || launch::file_spent(&traces));
                if timeout_at(budget.part(5, FILING), filing).await.is_err() {
                    warn!("the spent JIT configuration was not filed in time");
                }
            }
            startup.finish(&mut record, asked).await;
            logs.flush(budget.confirming()).await;
            record.logs = logs.counts();
            // What is worth waiting for: a disk that is busy takes longer than one that is not.
            write(record.clone(), path, budget.beside()).await;
            if systemd {
                let _ = timeout_at(budget.part(5, TELLING), console::tell(&record)).await;
            }
            logs.tell_last(&line(&record), budget.beside()).await;
        };
        self.tell(async move {
            tokio::join!(here, settling);
            Event::Closed
        });
    }
}

/// Whether there was a start. Where there was none, none follows: an agent process that was killed may have asked for one.
async fn was_started(traces: Traces, binding: Binding, budget: Budget) -> bool {
    let refusing = tokio::task::spawn_blocking(move || traces.refuse_starts(&binding.instance, &binding.boot));
    match timeout_at(budget.part(5, FILING), refusing).await {
        Ok(Ok(Ok(started))) => started,
        // No start can make its marker either.
        Ok(Ok(Err(_))) => false,
        // Nobody knows; what is not there is killed in no time.
        Ok(Err(_)) | Err(_) => true,
    }
}

/// Writes the record. A disk that hangs keeps neither the loop nor the machine.
pub(super) async fn write(record: Record, path: PathBuf, end: Instant) {
    let shown = path.display().to_string();
    let writing = tokio::task::spawn_blocking(move || record::write(&record, &path));
    match timeout_at(end, writing).await {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(error))) => warn!("cannot write the record {shown}: {error}"),
        Ok(Err(_)) | Err(_) => warn!("the record {shown} was not written in time"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_all_take_their_whole_time_leave_some_of_it() {
        for whole in [Duration::from_secs(30), Duration::from_secs(2), Duration::from_millis(200), Duration::ZERO] {
            let begun = Instant::now();
            let budget = Budget { whole, until: begun + whole };
            let parts = [(25, KILL_GRACE), (10, LAST_LINES), (15, CLEARING), (5, FILING), (5, FILING), (5, TELLING)];
            let taken: Duration = parts.iter().map(|(percent, most)| budget.part(*percent, *most) - begun).sum();
            let noise = Duration::from_millis(50); // the time that this test takes
            assert!(taken <= whole * 65 / 100 + noise, "of {whole:?} nothing is left to confirm the last log lines");
            assert!(budget.beside() <= begun + whole, "what goes on beside outlasts the deadline");
        }
    }
}
