//! Getting the JIT configuration, and deleting it where it came from.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::ExposeSecret;
use secrecy::zeroize::Zeroizing;
use thiserror::Error;
use tokio::sync::oneshot;

use crate::base::durable;
use crate::platform::ec2::Ec2;
use crate::platform::error::ParameterError;
use mayfly_core::lifecycle::Outcome;
use mayfly_core::runner::jit::{JitConfig, JitError, MAX_ENCODED};

/// How often a file that is to appear is looked for.
const INTERVAL: Duration = Duration::from_millis(250);

/// Where the JIT configuration of a local run comes from.
#[derive(Clone, Debug)]
pub enum JitSource {
    /// Standard input, read once.
    Stdin,
    /// A file of the user's, which stays.
    File(PathBuf),
    /// A file that somebody will put there for this run; waited for, and deleted once it is spent.
    Dropped(PathBuf),
}

/// Why there is no JIT configuration.
#[derive(Debug, Error)]
pub enum JitSourceError {
    /// Where it should be cannot be read.
    #[error("cannot read the JIT configuration from {from}: {error}")]
    Unreadable {
        /// Where it should be.
        from: String,
        /// Why not.
        error: io::Error,
    },
    /// What is there is none.
    #[error("{from} is not a usable JIT configuration: {error}")]
    Unusable {
        /// Where it is.
        from: String,
        /// What is wrong with it.
        error: JitError,
    },
    /// The instance's parameter was not read.
    #[error(transparent)]
    Parameter(Box<ParameterError>),
}

impl From<ParameterError> for JitSourceError {
    fn from(error: ParameterError) -> Self {
        Self::Parameter(Box::new(error))
    }
}

impl JitSourceError {
    /// What that is for the run.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Unreadable { .. } | Self::Unusable { .. } => Outcome::JitConfigInvalid,
            Self::Parameter(error) => error.outcome(),
        }
    }
}

/// Gets and checks an instance's JIT configuration from its parameter; the lifecycle waits no longer than `left`.
///
/// # Errors
/// What is wrong.
pub async fn fetch_parameter(ec2: &Ec2, left: Duration) -> Result<JitConfig, JitSourceError> {
    let text = ec2.fetch_jit_config(left).await?;
    JitConfig::decode(text.expose_secret())
        .map_err(|error| JitSourceError::Unusable { from: "the parameter's value".to_owned(), error })
}

/// Gets and checks the JIT configuration. Waits for a dropped file without end; the lifecycle keeps the deadline.
///
/// # Errors
/// What is wrong.
pub async fn fetch(source: &JitSource) -> Result<JitConfig, JitSourceError> {
    let (from, read) = match source {
        JitSource::Stdin => ("standard input".to_owned(), in_a_thread(|| bounded(io::stdin())).await),
        JitSource::File(path) => {
            let path = path.clone();
            (path.display().to_string(), in_a_thread(move || bounded(File::open(path)?)).await)
        }
        JitSource::Dropped(path) => (path.display().to_string(), wait_for(path).await),
    };
    match read.map(|text| JitConfig::decode(&text)) {
        Ok(Ok(config)) => Ok(config),
        Ok(Err(error)) => Err(JitSourceError::Unusable { from, error }),
        Err(error) => Err(JitSourceError::Unreadable { from, error }),
    }
}

/// Deletes a dropped file. What a person gave on the command line is the person's.
///
/// # Errors
/// It is there and could not be deleted.
pub fn delete(source: &JitSource) -> io::Result<()> {
    match source {
        JitSource::Stdin | JitSource::File(_) => Ok(()),
        JitSource::Dropped(path) => durable::remove(path),
    }
}

/// Terminals and pipes can keep a reader waiting for ever. A plain thread can be left behind; one of tokio's would keep
/// the process from ending.
async fn in_a_thread<T: Send + 'static>(read: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || sender.send(read()));
    receiver.await.map_err(io::Error::other)?
}

/// A file is taken once it has content: who writes it may create it first.
async fn wait_for(path: &Path) -> io::Result<Zeroizing<String>> {
    loop {
        match File::open(path).and_then(bounded) {
            Ok(text) if !text.trim().is_empty() => return Ok(text),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => tokio::time::sleep(INTERVAL).await,
        }
    }
}

/// No more than one byte over the limit, so that the decoder sees that it is too long.
fn bounded(reader: impl Read) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::with_capacity(8 * 1024));
    reader.take(MAX_ENCODED as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}
