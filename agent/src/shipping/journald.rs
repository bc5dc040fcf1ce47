//! The journal, as `journalctl` exports it from a cursor on: its pipe is the back-pressure, the journal the buffer.
//!
//! An agent with user id 0 and no capability reads the journal's files as their owner. journald syncs before the last read, and
//! the last read is a `journalctl` of its own that ends at the end.

use std::collections::VecDeque;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::warn;

use super::batch::{LogEvent, PIECE, border, pieces, text};
use super::export::{Entry, FIELDS, Parser};
use super::intake::Intake;
use super::stamp::{Stamp, Times, now};
use super::vacuum::{self, Place};
use super::voice::Voice;
use mayfly_core::record::LossReason;

/// The message by which journald tells that it dropped others (sd-messages.h, `SD_MESSAGE_JOURNAL_DROPPED`).
const SUPPRESSED: &str = "MESSAGE_ID=a596d6fe7bfa4994828e72309e95d61e";

/// Where journald is asked to sync.
const SOCKET: &str = "/run/systemd/journal/io.systemd.journal";

/// How long it may take.
const SYNC_TIMEOUT: Duration = Duration::from_secs(3);

/// Nothing more comes at once if nothing came for this long.
const SETTLE: Duration = Duration::from_millis(20);

/// How long a `journalctl` that ended is not started again.
const RESTART_PAUSE: Duration = Duration::from_secs(5);

/// While there is no room the journal may be vacuumed; so often is looked.
const LOOK_PAUSE: Duration = Duration::from_secs(10);

/// So many of them may fail at once before it is taken for the cursor's fault.
const FAILURES: u32 = 3;

/// So many entries may be parts of one line.
const MOST_PARTS: usize = 1024;

/// Entries that are read at one go; then others have their turn.
const BURST: usize = 4096;

/// What a stream takes from the journal, as journalctl's matches: those of a group together, of the groups any.
pub(super) type Matches = &'static [&'static [&'static str]];

/// The agent's own lines, and what systemd says of it. (The console that it passes on is read from its file.)
pub(super) const AGENT: Matches = &[
    &["_SYSTEMD_UNIT=mayfly-agent.service", "SYSLOG_IDENTIFIER=mayfly"],
    &["_SYSTEMD_UNIT=mayfly-agent.service", "_TRANSPORT=stdout"],
    &["_PID=1", "UNIT=mayfly-agent.service"],
];

/// Docker, the kernel's warnings (out of memory), the failsafe, and what systemd says of the runner and of Docker.
pub(super) const SYSTEM: Matches = &[
    &["_SYSTEMD_UNIT=docker.service", "_SYSTEMD_UNIT=containerd.service"],
    &["_SYSTEMD_UNIT=mayfly-failsafe.service", "_SYSTEMD_UNIT=mayfly-deadline.service"],
    &["_TRANSPORT=kernel", "PRIORITY=0", "PRIORITY=1", "PRIORITY=2", "PRIORITY=3", "PRIORITY=4"],
    &["_PID=1", "UNIT=mayfly-runner.service", "UNIT=docker.service", "UNIT=containerd.service"],
    &["_TRANSPORT=driver", SUPPRESSED],
];

/// How far the journal is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// As it grows.
    Follow,
    /// What the one that followed it has left in its pipe.
    Drain,
    /// To the end, by one that ends there.
    Last,
    /// It was read to its end.
    Read,
}

/// Why no more was taken for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pause {
    /// There is no room.
    Full,
    /// It is the turn of others.
    Busy,
    /// Nothing came.
    Quiet,
    /// The pipe has ended.
    End,
}

/// A line that a service printed in parts.
#[derive(Debug)]
struct Parts {
    /// Of which connection.
    stream: String,
    bytes: Vec<u8>,
    at: i64,
    count: usize,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Journald {
    matches: Matches,
    mode: Mode,
    child: Option<(Child, ChildStdout)>,
    parser: Parser,
    entries: VecDeque<Entry>,
    /// Events that did not fit yet.
    waiting: VecDeque<LogEvent>,
    parts: Option<Parts>,
    times: Times,
    /// Up to here entries were taken.
    taken: Option<String>,
    /// Up to here all that was taken is in batches.
    safe: Option<String>,
    /// When the last one ended.
    ended: Option<Instant>,
    /// How many of them gave nothing, one after the other.
    failures: u32,
    /// The oldest entry that the journal still had when that was looked at last, and when.
    oldest: Option<Place>,
    looked: Option<Instant>,
    /// At most so many entries were vacuumed before they were read, which is still to be told.
    gone: Option<u64>,
}

impl Journald {
    pub(super) fn new(matches: Matches, cursor: Option<String>) -> Self {
        Self {
            matches,
            mode: Mode::Follow,
            child: None,
            parser: Parser::default(),
            entries: VecDeque::new(),
            waiting: VecDeque::new(),
            parts: None,
            times: Times::new(Stamp::Rfc3339),
            taken: cursor.clone(),
            safe: cursor,
            ended: None,
            failures: 0,
            oldest: None,
            looked: None,
            gone: None,
        }
    }

