//! What is asked about the start-up, off the critical path: once the runner listens, and again at the end for what is still
//! missing then.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::base::{clock, reading};
use crate::platform::ec2::Ec2;
use crate::runner::installed::Installed;
use crate::runner::traces::Traces;
use crate::runner::tree::ProcessId;
use crate::systemd::{CloudInit, Manager};
use mayfly_core::lifecycle::Phase;
use mayfly_core::record::{Fact, Facts, Record, SystemdTimes};
use mayfly_core::runner::perf::{self, Moments};

/// So much is read of each file of the perf log: the job's user can write there, and what counts comes first.
const LONGEST: u64 = 256 * 1024;

/// What to ask about.
#[derive(Debug)]
pub(super) struct StartupSettings {
    pub(super) traces: Traces,
    pub(super) perf: PathBuf,
    pub(super) runner: PathBuf,
    /// Whether systemd keeps the runner, and so knows of this machine's start.
    pub(super) systemd: bool,
    pub(super) ec2: Option<Arc<Ec2>>,
    /// An earlier agent process began this run: when, the journal tells.
    pub(super) restarted: bool,
}

/// See the module. Clones share it.
#[derive(Clone)]
pub(super) struct StartupWatch(Arc<Inner>);

struct Inner {
    settings: StartupSettings,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    systemd: Option<(SystemdTimes, CloudInit)>,
    /// Why systemd told nothing.
    refused: Option<String>,
    files: Files,
    looking: Option<JoinHandle<()>>,
}

/// What files tell.
#[derive(Clone, Debug, Default)]
struct Files {
    listener: Option<i64>,
    session: Option<i64>,
    message: Option<i64>,
    worker: Option<i64>,
    version: Option<String>,
}

impl StartupWatch {
    pub(super) fn new(settings: StartupSettings) -> Self {
        Self(Arc::new(Inner { settings, seen: Mutex::default() }))
    }

    /// Looks where there is something new to see, and nothing waits for it.
    pub(super) fn phase_entered(&self, phase: &Phase) {
        if matches!(phase, Phase::Idle { .. } | Phase::Busy { .. } | Phase::Finishing { .. } | Phase::Closing { .. }) {
            self.look();
        }
    }

    /// Looks anew. One look at a time: a later one sees what an earlier one would.
    pub(super) fn look(&self) {
        let watch = self.clone();
        let earlier = self.with(|seen| seen.looking.take());
        let looking = tokio::spawn(async move {
            if let Some(earlier) = earlier {
                let _ = earlier.await;
            }
            tokio::join!(watch.ask_systemd(), watch.read_files());
        });
        self.with(|seen| seen.looking = Some(looking));
    }

    /// Waits for the last look, but no longer than that, and tells the record everything.
    pub(super) async fn finish(&self, record: &mut Record, until: Instant) {
        if let Some(looking) = self.with(|seen| seen.looking.take()) {
            let _ = timeout_at(until, looking).await;
        }
        self.tell(record);
    }

    /// Tells the record what is known so far.
    pub(super) fn tell(&self, record: &mut Record) {
        let Inner { settings, .. } = &*self.0;
        let (files, version) = self.with(|seen| (self.facts(seen), seen.files.version.clone()));
        record.explain_startup(&files);
        record.runner_version = version.or_else(|| record.runner_version.take());
        if let Some(machine) = settings.ec2.as_ref().and_then(|ec2| ec2.machine()) {
            record.machine = Some(machine);
        }
        record.tell_times(clock::timestamp_of_ms);
    }

    fn facts(&self, seen: &Seen) -> Facts {
        let settings = &self.0.settings;
        let systemd = match (&seen.systemd, settings.systemd) {
            (Some(times), _) => Ok(*times),
            (None, false) => Err("systemd does not keep this runner, and was not asked".to_owned()),
            (None, true) => Err(seen.refused.clone().unwrap_or_else(|| "systemd was not asked yet".to_owned())),
        };
        let launched = match &settings.ec2 {
            None => Err("this is no EC2 instance".to_owned()),
            Some(ec2) => ec2.launched_ms().ok_or_else(|| "the metadata service does not tell when".to_owned()),
        };
        let agent = match settings.restarted {
            true => Err("an earlier agent process began this run".to_owned()),
            false => i32::try_from(std::process::id())
                .ok()
                .and_then(ProcessId::of)
                .map(began_ms)
                .ok_or_else(|| "the kernel does not tell when this process began".to_owned()),
        };
        let perf = |moment: Option<i64>| moment.ok_or_else(|| "the runner's perf log does not tell".to_owned());
        let Files { listener, session, message, worker, .. } = &seen.files;
        Facts {
            launched,
            systemd: systemd.clone().map(|(times, _)| times),
            cloud_init: systemd.and_then(|(_, cloud_init)| cloud_init_ms(cloud_init)),
            agent,
            listener: listener.ok_or_else(|| "no trace tells when the runner's process began".to_owned()),
            session: perf(*session),
            message: perf(*message),
            worker: perf(*worker),
        }
    }

