//! The steps of a job that is stopped: real shells that wait for real children, under a runner that signals its own
//! children only, with GitHub's times.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]
#![allow(clippy::print_stderr, reason = "what was not shown is told")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use mayfly_e2e::{Cloud, Ended, Run, Running};
use mayfly_fake_runner::Scenario;
use mayfly_fake_runner::recording::Who;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use serde_json::Value;

/// What a step's shell waits for. It says itself that it is there: what a shell starts only after the stop began is never
/// interrupted, and on a loaded machine a shell that said so before it would start it too late.
const WAIT: &str = "sh -c 'touch {}/ready; exec sleep 300'";

/// A place for what the steps of a test write; its path is in their scripts as `{}`.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("mayfly-steps-").tempdir().unwrap();
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o777)).unwrap();
        Self(directory)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// A job with these steps, under a runner that takes GitHub's times.
    fn scenario(&self, steps: &[&str]) -> Scenario {
        let directory = self.0.path().to_str().unwrap();
        let steps = steps.iter().map(|step| step.replace("{}", directory)).collect();
        Scenario { steps, time_scale: 1.0, ..Scenario::default() }
    }

    fn run(&self, steps: &[&str]) -> Run {
        Run::with(&self.scenario(steps)).limits(&[("draining", "30s")])
    }

    /// A program that writes a line for each SIGINT, needs some seconds after the first, and then is done.
    fn saver(&self, seconds: u32) -> &str {
        let program = format!(
            "my $n = 0; sub note {{ open(my $f, '>>', $_[0]); print $f \"$_[1]\\n\"; close $f }}
             $SIG{{INT}} = sub {{ $n++; note('{0}/signals', 'SIGINT') }};
             note('{0}/pid', $$);
             select(undef, undef, undef, 0.05) until $n;
             my $end = time + {seconds}; select(undef, undef, undef, 0.05) while time < $end;
             note('{0}/saved', 'all of it');",
            self.0.path().display()
        );
        std::fs::write(self.path("saver"), program).unwrap();
        std::fs::set_permissions(self.path("saver"), PermissionsExt::from_mode(0o755)).unwrap();
        "perl {}/saver"
    }

    fn saved_after_one_sigint(&self) {
        assert_eq!(self.read("signals"), "SIGINT\n", "a second SIGINT means: give up at once; none: lose ten seconds");
        assert_eq!(self.read("saved"), "all of it\n", "the step was not left the time to save its state");
    }
}

fn until(running: &mut Running<'_>, file: &Path) {
    running.until(&format!("{} is there", file.display()), |_| file.exists());
}

/// Stops a run whose step has made this file, and sees it to its end.
fn stopped(run: &Run, ready: &Path) -> Ended {
    let mut running = run.start();
    until(&mut running, ready);
    running.signal(Signal::SIGTERM);
    let ended = running.end();
    ended.assert_outcome("external-shutdown");
    ended
}

fn github_was_told(run: &Run, ended: &Ended) {
    let told = run.recording().exits(Who::Worker);
    assert!(told == [103] || told == [102], "the worker did not report the stopped job: {told:?}\n{}", ended.stderr);
}

/// The shell had its first signal from the runner, and needed no other.
fn no_time_was_lost(run: &Run, ended: &Ended) {
    github_was_told(run, ended);
    let recording = run.recording();
    let signals = recording.step_signals();
    assert!(!signals.contains(&"SIGTERM"), "the shell waited for its child for 7.5 s: {signals:?}\n{}", ended.stderr);
}

fn moment(ended: &Ended, name: &str) -> u64 {
    let stopping = &ended.record["stopping"];
    stopping[name].as_u64().unwrap_or_else(|| panic!("the record does not tell {name}: {stopping:#}"))
}

#[test]
fn a_shell_that_waits_for_its_child_costs_a_stop_no_time() {
    let place = Place::new();
    let run = place.run(&[&format!("{WAIT}; touch {{}}/went-on")]);
    let ended = stopped(&run, &place.path("ready"));
    no_time_was_lost(&run, &ended);
    assert!(!place.path("went-on").exists(), "the script went on after its stop");
    assert_eq!(ended.record["stopping"]["steps_interrupted"], 1, "{:#}", ended.record);
    let (signal, last_step) = (moment(&ended, "signal"), moment(&ended, "last_step_gone"));
    let listener = moment(&ended, "listener_gone");
    assert!(signal < last_step && last_step <= listener, "{:#}", ended.record);
    assert_eq!(ended.record["stopping"]["steps_killed"], Value::Null, "{:#}", ended.record);
}

