//! The listening port: serving, refusing, or swallowing.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::Sender;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep_until, timeout};

use super::connection::{Connections, Handler};

/// What the port does with connection attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stance {
    /// Accepts them.
    Serving,
    /// Answers them with a TCP reset.
    Refusing,
    /// Does not answer them at all.
    Silent,
}

/// A change of stance, for a while or until the next one.
pub(crate) struct Order {
    pub(crate) stance: Stance,
    pub(crate) period: Option<Duration>,
    pub(crate) done: Sender<io::Result<()>>,
}

/// Holds the port in one of its stances. The sockets are kept for what they do
/// to the port, not to be used.
enum Gate {
    Serving(TcpListener),
    /// Bound but not listening: the kernel refuses, and nobody else can take
    /// the port meanwhile.
    Refusing(TcpSocket),
    /// The one place in the queue is taken, so the kernel drops every SYN.
    Silent(TcpListener, Option<TcpStream>),
}

fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// How long a port that was let go may stay taken.
const LET_GO: Duration = Duration::from_secs(2);

/// Binds a port that was let go this moment. A process that another thread forks holds all sockets until it executes
/// its program, so the port may be taken for a few milliseconds yet.
async fn bound_again(address: SocketAddr) -> io::Result<TcpSocket> {
    let end = Instant::now() + LET_GO;
    loop {
        match bound(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < end => {
                sleep_until(Instant::now() + Duration::from_millis(1)).await;
            }
            result => return result,
        }
    }
}

/// Listens with room for bursts of clients.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    bound(address)?.listen(1024)
}

impl Gate {
    async fn change(self, stance: Stance, address: SocketAddr) -> io::Result<Self> {
        let socket = match self {
            Self::Refusing(socket) => socket,
            Self::Serving(listener) => {
                drop(listener);
                bound_again(address).await?
            }
            Self::Silent(listener, filler) => {
                drop((listener, filler));
                bound_again(address).await?
            }
        };
        Ok(match stance {
            Stance::Serving => Self::Serving(socket.listen(1024)?),
            Stance::Refusing => Self::Refusing(socket),
            Stance::Silent => {
                let listener = socket.listen(0)?;
                let connecting = timeout(Duration::from_millis(200), TcpStream::connect(address));
                let filler = connecting.await.ok().and_then(Result::ok);
                Self::Silent(listener, filler)
            }
        })
    }

    async fn accept(&self) -> Option<TcpStream> {
        match self {
            Self::Serving(listener) => listener.accept().await.ok().map(|(stream, _)| stream),
            Self::Refusing(_) | Self::Silent(..) => std::future::pending().await,
        }
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Accepts and obeys until the owner of the server lets go of it.
pub(crate) async fn run(
    listener: TcpListener,
    address: SocketAddr,
    mut inbox: UnboundedReceiver<Order>,
    connections: Connections,
    handler: Handler,
) {
    let mut gate = Gate::Serving(listener);
    let mut back_at = None;
    loop {
        let (stance, done) = tokio::select! {
            order = inbox.recv() => {
                let Some(order) = order else { return };
                back_at = order.period.map(|period| Instant::now() + period);
                (order.stance, Some(order.done))
            }
            () = at(back_at) => {
                back_at = None;
                (Stance::Serving, None)
            }
            stream = gate.accept() => {
                if let Some(stream) = stream {
                    tokio::spawn(connections.clone().serve(stream, handler.clone()));
                }
                continue;
            }
        };
        if stance == Stance::Refusing {
            connections.close_all();
        }
        connections.set_silent(stance == Stance::Silent);
        let result = match gate.change(stance, address).await {
            Ok(changed) => {
                gate = changed;
                Ok(())
            }
            // The port is lost: nothing sensible can be served any more.
            Err(error) => {
                if let Some(done) = done {
                    let _ = done.send(Err(error));
                }
                return;
            }
        };
        if let Some(done) = done {
            let _ = done.send(result);
        }
    }
}
