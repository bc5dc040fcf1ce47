//! What a level does not promise: said every time, so that nobody reads more into "holds" than there is.

use super::{Finding, Verdict};
use mayfly_core::config::Level;

/// True of both levels.
const BOTH: [&str; 6] = [
    "The Docker socket is root on this machine: whoever may start containers can mount the disk, join any cgroup, and so \
     get the instance role. Give the role nothing that a job must not have.",
    "A job reads its own runner's registration and everything else of its user: they are one user.",
    "A job can replace the runner's programs: bin/ belongs to root, but the directory around it is the runner's, which may \
     rename it. Nothing but the one job of this machine is affected.",
    "BuildKit runs build steps in cgroups of no unit: not in mayfly-jobs.slice, so past its limits. docker.service and \
     system.slice have limits of their own.",
    "The network is open, but for the metadata service: a job reaches whatever the security group lets it.",
    "Hooks and the console come from the job's user: they are evidence, and no proof, of what the job did.",
];

/// What follows from sudo.
const COMPATIBLE: [&str; 2] = [
    "Jobs have sudo: root can remove the rules, stop the agent and read its memory. Honest workflows do not reach the \
     instance role; a hostile one does.",
    "Jobs can leave cron entries and other processes behind. They live until the machine ends.",
];

/// What is left without it.
const RESTRICTED: [&str; 1] = [
    "Closed against accident and sudo, not against a job that means it: see the Docker socket. A job without Docker needs \
     a hole in the kernel.",
];

pub(super) fn of(level: Level) -> Vec<Finding> {
    let own: &[&str] = match level {
        Level::Compatible => &COMPATIBLE,
        Level::Restricted => &RESTRICTED,
    };
    own.iter().chain(&BOTH).map(|what| Finding::of("level", Verdict::NotPromised, *what, "")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_level_hides_that_the_docker_socket_is_root() {
        for level in [Level::Compatible, Level::Restricted] {
            let said = of(level);
            assert!(said.iter().any(|finding| finding.what.contains("Docker socket is root")), "{level:?}: {said:?}");
        }
        assert!(of(Level::Compatible).iter().any(|finding| finding.what.contains("Jobs have sudo")));
        assert!(!of(Level::Restricted).iter().any(|finding| finding.what.contains("Jobs have sudo")));
    }
}
