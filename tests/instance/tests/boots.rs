//! Reboots, images and other machines.

#![allow(missing_docs, reason = "scenarios say it by their names")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may fail there, and tells its figures"
)]

use mayfly_instance::{Machine, Spec, job_until_let_go, named, seconds};

#[test]
fn a_reboot_in_the_middle_of_a_job_is_the_end() {
    let mut machine = Machine::cold("debian-13");
    machine.live_at_boot(&job_until_let_go());
    machine.until_state("Busy");
    machine.guest("sync; (sleep 1; systemctl reboot --force --force) >/dev/null 2>&1 &");
    machine.until_terminated(seconds(300));
    assert!(machine.resets() >= 1, "the machine did not reboot, so this proves nothing");
    machine.wait_for_power_off(seconds(120));
    let console = machine.console();
    assert!(console.contains("mayfly: second-boot"), "the second boot of an instance is not its end");
}

#[test]
fn an_image_made_from_a_used_machine_starts_clean() {
    let mut machine = Machine::restored("debian-13");
    // What the machine that the image was made from left behind, of another instance and another boot.
    machine.guest("mkdir -p /var/lib/mayfly;         echo '{\"instance\":\"i-00000000000000000\",\"boot\":\"00000000-0000-0000-0000-000000000000\"}' >/var/lib/mayfly/journal.jsonl;         echo '{\"instance\":\"i-00000000000000000\",\"boot\":\"00000000-0000-0000-0000-000000000000\",\"supervisor_process\":null,\"files\":[]}' >/var/lib/mayfly/runner.started;         echo old >/var/lib/mayfly/console.log");
    machine.live(&named("success"));
    machine.ends("job-succeeded", seconds(120));
}

#[test]
fn on_a_machine_that_is_not_ec2_nothing_is_powered_off() {
    let mut machine = Machine::restored("debian-13");
    // A container's view of the same machine, with another vendor in its DMI.
    machine.guest("mkdir -p /tmp/dmi; for f in /sys/class/dmi/id/*; do [ -f $f ] && cat $f >/tmp/dmi/$(basename $f) 2>/dev/null; done;         for f in sys_vendor board_vendor bios_vendor chassis_vendor; do echo 'A laptop' >/tmp/dmi/$f; done;         mount --bind /tmp/dmi /sys/devices/virtual/dmi/id");
    assert_eq!(machine.guest("cat /sys/class/dmi/id/sys_vendor").trim(), "A laptop", "the DMI is still Amazon's");
    let refused = machine.try_guest("/usr/lib/mayfly/end-machine 'a test'");
    assert_eq!(refused.status, 77, "the machine of somebody who only installed the package is ended: {refused:?}");
    machine
        .guest("systemctl start mayfly-deadline.timer mayfly-failsafe.timer; systemctl start mayfly-failsafe.service");
    assert!(machine.off(seconds(45)).unwrap().is_none(), "a laptop was powered off");
}

#[test]
fn the_package_alone_enables_and_starts_nothing() {
    let mut machine = Machine::restored("debian-13");
    let package = std::fs::read(std::env::var_os("MAYFLY_DEB").expect("MAYFLY_DEB names the package")).unwrap();
    machine.put("/root/mayfly.deb", package);
    machine.guest("dpkg --purge mayfly; rm -rf /etc/systemd/system/*/mayfly.target /etc/systemd/system-preset; systemctl daemon-reload");
    machine.guest("dpkg --install /root/mayfly.deb");
    let units = "mayfly.target 'mayfly-agent*' 'mayfly-runner*' 'mayfly-probe*' 'mayfly-deadline*' 'mayfly-failsafe*' 'mayfly-storage*'";
    let enabled = machine.try_guest(&format!("systemctl list-unit-files {units} --state=enabled --no-legend")).stdout;
    assert_eq!(enabled, "", "installing the package enables units");
    let active = format!("systemctl list-units {units} --state=active,activating,failed --no-legend");
    assert_eq!(machine.try_guest(&active).stdout, "", "installing the package starts units");
}

#[test]
fn while_an_image_is_built_nothing_starts_and_nothing_ends() {
    let mut machine = Machine::restored("debian-13");
    machine.guest("touch /run/mayfly/building; mkdir -p /run/systemd/system/mayfly-deadline.timer.d;         printf '[Timer]\nOnActiveSec=\nOnActiveSec=2s\n' >/run/systemd/system/mayfly-deadline.timer.d/t.conf;         systemctl daemon-reload; systemctl start mayfly.target mayfly-agent mayfly-deadline.timer mayfly-failsafe.timer");
    assert!(machine.off(seconds(40)).unwrap().is_none(), "the build of an image was ended by its own failsafes");
    let active = machine.guest("systemctl list-units 'mayfly*' --state=active,activating,failed --no-legend");
    assert!(
        !active.contains("mayfly-agent") && !active.contains("timer"),
        "units started while the image is built: {active}"
    );
}

#[test]
fn why_a_start_took_so_long_is_told_from_the_kernel_to_the_first_step() {
    let mut machine = Machine::restored("debian-13");
    machine.live(&named("success"));
    let record = machine.ends("job-succeeded", seconds(120));
    let steps = record["startup"].as_array().unwrap();
    let step = |name: &str| steps.iter().find(|step| step["step"] == name).unwrap();
    for name in ["kernel", "systemd", "cloud-init", "identity", "session", "listening", "worker", "first-step"] {
        assert!(step(name)["duration_ms"].is_u64(), "nobody can say why it was slow: {:#}", step(name));
    }
    assert_eq!(step("kernel")["began_ms"], 0);
    let usage = &record["usage"];
    assert!(usage["cpu_ms"].is_u64() && usage["memory_peak_bytes"].is_u64(), "what the job took: {usage:#}");
    assert!(record["series"]["cpu_percent"].as_array().is_some_and(|points| !points.is_empty()), "{record:#}");
}

#[test]
fn a_machine_in_a_group_is_ended_through_the_group() {
    let mut machine = Spec::new("debian-13").in_group("runners").restore().unwrap();
    machine.live(&named("success"));
    machine.ends("job-succeeded", seconds(120));
    let asked = machine.clouds.aws.requests_of("TerminateInstanceInAutoScalingGroup").len();
    assert_eq!(asked, 1, "the group starts a replacement for a machine that it did not end itself");
}
