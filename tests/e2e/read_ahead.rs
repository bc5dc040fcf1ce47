//! The files of a start of the runner are read before it needs them: only those, only so much, and whatever happens to it, the
//! run is not disturbed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test may fail there, and says what it could not see"
)]

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mayfly_e2e::run::{TIMEOUT, mayfly_binary};
use mayfly_e2e::{Run, schema};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use serde_json::Value;

const MIB: usize = 1024 * 1024;

/// What the agent says of it, whatever it did.
const SAID: [&str; 2] = ["read ahead of the runner's start: ", "nothing is read ahead of the runner's start: "];

/// An agent on a machine that is no instance, which waits for its JIT configuration.
struct Agent {
    run: Run,
    child: Child,
}

impl Agent {
    /// Starts it with a list of these lines.
    fn with(run: Run, lines: &str) -> Self {
        fs::write(list(&run), lines).unwrap();
        Self::start(run)
    }

    fn start(run: Run) -> Self {
        let config = run.directory().join("agent.toml");
        let (state, root) = (run.state(), run.root().to_owned());
        let text = format!(
            "platform = \"local\"\nstate_directory = {state:?}\n[jit]\nfile = {:?}\nwait = \"1m\"\n[runner]\nuser = \"\"\n\
             supervisor = \"process\"\ndirectory = {root:?}\nread_ahead_list = {:?}\n",
            jit_file(&run),
            list(&run)
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new(mayfly_binary());
        command.arg("agent").arg("--config").arg(config).stdin(Stdio::null());
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", "/tmp");
        command.envs(run.environment.iter().filter(|(name, _)| name != "MAYFLY_JIT_WAIT").cloned());
        let log = File::create(log_of(&run)).unwrap();
        command.stdout(Stdio::null()).stderr(log);
        let child = command.spawn().unwrap();
        Self { run, child }
    }

    fn log(&self) -> String {
        fs::read_to_string(log_of(&self.run)).unwrap_or_default()
    }

    fn until(&mut self, what: &str, mut is_true: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + TIMEOUT;
        while !is_true(self) {
            assert!(Instant::now() < deadline, "not within {TIMEOUT:?}: {what}; the agent said: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The line in which it tells what became of it.
    fn said(&mut self) -> String {
        self.until("it says what it read", |agent| SAID.iter().any(|words| agent.log().contains(words)));
        let log = self.log();
        log.lines().find(|line| SAID.iter().any(|words| line.contains(words))).unwrap_or_default().to_owned()
    }

    /// Its job comes, and it goes on to its end.
    fn ends(&mut self) {
        fs::write(jit_file(&self.run), &self.run.jit).unwrap();
        self.until("the run is over", |agent| agent.child.try_wait().unwrap().is_some());
        let record: Value = serde_json::from_slice(&fs::read(self.run.state().join("record.json")).unwrap()).unwrap();
        schema::validate(&record);
        assert_eq!(record["outcome"], "job-succeeded", "reading ahead costs a job: {}", self.log());
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn list(run: &Run) -> PathBuf {
    run.directory().join("read-ahead.list")
}

fn jit_file(run: &Run) -> PathBuf {
    run.directory().join("jit")
}

fn log_of(run: &Run) -> PathBuf {
    run.directory().join("agent.log")
}

/// A file of this size that is on the disk and not in memory.
fn cold(path: &Path, size: usize) {
    let mut file = File::create(path).unwrap();
    file.write_all(&vec![7; size]).unwrap();
    file.sync_all().unwrap();
    posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
}

/// How many bytes of it are in memory.
fn in_memory(path: &Path) -> usize {
    let output =
        Command::new("fincore").args(["--bytes", "--noheadings", "--output", "RES"]).arg(path).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().parse().unwrap()
}

/// Whether a file system gives memory back when it is told to, else nothing can be seen: one in memory does not.
fn can_be_seen(path: &Path) -> bool {
    let seen = in_memory(path) == 0;
    if !seen {
        eprintln!(
            "{} is on a file system that keeps everything in memory: only what is said is looked at",
            path.display()
        );
    }
    seen
}

#[test]
fn what_the_list_names_is_in_memory_before_the_runner_needs_it() {
    let run = Run::named("success");
    let [named, absolute, other] = ["named", "absolute", "other"].map(|name| run.root().join(name));
    for path in [&named, &absolute, &other] {
        cold(path, 3 * MIB);
    }
    let seen = can_be_seen(&named);
    let mut agent = Agent::with(run, &format!("named\n\n{}\n", absolute.display()));
    let said = agent.said();
    assert!(said.contains(&format!("2 files, {} bytes", 6 * MIB)) && said.contains("0 left out"), "{said}");
    if seen {
        // Asked for, and read by the kernel a moment later.
        let all = |path: &Path| in_memory(path) == 3 * MIB;
        agent.until("both files are in memory as a whole", |_| all(&named) && all(&absolute));
        assert_eq!(in_memory(&other), 0, "a file that the list does not name takes memory");
    }
    agent.ends();
}

#[test]
fn a_list_that_leads_out_of_the_runners_directory_reads_nothing_there() {
    let run = Run::named("success");
    let outside = run.directory().join("outside");
    cold(&outside, MIB);
    let seen = can_be_seen(&outside);
    let root = run.root().to_owned();
    cold(&root.join("inside"), MIB);
    symlink(&outside, root.join("link")).unwrap();
    symlink("..", root.join("up")).unwrap();
    nix::unistd::mkfifo(&root.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let hostile = format!(
        "../outside\n{}\nlink\nup/outside\n/proc/self/environ\n/\n.\nbin\npipe\nnot-there\n",
        outside.display()
    );
    let mut agent = Agent::with(run, &format!("{hostile}inside\n"));
    let said = agent.said();
    let expected = format!("1 files, {MIB} bytes");
    assert!(said.contains(&expected) && said.contains("10 left out"), "root reads what the list leads it to: {said}");
    agent.ends();
    if seen {
        assert_eq!(in_memory(&outside), 0, "a file outside the runner's directory was read");
    }
}

#[test]
fn a_list_that_somebody_else_could_write_is_not_read() {
    let run = Run::named("success");
    cold(&run.root().join("named"), MIB);
    fs::write(list(&run), "named\n").unwrap();
    fs::set_permissions(list(&run), Permissions::from_mode(0o666)).unwrap();
    let mut agent = Agent::start(run);
    let said = agent.said();
    assert!(said.contains("nobody else may write it"), "a job could choose what root's agent reads: {said}");
    agent.ends();
}

#[test]
fn a_link_in_the_lists_place_is_not_followed() {
    let run = Run::named("success");
    let elsewhere = run.directory().join("elsewhere");
    fs::write(&elsewhere, "named\n").unwrap();
    symlink(&elsewhere, list(&run)).unwrap();
    let mut agent = Agent::start(run);
    let said = agent.said();
    assert!(said.contains("nothing is read ahead"), "a list from elsewhere is read: {said}");
    agent.ends();
}

#[test]
fn no_more_is_read_than_the_bound_allows() {
    let run = Run::named("success").set("MAYFLY_RUNNER_READ_AHEAD", "2MiB");
    let names: Vec<String> = (0..5).map(|number| format!("part{number}")).collect();
    for name in &names {
        cold(&run.root().join(name), MIB);
    }
    let mut agent = Agent::with(run, &names.join("\n"));
    let said = agent.said();
    let expected = format!("2 files, {} bytes", 2 * MIB);
    assert!(said.contains(&expected) && said.contains("3 left out"), "a list fills the memory of the machine: {said}");
    agent.ends();
}

#[test]
fn a_list_of_more_lines_than_any_runner_has_files_is_bounded() {
    let run = Run::named("success");
    cold(&run.root().join("named"), 4096);
    let mut agent = Agent::with(run, &"named\n".repeat(5000));
    let said = agent.said();
    assert!(said.contains("4096 files") && said.contains("904 left out"), "a list without end is worked off: {said}");
    agent.ends();
}

#[test]
fn a_list_without_end_is_no_list() {
    let run = Run::named("success");
    let mut agent = Agent::with(run, &"x".repeat(MIB + 1));
    let said = agent.said();
    assert!(said.contains("it is longer than"), "a list without end is read: {said}");
    agent.ends();
}

#[test]
fn without_a_list_or_with_a_bound_of_nothing_there_is_nothing_to_do_or_say() {
    let off = Run::named("success").set("MAYFLY_RUNNER_READ_AHEAD", "0");
    cold(&off.root().join("named"), MIB);
    fs::write(list(&off), "named\n").unwrap();
    for run in [Run::named("success"), off] {
        let mut agent = Agent::start(run);
        agent.ends();
        let log = agent.log();
        assert!(!SAID.iter().any(|words| log.contains(words)), "what is off is spoken of: {log}");
    }
}
