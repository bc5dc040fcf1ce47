//! One connection: its number, and how a handler ends it early.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::{Body, ConnectionCounts};
use crate::record::lock;

/// An answer in the making.
pub type Answering = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// Turns a request on a connection into an answer.
pub type Handler = Arc<dyn Fn(Request<Incoming>, Conn) -> Answering + Send + Sync>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    Close,
    Reset,
}

/// A handler's grip on the connection that its request came in on.
#[derive(Clone, Debug)]
pub struct Conn {
    /// Its number, from 1.
    pub id: u64,
    end: Arc<watch::Sender<End>>,
}

impl Conn {
    /// Ends the connection without waiting for an answer to be complete.
    pub fn close(&self) {
        self.end.send_replace(End::Close);
    }

    /// Ends the connection with a TCP reset and never answers.
    pub async fn reset(&self) -> Response<Body> {
        self.end.send_replace(End::Reset);
        std::future::pending().await
    }
}

/// All connections of a server.
#[derive(Clone)]
pub(crate) struct Connections {
    live: Arc<Mutex<Live>>,
    silent: Arc<watch::Sender<bool>>,
}

#[derive(Default)]
struct Live {
    opened: u64,
    open: HashMap<u64, Conn>,
}

impl Default for Connections {
    fn default() -> Self {
        Self { live: Arc::default(), silent: Arc::new(watch::Sender::new(false)) }
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.counts().fmt(out)
    }
}

impl Connections {
    pub(crate) fn counts(&self) -> ConnectionCounts {
        let live = lock(&self.live);
        ConnectionCounts { opened: live.opened, open: live.open.len() as u64 }
    }

    pub(crate) fn close_all(&self) {
        lock(&self.live).open.values().for_each(Conn::close);
    }

    /// While silent, requests are read but answered only afterwards, as when
    /// packets are lost and sent again.
    pub(crate) fn set_silent(&self, silent: bool) {
        self.silent.send_replace(silent);
    }

    fn add(&self) -> Conn {
        let mut live = lock(&self.live);
        live.opened += 1;
        let conn = Conn { id: live.opened, end: Arc::new(watch::Sender::new(End::Open)) };
        live.open.insert(conn.id, conn.clone());
        conn
    }

    /// Serves one connection to its end.
    pub(crate) async fn serve(self, stream: TcpStream, handler: Handler) {
        let conn = self.add();
        let _ = stream.set_nodelay(true);
        let service = {
            let conn = conn.clone();
            let silent = self.silent.subscribe();
            service_fn(move |request| -> Pin<Box<dyn Future<Output = _> + Send>> {
                let answer = handler(request, conn.clone());
                let mut silent = silent.clone();
                Box::pin(async move {
                    let _ = silent.wait_for(|silent| !silent).await;
                    Ok::<_, Infallible>(answer.await)
                })
            })
        };
        // No timer, and so no limit on how long a client may keep quiet.
        let mut serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        let mut ending = conn.end.subscribe();
        let end = tokio::select! {
            _ = poll_fn(|context| serving.poll_without_shutdown(context)) => End::Close,
            end = ending.wait_for(|end| *end != End::Open) => end.map_or(End::Close, |end| *end),
        };
        let stream = serving.into_parts().io.into_inner();
        if end == End::Reset {
            let _ = stream.set_zero_linger();
        }
        drop(stream);
        lock(&self.live).open.remove(&conn.id);
    }
}
