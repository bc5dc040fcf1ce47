//! What EC2 announces during a run: spot interruptions, rebalance recommendations, maintenance.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mayfly_e2e::{Cloud, OnInstance, mayfly_binary};
use mayfly_fake_aws::Limit;
use mayfly_fake_aws::imds::{Fault, event_date};
use mayfly_fake_aws::proxy::{Fault as AwsFault, Match};
use mayfly_fake_runner::Scenario;
use serde_json::{Value, json};

const SPOT: &str = "meta-data/spot/instance-action";
const RUN: &str = "mayfly-example/sample/1234567890/1";

/// Whole seconds, as EC2 announces them.
fn in_seconds(seconds: u64) -> SystemTime {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    UNIX_EPOCH + Duration::from_secs(now + seconds)
}

/// A job that takes so long, and is asked to stop 2 s before an interruption instead of 25 s, and killed 1 s before.
fn with_job(milliseconds: u64) -> Cloud {
    let scenario = Scenario { job_ms: milliseconds, ..Scenario::default() };
    let cloud = Cloud::with(&scenario, None).launched();
    cloud.configured("[interruption]\nstop_at = \"2s\"\nkill_at = \"1s\"\n")
}

/// A runner that gets no job.
fn idle() -> Cloud {
    let scenario = Scenario { idle_ms: 60_000, ..Scenario::default() };
    Cloud::with(&scenario, None).launched().live(|run| run.limits(&[("idle", "20s")]))
}

fn tag(cloud: &Cloud, key: &str) -> Option<String> {
    cloud.moto.instance_tags(&cloud.instance).unwrap().remove(key)
}

/// When the listener was told that the machine goes, if it was.
fn told(cloud: &Cloud) -> Option<SystemTime> {
    let recording = cloud.run.recording();
    let signals = recording.signals();
    let quit = signals.iter().find(|(_, signal, _)| *signal == "SIGQUIT");
    quit.map(|(_, _, at)| UNIX_EPOCH + Duration::from_millis(*at))
}

fn maintenance(not_before: SystemTime) -> Value {
    json!([{ "Code": "instance-stop", "State": "active", "EventId": "instance-event-0d59937288b749b32",
             "Description": "maintenance", "NotBefore": event_date(not_before), "NotAfter": event_date(not_before) }])
}

fn until_tagged(agent: &mut OnInstance<'_>, key: &str, wanted: impl Fn(&str) -> bool) {
    agent.until(key, |cloud| tag(cloud, key).is_some_and(|value| wanted(&value)));
}

#[test]
fn spot_with_nothing_assigned_ends_at_once() {
    for action in ["terminate", "stop", "hibernate"] {
        let cloud = idle();
        let mut agent = cloud.start();
        agent.until_state("Idle");
        cloud.imds.spot_action(action, in_seconds(120));
        let gone = agent.end();
        gone.assert_outcome("spot-interruption");
        assert_eq!(cloud.state(), "terminated", "{action}");
        assert!(gone.took < Duration::from_secs(20), "an idle machine waited for its interruption: {:?}", gone.took);
        assert_eq!(gone.record["notices"][0]["notice"], "spot-interruption", "{:#}", gone.record);
    }
}

/// Everybody who asks learns of it at once; the job goes on until its time is up.
#[test]
fn spot_lets_a_job_use_its_time_and_tells_everybody() {
    for action in ["terminate", "stop"] {
        let cloud = with_job(60_000);
        let mut agent = cloud.start();
        agent.until("the job", |cloud| cloud.run.journal().concat().contains("run_id"));
        let at = in_seconds(8);
        cloud.imds.spot_action(action, at);
        until_tagged(&mut agent, "mayfly:interrupted-at", |value| !value.is_empty());
        assert!(told(&cloud).is_none(), "the job was stopped although it had {action} time left");
        let due = tag(&cloud, "mayfly:interrupted-at").unwrap();
        let due = UNIX_EPOCH + seconds_of(&due);
        let off = due.duration_since(at).unwrap_or_else(|error| error.duration());
        assert!(off <= Duration::from_secs(1), "the launcher is told a time that is {off:?} off");
        assert_eq!(tag(&cloud, "mayfly:outcome").as_deref(), Some("spot-interruption"));
        assert_eq!(tag(&cloud, "mayfly:run").as_deref(), Some(RUN), "the launcher does not know what to re-run");
        let status = status(&cloud);
        assert_eq!(status["notices"][0]["notice"], "spot-interruption", "{status:#}");
        let annotation = completed_hook(&cloud);
        assert!(annotation.starts_with("::warning title=EC2 takes this machine away::"), "{annotation:?}");
        let gone = agent.end();
        gone.assert_outcome("spot-interruption");
        let told = told(&cloud).unwrap_or_else(|| panic!("the job was not told why it ends:\n{}", gone.log));
        assert!(
            told >= at - Duration::from_millis(2100),
            "the job lost time: told {:?} before",
            at.duration_since(told)
        );
        assert!(told < at, "the job was told when the machine was gone already");
        assert_eq!(cloud.state(), "terminated");
    }
}

