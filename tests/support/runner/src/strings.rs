//! The console lines of the upstream runner, in one table.
//!
//! Compare this file with each new upstream release: the double is only as
//! faithful as these literals. Words in braces are filled in by [`fill`];
//! `{ts}` is the UTC time of printing.

/// The upstream version the lines come from.
pub const UPSTREAM_VERSION: &str = "2.336.0";

/// The counter of the performance log that tells of a message about a job.
pub const JOB_MESSAGE: &str = "MessageReceived_RunnerJobRequest";

// Standard output, the ordinary run of one job.

/// Printed between two blank lines, before the session exists.
pub const CONNECTED: &str = "√ Connected to GitHub";
/// Follows the session.
pub const CURRENT_VERSION: &str = "Current runner version: '{version}'";
/// The runner waits for a job.
pub const LISTENING: &str = "{ts}: Listening for Jobs";
/// A job was acquired; its worker does not exist yet.
pub const RUNNING: &str = "{ts}: Running job: {name}";
/// The worker has ended.
pub const COMPLETED: &str = "{ts}: Job {name} completed with result: {result}";
/// One per removed configuration file.
pub const REMOVED: &str = "√ Removed {file}";
/// Instead of [`REMOVED`] when the file is not there.
pub const NOT_THERE: &str = "Does not exist. Skipping Removing {file}";
/// Listener's log: the job's lock was renewed; the times are not looked at.
pub const RENEWED: &str = "Successfully renew job 7, job is valid till 11/21/2026 8:10:00 AM";
/// Answer to SIGINT and SIGQUIT.
pub const EXITING: &str = "Exiting...";
/// The session exists after [`CONNECT_ERROR`].
pub const RECONNECTED: &str = "{ts}: Runner reconnected.";
/// `--once` is on its way out.
pub const ONCE_WARNING: &str = "Warning: '--once' is going to be deprecated in the future, please consider using '--ephemeral' during runner registration.";

// Standard error, start and session.

/// Session or poll failed; printed once per outage.
pub const CONNECT_ERROR: &str = "{ts}: Runner connect error: {message}. Retrying until reconnected.";
/// Session refused for good.
pub const SESSION_FAILED: &str = "Failed to create session. {message}";
/// The OAuth client is unknown at the start.
pub const REGISTRATION_DELETED: &str = "Failed to create a session. The runner registration has been deleted from the server, please re-configure. Runner registrations are automatically deleted for runners that have not connected to the service recently.";
/// The broker forgot the runner while it polled (2.336 and later).
pub const RUNNER_GONE: &str = "The runner no longer exists on the server. Cleaning up local configuration.";
/// The same before 2.336.
pub const RUNNER_GONE_OLD: &str = "The runner no longer exists on the server. Please reconfigure the runner.";
/// One per session conflict.
pub const SESSION_EXISTS: &str = "A session for this runner already exists.";
/// After the last session conflict.
pub const SESSION_CONFLICT_STOP: &str = "Stop retry on SessionConflictException after retried for 240 seconds.";
/// Token refused because of the clock.
pub const CLOCK_SKEW: &str = "The local machine's clock may be out of sync with the server time by more than five minutes. Please sync your clock with your domain or internet time and try again.";
/// After sixty refused tokens.
pub const CLOCK_SKEW_STOP: &str = "Stopped retrying OAuth token request exception after 1800 seconds.";
/// Any exception that ends the run.
pub const ERROR_OCCURRED: &str = "An error occurred: {message}";
/// The spelling before v2.333.0 of the deprecation error.
pub const ERROR_OCCURED_OLD: &str = "An error occured: {message}";
/// Message of a deprecated version.
pub const DEPRECATED: &str = "Runner version v{version} is deprecated and cannot receive messages.";
/// Message when `.runner` is missing.
pub const NOT_CONFIGURED: &str = "Not configured. Run config.(sh/cmd) to configure the runner.";
/// Message when a configuration file is missing.
pub const FILE_MISSING: &str = "Could not find file '{path}'.";
/// The work directory cannot be made.
pub const WORK_DIR_FAILED: &str = "Fail to create and validate runner's work directory '{path}'.";
/// Message when `.runner` names no work folder.
pub const NO_WORK_FOLDER: &str = "Value cannot be null. (Parameter 'WorkFolder')";
/// Unknown arguments; the run goes on.
pub const UNRECOGNIZED: &str = "Unrecognized command-line input arguments for command run: '{args}'. For usage refer to: .\\config.cmd --help or ./config.sh --help";
/// .NET's message for bad base64; printed without a prefix.
pub const BAD_BASE64: &str = "The input is not a valid Base-64 string as it contains a non-base 64 character, more than two padding characters, or an illegal character among the padding characters.";
/// .NET's message for a JSON `null` blob.
pub const NULL_REFERENCE: &str = "Object reference not set to an instance of an object.";
/// The runtime found no ICU and aborts.
pub const NO_ICU: &str = "Process terminated. Couldn't find a valid ICU package installed on the system. Please install libicu (or icu-libs) using your package manager and try again.";

