//! Commands as JSON, for scripts that steer the double from outside.

use std::time::Duration;

use mayfly_fake_aws::when::limit_of;
use serde_json::{Value, json};

use crate::fault::Match;
use crate::world::model::{Conclusion, Job, JobId, JobSpec, Scope};
use crate::{FakeGithub, GithubRequest, List, Served, WebhookFault, WebhookMatch};

type Answer = Result<Value, String>;

impl FakeGithub {
    /// Carries out a command, as the binary reads them: the name, a blank, and what it needs as JSON or as words.
    pub fn command(&self, line: &str) -> Answer {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim();
        let argument: Value = serde_json::from_str(rest).unwrap_or_else(|_| Value::String(rest.to_owned()));
        match name {
            "queue" => self.queue_command(&argument),
            "start" => self.start_job(job_id(&argument["job"])?, text(&argument, "runner")?).map(done),
            "complete" => {
                let conclusion = text(&argument, "conclusion")?;
                let read = Conclusion::read(conclusion).ok_or_else(|| format!("no such conclusion: {conclusion}"))?;
                self.complete_job(job_id(&argument["job"])?, read).map(done)
            }
            "cancel" => {
                self.cancel(job_id(&argument)?);
                Ok(json!({}))
            }
            "approve" => self.approve(job_id(&argument)?).map(done),
            "hold" => self.hold(job_id(&argument)?).map(done),
            "online" => self.runner_online(rest).map(done),
            "gone" => self.runner_gone(rest).map(done),
            "job" => Ok(json!({ "job": self.job(job_id(&argument)?).map(|job| shown(&job)) })),
            "jobs" => Ok(json!({ "jobs": self.jobs().iter().map(shown).collect::<Vec<_>>() })),
            "runners" => Ok(json!({ "runners": self.runners().iter().map(|runner| json!({
                "id": runner.id, "name": runner.name, "labels": runner.labels, "online": runner.online,
                "group_id": runner.group_id, "job": runner.job.map(|job| job.0),
            })).collect::<Vec<_>>() })),
            "add-runner" => self.add_runner_command(&argument),
            "requests" => {
                Ok(json!({ "requests": self.requests().iter().map(GithubRequest::summary).collect::<Vec<_>>() }))
            }
            "violations" => Ok(json!({ "violations": self.violations().iter().map(|found| json!({
                "side": format!("{:?}", found.side), "operation": found.operation, "problem": found.problem,
            })).collect::<Vec<_>>() })),
            "webhooks" => Ok(json!({ "webhooks": self.webhooks().iter().map(|sent| json!({
                "id": sent.id, "guid": sent.guid, "event": sent.event, "action": sent.action, "job": sent.job.map(|job| job.0), "status": sent.status,
                "redelivery": sent.redelivery,
            })).collect::<Vec<_>>() })),
            "check-runs" => Ok(json!({ "check_runs": self.check_runs().iter().map(|run| json!({
                "id": run.id, "repo": run.repo, "sent": run.sent, "annotations": run.annotations,
            })).collect::<Vec<_>>() })),
            "send-webhook" => {
                let (event, body) = rest.split_once(' ').unwrap_or((rest, ""));
                self.send_webhook(event, body);
                Ok(json!({}))
            }
            "webhook-to" => {
                self.webhook_to(text(&argument, "url")?, text(&argument, "secret")?);
                Ok(json!({}))
            }
            "webhook-fault" => {
                let fault: WebhookFault = text(&argument, "fault")?.parse()?;
                let action = argument["action"].as_str().map(str::to_owned);
                let matching = WebhookMatch { action, job: argument["job"].as_u64().map(JobId) };
                Ok(json!({ "id": self.webhook_fault(matching, limit_of(&argument), fault).0 }))
            }
            "release-webhooks" => {
                self.release_webhooks(rest == "reversed");
                Ok(json!({}))
            }
            "fault" => {
                let part = |key: &str| argument[key].as_str().map(str::to_owned);
                let (operation, path, containing) = (part("operation"), part("path"), part("containing"));
                let matching = Match { operation, path, containing };
                let fault = text(&argument, "fault")?.parse()?;
                Ok(json!({ "id": self.fault(matching, limit_of(&argument), fault).0 }))
            }
            "serve-list" => self.list_command(&argument),
            "advance" => Ok(json!({ "moved": self.advance(seconds(rest)?) })),
            "latency" => {
                self.latency(seconds(rest)?);
                Ok(json!({}))
            }
            "refuse" => self.refuse(period(rest)?).map(done).map_err(|error| error.to_string()),
            "black-hole" => self.black_hole(period(rest)?).map(done).map_err(|error| error.to_string()),
            "clear" => self.clear_all().map(done).map_err(|error| error.to_string()),
            unknown => Err(format!("no such command: {unknown}")),
        }
    }

    fn queue_command(&self, argument: &Value) -> Answer {
        let words = |key: &str| argument[key].as_array().map(|words| words.iter().filter_map(Value::as_str).collect());
        let labels: Vec<&str> = words("labels").ok_or("queue needs \"labels\"")?;
        let mut spec = JobSpec::new(text(argument, "repo")?, &labels);
        spec.run_id = argument["run"].as_u64();
        spec.group = argument["group"].as_str().map(str::to_owned);
        spec.waiting = argument["waiting"] == true;
        if let Some(name) = argument["name"].as_str() {
            spec = spec.name(name);
        }
        if let Some(workflow) = argument["workflow"].as_str() {
            spec = spec.workflow(workflow);
        }
        let job = self.queue_job(&spec)?;
        Ok(json!({ "job": job.0, "run": self.job(job).map(|job| job.run_id) }))
    }

    fn add_runner_command(&self, argument: &Value) -> Answer {
        let labels: Vec<&str> = argument["labels"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let scope = text(argument, "scope")?.to_owned();
        let scope = if scope.contains('/') { Scope::Repo(scope) } else { Scope::Org(scope) };
        let group = argument["group_id"].as_u64().unwrap_or(crate::DEFAULT_GROUP);
        Ok(json!({ "id": self.add_runner(scope, text(argument, "name")?, group, &labels)? }))
    }

    fn list_command(&self, argument: &Value) -> Answer {
        let list = match text(argument, "list")? {
            "runners" => List::Runners,
            "jobs" => List::Jobs,
            "runs" => List::Runs,
            unknown => return Err(format!("no such list: {unknown}")),
        };
        let stale = argument["stale"].as_f64().and_then(|stale| Duration::try_from_secs_f64(stale).ok());
        let inflated = argument["inflated"].as_u64().unwrap_or_default();
        self.serve_list(list, Served { stale: stale.unwrap_or_default(), inflated });
        Ok(json!({}))
    }
}

fn done((): ()) -> Value {
    json!({})
}

fn text<'a>(argument: &'a Value, key: &str) -> Result<&'a str, String> {
    argument[key].as_str().ok_or_else(|| format!("the key {key:?} is needed"))
}

fn job_id(value: &Value) -> Result<JobId, String> {
    value.as_u64().map(JobId).ok_or_else(|| format!("no job id: {value}"))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().map_err(|error| error.to_string())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn period(text: &str) -> Result<Option<Duration>, String> {
    if text.is_empty() { Ok(None) } else { seconds(text).map(Some) }
}

fn shown(job: &Job) -> Value {
    json!({
        "id": job.id.0, "run": job.run_id, "attempt": job.attempt, "repo": job.repo, "name": job.name,
        "labels": job.labels, "status": job.status.as_str(),
        "conclusion": job.conclusion.map(Conclusion::as_str),
        "runner": job.runner.as_ref().map(|runner| &runner.name),
    })
}
