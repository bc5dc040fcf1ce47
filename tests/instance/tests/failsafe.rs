//! The agent cannot help itself: the machine still ends, and never while a job runs.

#![allow(missing_docs, reason = "scenarios say it by their names")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may fail there, and tells its figures"
)]

use mayfly_instance::{Machine, job_until_let_go, named, seconds};

fn drop_in(machine: &mut Machine, unit: &str, content: &str) {
    machine.guest(&format!("mkdir -p /run/systemd/system/{unit}.d"));
    machine.put(&format!("/run/systemd/system/{unit}.d/t.conf"), content);
    machine.guest("systemctl daemon-reload");
}

#[test]
fn an_agent_that_is_stopped_with_sigstop_is_replaced_by_the_watchdog() {
    let mut machine = Machine::restored("debian-13");
    drop_in(&mut machine, "mayfly-agent.service", "[Service]\nWatchdogSec=10s\n");
    machine.live(&job_until_let_go());
    machine.until_state("Busy");
    machine.guest("systemctl kill --signal=STOP mayfly-agent");
    machine.until("another agent is at work", seconds(90), "[ \"$(systemctl show -P NRestarts mayfly-agent)\" = 1 ]");
    machine.until_state("Busy");
    machine.let_go();
    machine.ends("job-succeeded", seconds(120));
}

#[test]
fn a_crash_loop_ends_the_machine_but_not_the_job() {
    let mut machine = Machine::restored("debian-13");
    machine.live(&job_until_let_go());
    machine.until_state("Busy");
    drop_in(&mut machine, "mayfly-agent.service", "[Service]\nExecStart=\nExecStart=/bin/false\nRestartSec=1s\n");
    machine.guest("systemctl kill --signal=KILL mayfly-agent");
    machine.until("the failsafe has seen it", seconds(180), "journalctl -u mayfly-failsafe | grep -q 'A runner runs'");
    machine.guest("systemctl is-active mayfly-runner; pgrep Runner.Worker");
    machine.let_go();
    machine.powers_itself_off("mayfly failsafe:", seconds(240));
}

#[test]
fn a_deleted_binary_ends_the_machine_but_not_the_job() {
    let mut machine = Machine::restored("debian-13");
    drop_in(&mut machine, "mayfly-agent.service", "[Service]\nRestartSec=1s\n");
    machine.live(&job_until_let_go());
    machine.until_state("Busy");
    machine.guest("rm /usr/bin/mayfly; systemctl kill --signal=KILL mayfly-agent");
    machine.until("the failsafe has seen it", seconds(180), "journalctl -u mayfly-failsafe | grep -q 'A runner runs'");
    machine.guest("pgrep Runner.Worker");
    machine.let_go();
    machine.powers_itself_off("mayfly failsafe:", seconds(240));
}

#[test]
fn a_broken_configuration_leaves_ten_minutes_to_look_and_then_ends_the_machine() {
    let mut machine = Machine::restored("debian-13");
    machine.put("/etc/mayfly/agent.d/90-broken.toml", "[limits]\nidel = \"5m\"\nidle = \"soon\"\n");
    machine.try_guest("systemctl start mayfly.target");
    machine.until("the failsafe has seen it", seconds(120), "journalctl -u mayfly-failsafe | grep -q 'ends in'");
    let journal = machine.journal_of("mayfly-agent");
    assert!(journal.contains("idel") && journal.contains("soon"), "not every problem is told:\n{journal}");
    let state = machine.guest("systemctl show -P ExecMainStatus -P ActiveState mayfly-agent");
    assert!(state.contains("78"), "a broken configuration is not told by exit code 78: {state}");
    // Ten minutes later: the stamp of the first look is set back, before the boot.
    machine
        .guest("for stamp in /run/mayfly/failsafe/*; do case $stamp in */said) ;; *) echo -600 >$stamp;; esac; done");
    machine.powers_itself_off("mayfly failsafe:", seconds(180));
}

