//! Other programs of the machine lay hands on Mayfly's units while a job runs.

#![allow(missing_docs, reason = "scenarios say it by their names")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may fail there, and tells its figures"
)]

use mayfly_instance::{Machine, job, seconds};

/// A job's `apt-get install`, of a library that the runner has loaded. The package is made of what is installed: the machine has
/// no network. apt calls needrestart by its own hook, in the mode that some images have.
const UPGRADE: &str = r"set -ex
cp --parents /usr/lib/x86_64-linux-gnu/libgcc_s.so.1 $(mkdir -p /tmp/new/DEBIAN && echo /tmp/new)
dpkg-query --show --showformat='Package: ${Package}\nVersion: ${Version}+upgraded\nArchitecture: ${Architecture}\nMulti-Arch: same\nMaintainer: nobody <nobody@localhost>\nDepends: ${Depends}\nDescription: upgraded\n' libgcc-s1 >/tmp/new/DEBIAN/control
dpkg-deb --root-owner-group --build /tmp/new /tmp/new.deb
sudo env DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a apt-get install --yes /tmp/new.deb";

/// Runs the job of [`UPGRADE`] to the end of the instance, and gives what its step said.
fn upgrade(machine: &mut Machine) -> String {
    machine.live(&job(&[UPGRADE]));
    machine.until_terminated(seconds(240));
    machine.get("/tmp/step-log")
}

#[test]
fn needrestart_leaves_the_runner_of_a_job_that_upgrades_a_library_alone() {
    let mut machine = Machine::restored("debian-13");
    let said = upgrade(&mut machine);
    eprintln!("{said}");
    let deferred = said.split_once("deferred").map_or("", |(_, after)| after);
    assert!(deferred.contains("mayfly-runner.service"), "needrestart saw no need, and this proves nothing:\n{said}");
    machine.ends("job-succeeded", seconds(60));
}

#[test]
fn a_runner_that_needrestart_stopped_is_told_as_that_and_not_as_a_cancelled_job() {
    let mut machine = Machine::restored("debian-13");
    machine.guest("rm /etc/needrestart/conf.d/mayfly.conf");
    let said = upgrade(&mut machine);
    eprintln!("{said}");
    machine.ends("runner-stopped", seconds(60));
}
