//! A thousand jobs at once, in virtual time.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail there")]

mod common;

use std::time::Duration;

use common::{Caller, LONG, Receiver, SAMPLE};
use mayfly_fake_github::{ClockKind, Conclusion, FakeGithub, JobSpec, Options};

/// So many jobs come at once.
const JOBS: usize = 1000;

#[test]
fn a_thousand_jobs_are_served_as_fast_as_registrations_are_granted() {
    let options = Options { clock: ClockKind::Manual, registration_burst: 166, ..Options::default() };
    let github = FakeGithub::start(options).unwrap();
    let receiver = Receiver::start();
    github.webhook_to(&receiver.url, "s");
    let jobs: Vec<_> = (0..JOBS).map(|_| github.queue_job(&JobSpec::new(SAMPLE, &["ec2"])).unwrap()).collect();
    let caller = Caller::installation(&github);
    let mut minted = 0;
    while minted < JOBS {
        let answer = caller.mint(&format!("r-{minted}"), &["ec2"]);
        if answer.status == 201 {
            github.runner_online(&format!("r-{minted}")).unwrap();
            minted += 1;
            continue;
        }
        let wait = answer.header("retry-after").unwrap().parse().unwrap();
        github.advance(Duration::from_secs(wait));
    }
    let took = github.now().as_secs();
    // (1000 - 166) at 10,000 an hour, in steps of a second.
    assert!((300..330).contains(&took), "{took} s of virtual time");
    for job in &jobs {
        github.complete_job(*job, Conclusion::Success).unwrap();
    }
    assert!(github.wait_delivered(LONG));
    assert_eq!(github.webhooks().len(), 3 * JOBS);
    assert_eq!((github.runners().len(), github.violations()), (0, Vec::new()));
}