    /// From where the next agent process goes on.
    pub(super) fn cursor(&self) -> Option<&String> {
        self.safe.as_ref()
    }

    /// Takes in what is there, as far as there is room. Returns whether there is more.
    pub(super) async fn read(&mut self, intake: &mut Intake, voice: &Voice) -> bool {
        if self.mode == Mode::Read {
            self.mode = Mode::Follow;
        }
        if self.child.is_none() && self.ended.is_none_or(|ended| ended.elapsed() >= RESTART_PAUSE) {
            self.look_before_start(intake).await;
            self.start(voice);
        }
        let pause = self.pump(intake, Instant::now() + SETTLE).await;
        if pause == Pause::Full && self.looked.is_none_or(|looked| looked.elapsed() >= LOOK_PAUSE) {
            (self.oldest, self.looked) = (vacuum::oldest().await, Some(Instant::now()));
        }
        self.tell_gone(voice);
        matches!(pause, Pause::Full | Pause::Busy)
    }

    /// What is between the cursor and the oldest entry that is left will not be read any more.
    async fn look_before_start(&mut self, intake: &mut Intake) {
        let Some(taken) = self.taken.as_deref().and_then(Place::of) else { return };
        self.oldest = vacuum::oldest().await;
        if let Some(gone) = self.oldest.as_ref().and_then(|oldest| taken.gone_before(oldest)) {
            self.lose(gone, intake);
        }
    }

    /// The entry that comes next is one after those that were vacuumed meanwhile.
    fn notice_gap(&mut self, next: &str, intake: &mut Intake) {
        let Some(oldest) = &self.oldest else { return };
        let (taken, next) = (self.taken.as_deref().and_then(Place::of), Place::of(next));
        if let (Some(taken), Some(next)) = (taken, next)
            && next.is_left(oldest)
        {
            let gone = taken.gone_before(oldest);
            self.oldest = None;
            if let Some(gone) = gone {
                self.lose(gone, intake);
            }
        }
    }

    fn lose(&mut self, gone: u64, intake: &mut Intake) {
        self.oldest = None; // told once
        self.gone = Some(self.gone.unwrap_or(0).saturating_add(gone));
        intake.lost(LossReason::Vacuumed, 1);
    }

    fn tell_gone(&mut self, voice: &Voice) {
        if let Some(gone) = self.gone.take() {
            voice.say(|| {
                warn!(
                    "the journal was vacuumed before it was read: an unknown number of lines is lost, of {gone} entries at most"
                )
            });
        }
    }

    /// Takes in everything up to the end of the journal, as far as there is room. Returns whether there is more.
    pub(super) async fn read_last(&mut self, intake: &mut Intake, voice: &Voice, until: Instant) -> bool {
        if matches!(self.mode, Mode::Follow | Mode::Read) {
            sync(until, voice).await;
            if self.child.is_none() {
                self.look_before_start(intake).await; // it ended, and nobody has looked since
                self.tell_gone(voice);
            }
            if let Some((child, _)) = &mut self.child {
                let _ = child.start_kill();
            }
            self.mode = Mode::Drain;
        }
        loop {
            match (self.pump(intake, until).await, self.mode) {
                (Pause::Full | Pause::Busy, _) => return true,
                // It hangs: whoever flushes has no time left.
                (Pause::Quiet, _) => {
                    voice.say(|| warn!("journalctl hangs: the journal was not read to its end"));
                    return false;
                }
                (Pause::End, Mode::Drain) => {
                    self.parser = Parser::default(); // half an entry; it comes again
                    self.mode = Mode::Last;
                    self.start(voice);
                }
                (Pause::End, Mode::Last) => {
                    self.mode = Mode::Read;
                    self.end_line();
                }
                (Pause::End, Mode::Read | Mode::Follow) => return false,
            }
        }
    }

