//! The instance's own disks, which are empty after each launch.

#![allow(missing_docs, reason = "scenarios say it by their names")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail there")]

use std::time::Instant;

use mayfly_instance::{Machine, Spec, job, seconds};

/// Boots again, in the middle of nothing: the agent, which would end the machine for that, is masked.
fn reboot(machine: &mut Machine) {
    const BOOT: &str = "cat /proc/sys/kernel/random/boot_id";
    let before = machine.guest(BOOT);
    machine.guest("sync; (sleep 1; systemctl reboot) >/dev/null 2>&1 &");
    let deadline = Instant::now() + seconds(400);
    // What is asked while it goes down gets no answer.
    while machine.run(BOOT, &[], seconds(5)).map_or(true, |output| output.status != 0 || output.stdout == before) {
        assert!(Instant::now() < deadline, "it does not come back:\n{}", machine.console());
        std::thread::sleep(seconds(1));
    }
    machine.wait_until_booted();
}

const UNIT: &str = "mayfly-storage.service";

#[test]
fn disks_are_striped_once_hold_work_and_docker_through_reboots_and_a_foreign_one_is_left_alone() {
    let masked =
        "systemd.mask=mayfly-agent.service systemd.mask=mayfly-failsafe.timer systemd.mask=mayfly-deadline.timer";
    let mut machine = Spec::new("debian-13").drive(256).drive(320).drive(64).kernel(masked).boot().unwrap();
    machine.wait_until_booted();
    let silent = machine.journal_of(UNIT);
    assert!(!silent.contains("storage:"), "a machine without instance storage is told about it: {silent}");
    machine.guest("mkfs.ext4 -q -L customer /dev/vdd; /usr/local/lib/mayfly-test/docker-image; mkdir -p /etc/mayfly");
    machine.guest("echo \"devices='/dev/vdb /dev/vdc /dev/vdd'\" >/etc/mayfly/storage.conf");

    reboot(&mut machine);
    let said = machine.journal_of(UNIT);
    assert!(
        said.contains("/dev/vdd is left alone: it has something on it that is not Mayfly's: ext4, label customer"),
        "{said}"
    );
    for directory in ["/var/lib/docker", "/opt/actions-runner/_work"] {
        let on = machine.guest(&format!("findmnt --noheadings --output SOURCE --target {directory}"));
        assert!(on.contains("mayfly-disks"), "{directory} is on the root disk ({on}): {said}");
    }
    let stripes = machine.guest("dmsetup table mayfly-disks");
    assert!(stripes.contains("striped 2 512"), "only one disk is used: {stripes}");
    assert_eq!(
        machine.guest("docker run --rm mayfly-test echo works").trim(),
        "works",
        "the image's own images are gone"
    );
    assert_eq!(machine.guest("stat -c %U /opt/actions-runner/_work").trim(), "runner", "the job cannot work there");
    assert_eq!(
        machine.guest("blkid -o value -s LABEL /dev/vdd").trim(),
        "customer",
        "a disk of somebody's was formatted"
    );
    machine.guest("echo kept >/opt/actions-runner/_work/kept");
    let made = machine.guest("blkid -o value -s UUID /dev/mapper/mayfly-disks");

    reboot(&mut machine);
    let said = machine.journal_of(UNIT);
    assert_eq!(machine.guest("blkid -o value -s UUID /dev/mapper/mayfly-disks"), made, "formatted twice: {said}");
    assert_eq!(machine.get("/opt/actions-runner/_work/kept").trim(), "kept", "what was there is gone: {said}");
    assert_eq!(machine.guest("docker run --rm mayfly-test echo works").trim(), "works", "{said}");
}

#[test]
fn where_no_disk_can_be_used_the_job_has_the_root_disk_and_the_reason_is_told() {
    let mut machine = Machine::restored("debian-13");
    machine.guest("truncate -s 64M /root/disk; mkswap -q /root/disk; losetup /dev/loop7 /root/disk");
    machine.guest("echo \"devices='/dev/loop7 /dev/nothing'\" >/etc/mayfly/storage.conf");
    // It was there in the boot that the machine goes on from, with nothing to do.
    machine.guest("systemctl stop mayfly-storage.service");
    machine.live(&job(&["touch here"]));
    machine.ends("job-succeeded", seconds(120));
    let said = machine.journal_of(UNIT);
    for part in ["/dev/loop7 is left alone", "swap", "/dev/nothing is left alone: it is no block device", "root disk"] {
        assert!(said.contains(part), "{part:?} is not told: {said}");
    }
    assert_eq!(machine.guest("blkid -p -o value -s TYPE /dev/loop7").trim(), "swap", "somebody's disk was formatted");
}
