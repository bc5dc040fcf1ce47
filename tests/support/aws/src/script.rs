//! What the binaries share: flags, one JSON line at the start, then a JSON line
//! for every line on the standard input, until it ends or a signal comes.

use std::collections::VecDeque;
use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::sync::mpsc::{Sender, channel};

use serde_json::{Value, json};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// The command line, read from the front.
#[derive(Debug)]
pub struct Flags(VecDeque<String>);

impl Flags {
    /// The arguments of this process.
    pub fn of_process() -> Self {
        Self(std::env::args().skip(1).collect())
    }

    /// The next flag, if there is one.
    pub fn next_flag(&mut self) -> Option<String> {
        self.0.pop_front()
    }

    /// The value that belongs to a flag.
    pub fn value(&mut self, flag: &str) -> Result<String, String> {
        self.0.pop_front().ok_or_else(|| format!("{flag} needs a value"))
    }

    /// The value as a number.
    pub fn number<N: std::str::FromStr>(&mut self, flag: &str) -> Result<N, String> {
        let value = self.value(flag)?;
        value.parse().map_err(|_| format!("{flag} needs a number, not {value}"))
    }

    /// The value as `KEY=VALUE`.
    pub fn pair(&mut self, flag: &str) -> Result<(String, String), String> {
        let value = self.value(flag)?;
        value
            .split_once('=')
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .ok_or_else(|| format!("{flag} needs KEY=VALUE, not {value}"))
    }
}

fn print(value: &Value) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{value}")?;
    out.flush()
}

/// Prints the first line, then answers every line of input with one line.
/// Returns at the end of the input, at SIGTERM and at SIGINT, so that what the
/// caller owns is dropped, and with it stopped.
pub fn converse(ready: &Value, mut answer: impl FnMut(&str) -> Result<Value, String>) -> io::Result<()> {
    let (sender, lines) = channel();
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let on_signal = sender.clone();
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            let _ = on_signal.send(None);
        }
    });
    std::thread::spawn(move || read_lines(&sender));
    print(ready)?;
    while let Ok(Some(line)) = lines.recv() {
        if line.trim().is_empty() {
            continue;
        }
        let mut answer = answer(line.trim()).unwrap_or_else(|error| json!({ "error": error }));
        if let Some(object) = answer.as_object_mut() {
            let ok = !object.contains_key("error");
            object.insert("ok".to_owned(), ok.into());
        }
        print(&answer)?;
    }
    Ok(())
}

fn read_lines(sender: &Sender<Option<String>>) {
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        if sender.send(Some(line)).is_err() {
            return;
        }
    }
    let _ = sender.send(None);
}

/// Turns the result of a binary into its exit status, the reason on standard error.
pub fn exit(name: &str, result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            let _ = writeln!(io::stderr(), "{name}: {reason}");
            ExitCode::FAILURE
        }
    }
}
