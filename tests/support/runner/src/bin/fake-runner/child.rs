//! One child of the worker: its output, and the ladder that stops it.

use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mayfly_fake_runner::Scenario;
use mayfly_fake_runner::recording::{Event, Recorder};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::pages::Pages;

/// How often a child is looked at.
const TICK: Duration = Duration::from_millis(5);
/// The signals that stop a step, and how long each is given upstream.
const LADDER: [(Signal, u64); 2] = [(Signal::SIGINT, 7_500), (Signal::SIGTERM, 2_500)];
/// How long inherited output may stay open after the child's end, upstream.
const OUTPUT_GRACE_MS: u64 = 5_000;

/// The workflow commands that become annotations.
const ANNOTATIONS: [&str; 3] = ["::notice ", "::warning ", "::error "];

/// The exit code, or minus the signal's number.
pub(crate) fn status_number(status: ExitStatus) -> i32 {
    let signal = || status.signal().map(|signal| -signal);
    status.code().or_else(signal).unwrap_or(-1)
}

/// Runs a command to its end, or down the ladder once `cancelled` says so.
/// `None` if it could not be started.
pub(crate) fn run(
    command: &mut Command,
    scenario: &Scenario,
    pages: &Pages,
    recorder: &Recorder,
    mut cancelled: impl FnMut() -> bool,
) -> Option<ExitStatus> {
    let piped = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().ok()?;
    let readers = [
        child.stdout.take().map(|stream| copy(stream, pages, recorder)),
        child.stderr.take().map(|stream| copy(stream, pages, recorder)),
    ];
    let status = loop {
        if let Ok(Some(status)) = child.try_wait() {
            break status;
        }
        if cancelled() {
            break stop(&mut child, scenario, recorder)?;
        }
        thread::sleep(TICK);
    };
    let end = Instant::now() + scenario.upstream(OUTPUT_GRACE_MS);
    let open = || readers.iter().flatten().any(|reader| !reader.is_finished());
    while open() && Instant::now() < end {
        thread::sleep(TICK);
    }
    Some(status)
}

/// SIGINT, SIGTERM, SIGKILL, to the direct child only.
fn stop(child: &mut Child, scenario: &Scenario, recorder: &Recorder) -> Option<ExitStatus> {
    let pid = Pid::from_raw(i32::try_from(child.id()).ok()?);
    for (signal, timeout) in LADDER {
        recorder.write(Event::StepSignal { signal: signal.as_str().to_owned() });
        let _ = kill(pid, signal);
        let end = Instant::now() + scenario.upstream(timeout);
        while Instant::now() < end {
            if let Ok(Some(status)) = child.try_wait() {
                return Some(status);
            }
            thread::sleep(TICK);
        }
    }
    recorder.write(Event::StepSignal { signal: Signal::SIGKILL.as_str().to_owned() });
    let _ = child.kill();
    child.wait().ok()
}

fn copy(stream: impl Read + Send + 'static, pages: &Pages, recorder: &Recorder) -> JoinHandle<()> {
    let (pages, recorder) = (pages.clone(), recorder.clone());
    thread::spawn(move || {
        let mut lines = BufReader::new(stream);
        let mut line = Vec::new();
        while matches!(lines.read_until(b'\n', &mut line), Ok(1..)) {
            let text = String::from_utf8_lossy(&line);
            let text = text.trim_end();
            pages.line(text);
            if ANNOTATIONS.iter().any(|command| text.starts_with(command)) {
                recorder.write(Event::Annotation { command: text.to_owned() });
            }
            line.clear();
        }
    })
}