#[test]
fn without_d_bus_the_job_goes_on_and_the_machine_ends() {
    let mut machine = Machine::restored("debian-13");
    machine.live(&job_until_let_go());
    machine.until_state("Busy");
    machine.guest("systemctl stop dbus.socket dbus.service 2>/dev/null; pkill -KILL dbus-daemon; ! pgrep dbus-daemon");
    machine.guest("pgrep Runner.Worker");
    machine.let_go();
    machine.until_terminated(seconds(180));
    assert_eq!(machine.record()["outcome"], "job-succeeded", "the outcome is lost with the bus");
    machine.wait_for_power_off(seconds(180));
}

#[test]
fn a_full_disk_before_the_start_ends_the_machine_without_a_runner() {
    let mut machine = Machine::restored("debian-13");
    machine.guest(
        "head -c 100M /dev/zero >/var/lib/reserve; cat /dev/zero >/var/lib/filler 2>/dev/null; sync; df / | tail -1",
    );
    machine.guest("rm /var/lib/reserve; cat /dev/zero >/var/lib/filler2 2>/dev/null; true");
    machine.live(&named("success"));
    machine.until_terminated(seconds(180));
    assert_eq!(machine.starts(), 0, "a runner was started whose start could not be remembered");
    machine.wait_for_power_off(seconds(120));
}

#[test]
fn a_job_that_fills_the_disk_loses_nothing_but_its_own_result() {
    let mut machine = Machine::restored("debian-13");
    machine.live(&mayfly_instance::job(&["cat /dev/zero >/opt/actions-runner/_work-filler; true"]));
    machine.until_terminated(seconds(240));
    let ended = machine.wait_for_power_off(seconds(120));
    assert_eq!(ended.reason, "guest-shutdown", "the machine did not shut down in order");
}

#[test]
fn stopped_by_a_person_the_agent_is_missed_and_the_machine_ends() {
    let mut machine = Machine::restored("debian-13");
    machine.play(&named("success"));
    machine.start_mayfly();
    machine.until_state("WaitingForJitConfig");
    machine.guest("systemctl stop mayfly-agent");
    machine.powers_itself_off("mayfly failsafe:", seconds(240));
}

/// The agent's state on a disk of its own, that can be made to hang.
const OWN_DISK: &str = "set -e; truncate --size=3G /root/disk; loop=$(losetup --find --show /root/disk)
echo \"0 $(blockdev --getsz $loop) linear $loop 0\" | dmsetup create hangs
mkfs.ext4 -q -m 0 /dev/mapper/hangs; mount /dev/mapper/hangs /var/lib/mayfly; chmod 0700 /var/lib/mayfly";

#[test]
fn a_disk_that_hangs_ends_the_machine_long_before_its_lifetime() {
    let mut machine = Machine::restored("debian-13");
    machine.guest(OWN_DISK);
    let short = "WatchdogSec=10s\nTimeoutAbortSec=2s\nTimeoutStopSec=2s\nRestartSec=1s\n";
    drop_in(&mut machine, "mayfly-agent.service", &format!("[Service]\n{short}"));
    machine.start_mayfly();
    machine.until_state("WaitingForJitConfig");
    machine.guest("dmsetup suspend --nolockfs --noflush hangs");
    // Something that it must remember.
    machine.guest("systemd-run --quiet sh -c 'while sleep 1; do timeout 3 mayfly hold 1h; done'");
    machine.until("the failsafe has seen it", seconds(300), "journalctl -u mayfly-failsafe | grep -q 'the agent hung'");
    // What it would wait for otherwise, until the shutdown is forced: `a_shutdown_that_hangs_is_forced`.
    // (It may be gone already: then it was over without.)
    let _ = machine.run("dmsetup resume hangs", &[], seconds(60));
    machine.powers_itself_off("times in a row, and no job runs", seconds(240));
}