/// The watch looks now and then: an agent that gets no processor meanwhile must not lose what went between two looks, nor
/// date it after the runner's end.
#[test]
fn the_record_tells_when_the_last_step_was_gone_though_the_agent_came_to_look_only_after_the_runner() {
    let place = Place::new();
    let run = place.run(&[place.saver(1)]);
    let mut running = run.start();
    until(&mut running, &place.path("pid"));
    running.signal(Signal::SIGTERM);
    until(&mut running, &place.path("signals"));
    running.signal(Signal::SIGSTOP);
    running.until("the listener's end", |run| !run.recording().exits(Who::Listener).is_empty());
    running.signal(Signal::SIGCONT);
    let ended = running.end();
    ended.assert_outcome("external-shutdown");
    let (signal, last_step) = (moment(&ended, "signal"), moment(&ended, "last_step_gone"));
    assert!(signal < last_step && last_step <= moment(&ended, "listener_gone"), "{:#}", ended.record);
}

#[test]
fn a_step_that_saves_its_state_gets_one_sigint_and_its_time() {
    let place = Place::new();
    let run = place.run(&[place.saver(4)]);
    let ended = stopped(&run, &place.path("pid"));
    place.saved_after_one_sigint();
    no_time_was_lost(&run, &ended);
}

/// What a step starts to clean up was never meant.
#[test]
fn a_program_that_a_trap_starts_is_not_interrupted() {
    let place = Place::new();
    let step = format!("trap 'sleep 3; touch {{}}/cleaned; exit 1' INT; {WAIT}");
    let run = place.run(&[&step]);
    let ended = stopped(&run, &place.path("ready"));
    no_time_was_lost(&run, &ended);
    assert!(place.path("cleaned").exists(), "the step's own clean-up was interrupted");
}

/// The listener of a busy machine: its signal waits for it for three seconds.
#[test]
fn a_step_of_a_listener_that_is_slow_to_hear_is_not_taken_for_one_that_failed() {
    let place = Place::new();
    let step = format!("trap 'touch {{}}/told; exit 1' INT; {WAIT}; touch {{}}/went-on");
    let run = place.run(&[&step]);
    let mut running = run.start();
    until(&mut running, &place.path("ready"));
    let listener = std::fs::read(run.state().join("runner.pid")).unwrap();
    let listener: Value = serde_json::from_slice(&listener).unwrap();
    let listener = Pid::from_raw(i32::try_from(listener["pid"].as_i64().unwrap()).unwrap());
    kill(listener, Signal::SIGSTOP).unwrap();
    let status = || std::fs::read_to_string(format!("/proc/{listener}/status")).unwrap();
    // Of two signals that wait, the lower number is taken first.
    running.until("the listener stands still", |_| status().contains("State:\tT"));
    running.signal(Signal::SIGTERM);
    running.until("the listener's signal", |_| {
        let status = status();
        let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:\t")).unwrap();
        u64::from_str_radix(pending, 16).unwrap() & (1 << (Signal::SIGINT as u64 - 1)) != 0
    });
    std::thread::sleep(Duration::from_secs(3));
    kill(listener, Signal::SIGCONT).unwrap();
    let ended = running.end();
    ended.assert_outcome("external-shutdown");
    no_time_was_lost(&run, &ended);
    assert!(!place.path("went-on").exists(), "the script went on after its stop");
    assert!(place.path("told").exists(), "its program was ended before its shell was told to stop");
}

#[test]
fn an_agent_that_comes_back_sends_no_second_sigint() {
    let place = Place::new();
    let run = place.run(&[place.saver(4)]);
    let mut running = run.start();
    until(&mut running, &place.path("pid"));
    running.signal(Signal::SIGTERM);
    until(&mut running, &place.path("signals"));
    running.kill_dead();
    let ended = run.run();
    ended.assert_outcome("external-shutdown");
    place.saved_after_one_sigint();
    github_was_told(&run, &ended);
    assert!(moment(&ended, "last_step_gone") <= moment(&ended, "listener_gone"), "{:#}", ended.record);
}

