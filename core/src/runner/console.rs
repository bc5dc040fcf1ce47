//! The runner's console lines that mean something.
//!
//! Job names are workflow-controlled text, so lines with a time stamp are anchored at the start, and a name is never
//! searched for anything.

use crate::lifecycle::{ConsoleError, JobResult, Observation};

/// The longest job name that is kept, in bytes: it goes into every line of the journal.
pub const LONGEST_NAME: usize = 1024;

/// Reads one console line (stdout or stderr, without its line break).
#[must_use]
pub fn observation(line: &str) -> Option<Observation> {
    match after_timestamp(line) {
        Some(text) => stamped(text),
        None => plain(line),
    }
}

/// Lines of the form `yyyy-MM-dd HH:mm:ssZ: <text>`.
fn stamped(text: &str) -> Option<Observation> {
    if text == "Listening for Jobs" {
        return Some(Observation::Listening);
    }
    if text == "Runner reconnected." {
        return Some(Observation::Reconnected);
    }
    if let Some(job) = text.strip_prefix("Running job: ") {
        return Some(Observation::Running { job: job[..job.floor_char_boundary(LONGEST_NAME)].to_owned() });
    }
    if text.starts_with("Runner connect error: ") {
        return Some(Observation::ConsoleError(ConsoleError::Unreachable));
    }
    let (job, word) = text.strip_prefix("Job ")?.rsplit_once(" completed with result: ")?;
    Some(Observation::Completed {
        job: job[..job.floor_char_boundary(LONGEST_NAME)].to_owned(),
        result: JobResult::from_word(word)?,
    })
}

fn plain(line: &str) -> Option<Observation> {
    let line = line.trim();
    let starts = |text| line.starts_with(text);
    Some(if starts("A session for this runner already exists.") {
        Observation::ConsoleError(ConsoleError::SessionConflict)
    } else if starts("Failed to create a session. The runner registration has been deleted") {
        Observation::ConsoleError(ConsoleError::RegistrationDeleted)
    } else if starts("The runner no longer exists on the server.") {
        Observation::ConsoleError(ConsoleError::RegistrationRemoved)
    } else if starts("The local machine's clock may be out of sync") {
        Observation::ConsoleError(ConsoleError::ClockSkew)
    } else if starts("An error occurred: Not configured") || starts("Runner is not configured") {
        Observation::ConsoleError(ConsoleError::NotConfigured)
    } else if (starts("An error occurred: ") || starts("An error occured: ")) // upstream's spelling before 2.333.0
        && line.contains("is deprecated and cannot receive messages")
    {
        Observation::ConsoleError(ConsoleError::VersionDeprecated)
    } else if starts("Runner update in progress") {
        Observation::UpdateStarted
    } else if starts("Runner update failed") {
        Observation::UpdateFailed
    } else {
        return None;
    })
}

/// What follows `yyyy-MM-dd HH:mm:ssZ: ` at the very start of the line.
fn after_timestamp(line: &str) -> Option<&str> {
    const SHAPE: &[u8] = b"0000-00-00 00:00:00Z: ";
    let (stamp, text) = line.split_at_checked(SHAPE.len())?;
    let fits = stamp.bytes().zip(SHAPE).all(|(byte, shape)| match shape {
        b'0' => byte.is_ascii_digit(),
        other => byte == *other,
    });
    fits.then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_job_name_that_imitates_a_completed_line_is_only_a_name() {
        let name = "x 2026-01-01 00:00:00Z: Job x completed with result: Succeeded";
        let line = format!("2026-11-21 08:00:00Z: Running job: {name}");
        assert_eq!(observation(&line), Some(Observation::Running { job: name.to_owned() }));
        let line = format!("2026-11-21 08:00:00Z: Job {name} completed with result: Failed");
        assert_eq!(
            observation(&line),
            Some(Observation::Completed { job: name.to_owned(), result: JobResult::Failed })
        );
        assert_eq!(
            observation(&format!(" {line}")),
            None,
            "a line that does not begin with the time stamp was believed"
        );
    }

    proptest! {
        #[test]
        fn any_line_is_read_without_a_panic(line in ".{0,200}") {
            let _ = observation(&line);
        }

        #[test]
        fn any_job_name_comes_back_whole(job in "[^\r\n]{0,80}") {
            let line = format!("2026-11-21 08:00:00Z: Job {job} completed with result: Skipped");
            prop_assert_eq!(observation(&line), Some(Observation::Completed { job, result: JobResult::Skipped }));
        }
    }
}
