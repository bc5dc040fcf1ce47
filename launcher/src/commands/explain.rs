//! `mayfly-launcher explain`: why a job still waits, from GitHub, the configuration and AWS, in plain words.

use std::process::ExitCode;

use mayfly_core::launcher::class::{Verdict, class_of, label_key};
use mayfly_core::launcher::event::{InstanceState, InstanceView};
use mayfly_core::launcher::{Class, JobId, JobStatus, Scope};
use serde_json::json;

use super::{connect, failed, print};
use crate::clock;
use crate::config::Config;
use crate::github::webhook;

pub(super) async fn run(config: Config, address: String, as_json: bool) -> ExitCode {
    let Some((repository, job)) = parse(&address) else {
        return failed(
            64,
            &format!("{address:?} is not a job's address such as https://github.com/OWNER/REPO/actions/runs/1/job/2"),
        );
    };
    let (github, providers) = match connect(&config).await {
        Ok(both) => both,
        Err(code) => return code,
    };
    let app = config.settings.classes.iter().find(|class| class.scope.holds(&repository)).map(|class| class.app);
    let Some(app) = app else {
        return failed(65, &format!("{repository} is in no class's scope: nothing here launches for it"));
    };
    let (value, private) = match github.job(app, &repository, job).await {
        Ok(found) => found,
        Err(error) => return failed(69, &error),
    };
    let Some(signal) = webhook::job_signal(&value, &repository, private) else {
        return failed(69, &"GitHub's answer about the job cannot be read");
    };
    let mut said = vec![format!(
        "GitHub: job {job} ({}) is {}, labels [{}]",
        signal.name,
        word(signal.status),
        signal.labels.join(", ")
    )];
    if let Some(runner) = &signal.runner {
        said.push(format!("GitHub: runner {runner} has it"));
    }
    let class = match class_of(&config.settings.classes, &signal) {
        Verdict::Class(index) => config.settings.classes.get(index),
        Verdict::Refused(why) => {
            said.push(format!("configuration: not launched for: {why}"));
            None
        }
        Verdict::Foreign => {
            said.push(
                "configuration: no class has exactly these labels: somebody else's runners must take it".to_owned(),
            );
            None
        }
    };
    if let Some(class) = class {
        match providers.instances().await {
            Ok(instances) => from_instances(class, &instances, job, &label_key(&signal.labels), &mut said),
            Err(problem) => said.push(format!("AWS: the instances could not be listed: {}", problem.message)),
        }
        match github.runners(app, &class.scope).await {
            Ok(runners) => {
                let ours: Vec<_> =
                    runners.iter().filter(|runner| runner.name.starts_with(&format!("{}-", class.name))).collect();
                let idle = ours.iter().filter(|runner| runner.online && !runner.busy).count();
                let busy = ours.iter().filter(|runner| runner.busy).count();
                said.push(format!(
                    "GitHub: class {} has {} runners: {idle} idle, {busy} busy, the others not connected",
                    class.name,
                    ours.len()
                ));
                if idle > 0 && signal.status == JobStatus::Queued {
                    said.push(match &class.scope {
                        Scope::Organization(_) => "an idle runner is there and does not get it: may its runner group be used by this repository and workflow?".to_owned(),
                        Scope::Repository(_) => "an idle runner is there: GitHub should give it the job within seconds".to_owned(),
                    });
                }
            }
            Err(error) => said.push(format!("GitHub: {error}")),
        }
    }
    if as_json {
        print(
            &json!({ "job": job.0, "repository": repository, "status": word(signal.status), "said": said }).to_string(),
        );
    } else {
        said.iter().for_each(|line| print(line));
    }
    ExitCode::SUCCESS
}

fn from_instances(class: &Class, instances: &[InstanceView], job: JobId, labels: &str, said: &mut Vec<String>) {
    let now = clock::now();
    let ours: Vec<&InstanceView> = instances.iter().filter(|view| view.class == class.name).collect();
    let live = ours.iter().filter(|view| !matches!(view.state, InstanceState::Terminated)).count();
    said.push(format!("class {}: {live} of at most {} instances", class.name, class.max));
    if live >= class.max as usize {
        said.push(format!(
            "the class is full: the job waits until one of its instances ends, or raise max of class {}",
            class.name
        ));
    }
    let own: Vec<&&InstanceView> = ours.iter().filter(|view| view.jobs.contains(&job)).collect();
    if own.is_empty() {
        said.push("AWS: no instance was launched for this job within the last hour; the launcher's log says why (grep the job's id)".to_owned());
    }
    for view in own {
        let age = now.since(view.launched_at).as_secs();
        let phase = view.phase.as_deref().unwrap_or("no sign of its agent yet");
        let outcome = view.outcome.as_ref().map(|outcome| format!(", outcome {outcome}")).unwrap_or_default();
        said.push(format!("AWS: {} was launched for it {age} s ago: {:?}, {phase}{outcome}", view.id, view.state));
    }
    let free = ours.iter().filter(|view| view.labels == labels && view.phase.as_deref() == Some("idle")).count();
    if free > 0 {
        said.push(format!("AWS: {free} instances with these labels say that they listen for a job"));
    }
}

fn word(status: JobStatus) -> &'static str {
    match status {
        JobStatus::Waiting => "waiting",
        JobStatus::Queued => "queued",
        JobStatus::InProgress => "in_progress",
        JobStatus::Completed => "completed",
    }
}

/// `https://HOST/OWNER/REPO/actions/runs/RUN/job/JOB`, or `OWNER/REPO/JOB`.
fn parse(address: &str) -> Option<(String, JobId)> {
    let path = address.split_once("://").map_or(address, |(_, rest)| rest.split_once('/').map_or("", |(_, path)| path));
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let (owner, name, job) = match parts.as_slice() {
        [owner, name, "actions", "runs", _, "job", job] | [owner, name, job] => (owner, name, job),
        _ => return None,
    };
    let repository = format!("{owner}/{name}");
    webhook::is_repository(&repository).then_some(())?;
    Some((repository, JobId(job.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_known_by_the_address_that_the_browser_shows() {
        let expected = Some(("acme/shop".to_owned(), JobId(32_000_000_001)));
        assert_eq!(parse("https://github.com/acme/shop/actions/runs/9/job/32000000001?pr=7#step:2:1"), expected);
        assert_eq!(parse("acme/shop/32000000001"), expected);
        for bad in ["", "https://github.com/acme/shop", "https://github.com/a/../actions/runs/9/job/1", "acme/shop/x"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
