//! The instance's credentials are out of reach of jobs: a real IMDSv2 session is tried from every place a job can get to.

#![allow(missing_docs, reason = "scenarios say it by their names")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may fail there, and tells its figures"
)]

use mayfly_instance::{Machine, job, named, seconds};

/// Asks for a session token, with nothing but a shell and netcat, and prints the status line.
const ATTEMPT: &str = r"(printf 'PUT /latest/api/token HTTP/1.1\r\nHost: 169.254.169.254\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'; sleep 3) | busybox nc -w ${W:-5} 169.254.169.254 80 2>&1 | head -n 1";

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

#[test]
fn compatible_does_not_promise_anything_against_root() {
    // Shown, so that nobody believes otherwise: a job with sudo can take the rules away.
    let mut machine = prepared("debian-13");
    machine.live(&job(&["sudo nft delete table inet mayfly; sudo systemctl set-property --runtime mayfly-jobs.slice IPAddressDeny=; sudo -n systemd-run --quiet --wait --pipe sh /tmp/attempt >/tmp/told/root"]));
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
