//! Every log line arrives before the machine is ended, or is counted.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mayfly_e2e::run::Ended;
use mayfly_e2e::{Cloud, Gone, Run};
use mayfly_fake_aws::Limit;
use mayfly_fake_aws::proxy::{AwsError, Fault, Match};
use mayfly_fake_runner::{Act, Scenario, WorkerBehaviour};
use serde_json::{Value, json};

use crate::runner::playing;

/// A job that takes so long, on an instance that ships to CloudWatch Logs.
pub(crate) fn with_job(milliseconds: u64) -> Cloud {
    Cloud::with(&Scenario { job_ms: milliseconds, ..Scenario::default() }, None).launched()
}

/// A job that goes on until [`go`].
pub(crate) fn gated() -> Scenario {
    let step = "while [ ! -e ../../../go ]; do sleep 0.05; done".to_owned();
    Scenario { job_ms: 0, steps: vec![step], ..Scenario::default() }
}

pub(crate) fn go(run: &Run) {
    fs::write(run.root().join("go"), "").unwrap();
}

/// The same on an instance that ships to CloudWatch Logs.
fn with_gated_job() -> Cloud {
    Cloud::with(&gated(), None).launched().live(|run| run.limits(&[("job", "50s")]))
}

/// A run that ships to a directory, and the directory of its instance once there is one.
pub(crate) fn to_directory(run: Run) -> Run {
    let logs = run.directory().join("logs");
    run.set("MAYFLY_LOGS_SINK", "directory").set("MAYFLY_LOGS_DIRECTORY", logs.to_str().unwrap())
}

/// The lines of a stream in the directory, without their times.
pub(crate) fn in_directory(run: &Run, stream: &str) -> Vec<String> {
    let logs = run.directory().join("logs");
    let instances = fs::read_dir(logs).into_iter().flatten().flatten();
    let files = instances.map(|instance| instance.path().join(format!("{stream}.log")));
    let text: Vec<u8> = files.filter_map(|file| fs::read(file).ok()).flatten().collect();
    // While a batch is being written, a character may be there by half.
    let text = String::from_utf8_lossy(&text);
    text.lines().map(|line| line.split_once(' ').unwrap_or_default().1.to_owned()).collect()
}

/// The messages of a stream that CloudWatch Logs accepted, in the order of its requests; none after the termination's request.
pub(crate) fn before_the_end(cloud: &Cloud, stream: &str) -> Vec<String> {
    let stream = format!("{}/{stream}", cloud.instance);
    let requests = cloud.aws.requests();
    let end = requests.iter().position(|request| request.call.action == "TerminateInstances").unwrap_or(requests.len());
    let accepted = requests[..end]
        .iter()
        .filter(|request| request.call.action == "PutLogEvents" && request.status == Some(200))
        .map(mayfly_fake_aws::proxy::AwsRequest::json);
    let of_stream = accepted.filter(|body| body["logStreamName"] == *stream.as_str());
    let messages = of_stream.flat_map(|body| body["logEvents"].as_array().cloned().unwrap_or_default());
    messages.map(|event| event["message"].as_str().unwrap().to_owned()).collect()
}

pub(crate) fn counts<'a>(record: &'a Value, stream: &str) -> &'a Value {
    let streams =
        record["logs"].as_array().unwrap_or_else(|| panic!("the record tells nothing of its logs: {record:#}"));
    streams.iter().find(|counts| counts["stream"] == stream).unwrap_or_else(|| panic!("no stream {stream}: {record:#}"))
}

/// Every line of the run is confirmed or counted as lost.
pub(crate) fn assert_accounted(record: &Value) {
    for counts in record["logs"].as_array().unwrap() {
        let number = |key: &str| counts[key].as_u64().unwrap();
        assert_eq!(number("read"), number("confirmed") + number("lost"), "lines that nobody knows of: {counts}");
        let why: u64 = counts["why"].as_object().into_iter().flatten().filter_map(|(_, lines)| lines.as_u64()).sum();
        assert_eq!(why, number("lost"), "nobody says why lines are lost: {counts}");
    }
}

