//! What people look at: `mayfly timeline` and `mayfly status`, of a run that goes on, one that is over, and one of a machine
//! that is gone.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail there")]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use mayfly_e2e::{Cloud, Run, mayfly_binary};
use mayfly_fake_aws::Limit;
use mayfly_fake_aws::proxy::{AwsError, Fault, Match};
use serde_json::Value;

fn mayfly(words: &[&str]) -> Command {
    let mut command = Command::new(mayfly_binary());
    command.args(words).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn timeline_of(state: &Path, words: &[&str]) -> Output {
    mayfly(&["timeline", "--state-directory"]).arg(state).args(words).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_timeline_of_a_run_shows_where_its_time_went_while_it_goes_on_and_when_it_is_over() {
    let run = Run::named("demo");
    let mut running = run.start();
    running.until_state("Busy");
    let going_on = text(&timeline_of(&run.state(), &[]).stdout);
    assert!(going_on.contains("running") && going_on.contains("session"), "nobody sees what a run does: {going_on}");
    running.end().assert_outcome("job-succeeded");
    let over = timeline_of(&run.state(), &[]);
    let shown = text(&over.stdout);
    for word in ["job-succeeded", "start-up", "first step", "Busy", "CPU", "not known", "█"] {
        assert!(shown.contains(word), "{word} is missing: {shown}{}", text(&over.stderr));
    }
    assert!(!shown.contains('\u{1b}'), "colours in a file: {shown:?}");
    assert!(shown.lines().all(|line| !line.contains('█') || line.chars().count() <= 80), "a bar is too long: {shown}");
    let json: Value = serde_json::from_slice(&timeline_of(&run.state(), &["--json"]).stdout).unwrap();
    assert!(json["run"]["rows"].as_array().is_some_and(|rows| rows.len() > 4), "{json:#}");
}

#[test]
fn a_machine_long_gone_is_looked_at_by_what_the_cloud_kept_of_its_console() {
    let ended = Run::named("success").run();
    let console = format!("[ 1.0] kernel\r\nmayfly-record: {}\r\nreboot: Power down\r\n", ended.record);
    let mut child = mayfly(&["timeline", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(console.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(text(&output.stdout).contains("job-succeeded"), "{}", text(&output.stderr));
    for (words, code) in [(["timeline", "/nowhere/record.json"], 66), (["timeline", "/proc/self/status"], 65)] {
        let output = mayfly(&words).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{words:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(words[1]), "nobody knows what was wrong: {}", text(&output.stderr));
    }
}

#[test]
fn the_page_of_a_run_is_one_file_in_which_a_name_is_a_name_and_nothing_is_loaded_or_run() {
    let run = Run::named("success");
    let mut record = run.run().record;
    let hostile = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u{202e}";
    record["job_name"] = hostile.into();
    record["detail"] = hostile.into();
    record["instance"] = hostile.into();
    record["phases"][0]["phase"] = hostile.into();
    record["startup"][0]["unknown_why"] = hostile.into();
    record["logs"] = serde_json::json!([{ "stream": hostile, "read": 1, "confirmed": 0, "lost": 1 }]);
    let (file, page) = (run.directory().join("hostile.json"), run.directory().join("page.html"));
    fs::write(&file, record.to_string()).unwrap();
    let output = mayfly(&["timeline"]).arg(&file).arg("--html").arg(&page).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "the name is not shown");
    for bad in ["<script", "<img", "src=", "href=", "url(", "@import", "http://", "https://", "\u{202e}"] {
        assert!(
            !page.replace("src=x", "").contains(bad),
            "{bad} is in the page: whoever opens it runs or loads what a job wanted"
        );
    }
    for word in ["<svg", "prefers-color-scheme: dark", "@media print", "width=device-width", "first step"] {
        assert!(page.contains(word), "{word} is missing");
    }
}

#[test]
fn the_jobs_log_tells_where_the_time_went_and_what_the_machine_did() {
    let run = Run::named("demo");
    let mut running = run.start();
    running.until_state("Busy");
    // As the runner calls it in "Complete runner".
    let script = fs::read_to_string(find(run.directory(), "job-completed.sh").unwrap()).unwrap();
    assert!(script.contains("hook job-completed"), "{script}");
    let socket = find(run.directory(), "hook.sock").unwrap();
    let output = mayfly(&["hook", "job-completed"]).env("MAYFLY_HOOK_SOCKET", socket).output().unwrap();
    let log = text(&output.stdout);
    assert!(log.contains("mayfly: start-up ") && log.contains("session "), "the job's log says nothing: {log}");
    assert!(log.contains("memory at most"), "{log}");
    let _ = running.end();
}

/// What the job-completed hook leaves in a file of this kind, and how it ended; `make` makes the file.
fn summary(run: &Run, make: impl Fn(&Path)) -> (String, bool) {
    let mut running = run.start();
    running.until_state("Busy");
    let socket = find(run.directory(), "hook.sock").unwrap();
    let page = run.directory().join("page.md");
    make(&page);
    let mut hook = mayfly(&["hook", "job-completed"]);
    let output = hook.env("MAYFLY_HOOK_SOCKET", socket).env("GITHUB_STEP_SUMMARY", &page).output().unwrap();
    assert!(text(&output.stdout).contains("mayfly: start-up "), "the job's log says nothing");
    let _ = running.end();
    (fs::read_to_string(&page).unwrap_or_default(), output.status.success())
}

#[test]
fn the_jobs_summary_page_has_the_figures_only_if_that_is_switched_on() {
    let own = "# The job's own page\n\n";
    let make = |page: &Path| fs::write(page, own).unwrap();
    assert_eq!(summary(&Run::named("demo"), make), (own.to_owned(), true), "a page that nobody asked for");
    let (page, succeeded) = summary(&Run::named("demo").set("MAYFLY_JOB_SUMMARY", "true"), make);
    let added = page.strip_prefix(own).unwrap_or_else(|| panic!("the job's own page is gone: {page}"));
    for part in ["### The machine of this job", "| session | ", "| memory | "] {
        assert!(added.contains(part), "{part:?} is not on the page: {page}");
    }
    assert!(succeeded && added.len() < 8 * 1024 + 1, "{} bytes", added.len());
}

#[test]
fn a_summary_page_that_cannot_be_written_costs_no_job() {
    for make in [
        (|_: &Path| ()) as fn(&Path),
        |page| fs::create_dir(page).unwrap(),
        |page| std::os::unix::fs::symlink("elsewhere", page).unwrap(),
        |page| nix::unistd::mkfifo(page, nix::sys::stat::Mode::S_IRWXU).unwrap(),
    ] {
        let run = Run::named("demo").set("MAYFLY_JOB_SUMMARY", "true");
        let mut running = run.start();
        running.until_state("Busy");
        let (socket, page) = (find(run.directory(), "hook.sock").unwrap(), run.directory().join("page.md"));
        make(&page);
        let mut hook = mayfly(&["hook", "job-completed"]);
        let output = hook.env("MAYFLY_HOOK_SOCKET", socket).env("GITHUB_STEP_SUMMARY", &page).output().unwrap();
        assert!(output.status.success(), "a page fails a job: {}", text(&output.stderr));
        assert!(!run.directory().join("elsewhere").exists(), "a link is followed");
        let _ = running.end();
    }
}

fn find(directory: &Path, name: &str) -> Option<std::path::PathBuf> {
    fs::read_dir(directory).unwrap().flatten().find_map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => find(&entry.path(), name),
        _ => (entry.file_name() == name).then(|| entry.path()),
    })
}

#[test]
fn who_watches_the_status_sees_each_state_and_is_let_go_when_the_run_is_over() {
    let run = Run::named("demo");
    let mut running = run.start();
    running.until_state("Idle");
    let watching = mayfly(&["status", "--watch", "--state-directory"]).arg(run.state()).spawn().unwrap();
    // Among the processes that are left at its end is the watcher.
    running.end_leaving_processes().assert_outcome("job-succeeded");
    let watched = watching.wait_with_output().unwrap();
    let seen = text(&watched.stdout);
    assert!(watched.status.success(), "{seen}{}", text(&watched.stderr));
    assert!(seen.contains("running build") && !seen.contains('\u{1b}'), "{seen:?}");
    assert!(text(&watched.stderr).contains("the run is over"), "{}", text(&watched.stderr));
}

/// `mayfly timeline --from-logs` as a person runs it, elsewhere.
fn from_logs(cloud: &Cloud, instance: &str, group: &str) -> (Option<i32>, String, String) {
    let mut command = mayfly(&["timeline", "--json", "--from-logs", instance, "--group", group]);
    command.env("AWS_ENDPOINT_URL", cloud.aws.url()).env("AWS_REGION", cloud.moto.region());
    command.env("AWS_ACCESS_KEY_ID", "AKIDTEST").env("AWS_SECRET_ACCESS_KEY", "secret");
    let output = command.output().unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_machine_that_is_gone_is_drawn_from_its_log_group_and_what_is_not_there_is_told() {
    let cloud = Cloud::standalone("success").launched();
    let cloud = cloud.live(|run| run.set("MAYFLY_CLASS", "linux-x64").set("MAYFLY_LOGS_SINK", "cloudwatch"));
    cloud.run().assert_outcome("job-succeeded");
    let (code, out, err) = from_logs(&cloud, &cloud.instance, "/mayfly/linux-x64");
    assert_eq!(code, Some(0), "{err}");
    let drawn: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(drawn["outcome"], "job-succeeded", "another run is drawn: {drawn:#}");
    assert!(cloud.calls("GetLogEvents") <= 4, "a stream without end is read");

    let (code, _, err) = from_logs(&cloud, "i-00000000000000000", "/mayfly/linux-x64");
    assert!(code == Some(66) && err.contains("i-00000000000000000/agent"), "{code:?} {err}");
    let (code, _, err) = from_logs(&cloud, &cloud.instance, "/mayfly/other");
    assert!(code == Some(66) && err.contains("--group"), "nobody is told which group was asked: {code:?} {err}");
    let (code, _, err) = from_logs(&cloud, "my-laptop", "/mayfly/linux-x64");
    assert_eq!(code, Some(64), "{err}");
    cloud.aws.fault(Match::action("GetLogEvents"), Limit::default(), Fault::Error(AwsError::AccessDenied));
    let (code, _, err) = from_logs(&cloud, &cloud.instance, "/mayfly/linux-x64");
    assert!(
        code == Some(66) && err.contains("needs logs:GetLogEvents"),
        "nobody is told what to allow: {code:?} {err}"
    );
}