#[test]
fn steps_that_ignore_everything_are_killed_in_time_for_the_report() {
    let place = Place::new();
    // The runner alone kills the shell after 10 s, and waits 5 s more for what holds its output.
    let run = place.run(&["trap '' INT TERM; touch {}/ready; (while :; do sleep 0.2; done)"]);
    let run = run.limits(&[("draining", "16s")]);
    let ended = stopped(&run, &place.path("ready"));
    github_was_told(&run, &ended);
    let killed = moment(&ended, "steps_killed");
    assert!(killed >= moment(&ended, "signal") + 8_900, "the steps lost time: {:#}", ended.record);
    assert!(killed <= moment(&ended, "last_step_gone"), "{:#}", ended.record);
    assert_eq!(ended.record["stopping"]["killed"], Value::Null, "the worker was killed: {:#}", ended.record);
}

#[test]
fn a_daemon_that_is_nobodys_child_gets_no_sigint() {
    let place = Place::new();
    let program = place.saver(0);
    let daemon =
        format!("(setsid {program} </dev/null >/dev/null 2>&1 &) ; until test -e {{}}/pid; do sleep 0.05; done");
    let run = place.run(&[&daemon, WAIT]);
    let ended = stopped(&run, &place.path("ready"));
    no_time_was_lost(&run, &ended);
    assert_eq!(place.read("signals"), "", "a daemon of an earlier step was interrupted");
}

/// As `docker run` in the foreground of a container that ignores its signals: the client waits for it.
#[test]
fn a_container_in_the_foreground_that_ignores_its_signals_does_not_cost_the_report() {
    let place = Place::new();
    let container = "trap 'echo container >> {}/signals' INT TERM; while :; do sleep 0.1; done";
    let client = "trap 'echo client >> {}/signals' INT; trap '' TERM; touch {}/ready; while :; do sleep 0.1; done";
    let write = |name: &str, text: &str| {
        std::fs::write(place.path(name), text.replace("{}", place.0.path().to_str().unwrap())).unwrap();
    };
    write("container", container);
    write("client", client);
    let run = place.run(&["(setsid bash {}/container </dev/null >/dev/null 2>&1 &) ; bash {}/client"]);
    let run = run.limits(&[("draining", "16s")]);
    let ended = stopped(&run, &place.path("ready"));
    github_was_told(&run, &ended);
    assert_eq!(place.read("signals"), "client\n", "the client passes its one SIGINT on by itself");
    assert_eq!(ended.record["stopping"]["killed"], Value::Null, "the worker was killed: {:#}", ended.record);
}

/// `sudo` for tests: the kernel takes what it starts for root's, whoever runs it.
fn become_root(place: &Place) -> String {
    let path = place.path("become-root");
    std::fs::copy("/usr/bin/setpriv", &path).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o4755)).unwrap();
    format!("{} --reuid 0 --regid 0 --clear-groups", path.display())
}

const NOBODY: u32 = 65_534;

fn belongs_to_nobody(run: &Run) {
    for path in [run.directory(), run.root()] {
        let owned = std::process::Command::new("chown").arg("-R").arg(NOBODY.to_string()).arg(path).status();
        assert!(owned.unwrap().success());
    }
}

/// The runner may not signal it at all; the agent is root.
#[test]
fn a_step_under_sudo_is_interrupted_like_any_other() {
    if !geteuid().is_root() {
        eprintln!("NOT SHOWN: only root can make a program that becomes root");
        return;
    }
    let place = Place::new();
    let step = format!("{} {}", become_root(&place), place.saver(3));
    let run = place.run(&[&step]).arguments(&["--user", "nobody"]);
    belongs_to_nobody(&run);
    let ended = stopped(&run, &place.path("pid"));
    place.saved_after_one_sigint();
    no_time_was_lost(&run, &ended);
    assert_eq!(ended.record["stopping"]["steps_refused"], 0, "{:#}", ended.record);
}

#[test]
fn an_agent_that_may_not_signal_a_step_says_so_and_leaves_it_to_the_runner() {
    if !geteuid().is_root() {
        eprintln!("NOT SHOWN: only root can make a program that becomes root");
        return;
    }
    let place = Place::new();
    let step = format!("{} {}", become_root(&place), place.saver(0));
    let mut run = place.run(&[&step]).set("MAYFLY_LOG", "warn");
    belongs_to_nobody(&run);
    run.uid = Some(NOBODY);
    let mut running = run.start();
    until(&mut running, &place.path("pid"));
    running.signal(Signal::SIGTERM);
    let ended = running.end_leaving_processes();
    let pid: i32 = place.read("pid").trim().parse().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    ended.assert_outcome("external-shutdown");
    github_was_told(&run, &ended);
    assert_eq!(place.read("signals"), "", "the test proves nothing: the step could be signalled");
    assert!(ended.record["stopping"]["steps_refused"].as_u64() >= Some(1), "{:#}", ended.record);
    assert!(ended.stderr.contains("only root may interrupt them"), "{}", ended.stderr);
}

