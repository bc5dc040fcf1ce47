//! A job becomes an instance, and nothing stays behind.

use std::time::Duration;

use mayfly_fake_aws::proxy::{Fault as AwsFault, Match as AwsMatch};
use mayfly_fake_github::{Fault, Limit, Match};
use mayfly_launcher_e2e::Stage;

const SOON: Duration = Duration::from_secs(60);

#[test]
fn a_queued_job_becomes_an_instance_with_a_jit_configuration_and_nothing_is_left() {
    let mut stage = Stage::default();
    stage.start();
    let job = stage.queue();
    stage.until("an instance is launched", || stage.live().len() == 1);
    let instance = stage.live().remove(0);
    assert_eq!(instance.tags["mayfly:jobs"], job.0.to_string(), "nobody can say what the instance was launched for");
    assert_eq!(instance.tags["mayfly:class"], "ec2");
    stage.until("it has its JIT configuration", || !stage.ec2.parameters().is_empty());
    let parameter = stage.ec2.parameters().remove(&Stage::parameter_of(&instance)).unwrap();
    assert_eq!((&*parameter.kind, &*parameter.tier), ("SecureString", "Advanced"));
    assert!(parameter.expires.is_some(), "the parameter stays for ever if nobody removes it");
    assert_eq!(parameter.tags["InstanceId"], instance.id, "no policy can bind it to its instance");
    let runner = stage.boot(&instance);
    let labels = stage.github.runner(&runner).unwrap().labels;
    assert_eq!(labels, ["ec2", "self-hosted"], "the runner has other labels than the job");
    assert!(stage.github.wait_job(job, SOON, |job| job.runner.is_some()), "GitHub did not give it the job");
    stage.finish(&instance, job);
    stage.nothing_is_left();
    assert_eq!(stage.ec2.instances().len(), 1, "more than one instance for one job");
}

#[test]
fn twenty_jobs_at_once_are_few_requests_and_as_many_instances() {
    let mut stage = Stage::default();
    stage.class = "max = 30".to_owned();
    stage.start();
    let jobs: Vec<_> = (0..20).map(|_| stage.queue()).collect();
    stage.until("twenty instances have what they need", || stage.ec2.parameters().len() == 20);
    for instance in stage.live() {
        stage.boot(&instance);
    }
    for job in &jobs {
        assert!(stage.github.wait_job(*job, SOON, |job| job.runner.is_some()), "a job got no runner");
    }
    for instance in stage.live() {
        let runner = stage.github.runner(&format!("ec2-{}", instance.id)).unwrap();
        stage.finish(&instance, runner.job.unwrap());
    }
    stage.nothing_is_left();
    assert_eq!(stage.ec2.instances().len(), 20, "twenty jobs, and another number of instances");
}

#[test]
fn an_answer_of_the_launch_that_is_lost_makes_no_second_instance() {
    let mut stage = Stage::default();
    stage.ec2.proxy().fault(AwsMatch::action("CreateFleet"), Limit::times(1), AwsFault::LoseAnswer);
    stage.start();
    let job = stage.queue();
    stage.until("it has its JIT configuration", || !stage.ec2.parameters().is_empty());
    assert_eq!(stage.ec2.instances().len(), 1, "the launch was repeated under another token");
    let instance = stage.live().remove(0);
    stage.boot(&instance);
    stage.finish(&instance, job);
    stage.nothing_is_left();
}

#[test]
fn no_capacity_in_one_way_is_asked_for_in_the_next_at_once() {
    let mut stage = Stage::default();
    stage.launching =
        "[[class.ec2.way]]\nmarket = \"spot\"\ntypes = [\"m7i.large\"]\n[[class.ec2.way]]\nmarket = \"on-demand\"\n"
            .to_owned();
    let fault = AwsFault::FleetErrors { code: "InsufficientInstanceCapacity".to_owned(), launched: 0 };
    stage.ec2.proxy().fault(AwsMatch::action("CreateFleet"), Limit::times(1), fault);
    stage.start();
    let job = stage.queue();
    stage.until("an instance is launched", || stage.live().len() == 1);
    let instance = stage.live().remove(0);
    assert!(!instance.pool.spot, "the fall-back is spot again");
    stage.boot(&instance);
    stage.finish(&instance, job);
    stage.nothing_is_left();
}

#[test]
fn a_permanent_denial_is_not_repeated_and_is_said_on_the_job() {
    let mut stage = Stage::default();
    stage.class = "patience = \"3s\"".to_owned();
    let fault = AwsFault::FleetErrors { code: "UnauthorizedOperation".to_owned(), launched: 0 };
    stage.ec2.proxy().fault(AwsMatch::action("CreateFleet"), Limit::default(), fault);
    stage.start();
    for _ in 0..5 {
        let _ = stage.queue();
    }
    stage.until("people are told", || stage.github.check_runs().len() == 5);
    let launches = stage.ec2.calls().iter().filter(|call| call.call.action == "CreateFleet").count();
    assert!(launches <= 5, "{launches} launches although every one is denied");
    stage.no_secret_was_told();
}