    /// Takes entries in until there is no room, it is the turn of others, or nothing comes until `until`.
    async fn pump(&mut self, intake: &mut Intake, until: Instant) -> Pause {
        let (mut buffer, mut taken) = (vec![0; 64 * 1024], 0);
        loop {
            while let Some(event) = self.waiting.pop_front() {
                if !intake.take(event.clone()) {
                    self.waiting.push_front(event);
                    return Pause::Full;
                }
            }
            if self.parts.is_none() {
                self.safe.clone_from(&self.taken);
            }
            if let Some(entry) = self.entries.pop_front() {
                self.take(entry, intake);
                taken += 1;
                continue;
            }
            if taken > BURST {
                return Pause::Busy;
            }
            let Some((_, pipe)) = &mut self.child else { return Pause::End };
            match timeout_at(until, pipe.read(&mut buffer)).await {
                Err(_) => return Pause::Quiet,
                Ok(Ok(count)) if count > 0 => {
                    self.failures = 0;
                    let entries = &mut self.entries;
                    self.parser.read(&buffer[..count], |entry| entries.push_back(entry));
                }
                Ok(Ok(_) | Err(_)) => {
                    if let Some((mut child, _)) = self.child.take() {
                        let _ = timeout(SYNC_TIMEOUT, child.wait()).await;
                    }
                    self.ended = Some(Instant::now());
                    return Pause::End;
                }
            }
        }
    }

    fn take(&mut self, entry: Entry, intake: &mut Intake) {
        self.notice_gap(&entry.cursor, intake);
        let told = entry.realtime.and_then(|micros| i64::try_from(micros / 1000).ok());
        let at = self.times.take(told, now());
        if entry.dropped > 0 && entry.transport == "driver" {
            intake.lost(LossReason::Suppressed, entry.dropped);
        }
        let goes_on = entry.line_break == "line-max";
        let mut bytes = entry.message;
        if entry.cut > 0 {
            bytes.extend_from_slice(format!("[mayfly left out {} bytes of this line]", entry.cut).as_bytes());
        }
        if let Some(mut parts) = self.parts.take_if(|parts| parts.stream == entry.stream) {
            parts.bytes.append(&mut bytes);
            bytes = parts.bytes;
            if goes_on && parts.count < MOST_PARTS {
                while bytes.len() > PIECE {
                    let rest = bytes.split_off(border(&bytes));
                    self.waiting.push_back(LogEvent { at, text: text(&bytes), ends_line: false });
                    bytes = rest;
                }
                self.parts = Some(Parts { stream: parts.stream, bytes, at, count: parts.count + 1 });
            } else {
                self.line(&bytes, at);
            }
        } else if goes_on {
            self.end_line(); // another service's, of which the end is late
            self.parts = Some(Parts { stream: entry.stream, bytes, at, count: 1 });
        } else {
            self.line(&bytes, at);
        }
        self.taken = Some(entry.cursor);
    }

    fn line(&mut self, bytes: &[u8], at: i64) {
        let events = pieces(bytes).map(|(piece, ends_line)| LogEvent { at, text: text(piece), ends_line });
        self.waiting.extend(events);
    }

    /// The parts of a line whose end does not come.
    fn end_line(&mut self) {
        if let Some(parts) = self.parts.take() {
            self.line(&parts.bytes, parts.at);
        }
    }

