//! Somebody else shuts the machine down in the middle of a job.

#![allow(missing_docs, reason = "scenarios say it by their names")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may fail there, and tells its figures"
)]

use mayfly_instance::{Machine, named, seconds};

/// Stopped after the agent: what was recorded goes to the console, since the disk is gone with the machine.
const LAST_WORD: &str = "systemd-run --unit=last-word -p RemainAfterExit=yes -p Before=mayfly-agent.service     -p 'ExecStop=/bin/sh -c \"cat /opt/actions-runner/.fake/recording.jsonl >/dev/console\"' true";

fn the_job_is_told(machine: &mut Machine) {
    let ended = machine.wait_for_power_off(seconds(180));
    assert_eq!(ended.reason, "guest-shutdown", "the machine did not shut itself down");
    let console = machine.console();
    assert!(console.contains("mayfly: external-shutdown"), "the outcome is another one, or was not told:\n{console}");
    assert!(console.contains("SIGQUIT"), "the listener got no SIGQUIT: the job does not learn why it ends");
    assert!(!console.contains("SIGTERM"), "the listener was not the first to be told");
    let state = machine.clouds.state().unwrap();
    assert!(matches!(state.as_str(), "shutting-down" | "terminated"), "the instance only stopped: {state}");
}

#[test]
fn systemctl_poweroff_tells_the_listener_first() {
    let mut machine = Machine::restored("debian-13");
    machine.guest(LAST_WORD);
    machine.live(&named("long-job"));
    machine.until_state("Busy");
    machine.guest("systemctl poweroff --no-block");
    the_job_is_told(&mut machine);
}

#[test]
fn the_power_key_tells_the_listener_first() {
    let mut machine = Machine::restored("debian-13");
    machine.guest(LAST_WORD);
    machine.live(&named("long-job"));
    machine.until_state("Busy");
    machine.press_power();
    the_job_is_told(&mut machine);
}

#[test]
fn a_shutdown_that_hangs_is_forced() {
    let mut machine = Machine::restored("debian-13");
    // It lets nobody stop it, for ever: the machine would stay, and be paid for.
    machine.guest("systemd-run --unit=stuck -p TimeoutStopSec=infinity -p ExecStop='/bin/sleep infinity' -p SendSIGKILL=no sleep infinity");
    machine.live(&named("success"));
    machine.until_terminated(seconds(120));
    let ended = machine.wait_for_power_off(seconds(300));
    assert!(ended.took > seconds(60), "the shutdown did not hang, so nothing was shown: {ended:?}");
}
