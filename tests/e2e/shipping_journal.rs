//! The journal as a source: a `journalctl` of this test's gives what the real one would, from the cursor on that it is told.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;

use mayfly_e2e::{Bus, Cloud};
use mayfly_fake_aws::Limit;
use mayfly_fake_aws::proxy::{AwsError, Fault, Match};
use serde_json::json;

use crate::shipping::{assert_accounted, before_the_end, counts, gated, go};
use crate::silent_bus::{left_at, until_exit};

/// Each line of a journal's file is an entry; its number is in the cursor. `vacuumed-NAME` says how many of them are gone. `\0` in one makes it binary, `Suppressed` what
/// journald says of itself.
const JOURNALCTL: &str = r#"
import os, struct, sys, time
args = sys.argv[1:]
parent = os.getppid()
here = os.path.dirname(sys.argv[0])
name = "agent" if "SYSLOG_IDENTIFIER=mayfly" in args else "system"
cursor = next((one.split("=", 1)[1] for one in args if one.startswith("--after-cursor=")), "i=0")
after = int(cursor.split("i=")[1].split(";")[0], 16)
try:
    after = max(after, int(open(os.path.join(here, "vacuumed-" + name)).read()))
except FileNotFoundError:
    pass
with open(os.path.join(here, "called"), "a") as called:
    called.write(name + " " + " ".join(args[:6]) + "\n")
out, number = sys.stdout.buffer, 0
with open(os.path.join(here, name), "rb") as journal:
    while True:
        line = journal.readline()
        if not line.endswith(b"\n"):
            if "--follow" not in args or os.getppid() != parent:
                break
            journal.seek(-len(line), 1)
            out.flush()
            time.sleep(0.02)
            continue
        number += 1
        if number <= after:
            continue
        text = line[:-1]
        out.write(b"__CURSOR=s=%s;i=%x;b=0\n__REALTIME_TIMESTAMP=%d\n" % (name.encode(), number, time.time() * 1e6))
        if text.startswith(b"Suppressed"):
            out.write(b"_TRANSPORT=driver\nN_DROPPED=%s\n" % text.split()[1])
        if b"\0" in text:
            out.write(b"MESSAGE\n" + struct.pack("<Q", len(text)) + text + b"\n\n")
        else:
            out.write(b"MESSAGE=" + text + b"\n\n")
out.flush()
"#;

/// A run whose agent was killed in the middle of a job; the next believes that systemd keeps the runner, and reads the journal.
fn with_journal() -> (Cloud, Bus) {
    let (cloud, bus) = left_at(&gated(), "run_id");
    let tools = cloud.run.directory().join("tools");
    let python = std::env::var("MAYFLY_MOTO_VENV").unwrap();
    fs::write(tools.join("journalctl"), format!("#!{python}/bin/python -I\n{JOURNALCTL}")).unwrap();
    fs::set_permissions(tools.join("journalctl"), Permissions::from_mode(0o755)).unwrap();
    for name in ["agent", "system"] {
        fs::write(tools.join(name), "").unwrap();
    }
    (cloud.live(|run| run.limits(&[("job", "50s")])), bus)
}

fn log(cloud: &Cloud, journal: &str, text: &[u8]) {
    let path = cloud.run.directory().join("tools").join(journal);
    OpenOptions::new().append(true).open(path).unwrap().write_all(text).unwrap();
}

fn numbered(from: usize, to: usize) -> Vec<u8> {
    (from..to).flat_map(|number| format!("docker line {number}\n").into_bytes()).collect()
}

