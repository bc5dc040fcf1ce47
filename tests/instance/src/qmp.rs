//! QEMU's machine protocol: commands, and the events that tell how a machine ends.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{Error, Result, Trying as _};

/// QEMU answers a command at once, even while the guest is busy; a host under load is what this allows for.
const TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
struct Seen {
    events: Vec<Value>,
    /// QEMU closed the connection: it is gone.
    closed: bool,
}

#[derive(Debug)]
pub(crate) struct Qmp {
    stream: UnixStream,
    answers: Receiver<Value>,
    seen: Arc<(Mutex<Seen>, Condvar)>,
}

impl Qmp {
    pub(crate) fn over(stream: UnixStream) -> Result<Self> {
        let reader = BufReader::new(stream.try_clone()?);
        let (sender, answers) = channel();
        let seen = Arc::new((Mutex::new(Seen::default()), Condvar::new()));
        let telling = seen.clone();
        std::thread::spawn(move || {
            for line in reader.lines().map_while(std::result::Result::ok) {
                let Ok(message) = serde_json::from_str::<Value>(&line) else { continue };
                if message["event"].is_string() {
                    telling.0.lock().unwrap_or_else(PoisonError::into_inner).events.push(message);
                    telling.1.notify_all();
                } else if sender.send(message).is_err() {
                    return;
                }
            }
            telling.0.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
            telling.1.notify_all();
        });
        let mut qmp = Self { stream, answers, seen };
        // The greeting comes first and answers nothing.
        qmp.next_answer("greeting")?;
        qmp.run("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    #[allow(clippy::needless_pass_by_value, reason = "reads better with the arguments made on the spot")]
    pub(crate) fn run(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let request = json!({ "execute": command, "arguments": arguments });
        self.stream.write_all(format!("{request}\n").as_bytes()).trying(|| format!("sending {command} to QEMU"))?;
        let answer = self.next_answer(command)?;
        match answer.get("return") {
            Some(returned) => Ok(returned.clone()),
            None => Err(Error(format!("QEMU refuses {request}: {}", answer["error"]["desc"]))),
        }
    }

    fn next_answer(&self, what: &str) -> Result<Value> {
        self.answers.recv_timeout(TIMEOUT).trying(|| format!("waiting for QEMU's answer to {what}"))
    }

    /// All events so far.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.seen.0.lock().unwrap_or_else(PoisonError::into_inner).events.clone()
    }

    /// Waits until an event is seen, QEMU is gone, or the time is over.
    pub(crate) fn wait(&self, limit: Duration, mut wanted: impl FnMut(&Value) -> bool) -> Option<Value> {
        let deadline = Instant::now() + limit;
        let mut seen = self.seen.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(event) = seen.events.iter().find(|event| wanted(event)) {
                return Some(event.clone());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if seen.closed || left.is_zero() {
                return None;
            }
            seen = self.seen.1.wait_timeout(seen, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
