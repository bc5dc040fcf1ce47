//! The way to the instance's credentials from containers and builds, tried with an image made of this program and the
//! libraries it is linked with: no network, no registry, nothing left behind.

use super::checks::{LONG, NotRun, Probed, Ran, SHORT, as_job, run};
use super::isolation::probed;
use super::{Finding, Machine, SHUT};
use crate::base::exit;
use crate::docker::Docker;
use crate::systemd::JOBS;

const IMAGE: &str = "mayfly-doctor:probe";

/// What a job may write in a workflow, from the usual to the hostile.
const RUNS: [(&str, &str, &[&str]); 3] = [
    ("isolation.bridge", "a container", &["--cgroupns=host"]),
    ("isolation.host", "a container with --network host", &["--network=host"]),
    (
        "isolation.privileged",
        "a privileged container with the host's network, processes and cgroups",
        &["--network=host", "--pid=host", "--cgroupns=host", "--privileged"],
    ),
];

/// Makes the image; `docker import` is fed with plain files.
const MAKE: &str = r#"{ echo "$1"; ldd "$1" | grep -o '/[^ ]*'; } | sort -u | tar --create --dereference --files-from=- | docker import - "$2""#;

/// A directory of its own: buildx keeps state in the user's home otherwise.
const BUILD: &str = r#"DOCKER_CONFIG=$(mktemp -d) && export DOCKER_CONFIG && trap 'rm -rf "$DOCKER_CONFIG"' EXIT
printf '%b' "$1" | BUILDKIT_PROGRESS=plain docker build --no-cache --force-rm --network="$2" --tag="$3" - 2>&1"#;

pub(super) async fn check(machine: &Machine) -> Vec<Finding> {
    const NAME: &str = "isolation.docker";
    let health = match Docker::from_environment() {
        Ok(docker) => docker.probe(SHORT).await,
        Err(error) => return vec![Finding::not_tried(NAME, error, "")],
    };
    if !health.is_answer() {
        return vec![Finding::not_tried(NAME, format!("no containers: Docker is {health}"), "")];
    }
    let program = machine.program.to_string_lossy().into_owned();
    // Of a doctor that was killed: importing anew would leave its image behind without a name.
    remove_images().await;
    let made = run(&["/bin/sh", "-c", MAKE, "sh", &program, IMAGE], LONG).await;
    let findings = match made {
        Ok(ran) if ran.succeeded() => programs(machine, &program).await,
        Ok(ran) => vec![Finding::not_tried(NAME, format!("no image could be made: {}", ran.last_words()), "")],
        Err(why) => vec![Finding::not_tried(NAME, format!("no image could be made: {why}"), "")],
    };
    remove_images().await;
    findings
}

/// Best effort: an image that is not there is as well.
async fn remove_images() {
    let _ = run(&["docker", "image", "rm", "--force", IMAGE, FETCHED], LONG).await;
}

/// The tag of what an `ADD` would make, if it succeeds.
const FETCHED: &str = "mayfly-doctor:fetched";

async fn programs(machine: &Machine, program: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, (name, who, options)) in RUNS.iter().enumerate() {
        let container = format!("mayfly-doctor-{}-{number}", std::process::id());
        let mut arguments = vec!["docker", "run", "--rm", "--pull=never", "--name", &container];
        arguments.extend(*options);
        arguments.extend([IMAGE, program, "probe", "--cgroup"]);
        let ran = as_job(machine, &arguments, LONG).await;
        if ran.is_err() {
            let _ = run(&["docker", "rm", "--force", "--volumes", &container], LONG).await;
        }
        let slice = ran.as_ref().ok().filter(|_| number == 0).and_then(in_slice);
        findings.push(probed(machine, name, who, Probed::of(ran)));
        findings.extend(slice);
    }
    for (name, who, network) in [
        ("isolation.build", "a build step (RUN)", "default"),
        ("isolation.build-host", "a build step with --network host", "host"),
    ] {
        let text = format!("FROM {IMAGE}\\nRUN [\"{program}\", \"probe\", \"--fail\"]\\n");
        let ran = as_job(machine, &["/bin/sh", "-c", BUILD, "sh", &text, network, FETCHED], LONG).await;
        findings.push(probed(machine, name, who, built(ran)));
    }
    let text = "FROM scratch\\nADD http://169.254.169.254/latest/meta-data/ /fetched\\n";
    let ran = as_job(machine, &["/bin/sh", "-c", BUILD, "sh", text, "default", FETCHED], LONG).await;
    findings.push(probed(machine, "isolation.add", "the Docker daemon (ADD http://…)", fetched(ran)));
    findings
}

