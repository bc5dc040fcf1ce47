//! The outcome table: what is concluded from what was seen.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

use mayfly_core::lifecycle::{ConsoleError, Evidence, Exit, JobInfo, JobResult, Observation, Outcome, Time};

fn evidence(observations: &[Observation]) -> Evidence {
    let mut evidence = Evidence::default();
    observations.iter().for_each(|observation| evidence.absorb(observation));
    evidence
}

fn running() -> Observation {
    Observation::Running { job: "build".to_owned() }
}

fn completed(result: JobResult) -> Observation {
    Observation::Completed { job: "build".to_owned(), result }
}

fn started() -> Observation {
    Observation::HookStarted(JobInfo { repository: "o/r".to_owned(), ..JobInfo::default() })
}

#[test]
fn verdicts_of_a_runner_that_ended_by_itself() {
    use JobResult::{Canceled, Failed, Skipped, Succeeded, SucceededWithIssues};
    use Observation::{HookCompleted, JobMessage, Listening, WorkerGone, WorkerSeen};
    let trouble = Observation::ConsoleError;
    let table: &[(&str, Vec<Observation>, Exit, Outcome)] = &[
        (
            "a good job",
            vec![running(), WorkerSeen, WorkerGone, completed(Succeeded)],
            Exit::Code(100),
            Outcome::JobSucceeded,
        ),
        (
            "issues count as success",
            vec![WorkerSeen, completed(SucceededWithIssues)],
            Exit::Code(101),
            Outcome::JobSucceeded,
        ),
        ("skipped counts as success", vec![WorkerSeen, completed(Skipped)], Exit::Code(104), Outcome::JobSucceeded),
        ("a worker that never got its job", vec![WorkerSeen, WorkerGone], Exit::Code(100), Outcome::JobUnknown),
        ("a hook is a witness too", vec![WorkerSeen, HookCompleted], Exit::Code(100), Outcome::JobSucceeded),
        (
            "a line without a worker is forged",
            vec![running(), completed(Succeeded)],
            Exit::Code(100),
            Outcome::JobUnknown,
        ),
        ("success without any witness", vec![running()], Exit::Code(100), Outcome::JobUnknown),
        ("success out of nothing", vec![], Exit::Code(100), Outcome::JobUnknown),
        ("failure needs no witness", vec![], Exit::Code(102), Outcome::JobFailed),
        ("abandoned before its worker", vec![running()], Exit::Code(105), Outcome::JobAbandoned),
        ("code better than line", vec![completed(Failed)], Exit::Code(100), Outcome::JobFailed),
        ("line better than code", vec![WorkerSeen, completed(Succeeded)], Exit::Code(103), Outcome::JobCanceled),
        ("two lines, one forged", vec![completed(Succeeded), completed(Failed)], Exit::Code(100), Outcome::JobFailed),
        ("exit 0 and a line", vec![running(), completed(Canceled)], Exit::Code(0), Outcome::JobCanceled),
        ("exit 0 alone proves nothing", vec![Listening], Exit::Code(0), Outcome::RunnerCrashed),
        ("exit 0 after a job request", vec![Listening, JobMessage], Exit::Code(0), Outcome::JobUnknown),
        (
            "removed while idle",
            vec![Listening, trouble(ConsoleError::RegistrationRemoved)],
            Exit::Code(0),
            Outcome::RegistrationRemoved,
        ),
        (
            "deleted before",
            vec![trouble(ConsoleError::RegistrationDeleted)],
            Exit::Code(1),
            Outcome::RegistrationDeleted,
        ),
        (
            "a skewed clock is told as a deleted registration",
            vec![trouble(ConsoleError::ClockSkew), trouble(ConsoleError::RegistrationDeleted)],
            Exit::Code(1),
            Outcome::ClockSkew,
        ),
        (
            "deprecated by default code",
            vec![Listening, trouble(ConsoleError::VersionDeprecated)],
            Exit::Code(1),
            Outcome::RunnerVersionDeprecated,
        ),
        ("deprecated by its own code", vec![], Exit::Code(7), Outcome::RunnerVersionDeprecated),
        ("no network, and gone", vec![trouble(ConsoleError::Unreachable)], Exit::Code(2), Outcome::NetworkUnreachable),
        (
            "trouble that was over",
            vec![trouble(ConsoleError::Unreachable), Observation::Reconnected, Listening],
            Exit::Code(2),
            Outcome::RunnerCrashed,
        ),
        ("network lost mid-job", vec![running(), completed(Canceled)], Exit::Code(2), Outcome::JobCanceled),
        ("update", vec![], Exit::Code(4), Outcome::RunnerUpdating),
        ("update after a job", vec![WorkerSeen, completed(Succeeded)], Exit::Code(4), Outcome::JobSucceeded),
        ("conflict", vec![], Exit::Code(5), Outcome::SessionConflict),
        ("abort", vec![], Exit::Signal(6), Outcome::RunnerCrashed),
        ("killed in the job", vec![running(), WorkerSeen, WorkerGone], Exit::Signal(9), Outcome::RunnerCrashed),
        ("nobody knows", vec![], Exit::Lost, Outcome::RunnerCrashed),
        (
            "nobody knows, but the line",
            vec![running(), WorkerSeen, completed(Succeeded)],
            Exit::Lost,
            Outcome::JobSucceeded,
        ),
        ("worker died", vec![running(), started(), completed(Failed)], Exit::Code(102), Outcome::WorkerCrashed),
        (
            "job failed",
            vec![running(), started(), HookCompleted, completed(Failed)],
            Exit::Code(102),
            Outcome::JobFailed,
        ),
        ("not configured", vec![trouble(ConsoleError::NotConfigured)], Exit::Code(1), Outcome::JitConfigInvalid),
    ];
    for (name, observations, exit, expected) in table {
        assert_eq!(evidence(observations).verdict(*exit), *expected, "{name}");
    }
}

