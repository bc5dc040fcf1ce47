//! The calls.

use mayfly_core::launcher::event::RunnerView;
use mayfly_core::launcher::signal::JobView;
use mayfly_core::launcher::{JobId, JobSignal, Moment, RunId, Scope};
use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::app::{App, KeyError};
use super::error::GithubError;
use super::http::{Answer, call, client};
use super::webhook;
use crate::clock;

/// The most pages of a list: 10,000 runners are what GitHub allows in a group.
const MOST_PAGES: usize = 120;

/// A JIT configuration; nobody can print it.
pub type JitConfiguration = SecretString;

/// What GitHub made.
#[derive(Debug)]
pub struct Minted {
    /// The runner record's id.
    pub runner: u64,
    /// The JIT configuration.
    pub configuration: JitConfiguration,
    /// How long it is, in bytes.
    pub length: usize,
    /// `x-ratelimit-remaining` and `x-ratelimit-reset` of the bucket for registrations.
    pub room: Option<(u32, Moment)>,
}

/// A runner group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Whether it is the default one.
    pub default: bool,
    /// Whether repositories that anybody can read may use it.
    pub public: bool,
}

/// One delivery of a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// GitHub's id of it.
    pub id: u64,
    /// The same for a redelivery.
    pub guid: String,
    /// When.
    pub at: Moment,
    /// Whether it was taken.
    pub ok: bool,
    /// The event and its action, such as `workflow_job.queued`.
    pub event: String,
}

/// The way to GitHub, for all Apps.
#[derive(Debug)]
pub struct Github {
    http: reqwest::Client,
    apps: Vec<App>,
}

impl Github {
    /// Reads the keys; nothing is asked yet.
    ///
    /// # Errors
    /// A key that cannot be used.
    pub fn new(apps: &[crate::config::App]) -> Result<Self, KeyError> {
        let http = client().map_err(|error| KeyError::Unreadable {
            path: "the system's certificates".to_owned(),
            error: std::io::Error::other(error),
        })?;
        Ok(Self { http, apps: apps.iter().map(App::read).collect::<Result<_, _>>()? })
    }

