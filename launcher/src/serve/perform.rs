//! Carries an action out and says what became of it. Every action ends in an event, within its deadline.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mayfly_core::launcher::{Action, Event, Moment, Problem, ProblemKind, Scope, WhenSpent};
use secrecy::SecretString;

use crate::config::Config;
use crate::github::{Github, GithubError};
use crate::provider::{Providers, Request};

/// What one action may take, with every call that it makes.
const DEADLINE: Duration = Duration::from_secs(60);

/// The group of a repository's own runners: there are no others.
const REPOSITORY_GROUP: u64 = 1;

/// Whoever carries actions out.
#[derive(Debug)]
pub(super) struct Performer {
    pub(super) config: Config,
    pub(super) github: Github,
    pub(super) providers: Providers,
    /// Runner groups that were found, by class.
    groups: Mutex<HashMap<usize, u64>>,
    /// JIT configurations between GitHub and their instance.
    configurations: Mutex<HashMap<String, SecretString>>,
}

impl Performer {
    pub(super) fn new(config: Config, github: Github, providers: Providers) -> Arc<Self> {
        Arc::new(Self { config, github, providers, groups: Mutex::default(), configurations: Mutex::default() })
    }

    /// Carries it out.
    pub(super) async fn perform(&self, action: Action) -> Vec<Event> {
        let late = || Problem::new(ProblemKind::Unclear, format!("no answer within {} s", DEADLINE.as_secs()));
        match tokio::time::timeout(DEADLINE, self.act(&action)).await {
            Ok(events) => events,
            Err(_) => vec![failed(&action, late())],
        }
    }

    async fn act(&self, action: &Action) -> Vec<Event> {
        match self.answer(action).await {
            Ok(events) => events,
            Err(problem) => vec![failed(action, problem)],
        }
    }

    async fn answer(&self, action: &Action) -> Result<Vec<Event>, Problem> {
        match action {
            Action::Launch { token, class, candidate, labels, repository, jobs } => {
                let request = Request {
                    token: token.clone(),
                    class: *class,
                    candidate: *candidate,
                    labels: labels.clone(),
                    repository: repository.clone(),
                    jobs: jobs.clone(),
                    ticket: self.github.ticket(self.app(*class), token).unwrap_or_default(),
                };
                let (instances, problems) = self.providers.launch(&request).await?;
                Ok(vec![Event::Launched { token: token.clone(), instances, problems }])
            }
            Action::Mint { instance, class, name, labels } => self.mint(instance, *class, name, labels).await,
            Action::Store { instance, class, advanced } => {
                let configuration = self.configurations.lock().ok().and_then(|mut kept| kept.remove(instance));
                let lost = || Problem::new(ProblemKind::Unclear, "its JIT configuration is not there any more");
                let configuration = configuration.ok_or_else(lost)?;
                match self.providers.store(*class, instance, *advanced, &configuration).await {
                    Ok(()) => Ok(vec![Event::Stored { instance: instance.clone() }]),
                    Err(problem) => {
                        // It was not carried out: it is needed once more.
                        if problem.kind == ProblemKind::Throttled
                            && let Ok(mut kept) = self.configurations.lock()
                        {
                            kept.insert(instance.clone(), configuration);
                        }
                        Err(problem)
                    }
                }
            }
            Action::Terminate { instance, .. } => {
                // What it was to be given is given to nobody.
                if let Ok(mut kept) = self.configurations.lock() {
                    kept.remove(instance);
                }
                self.providers.terminate(instance).await?;
                Ok(vec![Event::Terminated { instance: instance.clone() }])
            }
            Action::DeleteRunner { class, runner } => {
                let scope = self.scope(*class)?;
                self.github.delete_runner(self.app(*class), scope, *runner).await.map_err(|error| error.problem())?;
                Ok(vec![Event::RunnerDeleted { runner: *runner }])
            }
            Action::DeleteParameter { instance } => {
                self.providers.delete_parameter(instance).await?;
                Ok(vec![Event::ParameterDeleted { instance: instance.clone() }])
            }
            Action::LookAtRun { class, repository, run } => {
                let jobs = self.github.jobs(self.app(*class), repository, *run).await;
                let jobs = match jobs {
                    // A run that is not there has no jobs.
                    Err(GithubError { status: Some(404), .. }) => Vec::new(),
                    jobs => jobs.map_err(|error| error.problem())?,
                };
                Ok(vec![Event::RunLooked { run: *run, jobs }])
            }
            Action::Tell { job, class, repository, run, head_sha, how, why } => {
                let app = self.app(*class);
                let told = match how {
                    WhenSpent::Cancel => self.github.cancel(app, repository, *run).await,
                    WhenSpent::Annotate => {
                        self.github.annotate(app, repository, head_sha, "No runner for this job", why).await
                    }
                    WhenSpent::Log => Ok(()),
                };
                told.map_err(|error| error.problem())?;
                Ok(vec![Event::Told { job: *job }])
            }
        }
    }