// Self-update.

/// An update has begun.
pub const UPDATE_IN_PROGRESS: &str = "Runner update in progress, do not shutdown runner.";
/// Names the new version.
pub const UPDATE_DOWNLOADING: &str = "Downloading {version} runner";
/// An update waits for the job.
pub const UPDATE_WAITING: &str = "Waiting for current job finish running.";
/// The update script starts.
pub const UPDATE_SCRIPT: &str = "Generate and execute update script.";
/// Last line before exit 3 or 4.
pub const UPDATE_EXIT: &str = "Runner will exit shortly for update, should be back online within 10 seconds.";
/// The update is staged.
pub const UPDATE_FINISHED: &str = "Runner update process finished.";
/// Standard error; the old version goes on.
pub const UPDATE_FAILED: &str = "Runner update failed: {message}";

// Hooks, in the step log.

/// First line of a job-started hook.
pub const HOOK_STARTED_NOTICE: &str = "A job started hook has been configured by the self-hosted runner administrator";
/// First line of a job-completed hook.
pub const HOOK_COMPLETED_NOTICE: &str =
    "A job completed hook has been configured by the self-hosted runner administrator";
/// A step ended with a code other than zero.
pub const STEP_FAILED: &str = "Process completed with exit code {code}.";
/// A hook that is not there.
pub const FILE_NOT_THERE: &str = "File doesn't exist";
/// Orphan clean-up begins.
pub const ORPHANS: &str = "Cleaning up orphan processes";
/// One per orphan.
pub const ORPHAN: &str = "Terminate orphan process: pid ({pid}) ({name})";

/// Fills `{word}` paths of a template in one pass, so that a filled-in value
/// (a job name is workflow-controlled) is never itself taken for a template.
/// `{ts}` and `{version}` are always known; an unknown word stays as it is.
pub fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(template.len() + 32);
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        let (before, tail) = rest.split_at(open);
        filled.push_str(before);
        let Some(close) = tail.find('}') else {
            rest = tail;
            break;
        };
        let word = &tail[1..close];
        match values.iter().find(|(key, _)| *key == word) {
            Some((_, value)) => filled.push_str(value),
            None if word == "ts" => filled.push_str(&crate::clock::console_stamp()),
            None if word == "version" => filled.push_str(UPSTREAM_VERSION),
            None => filled.push_str(&tail[..=close]),
        }
        rest = &tail[close + 1..];
    }
    filled.push_str(rest);
    filled
}

/// Fills one template into another's `{message}`.
pub fn with_message(template: &str, message: &str) -> String {
    template.replace("{message}", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_not_templates() {
        let line = fill("Job {name} completed with result: {result}", &[("name", "{result} {"), ("result", "Failed")]);
        assert_eq!(line, "Job {result} { completed with result: Failed");
    }
}