    /// 128 bits that are the same for the same launch in every process with this App's key, and that nobody else can guess.
    #[must_use]
    pub fn ticket(&self, app: usize, token: &str) -> Option<String> {
        use std::fmt::Write as _;
        let tag = ring::hmac::sign(&self.apps.get(app)?.ticket_key, format!("mayfly ticket {token}").as_bytes());
        Some(tag.as_ref().iter().take(16).fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        }))
    }

    fn app(&self, what: &str, app: usize) -> Result<&App, GithubError> {
        self.apps.get(app).ok_or_else(|| GithubError::permanent(what, "there is no such App"))
    }

    /// A call as the App itself.
    async fn as_app(&self, what: &str, app: usize, method: Method, path: &str) -> Result<Answer, GithubError> {
        let app = self.app(what, app)?;
        let jwt = app.jwt(clock::now()).map_err(|error| GithubError::permanent(what, error))?;
        let url = address(what, &app.api, path)?;
        call(&self.http, what, method, &url, &jwt, None).await
    }

    /// A call as the App's installation at an owner or a repository. A token that GitHub refuses is renewed once.
    async fn ask(
        &self,
        what: &str,
        app: usize,
        owner: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, GithubError> {
        let known = self.app(what, app)?;
        let installation = self.installation(what, app, owner).await?;
        let url = address(what, &known.api, path)?;
        let token = self.token(what, app, installation).await?;
        let answer = call(&self.http, what, method.clone(), &url, &token, body).await;
        match answer {
            Err(error) if error.status == Some(401) => {
                known.drop_token(installation, &token);
                let token = self.token(what, app, installation).await?;
                call(&self.http, what, method, &url, &token, body).await
            }
            answer => answer,
        }
    }

    async fn installation(&self, what: &str, app: usize, owner: &str) -> Result<u64, GithubError> {
        let known = self.app(what, app)?;
        if let Some(id) = known.installations.lock().ok().and_then(|known| known.get(owner).copied()) {
            return Ok(id);
        }
        let path = if owner.contains('/') {
            format!("/repos/{owner}/installation")
        } else {
            format!("/orgs/{owner}/installation")
        };
        let what = format!("{what}: finding the App's installation at {owner}");
        let answer = self.as_app(&what, app, Method::GET, &path).await?.json(&what)?;
        let id = answer["id"].as_u64().ok_or_else(|| GithubError::unclear(&what, "the answer has no id"))?;
        if let Ok(mut installations) = known.installations.lock() {
            installations.insert(owner.to_owned(), id);
        }
        Ok(id)
    }

    async fn token(&self, what: &str, app: usize, installation: u64) -> Result<SecretString, GithubError> {
        let known = self.app(what, app)?;
        let now = clock::now();
        if let Some(token) = known.token(installation, now) {
            return Ok(token);
        }
        let what = format!("{what}: getting a token of installation {installation}");
        let path = format!("/app/installations/{installation}/access_tokens");
        let answer = self.as_app(&what, app, Method::POST, &path).await?.json(&what)?;
        let token: SecretString = match answer["token"].as_str() {
            Some(token) if !token.is_empty() => token.into(),
            _ => return Err(GithubError::unclear(&what, "the answer has no token")),
        };
        let until = answer["expires_at"]
            .as_str()
            .and_then(clock::parse)
            .unwrap_or(now.plus(std::time::Duration::from_secs(600)));
        known.keep_token(installation, token.clone(), until);
        Ok(token)
    }

    /// All pages of a list under `key` of the answer.
    async fn pages(
        &self,
        what: &str,
        app: usize,
        owner: &str,
        path: &str,
        key: &str,
    ) -> Result<Vec<Value>, GithubError> {
        let mut found = Vec::new();
        let mut next = Some(path.to_owned());
        for _ in 0..MOST_PAGES {
            let Some(path) = next else { return Ok(found) };
            let answer = self.ask(what, app, owner, Method::GET, &path, None).await?;
            let Value::Array(items) = answer.json(what)?[key].take() else {
                return Err(GithubError::unclear(what, format!("the answer has no list {key}")));
            };
            found.extend(items);
            next = answer.next();
        }
        Err(GithubError::unclear(what, format!("there are more than {MOST_PAGES} pages")))
    }

    /// Makes a JIT configuration. An answer that cannot be read is `Unclear`: the record may exist.
    ///
    /// # Errors
    /// See [`GithubError`].
    pub async fn mint(
        &self,
        app: usize,
        scope: &Scope,
        group: u64,
        name: &str,
        labels: &[String],
    ) -> Result<Minted, GithubError> {
        let what = format!("making the JIT configuration of {name}");
        let path = format!("{}/generate-jitconfig", runners(scope));
        let body = json!({ "name": name, "runner_group_id": group, "labels": labels, "work_folder": "_work" });
        let answer = self.ask(&what, app, owner(scope), Method::POST, &path, Some(&body)).await?;
        let room = answer.number("x-ratelimit-remaining").zip(answer.number("x-ratelimit-reset"));
        let value = answer.json(&what).map_err(|_| GithubError::unclear(&what, "the answer cannot be read"))?;
        let runner = value["runner"]["id"].as_u64();
        let configuration = value["encoded_jit_config"].as_str().filter(|text| !text.is_empty());
        let (Some(runner), Some(configuration)) = (runner, configuration) else {
            return Err(GithubError::unclear(&what, "the answer has no JIT configuration"));
        };
        let room = room.map(|(remaining, reset)| {
            (u32::try_from(remaining).unwrap_or(u32::MAX), Moment(reset.saturating_mul(1000)))
        });
        Ok(Minted { runner, length: configuration.len(), configuration: configuration.into(), room })
    }

    /// All runner records of a scope.
    ///
    /// # Errors
    /// See [`GithubError`].
    pub async fn runners(&self, app: usize, scope: &Scope) -> Result<Vec<RunnerView>, GithubError> {
        let what = format!("listing the runners of {}", owner(scope));
        let found =
            self.pages(&what, app, owner(scope), &format!("{}?per_page=100", runners(scope)), "runners").await?;
        let view = |value: &Value| {
            Some(RunnerView {
                id: value["id"].as_u64()?,
                name: value["name"].as_str()?.to_owned(),
                online: value["status"] == "online",
                busy: value["busy"] == true,
            })
        };
        Ok(found.iter().filter_map(view).collect())
    }

    /// Removes a runner record; one that is gone is gone. One that has a job is `Taken`.
    ///
    /// # Errors
    /// See [`GithubError`].
    pub async fn delete_runner(&self, app: usize, scope: &Scope, runner: u64) -> Result<(), GithubError> {
        let what = format!("removing the runner record {runner}");
        let path = format!("{}/{runner}", runners(scope));
        match self.ask(&what, app, owner(scope), Method::DELETE, &path, None).await {
            Ok(_) => Ok(()),
            Err(error) if error.status == Some(404) => Ok(()),
            Err(error) if error.status == Some(422) => {
                Err(GithubError { kind: mayfly_core::launcher::ProblemKind::Taken, ..error })
            }
            Err(error) => Err(error),
        }
    }

    /// The runner groups of an organisation.
    ///
    /// # Errors
    /// See [`GithubError`].
    pub async fn groups(&self, app: usize, organization: &str) -> Result<Vec<Group>, GithubError> {
        let what = format!("listing the runner groups of {organization}");
        let path = format!("/orgs/{organization}/actions/runner-groups?per_page=100");
        let found = self.pages(&what, app, organization, &path, "runner_groups").await?;
        let group = |value: &Value| {
            Some(Group {
                id: value["id"].as_u64()?,
                name: value["name"].as_str()?.to_owned(),
                default: value["default"] == true,
                public: value["allows_public_repositories"] == true,
            })
        };
        Ok(found.iter().filter_map(group).collect())
    }

    /// The jobs of a run's newest attempt.
    ///
    /// # Errors
    /// See [`GithubError`].
    pub async fn jobs(&self, app: usize, repository: &str, run: RunId) -> Result<Vec<JobView>, GithubError> {
        let found = self.job_values(app, repository, run).await?;
        let view = |value: &Value| {
            Some(JobView {
                job: JobId(value["id"].as_u64()?),
                status: webhook::status(value["status"].as_str()?)?,
                runner: value["runner_name"].as_str().filter(|name| !name.is_empty()).map(str::to_owned),
            })
        };
        Ok(found.iter().filter_map(view).collect())
    }

    async fn job_values(&self, app: usize, repository: &str, run: RunId) -> Result<Vec<Value>, GithubError> {
        let what = format!("asking for the jobs of run {run} of {repository}");
        let path = format!("/repos/{repository}/actions/runs/{run}/jobs?filter=latest&per_page=100");
        self.pages(&what, app, repository, &path, "jobs").await
    }

    /// Jobs that wait in a repository, as messages.
    ///
    /// # Errors
    /// See [`GithubError`].
    pub async fn waiting_jobs(&self, app: usize, repository: &str) -> Result<Vec<JobSignal>, GithubError> {
        let mut signals = Vec::new();
        for status in ["queued", "in_progress"] {
            let what = format!("asking for the {status} runs of {repository}");
            let path = format!("/repos/{repository}/actions/runs?status={status}&per_page=100");
            for run in self.pages(&what, app, repository, &path, "workflow_runs").await? {
                let private = run["repository"]["private"].as_bool();
                let Some(id) = run["id"].as_u64() else { continue };
                for job in self.job_values(app, repository, RunId(id)).await? {
                    signals.extend(webhook::job_signal(&job, repository, private));
                }
            }
        }
        Ok(signals)
    }

    /// One job as GitHub shows it, and whether its repository is private.
    ///
    /// # Errors
    /// See [`GithubError`].
    pub async fn job(&self, app: usize, repository: &str, job: JobId) -> Result<(Value, Option<bool>), GithubError> {
        let what = format!("asking for job {job} of {repository}");
        let path = format!("/repos/{repository}/actions/jobs/{job}");
        let value = self.ask(&what, app, repository, Method::GET, &path, None).await?.json(&what)?;
        let about =
            self.ask(&what, app, repository, Method::GET, &format!("/repos/{repository}"), None).await?.json(&what)?;
        Ok((value, about["private"].as_bool()))
    }

    /// Cancels a run; one that is over already is fine.
    ///
    /// # Errors
    /// See [`GithubError`].
    pub async fn cancel(&self, app: usize, repository: &str, run: RunId) -> Result<(), GithubError> {
        let what = format!("cancelling run {run} of {repository}");
        let path = format!("/repos/{repository}/actions/runs/{run}/cancel");
        match self.ask(&what, app, repository, Method::POST, &path, None).await {
            Err(error) if error.status == Some(409) => Ok(()),
            answer => answer.map(drop),
        }
    }

    /// Puts a check run that says why onto a commit.
    ///
    /// # Errors
    /// See [`GithubError`].
    pub async fn annotate(
        &self,
        app: usize,
        repository: &str,
        commit: &str,
        title: &str,
        why: &str,
    ) -> Result<(), GithubError> {
        let what = format!("annotating {commit} of {repository}");
        let body = json!({
            "name": "Mayfly", "head_sha": commit, "status": "completed", "conclusion": "action_required",
            "output": { "title": title, "summary": why },
        });
        let path = format!("/repos/{repository}/check-runs");
        self.ask(&what, app, repository, Method::POST, &path, Some(&body)).await.map(drop)
    }

    /// Deliveries of the App's webhook since a moment, the newest first.
    ///
    /// # Errors
    /// See [`GithubError`].
    pub async fn deliveries(&self, app: usize, since: Moment) -> Result<Vec<Delivery>, GithubError> {
        let what = "listing the webhook's deliveries";
        let mut found = Vec::new();
        let mut next = Some("/app/hook/deliveries?per_page=100".to_owned());
        for _ in 0..MOST_PAGES {
            let Some(path) = next else { return Ok(found) };
            let answer = self.as_app(what, app, Method::GET, &path).await?;
            let Value::Array(page) = answer.json(what)? else {
                return Err(GithubError::unclear(what, "the answer is no list"));
            };
            for value in &page {
                let delivery = Delivery {
                    id: value["id"].as_u64().unwrap_or(0),
                    guid: value["guid"].as_str().unwrap_or_default().to_owned(),
                    at: value["delivered_at"].as_str().and_then(clock::parse).unwrap_or_default(),
                    ok: value["status"] == "OK",
                    event: format!(
                        "{}.{}",
                        value["event"].as_str().unwrap_or_default(),
                        value["action"].as_str().unwrap_or_default()
                    ),
                };
                if delivery.at < since {
                    return Ok(found);
                }
                found.push(delivery);
            }
            next = answer.next();
        }
        Ok(found)
    }

    /// What a delivery brought, or would have brought.
    ///
    /// # Errors
    /// See [`GithubError`].
    pub async fn delivery(&self, app: usize, id: u64) -> Result<Option<JobSignal>, GithubError> {
        let what = format!("reading the webhook's delivery {id}");
        let value = self.as_app(&what, app, Method::GET, &format!("/app/hook/deliveries/{id}")).await?.json(&what)?;
        let payload = value["request"]["payload"].to_string();
        Ok(webhook::parse(payload.as_bytes()).ok().flatten())
    }

    /// What GitHub says of the App: its name, its permissions and events.
    ///
    /// # Errors
    /// See [`GithubError`].
    pub async fn about(&self, app: usize) -> Result<Value, GithubError> {
        let what = "asking who the App is";
        self.as_app(what, app, Method::GET, "/app").await?.json(what)
    }

    /// The permissions of the App's installation at an owner or a repository.
    ///
    /// # Errors
    /// See [`GithubError`].
    pub async fn about_installation(&self, app: usize, owner: &str) -> Result<Value, GithubError> {
        let what = format!("finding the App's installation at {owner}");
        let path = if owner.contains('/') {
            format!("/repos/{owner}/installation")
        } else {
            format!("/orgs/{owner}/installation")
        };
        self.as_app(&what, app, Method::GET, &path).await?.json(&what)
    }
}

