//! Every line arrives: what agent, runner, worker and system log goes to a sink, and before the machine goes it is confirmed.
//!
//! A thread of its own with a runtime of its own; the loop holds a handle. Four streams, each with its sources, its batch and its
//! place: `journald` and `files` read, `batch` is what the service takes, `cursor` how far everything is confirmed,
//! `sink` where it goes.

mod batch;
mod cursor;
mod export;
mod files;
mod follow;
mod intake;
mod journald;
mod sink;
mod stamp;
mod stream;
mod vacuum;
mod voice;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use crate::base::clock;
use cursor::Cursors;
pub use cursor::forget;
use files::{Files, Names};
use intake::Shared;
use mayfly_core::record::StreamCounts;
use mayfly_core::runner::material::Material;
pub use sink::Destination;
use sink::Sink;
use stamp::Stamp;
use stream::{Needs, Progress, Sources, Stream};
use voice::Voice;

/// Where the agent logs to where there is no journal, in the state directory.
pub const AGENT_LOG: &str = "agent.log";

/// The runner's console, in the state directory.
const CONSOLE: &str = "console.log";

/// The streams.
const AGENT: &str = "agent";
const RUNNER: &str = "runner";
const WORKER: &str = "worker";
const SYSTEM: &str = "system";

/// How long the streams may take to say that their time is over.
const ANSWER: Duration = Duration::from_millis(200);

/// Where lines go to.
#[derive(Debug)]
pub enum SinkSettings {
    /// This CloudWatch Logs group, with placeholders.
    CloudWatch(String),
    /// A directory.
    Directory(PathBuf),
}

/// What shipping needs to know.
#[derive(Debug)]
pub struct ShippingSettings {
    /// Where lines go.
    pub sink: SinkSettings,
    /// `logs.max_bytes`
    pub max_bytes: u64,
    /// The instance.
    pub instance: String,
    /// The agent's state directory.
    pub state: PathBuf,
    /// The runner's directory.
    pub runner: PathBuf,
    /// Agent and system log to journald; else the agent logs to [`AGENT_LOG`].
    pub journald: bool,
}

/// An order to ship everything that is there, until a moment.
#[derive(Clone, Copy, Debug)]
struct Flush {
    number: u64,
    until: Instant,
}

/// The loop's hold on it. Dropped, shipping ends.
#[derive(Debug)]
pub struct Shipping {
    progress: Vec<watch::Receiver<Progress>>,
    flush: watch::Sender<Option<Flush>>,
    destination: watch::Sender<Option<Destination>>,
    shared: Arc<Shared>,
    cursors: Cursors,
    console: Arc<AtomicU64>,
}

impl Shipping {
    /// Begins to ship, from where an earlier agent process of this run stopped.
    #[must_use]
    pub fn begin(settings: &ShippingSettings) -> Self {
        let cursors = Cursors::new(&settings.state, &settings.instance);
        let shared = Arc::new(Shared {
            max_bytes: settings.max_bytes,
            taken: AtomicU64::new(0),
            material: RwLock::new(cursors.load_material()),
        });
        let (flush, flushes) = watch::channel(None);
        let (destination, destinations) = watch::channel(None);
        let sink = Arc::new(match &settings.sink {
            SinkSettings::CloudWatch(_) => Sink::cloudwatch(&settings.instance, destinations),
            SinkSettings::Directory(directory) => Sink::directory(directory, &settings.instance),
        });
        let console = Arc::new(AtomicU64::new(0));
        let voice = Voice::new();
        let mut progress = Vec::new();
        let mut streams = Vec::new();
        for name in [AGENT, RUNNER, WORKER, SYSTEM] {
            let Some(sources) = sources(name, settings) else { continue };
            let counts = StreamCounts { stream: name.to_owned(), ..StreamCounts::default() };
            let (sender, receiver) = watch::channel(Progress { counts, flushed: 0 });
            progress.push(receiver);
            let needs = Needs {
                sink: Arc::clone(&sink),
                cursors: cursors.clone(),
                shared: Arc::clone(&shared),
                flush: flushes.clone(),
                voice: voice.clone(),
                scale: clock::time_scale().unwrap_or(1.0),
            };
            let shipped = (name == RUNNER).then(|| Arc::clone(&console));
            let stream = Stream::new(name, sources, needs, sender, shipped);
            streams.push(match (settings.journald, name) {
                (true, AGENT) => stream.with_journal(journald::AGENT),
                (true, SYSTEM) => stream.with_journal(journald::SYSTEM),
                _ => stream,
            });
        }
        let spawned = std::thread::Builder::new().name("shipping".to_owned()).spawn(move || run(streams));
        if let Err(error) = spawned {
            warn!("no thread for the logs, they are not shipped: {error}");
            console.store(u64::MAX, Ordering::Relaxed); // nobody waits for its space
        }
        Self { progress, flush, destination, shared, cursors, console }
    }

