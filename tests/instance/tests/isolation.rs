//! The instance's credentials are out of reach of jobs: a real IMDSv2 session is tried from every place a job can get to.

#![allow(missing_docs, reason = "scenarios say it by their names")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may fail there, and tells its figures"
)]

use mayfly_instance::{Machine, named, seconds};

#[test]
fn where_jobs_reach_the_metadata_service_no_jit_configuration_is_fetched() {
    let mut machine = Machine::restored("debian-13");
    machine.guest("printf '#!/usr/sbin/nft -f\n' >/usr/lib/mayfly/isolation.nft;         mkdir -p /run/systemd/system/mayfly-jobs.slice.d;         printf '[Slice]\nIPAddressDeny=\n' >/run/systemd/system/mayfly-jobs.slice.d/t.conf; systemctl daemon-reload");
    machine.live(&named("success"));
    machine.ends("isolation-broken", seconds(90));
    let asked = machine.clouds.aws.requests_of("GetParameter").len();
    assert_eq!(asked, 0, "a JIT configuration was fetched onto a machine where jobs have the instance's role");
}