fn assert_nothing_lost(record: &Value) {
    assert_accounted(record);
    for counts in record["logs"].as_array().unwrap() {
        assert_eq!(counts["lost"], 0, "{counts}");
    }
}

/// A name of today's, so that the agent finds nothing strange in it.
pub(crate) fn diag(run: &Run, prefix: &str) -> PathBuf {
    let directory = run.root().join("_diag");
    fs::create_dir_all(&directory).unwrap();
    directory.join(format!("{prefix}_20991231-235959-utc.log"))
}

/// Writes numbered lines as the runner does, some at a time, until all are written.
fn write_lines(path: PathBuf, word: &'static str, count: usize, pause: Duration) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        for block in (0..count).collect::<Vec<_>>().chunks(50) {
            let text: String = block.iter().map(|number| format!("{word} line {number}\n")).collect();
            file.write_all(text.as_bytes()).unwrap();
            thread::sleep(pause);
        }
    })
}

/// All numbered lines are there, each first after the one before; how often each is there.
fn assert_all_in_order(lines: &[String], word: &str, count: usize, what: &str) -> usize {
    let prefix = format!("{word} line ");
    let numbers: Vec<usize> = lines.iter().filter_map(|line| line.strip_prefix(&prefix)?.parse().ok()).collect();
    let mut seen = BTreeSet::new();
    let first: Vec<usize> = numbers.iter().copied().filter(|number| seen.insert(*number)).collect();
    let missing = (0..count).filter(|number| !seen.contains(number)).count();
    assert_eq!(missing, 0, "{what}: {missing} of {count} lines are not there");
    assert!(first.is_sorted(), "{what}: lines are out of order");
    numbers.len() - count
}

fn in_seconds(seconds: u64) -> SystemTime {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    UNIX_EPOCH + Duration::from_secs(now + seconds)
}

const LINES: usize = 3000;

/// The count test: faults of the service, an agent that is killed twice, and a spot notice.
#[test]
fn every_line_is_accepted_in_order_when_the_terminate_request_is_made() {
    let cloud = with_job(60_000).configured("[interruption]\nstop_at = \"3s\"\nkill_at = \"1s\"\n");
    let put = || Match::action("PutLogEvents");
    cloud.aws.fault(put(), Limit::times(4), Fault::Error(AwsError::Throttled));
    cloud.aws.fault(put(), Limit::times(2).after(9), Fault::Html(503));
    cloud.aws.fault(put(), Limit::times(2).after(13), Fault::LoseAnswer);
    cloud.aws.fault(put(), Limit::times(1).after(17), Fault::Reset);
    let mut agent = cloud.start();
    agent.until("the job", |cloud| cloud.run.journal().concat().contains("run_id"));
    let pause = Duration::from_millis(25);
    let writers = [
        write_lines(cloud.run.state().join("console.log"), "console", LINES, pause),
        write_lines(diag(&cloud.run, "Runner"), "listener", LINES, pause),
        write_lines(diag(&cloud.run, "Worker"), "worker", LINES, pause),
    ];
    for killed in 1..=2 {
        agent.until("some lines are shipped", |cloud| {
            before_the_end(cloud, "worker").iter().any(|line| line == &format!("worker line {}", killed * 500))
        });
        agent.kill_dead();
        agent = cloud.start();
    }
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    cloud.imds.spot_action("terminate", in_seconds(6));
    let gone = agent.end();
    gone.assert_outcome("spot-interruption");
    let runner = before_the_end(&cloud, "runner");
    assert_all_in_order(&runner, "console", LINES, "the runner's console");
    assert_all_in_order(&runner, "listener", LINES, "the listener's log");
    assert_all_in_order(&before_the_end(&cloud, "worker"), "worker", LINES, "the worker's log");
    // The agent's own: all that it wrote before it asked for the last time.
    let agents = before_the_end(&cloud, "agent");
    let written = fs::read_to_string(cloud.run.state().join("agent.log")).unwrap();
    let closing = written.lines().position(|line| line.contains("state=\"Closing\"")).unwrap();
    for line in written.lines().take(closing + 1) {
        assert!(agents.iter().any(|sent| sent == line), "a line of the agent is not there: {line}\n{agents:#?}");
    }
    // What is said of the sink itself may come after it.
    let document = |line: &String| serde_json::from_str(&line[line.find('{')?..]).ok();
    let last: Option<Value> = agents.iter().rev().take(4).find_map(document);
    let record = last.unwrap_or_else(|| panic!("the record is not among the last events: {agents:#?}"));
    assert_eq!((&record["outcome"], &record["logs"]), (&gone.record["outcome"], &gone.record["logs"]));
    assert_nothing_lost(&gone.record);
    assert_eq!(cloud.state(), "terminated");
    assert!(cloud.calls("CreateLogGroup") >= 1, "the group was there before, so nothing is known of a missing one");
}

