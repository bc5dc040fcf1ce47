//! Puts the double into a runner root, and reads what it recorded there.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::recording::{self, Event, Record, Start, Who};
use crate::scenario::{JobResult, Scenario};
use crate::strings;

/// The files besides the two programs: path and content.
const FILES: [(&str, &str); 4] = [
    ("run.sh", include_str!("../scripts/run.sh")),
    ("run-helper.sh.template", include_str!("../scripts/run-helper.sh.template")),
    ("safe_sleep.sh", include_str!("../scripts/safe_sleep.sh")),
    ("externals/node20/bin/node", include_str!("../scripts/node")),
];

/// A runner root with the double in it.
#[derive(Debug, Clone)]
pub struct FakeRunner {
    root: PathBuf,
}

impl FakeRunner {
    /// Makes `root` look like an unpacked runner that plays `scenario`.
    ///
    /// The programs are hard links to the `fake-runner` binary where possible,
    /// so a recursive `chown` of the root reaches the build's own file too.
    pub fn install(root: impl AsRef<Path>, scenario: &Scenario) -> io::Result<Self> {
        let root = root.as_ref();
        let program = program()?;
        for directory in ["bin", "externals/node20/bin", ".fake"] {
            fs::create_dir_all(root.join(directory))?;
        }
        fs::set_permissions(root, Permissions::from_mode(0o755))?;
        for name in ["Runner.Listener", "Runner.Worker"] {
            place(&program, &root.join("bin").join(name))?;
        }
        for (name, content) in FILES {
            let path = root.join(name);
            fs::write(&path, content)?;
            fs::set_permissions(&path, Permissions::from_mode(0o755))?;
        }
        // What of GitHub's names the version without starting it.
        let libraries = format!("{{\"libraries\":{{\"Runner.Listener/{}\":{{}}}}}}\n", strings::UPSTREAM_VERSION);
        fs::write(root.join("bin/Runner.Listener.deps.json"), libraries)?;
        open_recording(root)?;
        let installed = Self { root: fs::canonicalize(root)? };
        installed.play(scenario)?;
        Ok(installed)
    }

    /// A root the double was installed into before, by this or another process.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Changes the scenario; the next listener plays it.
    pub fn play(&self, scenario: &Scenario) -> io::Result<()> {
        let text = serde_json::to_string_pretty(scenario)?;
        fs::write(self.root.join(".fake/scenario.json"), text)
    }

    /// The runner root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `bin/Runner.Listener`.
    pub fn listener(&self) -> PathBuf {
        self.root.join("bin/Runner.Listener")
    }

    /// Everything recorded so far.
    pub fn recording(&self) -> io::Result<Recording> {
        recording::read(&self.root).map(|records| Recording { records })
    }
}

/// A recording, with the questions tests ask of it.
#[derive(Debug, Clone)]
pub struct Recording {
    /// All records in order.
    pub records: Vec<Record>,
}

impl Recording {
    /// How each listener was started.
    pub fn starts(&self) -> Vec<&Start> {
        self.pick(|event| match event {
            Event::ListenerStart(start) => Some(&**start),
            _ => None,
        })
    }

    /// The signals received: by whom, which, and when (Unix ms).
    pub fn signals(&self) -> Vec<(Who, &str, u64)> {
        self.records
            .iter()
            .filter_map(|record| match &record.event {
                Event::Signal { who, signal } => Some((*who, signal.as_str(), record.at_ms)),
                _ => None,
            })
            .collect()
    }

    /// The signals that the worker sent to its steps.
    pub fn step_signals(&self) -> Vec<&str> {
        self.pick(|event| match event {
            Event::StepSignal { signal } => Some(signal.as_str()),
            _ => None,
        })
    }

    /// The process ids of the workers started.
    pub fn workers(&self) -> Vec<u32> {
        self.pick(|event| match event {
            Event::WorkerStart { pid } => Some(*pid),
            _ => None,
        })
    }

    /// The results printed on `completed` lines.
    pub fn results(&self) -> Vec<JobResult> {
        self.pick(|event| match event {
            Event::Completed { result } => Some(*result),
            _ => None,
        })
    }

    /// The workflow commands that became annotations.
    pub fn annotations(&self) -> Vec<&str> {
        self.pick(|event| match event {
            Event::Annotation { command } => Some(command.as_str()),
            _ => None,
        })
    }

    /// The hooks that ran, with their exit codes.
    pub fn hooks(&self) -> Vec<(&str, Option<i32>)> {
        self.pick(|event| match event {
            Event::Hook { name, exit } => Some((name.as_str(), *exit)),
            _ => None,
        })
    }

    /// The codes this process ended with by itself.
    pub fn exits(&self, of: Who) -> Vec<i32> {
        self.pick(|event| match event {
            Event::Exit { who, code } if *who == of => Some(*code),
            _ => None,
        })
    }

    /// Whether a listening line was printed.
    pub fn listened(&self) -> bool {
        self.records.iter().any(|record| record.event == Event::Listening)
    }

    fn pick<'a, T>(&'a self, choose: impl Fn(&'a Event) -> Option<T>) -> Vec<T> {
        let events = self.records.iter().map(|record| &record.event);
        events.filter_map(choose).collect()
    }
}

/// The recording must stay writable when the runner has a user of its own.
fn open_recording(root: &Path) -> io::Result<()> {
    fs::set_permissions(root.join(".fake"), Permissions::from_mode(0o777))?;
    let file = recording::file_of(root);
    fs::write(&file, "")?;
    fs::set_permissions(&file, Permissions::from_mode(0o666))
}

/// Finds the `fake-runner` binary: `FAKE_RUNNER_BIN`, or beside the current
/// program, or one directory up (`target/debug/deps/..`).
fn program() -> io::Result<PathBuf> {
    if let Some(path) = std::env::var_os("FAKE_RUNNER_BIN") {
        return Ok(path.into());
    }
    let current = std::env::current_exe()?;
    current
        .ancestors()
        .skip(1)
        .take(2)
        .map(|directory| directory.join("fake-runner"))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| {
            let advice = "no fake-runner binary; build it or set FAKE_RUNNER_BIN";
            io::Error::new(io::ErrorKind::NotFound, advice)
        })
}

/// Links, or copies across file systems. The copy is made by `cp`: a writable
/// descriptor in this process could leak into a child forked by another test
/// thread, and starting the program would then fail with "text file busy".
fn place(program: &Path, at: &Path) -> io::Result<()> {
    if at.symlink_metadata().is_ok() {
        fs::remove_file(at)?;
    }
    if fs::hard_link(program, at).is_ok() {
        return Ok(());
    }
    let copied = Command::new("cp").arg(program).arg(at).status()?;
    if copied.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("cannot copy {program:?} to {at:?}")))
}
