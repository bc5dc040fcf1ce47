//! The socket: served, refusing, gone, or listening for nobody.

use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{UnixListener, UnixSocket, UnixStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use crate::Shared;
use crate::answer::answer;

/// What the socket does. All but the first also end every open connection, as the death of a daemon does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stance {
    /// Accepts and answers. Connections that waited are answered too, as by a daemon that was started by its socket.
    Serving,
    /// The file is there, and nobody listens: what a killed daemon leaves.
    Refusing,
    /// There is no file.
    Gone,
    /// Connections succeed and nobody accepts them: `docker.socket` listens and `docker.service` is dead, or `dockerd`
    /// is still starting.
    Unaccepted,
    /// The same after so many connections that the kernel takes no further one.
    Full,
}

/// Reads `serving`, `refusing`, `gone`, `unaccepted` or `full`.
impl FromStr for Stance {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "serving" => Self::Serving,
            "refusing" => Self::Refusing,
            "gone" => Self::Gone,
            "unaccepted" => Self::Unaccepted,
            "full" => Self::Full,
            _ => return Err(format!("no such stance: {text}")),
        })
    }
}

struct Order {
    stance: Stance,
    done: Sender<io::Result<()>>,
}

/// A running server; dropping it removes the socket.
#[derive(Debug)]
pub(crate) struct Server {
    socket: PathBuf,
    orders: Option<UnboundedSender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(socket: &Path, shared: Arc<Shared>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let gate = {
            let _inside = runtime.enter();
            Gate { listener: Some(listen(socket, 1024)?), accepting: true, fillers: Vec::new() }
        };
        let (orders, inbox) = unbounded_channel();
        let path = socket.to_owned();
        let thread = std::thread::Builder::new()
            .name("docker-double".to_owned())
            .spawn(move || runtime.block_on(run(gate, &path, inbox, shared)))?;
        Ok(Self { socket: socket.to_owned(), orders: Some(orders), thread: Some(thread) })
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Returns once the order is carried out, so that a test may rely on it.
    pub(crate) fn stance(&self, stance: Stance) -> io::Result<()> {
        let (done, carried_out) = channel();
        let gone = || io::Error::other("the double has stopped");
        let orders = self.orders.as_ref().ok_or_else(gone)?;
        orders.send(Order { stance, done }).map_err(|_| gone())?;
        carried_out.recv().map_err(|_| gone())?
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(&self.socket);
    }
}

fn listen(path: &Path, backlog: u32) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    socket.listen(backlog)
}

struct Gate {
    listener: Option<UnixListener>,
    accepting: bool,
    /// Connections that are kept for the room they take.
    fillers: Vec<UnixStream>,
}

impl Gate {
    async fn change(&mut self, stance: Stance, path: &Path) -> io::Result<()> {
        self.fillers.clear();
        self.accepting = stance == Stance::Serving;
        match stance {
            Stance::Serving | Stance::Unaccepted => {
                if self.listener.is_none() {
                    self.listener = Some(listen(path, 1024)?);
                }
            }
            Stance::Refusing => {
                drop(listen(path, 1)?);
                self.listener = None;
            }
            Stance::Gone => {
                self.listener = None;
                std::fs::remove_file(path)?;
            }
            Stance::Full => {
                self.listener = Some(listen(path, 0)?);
                while let Ok(filler) = UnixStream::connect(path).await {
                    self.fillers.push(filler);
                }
            }
        }
        Ok(())
    }

    async fn accept(&self) -> Option<UnixStream> {
        match &self.listener {
            Some(listener) if self.accepting => listener.accept().await.ok().map(|(stream, _)| stream),
            _ => std::future::pending().await,
        }
    }
}

/// Accepts and obeys until the owner of the server lets go of it.
async fn run(mut gate: Gate, path: &Path, mut inbox: UnboundedReceiver<Order>, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            order = inbox.recv() => {
                let Some(Order { stance, done }) = order else { return };
                if stance != Stance::Serving {
                    connections.shutdown().await;
                }
                let _ = done.send(gate.change(stance, path).await);
            }
            Some(stream) = gate.accept() => {
                let shared = shared.clone();
                let service = service_fn(move |request| answer(shared.clone(), request));
                connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}
