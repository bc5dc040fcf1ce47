//! From single polls of the daemon to a verdict: pure, the time is an argument.

use std::fmt;
use std::time::Duration;

use super::Health;
use mayfly_core::lifecycle::Time;

/// Whether a job has the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Nothing that would excuse a daemon that does not answer.
    Idle,
    /// A job runs. It may load the daemon, restart it or break it: that is the job's business.
    Busy,
}

/// From when on a daemon that does not answer is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// How long a daemon may take to its first answer. While `dockerd` starts it takes connections and answers none,
    /// and for containerd alone it waits up to a minute: a short silence at the start means nothing.
    pub start: Duration,
    /// How long a daemon that has answered before may be silent. systemd brings a crashed one back within seconds.
    pub silence: Duration,
    /// How many polls in a row must have failed, whatever the time: after a pause of the machine one poll is late by
    /// all of it.
    pub polls: u32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { start: Duration::from_secs(60), silence: Duration::from_secs(30), polls: 3 }
    }
}

/// What follows from all polls so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DockerVerdict {
    /// The last poll was answered.
    Ready,
    /// The last poll was not answered, and that proves nothing.
    NotYet,
    /// The daemon does not come (back). Not final: the next answer makes it [`DockerVerdict::Ready`] again.
    Down {
        /// Why, in words for people.
        reason: Reason,
    },
}

/// What was seen of a daemon that is down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// What the last poll found.
    pub last: Health,
    /// How long there has been no answer.
    pub silent: Duration,
    /// How many polls that were.
    pub polls: u32,
    /// Whether it had answered before.
    pub answered_before: bool,
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.last == Health::Absent {
            return out.write_str("Docker is not installed: there is neither its socket nor a unit that is not masked");
        }
        let before = if self.answered_before { "stopped answering" } else { "has not answered once" };
        write!(out, "Docker {before}: {} unanswered pings in {:.0?}; the last: ", self.polls, self.silent)?;
        match self.last {
            Health::Hung => out.write_str(
                "the connection was taken and not answered (docker.service or containerd is stuck, or docker.service is dead while docker.socket listens)",
            ),
            _ => self.last.fmt(out),
        }
    }
}

/// Polls in a row that were not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Silence {
    since: Time,
    polls: u32,
}

/// Remembers what was seen of the daemon, and judges it.
///
/// Polls without an answer count together whatever was wrong with each: a daemon that crashes in a loop is by turns
/// refusing, silent and failing. Silence while a job runs never counts, not even afterwards.
#[derive(Clone, Debug)]
pub struct DockerHistory {
    thresholds: Thresholds,
    answered: bool,
    judged: Option<Silence>,
}

impl Default for DockerHistory {
    fn default() -> Self {
        Self::new(Thresholds::default())
    }
}

impl DockerHistory {
    /// Has seen nothing yet.
    #[must_use]
    pub fn new(thresholds: Thresholds) -> Self {
        Self { thresholds, answered: false, judged: None }
    }

