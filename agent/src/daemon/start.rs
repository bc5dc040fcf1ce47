//! What the agent process finds when it starts: lock, journal, marker.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use tracing::{info, warn};

use super::CannotBegin;
use super::journal::{Binding, Journal, Replay};
use super::kept_end::{self, KeptEnd};
use super::record;
use super::settings::Settings;
use crate::base::clock;
use crate::runner::files;
use crate::runner::traces::Traces;
use crate::shipping;
use mayfly_core::lifecycle::{Begin, Found, Phase, State};

/// Held for the whole run: one agent process to a state directory.
pub(super) type Lock = Flock<File>;

/// Where a run begins, or goes on.
pub(super) struct Start {
    pub(super) state: State,
    pub(super) begin: Begin,
    pub(super) journal: Journal,
    pub(super) kept_end: KeptEnd,
    pub(super) record: mayfly_core::record::Record,
    pub(super) traces: Traces,
    pub(super) lock: Option<Lock>,
}

/// Whatever is wrong with the disk, the run begins: a machine that cannot write must still end.
pub(super) fn prepare(settings: &Settings) -> Result<Start, CannotBegin> {
    let directory = &settings.paths.state;
    let complain = |what: &str, error: io::Error| warn!("cannot {what} {}: {error}", directory.display());
    if let Err(error) = DirBuilder::new().recursive(true).mode(0o700).create(directory) {
        complain("make the state directory", error);
    }
    let lock = match lock(directory) {
        Ok(lock) => Some(lock?),
        Err(error) => {
            complain("lock the state directory", error);
            None
        }
    };
    let traces = Traces::new(directory);
    if let Err(error) = forget_other_instances(&traces, &settings.binding) {
        complain("clear a foreign marker in", error);
    }
    let (mut journal, replay) = Journal::read(directory, &settings.binding);
    let kept_end = KeptEnd::new(kept_end::path(&settings.paths.runtime), settings.binding.clone());
    let mut replay = kept_end.added_to(replay);
    if settings.may_follow && is_finished(&replay) {
        // The marker first: a run that is forgotten half must not be taken for one that goes on. And what cannot be
        // forgotten in order is not lived over: what was started there would be forgotten too.
        traces.clear().and_then(|()| shipping::forget(directory)).and_then(|()| journal.archive()).map_err(
            |error| {
                let what = format!("cannot archive the last run in {}: {error}", directory.display());
                io::Error::new(error.kind(), what)
            },
        )?;
        kept_end.forget();
        replay = Replay::Nothing;
    }
    journal.prepare(&settings.binding, &replay);
    let begin = begin(&replay, &traces, &settings.binding);
    let entries = match replay {
        Replay::ThisBoot(entries) | Replay::EarlierBoot(entries) => entries,
        Replay::Nothing | Replay::Unreadable => Vec::new(),
    };
    let state = entries.last().map_or_else(|| State::new(&settings.policy, clock::now()), |last| last.state.clone());
    if begin == Begin::Again(Found::Nothing)
        && matches!(state.phase, Phase::Starting { .. })
        && settings.supervisor.manager().is_none()
    {
        // Those of a registration that was put there for a start that did not happen: the run may end before another.
        if let Err(error) = files::remove(&settings.runner_directory, &[]) {
            warn!("a file of a JIT configuration is left: {error}");
        }
    }
    if begin != Begin::Fresh {
        info!(?begin, state = state.phase.name(), "going on where an earlier agent process stopped");
    }
    let this_boot = !matches!(begin, Begin::SecondBoot { .. });
    let record = record::begin(
        &settings.binding,
        if this_boot { &entries } else { &[] },
        &settings.policy,
        begin != Begin::Fresh,
    );
    Ok(Start { state, begin, journal, kept_end, record, traces, lock })
}

fn begin(replay: &Replay, traces: &Traces, binding: &Binding) -> Begin {
    let marked = traces.is_marked();
    let found = if marked { Found::Marker } else { Found::Nothing };
    let marker_of_earlier_boot = traces.marker().is_some_and(|marker| marker.boot != binding.boot);
    match replay {
        Replay::EarlierBoot(_) => Begin::SecondBoot { marked },
        _ if marker_of_earlier_boot => Begin::SecondBoot { marked },
        Replay::Unreadable => Begin::JournalLost(found),
        Replay::ThisBoot(entries) if !entries.is_empty() => Begin::Again(found),
        Replay::ThisBoot(_) | Replay::Nothing if marked => Begin::JournalLost(found),
        Replay::ThisBoot(_) | Replay::Nothing => Begin::Fresh,
    }
}

/// The traces in an image made from a used machine say nothing about this one. An instance that could not discover who it
/// is takes them for its own: they may be, and then they are all that keeps a second runner from being started.
fn forget_other_instances(traces: &Traces, binding: &Binding) -> io::Result<()> {
    match traces.marker() {
        Some(marker) if binding.is_known() && marker.instance != binding.instance => {
            warn!("the marker of a runner's start belongs to instance {}; it is removed", marker.instance);
            traces.clear()
        }
        _ => Ok(()),
    }
}

/// On a machine that may have several runs, a finished one is history.
fn is_finished(replay: &Replay) -> bool {
    let (Replay::ThisBoot(entries) | Replay::EarlierBoot(entries)) = replay else { return false };
    entries.last().is_some_and(|entry| matches!(entry.state.phase, Phase::Ended { .. }))
}

fn lock(directory: &Path) -> io::Result<Result<Lock, CannotBegin>> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(directory.join("lock"))?;
    let mut pid = String::new();
    file.read_to_string(&mut pid)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut lock) => {
            // For people only: a full disk does not keep anybody from holding the lock.
            let _ = lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| write!(lock, "{}", std::process::id()));
            Ok(Ok(lock))
        }
        Err((_, Errno::EWOULDBLOCK)) => {
            Ok(Err(CannotBegin::Taken { path: directory.display().to_string(), pid: pid.trim().to_owned() }))
        }
        Err((_, error)) => Err(error.into()),
    }
}
