//! A disk that answers slowly at first, as one that is made from a snapshot: what reading ahead is worth on it.

#![allow(missing_docs, reason = "scenarios say it by their names")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may fail there, and tells its figures"
)]

use mayfly_instance::{Machine, Spec, named, seconds};

/// The runner's directory on a disk of which each read takes 25 ms, and 91 files of 63 MiB in it, as many as a start of GitHub's
/// runner touches. Its double touches none, so they are read one after the other right before it.
const SLOW_DISK: &str = r#"
cd /opt/actions-runner
truncate --size=200M /srv/slow.img
mke2fs -q -t ext4 /srv/slow.img
loop=$(losetup --find --show /srv/slow.img)
echo "0 $(blockdev --getsz $loop) delay $loop 0 25 $loop 0 0" | dmsetup create slow
mount /dev/mapper/slow /mnt
cp -a /opt/actions-runner/. /mnt/
mkdir -p /mnt/externals/touched
for i in $(seq 91); do head -c 709K /dev/zero >/mnt/externals/touched/$i; done
umount /mnt
mount /dev/mapper/slow /opt/actions-runner
mkdir -p /run/systemd/system/mayfly-runner.service.d
printf '[Service]\nExecStartPre=/bin/sh -c "cat /opt/actions-runner/externals/touched/* >/dev/null"\n' \
    >/run/systemd/system/mayfly-runner.service.d/touches.conf
systemctl daemon-reload
"#;

fn with_a_slow_disk() -> Machine {
    let mut machine = Spec::new("debian-13").agent("[host]\nmin_disk = \"10MiB\"\n").restore().unwrap();
    machine.guest(SLOW_DISK);
    machine
}

/// From the start of the agent to the runner's, in milliseconds.
fn starts_within(machine: &mut Machine) -> u64 {
    machine.guest("sync; echo 3 >/proc/sys/vm/drop_caches");
    machine.live(&named("no-job"));
    machine.until_state("Idle");
    let moments = machine.guest(
        "systemctl show --value -p InactiveExitTimestampMonotonic mayfly-agent; \
         systemctl show --value -p ExecMainStartTimestampMonotonic mayfly-runner",
    );
    let moments: Vec<u64> = moments.split_whitespace().map(|moment| moment.parse().unwrap()).collect();
    (moments[1] - moments[0]) / 1000
}

#[test]
fn on_a_disk_of_which_each_read_takes_25_ms_a_runner_whose_files_are_read_ahead_starts_sooner() {
    let mut machine = with_a_slow_disk();
    let without = starts_within(&mut machine);
    let script = std::env::var("CARGO_MANIFEST_DIR").unwrap() + "/../../scripts/read-ahead-list";
    machine.put("/root/read-ahead-list", std::fs::read(script).unwrap());
    let list = machine.guest("sh /root/read-ahead-list");
    assert!(
        list.lines().filter(|line| line.starts_with("externals/touched/")).count() == 91,
        "the list lacks files: {list}"
    );
    drop(machine);

    let mut machine = with_a_slow_disk();
    machine.guest("mkdir -p /usr/share/mayfly");
    machine.put("/usr/share/mayfly/read-ahead.list", &list);
    let with = starts_within(&mut machine);
    eprintln!("figure: agent to runner on a disk of which each read takes 25 ms: {without} ms, read ahead {with} ms");
    let said = machine.journal_of("mayfly-agent");
    assert!(said.contains("read ahead of the runner's start: ") && said.contains("; 0 left out"), "{said}");
    // The emulated start is most of both, and differs by a twentieth from run to run.
    assert!(with < without * 9 / 10, "reading ahead is worth nothing: {with} ms with it, {without} ms without");
    machine.guest("mayfly drain");
    machine.until_terminated(seconds(120));
}
