//! A walk through all that is served.

use std::net::SocketAddr;

use mayfly_fake_github::{Conclusion, FakeGithub, JobSpec};
use serde_json::json;

use super::{Caller, LONG, ORG, REPO, Receiver, SAMPLE};

/// Calls every operation that the double serves, at least once with success.
pub(crate) fn call_all(github: &FakeGithub, via: SocketAddr) {
    let receiver = Receiver::start();
    github.webhook_to(&receiver.url, "s");
    let (app, caller) = (Caller::app(github).via(via), Caller::installation(github).via(via));
    let job = github.queue_job(&JobSpec::new(SAMPLE, &["ec2"])).unwrap();
    let run = github.job(job).unwrap().run_id;
    assert!(github.wait_webhooks(LONG, |sent| sent.len() == 1));
    let delivery = github.webhooks()[0].id;
    let get = |caller: &Caller<'_>, path: &str| drop(caller.get(path));
    let paths = ["/app", "/app/hook/config", "/app/hook/deliveries", "/app/installations"];
    paths.iter().for_each(|path| get(&app, path));
    get(&app, &format!("/app/hook/deliveries/{delivery}"));
    get(&app, "/orgs/mayfly-example/installation");
    get(&app, &format!("{REPO}/installation"));
    app.call("POST", &format!("/app/hook/deliveries/{delivery}/attempts"), None);
    let mut ids = Vec::new();
    for (base, group) in [(ORG.to_owned(), 3), (format!("{REPO}/actions/runners"), 1)] {
        let body = json!({ "name": "r-1", "runner_group_id": group, "labels": ["other"] });
        let made = caller.call("POST", &format!("{base}/generate-jitconfig"), Some(&body));
        assert_eq!(made.status, 201, "{}", made.body);
        ids.push((base, super::json_of(&made)["runner"]["id"].clone()));
    }
    for (base, id) in &ids {
        get(&caller, base);
        get(&caller, &format!("{base}/{id}"));
        assert_eq!(caller.call("POST", &format!("{base}/registration-token"), None).status, 201);
        assert_eq!(caller.call("DELETE", &format!("{base}/{id}"), None).status, 204);
    }
    let groups = "/orgs/mayfly-example/actions/runner-groups";
    for path in ["/installation/repositories", "/rate_limit", REPO, groups] {
        get(&caller, path);
    }
    get(&caller, &format!("{groups}/3"));
    get(&caller, &format!("{groups}/3/repositories"));
    get(&caller, &format!("{REPO}/actions/jobs/{job}"));
    get(&caller, &format!("{REPO}/actions/runs"));
    get(&caller, &format!("{REPO}/actions/runs/{run}"));
    get(&caller, &format!("{REPO}/actions/runs/{run}/jobs"));
    github.complete_job(job, Conclusion::TimedOut).unwrap();
    get(&caller, &format!("{REPO}/actions/jobs/{job}"));
    let post = |what: &str| caller.call("POST", &format!("{REPO}/actions/runs/{run}/{what}"), None).status;
    assert_eq!((post("rerun-failed-jobs"), post("cancel")), (201, 202));
    let made = caller.call("POST", &format!("{REPO}/check-runs"), Some(&json!({ "name": "n", "head_sha": "a" })));
    let id = &super::json_of(&made)["id"];
    let update = json!({ "status": "completed", "conclusion": "success" });
    assert_eq!(caller.call("PATCH", &format!("{REPO}/check-runs/{id}"), Some(&update)).status, 200);
}
