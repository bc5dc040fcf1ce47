//! A job without any rights writes and calls without end: its deadline holds, people are heard, and the agent stays small.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use mayfly_e2e::run::mayfly_binary;
use mayfly_e2e::{Cloud, Ended, Run, Running};
use mayfly_fake_runner::Scenario;
use nix::sys::signal::Signal;

const MEGABYTE: u64 = 1024 * 1024;

/// No flood takes more of the disk than this.
const ENOUGH: u64 = 128 * MEGABYTE;

/// Longer than any journal may be: one that is longer is rewritten.
const LONGEST_JOURNAL: u64 = 2 * MEGABYTE;

/// What a job can write or call, again and again until it is told to stop.
struct Flood {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<u64>>,
}

impl Flood {
    fn new() -> Self {
        Self { over: Arc::default(), threads: Vec::new() }
    }

    /// Appends what `line` makes, each time another.
    fn appending(mut self, path: PathBuf, line: impl Fn(u64) -> String + Send + 'static) -> Self {
        let over = Arc::clone(&self.over);
        self.threads.push(std::thread::spawn(move || {
            let (mut number, mut bytes) = (0, 0);
            while !over.load(Ordering::Relaxed) && bytes < ENOUGH {
                let mut file = OpenOptions::new().append(true).create(true).open(&path).unwrap();
                let lines: String = (0..50).map(|offset| line(number + offset)).collect();
                file.write_all(lines.as_bytes()).unwrap();
                number += 50;
                bytes += lines.len() as u64;
            }
            number
        }));
        self
    }

    /// Does `once` again and again, in so many threads; what fails is tried again.
    fn calling(mut self, threads: usize, once: impl Fn(u64) -> std::io::Result<()> + Clone + Send + 'static) -> Self {
        for _ in 0..threads {
            let (over, once) = (Arc::clone(&self.over), once.clone());
            self.threads.push(std::thread::spawn(move || {
                let mut number = 0;
                while !over.load(Ordering::Relaxed) {
                    let _ = once(number);
                    number += 1;
                }
                number
            }));
        }
        self
    }

    fn stop(self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            assert!(thread.join().unwrap() > 10, "the flood was none");
        }
    }
}

fn forged(number: u64) -> String {
    format!(
        "{{\"hook\":\"job-started\",\"job\":{{\"repository\":\"forged/r{number}\",\"run_id\":\"{number}\",\"run_attempt\":\"1\"}}}}\n"
    )
}

fn hooks(run: &Run) -> PathBuf {
    run.state().join("run/perf/hooks.jsonl")
}

fn perf(run: &Run) -> PathBuf {
    run.state().join("run/perf/Runner.perf")
}

fn console(run: &Run) -> PathBuf {
    run.state().join("console.log")
}

fn journal_bytes(run: &Run) -> u64 {
    fs::metadata(run.state().join("journal.jsonl")).map_or(0, |metadata| metadata.len())
}

/// A job that would take an hour.
fn endless_job() -> Run {
    let job = Scenario { job_ms: 3_600_000, ..Scenario::default() };
    Run::with(&job).limits(&[("draining", "10s"), ("lifetime", "10m"), ("job", "9m")])
}

/// Waits until the job is at work and has told who it is.
fn at_work(running: &mut Running<'_>) {
    running.until_state("Busy");
    running.until("the job-started hook", |run| run.journal().concat().contains("run_id"));
}

/// The job has 5 seconds, whatever it does to get more.
fn is_stopped_in_time(what: &str, run: &Run, flood: impl FnOnce(&Run) -> Flood) -> Ended {
    let mut running = run.start();
    at_work(&mut running);
    let flood = flood(run);
    running.until_state("Draining");
    let ended = running.end();
    flood.stop();
    ended.assert_outcome("job-timeout");
    assert!(ended.took < Duration::from_secs(40), "{what} put the job's deadline off: {:?}", ended.took);
    let journal = journal_bytes(run);
    assert!(journal < LONGEST_JOURNAL, "{what} made a journal of {journal} bytes");
    ended
}

fn five_seconds() -> Run {
    endless_job().limits(&[("job", "5s")])
}

#[test]
fn hook_lines_without_end_do_not_put_a_jobs_deadline_off() {
    let run = five_seconds();
    let ended = is_stopped_in_time("a flood of hook lines", &run, |run| Flood::new().appending(hooks(run), forged));
    assert_eq!(ended.record["job"]["run_id"], "1234567890", "a later line took the place of the job's own");
}

