//! The list of requests that a double has seen, and waiting for it to grow.

use std::fmt::Debug;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Takes a lock whether or not a holder panicked: a test that failed elsewhere
/// must still be able to read what the double saw.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An append-only list; entries are completed in place once answered.
#[derive(Debug)]
pub struct Log<R> {
    entries: Mutex<Vec<R>>,
    changed: Condvar,
}

impl<R> Default for Log<R> {
    fn default() -> Self {
        Self { entries: Mutex::new(Vec::new()), changed: Condvar::new() }
    }
}

impl<R: Clone + Debug> Log<R> {
    /// Appends an entry and returns its place, for [`Log::update`].
    pub fn push(&self, entry: R) -> usize {
        let mut entries = lock(&self.entries);
        entries.push(entry);
        let place = entries.len() - 1;
        self.changed.notify_all();
        place
    }

    /// Changes the entry at a place.
    pub fn update(&self, place: usize, change: impl FnOnce(&mut R)) {
        if let Some(entry) = lock(&self.entries).get_mut(place) {
            change(entry);
        }
        self.changed.notify_all();
    }

    /// The entries from a mark on.
    pub fn since(&self, mark: usize) -> Vec<R> {
        lock(&self.entries).get(mark..).unwrap_or_default().to_vec()
    }

    /// How many entries there are, to be given to [`Log::since`].
    pub fn mark(&self) -> usize {
        lock(&self.entries).len()
    }

    /// Blocks until the condition holds for the whole list or time is up.
    pub fn wait(&self, limit: Duration, mut done: impl FnMut(&[R]) -> bool) -> bool {
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
