//! What the double saw and did, as one JSON object per line.
//!
//! `at_ms` is Unix time in milliseconds. Each line is one `write` to a file
//! opened for appending, so the listener's and the worker's lines never mix.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::clock;
use crate::scenario::JobResult;

/// Who an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Who {
    /// `Runner.Listener`.
    Listener,
    /// `Runner.Worker`.
    Worker,
}

/// One line of the recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Unix time in milliseconds.
    pub at_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Event {
    /// A listener began; how its parent prepared it.
    ListenerStart(Box<Start>),
    /// A signal was received (and not ignored by disposition).
    Signal {
        /// By whom.
        who: Who,
        /// Name such as `SIGINT`.
        signal: String,
    },
    /// The listening line was printed.
    Listening,
    /// The listener took a job.
    JobArrived,
    /// GitHub's message about a job, which may be a ghost, arrived at the listener.
    JobMessage,
    /// A worker was started.
    WorkerStart {
        /// Its process id.
        pid: u32,
    },
    /// The listener reaped its worker.
    WorkerExit {
        /// Exit code, or minus the signal's number.
        status: i32,
    },
    /// A hook ended.
    Hook {
        /// `started` or `completed`.
        name: String,
        /// Its exit code; `None` if it could not be run or died of a signal.
        exit: Option<i32>,
    },
    /// A step ended.
    Step {
        /// Its position, from zero.
        index: usize,
        /// Its exit code; `None` if it could not be run or died of a signal.
        exit: Option<i32>,
    },
    /// The worker signals a step's or hook's process, and only that.
    StepSignal {
        /// Name such as `SIGINT`.
        signal: String,
    },
    /// A step or hook printed a workflow command that becomes an annotation on
    /// the job's page.
    Annotation {
        /// The command, such as `::warning title=Disk::It is full`.
        command: String,
    },
    /// The `completed` line was printed.
    Completed {
        /// The result on it.
        result: JobResult,
    },
    /// The listener or the worker ends by itself.
    Exit {
        /// Which of them.
        who: Who,
        /// The code, or minus the signal's number it sends itself.
        code: i32,
    },
}

/// An open file descriptor at the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptor {
    /// Its number.
    pub fd: i32,
    /// What `/proc/self/fd` says it is.
    pub target: String,
}

/// How a listener found itself when it started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Process id.
    pub pid: u32,
    /// Parent's process id.
    pub ppid: u32,
    /// Process group.
    pub pgid: i32,
    /// Session.
    pub sid: i32,
    /// Real user id.
    pub uid: u32,
    /// Real group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Arguments; the value of `--jitconfig` is replaced by `***`.
    pub argv: Vec<String>,
    /// Names of all environment variables, sorted.
    pub env_keys: Vec<String>,
    /// Values of the few variables that are no secret and matter to a test.
    pub env: BTreeMap<String, String>,
    /// Open descriptors.
    pub fds: Vec<Descriptor>,
    /// The umask, in octal.
    pub umask: String,
    /// Working directory.
    pub cwd: String,
    /// Numbers of the signals that were inherited as ignored, SIGPIPE aside.
    pub sigign: Vec<i32>,
}

/// Appends to the recording. A recording that cannot be written is given up
/// silently: the double's job is to behave like the runner first.
#[derive(Debug, Clone)]
pub struct Recorder {
    path: PathBuf,
}

impl Recorder {
    /// The recorder of a runner root.
    pub fn new(root: &Path) -> Self {
        Self { path: file_of(root) }
    }

    /// Appends one event.
    pub fn write(&self, event: Event) {
        let record = Record { at_ms: clock::unix_ms(), event };
        let Ok(mut line) = serde_json::to_vec(&record) else {
            return;
        };
        line.push(b'\n');
        if let Ok(mut file) = OpenOptions::new().append(true).create(true).open(&self.path) {
            let _ = file.write_all(&line);
        }
    }
}

/// The recording of a runner root.
pub fn file_of(root: &Path) -> PathBuf {
    root.join(".fake/recording.jsonl")
}

/// Reads a recording. A missing file is an empty recording, and a last line
/// that is still being written is left out.
pub fn read(root: &Path) -> io::Result<Vec<Record>> {
    let text = match fs::read_to_string(file_of(root)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    text.split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .map(|line| serde_json::from_str(line).map_err(io::Error::other))
        .collect()
}