#[test]
fn lines_of_the_perf_log_without_end_do_not_put_a_jobs_deadline_off() {
    is_stopped_in_time("a flood of the perf log", &five_seconds(), |run| {
        Flood::new().appending(perf(run), |number| format!("MessageReceived_RunnerJobRequest:{number}\n"))
    });
}

/// Each pair of lines changes the run there and back, and so the journal.
#[test]
fn a_console_that_goes_there_and_back_does_not_put_a_jobs_deadline_off() {
    is_stopped_in_time("a flood of the console", &five_seconds(), |run| {
        Flood::new().appending(console(run), |number| {
            let text = if number % 2 == 0 { "Runner connect error: forged. Retrying." } else { "Runner reconnected." };
            format!("2026-11-21 08:00:00Z: {text}\n")
        })
    });
}

#[test]
fn hook_calls_without_end_do_not_put_a_jobs_deadline_off() {
    is_stopped_in_time("a flood of hook calls", &five_seconds(), |run| {
        let socket = run.state().join("run/hook.sock");
        let (call, garbage, silent) = (socket.clone(), socket.clone(), socket);
        Flood::new()
            .calling(8, move |number| {
                let mut stream = UnixStream::connect(&call)?;
                stream.write_all(forged(number).as_bytes())?;
                stream.read_to_end(&mut Vec::new()).map(drop)
            })
            .calling(2, move |_| {
                let mut stream = UnixStream::connect(&garbage)?;
                stream.write_all(&vec![b'x'; 128 * 1024])
            })
            .calling(2, move |_| {
                let mut stream = UnixStream::connect(&silent)?;
                stream.set_read_timeout(Some(Duration::from_millis(100)))?;
                stream.read(&mut [0]).map(drop)
            })
    });
}

#[test]
fn scrapes_of_the_metrics_without_end_do_not_put_a_jobs_deadline_off() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let run = five_seconds().set("MAYFLY_METRICS_LISTEN", &address.to_string());
    is_stopped_in_time("a flood of scrapes", &run, |_| {
        Flood::new().calling(12, move |_| {
            let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
            stream.read_to_end(&mut Vec::new()).map(drop)
        })
    });
}

/// Everything at once.
fn all_of_it(run: &Run) -> Flood {
    Flood::new()
        .appending(hooks(run), forged)
        .appending(perf(run), |number| format!("MessageReceived_RunnerJobRequest:{number}\n"))
        .appending(console(run), |number| format!("line {number} of a job that prints and prints\n"))
}

#[test]
fn a_drain_and_a_signal_are_heard_in_a_flood() {
    for by_signal in [false, true] {
        let run = endless_job();
        let mut running = run.start();
        at_work(&mut running);
        let flood = all_of_it(&run);
        running.until("the flood", |run| fs::metadata(hooks(run)).is_ok_and(|file| file.len() > MEGABYTE));
        if by_signal {
            running.signal(Signal::SIGINT);
        } else {
            let mut drain = Command::new(mayfly_binary());
            drain.args(["drain", "--now", "--state-directory"]).arg(run.state()).env_clear().stdin(Stdio::null());
            let said = drain.output().unwrap();
            assert!(said.status.success(), "nobody heard it: {}", String::from_utf8_lossy(&said.stderr));
        }
        running.until_state("Draining");
        let ended = running.end();
        flood.stop();
        ended.assert_outcome(if by_signal { "external-shutdown" } else { "operator-drain" });
    }
}

#[test]
fn a_spot_notice_is_heeded_in_a_flood() {
    let cloud = Cloud::with(&Scenario { job_ms: 3_600_000, ..Scenario::default() }, None).launched();
    let cloud = cloud.configured("[interruption]\nstop_at = \"2s\"\nkill_at = \"1s\"\n");
    let cloud = cloud.live(|run| run.limits(&[("job", "9m"), ("lifetime", "10m")]));
    let mut agent = cloud.start();
    agent.until("the job", |cloud| cloud.run.journal().concat().contains("run_id"));
    let flood = all_of_it(&cloud.run);
    agent.until("the flood", |cloud| fs::metadata(hooks(&cloud.run)).is_ok_and(|file| file.len() > MEGABYTE));
    cloud.imds.spot_action("terminate", SystemTime::now() + Duration::from_secs(5));
    let gone = agent.end();
    flood.stop();
    gone.assert_outcome("spot-interruption");
    assert!(!cloud.run.recording().signals().is_empty(), "the job was not told that its machine goes");
}

