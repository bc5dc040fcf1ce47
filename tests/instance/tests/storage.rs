//! The instance's own disks, which are empty after each launch.

#![allow(missing_docs, reason = "scenarios say it by their names")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail there")]

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mayfly_instance::{Machine, Spec, job_until_let_go, seconds};

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

/// Runs the unit as a boot does, before Docker.
fn at_boot(machine: &mut Machine) -> String {
    machine.guest(
        "systemctl stop docker.socket docker.service containerd.service; systemctl restart mayfly-storage.service",
    );
    machine.guest("systemctl start docker.service");
    machine.journal_of(UNIT)
}

/// What the next boot finds: nothing is mounted, and no stripes are set up.
fn as_after_a_reboot(machine: &mut Machine) {
    machine.guest(
        "systemctl stop docker.socket docker.service containerd.service mayfly-storage.service
        umount -R /var/lib/docker /var/lib/containerd /opt/actions-runner/_work /mnt/mayfly; dmsetup remove mayfly-disks",
    );
}

#[test]
fn disks_are_striped_and_formatted_once_and_hold_what_the_image_has_and_a_foreign_one_is_left_alone() {
    let mut machine = Machine::restored("debian-13");
    machine.guest(
        "truncate -s 256M /root/a; truncate -s 320M /root/b; truncate -s 64M /root/c; mkfs.ext4 -q -L customer /root/c
        losetup /dev/loop5 /root/a; losetup /dev/loop6 /root/b; losetup /dev/loop7 /root/c
        echo \"devices='/dev/loop5 /dev/loop6 /dev/loop7'\" >/etc/mayfly/storage.conf",
    );
    let said = at_boot(&mut machine);
    assert!(
        said.contains("/dev/loop7 is left alone: it has something on it that is not Mayfly's: ext4, label customer"),
        "{said}"
    );
    for directory in ["/var/lib/docker", "/opt/actions-runner/_work"] {
        let on = machine.guest(&format!("findmnt --noheadings --output SOURCE --target {directory}"));
        assert!(on.contains("mayfly-disks"), "{directory} is on the root disk ({on}): {said}");
    }
    let stripes = machine.guest("dmsetup table mayfly-disks");
    assert!(stripes.contains("striped 2 512"), "only one disk is used: {stripes}");
    let run = "docker run --rm mayfly-test echo works";
    assert_eq!(machine.guest(run).trim(), "works", "the image's own images are gone: {said}");
    assert_eq!(machine.guest("stat -c %U /opt/actions-runner/_work").trim(), "runner", "the job cannot work there");
    machine.guest("echo kept >/opt/actions-runner/_work/kept");
    let uuid = "blkid -p -o value -s UUID /dev/mapper/mayfly-disks";
    let made = machine.guest(uuid);

    as_after_a_reboot(&mut machine);
    let said = at_boot(&mut machine);
    assert_eq!(machine.guest(uuid), made, "formatted twice: {said}");
    assert_eq!(machine.get("/opt/actions-runner/_work/kept").trim(), "kept", "what was there is gone: {said}");
    assert_eq!(machine.guest(run).trim(), "works", "{said}");

    // One of the two is another disk now, and blank: neither half is touched.
    as_after_a_reboot(&mut machine);
    machine.guest("truncate -s 300M /root/d; losetup -d /dev/loop6; losetup /dev/loop6 /root/d");
    machine.try_guest("systemctl restart mayfly-storage.service");
    let said = machine.journal_of(UNIT);
    assert!(said.contains("/dev/loop5 is the first of 2 disks"), "half a file system was used: {said}");
    assert_eq!(machine.try_guest("blkid -p /dev/loop6").stdout, "", "a disk was formatted beside half a set: {said}");
    assert_eq!(machine.guest("findmnt --noheadings --output TARGET --target /var/lib/docker").trim(), "/", "{said}");
}

#[test]
fn a_disk_is_there_before_docker_at_boot_and_again_after_a_reboot() {
    // A drop-in that is there before systemd reads the unit: the disk is named, and how often it is looked at is counted.
    let drop_in =
        "[Service]\nExecStartPre=/bin/sh -c 'mkdir -p /etc/mayfly; echo devices=/dev/vdb >/etc/mayfly/storage.conf'\n";
    let masked =
        "systemd.mask=mayfly-agent.service systemd.mask=mayfly-failsafe.timer systemd.mask=mayfly-deadline.timer";
    let kernel = format!(
        "{masked} systemd.set_credential_binary=systemd.unit-dropin.mayfly-storage.service~test:{}",
        STANDARD.encode(drop_in)
    );
    let mut machine = Spec::new("debian-13").drive(256).kernel(&kernel).boot().unwrap();
    machine.wait_until_booted();
    let on = "findmnt --noheadings --output SOURCE --target";
    let where_it_is = machine.guest(&format!("{on} /opt/actions-runner/_work; {on} /var/lib/docker"));
    let said = machine.journal_of(UNIT);
    assert_eq!(where_it_is.matches("/dev/vdb").count(), 2, "the job has the root disk ({where_it_is}): {said}");
    machine.guest("docker info >/dev/null; echo kept >/opt/actions-runner/_work/kept");
    reboot(&mut machine);
    let said = machine.journal_of(UNIT);
    assert_eq!(machine.get("/opt/actions-runner/_work/kept").trim(), "kept", "formatted again: {said}");
    machine.guest("docker info >/dev/null");
}

#[test]
fn where_no_disk_can_be_used_the_job_has_the_root_disk_and_the_reason_is_told() {
    let mut machine = Machine::restored("debian-13");
    machine.guest("truncate -s 64M /root/disk; mkswap -q /root/disk; losetup /dev/loop7 /root/disk");
    machine.guest("echo \"devices='/dev/loop7 /dev/nothing'\" >/etc/mayfly/storage.conf");
    // It was there in the boot that the machine goes on from, with nothing to do.
    machine.guest("systemctl stop mayfly-storage.service");
    machine.live(&job_until_let_go());
    machine.until_state("Busy");
    let said = machine.journal_of(UNIT);
    for part in ["/dev/loop7 is left alone", "swap", "/dev/nothing is left alone: it is no block device", "root disk"] {
        assert!(said.contains(part), "{part:?} is not told: {said}");
    }
    assert_eq!(machine.guest("blkid -p -o value -s TYPE /dev/loop7").trim(), "swap", "somebody's disk was formatted");
    machine.let_go();
    machine.ends("job-succeeded", seconds(120));
}
