//! What starts by itself on a machine of Debian or Ubuntu, and is off on one that lives for one job.
//!
//! The image's provision turns it off, and doctor looks whether it is: both by this list.

/// A unit of systemd that must not run on such a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unwanted {
    /// The unit's name.
    pub unit: &'static str,
    /// What it would do to a job.
    pub why: &'static str,
}

const fn unwanted(unit: &'static str, why: &'static str) -> Unwanted {
    Unwanted { unit, why }
}

/// The units, to be masked: a timer that is only disabled comes back with an upgrade of its package. Most of these timers are
/// persistent: an image that is older than their interval has them fire in its first minutes, which are the job's.
pub const UNWANTED: &[Unwanted] = &[
    unwanted("apt-daily.timer", "downloads lists and packages, and holds the lock that a job's apt-get needs"),
    unwanted(
        "apt-daily-upgrade.timer",
        "upgrades packages under the job, restarts their services, and holds apt's lock",
    ),
    unwanted("unattended-upgrades.service", "can hold back the machine's end until an upgrade is done"),
    unwanted("man-db.timer", "reads all manual pages, from a disk that is cold"),
    unwanted("dpkg-db-backup.timer", "copies dpkg's database, of which nobody will have the backup"),
    unwanted("motd-news.timer", "asks a server of the distribution for news that nobody reads"),
    unwanted("fwupd-refresh.timer", "downloads a list of firmware that a virtual machine does not have"),
    unwanted("snapd.snap-repair.timer", "downloads and runs repairs of snaps"),
    unwanted("e2scrub_all.timer", "checks whole file systems under the job"),
    unwanted("update-notifier-download.timer", "downloads beside the job"),
    unwanted("update-notifier-motd.timer", "asks a server for news that nobody reads"),
    unwanted("ua-timer.timer", "talks to Ubuntu Pro beside the job"),
    unwanted("fstrim.timer", "walks over the whole volume under the job, which ends with its machine"),
];

/// The setting of snapd that keeps it from refreshing snaps, and the value that it must have.
pub const SNAP_HOLD: (&str, &str) = ("refresh.hold", "forever");

/// What needrestart's `$nrconf{restart}` must be: list what uses old libraries, and restart nothing.
pub const NEEDRESTART_MODE: &str = "l";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_images_provision_masks_what_doctor_looks_for() {
        let table = include_str!("../../scripts/provision.d/quiet");
        let masked: Vec<&str> =
            table.lines().filter_map(|line| line.split('#').next()?.split_whitespace().next()).collect();
        let looked_for: Vec<&str> = UNWANTED.iter().map(|unwanted| unwanted.unit).collect();
        assert_eq!(masked, looked_for, "an image is warned of, or refused for, what its own steps leave on");
    }

    #[test]
    fn each_unit_is_there_once_and_says_why() {
        for (number, Unwanted { unit, why }) in UNWANTED.iter().enumerate() {
            assert!(unit.ends_with(".timer") || unit.ends_with(".service"), "{unit} is no name of a unit");
            assert!(why.len() > 20 && !why.ends_with('.'), "{unit}: {why}");
            assert!(UNWANTED[number + 1..].iter().all(|other| other.unit != *unit), "{unit} is there twice");
        }
    }
}
