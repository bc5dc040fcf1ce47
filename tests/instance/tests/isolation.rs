//! The instance's credentials are out of reach of jobs: a real IMDSv2 session is tried from every place a job can get to.

#![allow(missing_docs, reason = "scenarios say it by their names")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may fail there, and tells its figures"
)]

use mayfly_instance::{Machine, job, job_until_let_go, named, seconds};

/// Asks for a session token, with nothing but a shell and netcat, and prints the status line.
const ATTEMPT: &str = r"(printf 'PUT /latest/api/token HTTP/1.1\r\nHost: 169.254.169.254\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'; sleep 3) | busybox nc -w ${W:-5} 169.254.169.254 80 2>&1 | head -n 1";

/// Every place that a job can get to without root, and with Docker: name and how the attempt is made there.
const PLACES: &[(&str, &str)] = &[
    ("step", "sh /tmp/attempt"),
    ("docker-bridged", "docker run --rm -v /tmp/attempt:/attempt mayfly-test sh /attempt"),
    ("docker-host-network", "docker run --rm --network host -v /tmp/attempt:/attempt mayfly-test sh /attempt"),
    ("docker-host-pid", "docker run --rm --pid host --network host -v /tmp/attempt:/attempt mayfly-test sh /attempt"),
    (
        "docker-privileged",
        "docker run --rm --privileged --network host -v /tmp/attempt:/attempt mayfly-test sh /attempt",
    ),
    (
        // Where the rules let through whoever is there: the one place in it is the agent's.
        "docker-beside-the-agent",
        "docker run --rm --cgroup-parent system-mayfly.slice --network host -v /tmp/attempt:/attempt mayfly-test sh /attempt",
    ),
    (
        "build-classic",
        "DOCKER_BUILDKIT=0 docker build --no-cache -q --iidfile /tmp/iid /tmp/build >/dev/null; docker run --rm $(cat /tmp/iid) cat /told",
    ),
    (
        "build-classic-host",
        "DOCKER_BUILDKIT=0 docker build --no-cache --network host -q --iidfile /tmp/iid /tmp/build >/dev/null; docker run --rm $(cat /tmp/iid) cat /told",
    ),
    (
        "build-buildkit",
        "DOCKER_BUILDKIT=1 docker build --no-cache -q --iidfile /tmp/iid /tmp/build >/dev/null; docker run --rm $(cat /tmp/iid) cat /told",
    ),
    (
        "build-buildkit-host",
        "DOCKER_BUILDKIT=1 docker build --no-cache --network host -q --iidfile /tmp/iid /tmp/build >/dev/null; docker run --rm $(cat /tmp/iid) cat /told",
    ),
];

/// The same, where a job may become root.
const WITH_SUDO: &[(&str, &str)] = &[
    ("sudo", "sudo -n sh /tmp/attempt"),
    ("systemd-run", "sudo -n systemd-run --quiet --wait --pipe sh /tmp/attempt"),
    (
        "systemd-run-user",
        "sudo -n loginctl enable-linger runner; export XDG_RUNTIME_DIR=/run/user/$(id -u); for i in 1 2 3 4 5 6 7 8 9 10; do [ -S $XDG_RUNTIME_DIR/bus ] && break; sleep 1; done; systemd-run --user --quiet --wait --pipe sh /tmp/attempt",
    ),
    (
        "cron",
        "echo '* * * * * sh /tmp/attempt >/tmp/cron-told' | crontab -; for i in $(seq 150); do [ -s /tmp/cron-told ] && break; [ -e /tmp/cron-told ] && sleep 4 && break; sleep 0.5; done; crontab -r; cat /tmp/cron-told",
    ),
    (
        "at",
        "echo 'sh /tmp/attempt >/tmp/at-told' | at now 2>/dev/null; for i in $(seq 80); do [ -e /tmp/at-told ] && sleep 4 && break; sleep 0.5; done; cat /tmp/at-told",
    ),
];

fn prepared(name: &str) -> Machine {
    let mut machine = Machine::restored(name);
    machine.put("/tmp/attempt", ATTEMPT);
    machine.guest("mkdir -p /tmp/build /tmp/told && cp /tmp/attempt /tmp/build/ && chmod -R a+rwX /tmp/attempt /tmp/build /tmp/told");
    machine
        .put("/tmp/build/Dockerfile", "FROM mayfly-test\nCOPY attempt /attempt\nRUN sh /attempt >/told 2>&1; true\n");
    // Without rules, and outside the jobs' slice, each of these gets through: else the refusals below would prove nothing.
    let control = machine.guest(
        "export W=20; sh /tmp/attempt; docker run --rm -e W --cgroup-parent mayflytest.slice --network host \
         -v /tmp/attempt:/attempt mayfly-test sh /attempt; docker run --rm -e W --cgroup-parent mayflytest.slice \
         -v /tmp/attempt:/attempt mayfly-test sh /attempt",
    );
    assert_eq!(control.matches("200 OK").count(), 3, "the double was not reachable before the rules: {control}");
    machine
}

