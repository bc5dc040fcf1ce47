//! The machine under a run: too full or out of time before the job, in trouble while it runs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use mayfly_e2e::run::{TIMEOUT, mayfly_binary};
use mayfly_e2e::{Cloud, Run};
use mayfly_fake_runner::scenarios;
use serde_json::Value;

/// Runs a command where the work directory is a disk of its own: a small one in a mount namespace.
fn on_small_disk(run: &Run, plain: &Command, options: &str, before: &str) -> Command {
    let work = run.root().join("_work");
    fs::create_dir_all(&work).unwrap();
    let mut command = Command::new("unshare");
    let script = format!(
        "work=$1 run=$2; shift 2; mount -t tmpfs -o {options} work \"$work\" || exit 99; {before}\nexec \"$@\""
    );
    command.args(["--map-root-user", "--mount", "sh", "-c", &script, "sh"]).arg(work).arg(run.directory());
    command.arg(plain.get_program()).args(plain.get_args()).stdin(Stdio::null());
    command.env_clear().envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

/// The agent of an instance whose work directory is such a disk, to its end.
fn agent_on(cloud: &Cloud, options: &str, before: &str) -> (Value, String) {
    let output = on_small_disk(&cloud.run, &cloud.command(), options, before).output().unwrap();
    let record = fs::read(cloud.run.state().join("record.json")).unwrap_or_default();
    (serde_json::from_slice(&record).unwrap_or_default(), log_of(&output))
}

fn log_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !is_true() {
        assert!(Instant::now() < deadline, "not within {TIMEOUT:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn status(run: &Run) -> Value {
    let state = run.state();
    let mut command = Command::new(mayfly_binary());
    command.args(["status", "--json", "--state-directory"]).arg(state).env_clear();
    serde_json::from_slice(&command.output().unwrap().stdout).unwrap_or_default()
}

fn annotations(run: &Run) -> Vec<String> {
    run.recording().annotations().into_iter().map(str::to_owned).collect()
}

/// Nothing was fetched for the machine, and it ended.
fn refused(cloud: &Cloud, record: &Value, log: &str, outcome: &str, words: &[&str]) {
    assert_eq!(record["outcome"], outcome, "{record:#}\n{log}");
    let detail = record["detail"].as_str().unwrap_or_default();
    assert!(words.iter().all(|word| detail.contains(word)), "a person cannot tell what to change: {detail}");
    assert_eq!(cloud.calls("GetParameter"), 0, "a JIT configuration was fetched for a machine that cannot use it");
    assert!(cloud.run.recording().starts().is_empty(), "a runner was started");
    assert_eq!(cloud.state(), "terminated", "the machine stays, without a job");
}

#[test]
fn a_machine_without_room_fetches_no_job() {
    let cloud = Cloud::standalone("success");
    let cloud = cloud.launched().live(|run| run.set("MAYFLY_HOST_MIN_DISK", "8MiB"));
    let (record, log) = agent_on(&cloud, "size=4m", "");
    refused(&cloud, &record, &log, "disk-full", &["_work", "4.0 MiB free", "host.min_disk is 8.0 MiB"]);
}

#[test]
fn a_machine_without_inodes_fetches_no_job() {
    let cloud = Cloud::standalone("success").launched();
    let fill = "i=0; while [ $i -lt 995 ]; do : >\"$work/$i\"; i=$((i+1)); done";
    let (record, log) = agent_on(&cloud, "size=64m,nr_inodes=1000", fill);
    refused(&cloud, &record, &log, "disk-full", &["_work", "of 1000 inodes free"]);
}

#[test]
fn a_disk_that_fills_while_the_job_is_waited_for_ends_the_wait() {
    let cloud = Cloud::standalone("success").live(|run| run.set("MAYFLY_JIT_WAIT", "50s"));
    // Filled only once the run waits; the agent itself is what this shell becomes.
    let fill = "(until grep -q WaitingForJitConfig \"$run/state/journal.jsonl\" 2>/dev/null; do sleep 0.05; done; \
                cat /dev/zero >\"$work/filler\" 2>/dev/null) &";
    let began = Instant::now();
    let (record, log) = agent_on(&cloud, "size=8m", fill);
    assert_eq!(record["outcome"], "disk-full", "{record:#}\n{log}");
    assert!(began.elapsed() < Duration::from_secs(40), "it waited for its job to the end");
    assert_eq!(cloud.state(), "terminated");
}

/// The launch is dated by EC2's clock, so it seems as long ago as the clock is off.
fn skewable() -> Cloud {
    Cloud::standalone("success").live(|run| run.limits(&[("lifetime", "20m")])).launched()
}

#[test]
fn a_skewed_clock_is_told_by_the_metadata_service_before_a_job_is_fetched() {
    for (skew, words) in [(400, "behind"), (-400, "ahead of")] {
        let cloud = skewable();
        cloud.imds.clock_skew(skew);
        let gone = cloud.run();
        refused(&cloud, &gone.record, &gone.log, "clock-skew", &[words, "GitHub refuses"]);
    }
}

#[test]
fn a_clock_that_only_aws_knows_to_be_wrong_starts_no_runner() {
    let cloud = skewable();
    cloud.aws.clock_skew(400);
    let gone = cloud.run();
    gone.assert_outcome("clock-skew");
    assert!(cloud.run.recording().starts().is_empty(), "a runner was started that GitHub will refuse");
}

#[test]
fn a_clock_that_is_a_little_wrong_is_no_reason() {
    let cloud = skewable();
    cloud.imds.clock_skew(200);
    cloud.aws.clock_skew(200);
    let gone = cloud.run();
    gone.assert_outcome("job-succeeded");
    let seconds = gone.record["host"]["clock_difference_seconds"].as_i64().unwrap();
    assert!((198..=202).contains(&seconds), "the record does not tell the difference: {:#}", gone.record["host"]);
}

/// One step fills the disk and waits; nothing stops the job, and everybody is told.
#[test]
fn a_disk_that_fills_while_a_job_runs_stops_nothing_and_is_told_in_the_jobs_log() {
    let mut scenario = scenarios::named("success").unwrap();
    let run = Run::with(&scenario);
    let (go, work) = (run.directory().join("go"), run.root().join("_work"));
    scenario.steps = vec![format!(
        "cat /dev/zero >{0}/filler 2>/dev/null || true; until [ -e {1} ]; do sleep 0.05; done; rm {0}/filler",
        work.display(),
        go.display()
    )];
    run.runner.play(&scenario).unwrap();
    let run = run.set("MAYFLY_TIME_SCALE", "0.02").set("MAYFLY_HOST_MIN_DISK", "8MiB");
    let mut child = on_small_disk(&run, &run.command(), "size=32m", "").stdout(Stdio::piped()).spawn().unwrap();
    until("the warning in mayfly status", || !status(&run)["host"]["warnings"][0].is_null());
    let shown = status(&run);
    assert_eq!(shown["state"], "Busy", "a job was stopped for a threshold");
    assert_eq!(shown["host"]["warnings"][0]["kind"], "disk", "{shown:#}");
    fs::write(&go, "").unwrap();
    let mut record = String::new();
    std::io::Read::read_to_string(&mut child.stdout.take().unwrap(), &mut record).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let record: Value = serde_json::from_str(&record).unwrap();
    assert_eq!(record["outcome"], "job-succeeded");
    let warnings = record["host"]["warnings"].as_array().unwrap();
    assert_eq!(warnings.iter().filter(|warning| warning["kind"] == "disk").count(), 1, "told once: {warnings:#?}");
    let lowest = record["host"]["disks"].as_array().unwrap();
    let of_work = lowest.iter().find(|disk| disk["path"].as_str().is_some_and(|path| path.ends_with("_work")));
    assert!(of_work.unwrap()["free_bytes"].as_u64().unwrap() < 2 << 20, "the low-water mark is lost: {lowest:#?}");
    let told: Vec<_> = annotations(&run).into_iter().filter(|command| command.contains("nearly full")).collect();
    assert_eq!(told.len(), 1, "the job's log does not say why it may have failed: {told:?}");
    assert!(told[0].starts_with("::warning title=Mayfly::") && told[0].contains("_work"), "{}", told[0]);
}

#[test]
fn an_ordinary_run_has_its_marks_and_no_warning() {
    let run = Run::named("success");
    let ended = run.run();
    ended.assert_outcome("job-succeeded");
    let host = &ended.record["host"];
    assert!(host["disks"][0]["free_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{host:#}");
    assert!(host["memory_available_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{host:#}");
    if Path::new("/proc/pressure/memory").exists() {
        assert!(host["memory_pressure_percent"].is_number(), "{host:#}");
    }
    assert!(annotations(&run).iter().all(|command| !command.contains("disk was")), "{:?}", annotations(&run));
}
