//! Signals: recorded, handed to the main thread, and the two rules that hold
//! whatever the main thread is doing: the SIGTERM cap, and that a SIGTERM
//! into a shutdown kills at once.

use std::io;
use std::process::{self, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use mayfly_fake_runner::recording::{Event, Recorder, Who};
use signal_hook::consts::{SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::signal_name;

use crate::introspect;

/// The exit code of a shutdown that SIGTERM cut short.
const TERMINATED: i32 = 143;

/// What wakes the main thread.
#[derive(Debug)]
pub(crate) enum Note {
    /// A signal came.
    Signal(i32),
    /// The listener's worker has ended.
    WorkerExited(ExitStatus),
    /// The worker's job was cancelled by the listener.
    Cancel,
}

/// What the signal thread and the main thread share.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    asked: AtomicBool,
    terminated: AtomicBool,
    interrupted_after: AtomicBool,
}

impl Stop {
    /// An interrupt after SIGTERM is waited out, but spoils a code of zero.
    pub(crate) fn final_code(&self, code: i32) -> i32 {
        if self.interrupted_after.load(Ordering::SeqCst) { TERMINATED } else { code }
    }
}

/// Starts the signal thread. `cap` is how long a shutdown by SIGTERM may take.
pub(crate) fn watch(who: Who, cap: Duration, recorder: Recorder, notes: Sender<Note>) -> io::Result<Arc<Stop>> {
    // .NET leaves SIGINT and SIGQUIT alone when they were inherited as ignored.
    let interrupts = [SIGINT, SIGQUIT].into_iter().filter(|signal| !introspect::is_ignored(*signal));
    let mut signals = Signals::new(interrupts.chain([SIGTERM]))?;
    let stop = Arc::new(Stop::default());
    let shared = Arc::clone(&stop);
    thread::spawn(move || {
        for signal in signals.forever() {
            let name = signal_name(signal).unwrap_or("?").to_owned();
            recorder.write(Event::Signal { who, signal: name });
            apply_rules(&shared, who, signal, cap, &recorder);
            let _ = notes.send(Note::Signal(signal));
        }
    });
    Ok(stop)
}

fn apply_rules(stop: &Arc<Stop>, who: Who, signal: i32, cap: Duration, recorder: &Recorder) {
    if signal != SIGTERM {
        // The worker swallows interrupts, so they start no shutdown there.
        if who == Who::Listener {
            stop.asked.store(true, Ordering::SeqCst);
            let after = stop.terminated.load(Ordering::SeqCst);
            stop.interrupted_after.fetch_or(after, Ordering::SeqCst);
        }
        return;
    }
    if stop.asked.swap(true, Ordering::SeqCst) {
        die(who, recorder);
    }
    stop.terminated.store(true, Ordering::SeqCst);
    let recorder = recorder.clone();
    thread::spawn(move || {
        thread::sleep(cap);
        die(who, &recorder);
    });
}

fn die(who: Who, recorder: &Recorder) -> ! {
    recorder.write(Event::Exit { who, code: TERMINATED });
    process::exit(TERMINATED)
}
