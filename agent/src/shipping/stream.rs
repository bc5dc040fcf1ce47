//! One stream: takes lines in from its sources, hands them to the sink batch by batch, and remembers how far it is.
//!
//! One batch at a time, so that the order is kept; while it is under way nothing is read, so that the memory is bounded. What
//! comes meanwhile waits where it is: in a file, or in the journal.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use super::Flush;
use super::cursor::{Cursors, Saved};
use super::files::Files;
use super::intake::{Intake, Shared};
use super::journald::Journald;
use super::sink::{Sink, SinkError};
use super::voice::Voice;
use crate::base::backoff::{equal_jitter, exponential};
use mayfly_core::record::{LossReason, StreamCounts};

/// How often files are looked at.
const INTERVAL: Duration = Duration::from_millis(500);

/// How long a line waits for others to share a request with.
const LINGER: Duration = Duration::from_secs(2);

/// The pauses after failures: the first, the longest, the longest after a denial, and the longest while there is a deadline.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
const DENIED_PAUSE: Duration = Duration::from_secs(60);
const FLUSH_PAUSE: Duration = Duration::from_secs(1);

/// So many bytes of each file are looked at to count the lines that are not read any more.
const COUNTED: u64 = 1024 * 1024 * 1024;

/// What others see of a stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// Its counts; in answer to a flush, what did not get there in time is counted as lost.
    pub(super) counts: StreamCounts,
    /// The last flush that it has answered.
    pub(super) flushed: u64,
}

/// From where lines come.
#[derive(Debug)]
pub(super) struct Sources {
    pub(super) files: Vec<Files>,
    /// Read once nobody writes any more: what a killed worker leaves.
    pub(super) left: Option<Files>,
    pub(super) journal: Option<Journald>,
}

/// What a stream needs to run.
#[derive(Debug)]
pub(super) struct Needs {
    pub(super) sink: Arc<Sink>,
    pub(super) cursors: Cursors,
    pub(super) shared: Arc<Shared>,
    pub(super) flush: watch::Receiver<Option<Flush>>,
    pub(super) voice: Voice,
    /// Pauses are multiplied by this: 1, or less in tests.
    pub(super) scale: f64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Stream {
    name: &'static str,
    sources: Sources,
    intake: Intake,
    saved: Saved,
    needs: Needs,
    progress: watch::Sender<Progress>,
    /// Up to here the first file was shipped, for whoever gives it back to the file system.
    shipped: Option<Arc<AtomicU64>>,
    buffer: Vec<u8>,
    /// Since when there is something in the batch.
    begun: Option<Instant>,
    /// Why the last attempt failed, as it was said.
    failing: Option<LossReason>,
    /// The sink has accepted something.
    accepted: bool,
    /// For which reasons it was said that lines are lost.
    said: BTreeSet<LossReason>,
}

impl Stream {
    pub(super) fn new(
        name: &'static str,
        mut sources: Sources,
        needs: Needs,
        progress: watch::Sender<Progress>,
        shipped: Option<Arc<AtomicU64>>,
    ) -> Self {
        let saved = needs.cursors.load(name);
        sources.files.iter_mut().chain(&mut sources.left).for_each(|files| files.resume(&saved.places));
        needs.shared.taken.fetch_add(saved.bytes, Ordering::Relaxed);
        let intake = Intake::new(Arc::clone(&needs.shared), saved.counts.clone(), name == super::AGENT);
        let (buffer, begun, failing, accepted) = Default::default();
        let said = saved.counts.why.keys().copied().collect();
        let stream =
            Self { name, sources, intake, saved, needs, progress, shipped, buffer, begun, failing, accepted, said };
        stream.tell_shipped();
        stream
    }

    /// The journal is read from where it was left.
    pub(super) fn with_journal(mut self, matches: super::journald::Matches) -> Self {
        self.sources.journal = Some(Journald::new(matches, self.saved.cursor.clone()));
        self
    }

