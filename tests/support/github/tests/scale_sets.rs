//! Runner scale sets: registration, session, messages, and what goes wrong with them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail there")]

mod common;

use std::time::{Duration, Instant};

use common::{Caller, ORG, SAMPLE, json_of};
use mayfly_core::runner::jit::JitConfig;
use mayfly_fake_aws::http::{Answer, send};
use mayfly_fake_github::{
    ClockKind, Conclusion, FakeGithub, Fault, JobForm, JobId, JobSpec, JobStatus, Limit, Match, Options, Scope,
};
use serde_json::{Value, json};

const AGENT: &str = r#"{"system":"mayfly-test","kind":"scaleset"}"#;
const SETS: &str = "_apis/runtime/runnerscalesets";

/// A client of the service: what actions/scaleset does, call by call.
struct Service<'a> {
    github: &'a FakeGithub,
    base: String,
    admin: String,
}

/// What a client knows of its session.
struct Session {
    id: String,
    queue: String,
    token: String,
}

fn options() -> Options {
    Options { long_poll: Duration::from_millis(150), ..Options::default() }
}

impl<'a> Service<'a> {
    fn reach(github: &'a FakeGithub) -> Self {
        let made = Caller::installation(github).call("POST", &format!("{ORG}/registration-token"), None);
        let token = json_of(&made)["token"].as_str().unwrap().to_owned();
        let auth = format!("RemoteAuth {token}");
        let body = json!({ "url": "https://github.com/mayfly-example", "runner_event": "register" });
        let headers = [("authorization", auth.as_str()), ("user-agent", AGENT)];
        let path = "/actions/runner-registration";
        let got = json_of(&send(github.address(), "POST", path, &headers, &body.to_string()).unwrap());
        let base = got["url"].as_str().unwrap().trim_start_matches(&github.url()).to_owned();
        Self { github, base, admin: got["token"].as_str().unwrap().to_owned() }
    }