    async fn mint(&self, instance: &str, class: usize, name: &str, labels: &[String]) -> Result<Vec<Event>, Problem> {
        let group = self.group(class).await.map_err(|error| error.problem())?;
        let scope = self.scope(class)?;
        let app = self.app(class);
        let minted = self.github.mint(app, scope, group, name, labels).await.map_err(|error| error.problem())?;
        if let Ok(mut kept) = self.configurations.lock() {
            kept.insert(instance.to_owned(), minted.configuration);
        }
        let mut events =
            vec![Event::Minted { instance: instance.to_owned(), runner: minted.runner, length: minted.length }];
        if let Some((remaining, reset_at)) = minted.room {
            events.push(Event::JitRoom { app, remaining, reset_at });
        }
        Ok(events)
    }

    /// The id of a class's runner group. The default group, which every repository may use, only where the class says so.
    pub(super) async fn group(&self, class: usize) -> Result<u64, GithubError> {
        if let Some(id) = self.groups.lock().ok().and_then(|groups| groups.get(&class).copied()) {
            return Ok(id);
        }
        let id = match (self.scope(class), self.config.launching.get(class)) {
            (Ok(Scope::Organization(login)), Some(launching)) => {
                let groups = self.github.groups(self.app(class), login).await?;
                let name = &launching.group;
                let wanted = |group: &&crate::github::Group| {
                    if name.is_empty() { group.default } else { group.name.eq_ignore_ascii_case(name) }
                };
                let what = format!("finding the runner group {name:?} of {login}");
                let refuse = |message: &str| GithubError {
                    what: what.clone(),
                    kind: ProblemKind::Permanent,
                    message: message.to_owned(),
                    status: None,
                    retry_at: None,
                };
                let group = groups.iter().find(wanted).ok_or_else(|| refuse("there is no such group"))?;
                if group.default && !launching.default_group {
                    return Err(refuse("it is the default group, which every repository may use"));
                }
                group.id
            }
            _ => REPOSITORY_GROUP,
        };
        if let Ok(mut groups) = self.groups.lock() {
            groups.insert(class, id);
        }
        Ok(id)
    }

    fn app(&self, class: usize) -> usize {
        self.config.settings.classes.get(class).map_or(0, |class| class.app)
    }

    fn scope(&self, class: usize) -> Result<&Scope, Problem> {
        let missing = || Problem::new(ProblemKind::Permanent, "there is no such class");
        self.config.settings.classes.get(class).map(|class| &class.scope).ok_or_else(missing)
    }

    /// The lists, as events; what did not answer is told and makes none.
    pub(super) async fn lists(&self, now: impl Fn() -> Moment) -> (Vec<Event>, Vec<Problem>) {
        let (mut events, mut problems) = (Vec::new(), Vec::new());
        let asked_at = now();
        match self.providers.instances().await {
            Ok(instances) => events.push(Event::Instances { asked_at, instances }),
            Err(problem) => problems.push(problem),
        }
        match self.providers.parameters().await {
            Ok(instances) => events.push(Event::Parameters { instances }),
            Err(problem) => problems.push(problem),
        }
        let mut asked: Vec<(usize, &Scope)> = Vec::new();
        for class in &self.config.settings.classes {
            if asked.contains(&(class.app, &class.scope)) {
                continue;
            }
            asked.push((class.app, &class.scope));
            let asked_at = now();
            match self.github.runners(class.app, &class.scope).await {
                Ok(runners) => events.push(Event::Runners { asked_at, scope: class.scope.clone(), runners }),
                Err(error) => problems.push(error.problem()),
            }
        }
        (events, problems)
    }
}

/// The event of an action that failed.
fn failed(action: &Action, problem: Problem) -> Event {
    match action.clone() {
        Action::Launch { token, .. } => Event::LaunchFailed { token, problem },
        Action::Mint { instance, .. } => Event::MintFailed { instance, problem },
        Action::Store { instance, .. } => Event::StoreFailed { instance, problem },
        Action::Terminate { instance, .. } => Event::TerminateFailed { instance, problem },
        Action::DeleteRunner { runner, .. } => Event::RunnerKept { runner, problem },
        Action::DeleteParameter { instance } => Event::ParameterKept { instance, problem },
        Action::LookAtRun { run, .. } => Event::LookFailed { run, problem },
        Action::Tell { job, .. } => Event::TellFailed { job, problem },
    }
}
