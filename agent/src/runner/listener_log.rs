//! The listener's own log: it tells that GitHub has renewed the job's lock.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::tail::Tail;
use mayfly_core::lifecycle::Observation;
use mayfly_core::runner::diag;

/// So much is read of one log. The runner begins another after 8 MiB or less; a job can write more.
const MOST: u64 = 64 * 1024 * 1024;

/// So many names are looked at: the runner keeps those of 30 days, a fresh machine has some five.
const MOST_NAMES: usize = 4096;

/// How often it is looked whether the runner has begun another.
const INTERVAL: Duration = Duration::from_secs(5);

/// The newest of the listener's logs, read from its beginning: an agent that was away has not seen the last renewal.
#[derive(Debug)]
pub(super) struct ListenerLog {
    directory: PathBuf,
    newest: Option<(OsString, Tail)>,
    looked: Option<Instant>,
    /// It was said that no more is read.
    said: bool,
}

impl ListenerLog {
    /// Of the runner in this directory.
    pub(super) fn new(runner: &Path) -> Self {
        Self { directory: runner.join("_diag"), newest: None, looked: None, said: false }
    }

    /// What is new in it. Nothing, if it cannot be read: then nothing is known of the lock.
    pub(super) fn read(&mut self, mut each: impl FnMut(Observation)) -> bool {
        if self.looked.is_none_or(|looked| looked.elapsed() >= INTERVAL) {
            self.looked = Some(Instant::now());
            self.find_newest();
        }
        let Some((_, log)) = &mut self.newest else { return false };
        let more = log.read(|line, _| {
            if let Some(observation) = diag::observation(line) {
                each(observation);
            }
        });
        if log.is_spent() && !self.said {
            self.said = true;
            each(Observation::LockUnknown);
        }
        more.unwrap_or(false)
    }

    fn find_newest(&mut self) {
        let Ok(entries) = fs::read_dir(&self.directory) else { return };
        let names = entries.flatten().take(MOST_NAMES).map(|entry| entry.file_name());
        let of_listener = |name: &OsString| name.to_str().is_some_and(|name| name.starts_with(diag::LISTENER_PREFIX));
        let Some(name) = names.filter(of_listener).max() else { return };
        if self.newest.as_ref().is_none_or(|(newest, _)| *newest < name) {
            let log = Tail::new(&self.directory.join(&name)).at_most(MOST);
            (self.newest, self.said) = (Some((name, log)), false);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const RENEWED: &str =
        "[2026-11-21 08:00:00Z INFO JobDispatcher] Successfully renew job 7, job is valid till 11/21/2026 8:10:00 AM\n";

    #[test]
    fn the_newest_log_counts_from_its_beginning_and_a_log_without_end_tells_nothing() {
        let runner = tempfile::tempdir().unwrap();
        let read = |log: &mut ListenerLog| {
            let mut seen = Vec::new();
            log.looked = None;
            while log.read(|observation| seen.push(observation)) {}
            seen
        };
        let mut log = ListenerLog::new(runner.path());
        assert_eq!(read(&mut log), [], "there is no log yet");
        let diag = runner.path().join("_diag");
        fs::create_dir(&diag).unwrap();
        fs::write(diag.join("Worker_20261121-090000-utc.log"), RENEWED).unwrap();
        fs::write(diag.join("Runner_20261121-080000-utc.log"), RENEWED).unwrap();
        assert_eq!(read(&mut log), [Observation::LockRenewed]);
        fs::write(diag.join("Runner_20261121-081000-utc.log"), RENEWED.repeat(2)).unwrap();
        assert_eq!(
            read(&mut log),
            [Observation::LockRenewed, Observation::LockRenewed],
            "the runner began another log"
        );
        fs::File::create(diag.join("Runner_20261121-082000-utc.log")).unwrap().set_len(MOST + 1).unwrap();
        assert_eq!(read(&mut log), [Observation::LockUnknown], "what is not read is taken for a lock that ran out");
        assert_eq!(read(&mut log), [], "it is said again and again");
    }
}
