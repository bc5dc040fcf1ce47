//! moto, the AWS emulator, from a private Python environment.
//!
//! The environment is made once by `python_tool moto` of `scripts/lib/common.sh`
//! and found through `MAYFLY_MOTO_VENV` or at the script's own place.

mod logs;
mod seed;

use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

pub use seed::{Group, InstanceSpec};

use crate::http;

/// Serves moto's own application and tells its port; ends with its parent.
const SERVE: &str = include_str!("serve.py");

/// How long starting may take before it counts as failed.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A running emulator; it is killed when dropped, and ends by itself when the
/// process that started it dies.
#[derive(Debug)]
pub struct Moto {
    address: SocketAddr,
    region: String,
    child: Child,
    /// Held open: its end is what tells moto to go.
    _lifeline: Option<ChildStdin>,
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
        let stdout = child.stdout.take();
        // From here on dropping the value ends the child.
        let mut moto = Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            region: region.to_owned(),
            child,
            _lifeline: lifeline,
        };
        let stdout = stdout.ok_or_else(|| failed("moto has no output"))?;
        let (sender, line) = channel();
        std::thread::spawn(move || {
            let mut text = String::new();
            let _ = BufReader::new(stdout).read_line(&mut text);
            let _ = sender.send(text);
        });
        let line = line.recv_timeout(TIMEOUT).map_err(|_| failed("moto did not start in time"))?;
        let port: u16 = line.trim().parse().map_err(|_| failed("moto ended before it listened"))?;
        moto.address.set_port(port);
        moto.reset()?;
        Ok(moto)
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

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