#[test]
fn spot_with_too_little_time_left_stops_a_job_at_once() {
    for (action, seconds) in [("terminate", 1), ("stop", 1), ("hibernate", 120)] {
        let cloud = with_job(60_000);
        let mut agent = cloud.start();
        agent.until("the job", |cloud| cloud.run.journal().concat().contains("run_id"));
        let noticed = SystemTime::now();
        cloud.imds.spot_action(action, in_seconds(seconds));
        let gone = agent.end();
        gone.assert_outcome("spot-interruption");
        let told = told(&cloud).unwrap_or_else(|| panic!("{action}: the job was not told why it ends:\n{}", gone.log));
        let late = told.duration_since(noticed).unwrap();
        assert!(late < Duration::from_secs(5), "{action}: the job went on for {late:?}");
        assert_eq!(tag(&cloud, "mayfly:run").as_deref(), Some(RUN));
    }
}

#[test]
fn a_job_that_is_done_in_time_keeps_its_result() {
    let cloud = with_job(2_000);
    let mut agent = cloud.start();
    agent.until_state("Busy");
    cloud.imds.spot_action("terminate", in_seconds(60));
    let gone = agent.end();
    gone.assert_outcome("job-succeeded");
    assert_eq!(tag(&cloud, "mayfly:outcome").as_deref(), Some("job-succeeded"), "the launcher re-runs a good job");
    assert_eq!(gone.record["notices"].as_array().map(Vec::len), Some(1), "{:#}", gone.record);
}

#[test]
fn the_newest_time_of_a_notice_counts() {
    let cloud = with_job(60_000);
    let mut agent = cloud.start();
    agent.until_state("Busy");
    cloud.imds.spot_action("terminate", in_seconds(600));
    until_tagged(&mut agent, "mayfly:interrupted-at", |value| !value.is_empty());
    cloud.imds.spot_action("terminate", in_seconds(4));
    agent.end().assert_outcome("spot-interruption");

    let cloud = with_job(6_000);
    let mut agent = cloud.start();
    agent.until_state("Busy");
    cloud.imds.spot_action("terminate", in_seconds(6));
    until_tagged(&mut agent, "mayfly:interrupted-at", |value| !value.is_empty());
    cloud.imds.spot_action("terminate", in_seconds(600));
    let gone = agent.end();
    gone.assert_outcome("job-succeeded");
    assert_eq!(gone.record["notices"].as_array().map(Vec::len), Some(2), "{:#}", gone.record);
}

#[test]
fn a_notice_that_is_withdrawn_lets_the_job_go_on() {
    let cloud = with_job(7_000);
    let mut agent = cloud.start();
    agent.until_state("Busy");
    cloud.imds.spot_action("terminate", in_seconds(6));
    until_tagged(&mut agent, "mayfly:interrupted-at", |value| !value.is_empty());
    cloud.imds.remove("meta-data/spot");
    until_tagged(&mut agent, "mayfly:interrupted-at", str::is_empty);
    let told = completed_hook(&cloud);
    assert!(!told.contains("::warning"), "the job's log speaks of an interruption that does not come: {told}");
    let gone = agent.end();
    gone.assert_outcome("job-succeeded");
    assert!(gone.log.contains("EC2 withdrew spot-interruption"), "{}", gone.log);
    assert!(gone.record["notices"][0]["withdrawn_at"].is_string(), "{:#}", gone.record);
}

/// No answer is neither a notice nor the end of one, and a source that hangs holds up no other.
#[test]
fn a_metadata_service_that_stumbles_is_no_notice_and_hides_none() {
    for fault in [Fault::Status(503), Fault::Status(429), Fault::Hang, Fault::HalfBody, Fault::Status(401)] {
        let cloud = with_job(60_000);
        let mut agent = cloud.start();
        agent.until_state("Busy");
        let stumbles = cloud.imds.fault("/latest/meta-data/spot", Limit::times(4), fault);
        for path in ["/latest/meta-data/events", "/latest/meta-data/autoscaling"] {
            cloud.imds.fault(path, Limit::default(), fault);
        }
        agent.until("the faults", |cloud| cloud.imds.hits(stumbles) == 4);
        assert!(tag(&cloud, "mayfly:interrupted-at").is_none(), "{fault:?} was taken for a notice");
        cloud.imds.spot_action("terminate", in_seconds(4));
        until_tagged(&mut agent, "mayfly:interrupted-at", |value| !value.is_empty());
        cloud.imds.fault("/latest/meta-data/spot", Limit::default(), fault);
        agent.end().assert_outcome("spot-interruption");
        assert!(told(&cloud).is_some(), "{fault:?} was taken for the end of a notice");
    }
}

