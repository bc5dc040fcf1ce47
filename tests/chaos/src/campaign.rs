//! Many runs at once, and what came of them.

#![allow(clippy::print_stderr, reason = "it talks to a person")]

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{OnceLock, mpsc};
use std::time::{Duration, Instant};

use mayfly_e2e::run::mayfly_binary;

use crate::oracle::{Violation, judge};
use crate::plan::Plan;
use crate::play::play;
use crate::witness::End;

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// The seed of the first run; each further one has the next.
    pub seed: u64,
    /// How many runs.
    pub runs: u64,
    /// How many at once.
    pub jobs: usize,
    /// Where what tells of a failed run is kept.
    pub evidence: PathBuf,
    /// Keep it of every run.
    pub keep: bool,
    /// Begin no further run after the first violation, and do not tell of it: a bug was planted.
    pub until_caught: bool,
}

/// One run that was judged.
struct Judged {
    plan: Plan,
    outcome: String,
    done: Vec<&'static str>,
    undone: Vec<String>,
    violations: Vec<Violation>,
    took: Duration,
}

/// What came of all of them.
#[derive(Debug, Default)]
pub struct Summary {
    /// How many runs ended.
    pub runs: u64,
    /// How often each outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// How often each fault happened.
    pub faults: BTreeMap<&'static str, u64>,
    /// What was planned and could not be done, such as commands that the binary does not know.
    pub undone: BTreeMap<String, u64>,
    /// The seeds that broke a promise, and which.
    pub violations: Vec<(u64, Vec<Violation>)>,
    /// How many runs it took to break the first promise.
    pub caught_after: u64,
    /// Time lived, all runs together.
    pub ran: Duration,
    /// Time passed.
    pub wall: Duration,
}

/// The commands of operators that this binary knows. Asked once.
pub(crate) fn operator_commands() -> &'static [&'static str] {
    static KNOWN: OnceLock<Vec<&'static str>> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let knows = |command: &&str| {
            let help = Command::new(mayfly_binary()).args([*command, "--help"]).stdin(Stdio::null()).output();
            help.is_ok_and(|output| output.status.success())
        };
        ["drain", "hold", "release"].into_iter().filter(knows).collect()
    })
}

impl Campaign {
    /// Makes them all. Violations are told as they come.
    #[must_use]
    pub fn run(&self) -> Summary {
        let began = Instant::now();
        let (next, cut) = (AtomicU64::new(0), AtomicBool::new(false));
        let (sender, judged) = mpsc::channel();
        let mut summary = Summary::default();
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                let (sender, next, cut) = (sender.clone(), &next, &cut);
                scope.spawn(move || {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= self.runs || cut.load(Ordering::Relaxed) {
                            return;
                        }
                        if let Some(run) = self.judged(self.seed.wrapping_add(number), cut) {
                            let _ = sender.send(run);
                        }
                    }
                });
            }
            drop(sender);
            for run in judged {
                if self.until_caught && !run.violations.is_empty() {
                    cut.store(true, Ordering::Relaxed);
                }
                self.take(run, &mut summary, began.elapsed());
            }
        });
        summary.wall = began.elapsed();
        summary
    }

    /// `None` if it was cut short.
    fn judged(&self, seed: u64, cut: &AtomicBool) -> Option<Judged> {
        let plan = Plan::of(seed);
        let evidence = self.evidence_of(seed);
        let mut violations = Vec::new();
        let witness = play(&plan, cut, &evidence, |witness| {
            if witness.end != End::Cut {
                violations = judge(&plan, witness);
            }
            self.keep || !violations.is_empty()
        });
        if witness.end == End::Cut {
            return None;
        }
        if self.keep || !violations.is_empty() {
            let told: String = violations.iter().map(|violation| format!("{violation}\n")).collect();
            let _ = std::fs::write(evidence.join("plan.txt"), format!("{plan}\n{told}"));
            let _ = std::fs::write(evidence.join("witness.txt"), format!("{witness:#?}"));
        }
        Some(Judged {
            outcome: witness.outcome().unwrap_or("none").to_owned(),
            done: witness.done.iter().map(|(_, what)| what.name()).collect(),
            undone: witness.undone.iter().map(|(what, why)| format!("{}: {why}", what.name())).collect(),
            took: witness.took,
            plan,
            violations,
        })
    }

    fn evidence_of(&self, seed: u64) -> PathBuf {
        self.evidence.join(seed.to_string())
    }

    fn take(&self, run: Judged, summary: &mut Summary, elapsed: Duration) {
        summary.runs += 1;
        summary.ran += run.took;
        *summary.outcomes.entry(run.outcome.clone()).or_default() += 1;
        for name in &run.done {
            *summary.faults.entry(name).or_default() += 1;
        }
        for reason in &run.undone {
            *summary.undone.entry(reason.clone()).or_default() += 1;
        }
        if !run.violations.is_empty() {
            if summary.violations.is_empty() {
                summary.caught_after = summary.runs;
            }
            if !self.until_caught {
                self.tell(&run);
            }
            summary.violations.push((run.plan.seed, run.violations));
        }
        if std::io::stderr().is_terminal() && !self.until_caught {
            let rate = summary.runs as f64 / elapsed.as_secs_f64().max(0.001);
            eprint!(
                "\r{}/{} runs, {rate:.1} a second, {} violations ",
                summary.runs,
                self.runs,
                summary.violations.len()
            );
            let _ = std::io::stderr().flush();
        }
    }
}

impl Campaign {
    fn tell(&self, run: &Judged) {
        clear_line();
        eprintln!("\nVIOLATION {}", run.plan);
        for violation in &run.violations {
            eprintln!("  ✘ {violation}");
        }
        eprintln!("  evidence: {}", self.evidence_of(run.plan.seed).display());
        eprintln!("  again:    scripts/chaos --seed {} --runs 1\n", run.plan.seed);
    }
}

fn clear_line() {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
}

impl Summary {
    /// For a person.
    #[must_use]
    pub fn told(&self, seed: u64, evidence: &Path) -> String {
        let mut text = format!(
            "{} runs from seed {seed} in {:.1} s ({:.1} a second, {:.2} s each), {} violations\n",
            self.runs,
            self.wall.as_secs_f64(),
            self.runs as f64 / self.wall.as_secs_f64().max(0.001),
            self.ran.as_secs_f64() / (self.runs as f64).max(1.0),
            self.violations.len()
        );
        text.push_str(&histogram("outcomes", self.outcomes.iter().map(|(name, count)| (name.as_str(), *count))));
        text.push_str(&histogram("faults", self.faults.iter().map(|(name, count)| (*name, *count))));
        text.push_str(&histogram("not done", self.undone.iter().map(|(name, count)| (name.as_str(), *count))));
        if !self.violations.is_empty() {
            text.push_str(&format!("violations, evidence below {}\n", evidence.display()));
            for (seed, broken) in &self.violations {
                let promises: Vec<_> = broken.iter().map(|violation| violation.promise).collect();
                text.push_str(&format!("  {seed}: {}\n", promises.join("; ")));
            }
        }
        text
    }
}

fn histogram<'a>(title: &str, counts: impl Iterator<Item = (&'a str, u64)>) -> String {
    let mut counts: Vec<_> = counts.collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let lines: String = counts.iter().map(|(name, count)| format!("  {count:>6}  {name}\n")).collect();
    if lines.is_empty() { lines } else { format!("{title}\n{lines}") }
}