/// Without a crash no line is there twice.
#[test]
fn a_directory_has_every_line_once_and_the_streams_own_order() {
    let run = to_directory(Run::with(&gated())).limits(&[("job", "50s")]);
    let mut running = run.start();
    running.until_state("Busy");
    let pause = Duration::from_millis(5);
    let writers = [
        write_lines(run.state().join("console.log"), "console", LINES, pause),
        write_lines(diag(&run, "Runner"), "listener", LINES, pause),
        write_lines(diag(&run, "Worker"), "worker", LINES, pause),
    ];
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    go(&run);
    let ended = running.end();
    ended.assert_outcome("job-succeeded");
    for (stream, word) in [("runner", "console"), ("runner", "listener"), ("worker", "worker")] {
        let twice = assert_all_in_order(&in_directory(&run, stream), word, LINES, word);
        assert_eq!(twice, 0, "{word}: lines are there twice");
    }
    let console = in_directory(&run, "runner").iter().filter(|line| line.contains("Listening for Jobs")).count();
    assert_eq!(console, 1, "the runner's own lines");
    assert_nothing_lost(&ended.record);
    let counts = counts(&ended.record, "worker");
    assert!(counts["confirmed"].as_u64().unwrap() >= LINES as u64, "{counts}");
}

fn reasons(gone: &Gone, stream: &str) -> Vec<String> {
    counts(&gone.record, stream)["why"].as_object().into_iter().flatten().map(|(reason, _)| reason.clone()).collect()
}

#[test]
fn a_service_that_never_answers_costs_its_share_of_closing_and_the_lines_are_counted() {
    let cloud = with_job(200).live(|run| run.limits(&[("closing", "4s")]));
    cloud.aws.fault(Match::service("logs"), Limit::default(), Fault::Hang);
    let gone = cloud.run();
    gone.assert_outcome("job-succeeded");
    assert_eq!(cloud.state(), "terminated", "a machine stays because of its logs");
    assert_accounted(&gone.record);
    let counts = counts(&gone.record, "runner");
    assert!(counts["lost"].as_u64().unwrap() > 0 && counts["confirmed"] == 0, "{counts}");
    let closed = phase(&gone.record, "Terminating") - phase(&gone.record, "Closing");
    assert!(closed < 4300, "closing took {closed} ms of 4000: the logs took what the record and the end need");
}

fn phase(record: &Value, name: &str) -> u64 {
    let phases = record["phases"].as_array().unwrap();
    let found = phases.iter().find(|phase| phase["phase"] == name).unwrap_or_else(|| panic!("no {name}: {phases:#?}"));
    found["at"].as_u64().unwrap()
}

#[test]
fn a_role_that_may_not_ship_loses_the_lines_and_no_time() {
    let cloud = with_job(200).live(|run| run.limits(&[("closing", "20s")]));
    cloud.aws.fault(Match::service("logs"), Limit::default(), Fault::Error(AwsError::AccessDenied));
    let gone = cloud.run();
    gone.assert_outcome("job-succeeded");
    assert_accounted(&gone.record);
    assert!(reasons(&gone, "runner").contains(&"denied".to_owned()), "{:#}", gone.record["logs"]);
    let closed = phase(&gone.record, "Terminating") - phase(&gone.record, "Closing");
    assert!(closed < 12_000, "every machine of a role without the permission stays {closed} ms longer");
    let said =
        gone.log.lines().filter(|line| line.contains("AccessDeniedException") && line.contains("of the stream runner"));
    assert_eq!(said.count(), 1, "a denial that lasts is said once, what is said is shipped:\n{}", gone.log);
}

