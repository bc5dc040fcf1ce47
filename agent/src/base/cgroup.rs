//! The processes of a unit, by what the kernel shows of their cgroups.

use std::io;

use procfs::process::all_processes;

/// The living processes of a unit, by their cgroups. Who asks systemd instead may get no answer.
///
/// # Errors
/// The processes of this machine cannot be seen: whether there are any is not known.
pub fn in_unit(unit: &str) -> io::Result<Vec<i32>> {
    Ok(living()?.filter(|pid| is_in_unit(*pid, unit)).collect())
}

fn living() -> io::Result<impl Iterator<Item = i32>> {
    let processes = all_processes().map_err(io::Error::other)?;
    let stats = processes.flatten().filter_map(|process| process.stat().ok());
    Ok(stats.filter(|stat| !matches!(stat.state, 'Z' | 'X')).map(|stat| stat.pid))
}

/// Whether a process is in a unit's cgroup or below, wherever that is.
#[must_use]
pub fn is_in_unit(pid: i32, unit: &str) -> bool {
    let cgroups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    names_unit(&cgroups, unit)
}

/// Reads `/proc/<pid>/cgroup`: a line for each hierarchy, `<number>:<controllers>:<path>`.
fn names_unit(cgroups: &str, unit: &str) -> bool {
    let paths = cgroups.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    paths.into_iter().any(|path| path.split('/').any(|part| part == unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_in_a_unit_by_a_whole_part_of_its_cgroups_path() {
        let unit = "mayfly-runner.service";
        for (cgroups, expected) in [
            ("0::/mayfly.slice/mayfly-jobs.slice/mayfly-runner.service\n", true),
            ("0::/mayfly.slice/mayfly-jobs.slice/mayfly-runner.service/step\n", true),
            ("4:memory:/\n1:name=systemd:/mayfly.slice/mayfly-runner.service\n", true),
            ("0::/mayfly.slice/mayfly-agent.service\n", false),
            ("0::/x/not-mayfly-runner.service\n", false),
            ("", false),
        ] {
            assert_eq!(names_unit(cgroups, unit), expected, "{cgroups:?}");
        }
    }

    #[test]
    fn the_processes_of_a_unit_are_found_without_systemd() {
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let Some(part) = own.lines().filter_map(|line| line.rsplit('/').next()).find(|part| !part.is_empty()) else {
            return; // the root of the hierarchy, as in a container
        };
        let pid = i32::try_from(std::process::id()).unwrap_or(0);
        assert!(in_unit(part).is_ok_and(|pids| pids.contains(&pid)), "this process is not found in {part}");
        assert!(in_unit("no-such.service").is_ok_and(|pids| pids.is_empty()));
    }
}
