//! What the server, its tasks and the handle share.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use mayfly_fake_aws::record::{Log, lock};
use mayfly_fake_aws::rules::Rules;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::auth::Token;
use crate::auth::key::AppKey;
use crate::clock::{Clock, Time};
use crate::fault::{Fault, Match};
use crate::rate::Bucket;
use crate::request::GithubRequest;
use crate::scale_set::Admins;
use crate::schema::{Judge, Side, Violation};
use crate::webhook::Courier;
use crate::world::World;
use crate::world::model::Scope;

/// What belongs to the API and not to the world behind it.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) rules: Rules<Match, Fault>,
    pub(crate) latency: Duration,
    pub(crate) tokens: HashMap<String, Token>,
    /// For scale sets: where a runner may be registered, and until when.
    pub(crate) registration_tokens: HashMap<String, (Scope, Time)>,
    pub(crate) made: u64,
    /// By installation.
    pub(crate) core: BTreeMap<u64, Bucket>,
    pub(crate) registration: Bucket,
    pub(crate) check_runs: BTreeMap<u64, CheckRun>,
}

/// A check run that a client made.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckRun {
    /// Its id.
    pub id: u64,
    /// `owner/name`.
    pub repo: String,
    /// What was sent: the members of every call, the later ones over the earlier.
    pub sent: Value,
    /// Every annotation sent.
    pub annotations: Vec<Value>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Arc<Clock>,
    pub(crate) ghes: bool,
    pub(crate) check_jwt_times: bool,
    pub(crate) judge: &'static Judge,
    pub(crate) key: &'static AppKey,
    pub(crate) world: Mutex<World>,
    pub(crate) api: Mutex<Api>,
    pub(crate) courier: Mutex<Courier>,
    pub(crate) violations: Mutex<Vec<Violation>>,
    pub(crate) log: Log<GithubRequest>,
    pub(crate) changed: Condvar,
    /// The same for tasks.
    pub(crate) changes: watch::Sender<()>,
    pub(crate) admins: Mutex<Admins>,
    pub(crate) url: OnceLock<String>,
    pub(crate) runtime: OnceLock<Handle>,
}

impl Shared {
    /// Does something with the world as it is by now, and wakes who waits for a change.
    pub(crate) fn world<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        let mut world = lock(&self.world);
        world.settle();
        let result = act(&mut world);
        world.settle();
        drop(world);
        self.changed.notify_all();
        self.changes.send_replace(());
        result
    }

    /// Blocks until the world is as wished; false if the limit passes first.
    pub(crate) fn wait(&self, limit: Duration, mut done: impl FnMut(&mut World) -> bool) -> bool {
        const TICK: Duration = Duration::from_millis(50);
        let end = Instant::now() + limit;
        let mut world = lock(&self.world);
        loop {
            world.settle();
            if done(&mut world) {
                return true;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            // What time alone changes tells nobody.
            world = self.changed.wait_timeout(world, left.min(TICK)).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub(crate) fn violated(&self, side: Side, operation: &str, problem: String) {
        lock(&self.violations).push(Violation { side, operation: operation.to_owned(), problem });
    }

    /// The server's runtime; only before it runs is there none.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = self.runtime.get() {
            runtime.spawn(task);
        }
    }

    pub(crate) fn url(&self) -> &str {
        self.url.get().map_or("", String::as_str)
    }
}