    fn start(&mut self, voice: &Voice) {
        if self.failures >= FAILURES && self.taken.take().is_some() {
            voice.say(|| {
                warn!("the journal cannot be read from where it was left: it is read from this boot's beginning")
            });
            self.failures = 0;
        }
        self.failures += 1;
        match command(self.matches, self.taken.as_deref(), self.mode == Mode::Follow).spawn() {
            Ok(mut child) => {
                self.parser = Parser::default();
                self.child = child.stdout.take().map(|pipe| (child, pipe));
            }
            Err(error) => {
                if self.failures == 1 {
                    voice.say(|| warn!("journalctl cannot be run, so the journal is not shipped: {error}"));
                }
                self.ended = Some(Instant::now());
            }
        }
    }
}

fn command(matches: Matches, cursor: Option<&str>, follow: bool) -> Command {
    let mut command = Command::new("journalctl");
    command.args(["--quiet", "--all", "--no-pager", "--output=export"]).arg(format!("--output-fields={FIELDS}"));
    match cursor {
        Some(cursor) => command.arg(format!("--after-cursor={cursor}")),
        None => command.arg("--boot"),
    };
    if follow {
        command.args(["--follow", "--no-tail"]);
    }
    for (number, group) in matches.iter().enumerate() {
        if number > 0 {
            command.arg("+");
        }
        command.args(*group);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    command
}

/// What was logged up to now is in the journal once this returns.
async fn sync(until: Instant, voice: &Voice) {
    let asked = async {
        let mut journald = UnixStream::connect(SOCKET).await?;
        journald.write_all(b"{\"method\":\"io.systemd.Journal.Synchronize\"}\0").await?;
        let (mut answer, mut buffer) = (Vec::new(), [0; 1024]);
        while !answer.contains(&0) && answer.len() < 64 * 1024 {
            match journald.read(&mut buffer).await? {
                0 => break,
                count => answer.extend_from_slice(&buffer[..count]),
            }
        }
        if answer.contains(&0) && !answer.windows(7).any(|part| part == b"\"error\"") {
            Ok(())
        } else {
            Err(io::Error::other(String::from_utf8_lossy(&answer).into_owned()))
        }
    };
    let why = match timeout_at(until.min(Instant::now() + SYNC_TIMEOUT), asked).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no answer in time".to_owned(),
    };
    voice.say(|| warn!("journald did not say that all lines are stored: {why}"));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;
    use std::sync::RwLock;
    use std::sync::atomic::AtomicU64;

    use super::*;
    use crate::shipping::intake::Shared;
    use mayfly_core::record::StreamCounts;

    fn intake() -> Intake {
        let shared = Shared { max_bytes: u64::MAX, taken: AtomicU64::new(0), material: RwLock::default() };
        Intake::new(Arc::new(shared), StreamCounts::default(), false)
    }

    fn entry(cursor: &str, stream: &str, message: &[u8], line_break: &str) -> Entry {
        Entry {
            cursor: cursor.to_owned(),
            stream: stream.to_owned(),
            message: message.to_vec(),
            line_break: line_break.to_owned(),
            ..Entry::default()
        }
    }

    #[tokio::test]
    async fn a_line_that_journald_has_split_is_one_again_and_is_not_skipped_by_whoever_goes_on() {
        let (mut journald, mut intake) = (Journald::new(AGENT, None), intake());
        journald.entries.extend([
            entry("a", "1", b"whole", ""),
            entry("b", "2", &[b'x'; 49_152], "line-max"),
            entry("c", "1", b"between", ""),
            entry("d", "2", &[b'y'; 49_152], "line-max"),
        ]);
        assert_eq!(journald.pump(&mut intake, Instant::now()).await, Pause::End);
        assert_eq!(journald.cursor().map(String::as_str), Some("a"), "the beginning of the line would be lost");
        journald.entries.push_back(entry("e", "2", b"end", ""));
        assert_eq!(journald.pump(&mut intake, Instant::now()).await, Pause::End);
        assert_eq!(journald.cursor().map(String::as_str), Some("e"));
        let lengths: Vec<_> = intake.batch.events().iter().map(|event| event.text.len()).collect();
        assert_eq!((lengths, intake.counts.read), (vec![5, 7, 2 * 49_152 + 3], 3));
    }

    #[tokio::test]
    async fn what_was_vacuumed_while_there_was_no_room_is_lost_and_told_once() {
        let (mut journald, mut intake) = (Journald::new(SYSTEM, Some("s=a;i=5".to_owned())), intake());
        journald.oldest = Place::of("s=a;i=10");
        journald.entries.extend([
            // These were on their way in the pipe.
            entry("s=a;i=6", "1", b"read before", ""),
            entry("s=a;i=13", "1", b"left", ""),
            entry("s=a;i=20", "1", b"a gap of others' entries", ""),
        ]);
        assert_eq!(journald.pump(&mut intake, Instant::now()).await, Pause::End);
        assert_eq!(journald.gone, Some(9), "it is not said how many it may be");
        assert_eq!(intake.counts.why.get(&LossReason::Vacuumed), Some(&1), "lines are gone and nobody is told");
        assert_eq!((intake.counts.read, intake.counts.lost), (4, 1));
    }

    #[tokio::test]
    async fn suppressed_messages_are_lost_lines_and_only_journald_says_so() {
        let (mut journald, mut intake) = (Journald::new(SYSTEM, None), intake());
        let told = |transport: &str| Entry {
            dropped: 5,
            transport: transport.to_owned(),
            ..entry("a", "", b"Suppressed", "")
        };
        journald.entries.extend([told("driver"), told("journal")]);
        journald.pump(&mut intake, Instant::now()).await;
        assert_eq!((intake.counts.read, intake.counts.why[&LossReason::Suppressed]), (7, 5));
    }
}