    fn raw(&self, method: &str, path: &str, token: &str, body: &str) -> Answer {
        let auth = format!("Bearer {token}");
        let headers = [("authorization", auth.as_str()), ("user-agent", AGENT), ("x-scalesetmaxcapacity", "10")];
        send(self.github.address(), method, path, &headers, body).unwrap()
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Answer {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let mark = if path.contains('?') { '&' } else { '?' };
        let path = format!("{}{path}{mark}api-version=6.0-preview", self.base);
        self.raw(method, &path, &self.admin, &text)
    }

    fn get(&self, path: &str) -> Value {
        let answer = self.call("GET", path, &Value::Null);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        json_of(&answer)
    }

    /// A set for one label in the group `ec2`.
    fn set(&self, name: &str) -> u64 {
        let labels = json!([{ "type": "System", "name": name }]);
        let body =
            json!({ "name": name, "runnerGroupId": 3, "labels": labels, "RunnerSetting": { "disableUpdate": true } });
        let answer = self.call("POST", SETS, &body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        json_of(&answer)["id"].as_u64().unwrap()
    }

    fn try_open(&self, set: u64) -> Answer {
        self.call("POST", &format!("{SETS}/{set}/sessions"), &json!({ "ownerName": "me" }))
    }

    fn open(&self, set: u64) -> Session {
        let answer = self.try_open(set);
        assert_eq!(answer.status, 200, "{}", answer.body);
        Self::session(&json_of(&answer))
    }

    fn session(answer: &Value) -> Session {
        let text = |name: &str| answer[name].as_str().unwrap().to_owned();
        Session { id: text("sessionId"), queue: text("messageQueueUrl"), token: text("messageQueueAccessToken") }
    }

    fn poll(&self, session: &Session, last: u64) -> Answer {
        let path = session.queue.trim_start_matches(&self.github.url());
        let last = if last > 0 { format!("&lastMessageId={last}") } else { String::new() };
        self.raw("GET", &format!("{path}{last}"), &session.token, "")
    }

    fn acknowledge(&self, session: &Session, id: u64) -> u16 {
        let path = session.queue.trim_start_matches(&self.github.url());
        let (path, query) = path.split_once('?').unwrap();
        self.raw("DELETE", &format!("{path}/{id}?{query}"), &session.token, "").status
    }

    fn acquire(&self, set: u64, session: &Session, ids: &[u64]) -> Value {
        let path = format!("{}{SETS}/{set}/acquirejobs?api-version=6.0-preview", self.base);
        json_of(&self.raw("POST", &path, &session.token, &json!(ids).to_string()))
    }
}

/// Message id, kinds with request ids, and the statistics.
fn read(answer: &Answer) -> (u64, Vec<(String, u64)>, Value) {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let message = json_of(answer);
    assert_eq!(message["messageType"], "RunnerScaleSetJobMessages");
    let items: Value = serde_json::from_str(message["body"].as_str().unwrap()).unwrap();
    let kind =
        |item: &Value| (item["messageType"].as_str().unwrap().to_owned(), item["runnerRequestId"].as_u64().unwrap());
    let kinds = items.as_array().unwrap().iter().map(kind).collect();
    (message["messageId"].as_u64().unwrap(), kinds, message["statistics"].clone())
}

fn queue(github: &FakeGithub) -> JobId {
    github.queue_job(&JobSpec::new(SAMPLE, &["big"])).unwrap()
}

#[test]
fn a_job_is_available_acquired_assigned_started_and_completed() {
    let github = FakeGithub::start(options()).unwrap();
    let service = Service::reach(&github);
    let groups = service.get("_apis/runtime/runnergroups/?groupName=ec2");
    assert_eq!((&groups["count"], &groups["value"][0]["id"]), (&json!(1), &json!(3)));
    let set = service.set("big");
    let found = service.get(&format!("{SETS}?runnerGroupId=3&name=big"));
    assert_eq!(found["value"][0]["id"], set);
    let session = service.open(set);
    let job = queue(&github);
    let (first, kinds, statistics) = read(&service.poll(&session, 0));
    assert_eq!(kinds, [("JobAvailable".to_owned(), job.0)]);
    assert_eq!((&statistics["totalAvailableJobs"], &statistics["totalAssignedJobs"]), (&json!(1), &json!(0)));
    assert_eq!(service.get(&format!("{SETS}/{set}/acquirablejobs"))["value"][0]["runnerRequestId"], job.0);
    assert_eq!(service.acquire(set, &session, &[job.0, 7])["value"], json!([job.0]), "only what is there is granted");
    assert_eq!(service.acquire(set, &session, &[job.0])["count"], 0, "and only once");
    assert_eq!(service.call("GET", &format!("{SETS}/{set}/acquirablejobs"), &Value::Null).status, 204);
    assert_eq!(read(&service.poll(&session, 0)).0, first, "an unacknowledged message is sent again");
    assert_eq!(service.acknowledge(&session, first), 204);
    let (second, kinds, statistics) = read(&service.poll(&session, first));
    assert_eq!((second, kinds[0].0.as_str()), (first + 1, "JobAssigned"));
    assert_eq!(statistics["totalAssignedJobs"], 1);
    service.acknowledge(&session, second);
    let minted = service.call("POST", &format!("{SETS}/{set}/generatejitconfig"), &json!({ "name": "r-1" }));
    let minted = json_of(&minted);
    JitConfig::decode(minted["encodedJITConfig"].as_str().unwrap()).unwrap();
    assert_eq!(minted["runner"]["runnerScaleSetId"], set);
    github.runner_online("r-1").unwrap();
    assert_eq!(github.job(job).unwrap().status, JobStatus::InProgress);
    let agent = format!("_apis/distributedtask/pools/0/agents/{}", minted["runner"]["id"]);
    let refused = service.call("DELETE", &agent, &Value::Null);
    assert_eq!((refused.status, &json_of(&refused)["typeName"]), (400, &json!("JobStillRunningException")));
    github.complete_job(job, Conclusion::Success).unwrap();
    let (third, kinds, statistics) = read(&service.poll(&session, second));
    let kinds: Vec<&str> = kinds.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["JobStarted", "JobCompleted"]);
    assert_eq!((&statistics["totalAssignedJobs"], &statistics["totalRegisteredRunners"]), (&json!(0), &json!(0)));
    service.acknowledge(&session, third);
    assert_eq!(service.poll(&session, third).status, 202, "there is nothing more");
    let missing = service.call("GET", &agent, &Value::Null);
    assert_eq!((missing.status, &json_of(&missing)["typeName"]), (404, &json!("AgentNotFoundException")));
    let close = format!("{SETS}/{set}/sessions/{}", session.id);
    assert_eq!(service.call("DELETE", &close, &Value::Null).status, 204);
    assert_eq!(github.violations(), []);
}

#[test]
fn a_poll_waits_for_the_next_message() {
    let github = FakeGithub::start(Options { long_poll: Duration::from_secs(30), ..Options::default() }).unwrap();
    let service = Service::reach(&github);
    let session = service.open(service.set("big"));
    let began = Instant::now();
    let job = std::thread::scope(|scope| {
        let polling = scope.spawn(|| read(&service.poll(&session, 0)).1[0].1);
        assert!(github.wait_requests(common::LONG, |all| all.iter().any(|one| one.path.contains("/messages"))));
        let job = queue(&github);
        assert_eq!(polling.join().unwrap(), job.0);
        job
    });
    assert!(began.elapsed() < Duration::from_secs(25), "{job} was not told at once");
}

#[test]
fn a_job_may_come_assigned_already_and_be_cancelled() {
    let github = FakeGithub::start(options()).unwrap();
    github.job_form(JobForm::Assigned);
    let service = Service::reach(&github);
    let session = service.open(service.set("big"));
    let job = queue(&github);
    let (id, kinds, _) = read(&service.poll(&session, 0));
    assert_eq!(kinds, [("JobAssigned".to_owned(), job.0)]);
    service.acknowledge(&session, id);
    github.cancel(job);
    let answer = service.poll(&session, id);
    assert_eq!(read(&answer).1, [("JobCompleted".to_owned(), job.0)]);
    assert!(answer.body.contains(r#"\"result\":\"canceled\""#), "{}", answer.body);
}

#[test]
fn a_set_has_one_session_and_a_new_one_is_told_everything_again() {
    let github = FakeGithub::start(Options { clock: ClockKind::Manual, ..options() }).unwrap();
    let service = Service::reach(&github);
    let set = service.set("big");
    let first = service.open(set);
    let job = queue(&github);
    let (id, ..) = read(&service.poll(&first, 0));
    service.acquire(set, &first, &[job.0]);
    service.acknowledge(&first, id);
    let (id, ..) = read(&service.poll(&first, id));
    service.acknowledge(&first, id);
    let other = queue(&github);
    read(&service.poll(&first, id));
    let refused = service.try_open(set);
    assert_eq!(refused.status, 409);
    assert_eq!(json_of(&refused)["typeName"], "RunnerScaleSetSessionConflictException");
    github.advance(Duration::from_secs(121));
    let second = service.open(set);
    let (id, again, _) = read(&service.poll(&second, 0));
    let open = [("JobAssigned".to_owned(), job.0), ("JobAvailable".to_owned(), other.0)];
    assert_eq!(again, open, "what was acknowledged before is told again, and all of it once");
    // Unacknowledged messages of the first session are no more.
    assert_eq!(service.acknowledge(&second, id), 204);
    github.cancel(other);
    assert_eq!(read(&service.poll(&second, id)).1, [("JobCompleted".to_owned(), other.0)]);
    let renewal = format!("{SETS}/{set}/sessions/{}", first.id);
    assert_eq!(service.call("PATCH", &renewal, &Value::Null).status, 404, "the first session is gone");
    assert_eq!(service.poll(&first, 0).status, 401);
}

#[test]
fn an_expired_token_is_a_401_until_the_session_is_renewed() {
    let github = FakeGithub::start(options()).unwrap();
    let service = Service::reach(&github);
    let set = service.set("big");
    let session = service.open(set);
    github.expire_queue_tokens();
    assert_eq!(service.poll(&session, 0).status, 401);
    let renewed = service.call("PATCH", &format!("{SETS}/{set}/sessions/{}", session.id), &Value::Null);
    let renewed = Service::session(&json_of(&renewed));
    assert_eq!((&renewed.id, service.poll(&renewed, 0).status), (&session.id, 202));
    github.drop_sessions();
    let gone = service.call("PATCH", &format!("{SETS}/{set}/sessions/{}", session.id), &Value::Null);
    assert_eq!(gone.status, 404);
    assert!(gone.body.contains("session ID doesn't exist in redis"), "{}", gone.body);
    github.remove_scale_set(set);
    assert_eq!(service.call("GET", &format!("{SETS}/{set}"), &Value::Null).status, 404);
}

#[test]
fn answers_may_be_marked_cut_short_or_wrong_in_their_counts() {
    let github = FakeGithub::start(options()).unwrap();
    let service = Service::reach(&github);
    let session = service.open(service.set("big"));
    queue(&github);
    github.fault(Match::operation("/messages"), Limit::times(1), Fault::ByteOrderMark);
    github.fault(Match::operation("/messages"), Limit::times(1), Fault::BodyAfter(String::new()));
    assert!(service.poll(&session, 0).body.starts_with('\u{feff}'));
    let end = service.poll(&session, 0);
    assert_eq!((end.status, end.body.as_str()), (200, ""));
    github.statistics_off(5);
    assert_eq!(read(&service.poll(&session, 0)).2["totalAssignedJobs"], 5, "inflated");
    github.statistics_off(-5);
    let (_, kinds, statistics) = read(&service.poll(&session, 0));
    assert_eq!((kinds.len(), &statistics["totalAssignedJobs"]), (1, &json!(0)), "0 while a message tells of a job");
}

#[test]
fn only_a_runner_of_the_set_gets_a_job_of_the_set() {
    let github = FakeGithub::start(options()).unwrap();
    github.job_form(JobForm::Assigned);
    let service = Service::reach(&github);
    let set = service.set("big");
    let job = queue(&github);
    github.add_runner(Scope::Org("mayfly-example".to_owned()), "plain", 3, &["big"]).unwrap();
    github.runner_online("plain").unwrap();
    assert_eq!(github.job(job).unwrap().status, JobStatus::Queued);
    service.call("POST", &format!("{SETS}/{set}/generatejitconfig"), &json!({ "name": "of-set" }));
    github.runner_online("of-set").unwrap();
    assert_eq!(github.job(job).unwrap().runner.unwrap().name, "of-set");
}

#[test]
fn names_are_unique_and_tokens_are_checked() {
    let github = FakeGithub::start(options()).unwrap();
    let service = Service::reach(&github);
    let set = service.set("big");
    let again = service.call("POST", SETS, &json!({ "name": "big", "runnerGroupId": 3 }));
    assert_eq!(again.status, 409);
    let mint = || service.call("POST", &format!("{SETS}/{set}/generatejitconfig"), &json!({ "name": "r-1" }));
    assert_eq!(mint().status, 200);
    let taken = mint();
    assert_eq!((taken.status, &json_of(&taken)["typeName"]), (409, &json!("AgentExistsException")));
    let found = service.get("_apis/distributedtask/pools/0/agents?agentName=r-1");
    let agent = format!("_apis/distributedtask/pools/0/agents/{}", found["value"][0]["id"]);
    assert_eq!(service.call("DELETE", &agent, &Value::Null).status, 204);
    let path = format!("{}{SETS}?api-version=6.0-preview", service.base);
    assert_eq!(service.raw("GET", &path, "nonsense", "").status, 401);
    assert_eq!(service.call("PATCH", &format!("{SETS}/{set}"), &json!({ "name": "bigger" })).status, 200);
    assert_eq!(service.get(&format!("{SETS}/{set}"))["name"], "bigger");
    assert_eq!(service.call("DELETE", &format!("{SETS}/{set}"), &Value::Null).status, 204);
    assert_eq!(github.violations(), []);
}