#[test]
fn a_service_that_comes_back_within_the_last_seconds_still_gets_every_line() {
    let cloud = with_job(1000).live(|run| run.limits(&[("closing", "20s")]));
    cloud.aws.fault(Match::service("logs"), Limit::default(), Fault::Error(AwsError::Throttled));
    let mut agent = cloud.start();
    agent.until_state("Closing");
    let tried = cloud.calls("PutLogEvents");
    agent.until("it is tried again while the run closes", |cloud| cloud.calls("PutLogEvents") > tried);
    cloud.aws.clear_all().unwrap();
    let gone = agent.end();
    gone.assert_outcome("job-succeeded");
    assert_nothing_lost(&gone.record);
    assert!(before_the_end(&cloud, "runner").iter().any(|line| line.contains("Listening for Jobs")));
}

#[test]
fn events_that_the_service_drops_are_counted_with_its_reason() {
    let cloud = with_job(200);
    let body = json!({ "rejectedLogEventsInfo": { "tooOldLogEventEndIndex": 1 } }).to_string();
    let answer = Fault::Answer { status: 200, content_type: "application/x-amz-json-1.1", body: body.into() };
    cloud.aws.fault(Match::action("PutLogEvents").containing("/runner\""), Limit::times(1), answer);
    let gone = cloud.run();
    gone.assert_outcome("job-succeeded");
    assert_accounted(&gone.record);
    assert_eq!(counts(&gone.record, "runner")["why"], json!({ "too-old": 1 }), "{:#}", gone.record["logs"]);
}

/// One event that the service refuses takes no other with it.
#[test]
fn a_line_that_the_service_refuses_is_left_out_alone() {
    let cloud = with_gated_job();
    let refused =
        AwsError::Code { status: 400, code: "InvalidParameterException".to_owned(), message: "no".to_owned() };
    cloud.aws.fault(
        Match::action("PutLogEvents").containing("worker line 77\""),
        Limit::default(),
        Fault::Error(refused),
    );
    let mut agent = cloud.start();
    agent.until_state("Busy");
    write_lines(diag(&cloud.run, "Worker"), "worker", 200, Duration::ZERO).join().unwrap();
    go(&cloud.run);
    let gone = agent.end();
    gone.assert_outcome("job-succeeded");
    assert_accounted(&gone.record);
    assert_eq!(counts(&gone.record, "worker")["why"], json!({ "refused": 1 }), "{:#}", gone.record["logs"]);
    let sent = before_the_end(&cloud, "worker").iter().filter(|line| line.starts_with("worker line")).count();
    assert_eq!(sent, 199);
}

#[test]
fn beyond_the_most_bytes_lines_are_counted_and_the_agents_own_still_go() {
    let cloud = with_gated_job().configured("[logs]\nmax_bytes = \"4KiB\"\n");
    let mut agent = cloud.start();
    agent.until_state("Busy");
    write_lines(diag(&cloud.run, "Worker"), "worker", 2000, Duration::ZERO).join().unwrap();
    go(&cloud.run);
    let gone = agent.end();
    gone.assert_outcome("job-succeeded");
    assert_accounted(&gone.record);
    let lost = counts(&gone.record, "worker")["why"]["max-bytes"].as_u64().unwrap();
    assert!(lost > 1500, "{:#}", gone.record["logs"]);
    assert_eq!(counts(&gone.record, "agent")["lost"], 0, "what tells of the loss is lost too");
    let said =
        gone.log.lines().filter(|line| line.contains("logs.max_bytes is reached") && line.contains("the record has"));
    assert!((1..=3).contains(&said.count()), "it is said once for a stream:\n{}", gone.log);
}

