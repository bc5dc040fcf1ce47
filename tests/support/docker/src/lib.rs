//! A stand-in for the Docker daemon, made for tests and demos: the few requests that the agent makes, on a Unix
//! socket, and everything that goes wrong with a daemon, on command.
//!
//! ```no_run
//! use mayfly_fake_docker::{Container, DockerDouble, Fault, Stance};
//! # fn main() -> std::io::Result<()> {
//! let docker = DockerDouble::start("/tmp/docker.sock".as_ref())?;
//! docker.add(Container::new("left").label("1a2b3c").running());
//! docker.fault("/_ping", Some(3), Fault::Hang);
//! docker.stance(Stance::Unaccepted)?; // docker.socket listens for a dead docker.service
//! # Ok(())
//! # }
//! ```
//!
//! The daemon's words and statuses are those of Docker 20.10. The double owns a thread with a small runtime of its
//! own, and is gone, socket and all, when it is dropped.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may fail there"))]

mod answer;
mod command;
mod fault;
mod query;
mod record;
mod serve;
mod world;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

pub use fault::Fault;
pub use record::DockerRequest;
pub use serve::Stance;
pub use world::{Container, Network};

use fault::Faults;
use record::{Log, lock};
use serve::Server;
use world::World;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) started: Instant,
    pub(crate) world: Mutex<World>,
    pub(crate) changed: Notify,
    pub(crate) faults: Mutex<Faults>,
    pub(crate) log: Log,
}

/// The running double.
#[derive(Debug)]
pub struct DockerDouble {
    server: Server,
    shared: Arc<Shared>,
}

impl DockerDouble {
    /// Listens on a socket; a file in its place is replaced. The data root is the socket's directory.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn start(socket: &Path) -> io::Result<Self> {
        let root = socket.parent().unwrap_or(Path::new("/")).to_owned();
        let shared = Arc::new(Shared {
            started: Instant::now(),
            world: Mutex::new(World::new(root)),
            changed: Notify::new(),
            faults: Mutex::default(),
            log: Log::default(),
        });
        Ok(Self { server: Server::start(socket, shared.clone())?, shared })
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        self.server.socket()
    }

    /// The value for `DOCKER_HOST`.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// What `/info` tells of the data root.
    pub fn set_root(&self, root: impl Into<PathBuf>) {
        lock(&self.shared.world).root = root.into();
    }

    /// Adds a container.
    pub fn add(&self, container: Container) {
        lock(&self.shared.world).containers.push(container);
    }

    /// Adds a network.
    pub fn add_network(&self, network: Network) {
        lock(&self.shared.world).networks.push(network);
    }

    /// The names of the containers that exist.
    pub fn containers(&self) -> Vec<String> {
        lock(&self.shared.world).containers.iter().map(|container| container.name.clone()).collect()
    }

    /// The names of the networks that exist.
    pub fn networks(&self) -> Vec<String> {
        lock(&self.shared.world).networks.iter().map(|network| network.name.clone()).collect()
    }

    /// How many anonymous volumes there are, of containers and left by them.
    pub fn volumes(&self) -> usize {
        lock(&self.shared.world).volumes()
    }

    /// Ends the removals that somebody else began, see [`Container::being_removed`].
    pub fn finish_removals(&self) {
        lock(&self.shared.world).finish_removals();
        self.shared.changed.notify_waiters();
    }

    /// Lets a fault befall requests whose path begins like this: so many of them, or all until [`Self::clear`].
    pub fn fault(&self, prefix: &str, times: Option<u32>, fault: Fault) {
        lock(&self.shared.faults).add(prefix, times, fault);
    }

    /// Removes all faults. Requests that hang go on hanging.
    pub fn clear(&self) {
        lock(&self.shared.faults).clear();
    }

    /// Changes what the socket does, and returns once that is so.
    ///
    /// # Errors
    /// The socket cannot be made again.
    pub fn stance(&self, stance: Stance) -> io::Result<()> {
        self.server.stance(stance)
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<DockerRequest> {
        self.shared.log.all()
    }

    /// Blocks until the requests so far fulfil a condition; false if the limit passes first.
    pub fn wait(&self, limit: Duration, done: impl FnMut(&[DockerRequest]) -> bool) -> bool {
        self.shared.log.wait(limit, done)
    }
}
