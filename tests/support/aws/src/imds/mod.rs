//! A scripted instance metadata service: version 2 only, and strict.
//!
//! ```no_run
//! use mayfly_fake_aws::{Limit, imds::{Fault, ImdsDouble, Instance}};
//! # fn main() -> std::io::Result<()> {
//! let imds = ImdsDouble::start(Instance::default().tag("mayfly:class", "small"))?;
//! std::process::Command::new("mayfly")
//!     .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", imds.url())
//!     .spawn()?;
//! imds.fault("/latest/meta-data/spot", Limit::times(3), Fault::Status(503));
//! imds.spot_action("terminate", std::time::SystemTime::now());
//! # Ok(())
//! # }
//! ```

mod answer;
mod command;
mod fault;
mod instance;
mod tokens;
mod tree;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use humantime::format_rfc3339_seconds;
use serde_json::{Value, json};

pub use crate::dates::event_date;
pub use fault::Fault;
pub use instance::{Credentials, Instance, LifeCycle};

use crate::ConnectionCounts;
use crate::record::{Log, lock};
use crate::serve::Server;
use crate::when::{Limit, RuleId};
use fault::Faults;
use tokens::Tokens;
use tree::Tree;

/// One request that the double has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImdsRequest {
    /// When it came, counted from the start of the double.
    pub at: Duration,
    /// The HTTP method.
    pub method: String,
    /// The path, decoded.
    pub path: String,
    /// The number of the connection that it came on, from 1.
    pub connection: u64,
    /// Whether it carried a session token, valid or not.
    pub with_token: bool,
    /// The status answered; `None` if it was not answered (yet).
    pub status: Option<u16>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) tree: Tree,
    pub(crate) tokens: Tokens,
    pub(crate) faults: Faults,
    pub(crate) keep_alive: bool,
    pub(crate) clock_skew: i64,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) started: Instant,
    pub(crate) state: Mutex<State>,
    pub(crate) log: Log<ImdsRequest>,
}

/// The running double; it stops when dropped.
#[derive(Debug)]
pub struct ImdsDouble {
    server: Server,
    shared: Arc<Shared>,
}

impl ImdsDouble {
    /// Starts on a free port. Fails for tags that EC2 would not launch with.
    pub fn start(instance: Instance) -> io::Result<Self> {
        Self::start_on(0, instance)
    }

