//! The machine: may it be powered off, does it swap, has it room, is its clock right?

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;

use super::checks::{SHORT, run};
use super::properties::{Properties, properties, value};
use super::{Finding, Machine, Verdict, image, quiet};
use crate::platform::power::is_ec2;
use mayfly_core::config::{Platform, PowerOff};
use mayfly_core::host::CLOCK_TOLERANCE;
use mayfly_core::metrics::CLOCK;

/// A checkout and a build; below this most jobs fail.
const LITTLE_ROOM: u64 = 2 << 30;
/// GitHub promises its own users 14 GB.
const SMALL_ROOM: u64 = 10 << 30;
/// One large `node_modules`.
const FEW_INODES: u64 = 100_000;

/// A clock that is off by this much, in seconds, is on its way to being useless.
const CLOCK_WORTH_A_WORD: f64 = 60.0;

/// The failsafe asks for this file, the agent for `terminate.poweroff`: it cannot read TOML.
const ALWAYS: &str = "/etc/mayfly/poweroff-always";

/// Restarts services after an upgrade of a library.
const NEEDRESTART: &str = "/usr/sbin/needrestart";
const NEEDRESTART_CONFIG: &str = "/etc/needrestart/needrestart.conf";

/// Reads needrestart's configuration as it does itself, and asks it for the runner's unit: in the order of the text, the first
/// that matches counts, and what matches nothing is restarted.
const SPARED: &str = r#"our %nrconf; our $LOGPREF = ""; my $file = shift; $nrconf{verbosity} = 0;
    open(my $in, "<", $file) or die "$file: $!\n"; { local $/; eval <$in>; } die "$file: $@\n" if $@;
    for my $re (sort keys %{$nrconf{override_rc}}) {
        next unless "mayfly-runner.service" =~ /$re/;
        exit 0 unless $nrconf{override_rc}{$re};
        die "override_rc has $re => $nrconf{override_rc}{$re}\n";
    }
    exit 0 if grep { "mayfly-runner.service" =~ /$_/ } @{$nrconf{blacklist_rc} // []};
    die "nothing in override_rc is about mayfly-runner.service\n";"#;

pub(super) async fn check(machine: &Machine) -> Vec<Finding> {
    let ending = Ending {
        platform: machine.config.platform,
        poweroff: machine.config.terminate.poweroff,
        ec2: is_ec2(),
        always: Path::new(ALWAYS).exists(),
    };
    let in_build = machine.image && !ending.ec2 && ending.poweroff == PowerOff::Ec2Only;
    let power_off = power_off(&ending);
    let mut findings = vec![if in_build { image::not_in_a_build(power_off) } else { power_off }];
    findings.push(match fs::read_to_string("/proc/swaps") {
        Ok(table) => swap(&table),
        Err(error) => Finding::not_tried("machine.swap", format!("/proc/swaps cannot be read: {error}"), ""),
    });
    let rooms = rooms(machine).into_iter();
    findings.extend(rooms.map(|room| if machine.image { image::not_in_a_build(room) } else { room }));
    findings.push(clock(machine).await);
    findings.extend(clock_difference(machine));
    findings.extend(needrestart(Path::new(NEEDRESTART)).await);
    findings.push(quiet::check().await);
    findings
}

/// Only where there is one.
async fn needrestart(program: &Path) -> Option<Finding> {
    const NAME: &str = "machine.needrestart";
    if !program.exists() {
        return None;
    }
    Some(match run(&["perl", "-e", SPARED, NEEDRESTART_CONFIG], SHORT).await {
        Err(why) => Finding::not_tried(NAME, why, ""),
        Ok(ran) if ran.succeeded() => Finding::holds(NAME, "needrestart is here, and leaves the runner alone"),
        Ok(ran) => Finding::broken(
            NAME,
            format!(
                "needrestart restarts the runner in the middle of a job that upgrades a library ({})",
                ran.last_words()
            ),
            "Put the package's /etc/needrestart/conf.d/mayfly.conf back, and let needrestart.conf read conf.d.",
        ),
    })
}

struct Ending {
    platform: Platform,
    poweroff: PowerOff,
    ec2: bool,
    always: bool,
}

fn power_off(ending: &Ending) -> Finding {
    const NAME: &str = "machine.poweroff";
    let firmware = if ending.ec2 { "firmware says Amazon EC2" } else { "firmware does not say Amazon EC2" };
    match (ending.platform, ending.poweroff, ending.ec2) {
        (Platform::Local, ..) => Finding::holds(NAME, "platform is \"local\": the machine is never ended"),
        (_, PowerOff::Never, _) => Finding::warning(
            NAME,
            "terminate.poweroff is \"never\": if EC2 cannot be reached, only the timers of systemd end this machine",
            "Remove terminate.poweroff, unless somebody else powers the machine off.",
        ),
        (_, PowerOff::Ec2Only, true) => Finding::holds(NAME, format!("{firmware}: it may be powered off")),
        (_, PowerOff::Ec2Only, false) => Finding::warning(
            NAME,
            format!("{firmware}: nothing here will power this machine off"),
            "Nothing, where an image is built. A test machine needs terminate.poweroff = \"always\" and the file \
             /etc/mayfly/poweroff-always.",
        ),
        (_, PowerOff::Always, true) => Finding::holds(NAME, format!("{firmware}; terminate.poweroff is \"always\"")),
        (_, PowerOff::Always, false) if ending.always => Finding::warning(
            NAME,
            format!("{firmware}, and it may be powered off all the same"),
            "Right for a test machine. On any other remove terminate.poweroff and /etc/mayfly/poweroff-always.",
        ),
        (_, PowerOff::Always, false) => Finding::warning(
            NAME,
            format!("{firmware}; the agent may power it off, the timers of systemd may not"),
            format!("touch {ALWAYS}, so that the machine ends without its agent too."),
        ),
    }
}

fn swap(table: &str) -> Finding {
    const NAME: &str = "machine.swap";
    let devices: Vec<&str> = table.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    let on_disk: Vec<&str> = devices.iter().filter(|device| !device.starts_with("/dev/zram")).copied().collect();
    if on_disk.is_empty() {
        return Finding::holds(NAME, "no swap on a disk");
    }
    Finding::warning(
        NAME,
        format!(
            "swap on {}: secrets of jobs can reach the disk, and a machine out of memory crawls",
            on_disk.join(", ")
        ),
        "swapoff, and remove it from /etc/fstab. (The agent's own memory is never swapped.)",
    )
}

fn rooms(machine: &Machine) -> Vec<Finding> {
    let mut paths: Vec<(u64, PathBuf, Finding)> = Vec::new();
    for path in [&machine.config.runner.directory, &machine.config.state_directory] {
        // What is not there yet will be on its parent's disk.
        let Some(there) = path.ancestors().find(|path| path.exists()) else { continue };
        match statvfs(there) {
            Ok(figures) if paths.iter().any(|(disk, ..)| *disk == figures.filesystem_id()) => {}
            Ok(figures) => {
                let free = figures.blocks_available().saturating_mul(figures.fragment_size());
                let inodes = (figures.files() > 0).then(|| figures.files_available());
                paths.push((figures.filesystem_id(), there.to_owned(), room("machine.disk", path, free, inodes)));
            }
            Err(error) => {
                let why = format!("{}: {error}", there.display());
                paths.push((0, there.to_owned(), Finding::not_tried("machine.disk", why, "")));
            }
        }
    }
    paths.into_iter().map(|(.., finding)| finding).collect()
}

/// Judges the room on a disk. Shared with Docker's data root.
pub(super) fn room(name: &'static str, path: &Path, free: u64, inodes: Option<u64>) -> Finding {
    let mut what = format!("{}: {} free", path.display(), bytesize::ByteSize(free));
    if let Some(inodes) = inodes {
        what.push_str(&format!(", {inodes} inodes"));
    }
    let few = inodes.is_some_and(|inodes| inodes < FEW_INODES);
    let verdict = match free {
        0..LITTLE_ROOM => Verdict::Broken,
        _ if free < SMALL_ROOM || few => Verdict::Warning,
        _ => return Finding::holds(name, what),
    };
    Finding::of(name, verdict, what, "Use a larger volume or a smaller image. GitHub's own machines have 14 GB free.")
}

async fn clock(machine: &Machine) -> Finding {
    const NAME: &str = "machine.clock";
    if !machine.systemd {
        return Finding::not_tried(NAME, "systemd does not run here, which would know", "Compare with: date -u");
    }
    match run(&["timedatectl", "show", "--property=NTPSynchronized", "--property=NTP"], SHORT).await {
        Ok(ran) if ran.succeeded() => judge_synchronised(&properties(&ran.out), machine.image),
        Ok(ran) => unknown_clock(format!("timedatectl: {}", ran.last_words()), machine.image),
        Err(why) => unknown_clock(why.to_string(), machine.image),
    }
}

/// What nobody knows of a machine is not tried; an image must be known to have a time service.
fn unknown_clock(why: String, image: bool) -> Finding {
    const NAME: &str = "machine.clock";
    let advice = "Compare with: date -u";
    if image { Finding::warning(NAME, why, advice) } else { Finding::not_tried(NAME, why, advice) }
}

/// In a build only a time service must be there: it may reach no server.
fn judge_synchronised(of: &Properties, image: bool) -> Finding {
    const NAME: &str = "machine.clock";
    match (value(of, "NTPSynchronized"), value(of, "NTP")) {
        ("yes", _) => Finding::holds(NAME, "synchronised"),
        ("no", "yes") if image => {
            Finding::not_tried(NAME, "a time service is there, and has reached no server yet", "")
        }
        ("no", _) => Finding::warning(
            NAME,
            "the kernel says that the clock is not synchronised; GitHub refuses a runner at 5 minutes of difference",
            "Install chrony or systemd-timesyncd; on EC2 the time service is at 169.254.169.123. Right after boot: try \
             again.",
        ),
        _ => unknown_clock("timedatectl does not say whether it is synchronised".to_owned(), image),
    }
}

/// What the agent knows from the answers of AWS and of the metadata service.
fn clock_difference(machine: &Machine) -> Option<Finding> {
    let seconds = machine.figures.as_ref()?.value(&CLOCK)?;
    Some(judge_clock(seconds))
}

fn judge_clock(seconds: f64) -> Finding {
    const NAME: &str = "machine.clock-aws";
    let what = format!("the clock is {seconds:.0} s away from AWS's");
    let advice = "Install chrony or systemd-timesyncd; on EC2 the time service is at 169.254.169.123.";
    #[expect(clippy::cast_precision_loss, reason = "five minutes")]
    let refused = CLOCK_TOLERANCE as f64;
    match seconds.abs() {
        off if off >= refused => Finding::broken(NAME, format!("{what}; GitHub refuses the runner"), advice),
        off if off >= CLOCK_WORTH_A_WORD => Finding::warning(NAME, what, advice),
        _ => Finding::holds(NAME, what),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_nothing_would_end_is_said_to_be_one() {
        let verdict =
            |poweroff, ec2, always| power_off(&Ending { platform: Platform::Ec2, poweroff, ec2, always }).verdict;
        assert_eq!(verdict(PowerOff::Ec2Only, true, false), Verdict::Holds);
        assert_eq!(verdict(PowerOff::Ec2Only, false, false), Verdict::Warning);
        assert_eq!(verdict(PowerOff::Never, true, false), Verdict::Warning);
        assert_eq!(verdict(PowerOff::Always, false, true), Verdict::Warning);
        let half =
            power_off(&Ending { platform: Platform::Ec2, poweroff: PowerOff::Always, ec2: false, always: false });
        assert!(half.advice.contains(ALWAYS), "nobody is told that the failsafe does nothing: {half:?}");
    }

    #[test]
    fn a_clock_that_nobody_sets_is_warned_of_and_in_a_build_a_time_service_is_enough() {
        let verdict = |text: &str, image| judge_synchronised(&properties(text), image).verdict;
        assert_eq!(verdict("NTPSynchronized=yes\nNTP=yes\n", false), Verdict::Holds);
        assert_eq!(verdict("NTP=yes\nNTPSynchronized=no\n", false), Verdict::Warning);
        assert_eq!(verdict("NTP=yes\nNTPSynchronized=no\n", true), Verdict::NotTried);
        assert_eq!(verdict("NTP=no\nNTPSynchronized=no\n", true), Verdict::Warning, "an image without a clock passes");
        assert_eq!(verdict("", false), Verdict::NotTried);
        assert_eq!(verdict("", true), Verdict::Warning, "an image passes of whose clock nothing is known");
    }

    #[test]
    fn a_clock_that_github_refuses_is_broken() {
        let verdict = |seconds| judge_clock(seconds).verdict;
        assert_eq!(
            [verdict(-2.0), verdict(90.0), verdict(-300.0)],
            [Verdict::Holds, Verdict::Warning, Verdict::Broken]
        );
    }

    #[test]
    fn swap_on_a_disk_is_warned_of_and_zram_is_not() {
        const HEAD: &str = "Filename\t\tType\t\tSize\n";
        assert_eq!(swap(HEAD).verdict, Verdict::Holds);
        assert_eq!(swap(&format!("{HEAD}/dev/zram0 partition 100\n")).verdict, Verdict::Holds);
        let found = swap(&format!("{HEAD}/dev/zram0 partition 100\n/swapfile file 100\n"));
        assert!(found.verdict == Verdict::Warning && found.what.contains("/swapfile"), "{found:?}");
    }

    #[test]
    fn a_disk_without_room_for_a_job_is_broken() {
        let verdict = |free, inodes| room("x", Path::new("/"), free, inodes).verdict;
        assert_eq!(verdict(1 << 30, None), Verdict::Broken);
        assert_eq!(verdict(5 << 30, None), Verdict::Warning);
        assert_eq!(verdict(50 << 30, Some(1000)), Verdict::Warning);
        assert_eq!(verdict(50 << 30, Some(10_000_000)), Verdict::Holds);
        assert_eq!(verdict(50 << 30, None), Verdict::Holds);
    }
}