    /// Takes one poll in, made at `now`, and judges.
    pub fn observe(&mut self, now: Time, load: Load, health: &Health) -> DockerVerdict {
        if health.is_answer() {
            self.answered = true;
            self.judged = None;
            return DockerVerdict::Ready;
        }
        if load == Load::Busy {
            self.judged = None;
            return DockerVerdict::NotYet;
        }
        let silence = self.judged.get_or_insert(Silence { since: now, polls: 0 });
        silence.polls = silence.polls.saturating_add(1);
        let (silent, polls) = (now.since(silence.since), silence.polls);
        let allowed = if self.answered { self.thresholds.silence } else { self.thresholds.start };
        if *health == Health::Absent || (silent >= allowed && polls >= self.thresholds.polls) {
            let reason = Reason { last: health.clone(), silent, polls, answered_before: self.answered };
            return DockerVerdict::Down { reason };
        }
        DockerVerdict::NotYet
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    fn failing() -> Health {
        Health::Failing("GET /_ping was answered with the status 500: no".to_owned())
    }

    /// The words of the table: `ready slow hung refused 500 absent`.
    fn health(word: &str) -> Health {
        match word {
            "ready" => Health::Ready,
            "slow" => Health::Slow,
            "hung" => Health::Hung,
            "refused" => Health::Starting,
            "500" => failing(),
            "absent" => Health::Absent,
            other => panic!("no such health: {other}"),
        }
    }

    /// Runs polls such as `12 hung` (seconds, what was seen; `!` behind it while a job runs), and names the verdicts:
    /// `r`eady, `n`ot yet, `d`own.
    fn verdicts(polls: &[&str]) -> String {
        let mut watch = DockerHistory::default();
        let mut name = |poll: &&str| {
            let (at, seen) = poll.split_once(' ').unwrap();
            let load = if seen.ends_with('!') { Load::Busy } else { Load::Idle };
            let now = Time(at.parse::<u64>().unwrap() * 1000);
            match watch.observe(now, load, &health(seen.trim_end_matches('!'))) {
                DockerVerdict::Ready => 'r',
                DockerVerdict::NotYet => 'n',
                DockerVerdict::Down { .. } => 'd',
            }
        };
        polls.iter().map(&mut name).collect()
    }

    #[test]
    fn the_table() {
        let table: &[(&str, &[&str], &str)] = &[
            ("answers, late or not, are fine", &["0 ready", "10 slow", "30 slow", "60 ready"], "rrrr"),
            (
                "a daemon that takes 59 s to start is waited for",
                &["0 refused", "1 hung", "30 hung", "59 hung", "60 ready"],
                "nnnnr",
            ),
            ("one that never comes is down after 60 s", &["0 refused", "20 hung", "40 hung", "60 hung"], "nnnd"),
            (
                "one that was there has 30 s and three polls",
                &["0 ready", "10 hung", "25 hung", "39 hung", "40 hung"],
                "rnnnd",
            ),
            ("two polls are too few whatever the time", &["0 ready", "10 hung", "500 hung", "501 hung"], "rnnd"),
            (
                "an answer starts the count again",
                &["0 ready", "10 hung", "25 hung", "39 ready", "41 hung", "60 hung"],
                "rnnrnn",
            ),
            ("a crash loop counts together", &["0 ready", "10 refused", "20 hung", "30 500", "40 refused"], "rnnnd"),
            ("absent needs no waiting", &["0 absent"], "d"),
            ("nor does it once it was there", &["0 ready", "10 absent"], "rd"),
            ("but installed later it is ready", &["0 absent", "9 refused", "10 ready"], "dnr"),
            ("a job may do as it likes", &["0 ready", "10 hung!", "99 absent!", "300 refused!", "900 500!"], "rnnnn"),
            (
                "and its silence is not held against the daemon",
                &["0 ready", "10 hung!", "99 hung!", "100 hung", "129 hung", "130 hung"],
                "rnnnnd",
            ),
            ("down is taken back by an answer", &["0 ready", "10 hung", "20 hung", "40 hung", "41 slow"], "rnndr"),
        ];
        for (rule, polls, expected) in table {
            assert_eq!(verdicts(polls), *expected, "{rule}");
        }
    }

    #[test]
    fn the_reason_says_what_was_seen_and_for_how_long() {
        let mut watch = DockerHistory::default();
        watch.observe(Time(0), Load::Idle, &Health::Ready);
        for at in [1_000, 11_000] {
            watch.observe(Time(at), Load::Idle, &Health::Hung);
        }
        let DockerVerdict::Down { reason } = watch.observe(Time(31_000), Load::Idle, &Health::Hung) else {
            panic!("30 s of silence pass for health")
        };
        let text = reason.to_string();
        for part in ["stopped answering", "3 unanswered pings in 30s", "docker.socket listens"] {
            assert!(text.contains(part), "{part:?} is not in {text:?}");
        }
    }

    fn any_health() -> impl Strategy<Value = Health> {
        prop_oneof![
            1 => Just(Health::Ready),
            1 => Just(Health::Slow),
            3 => Just(Health::Hung),
            3 => Just(Health::Starting),
            3 => Just(failing()),
            1 => Just(Health::Absent),
        ]
    }

    proptest! {
        /// Judged from the whole history, as the documentation of [`Thresholds`] has it.
        #[test]
        fn the_verdict_is_what_the_history_says(
            polls in prop::collection::vec((0_u64..20_000, prop::bool::weighted(0.2), any_health()), 1..40),
        ) {
            let thresholds = Thresholds::default();
            let mut watch = DockerHistory::new(thresholds);
            let mut history: Vec<(Time, Load, Health)> = Vec::new();
            let mut now = Time(5);
            for (gap, busy, health) in polls {
                now = now + Duration::from_millis(gap);
                let load = if busy { Load::Busy } else { Load::Idle };
                let verdict = watch.observe(now, load, &health);
                history.push((now, load, health.clone()));

                let answered = history.iter().any(|(_, _, health)| health.is_answer());
                let row: Vec<_> = history
                    .iter()
                    .rev()
                    .take_while(|(_, load, health)| *load == Load::Idle && !health.is_answer())
                    .collect();
                let span = row.last().map_or(Duration::ZERO, |(first, ..)| now.since(*first));
                let allowed = if answered { thresholds.silence } else { thresholds.start };
                let long = row.len() >= thresholds.polls as usize && span >= allowed;
                let down = !row.is_empty() && (long || health == Health::Absent);
                prop_assert_eq!(matches!(verdict, DockerVerdict::Down { .. }), down, "{:?}", history);
                prop_assert_eq!(verdict == DockerVerdict::Ready, health.is_answer());
            }
        }

        /// Whoever looks at least every 15 s knows of a dead daemon 90 s after its last answer, and sooner if it
        /// had answered once.
        #[test]
        fn a_dead_daemon_is_found_out_in_bounded_time(
            before in prop::collection::vec((0_u64..20_000, any::<bool>(), any_health()), 0..20),
            dead in prop::collection::vec((1_u64..=15_000, any_health()), 200),
        ) {
            let mut watch = DockerHistory::default();
            let mut now = Time(0);
            for (gap, busy, health) in before {
                now = now + Duration::from_millis(gap);
                watch.observe(now, if busy { Load::Busy } else { Load::Idle }, &health);
            }
            let death = now;
            for (gap, health) in dead.into_iter().filter(|(_, health)| !health.is_answer()) {
                now = now + Duration::from_millis(gap);
                if let DockerVerdict::Down { .. } = watch.observe(now, Load::Idle, &health) {
                    return Ok(());
                }
                let passed = now.since(death);
                prop_assert!(passed <= Duration::from_secs(90), "still waited for after {:?}", passed);
            }
        }
    }
}
