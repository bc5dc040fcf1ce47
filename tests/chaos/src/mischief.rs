//! What a job without rights can do to the agent: write files that its own user owns, and call a socket that is everybody's.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::plan::Mischief;

/// The owner that a job makes up.
pub(crate) const FORGED: &str = "forged-by-a-job";

/// A flood is judged by the time it costs, not by its names.
const OWN: &str = "another";

/// No flood takes more of the disk.
const ENOUGH: u64 = 64 * 1024 * 1024;

/// A job that writes until its run is over.
pub(crate) struct Flood {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Does it, or begins to; says why it cannot be done.
pub(crate) fn make(mischief: Mischief, runtime: &Path) -> Result<Option<Flood>, String> {
    let (perf, socket) = (runtime.join("perf"), runtime.join("hook.sock"));
    let traces = perf.join("hooks.jsonl");
    // The runner calls the hook before any step; what comes before that is no job's.
    if !fs::read_to_string(&traces).unwrap_or_default().contains("job-started") {
        return Err("the job's own call was not made yet".to_owned());
    }
    match mischief {
        Mischief::FloodHooks => {
            let over = Arc::<AtomicBool>::default();
            let seen = Arc::clone(&over);
            let thread = std::thread::spawn(move || {
                let (mut number, mut written) = (0, 0);
                while !seen.load(Ordering::Relaxed) && written < ENOUGH {
                    let lines: String = (number..number + 20).map(|number| call(OWN, number)).collect();
                    if append(&traces, lines.as_bytes()).is_err() {
                        return;
                    }
                    (number, written) = (number + 20, written + lines.len() as u64);
                }
            });
            return Ok(Some(Flood { over, thread: Some(thread) }));
        }
        Mischief::LineBreaks => {
            for name in ["Runner.perf", "hooks.jsonl"] {
                append(&perf.join(name), &vec![b'\n'; 3_000_000]).map_err(|error| error.to_string())?;
            }
        }
        Mischief::ForgeCall => {
            append(&traces, call(FORGED, 0).as_bytes()).map_err(|error| error.to_string())?;
            // Nobody may be there to take it.
            let _ = send(&socket, &call(FORGED, 1));
        }
    }
    Ok(None)
}

fn call(owner: &str, number: u64) -> String {
    format!(
        "{{\"hook\":\"job-started\",\"job\":{{\"repository\":\"{owner}/r\",\"run_id\":\"{number}\",\"run_attempt\":\"1\"}}}}\n"
    )
}

fn append(path: &Path, content: &[u8]) -> io::Result<()> {
    OpenOptions::new().append(true).open(path)?.write_all(content)
}

fn send(socket: &Path, call: &str) -> io::Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(std::time::Duration::from_millis(200)))?;
    stream.write_all(call.as_bytes())?;
    stream.read(&mut [0; 64]).map(drop)
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