    /// Goes on until it is dropped.
    pub(super) async fn run(mut self) {
        let mut answered = 0;
        loop {
            let flush = (*self.needs.flush.borrow_and_update()).filter(|flush| flush.number > answered);
            let more = self.read(flush).await;
            if self.begun.is_none() && !self.intake.batch.is_empty() {
                self.begun = Some(Instant::now());
            }
            let linger = LINGER.mul_f64(self.needs.scale);
            let due = self.begun.is_some_and(|begun| begun.elapsed() >= linger);
            if self.intake.is_full || due || (flush.is_some() && !more && !self.intake.batch.is_empty()) {
                let Some(gave_up) = self.deliver(flush).await else { return };
                self.commit();
                if let Some(flush) = flush.filter(|_| gave_up) {
                    answered = flush.number;
                }
                continue;
            }
            if let Some(over) = flush.filter(|flush| more && Instant::now() >= flush.until) {
                answered = over.number;
                self.give_up(flush, LossReason::OutOfTime);
                continue;
            }
            if more {
                tokio::task::yield_now().await;
                continue;
            }
            if self.intake.batch.is_empty() {
                self.commit();
            }
            if let Some(flush) = flush {
                answered = flush.number;
                self.show(self.intake.counts.clone(), answered);
                continue;
            }
            let wait = self.begun.map_or(INTERVAL, |begun| (linger.saturating_sub(begun.elapsed())).min(INTERVAL));
            tokio::select! {
                () = sleep(wait) => {}
                changed = self.needs.flush.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Takes in what there is room for. Returns whether there is more.
    async fn read(&mut self, flush: Option<Flush>) -> bool {
        let (last, mut more) = (flush.is_some(), false);
        let left = self.sources.left.iter_mut().filter(|_| last);
        for files in self.sources.files.iter_mut().chain(left) {
            more |= files.read(&mut self.intake, &mut self.buffer, last, &self.needs.voice);
        }
        if let Some(journal) = &mut self.sources.journal
            && !self.intake.is_full
        {
            more |= match flush {
                Some(flush) => journal.read_last(&mut self.intake, &self.needs.voice, flush.until).await,
                None => journal.read(&mut self.intake, &self.needs.voice).await,
            };
        }
        self.buffer.shrink_to(64 * 1024);
        self.say_losses();
        more
    }

    /// Hands the batch over, however long it takes. Returns whether a flush was answered without; `None` if nobody asks any
    /// more, and it is not handed over.
    async fn deliver(&mut self, flush: Option<Flush>) -> Option<bool> {
        let mut batch = self.intake.next();
        self.begun = None;
        batch.sort();
        let (mut todo, mut failures, mut flush, mut gave_up) = (vec![batch], 0_u32, flush, false);
        while let Some(batch) = todo.pop() {
            let sink = Arc::clone(&self.needs.sink);
            let answer = {
                let mut putting = std::pin::pin!(sink.put(self.name, &batch));
                loop {
                    // A batch under way is not let go: it may be accepted already.
                    tokio::select! {
                        answer = &mut putting => break answer,
                        () = until(flush), if !gave_up => {
                            gave_up = true;
                            self.give_up(flush, self.failing.unwrap_or(LossReason::OutOfTime));
                        }
                        changed = self.needs.flush.changed() => {
                            flush = self.asked(flush);
                            if changed.is_err() { return None }
                        }
                    }
                }
            };
            match answer {
                Ok(dropped) => {
                    failures = 0;
                    self.accepted = true;
                    self.recovered();
                    self.intake.counts.lose(LossReason::TooOld, dropped.old);
                    self.intake.counts.lose(LossReason::TooNew, dropped.new);
                    self.intake.counts.confirmed += batch.lines() - dropped.old - dropped.new;
                    self.show(self.intake.counts.clone(), 0);
                }
                Err(error) if error.reason == LossReason::Refused => match batch.halve() {
                    (first, Some(rest)) => todo.extend([rest, first]),
                    (one, None) => {
                        self.intake.counts.lose(LossReason::Refused, one.lines());
                        self.failed(&error);
                    }
                },
                Err(error) => {
                    failures += 1;
                    self.failed(&error);
                    self.relieve();
                    todo.push(batch);
                    // A role that was never allowed to will not be in the last seconds either.
                    if !gave_up && flush.is_some() && error.reason == LossReason::Denied && !self.accepted {
                        gave_up = true;
                        self.give_up(flush, error.reason);
                    }
                    let longest = match (flush, error.reason) {
                        (Some(_), _) if !gave_up => FLUSH_PAUSE,
                        (_, LossReason::Denied) => DENIED_PAUSE,
                        _ => LONGEST_PAUSE,
                    };
                    let pause = equal_jitter(exponential(FIRST_PAUSE, failures, longest), fastrand::f64());
                    tokio::select! {
                        () = sleep(pause.mul_f64(self.needs.scale)) => {}
                        () = until(flush), if !gave_up => {
                            gave_up = true;
                            self.give_up(flush, error.reason);
                        }
                        changed = self.needs.flush.changed() => {
                            (flush, failures) = (self.asked(flush), 0);
                            if changed.is_err() { return None }
                        }
                    }
                }
            }
        }
        Some(gave_up)
    }

    /// What waits for a sink that accepts nothing is bounded, too.
    fn relieve(&mut self) {
        for files in &mut self.sources.files {
            let before = files.offset(super::CONSOLE);
            files.relieve(&mut self.intake, &mut self.buffer);
            let after = files.offset(super::CONSOLE);
            if let (Some(shipped), Some(offset)) = (&self.shipped, after.filter(|_| after != before)) {
                shipped.store(offset, Ordering::Relaxed);
            }
        }
        self.say_losses();
    }

    fn asked(&mut self, before: Option<Flush>) -> Option<Flush> {
        (*self.needs.flush.borrow_and_update()).or(before)
    }

    /// Answers a flush although not everything is there: the time is over. What is under way goes on.
    fn give_up(&mut self, flush: Option<Flush>, reason: LossReason) {
        let Some(flush) = flush else { return };
        let mut counts = self.intake.counts.clone();
        counts.lose(reason, counts.read.saturating_sub(counts.confirmed + counts.lost));
        let files = self.sources.files.iter().chain(&self.sources.left);
        let unread: u64 = files.map(|files| files.unread(&mut self.buffer, COUNTED)).sum();
        counts.read = counts.read.saturating_add(unread);
        counts.lose(LossReason::NotRead, unread);
        self.show(counts, flush.number);
    }

    /// What is in no batch any more is done with.
    fn commit(&mut self) {
        let mut places = BTreeMap::new();
        self.sources.files.iter().chain(&self.sources.left).for_each(|files| files.places(&mut places));
        let cursor = self.sources.journal.as_ref().and_then(Journald::cursor).cloned();
        if self.saved.places == places && self.saved.cursor == cursor && self.saved.counts == self.intake.counts {
            return;
        }
        self.saved.bytes = self.saved.bytes.saturating_add(self.intake.take_bytes());
        self.saved.counts.clone_from(&self.intake.counts);
        (self.saved.places, self.saved.cursor) = (places, cursor);
        if let Err(error) = self.needs.cursors.save(&self.saved) {
            let name = self.name;
            if self.failing.is_none() {
                self.needs.voice.say(|| {
                    warn!(
                        "how far the stream {name} was shipped cannot be noted: {error}; an agent that is started \
                           again would ship lines twice"
                    );
                });
            }
        }
        self.tell_shipped();
        self.show(self.intake.counts.clone(), 0);
    }

    /// The first line that is lost for a reason is told; the rest is counted.
    fn say_losses(&mut self) {
        for reason in self.intake.counts.why.keys() {
            if self.said.insert(*reason) {
                let (name, why) = (self.name, reason.meaning());
                self.needs
                    .voice
                    .say(|| warn!("log lines of the stream {name} are lost, the record has their number: {why}"));
            }
        }
    }

    fn tell_shipped(&self) {
        if let Some(shipped) = &self.shipped {
            let first =
                self.saved.places.iter().find(|(path, _)| is_console(path)).map_or(0, |(_, place)| place.offset);
            shipped.store(first, Ordering::Relaxed);
        }
    }

    fn show(&self, counts: StreamCounts, flushed: u64) {
        self.progress.send_modify(|progress| {
            progress.flushed = progress.flushed.max(flushed);
            progress.counts = counts;
        });
    }

    /// Says a failure once, and again when it is another.
    fn failed(&mut self, error: &SinkError) {
        if self.failing.replace(error.reason) != Some(error.reason) {
            let (name, detail) = (self.name, &error.detail);
            let what =
                if error.reason == LossReason::Refused { "a line was refused and is left out" } else { "tried again" };
            self.needs.voice.say(|| warn!("logs of the stream {name} are not accepted, {what}: {detail}"));
        }
    }

    fn recovered(&mut self) {
        if self.failing.take().is_some_and(|reason| reason != LossReason::Refused) {
            let name = self.name;
            self.needs.voice.say(|| info!("logs of the stream {name} are accepted again"));
        }
    }
}

fn is_console(path: &str) -> bool {
    Path::new(path).file_name().is_some_and(|name| name == super::CONSOLE)
}

/// The end of a flush, if there is one.
async fn until(flush: Option<Flush>) {
    match flush {
        Some(flush) => sleep_until(flush.until).await,
        None => std::future::pending().await,
    }
}
