//! Two hundred instances that wait for their JIT configuration at once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

use std::process::Stdio;
use std::time::{Duration, Instant};

use mayfly_e2e::Cloud;
use mayfly_fake_aws::Limit;
use mayfly_fake_aws::proxy::{AwsError, Fault, Match};

/// SSM's default quota is 40 calls a second, for the whole account.
#[test]
fn two_hundred_waiting_agents_stay_below_forty_calls_a_second() {
    const AGENTS: usize = 200;
    let cloud = Cloud::standalone("success");
    let code = "ParameterNotFound".to_owned();
    let absent = AwsError::Code { status: 400, code, message: String::new() };
    cloud.aws.fault(Match::action("GetParameter"), Limit::default(), Fault::Error(absent));
    let mut agents: Vec<_> = (0..AGENTS)
        .map(|number| {
            let mut command = cloud.command();
            command.env("MAYFLY_STATE_DIRECTORY", cloud.run.directory().join(format!("state-{number}")));
            command.env("MAYFLY_JIT_WAIT", "10m").env("MAYFLY_LIMITS_LIFETIME", "20m").env("MAYFLY_TIME_SCALE", "1");
            command.env("MAYFLY_LIMITS_BOOTING", "60s").stderr(Stdio::null()).spawn().unwrap()
        })
        .collect();
    let asked = |calls: usize| {
        let deadline = Instant::now() + Duration::from_secs(90);
        while cloud.calls("GetParameter") < calls {
            assert!(Instant::now() < deadline, "{} calls only", cloud.calls("GetParameter"));
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    asked(AGENTS);
    // The machine starts them over some seconds, as EC2 would; ten seconds after the last one counts begin.
    let all_there = cloud.aws.requests_of("GetParameter")[AGENTS - 1].at;
    let end = all_there + Duration::from_secs(30);
    cloud.aws.wait(Duration::from_secs(60), |requests| requests.last().is_some_and(|request| request.at > end));
    for agent in &mut agents {
        agent.kill().unwrap();
        agent.wait().unwrap();
    }
    let from = all_there + Duration::from_secs(10);
    let times: Vec<Duration> = cloud
        .aws
        .requests_of("GetParameter")
        .iter()
        .map(|request| request.at)
        .filter(|at| (from..end).contains(at))
        .collect();
    let busiest = times
        .iter()
        .map(|from| times.iter().filter(|at| (*from..*from + Duration::from_secs(1)).contains(at)).count())
        .max();
    let busiest = busiest.unwrap_or(0);
    // On average one call in 12 s each, later 15 s: 270 to 330. A machine that starts them slowly sees fewer.
    assert!(times.len() > AGENTS / 2, "the agents do not ask: {} calls in 20 s", times.len());
    assert!(busiest < 40, "{busiest} calls in one second: a busy hour would be throttled");
}
