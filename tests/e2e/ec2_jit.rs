//! The JIT configuration from SSM: there at once, later, never; denied, throttled; deleted exactly once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

use std::time::Duration;

use mayfly_e2e::cloud::SCALE;
use mayfly_e2e::{Cloud, Gone, policy};
use mayfly_fake_aws::Limit;
use mayfly_fake_aws::imds::Instance;
use mayfly_fake_aws::proxy::{AwsError, Fault, Match};

const GET: &str = "GetParameter";
const DELETE: &str = "DeleteParameter";

fn refuse(cloud: &Cloud, action: &str, limit: Limit, error: AwsError) {
    cloud.aws.fault(Match::action(action), limit, Fault::Error(error));
}

/// Fails unless the run ended well, and left neither a parameter nor an instance.
fn assert_good(cloud: &Cloud, gone: &Gone) {
    gone.assert_outcome("job-succeeded");
    assert!(!cloud.moto.parameter_exists(&cloud.parameter()).unwrap(), "the spent JIT configuration is still in SSM");
    assert_eq!(cloud.state(), "terminated", "the instance goes on, and is billed");
}

#[test]
fn there_at_once_a_whole_run_of_an_instance() {
    let cloud = Cloud::standalone("success").launched().live(|run| run.set("MAYFLY_TIME_SCALE", "1"));
    let gone = cloud.run();
    assert_good(&cloud, &gone);
    assert_eq!(cloud.calls(DELETE), 1, "the JIT configuration is deleted exactly once");
    assert_eq!(cloud.calls("TerminateInstances"), 1, "the end is asked for once per method that worked");
    // Everything that was asked for before the runner was started, of both services.
    let started = cloud.run.recording().records[0].at_ms;
    let deleted = &cloud.aws.requests_of(DELETE)[0];
    let before = cloud.aws.requests().iter().take_while(|request| request.at < deleted.at).count();
    assert!(started > 0 && before == 1, "{before} requests to AWS before the delete, which comes after the spawn");
    // The budget (docs/performance.md): eight requests, of which one is to SSM; the last of the others is for the role's
    // credentials. The watch over notices comes later.
    let requests = cloud.imds.requests();
    let last = requests.iter().rposition(|request| request.path.contains("security-credentials/")).unwrap();
    let imds: Vec<_> = requests[..=last].iter().map(|request| &request.path).collect();
    assert!(imds.len() <= 7, "{} requests to the metadata service before the runner: {imds:#?}", imds.len());
    let tags = cloud.moto.instance_tags(&cloud.instance).unwrap();
    assert_eq!(tags.get("mayfly:outcome").map(String::as_str), Some("job-succeeded"), "{tags:?}");
    assert_eq!(tags.get("mayfly:run").map(String::as_str), Some("mayfly-example/sample/1234567890/1"), "{tags:?}");
}

#[test]
fn there_after_three_seconds_and_after_a_minute() {
    for seconds in [3.0, 60.0] {
        let cloud = Cloud::standalone("success").live(|run| run.set("MAYFLY_JIT_WAIT", "20s"));
        let mut agent = cloud.start();
        let begun = std::time::Instant::now();
        agent.until("the wait", |cloud| begun.elapsed().as_secs_f64() > seconds * SCALE && cloud.calls(GET) > 1);
        cloud.put_jit_config();
        assert_good(&cloud, &agent.end());
    }
}

#[test]
fn a_delete_that_is_throttled_twenty_times_costs_no_job_and_happens() {
    let mut scenario = mayfly_fake_runner::scenarios::named("success").unwrap();
    scenario.job_ms = 15_000;
    let cloud = Cloud::with(&scenario, None).launched();
    refuse(&cloud, DELETE, Limit::times(20), AwsError::Throttled);
    let gone = cloud.run();
    assert_good(&cloud, &gone);
    assert_eq!(cloud.calls(DELETE), 21, "twenty refusals, and then it is gone");
}