/// The address of a call. The next page of a list comes as one: a token goes to the API and nowhere else.
fn address(what: &str, api: &str, path: &str) -> Result<String, GithubError> {
    if path.starts_with('/') {
        return Ok(format!("{api}{path}"));
    }
    match path.strip_prefix(api) {
        Some(rest) if rest.starts_with('/') => Ok(path.to_owned()),
        _ => Err(GithubError::permanent(what, format!("the next page is not at {api}"))),
    }
}

/// Whose runners: the owner whose installation speaks.
#[must_use]
fn owner(scope: &Scope) -> &str {
    match scope {
        Scope::Organization(name) | Scope::Repository(name) => name,
    }
}

fn runners(scope: &Scope) -> String {
    match scope {
        Scope::Organization(login) => format!("/orgs/{login}/actions/runners"),
        Scope::Repository(name) => format!("/repos/{name}/actions/runners"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_to_the_api_and_nowhere_else() {
        let api = "https://api.github.com";
        let at = |path: &str| address("a list", api, path).ok();
        assert_eq!(at("/app"), Some("https://api.github.com/app".to_owned()));
        assert_eq!(at("https://api.github.com/app?page=2"), Some("https://api.github.com/app?page=2".to_owned()));
        for elsewhere in
            ["https://api.github.com.evil.example/app", "https://evil.example/app", "http://api.github.com/app", "app"]
        {
            assert_eq!(at(elsewhere), None, "the token would go to {elsewhere}");
        }
    }
}
