//! `mayfly-launcher check`: everything that the launcher needs, tried, each with what to do about it.

use std::process::ExitCode;

use serde::Serialize;

use super::{connect, print};
use crate::config::{Config, Provider};
use crate::github::Github;
use mayfly_core::launcher::{Scope, WhenSpent};

/// What was found.
#[derive(Debug, Serialize)]
struct Finding {
    what: String,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'static str>,
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn good(&mut self, what: impl Into<String>) {
        self.0.push(Finding { what: what.into(), ok: true, problem: None, remedy: None });
    }

    fn bad(&mut self, what: impl Into<String>, problem: impl Into<String>, remedy: &'static str) {
        self.0.push(Finding { what: what.into(), ok: false, problem: Some(problem.into()), remedy: Some(remedy) });
    }
}

pub(super) async fn run(config: Config, json: bool, offline: bool) -> ExitCode {
    let mut findings = Findings::default();
    findings.good(format!("{}: {} classes", config.path.display(), config.settings.classes.len()));
    if !offline {
        let (github, providers) = match connect(&config).await {
            Ok(both) => both,
            Err(code) => return code,
        };
        apps(&config, &github, &mut findings).await;
        scopes(&config, &github, &mut findings).await;
        for (what, answer) in providers.rehearse().await {
            match answer {
                Ok(()) => findings.good(what),
                Err(problem) => findings.bad(
                    what,
                    problem.message,
                    "compare the launcher's role with docs/launcher.md, and the launch template with the account",
                ),
            }
        }
    }
    if config.listen.is_none() && config.apps.iter().any(|app| app.webhook_secret.is_some()) {
        findings.bad(
            "webhooks",
            "an App has a webhook_secret, and nothing listens",
            "set listen, or remove webhook_secret so that GitHub is asked instead",
        );
    }
    show(&findings.0, json)
}

async fn apps(config: &Config, github: &Github, findings: &mut Findings) {
    for (index, app) in config.apps.iter().enumerate() {
        let what = format!("App {}", app.name);
        match github.about(index).await {
            Err(error) => findings.bad(
                what,
                error.to_string(),
                "compare id and private_key with the App's settings page; see that the clock is right",
            ),
            Ok(about) => {
                findings.good(format!("{what} is {}", about["slug"].as_str().unwrap_or("known to GitHub")));
                let subscribed =
                    about["events"].as_array().is_some_and(|events| events.iter().any(|event| event == "workflow_job"));
                if app.webhook_secret.is_some() && !subscribed {
                    findings.bad(
                        format!("{what}: events"),
                        "it does not subscribe to workflow_job",
                        "App settings, Permissions & events, Subscribe to events: Workflow job",
                    );
                }
            }
        }
    }
}

async fn scopes(config: &Config, github: &Github, findings: &mut Findings) {
    for (class, launching) in config.settings.classes.iter().zip(&config.launching) {
        let (owner, permission) = match &class.scope {
            Scope::Organization(login) => (login, "organization_self_hosted_runners"),
            Scope::Repository(name) => (name, "administration"),
        };
        let what = format!("class {}: installation at {owner}", class.name);
        let about = match github.about_installation(class.app, owner).await {
            Err(error) => {
                findings.bad(what, error.to_string(), "install the App there: App settings, Install App");
                continue;
            }
            Ok(about) => about,
        };
        findings.good(what);
        let mut needed = vec![(permission, "write"), ("actions", "read")];
        match class.when_spent {
            WhenSpent::Cancel => needed.push(("actions", "write")),
            WhenSpent::Annotate => needed.push(("checks", "write")),
            WhenSpent::Log => {}
        }
        for (name, level) in needed {
            let has = about["permissions"][name].as_str().unwrap_or("none");
            if has != "write" && has != level {
                findings.bad(
                    format!("class {}: permission {name}", class.name),
                    format!("it is {has}, not {level}"),
                    "App settings, Permissions & events; then accept it at the installation",
                );
            }
        }
        if let Scope::Organization(login) = &class.scope {
            group(github, class, launching, login, findings).await;
        }
        if let Provider::Local(_) = launching.provider
            && class.max > 4
        {
            findings.bad(
                format!("class {}: max", class.name),
                format!("{} jobs at once on this machine", class.max),
                "set max to what the machine can hold",
            );
        }
    }
}

async fn group(
    github: &Github,
    class: &mayfly_core::launcher::Class,
    launching: &crate::config::Launching,
    login: &str,
    findings: &mut Findings,
) {
    let what = format!("class {}: runner group {:?}", class.name, launching.group);
    match github.groups(class.app, login).await {
        Err(error) => findings.bad(
            what,
            error.to_string(),
            "the App needs the organisation permission Self-hosted runners: write",
        ),
        Ok(groups) => match groups.iter().find(|group| {
            if launching.group.is_empty() { group.default } else { group.name.eq_ignore_ascii_case(&launching.group) }
        }) {
            None => {
                findings.bad(what, "there is no such group", "make it: organisation settings, Actions, Runner groups")
            }
            Some(group) if group.public && !class.public => {
                findings.bad(
                    what,
                    "public repositories may use it",
                    "runner group settings: do not allow public repositories",
                );
            }
            Some(_) => findings.good(what),
        },
    }
}

fn show(findings: &[Finding], json: bool) -> ExitCode {
    if json {
        print(&serde_json::to_string_pretty(findings).unwrap_or_default());
    } else {
        for finding in findings {
            match &finding.problem {
                None => print(&format!("ok       {}", finding.what)),
                Some(problem) => print(&format!(
                    "problem  {}: {problem}\n         {}",
                    finding.what,
                    finding.remedy.unwrap_or_default()
                )),
            }
        }
    }
    if findings.iter().all(|finding| finding.ok) { ExitCode::SUCCESS } else { ExitCode::from(1) }
}