#[test]
fn never_there_ends_at_the_deadline_and_says_what_ssm_said() {
    let cloud = Cloud::standalone("success").live(|run| run.set("MAYFLY_JIT_WAIT", "5s"));
    // SSM's own word, but at once: the emulator of a loaded machine is slower than one attempt may be, and the last word
    // would then be that. That the emulator says the same is seen wherever a parameter comes late.
    let absent = "ParameterNotFound".to_owned();
    refuse(&cloud, GET, Limit::default(), AwsError::Code { status: 400, code: absent, message: String::new() });
    let gone = cloud.run();
    gone.assert_outcome("jit-config-timeout");
    assert!(gone.record["detail"].as_str().unwrap().contains("not there yet"), "{:#}", gone.record);
    assert_eq!(cloud.state(), "terminated");
    assert!(cloud.run.recording().starts().is_empty());
}

#[test]
fn denials_of_ssm_and_kms_and_unknown_errors_are_told_apart_from_absence() {
    let errors = [
        (AwsError::AccessDenied, "AccessDeniedException"),
        (AwsError::KmsDenied, "ciphertext"),
        (AwsError::Validation("bad name".to_owned()), "ValidationException"),
        (AwsError::Code { status: 400, code: "SomethingNew".to_owned(), message: "new".to_owned() }, "SomethingNew"),
    ];
    for (error, said) in errors {
        let cloud = Cloud::standalone("success").launched().live(|run| run.set("MAYFLY_JIT_WAIT", "30s"));
        refuse(&cloud, GET, Limit::default(), error);
        let gone = cloud.run();
        gone.assert_outcome("jit-config-denied");
        assert!(gone.record["detail"].as_str().unwrap().contains(said), "{said}: {:#}", gone.record);
        assert!(gone.took < Duration::from_secs(15), "a denial was borne for {:?}", gone.took);
        assert_eq!(cloud.state(), "terminated");
    }
}

#[test]
fn a_minute_of_throttling_is_waited_out() {
    let cloud = Cloud::standalone("success").launched().live(|run| run.set("MAYFLY_JIT_WAIT", "30s"));
    refuse(&cloud, GET, Limit::lasting(Duration::from_secs_f64(60.0 * SCALE)), AwsError::Throttled);
    assert_good(&cloud, &cloud.run());
}

#[test]
fn throttling_without_end_ends_at_the_deadline() {
    let cloud = Cloud::standalone("success").launched().live(|run| run.set("MAYFLY_JIT_WAIT", "2s"));
    refuse(&cloud, GET, Limit::default(), AwsError::Throttled);
    let gone = cloud.run();
    gone.assert_outcome("jit-config-timeout");
    assert!(gone.record["detail"].as_str().unwrap().contains("throttled"), "{:#}", gone.record);
}

#[test]
fn faults_of_the_network_and_of_ssm_are_waited_out() {
    for fault in [Fault::Reset, Fault::Html(503), Fault::HalfBody, Fault::Error(AwsError::Internal), Fault::Hang] {
        let cloud = Cloud::standalone("success").launched().live(|run| run.set("MAYFLY_JIT_WAIT", "30s"));
        cloud.aws.fault(Match::action(GET), Limit::times(2), fault);
        assert_good(&cloud, &cloud.run());
    }
}

#[test]
fn a_parameter_that_is_no_jit_configuration_is_refused() {
    let cloud = Cloud::standalone("success").live(|run| run.jit("this is no JIT configuration")).launched();
    cloud.run().assert_outcome("jit-config-invalid");
    assert_eq!(cloud.state(), "terminated");
}

#[test]
fn placeholders_of_the_parameters_name_are_filled_from_tags() {
    let config = "[jit]\nparameter = \"/{tag:team}/{class}/{instance_id}\"\n";
    let cloud = Cloud::standalone("success").configured(config);
    cloud.imds.set_tag("team", "blue").unwrap();
    cloud.imds.set_tag("mayfly:class", "large").unwrap();
    cloud.moto.put_parameter(&format!("/blue/large/{}", cloud.instance), &cloud.run.jit).unwrap();
    cloud.run().assert_outcome("job-succeeded");
    let cloud = Cloud::standalone("success").configured(config);
    let gone = cloud.run();
    gone.assert_outcome("config-invalid");
    assert!(gone.record["detail"].as_str().unwrap().contains("tag team"), "{:#}", gone.record);
    assert_eq!(cloud.state(), "terminated");
}

