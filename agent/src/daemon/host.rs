//! The machine beside a run: fit before a JIT configuration is fetched, watched while a job runs.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

use crate::base::clock;
use crate::base::clock::time_scale;
use crate::docker::Docker;
use crate::platform::ec2::Ec2;
use crate::runner::hooks::{Annotation, Annotations, Level};
use mayfly_core::host::{Marks, Sample, Thresholds, Unfit, Warning, WarningKind, WatchedPath};
use mayfly_core::lifecycle::{Event, Time};
use mayfly_core::metrics::{
    CPU_PRESSURE, DISK_FREE, DISK_SIZE, IO_PRESSURE, MEMORY_AVAILABLE, MEMORY_PRESSURE, MEMORY_SIZE, Registry, count,
};
use mayfly_core::record::{Series, SeriesRecorder};

/// How often the machine is looked at. A poll takes a fraction of a millisecond.
const INTERVAL: Duration = Duration::from_secs(5);

/// How long a poll may take. Only a work directory on a network that is gone makes it wait, and that must not stop the
/// loop: such a poll counts as having seen nothing.
const LONGEST_SAMPLE: Duration = Duration::from_secs(2);

/// How long a wrong clock may take to be set right: time synchronisation starts with the machine, as the agent does.
const CLOCK_GRACE: Duration = Duration::from_secs(20);

/// How often Docker is asked for its data root before what its configuration says is believed for good.
const DOCKER_TRIES: u32 = 24;

/// Where Docker keeps its data unless told otherwise.
const DOCKER_ROOT: &str = "/var/lib/docker";

/// Docker's configuration.
const DOCKER_CONFIG: &str = "/etc/docker/daemon.json";

/// What is looked at.
#[derive(Debug)]
pub(super) struct HostSettings {
    pub(super) thresholds: Thresholds,
    pub(super) paths: Vec<WatchedPath>,
    /// Whether jobs may use Docker, so that its disk matters.
    pub(super) docker: bool,
    /// Who knows AWS's clock.
    pub(super) ec2: Option<Arc<Ec2>>,
    pub(super) annotations: Annotations,
}

/// The watch over the machine. Clones share it.
#[derive(Clone)]
pub(super) struct HostWatch(Arc<Inner>);

struct Inner {
    settings: HostSettings,
    seen: Mutex<Seen>,
    /// One poll at a time, so that stuck ones do not add up.
    sampling: Arc<Semaphore>,
}

#[derive(Default)]
struct Seen {
    marks: Marks,
    latest: Option<Sample>,
    recorder: SeriesRecorder,
    recording: Option<JoinHandle<()>>,
    docker_root: Option<PathBuf>,
    watching: Option<JoinHandle<()>>,
}

impl HostWatch {
    pub(super) fn new(settings: HostSettings) -> Self {
        Self(Arc::new(Inner { settings, seen: Mutex::default(), sampling: Arc::new(Semaphore::new(1)) }))
    }

    /// Begins to look again and again, once.
    pub(super) fn begin(&self) {
        let watch = self.clone();
        self.with(|seen| {
            let recorder = watch.clone();
            seen.watching.get_or_insert_with(|| tokio::spawn(watch.run()));
            seen.recording.get_or_insert_with(|| tokio::spawn(recorder.record()));
        });
    }

    /// Looks no more: what comes now is no job's business.
    pub(super) fn end(&self) {
        let tasks = self.with(|seen| [seen.watching.take(), seen.recording.take()]);
        tasks.into_iter().flatten().for_each(|task| task.abort());
    }

    /// The machine over time, if it was looked at, and the bytes received and sent since the first look.
    pub(super) fn series(&self) -> (Option<Series>, (Option<u64>, Option<u64>)) {
        self.with(|seen| {
            let series = seen.recorder.series();
            ((!series.is_empty()).then(|| series.clone()), seen.recorder.network_bytes())
        })
    }

    /// Reads the kernel's counters, less and less often. The kernel answers from memory; nothing here can wait.
    async fn record(self) {
        loop {
            let (now, counters) = (clock::now(), crate::host::counters());
            let pause = self.with(|seen| {
                seen.recorder.note(now, counters);
                seen.recorder.interval_ms()
            });
            sleep(Duration::from_millis(pause)).await;
        }
    }

    /// What was seen so far.
    pub(super) fn marks(&self) -> Marks {
        self.with(|seen| seen.marks.clone())
    }

    /// The figures of the last look.
    pub(super) fn figures(&self, registry: &mut Registry) {
        let Some(sample) = self.with(|seen| seen.latest.clone()) else { return };
        let part = |percent: Option<f32>| percent.map(|percent| f64::from(percent) / 100.0);
        registry.set(&MEMORY_AVAILABLE, sample.memory.map(|memory| count(memory.available)));
        registry.set(&MEMORY_SIZE, sample.memory.map(|memory| count(memory.total)));
        registry.set(&CPU_PRESSURE, part(sample.cpu_pressure));
        registry.set(&MEMORY_PRESSURE, part(sample.memory_pressure));
        registry.set(&IO_PRESSURE, part(sample.io_pressure));
        for disk in &sample.disks {
            registry.set_of(&DISK_FREE, &[disk.watched.of], count(disk.free_bytes));
            registry.set_of(&DISK_SIZE, &[disk.watched.of], count(disk.size_bytes));
        }
    }