#[test]
fn a_step_of_a_thousand_processes_is_interrupted_whole() {
    let place = Place::new();
    let run = place.run(&["touch {}/ready; yes 300 | head -n 1000 | xargs -n 1 -P 1000 sleep"]);
    let mut running = run.start();
    until(&mut running, &place.path("ready"));
    running.until("a thousand processes", |run| {
        let sleeps =
            |process: &mayfly_e2e::processes::Process| process.arguments.first().is_some_and(|name| name == "sleep");
        mayfly_e2e::processes::of_run(run).iter().filter(|process| sleeps(process)).count() >= 1000
    });
    running.signal(Signal::SIGTERM);
    let ended = running.end();
    ended.assert_outcome("external-shutdown");
    no_time_was_lost(&run, &ended);
    let interrupted = ended.record["stopping"]["steps_interrupted"].as_u64().unwrap();
    assert!((1000..1010).contains(&interrupted), "{interrupted} of a thousand were interrupted");
}

/// It gets away from its parents before the kill, and holds the step's output, for which the runner waits 5 s.
#[test]
fn a_step_that_forks_away_at_its_sigint_does_not_cost_the_report() {
    let place = Place::new();
    let program = "my $away = sub { fork and exit 0; fork and exit 0; $SIG{INT} = $SIG{TERM} = 'IGNORE';
                   open(my $f, '>', '{}/away'); close $f; sleep 300 }; $SIG{INT} = $away;
                   open(my $r, '>', '{}/ready'); close $r; sleep 300";
    let program = program.replace("{}", place.0.path().to_str().unwrap());
    std::fs::write(place.path("program"), program).unwrap();
    let run = place.run(&["perl {}/program; true"]);
    let ended = stopped(&run, &place.path("ready"));
    github_was_told(&run, &ended);
    assert!(place.path("away").exists(), "the test proves nothing: nothing forked away");
}

#[test]
fn a_step_that_forks_without_end_while_it_is_stopped_is_killed_and_told() {
    let place = Place::new();
    // At most some hundreds at once. The runner alone kills the shell after 10 s, and waits for the last of them.
    let step = "trap '' INT TERM; touch {}/ready; while :; do (sleep 1.5 & sleep 1.5 &); sleep 0.02; done";
    let run = place.run(&[step]).limits(&[("draining", "13s")]);
    let ended = stopped(&run, &place.path("ready"));
    github_was_told(&run, &ended);
    assert!(ended.took < Duration::from_secs(50), "the stop took {:?}", ended.took);
}

#[test]
fn a_job_past_its_limit_is_stopped_without_waiting_for_its_shells() {
    let place = Place::new();
    let run = place.run(&[place.saver(1)]).limits(&[("job", "2s")]);
    let ended = run.run();
    ended.assert_outcome("job-timeout");
    place.saved_after_one_sigint();
    no_time_was_lost(&run, &ended);
}

/// Told 25 s before by default; here the notice leaves less, and the shell costs nothing of it.
#[test]
fn a_job_that_ec2_takes_is_reported_and_the_record_says_how_its_last_seconds_were_spent() {
    let place = Place::new();
    let cloud = Cloud::with(&place.scenario(&[WAIT]), None).launched();
    let mut agent = cloud.start();
    agent.until("the step", |_| place.path("ready").exists());
    cloud.imds.spot_action("terminate", SystemTime::now() + Duration::from_secs(24));
    let gone = agent.end();
    gone.assert_outcome("spot-interruption");
    assert!(
        !cloud.run.recording().step_signals().contains(&"SIGTERM"),
        "the shell waited for its child:\n{}",
        gone.log
    );
    let stopping = &gone.record["stopping"];
    let moments = ["signal", "last_step_gone", "listener_gone", "terminate"].map(|name| stopping[name].as_u64());
    assert!(moments.is_sorted() && moments[0].is_some(), "{stopping:#}");
}