#[test]
fn a_rebalance_recommendation_ends_only_a_machine_without_a_job_and_only_if_configured() {
    let cloud = idle();
    let mut agent = cloud.start();
    agent.until_state("Idle");
    cloud.imds.rebalance(SystemTime::now());
    agent.end().assert_outcome("rebalance");

    let cloud = with_job(2_000);
    let mut agent = cloud.start();
    agent.until_state("Busy");
    cloud.imds.rebalance(SystemTime::now());
    let gone = agent.end();
    gone.assert_outcome("job-succeeded");
    assert_eq!(gone.record["notices"][0]["notice"], "rebalance", "{:#}", gone.record);
    assert!(tag(&cloud, "mayfly:interrupted-at").is_none(), "a recommendation was told as an interruption");

    let scenario = Scenario { idle_ms: 2_000, ..Scenario::default() };
    let cloud = Cloud::with(&scenario, None).launched().configured("[interruption]\nrebalance = \"record\"\n");
    cloud.imds.rebalance(SystemTime::now());
    let gone = cloud.run();
    gone.assert_outcome("job-succeeded");
    assert_eq!(gone.record["notices"][0]["notice"], "rebalance", "{:#}", gone.record);
}

#[test]
fn maintenance_counts_if_it_falls_into_the_lifetime() {
    let cloud = idle();
    let mut agent = cloud.start();
    agent.until_state("Idle");
    cloud.imds.scheduled_events(&maintenance(in_seconds(20)));
    agent.end().assert_outcome("scheduled-event");

    let cloud = Cloud::with(&Scenario { idle_ms: 4_500, ..Scenario::default() }, None).launched();
    cloud.imds.scheduled_events(&maintenance(in_seconds(3600)));
    let gone = cloud.run();
    gone.assert_outcome("job-succeeded");
    assert_eq!(gone.record["notices"][0]["notice"], "scheduled-event", "{:#}", gone.record);

    // Two minutes before it begins it is an interruption.
    let cloud = with_job(60_000).live(|run| run.limits(&[("lifetime", "5m"), ("job", "1m")]));
    let mut agent = cloud.start();
    agent.until_state("Busy");
    cloud.imds.scheduled_events(&maintenance(in_seconds(123)));
    agent.end().assert_outcome("scheduled-event");
    assert!(told(&cloud).is_some(), "the job was not told that the machine goes");
}

#[test]
fn an_agent_that_is_killed_between_a_notice_and_its_effect_makes_up_for_it() {
    let cloud = with_job(60_000);
    let lost = cloud.aws.fault(Match::action("CreateTags"), Limit::default(), AwsFault::Hang);
    let mut agent = cloud.start();
    agent.until("the job", |cloud| cloud.run.journal().concat().contains("run_id"));
    let at = in_seconds(12);
    cloud.imds.spot_action("terminate", at);
    agent.until("the journal", |cloud| cloud.run.journal().concat().contains("spot-interruption"));
    agent.kill_dead();
    cloud.aws.clear(lost);
    let mut agent = cloud.start();
    until_tagged(&mut agent, "mayfly:interrupted-at", |value| !value.is_empty());
    assert_eq!(tag(&cloud, "mayfly:run").as_deref(), Some(RUN), "the launcher does not know what to re-run");
    let gone = agent.end();
    gone.assert_outcome("spot-interruption");
    assert!(told(&cloud).is_some_and(|told| told < at), "the job was not told in time:\n{}", gone.log);
    assert!(gone.record["agent_restarted"] == true && gone.record["notices"][0]["notice"] == "spot-interruption");
}

/// A new agent process looks by itself, whatever the last one had seen.
#[test]
fn a_notice_that_comes_while_the_agent_is_dead_is_seen_by_the_next() {
    let cloud = with_job(60_000);
    let mut agent = cloud.start();
    agent.until_state("Busy");
    agent.kill_dead();
    cloud.imds.spot_action("terminate", in_seconds(5));
    let gone = cloud.run();
    gone.assert_outcome("spot-interruption");
    assert!(told(&cloud).is_some(), "the job was not told why it ends:\n{}", gone.log);
}