#[test]
fn no_part_of_the_jit_configuration_is_shipped_also_by_an_agent_that_was_started_again() {
    let cloud = with_job(60_000).live(|run| run.limits(&[("job", "4s")]));
    let blob = cloud.run.jit.clone();
    let mut agent = cloud.start();
    agent.until("the job", |cloud| cloud.run.journal().concat().contains("run_id"));
    agent.kill_dead();
    let mut agent = cloud.start();
    agent.until("the new agent's first lines", |cloud| before_the_end(cloud, "agent").len() > 3);
    let text = format!("before\n{blob}\npart {}\nafter\n", &blob[200..260]);
    fs::write(diag(&cloud.run, "Worker"), text).unwrap();
    let gone = agent.end();
    gone.assert_outcome("job-timeout");
    let lines = before_the_end(&cloud, "worker");
    assert!(lines.iter().any(|line| line == "after"), "{lines:#?}\n{}", gone.log);
    assert_eq!(lines.iter().filter(|line| line.contains("removed this line")).count(), 2, "{lines:#?}");
    let bodies: Vec<_> = cloud.aws.requests_of("PutLogEvents").iter().map(|request| request.body.clone()).collect();
    let leaked = bodies.iter().any(|body| body.windows(60).any(|part| part == &blob.as_bytes()[200..260]));
    assert!(!leaked, "whoever reads the logs can take the runner's place");
    assert_nothing_lost(&gone.record);
}

/// The log lines that `of` names, over the whole log.
fn lines_of(ended: &Ended, of: &str) -> usize {
    ended.stderr.lines().filter(|line| line.contains(of)).count()
}

#[test]
fn whatever_is_in_the_files_the_rest_arrives_and_what_does_not_is_counted() {
    let run = to_directory(Run::with(&gated()))
        .limits(&[("job", "50s")])
        .set("MAYFLY_LOG", "warn")
        .set("MAYFLY_TIME_SCALE", "0.1");
    let mut running = run.start();
    running.until_state("Busy");
    let worker = diag(&run, "Worker");
    let directory = worker.parent().unwrap().to_owned();
    let append = |path: &Path, bytes: &[u8]| {
        OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(bytes).unwrap();
    };
    append(&worker, b"[1970-01-01 00:00:00Z INFO Worker] long ago\n[2100-01-01 00:00:00Z INFO Worker] far ahead\n");
    append(&worker, b"no text: \xff\xfe\x80\nnul: \0\nreturn\r\n\n");
    append(&worker, &(0..=255_u8).cycle().take(100_000).collect::<Vec<_>>());
    append(&worker, b"\n");
    append(&worker, &[b"ten megabytes: ".as_slice(), &vec![b'x'; 10_000_000], b"\n"].concat());
    append(&worker, "é漢🦀".repeat(60_000).as_bytes());
    append(&worker, b"\nafter all that\n");
    nix::unistd::mkfifo(&directory.join("Worker_pipe.log"), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", directory.join("Worker_link.log")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", directory.join("Worker_loop.log")).unwrap();
    fs::create_dir(directory.join("Worker_directory.log")).unwrap();
    running.until("the long lines are shipped", |run| {
        in_directory(run, "worker").iter().any(|line| line == "after all that")
    });
    // Replaced, cut, removed.
    let other = directory.join("Worker_other.log");
    fs::write(&other, "the first file\n").unwrap();
    running.until("it is shipped", |run| in_directory(run, "worker").iter().any(|line| line == "the first file"));
    append(&other, b"its last line");
    let beside = directory.join("beside");
    fs::write(&beside, "the second file\n").unwrap();
    fs::rename(&beside, &other).unwrap();
    running.until("the next is", |run| in_directory(run, "worker").iter().any(|line| line == "the second file"));
    fs::write(&other, "cut\n").unwrap();
    running.until("what is new is", |run| in_directory(run, "worker").iter().any(|line| line == "cut"));
    append(&other, b"and gone\n");
    fs::remove_file(&other).unwrap();
    append(&worker, b"a last line without an end");
    go(&run);
    let ended = running.end();
    ended.assert_outcome("job-succeeded");
    let lines = in_directory(&run, "worker");
    for expected in [
        "its last line",
        "and gone",
        "a last line without an end",
        "return",
        "",
        "nul: \u{2400}",
        "no text: \u{fffd}\u{fffd}\u{fffd}",
    ] {
        assert!(lines.iter().any(|line| line == expected), "{expected:?} is not there");
    }
    let xs: usize = lines.iter().filter(|line| line.contains("xxx")).map(|line| line.matches('x').count()).sum();
    assert_eq!(xs, 10_000_000, "the long line is not whole");
    let crabs: usize = lines.iter().map(|line| line.matches("é漢🦀").count()).sum();
    assert!((59_995..=60_000).contains(&crabs), "{crabs} of 60000: a long line was cut inside a character");
    assert!(!lines.iter().any(|line| line.contains("root:")), "a link that a job planted shows it root's files");
    assert_eq!(counts(&ended.record, "worker")["why"], json!({ "unreadable": 4 }), "{:#}", ended.record["logs"]);
    assert_accounted(&ended.record);
    assert_eq!(lines_of(&ended, "is not shipped"), 4, "it is not said what is left out:\n{}", ended.stderr);
    let times: Vec<String> = times(&run, "worker");
    assert!(times.iter().all(|time| time.starts_with("20") && !time.starts_with("2100")), "a forged time is believed");
}

