//! EC2 and Parameter Store in this process, for bursts: the calls of a launcher, thousands of them at once.
//!
//! moto stays for the shapes on the wire; it is slow and not safe with threads. Before this double stands the same
//! [`AwsProxy`] as before moto, so faults, client tokens, buckets and latency are the very same rules.
//!
//! ```no_run
//! use mayfly_fake_aws::ec2::{FakeEc2, Options, Pool};
//! use mayfly_fake_aws::{Limit, proxy::{AwsError, Fault, Match}};
//! # fn main() -> std::io::Result<()> {
//! let ec2 = FakeEc2::start(Options::default())?;
//! ec2.proxy().quotas_of_a_new_account();
//! ec2.proxy().fault(Match::action("CreateFleet"), Limit::times(1), Fault::LoseAnswer);
//! ec2.set_capacity(Pool::spot("m7i.large", "eu-central-1a"), 3);
//! std::process::Command::new("mayfly-launcher").env("AWS_ENDPOINT_URL", ec2.url()).spawn()?;
//! # Ok(())
//! # }
//! ```

mod change;
mod instance;
mod launch;
mod list;
mod parameters;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub use instance::Instance;
pub use parameters::Parameter;

use crate::proxy::error::Rendered;
use crate::proxy::fields::Fields;
use crate::proxy::service::Service;
use crate::proxy::{AwsError, AwsProxy, AwsRequest, Call, Protocol};
use crate::record::lock;
use instance::Held;
use parameters::Store;

/// How the double behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// The zones, the first of which is taken where a request names neither zone nor subnet.
    pub zones: Vec<String>,
    /// The zone of each subnet; one that is not named here is in the first zone.
    pub subnets: BTreeMap<String, String>,
    /// The type where a launch template would name it.
    pub instance_type: String,
    /// How long an instance is *pending*.
    pub boot: Duration,
    /// How long one is *shutting-down*.
    pub shutdown: Duration,
    /// How long a terminated one is listed.
    pub listed: Duration,
}

impl Default for Options {
    /// Three zones of `eu-central-1`; instances run and end at once and are listed for an hour.
    fn default() -> Self {
        Self {
            zones: ["a", "b", "c"].map(|zone| format!("eu-central-1{zone}")).into(),
            subnets: BTreeMap::new(),
            instance_type: "m7i.large".to_owned(),
            boot: Duration::ZERO,
            shutdown: Duration::ZERO,
            listed: Duration::from_secs(3600),
        }
    }
}

/// What capacity is kept by: a type in a zone, bought in one of the two ways.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pool {
    /// Such as `m7i.large`.
    pub instance_type: String,
    /// Such as `eu-central-1a`.
    pub zone: String,
    /// Spot, or on demand.
    pub spot: bool,
}

impl Pool {
    /// Spot instances of a type in a zone.
    pub fn spot(instance_type: &str, zone: &str) -> Self {
        Self { instance_type: instance_type.to_owned(), zone: zone.to_owned(), spot: true }
    }

    /// On-demand instances of a type in a zone.
    pub fn on_demand(instance_type: &str, zone: &str) -> Self {
        Self { spot: false, ..Self::spot(instance_type, zone) }
    }
}

#[derive(Debug, Default)]
struct State {
    /// In the order of their launch.
    instances: Vec<Held>,
    places: HashMap<String, usize>,
    /// How many may be alive at once; a pool that is not named has no bound.
    capacity: HashMap<Pool, u32>,
    alive: HashMap<Pool, u32>,
    reservations: u64,
    fleets: u64,
    store: Store,
}

#[derive(Debug)]
struct World {
    options: Options,
    started: Instant,
    state: Mutex<State>,
}

/// The running double with its proxy; it stops when dropped.
#[derive(Debug)]
pub struct FakeEc2 {
    world: Arc<World>,
    proxy: AwsProxy,
}

/// What a call comes to: the body of a success, or the error.
type Outcome = Result<String, AwsError>;

fn error(code: &str, message: impl Into<String>) -> AwsError {
    AwsError::Code { status: 400, code: code.to_owned(), message: message.into() }
}

impl World {
    /// Answers a call, a list as of so long ago.
    fn answer(&self, call: &Call, body: &[u8], age: Duration) -> Rendered {
        let now = Instant::now();
        let as_of = now.checked_sub(age).unwrap_or(self.started).max(self.started);
        let mut state = lock(&self.state);
        let outcome = if call.protocol == Protocol::Json {
            state.store.answer(call, body)
        } else {
            let fields = Fields::of(body);
            match call.action.as_str() {
                "CreateFleet" => self.create_fleet(&mut state, &fields, now),
                "RunInstances" => self.run_instances(&mut state, &fields, now),
                "DescribeInstances" => self.describe_instances(&state, &fields, as_of),
                "TerminateInstances" => self.terminate_instances(&mut state, &fields, now),
                "CreateTags" => self.create_tags(&mut state, &fields, now),
                other => Err(error("InvalidAction", format!("The action {other} is not valid for this web service."))),
            }
        };
        match outcome {
            Ok(text) => {
                (200, call.protocol.pick("application/x-amz-json-1.1", "text/xml;charset=UTF-8", "text/xml"), text)
            }
            Err(error) => error.render(call, body),
        }
    }
}

impl FakeEc2 {
    /// Starts on a free port of the loopback address.
    pub fn start(options: Options) -> io::Result<Self> {
        let world = Arc::new(World { options, started: Instant::now(), state: Mutex::default() });
        let answering = world.clone();
        let proxy = AwsProxy::start_before(0, move || {
            Service::Double(Arc::new(move |call, body, age| answering.answer(call, body, age)))
        })?;
        Ok(Self { world, proxy })
    }

    /// The rules before the double: faults, quotas, latency, the record of requests.
    pub fn proxy(&self) -> &AwsProxy {
        &self.proxy
    }

    /// The value for `AWS_ENDPOINT_URL`.
    pub fn url(&self) -> String {
        self.proxy.url()
    }

    /// Every call so far.
    pub fn calls(&self) -> Vec<AwsRequest> {
        self.proxy.requests()
    }

    /// Every instance there ever was, in the order of their launch, however long ago it ended.
    pub fn instances(&self) -> Vec<Instance> {
        let now = Instant::now();
        let state = lock(&self.world.state);
        state.instances.iter().map(|held| held.seen(now, &self.world.options)).collect()
    }

    /// The parameters that can be read now, by name.
    pub fn parameters(&self) -> BTreeMap<String, Parameter> {
        lock(&self.world.state).store.readable()
    }

    /// From now on at most so many instances of a pool are alive at once.
    pub fn set_capacity(&self, pool: Pool, instances: u32) {
        lock(&self.world.state).capacity.insert(pool, instances);
    }

    /// Puts tags on an instance, as its agent does; false if there is none of this name.
    pub fn tag(&self, id: &str, tags: &[(&str, &str)]) -> bool {
        let mut state = lock(&self.world.state);
        let place = state.places.get(id).copied();
        let Some(held) = place.and_then(|place| state.instances.get_mut(place)) else { return false };
        let now = Instant::now();
        let mut all = held.tags(now).cloned().unwrap_or_default();
        all.extend(tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        held.tags.push((now, all));
        true
    }

    /// Reads a parameter and removes it, as an agent does.
    pub fn take_parameter(&self, name: &str) -> Option<Parameter> {
        lock(&self.world.state).store.take(name)
    }

    /// Ends an instance as its own power-off, or EC2 itself, does; false if there is none of this name alive.
    pub fn end(&self, id: &str) -> bool {
        lock(&self.world.state).end(id, Instant::now())
    }
}
