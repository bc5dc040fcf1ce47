//! The examples of `cloud-init/`, each as the user data of a machine that boots.

#![allow(missing_docs, reason = "scenarios say it by their names")]
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test may fail there, and tells its figures")]

use std::path::Path;

use mayfly_instance::{Machine, Spec};

/// Boots with the example, and sees its settings in `mayfly config show`.
fn shows(example: &str, settings: &[&str]) -> Machine {
    // Asked when the test runs: a build cache that two checkouts share may hold the other one's program.
    let package = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    let path = Path::new(&package).join("../../cloud-init").join(format!("{example}.yaml"));
    let mut machine = Spec::new("debian-13").user_data(&std::fs::read_to_string(path).unwrap()).boot().unwrap();
    machine.wait_until_booted();
    let status = machine.try_guest("cloud-init status --long").stdout;
    assert!(status.contains("status: done"), "cloud-init is not content with {example}: {status}");
    let shown = machine.guest("mayfly config show");
    for setting in settings {
        let found = shown.lines().any(|line| line.starts_with(setting));
        assert!(found, "{example} does not set {setting:?} on the machine:\n{shown}");
    }
    machine.guest("systemctl is-active mayfly-agent");
    machine
}

#[test]
fn minimal_names_the_class() {
    let mut machine = shows("minimal", &["class = \"linux-small\""]);
    // In between, and so in nobody's way: cloud-init asks for metadata too.
    let moments = machine.guest(
        "systemctl show --value -p ActiveEnterTimestampMonotonic cloud-init-network mayfly-isolation-load; \
         systemctl show --value -p InactiveExitTimestampMonotonic mayfly-agent",
    );
    let moments: Vec<u64> = moments.split_whitespace().map(|moment| moment.parse().unwrap()).collect();
    assert!(
        moments.is_sorted() && moments[0] > 0,
        "the rules shut out cloud-init, or come after the agent: {moments:?}"
    );
    eprintln!("{}", machine.guest("systemd-analyze critical-chain --no-pager mayfly-agent.service; systemctl list-dependencies --no-pager --plain --after mayfly-agent.service"));
}

#[test]
fn tuned_changes_limits_slice_lifetime_and_hooks() {
    let mut machine =
        shows("tuned", &["idle = \"2m\"", "job = \"1h\"", "lifetime = \"2h\"", "group = \"/ci/linux-small\""]);
    let timer = machine.guest("systemctl show -P TimersMonotonic mayfly-deadline.timer");
    assert!(timer.contains("OnActiveUSec=2h"), "the lifetime limit of systemd is another one: {timer}");
    let memory = machine.guest("systemctl show -P DropInPaths mayfly-jobs.slice");
    assert!(memory.contains("50-memory.conf"), "the jobs' memory is not what was asked for: {memory}");
    machine.guest("test -x /etc/mayfly/job-started.d/50-disk");
}

#[test]
fn mirror_and_proxy_reach_docker_agent_and_runner() {
    let mut machine = shows("mirror-proxy", &[]);
    let mirrors = machine.guest("docker info --format '{{.RegistryConfig.Mirrors}}'");
    assert!(mirrors.contains("http"), "Docker does not know the mirror: {mirrors}");
    let group = machine.guest("docker info --format '{{.CgroupDriver}}'");
    assert_eq!(group.trim(), "systemd", "the example took away what the image had in daemon.json");
    let pid = machine.guest("systemctl show -P MainPID mayfly-agent");
    let environment = machine.guest(&format!("tr '\\0' '\\n' </proc/{}/environ", pid.trim()));
    assert!(environment.to_lowercase().contains("https_proxy="), "the agent does not know the proxy: {environment}");
    assert!(
        environment.contains("169.254.169.254"),
        "the metadata service would be asked through a proxy: {environment}"
    );
}

#[test]
fn hold_keeps_a_failed_machine_and_logs_to_the_console() {
    let machine = shows("hold", &["hold_on_failure = \"1h\""]);
    assert!(machine.console().contains("waiting for the JIT configuration"), "the agent's log is not on the console");
}
