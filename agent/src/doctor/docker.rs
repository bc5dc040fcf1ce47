//! The Docker daemon: does it answer, has it room, do its containers belong to the jobs' slice?

use std::fs;
use std::path::Path;

use super::checks::SHORT;
use super::machine::room;
use super::properties::show;
use super::{Finding, Machine, image};
use crate::docker::{Docker, Health};
use crate::systemd::JOBS;
use mayfly_core::config::DockerMode;

const DAEMON_JSON: &str = "/etc/docker/daemon.json";

pub(super) async fn check(machine: &Machine) -> Vec<Finding> {
    const NAME: &str = "docker.answers";
    let mode = machine.config.docker;
    if mode == DockerMode::Off {
        return vec![Finding::holds(NAME, "docker.mode is \"off\": nobody asks for it")];
    }
    let docker = match Docker::from_environment() {
        Ok(docker) => docker,
        Err(error) => return vec![Finding::not_tried(NAME, error.to_string(), "")],
    };
    let health = docker.probe(SHORT).await;
    let advice = "See journalctl --unit docker.service, and systemctl status containerd.service.";
    let mut findings = vec![match (&health, mode) {
        (Health::Ready, _) => Finding::holds(NAME, "the daemon and its containerd answer"),
        (Health::Absent, DockerMode::Required) => Finding::broken(
            NAME,
            "Docker is not installed, and docker.mode is \"required\"",
            "Install it in the image.",
        ),
        (Health::Absent, _) => Finding::holds(NAME, "Docker is not installed, and docker.mode does not require it"),
        (Health::Slow, _) if machine.image => {
            Finding::holds(NAME, "the daemon answers, slowly on the machine that builds")
        }
        (Health::Slow, _) => Finding::warning(NAME, "the daemon answers, but slowly", advice),
        (Health::Failing(reason), _) if !machine.root => {
            Finding::not_tried(NAME, reason.clone(), "Run it as root, or as a member of the group docker.")
        }
        (other, _) => Finding::broken(NAME, format!("{}: {other}", docker.socket().display()), advice),
    }];
    if health.is_answer() {
        findings.push(match docker.data_root_room().await {
            Ok(figures) => {
                let room = room("docker.room", &figures.path, figures.free_bytes, figures.free_inodes);
                if machine.image { image::not_in_a_build(room) } else { room }
            }
            Err(error) => Finding::not_tried("docker.room", error.to_string(), ""),
        });
        findings.push(match docker.cgroups().await {
            Ok(cgroups) => containers_in_slice(&cgroups.driver, &cgroups.version, &fs::read(DAEMON_JSON)),
            Err(error) => Finding::not_tried("docker.cgroups", error.to_string(), ""),
        });
        findings.extend(denied(machine).await);
    }
    findings
}

fn containers_in_slice(driver: &str, version: &str, daemon_json: &std::io::Result<Vec<u8>>) -> Finding {
    const NAME: &str = "docker.cgroups";
    let parent = daemon_json.as_ref().ok().and_then(|text| {
        let value: serde_json::Value = serde_json::from_slice(text).ok()?;
        Some(value.get("cgroup-parent")?.as_str()?.to_owned())
    });
    if driver == "systemd" && version != "1" && parent.as_deref() == Some(JOBS) {
        return Finding::holds(NAME, format!("driver systemd, cgroup v2; {DAEMON_JSON} puts containers into {JOBS}"));
    }
    Finding::broken(
        NAME,
        format!(
            "driver {driver:?}, cgroup version {version:?}, cgroup-parent {:?}: containers run outside the limits of {JOBS}",
            parent.unwrap_or_default()
        ),
        format!(
            "In {DAEMON_JSON}: \"exec-opts\": [\"native.cgroupdriver=systemd\"], \"cgroup-parent\": \"{JOBS}\" \
             (/usr/lib/mayfly/provision does), and restart Docker. Cgroup version 2 is the kernel's own default."
        ),
    )
}

/// The second layer around the daemon, which fetches on a job's behalf. The first is tried by building something.
async fn denied(machine: &Machine) -> Option<Finding> {
    const NAME: &str = "docker.denied";
    if !machine.systemd {
        return None;
    }
    let docker = show("docker.service", &["IPAddressDeny", "LoadState"]).await.ok()?;
    if docker.get("LoadState").map(String::as_str) != Some("loaded") {
        return None; // another name or no unit; the rules of nftables do not depend on it
    }
    let denied = docker.get("IPAddressDeny").map(String::as_str).unwrap_or_default();
    Some(if denied.contains("169.254.169.254") && denied.contains("fd00:ec2::254") {
        Finding::holds(NAME, "docker.service itself is denied the metadata service")
    } else {
        let drop_in = Path::new("/usr/lib/mayfly/machine/system/docker.service.d/mayfly.conf");
        let advice = format!("Run /usr/lib/mayfly/provision: it links {}.", drop_in.display());
        Finding::warning(
            NAME,
            "docker.service has no IPAddressDeny= for the metadata service (the second layer)",
            advice,
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn containers_outside_the_slice_are_broken() {
        let json = |text: &str| Ok(text.as_bytes().to_vec());
        let right = r#"{"cgroup-parent":"mayfly-jobs.slice"}"#;
        assert_eq!(containers_in_slice("systemd", "2", &json(right)).verdict, Verdict::Holds);
        for (driver, version, text) in [
            ("cgroupfs", "2", right),
            ("systemd", "1", right),
            ("systemd", "2", "{}"),
            ("systemd", "2", "no json"),
            ("systemd", "2", r#"{"cgroup-parent":"other.slice"}"#),
        ] {
            let found = containers_in_slice(driver, version, &json(text));
            assert_eq!(found.verdict, Verdict::Broken, "{driver} {version} {text}: {found:?}");
        }
        let missing = Err(std::io::Error::from(std::io::ErrorKind::NotFound));
        assert_eq!(containers_in_slice("systemd", "2", &missing).verdict, Verdict::Broken);
    }
}