fn attempts(paths: &[(&str, &str)]) -> String {
    let mut script = "set +e; cd /tmp\n".to_owned(); // that an attempt fails is what is wanted
    for (name, attempt) in paths {
        script.push_str(&format!("echo none >/tmp/told/{name}\n( {attempt} ) >/tmp/told/{name} 2>&1 </dev/null\n"));
    }
    script + "touch /tmp/attempted; until [ -e /tmp/go ]; do sleep 0.2; done\n"
}

/// Every attempt was made, and none got through.
fn all_refused(machine: &mut Machine, paths: &[(&str, &str)]) {
    machine.until("every attempt is made", seconds(400), "test -e /tmp/attempted");
    let mut report = String::new();
    for (name, _) in paths {
        let told = machine.get(&format!("/tmp/told/{name}"));
        report.push_str(&format!("{name}: {told}\n"));
    }
    eprintln!("{report}");
    assert!(!report.contains("200 OK"), "a job got a session token of the instance:\n{report}");
    // An attempt that failed for want of a program or an image is no attempt.
    for trouble in [
        "not found",
        "Unable to find image",
        "No such file",
        "Cannot connect to the Docker daemon",
        ": none\n",
        "permission denied",
    ] {
        assert!(!report.contains(trouble), "an attempt was not made ({trouble}):\n{report}");
    }
}

/// The agent itself still asks, and is answered.
fn the_agent_gets_through(machine: &mut Machine) {
    let before = machine.clouds.imds.requests().len();
    machine.guest("systemctl kill --signal=KILL mayfly-agent");
    machine.until_state("Busy");
    let after = machine.clouds.imds.requests().len();
    assert!(after > before, "the agent does not get through any more after kill -9");
    machine.guest("systemctl restart mayfly-agent");
    machine.until_state("Busy");
    assert!(machine.clouds.imds.requests().len() > after, "the agent does not get through any more after a restart");
    let told = machine.guest("runuser -u runner -- sh /tmp/attempt");
    assert!(!told.contains("200 OK"), "the restarted agent left the door open: {told}");
}

fn no_job_reaches_the_metadata(name: &str) {
    let mut machine = prepared(name);
    let paths = [PLACES, WITH_SUDO].concat();
    machine.live(&job(&[&attempts(&paths)]));
    machine.until_state("Busy");
    all_refused(&mut machine, &paths);
    the_agent_gets_through(&mut machine);
    machine.let_go();
    machine.ends("job-succeeded", seconds(120));
}

#[test]
fn debian_13_compatible_no_job_reaches_the_metadata_service() {
    no_job_reaches_the_metadata("debian-13");
}

#[test]
fn debian_12_compatible_no_job_reaches_the_metadata_service() {
    no_job_reaches_the_metadata("debian-12");
}

#[test]
fn restricted_there_is_no_sudo_no_cron_and_no_way_to_the_metadata_service() {
    let mut machine = prepared("debian-13");
    machine.guest("/usr/lib/mayfly/provision --level restricted; rm -f /run/mayfly/building");
    let tries = r#"for i in "sudo -n true" "crontab -l" "echo true | at now" "loginctl enable-linger"; do
        if sh -c "$i" >/tmp/told/denied 2>&1; then echo "POSSIBLE: $i"; else echo "denied: $i"; fi; done >/tmp/told/ways"#;
    machine.live(&job(&[tries, &attempts(PLACES)]));
    machine.until_state("Busy");
    all_refused(&mut machine, PLACES);
    let ways = machine.get("/tmp/told/ways");
    assert!(!ways.contains("POSSIBLE"), "the level restricted allows what it forbids:\n{ways}");
    machine.let_go();
    machine.ends("job-succeeded", seconds(120));
}

#[test]
fn compatible_does_not_promise_anything_against_root() {
    // Shown, so that nobody believes otherwise: a job with sudo can take the rules away.
    let mut machine = prepared("debian-13");
    machine.live(&job(&["set +e; sudo systemctl mask --runtime --quiet mayfly-isolation; sudo nft delete table inet mayfly; sudo systemctl set-property --runtime mayfly-jobs.slice IPAddressDeny=; sudo -n systemd-run --quiet --wait --pipe sh /tmp/attempt >/tmp/told/root"]));
    machine.until_terminated(seconds(120));
    assert!(machine.get("/tmp/told/root").contains("200 OK"), "then docs/security.md promises too little");
}

#[test]
fn where_jobs_reach_the_metadata_service_no_jit_configuration_is_fetched() {
    let mut machine = Machine::restored("debian-13");
    machine.guest("printf '#!/usr/sbin/nft -f\n' >/usr/lib/mayfly/isolation.nft;         mkdir -p /run/systemd/system/mayfly-jobs.slice.d;         printf '[Slice]\nIPAddressDeny=\n' >/run/systemd/system/mayfly-jobs.slice.d/t.conf; systemctl daemon-reload");
    machine.live(&named("success"));
    machine.ends("isolation-broken", seconds(90));
    let asked = machine.clouds.aws.requests_of("GetParameter").len();
    assert_eq!(asked, 0, "a JIT configuration was fetched onto a machine where jobs have the instance's role");
}