    /// Starts on a given port of the loopback address.
    #[allow(clippy::needless_pass_by_value, reason = "reads better where an instance is made on the spot")]
    pub fn start_on(port: u16, instance: Instance) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            started: Instant::now(),
            state: Mutex::new(State {
                tree: instance.tree()?,
                tokens: Tokens::default(),
                faults: Faults::default(),
                keep_alive: true,
                clock_skew: 0,
            }),
            log: Log::default(),
        });
        let answering = shared.clone();
        let server = Server::start("imds-double", port, move || {
            Arc::new(move |request, conn| Box::pin(answer::answer(answering.clone(), request, conn)))
        })?;
        Ok(Self { server, shared })
    }

    /// The value for `AWS_EC2_METADATA_SERVICE_ENDPOINT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Describes another instance from now on; tokens and faults stay.
    #[allow(clippy::needless_pass_by_value, reason = "reads better where an instance is made on the spot")]
    pub fn become_instance(&self, instance: Instance) -> io::Result<()> {
        let tree = instance.tree()?;
        lock(&self.shared.state).tree = tree;
        Ok(())
    }

    /// Sets the value at a path (with or without `/latest/` in front).
    pub fn set(&self, path: &str, value: impl Into<Bytes>) {
        lock(&self.shared.state).tree.set(path, value);
    }

    /// Removes a value or a whole directory; it is then answered with 404.
    pub fn remove(&self, path: &str) {
        lock(&self.shared.state).tree.remove(path);
    }

    /// Announces a spot interruption: `terminate`, `stop` or `hibernate`.
    pub fn spot_action(&self, action: &str, time: SystemTime) {
        self.spot_action_at(action, &format_rfc3339_seconds(time).to_string());
    }

    /// The same with the time as text, for clients that must bear anything.
    pub fn spot_action_at(&self, action: &str, time: &str) {
        let notice = json!({ "action": action, "time": time });
        self.set("meta-data/spot/instance-action", notice.to_string());
        // The older item exists only for the notice that it was made for.
        match action {
            "terminate" => self.set("meta-data/spot/termination-time", time.to_owned()),
            _ => self.remove("meta-data/spot/termination-time"),
        }
    }

    /// Recommends to move off the instance.
    pub fn rebalance(&self, time: SystemTime) {
        self.rebalance_at(&format_rfc3339_seconds(time).to_string());
    }

    /// The same with the time as text.
    pub fn rebalance_at(&self, time: &str) {
        let notice = json!({ "noticeTime": time });
        self.set("meta-data/events/recommendations/rebalance", notice.to_string());
    }

    /// Sets the array of maintenance events (dates as [`event_date`] makes them).
    pub fn scheduled_events(&self, events: &Value) {
        self.set("meta-data/events/maintenance/scheduled", events.to_string());
    }

    /// Sets the state that the Auto Scaling group wants the instance in.
    pub fn target_lifecycle_state(&self, state: &str) {
        let path = "meta-data/autoscaling/target-lifecycle-state";
        self.set(path, state.to_owned());
    }

    /// Adds or changes a tag, as a running instance sees it.
    pub fn set_tag(&self, key: &str, value: &str) -> io::Result<()> {
        instance::check_tag_key(key)?;
        let path = format!("meta-data/tags/instance/{key}");
        self.set(&path, value.to_owned());
        Ok(())
    }

    /// Replaces the credentials of a role.
    pub fn set_credentials(&self, role: &str, credentials: &Credentials) {
        let path = format!("meta-data/iam/security-credentials/{role}");
        self.set(&path, credentials.document());
    }

    /// Installs a fault for all paths that begin like this (from `/latest/` on).
    pub fn fault(&self, prefix: &str, limit: Limit, fault: Fault) -> RuleId {
        lock(&self.shared.state).faults.add(prefix, limit, fault)
    }

    /// How many requests a fault has hit.
    pub fn hits(&self, id: RuleId) -> u64 {
        lock(&self.shared.state).faults.hits(id)
    }

    /// Removes one fault.
    pub fn clear(&self, id: RuleId) {
        lock(&self.shared.state).faults.clear(Some(id));
    }

    /// Removes all faults, and serves again if the port refused or was silent.
    pub fn clear_all(&self) -> io::Result<()> {
        lock(&self.shared.state).faults.clear(None);
        self.server.serve()
    }

    /// Forgets all session tokens, so that each is answered with 401.
    pub fn invalidate_tokens(&self) {
        lock(&self.shared.state).tokens.forget();
    }

    /// Closes the port and all connections, for a while or until
    /// [`ImdsDouble::clear_all`]; the port stays reserved.
    pub fn refuse(&self, period: Option<Duration>) -> io::Result<()> {
        self.server.refuse(period)
    }

    /// Lets connection attempts and requests vanish, for a while or until
    /// [`ImdsDouble::clear_all`]. Requests on open connections are answered
    /// afterwards, as after lost packets.
    pub fn black_hole(&self, period: Option<Duration>) -> io::Result<()> {
        self.server.black_hole(period)
    }

    /// Whether connections are kept for further requests (the default).
    pub fn keep_alive(&self, keep: bool) {
        lock(&self.shared.state).keep_alive = keep;
    }

    /// Dates answers as a clock would that is off by so many seconds.
    pub fn clock_skew(&self, seconds: i64) {
        lock(&self.shared.state).clock_skew = seconds;
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<ImdsRequest> {
        self.requests_since(0)
    }

    /// How many requests there were, to be given to [`ImdsDouble::requests_since`].
    pub fn mark(&self) -> usize {
        self.shared.log.mark()
    }

    /// The requests after a mark.
    pub fn requests_since(&self, mark: usize) -> Vec<ImdsRequest> {
        self.shared.log.since(mark)
    }

    /// Blocks until the requests so far fulfil a condition; false if the limit
    /// passes first.
    pub fn wait(&self, limit: Duration, done: impl FnMut(&[ImdsRequest]) -> bool) -> bool {
        self.shared.log.wait(limit, done)
    }

    /// Connections so far.
    pub fn connections(&self) -> ConnectionCounts {
        self.server.counts()
    }
}