/// EC2's time is not this machine's: the metadata service says by how much.
#[test]
fn a_clock_that_is_minutes_off_moves_nothing() {
    for skew in [240_i64, -240] {
        // The launch is dated by EC2's clock, too.
        let cloud = with_job(60_000).live(|run| run.limits(&[("lifetime", "20m")]));
        cloud.imds.clock_skew(skew);
        let mut agent = cloud.start();
        agent.until_state("Busy");
        let at = in_seconds(7);
        let span = Duration::from_secs(skew.unsigned_abs());
        let announced = if skew > 0 { at + span } else { at - span };
        cloud.imds.spot_action("terminate", announced);
        until_tagged(&mut agent, "mayfly:interrupted-at", |value| !value.is_empty());
        let due = UNIX_EPOCH + seconds_of(&tag(&cloud, "mayfly:interrupted-at").unwrap());
        let off = due.duration_since(announced).unwrap_or_else(|error| error.duration());
        assert!(off <= Duration::from_secs(2), "the launcher is told a time that is {off:?} off");
        let gone = agent.end();
        gone.assert_outcome("spot-interruption");
        let told = told(&cloud).unwrap_or_else(|| panic!("skew {skew}: the job was not told:\n{}", gone.log));
        assert!(
            told >= at - Duration::from_secs(4) && told < at,
            "skew {skew}: the job was told {:?} before the end",
            at.duration_since(told)
        );
    }
}

/// At the interval of real runs: well under two requests a second, on one connection.
#[test]
fn the_watch_is_light_on_the_metadata_service() {
    let cloud = with_job(60_000).live(|run| run.set("MAYFLY_TIME_SCALE", "1"));
    let mut agent = cloud.start();
    agent.until_state("Busy");
    let mark = cloud.imds.mark();
    let opened = cloud.imds.connections().opened;
    agent.until("a dozen looks", |cloud| cloud.imds.requests_since(mark).len() >= 14);
    let looks = cloud.imds.requests_since(mark);
    let took = looks[13].at - looks[0].at;
    let rate = 13.0 / took.as_secs_f64();
    assert!(rate < 2.0, "{rate:.2} requests a second: {looks:#?}");
    let spot: Vec<_> = looks.iter().filter(|look| look.path.ends_with(SPOT)).map(|look| look.at).collect();
    assert!(spot.len() >= 4, "{looks:#?}");
    for pair in spot.windows(2) {
        assert!(pair[1] - pair[0] >= Duration::from_millis(1790), "the spot notice is looked for too often: {spot:?}");
    }
    let opened = cloud.imds.connections().opened - opened;
    assert!(opened <= 2, "{opened} connections for 14 looks: none is kept");
    assert!(looks.iter().all(|look| look.path != "/latest/api/token"), "the session token is not kept");
    cloud.imds.spot_action("hibernate", SystemTime::now());
    agent.end().assert_outcome("spot-interruption");
}

fn status(cloud: &Cloud) -> Value {
    let mut command = Command::new(mayfly_binary());
    let output = command.args(["status", "--json", "--state-directory"]).arg(cloud.run.state()).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What the job-completed hook writes into the job's log.
fn completed_hook(cloud: &Cloud) -> String {
    let socket = cloud.run.state().join("run/hook.sock");
    let mut command = Command::new(mayfly_binary());
    let output = command.args(["hook", "job-completed"]).env("MAYFLY_HOOK_SOCKET", socket).output().unwrap();
    assert!(output.status.success(), "the hook fails the job: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// `2026-11-21T14:45:34Z`, since 1970.
fn seconds_of(timestamp: &str) -> Duration {
    let output = Command::new("date").args(["-u", "+%s", "-d", timestamp]).output().unwrap();
    let seconds = String::from_utf8(output.stdout).unwrap().trim().parse();
    Duration::from_secs(seconds.unwrap_or_else(|_| panic!("{timestamp:?} is not a time")))
}

/// The recommendation found nothing that ran, and a job came while the listener was shutting down.
#[test]
fn a_job_lost_to_a_rebalance_that_did_not_know_of_it_is_told_so() {
    let late = mayfly_fake_runner::scenarios::named("late-job").unwrap();
    let late = Scenario { idle_ms: 6_000, shutdown_delay_ms: 20_000, ..late };
    let cloud = Cloud::with(&late, None).launched().live(|run| run.limits(&[("idle", "30s"), ("draining", "40s")]));
    let mut agent = cloud.start();
    agent.until_state("Idle");
    cloud.imds.rebalance(SystemTime::now());
    let gone = agent.end();
    assert!(!cloud.run.recording().workers().is_empty(), "no job came: the test is wrong\n{}", gone.log);
    gone.assert_outcome("idle-raced");
    assert_eq!(gone.record["stopped_for"], "rebalance", "{:#}", gone.record);
    assert_eq!(tag(&cloud, "mayfly:outcome").as_deref(), Some("idle-raced"), "a launcher does not run the job again");
}
