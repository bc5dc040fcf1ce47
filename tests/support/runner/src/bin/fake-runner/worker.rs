//! The worker's two ends: the handle the listener holds, and the process.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use mayfly_fake_runner::recording::{Event, Recorder, Who};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{self, Pid};

use crate::boot::TERM_CAP_MS;
use crate::environment::Environment;
use crate::job;
use crate::logs::{Diag, Perf};
use crate::message::{JobRequest, Message};
use crate::signals::{self, Note};

/// How long a worker waits for its job.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(30);

/// The listener's hold on its worker.
#[derive(Debug)]
pub(crate) struct WorkerHandle {
    pid: u32,
    to_worker: File,
    /// Kept open, as the listener keeps its reading end.
    _from_worker: OwnedFd,
}

impl WorkerHandle {
    /// Starts `bin/Runner.Worker` in this process group. Its end is a note.
    pub(crate) fn spawn(root: &Path, environment: &Environment, notes: Sender<Note>) -> io::Result<Self> {
        let (worker_in, to_worker) = unistd::pipe()?;
        let (from_worker, worker_out) = unistd::pipe()?;
        for own in [&to_worker, &from_worker] {
            fcntl(own, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        }
        let bin = root.join("bin");
        // Its own output would only be shown after a crash; and it must not
        // hold the supervisor's pipes open once the listener is gone.
        let child = Command::new(bin.join("Runner.Worker"))
            .arg("spawnclient")
            .arg(worker_in.as_raw_fd().to_string())
            .arg(worker_out.as_raw_fd().to_string())
            .current_dir(bin)
            .env_clear()
            .envs(environment.variables())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let pid = child.id();
        thread::spawn(move || report_end(child, &notes));
        Ok(Self { pid, to_worker: File::from(to_worker), _from_worker: from_worker })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// A worker that is gone cannot be told anything; its end is noticed.
    pub(crate) fn send(&mut self, message: &Message) {
        if let Ok(mut line) = serde_json::to_vec(message) {
            line.push(b'\n');
            let _ = self.to_worker.write_all(&line);
        }
    }

    pub(crate) fn kill(&self) {
        if let Ok(pid) = i32::try_from(self.pid) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

fn report_end(mut child: Child, notes: &Sender<Note>) {
    if let Ok(status) = child.wait() {
        let _ = notes.send(Note::WorkerExited(status));
    }
}

/// The worker process.
pub(crate) fn run(root: &Path) -> i32 {
    let recorder = Recorder::new(root);
    let code = work(root, &recorder).unwrap_or(1);
    recorder.write(Event::Exit { who: Who::Worker, code });
    code
}

/// `None` if there was no job to do.
fn work(root: &Path, recorder: &Recorder) -> Option<i32> {
    let mut diag = Diag::create(root, "Worker").ok()?;
    diag.info("Worker", "Waiting to receive the job message from the channel.");
    let (sender, notes) = mpsc::channel();
    let request = receive(sender.clone())?;
    let cap = request.scenario.upstream(TERM_CAP_MS);
    let stop = signals::watch(Who::Worker, cap, recorder.clone(), sender).ok()?;
    let environment = Environment::inherited();
    let perf = Perf::new(environment.get("RUNNER_PERFLOG"), "Worker.perf");
    perf.write("WorkerJobMessageReceived_1");
    let text = serde_json::to_string_pretty(&request).unwrap_or_default();
    diag.info("Worker", &format!("Job message:\n {text}"));
    let result = job::run(root, request, environment, recorder, notes);
    perf.write("WorkerJobFinished_1");
    diag.info("Worker", &format!("Job completed. Result: {result}"));
    Some(stop.final_code(result.code()))
}

/// Opens the inherited pipe anew, so that no step inherits it, and waits for
/// the job. The reading thread passes on a cancellation that comes later; the
/// listener's death is only an end of the messages.
fn receive(notes: Sender<Note>) -> Option<JobRequest> {
    let words: Vec<String> = std::env::args().collect();
    let [_, verb, reading, writing] = words.as_slice() else {
        return None;
    };
    let reading: i32 = reading.parse().ok().filter(|_| verb == "spawnclient")?;
    let writing: i32 = writing.parse().ok()?;
    let path = format!("/proc/self/fd/{reading}");
    let pipe = OpenOptions::new().read(true).open(path).ok()?;
    unistd::close(reading).ok()?;
    unistd::close(writing).ok()?;
    let (jobs, first) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            match serde_json::from_str(&line) {
                Ok(Message::NewJobRequest(request)) => drop(jobs.send(*request)),
                Ok(Message::RunnerShutdown) => drop(notes.send(Note::Cancel)),
                Err(_) => {}
            }
        }
    });
    first.recv_timeout(MESSAGE_TIMEOUT).ok()
}