    /// Fetches only for a machine that is fit: before, while it takes, and by the clock of the answer.
    pub(super) async fn guard<T>(&self, fetching: impl Future<Output = T>) -> Result<T, Event> {
        self.fit().await?;
        let fetched = tokio::select! {
            event = self.until_unfit() => return Err(event),
            fetched = fetching => fetched,
        };
        self.fit().await?;
        Ok(fetched)
    }

    /// Whether the machine is fit; a wrong clock gets a moment to be set.
    async fn fit(&self) -> Result<(), Event> {
        let timeout = Instant::now() + scaled(CLOCK_GRACE);
        loop {
            match self.0.settings.thresholds.unfit(&self.sample().await) {
                None => return Ok(()),
                Some(Unfit::ClockSkew { .. }) if Instant::now() < timeout => sleep(scaled(INTERVAL)).await,
                Some(unfit) => return Err(Event::NotFit { outcome: unfit.outcome(), detail: unfit.to_string() }),
            }
        }
    }

    async fn until_unfit(&self) -> Event {
        loop {
            sleep(scaled(INTERVAL)).await;
            if let Err(event) = self.fit().await {
                return event;
            }
        }
    }

    async fn run(self) {
        if self.0.settings.docker {
            tokio::spawn(self.clone().ask_docker());
        }
        loop {
            self.note().await;
            sleep(scaled(INTERVAL)).await;
        }
    }

    async fn note(&self) {
        let (sample, now) = (self.sample().await, clock::now());
        let thresholds = self.0.settings.thresholds;
        let new = self.with(|seen| {
            let new = seen.marks.note(&sample, thresholds, &clock::timestamp_of(now));
            seen.latest = Some(sample);
            new
        });
        self.tell(new, now);
    }

    /// Takes in what others saw to be wrong with the machine; told once of each kind.
    pub(super) fn trouble(&self, kind: WarningKind, text: String) {
        let now = clock::now();
        let new = self.with(|seen| seen.marks.warn(kind, text, &clock::timestamp_of(now)));
        self.tell(new, now);
    }

    fn tell(&self, new: impl IntoIterator<Item = Warning>, now: Time) {
        for warning in new {
            warn!(kind = ?warning.kind, "this machine is in trouble: {}", warning.text);
            self.0.settings.annotations.add(Annotation {
                level: Level::Warning,
                title: "Mayfly".to_owned(),
                text: format!("The machine of this job was in trouble at {}: {}.", clock::hour_of(now), warning.text),
            });
        }
    }

    async fn sample(&self) -> Sample {
        let Inner { settings, sampling, .. } = &*self.0;
        let mut paths = settings.paths.clone();
        if settings.docker {
            let told = self.with(|seen| seen.docker_root.clone());
            let root = told.unwrap_or_else(|| configured_root(Path::new(DOCKER_CONFIG)));
            // A machine without Docker has no such directory, and its parent's disk is no business of a job.
            paths.extend(root.exists().then_some(WatchedPath { of: "Docker", path: root }));
        }
        let sample = timeout(LONGEST_SAMPLE, async {
            let slot = Arc::clone(sampling).acquire_owned().await.ok()?;
            let take = move || {
                let sample = crate::host::sample(&paths);
                drop(slot);
                sample
            };
            tokio::task::spawn_blocking(take).await.ok()
        });
        let sample = sample.await.ok().flatten().unwrap_or_default();
        let clock = settings.ec2.as_ref().and_then(|ec2| ec2.clock_difference());
        Sample { clock, ..sample }
    }

    /// The daemon's own word on where its data is, once it gives it.
    async fn ask_docker(self) {
        let Ok(docker) = Docker::from_environment() else { return };
        for _ in 0..DOCKER_TRIES {
            if let Ok(room) = docker.data_root_room().await {
                return self.with(|seen| seen.docker_root = Some(room.path));
            }
            sleep(scaled(INTERVAL)).await;
        }
    }

    /// Nothing is awaited while the lock is held.
    fn with<T>(&self, act: impl FnOnce(&mut Seen) -> T) -> T {
        act(&mut self.0.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn scaled(pause: Duration) -> Duration {
    pause.mul_f64(time_scale().unwrap_or(1.0))
}

/// Where Docker will keep its data, by its configuration: it may not be up yet.
fn configured_root(config: &Path) -> PathBuf {
    #[derive(Deserialize)]
    struct Config {
        #[serde(rename = "data-root")]
        root: Option<PathBuf>,
    }
    let read = std::fs::read(config).ok().and_then(|text| serde_json::from_slice::<Config>(&text).ok());
    read.and_then(|config| config.root).unwrap_or_else(|| PathBuf::from(DOCKER_ROOT))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn dockers_data_root_is_where_its_configuration_says() {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("daemon.json");
        assert_eq!(configured_root(&config), Path::new(DOCKER_ROOT));
        std::fs::write(&config, r#"{"data-root": "/mnt/docker", "log-level": "warn"}"#).unwrap();
        assert_eq!(configured_root(&config), Path::new("/mnt/docker"));
        std::fs::write(&config, r#"{"log-level": "warn"}"#).unwrap();
        assert_eq!(configured_root(&config), Path::new(DOCKER_ROOT));
    }
}
