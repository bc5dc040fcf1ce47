//! The list of requests that the double has seen, and waiting for it to grow.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// One request that the double has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerRequest {
    /// When it came, counted from the start of the double.
    pub at: Duration,
    /// The HTTP method.
    pub method: String,
    /// The path, as it was sent.
    pub path: String,
    /// The query, decoded.
    pub query: Vec<(String, String)>,
    /// The status answered; `None` if it was not answered (yet).
    pub status: Option<u16>,
}

/// Takes a lock whether or not a holder panicked: a test that failed elsewhere must still be able to look.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An append-only list; entries are completed in place once answered.
#[derive(Debug, Default)]
pub(crate) struct Log {
    entries: Mutex<Vec<DockerRequest>>,
    changed: Condvar,
}

impl Log {
    /// Appends an entry and returns its place, for [`Log::answered`].
    pub(crate) fn push(&self, entry: DockerRequest) -> usize {
        let mut entries = lock(&self.entries);
        entries.push(entry);
        self.changed.notify_all();
        entries.len() - 1
    }

    pub(crate) fn answered(&self, place: usize, status: u16) {
        if let Some(entry) = lock(&self.entries).get_mut(place) {
            entry.status = Some(status);
        }
        self.changed.notify_all();
    }

    pub(crate) fn all(&self) -> Vec<DockerRequest> {
        lock(&self.entries).clone()
    }

    /// Blocks until the condition holds for the whole list or time is up.
    pub(crate) fn wait(&self, limit: Duration, mut done: impl FnMut(&[DockerRequest]) -> bool) -> bool {
        let end = Instant::now() + limit;
        let mut entries = lock(&self.entries);
        loop {
            if done(&entries) {
                return true;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            entries = self.changed.wait_timeout(entries, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
