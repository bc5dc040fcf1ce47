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

/// As Packer runs it: in root's home, at the end of the build.
fn judged(machine: &mut Machine) -> (i64, String) {
    let output = machine.run("cd /root && mayfly doctor --image", &[], seconds(400)).unwrap();
    (output.status, output.stdout)
}

#[test]
fn a_finished_build_may_become_an_image_and_one_that_nobody_knows_or_that_disturbs_jobs_is_refused() {
    let mut machine = Machine::restored("debian-13");
    // The steps once more, over the image that they made: nothing of it is done for this test.
    let built = machine.run("/usr/lib/mayfly/provision", &[], seconds(300)).unwrap();
    assert_eq!(built.status, 0, "{}{}", built.stdout, built.stderr);
    let (status, report) = judged(&mut machine);
    eprintln!("{report}");
    assert_eq!(status, 0, "no image can be built:\n{report}");
    for (spoil, mend, name) in [
        (
            "mv /opt/actions-runner/bin/Runner.Listener.deps.json /root",
            "mv /root/Runner.Listener.deps.json /opt/actions-runner/bin",
            "runner.program (warning)",
        ),
        (
            "systemctl unmask --quiet apt-daily.timer; systemctl enable --quiet apt-daily.timer",
            "systemctl mask --quiet apt-daily.timer",
            "machine.quiet (warning)",
        ),
        (
            "systemctl stop systemd-timesyncd.service",
            "systemctl start systemd-timesyncd.service",
            "machine.clock (warning)",
        ),
        ("rm /run/mayfly/building", "touch /run/mayfly/building", "image.build (BROKEN)"),
        ("echo '{}' >/usr/share/mayfly/image.json", "true", "image.file (warning)"),
    ] {
        machine.guest(spoil);
        let (status, report) = judged(&mut machine);
        assert_eq!(status, 1, "an image passes after {spoil:?}:\n{report}");
        let (_, reasons) = report.rsplit_once("This image is refused").unwrap_or_default();
        assert!(reasons.contains(name), "{name} is not among the reasons after {spoil:?}:\n{report}");
        machine.guest(mend);
    }
}