/// Writes rules that cannot be loaded over the package's, and takes those in force away.
const BREAK_FOR_GOOD: &str = "echo nonsense >/usr/lib/mayfly/isolation.nft; nft delete table inet mayfly";

#[test]
fn a_restart_of_nftables_in_the_middle_of_a_job_leaves_the_way_to_the_metadata_service_shut() {
    let mut machine = Machine::restored("debian-13");
    machine.put("/tmp/attempt", ATTEMPT);
    machine.live(&job_until_let_go());
    machine.until_state("Busy");
    for verb in ["start", "restart", "reload", "stop"] {
        machine.guest(&format!("nft add table inet witness; systemctl {verb} nftables"));
        let rules = machine.guest("nft list ruleset");
        assert!(
            !rules.contains("witness"),
            "systemctl {verb} nftables flushes nothing, and this proves nothing:\n{rules}"
        );
        assert!(
            rules.contains("\"system.slice/system-mayfly.slice\" accept"),
            "after systemctl {verb} nftables the first layer is gone, or shuts the agent out:\n{rules}"
        );
        // From outside the jobs' slice: its second layer would hide that the first one is gone.
        let told = machine.guest("sh /tmp/attempt");
        assert!(!told.contains("200 OK"), "after systemctl {verb} nftables a build step gets the role: {told}");
    }
    // Whoever else takes them away is seen by the agent.
    machine.guest("nft flush ruleset");
    machine.until("the rules are back", seconds(150), "nft list table inet mayfly");
    let told = "journalctl --unit mayfly-agent --output=cat | grep -q 'were gone; they are in force again'";
    machine.until("it is told", seconds(60), told);
    machine.guest(BREAK_FOR_GOOD);
    let told = "journalctl --unit mayfly-agent --output=cat | grep -q 'are gone and cannot be put back'";
    machine.until("rules that stay away are told", seconds(150), told);
    machine.let_go();
    let record = machine.ends("job-succeeded", seconds(120));
    let warnings = record["host"]["warnings"].to_string();
    assert!(warnings.contains("isolation"), "the record hides that a job could have got the role: {warnings}");
}

#[test]
fn rules_that_were_flushed_before_the_agent_started_are_back_before_anything_is_fetched() {
    let mut machine = Machine::restored("debian-13");
    // As in a boot: loaded early. Then something flushes them, such as a line of user data.
    machine.guest("systemctl start mayfly-isolation-load; nft list table inet mayfly; nft flush ruleset");
    machine.play(&named("success"));
    machine.start_mayfly();
    machine.until_state("WaitingForJitConfig");
    let listed = machine.guest("nft list table inet mayfly");
    assert!(listed.contains("system-mayfly.slice"), "the JIT configuration is fetched with one layer of two: {listed}");
    machine.launch();
    let record = machine.ends("job-succeeded", seconds(120));
    let warnings = record["host"]["warnings"].to_string();
    assert!(warnings.contains("isolation"), "the record hides that the rules were gone: {warnings}");
}

#[test]
fn where_the_rules_cannot_be_loaded_at_boot_no_jit_configuration_is_fetched() {
    let mut machine = Machine::restored("debian-13");
    machine.guest("echo nonsense >/usr/lib/mayfly/isolation.nft");
    machine.live(&named("success"));
    machine.ends("isolation-broken", seconds(120));
    let asked = machine.clouds.aws.requests_of("GetParameter").len();
    assert_eq!(asked, 0, "a JIT configuration was fetched where only the second layer keeps jobs from the role");
}

#[test]
fn a_unit_that_user_data_lets_through_is_let_through_and_rules_follow_a_slice_that_was_made_anew() {
    let mut machine = Machine::restored("debian-13");
    machine.put("/tmp/attempt", ATTEMPT);
    machine.guest("systemctl start mayfly-isolation-load; systemd-run --quiet --unit=own sleep infinity");
    machine.put(
        "/etc/mayfly/isolation.d/own.nft",
        "add rule inet mayfly more socket cgroupv2 level 2 \"system.slice/own.service\" accept\n",
    );
    machine.live(&job_until_let_go());
    machine.until_state("Busy");
    let rules = machine.guest("nft list chain inet mayfly more");
    assert_eq!(rules.matches("own.service").count(), 1, "what the operator lets through is not, or twice: {rules}");
    let before = machine.clouds.imds.requests().len();
    machine.guest("systemctl stop system-mayfly.slice; systemctl start mayfly-agent");
    machine.until_state("Busy");
    assert!(machine.clouds.imds.requests().len() > before, "the rules are bound to a cgroup that is gone");
    machine.let_go();
    machine.ends("job-succeeded", seconds(120));
}

#[test]
fn a_machine_whose_rules_were_taken_away_before_the_start_starts_no_runner() {
    let mut machine = Machine::restored("debian-13");
    machine.play(&named("success"));
    machine.start_mayfly();
    machine.until_state("WaitingForJitConfig");
    machine.guest(BREAK_FOR_GOOD);
    machine.launch();
    machine.until_terminated(seconds(120));
    assert_eq!(machine.starts(), 0, "a job runs where only the second layer keeps it from the role");
    machine.ends("isolation-broken", seconds(60));
}