    /// Says where lines go, once that is known.
    pub fn to(&self, destination: Destination) {
        self.destination.send_replace(Some(destination));
    }

    /// From now on no line with a part of it is shipped.
    pub fn protect(&self, material: &Material) {
        let known = {
            let mut known = self.shared.material.write().unwrap_or_else(PoisonError::into_inner);
            known.merge(material);
            known.clone()
        };
        let cursors = self.cursors.clone();
        // A disk that hangs must not hang the loop.
        tokio::task::spawn_blocking(move || {
            if let Err(error) = cursors.save_material(&known) {
                warn!("an agent that is started again could ship parts of the JIT configuration: {error}");
            }
        });
    }

    /// Up to where the runner's console was shipped: what is before may be given back to the file system.
    #[must_use]
    pub fn console(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.console)
    }

    /// What became of the lines so far.
    #[must_use]
    pub fn counts(&self) -> Vec<StreamCounts> {
        self.progress.iter().map(|progress| progress.borrow().counts.clone()).collect()
    }

    /// Ships everything that is there, and waits until the sink has confirmed it or the time is over. Only once nobody but the
    /// agent writes any more. Then every line that its sources have is confirmed or counted as lost.
    pub async fn flush(&self, until: Instant) -> Vec<StreamCounts> {
        let number = self.flush.borrow().map_or(1, |flush| flush.number + 1);
        self.flush.send_replace(Some(Flush { number, until }));
        let answered = async {
            for progress in &self.progress {
                let mut progress = progress.clone();
                if progress.wait_for(|progress| progress.flushed >= number).await.is_err() {
                    return false; // there is no thread
                }
            }
            true
        };
        if !matches!(timeout_at(until + ANSWER, answered).await, Ok(true)) {
            warn!("shipping did not answer in time: what became of the last lines is not known");
        }
        self.counts()
    }
}

/// From where a stream's lines come; `None` if it has none here.
fn sources(name: &str, settings: &ShippingSettings) -> Option<Sources> {
    let (state, diag) = (&settings.state, settings.runner.join("_diag"));
    let (files, left) = match name {
        AGENT if settings.journald => (Vec::new(), None),
        AGENT => (vec![Files::new(state, Names::This(AGENT_LOG), Stamp::Rfc3339)], None),
        RUNNER => {
            let console = Files::new(state, Names::This(CONSOLE), Stamp::Console);
            (vec![console, Files::new(&diag, Names::Begin("Runner_"), Stamp::Diag)], None)
        }
        WORKER => {
            let worker = Files::new(&diag, Names::Begin("Worker_"), Stamp::Diag);
            // A worker that ends removes its pages; what is there then is a killed one's.
            (vec![worker], Some(Files::new(&diag.join("pages"), Names::Begin(""), Stamp::Rfc3339)))
        }
        _ if settings.journald => (Vec::new(), None),
        _ => return None,
    };
    Some(Sources { files, left, journal: None })
}

fn run(streams: Vec<Stream>) {
    let _silence = Voice::silence_thread();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return };
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for stream in streams {
            tasks.spawn(stream.run());
        }
        tasks.join_all().await;
    });
}
