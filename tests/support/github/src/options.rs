//! What the double is started with.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::ClockKind;

/// An owner, its repositories and runner groups: one installation of the App.
#[derive(Clone, Debug)]
pub struct OwnerSpec {
    /// Its login.
    pub login: String,
    /// A person, not an organisation: payloads name none, and there are no runners but a repository's.
    pub user: bool,
    /// Its repositories.
    pub repos: Vec<RepoSpec>,
    /// Its runner groups beside the default one, which has id 1.
    pub groups: Vec<GroupSpec>,
    /// What the App may do there, such as `("actions", "write")`.
    pub permissions: BTreeMap<String, String>,
}

impl OwnerSpec {
    /// An owner without repositories.
    pub fn new(login: &str) -> Self {
        let all = [
            ("actions", "write"),
            ("administration", "write"),
            ("checks", "write"),
            ("metadata", "read"),
            ("organization_self_hosted_runners", "write"),
        ];
        Self {
            login: login.to_owned(),
            user: false,
            repos: Vec::new(),
            groups: Vec::new(),
            permissions: all.map(|(name, level)| (name.to_owned(), level.to_owned())).into(),
        }
    }

    /// As a person's account.
    #[must_use]
    pub fn user(mut self) -> Self {
        self.user = true;
        self
    }

    /// With a private repository.
    #[must_use]
    pub fn repo(mut self, name: &str) -> Self {
        self.repos.push(RepoSpec { name: name.to_owned(), public: false });
        self
    }

    /// With a public repository.
    #[must_use]
    pub fn public_repo(mut self, name: &str) -> Self {
        self.repos.push(RepoSpec { name: name.to_owned(), public: true });
        self
    }

    /// With a runner group.
    #[must_use]
    pub fn group(mut self, group: GroupSpec) -> Self {
        self.groups.push(group);
        self
    }

    /// With another level of a permission; an empty one takes it away.
    #[must_use]
    pub fn permission(mut self, name: &str, level: &str) -> Self {
        if level.is_empty() {
            self.permissions.remove(name);
        } else {
            self.permissions.insert(name.to_owned(), level.to_owned());
        }
        self
    }
}

/// A repository.
#[derive(Clone, Debug)]
pub struct RepoSpec {
    /// Its name, without the owner.
    pub name: String,
    /// Whether everybody may read it.
    pub public: bool,
}

/// A runner group. Their ids are 3, 4, … in the order of the list: 1 is the default group, 2 GitHub's own.
#[derive(Clone, Debug)]
pub struct GroupSpec {
    /// Its name.
    pub name: String,
    /// The repositories that may use it, by name; `None` is all private ones.
    pub repos: Option<Vec<String>>,
    /// Whether public repositories may use it.
    pub public: bool,
}

impl GroupSpec {
    /// A group for all private repositories.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), repos: None, public: false }
    }

    /// Only for these repositories.
    #[must_use]
    pub fn only(mut self, repos: &[&str]) -> Self {
        self.repos = Some(repos.iter().map(|name| (*name).to_owned()).collect());
        self
    }

    /// Also for public repositories.
    #[must_use]
    pub fn allow_public(mut self) -> Self {
        self.public = true;
        self
    }
}

/// Where webhooks go.
#[derive(Clone, Debug)]
pub struct WebhookTarget {
    /// An `http://` address.
    pub url: String,
    /// The secret that signs.
    pub secret: String,
}

/// How the double behaves. The default is github.com with one organisation,
/// `mayfly-example`, its private repository `sample` and its group `ec2` (id 3).
#[derive(Clone, Debug)]
pub struct Options {
    /// The port; 0 picks one.
    pub port: u16,
    /// Who has installed the App. Installations count from [`crate::FIRST_INSTALLATION`].
    pub owners: Vec<OwnerSpec>,
    /// A GitHub Enterprise Server: paths begin with `/api/v3`, and rate limits are off.
    pub ghes: bool,
    /// Whose time it is.
    pub clock: ClockKind,
    /// Whether the times inside a JWT are looked at (by the machine's clock, whatever the double's is).
    pub check_jwt_times: bool,
    /// Where webhooks go; see also [`crate::FakeGithub::webhook_to`].
    pub webhook: Option<WebhookTarget>,
    /// How long an installation token lives.
    pub token_lifetime: Duration,
    /// Requests an hour of an installation.
    pub primary_limit: u32,
    /// Registrations an hour (`actions_runner_registration`), spread evenly.
    pub registrations_per_hour: u32,
    /// Registrations at once.
    pub registration_burst: u32,
    /// The status of a spent bucket: 403 or 429.
    pub spent_status: u16,
    /// Characters of an `encoded_jit_config`, at least; 4,088 was seen in the field.
    pub jit_size: usize,
    /// Whether queued jobs go to idle runners by themselves, as GitHub does it.
    pub auto_assign: bool,
    /// After how long the record of an idle online runner is removed (actions/runner#4726).
    pub idle_removal: Option<Duration>,
    /// After how long without a word a runner's process counts as not connected.
    pub silence: Duration,
    /// After how long a job of a runner that vanished fails.
    pub lease: Duration,
    /// After how long an assigned job that no runner picks up is queued again.
    pub pick_up: Duration,
    /// After how long without a poll the session of a scale set may be taken by another.
    pub stale_session: Duration,
    /// How long the token of a session's queue lives.
    pub queue_token: Duration,
    /// How long a poll of a scale set's messages waits.
    pub long_poll: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            port: 0,
            owners: vec![OwnerSpec::new("mayfly-example").repo("sample").group(GroupSpec::new("ec2"))],
            ghes: false,
            clock: ClockKind::Real,
            check_jwt_times: true,
            webhook: None,
            token_lifetime: Duration::from_secs(3600),
            primary_limit: 5000,
            registrations_per_hour: 10_000,
            registration_burst: 180,
            spent_status: 403,
            jit_size: 4088,
            auto_assign: true,
            idle_removal: None,
            silence: Duration::from_secs(30),
            lease: Duration::from_secs(600),
            pick_up: Duration::from_secs(60),
            stale_session: Duration::from_secs(120),
            queue_token: Duration::from_secs(3600),
            long_poll: Duration::from_secs(50),
        }
    }
}
