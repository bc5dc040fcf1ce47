//! moto, the AWS emulator, from a private Python environment.
//!
//! The environment is made once by `python_tool moto` of `scripts/lib/common.sh`
//! and found through `MAYFLY_MOTO_VENV` or at the script's own place. Loading it takes
//! two seconds of processor, so `scripts/test` loads it once and names the socket on
//! which copies can be had in `MAYFLY_MOTO_COPIES`.

mod logs;
mod seed;

use std::io::{self, BufRead, BufReader};
use std::net::{Shutdown, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

pub use seed::{Group, InstanceSpec};

use crate::http;

/// Serves moto's own application and tells its port; ends with its parent.
const SERVE: &str = include_str!("serve.py");

/// How long starting may take before it counts as failed.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A running emulator; it ends when this is dropped, or when the process that
/// started it dies.
#[derive(Debug)]
pub struct Moto {
    address: SocketAddr,
    region: String,
    _process: Process,
}

/// The end of what is held open here tells moto to go.
#[derive(Debug)]
enum Process {
    Own { child: Child, _lifeline: Option<ChildStdin> },
    Copy { lifeline: UnixStream },
}

fn failed(reason: impl Into<String>) -> io::Error {
    io::Error::other(reason.into())
}

/// Where the environment is: named by the test script, or made on the spot by the same lines of shell.
///
/// # Errors
/// It could not be made: there is no Python, or no package registry.
pub fn environment() -> io::Result<PathBuf> {
    if let Some(path) = std::env::var_os("MAYFLY_MOTO_VENV") {
        return Ok(path.into());
    }
    let library = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../scripts/lib/common.sh");
    let output = Command::new("bash").args(["-c", "source \"$1\" && python_tool moto", "bash", library]).output()?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().into())
}

impl Moto {
    /// Starts the emulator for `eu-central-1` and waits until it answers.
    pub fn start() -> io::Result<Self> {
        Self::start_in("eu-central-1")
    }

    /// Starts the emulator; the helpers of this type then act in this region.
    pub fn start_in(region: &str) -> io::Result<Self> {
        let (process, mut output) = match std::env::var_os("MAYFLY_MOTO_COPIES") {
            Some(socket) => Process::copy(Path::new(&socket))?,
            None => Process::own()?,
        };
        let (sender, line) = channel();
        std::thread::spawn(move || {
            let mut text = String::new();
            let _ = output.read_line(&mut text);
            let _ = sender.send(text);
        });
        let line = line.recv_timeout(TIMEOUT).map_err(|_| failed("moto did not start in time"))?;
        let port: u16 = line.trim().parse().map_err(|_| failed("moto ended before it listened"))?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Ok(Self { address, region: region.to_owned(), _process: process })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same for `AWS_ENDPOINT_URL`, without a proxy between.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The region that the helpers act in.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Forgets everything, as after a fresh start.
    pub fn reset(&self) -> io::Result<()> {
        let answer = http::post(self.address, "/moto-api/reset", &[], "")?;
        match answer.status {
            200 => Ok(()),
            status => Err(failed(format!("moto's reset answered {status}"))),
        }
    }
}

impl Process {
    fn copy(socket: &Path) -> io::Result<(Self, Box<dyn BufRead + Send>)> {
        let lifeline = UnixStream::connect(socket)
            .map_err(|error| failed(format!("cannot have a copy of moto from {}: {error}", socket.display())))?;
        let output = BufReader::new(lifeline.try_clone()?);
        Ok((Self::Copy { lifeline }, Box::new(output)))
    }

    fn own() -> io::Result<(Self, Box<dyn BufRead + Send>)> {
        let python = environment()?.join("bin/python");
        if !python.exists() {
            return Err(failed(format!("moto is not installed at {}: run scripts/test", python.display())));
        }
        let mut child = Command::new(python)
            .args(["-I", "-c", SERVE])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let lifeline = child.stdin.take();
        let output = child.stdout.take();
        // From here on dropping the value ends the child.
        let process = Self::Own { child, _lifeline: lifeline };
        let output = output.ok_or_else(|| failed("moto has no output"))?;
        Ok((process, Box::new(BufReader::new(output))))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        match self {
            Self::Own { child, .. } => {
                let _ = child.kill();
                let _ = child.wait();
            }
            Self::Copy { lifeline } => drop(lifeline.shutdown(Shutdown::Both)),
        }
    }
}
