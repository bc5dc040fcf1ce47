//! `kill -9` of the agent after every line of its journal: one listener ever, and the right outcome.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

use std::fs;
use std::os::unix::fs::FileExt;

use mayfly_e2e::{Run, processes};
use mayfly_fake_runner::JitConfig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A run long enough to be killed in: a job that takes a moment.
fn run(scenario: &str) -> Run {
    let mut scenario = mayfly_fake_runner::scenarios::named(scenario).unwrap();
    scenario.idle_ms = 150;
    scenario.job_ms = 400;
    Run::with(&scenario)
}

pub(crate) fn one_listener(run: &Run, when: &str) {
    let starts = run.recording().starts().len();
    assert_eq!(starts, 1, "{starts} listeners were started {when}: one JIT configuration, {starts} jobs");
}

/// Kills the agent as soon as its journal has this many lines, and starts it again. `None` if the run ended before.
fn killed_at(scenario: &str, line: usize) -> Option<()> {
    let run = run(scenario);
    let mut running = run.start();
    let mut reached = false;
    running.until("the journal line", |run| {
        reached = run.journal().len() >= line;
        reached
    });
    running.kill_dead();
    // It may have come to its end before the signal came to it: the next run would be another one.
    if !reached || run.journal().last().is_some_and(|line| line.contains(r#""state":"Ended""#)) {
        return None;
    }
    let outcome = if scenario == "success" { "job-succeeded" } else { "job-failed" };
    let ended = run.run();
    ended.assert_outcome(outcome);
    one_listener(&run, &format!("after a kill at journal line {line}"));
    Some(())
}

#[test]
fn killed_after_every_journal_line_of_a_good_run() {
    let lines = run("success");
    lines.run().assert_outcome("job-succeeded");
    let count = lines.journal().len();
    assert!(count > 10, "a run of {count} journal lines is no test");
    for line in 1..count {
        killed_at("success", line);
    }
}

#[test]
fn killed_after_every_journal_line_of_a_failing_run() {
    let lines = run("failed");
    lines.run().assert_outcome("job-failed");
    for line in 1..lines.journal().len() {
        killed_at("failed", line);
    }
}

#[test]
fn killed_twice_in_a_row_in_the_middle_of_the_job() {
    let run = run("success");
    for _ in 0..2 {
        let mut running = run.start();
        running.until_state("Busy");
        running.kill_dead();
    }
    run.run().assert_outcome("job-succeeded");
    one_listener(&run, "after two kills");
}

#[test]
fn killed_and_started_again_only_after_the_job_has_ended() {
    for (scenario, outcome) in
        [("success", "job-succeeded"), ("failed", "job-failed"), ("worker-crash", "worker-crashed")]
    {
        let run = run(scenario);
        let mut running = run.start();
        running.until_state("Busy");
        running.until("the job-started hook", |run| run.journal().concat().contains("repository"));
        running.kill_dead();
        let traces = run.state().join("runner.exit");
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while !traces.exists() {
            assert!(
                std::time::Instant::now() < deadline,
                "the supervisor process did not write down how the listener ended"
            );
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        run.run().assert_outcome(outcome);
        one_listener(&run, "though the job was over");
    }
}

/// Makes a run until the journal tells of `state`, kills the agent, lets `change` have the journal, and goes on.
fn changed(state: &str, change: impl Fn(&str) -> String) -> (Run, mayfly_e2e::Ended) {
    let run = run("success");
    let mut running = run.start();
    running.until_state(state);
    running.kill_dead();
    let journal = run.journal().concat();
    fs::write(run.state().join("journal.jsonl"), change(&journal)).unwrap();
    let ended = run.run();
    (run, ended)
}

fn other_boot(journal: &str) -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let changed = journal.replace(boot.trim(), "00000000-0000-4000-8000-000000000000");
    assert_ne!(journal, changed, "the journal does not name its boot");
    changed
}

#[test]
fn a_reboot_after_the_runners_start_ends_the_run() {
    let (run, ended) = changed("Busy", other_boot);
    ended.assert_outcome("second-boot");
    one_listener(&run, "by a second boot");
}

#[test]
fn a_reboot_before_the_runners_start_begins_anew() {
    let run = run("success");
    let ended = run.run();
    ended.assert_outcome("job-succeeded");
    let text = run.journal();
    let waiting = text.iter().position(|line| line.contains("WaitingForJitConfig")).unwrap();
    // What a machine leaves that lost power while it waited.
    let other = Run::named("success");
    fs::create_dir_all(other.state()).unwrap();
    fs::write(other.state().join("journal.jsonl"), other_boot(&text[..=waiting].concat())).unwrap();
    other.run().assert_outcome("job-succeeded");
    one_listener(&other, "after a reboot before the start");
}

#[test]
fn the_journal_of_another_instance_is_set_aside() {
    let first = run("success");
    first.run().assert_outcome("job-succeeded");
    let journal = first.journal();
    let instance: serde_json::Value = serde_json::from_str(&journal[0]).unwrap();
    let foreign = journal.concat().replace(instance["instance"].as_str().unwrap(), "i-0123456789abcdef0");
    let second = run("success").jit(JitConfig::new(8).encode());
    fs::create_dir_all(second.state()).unwrap();
    fs::write(second.state().join("journal.jsonl"), foreign).unwrap();
    let marker = fs::read_to_string(first.state().join("runner.started")).unwrap();
    let marker = marker.replace(instance["instance"].as_str().unwrap(), "i-0123456789abcdef0");
    fs::write(second.state().join("runner.started"), marker).unwrap();
    second.run().assert_outcome("job-succeeded");
    one_listener(&second, "on a machine made from a used one's image");
    let aside = fs::read_dir(second.state()).unwrap().flatten();
    assert!(
        aside.into_iter().any(|entry| entry.file_name().to_string_lossy().contains("aside")),
        "the foreign journal was not kept for a person to look at"
    );
}

#[test]
fn a_journal_cut_at_every_byte_never_starts_a_second_listener() {
    // A run that was killed in the middle of its job, and whose listener has ended meanwhile.
    let run = run("success");
    let mut running = run.start();
    running.until_state("Busy");
    running.kill_dead();
    let exit = run.state().join("runner.exit");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !exit.exists() {
        assert!(std::time::Instant::now() < deadline, "the listener does not end");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let journal = run.journal().concat().into_bytes();
    let kept: Vec<_> = ["runner.started", "runner.pid", "runner.exit", "console.log"]
        .map(|name| (name, fs::read(run.state().join(name)).unwrap()))
        .into();
    // Every byte of the last line, and every twentieth of the rest: each cut is a whole run.
    let last_line = journal[..journal.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap();
    let cuts = (0..last_line).step_by(20).chain(last_line..=journal.len());
    for cut in cuts {
        fs::write(run.state().join("journal.jsonl"), &journal[..cut]).unwrap();
        for (name, content) in &kept {
            fs::write(run.state().join(name), content).unwrap();
        }
        let ended = run.run();
        ended.assert_outcome("job-succeeded");
        one_listener(&run, &format!("with the journal cut at byte {cut}"));
    }
}

/// Nobody is left to say how the job ended but its name, and the console is read again.
#[test]
fn a_name_that_imitates_a_success_does_not_win_while_agent_and_listener_are_dead() {
    let run = run("imitating-names-newline");
    let mut running = run.start();
    running.until_state("Busy");
    // Only of what it passed on can the next agent know that it was printed while the worker lived.
    running.until("the name was passed on", |run| {
        let told = fs::read(run.state().join("console.told")).ok().and_then(|bytes| bytes.try_into().ok());
        let console = fs::read(run.state().join("console.log")).unwrap_or_default();
        let name_ends = console.windows(12).rposition(|part| part == b"with result:");
        told.map(u64::from_le_bytes).zip(name_ends).is_some_and(|(told, end)| told > end as u64)
    });
    running.kill_dead();
    for process in processes::of_run(&run) {
        if process.arguments.iter().any(|word| word.contains("Runner.Listener")) {
            kill(Pid::from_raw(process.pid), Signal::SIGKILL).unwrap();
        }
    }
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while processes::of_run(&run).iter().any(|process| process.arguments[0].contains("Runner.Worker")) {
        assert!(std::time::Instant::now() < deadline, "the worker does not end");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    run.run().assert_outcome("runner-crashed");
}

/// Somebody cleared the state directory up in the middle of a run.
#[test]
fn a_marker_that_is_gone_is_no_reason_for_a_second_start() {
    let run = run("success");
    let mut running = run.start();
    running.until_state("Busy");
    running.kill_dead();
    let exit = run.state().join("runner.exit");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !exit.exists() {
        assert!(std::time::Instant::now() < deadline, "the listener does not end");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    fs::remove_file(run.state().join("runner.started")).unwrap();
    let ended = run.run();
    ended.assert_outcome("agent-failed");
    assert_eq!(ended.code(), Some(70), "the exit code does not tell the outcome");
    assert!(ended.record["detail"].as_str().unwrap().contains("marker"), "nobody is told what is wrong");
    one_listener(&run, "although the marker of its start is gone");
}

#[test]
fn a_corrupt_journal_is_set_aside_and_the_job_goes_on() {
    let (run, ended) = changed("Busy", |journal| journal.replace("\"state\":\"Idle\"", "\"state\":\"Idel\""));
    ended.assert_outcome("job-succeeded");
    one_listener(&run, "with a corrupt journal");
}

#[test]
fn a_corrupt_journal_and_no_runner_ends_the_run_without_one() {
    let run = run("success");
    fs::create_dir_all(run.state()).unwrap();
    fs::write(run.state().join("journal.jsonl"), "this is no journal\n").unwrap();
    run.run().assert_outcome("journal-failed");
    assert!(run.recording().starts().is_empty(), "a listener was started with a journal that proves nothing");
}

/// The supervisor process outlives its agent, and on a busy machine it comes to the start only when the next agent has looked:
/// chaos found it (seed 30117372).
#[test]
fn a_start_that_a_killed_agent_asked_for_does_not_happen_after_the_run_has_ended() {
    for _ in 0..20 {
        let run = run("success");
        let mut agent = run.start();
        let own = agent.child.id();
        let mut held = None;
        agent.until("the supervisor process", |_| {
            let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
            held = children.split_whitespace().find_map(|pid| pid.parse().ok()).map(Pid::from_raw);
            // Not before it is executed: until then it holds the agent's lock open.
            let executed =
                |pid: &Pid| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.ends_with(b"supervise\0"));
            held.filter(executed).is_some_and(|pid| kill(pid, Signal::SIGSTOP).is_ok())
        });
        agent.kill_dead();
        let held = held.unwrap();
        if run.state().join("runner.started").exists() {
            let _ = kill(held, Signal::SIGKILL);
            continue; // too late: it had begun with the start
        }
        fs::write(run.state().join("journal.jsonl"), "this is no journal\n").unwrap();
        run.start().end_leaving_processes().assert_outcome("journal-failed");
        kill(held, Signal::SIGCONT).unwrap();
        let gone = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while fs::read_to_string(format!("/proc/{held}/stat")).is_ok_and(|stat| !stat.contains(") Z ")) {
            assert!(std::time::Instant::now() < gone, "the supervisor process started something, or hangs");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(run.recording().starts().is_empty(), "a listener was started on a machine whose run had ended");
        return;
    }
    panic!("twenty times the supervisor process was quicker than this test");
}

/// A state directory on a file system of its own, with no room left on it.
#[test]
fn a_full_disk_refuses_the_start_and_nothing_else() {
    // The watch over the machine would be quicker, and the journal is not asked.
    let run = run("success").set("MAYFLY_HOST_MIN_DISK", "0B");
    fs::create_dir_all(run.state()).unwrap();
    let plain = run.command();
    let mut command = std::process::Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c"]);
    command.arg(
        "mount -t tmpfs -o size=64k full \"$1\" && { cat /dev/zero > \"$1/filler\" 2>/dev/null; shift; exec \"$@\"; }",
    );
    command.arg("sh").arg(run.state()).arg(plain.get_program()).args(plain.get_args());
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = command.output().unwrap();
    let record: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(record["outcome"], "journal-failed", "{record:#}\n{stderr}");
    assert_eq!(output.status.code(), Some(74), "{stderr}");
    assert!(run.recording().starts().is_empty(), "a listener was started that a restart could not know of");
    assert!(!run.root().join(".credentials").exists(), "the JIT configuration was left behind");
}

/// The files were there, the marker was not yet, and no second try follows.
#[test]
fn the_files_of_a_start_that_did_not_happen_are_cleared_away() {
    let first = run("success");
    first.run().assert_outcome("job-succeeded");
    let journal = first.journal();
    let starting = journal.iter().position(|line| line.contains("\"Starting\"")).unwrap();
    let killed = Run::named("success").jit("not a configuration");
    fs::create_dir_all(killed.state()).unwrap();
    fs::write(killed.state().join("journal.jsonl"), journal[..=starting].concat()).unwrap();
    fs::write(killed.root().join(".credentials"), "of a registration").unwrap();
    killed.run().assert_outcome("jit-config-invalid");
    assert!(!killed.root().join(".credentials").exists(), "a registration that was never used is left behind");
}

/// The kernel gives each user so many notifiers (inotify), and jobs use them too.
#[test]
fn a_job_is_watched_without_any_notice_of_changed_files() {
    let run = run("failed").set("MAYFLY_LOG", "warn");
    let plain = run.command();
    let mut command = std::process::Command::new("unshare");
    command.args(["--map-root-user", "sh", "-c", "echo 0 >/proc/sys/user/max_inotify_instances && exec \"$@\"", "sh"]);
    command.arg(plain.get_program()).args(plain.get_args());
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = command.output().unwrap();
    let record: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(record["outcome"], "job-failed", "the job's result was lost: {record:#}\n{stderr}");
    assert!(stderr.contains("no notice of changed files"), "notifiers were there: {stderr}");
}

#[test]
fn a_journal_that_is_no_file_ends_the_run_without_a_runner() {
    let run = run("success");
    fs::create_dir_all(run.state()).unwrap();
    std::os::unix::fs::symlink("/dev/full", run.state().join("journal.jsonl")).unwrap();
    run.run().assert_outcome("journal-failed");
    assert!(run.recording().starts().is_empty(), "a listener was started with a journal that proves nothing");
}

#[test]
fn a_used_state_directory_serves_one_process_at_a_time() {
    let run = run("success");
    let mut running = run.start();
    running.until_state("Idle");
    let second = run.start().end_leaving_processes();
    assert_eq!(second.code(), Some(75), "a second agent in the same state directory: {}", second.stderr);
    assert!(second.stderr.contains("another mayfly process"), "{}", second.stderr);
    running.end().assert_outcome("job-succeeded");
    one_listener(&run, "by two agents");
}

#[test]
fn a_finished_run_is_followed_by_a_new_one() {
    let mut run = run("success");
    run.run().assert_outcome("job-succeeded");
    run.jit = JitConfig::new(8).encode();
    run.run().assert_outcome("job-succeeded");
    assert_eq!(run.recording().starts().len(), 2, "the second JIT configuration was not used");
}

/// The reserved room holds when the file system has none left.
#[test]
fn the_journal_reserves_its_room_in_advance() {
    let run = run("success");
    run.run().assert_outcome("job-succeeded");
    let file = fs::File::open(run.state().join("journal.jsonl")).unwrap();
    let mut byte = [1];
    file.read_exact_at(&mut byte, 200 * 1024).unwrap();
    assert_eq!(byte, [0], "no room is reserved behind the journal's lines");
}
