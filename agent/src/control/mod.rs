//! The agent's two sockets: one for people's commands, one for the job's hooks.
//!
//! Both speak one JSON line each way. The control socket is for the agent's user only; the hook socket is for whoever
//! runs the job, and what comes from it is a hint, never trusted.

mod metrics;
pub mod operators;
pub mod status;

use std::fs::{self, Permissions};
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader as AsyncBufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::warn;

use crate::base::durable;
use crate::base::paths::Paths;
use crate::base::seen::Seen;
use crate::runner::hooks::{self, Annotations, DockerGate, HookReply, JobHook};
use mayfly_core::lifecycle::Event;
use mayfly_core::record::Record;
use mayfly_core::timeline::Timeline;
use operators::{Answer, Order};
use status::Status;

/// How long either side waits for the other. An agent that does not answer in this time never fails a job.
pub const TIMEOUT: Duration = Duration::from_secs(2);

/// How long the loop waits for an answer to be written. It goes into the socket's buffer, so this is never used up.
const WRITING: Duration = Duration::from_millis(500);

/// The longest request that is read.
const MAX_REQUEST: u64 = 64 * 1024;

/// Connections served at once; a job that opens more waits.
const MAX_CONNECTIONS: usize = 8;

/// What a person's command may ask.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// The run's [`Status`].
    Status,
    /// The run's figures, as Prometheus reads them.
    Metrics,
    /// The run's [`Record`] so far.
    Record,
    /// Something that changes the run: an [`Answer`].
    Order(Order),
}

/// A question to the loop, which owns the state.
#[derive(Debug)]
pub struct Query {
    /// What is asked.
    pub request: Request,
    reply: oneshot::Sender<Reply>,
    written: oneshot::Receiver<()>,
}

/// What the loop answers.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Reply {
    /// To [`Request::Status`].
    Status(Box<Status>),
    /// To [`Request::Metrics`].
    Metrics(String),
    /// To [`Request::Record`].
    Record(Box<Record>),
    /// To [`Request::Order`].
    Answer(Answer),
}

impl Query {
    /// Asks the loop. Whoever drops or uses the sender tells that the answer is written.
    async fn ask(queries: &mpsc::Sender<Self>, request: Request) -> io::Result<(Reply, oneshot::Sender<()>)> {
        let ((reply, answer), (done, written)) = (oneshot::channel(), oneshot::channel());
        queries.send(Self { request, reply, written }).await.map_err(io::Error::other)?;
        Ok((answer.await.map_err(io::Error::other)?, done))
    }

    /// Answers it, and waits until that is written: the order may have been the last thing in this run.
    pub async fn answer(self, reply: Reply) {
        let _ = self.reply.send(reply);
        let _ = tokio::time::timeout(WRITING, self.written).await;
    }
}

/// What the job's hooks are answered from.
#[derive(Debug)]
pub struct HookAnswers {
    /// Whether a job may go on to use Docker.
    pub gate: watch::Receiver<DockerGate>,
    /// What the job's page should say about this machine.
    pub annotations: Annotations,
    /// Whether its summary page has the run's figures.
    pub summary: bool,
}

/// Opens both sockets, and the address of the metrics. A run goes on without them: a full disk must not keep a machine from ending.
#[must_use]
pub fn serve(
    paths: &Paths,
    metrics: Option<SocketAddr>,
    hooks: HookAnswers,
    events: mpsc::Sender<Seen>,
) -> mpsc::Receiver<Query> {
    let (queries, inbox) = mpsc::channel(4);
    if let Some(address) = metrics {
        tokio::spawn(metrics::serve(address, queries.clone()));
    }
    let loop_queries = queries.clone();
    match listen(&paths.control_socket(), 0o600) {
        Ok(socket) => drop(tokio::spawn(accept(socket, move |stream| answer_control(stream, queries.clone())))),
        Err(error) => warn!("mayfly status, drain, hold and release will not work: {error}"),
    }
    match hooks::make_runtime_directory(paths).and_then(|()| listen(&paths.hook_socket(), 0o666)) {
        Ok(socket) => {
            let answer = move |stream| {
                let (docker, annotations) = (hooks.gate.borrow().clone(), hooks.annotations.all());
                let reply = HookReply { docker, annotations, ..HookReply::default() };
                answer_hook(stream, reply, hooks.summary, events.clone(), loop_queries.clone())
            };
            drop(tokio::spawn(accept(socket, answer)));
        }
        Err(error) => warn!("job hooks will not be answered: {error}"),
    }
    inbox
}

/// Removes the sockets: a run that ended answers no more.
pub fn withdraw(paths: &Paths) {
    for path in [paths.control_socket(), paths.hook_socket()] {
        let _ = fs::remove_file(path);
    }
}

fn listen(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let annotate =
        |error: io::Error| io::Error::new(error.kind(), format!("cannot listen on {}: {error}", path.display()));
    durable::remove(path).map_err(annotate)?;
    let listener = UnixListener::bind(path).map_err(annotate)?;
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(annotate)?;
    Ok(listener)
}

async fn accept<F>(listener: UnixListener, answer: impl Fn(UnixStream) -> F)
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let slots = std::sync::Arc::new(tokio::sync::Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let answer = answer(stream);
                tokio::spawn(async move {
                    let _ = tokio::time::timeout(TIMEOUT, answer).await;
                    drop(slot);
                });
            }
            Err(error) => {
                warn!("a control socket cannot accept: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn answer_control(mut stream: UnixStream, queries: mpsc::Sender<Query>) -> io::Result<()> {
    let request = receive(&mut stream).await?;
    let (reply, done) = Query::ask(&queries, request).await?;
    let sent = send(&mut stream, &reply).await;
    let _ = done.send(());
    sent
}

async fn answer_hook(
    mut stream: UnixStream,
    mut reply: HookReply,
    summary: bool,
    events: mpsc::Sender<Seen>,
    queries: mpsc::Sender<Query>,
) -> io::Result<()> {
    let call: hooks::HookCall = receive(&mut stream).await?;
    let completed = call.hook == JobHook::JobCompleted;
    if !completed {
        reply.annotations.clear(); // said once, when all is known
    }
    events.send(Seen::Event(Event::Observed(call.observation()))).await.map_err(io::Error::other)?;
    if completed && let Ok((Reply::Record(record), done)) = Query::ask(&queries, Request::Record).await {
        let _ = done.send(());
        let timeline = Timeline::of(&record);
        (reply.figures, reply.summary) = (timeline.brief(), summary.then(|| timeline.summary()));
    }
    send(&mut stream, &reply).await
}

async fn receive<T: DeserializeOwned>(stream: &mut UnixStream) -> io::Result<T> {
    let mut line = String::new();
    AsyncBufReader::new(stream.take(MAX_REQUEST)).read_line(&mut line).await?;
    Ok(serde_json::from_str(&line)?)
}

async fn send(stream: &mut UnixStream, answer: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    stream.write_all(&line).await
}

/// The other side: asks an agent's socket, and waits no longer than [`TIMEOUT`].
///
/// # Errors
/// No agent answers there, or not in time.
pub fn ask<T: DeserializeOwned>(socket: &Path, request: &impl Serialize) -> io::Result<T> {
    let mut stream = StdUnixStream::connect(socket)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(serde_json::from_str(&answer)?)
}