/// A name with a part that siblings cannot guess.
const WITH_TICKET: &str = "[jit]\nparameter = \"/mayfly/runners/{instance_id}/{tag:mayfly:ticket}\"\n";

const TICKET: &str = "9f86d081884c7d659a2feaa0c55ad015";

fn put_under_ticket(cloud: &Cloud) -> String {
    let name = format!("{}/{TICKET}", cloud.parameter());
    cloud.moto.put_parameter(&name, &cloud.run.jit).unwrap();
    name
}

#[test]
fn a_ticket_in_a_tag_is_part_of_the_parameters_name() {
    let cloud = Cloud::standalone("success").configured(WITH_TICKET);
    cloud.imds.set_tag("mayfly:ticket", TICKET).unwrap();
    let name = put_under_ticket(&cloud);
    assert!(policy::may_read(&name), "the printed policy does not allow to read {name}");
    assert!(!policy::may_read("/mayfly/others/x"), "the printed policy allows everything");
    cloud.run().assert_outcome("job-succeeded");
    assert!(!cloud.moto.parameter_exists(&name).unwrap(), "the spent JIT configuration is still in SSM");
}

/// Who launches through a fleet knows the id only then, and tags the instance after it was launched.
#[test]
fn a_tag_that_comes_later_than_the_instance_is_waited_for() {
    let cloud = Cloud::standalone("success").configured(WITH_TICKET).live(|run| run.set("MAYFLY_JIT_WAIT", "40s"));
    let cloud = cloud.live(|run| run.set("MAYFLY_TIME_SCALE", "0.5"));
    put_under_ticket(&cloud);
    let mut agent = cloud.start();
    let looked = |cloud: &Cloud| cloud.imds.requests().iter().filter(|one| one.path.ends_with("mayfly:ticket")).count();
    agent.until("a second look at the tag", |cloud| looked(cloud) >= 2);
    cloud.imds.set_tag("mayfly:ticket", TICKET).unwrap();
    agent.end().assert_outcome("job-succeeded");
}

#[test]
fn a_tag_that_never_comes_ends_with_what_to_do_before_the_wait_is_over() {
    for (enabled, advice) in [(true, "has not set this one"), (false, "InstanceMetadataTags=enabled")] {
        // The wait is shorter than the minute that a tag is waited for.
        let cloud = Cloud::standalone("success")
            .configured(WITH_TICKET)
            .live(|run| run.set("MAYFLY_JIT_WAIT", "10s").set("MAYFLY_TIME_SCALE", "0.3"));
        let mut instance = Instance::new(&cloud.instance, cloud.moto.region()).tag("Name", "runner");
        instance.tags_enabled = enabled;
        cloud.imds.become_instance(instance).unwrap();
        let gone = cloud.run();
        gone.assert_outcome("config-invalid");
        let said = gone.record["detail"].as_str().unwrap();
        assert!(said.contains("mayfly:ticket") && said.contains(advice), "nobody is told what to do: {said}");
        assert_eq!(cloud.state(), "terminated");
    }
}

/// Whoever may tag the instance must not choose another instance's parameter, or make the call mean something else.
#[test]
fn a_tag_that_leads_elsewhere_is_refused_and_not_told() {
    for hostile in ["../i-0fedcba9876543210", "..", "secret ticket"] {
        let cloud = Cloud::standalone("success").configured(WITH_TICKET);
        cloud.imds.set_tag("mayfly:ticket", hostile).unwrap();
        let gone = cloud.run();
        gone.assert_outcome("config-invalid");
        let said = gone.record["detail"].as_str().unwrap();
        assert!(said.contains("mayfly:ticket"), "{said}");
        let told = hostile.len() > 4 && (said.contains(hostile) || gone.log.contains(hostile));
        assert!(!told, "a ticket is told: {said}");
        assert_eq!(cloud.calls(GET), 0, "SSM was asked for a name made of {hostile:?}");
        assert_eq!(cloud.state(), "terminated");
    }
}