#[test]
fn a_name_that_is_taken_after_a_lost_answer_is_not_used_again() {
    let mut stage = Stage::default();
    stage.github.fault(Match::operation("generate-jitconfig"), Limit::times(1), Fault::LoseAnswer);
    stage.start();
    let job = stage.queue();
    stage.until("it has its JIT configuration", || !stage.ec2.parameters().is_empty());
    let instance = stage.live().remove(0);
    assert_eq!(stage.ec2.instances().len(), 1, "an instance was given up for an answer that was lost");
    assert!(stage.ec2.take_parameter(&Stage::parameter_of(&instance)).is_some());
    stage.ec2.tag(&instance.id, &[("mayfly:phase", "idle")]);
    stage.github.runner_online(&format!("ec2-{}-2", instance.id)).unwrap();
    assert!(stage.github.wait_job(job, SOON, |job| job.runner.is_some()));
    stage.finish(&instance, job);
    stage.nothing_is_left();
}

#[test]
fn a_store_of_which_nobody_knows_ends_the_instance_and_starts_over() {
    let mut stage = Stage::default();
    stage.ec2.proxy().fault(AwsMatch::action("PutParameter"), Limit::times(1), AwsFault::LoseAnswer);
    stage.start();
    let job = stage.queue();
    stage.until("a second instance is launched", || stage.ec2.instances().len() == 2 && stage.live().len() == 1);
    let instance = stage.live().remove(0);
    stage.boot(&instance);
    stage.finish(&instance, job);
    stage.nothing_is_left();
}

#[test]
fn a_launcher_that_is_killed_at_any_of_its_calls_leaves_no_job_and_no_instance_behind() {
    // Killed while the n-th call of each kind is under way: carried out, but nobody hears of it.
    for (service, operation) in [("aws", "CreateFleet"), ("github", "generate-jitconfig"), ("aws", "PutParameter")] {
        let mut stage = Stage::default();
        stage.class = "phone_in = \"2s\"".to_owned();
        if service == "aws" {
            stage.ec2.proxy().fault(
                AwsMatch::action(operation),
                Limit::times(1),
                AwsFault::Delay(Duration::from_secs(20)),
            );
        } else {
            stage.github.fault(Match::operation(operation), Limit::times(1), Fault::HangAfter);
        }
        stage.start();
        let job = stage.queue();
        match service {
            "aws" => stage
                .until("the call is under way", || stage.ec2.calls().iter().any(|call| call.call.action == operation)),
            _ => stage.until("the call is under way", || !stage.github.runners().is_empty()),
        }
        if operation == "PutParameter" {
            stage.until("it is stored", || !stage.ec2.parameters().is_empty());
        }
        stage.kill();
        stage.start();
        // Whichever instance is there in the end with a JIT configuration takes the job.
        let mut served = None;
        stage.until(&format!("after a kill at {operation} an instance has its JIT configuration"), || {
            served = stage
                .live()
                .into_iter()
                .find(|instance| stage.ec2.parameters().contains_key(&Stage::parameter_of(instance)));
            served.is_some()
        });
        let instance = served.unwrap();
        stage.boot(&instance);
        assert!(
            stage.github.wait_job(job, SOON, |job| job.runner.is_some()),
            "killed at {operation}: the job got no runner"
        );
        stage.finish(&instance, job);
        stage.nothing_is_left();
        assert!(stage.ec2.instances().len() <= 3, "killed at {operation}: more launches than the cap");
    }
}

#[test]
fn a_job_of_which_no_webhook_told_is_found() {
    let mut stage = Stage::default();
    stage.start();
    let first = stage.queue();
    stage.until("the first job is served", || stage.live().len() == 1);
    stage.github.webhook_fault(
        mayfly_fake_github::WebhookMatch::action("queued"),
        Limit::times(1),
        mayfly_fake_github::WebhookFault::Lose,
    );
    let lost = stage.queue();
    stage.until("the lost job has an instance", || stage.live().len() == 2);
    for (instance, job) in stage.live().into_iter().zip([first, lost]) {
        stage.boot(&instance);
        assert!(stage.github.wait_job(job, SOON, |job| job.runner.is_some()));
    }
    for instance in stage.live() {
        let runner = stage.github.runner(&format!("ec2-{}", instance.id)).unwrap();
        stage.finish(&instance, runner.job.unwrap());
    }
    stage.nothing_is_left();
}

#[test]
fn an_instance_that_never_gives_a_sign_is_ended_and_its_job_served_by_another() {
    let mut stage = Stage::default();
    stage.class = "phone_in = \"2s\"".to_owned();
    stage.start();
    let job = stage.queue();
    stage.until("the silent one is ended and another is there", || {
        stage.ec2.instances().len() == 2 && stage.live().len() == 1
    });
    let instance = stage.live().remove(0);
    stage.boot(&instance);
    stage.finish(&instance, job);
    stage.nothing_is_left();
}

#[test]
fn a_busy_runner_is_never_ended_before_its_lifetime() {
    let mut stage = Stage::default();
    stage.class = "phone_in = \"1s\"\nlifetime = \"12s\"".to_owned();
    stage.start();
    let job = stage.queue();
    stage.until("an instance is launched", || stage.live().len() == 1);
    let instance = stage.live().remove(0);
    stage.boot(&instance);
    assert!(stage.github.wait_job(job, SOON, |job| job.runner.is_some()));
    stage.ec2.tag(&instance.id, &[("mayfly:phase", "busy")]);
    let began = std::time::Instant::now();
    stage.until("its lifetime ends it", || stage.live().is_empty());
    assert!(began.elapsed() > Duration::from_secs(8), "an instance with a job was ended after {:?}", began.elapsed());
}
