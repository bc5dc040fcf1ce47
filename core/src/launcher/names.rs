//! Names by which everything is found again after a restart: runners, launches, parameters.

use sha2::{Digest, Sha256};

use super::JobId;

/// Where the launcher keeps JIT configurations: the agent's `jit.parameter` is this, `/`, the instance's id, `/`, its ticket.
pub const PARAMETERS: &str = "/mayfly/runners";

/// What GitHub allows for a runner's name (its error's text: runs-on/runs-on#523).
pub const LONGEST_RUNNER_NAME: usize = 64;

/// The most jobs that one launch is for: their ids fit into a tag's 256 characters.
pub const MOST_JOBS: usize = 16;

/// A runner's name: `class-instance`, and the number of the try from the second on. At most 64 letters, digits and hyphens: the
/// class gives way, the instance never does.
#[must_use]
pub fn runner_name(class: &str, instance: &str, nth: u8) -> String {
    let tail = if nth > 1 { format!("-{instance}-{nth}") } else { format!("-{instance}") };
    let clean = |text: &str| -> String {
        text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' }).collect()
    };
    let room = LONGEST_RUNNER_NAME.saturating_sub(tail.len());
    let class: String = clean(class).chars().take(room).collect();
    clean(&format!("{class}{tail}")).chars().take(LONGEST_RUNNER_NAME).collect()
}

/// Which instance a runner of this name runs on, if the name is one of ours.
#[must_use]
pub fn instance_of_runner(name: &str) -> Option<&str> {
    // The last one: a class may be called `x-i-y`.
    let place = name.rfind("-i-").max(name.rfind("-local-"))?;
    let instance = name.get(place + 1..)?;
    // `i-0123` and `i-0123-2` are the same instance's.
    let end = instance.match_indices('-').nth(1).map_or(instance.len(), |(end, _)| end);
    instance.get(..end)
}

/// Which instance a parameter is for, if its name is one of ours.
#[must_use]
pub fn instance_of_parameter(name: &str) -> Option<&str> {
    let rest = name.strip_prefix(PARAMETERS)?.strip_prefix('/')?;
    rest.split('/').next().filter(|id| !id.is_empty())
}

/// The client token of a launch: the same jobs, launch number, way to launch and round give the same token, so that EC2 answers a
/// repeated request, of this process or of another one, with the same instances. A token of the job alone would name a dead
/// instance after a termination, and would break the fall-back to another purchase option (`IdempotentParameterMismatch`).
#[must_use]
pub fn client_token(class: &str, jobs: &[JobId], nth: u32, candidate: u8, round: u32) -> String {
    use std::fmt::Write as _;
    let mut text = format!("{class}\n{nth}\n{candidate}\n{round}\n");
    for job in jobs {
        let _ = writeln!(text, "{job}");
    }
    let mut token = "mayfly-".to_owned();
    for byte in Sha256::digest(text).iter().take(16) {
        let _ = write!(token, "{byte:02x}");
    }
    token
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runners_name_is_one_that_github_takes_and_tells_the_instance() {
        let long = "a class/with: odd \"letters\" and far too many of them, all told, for GitHub";
        for (class, instance, nth) in [
            ("ec2", "i-0abc", 1),
            (long, "i-0123456789abcdef0", 2),
            ("x", "local-12", 3),
            ("gpu-i-large", "i-0abc", 2),
            ("local-i-x", "local-9f", 1),
        ] {
            let name = runner_name(class, instance, nth);
            assert!(
                name.len() <= LONGEST_RUNNER_NAME && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'),
                "{name}"
            );
            assert_eq!(instance_of_runner(&name), Some(instance), "the runner {name} is nobody's");
        }
        assert_ne!(
            runner_name("ec2", "i-0abc", 1),
            runner_name("ec2", "i-0abc", 2),
            "a retry under a name that is taken"
        );
        assert_eq!(instance_of_runner("my-own-runner"), None);
    }

    #[test]
    fn tokens_tell_launches_apart_and_are_the_same_in_every_process() {
        let token = client_token("ec2", &[JobId(1), JobId(2)], 1, 0, 0);
        assert!(token.len() <= 64 && token.is_ascii());
        assert_eq!(token, client_token("ec2", &[JobId(1), JobId(2)], 1, 0, 0));
        let others = [
            client_token("ec2", &[JobId(1)], 1, 0, 0),
            client_token("ec2", &[JobId(12)], 1, 0, 0),
            client_token("ec2", &[JobId(1), JobId(2)], 2, 0, 0),
            client_token("ec2", &[JobId(1), JobId(2)], 1, 1, 0),
            client_token("ec2", &[JobId(1), JobId(2)], 1, 0, 1),
            client_token("gpu", &[JobId(1), JobId(2)], 1, 0, 0),
        ];
        assert!(!others.contains(&token), "another launch gets the instances of this one");
    }

    #[test]
    fn a_parameter_names_its_instance() {
        assert_eq!(instance_of_parameter("/mayfly/runners/i-0abc/ticket"), Some("i-0abc"));
        assert_eq!(instance_of_parameter("/mayfly/runnersX/i-0abc"), None);
        assert_eq!(instance_of_parameter("/other/i-0abc"), None);
    }
}
