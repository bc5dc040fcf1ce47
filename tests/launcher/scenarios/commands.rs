//! What a person types.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use mayfly_fake_aws::proxy::{AwsError, Fault as AwsFault, Match as AwsMatch};
use mayfly_fake_github::{GroupSpec, Limit, Options, OwnerSpec};
use mayfly_launcher_e2e::{REPOSITORY, Stage, get};

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn check_tries_everything_and_names_what_is_missing_with_its_remedy() {
    let stage = Stage::default();
    let good = stage.command(&["check"]).output().unwrap();
    assert!(good.status.success(), "{}", said(&good));
    assert!(stage.ec2.instances().is_empty(), "a check launched an instance");

    let owner = OwnerSpec::new("mayfly-example").repo("sample").group(GroupSpec::new("other"));
    let stage = Stage::new(Options { owners: vec![owner.permission("checks", "")], ..Options::default() });
    let denied = AwsFault::Error(AwsError::Code {
        status: 403,
        code: "UnauthorizedOperation".to_owned(),
        message: "You are not authorized to perform this operation.".to_owned(),
    });
    stage.ec2.proxy().fault(AwsMatch::action("DescribeInstances"), Limit::default(), denied);
    let bad = stage.command(&["check"]).output().unwrap();
    assert_eq!(bad.status.code(), Some(1), "{}", said(&bad));
    for missing in ["permission checks", "runner group \"ec2\"", "UnauthorizedOperation"] {
        assert!(said(&bad).contains(missing), "nobody is told of {missing}:\n{}", said(&bad));
    }
    let json = stage.command(&["check", "--json"]).output().unwrap();
    let findings: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let bad: Vec<_> = findings.as_array().unwrap().iter().filter(|finding| finding["ok"] == false).collect();
    assert!(!bad.is_empty() && bad.iter().all(|finding| finding["remedy"].is_string()), "a problem without a remedy");
}

#[test]
fn a_configuration_with_mistakes_is_refused_with_all_of_them_and_their_lines() {
    let mut stage = Stage::default();
    stage.class = "max = 0\nlaunches = 2\npatience = \"soon\"".to_owned();
    stage.more = "[[class]]\nname = \"gpu\"\nlabels = [[\"self-hosted\", \"ec2\", \"gpu\"]]\norganization = \"mayfly-example\"\n[class.local]\n".to_owned();
    let output = stage.command(&["check", "--offline"]).output().unwrap();
    assert_eq!(output.status.code(), Some(78), "{}", said(&output));
    for problem in [
        "max: must be 1 to 10000",
        "unknown key launches",
        "patience: \"soon\"",
        "runner_group: the default group",
        "takes_smaller",
    ] {
        let line = said(&output).lines().find(|line| line.contains(problem)).map(str::to_owned);
        assert!(
            line.is_some_and(|line| line.contains("launcher.toml:")),
            "not told, or without its line: {problem}\n{}",
            said(&output)
        );
    }
}

#[test]
fn a_secret_that_others_can_read_is_refused_and_not_told() {
    let stage = Stage::default();
    let mut command = stage.command(&["serve"]);
    let secret = stage.place.path().join("webhook-secret");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).unwrap();
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(said(&output).contains("chmod 600") && !said(&output).contains("nobody-prints"), "{}", said(&output));
}

#[test]
fn explain_says_why_a_job_waits() {
    let stage = Stage::default();
    let of = |labels: &[&str]| {
        let job = stage.github.queue_job(&mayfly_fake_github::JobSpec::new(REPOSITORY, labels)).unwrap();
        let output = stage
            .command(&["explain", &format!("https://github.com/{REPOSITORY}/actions/runs/1/job/{}", job.0)])
            .output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", said(&output));
        said(&output)
    };
    let nothing = of(&["self-hosted", "ec2"]);
    assert!(nothing.contains("is queued") && nothing.contains("no instance was launched for this job"), "{nothing}");
    let foreign = of(&["self-hosted", "ec2", "k8s"]);
    assert!(foreign.contains("no class has exactly these labels"), "{foreign}");
    let nonsense = stage.command(&["explain", "https://github.com/mayfly-example"]).output().unwrap();
    assert_eq!(nonsense.status.code(), Some(64), "{}", said(&nonsense));
}

#[test]
fn launch_makes_one_machine_or_leaves_none() {
    let stage = Stage::default();
    let output = stage.command(&["launch", "--class", "ec2"]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let instance = stage.live().remove(0);
    stage.boot(&instance);

    let stage = Stage::default();
    stage.ec2.proxy().fault(AwsMatch::action("PutParameter"), Limit::times(1), AwsFault::LoseAnswer);
    let output = stage.command(&["launch", "--class", "ec2"]).output().unwrap();
    assert_eq!(output.status.code(), Some(69), "{}", said(&output));
    assert!(stage.live().is_empty(), "an instance that was given up runs on:\n{}", said(&output));
}

#[test]
fn reconcile_serves_what_waits_and_ends_when_nothing_is_left_to_do() {
    let stage = Stage::default();
    let began = std::time::Instant::now();
    let output = stage.command(&["reconcile", "--within", "50s"]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert!(began.elapsed().as_secs() < 40, "it went on for {:?} with nothing to do", began.elapsed());
    assert!(said(&output).contains("0 instances, 0 jobs wait"), "{}", said(&output));
}

#[test]
fn the_page_and_the_figures_are_for_who_has_the_token() {
    let mut stage = Stage::default();
    stage.page_token = Some("a-token-of-the-page");
    let address = stage.start();
    let _ = stage.queue();
    stage.until("it has its JIT configuration", || !stage.ec2.parameters().is_empty());
    // Nothing, an empty password, one that is a letter too long; then the right one.
    let (empty, wrong, right) =
        ("Basic eDo=", "Basic eDphLXRva2VuLW9mLXRoZS1wYWdleA==", "Basic eDphLXRva2VuLW9mLXRoZS1wYWdl");
    for path in ["/", "/metrics"] {
        for authorization in [None, Some(empty), Some(wrong), Some("Bearer x")] {
            let answer = get(address, path, authorization);
            assert_eq!(answer.status, 401, "{path} is shown to anybody: {authorization:?}");
        }
    }
    stage.until("the page knows the job", || get(address, "/", Some(right)).body.contains("boots, since"));
    assert_eq!(get(address, "/metrics", Some(right)).status, 200);
    let figures = get(address, "/metrics", Some(right)).body;
    assert!(figures.contains("mayfly_launcher_launched_total 1"), "{figures}");
}