#[test]
fn verdicts_of_a_runner_that_was_told_to_stop() {
    use JobResult::{Canceled, Failed, Succeeded};
    /// Name, observations before and after the stop, its reason, the listener's end, the verdict.
    type Row = (&'static str, Vec<Observation>, Vec<Observation>, Outcome, Option<Exit>, Outcome);
    let table: &[Row] = &[
        ("idle", vec![Observation::Listening], vec![], Outcome::IdleTimeout, Some(Exit::Code(0)), Outcome::IdleTimeout),
        ("raced", vec![], vec![Observation::JobMessage], Outcome::IdleTimeout, Some(Exit::Code(0)), Outcome::IdleRaced),
        (
            "raced, told by the code only",
            vec![],
            vec![],
            Outcome::IdleTimeout,
            Some(Exit::Code(103)),
            Outcome::IdleRaced,
        ),
        (
            "raced, and the job made it",
            vec![],
            vec![Observation::WorkerSeen, completed(Succeeded)],
            Outcome::IdleTimeout,
            Some(Exit::Code(100)),
            Outcome::JobSucceeded,
        ),
        ("never listened", vec![], vec![], Outcome::RunnerNotListening, None, Outcome::RunnerNotListening),
        (
            "never listened, and said why",
            vec![Observation::ConsoleError(ConsoleError::SessionConflict)],
            vec![],
            Outcome::RunnerNotListening,
            Some(Exit::Code(0)),
            Outcome::SessionConflict,
        ),
        (
            "cut short",
            vec![running()],
            vec![completed(Canceled)],
            Outcome::JobTimeout,
            Some(Exit::Code(103)),
            Outcome::JobTimeout,
        ),
        ("over before", vec![completed(Failed)], vec![], Outcome::ExternalShutdown, None, Outcome::JobFailed),
        (
            "made it all the same",
            vec![running()],
            vec![Observation::WorkerSeen, completed(Succeeded)],
            Outcome::Lifetime,
            Some(Exit::Code(100)),
            Outcome::JobSucceeded,
        ),
        (
            "success that the code denies",
            vec![Observation::WorkerSeen, completed(Succeeded)],
            vec![],
            Outcome::Lifetime,
            Some(Exit::Code(102)),
            Outcome::JobFailed,
        ),
    ];
    for (name, before, after, reason, exit, expected) in table {
        let mut evidence = evidence(before);
        evidence.stopped = Some(Time(1));
        evidence.stopped_without_job = !evidence.assigned();
        after.iter().for_each(|observation| evidence.absorb(observation));
        assert_eq!(evidence.verdict_stopped(*reason, *exit), *expected, "{name}");
    }
}

#[test]
fn a_completed_line_of_another_job_is_forged() {
    let evidence =
        evidence(&[running(), Observation::Completed { job: "other".to_owned(), result: JobResult::Succeeded }]);
    assert_eq!(evidence.completed, None);
}

/// The listener prints the line when its worker has ended, so one that was there before its worker comes from a job name.
#[test]
fn a_completed_line_from_before_the_worker_is_forged() {
    let mut forged = evidence(&[running(), completed(JobResult::Succeeded), Observation::WorkerSeen]);
    assert_eq!(forged.completed, None);
    // An agent that was started again reads the console again, and finds the worker at work.
    [completed(JobResult::Succeeded), Observation::WorkerSeen, Observation::WorkerGone]
        .iter()
        .for_each(|observation| forged.absorb(observation));
    assert_eq!(forged.verdict(Exit::Signal(9)), Outcome::RunnerCrashed, "the listener never said how the job ended");
    let quick = evidence(&[running(), completed(JobResult::Succeeded), Observation::WorkerGone]);
    assert_eq!(quick.verdict(Exit::Lost), Outcome::JobSucceeded, "a worker that came and went between two polls");
}

#[test]
fn every_outcome_has_its_own_code() {
    let mut codes: Vec<_> = Outcome::ALL.iter().map(|outcome| outcome.code()).collect();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), Outcome::ALL.len());
}

/// The README's table is the table of the code.
#[test]
fn the_readme_tells_every_outcome() {
    // The directory when the test runs: a build cache may hold the program of another checkout.
    let package = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    let readme = std::fs::read_to_string(format!("{package}/../README.md")).unwrap();
    for outcome in Outcome::ALL {
        let row = format!(
            "| `{}` | {} | {} | {} |",
            outcome.code(),
            outcome.exit_code(),
            outcome.meaning(),
            outcome.advice()
        );
        assert!(readme.contains(&row), "README.md lacks this row of its outcome table:\n{row}");
    }
}
