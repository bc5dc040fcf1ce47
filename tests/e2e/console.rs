//! What the listener prints: names that a workflow chooses, floods, lines without an end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use mayfly_e2e::Run;
use mayfly_fake_runner::recording::{Event, Who};
use mayfly_fake_runner::{Act, JobResult, Scenario, WorkerBehaviour};
use nix::fcntl::{FallocateFlags, fallocate};
use serde_json::json;

use crate::runner::{assert_ended, ends_by_itself, playing, prints, scenario};

// Names that a workflow chooses.

#[test]
fn a_job_keeps_its_odd_name() {
    let run = Run::named("odd-name");
    let ended = ends_by_itself(&run, "job-succeeded", 0);
    assert_eq!(ended.record["job_name"], json!(scenario("odd-name").job_name), "the record names another job");
}

#[test]
fn a_name_that_imitates_a_failure_does_not_fail_its_job() {
    let run = Run::named("imitating-names");
    let ended = ends_by_itself(&run, "job-succeeded", 0);
    assert_eq!(ended.record["job_name"], json!(scenario("imitating-names").job_name), "the record names another job");
}

#[test]
fn a_name_that_imitates_a_success_does_not_hide_a_failure() {
    ends_by_itself(&Run::named("imitating-names-newline"), "job-failed", 102);
}

/// The forged line is there before the worker is: it must not look like the job's end.
#[test]
fn a_name_that_imitates_a_completed_job_does_not_end_it() {
    let run = Run::with(&Scenario { job_ms: 1_200, ..scenario("imitating-names-newline") });
    let run = run.limits(&[("finishing", "300ms")]);
    ends_by_itself(&run, "job-failed", 102);
    assert_eq!(run.recording().exits(Who::Worker), [102], "the job was killed because its name said that it was over");
}

/// Without a worker nobody but the name says that the job was done.
#[test]
fn a_name_that_imitates_a_success_is_no_witness_of_one() {
    let forged = scenario("imitating-names-newline").job_name;
    let run = Run::with(&Scenario { job_name: forged, ..scenario("100-without-worker") });
    ends_by_itself(&run, "job-unknown", 70);
}

// The console.

const MEGABYTES: u64 = 1 << 20;

/// The most memory a living process ever had.
fn peak_memory(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// Whether files in this directory can give a part of themselves back.
fn punches_holes(directory: &Path) -> bool {
    let path = directory.join("hole");
    fs::write(&path, vec![1; 64 * 1024]).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    fallocate(&file, flags, 0, 64 * 1024).is_ok()
}

#[test]
fn a_flooded_console_costs_neither_memory_nor_disk() {
    // Three times what may be kept in memory or on the disk, and not more: a loaded machine takes long for all of it.
    let mut flood = mayfly_fake_runner::scenarios::named("flood").unwrap();
    for act in &mut flood.acts {
        if let Act::Flood { bytes } = act {
            *bytes = 200_000_000;
        }
    }
    // The double's worker is done long before its listener's flood, so what bounds the flood is limits.finishing.
    let run = Run::with(&flood).limits(&[("finishing", "9m"), ("job", "9m"), ("lifetime", "10m")]);
    let console = run.state().join("console.log");
    let mut running = run.start();
    let (pid, mut peak) = (running.child.id(), 0);
    let mut look = || peak = peak.max(peak_memory(pid).unwrap_or(0));
    // Each part has a timeout of its own.
    for part in 1..=8 {
        running.until(&format!("{part} eighths of the flood are there"), |_| {
            look();
            fs::metadata(&console).is_ok_and(|metadata| metadata.len() >= part * 25_000_000)
        });
    }
    // The reader of a loaded machine is behind by minutes; limits.finishing ends it in any case.
    let closes = || run.journal().iter().any(|line| line.contains("\"state\":\"Closing\""));
    let end = Instant::now() + Duration::from_secs(600);
    while !closes() {
        look();
        assert!(Instant::now() < end, "the flood is not read to its end: {:#?}", run.journal());
        std::thread::sleep(Duration::from_millis(10));
    }
    let ended = running.end();
    assert_ended(&run, &ended, "job-succeeded", 0);
    assert!(peak > 0, "the memory was never looked at");
    assert!(peak < 64 * MEGABYTES, "a job that floods its console took {peak} bytes of memory away from itself");
    let lines = ended.record["console_lines"].as_u64().unwrap_or(0);
    assert!(lines >= 1_000_000, "only {lines} console lines of 1,000,000 were read");
    if punches_holes(run.directory()) {
        let kept = fs::metadata(&console).unwrap().blocks() * 512;
        assert!(kept < 64 * MEGABYTES, "{kept} bytes of the flood are still on the disk");
    }
}

/// What is beyond the kept part of a line is cut off, and the next line is a line again.
#[test]
fn an_overlong_console_line_hides_nothing_after_it() {
    let overlong = "x".repeat(100 * 1024);
    let acts = vec![
        Act::Connect,
        Act::Listening,
        prints(&overlong),
        Act::Idle,
        Act::Perf { counter: "MessageReceived_RunnerJobRequest".to_owned() },
        Act::Running,
        Act::StartWorker { behaviour: WorkerBehaviour::Normal },
        Act::AwaitWorker,
        prints(&overlong),
        Act::Completed { result: Some(JobResult::Succeeded) },
        Act::Finish,
    ];
    let run = playing(acts);
    ends_by_itself(&run, "job-succeeded", 0);
    let exits = run.recording().records.iter().filter(|record| matches!(record.event, Event::Exit { .. })).count();
    assert_eq!(exits, 2, "listener and worker each end by themselves");
}
