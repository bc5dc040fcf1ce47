//! A proxy in front of an AWS emulator that knows which call a request is and
//! can make it fail the way AWS does.
//!
//! ```no_run
//! use mayfly_fake_aws::{Limit, moto::Moto, proxy::{AwsError, AwsProxy, Fault, Match}};
//! # fn main() -> std::io::Result<()> {
//! let moto = Moto::start()?;
//! let aws = AwsProxy::start(moto.address())?;
//! aws.fault(
//!     Match::action("GetParameter"),
//!     Limit::times(3),
//!     Fault::Error(AwsError::Throttled),
//! );
//! std::process::Command::new("mayfly").env("AWS_ENDPOINT_URL", aws.url()).spawn()?;
//! # Ok(())
//! # }
//! ```

mod answer;
mod call;
mod carry_out;
mod command;
pub(crate) mod error;
pub(crate) mod fields;
pub(crate) mod fleet;
mod history;
mod lifecycle;
mod parameters;
mod quota;
mod rule;
pub(crate) mod service;
mod token;
mod upstream;
mod whole;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;

pub use call::{Call, Protocol};
pub use error::AwsError;
pub use lifecycle::Transition;
pub use quota::{Bucket, Counts, OF_A_NEW_ACCOUNT};
pub use rule::{Fault, Match};

use crate::ConnectionCounts;
use crate::record::{Log, lock};
use crate::rules::Rules;
use crate::serve::Server;
use crate::when::{Limit, RuleId};
use history::History;
use lifecycle::Lifecycle;
use parameters::Parameters;
use quota::Quotas;
use service::Service;
use token::Tokens;
use upstream::Upstream;

/// One request that the proxy has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsRequest {
    /// When it came, counted from the start of the proxy.
    pub at: Duration,
    /// What it asks of whom.
    pub call: Call,
    /// The HTTP method.
    pub method: String,
    /// The request target: a path, or a whole address in proxy form.
    pub target: String,
    /// Whether the request was addressed to a forward proxy.
    pub proxy_form: bool,
    /// The host header.
    pub host: String,
    /// The body as sent.
    pub body: Bytes,
    /// The number of the connection that it came on, from 1.
    pub connection: u64,
    /// Whether the access key is the expected one, if one is expected.
    pub key_matched: Option<bool>,
    /// The status answered; `None` if it was not answered (yet).
    pub status: Option<u16>,
    /// What befell it.
    pub fault: Option<Fault>,
}

impl AwsRequest {
    /// The body as JSON; `Null` if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The body as a form, decoded.
    pub fn form(&self) -> Vec<(String, String)> {
        call::form(&self.body)
    }

    /// One field of the body as a form.
    pub fn field(&self, name: &str) -> Option<String> {
        let mut fields = self.form().into_iter();
        fields.find(|(key, _)| key == name).map(|(_, value)| value)
    }
}

#[derive(Debug, Default)]
struct State {
    rules: Rules<Match, Fault>,
    canned: Rules<Match, Fault>,
    lifecycle: Lifecycle,
    quotas: Quotas,
    parameters: Parameters,
    history: History,
    fleets: u32,
    latency: Duration,
    clock_skew: i64,
    expected_key: Option<String>,
}

impl State {
    /// The number of a fleet that was made here.
    fn next_fleet(&mut self) -> u32 {
        self.fleets += 1;
        self.fleets
    }
}

/// Is shown every call the moment it arrives.
type Witness = Box<dyn Fn(&Call) + Send + Sync>;

struct Shared {
    started: Instant,
    state: Mutex<State>,
    tokens: Tokens,
    log: Log<AwsRequest>,
    witness: OnceLock<Witness>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("state", &self.state).field("log", &self.log).finish_non_exhaustive()
    }
}

/// The running proxy; it stops when dropped.
#[derive(Debug)]
pub struct AwsProxy {
    server: Server,
    shared: Arc<Shared>,
}

impl AwsProxy {
    /// Starts on a free port in front of an emulator. The two lifecycle calls
    /// that moto lacks are answered here: see [`AwsProxy::wait_for_hook`].
    pub fn start(upstream: SocketAddr) -> io::Result<Self> {
        Self::start_on(0, upstream)
    }

    /// Starts on a given port of the loopback address.
    pub fn start_on(port: u16, upstream: SocketAddr) -> io::Result<Self> {
        Self::start_before(port, move || Service::Emulator(Arc::new(Upstream::new(upstream))))
    }

