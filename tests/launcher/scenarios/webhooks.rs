//! What strangers and accidents do to the endpoint.

use mayfly_fake_github::{JobSpec, Limit, WebhookFault, WebhookMatch};
use mayfly_launcher_e2e::{LABELS, REPOSITORY, Stage, post};

#[test]
fn what_is_forged_malformed_or_over_size_changes_nothing() {
    let mut stage = Stage::default();
    let address = stage.start();
    let body = br#"{"action":"queued","workflow_job":{"id":1,"run_id":1,"labels":["self-hosted","ec2"],"status":"queued"},"repository":{"full_name":"mayfly-example/sample","private":true}}"#;
    let event = ("x-github-event", "workflow_job");
    let zeros = format!("sha256={}", "0".repeat(64));
    for (headers, status) in [
        (vec![event], 401),
        (vec![event, ("x-hub-signature-256", zeros.as_str())], 401),
        (vec![event, ("x-hub-signature-256", "sha256=zz")], 401),
        (vec![event, ("x-hub-signature", "sha1=0000")], 401),
        (vec![event, ("content-length", "99999999")], 413),
    ] {
        let answer = post(address, "/webhook", &headers, body);
        assert_eq!(answer.status, status, "{headers:?}: {}", answer.body);
    }
    assert_eq!(post(address, "/", &[event], body).status, 405);
    let long = vec![b'x'; 3 << 20];
    assert!(
        matches!(post(address, "/webhook", &[event], &long).status, 413 | 0),
        "a body of 3 MiB was read to its end"
    );
    stage.until("lists are asked for", || {
        stage.ec2.calls().iter().filter(|call| call.call.action == "DescribeInstances").count() > 2
    });
    assert!(stage.ec2.instances().is_empty(), "a stranger's request launched an instance");
}

#[test]
fn doubled_reordered_and_empty_messages_make_one_instance() {
    let mut stage = Stage::default();
    stage.start();
    for fault in
        [WebhookFault::Double, WebhookFault::Twice, WebhookFault::NullJob, WebhookFault::Body("not JSON".to_owned())]
    {
        stage.github.webhook_fault(WebhookMatch::action("queued"), Limit::times(1), fault);
    }
    let jobs: Vec<_> = (0..4).map(|_| stage.queue()).collect();
    stage.until("each job has an instance", || stage.ec2.parameters().len() == jobs.len());
    assert_eq!(stage.ec2.instances().len(), jobs.len(), "a message that came twice launched twice");
}

#[test]
fn jobs_of_others_public_repositories_and_unknown_values_launch_nothing() {
    let options = mayfly_fake_github::Options {
        owners: vec![
            mayfly_fake_github::OwnerSpec::new("mayfly-example")
                .repo("sample")
                .public_repo("open")
                .group(mayfly_fake_github::GroupSpec::new("ec2")),
        ],
        ..Default::default()
    };
    let mut stage = Stage::new(options);
    stage.class = "values = { size = [\"large\"] }".to_owned();
    stage.start();
    let others = [
        JobSpec::new(REPOSITORY, &["k8s"]),
        JobSpec::new(REPOSITORY, &["self-hosted", "ec2", "k8s"]),
        JobSpec::new(REPOSITORY, &["ubuntu-latest"]),
        JobSpec::new(REPOSITORY, &["self-hosted", "ec2", "size=metal"]),
        JobSpec::new("mayfly-example/open", LABELS),
    ];
    for spec in &others {
        let _ = stage.github.queue_job(spec).unwrap();
    }
    let _ = stage.github.queue_job(&JobSpec::new(REPOSITORY, &["EC2", "Self-Hosted", "size=LARGE"])).unwrap();
    stage.until("the one job of ours has its instance", || stage.ec2.parameters().len() == 1);
    assert_eq!(stage.ec2.instances().len(), 1, "instances for jobs that are not ours");
    assert_eq!(stage.live()[0].tags["mayfly:labels"], "ec2,self-hosted,size=large");
}

#[test]
fn at_sigterm_what_is_under_way_is_finished_and_the_exit_is_clean() {
    let mut stage = Stage::default();
    let delay = mayfly_fake_aws::proxy::Fault::Delay(std::time::Duration::from_secs(2));
    stage.ec2.proxy().fault(mayfly_fake_aws::proxy::Match::action("CreateFleet"), Limit::times(1), delay);
    stage.start();
    let _ = stage.queue();
    stage.until("the launch is under way", || stage.ec2.calls().iter().any(|call| call.call.action == "CreateFleet"));
    assert_eq!(stage.stop(), 0);
    assert_eq!(stage.ec2.instances().len(), 1);
    assert_eq!(stage.ec2.parameters().len(), 1, "the instance was left without what it was launched for");
}
