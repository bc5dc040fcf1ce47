//! Commands in the guest, over a virtio port to the test image's own little service.

use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::{Error, Result, Trying as _};

/// The port's name, in the guest and for QEMU.
pub(crate) const PORT: &str = "org.mayfly.shell";

/// How much longer the answer may take than the command: an emulated processor under load is slow.
const GRACE: Duration = Duration::from_secs(30);

/// What a command did.
#[derive(Debug, Clone)]
pub struct Output {
    /// The exit code, or minus the number of the signal that ended it.
    pub status: i64,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

#[derive(Debug)]
pub(crate) struct Shell {
    stream: BufReader<UnixStream>,
    last: u64,
}

impl Shell {
    /// Over QEMU's end of the port; the guest may not be there yet, and then reads later what is sent now.
    pub(crate) fn over(stream: UnixStream) -> Self {
        Self { stream: BufReader::new(stream), last: 0 }
    }

    /// Runs a script with `sh -c`, and waits for its end; after `limit` it is killed.
    pub(crate) fn run(&mut self, script: &str, input: &[u8], limit: Duration) -> Result<Output> {
        self.last += 1;
        let request = json!({
            "id": self.last, "script": script, "input": STANDARD.encode(input), "seconds": limit.as_secs_f64(),
        });
        let said = || format!("running {script:?} in the guest");
        self.stream.get_mut().write_all(format!("{request}\n").as_bytes()).trying(said)?;
        let answer = self.answer(Instant::now() + limit + GRACE).trying(said)?;
        let text = |key: &str| {
            let bytes = STANDARD.decode(answer[key].as_str().unwrap_or_default()).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let status = answer["status"].as_i64().ok_or_else(|| Error(format!("the guest's shell answered {answer}")))?;
        Ok(Output { status, stdout: text("stdout"), stderr: text("stderr") })
    }

    /// The answer to the last request; answers to requests that were given up are passed over.
    fn answer(&mut self, deadline: Instant) -> Result<Value> {
        let mut line = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error("no answer in time".to_owned()));
            }
            self.stream.get_ref().set_read_timeout(Some(left))?;
            match self.stream.read_until(b'\n', &mut line) {
                Ok(0) => return Err(Error("the machine is gone".to_owned())),
                Ok(_) if line.ends_with(b"\n") => {
                    let answer: Value = serde_json::from_slice(&line).trying(|| "reading its answer".to_owned())?;
                    if answer["id"] == self.last {
                        return Ok(answer);
                    }
                    line.clear();
                }
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
