//! The HTTP/1.1 server under every double: numbered keep-alive connections
//! that a handler can cut, and a port that can be closed and opened again.

mod body;
mod connection;
mod gate;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

pub use body::{Body, full, half};
use connection::Connections;
pub use connection::{Answering, Conn, Handler};
use gate::{Order, Stance};

/// How many connections a double has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionCounts {
    /// Accepted since the start.
    pub opened: u64,
    /// Still open.
    pub open: u64,
}

/// A running server; dropping it closes everything.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    orders: Option<UnboundedSender<Order>>,
    connections: Connections,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens on the loopback address (port 0 picks one). The handler is made
    /// on the server's own thread, inside its runtime.
    pub fn start(name: &str, port: u16, handler: impl FnOnce() -> Handler + Send + 'static) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _inside = runtime.enter();
            gate::listen(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?
        };
        let address = listener.local_addr()?;
        let connections = Connections::default();
        let (orders, inbox) = unbounded_channel();
        let shared = connections.clone();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            runtime.block_on(async move {
                gate::run(listener, address, inbox, shared, handler()).await;
            });
        })?;
        Ok(Self { address, orders: Some(orders), connections, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections so far.
    pub fn counts(&self) -> ConnectionCounts {
        self.connections.counts()
    }

    /// Refuses connections and closes the open ones.
    pub fn refuse(&self, period: Option<Duration>) -> io::Result<()> {
        self.order(Stance::Refusing, period)
    }

    /// Drops connection attempts and leaves open connections without answers.
    pub fn black_hole(&self, period: Option<Duration>) -> io::Result<()> {
        self.order(Stance::Silent, period)
    }

    /// Serves again.
    pub fn serve(&self) -> io::Result<()> {
        self.order(Stance::Serving, None)
    }

    /// Returns once the order is carried out, so that a test may rely on it.
    fn order(&self, stance: Stance, period: Option<Duration>) -> io::Result<()> {
        let (done, carried_out) = channel();
        let order = Order { stance, period, done };
        let gone = || io::Error::other("the double has stopped");
        self.orders.as_ref().and_then(|orders| orders.send(order).ok()).ok_or_else(gone)?;
        carried_out.recv().map_err(|_| gone())?
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
