//! Running programs with a deadline, as ourselves or as a job would.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use thiserror::Error;
use tokio::process::Command;

use super::{Machine, SHUT};
use crate::base::exit;
use crate::systemd::JOBS;

/// Longer than any healthy answer; a person waits for it.
pub(super) const SHORT: Duration = Duration::from_secs(10);

/// For what starts containers on a machine that has just booted.
pub(super) const LONG: Duration = Duration::from_secs(60);

/// What a program said.
#[derive(Clone, Debug)]
pub(super) struct Ran {
    /// `None`: killed by a signal.
    pub(super) code: Option<i32>,
    pub(super) out: String,
    pub(super) err: String,
}

impl Ran {
    pub(super) fn succeeded(&self) -> bool {
        self.code == Some(0)
    }

    /// The last thing it said, for a finding.
    pub(super) fn last_words(&self) -> String {
        let last = |text: &str| text.trim().lines().last().map(str::trim).unwrap_or_default().to_owned();
        let words = Some(last(&self.err)).filter(|words| !words.is_empty()).unwrap_or_else(|| last(&self.out));
        let code = self.code.map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}"));
        if words.is_empty() { code } else { format!("{code}: {words}") }
    }
}

/// Why a program has nothing to say.
#[derive(Debug, Error)]
pub(super) enum NotRun {
    #[error("there is nothing to run")]
    Nothing,
    #[error("{program} cannot be run: {error}")]
    NotStarted { program: String, error: io::Error },
    /// It ran, and how it ended is not known.
    #[error("{program}: {error}")]
    Lost { program: String, error: io::Error },
    #[error("{command} did not end within {within:?}")]
    Timeout { command: String, within: Duration },
}

/// Runs a program.
///
/// # Errors
/// It could not be started or did not end in time.
pub(super) async fn run(arguments: &[&str], timeout: Duration) -> Result<Ran, NotRun> {
    let Some((program, rest)) = arguments.split_first() else { return Err(NotRun::Nothing) };
    let program = (*program).to_owned();
    let mut command = Command::new(&program);
    // Whoever it becomes may not look into the directory of whoever called: Packer's is /root.
    command
        .current_dir("/")
        .args(rest)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // `sbin` is in nobody's PATH but root's.
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/usr/bin:/sbin:/bin")).kill_on_drop(true);
    let child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return Err(NotRun::NotStarted { program, error }),
    };
    match tokio::time::timeout(timeout, child.wait_with_output()).await {
        Ok(Ok(output)) => Ok(Ran {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }),
        Ok(Err(error)) => Err(NotRun::Lost { program, error }),
        Err(_) => Err(NotRun::Timeout { command: arguments.join(" "), within: timeout }),
    }
}

/// Runs a program as a job's step would: as the job's user, in the jobs' slice.
///
/// # Errors
/// Those of [`run`].
pub(super) async fn as_job(machine: &Machine, arguments: &[&str], timeout: Duration) -> Result<Ran, NotRun> {
    let user = format!("User={}", machine.config.runner.user);
    let slice = format!("Slice={JOBS}");
    // The unit goes away by itself, even if this process is killed.
    let limit = format!("RuntimeMaxSec={}", timeout.as_secs().max(1));
    let mut all = vec!["systemd-run", "--quiet", "--wait", "--pipe", "--collect", "--service-type=exec"];
    if !machine.config.runner.user.is_empty() {
        all.extend(["-p", &user]);
    }
    all.extend(["-p", &slice, "-p", &limit, "--"]);
    all.extend(arguments);
    run(&all, timeout + SHORT).await
}

/// What a `mayfly probe` somewhere showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Probed {
    /// Nothing answered.
    Shut,
    /// The metadata service did.
    Reached(String),
    /// It did not get to run.
    Failed(String),
}

impl Probed {
    pub(super) fn of(ran: Result<Ran, NotRun>) -> Self {
        match ran {
            Ok(ran) if ran.succeeded() || ran.code == Some(i32::from(SHUT)) => Self::Shut,
            Ok(ran) if ran.code == Some(i32::from(exit::PERMISSION)) => {
                Self::Reached(ran.err.trim().trim_start_matches("mayfly: ").to_owned())
            }
            Ok(ran) => Self::Failed(ran.last_words()),
            Err(error) => Self::Failed(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(code: Option<i32>, err: &str) -> Ran {
        Ran { code, out: String::new(), err: err.to_owned() }
    }

    #[test]
    fn a_probe_that_did_not_run_is_never_taken_for_a_shut_door() {
        for code in [Some(1), Some(2), Some(125), Some(126), Some(127), Some(203), Some(217), Some(255), None] {
            let probed = Probed::of(Ok(ran(code, "Failed to start")));
            assert!(matches!(probed, Probed::Failed(_)), "{code:?} counts as {probed:?}");
        }
        assert!(matches!(Probed::of(Err(NotRun::Nothing)), Probed::Failed(_)));
        assert_eq!(Probed::of(Ok(ran(Some(0), ""))), Probed::Shut);
        assert_eq!(Probed::of(Ok(ran(Some(i32::from(SHUT)), ""))), Probed::Shut);
        assert_eq!(Probed::of(Ok(ran(Some(77), "mayfly: it answered\n"))), Probed::Reached("it answered".to_owned()));
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_given_up_at_its_deadline() {
        let begun = std::time::Instant::now();
        let ran = run(&["sleep", "100"], Duration::from_millis(50)).await;
        assert!(
            matches!(&ran, Err(error @ NotRun::Timeout { .. }) if error.to_string().contains("sleep 100 did not end")),
            "{ran:?}"
        );
        assert!(begun.elapsed() < SHORT, "it was waited for longer than anybody would");
    }
}