/// The minute of timeout with a denial is longer than the wait.
#[test]
fn a_denial_is_told_as_one_although_the_wait_is_short() {
    let cloud = Cloud::standalone("success").launched();
    let cloud = cloud.live(|run| run.set("MAYFLY_JIT_WAIT", "12s").set("MAYFLY_TIME_SCALE", "1"));
    refuse(&cloud, GET, Limit::default(), AwsError::AccessDenied);
    let gone = cloud.run();
    gone.assert_outcome("jit-config-denied");
    assert!(gone.record["detail"].as_str().unwrap().contains(&cloud.parameter()), "{:#}", gone.record);
}

#[test]
fn a_denial_that_lasts_is_said_in_the_log_and_not_at_each_attempt() {
    let cloud = Cloud::standalone("success").launched().live(|run| run.set("MAYFLY_JIT_WAIT", "30s"));
    refuse(&cloud, GET, Limit::times(4), AwsError::AccessDenied);
    let gone = cloud.run();
    assert_good(&cloud, &gone);
    let said = gone.log.lines().filter(|line| line.contains("is refused") && line.contains("AccessDenied")).count();
    assert!(said >= 1, "nobody who looks at the log learns why it waits:\n{}", gone.log);
    assert!(said <= 3 && said < cloud.calls(GET), "each of {} attempts is told: {said} lines", cloud.calls(GET));
}

#[test]
fn what_is_told_of_a_parameter_is_its_name_and_not_the_template() {
    let cloud = Cloud::standalone("success").live(|run| run.set("MAYFLY_JIT_WAIT", "2s"));
    let gone = cloud.run();
    gone.assert_outcome("jit-config-timeout");
    let said = gone.record["detail"].as_str().unwrap();
    assert!(said.contains(&cloud.parameter()) && !said.contains('{'), "nobody can look for it in SSM: {said}");
}

/// Unscaled: the first pauses are at most 0.25, 0.5, 1, 2 and 4 seconds.
#[test]
fn the_pace_of_waiting_is_the_documented_one() {
    let cloud = Cloud::standalone("success").live(|run| run.set("MAYFLY_TIME_SCALE", "1").set("MAYFLY_JIT_WAIT", "9s"));
    cloud.run().assert_outcome("jit-config-timeout");
    let asked: Vec<Duration> = cloud.aws.requests_of(GET).iter().map(|request| request.at).collect();
    assert!((4..=9).contains(&asked.len()), "asked {} times in nine seconds", asked.len());
    for (index, bound) in [0.25, 0.5, 1.0, 2.0, 4.0].iter().enumerate() {
        let Some(pair) = asked.get(index..index + 2) else { break };
        let pause = (pair[1] - pair[0]).as_secs_f64();
        assert!(pause < bound + 0.5, "pause {index} took {pause} s; no more than {bound} s is documented");
    }
}

#[test]
fn region_and_credentials_are_those_of_the_instance() {
    let cloud = Cloud::standalone("success").launched();
    cloud.imds.become_instance(Instance::new(&cloud.instance, "eu-central-1")).unwrap();
    cloud.run().assert_outcome("job-succeeded");
    for request in cloud.aws.requests() {
        assert_eq!(request.call.region, "eu-central-1", "{request:?}");
        assert_eq!(request.call.access_key, "ASIADOUBLEMAYFLY0001", "not the instance role's key");
    }
    let cloud =
        Cloud::standalone("success").live(|run| run.set("AWS_REGION", "us-gov-west-1").set("MAYFLY_JIT_WAIT", "1s"));
    let _ = cloud.run();
    assert_eq!(cloud.aws.requests_of(GET)[0].call.region, "us-gov-west-1", "AWS_REGION is not honoured");
}

#[test]
fn proxy_variables_are_for_aws_and_never_for_the_metadata_service() {
    let cloud = Cloud::standalone("success").launched();
    let proxy = cloud.aws.url();
    let mut command = cloud.command();
    command.env("AWS_ENDPOINT_URL", "http://aws.mayfly.test").env("HTTP_PROXY", &proxy).env("http_proxy", &proxy);
    assert!(command.stderr(std::process::Stdio::null()).status().unwrap().success());
    assert_eq!(cloud.state(), "terminated", "AWS was not reached through the proxy");
    assert!(cloud.aws.requests().iter().all(|request| request.proxy_form), "a call to AWS went past the proxy");
    assert!(cloud.aws.requests().iter().all(|request| !request.target.contains("meta-data")), "the proxy saw IMDS");
}