#[test]
fn every_line_of_the_journal_is_accepted_before_the_end_through_faults_and_a_killed_agent() {
    let (cloud, _bus) = with_journal();
    cloud.aws.fault(Match::action("PutLogEvents"), Limit::times(3), Fault::Error(AwsError::Throttled));
    cloud.aws.fault(Match::action("PutLogEvents"), Limit::times(1).after(8), Fault::LoseAnswer);
    log(&cloud, "system", &numbered(0, 500));
    let mut agent = cloud.start();
    let has = |cloud: &Cloud, line: &str| before_the_end(cloud, "system").iter().any(|found| found == line);
    agent.until("the first lines", |cloud| has(cloud, "docker line 499"));
    agent.kill_dead();
    log(&cloud, "system", &numbered(500, 1000));
    let mut agent = cloud.start();
    agent.until("the lines of between", |cloud| has(cloud, "docker line 999"));
    log(&cloud, "system", b"binary \0 and \xff\n\nSuppressed 17 messages from docker.service\n");
    log(&cloud, "system", &[b"long ".as_slice(), &[b'x'; 600_000], b"\n"].concat());
    log(&cloud, "system", &numbered(1000, 2000));
    log(&cloud, "agent", b"the agent's own line\n");
    go(&cloud.run);
    let gone = agent.end();
    until_exit(&cloud);
    gone.assert_outcome("job-succeeded");
    let lines = before_the_end(&cloud, "system");
    let mut numbers: Vec<usize> =
        lines.iter().filter_map(|line| line.strip_prefix("docker line ")?.parse().ok()).collect();
    numbers.dedup();
    // What was confirmed is not read again; what was under way when the agent was killed may be there twice.
    let mut first = numbers.clone();
    first.sort_unstable();
    first.dedup();
    assert_eq!(first, (0..2000).collect::<Vec<_>>(), "lines of the journal are not there");
    let late: Vec<_> = numbers.iter().rev().take(1000).rev().copied().collect();
    assert_eq!(late, (1000..2000).collect::<Vec<_>>(), "lines are out of order");
    assert!(lines.iter().any(|line| line == "binary \u{2400} and \u{fffd}"), "a binary entry is not there");
    assert_eq!(
        lines.iter().map(|line| line.matches('x').count()).max(),
        Some(250_000),
        "a long line is cut into pieces"
    );
    assert!(before_the_end(&cloud, "agent").iter().any(|line| line == "the agent's own line"));
    assert_accounted(&gone.record);
    assert_eq!(counts(&gone.record, "system")["why"], json!({ "suppressed": 17 }), "{:#}", gone.record["logs"]);
    let called = fs::read_to_string(cloud.run.directory().join("tools/called")).unwrap();
    assert!(called.lines().any(|call| call.starts_with("system") && call.contains("--boot")), "{called}");
    let last = called.lines().rfind(|call| call.starts_with("system")).unwrap();
    assert!(!last.contains("--follow") && last.contains("--after-cursor="), "nobody read to the end: {called}");
}

/// journalctl goes on after the gap and says nothing.
#[test]
fn lines_that_were_vacuumed_while_nobody_read_are_told_as_lost() {
    let (cloud, _bus) = with_journal();
    log(&cloud, "system", &numbered(0, 100));
    let mut agent = cloud.start();
    let has = |cloud: &Cloud, line: &str| before_the_end(cloud, "system").iter().any(|found| found == line);
    agent.until("the first lines", |cloud| has(cloud, "docker line 99"));
    // What is confirmed is remembered a moment later.
    let cursors =
        |cloud: &Cloud| fs::read_to_string(cloud.run.state().join("shipping/system.json")).unwrap_or_default();
    agent.until("the cursor", |cloud| cursors(cloud).contains("i=64;"));
    agent.kill_dead();
    log(&cloud, "system", &numbered(100, 300));
    fs::write(cloud.run.directory().join("tools/vacuumed-system"), "250").unwrap();
    let mut agent = cloud.start();
    agent.until("what is left", |cloud| has(cloud, "docker line 299"));
    go(&cloud.run);
    let gone = agent.end();
    until_exit(&cloud);
    gone.assert_outcome("job-succeeded");
    assert_eq!(
        counts(&gone.record, "system")["why"],
        json!({ "vacuumed": 1 }),
        "150 lines are gone, and nobody is told"
    );
    assert!(counts(&gone.record, "agent")["why"].is_null(), "{:#}", gone.record["logs"]);
    assert!(gone.log.contains("of 150 entries at most"), "nobody is told how many it may be:\n{}", gone.log);
    assert_accounted(&gone.record);
}

/// The agent goes on, and the rest of the logs too.
#[test]
fn a_journal_that_cannot_be_read_costs_nothing_else() {
    let (cloud, _bus) = with_journal();
    fs::write(cloud.run.directory().join("tools/journalctl"), "#!/bin/sh\nhead -c 100000 /dev/urandom\nexit 1\n")
        .unwrap();
    let agent = cloud.start();
    go(&cloud.run);
    let gone = agent.end();
    until_exit(&cloud);
    gone.assert_outcome("job-succeeded");
    assert!(before_the_end(&cloud, "runner").iter().any(|line| line.contains("Listening for Jobs")));
    assert_accounted(&gone.record);
}