/// What the kernel says of a process's memory, in bytes.
fn memory(pid: u32, of: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(of))?;
    Some(line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
}

fn append(path: &Path, content: &[u8]) {
    OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(content).unwrap();
}

/// Up to where the agent has passed the console on.
fn told(run: &Run) -> u64 {
    let bytes = fs::read(run.state().join("console.told")).unwrap_or_default();
    bytes.try_into().map_or(0, u64::from_le_bytes)
}

/// A line break is an item: three million of them once took 300 MB, and the agent has 256.
#[test]
fn line_breaks_without_end_take_no_memory_now_and_after_a_restart() {
    let run = Run::with(&Scenario { job_ms: 3_000, ..Scenario::default() }).limits(&[
        ("job", "2m"),
        ("lifetime", "5m"),
        ("finishing", "30s"),
    ]);
    let mut running = run.start();
    at_work(&mut running);
    let pid = running.child.id();
    let before = memory(pid, "VmHWM").unwrap();
    let breaks = vec![b'\n'; 3_000_000];
    append(&perf(&run), &breaks);
    append(&hooks(&run), &breaks);
    append(&run.state().join("run/perf/Worker.perf"), &breaks);
    append(&console(&run), &breaks[..200_000]);
    let mut peak = 0;
    // In the middle of it the agent is killed, and the next one reads all of it again.
    running.until("half of the console", |run| {
        peak = peak.max(memory(pid, "VmHWM").unwrap_or(0));
        told(run) > 100_000
    });
    running.kill_dead();
    let mut running = run.start();
    let pid = running.child.id();
    let mut again = 0;
    running.until("the job's end", |run| {
        again = again.max(memory(pid, "VmHWM").unwrap_or(0));
        run.journal().iter().any(|line| line.contains("\"state\":\"Closing\""))
    });
    running.end().assert_outcome("job-succeeded");
    for (when, peak) in [("at once", peak), ("after a restart", again)] {
        assert!(peak > 0, "the memory was never looked at");
        let more = peak.saturating_sub(before) / MEGABYTE;
        assert!(
            more < 24,
            "three million line breaks cost the agent {more} MiB {when}; at 256 it is killed, with its job"
        );
    }
}

/// The longest lines, and bytes that are no text.
#[test]
fn long_lines_and_bytes_that_are_no_text_take_no_memory() {
    let run = Run::with(&Scenario { job_ms: 3_000, ..Scenario::default() }).limits(&[
        ("job", "2m"),
        ("lifetime", "5m"),
        ("finishing", "30s"),
    ]);
    let mut running = run.start();
    at_work(&mut running);
    let pid = running.child.id();
    let before = memory(pid, "VmHWM").unwrap();
    let line = [vec![0xff; 200_000], b"\n".to_vec()].concat();
    for path in [perf(&run), hooks(&run), console(&run)] {
        append(&path, &line.repeat(100));
    }
    let (mut peak, end) = (0, fs::metadata(console(&run)).unwrap().len());
    running.until("the console", |run| {
        peak = peak.max(memory(pid, "VmHWM").unwrap_or(0));
        told(run) >= end
    });
    running.end().assert_outcome("job-succeeded");
    let more = peak.saturating_sub(before) / MEGABYTE;
    assert!(more < 24, "lines of 200 kB cost the agent {more} MiB");
}

/// In a run whose journal was rewritten nothing is lost that the next agent process needs.
#[test]
fn an_agent_that_was_flooded_and_killed_finds_its_job_again() {
    let job = Scenario { job_ms: 6_000, ..Scenario::default() };
    let run = Run::with(&job).limits(&[("job", "2m"), ("lifetime", "5m"), ("finishing", "30s")]);
    let mut running = run.start();
    at_work(&mut running);
    let flip = "2026-11-21 08:00:00Z: Runner connect error: x\n2026-11-21 08:00:00Z: Runner reconnected.\n";
    append(&console(&run), flip.repeat(2_000).as_bytes());
    append(&hooks(&run), (0..20_000).map(forged).collect::<String>().as_bytes());
    let end = fs::metadata(console(&run)).unwrap().len();
    running.until("the console", |run| told(run) >= end);
    running.kill_dead();
    assert!(journal_bytes(&run) < LONGEST_JOURNAL, "the journal has {} bytes", journal_bytes(&run));
    let ended = run.run();
    ended.assert_outcome("job-succeeded");
    assert_eq!(ended.record["job"]["repository"], "mayfly-example/sample", "the job's own words were lost");
    assert_eq!(run.recording().starts().len(), 1, "a second listener was started");
}
