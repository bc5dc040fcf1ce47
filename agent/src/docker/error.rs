//! Why the Docker daemon gave no usable answer.

use std::error::Error as _;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

/// Why the Docker daemon gave no usable answer. Fields called `request` are a method and a path, such as `GET /_ping`.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DockerError {
    /// `DOCKER_HOST` names no socket of this host.
    #[error(
        "DOCKER_HOST is {0:?}, which is not a Docker daemon of this host: set it to unix:// and an absolute path, \
         or unset it"
    )]
    BadHost(String),
    /// The HTTP client could not be made.
    #[error("no HTTP client for the Docker daemon could be made: {0}")]
    NoClient(String),
    /// There is no such socket file.
    #[error("{request} on {socket}: there is no such socket; see whether docker.socket or docker.service is started")]
    NoSocket {
        /// What was wanted.
        request: String,
        /// Where.
        socket: PathBuf,
    },
    /// There is a socket file, and nobody listens.
    #[error("{request} on {socket}: connection refused, so no daemon listens there; see systemctl status docker")]
    Refused {
        /// What was wanted.
        request: String,
        /// Where.
        socket: PathBuf,
    },
    /// Connected, or queued to be, and not answered in time.
    #[error(
        "{request} on {socket}: {seen} within {limit:.1?}; see systemctl status \
         docker.service containerd.service: one is stuck, or dead while docker.socket listens for it"
    )]
    NoAnswer {
        /// What was wanted.
        request: String,
        /// Where.
        socket: PathBuf,
        /// How long was waited.
        limit: Duration,
        /// "no complete answer", or that the queue of connections is full.
        seen: &'static str,
    },
    /// The connection could not be made, or broke.
    #[error("{request} on {socket}: {cause}")]
    Broken {
        /// What was wanted.
        request: String,
        /// Where.
        socket: PathBuf,
        /// What the system or the HTTP client says.
        cause: String,
    },
    /// The daemon answered that it will or can not.
    #[error("{request} was answered with the status {status}: {message}")]
    Status {
        /// What was asked.
        request: String,
        /// What came back.
        status: u16,
        /// The daemon's own words.
        message: String,
    },
    /// The answer is not what Docker's API promises.
    #[error("{request} was answered with something that is not Docker's: {reason}")]
    NotDocker {
        /// What was asked.
        request: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The file system of the data root could not be asked.
    #[error("the file system of Docker's data root {path} could not be asked for its room: {cause}")]
    NoFigures {
        /// The data root.
        path: PathBuf,
        /// What the system says.
        cause: String,
    },
    /// The whole undertaking had no time left for this.
    #[error("{request} was not tried: no time was left for it")]
    OutOfTime {
        /// What was wanted.
        request: String,
    },
}

impl DockerError {
    /// What a request that failed on its way means.
    pub(super) fn of_transport(request: String, socket: PathBuf, limit: Duration, error: reqwest::Error) -> Self {
        // The innermost cause says most, such as "Connection refused (os error 111)".
        let error = error.without_url();
        let mut cause = error.to_string();
        let mut kind = None;
        let mut source = error.source();
        while let Some(inner) = source {
            cause = inner.to_string();
            kind = inner.downcast_ref::<io::Error>().map(io::Error::kind).or(kind);
            source = inner.source();
        }
        if error.is_connect() {
            match kind {
                Some(io::ErrorKind::NotFound) => return Self::NoSocket { request, socket },
                Some(io::ErrorKind::ConnectionRefused) => return Self::Refused { request, socket },
                // A socket that does not block is told so when the queue of connections is full: nobody has accepted
                // any for a long time.
                Some(io::ErrorKind::WouldBlock) => {
                    return Self::NoAnswer { request, socket, limit, seen: "the queue of connections stayed full" };
                }
                _ => {}
            }
        }
        Self::Broken { request, socket, cause }
    }
}