    /// Starts before whatever service; it is made on the server's own thread.
    pub(crate) fn start_before(port: u16, service: impl FnOnce() -> Service + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            started: Instant::now(),
            state: Mutex::default(),
            tokens: Tokens::default(),
            log: Log::default(),
            witness: OnceLock::new(),
        });
        let answering = shared.clone();
        let server = Server::start("aws-proxy", port, move || {
            let service = service();
            Arc::new(move |request, conn| Box::pin(answer::answer(answering.clone(), service.clone(), request, conn)))
        })?;
        Ok(Self { server, shared })
    }

    /// The value for `AWS_ENDPOINT_URL`, or for `HTTP_PROXY`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Installs a fault. Faults are tried in the order of their installation;
    /// delays add up, of the others the first that hits decides.
    pub fn fault(&self, matching: Match, limit: Limit, fault: Fault) -> RuleId {
        lock(&self.shared.state).rules.add(matching, limit, fault, Instant::now())
    }

    /// Installs an answer for what the emulator cannot do; faults come before.
    pub fn canned(&self, matching: Match, answer: Fault) -> RuleId {
        lock(&self.shared.state).canned.add(matching, Limit::default(), answer, Instant::now())
    }

    /// From now on calls are throttled by this bucket too. All that fit a call must have tokens for it.
    pub fn quota(&self, matching: Match, counts: Counts, bucket: Bucket) {
        lock(&self.shared.state).quotas.add(matching, counts, bucket);
    }

    /// From now on calls are throttled as in a new account: see [`OF_A_NEW_ACCOUNT`].
    pub fn quotas_of_a_new_account(&self) {
        for (action, counts, bucket) in OF_A_NEW_ACCOUNT {
            self.quota(Match::action(action), counts, bucket);
        }
    }

    /// Throttles nothing any more.
    pub fn clear_quotas(&self) {
        lock(&self.shared.state).quotas.clear();
    }

    /// How many parameters there may be, of those that were put by way of this proxy.
    pub fn parameter_limit(&self, limit: Option<usize>) {
        lock(&self.shared.state).parameters.limit = limit;
    }

    /// From now on the group waits for this hook of the instance, for so long
    /// after the beginning and after each heartbeat. Until then, and after it was
    /// completed, the two lifecycle calls are refused as Auto Scaling does.
    pub fn wait_for_hook(&self, group: &str, hook: &str, instance: &str, transition: Transition, timeout: Duration) {
        lock(&self.shared.state).lifecycle.wait(group, hook, instance, transition, timeout);
    }

    /// How a hook was completed: `CONTINUE` or `ABANDON`.
    pub fn hook_result(&self, hook: &str) -> Option<String> {
        lock(&self.shared.state).lifecycle.result(hook)
    }

    /// How many calls a fault has hit.
    pub fn hits(&self, id: RuleId) -> u64 {
        lock(&self.shared.state).rules.hits(id)
    }

    /// Removes one fault.
    pub fn clear(&self, id: RuleId) {
        lock(&self.shared.state).rules.clear(Some(id));
    }

    /// Removes all faults (not the canned answers), and serves again if the
    /// port refused or was silent.
    pub fn clear_all(&self) -> io::Result<()> {
        lock(&self.shared.state).rules.clear(None);
        self.server.serve()
    }

    /// Adds this to every call, as the way to a distant service does.
    pub fn latency(&self, latency: Duration) {
        lock(&self.shared.state).latency = latency;
    }

    /// Dates answers as a clock would that is off by so many seconds.
    pub fn clock_skew(&self, seconds: i64) {
        lock(&self.shared.state).clock_skew = seconds;
    }

    /// Notes in the record whether calls are signed with this access key.
    pub fn expect_key(&self, access_key: &str) {
        lock(&self.shared.state).expected_key = Some(access_key.to_owned());
    }

    /// Closes the port and all connections, for a while or until
    /// [`AwsProxy::clear_all`]; the port stays reserved.
    pub fn refuse(&self, period: Option<Duration>) -> io::Result<()> {
        self.server.refuse(period)
    }

    /// Lets connection attempts and requests vanish, for a while or until
    /// [`AwsProxy::clear_all`]. Requests on open connections are carried out
    /// afterwards, as after lost packets.
    pub fn black_hole(&self, period: Option<Duration>) -> io::Result<()> {
        self.server.black_hole(period)
    }

    /// Shows every call to `witness` the moment it arrives, before anything befalls it: the time to look whether what
    /// must be done before such a call is done. The first witness stays.
    pub fn witness(&self, witness: impl Fn(&Call) + Send + Sync + 'static) {
        let _ = self.shared.witness.set(Box::new(witness));
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<AwsRequest> {
        self.requests_since(0)
    }

    /// The requests of one action so far.
    pub fn requests_of(&self, action: &str) -> Vec<AwsRequest> {
        let mut requests = self.requests();
        requests.retain(|request| request.call.action == action);
        requests
    }

    /// How many requests there were, to be given to [`AwsProxy::requests_since`].
    pub fn mark(&self) -> usize {
        self.shared.log.mark()
    }

    /// The requests after a mark.
    pub fn requests_since(&self, mark: usize) -> Vec<AwsRequest> {
        self.shared.log.since(mark)
    }

    /// Blocks until the requests so far fulfil a condition; false if the limit
    /// passes first.
    pub fn wait(&self, limit: Duration, done: impl FnMut(&[AwsRequest]) -> bool) -> bool {
        self.shared.log.wait(limit, done)
    }

    /// Connections so far.
    pub fn connections(&self) -> ConnectionCounts {
        self.server.counts()
    }
}
