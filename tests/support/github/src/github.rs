//! The running double, as a test holds it.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::Duration;

use mayfly_fake_aws::record::{Log, lock};
use mayfly_fake_aws::rules::Rules;
use mayfly_fake_aws::serve::Server;
use mayfly_fake_aws::{ConnectionCounts, Limit, RuleId};
use tokio::runtime::Handle;
use tokio::sync::mpsc::unbounded_channel;
use tokio::sync::watch;

use crate::auth::key::app_key;
use crate::clock::{Clock, Time};
use crate::fault::{Fault, Match};
use crate::options::Options;
use crate::rate::Bucket;
use crate::request::GithubRequest;
use crate::rest;
use crate::schema::{Violation, judge};
use crate::shared::{Api, Shared};
use crate::webhook::{Courier, deliver};
use crate::world::{List, Served, World};

/// How often what is due is looked at while nobody calls.
const TICK: Duration = Duration::from_millis(100);

/// A running double of GitHub; dropping it closes everything.
#[derive(Debug)]
pub struct FakeGithub {
    server: Server,
    pub(crate) shared: Arc<Shared>,
}

impl FakeGithub {
    /// Starts it.
    pub fn start(options: Options) -> io::Result<Self> {
        let clock = Arc::new(Clock::new(options.clock));
        let (sender, events) = unbounded_channel();
        let (hourly, burst) = (options.registrations_per_hour, options.registration_burst);
        let port = options.port;
        let shared = Arc::new(Shared {
            clock: clock.clone(),
            ghes: options.ghes,
            check_jwt_times: options.check_jwt_times,
            judge: judge().map_err(io::Error::other)?,
            key: app_key()?,
            courier: Mutex::new(Courier::new(options.webhook.clone())),
            world: Mutex::new(World::new(options, clock, sender)),
            api: Mutex::new(Api {
                rules: Rules::default(),
                latency: Duration::ZERO,
                tokens: Default::default(),
                registration_tokens: Default::default(),
                made: 0,
                core: Default::default(),
                registration: Bucket::new("actions_runner_registration", hourly, Some(burst)),
                check_runs: Default::default(),
            }),
            violations: Mutex::default(),
            log: Log::default(),
            changed: Condvar::new(),
            changes: watch::Sender::new(()),
            admins: Mutex::default(),
            url: OnceLock::new(),
            runtime: OnceLock::new(),
        });
        let inside = shared.clone();
        let (running, begun) = channel();
        let server = Server::start("fake-github", port, move || {
            let _ = inside.runtime.set(Handle::current());
            let _ = running.send(());
            tokio::spawn(deliver(inside.clone(), events));
            let ticking = inside.clone();
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(TICK).await;
                    ticking.world(|_| ());
                }
            });
            Arc::new(move |request, conn| Box::pin(rest::answer(inside.clone(), request, conn)))
        })?;
        // What is sent before the runtime runs would be lost.
        begun.recv().map_err(|_| io::Error::other("the double did not begin"))?;
        let _ = shared.url.set(format!("http://{}", server.address()));
        Ok(Self { server, shared })
    }

    /// Where it listens: `http://127.0.0.1:PORT`. This is also where runners report to.
    pub fn url(&self) -> String {
        self.shared.url().to_owned()
    }

    /// The base of the REST API: [`FakeGithub::url`], with `/api/v3` if it is a GitHub Enterprise Server.
    pub fn api_url(&self) -> String {
        let prefix = if self.shared.ghes { "/api/v3" } else { "" };
        format!("{}{prefix}", self.url())
    }

    /// The listening address.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The App's private key as GitHub hands it out: PEM, PKCS#1.
    pub fn app_private_key_pem(&self) -> &str {
        &self.shared.key.pem
    }

    /// The time of the double, from its start.
    pub fn now(&self) -> Time {
        self.shared.clock.elapsed()
    }

    /// Lets time pass on a manual clock, and does all that is due by then; false for a real clock.
    pub fn advance(&self, by: Duration) -> bool {
        let moved = self.shared.clock.advance(by);
        self.shared.world(|_| ());
        moved
    }

    /// Installs a fault for the calls that match.
    pub fn fault(&self, matching: Match, limit: Limit, fault: Fault) -> RuleId {
        lock(&self.shared.api).rules.add(matching, limit, fault, self.shared.clock.instant())
    }

    /// How many calls a fault has hit.
    pub fn hits(&self, id: RuleId) -> u64 {
        lock(&self.shared.api).rules.hits(id)
    }

    /// Removes one fault.
    pub fn clear(&self, id: RuleId) {
        lock(&self.shared.api).rules.clear(Some(id));
    }

    /// Removes all faults of calls and webhooks, and serves again if the port refused or was silent.
    pub fn clear_all(&self) -> io::Result<()> {
        lock(&self.shared.api).rules.clear(None);
        lock(&self.shared.courier).rules.clear(None);
        self.server.serve()
    }

    /// Delays every call by this.
    pub fn latency(&self, latency: Duration) {
        lock(&self.shared.api).latency = latency;
    }

    /// Closes the port and all connections, for a while or until [`FakeGithub::clear_all`].
    pub fn refuse(&self, period: Option<Duration>) -> io::Result<()> {
        self.server.refuse(period)
    }

    /// Lets connection attempts and requests vanish, for a while or until [`FakeGithub::clear_all`].
    pub fn black_hole(&self, period: Option<Duration>) -> io::Result<()> {
        self.server.black_hole(period)
    }

    /// Serves a list wrong from now on; the default is right again.
    pub fn serve_list(&self, list: List, served: Served) {
        self.shared.world(|world| world.served.insert(list, served));
    }

    /// Uses up the registrations of this hour but for so many.
    pub fn spend_registrations(&self, left: u32) {
        let now = self.now();
        lock(&self.shared.api).registration.spend(now, left);
    }

    /// Uses up the requests of an installation in this hour but for so many.
    pub fn spend_requests(&self, installation: u64, left: u32) {
        let now = self.now();
        let limit = lock(&self.shared.world).options.primary_limit;
        let mut api = lock(&self.shared.api);
        let bucket = api.core.entry(installation).or_insert_with(|| Bucket::new("core", limit, None));
        bucket.spend(now, left);
    }

    /// Makes all installation tokens invalid: each is answered with 401.
    pub fn invalidate_tokens(&self) {
        lock(&self.shared.api).tokens.clear();
    }

    /// Every breach of GitHub's description so far: by requests, by the double's own answers and webhooks. A test
    /// asserts that it is empty.
    pub fn violations(&self) -> Vec<Violation> {
        lock(&self.shared.violations).clone()
    }

    /// The same, and forgets them: for a test that breaks the contract on purpose.
    pub fn take_violations(&self) -> Vec<Violation> {
        std::mem::take(&mut *lock(&self.shared.violations))
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<GithubRequest> {
        self.requests_since(0)
    }

    /// How many requests there were, to be given to [`FakeGithub::requests_since`].
    pub fn mark(&self) -> usize {
        self.shared.log.mark()
    }

    /// The requests after a mark.
    pub fn requests_since(&self, mark: usize) -> Vec<GithubRequest> {
        self.shared.log.since(mark)
    }

    /// Blocks until the requests so far fulfil a condition; false if the limit passes first.
    pub fn wait_requests(&self, limit: Duration, done: impl FnMut(&[GithubRequest]) -> bool) -> bool {
        self.shared.log.wait(limit, done)
    }

    /// Connections so far.
    pub fn connections(&self) -> ConnectionCounts {
        self.server.counts()
    }
}