    /// Over a connection of its own: what is slow here holds up nobody who stops or starts something.
    async fn ask_systemd(&self) {
        let known = |seen: &mut Seen| matches!(seen.systemd, Some((_, CloudInit::Absent | CloudInit::Done { .. })));
        if !self.0.settings.systemd || self.with(known) {
            return;
        }
        let manager = Manager::default();
        let asked = async { Ok((manager.boot_times().await?, manager.cloud_init().await?)) };
        let asked: Result<_, crate::systemd::SystemdError> = asked.await;
        self.with(|seen| match asked {
            Ok((boot, cloud_init)) => {
                let initramfs = (boot.initramfs > 0).then(|| ms(boot.initramfs));
                seen.systemd = Some((SystemdTimes { initramfs, userspace: ms(boot.userspace) }, cloud_init));
            }
            Err(error) => seen.refused = Some(error.to_string()),
        });
    }

    /// A disk that hangs must hold up nobody.
    async fn read_files(&self) {
        let watch = self.clone();
        let read = move || {
            let StartupSettings { traces, perf, runner, .. } = &watch.0.settings;
            let known = watch.with(|seen| seen.files.clone());
            let moments = moments(perf);
            Files {
                listener: traces.listener().map(began_ms).or(known.listener),
                session: moments.session.and_then(on_boot_clock).or(known.session),
                message: moments.message.and_then(on_boot_clock).or(known.message),
                worker: moments.worker.and_then(on_boot_clock).or(known.worker),
                version: known.version.or_else(|| Installed::read(runner).version),
            }
        };
        if let Ok(files) = tokio::task::spawn_blocking(read).await {
            self.with(|seen| seen.files = files);
        }
    }

    /// Nothing is awaited while the lock is held.
    fn with<T>(&self, act: impl FnOnce(&mut Seen) -> T) -> T {
        act(&mut self.0.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Both files of the perf log, as far as they count. A job can replace them by something else, such as a pipe.
fn moments(perf: &Path) -> Moments {
    let mut moments = Moments::default();
    for name in [perf::LISTENER_FILE, perf::WORKER_FILE] {
        let Ok(file) = reading::regular(&perf.join(name)) else { continue };
        let lines = BufReader::new(file.take(LONGEST)).split(b'\n').map_while(Result::ok);
        lines.for_each(|line| moments.note(&String::from_utf8_lossy(&line)));
    }
    moments
}

fn cloud_init_ms(cloud_init: CloudInit) -> Fact<(i64, i64)> {
    match cloud_init {
        CloudInit::Absent => Err("cloud-init did not run on this machine".to_owned()),
        CloudInit::AtWork { .. } => Err("cloud-init was still at work".to_owned()),
        CloudInit::Done { began, ended } => Ok((ms(began), ms(ended))),
    }
}

fn ms(microseconds: u64) -> i64 {
    i64::try_from(microseconds / 1000).unwrap_or(i64::MAX)
}

fn began_ms(process: ProcessId) -> i64 {
    i64::try_from(process.started.saturating_mul(1000) / procfs::ticks_per_second().max(1)).unwrap_or(i64::MAX)
}

/// A moment that somebody told by the wall clock, by what that shows now.
fn on_boot_clock(moment: SystemTime) -> Option<i64> {
    let now = i64::try_from(clock::now().0).ok()?;
    let away = |span: std::time::Duration| i64::try_from(span.as_millis()).ok();
    match SystemTime::now().duration_since(moment) {
        Ok(behind) => now.checked_sub(away(behind)?),
        Err(ahead) => now.checked_add(away(ahead.duration())?),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    #[test]
    fn a_perf_log_that_a_job_has_replaced_holds_nobody_up() {
        let perf = tempfile::tempdir().unwrap();
        fs::write(perf.path().join(perf::LISTENER_FILE), "SessionCreated:2026-11-21T08:00:00.0Z\n").unwrap();
        nix::unistd::mkfifo(&perf.path().join(perf::WORKER_FILE), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let moments = moments(perf.path());
        assert!(moments.session.is_some() && moments.worker.is_none(), "{moments:?}");
    }

    #[test]
    fn a_moment_of_the_wall_clock_is_found_on_the_boot_clock() {
        let now = i64::try_from(clock::now().0).unwrap();
        let then = on_boot_clock(SystemTime::now() - std::time::Duration::from_secs(60)).unwrap();
        assert!((now - then - 60_000).abs() < 5_000, "{then} at {now}");
    }
}
