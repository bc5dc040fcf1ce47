//! `mayfly doctor` on a booted machine: it tries each promise, and notices one that is broken.

#![allow(missing_docs, reason = "scenarios say it by their names")]
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test may fail there, and tells its figures")]

use mayfly_instance::{Machine, named, seconds};

fn doctor(machine: &mut Machine) -> (i64, String) {
    let output = machine.run("mayfly doctor", &[], seconds(400)).unwrap();
    (output.status, output.stdout)
}

fn an_idle_machine(level: &str) -> Machine {
    let mut machine = Machine::restored("debian-13");
    machine.guest(&format!("/usr/lib/mayfly/provision --level {level}; rm -f /run/mayfly/building"));
    machine.live(&named("no-job"));
    machine.until_state("Idle");
    machine
}

#[test]
fn compatible_everything_holds_until_the_rules_are_taken_away() {
    let mut machine = an_idle_machine("compatible");
    let (status, report) = doctor(&mut machine);
    eprintln!("{report}");
    assert_eq!(status, 0, "a machine that is as it should be is called broken:\n{report}");
    assert!(report.contains("does not promise"), "the report hides what nobody promises:\n{report}");
    machine.guest("systemctl mask --runtime --quiet mayfly-isolation; nft delete table inet mayfly");
    let (status, report) = doctor(&mut machine);
    assert_eq!(status, 1, "the way to the instance's role is open and nothing is said:\n{report}");
}

#[test]
fn restricted_everything_holds() {
    let mut machine = an_idle_machine("restricted");
    let (status, report) = doctor(&mut machine);
    eprintln!("{report}");
    assert_eq!(status, 0, "a machine that is as it should be is called broken:\n{report}");
    assert!(report.contains("restricted"), "the report is about another level:\n{report}");
}