fn times(run: &Run, stream: &str) -> Vec<String> {
    let logs = run.directory().join("logs");
    let instance = fs::read_dir(logs).unwrap().flatten().next().unwrap().path();
    let text = fs::read_to_string(instance.join(format!("{stream}.log"))).unwrap();
    text.lines().map(|line| line[..24].to_owned()).collect()
}

/// What a killed worker has left of its steps' output is all that there is of it.
#[test]
fn the_pages_that_a_killed_worker_leaves_are_shipped() {
    let killed = WorkerBehaviour::KilledAfterHook;
    let acts = vec![
        Act::Connect,
        Act::Listening,
        Act::Idle,
        Act::Perf { counter: "MessageReceived_RunnerJobRequest".to_owned() },
        Act::Running,
        Act::StartWorker { behaviour: killed },
        Act::AwaitWorker,
        Act::Completed { result: None },
        Act::Finish,
    ];
    let run = to_directory(playing(acts));
    let pages = run.root().join("_diag/pages");
    fs::create_dir_all(&pages).unwrap();
    let text = "\u{feff}2026-11-21T08:00:00.0000000Z ##[group]Run make\n2026-11-21T08:00:01.0000000Z the last words";
    fs::write(pages.join("11111111_22222222_1.log"), text).unwrap();
    let ended = run.run();
    let lines = in_directory(&run, "worker");
    assert!(lines.iter().any(|line| line.ends_with("the last words")), "{lines:#?}\n{}", ended.stderr);
    assert_nothing_lost(&ended.record);
}

/// A job that writes as fast as it can takes no memory from itself, and no line is lost where the sink keeps up.
#[test]
fn a_flood_costs_bounded_memory_and_loses_no_line() {
    let run = to_directory(Run::named("flood")).set("MAYFLY_LOGS_MAX_BYTES", "10GiB");
    let run = run.limits(&[("finishing", "4m"), ("job", "4m"), ("lifetime", "5m"), ("closing", "60s")]);
    let mut running = run.start();
    let (pid, peak) = (running.child.id(), Arc::new(Mutex::new(0)));
    for part in 1..=6_u64 {
        running.until("more of the flood", |run| {
            let mut peak = peak.lock().unwrap();
            *peak = (*peak).max(resident(pid));
            let length = fs::metadata(run.state().join("console.log")).map_or(0, |found| found.len());
            length >= part * 80_000_000 || run.journal().concat().contains("\"state\":\"Closing\"")
        });
    }
    running.until_state("Closing");
    let ended = running.end();
    ended.assert_outcome("job-succeeded");
    let peak = *peak.lock().unwrap();
    assert!(peak > 0 && peak < 64 << 20, "a job that floods its console took {peak} bytes of memory away from itself");
    assert_nothing_lost(&ended.record);
    let confirmed = counts(&ended.record, "runner")["confirmed"].as_u64().unwrap();
    assert!(confirmed >= 2_500_000, "{confirmed} of 2,500,000 lines are there");
}

fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0) * 1024
}