/// Whether a container belongs to the jobs' slice, by its own word.
fn in_slice(ran: &Ran) -> Option<Finding> {
    const NAME: &str = "isolation.slice";
    let cgroup = ran.out.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(if cgroup.contains(&format!("/{JOBS}/")) {
        Finding::holds(NAME, format!("containers are in {JOBS}: its limits and its IPAddressDeny= hold for them"))
    } else {
        Finding::broken(
            NAME,
            format!("a container is in {cgroup}, outside {JOBS} and its limits"),
            "See docker.cgroups.",
        )
    })
}

/// What a build whose only step is the probe says. The classic builder and BuildKit word it differently.
fn built(ran: Result<Ran, NotRun>) -> Probed {
    let ran = match ran {
        Ok(ran) => ran,
        Err(error) => return Probed::Failed(error.to_string()),
    };
    let ended = |code: u8| {
        [format!("returned a non-zero code: {code}"), format!("exit code: {code}")]
            .iter()
            .any(|words| ran.out.lines().any(|line| line.trim_end().ends_with(words)))
    };
    if ended(exit::PERMISSION) {
        let said = ran.out.lines().find_map(|line| line.split_once("mayfly: ")).map(|(_, said)| said.to_owned());
        return Probed::Reached(said.unwrap_or_else(|| "the metadata service answered".to_owned()));
    }
    if ended(SHUT) { Probed::Shut } else { Probed::Failed(ran.last_words()) }
}

/// What a build says that fetches from the metadata service. Any status is an answer.
fn fetched(ran: Result<Ran, NotRun>) -> Probed {
    const UNANSWERED: [&str; 9] = [
        "connection refused",
        "connection reset",
        "no route to host",
        "network is unreachable",
        "operation not permitted",
        "permission denied",
        "i/o timeout",
        "deadline exceeded",
        "Client.Timeout",
    ];
    const ANSWERED: [&str; 4] = ["with status", "response status", "status code", "invalid not-modified"];
    match ran {
        Err(error) => Probed::Failed(error.to_string()),
        Ok(ran) if ran.succeeded() => Probed::Reached("the daemon fetched it".to_owned()),
        Ok(ran) if ANSWERED.iter().any(|words| ran.out.contains(words)) => Probed::Reached(ran.last_words()),
        Ok(ran) if ran.out.contains("169.254.169.254") && UNANSWERED.iter().any(|words| ran.out.contains(words)) => {
            Probed::Shut
        }
        Ok(ran) => Probed::Failed(ran.last_words()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn ran(code: i32, out: &str) -> Ran {
        Ran { code: Some(code), out: out.to_owned(), err: String::new() }
    }

    #[test]
    fn a_container_outside_the_slice_is_broken() {
        let found = |out: &str| in_slice(&ran(0, out)).map(|finding| finding.verdict);
        assert_eq!(found("0::/mayfly.slice/mayfly-jobs.slice/docker-1.scope\n"), Some(Verdict::Holds));
        assert_eq!(found("0::/system.slice/docker-1.scope\n"), Some(Verdict::Broken));
        assert_eq!(found(""), None);
    }

    #[test]
    fn both_builders_are_understood_and_a_build_that_failed_otherwise_proves_nothing() {
        let result = |text: &str| built(Ok(ran(1, text)));
        let step = "The command '/usr/bin/mayfly probe --fail' returned a non-zero code:";
        assert_eq!(result(&format!("{step} 3\n")), Probed::Shut);
        let buildkit = "ERROR: failed to solve: process \"/usr/bin/mayfly probe --fail\" did not complete successfully: exit code:";
        assert_eq!(result(&format!("{buildkit} 3\n")), Probed::Shut);
        assert!(
            matches!(result(&format!("#5 0.1 mayfly: v4 answered\n{buildkit} 77\n")), Probed::Reached(how) if how == "v4 answered")
        );
        assert!(matches!(result(&format!("{step} 77\n")), Probed::Reached(_)));
        for text in
            [format!("{step} 127\n"), format!("{step} 33\n"), "ERROR: failed to solve: pull access denied".to_owned()]
        {
            assert!(matches!(result(&text), Probed::Failed(_)), "{text:?} counts as tried");
        }
    }

    #[test]
    fn any_status_of_the_metadata_service_is_an_answer() {
        let result = |code, text: &str| fetched(Ok(ran(code, text)));
        let get = "ADD failed: failed to GET http://169.254.169.254/latest/meta-data/";
        assert!(matches!(result(1, &format!("{get} with status 401 Unauthorized: ")), Probed::Reached(_)));
        assert!(matches!(result(0, "Successfully built"), Probed::Reached(_)));
        let refused = "Get \"http://169.254.169.254/latest/meta-data/\": dial tcp 169.254.169.254:80: connect: connection refused";
        assert_eq!(result(1, &format!("ADD failed: {refused}")), Probed::Shut);
        let socket = "dial unix /run/docker.sock: connect: permission denied";
        assert!(matches!(result(1, socket), Probed::Failed(_)), "a build that never began counts as blocked");
    }
}
